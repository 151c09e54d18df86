#!/bin/sh
# stile doctor.
. "$(dirname "$0")/common.sh"

# found LEVEL CHECK TEXT
found()
{
    says "^$1  *$2  *.*$3"
}

plain_server_has_nothing_bad()
{
    start_redis
    expect 0 doctor "redis://127.0.0.1:$port"
    [ ! -s "$err" ] || fail "$(cat "$err")"
    found OK version 'Redis [0-9]'
    found OK 'round trip' 'us, of 20'
    found OK clock 'within a second'
    found OK role 'a primary'
    found OK eviction 'noeviction'
    found WARN persistence 'nothing is kept'
    found OK replicas 'no replicas'
    found OK password 'its own machine alone'
    found OK commands 'are permitted'
    found OK messages 'arrives'
    found OK lock 'taken and given back'
    says '^0 BAD, [0-9]* WARN$'
    export STILE_URL="redis://127.0.0.1:$port"
    expect 0 doctor
    expect 0 doctor --url "redis://127.0.0.1:$port"
    # Nothing is left but the fence of the lock that it took.
    if redis --scan | grep -v 'stile-doctor-[0-9]*}:fence$'; then fail "it leaves keys"; fi
}

eviction_is_bad()
{
    serve_with --maxmemory 100mb --maxmemory-policy allkeys-lru
    expect 1 doctor
    found BAD eviction 'allkeys-lru'
    says 'set maxmemory-policy noeviction'
    redis CONFIG SET maxmemory 0 >/dev/null
    expect 0 doctor
    found WARN eviction 'not now'
}

server_that_keeps_its_log_is_ok()
{
    serve_with --appendonly yes --appendfsync always
    expect 0 doctor
    found OK persistence 'what was answered is kept'
    redis CONFIG SET appendfsync everysec >/dev/null
    expect 0 doctor
    found OK persistence 'loses the last second'
    redis CONFIG SET appendfsync no >/dev/null
    expect 0 doctor
    found WARN persistence 'half a minute'
    redis CONFIG SET appendonly no save '60 1' >/dev/null
    expect 0 doctor
    found WARN persistence 'only snapshots'
}

server_that_cannot_be_reached_is_125()
{
    expect 125 doctor "unix://$scratch/nobody"
    complains STILE_UNREACHABLE
    expect 125 doctor local:
    complains 'no server'
    expect 125 doctor nonsense
    expect 125 doctor
    complains 'which server'
    expect 125 doctor local: more
}

replica_is_bad()
{
    serve
    redis REPLICAOF 127.0.0.1 1 >/dev/null
    expect 1 doctor
    found BAD role 'a replica'
    found BAD lock 'could not take a lock'
}

open_server_on_all_interfaces_is_bad()
{
    serve
    redis CONFIG SET bind '*' >/dev/null
    expect 0 doctor
    found WARN password 'protected-mode alone'
    redis CONFIG SET protected-mode no >/dev/null
    expect 1 doctor
    found BAD password 'whoever does'
    redis CONFIG SET requirepass secret >/dev/null
    expect 0 doctor "unix://:secret@$scratch/redis.sock"
    found OK password 'nobody gets in without'
}

password_is_noticed_and_never_shown()
{
    serve_with --requirepass swordfish
    expect 0 doctor "unix://:swordfish@$scratch/redis.sock"
    says '^unix://\*\*\*@'
    says_not swordfish
    expect 0 doctor --json "unix://:swordfish@$scratch/redis.sock"
    says_not swordfish
    expect 125 doctor "unix://:herring@$scratch/redis.sock"
    complains STILE_AUTH
    says_not herring
    expect 125 doctor
}

# The user of docs/redis.md, with more or less.
add_user()
{
    sed -n 's/^ACL SETUSER //p' "$(dirname "$0")/../../docs/redis.md" >"$scratch/acl"
    # Words.
    # shellcheck disable=SC2046
    redis ACL SETUSER $(cat "$scratch/acl") "$@" >"$scratch/log"
    grep -qx OK "$scratch/log" || fail "$(cat "$scratch/log")"
}

user_without_info_is_told_what_was_not_looked_at()
{
    serve
    add_user
    expect 0 doctor "unix://stile:secret@$scratch/redis.sock"
    found WARN info 'cannot be looked at (not permitted)'
    found WARN config 'is not permitted'
    found OK user 'of its own'
    found WARN password 'cannot be looked at'
    found OK lock 'taken and given back'
    found OK messages arrives
}

user_who_may_not_lock_is_bad()
{
    serve
    add_user -zadd -hset +acl
    expect 1 doctor "unix://stile:secret@$scratch/redis.sock"
    found BAD commands '+zadd +hset$'
    add_user -publish
    expect 1 doctor "unix://stile:secret@$scratch/redis.sock"
    found BAD messages 'cannot be waited for'
    add_user -evalsha -script
    expect 1 doctor "unix://stile:secret@$scratch/redis.sock"
    found BAD lock 'could not'
}

narrow_limits_are_warned_of()
{
    serve_with --timeout 60 --tcp-keepalive 0 --client-output-buffer-limit 'pubsub 1kb 1kb 60' \
        --lua-time-limit 10 --enable-debug-command yes --min-replicas-to-write 1
    expect 1 doctor "redis://127.0.0.1:$port"
    found WARN connections 'timeout is 60 s'
    found WARN connections 'tcp-keepalive is 0'
    found WARN buffers '1024 bytes'
    found WARN scripts '10 ms'
    found WARN debug 'can crash it'
    found BAD replicas 'it refuses every lock'
}

json_is_one_object()
{
    serve
    expect 0 doctor --json
    says '^{"url": "unix://.*", "bad": 0, "warn": [0-9]*, "findings": \[$'
    says '^  {"level": "OK", "check": "lock", "what": "one was taken and given back", "do": ""},$'
    says '^\]}$'
    if command -v python3 >/dev/null; then
        python3 -c 'import json, sys; json.load(sys.stdin)' <"$out" || fail "no JSON"
    fi
}

# What doctor asks for is what the user in the document may.
commands_are_those_of_the_document()
{
    source=$(dirname "$0")/../..
    sed -n '/^static const char \*const commands/,/^};/s/^    {"\([a-z]*\)".*/\1/p' \
        "$source/tools/doctor_access.c" | sort >"$scratch/asked"
    sed -n 's/^ACL SETUSER //p' "$source/docs/redis.md" | tr ' ' '\n' |
        sed -n -e '/^+auth$\|^+select$\|^+client|setname$\|^+time$/d' -e 's/^+\([a-z]*\).*/\1/p' |
        sort >"$scratch/permitted"
    [ -s "$scratch/asked" ] || fail "no commands found"
    diff "$scratch/asked" "$scratch/permitted" || fail "doctor asks for other commands"
}

"$2"
