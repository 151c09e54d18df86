#!/bin/sh
# For the scripts beside it: a folder that goes away, a server, and how to fail.
set -eu
unset STILE_URL

scratch=$(mktemp -d)
server=
end()
{
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || :
        wait "$server" 2>/dev/null || :
    fi
    rm -rf "$scratch"
}
trap end EXIT
trap 'exit 1' HUP INT TERM

fail()
{
    echo "FAILED: $*" >&2
    exit 1
}

# Runs a command that has something to say only when it fails.
run()
{
    "$@" >"$scratch/log" 2>&1 || fail "$(cat "$scratch/log")"
}

# Starts a server, with these arguments besides, on $scratch/redis.sock and on
# $port of 127.0.0.1.
start_redis()
{
    for try in 1 2 3 4 5 6 7 8 9; do
        port=$((20000 + ($$ * 9 + try) % 40000))
        redis-server --port "$port" --bind 127.0.0.1 --unixsocket "$scratch/redis.sock" --save '' \
            --dir "$scratch" "$@" >"$scratch/redis.log" 2>&1 &
        server=$!
        while kill -0 "$server" 2>/dev/null; do
            if redis-cli -s "$scratch/redis.sock" ping >/dev/null 2>&1; then
                return
            fi
            sleep 0.05
        done
        wait "$server" || :
        server=
    done
    fail "redis-server did not start: $(cat "$scratch/redis.log")"
}

# The code blocks of a document as files, named by line and kind: 0012.c
blocks_of()
{
    mkdir "$scratch/blocks"
    awk -v out="$scratch/blocks" '
        /^```/ && name == "" {
            kind = substr($0, 4)
            gsub(/ /, "-", kind)
            if (kind == "") kind = "nothing"
            name = sprintf("%s/%04d.%s", out, NR, kind)
            printf "" >name
            next
        }
        /^```$/ { close(name); name = ""; next }
        name != "" { print >name }
        END { if (name != "") { print "a code block has no end"; exit 1 } }
    ' "$1" || fail "$1"
}

# The tables of a document that have this as the head of their first column,
# without quotes and blanks around the columns, "|" between them.
table_of()
{
    awk -v head="$2" '
        !/^\|/ { inside = 0; next }
        {
            gsub(/`/, "")
            gsub(/ *\| */, "|")
            sub(/^\|/, "")
            sub(/\|$/, "")
        }
        inside && !/^-+\|/ { print }
        index($0, head "|") == 1 { inside = 1 }
    ' "$1"
}
