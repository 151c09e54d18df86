#!/bin/sh
# For the scripts beside it: a folder that goes away, and how to fail.
set -eu

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

fail()
{
    echo "FAILED: $*" >&2
    exit 1
}

# Runs a command that has something to say only when it fails.
run()
{
    "$@" >>"$scratch/log" 2>&1 || fail "$(cat "$scratch/log")"
}

# The sonames that a file asks the loader for.
needed()
{
    readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p'
}
