/*
 * The lock: waiting for it, and in which order it is given.
 */
#include "contract.h"
#include "contract_lock.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>

/* ---- how long ------------------------------------------------------------------------ */

/* Waits in vain five times.  No wait may end early; the machine may be busy, so one
 * that ends in time is enough. */
static void check_punctual(stile_lock *lock, int64_t timeout_ms)
{
    int64_t best_ns = INT64_MAX;
    int i;

    for (i = 0; i < 5; i++) {
        int64_t began_ns = test_now_ns(), took_ns;
        stile_hold hold;

        assert_true(contract_in_vain(stile_lock_acquire(lock, timeout_ms, &hold)));
        took_ns = test_now_ns() - began_ns;
        assert_true(took_ns >= timeout_ms * CONTRACT_NS_PER_MS);
        best_ns = took_ns < best_ns ? took_ns : best_ns;
    }
    assert_true(best_ns <= contract_latest_ms(timeout_ms) * CONTRACT_NS_PER_MS);
}

static void wait_in_vain_ends_at_its_timeout(void **state)
{
    const int64_t timeouts_ms[] = {0, 1, 20, 150, 500};
    stile_lock *lock = contract_lock_open("punctual", NULL);
    stile_hold hold;
    size_t i;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    for (i = 0; i < sizeof timeouts_ms / sizeof timeouts_ms[0]; i++)
        check_punctual(lock, timeouts_ms[i]);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void count_alarm(int number)
{
    (void)number;
}

/* Whoever catches SIGALRM gets one every millisecond, or none. */
static void set_storm(bool on)
{
    struct sigaction action = {.sa_handler = on ? count_alarm : SIG_IGN};
    struct itimerval every = {.it_interval = {.tv_usec = 1000}, .it_value = {.tv_usec = 1000}};
    const struct itimerval never = {.it_interval = {.tv_usec = 0}};

    sigemptyset(&action.sa_mask);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, on ? &every : &never, NULL), 0);
}

static int setup_storm(void **state)
{
    int result = contract_setup(state);

    set_storm(true);
    return result;
}

static int teardown_storm(void **state)
{
    set_storm(false);
    return contract_teardown(state);
}

static void storm_of_signals_moves_no_deadline(void **state)
{
    stile_lock *lock = contract_lock_open("storm", NULL);
    struct contender *contender;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    check_punctual(lock, 50);
    check_punctual(lock, 300);
    contender = contender_start(lock, STILE_FOREVER, NULL);
    check_punctual(lock, 20);
    assert_true(contender_waits(contender));
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_outcome(contender_answer(contender), STILE_OK);
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
}

static int64_t used_us(void)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void who_waits_sleeps(void **state)
{
    stile_lock *lock = contract_lock_open("asleep", NULL);
    int64_t best_us = INT64_MAX;
    stile_hold hold;
    int i;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    for (i = 0; i < 3; i++) {
        int64_t before_us = used_us(), took_us;
        stile_hold none;

        assert_true(contract_in_vain(stile_lock_acquire(lock, 400, &none)));
        took_us = used_us() - before_us;
        best_us = took_us < best_us ? took_us : best_us;
    }
    assert_true(best_us < 40000);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void longest_timeout_waits_until_the_lock_is_free(void **state)
{
    const int64_t timeouts_ms[] = {STILE_FOREVER, INT64_MAX, INT64_MAX / 1000000,
                                   INT64_C(315360000001), 60000};
    stile_lock *lock = contract_lock_open("longest", NULL);
    size_t i;

    (void)state;
    for (i = 0; i < sizeof timeouts_ms / sizeof timeouts_ms[0]; i++) {
        struct contender *contender;
        stile_hold hold;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        contender = contender_queue(lock, timeouts_ms[i], NULL);
        assert_true(contender_waits(contender));
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        assert_outcome(contender_answer(contender), STILE_OK);
        assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
    }
}

/* ---- order --------------------------------------------------------------------------------- */

enum { IN_LINE = 6 };

static void check_first_come_first_served(const stile_lock_options *options)
{
    stile_lock *locks[] = {contract_lock_open("line", options),
                           contract_lock_open("line", options)};
    struct contender *line[IN_LINE];
    uint64_t fence;
    stile_hold hold;
    int i, j;

    assert_status(stile_lock_acquire(locks[0], 0, &hold), STILE_OK);
    fence = hold.fence;
    for (i = 0; i < IN_LINE; i++)
        line[i] = contender_queue(locks[i % 2], i % 3 == 0 ? 60000 : STILE_FOREVER, NULL);
    assert_status(stile_lock_release(locks[0], &hold), STILE_OK);
    for (i = 0; i < IN_LINE; i++) {
        assert_outcome(contender_answer(line[i]), STILE_OK);
        for (j = i + 1; j < IN_LINE; j++)
            assert_true(contender_waits(line[j]));
        assert_true(line[i]->hold.fence > fence);
        fence = line[i]->hold.fence;
        assert_status(stile_lock_release(locks[0], &line[i]->hold), STILE_OK);
    }
    contract_check_free(locks[0]);
}

static void fair_lock_is_given_first_come_first_served(void **state)
{
    const stile_lock_options fair = {.fair = true};
    const stile_lock_options fair_fixed = {.fair = true, .fixed_lease = true, .lease_ms = 60000};

    (void)state;
    check_first_come_first_served(&fair);
    check_first_come_first_served(&fair_fixed);
}

static void without_barging_the_order_is_that_of_arrival(void **state)
{
    (void)state;
    check_first_come_first_served(NULL);
}

static void release_gives_a_fair_lock_to_who_waits(void **state)
{
    const stile_lock_options fair = {.fair = true};
    stile_lock *lock = contract_lock_open("given", &fair);
    stile_lock *barging = contract_lock_open("given", NULL);
    int i;

    (void)state;
    for (i = 0; i < 20; i++) {
        struct contender *contender;
        stile_hold hold;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        contender = contender_queue(lock, STILE_FOREVER, NULL);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        /* Nobody gets in between, with or without a handle that is fair. */
        contract_check_taken(i % 2 == 0 ? lock : barging);
        assert_outcome(contender_answer(contender), STILE_OK);
        assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
    }
}

enum { BARGERS = 2, BARGE_NS = 2000000 };

struct barging {
    stile_lock *lock;
    struct test_flag passes;
    _Atomic bool stop;
    _Atomic bool failed;
};

/* Tries until it has the lock, keeps it for a while, and comes back at once. */
static void *barge(void *arg)
{
    struct barging *barging = arg;

    while (!barging->stop) {
        int64_t until_ns;
        stile_hold hold;
        stile_status status = stile_lock_acquire(barging->lock, 0, &hold);

        if (status == STILE_TIMEOUT)
            continue;
        test_flag_add(&barging->passes);
        until_ns = test_now_ns() + BARGE_NS;
        while (status == STILE_OK && test_now_ns() < until_ns)
            continue;
        if (status != STILE_OK || stile_lock_release(barging->lock, &hold) != STILE_OK)
            barging->failed = true;
    }
    return NULL;
}

/* Half a millisecond after it was woken a waiter is passed over no more: they get in
 * between once, or twice if the machine is busy. */
static void waiter_is_not_starved_by_those_who_come_back_at_once(void **state)
{
    enum { ROUNDS = 30 };
    static struct barging barging;
    stile_status status = STILE_OK;
    pthread_t bargers[BARGERS];
    int quick = 0, i;

    (void)state;
    barging.lock = contract_lock_open("barging", NULL);
    for (i = 0; i < BARGERS; i++)
        bargers[i] = contract_thread_start(barge, &barging);
    for (i = 0; i < ROUNDS && status == STILE_OK; i++) {
        uint32_t before = test_flag_get(&barging.passes);
        stile_hold hold;

        test_flag_wait(&barging.passes, before + 1, CONTRACT_SOON_MS);
        before = test_flag_get(&barging.passes);
        status = stile_lock_acquire(barging.lock, 2000, &hold);
        if (test_flag_get(&barging.passes) - before <= 2)
            quick++;
        if (status == STILE_OK)
            status = stile_lock_release(barging.lock, &hold);
    }
    barging.stop = true;
    for (i = 0; i < BARGERS; i++)
        contract_thread_join(bargers[i]);
    assert_outcome(status, STILE_OK);
    assert_true(quick >= ROUNDS / 2);
    assert_false(barging.failed);
}

/* ---- those who give up ------------------------------------------------------------------------ */

static void waiter_that_gave_up_delays_nobody(void **state)
{
    stile_lock *lock = contract_lock_open("gave-up", NULL);
    struct contender *leaving[3], *staying;
    int64_t best_ns = INT64_MAX;
    int round, i;

    (void)state;
    for (round = 0; round < 3; round++) {
        int64_t released_ns;
        stile_hold hold;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        for (i = 0; i < 3; i++)
            leaving[i] = contender_queue(lock, 300, NULL);
        staying = contender_queue(lock, STILE_FOREVER, NULL);
        for (i = 0; i < 3; i++)
            assert_true(contract_in_vain(contender_answer(leaving[i])));
        assert_true(contender_waits(staying));
        released_ns = test_now_ns();
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        assert_outcome(contender_answer(staying), STILE_OK);
        if (staying->returned_ns - released_ns < best_ns)
            best_ns = staying->returned_ns - released_ns;
        assert_status(stile_lock_release(lock, &staying->hold), STILE_OK);
    }
    assert_true(best_ns < 100 * CONTRACT_NS_PER_MS);
}

static void lock_that_only_quitters_waited_for_is_free_after_release(void **state)
{
    const stile_lock_options fair = {.fair = true};
    stile_lock *lock = contract_lock_open("quitters", NULL);
    struct contender *leaving[4];
    stile_hold hold;
    int i;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    for (i = 0; i < 4; i++)
        leaving[i] = contender_start(lock, 20 + 10 * i, i % 2 == 0 ? NULL : &fair);
    for (i = 0; i < 4; i++)
        assert_true(contract_in_vain(contender_answer(leaving[i])));
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    contract_check_free(lock);
}

static void release_at_the_timeout_goes_to_the_first_or_to_the_next(void **state)
{
    enum { ROUNDS = 60, TIMEOUT_MS = 25 };
    stile_lock *lock = contract_lock_open("instant", NULL);
    int granted = 0, i;

    (void)state;
    for (i = 0; i < ROUNDS; i++) {
        struct contender *first, *next;
        stile_status status;
        stile_hold hold;
        int64_t at_ns;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        first = contender_queue(lock, TIMEOUT_MS, NULL);
        next = contender_queue(lock, STILE_FOREVER, NULL);
        /* From a little before the deadline to a little after. */
        at_ns = first->called_ns + TIMEOUT_MS * CONTRACT_NS_PER_MS + (i - ROUNDS / 3) * 8000;
        while (test_now_ns() < at_ns)
            continue;
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        status = contender_answer(first);
        if (status == STILE_OK) {
            granted++;
            assert_true(first->hold.fence > hold.fence);
            assert_status(stile_lock_release(lock, &first->hold), STILE_OK);
        } else {
            assert_true(contract_in_vain(status));
        }
        assert_outcome(contender_answer(next), STILE_OK);
        assert_status(stile_lock_release(lock, &next->hold), STILE_OK);
        contract_check_free(lock);
    }
    print_message("%d granted, %d refused\n", granted, ROUNDS - granted);
}

/* ---- cancelled threads -------------------------------------------------------------------------- */

/* The threads end by themselves: the address sanitizer does not know a stack that
 * was unwound by a cancellation. */
struct cancelled {
    stile_lock *lock;
    pid_t id;
    struct test_flag calling;
    struct test_flag returned;
    stile_status status;
    stile_hold hold;
    bool cancellable; /* afterwards, as before */
    int steps;
};

static void note_cancellable(struct cancelled *cancelled)
{
    int before;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    cancelled->cancellable = before == PTHREAD_CANCEL_ENABLE;
}

static void *acquire_while_cancelled(void *arg)
{
    struct cancelled *cancelled = arg;

    cancelled->id = gettid();
    test_flag_set(&cancelled->calling, 1);
    cancelled->status = stile_lock_acquire(cancelled->lock, STILE_FOREVER, &cancelled->hold);
    note_cancellable(cancelled);
    test_flag_set(&cancelled->returned, 1);
    return NULL;
}

static void cancelled_thread_finishes_its_wait(void **state)
{
    static struct cancelled cancelled;
    pthread_t thread;
    int64_t queued;
    stile_hold hold;

    (void)state;
    cancelled.lock = contract_lock_open("cancelled", NULL);
    assert_status(stile_lock_acquire(cancelled.lock, 0, &hold), STILE_OK);
    queued = contract_queue_length(cancelled.lock);
    thread = contract_thread_start(acquire_while_cancelled, &cancelled);
    assert_true(test_flag_wait(&cancelled.calling, 1, CONTRACT_SOON_MS));
    contract_await_queued(cancelled.lock, cancelled.id, &cancelled.returned, queued);
    assert_int_equal(pthread_cancel(thread), 0);
    assert_status(stile_lock_release(cancelled.lock, &hold), STILE_OK);
    assert_true(test_flag_wait(&cancelled.returned, 1, CONTRACT_SOON_MS));
    assert_outcome(cancelled.status, STILE_OK);
    assert_true(cancelled.cancellable);
    contract_thread_join(thread);
    assert_status(stile_lock_release(cancelled.lock, &cancelled.hold), STILE_OK);
}

/* Every call, with a cancellation that takes effect wherever it can. */
static void *call_while_cancelled(void *arg)
{
    struct cancelled *cancelled = arg;
    stile *space;
    stile_lock *lock;
    stile_hold hold;

    pthread_cancel(pthread_self());
    if (stile_open(contract_url(), NULL, &space) != STILE_OK)
        return NULL;
    cancelled->steps++;
    if (stile_lock_open(space, "cancelled-calls", NULL, &lock) != STILE_OK)
        return NULL;
    cancelled->steps++;
    if (stile_lock_acquire(lock, 0, &hold) == STILE_OK)
        cancelled->steps++;
    if (contract_in_vain(stile_lock_acquire(lock, 20, &hold)))
        cancelled->steps++;
    if (stile_lock_extend(lock, &hold, 1000) == STILE_OK)
        cancelled->steps++;
    if (stile_lock_check(lock, &hold, NULL) == STILE_OK)
        cancelled->steps++;
    if (stile_lock_release(lock, &hold) == STILE_OK)
        cancelled->steps++;
    stile_lock_close(lock);
    cancelled->steps++;
    stile_close(space);
    cancelled->steps++;
    note_cancellable(cancelled);
    return NULL;
}

static void no_call_is_a_cancellation_point(void **state)
{
    static struct cancelled cancelled;

    (void)state;
    contract_thread_join(contract_thread_start(call_while_cancelled, &cancelled));
    assert_int_equal(cancelled.steps, 9);
    assert_true(cancelled.cancellable);
}

/* ---------------------------------------------------------------------------------------------------- */

int contract_lock_wait(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(wait_in_vain_ends_at_its_timeout),
        cmocka_unit_test_setup_teardown(storm_of_signals_moves_no_deadline, setup_storm,
                                        teardown_storm),
        contract_test(who_waits_sleeps),
        contract_test(longest_timeout_waits_until_the_lock_is_free),
        contract_test(fair_lock_is_given_first_come_first_served),
        contract_test(without_barging_the_order_is_that_of_arrival),
        contract_test(release_gives_a_fair_lock_to_who_waits),
        contract_test(waiter_is_not_starved_by_those_who_come_back_at_once),
        contract_test(waiter_that_gave_up_delays_nobody),
        contract_test(lock_that_only_quitters_waited_for_is_free_after_release),
        contract_test(release_at_the_timeout_goes_to_the_first_or_to_the_next),
        contract_test(cancelled_thread_finishes_its_wait),
        contract_test(no_call_is_a_cancellation_point),
    };

    return cmocka_run_group_tests_name("lock: waiting", tests, NULL, NULL);
}
