/*
 * Races of the lock, on purpose and often.
 *
 *     race_lock local|redis
 *
 * Each race is run so that both outcomes happen: where one is rare, the moment is
 * moved towards it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include <stile/stile.h>

#include "support/process.h"
#include "support/server.h"

enum { INSTANTS = 10000, LEASES = 8, CLOSES = 400, SOON_MS = 60000 };

#define NS_PER_MS INT64_C(1000000)

static bool on_server;
static struct test_server server;

static stile *open_space(void)
{
    stile *space = NULL;
    stile_status status =
        stile_open(on_server ? test_server_unix_url(&server) : "local:", NULL, &space);

    if (status != STILE_OK)
        fail_msg("%s: %s", stile_status_name(status), stile_error_detail());
    return space;
}

static stile_lock *open_lock(stile *space, const char *name)
{
    stile_lock *lock = NULL;

    assert_int_equal(stile_lock_open(space, name, NULL, &lock), STILE_OK);
    return lock;
}

static void expect(stile_status status, stile_status expected, const char *what)
{
    if (status != expected)
        fail_msg("%s: %s instead of %s: %s", what, stile_status_name(status),
                 stile_status_name(expected), stile_error_detail());
}

/* A server that is busy may not confirm in time that a waiter left. */
static bool is_refusal(stile_status status)
{
    return status == STILE_TIMEOUT || (on_server && status == STILE_UNKNOWN);
}

/* ---- a timeout at the instant of the grant ------------------------------------------ */

struct instant {
    stile_lock *lock;
    struct test_flag round; /* what the waiter is to do next */
    struct test_flag done;
    _Atomic int64_t called_ns;
    stile_status status;
    stile_hold hold;
};

enum { TIMEOUT_MS = 1 };

static void *wait_at_the_instant(void *argument)
{
    struct instant *instant = argument;
    uint32_t round;

    for (round = 1; round <= INSTANTS; round++) {
        if (!test_flag_wait(&instant->round, round, SOON_MS))
            return NULL;
        atomic_store(&instant->called_ns, test_now_ns());
        instant->status = stile_lock_acquire(instant->lock, TIMEOUT_MS, &instant->hold);
        test_flag_set(&instant->done, round);
    }
    return argument;
}

/* Releases what it holds about offset_ns after the waiter's deadline. */
static void release_about(struct instant *instant, const stile_hold *hold, int64_t offset_ns)
{
    int64_t called_ns;

    while ((called_ns = atomic_load(&instant->called_ns)) == 0)
        continue;
    while (test_now_ns() < called_ns + TIMEOUT_MS * NS_PER_MS + offset_ns)
        continue;
    expect(stile_lock_release(instant->lock, hold), STILE_OK, "release");
}

static void a_timeout_at_the_instant_of_the_grant_is_one_of_both(void **state)
{
    stile *space = open_space();
    struct instant instant = {.lock = open_lock(space, "instant")};
    int64_t offset_ns = 0;
    uint64_t fence = 0;
    int granted = 0, i;
    pthread_t thread;
    void *ended;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, wait_at_the_instant, &instant), 0);
    for (i = 1; i <= INSTANTS; i++) {
        stile_hold hold;

        /* Nobody is left behind, whatever the last round came to. */
        expect(stile_lock_acquire(instant.lock, SOON_MS, &hold), STILE_OK, "acquire");
        assert_true(hold.fence > fence);
        fence = hold.fence;
        atomic_store(&instant.called_ns, 0);
        test_flag_set(&instant.round, (uint32_t)i);
        release_about(&instant, &hold, offset_ns);
        assert_true(test_flag_wait(&instant.done, (uint32_t)i, SOON_MS));
        if (instant.status == STILE_OK) {
            granted++;
            assert_true(instant.hold.fence > fence);
            fence = instant.hold.fence;
            expect(stile_lock_release(instant.lock, &instant.hold), STILE_OK, "its release");
            offset_ns += 2000;
        } else {
            assert_true(is_refusal(instant.status));
            offset_ns -= 2000;
        }
    }
    assert_int_equal(pthread_join(thread, &ended), 0);
    assert_ptr_equal(ended, &instant);
    print_message("%d granted, %d refused\n", granted, INSTANTS - granted);
    assert_true(granted > INSTANTS / 10 && granted < INSTANTS - INSTANTS / 10);
    stile_lock_close(instant.lock);
    stile_close(space);
}

/* ---- a lease ends, and the same process acquires again ---------------------------------- */

static void a_lease_that_ends_in_the_owners_hands_is_not_the_next_one(void **state)
{
    const stile_lock_options options = {.lease_ms = 100, .fixed_lease = true};
    stile *space = open_space();
    stile_lock *lock = open_lock(space, "again");
    stile_hold last = STILE_HOLD_INIT;
    int i;

    (void)state;
    for (i = 0; i < LEASES; i++) {
        stile_hold hold;

        expect(stile_lock_acquire_with(lock, SOON_MS, &options, &hold), STILE_OK, "acquire");
        assert_true(hold.fence > last.fence);
        if (i > 0) {
            /* Half of them are looked at, half released in good faith. */
            if (i % 2 == 0)
                expect(stile_lock_extend(lock, &last, 1000), STILE_LOST, "extend");
            expect(stile_lock_release(lock, &last), STILE_LOST, "release of what is over");
            expect(stile_lock_release(lock, &last), STILE_NOT_HELD, "and again");
        }
        expect(stile_lock_check(lock, &hold, NULL), STILE_OK, "check");
        last = hold;
    }
    expect(stile_lock_release(lock, &last), STILE_OK, "the last");
    stile_lock_close(lock);
    stile_close(space);
}

/* ---- close and acquire ------------------------------------------------------------------ */

struct closing {
    stile_lock *lock;
    struct test_flag going;
    unsigned turns;
    stile_status status;
};

static void *acquire_until_closed(void *argument)
{
    struct closing *closing = argument;
    stile_hold hold;

    for (;;) {
        closing->status = stile_lock_acquire(closing->lock, STILE_FOREVER, &hold);
        if (closing->status != STILE_OK)
            return NULL;
        closing->turns++;
        test_flag_add(&closing->going);
        closing->status = stile_lock_release(closing->lock, &hold);
        if (closing->status != STILE_OK)
            return NULL;
    }
}

/* redis: a release in a space that is closed says so, and the lease ends it. */
static bool is_end(stile_status status)
{
    return status == STILE_CLOSED || (on_server && status == STILE_UNKNOWN);
}

static void a_close_amid_acquires_sends_everybody_home_and_leaves_nothing(void **state)
{
    const int rounds = on_server ? CLOSES / 4 : CLOSES;
    int i, j;

    (void)state;
    for (i = 0; i < rounds; i++) {
        struct closing closing[3];
        stile *space = open_space();
        pthread_t threads[3];

        memset(closing, 0, sizeof closing);
        for (j = 0; j < 3; j++) {
            closing[j].lock = open_lock(space, "closing");
            assert_int_equal(pthread_create(&threads[j], NULL, acquire_until_closed, &closing[j]),
                             0);
        }
        for (j = 0; j < 3; j++)
            assert_true(test_flag_wait(&closing[j].going, (uint32_t)(i % 7), SOON_MS));
        stile_close(space);
        for (j = 0; j < 3; j++) {
            assert_int_equal(pthread_join(threads[j], NULL), 0);
            if (!is_end(closing[j].status))
                fail_msg("round %d: %s", i, stile_status_name(closing[j].status));
            stile_lock_close(closing[j].lock);
        }
    }
}

static int start_server(void **state)
{
    const struct test_server_options options = {.tcp = false};

    (void)state;
    return !on_server || test_server_start(&options, &server) ? 0 : 1;
}

static int stop_server(void **state)
{
    (void)state;
    if (on_server)
        test_server_stop(&server);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timeout_at_the_instant_of_the_grant_is_one_of_both),
        cmocka_unit_test(a_lease_that_ends_in_the_owners_hands_is_not_the_next_one),
        cmocka_unit_test(a_close_amid_acquires_sends_everybody_home_and_leaves_nothing),
    };

    if (argc != 2 || (strcmp(argv[1], "local") != 0 && strcmp(argv[1], "redis") != 0)) {
        fprintf(stderr, "usage: race_lock local|redis\n");
        return 2;
    }
    on_server = strcmp(argv[1], "redis") == 0;
    return cmocka_run_group_tests_name("races of the lock", tests, start_server, stop_server);
}
