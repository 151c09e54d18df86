#!/bin/sh
# stile lock.  Commands in single quotes are for the shells that it runs.
# shellcheck disable=SC2016
. "$(dirname "$0")/common.sh"

queued()
{
    [ "$(redis ZCARD "stile:{lock:$1}:queue")" = "$2" ]
}

exit_status_is_that_of_the_command()
{
    serve
    expect 0 lock report -- true
    expect 7 lock report -- sh -c 'exit 7'
    expect 137 lock report -- sh -c 'kill -KILL $$'
    expect 143 lock report sh -c 'kill -TERM $$'
    says_not .
    expect 0 lock report -- echo one two
    [ "$(cat "$out")" = "one two" ] || fail "$(cat "$out")"
    expect 5 lock -w 1 report -n --label x -- sh -c 'exit 5'
    expect 3 lock -n -- -report sh -c 'exit 3'
}

command_that_cannot_run_is_126_or_127()
{
    serve
    expect 127 lock report -- stile-no-such-command
    complains 'stile-no-such-command: No such file'
    expect 126 lock report -- /
    expect 0 lock report -n -- true
}

misuse_is_125_and_runs_nothing()
{
    serve
    for arguments in '' report 'report --' '-n report'; do
        # Words.
        # shellcheck disable=SC2086
        expect 125 lock $arguments
        complains '^stile: lock: which '
    done
    for arguments in '--nonsense report' '-w x report' '-w -1 report' '-w 1e3 report' \
        '-E 256 report' '-E -1 report' '--lease . report' '--lease 0.001 report' \
        '--hold-for 999999999999 report' '--url nonsense: report'; do
        # Words.
        # shellcheck disable=SC2086
        expect 125 lock $arguments -- touch "$scratch/ran"
        [ -s "$err" ] || fail "silent: $arguments"
        [ ! -e "$scratch/ran" ] || fail "it ran: $arguments"
    done
}

nothing_runs_without_protection()
{
    expect 125 lock report -- touch "$scratch/ran"
    complains 'there is no URL'
    export STILE_URL=local:
    expect 125 lock report -- touch "$scratch/ran"
    complains 'local: lives inside one process'
    printf '[stile]\nurl = local:\n' >"$scratch/stile.conf"
    expect 125 lock report --url "file:$scratch/stile.conf" -- touch "$scratch/ran"
    expect 125 lock report --url "unix://$scratch/nobody" -- touch "$scratch/ran"
    complains STILE_UNREACHABLE
    [ ! -e "$scratch/ran" ] || fail "it ran"
    expect 0 lock report --url local: -- touch "$scratch/ran"
    [ -e "$scratch/ran" ] || fail "local: was asked for, and it did not run"
}

lock_that_is_taken_is_a_conflict()
{
    serve
    hold report
    expect 1 lock -n report -- true
    says_not .
    expect 1 lock --wait 0 report -- true
    expect 42 lock --nonblock --conflict-exit-code 42 report -- true
    begin=$(now_ms)
    expect 9 lock -w 0.3 -E 9 report -- true
    took=$(($(now_ms) - begin))
    [ "$took" -ge 300 ] || fail "-w 0.3 took $took ms"
    [ "$took" -lt 5000 ] || fail "-w 0.3 took $took ms"
    expect 0 lock -n other -- true
    let_go
    expect 0 lock -n report -- true
}

commands_exclude_each_other()
{
    serve
    echo 0 >"$scratch/count"
    pids=
    for worker in 1 2 3 4 5 6; do
        (
            for _ in 1 2 3 4 5; do
                "$stile" lock report -- sh -c 'mkdir "$0/inside" || exit 9
                    count=$(cat "$0/count"); echo $((count + 1)) >"$0/count"
                    rmdir "$0/inside"' "$scratch" || exit 1
            done
        ) 2>"$scratch/$worker.err" &
        pids="$pids $!"
    done
    for pid in $pids; do expect_end 0 "$pid"; done
    [ "$(cat "$scratch/count")" -eq 30 ] || fail "$(cat "$scratch/count") of 30"
}

environment_names_lock_and_fence()
{
    serve
    expect 0 lock 'a b' --url "$STILE_URL?lease_ms=5000" -- sh -c 'echo "$STILE_LOCK|$STILE_URL|$STILE_FENCE"'
    IFS='|' read -r name url fence <"$out"
    [ "$name" = 'a b' ] || fail "STILE_LOCK is $name"
    [ "$url" = "$STILE_URL?lease_ms=5000" ] || fail "STILE_URL is $url"
    [ "$fence" -gt 0 ] || fail "STILE_FENCE is $fence"
    expect 0 lock 'a b' -- sh -c 'test "$STILE_FENCE" -gt "$0"' "$fence"
}

signals_reach_the_whole_group()
{
    serve
    # A grandchild tells each signal; and so does the command itself.  INT and QUIT
    # are ignored by what a shell has in the background.
    cat >"$scratch/listen" <<'END'
echo $$ >"$1.pid"
for name in HUP USR1 USR2 TERM; do
    trap "echo $name >>\"$1\"" $name
done
[ "$2" != outer ] || sh "$0" "$1.inner" inner &
touch "$1.ready"
while :; do sleep 0.01; done
END
    "$stile" lock report -- sh "$scratch/listen" "$scratch/told" outer 2>"$scratch/1.err" &
    pid=$!
    await test -e "$scratch/told.ready"
    await test -e "$scratch/told.inner.ready"
    for name in HUP USR1 USR2 TERM; do
        kill -s $name "$pid"
        await grep -qx $name "$scratch/told"
        await grep -qx $name "$scratch/told.inner"
    done
    kill -KILL "-$(cat "$scratch/told.pid")"
    expect_end 137 "$pid"
    expect 0 lock -n report -- true
}

# A command that sleeps, and says by which pid in $scratch/pid.
sleeper='echo $$ >"$0/new"; mv "$0/new" "$0/pid"; exec sleep 100'

signal_ends_the_command_and_frees_the_lock()
{
    serve
    "$stile" lock report -- sh -c "$sleeper" "$scratch" 2>"$scratch/1.err" &
    pid=$!
    await test -e "$scratch/pid"
    kill -TERM "$pid"
    expect_end 143 "$pid"
    expect 0 lock -n report -- true
}

signal_that_was_ignored_stays_ignored()
{
    serve
    (
        trap '' HUP
        exec "$stile" lock report -- sh -c 'kill -HUP $$; exit 4'
    ) 2>"$scratch/1.err" &
    expect_end 4 $!
}

interrupted_wait_leaves_no_waiter()
{
    serve
    hold report
    for name in TERM HUP; do
        "$stile" lock report -- touch "$scratch/ran" 2>"$scratch/1.err" &
        pid=$!
        await queued report 1
        begin=$(now_ms)
        kill -s $name "$pid"
        case $name in
        TERM) expect_end 143 "$pid" ;;
        HUP) expect_end 129 "$pid" ;;
        esac
        [ $(($(now_ms) - begin)) -lt 5000 ] || fail "$name ended it after $(($(now_ms) - begin)) ms"
        await queued report 0
    done
    let_go
    [ ! -e "$scratch/ran" ] || fail "it ran"
    expect 0 lock -n report -- true
}

waiting_command_gets_the_lock()
{
    serve
    hold report
    "$stile" lock -w 60 report -- touch "$scratch/ran" 2>"$scratch/1.err" &
    pid=$!
    await queued report 1
    [ ! -e "$scratch/ran" ] || fail "it ran beside the holder"
    let_go
    expect_end 0 "$pid"
    [ -e "$scratch/ran" ] || fail "it did not run"
}

# The command ignores TERM and writes down when it is alive, every few ms.
beat='trap "" TERM; while :; do date +%s%3N >"$0/beat.new"; mv "$0/beat.new" "$0/beat"; sleep 0.005; done'

lost_lock_ends_the_command_inside_its_lease()
{
    serve
    "$stile" lock report --lease 2 -- sh -c "$beat" "$scratch" 2>"$scratch/1.err" &
    pid=$!
    await test -s "$scratch/beat"
    kill -STOP "$server"
    stopped=$(now_ms)
    expect_end 124 "$pid"
    took=$(($(cat "$scratch/beat") - stopped))
    kill -CONT "$server"
    # The last renewal was answered before the server stopped.
    [ "$took" -lt 2000 ] || fail "it went on for $took ms after the last renewal, of a lease of 2000"
    [ "$took" -gt 500 ] || fail "it was ended after $took ms of 2000"
    grep -q 'ending the command before that' "$scratch/1.err" || fail "$(cat "$scratch/1.err")"
    echo "the command, which ignores TERM, ended $took ms after the server stopped; lease 2000 ms"
}

command_that_heeds_term_can_clean_up()
{
    serve
    "$stile" lock report --lease 2 -- sh -c 'trap "touch \"$0/clean\"; exit 0" TERM
        touch "$0/up"; while :; do sleep 0.01; done' "$scratch" 2>"$scratch/1.err" &
    pid=$!
    await test -e "$scratch/up"
    kill -KILL "$server"
    expect_end 124 "$pid"
    [ -e "$scratch/clean" ] || fail "it was killed and not told"
    server=
}

command_ends_with_a_stile_that_is_killed()
{
    serve
    "$stile" lock report -- sh -c "$sleeper" "$scratch" 2>"$scratch/1.err" &
    pid=$!
    await test -e "$scratch/pid"
    child=$(cat "$scratch/pid")
    kill -KILL "$pid"
    expect_end 137 "$pid"
    await not kill -0 "$child"
}

command_inherits_nothing_that_holds_the_lock()
{
    serve
    ls /proc/self/fd >"$scratch/without" 2>"$err"
    expect 0 lock -o report -- ls /proc/self/fd
    diff "$scratch/without" "$out" || fail "it inherits descriptors"
    # What it leaves behind does not keep the lock.
    expect 0 lock report -- sh -c 'sleep 100 >/dev/null 2>&1 & echo $!'
    left=$(cat "$out")
    expect 0 lock -n report -- true
    kill "$left"
}

# is_stopped PID
is_stopped()
{
    grep -q '^State:[[:space:]]*T' "/proc/$1/status"
}

# A command without children, since one that is stopped between vfork and exec keeps
# its parent from being stopped.
command_that_was_stopped_for_too_long_does_not_go_on()
{
    serve
    "$stile" lock report --lease 1 -- sh -c "$sleeper" "$scratch" 2>"$scratch/1.err" &
    pid=$!
    await test -e "$scratch/pid"
    kill -TSTP "$pid"
    await is_stopped "$(cat "$scratch/pid")"
    await is_stopped "$pid"
    # Nothing renews it now.
    expect 0 lock report -w 30 -- true
    kill -CONT "$pid"
    expect_end 124 "$pid"
    grep -q 'is lost; ending the command' "$scratch/1.err" || fail "$(cat "$scratch/1.err")"
}

command_that_was_stopped_shortly_goes_on()
{
    serve
    "$stile" lock report -- sh -c "$sleeper" "$scratch" 2>"$scratch/1.err" &
    pid=$!
    await test -e "$scratch/pid"
    kill -TSTP "$pid"
    await is_stopped "$pid"
    kill -CONT "$pid"
    await not is_stopped "$pid"
    await not is_stopped "$(cat "$scratch/pid")"
    kill -USR1 "$pid"
    expect_end 138 "$pid"
}

command_reads_from_the_terminal()
{
    serve
    command -v script >/dev/null || fail "there is no script(1) to make a terminal with"
    echo hello | script -qec "'$stile' lock report -- sh -c 'read -r line; echo got:\$line; exit 6'" \
        /dev/null >"$out" || got=$?
    says 'got:hello'
    [ "${got:-0}" -eq 6 ] || fail "exit status ${got:-0}"
}

verbose_says_what_happens()
{
    serve
    expect 0 lock --verbose report -- true
    complains 'lock "report" is taken, fence [0-9]*'
    complains 'lock "report" is given back'
    expect 0 lock --verbose report -- sh -c 'sleep 100 >/dev/null 2>&1 & echo $!'
    complains 'left processes behind'
    kill "$(cat "$out")"
}

lock_taken_by_force_ends_the_command()
{
    serve
    "$stile" lock report --lease 2 -- sh -c "$beat" "$scratch" 2>"$scratch/1.err" &
    pid=$!
    await test -s "$scratch/beat"
    expect 0 release --force report
    expect_end 124 "$pid"
    grep -q 'is lost; ending the command' "$scratch/1.err" || fail "$(cat "$scratch/1.err")"
}

command_whose_lock_was_taken_can_clean_up()
{
    serve
    "$stile" lock report --lease 2 -- sh -c '
        trap "touch \"$0/cleaning\"; sleep 0.3; touch \"$0/clean\"; exit 0" TERM
        touch "$0/up"; while :; do sleep 0.01; done' "$scratch" 2>"$scratch/1.err" &
    pid=$!
    await test -e "$scratch/up"
    expect 0 release --force report
    await test -e "$scratch/cleaning"
    # What wakes it meanwhile does not make it impatient.
    kill -WINCH "$pid"
    expect_end 124 "$pid"
    [ -e "$scratch/clean" ] || fail "it was killed while it cleaned up"
}

hold_for_keeps_the_lock_after_a_short_command()
{
    serve
    begin=$(now_ms)
    expect 0 lock report --hold-for 1.5 -- true
    [ $(($(now_ms) - begin)) -lt 1400 ] || fail "it waited itself"
    expect 1 lock -n report -- true
    expect 0 lock -w 10 report -- true
    took=$(($(now_ms) - begin))
    [ "$took" -ge 1400 ] || fail "kept for $took ms of 1500"
}

verbose_waiter_learns_who_is_in_the_way()
{
    serve
    hold report --label 'the nightly one'
    expect 1 lock --verbose -w 0.3 report -- true
    complains 'is held by .* pid [0-9]*.* "the nightly one"; 1 waiting'
    complains 'was not to be had in time'
    let_go
}

"$2"
