#!/bin/sh
# The stile command.
# usage: command.sh BUILD_DIR VERSION
. "$(dirname "$0")/common.sh"
stile=$1/bin/stile version=$2
out=$scratch/out err=$scratch/err

# Runs the command, which must end with this status.
expect()
{
    wanted=$1
    shift
    got=0
    "$stile" "$@" >"$out" 2>"$err" || got=$?
    [ "$got" -eq "$wanted" ] ||
        fail "exit status $got, not $wanted: $* $(cat "$out" "$err")"
}
says()
{
    grep -q -e "$1" "$out" || fail "no \"$1\" in: $(cat "$out")"
}
complains()
{
    grep -q -e "$1" "$err" || fail "no \"$1\" in: $(cat "$err")"
}

expect 0 version
[ "$(cat "$out")" = "stile $version" ] || fail "the version: $(cat "$out")"
expect 0 --version
for help in help --help -h; do
    expect 0 $help
    says '^usage: stile WORD'
    says '^  ping '
    [ ! -s "$err" ] || fail "help complains"
done

# What it does not understand.
expect 2
complains '^usage'
[ ! -s "$out" ] || fail "usage on stdout"
expect 2 nonsense
complains 'no word "nonsense"'
expect 2 version now
complains 'takes no argument'
expect 2 ping now
complains 'takes no "now"'
for count in 0 -1 x 1x '' 1000001 99999999999999999999; do
    expect 2 ping --count "$count"
    complains 'not a number from 1 to 1000000'
done
expect 2 ping --count
expect 2 ping --nonsense
expect 2 ping --url nonsense:
complains 'STILE_INVALID: .*no scheme nonsense:'
expect 1 ping --url rediss://host
complains 'STILE_UNSUPPORTED: .*not built yet'

# local:
expect 0 ping
[ "$(grep -c '^local: [1-4]: taken in [0-9.]* us, given back in [0-9.]* us, fence [1-4]$' "$out")" \
    -eq 4 ] || fail "four pairs: $(cat "$out")"
says '^local: 4 of 4 pairs; .*least [0-9.]* us, mean [0-9.]* us, most [0-9.]* us$'
expect 0 ping --count 2 --url local:
says '^local: 2 of 2 pairs;'
if "$stile" ping >/dev/full 2>"$err"; then fail "a full disk is no error"; fi
complains 'could not be written'

# A server.
start_redis --requirepass secret
expect 0 ping --url "redis://:secret@127.0.0.1:$port/0"
says '^redis: 4 of 4 pairs;'
if grep -q -e secret "$out"; then fail "it prints the password"; fi
STILE_URL=unix://:secret@$scratch/redis.sock
export STILE_URL
expect 0 ping --count 1
says '^unix: 1 of 1 pairs;'
expect 1 ping --url "redis://:wrong@127.0.0.1:$port/0"
complains STILE_AUTH
if grep -q -e wrong "$err"; then fail "it prints the password"; fi

# It leaves nothing that is taken, and no key without an end.
for key in $(redis-cli -p "$port" -a secret --no-auth-warning --scan); do
    case $key in
    *:fence) ;;
    *) fail "it leaves $key" ;;
    esac
    [ "$(redis-cli -p "$port" -a secret --no-auth-warning TTL "$key")" -gt 0 ] || fail "$key has no end"
done

# It goes away in the middle.
"$stile" ping --url "$STILE_URL?command_timeout_ms=300&connect_timeout_ms=300" --count 1000000 \
    >"$out" 2>"$err" &
pinging=$!
until grep -q '^unix: 3:' "$out"; do sleep 0.02; done
kill -9 "$server"
wait "$server" 2>/dev/null || :
server=
got=0
wait "$pinging" || got=$?
[ "$got" -eq 1 ] || fail "a server that went: exit status $got"
complains 'STILE_UNREACHABLE\|STILE_UNKNOWN'
says '^unix: [0-9]* of 1000000 pairs;'
expect 1 ping
complains 'STILE_UNREACHABLE'
