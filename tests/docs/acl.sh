#!/bin/sh
# The user of docs/redis.md can do all that stile does, and nothing else.
# That each word of its line is needed says redis.sh.
# usage: acl.sh SOURCE_DIR BUILD_DIR
. "$(dirname "$0")/common.sh"
source=$1 bin=$2/bin
cd "$source"

blocks_of docs/redis.md
start_redis --requirepass other
cli()
{
    timeout 5 redis-cli -s "$scratch/redis.sock" --no-auth-warning "$@" 2>&1
}
# The words of the line, as they stand there.
# shellcheck disable=SC2046
[ "$(cli -a other $(cat "$scratch"/blocks/*.acl))" = OK ] || fail "the server does not take the line"
url=unix://stile:secret@$scratch/redis.sock

run "$bin/flash_sale" --url "$url" --processes 4 --threads 2
grep -q '^nothing was oversold$' "$scratch/log" || fail "$(cat "$scratch/log")"
run "$bin/stile" ping --url "$url?db=1"
# Other databases, and the way without loaded scripts.
[ "$(cli -a other SCRIPT FLUSH)" = OK ] || fail "SCRIPT FLUSH"
run "$bin/stile" ping --url "$url"
[ "$(cli -a other ACL LOG | grep -c reason)" -eq 0 ] || fail "refused: $(cli -a other ACL LOG)"

refused()
{
    case $(cli --user stile --pass secret "$@") in
    NOPERM*) ;;
    *) fail "the user may: $*" ;;
    esac
}
refused FLUSHALL
refused FLUSHDB
refused KEYS '*'
refused CONFIG GET '*'
refused SCRIPT FLUSH
refused ACL WHOAMI
refused GET other
refused SUBSCRIBE other
refused PUBLISH other x
case $(cli --user stile --pass secret EVAL 'return redis.call("GET", "other")' 0) in
*"user executing the script can't"* | NOPERM*) ;;
*) fail "a script of the user reads a key of others" ;;
esac
case $(cli --user stile --pass secret EVAL 'return redis.call("FLUSHALL")' 0) in
*"user executing the script can't"* | NOPERM*) ;;
*) fail "a script of the user may FLUSHALL" ;;
esac
got=0
"$bin/stile" ping --url "$url?prefix=other:" >"$scratch/log" 2>&1 || got=$?
[ "$got" -eq 1 ] || fail "another prefix: exit status $got"
grep -q STILE_REFUSED "$scratch/log" || fail "another prefix: $(cat "$scratch/log")"
