#!/bin/sh
# docs/redis.md says what the sources say: scripts, errors, commands, key parts.
# usage: redis.sh SOURCE_DIR
. "$(dirname "$0")/common.sh"
cd "$1"
document=docs/redis.md
redis=backends/redis

# Under the heading of each script stands what it opens with.
for file in "$redis"/lua/*.lua; do
    script=$(basename "$file" .lua)
    case $script in clock | grant | prelude) continue ;; esac
    awk '!/^--/ { exit } { sub(/^-- ?/, ""); print }' "$file" >"$scratch/opening"
    awk -v heading="### $script" '
        /^#/ { inside = $0 == heading }
        inside && /^```$/ { exit }
        inside && block { print }
        inside && /^```text$/ { block = 1 }
    ' "$document" >"$scratch/documented"
    [ -s "$scratch/documented" ] || fail "nothing about $script"
    run diff "$scratch/opening" "$scratch/documented"
done

# Each error code and its status, and no others.
sed -n 's/.*{"\([A-Z]*\)", \(STILE_[A-Z_]*\)}.*/\1|\2/p' "$redis/redis_error.c" | sort >"$scratch/codes"
[ "$(wc -l <"$scratch/codes")" -ge 10 ] || fail "redis_error.c was not understood"
table_of "$document" code | cut -d '|' -f 1,2 | sort >"$scratch/documented"
run diff "$scratch/codes" "$scratch/documented"

# The user may run what the library runs, and nothing else.
{
    sed -n "s/.*redis\.p\{0,1\}call('\([A-Z]*\)'.*/\1/p" "$redis"/lua/*.lua
    sed -n 's/.*stile__redis_arg\(_text\)\{0,1\}([^"]*"\([A-Z]*\)".*/\2/p' "$redis"/*.c
} | tr '[:upper:]' '[:lower:]' | sort -u >"$scratch/called"
# More than one on a line.
grep -ho "redis\.p\{0,1\}call('[A-Z]*'" "$redis"/lua/*.lua | sed "s/.*'\(.*\)'/\1/" |
    tr '[:upper:]' '[:lower:]' | sort -u >"$scratch/more"
sort -u "$scratch/called" "$scratch/more" >"$scratch/commands"
sed -n 's/^ACL SETUSER .* -@all //p' "$document" | tr ' ' '\n' | sed 's/^+//' | tr '|' '\n' |
    sort -u >"$scratch/documented"
[ "$(wc -l <"$scratch/commands")" -ge 20 ] || fail "the commands were not found"
run diff "$scratch/commands" "$scratch/documented"

# The parts of a key.
sed -n 's/.*part_names\[REDIS_PARTS\] = {\(.*\)};/\1/p' "$redis/redis_key.c" | tr ',' '\n' |
    tr -d ' "' | sed 's/^/stile:{lock:report}/' >"$scratch/keys"
[ -s "$scratch/keys" ] || fail "redis_key.c was not understood"
table_of "$document" key | cut -d '|' -f 1 >"$scratch/documented"
run diff "$scratch/keys" "$scratch/documented"
echo "as the sources"
