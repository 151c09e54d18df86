#!/bin/sh
# What stile-bench prints and writes.
# usage: bench.sh TEST STILE_BENCH SOURCE_DIR
set -eu
test=$1 bench=$2 source=$3

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
out=$scratch/out err=$scratch/err json=$scratch/json

fail()
{
    echo "FAILED: $*" >&2
    exit 1
}

# Runs stile-bench, which must end with this status.
expect()
{
    wanted=$1 got=0
    shift
    "$bench" "$@" >"$out" 2>"$err" || got=$?
    [ "$got" -eq "$wanted" ] || fail "exit status $got, not $wanted: $* $(cat "$out" "$err")"
}

# refuses WORDS ARGUMENT...
refuses()
{
    words=$1
    shift
    expect 2 "$@"
    grep -q -e "$words" "$err" || fail "no \"$words\" for $*: $(cat "$err")"
    [ ! -s "$out" ] || fail "it goes to work: $*"
}

# Two rows with results as --json writes them, of a machine that never was.
earlier()
{
    workload='"row":"L1","workload":"lock pair","placement":"one core"'
    for contender in 'stile 20.5 19 22' 'other 10.25 9.5 1200'; do
        # Words.
        # shellcheck disable=SC2086
        set -- $contender
        echo "{$workload,\"contender\":\"$1\",\"threads\":1,\"metric\":\"time\",\"value\":$2,\"min\":$3,\"max\":$4,\"runs\":7,\"unit\":\"ns/pair\",\"better\":\"lower\"}"
    done
    echo "{$workload,\"peer\":\"other\",\"ratio\":2.0000,\"better\":\"lower\",\"gate\":true}"
    for threads in 2 4 8; do
        echo "{\"row\":\"L4\",\"workload\":\"in a crowd, $threads threads\",\"placement\":\"free\",\"contender\":\"stile\",\"threads\":$threads,\"metric\":\"rate\",\"value\":3$threads,\"min\":1,\"max\":99,\"runs\":7,\"unit\":\"M/s\",\"better\":\"higher\"}"
    done
}

case $test in
refuses_what_it_does_not_understand)
    expect 0 --help
    grep -q '^usage: stile-bench' "$out" || fail "no usage: $(cat "$out")"
    expect 0 --list
    for row in L1 L2 L3 L4 L5 L6 L7; do
        grep -q "^lock  *$row  *[a-z0-9]" "$out" || fail "$row is not listed: $(cat "$out")"
    done
    refuses 'no such group or row' L1 nonsense
    refuses 'no such option' --nonsense
    for runs in '' x 6 7x 1000 -7; do
        refuses 'a number from 7 to 999' --runs "$runs"
    done
    refuses 'a number from 7 to 999' --runs
    refuses 'needs a file' L1 --json
    refuses 'needs a folder' L1 --plot
    refuses 'with --plot alone' --from "$json"
    refuses 'with --plot alone' L1 --from "$json" --plot "$scratch"
    expect 1 --from "$json" --plot "$scratch"
    echo '{"row":"L1"}' >"$json"
    expect 1 --from "$json" --plot "$scratch"
    grep -q ':1: not a line' "$err" || fail "it reads anything: $(cat "$err")"
    expect 1 L1 --json "$scratch/none/file"
    ;;
json_has_a_line_for_each_measurement_and_ratio)
    expect 0 L1 L2 L4 --quick --json "$json"
    grep -q '^L4 .*8 threads' "$out" || fail "no L4: $(cat "$out")"
    number='[0-9][-+.0-9e]*' string='"[^"\\]+"' better='"(lower|higher)"'
    match="\"row\":$string,\"workload\":$string,\"placement\":$string"
    value="^\{$match,\"contender\":$string,\"threads\":[1-8],\"metric\":$string,\"value\":$number,\"min\":$number,\"max\":$number,\"runs\":7,\"unit\":$string,\"better\":$better\}\$"
    ratio="^\{$match,\"peer\":$string,\"ratio\":$number,\"better\":$better,\"gate\":(true|false)\}\$"
    if grep -Ev -e "$value" -e "$ratio" "$json"; then fail "these lines are no such lines"; fi

    # stile and pthread_mutex are everywhere; so is the goal where there is one.
    for row in L1 L2 L4; do
        matches=1
        [ $row != L4 ] || matches=3
        for who in stile pthread_mutex; do
            lines=$(grep "\"row\":\"$row\"" "$json" | grep -c "\"contender\":\"$who\"") || :
            metrics=$matches
            [ $row != L4 ] || metrics=$((matches * 2))
            [ "$lines" -eq "$metrics" ] || fail "$row has $lines lines for $who, not $metrics"
        done
        lines=$(grep "\"row\":\"$row\"" "$json" | grep -c '"peer":"pthread_mutex"') || :
        [ "$lines" -eq "$matches" ] || fail "$row has $lines ratios to a mutex, not $matches"
    done
    lines=$(grep '"peer":"pthread_mutex"' "$json" | grep -c '"gate":true') || :
    [ "$lines" -eq 2 ] || fail "$lines goals for the ratio to a mutex, not 2"

    # A median lies within, and a ratio is that of two medians.
    sed 's/[{}"]//g' "$json" | awk -F'[,:]' '
        function field(name,    i) {
            for (i = 1; i < NF; i++)
                if ($i == name)
                    return $(i + 1)
            return ""
        }
        {
            # L4 has commas in its workload, and the number of threads behind one.
            match($0, /workload:.*,placement:/)
            id = field("row") substr($0, RSTART, RLENGTH)
        }
        field("contender") != "" && (field("min") > field("value") || field("value") > field("max")) {
            print "not between least and most: " $0
            wrong = 1
        }
        field("metric") == "time" || field("metric") == "rate" { median[id, field("contender")] = field("value") }
        field("peer") != "" && field("peer") != "best" {
            off = field("ratio") / (median[id, "stile"] / median[id, field("peer")])
            if (off < 0.99 || off > 1.01) {
                print "not the ratio of the medians: " $0
                wrong = 1
            }
        }
        END { exit wrong }
    ' >"$err" || fail "$(cat "$err")"
    ;;
pictures_come_from_json)
    # In its place one that keeps what it is told.
    mkdir "$scratch/bin"
    printf '#!/bin/sh\ncat >>"%s"\n' "$scratch/script" >"$scratch/bin/gnuplot"
    chmod +x "$scratch/bin/gnuplot"
    earlier >"$json"
    PATH=$scratch/bin:$PATH expect 0 --from "$json" --plot "$scratch/plots"
    [ -d "$scratch/plots" ] || fail "no folder"
    for words in "set output 'lock-local.svg'" '^0 20.5 "stile"' '^1 10.25 "other"' \
        "set output 'lock-contention.svg'" '^2 32$' '^4 34$' '^8 38$' 'title "stile"'; do
        grep -q -e "$words" "$scratch/script" || fail "no $words in: $(cat "$scratch/script")"
    done
    if grep 'set output' "$scratch/script" | grep -v -e local -e contention; then
        fail "pictures of nothing"
    fi
    printf '#!/bin/sh\nexit 1\n' >"$scratch/bin/gnuplot"
    PATH=$scratch/bin:$PATH expect 1 --from "$json" --plot "$scratch/plots"
    grep -q 'did not draw lock-local.svg' "$err" || fail "no complaint: $(cat "$err")"
    ;;
tables_come_from_json)
    earlier >"$json"
    printf '%s\n' before '<!-- machine -->' '<!-- end -->' '<!-- L1 -->' old '<!-- end -->' between \
        '<!-- L2 -->' kept '<!-- end -->' after >"$scratch/document"
    awk -f "$source/bench/document.awk" -v machine="a & b" "$json" "$scratch/document" >"$out"
    for line in before '^a & b$' '^lock pair; one core:$' '^| stile | 20.5 | 19.0 to 22.0 |  |$' \
        '^| other | 10.2 | 9.50 to 1200 | 2.00 |$' between kept after; do
        grep -q -e "$line" "$out" || fail "no $line in: $(cat "$out")"
    done
    if grep -qx old "$out"; then fail "the old table is still there"; fi
    awk -f "$source/bench/document.awk" "$json" "$out" | cmp - "$out" ||
        fail "once more makes another document"
    ;;
*)
    fail "no such test: $test"
    ;;
esac
