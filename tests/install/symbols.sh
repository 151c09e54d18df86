#!/bin/sh
# What the library defines: stile_* for everybody, and in the static library
# stile__* beside it.
# usage: symbols.sh NM LIBSTILE_SO LIBSTILE_A
. "$(dirname "$0")/common.sh"
nm=$1 shared=$2 static=$3

"$nm" -D --defined-only "$shared" | awk '{ print $NF }' >"$scratch/shared"
grep -q '^stile_lock_acquire$' "$scratch/shared" || fail "stile_lock_acquire is not exported"
if grep -v '^stile_' "$scratch/shared"; then
    fail "exported, and not stile_*"
fi
if grep '^stile__' "$scratch/shared"; then
    fail "exported, and internal"
fi

"$nm" -g --defined-only "$static" | awk 'NF == 3 { print $3 }' >"$scratch/static"
grep -q '^stile_lock_acquire$' "$scratch/static" || fail "stile_lock_acquire is not there"
if grep -v '^stile_' "$scratch/static"; then
    fail "external linkage, and neither stile_* nor stile__*"
fi
