#!/bin/sh
# Everything in the code blocks of a document works.
# usage: blocks.sh SOURCE_DIR BUILD_DIR CMAKE CC DOCUMENT
#
#   c           a program: compiled as in the installed world, run on local:
#   c fragment  compiled as the inside of a function that has what space.h and
#               lock.h speak of
#   sh          run, with ./dev looked up only; "sh fails": has to fail
#   cmake       a CMakeLists.txt for the program before it
#   ini         the file stile.conf
#   sql         run on a table that the block before it made
#   acl         see acl.sh; text: see scripts.sh
#
# The blocks of a document run in order and in one folder, which has what it needs
# of the sources and the build, and a server of its own in the place of those
# that the document names.
. "$(dirname "$0")/common.sh"
source=$1 build=$2 cmake=$(command -v "$3") cc=$(command -v "$4") document=$5

box=$scratch/box
mkdir -p "$box/bin" "$scratch/home"
ln -s "$build" "$box/build"
for name in examples backends dev include; do
    ln -s "$source/$name" "$box/$name"
done
export HOME="$scratch/home" LD_LIBRARY_PATH="$scratch/home/stile/lib"
warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"

# What stands where a document has the servers of its readers.
# shellcheck disable=SC2119
start_redis
cat >"$box/bin/redis-cli" <<END
#!/bin/sh
exec $(command -v redis-cli) -p $port "\$@"
END
printf '#!/bin/sh\nexec %s "$@"\n' "$cmake" >"$box/bin/cmake"
printf '#!/bin/sh\nexec %s "$@"\n' "$cc" >"$box/bin/cc"
chmod +x "$box"/bin/*
PATH=$box/bin:$PATH
export PATH
here()
{
    sed -e "s|127\.0\.0\.1:6379|127.0.0.1:$port|g" -e "s|unix:///run/redis/redis\.sock|unix://$scratch/redis.sock|g" "$1"
}

program()
{
    cp "$1" "$box/program.c"
    # Words.
    # shellcheck disable=SC2086
    run "$cc" -std=c11 $warnings -I"$source/include" -o "$box/program" "$box/program.c" \
        -L"$build/lib" -lstile
    LD_LIBRARY_PATH=$build/lib run "$box/program"
    # Where blocks that follow look for it.
    cp "$1" "$box/ten_lines.c"
}

fragment()
{
    {
        echo '#include <inttypes.h>'
        echo '#include <stdio.h>'
        echo '#include <stdlib.h>'
        echo '#include <stile/stile.h>'
        echo 'void fragment(stile *space, stile_lock *lock, stile_hold hold, stile_status status);'
        echo 'void fragment(stile *space, stile_lock *lock, stile_hold hold, stile_status status)'
        echo '{ (void)space; (void)lock; (void)hold; (void)status;'
        cat "$1"
        echo '}'
    } >"$scratch/fragment.c"
    # Words.
    # shellcheck disable=SC2086
    run "$cc" -std=c11 $warnings -I"$source/include" -fsyntax-only "$scratch/fragment.c"
}

shell()
{
    sed -n 's|^\./dev \([a-z]*\).*|\1|p' "$1" >"$scratch/dev"
    while read -r word; do
        "$source/dev" help | grep -q "^  $word " || fail "there is no ./dev $word"
    done <"$scratch/dev"
    {
        echo 'set -eu'
        here "$1" | sed '/^\.\/dev /d'
    } >"$scratch/block.sh"
    (cd "$box" && timeout 60 sh "$scratch/block.sh") >"$scratch/log" 2>&1
}

shell_fails()
{
    for try in 1 2 3 4 5; do
        if ! shell "$1"; then return; fi
    done
    fail "it works $try times: $(cat "$1")"
}

sql()
{
    command -v sqlite3 >/dev/null || fail "there is no sqlite3 to run $1 with"
    case $(cat "$1") in
    *:fence*) {
        echo '.bail on'
        for fence in 5 5 4 6; do
            printf '.param set :id 1\n.param set :fence %s\n.param set :units %s\n' $fence $fence
            cat "$1"
            echo 'SELECT changes();'
        done
        echo 'SELECT units FROM stock;'
    } >"$scratch/sql"
        sqlite3 "$scratch/db" <"$scratch/sql" >"$scratch/log" 2>&1 || fail "$(cat "$scratch/log")"
        # A fence may write again, a lower one may not.
        [ "$(tr '\n' ' ' <"$scratch/log")" = "1 1 0 1 6 " ] || fail "it says $(cat "$scratch/log")" ;;
    *) run sqlite3 "$scratch/db" <"$1" ;;
    esac
}

blocks_of "$source/$document"
count=0
for block in "$scratch"/blocks/*; do
    [ -e "$block" ] || break
    case ${block##*.} in
    c) program "$block" ;;
    c-fragment) fragment "$block" ;;
    sh) shell "$block" || fail "$block: $(cat "$block" "$scratch/log")" ;;
    sh-fails) shell_fails "$block" ;;
    cmake) {
        printf 'cmake_minimum_required(VERSION 3.21)\nproject(outside LANGUAGES C)\n'
        cat "$block"
    } >"$box/CMakeLists.txt" ;;
    ini) here "$block" >"$box/stile.conf" ;;
    sql) sql "$block" ;;
    acl | text) ;;
    *) fail "a block of a kind that nothing checks: $block" ;;
    esac
    count=$((count + 1))
done
echo "$document: $count blocks"
