#!/bin/sh
# A build without redis needs nothing but the C library, and says so to others.
# usage: without_redis.sh CMAKE SOURCE_DIR GENERATOR CC
. "$(dirname "$0")/common.sh"
cmake=$1 source=$2 generator=$3 cc=$4

run "$cmake" -S "$source" -B "$scratch/build" -G "$generator" -DCMAKE_C_COMPILER="$cc" \
    -DSTILE_BACKEND_REDIS=OFF -DSTILE_TESTS=OFF -DSTILE_PROGRAMS=OFF
run "$cmake" --build "$scratch/build"
run "$cmake" --install "$scratch/build" --prefix "$scratch/prefix"
grep 'warning:' "$scratch/log" && fail "it does not compile cleanly"

library=$(find "$scratch/prefix" -name libstile.so)
needed "$library" | grep -v -e '^libc\.' -e '^ld-' && fail "libstile.so needs more than libc"
grep -i -e hiredis -e inih "$(find "$scratch/prefix" -name stile.pc)" &&
    fail "stile.pc asks for what is not used"
run "$cc" -I"$scratch/prefix/include" "$(dirname "$0")/outside/main.c" -o "$scratch/program" "$library"
LD_LIBRARY_PATH=$(dirname "$library") "$scratch/program" || fail "a program with it"
