/*
 * The lock: an acquire that is under way while its caller does something else.
 */
#include "contract.h"
#include "contract_lock.h"

#include <poll.h>

/* ---- futures ------------------------------------------------------------------------ */

/* Comes back when it waits in the queue of the lock, or is done. */
static stile_future *start(stile_lock *lock, int64_t timeout_ms, const stile_lock_options *options,
                           stile_future_callback *callback, void *argument)
{
    int64_t queued = contract_queue_length(lock);
    int64_t until = test_now_ms() + CONTRACT_SOON_MS;
    stile_future *future;

    assert_status(stile_lock_start(lock, timeout_ms, options, callback, argument, &future),
                  STILE_OK);
    while (contract_on_redis() && !stile_future_done(future) &&
           contract_queue_length(lock) <= queued) {
        assert_true(test_now_ms() < until);
        test_sleep_ms(1);
    }
    return future;
}

static stile_status result(stile_future *future, stile_hold *hold)
{
    assert_status(stile_future_wait(future, CONTRACT_SOON_MS), STILE_OK);
    assert_true(stile_future_done(future));
    return stile_future_take(future, hold);
}

static bool readable(int fd, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, timeout_ms) == 1 && (poll_fd.revents & POLLIN);
}

struct told {
    struct test_flag count;
    stile_future *future;
    pthread_t thread;
};

static void tell(stile_future *future, void *argument)
{
    struct told *told = argument;

    told->future = future;
    told->thread = pthread_self();
    test_flag_add(&told->count);
}

/* ---- what is learned ------------------------------------------------------------------ */

static void free_lock_is_had_and_told_in_every_way(void **state)
{
    stile_lock *lock = contract_lock_open("start-free", NULL);
    const int64_t timeouts_ms[] = {0, 1000, STILE_FOREVER};
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        struct told told = {.future = NULL};
        stile_future *future = start(lock, timeouts_ms[i], NULL, tell, &told);
        stile_hold hold, again = {.fence = 42};
        int fd, same;

        assert_status(stile_future_fd(future, &fd), STILE_OK);
        assert_true(readable(fd, CONTRACT_SOON_MS));
        assert_status(result(future, &hold), STILE_OK);
        assert_status(stile_future_take(future, &again), STILE_INVALID);
        assert_int_equal(again.fence, 42);
        assert_true(test_flag_wait(&told.count, 1, CONTRACT_SOON_MS));
        assert_ptr_equal(told.future, future);
        assert_false(pthread_equal(told.thread, pthread_self()));
        assert_status(stile_future_fd(future, &same), STILE_OK);
        assert_int_equal(same, fd);
        assert_true(readable(fd, 0));
        contract_check_taken(lock);
        stile_future_close(future);
        assert_int_equal(test_flag_get(&told.count), 1);
        contract_check_taken(lock);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        contract_check_free(lock);
    }
}

static void taken_lock_is_had_after_its_release(void **state)
{
    stile_lock *lock = contract_lock_open("start-taken", NULL);
    struct told told = {.future = NULL};
    stile_future *future;
    stile_hold hold, granted;
    int fd;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    future = start(lock, STILE_FOREVER, NULL, tell, &told);
    assert_status(stile_future_fd(future, &fd), STILE_OK);
    assert_false(readable(fd, 10));
    assert_false(stile_future_done(future));
    assert_status(stile_future_wait(future, 0), STILE_TIMEOUT);
    assert_status(stile_future_wait(future, 20), STILE_TIMEOUT);
    assert_status(stile_future_take(future, &granted), STILE_INVALID);
    assert_int_equal(test_flag_get(&told.count), 0);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_true(readable(fd, CONTRACT_SOON_MS));
    assert_status(result(future, &granted), STILE_OK);
    assert_true(granted.fence > hold.fence);
    assert_true(test_flag_wait(&told.count, 1, CONTRACT_SOON_MS));
    assert_status(stile_lock_release(lock, &granted), STILE_OK);
    stile_future_close(future);
    contract_check_free(lock);
}

static void taken_lock_is_refused_at_the_timeout(void **state)
{
    stile_lock *lock = contract_lock_open("start-timeout", NULL);
    const int64_t timeouts_ms[] = {0, 1, 80};
    stile_hold hold, none = {.fence = 42};
    size_t i;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    for (i = 0; i < 3; i++) {
        int64_t began_ns = test_now_ns();
        stile_future *future = start(lock, timeouts_ms[i], NULL, NULL, NULL);

        assert_true(contract_in_vain(result(future, &none)));
        assert_string_not_equal(stile_error_detail(), "");
        assert_true(test_now_ns() - began_ns >= timeouts_ms[i] * CONTRACT_NS_PER_MS);
        assert_true(contract_in_vain(stile_future_take(future, &none)));
        stile_future_close(future);
    }
    assert_int_equal(none.fence, 42);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    contract_check_free(lock);
}

static void first_that_is_done_is_found_among_several(void **state)
{
    enum { COUNT = 3 };
    stile_future *futures[COUNT];
    stile_lock *locks[COUNT];
    stile_hold holds[COUNT], hold;
    size_t which = 99;
    stile *local;
    int i;

    (void)state;
    assert_status(stile_open("local:", NULL, &local), STILE_OK);
    locks[0] = contract_lock_open("several-0", NULL);
    locks[1] = contract_lock_open("several-1", NULL);
    assert_status(stile_lock_open(local, "several-2", NULL, &locks[2]), STILE_OK);
    for (i = 0; i < COUNT; i++) {
        assert_status(stile_lock_acquire(locks[i], 0, &holds[i]), STILE_OK);
        assert_status(stile_lock_start(locks[i], STILE_FOREVER, NULL, NULL, NULL, &futures[i]),
                      STILE_OK);
    }
    assert_status(stile_future_wait_any(futures, COUNT, 0, &which), STILE_TIMEOUT);
    assert_status(stile_future_wait_any(futures, COUNT, 10, &which), STILE_TIMEOUT);
    assert_int_equal(which, 99);
    for (i = COUNT - 1; i >= 0; i--) {
        assert_status(stile_lock_release(locks[i], &holds[i]), STILE_OK);
        /* Those behind it are done. */
        assert_status(stile_future_wait_any(futures, (size_t)i + 1, CONTRACT_SOON_MS, &which),
                      STILE_OK);
        assert_int_equal(which, i);
    }
    assert_status(stile_future_wait_any(futures, COUNT, 0, &which), STILE_OK);
    assert_int_equal(which, 0);
    for (i = 0; i < COUNT; i++) {
        assert_status(stile_future_take(futures[i], &hold), STILE_OK);
        assert_status(stile_lock_release(locks[i], &hold), STILE_OK);
        stile_future_close(futures[i]);
    }
    stile_lock_close(locks[2]);
    stile_close(local);
}

/* ---- ended early ------------------------------------------------------------------------ */

static void cancelled_it_has_nothing(void **state)
{
    stile_lock *lock = contract_lock_open("start-cancel", NULL);
    struct told told = {.future = NULL};
    stile_cancel *cancel;
    stile_lock_options options;
    stile_future *future, *by_token, *too_late;
    stile_hold hold, none = {.fence = 42};

    (void)state;
    assert_status(stile_cancel_open(&cancel), STILE_OK);
    options = (stile_lock_options){.cancel = cancel};
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    future = start(lock, STILE_FOREVER, NULL, tell, &told);
    by_token = start(lock, 60000, &options, NULL, NULL);
    stile_future_cancel(future);
    assert_status(result(future, &none), STILE_CANCELLED);
    assert_true(test_flag_wait(&told.count, 1, CONTRACT_SOON_MS));
    assert_false(stile_future_done(by_token));
    stile_cancel_fire(cancel);
    assert_status(result(by_token, &none), STILE_CANCELLED);
    stile_future_close(by_token);
    by_token = start(lock, 60000, &options, NULL, NULL);
    assert_status(result(by_token, &none), STILE_CANCELLED);
    assert_int_equal(none.fence, 42);
    stile_future_close(by_token);
    stile_future_close(future);
    stile_cancel_close(cancel);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    too_late = start(lock, 1000, NULL, NULL, NULL);
    assert_status(stile_future_wait(too_late, CONTRACT_SOON_MS), STILE_OK);
    stile_future_cancel(too_late);
    assert_status(stile_future_take(too_late, &hold), STILE_OK);
    stile_future_close(too_late);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    contract_check_free(lock);
}

static void closed_while_under_way_it_leaves_nothing(void **state)
{
    stile_lock *lock = contract_lock_open("start-close", NULL);
    struct told told = {.future = NULL};
    struct contender *next;
    stile_future *future;
    stile_hold hold;

    (void)state;
    stile_future_close(NULL);
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    future = start(lock, STILE_FOREVER, NULL, tell, &told);
    next = contender_queue(lock, STILE_FOREVER, NULL);
    stile_future_close(future);
    assert_true(test_flag_get(&told.count) <= 1);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_outcome(contender_answer(next), STILE_OK);
    assert_status(stile_lock_release(lock, &next->hold), STILE_OK);
    contract_check_free(lock);
}

static void hold_that_nobody_took_is_released_with_it(void **state)
{
    const stile_lock_options fixed = {.fixed_lease = true, .lease_ms = 60000};
    stile_lock *lock = contract_lock_open("untaken", NULL);
    stile_lock *handle = contract_lock_open("untaken", NULL);
    stile_future *future;
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        future = start(lock, STILE_FOREVER, i == 0 ? NULL : &fixed, NULL, NULL);
        assert_status(stile_future_wait(future, CONTRACT_SOON_MS), STILE_OK);
        contract_check_taken(lock);
        stile_future_close(future);
        contract_check_free(lock);
    }
    /* Also when the handle is gone by then. */
    future = start(handle, STILE_FOREVER, NULL, NULL, NULL);
    assert_status(stile_future_wait(future, CONTRACT_SOON_MS), STILE_OK);
    contract_lock_close(handle);
    contract_check_taken(lock);
    stile_future_close(future);
    contract_check_free(lock);
}

/* Closes what it is about, and starts another. */
struct chain {
    stile_lock *lock;
    struct test_flag ended;
    int left;
    _Atomic bool failed;
};

static void go_on(stile_future *future, void *argument)
{
    struct chain *chain = argument;
    stile_future *next;
    stile_hold hold;

    if (stile_future_take(future, &hold) != STILE_OK ||
        stile_lock_release(chain->lock, &hold) != STILE_OK)
        chain->failed = true;
    stile_future_close(future);
    if (!chain->failed && --chain->left > 0 &&
        stile_lock_start(chain->lock, 60000, NULL, go_on, chain, &next) == STILE_OK)
        return;
    test_flag_set(&chain->ended, 1);
}

static void callback_may_close_its_future_and_start_the_next(void **state)
{
    struct chain chain = {.lock = contract_lock_open("chain", NULL), .left = 50};
    stile_future *first;

    (void)state;
    assert_status(stile_lock_start(chain.lock, 60000, NULL, go_on, &chain, &first), STILE_OK);
    assert_true(test_flag_wait(&chain.ended, 1, CONTRACT_SOON_MS));
    assert_int_equal(chain.left, 0);
    assert_false(chain.failed);
    contract_check_free(chain.lock);
}

struct slow {
    struct test_flag inside, go, out;
};

static void be_slow(stile_future *future, void *argument)
{
    struct slow *slow = argument;

    (void)future;
    test_flag_set(&slow->inside, 1);
    test_flag_wait(&slow->go, 1, CONTRACT_SOON_MS);
    test_sleep_ms(5);
    test_flag_set(&slow->out, 1);
}

static void slow_callback_is_over_when_its_future_is_closed(void **state)
{
    stile_lock *lock = contract_lock_open("slow", NULL);
    struct slow slow = {.go = {0}};
    stile_future *future = start(lock, 1000, NULL, be_slow, &slow);

    (void)state;
    assert_true(test_flag_wait(&slow.inside, 1, CONTRACT_SOON_MS));
    test_flag_set(&slow.go, 1);
    stile_future_close(future);
    assert_int_equal(test_flag_get(&slow.out), 1);
    contract_check_free(lock);
}

/* ---- many ---------------------------------------------------------------------------------- */

enum { MANY = 1000 };

static void many_on_one_lock_are_served_in_their_order(void **state)
{
    stile_lock *lock = contract_lock_open("many", NULL);
    static stile_future *futures[MANY];
    uint64_t fence;
    stile_hold hold;
    int i;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    for (i = 0; i < MANY; i++)
        assert_status(stile_lock_start(lock, STILE_FOREVER, NULL, NULL, NULL, &futures[i]),
                      STILE_OK);
    if (contract_on_redis()) {
        int64_t until = test_now_ms() + CONTRACT_SOON_MS;

        while (contract_queue_length(lock) < MANY) {
            assert_true(test_now_ms() < until);
            test_sleep_ms(1);
        }
    }
    fence = hold.fence;
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    for (i = 0; i < MANY; i++) {
        assert_status(result(futures[i], &hold), STILE_OK);
        assert_true(hold.fence > fence);
        fence = hold.fence;
        if (i + 1 < MANY)
            assert_false(stile_future_done(futures[i + 1]));
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        stile_future_close(futures[i]);
    }
    contract_check_free(lock);
}

static void many_deadlines_are_kept_in_any_order(void **state)
{
    enum { TIMED = 64 };
    stile_lock *lock = contract_lock_open("deadlines", NULL);
    stile_future *futures[TIMED];
    stile_hold hold, none;
    int64_t began_ns;
    int i;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    began_ns = test_now_ns();
    for (i = 0; i < TIMED; i++)
        assert_status(
            stile_lock_start(lock, 20 + i * 37 % TIMED * 5, NULL, NULL, NULL, &futures[i]),
            STILE_OK);
    for (i = 0; i < TIMED; i++) {
        assert_true(contract_in_vain(result(futures[i], &none)));
        assert_true(test_now_ns() - began_ns >= (20 + i * 37 % TIMED * 5) * CONTRACT_NS_PER_MS);
        stile_future_close(futures[i]);
    }
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    contract_check_free(lock);
}

/* ---- closing what is around it --------------------------------------------------------------- */

static void closing_the_handle_ends_its_futures(void **state)
{
    stile_lock *lock = contract_lock_open("start-handle", NULL);
    stile_lock *closing = contract_lock_open("start-handle", NULL);
    struct told told = {.future = NULL};
    stile_future *future, *staying;
    stile_hold hold, none;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    future = start(closing, STILE_FOREVER, NULL, tell, &told);
    staying = start(lock, STILE_FOREVER, NULL, NULL, NULL);
    contract_lock_close(closing);
    assert_true(stile_future_done(future));
    assert_status(stile_future_take(future, &none), STILE_CLOSED);
    assert_true(test_flag_wait(&told.count, 1, CONTRACT_SOON_MS));
    stile_future_close(future);
    assert_false(stile_future_done(staying));
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_status(result(staying, &hold), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    stile_future_close(staying);
    contract_check_free(lock);
}

static void closing_the_space_ends_its_futures(void **state)
{
    stile *space = contract_space_open(NULL);
    stile_lock *lock = contract_lock_open_in(space, "start-space", NULL);
    struct told told = {.future = NULL};
    stile_future *pending[3], *done, *refused;
    stile_hold hold;
    int i;

    (void)state;
    done = start(lock, 0, NULL, NULL, NULL);
    assert_status(stile_future_wait(done, CONTRACT_SOON_MS), STILE_OK);
    for (i = 0; i < 3; i++)
        pending[i] = start(lock, STILE_FOREVER, NULL, tell, &told);
    contract_space_close(space);
    for (i = 0; i < 3; i++) {
        assert_true(stile_future_done(pending[i]));
        assert_status(stile_future_take(pending[i], &hold), STILE_CLOSED);
        stile_future_close(pending[i]);
    }
    /* Callbacks that were owed have run. */
    assert_int_equal(test_flag_get(&told.count), 3);
    assert_status(stile_lock_start(lock, 0, NULL, NULL, NULL, &refused), STILE_CLOSED);
    contract_lock_close(lock);
    assert_status(stile_future_take(done, &hold), STILE_OK);
    stile_future_close(done);
    if (contract_on_redis())
        assert_int_equal(test_redis(contract_server(), NULL, 0, "FLUSHALL", NULL), TEST_REPLY_OK);
}

static void future_with_a_wrong_argument_is_refused(void **state)
{
    const stile_lock_options wrong = {.lease_ms = 1};
    stile_lock *lock = contract_lock_open("start-wrong", NULL);
    stile_future *future, *futures[2] = {NULL, NULL};
    stile_hold hold;
    size_t which;
    int fd;

    (void)state;
    assert_status(stile_lock_start(NULL, 0, NULL, NULL, NULL, &future), STILE_INVALID);
    assert_status(stile_lock_start(lock, 0, NULL, NULL, NULL, NULL), STILE_INVALID);
    assert_status(stile_lock_start(lock, -2, NULL, NULL, NULL, &future), STILE_INVALID);
    assert_status(stile_lock_start(lock, 0, &wrong, NULL, NULL, &future), STILE_INVALID);
    future = start(lock, 0, NULL, NULL, NULL);
    assert_status(stile_future_wait(future, -2), STILE_INVALID);
    assert_status(stile_future_wait(NULL, 0), STILE_INVALID);
    assert_status(stile_future_fd(future, NULL), STILE_INVALID);
    assert_status(stile_future_fd(NULL, &fd), STILE_INVALID);
    assert_status(stile_future_take(future, NULL), STILE_INVALID);
    assert_status(stile_future_take(NULL, &hold), STILE_INVALID);
    futures[0] = future;
    assert_status(stile_future_wait_any(NULL, 1, 0, &which), STILE_INVALID);
    assert_status(stile_future_wait_any(futures, 0, 0, &which), STILE_INVALID);
    assert_status(stile_future_wait_any(futures, 2, 0, &which), STILE_INVALID);
    assert_status(stile_future_wait_any(futures, 1, -2, &which), STILE_INVALID);
    assert_status(stile_future_wait_any(futures, 1, 0, NULL), STILE_INVALID);
    assert_false(stile_future_done(NULL));
    stile_future_cancel(NULL);
    stile_future_close(future);
    contract_check_free(lock);
}

/* ---- a child of fork ------------------------------------------------------------------------- */

struct inherited {
    stile_lock *lock;
    stile_future *pending, *done;
};

static int use_inherited(void *arg)
{
    struct inherited *inherited = arg;
    stile_future *none;
    stile_hold hold;
    int fd;

    test_child_check(stile_future_wait(inherited->pending, STILE_FOREVER) == STILE_FORKED);
    test_child_check(stile_future_wait(inherited->done, STILE_FOREVER) == STILE_OK);
    test_child_check(stile_lock_start(inherited->lock, 0, NULL, NULL, NULL, &none) == STILE_FORKED);
    test_child_check(stile_future_fd(inherited->done, &fd) == STILE_OK);
    stile_future_cancel(inherited->pending);
    stile_future_close(inherited->pending);
    stile_future_close(inherited->done);
    /* What the child of local: has is a copy: its lock was the future's. */
    if (!contract_on_redis())
        test_child_check(stile_lock_acquire(inherited->lock, 0, &hold) == STILE_OK);
    return 0;
}

static void child_of_fork_closes_futures_and_the_parent_keeps_them(void **state)
{
    struct inherited inherited = {.lock = contract_lock_open("forked", NULL)};
    struct told told = {.future = NULL};
    struct test_process child;
    stile_hold hold;

    (void)state;
    inherited.done = start(inherited.lock, STILE_FOREVER, NULL, tell, &told);
    assert_true(test_flag_wait(&told.count, 1, CONTRACT_SOON_MS));
    inherited.pending = start(inherited.lock, STILE_FOREVER, NULL, tell, &told);
    assert_true(test_spawn(&child, use_inherited, &inherited));
    assert_int_equal(test_process_wait(&child, CONTRACT_SOON_MS), 0);
    assert_false(stile_future_done(inherited.pending));
    assert_status(stile_future_take(inherited.done, &hold), STILE_OK);
    assert_status(stile_lock_release(inherited.lock, &hold), STILE_OK);
    assert_status(result(inherited.pending, &hold), STILE_OK);
    assert_status(stile_lock_release(inherited.lock, &hold), STILE_OK);
    stile_future_close(inherited.pending);
    stile_future_close(inherited.done);
}

int contract_lock_future(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(free_lock_is_had_and_told_in_every_way),
        contract_test(taken_lock_is_had_after_its_release),
        contract_test(taken_lock_is_refused_at_the_timeout),
        contract_test(first_that_is_done_is_found_among_several),
        contract_test(cancelled_it_has_nothing),
        contract_test(closed_while_under_way_it_leaves_nothing),
        contract_test(hold_that_nobody_took_is_released_with_it),
        contract_test(callback_may_close_its_future_and_start_the_next),
        contract_test(slow_callback_is_over_when_its_future_is_closed),
        contract_test(many_on_one_lock_are_served_in_their_order),
        contract_test(many_deadlines_are_kept_in_any_order),
        contract_test(closing_the_handle_ends_its_futures),
        contract_test(closing_the_space_ends_its_futures),
        contract_test(future_with_a_wrong_argument_is_refused),
        contract_test(child_of_fork_closes_futures_and_the_parent_keeps_them),
    };

    return cmocka_run_group_tests_name("lock: futures", tests, NULL, NULL);
}
