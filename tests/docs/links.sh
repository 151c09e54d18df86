#!/bin/sh
# What the documents point to is there: files behind links, paths and functions in
# backquotes; and nothing points out of the project.
# usage: links.sh SOURCE_DIR
. "$(dirname "$0")/common.sh"
cd "$1"

count=0
for document in *.md docs/*.md; do
    folder=$(dirname "$document")
    # [text](target), [text](target#part)
    grep -o '](\([^)]*\))' "$document" | sed 's/^](//; s/)$//' >"$scratch/targets" || :
    while read -r target; do
        count=$((count + 1))
        case $target in
        http://* | https://*) continue ;;
        /* | *..*/..*) fail "$document points out of the project: $target" ;;
        esac
        [ -e "$folder/${target%%#*}" ] || fail "$document: there is no $target"
        case $target in
        *#*)
            # As forges make them of headings.
            grep -h '^#' "$folder/${target%%#*}" | sed 's/^#* *//; s/[^a-zA-Z0-9 _-]//g; s/ /-/g' |
                tr '[:upper:]' '[:lower:]' | grep -qx "${target#*#}" ||
                fail "$document: there is no part $target"
            ;;
        esac
    done <"$scratch/targets"

    # Not to be expanded.
    # shellcheck disable=SC2016
    awk '/^```/ { inside = !inside; next } !inside' "$document" | grep -o '`[^`]*`' | tr -d '`' |
        sort -u >"$scratch/quoted" || :
    while read -r quoted; do
        case $quoted in
        *' '* | *[\<\>*?]* | *'{'* | pthread_*) ;;
        src/* | backends/* | include/* | examples/* | tests/* | tools/* | bench/* | cmake/*)
            count=$((count + 1))
            [ -e "$quoted" ] || fail "$document: there is no $quoted"
            ;;
        *.[ch] | *.lua | *.sh)
            count=$((count + 1))
            find include src backends examples tests tools bench -name "$(basename "$quoted")" |
                grep -q . || fail "$document: there is no $quoted"
            ;;
        *_*'()')
            count=$((count + 1))
            grep -rqw -F "${quoted%()}" include src backends || fail "$document: there is no $quoted"
            ;;
        esac
    done <"$scratch/quoted"
done
[ "$count" -gt 50 ] || fail "only $count things are pointed to"

# A path of somebody's machine, or of a folder beside this one.
if grep -nE '(^|[^a-zA-Z.])/(work|home|root|tmp)/|\.\./shared|design\.md|protocol\.md' ./*.md docs/*.md; then
    fail "paths that readers do not have"
fi
echo "$count things are there"
