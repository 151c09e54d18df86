#!/bin/sh
# Every promise of docs/promises.md names tests that show it, and these exist.
# usage: promises.sh SOURCE_DIR
. "$(dirname "$0")/common.sh"
cd "$1"
document=docs/promises.md

# Tests are functions of cmocka, and of scripts that take a name.
{
    grep -rhoE '^static void [a-z_0-9]+\(void \*\*' tests --include='*.c' |
        sed 's/^static void //; s/(.*//'
    grep -rhoE '^[a-z_0-9]+\(\)( ?\{|$)' tests --include='*.sh' | sed 's/(.*//'
    sed -n 's/^ *add_test(NAME \([a-z_.]*\).*/\1/p' tests/*/CMakeLists.txt
    find tests -name '*.sh' | sed 's|.*/tests/||; s|^tests/||'
} | sort -u >"$scratch/tests"

grep -o '^- \*\*\([CSL]\|RL\)[0-9]*\*\*' "$document" | tr -d ' *-' | sort >"$scratch/promises"
[ "$(wc -l <"$scratch/promises")" -ge 15 ] || fail "the promises were not found"
[ -z "$(uniq -d "$scratch/promises")" ] || fail "twice: $(uniq -d "$scratch/promises")"
table_of "$document" promise >"$scratch/table"
cut -d '|' -f 1 "$scratch/table" | sort >"$scratch/shown"
run diff "$scratch/promises" "$scratch/shown"

# The last column of both tables: names with commas between them.
table_of "$document" fault >>"$scratch/table"
while read -r row; do
    for test in $(echo "${row##*|}" | tr ',' ' '); do
        grep -qx -e "$test" "$scratch/tests" || fail "there is no test $test: $row"
        echo "$test"
    done >"$scratch/named"
    [ -s "$scratch/named" ] || fail "nothing shows: $row"
done <"$scratch/table"
echo "$(wc -l <"$scratch/promises") promises"
