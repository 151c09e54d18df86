#!/bin/sh
# Tests of the examples: flash_sale.sh BIN TEST, from the top of the sources.
# BIN is where the programs are, TEST the name of a function below.
set -eu

bin=$1
folder=$(mktemp -d)
out=$folder/out
err=$folder/err
url=unix://$folder/redis.sock
server=

end() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || :
        wait "$server" 2>/dev/null || :
    fi
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 1' HUP INT TERM
unset STILE_URL

fail() {
    echo "FAILED: $*"
    cat "$out" "$err" 2>/dev/null || :
    exit 1
}

# Runs a command, which must end with this exit status.
expect() {
    wanted=$1
    shift
    got=0
    "$@" >"$out" 2>"$err" || got=$?
    [ "$got" -eq "$wanted" ] || fail "exit status $got, not $wanted: $*"
}

# The last output has, or has not, a line that matches.
says() {
    grep -q -e "$1" "$out" || fail "the output has no '$1'"
}
says_not() {
    if grep -q -e "$1" "$out"; then fail "the output has '$1'"; fi
}
complains() {
    grep -q -e "$1" "$err" || fail "stderr has no '$1'"
}

start_redis() {
    redis-server --port 0 --unixsocket "$folder/redis.sock" --save '' --dir "$folder" \
        >"$folder/redis.log" 2>&1 &
    server=$!
    tries=0
    until redis-cli -s "$folder/redis.sock" ping >"$out" 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || fail "redis-server did not start"
        sleep 0.05
    done
}

# Without locks the sellers race; a run in which nobody collides does not count,
# but five of them do.
must_oversell() {
    for try in 1 2 3 4 5; do
        got=0
        "$bin/flash_sale" --no-lock "$@" >"$out" 2>"$err" || got=$?
        [ "$got" -le 1 ] || fail "exit status $got"
        if [ "$got" -eq 1 ] && grep -q OVERSOLD "$out"; then
            says '^WRONG'
            says_not 'nothing was oversold'
            return
        fi
    done
    fail "nothing was oversold in $try runs without locks"
}

sold_what_there_is() {
    says '^orders  *4000 settled$'
    says '^wait  *p50 .* p95 .* max'
    says '^time .* orders/s$'
    says '^kettle  *250  *250  *0$'
    says '^tea-towel  *1000  *197  *803$'
    says '^nothing was oversold$'
    says_not 'OVERSOLD\|LOST UPDATE'
}

ten_lines_hold_a_lock() {
    expect 0 "$bin/ten_lines"
    says '^held with fence [1-9]'
    expect 0 "$bin/ten_lines" local:
    expect 1 "$bin/ten_lines" nonsense:
    [ -s "$err" ] || fail "no word about a wrong URL"
}

ten_lines_hold_a_lock_on_redis() {
    start_redis
    expect 0 "$bin/ten_lines" "$url"
    says '^held with fence [1-9]'
}

# Two locks, one of them twice: the second time after it was released.
event_loop_gets_every_lock() {
    expect 0 "$bin/event_loop" local: ledger stock ledger </dev/null
    [ "$(grep -c '^ledger: got it, fence [12]$' "$out")" -eq 2 ] || fail "ledger was not had twice"
    [ "$(grep -c '^ledger: released$' "$out")" -eq 2 ] || fail "ledger was not released twice"
    says '^stock: got it, fence 1$'
    says '^stock: released$'
    says_not 'gave up'
    expect 1 "$bin/event_loop" local: </dev/null
    expect 1 "$bin/event_loop" nonsense: ledger </dev/null
}

event_loop_gives_up_what_is_under_way() {
    printf 'hello\nquit\n' | expect 0 "$bin/event_loop" local: ledger ledger
    says '^heard: hello$'
    says '^ledger: gave up$'
}

shipped_data_is_what_the_generator_makes() {
    expect 0 "$bin/make_orders" orders
    cmp "$out" examples/data/orders.csv
    expect 0 "$bin/make_orders" stock
    cmp "$out" examples/data/stock.csv
    expect 0 "$bin/make_orders" orders --seed 1
    if cmp -s "$out" examples/data/orders.csv; then fail "another seed gives the same orders"; fi
    expect 2 "$bin/make_orders" orders --seed x
}

threads_with_locks_sell_what_there_is() {
    expect 0 "$bin/flash_sale" --url local: --threads 8
    sold_what_there_is
    says '--url redis://.* --processes 4$'
}

threads_without_locks_oversell() {
    must_oversell --threads 8
}

processes_on_local_are_refused() {
    expect 2 "$bin/flash_sale" --url local: --processes 2
    complains 'one process'
    expect 2 "$bin/flash_sale" --stock "$folder/stock" --part 1/2
    complains 'one process'
}

wrong_input_is_refused() {
    expect 2 "$bin/flash_sale" --threads 0
    complains '^usage'
    expect 2 "$bin/flash_sale" --part 1/2
    complains '--stock'
    expect 2 "$bin/flash_sale" --orders "$folder/none"
    complains 'No such file'
    printf 'time,customer,product,quantity\n0.001,c1,no-such-thing,1\n' >"$folder/orders"
    expect 2 "$bin/flash_sale" --orders "$folder/orders"
    complains 'line 2'
    expect 2 "$bin/flash_sale" --url nonsense:
    complains 'STILE_'
}

processes_with_locks_sell_what_there_is() {
    start_redis
    expect 0 "$bin/flash_sale" --url "$url" --processes 4 --threads 2
    sold_what_there_is
}

processes_without_locks_oversell() {
    must_oversell --processes 4 --threads 2
}

parts_started_one_by_one_sell_what_there_is() {
    start_redis
    parts=
    for part in 1 2 3; do
        "$bin/flash_sale" --url "$url" --stock "$folder/stock" --part $part/3 --threads 2 \
            >"$folder/part$part" 2>&1 &
        parts="$parts $!"
    done
    for part in $parts; do
        wait "$part" || fail "a part failed: $(cat "$folder"/part?)"
    done
    cat "$folder"/part? >"$out"
    says '^nothing was oversold$'
    says '^kettle  *250  *250  *0$'
    [ "$(awk '/^orders/ { n += $2 } END { print n }' "$out")" -eq 4000 ] || fail "not all orders"

    expect 2 "$bin/flash_sale" --url "$url" --stock "$folder/stock" --part 2/3
    complains 'was sold before'
    expect 2 "$bin/flash_sale" --url "$url" --stock "$folder/stock"
    complains 'other parts'
}

# One of two sellers is stopped, most likely while it takes a payment, until its
# lease is over and the other has sold on.  What it then writes must not count.
# A stop that hits no hold shows nothing and is tried again.
paused_seller_sells_nothing_when_it_wakes() {
    start_redis
    "$bin/make_orders" orders --orders 120 >"$folder/orders"
    printf 'product,units\n' >"$folder/goods"
    grep -v '^#\|^product' examples/data/stock.csv | sed 's/,.*/,40/' >>"$folder/goods"
    for try in 1 2 3 4 5; do
        for part in 2 1; do
            "$bin/flash_sale" --url "$url?lease_ms=150" --stock "$folder/stock$try" --part $part/2 \
                --orders "$folder/orders" --goods "$folder/goods" --threads 1 --section-us 20000 \
                >"$folder/part$part" 2>"$folder/part$part.err" &
            other=${paused:-}
            paused=$!
        done
        sleep 0.3
        kill -STOP "$paused"
        sleep 0.5
        kill -CONT "$paused"
        wait "$paused" || fail "the paused part failed: $(cat "$folder"/part?)"
        wait "$other" || fail "the other part failed: $(cat "$folder"/part?)"
        cat "$folder"/part? >"$out"
        cat "$folder"/part?.err >"$err"
        says '^nothing was oversold$'
        if grep -q '^stale  *1 orders' "$folder/part1"; then
            complains 'STILE_LOST'
            return
        fi
    done
    fail "no stop hit a hold in $try runs"
}

server_that_goes_away_is_reported() {
    start_redis
    "$bin/flash_sale" --url "$url?command_timeout_ms=300&connect_timeout_ms=300" --threads 2 \
        --section-us 20000 >"$out" 2>"$err" &
    sale=$!
    sleep 0.3
    kill -9 "$server"
    wait "$server" 2>/dev/null || :
    server=
    got=0
    wait "$sale" || got=$?
    [ "$got" -eq 2 ] || fail "exit status $got, not 2"
    complains 'STILE_UNREACHABLE\|STILE_UNKNOWN'
    complains 'not all orders could be settled'
    says_not 'OVERSOLD\|LOST UPDATE'
}

"$2"
echo "ok $2"
