#!/bin/sh
# For the scripts beside it, beyond what the documents' tests have: one test of a
# script for each call, and waiting for conditions.
# usage: SCRIPT STILE TEST
. "$(dirname "$0")/../docs/common.sh"
stile=$1
out=$scratch/out err=$scratch/err
holder=

end_all()
{
    if [ -n "$holder" ]; then kill "$holder" 2>/dev/null || :; fi
    end
}
trap end_all EXIT

# Runs the command, which must end with this status.
expect()
{
    wanted=$1
    shift
    got=0
    "$stile" "$@" >"$out" 2>"$err" || got=$?
    [ "$got" -eq "$wanted" ] || fail "exit status $got, not $wanted: $* $(cat "$out" "$err")"
}
says()
{
    grep -q -e "$1" "$out" || fail "no \"$1\" in: $(cat "$out")"
}
says_not()
{
    if grep -q -e "$1" "$out" "$err"; then fail "\"$1\" in: $(cat "$out" "$err")"; fi
}
complains()
{
    grep -q -e "$1" "$err" || fail "no \"$1\" in: $(cat "$err")"
}

# Waits until a command is true.
await()
{
    rounds=0
    until "$@" >/dev/null 2>&1; do
        rounds=$((rounds + 1))
        [ "$rounds" -lt 1000 ] || fail "never: $*"
        sleep 0.01
    done
}
not()
{
    if "$@"; then return 1; fi
}

# Waits for a process of this shell, which must end with this status.
expect_end()
{
    got=0
    wait "$2" || got=$?
    [ "$got" -eq "$1" ] || fail "exit status $got, not $1: $(cat "$scratch"/*.err 2>/dev/null)"
}

now_ms()
{
    date +%s%3N
}

redis()
{
    redis-cli -s "$scratch/redis.sock" "$@"
}

# A server that STILE_URL names, with these arguments besides.
serve_with()
{
    start_redis "$@"
    STILE_URL=unix://$scratch/redis.sock
    export STILE_URL
}

serve()
{
    serve_with --loglevel notice
}

# Takes the lock in the background until $scratch/free is there: $holder.
hold()
{
    rm -f "$scratch/free" "$scratch/held"
    # The command's own shell expands it.
    # shellcheck disable=SC2016
    "$stile" lock "$@" -- sh -c 'touch "$0/held"; until [ -e "$0/free" ]; do sleep 0.01; done' \
        "$scratch" 2>"$scratch/holder.err" &
    holder=$!
    await test -e "$scratch/held"
}
let_go()
{
    touch "$scratch/free"
    expect_end 0 "$holder"
    holder=
}
