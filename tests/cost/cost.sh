#!/bin/sh
# What an uncontended acquire and release costs, seen from outside the process.
# usage: cost.sh TEST COST_PAIRS COST_INTERPOSER
set -eu
test=$1 program=$2 interposer=$3
pairs=100000

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

fail()
{
    echo "FAILED: $*" >&2
    exit 1
}

# What the interposer counted in a run with the arguments.
counts()
{
    LD_PRELOAD=$interposer "$program" "$@" || fail "cost_pairs $*"
}

# How many system calls there were between the marks in a run with the arguments, in
# all threads and in servers; and which, in $scratch/between.
system_calls()
{
    command -v strace >/dev/null || fail "strace is not installed"
    strace -f -o "$scratch/trace" "$program" "$@" >"$scratch/log" 2>&1 ||
        fail "strace cost_pairs $*: $(cat "$scratch/log")"
    [ "$(grep -c -e 'write(999, "begin"' -e 'write(999, "end"' "$scratch/trace")" = 2 ] ||
        fail "strace did not see both marks"
    sed -e '1,/write(999, "begin"/d' -e '/write(999, "end"/,$d' "$scratch/trace" \
        >"$scratch/between"
    wc -l <"$scratch/between"
}

# expect WHAT WANTED GOT
expect()
{
    [ "$3" = "$2" ] || fail "$1: $3, and should be: $2"
}

case $test in
local_pair_allocates_nothing_and_reads_no_clock)
    expect "$pairs pairs" "allocations 0 frees 0 clocks 0" "$(counts local $pairs)"
    expect "with a malloc among them" "allocations 1 frees 1 clocks 0" \
        "$(counts local $pairs malloc)"
    expect "with a clock among them" "allocations 0 frees 0 clocks 1" \
        "$(counts local $pairs clock)"
    ;;
local_pair_makes_no_system_call)
    number=$(system_calls local $pairs)
    [ "$number" -eq 0 ] || fail "$pairs pairs made $number: $(head "$scratch/between")"
    number=$(system_calls local $pairs syscall)
    [ "$number" -eq 1 ] || fail "one among them, and $number were seen"
    ;;
redis_pair_allocates_nothing)
    found=$(counts redis 5000)
    expect "5000 pairs" "allocations 0 frees 0" "${found% clocks *}"
    found=$(counts redis 5000 malloc)
    expect "with a malloc among them" "allocations 1 frees 1" "${found% clocks *}"
    ;;
redis_pair_makes_six_system_calls)
    # Of the thread that makes the pairs: for each of two commands send, poll, receive;
    # and now and then some randomness in store, or a look at a connection that lay
    # idle because the machine was busy.  One more for each pair would make 7000.
    system_calls redis 1000 >/dev/null
    thread=$(sed -n 's/ .*write(999, "begin".*//p' "$scratch/trace")
    number=$(grep "^$thread " "$scratch/between" | grep -cv 'resumed>')
    [ "$number" -ge 4000 ] || fail "1000 pairs cannot make only $number"
    [ "$number" -le 6900 ] || fail "1000 pairs made $number"
    ;;
*)
    fail "no such test: $test"
    ;;
esac
