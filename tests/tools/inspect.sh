#!/bin/sh
# stile inspect, locks and release.
. "$(dirname "$0")/common.sh"

queued()
{
    "$stile" inspect "$1" | grep -q "^  waiting  $2\$"
}

wait_in_line()
{
    "$stile" lock report --label "$1" -- touch "$scratch/$1.ran" 2>"$scratch/$1.err" &
}

# Some JSON, if there is something to read it with.
is_json()
{
    if command -v python3 >/dev/null; then
        python3 -c 'import json, sys; json.load(sys.stdin)' <"$out" || fail "no JSON: $(cat "$out")"
    fi
}

inspection_tells_holder_and_queue_in_order()
{
    serve
    expect 0 inspect report
    [ "$(head -n 1 "$out")" = 'lock "report": free' ] || fail "$(cat "$out")"
    hold report --label 'the holder'
    wait_in_line second
    second=$!
    await queued report 1
    wait_in_line third
    third=$!
    await queued report 2
    expect 0 inspect report
    says '^lock "report": held$'
    says "^  by       [^ ]* pid $holder.* \"the holder\"\$"
    says '^  since    20[0-9-]* [0-9:]*, [0-9.]* s ago$'
    says '^  lease    ends in 2[0-9]\.[0-9] s unless'
    says '^  fence    [0-9]*$'
    says '^  waiting  2$'
    says "^        1  [^ ]* pid $second.* \"second\", for [0-9.]* s\$"
    says "^        2  [^ ]* pid $third.* \"third\", for [0-9.]* s\$"
    expect 0 inspect --json report
    is_json
    says '"kind": "lock", "name": "report", "held": true, "fence": [1-9]'
    says "\"holder\": {\"host\": \"[^\"]*\", \"label\": \"the holder\", \"pid\": $holder,"
    says "\"waiters\": 2, \"queue\": \[{.*\"second\".*}, {.*\"third\".*}\]}\$"
    let_go
    expect_end 0 "$second"
    expect_end 0 "$third"
    expect 0 inspect report
    says 'of the last hold'
}

label_is_the_first_words_of_the_command()
{
    serve
    # For the shell that it runs.
    # shellcheck disable=SC2016
    expect 0 lock report -- sh -c '"$1" inspect report' is-the-shell "$stile"
    # shellcheck disable=SC2016
    says '"sh -c \\"$1\\" inspect report is-the-shell'
    long=$(printf '%080d' 0)
    expect 0 lock report -- env "x$long=1" "$stile" inspect report
    says '"env"$'
}

# Names and labels of strangers do nothing to a terminal, and come back as they were.
odd=$(printf 'a {b}%%41:}\033[31m"q"\\ \303\251 \377*')

names_come_back_from_their_keys()
{
    serve
    hold "$odd" --label "$(printf 'x\033]0;y\007')"
    expect 0 locks
    says '"a {b}%41:}\\x1b\[31m\\"q\\"\\\\ é \\xff\*"  .* "x\\x1b\]0;y\\x07"$'
    expect 0 locks --json
    is_json
    says '"name": "a {b}%41:}\\u001b\[31m\\"q\\"\\\\ é \\u00ff\*"'
    expect 0 inspect "$odd"
    says ': held$'
    let_go
}

locks_are_those_held_or_waited_for()
{
    serve
    expect 0 locks
    says '^No lock is held or waited for\.$'
    expect 0 locks --json
    is_json
    for name in one two three; do expect 0 lock $name -- true; done
    # Others' keys, and another prefix's.
    redis SET 'stile:{other:x}' 1 >/dev/null
    redis SET 'stile:{lock' 1 >/dev/null
    redis SET 'stile:{lock:}' 1 >/dev/null
    redis SET 'unstile:{lock:y}' 1 >/dev/null
    expect 0 locks
    says '^No lock'
    hold two
    wait_in_line report
    expect_end 0 $!
    "$stile" lock two -- true 2>"$scratch/1.err" &
    waiter=$!
    await queued two 1
    expect 0 locks
    [ "$(wc -l <"$out")" -eq 2 ] || fail "$(cat "$out")"
    says '^KIND '
    says '^lock   [0-9.]* s  *2[0-9]\.[0-9] s  *1  "two"  .*pid'
    let_go
    expect_end 0 "$waiter"
    STILE_URL="$STILE_URL?prefix=a*[b]?"
    hold star
    expect 0 locks
    says '"star"'
    let_go
}

many_locks_are_listed_once_each_and_sorted()
{
    serve
    hold first
    expect 0 lock a -- "$stile" lock c -- "$stile" lock b -- "$stile" locks
    sed 1d "$out" | sed 's/.*  "\([a-z]*\)"  .*/\1/' | tr '\n' ' ' >"$scratch/names"
    [ "$(cat "$scratch/names")" = 'a b c first ' ] || fail "$(cat "$out")"
    let_go
}

reentrant_locks_have_their_kind()
{
    serve
    hold report
    expect 0 inspect --kind rlock report
    says '^rlock "report": free'
    expect 1 release --force --kind rlock report
    complains 'nobody held rlock "report"'
    expect 2 inspect --kind clock report
    complains 'neither lock nor rlock'
    let_go
}

release_takes_from_the_holder_and_gives_to_the_first()
{
    serve
    expect 1 release --force report
    complains 'nobody held lock "report"'
    hold report --label 'the holder'
    wait_in_line second
    second=$!
    await queued report 1
    expect 2 release report
    complains 'say --force'
    expect 0 release report --force
    says "^lock \"report\" was taken from [^ ]* pid $holder.* \"the holder\"\$"
    says '^1 waited for it; the first has it now$'
    expect_end 0 "$second"
    [ -e "$scratch/second.ran" ] || fail "the first did not get it"
    touch "$scratch/free"
    wait "$holder" || :
    holder=
}

nothing_is_to_be_seen_of_local()
{
    for word in "inspect report" locks "release --force report"; do
        # Words.
        # shellcheck disable=SC2086
        expect 1 $word --url local:
        complains 'local: lives inside one process'
        # shellcheck disable=SC2086
        expect 1 $word
        complains 'there is no URL'
        # shellcheck disable=SC2086
        expect 1 $word --url "unix://$scratch/nobody"
        complains STILE_UNREACHABLE
        # shellcheck disable=SC2086
        expect 2 $word --nonsense
        # shellcheck disable=SC2086
        expect 2 $word more words
    done
    expect 2 inspect
    complains 'takes one NAME'
}

"$2"
