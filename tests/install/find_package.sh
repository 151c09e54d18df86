#!/bin/sh
# An outside CMake project finds the installed package, links both libraries and
# runs; also after what was installed has been moved.
# usage: find_package.sh CMAKE BUILD_DIR GENERATOR CC
. "$(dirname "$0")/common.sh"
cmake=$1 build=$2 generator=$3 cc=$4
here=$(cd "$(dirname "$0")" && pwd)

run "$cmake" --install "$build" --prefix "$scratch/first"
mv "$scratch/first" "$scratch/moved"
run "$cmake" -S "$here/outside" -B "$scratch/build" -G "$generator" \
    -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$scratch/moved"
run "$cmake" --build "$scratch/build"

"$scratch/build/with_shared" || fail "the program with stile::stile"
"$scratch/build/with_static" || fail "the program with stile::stile_static"
needed "$scratch/build/with_shared" | grep -q '^libstile\.so' ||
    fail "stile::stile is not the shared library"
needed "$scratch/build/with_static" | grep -q '^libstile\.so' &&
    fail "stile::stile_static is not the static library"

# Nothing of this machine is in what others read.
if grep -rnF -e "$build" -e "$scratch/first" "$scratch/moved" --include='*.cmake' --include='*.pc'; then
    fail "paths of the build machine"
fi
