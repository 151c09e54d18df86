#!/bin/sh
# The options in the README are those of stile_options, with their defaults and
# bounds.
# usage: options.sh SOURCE_DIR DOCS_OPTIONS
. "$(dirname "$0")/common.sh"
source=$1 program=$2

table_of "$source/README.md" option >"$scratch/table"
cut -d '|' -f 1 "$scratch/table" | sort >"$scratch/documented"
sed -n '/^typedef struct stile_options {/,/^} stile_options;/p' "$source/include/stile/space.h" |
    sed -n -e 's/^    \(const char \*\|int64_t \)\([a-z_]*\);$/\2/p' \
        -e 's/^    bool no_\([a-z_]*\);$/\1/p' | sort >"$scratch/declared"
[ "$(wc -l <"$scratch/declared")" -ge 10 ] || fail "space.h was not understood"
run diff "$scratch/declared" "$scratch/documented"

# name|default|range|text
while IFS='|' read -r name default range _; do
    case $range in
    *' to '*) run "$program" "$name" "$default" "${range%% to *}" "${range##* to }" ;;
    *) run "$program" "$name" "$default" ;;
    esac
done <"$scratch/table"
echo "$(wc -l <"$scratch/table") options"
