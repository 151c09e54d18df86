/*
 * The server crashes, hangs, forgets, refuses and cuts connections: holders keep
 * what is theirs or are told in time, waiters get through, callers come back when
 * they said they would.
 */
#include "fault/lock_scene.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_MS 600
#define RECHECK_MS 200
#define SETTINGS                                                                                   \
    "lease_ms=600&recheck_ms=200&claim_ms=300&waiter_lease_ms=1000&command_timeout_ms=500"
/* For whom nothing runs out in time: what is free again was given back. */
#define LONG_SETTINGS                                                                              \
    "lease_ms=30000&recheck_ms=200&claim_ms=300&waiter_lease_ms=30000&command_timeout_ms=500"
#define POLL_MS (RECHECK_MS * 12 / 10)
/* The longest pause between attempts to connect, and what an attempt takes. */
#define RECONNECT_MS 1500

static struct test_server server;
static struct test_census before;

static const char *const debug_args[] = {"--enable-debug-command", "yes", NULL};

/* ---- surroundings ------------------------------------------------------------- */

static int start(enum test_persistence persistence, const char *password)
{
    struct test_server_options options = {
        .tcp = true, .persistence = persistence, .password = password, .args = debug_args};

    before = test_census_take();
    return test_server_start(&options, &server) ? 0 : -1;
}

static int start_forgetful(void **state)
{
    (void)state;
    return start(TEST_PERSIST_NONE, NULL);
}

static int start_durable(void **state)
{
    (void)state;
    return start(TEST_PERSIST_ALWAYS, NULL);
}

static int start_locked(void **state)
{
    (void)state;
    return start(TEST_PERSIST_NONE, "correct horse");
}

static int stop(void **state)
{
    (void)state;
    if (server.pid != 0)
        scene_await_clean(&server, SOON_MS);
    test_server_stop(&server);
    return test_census_is_back(&before) ? 0 : -1;
}

/* A holder and waiters, each in a space of its own as if they were processes. */
enum { WAITERS = 3 };

struct place {
    stile *space;
    stile_lock *lock;
};

struct crowd {
    struct place holder;
    stile_hold hold;
    struct place waiters[WAITERS];
    struct caller callers[WAITERS];
};

static struct place open_place_with(const char *settings)
{
    struct place place;

    place.space = scene_open(test_server_unix_url(&server), settings);
    place.lock = scene_lock(place.space, "ledger");
    return place;
}

static struct place open_place(void)
{
    return open_place_with(SETTINGS);
}

static void close_place(struct place *place)
{
    stile_lock_close(place->lock);
    stile_close(place->space);
}

static void gather(struct crowd *crowd)
{
    crowd->holder = open_place();
    expect_ok(stile_lock_acquire(crowd->holder.lock, SOON_MS, &crowd->hold));
    for (int i = 0; i < WAITERS; i++) {
        crowd->waiters[i] = open_place();
        caller_start(&crowd->callers[i], crowd->waiters[i].lock, 2 * SOON_MS);
        scene_await_queue(&server, "ledger", i + 1);
    }
}

/* Which of the waiters has come back and was not seen yet; -1 after timeout_ms. */
static int next_back(struct crowd *crowd, bool *seen, int64_t timeout_ms)
{
    int64_t until = test_now_ms() + timeout_ms;

    for (;;) {
        for (int i = 0; i < WAITERS; i++) {
            if (!seen[i] && test_flag_get(&crowd->callers[i].back) != 0) {
                seen[i] = true;
                return i;
            }
        }
        if (test_now_ms() >= until)
            return -1;
        test_sleep_ms(1);
    }
}

/* Each waiter gets the lock within_ms after the one before it gave it back, and one
 * at a time; the first of them within_ms from now.  Closes everything. */
static void all_get_through(struct crowd *crowd, uint64_t fence, int64_t within_ms)
{
    bool seen[WAITERS] = {false};

    for (int i = 0; i < WAITERS; i++) {
        int at = next_back(crowd, seen, within_ms);
        struct caller *caller;

        assert_true(at >= 0);
        caller = &crowd->callers[at];
        expect_ok(caller_join(caller));
        assert_true(caller->hold.fence > fence);
        fence = caller->hold.fence;
        for (int j = 0; j < WAITERS; j++)
            assert_true(seen[j] || test_flag_get(&crowd->callers[j].back) == 0);
        expect_ok(stile_lock_check(caller->lock, &caller->hold, NULL));
        expect_ok(stile_lock_release(caller->lock, &caller->hold));
    }
    for (int i = 0; i < WAITERS; i++)
        close_place(&crowd->waiters[i]);
    close_place(&crowd->holder);
}

/* Waits until the hold is lost and returns when, in ms from now; -1 after
 * timeout_ms. */
static int64_t await_lost(stile_lock *lock, const stile_hold *hold, int64_t timeout_ms)
{
    int64_t began = test_now_ms();

    while (stile_lock_check(lock, hold, NULL) == STILE_OK) {
        if (test_now_ms() >= began + timeout_ms)
            return -1;
        test_sleep_ms(1);
    }
    expect_status(stile_lock_check(lock, hold, NULL), STILE_LOST);
    return test_now_ms() - began;
}

/* ---- crashes -------------------------------------------------------------------- */

static void a_crash_that_kept_its_log_costs_nobody_the_lock(void **state)
{
    struct crowd crowd;

    (void)state;
    gather(&crowd);
    test_server_kill(&server);
    assert_true(test_server_restart(&server));
    assert_int_equal(await_lost(crowd.holder.lock, &crowd.hold, 2 * LEASE_MS), -1);
    assert_true(scene_owned(&server, "ledger"));
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(test_flag_get(&crowd.callers[i].back), 0);
    scene_await_queue(&server, "ledger", WAITERS);
    expect_ok(stile_lock_release(crowd.holder.lock, &crowd.hold));
    all_get_through(&crowd, crowd.hold.fence, POLL_MS + RECONNECT_MS + SLACK_MS);
}

static void a_crash_without_a_log_is_told_to_the_holder_and_fences_rise(void **state)
{
    struct crowd crowd;

    (void)state;
    gather(&crowd);
    assert_true(test_server_restart(&server));
    /* It has waiters, so that it is somebody else's soon. */
    assert_in_range(await_lost(crowd.holder.lock, &crowd.hold, LEASE_MS + SLACK_MS), 0,
                    LEASE_MS + SLACK_MS);
    expect_status(stile_lock_extend(crowd.holder.lock, &crowd.hold, 1000), STILE_LOST);
    expect_status(stile_lock_release(crowd.holder.lock, &crowd.hold), STILE_LOST);
    all_get_through(&crowd, crowd.hold.fence, POLL_MS + RECONNECT_MS + SLACK_MS);
}

static void repeated_crashes_leave_fences_rising(void **state)
{
    struct place place = open_place();
    uint64_t fence = 0;

    (void)state;
    for (int i = 0; i < 5; i++) {
        stile_hold hold;

        expect_ok(stile_lock_acquire(place.lock, SOON_MS, &hold));
        assert_true(hold.fence > fence);
        fence = hold.fence;
        expect_ok(stile_lock_release(place.lock, &hold));
        assert_true(test_server_restart(&server));
    }
    close_place(&place);
}

/* Many waiters of one process have to queue again at once. */
static void a_crowd_in_one_process_survives_a_crash_without_a_log(void **state)
{
    struct caller callers[20];
    struct place place = open_place();
    uint64_t highest = 0;
    stile_hold hold;

    (void)state;
    for (int round = 0; round < 3; round++) {
        expect_ok(stile_lock_acquire(place.lock, SOON_MS, &hold));
        assert_true(hold.fence > highest);
        for (int i = 0; i < 20; i++)
            caller_start(&callers[i], place.lock, 2 * SOON_MS);
        scene_await_queue(&server, "ledger", 20);
        assert_true(test_server_restart(&server));
        await_lost(place.lock, &hold, LEASE_MS + SLACK_MS);
        expect_status(stile_lock_release(place.lock, &hold), STILE_LOST);
        highest = hold.fence;
        for (int done = 0; done < 20; done++) {
            int64_t until = test_now_ms() + POLL_MS + RECONNECT_MS + SLACK_MS;
            int at = -1;

            while (at < 0) {
                assert_true(test_now_ms() < until);
                for (int i = 0; i < 20 && at < 0; i++) {
                    if (callers[i].lock != NULL && test_flag_get(&callers[i].back) != 0)
                        at = i;
                }
            }
            expect_ok(caller_join(&callers[at]));
            callers[at].lock = NULL;
            assert_true(callers[at].hold.fence > highest);
            highest = callers[at].hold.fence;
            expect_ok(stile_lock_release(place.lock, &callers[at].hold));
        }
        scene_await_clean(&server, POLL_MS + SLACK_MS);
    }
    close_place(&place);
}

static void a_hold_ends_by_the_local_clock_when_the_server_is_gone(void **state)
{
    struct place place = open_place();
    int64_t took_ms, valid_ms = 0;
    stile_hold hold;

    (void)state;
    expect_ok(stile_lock_acquire(place.lock, SOON_MS, &hold));
    test_server_kill(&server);
    expect_ok(stile_lock_check(place.lock, &hold, &valid_ms));
    took_ms = await_lost(place.lock, &hold, LEASE_MS + SLACK_MS);
    /* Not at the first attempt in vain, nor after the lease. */
    assert_in_range(took_ms, valid_ms - 1, valid_ms + SLACK_MS);
    assert_true(took_ms <= LEASE_MS);
    expect_status(stile_lock_release(place.lock, &hold), STILE_LOST);
    assert_true(test_server_restart(&server));
    scene_expect_free(place.lock, SOON_MS);
    close_place(&place);
}

static void a_timed_acquire_of_a_dead_server_says_unreachable_in_time(void **state)
{
    struct place place = open_place();
    stile_hold hold;
    int64_t began;

    (void)state;
    test_server_kill(&server);
    began = test_now_ms();
    expect_status(stile_lock_acquire(place.lock, 0, &hold), STILE_UNREACHABLE);
    assert_in_range(test_now_ms() - began, 0, SLACK_MS);
    began = test_now_ms();
    expect_status(stile_lock_acquire(place.lock, 300, &hold), STILE_UNREACHABLE);
    assert_in_range(test_now_ms() - began, 299, 300 + SLACK_MS);
    assert_true(test_server_restart(&server));
    scene_expect_free(place.lock, SOON_MS);
    close_place(&place);
}

/* ---- a server that hangs ----------------------------------------------------------- */

/* C1: the promised lateness, and what a busy machine adds. */
static void expect_punctual(const struct caller *caller)
{
    int64_t late = caller->timeout_ms / 20 > 20 ? caller->timeout_ms / 20 : 20;

    if (caller->took_ms >= caller->timeout_ms &&
        caller->took_ms <= caller->timeout_ms + late + SLACK_MS / 4)
        return;
    print_error("%" PRId64 " ms became %" PRId64 " ms\n", caller->timeout_ms, caller->took_ms);
    fail();
}

/* Sent and not answered, or not sent: never told that somebody else has it. */
static bool is_ignorance(stile_status status)
{
    return status == STILE_UNKNOWN || status == STILE_UNREACHABLE;
}

static void timed_acquires_of_a_hung_server_come_back_in_time(void **state)
{
    static const int64_t timeouts_ms[] = {20, 50, 100, 200, 300, 400};
    enum { CALLERS = 6 };
    struct place places[CALLERS];
    struct caller callers[CALLERS];
    int64_t resumed_ms;

    (void)state;
    for (int i = 0; i < CALLERS; i++)
        places[i] = open_place_with(LONG_SETTINGS);
    for (int i = 0; i < CALLERS; i++)
        scene_expect_free(places[i].lock, SOON_MS);
    test_server_pause(&server);
    for (int i = 0; i < CALLERS; i++)
        caller_start(&callers[i], places[i].lock, timeouts_ms[i]);
    for (int i = 0; i < CALLERS; i++) {
        stile_status status = caller_join(&callers[i]);

        expect_punctual(&callers[i]);
        assert_true(is_ignorance(status));
    }
    test_sleep_ms(1000 - timeouts_ms[CALLERS - 1]);
    test_server_resume(&server);
    resumed_ms = test_now_ms();
    /* Now all that was sent is executed; none of it keeps the lock. */
    scene_expect_free(places[0].lock, SOON_MS);
    assert_true(test_now_ms() - resumed_ms < 2000);
    for (int i = 0; i < CALLERS; i++)
        close_place(&places[i]);
}

static void waiters_of_a_hung_server_come_back_in_time(void **state)
{
    static const int64_t timeouts_ms[] = {300, 500, 700};
    struct caller callers[3];
    struct place holder = open_place(), place = open_place_with(LONG_SETTINGS);
    stile_hold hold;

    (void)state;
    expect_ok(stile_lock_acquire(holder.lock, SOON_MS, &hold));
    for (int i = 0; i < 3; i++)
        caller_start(&callers[i], place.lock, timeouts_ms[i]);
    scene_await_queue(&server, "ledger", 3);
    test_server_pause(&server);
    for (int i = 0; i < 3; i++) {
        stile_status status = caller_join(&callers[i]);

        expect_punctual(&callers[i]);
        assert_int_equal(status, STILE_UNKNOWN);
    }
    test_server_resume(&server);
    /* Their places in the queue go without being granted first. */
    scene_await_queue(&server, "ledger", 0);
    if (stile_lock_release(holder.lock, &hold) == STILE_OK)
        scene_expect_free(place.lock, SLACK_MS);
    scene_expect_free(place.lock, SOON_MS);
    close_place(&place);
    close_place(&holder);
}

/* They share one line, where most do not even get their turn; none of them has waited
 * for all of what it asked. */
static void callers_without_a_deadline_are_not_told_of_a_timeout(void **state)
{
    struct place place = open_place_with("connect_timeout_ms=200&command_timeout_ms=200");
    struct place holder = open_place();
    struct caller callers[5];
    stile_hold hold;

    (void)state;
    /* Whoever has queued once has a subscription. */
    expect_ok(stile_lock_acquire(holder.lock, SOON_MS, &hold));
    expect_status(stile_lock_acquire(place.lock, 10, &hold), STILE_TIMEOUT);
    expect_ok(stile_lock_release(holder.lock, &hold));
    close_place(&holder);
    test_server_pause(&server);
    for (int i = 0; i < 5; i++)
        caller_start(&callers[i], place.lock, i % 2 == 0 ? STILE_FOREVER : 60000);
    for (int i = 0; i < 5; i++)
        assert_true(is_ignorance(caller_join(&callers[i])));
    test_server_resume(&server);
    scene_expect_free(place.lock, SOON_MS);
    close_place(&place);
}

/* A second is longer than the lease: the holder is told by its own clock. */
static void a_hold_is_lost_in_time_while_the_server_hangs(void **state)
{
    struct place place = open_place();
    stile_hold hold;
    int64_t valid_ms = 0;

    (void)state;
    expect_ok(stile_lock_acquire(place.lock, SOON_MS, &hold));
    test_server_pause(&server);
    expect_ok(stile_lock_check(place.lock, &hold, &valid_ms));
    assert_in_range(await_lost(place.lock, &hold, LEASE_MS + SLACK_MS), 0, valid_ms + SLACK_MS);
    expect_status(stile_lock_release(place.lock, &hold), STILE_LOST);
    test_server_resume(&server);
    scene_expect_free(place.lock, SOON_MS);
    close_place(&place);
}

/* ---- a server that forgets ------------------------------------------------------------ */

static void flushed_scripts_are_not_noticed(void **state)
{
    struct crowd crowd;
    int64_t until;

    (void)state;
    gather(&crowd);
    until = test_now_ms() + 2 * LEASE_MS;
    while (test_now_ms() < until) {
        test_redis(&server, NULL, 0, "SCRIPT", "FLUSH", NULL);
        expect_ok(stile_lock_check(crowd.holder.lock, &crowd.hold, NULL));
        test_sleep_ms(5);
    }
    expect_ok(stile_lock_extend(crowd.holder.lock, &crowd.hold, 1000));
    test_redis(&server, NULL, 0, "SCRIPT", "FLUSH", NULL);
    expect_ok(stile_lock_release(crowd.holder.lock, &crowd.hold));
    test_redis(&server, NULL, 0, "SCRIPT", "FLUSH", NULL);
    all_get_through(&crowd, crowd.hold.fence, SLACK_MS);
}

static void flushed_keys_are_told_to_the_holder_and_strand_nobody(void **state)
{
    struct crowd crowd;

    (void)state;
    gather(&crowd);
    test_redis(&server, NULL, 0, "FLUSHALL", NULL);
    assert_in_range(await_lost(crowd.holder.lock, &crowd.hold, LEASE_MS), 0,
                    LEASE_MS / 3 + SLACK_MS);
    expect_status(stile_lock_release(crowd.holder.lock, &crowd.hold), STILE_LOST);
    all_get_through(&crowd, crowd.hold.fence, POLL_MS + SLACK_MS);
}

static void a_key_deleted_from_outside_strands_nobody(void **state)
{
    (void)state;
    for (int part = KEY_LOCK; part <= KEY_WAITERS; part++) {
        struct crowd crowd;
        stile_status status;

        gather(&crowd);
        test_redis(&server, NULL, 0, "DEL", scene_key("ledger", (enum key_part)part), NULL);
        status = stile_lock_release(crowd.holder.lock, &crowd.hold);
        assert_int_equal(status, part == KEY_LOCK ? STILE_LOST : STILE_OK);
        all_get_through(&crowd, part == KEY_FENCE ? 0 : crowd.hold.fence, POLL_MS + SLACK_MS);
        scene_await_clean(&server, SOON_MS);
    }
}

/* ---- a server that cuts connections ------------------------------------------------------ */

static void cut_connections_cost_neither_holds_nor_places(void **state)
{
    static const char *const types[] = {"normal", "pubsub"};
    struct crowd crowd;

    (void)state;
    gather(&crowd);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(test_redis(&server, NULL, 0, "CLIENT", "KILL", "TYPE", types[i % 2], NULL),
                         TEST_REPLY_OK);
        test_sleep_ms(30);
        expect_ok(stile_lock_check(crowd.holder.lock, &crowd.hold, NULL));
    }
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(test_flag_get(&crowd.callers[i].back), 0);
    expect_ok(stile_lock_release(crowd.holder.lock, &crowd.hold));
    all_get_through(&crowd, crowd.hold.fence, POLL_MS + RECONNECT_MS + SLACK_MS);
}

/* The grant goes to a waiter that cannot hear it at that moment. */
static void a_grant_while_subscriptions_are_cut_reaches_somebody(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct crowd crowd;

        gather(&crowd);
        test_redis(&server, NULL, 0, "CLIENT", "KILL", "TYPE", "pubsub", NULL);
        expect_ok(stile_lock_release(crowd.holder.lock, &crowd.hold));
        all_get_through(&crowd, crowd.hold.fence, POLL_MS + SLACK_MS);
    }
}

/* ---- a server that cannot be used ---------------------------------------------------------- */

static void expect_no_space(const char *url, stile_status expected, const char *in_detail)
{
    int64_t began = test_now_ms();
    stile *space = (stile *)&began;

    expect_status(stile_open(url, NULL, &space), expected);
    assert_ptr_equal(space, &began);
    assert_in_range(test_now_ms() - began, 0, 500 + SLACK_MS);
    if (strstr(stile_error_detail(), in_detail) == NULL) {
        print_error("\"%s\" does not name %s\n", stile_error_detail(), in_detail);
        fail();
    }
}

static void a_refused_connection_is_said_at_once_and_where(void **state)
{
    char unix_url[TEST_TEMPDIR_SIZE + 32], tcp_url[64];

    (void)state;
    snprintf(unix_url, sizeof unix_url, "%s", test_server_unix_url(&server));
    snprintf(tcp_url, sizeof tcp_url, "%s", test_server_tcp_url(&server));
    test_server_kill(&server);
    expect_no_space(unix_url, STILE_UNREACHABLE, unix_url + strlen("unix://"));
    expect_no_space(tcp_url, STILE_UNREACHABLE, tcp_url + strlen("redis://"));
    expect_no_space("unix:///nowhere/at/all.sock", STILE_UNREACHABLE, "/nowhere/at/all.sock");
}

static void a_wrong_password_is_said_without_saying_it(void **state)
{
    char url[128];
    stile *space = NULL;

    (void)state;
    expect_no_space(test_server_tcp_url(&server), STILE_AUTH, "127.0.0.1");
    snprintf(url, sizeof url, "redis://:battery@127.0.0.1:%u", (unsigned)server.port);
    expect_no_space(url, STILE_AUTH, "127.0.0.1");
    assert_null(strstr(stile_error_detail(), "battery"));
    snprintf(url, sizeof url, "redis://:correct%%20horse@127.0.0.1:%u", (unsigned)server.port);
    expect_ok(stile_open(url, NULL, &space));
    stile_close(space);
}

static void a_full_server_takes_no_more_and_keeps_what_it_has(void **state)
{
    struct crowd crowd;
    struct place place;
    stile_hold hold;

    (void)state;
    gather(&crowd);
    place = open_place();
    test_redis(&server, NULL, 0, "CONFIG", "SET", "maxmemory-policy", "noeviction", NULL);
    test_redis(&server, NULL, 0, "CONFIG", "SET", "maxmemory", "1", NULL);
    expect_status(stile_lock_acquire(place.lock, 0, &hold), STILE_TIMEOUT);
    expect_status(stile_lock_acquire(place.lock, 200, &hold), STILE_REFUSED);
    assert_non_null(strstr(stile_error_detail(), "OOM"));
    /* Renewed, and looked after by those who wait. */
    assert_int_equal(await_lost(crowd.holder.lock, &crowd.hold, 2 * LEASE_MS), -1);
    expect_ok(stile_lock_extend(crowd.holder.lock, &crowd.hold, 100));
    scene_await_queue(&server, "ledger", WAITERS);
    expect_ok(stile_lock_release(crowd.holder.lock, &crowd.hold));
    all_get_through(&crowd, crowd.hold.fence, SLACK_MS);
    expect_status(stile_lock_acquire(place.lock, 0, &hold), STILE_REFUSED);
    test_redis(&server, NULL, 0, "CONFIG", "SET", "maxmemory", "0", NULL);
    scene_expect_free(place.lock, SLACK_MS);
    close_place(&place);
}

static void a_waiter_can_leave_a_full_server(void **state)
{
    struct place holder = open_place(), place = open_place();
    struct caller caller;
    stile_hold hold;

    (void)state;
    expect_ok(stile_lock_acquire(holder.lock, SOON_MS, &hold));
    caller_start(&caller, place.lock, 500);
    scene_await_queue(&server, "ledger", 1);
    test_redis(&server, NULL, 0, "CONFIG", "SET", "maxmemory", "1", NULL);
    assert_int_equal(caller_join(&caller), STILE_TIMEOUT);
    assert_int_equal(test_redis_int(&server, "ZCARD", scene_key("ledger", KEY_QUEUE), NULL), 0);
    expect_ok(stile_lock_release(holder.lock, &hold));
    close_place(&place);
    close_place(&holder);
}

#define on(start, test) cmocka_unit_test_setup_teardown(test, start, stop)

/* ---- kept taken ------------------------------------------------------------------------ */

/* Asks until it is answered. */
static void await_server(stile_lock *lock)
{
    int64_t until_ms = test_now_ms() + SOON_MS;
    stile_lock_info info;

    while (stile_lock_inspect(lock, &info) != STILE_OK)
        assert_true(test_now_ms() < until_ms);
    stile_lock_info_free(&info);
}

/* Nor does a space that is closed meanwhile. */
static void an_unanswered_release_frees_no_lock_before_its_least_time(void **state)
{
    const stile_lock_options least = {.min_hold_ms = 3000};

    (void)state;
    for (int closes = 0; closes < 2; closes++) {
        struct place place = open_place(), other = open_place();
        int64_t from_ms = test_now_ms(), held_ms;
        stile_status status;
        stile_hold hold, next;

        expect_ok(stile_lock_acquire_with(place.lock, 0, &least, &hold));
        held_ms = test_now_ms();
        test_server_kill(&server);
        status = stile_lock_release(place.lock, &hold);
        assert_true(status == STILE_UNREACHABLE || status == STILE_UNKNOWN);
        assert_true(test_server_restart(&server));
        expect_status(stile_lock_release(place.lock, &hold), STILE_NOT_HELD);
        /* By now the space could tell the server. */
        await_server(place.lock);
        if (closes)
            close_place(&place);
        expect_ok(stile_lock_acquire(other.lock, SOON_MS, &next));
        assert_true(test_now_ms() - from_ms >= 3000);
        assert_true(test_now_ms() - held_ms <= 3000 + POLL_MS + RECONNECT_MS + SLACK_MS);
        expect_ok(stile_lock_release(other.lock, &next));
        close_place(&other);
        if (!closes)
            close_place(&place);
    }
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        on(start_durable, a_crash_that_kept_its_log_costs_nobody_the_lock),
        on(start_forgetful, a_crash_without_a_log_is_told_to_the_holder_and_fences_rise),
        on(start_forgetful, repeated_crashes_leave_fences_rising),
        on(start_forgetful, a_crowd_in_one_process_survives_a_crash_without_a_log),
        on(start_forgetful, a_hold_ends_by_the_local_clock_when_the_server_is_gone),
        on(start_forgetful, a_timed_acquire_of_a_dead_server_says_unreachable_in_time),
        on(start_forgetful, timed_acquires_of_a_hung_server_come_back_in_time),
        on(start_forgetful, waiters_of_a_hung_server_come_back_in_time),
        on(start_forgetful, callers_without_a_deadline_are_not_told_of_a_timeout),
        on(start_forgetful, a_hold_is_lost_in_time_while_the_server_hangs),
        on(start_durable, an_unanswered_release_frees_no_lock_before_its_least_time),
        on(start_forgetful, flushed_scripts_are_not_noticed),
        on(start_forgetful, flushed_keys_are_told_to_the_holder_and_strand_nobody),
        on(start_forgetful, a_key_deleted_from_outside_strands_nobody),
        on(start_forgetful, cut_connections_cost_neither_holds_nor_places),
        on(start_forgetful, a_grant_while_subscriptions_are_cut_reaches_somebody),
        on(start_forgetful, a_refused_connection_is_said_at_once_and_where),
        on(start_locked, a_wrong_password_is_said_without_saying_it),
        on(start_forgetful, a_full_server_takes_no_more_and_keeps_what_it_has),
        on(start_forgetful, a_waiter_can_leave_a_full_server),
    };

    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
