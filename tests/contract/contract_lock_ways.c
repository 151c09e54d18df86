/*
 * The lock: waits that are ended from outside, and waits for one of several.
 */
#include "contract.h"
#include "contract_lock.h"

#include <string.h>

/* ---- a cancellation --------------------------------------------------------------- */

static stile_cancel *open_cancel(void)
{
    stile_cancel *cancel;

    assert_status(stile_cancel_open(&cancel), STILE_OK);
    assert_false(stile_cancel_fired(cancel));
    return cancel;
}

static void fired_before_it_ends_every_call(void **state)
{
    stile_cancel *cancel = open_cancel();
    const stile_lock_options options = {.cancel = cancel};
    stile_lock *lock = contract_lock_open("fired-before", &options);
    stile_lock *plain = contract_lock_open("fired-before", NULL);
    stile_hold hold = {.fence = 42};

    (void)state;
    contract_check_free(lock);
    stile_cancel_fire(cancel);
    stile_cancel_fire(cancel);
    assert_true(stile_cancel_fired(cancel));
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_CANCELLED);
    assert_status(stile_lock_acquire(lock, 1000, &hold), STILE_CANCELLED);
    assert_status(stile_lock_acquire(lock, STILE_FOREVER, &hold), STILE_CANCELLED);
    assert_status(stile_lock_acquire_with(plain, STILE_FOREVER, &options, &hold), STILE_CANCELLED);
    assert_int_equal(hold.fence, 42);
    contract_check_free(plain);
    stile_lock_close(NULL);
    contract_lock_close(lock);
    stile_cancel_close(cancel);
}

static void fired_while_they_wait_it_ends_all_that_name_it(void **state)
{
    enum { WAITERS = 4 };
    stile_cancel *cancel = open_cancel();
    const stile_lock_options options[] = {{.cancel = cancel}, {.cancel = cancel, .fair = true}};
    stile_lock *locks[] = {contract_lock_open("cancel-one", NULL),
                           contract_lock_open("cancel-other", NULL)};
    struct contender *waiters[WAITERS], *staying;
    stile_hold holds[2];
    int64_t fired_ns;
    int i;

    (void)state;
    for (i = 0; i < 2; i++)
        assert_status(stile_lock_acquire(locks[i], 0, &holds[i]), STILE_OK);
    for (i = 0; i < WAITERS; i++)
        waiters[i] = contender_queue(locks[i % 2], i < 2 ? STILE_FOREVER : 60000, &options[i / 2]);
    staying = contender_queue(locks[0], STILE_FOREVER, NULL);
    for (i = 0; i < WAITERS; i++)
        assert_true(contender_waits(waiters[i]));
    fired_ns = test_now_ns();
    stile_cancel_fire(cancel);
    for (i = 0; i < WAITERS; i++) {
        assert_outcome(contender_answer(waiters[i]), STILE_CANCELLED);
        assert_true(waiters[i]->returned_ns - fired_ns < 1000 * CONTRACT_NS_PER_MS);
    }
    assert_true(contender_waits(staying));
    for (i = 0; i < 2; i++)
        assert_status(stile_lock_release(locks[i], &holds[i]), STILE_OK);
    assert_outcome(contender_answer(staying), STILE_OK);
    assert_status(stile_lock_release(locks[0], &staying->hold), STILE_OK);
    contract_check_free(locks[0]);
    contract_check_free(locks[1]);
    stile_cancel_close(cancel);
}

static void fired_at_the_instant_of_the_grant_one_of_both_counts(void **state)
{
    enum { ROUNDS = 60 };
    stile_lock *lock = contract_lock_open("cancel-instant", NULL);
    int granted = 0, i;

    (void)state;
    for (i = 0; i < ROUNDS; i++) {
        stile_cancel *cancel = open_cancel();
        const stile_lock_options options = {.cancel = cancel, .fair = i % 2 == 0};
        struct contender *first, *next;
        stile_status status;
        stile_hold hold;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        first = contender_queue(lock, STILE_FOREVER, &options);
        next = contender_queue(lock, STILE_FOREVER, NULL);
        if (i % 3 == 0)
            stile_cancel_fire(cancel);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        stile_cancel_fire(cancel);
        status = contender_answer(first);
        if (status == STILE_OK) {
            granted++;
            assert_status(stile_lock_release(lock, &first->hold), STILE_OK);
        } else {
            assert_outcome(status, STILE_CANCELLED);
        }
        assert_outcome(contender_answer(next), STILE_OK);
        assert_status(stile_lock_release(lock, &next->hold), STILE_OK);
        contract_check_free(lock);
        stile_cancel_close(cancel);
    }
    print_message("%d granted, %d cancelled\n", granted, ROUNDS - granted);
}

static void one_cancellation_ends_waits_in_any_space(void **state)
{
    stile_cancel *cancel = open_cancel();
    const stile_lock_options options = {.cancel = cancel};
    stile_lock *here = contract_lock_open("spaces", NULL), *there;
    struct contender *one, *other;
    stile_hold held, far;
    stile *local;

    (void)state;
    assert_status(stile_open("local:", NULL, &local), STILE_OK);
    assert_status(stile_lock_open(local, "spaces", NULL, &there), STILE_OK);
    assert_status(stile_lock_acquire(here, 0, &held), STILE_OK);
    assert_status(stile_lock_acquire(there, 0, &far), STILE_OK);
    one = contender_queue(here, STILE_FOREVER, &options);
    other = contender_start(there, STILE_FOREVER, &options);
    stile_cancel_fire(cancel);
    assert_outcome(contender_answer(one), STILE_CANCELLED);
    assert_outcome(contender_answer(other), STILE_CANCELLED);
    assert_status(stile_lock_release(here, &held), STILE_OK);
    assert_status(stile_lock_release(there, &far), STILE_OK);
    stile_lock_close(there);
    stile_close(local);
    stile_cancel_close(cancel);
}

static void cancellation_takes_null(void **state)
{
    (void)state;
    assert_status(stile_cancel_open(NULL), STILE_INVALID);
    stile_cancel_close(NULL);
    stile_cancel_fire(NULL);
    assert_false(stile_cancel_fired(NULL));
}

/* ---- one of several ---------------------------------------------------------------- */

enum { LOCKS = 4 };

struct any_call {
    stile_lock *locks[LOCKS];
    size_t count;
    int64_t timeout_ms;
    pthread_t thread;
    pid_t id;
    struct test_flag calling;
    struct test_flag returned;
    stile_status status;
    size_t which;
    stile_hold hold;
};

static void *call_any(void *arg)
{
    struct any_call *call = arg;

    call->id = gettid();
    test_flag_set(&call->calling, 1);
    call->which = 99;
    call->status = stile_lock_acquire_any(call->locks, call->count, call->timeout_ms, &call->which,
                                          &call->hold);
    test_flag_set(&call->returned, 1);
    return NULL;
}

/* Comes back when it waits for all of them, which somebody holds. */
static void start_any(struct any_call *call, stile_lock *const *locks, size_t count,
                      int64_t timeout_ms)
{
    int64_t queued[LOCKS];
    size_t i;

    memset(call, 0, sizeof *call);
    memcpy(call->locks, locks, count * sizeof locks[0]);
    call->count = count;
    call->timeout_ms = timeout_ms;
    for (i = 0; i < count; i++)
        queued[i] = contract_queue_length(locks[i]);
    call->thread = contract_thread_start(call_any, call);
    assert_true(test_flag_wait(&call->calling, 1, CONTRACT_SOON_MS));
    for (i = 0; i < count; i++)
        contract_await_queued(locks[i], call->id, &call->returned, queued[i]);
}

static stile_status any_answer(struct any_call *call)
{
    assert_true(test_flag_wait(&call->returned, 1, CONTRACT_SOON_MS));
    contract_thread_join(call->thread);
    return call->status;
}

static void open_locks(const char *prefix, const stile_lock_options *options,
                       stile_lock *locks[LOCKS])
{
    int i;

    for (i = 0; i < LOCKS; i++) {
        char name[64];

        snprintf(name, sizeof name, "%s-%d", prefix, i);
        locks[i] = contract_lock_open(name, options);
    }
}

static void take_all(stile_lock *const *locks, stile_hold *holds)
{
    int i;

    for (i = 0; i < LOCKS; i++)
        assert_status(stile_lock_acquire(locks[i], 0, &holds[i]), STILE_OK);
}

static void release_others(stile_lock *const *locks, const stile_hold *holds, int but)
{
    int i;

    for (i = 0; i < LOCKS; i++) {
        if (i != but)
            assert_status(stile_lock_release(locks[i], &holds[i]), STILE_OK);
        contract_check_free(locks[i]);
    }
}

/* What was granted to who had gone by then is given on behind everybody's back. */
static void check_free_soon(stile_lock *lock)
{
    stile_hold hold;

    assert_status(stile_lock_acquire(lock, CONTRACT_SOON_MS, &hold), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void of_several_that_are_free_the_first_is_taken(void **state)
{
    stile_lock *locks[LOCKS];
    stile_hold first, hold;
    size_t which = 99;
    int timeout;

    (void)state;
    open_locks("free", NULL, locks);
    assert_status(stile_lock_acquire(locks[0], 0, &first), STILE_OK);
    for (timeout = 0; timeout < 2; timeout++) {
        int64_t timeout_ms = timeout == 0 ? 0 : STILE_FOREVER;

        assert_status(stile_lock_acquire_any(locks, LOCKS, timeout_ms, &which, &hold), STILE_OK);
        assert_int_equal(which, 1);
        contract_check_taken(locks[1]);
        contract_check_free(locks[2]);
        contract_check_free(locks[3]);
        assert_status(stile_lock_release(locks[1], &hold), STILE_OK);
        contract_check_free(locks[1]);
    }
    assert_status(stile_lock_release(locks[0], &first), STILE_OK);
    assert_status(stile_lock_acquire_any(locks, 1, 1000, &which, &hold), STILE_OK);
    assert_int_equal(which, 0);
    assert_status(stile_lock_release(locks[0], &hold), STILE_OK);
}

static void check_gets_the_one_released(const stile_lock_options *options)
{
    stile_lock *locks[LOCKS];
    struct any_call call;
    stile_hold holds[LOCKS];
    int i;

    open_locks("released", options, locks);
    for (i = 0; i < LOCKS; i++) {
        take_all(locks, holds);
        start_any(&call, locks, LOCKS, i % 2 == 0 ? STILE_FOREVER : 60000);
        assert_int_equal(test_flag_get(&call.returned), 0);
        assert_status(stile_lock_release(locks[i], &holds[i]), STILE_OK);
        assert_outcome(any_answer(&call), STILE_OK);
        assert_int_equal(call.which, i);
        assert_true(call.hold.fence > holds[i].fence);
        assert_status(stile_lock_check(locks[i], &call.hold, NULL), STILE_OK);
        assert_status(stile_lock_release(locks[i], &call.hold), STILE_OK);
        release_others(locks, holds, i);
    }
}

static void of_several_that_are_taken_the_released_one_is_taken(void **state)
{
    const stile_lock_options fair = {.fair = true};
    const stile_lock_options fixed = {.fixed_lease = true, .lease_ms = 60000};

    (void)state;
    check_gets_the_one_released(NULL);
    check_gets_the_one_released(&fair);
    check_gets_the_one_released(&fixed);
}

static void timeout_leaves_none_of_them_queued(void **state)
{
    stile_lock *locks[LOCKS];
    stile_hold holds[LOCKS], hold = {.fence = 42};
    struct contender *next[LOCKS];
    int64_t began_ns;
    stile_status status;
    size_t which = 99;
    int i;

    (void)state;
    open_locks("any-timeout", NULL, locks);
    take_all(locks, holds);
    assert_status(stile_lock_acquire_any(locks, LOCKS, 0, &which, &hold), STILE_TIMEOUT);
    began_ns = test_now_ns();
    status = stile_lock_acquire_any(locks, LOCKS, 60, &which, &hold);
    assert_true(contract_in_vain(status));
    assert_true(test_now_ns() - began_ns >= 60 * CONTRACT_NS_PER_MS);
    assert_int_equal(which, 99);
    assert_int_equal(hold.fence, 42);
    for (i = 0; i < LOCKS; i++) {
        if (status == STILE_TIMEOUT)
            assert_int_equal(contract_queue_length(locks[i]), 0);
        next[i] = contender_queue(locks[i], STILE_FOREVER, NULL);
        assert_status(stile_lock_release(locks[i], &holds[i]), STILE_OK);
        assert_outcome(contender_answer(next[i]), STILE_OK);
        assert_status(stile_lock_release(locks[i], &next[i]->hold), STILE_OK);
        contract_check_free(locks[i]);
    }
}

/* All are released at once: it gets one, and the others pass to who waits behind. */
static void grants_of_several_at_once_are_passed_on(void **state)
{
    enum { ROUNDS = 20 };
    stile_lock *locks[LOCKS];
    int taken[LOCKS] = {0}, round, i;

    (void)state;
    open_locks("at-once", NULL, locks);
    for (round = 0; round < ROUNDS; round++) {
        struct contender *behind[LOCKS];
        struct any_call call;
        stile_hold holds[LOCKS];

        take_all(locks, holds);
        start_any(&call, locks, LOCKS, STILE_FOREVER);
        for (i = 0; i < LOCKS; i++)
            behind[i] = contender_queue(locks[i], STILE_FOREVER, NULL);
        for (i = 0; i < LOCKS; i++) {
            int at = (i + round) % LOCKS;

            assert_status(stile_lock_release(locks[at], &holds[at]), STILE_OK);
        }
        assert_outcome(any_answer(&call), STILE_OK);
        taken[call.which]++;
        for (i = 0; i < LOCKS; i++) {
            if (i == (int)call.which)
                assert_status(stile_lock_release(locks[i], &call.hold), STILE_OK);
            assert_outcome(contender_answer(behind[i]), STILE_OK);
            assert_status(stile_lock_release(locks[i], &behind[i]->hold), STILE_OK);
            contract_check_free(locks[i]);
        }
    }
    for (i = 0; i < LOCKS; i++)
        assert_true(taken[i] > 0);
}

struct worker {
    stile_lock *locks[2];
    _Atomic int *inside[2];
    bool failed;
};

static void *work_with_any(void *arg)
{
    struct worker *worker = arg;
    int i;

    for (i = 0; i < 100 && !worker->failed; i++) {
        stile_hold hold;
        size_t which;

        worker->failed =
            stile_lock_acquire_any(worker->locks, 2, CONTRACT_SOON_MS, &which, &hold) != STILE_OK ||
            atomic_fetch_add(worker->inside[which], 1) != 0;
        if (worker->failed)
            break;
        atomic_fetch_sub(worker->inside[which], 1);
        worker->failed = stile_lock_release(worker->locks[which], &hold) != STILE_OK;
    }
    return NULL;
}

static void callers_with_sets_that_overlap_make_progress(void **state)
{
    enum { WORKERS = 4 };
    static _Atomic int inside[LOCKS];
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    stile_lock *locks[LOCKS];
    int i;

    (void)state;
    open_locks("overlap", NULL, locks);
    for (i = 0; i < WORKERS; i++) {
        int one = i % 3, other = (i + 1) % 3;

        workers[i] = (struct worker){.locks = {locks[one], locks[other]},
                                     .inside = {&inside[one], &inside[other]}};
        threads[i] = contract_thread_start(work_with_any, &workers[i]);
    }
    for (i = 0; i < WORKERS; i++) {
        contract_thread_join(threads[i]);
        assert_false(workers[i].failed);
    }
    for (i = 0; i < 3; i++)
        check_free_soon(locks[i]);
}

static void cancellation_of_one_ends_the_whole(void **state)
{
    stile_cancel *cancel = open_cancel();
    const stile_lock_options options = {.cancel = cancel};
    stile_lock *locks[LOCKS];
    struct any_call call;
    stile_hold holds[LOCKS], hold;
    size_t which;

    (void)state;
    open_locks("any-cancel", NULL, locks);
    locks[2] = contract_lock_open("any-cancel-2", &options);
    take_all(locks, holds);
    start_any(&call, locks, LOCKS, STILE_FOREVER);
    stile_cancel_fire(cancel);
    assert_outcome(any_answer(&call), STILE_CANCELLED);
    assert_status(stile_lock_acquire_any(locks, LOCKS, 0, &which, &hold), STILE_CANCELLED);
    assert_status(stile_lock_acquire_any(locks, LOCKS, 1000, &which, &hold), STILE_CANCELLED);
    locks[2] = contract_lock_open("any-cancel-2", NULL);
    release_others(locks, holds, -1);
    stile_cancel_close(cancel);
}

static void closing_one_of_them_ends_the_whole(void **state)
{
    stile_lock *locks[LOCKS], *closed;
    struct any_call call;
    stile_hold holds[LOCKS];
    int i;

    (void)state;
    open_locks("any-close", NULL, locks);
    take_all(locks, holds);
    closed = locks[1];
    start_any(&call, locks, LOCKS, STILE_FOREVER);
    locks[1] = contract_lock_open("any-close-1", NULL);
    contract_lock_close(closed);
    assert_outcome(any_answer(&call), STILE_CLOSED);
    for (i = 0; i < LOCKS; i++) {
        assert_status(stile_lock_release(locks[i], &holds[i]), STILE_OK);
        check_free_soon(locks[i]);
    }
}

static void several_may_be_of_several_backends(void **state)
{
    stile_lock *locks[2];
    struct any_call call;
    stile_hold holds[2];
    stile *local;
    int i;

    (void)state;
    assert_status(stile_open("local:", NULL, &local), STILE_OK);
    locks[0] = contract_lock_open("mixed", NULL);
    locks[1] = contract_lock_open_in(local, "mixed", NULL);
    for (i = 0; i < 2; i++) {
        assert_status(stile_lock_acquire(locks[0], 0, &holds[0]), STILE_OK);
        assert_status(stile_lock_acquire(locks[1], 0, &holds[1]), STILE_OK);
        start_any(&call, locks, contract_on_redis() ? 1 : 2, 1);
        assert_true(contract_in_vain(any_answer(&call)));
        memset(&call, 0, sizeof call);
        memcpy(call.locks, locks, sizeof locks);
        call.count = 2;
        call.timeout_ms = STILE_FOREVER;
        call.thread = contract_thread_start(call_any, &call);
        assert_true(test_flag_wait(&call.calling, 1, CONTRACT_SOON_MS));
        assert_status(stile_lock_release(locks[i], &holds[i]), STILE_OK);
        assert_outcome(any_answer(&call), STILE_OK);
        assert_int_equal(call.which, i);
        assert_status(stile_lock_release(locks[i], &call.hold), STILE_OK);
        assert_status(stile_lock_release(locks[1 - i], &holds[1 - i]), STILE_OK);
        contract_check_free(locks[0]);
        contract_check_free(locks[1]);
    }
    contract_lock_close(locks[1]);
    stile_close(local);
}

/* With the queues the holds are gone: it queues again, and finds the locks free. */
static void server_that_forgets_the_queues_is_asked_again(void **state)
{
    stile_lock *locks[LOCKS];
    struct any_call call;
    stile_hold holds[LOCKS];
    int i;

    (void)state;
    if (!contract_on_redis())
        return;
    open_locks("forgotten", NULL, locks);
    take_all(locks, holds);
    start_any(&call, locks, LOCKS, STILE_FOREVER);
    assert_int_equal(test_redis(contract_server(), NULL, 0, "FLUSHALL", NULL), TEST_REPLY_OK);
    assert_outcome(any_answer(&call), STILE_OK);
    assert_status(stile_lock_release(locks[call.which], &call.hold), STILE_OK);
    for (i = 0; i < LOCKS; i++) {
        assert_status(stile_lock_release(locks[i], &holds[i]), STILE_LOST);
        check_free_soon(locks[i]);
    }
}

static void several_with_a_wrong_argument_are_refused(void **state)
{
    stile_lock *lock = contract_lock_open("any-wrong", NULL);
    stile_lock *again = contract_lock_open("any-wrong", NULL);
    stile_lock *same[] = {lock, again}, *hole[] = {lock, NULL};
    stile_lock *many[STILE_ANY_MAX + 1] = {lock};
    stile_hold hold;
    size_t which;

    (void)state;
    assert_status(stile_lock_acquire_any(NULL, 1, 0, &which, &hold), STILE_INVALID);
    assert_status(stile_lock_acquire_any(same, 0, 0, &which, &hold), STILE_INVALID);
    assert_status(stile_lock_acquire_any(many, STILE_ANY_MAX + 1, 0, &which, &hold), STILE_INVALID);
    assert_status(stile_lock_acquire_any(same, 2, 0, &which, &hold), STILE_INVALID);
    assert_status(stile_lock_acquire_any(hole, 2, 0, &which, &hold), STILE_INVALID);
    assert_status(stile_lock_acquire_any(same, 1, -2, &which, &hold), STILE_INVALID);
    assert_status(stile_lock_acquire_any(same, 1, 0, NULL, &hold), STILE_INVALID);
    assert_status(stile_lock_acquire_any(same, 1, 0, &which, NULL), STILE_INVALID);
    contract_check_free(lock);
}

int contract_lock_ways(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(fired_before_it_ends_every_call),
        contract_test(fired_while_they_wait_it_ends_all_that_name_it),
        contract_test(fired_at_the_instant_of_the_grant_one_of_both_counts),
        contract_test(one_cancellation_ends_waits_in_any_space),
        contract_test(cancellation_takes_null),
        contract_test(of_several_that_are_free_the_first_is_taken),
        contract_test(of_several_that_are_taken_the_released_one_is_taken),
        contract_test(timeout_leaves_none_of_them_queued),
        contract_test(grants_of_several_at_once_are_passed_on),
        contract_test(callers_with_sets_that_overlap_make_progress),
        contract_test(cancellation_of_one_ends_the_whole),
        contract_test(closing_one_of_them_ends_the_whole),
        contract_test(several_may_be_of_several_backends),
        contract_test(server_that_forgets_the_queues_is_asked_again),
        contract_test(several_with_a_wrong_argument_are_refused),
    };

    return cmocka_run_group_tests_name("lock: ways to wait", tests, NULL, NULL);
}
