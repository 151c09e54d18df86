#!/bin/sh
# The program in the README is examples/ten_lines.c.
# usage: ten_lines.sh SOURCE_DIR
. "$(dirname "$0")/common.sh"
cd "$1"
blocks_of README.md
set -- "$scratch"/blocks/*.c
[ "$#" -eq 1 ] || fail "$# programs in the README"
run diff examples/ten_lines.c "$1"
