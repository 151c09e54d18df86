#!/bin/sh
# An outside project builds against the installed library through pkg-config:
# with the shared library as C and as C++, and all static.
# usage: pkg_config.sh CMAKE BUILD_DIR CC CXX PKG_CONFIG
. "$(dirname "$0")/common.sh"
cmake=$1 build=$2 cc=$3 cxx=$4 pkg_config=$5
source=$(cd "$(dirname "$0")" && pwd)/outside/main.c

run "$cmake" --install "$build" --prefix "$scratch/prefix"
pc=$(find "$scratch/prefix" -name stile.pc)
lib=$(dirname "$(dirname "$pc")")
PKG_CONFIG_PATH=$(dirname "$pc")${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH

cflags=$("$pkg_config" --cflags stile)
libs=$("$pkg_config" --libs stile)
all_libs=$("$pkg_config" --static --libs stile)
case " $libs " in
*" -lhiredis "* | *" -linih "*) fail "who links the shared library need not see: $libs" ;;
esac
# Flags are words.
# shellcheck disable=SC2086
{
    "$cc" -std=c11 -Wall -Wextra -Werror $cflags "$source" -o "$scratch/shared" $libs
    "$cxx" -std=c++11 -Wall -Wextra -Werror $cflags -x c++ "$source" -x none \
        -o "$scratch/shared_cpp" $libs
    # The C library's getaddrinfo() warns when it is linked in.
    run "$cc" -std=c11 -Wall -Wextra $cflags "$source" -static -o "$scratch/static" \
        $all_libs
}

LD_LIBRARY_PATH=$lib "$scratch/shared" || fail "the program with the shared library"
LD_LIBRARY_PATH=$lib "$scratch/shared_cpp" || fail "the C++ program with the shared library"
"$scratch/static" || fail "the program with everything in it"
needed "$scratch/shared" | grep -q '^libstile\.so\.' || fail "not linked with the soname"
[ -z "$(needed "$scratch/static")" ] || fail "the static program needs: $(needed "$scratch/static")"
