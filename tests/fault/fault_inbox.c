/*
 * Who waits reads the messages for all.  It leaves, or its connection ends: the
 * others hear of their grants no later.
 *
 * Nobody looks for a minute, so that whatever is granted within a second was heard of.
 */
#include "fault/lock_scene.h"

#include <string.h>

#include "fault/proxy.h"

#define SETTINGS "lease_ms=120000&recheck_ms=60000&waiter_lease_ms=120000"
#define GIVES_UP_MS 500

enum { CALLERS = 8 };

static struct test_server server;
static struct proxy *proxy;
static struct test_census before;

/* One whose callers wait, and one that has what they wait for. */
static stile *waiting, *holding;
static stile_lock *lock, *held;
static stile_hold hold;

/* ---- surroundings ------------------------------------------------------------- */

static int start_server(void **state)
{
    (void)state;
    return test_server_start(NULL, &server) ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

static int begin(void **state)
{
    struct caller first;

    (void)state;
    test_redis(&server, NULL, 0, "FLUSHALL", NULL);
    before = test_census_take();
    proxy = proxy_start(test_server_unix_path(&server));
    if (proxy == NULL)
        return -1;
    waiting = scene_open(proxy_unix_url(proxy), SETTINGS);
    lock = scene_lock(waiting, "ledger");
    holding = scene_open(test_server_unix_url(&server), SETTINGS);
    held = scene_lock(holding, "ledger");
    expect_ok(stile_lock_acquire(held, SOON_MS, &hold));
    /* Who waits when the subscription is made looks once more. */
    caller_start(&first, lock, GIVES_UP_MS);
    assert_int_equal(caller_join(&first), STILE_TIMEOUT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    scene_await_clean(&server, SOON_MS);
    stile_lock_close(lock);
    stile_lock_close(held);
    stile_close(waiting);
    stile_close(holding);
    proxy_stop(proxy);
    return test_census_is_back(&before) ? 0 : -1;
}

/* Starts callers in this order; already are at the server. */
static void queue(struct caller *callers, stile_lock *through, int count, int already)
{
    for (int i = 0; i < count; i++) {
        caller_start(&callers[i], through, SOON_MS);
        scene_await_queue(&server, "ledger", already + i + 1);
    }
}

/* One after the other has the lock, and gives it back. */
static void expect_heard(struct caller *callers, int count)
{
    int64_t released_ms = test_now_ms();

    expect_ok(stile_lock_release(held, &hold));
    for (int i = 0; i < count; i++) {
        expect_ok(caller_join(&callers[i]));
        assert_true(callers[i].back_ms - released_ms <= SLACK_MS);
        released_ms = test_now_ms();
        expect_ok(stile_lock_release(lock, &callers[i].hold));
    }
}

/* ---- who reads leaves -------------------------------------------------------------- */

static void all_that_wait_in_a_process_hear_of_their_grants(void **state)
{
    struct caller callers[CALLERS];

    (void)state;
    queue(callers, lock, CALLERS, 0);
    expect_heard(callers, CALLERS);
}

static void a_reader_that_times_out_leaves_the_others_one_that_reads(void **state)
{
    struct caller reader, callers[2];

    (void)state;
    caller_start(&reader, lock, GIVES_UP_MS);
    scene_await_queue(&server, "ledger", 1);
    queue(callers, lock, 2, 1);
    assert_int_equal(caller_join(&reader), STILE_TIMEOUT);
    assert_true(reader.took_ms <= GIVES_UP_MS + SLACK_MS);
    expect_heard(callers, 2);
}

static void a_reader_that_is_cancelled_leaves_the_others_one_that_reads(void **state)
{
    stile_lock_options options = {.cancel = NULL};
    struct caller reader, callers[2];
    stile_lock *cancelled;

    (void)state;
    expect_ok(stile_cancel_open(&options.cancel));
    expect_ok(stile_lock_open(waiting, "ledger", &options, &cancelled));
    queue(&reader, cancelled, 1, 0);
    queue(callers, lock, 2, 1);
    stile_cancel_fire(options.cancel);
    assert_int_equal(caller_join(&reader), STILE_CANCELLED);
    assert_true(reader.took_ms < SOON_MS);
    expect_heard(callers, 2);
    stile_lock_close(cancelled);
    stile_cancel_close(options.cancel);
}

static void a_reader_whose_handle_closes_leaves_the_others_one_that_reads(void **state)
{
    struct caller reader, callers[2];
    stile_lock *other = scene_lock(waiting, "ledger");

    (void)state;
    queue(&reader, other, 1, 0);
    queue(callers, lock, 2, 1);
    stile_lock_close(other);
    assert_int_equal(caller_join(&reader), STILE_CLOSED);
    scene_await_queue(&server, "ledger", 2);
    expect_heard(callers, 2);
}

/* ---- what else goes on ------------------------------------------------------------- */

static void a_reader_tells_others_of_their_grants_and_waits_on(void **state)
{
    struct caller reader, other;
    stile_lock *second = scene_lock(waiting, "journal");
    stile_lock *second_held = scene_lock(holding, "journal");
    stile_hold second_hold;

    (void)state;
    expect_ok(stile_lock_acquire(second_held, SOON_MS, &second_hold));
    queue(&reader, lock, 1, 0);
    for (int i = 0; i < 3; i++) {
        int64_t released_ms;

        caller_start(&other, second, SOON_MS);
        scene_await_queue(&server, "journal", 1);
        released_ms = test_now_ms();
        expect_ok(stile_lock_release(second_held, &second_hold));
        expect_ok(caller_join(&other));
        assert_true(other.back_ms - released_ms <= SLACK_MS);
        expect_ok(stile_lock_release(second, &other.hold));
        expect_ok(stile_lock_acquire(second_held, SOON_MS, &second_hold));
    }
    assert_int_equal(test_flag_get(&reader.back), 0);
    expect_ok(stile_lock_release(second_held, &second_hold));
    expect_heard(&reader, 1);
    stile_lock_close(second);
    stile_lock_close(second_held);
}

static void messages_that_come_together_are_all_told(void **state)
{
    struct proxy_rule together = {.action = PROXY_HOLD_REPLY, .pushes = true};
    struct place {
        stile_lock *lock, *held;
        stile_hold hold;
        struct caller caller;
    } places[CALLERS];
    int rule, i;

    (void)state;
    for (i = 0; i < CALLERS; i++) {
        char name[] = "place-0";

        name[6] = (char)('0' + i);
        places[i].lock = scene_lock(waiting, name);
        places[i].held = scene_lock(holding, name);
        expect_ok(stile_lock_acquire(places[i].held, SOON_MS, &places[i].hold));
        caller_start(&places[i].caller, places[i].lock, SOON_MS);
        scene_await_queue(&server, name, 1);
    }
    rule = proxy_rule_add(proxy, &together);
    assert_true(rule >= 0);
    for (i = 0; i < CALLERS; i++)
        expect_ok(stile_lock_release(places[i].held, &places[i].hold));
    assert_true(proxy_wait(proxy, rule, CALLERS, SOON_MS));
    proxy_rules_clear(proxy);
    for (i = 0; i < CALLERS; i++) {
        expect_ok(caller_join(&places[i].caller));
        assert_true(places[i].caller.took_ms < SOON_MS / 2);
        expect_ok(stile_lock_release(places[i].lock, &places[i].caller.hold));
        stile_lock_close(places[i].lock);
        stile_lock_close(places[i].held);
    }
    expect_ok(stile_lock_release(held, &hold));
}

static void a_future_hears_of_its_grant_whoever_read_before(void **state)
{
    struct caller reader;
    stile_future *future;
    stile_hold granted;

    (void)state;
    for (int i = 0; i < 2; i++) {
        int64_t released_ms;

        if (i == 1)
            queue(&reader, lock, 1, 0);
        expect_ok(stile_lock_start(lock, SOON_MS, NULL, NULL, NULL, &future));
        scene_await_queue(&server, "ledger", i + 1);
        released_ms = test_now_ms();
        if (i == 1)
            expect_heard(&reader, 1);
        else
            expect_ok(stile_lock_release(held, &hold));
        expect_ok(stile_future_wait(future, SOON_MS));
        assert_true(test_now_ms() - released_ms <= 2 * SLACK_MS);
        expect_ok(stile_future_take(future, &granted));
        stile_future_close(future);
        expect_ok(stile_lock_release(lock, &granted));
        expect_ok(stile_lock_acquire(held, SOON_MS, &hold));
    }
    expect_ok(stile_lock_release(held, &hold));
}

static void a_connection_that_ends_under_its_reader_is_made_again(void **state)
{
    struct caller callers[3];

    (void)state;
    queue(callers, lock, 3, 0);
    for (int i = 0; i < 3; i++) {
        proxy_kill_connections(proxy);
        test_sleep_ms(SLACK_MS);
    }
    expect_heard(callers, 3);
}

static void a_connection_that_ended_while_nobody_read_is_made_again(void **state)
{
    struct caller caller;

    (void)state;
    proxy_kill_connections(proxy);
    queue(&caller, lock, 1, 0);
    expect_heard(&caller, 1);
}

static void a_space_that_closes_ends_its_reader_and_the_others(void **state)
{
    struct caller callers[3];

    (void)state;
    queue(callers, lock, 3, 0);
    stile_close(waiting);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(caller_join(&callers[i]), STILE_CLOSED);
        assert_true(callers[i].took_ms < SOON_MS);
    }
    stile_lock_close(lock);
    waiting = scene_open(proxy_unix_url(proxy), SETTINGS);
    lock = scene_lock(waiting, "ledger");
    expect_ok(stile_lock_release(held, &hold));
}

#define scened(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        scened(all_that_wait_in_a_process_hear_of_their_grants),
        scened(a_reader_that_times_out_leaves_the_others_one_that_reads),
        scened(a_reader_that_is_cancelled_leaves_the_others_one_that_reads),
        scened(a_reader_whose_handle_closes_leaves_the_others_one_that_reads),
        scened(a_reader_tells_others_of_their_grants_and_waits_on),
        scened(messages_that_come_together_are_all_told),
        scened(a_future_hears_of_its_grant_whoever_read_before),
        scened(a_connection_that_ends_under_its_reader_is_made_again),
        scened(a_connection_that_ended_while_nobody_read_is_made_again),
        scened(a_space_that_closes_ends_its_reader_and_the_others),
    };

    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
