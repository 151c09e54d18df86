#!/bin/sh
# Help, man pages and completions of the command, against each other.
. "$(dirname "$0")/common.sh"
tools=$(cd "$(dirname "$0")/../../tools" && pwd)
words="lock inspect locks release doctor ping"

# The options in what stands on stdin, one to a line.
options()
{
    grep -o -e '\(^\|[^a-z-]\)--[a-z][a-z-]*' -e '\(^\|[ ,(]\)-[a-zA-Z]\>' | sed 's/^[^-]*//' | sort -u
}

# The page of a word, as text with one hyphen for each.
page()
{
    case $1 in
    ping) sed -n '/fBping/,/^\.TP/p' "$tools/man/stile.1" ;;
    *) cat "$tools/man/stile-$1.1" ;;
    esac | sed -e 's/\\-/-/g' -e 's/\\f[BRI]//g' -e 's/^\.BR* //' -e 's/"//g'
}

words_have_their_help()
{
    expect 0 help
    for word in $words; do
        says "^  $word"
        "$stile" help "$word" >"$scratch/help"
        grep -q "^usage: stile $word" "$scratch/help" || fail "help $word: $(cat "$scratch/help")"
        expect 0 "$word" --help
        cmp "$out" "$scratch/help"
        "$stile" help >"$out"
    done
    expect 0 lock report --help
    [ "$(awk 'length > 100' "$scratch/help")" = "" ] || fail "lines too long"
    expect 2 help nonsense
    complains 'no word "nonsense"'
}

pages_are_well_formed()
{
    found=0
    for page in "$tools"/man/*.1; do
        if command -v mandoc >/dev/null; then
            found=1
            mandoc -T lint -W warning "$page" >"$scratch/log" 2>&1 || fail "$(cat "$scratch/log")"
        fi
        if command -v groff >/dev/null; then
            found=1
            groff -man -ww -Tutf8 "$page" 2>"$scratch/log" >"$scratch/text" || :
            [ ! -s "$scratch/log" ] || fail "$(cat "$scratch/log")"
        fi
        grep -q '^\.SH NAME$' "$page" || fail "$page has no NAME"
        grep -q '^\.SH "*EXIT STATUS"*$' "$page" || fail "$page has no EXIT STATUS"
    done
    [ "$found" -eq 1 ] || echo "neither mandoc nor groff is here"
}

pages_have_the_options_of_the_help()
{
    for word in $words; do
        "$stile" help "$word" | options >"$scratch/help"
        page "$word" | options >"$scratch/page"
        [ -s "$scratch/help" ] || fail "no options in the help of $word"
        # The page of all words has no summary of its own to print.
        if [ "$word" = ping ]; then echo --help >>"$scratch/page"; fi
        sort -u "$scratch/page" | diff "$scratch/help" - || fail "help of $word, and its page"
    done
}

pages_have_the_exit_codes_of_the_help()
{
    for word in $words; do
        for code in $("$stile" help "$word" | sed -n '/^Exit status/,$p' | grep -o '\<[0-9][0-9]*\>'); do
            page "$word" | grep -q "\<$code\>" || case $word in
            ping) ;;
            *) fail "$code is not in the page of $word" ;;
            esac
        done
    done
}

# What bash offers for these words, the last being what is typed of the next.
offered()
{
    bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _stile
        printf "%s\n" "${COMPREPLY[@]}"' "$tools/completion/stile.bash" stile "$@" | sort
}

bash_completes_words_and_options()
{
    command -v bash >/dev/null || return 0
    [ "$(offered l | tr '\n' ' ')" = "lock locks " ] || fail "l: $(offered l)"
    [ "$(offered help in)" = inspect ] || fail "help in: $(offered help in)"
    for word in $words; do
        offered '' | grep -qx "$word" || fail "no $word"
        "$stile" help "$word" | options >"$scratch/help"
        offered "$word" - | diff "$scratch/help" - || fail "options of $word"
    done
    [ "$(offered inspect --kind r)" = rlock ] || fail "--kind r"
    [ "$(offered lock report --wait -)" = "" ] || fail "seconds: $(offered lock report --wait -)"
    touch "$scratch/stile-file"
    [ "$(offered lock report -- cat "$scratch/stile-f")" = "$scratch/stile-file" ] || fail "a file"
    offered lock report -- ca | grep -qx cat || fail "a command"
}

zsh_completes_the_options_of_the_help()
{
    for word in $words; do "$stile" help "$word"; done | options >"$scratch/help"
    tr "'{,[" '    ' <"$tools/completion/_stile" | options | grep -v '^-[ACSw]$' >"$scratch/zsh"
    grep -e '^--' "$scratch/help" >"$scratch/help.long"
    grep -e '^--' "$scratch/zsh" | diff "$scratch/help.long" - || fail "options"
    if command -v zsh >/dev/null; then zsh -n "$tools/completion/_stile"; fi
}

"$2"
