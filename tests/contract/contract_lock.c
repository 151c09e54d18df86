/*
 * The lock: to hold and to give back.  The other parts are contract_lock_*.c.
 *
 *     contract_lock local|redis [PATTERN]
 */
#include "contract.h"
#include "contract_lock.h"

#include <stdio.h>
#include <string.h>

/* ---- acquire --------------------------------------------------------------------- */

static void free_lock_is_acquired_whatever_the_timeout(void **state)
{
    const int64_t timeouts_ms[] = {0, 1, 1000, INT64_MAX, STILE_FOREVER};
    stile_lock *lock = contract_lock_open("free", NULL);
    stile_hold hold;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof timeouts_ms / sizeof timeouts_ms[0]; i++) {
        assert_status(stile_lock_acquire(lock, timeouts_ms[i], &hold), STILE_OK);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
    }
}

static void two_handles_of_one_name_are_one_lock(void **state)
{
    stile_lock *first = contract_lock_open("name", NULL);
    stile_lock *second = contract_lock_open("name", NULL);
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(first, 0, &hold), STILE_OK);
    contract_check_taken(second);
    contract_check_waits_in_vain(second, 10);
    assert_status(stile_lock_release(first, &hold), STILE_OK);
    assert_status(stile_lock_acquire(second, 0, &hold), STILE_OK);
    contract_check_taken(first);
    assert_status(stile_lock_release(second, &hold), STILE_OK);
}

static void thread_that_holds_the_lock_does_not_get_it_again(void **state)
{
    stile_lock *lock = contract_lock_open("not-reentrant", NULL);
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, STILE_FOREVER, &hold), STILE_OK);
    contract_check_taken(lock);
    contract_check_waits_in_vain(lock, 10);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    contract_check_free(lock);
}

static void locks_of_other_names_are_other_locks(void **state)
{
    stile_lock *one = contract_lock_open("one", NULL), *other = contract_lock_open("other", NULL);
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(one, 0, &hold), STILE_OK);
    contract_check_free(other);
    assert_status(stile_lock_release(one, &hold), STILE_OK);
}

static void refused_acquire_leaves_hold_untouched(void **state)
{
    stile_lock *lock = contract_lock_open("untouched", NULL);
    stile_lock_options wrong = {.lease_ms = -1};
    stile_hold hold, refused, before;

    (void)state;
    memset(&refused, 0x5a, sizeof refused);
    memset(&before, 0x5a, sizeof before);
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_acquire(lock, 0, &refused), STILE_TIMEOUT);
    assert_memory_equal(&refused, &before, sizeof before);
    assert_true(contract_in_vain(stile_lock_acquire(lock, 10, &refused)));
    assert_memory_equal(&refused, &before, sizeof before);
    assert_status(stile_lock_acquire(lock, -2, &refused), STILE_INVALID);
    assert_memory_equal(&refused, &before, sizeof before);
    assert_status(stile_lock_acquire_with(lock, 0, &wrong, &refused), STILE_INVALID);
    assert_memory_equal(&refused, &before, sizeof before);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void thousand_locks_are_held_at_once(void **state)
{
    enum { MANY = 1000 };
    static stile_lock *locks[MANY];
    static stile_hold holds[MANY];
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    char name[16];
    int i;

    (void)state;
    for (i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "many-%d", i);
        locks[i] = contract_lock_open(name, i % 2 == 0 ? NULL : &fixed);
        assert_status(stile_lock_acquire(locks[i], 0, &holds[i]), STILE_OK);
    }
    for (i = 0; i < MANY; i++) {
        contract_check_taken(locks[i]);
        assert_status(stile_lock_check(locks[i], &holds[i], NULL), STILE_OK);
        assert_status(stile_lock_check(locks[i], &holds[MANY - 1 - i], NULL), STILE_NOT_HELD);
    }
    for (i = 0; i < MANY; i++) {
        /* Neither in the order they were taken nor in the reverse. */
        int at = i * 7 % MANY;

        assert_status(stile_lock_release(locks[at], &holds[at]), STILE_OK);
        contract_check_free(locks[at]);
    }
}

/* ---- exclusion --------------------------------------------------------------------- */

enum { EXCLUDERS = 8, EXCLUSIONS = 300 };

struct exclusion {
    stile_lock *shared;
    _Atomic int inside; /* relaxed: it must not order what the lock has to */
    _Atomic int faults;
    /* Guarded by the lock, so that the thread sanitizer sees what it orders. */
    int counter;
    uint64_t fence;
};

static void *exclude(void *arg)
{
    struct exclusion *exclusion = arg;
    stile_lock *own;
    int i;

    if (stile_lock_open(contract_space(), "counter", NULL, &own) != STILE_OK) {
        exclusion->faults++;
        return NULL;
    }
    for (i = 0; i < EXCLUSIONS; i++) {
        stile_lock *lock = i % 2 == 0 ? own : exclusion->shared;
        stile_hold hold;

        if (stile_lock_acquire(lock, STILE_FOREVER, &hold) != STILE_OK) {
            exclusion->faults++;
            break;
        }
        if (atomic_fetch_add_explicit(&exclusion->inside, 1, memory_order_relaxed) != 0 ||
            hold.fence <= exclusion->fence)
            exclusion->faults++;
        exclusion->fence = hold.fence;
        exclusion->counter++;
        atomic_fetch_sub_explicit(&exclusion->inside, 1, memory_order_relaxed);
        if (stile_lock_release(lock, &hold) != STILE_OK)
            exclusion->faults++;
    }
    stile_lock_close(own);
    return NULL;
}

static void threads_exclude_each_other_and_see_what_the_last_one_did(void **state)
{
    static struct exclusion exclusion;
    pthread_t threads[EXCLUDERS];
    int i;

    (void)state;
    exclusion.shared = contract_lock_open("counter", NULL);
    for (i = 0; i < EXCLUDERS; i++)
        threads[i] = contract_thread_start(exclude, &exclusion);
    for (i = 0; i < EXCLUDERS; i++)
        contract_thread_join(threads[i]);
    assert_int_equal(exclusion.faults, 0);
    assert_int_equal(exclusion.counter, EXCLUDERS * EXCLUSIONS);
    contract_check_free(exclusion.shared);
}

/* ---- fences -------------------------------------------------------------------------- */

static void raise_fence(stile_lock *lock, uint64_t *last)
{
    stile_hold hold;

    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_true(hold.fence > *last);
    assert_true(hold.fence <= INT64_MAX);
    *last = hold.fence;
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void fence_rises_from_hold_to_hold(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    stile_lock *locks[] = {contract_lock_open("fence", NULL), contract_lock_open("fence", NULL),
                           contract_lock_open("fence", &fixed)};
    uint64_t last = 0;
    int i;

    (void)state;
    for (i = 0; i < 60; i++)
        raise_fence(locks[i % 3], &last);
}

static void fence_rises_although_all_handles_were_closed(void **state)
{
    uint64_t last = 0;
    int i;

    (void)state;
    for (i = 0; i < 20; i++) {
        stile_lock *lock = contract_lock_open("reopened", NULL);

        raise_fence(lock, &last);
        raise_fence(lock, &last);
        contract_lock_close(lock);
        /* Others come and go between. */
        lock = contract_lock_open("passing", NULL);
        contract_check_free(lock);
        contract_lock_close(lock);
    }
}

/* With local: it costs nothing, and is there. */
static void check_no_fence(const stile_hold *hold)
{
    uint64_t highest = 0;

    assert_int_equal(hold->fence == 0, contract_on_redis());
    assert_int_equal(stile_fence_check(&highest, hold->fence), !contract_on_redis());
}

static void hold_without_a_fence_is_one_like_any_other(void **state)
{
    const stile_lock_options bare = {.no_fence = true};
    stile_lock *lock = contract_lock_open("bare", &bare), *other = contract_lock_open("bare", NULL);
    stile_hold hold, again;
    int64_t valid_ms;
    int i;

    (void)state;
    for (i = 0; i < 20; i++) {
        assert_status(stile_lock_acquire(lock, i % 2 == 0 ? 0 : STILE_FOREVER, &hold), STILE_OK);
        check_no_fence(&hold);
        contract_check_taken(other);
        contract_check_taken(lock);
        assert_status(stile_lock_check(other, &hold, &valid_ms), STILE_OK);
        assert_status(stile_lock_extend(lock, &hold, 1000), STILE_OK);
        again = hold;
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        assert_status(stile_lock_release(lock, &again), STILE_NOT_HELD);
        assert_status(stile_lock_check(lock, &again, NULL), STILE_NOT_HELD);
        contract_check_free(other);
    }
}

static void fences_rise_past_holds_that_have_none(void **state)
{
    const stile_lock_options bare = {.no_fence = true};
    stile_lock *lock = contract_lock_open("mixed", NULL);
    uint64_t last = 0;
    int i;

    (void)state;
    for (i = 0; i < 20; i++) {
        struct contender *first, *second;
        stile_hold hold;

        raise_fence(lock, &last);
        /* Without, with, without: each waits for the one before. */
        assert_status(stile_lock_acquire_with(lock, 0, &bare, &hold), STILE_OK);
        check_no_fence(&hold);
        first = contender_queue(lock, STILE_FOREVER, NULL);
        second = contender_queue(lock, STILE_FOREVER, &bare);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        assert_outcome(contender_answer(first), STILE_OK);
        assert_true(first->hold.fence > last);
        last = first->hold.fence;
        assert_true(contender_waits(second));
        assert_status(stile_lock_release(lock, &first->hold), STILE_OK);
        assert_outcome(contender_answer(second), STILE_OK);
        check_no_fence(&second->hold);
        assert_status(stile_lock_release(lock, &second->hold), STILE_OK);
    }
}

static void space_without_fences_has_none(void **state)
{
    const stile_options options = {.no_fence = true};
    stile_lock *lock = contract_lock_open_in(contract_space_open(&options), "spare", NULL);
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, STILE_FOREVER, &hold), STILE_OK);
    check_no_fence(&hold);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void fence_of_a_waiter_is_above_that_of_whom_it_waited_for(void **state)
{
    stile_lock *lock = contract_lock_open("granted", NULL);
    struct contender *contender;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    contender = contender_queue(lock, STILE_FOREVER, NULL);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_outcome(contender_answer(contender), STILE_OK);
    assert_true(contender->hold.fence > hold.fence);
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
}

/* ---- release --------------------------------------------------------------------------- */

struct release {
    stile_lock *lock;
    const stile_hold *hold;
    stile_status status;
};

static void *release_elsewhere(void *arg)
{
    struct release *release = arg;

    release->status = stile_lock_release(release->lock, release->hold);
    return NULL;
}

static void any_thread_may_release(void **state)
{
    static struct release release;
    stile_hold hold;

    (void)state;
    release.lock = contract_lock_open("handed-over", NULL);
    release.hold = &hold;
    assert_status(stile_lock_acquire(release.lock, 0, &hold), STILE_OK);
    contract_thread_join(contract_thread_start(release_elsewhere, &release));
    assert_outcome(release.status, STILE_OK);
    contract_check_free(release.lock);
}

static void hold_counts_with_every_handle_of_the_name(void **state)
{
    stile_lock *first = contract_lock_open("doors", NULL);
    stile_lock *second = contract_lock_open("doors", NULL);
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(first, 0, &hold), STILE_OK);
    assert_status(stile_lock_check(second, &hold, NULL), STILE_OK);
    assert_status(stile_lock_extend(second, &hold, 1000), STILE_OK);
    assert_status(stile_lock_release(second, &hold), STILE_OK);
    assert_status(stile_lock_check(first, &hold, NULL), STILE_NOT_HELD);
    contract_check_free(first);
}

static void hold_outlives_the_handle_it_was_taken_through(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stile_lock *lock = contract_lock_open("outlives", i == 0 ? NULL : &fixed);
        stile_hold hold;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        contract_lock_close(lock);
        lock = contract_lock_open("outlives", NULL);
        contract_check_taken(lock);
        assert_status(stile_lock_check(lock, &hold, NULL), STILE_OK);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        contract_check_free(lock);
        contract_lock_close(lock);
    }
}

/* The hold is over: no call about it does anything to whoever has the lock. */
static void check_over(stile_lock *lock, const stile_hold *hold)
{
    int64_t valid_ms = 42;

    assert_status(stile_lock_release(lock, hold), STILE_NOT_HELD);
    assert_status(stile_lock_extend(lock, hold, 1000), STILE_NOT_HELD);
    assert_status(stile_lock_check(lock, hold, &valid_ms), STILE_NOT_HELD);
    assert_int_equal(valid_ms, 42);
}

static void hold_is_released_once_and_with_all_its_copies(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stile_lock *lock = contract_lock_open("once", i == 0 ? NULL : &fixed);
        stile_hold hold, copy;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        copy = hold;
        assert_status(stile_lock_release(lock, &copy), STILE_OK);
        check_over(lock, &hold);
        check_over(lock, &copy);
        contract_check_free(lock);
    }
}

static void second_release_does_not_free_the_next_owners_hold(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stile_lock *lock = contract_lock_open("next", i == 0 ? NULL : &fixed);
        stile_hold old, next;

        assert_status(stile_lock_acquire(lock, 0, &old), STILE_OK);
        assert_status(stile_lock_release(lock, &old), STILE_OK);
        assert_status(stile_lock_acquire(lock, 0, &next), STILE_OK);
        check_over(lock, &old);
        contract_check_taken(lock);
        assert_status(stile_lock_check(lock, &next, NULL), STILE_OK);
        assert_status(stile_lock_release(lock, &next), STILE_OK);
    }
}

enum { RELEASERS = 4, RELEASES = 60 };

struct releases {
    stile_lock *lock;
    stile_hold hold;
    struct test_barrier barrier;
    _Atomic int released, refused, odd;
};

static void *release_together(void *arg)
{
    struct releases *releases = arg;
    int i;

    for (i = 0; i < RELEASES; i++) {
        stile_hold copy;
        stile_status status;

        if (!test_barrier_wait(&releases->barrier, RELEASERS + 1, CONTRACT_SOON_MS))
            break;
        copy = releases->hold;
        status = stile_lock_release(releases->lock, &copy);
        if (status == STILE_OK)
            releases->released++;
        else if (status == STILE_NOT_HELD)
            releases->refused++;
        else
            releases->odd++;
        if (!test_barrier_wait(&releases->barrier, RELEASERS + 1, CONTRACT_SOON_MS))
            break;
    }
    return NULL;
}

static void of_several_releases_of_one_hold_one_wins(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    static struct releases releases;
    int i;

    (void)state;
    releases.lock = contract_lock_open("race", NULL);
    for (i = 0; i < RELEASERS; i++)
        contract_thread_start(release_together, &releases);
    for (i = 0; i < RELEASES; i++) {
        assert_status(
            stile_lock_acquire_with(releases.lock, 0, i % 2 == 0 ? NULL : &fixed, &releases.hold),
            STILE_OK);
        assert_true(test_barrier_wait(&releases.barrier, RELEASERS + 1, CONTRACT_SOON_MS));
        assert_true(test_barrier_wait(&releases.barrier, RELEASERS + 1, CONTRACT_SOON_MS));
        assert_int_equal(releases.released, i + 1);
        assert_int_equal(releases.refused, (i + 1) * (RELEASERS - 1));
    }
    assert_int_equal(releases.odd, 0);
}

/* ---- what is no hold of this lock --------------------------------------------------------- */

static void hold_of_nothing_is_not_held(void **state)
{
    stile_lock *lock = contract_lock_open("nothing", NULL);
    stile_hold none = STILE_HOLD_INIT, hold;

    (void)state;
    check_over(lock, &none);
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    check_over(lock, &none);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void hold_of_any_bytes_is_not_held(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    const unsigned char fillers[] = {0x01, 0x5a, 0x7f, 0x80, 0xff};
    stile_lock *lock = contract_lock_open("garbage", NULL);
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stile_hold hold, garbage;
        size_t j;

        assert_status(stile_lock_acquire_with(lock, 0, i == 0 ? NULL : &fixed, &hold), STILE_OK);
        for (j = 0; j < sizeof fillers; j++) {
            memset(&garbage, fillers[j], sizeof garbage);
            check_over(lock, &garbage);
            /* Even one that knows the object. */
            garbage.object = hold.object;
            check_over(lock, &garbage);
        }
        garbage = hold;
        garbage.generation++;
        garbage.fence++;
        check_over(lock, &garbage);
        garbage = hold;
        garbage.fence++;
        check_over(lock, &garbage);
        garbage = hold;
        garbage.slot += 1000000;
        garbage.fence--;
        check_over(lock, &garbage);
        assert_status(stile_lock_check(lock, &hold, NULL), STILE_OK);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
    }
}

static void hold_of_another_lock_is_not_held(void **state)
{
    stile_lock *one = contract_lock_open("one", NULL), *other = contract_lock_open("other", NULL);
    stile_hold of_one, of_other;

    (void)state;
    assert_status(stile_lock_acquire(one, 0, &of_one), STILE_OK);
    check_over(other, &of_one);
    assert_status(stile_lock_acquire(other, 0, &of_other), STILE_OK);
    check_over(other, &of_one);
    check_over(one, &of_other);
    contract_check_taken(one);
    contract_check_taken(other);
    assert_status(stile_lock_release(one, &of_one), STILE_OK);
    assert_status(stile_lock_release(other, &of_other), STILE_OK);
}

static void hold_of_another_space_is_not_held(void **state)
{
    stile_lock *here = contract_lock_open("same", NULL);
    stile_lock *there = contract_lock_open_in(contract_space_open(NULL), "same", NULL);
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(here, 0, &hold), STILE_OK);
    check_over(there, &hold);
    contract_check_taken(here);
    assert_status(stile_lock_release(here, &hold), STILE_OK);
}

/* ------------------------------------------------------------------------------------------- */

static int contract_lock_hold(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(free_lock_is_acquired_whatever_the_timeout),
        contract_test(two_handles_of_one_name_are_one_lock),
        contract_test(thread_that_holds_the_lock_does_not_get_it_again),
        contract_test(locks_of_other_names_are_other_locks),
        contract_test(refused_acquire_leaves_hold_untouched),
        contract_test(thousand_locks_are_held_at_once),
        contract_test(threads_exclude_each_other_and_see_what_the_last_one_did),
        contract_test(fence_rises_from_hold_to_hold),
        contract_test(fence_rises_although_all_handles_were_closed),
        contract_test(fence_of_a_waiter_is_above_that_of_whom_it_waited_for),
        contract_test(hold_without_a_fence_is_one_like_any_other),
        contract_test(fences_rise_past_holds_that_have_none),
        contract_test(space_without_fences_has_none),
        contract_test(any_thread_may_release),
        contract_test(hold_counts_with_every_handle_of_the_name),
        contract_test(hold_outlives_the_handle_it_was_taken_through),
        contract_test(hold_is_released_once_and_with_all_its_copies),
        contract_test(second_release_does_not_free_the_next_owners_hold),
        contract_test(of_several_releases_of_one_hold_one_wins),
        contract_test(hold_of_nothing_is_not_held),
        contract_test(hold_of_any_bytes_is_not_held),
        contract_test(hold_of_another_lock_is_not_held),
        contract_test(hold_of_another_space_is_not_held),
    };

    return cmocka_run_group_tests_name("lock: holds", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    int failed;

    if (!contract_begin(argc, argv))
        return 2;
    failed = contract_lock_hold();
    failed += contract_lock_arguments();
    failed += contract_lock_lease();
    failed += contract_lock_wait();
    failed += contract_lock_space();
    failed += contract_lock_who();
    failed += contract_lock_ways();
    failed += contract_lock_future();
    failed += contract_lock_watch();
    failed += contract_lock_give();
    failed += contract_lock_deadlock();
    contract_end();
    return failed == 0 ? 0 : 1;
}
