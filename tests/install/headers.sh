#!/bin/sh
# Every public header compiles alone and twice, as C and as C++, with many
# warnings on.
# usage: headers.sh CC CXX INCLUDE_DIR
. "$(dirname "$0")/common.sh"
cc=$1 cxx=$2 include=$3
warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Werror"

count=0
for header in "$include"/stile/*.h; do
    name=stile/$(basename "$header")
    printf '#include <%s>\n#include <%s>\nextern int not_empty;\n' "$name" "$name" >"$scratch/one.c"
    cp "$scratch/one.c" "$scratch/one.cpp"
    for standard in c11 c17; do
        # shellcheck disable=SC2086
        "$cc" -std=$standard $warnings -Wstrict-prototypes -Wmissing-prototypes -I"$include" \
            -fsyntax-only "$scratch/one.c" || fail "$name alone as $standard"
    done
    for standard in c++11 c++17; do
        # shellcheck disable=SC2086
        "$cxx" -std=$standard $warnings -I"$include" -fsyntax-only "$scratch/one.cpp" ||
            fail "$name alone as $standard"
    done
    grep -q "include <$name>" "$include/stile/stile.h" ||
        case $name in
        stile/api.h | stile/stile.h) ;;
        *) fail "stile/stile.h leaves out $name" ;;
        esac
    count=$((count + 1))
done
[ "$count" -gt 0 ] || fail "no headers in $include"
echo "$count headers"
