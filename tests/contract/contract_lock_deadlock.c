/*
 * The lock: who waits for ever for its own hold is told, and nobody else is.
 */
#include "contract.h"
#include "contract_lock.h"

static void check_deadlock(stile_lock *lock)
{
    stile_hold hold = {.fence = 42};

    assert_status(stile_lock_acquire(lock, STILE_FOREVER, &hold), STILE_DEADLOCK);
    assert_status(stile_lock_acquire_with(lock, STILE_FOREVER, NULL, &hold), STILE_DEADLOCK);
    assert_int_equal(hold.fence, 42);
}

static void own_hold_is_not_waited_for_without_limit(void **state)
{
    stile_lock *lock = contract_lock_open("own", NULL), *same = contract_lock_open("own", NULL);
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, STILE_FOREVER, &hold), STILE_OK);
    check_deadlock(lock);
    check_deadlock(same);
    /* With a limit it is an ordinary wait. */
    contract_check_taken(lock);
    contract_check_waits_in_vain(lock, 30);
    assert_status(stile_lock_check(lock, &hold, NULL), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_status(stile_lock_acquire(lock, STILE_FOREVER, &hold), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

/* Takes the lock after a wait, and waits for it once more. */
struct waiter {
    stile_lock *lock;
    int64_t timeout_ms;
    stile_lock_options options;
    stile_status got, again;
};

static void *take_and_wait(void *arg)
{
    struct waiter *waiter = arg;
    stile_hold hold, second;

    waiter->got =
        stile_lock_acquire_with(waiter->lock, waiter->timeout_ms, &waiter->options, &hold);
    if (waiter->got == STILE_OK) {
        waiter->again = stile_lock_acquire(waiter->lock, STILE_FOREVER, &second);
        stile_lock_release(waiter->lock, &hold);
    }
    return NULL;
}

static void hold_that_was_waited_for_is_known_as_well(void **state)
{
    const stile_lock_options kinds[] = {{.fair = false}, {.fair = true}};
    const int64_t timeouts_ms[] = {STILE_FOREVER, CONTRACT_SOON_MS};
    stile_lock *lock = contract_lock_open("waited", NULL);
    size_t i;

    (void)state;
    for (i = 0; i < 4; i++) {
        struct waiter waiter = {
            .lock = lock, .timeout_ms = timeouts_ms[i % 2], .options = kinds[i / 2]};
        int64_t queued = contract_queue_length(lock);
        pthread_t thread;
        stile_hold hold;

        assert_status(stile_lock_acquire(lock, 1000, &hold), STILE_OK);
        thread = contract_thread_start(take_and_wait, &waiter);
        if (contract_on_redis()) {
            while (contract_queue_length(lock) == queued)
                test_sleep_ms(1);
        } else {
            test_sleep_ms(20);
        }
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        contract_thread_join(thread);
        assert_outcome(waiter.got, STILE_OK);
        assert_outcome(waiter.again, STILE_DEADLOCK);
    }
    contract_check_free(lock);
}

static void hold_of_another_thread_is_waited_for(void **state)
{
    stile_lock *lock = contract_lock_open("others", NULL);
    struct contender *contender;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    contender = contender_queue(lock, STILE_FOREVER, NULL);
    assert_true(contender_waits(contender));
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_outcome(contender_answer(contender), STILE_OK);
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
    contract_check_free(lock);
}

/* Releases what it was handed, once the owner waits. */
struct helper {
    stile_lock *lock;
    stile_hold hold;
    pid_t owner;
    int64_t queued;
    char token[STILE_TOKEN_SIZE];
    stile_cancel *cancel;
};

static void *release_when_awaited(void *arg)
{
    struct helper *helper = arg;
    struct test_flag never = {.value = 0};

    contract_await_queued(helper->lock, helper->owner, &never, helper->queued);
    stile_lock_release(helper->lock, &helper->hold);
    return NULL;
}

static void hold_that_was_handed_over_is_waited_for(void **state)
{
    stile_lock *lock = contract_lock_open("handed", NULL);
    struct helper helper = {.lock = lock, .owner = gettid()};
    pthread_t thread;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &helper.hold), STILE_OK);
    assert_status(stile_lock_hand_over(lock, &helper.hold), STILE_OK);
    assert_status(stile_lock_check(lock, &helper.hold, NULL), STILE_OK);
    helper.queued = contract_queue_length(lock);
    thread = contract_thread_start(release_when_awaited, &helper);
    assert_status(stile_lock_acquire(lock, STILE_FOREVER, &hold), STILE_OK);
    contract_thread_join(thread);
    /* For that hold alone. */
    check_deadlock(lock);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void *adopt_and_release(void *arg)
{
    struct helper *helper = arg;
    struct test_flag never = {.value = 0};

    if (stile_lock_adopt(helper->lock, helper->token, &helper->hold) != STILE_OK)
        return NULL;
    contract_await_queued(helper->lock, helper->owner, &never, helper->queued);
    stile_lock_release(helper->lock, &helper->hold);
    return helper;
}

static void hold_that_was_given_away_is_waited_for(void **state)
{
    stile_lock *lock = contract_lock_open("given-away", NULL);
    struct helper helper = {.lock = lock, .owner = gettid()};
    pthread_t thread;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_give(lock, &hold, helper.token), STILE_OK);
    helper.queued = contract_queue_length(lock);
    thread = contract_thread_start(adopt_and_release, &helper);
    assert_status(stile_lock_acquire(lock, STILE_FOREVER, &hold), STILE_OK);
    assert_non_null(contract_thread_join(thread));
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void who_adopted_a_hold_is_its_owner(void **state)
{
    stile_lock *lock = contract_lock_open("adopted", NULL);
    char token[STILE_TOKEN_SIZE];
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_give(lock, &hold, token), STILE_OK);
    assert_status(stile_lock_adopt(lock, token, &hold), STILE_OK);
    check_deadlock(lock);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void own_hold_that_ends_by_itself_is_waited_for(void **state)
{
    const stile_lock_options kinds[] = {{.lease_ms = 200, .fixed_lease = true},
                                        {.lease_ms = 100, .max_hold_ms = 200}};
    stile_lock *lock = contract_lock_open("ends", NULL);
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stile_hold hold, next;

        assert_status(stile_lock_acquire_with(lock, 1000, &kinds[i], &hold), STILE_OK);
        assert_status(stile_lock_acquire(lock, STILE_FOREVER, &next), STILE_OK);
        assert_true(next.fence > hold.fence);
        assert_status(stile_lock_release(lock, &hold), STILE_LOST);
        assert_status(stile_lock_release(lock, &next), STILE_OK);
    }
}

static void own_hold_of_another_name_is_no_matter(void **state)
{
    stile_lock *lock = contract_lock_open("apart", NULL);
    stile_lock *other = contract_lock_open("apart-too", NULL);
    stile_hold hold, second;

    (void)state;
    assert_status(stile_lock_acquire(lock, STILE_FOREVER, &hold), STILE_OK);
    assert_status(stile_lock_acquire(other, STILE_FOREVER, &second), STILE_OK);
    check_deadlock(lock);
    check_deadlock(other);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    check_deadlock(other);
    assert_status(stile_lock_release(other, &second), STILE_OK);
}

static void hold_of_a_future_is_nobodys_own(void **state)
{
    static const int64_t timeouts_ms[] = {0, 1000, STILE_FOREVER};
    stile_lock *lock = contract_lock_open("future", NULL);
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        struct helper helper = {.lock = lock, .owner = gettid()};
        stile_future *future;
        pthread_t thread;
        stile_hold hold;

        assert_status(stile_lock_start(lock, timeouts_ms[i], NULL, NULL, NULL, &future), STILE_OK);
        assert_status(stile_future_wait(future, CONTRACT_SOON_MS), STILE_OK);
        assert_status(stile_future_take(future, &helper.hold), STILE_OK);
        stile_future_close(future);
        helper.queued = contract_queue_length(lock);
        thread = contract_thread_start(release_when_awaited, &helper);
        assert_status(stile_lock_acquire(lock, STILE_FOREVER, &hold), STILE_OK);
        contract_thread_join(thread);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
    }
}

static void *fire_when_awaited(void *arg)
{
    struct helper *helper = arg;
    struct test_flag never = {.value = 0};

    contract_await_queued(helper->lock, helper->owner, &never, helper->queued);
    stile_cancel_fire(helper->cancel);
    return NULL;
}

static void wait_that_can_be_cancelled_has_a_limit(void **state)
{
    stile_lock *lock = contract_lock_open("cancelled", NULL);
    struct helper helper = {.lock = lock, .owner = gettid()};
    stile_lock_options options = {.fair = false};
    stile_hold second;
    pthread_t thread;

    (void)state;
    assert_status(stile_cancel_open(&helper.cancel), STILE_OK);
    options.cancel = helper.cancel;
    assert_status(stile_lock_acquire(lock, 0, &helper.hold), STILE_OK);
    helper.queued = contract_queue_length(lock);
    thread = contract_thread_start(fire_when_awaited, &helper);
    assert_status(stile_lock_acquire_with(lock, STILE_FOREVER, &options, &second), STILE_CANCELLED);
    contract_thread_join(thread);
    check_deadlock(lock);
    assert_status(stile_lock_release(lock, &helper.hold), STILE_OK);
    stile_cancel_close(helper.cancel);
}

/* ---------------------------------------------------------------------------------------- */

int contract_lock_deadlock(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(own_hold_is_not_waited_for_without_limit),
        contract_test(hold_that_was_waited_for_is_known_as_well),
        contract_test(hold_of_another_thread_is_waited_for),
        contract_test(hold_that_was_handed_over_is_waited_for),
        contract_test(hold_that_was_given_away_is_waited_for),
        contract_test(who_adopted_a_hold_is_its_owner),
        contract_test(own_hold_that_ends_by_itself_is_waited_for),
        contract_test(own_hold_of_another_name_is_no_matter),
        contract_test(hold_of_a_future_is_nobodys_own),
        contract_test(wait_that_can_be_cancelled_has_a_limit),
    };

    return cmocka_run_group_tests_name("lock: self-deadlocks", tests, NULL, NULL);
}
