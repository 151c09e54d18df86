/*
 * The lock: how long a hold lives.
 *
 * Nothing here depends on how busy the machine is: a hold that a check finds good
 * was good at a time between two readings of the clock, and the same for one that it
 * finds lost.
 */
#include "contract.h"
#include "contract_lock.h"

#include <string.h>

#define TEN_YEARS_MS INT64_C(315360000000)

/* By how much an owner may give up believing early: clocks differ. */
static int64_t early_ns(int64_t lease_ms)
{
    return lease_ms * CONTRACT_NS_PER_MS / 100 + 3 * CONTRACT_NS_PER_MS;
}

/* A hold, and between which times it was taken. */
struct timed_hold {
    stile_hold hold;
    int64_t from_ns, to_ns;
};

static void acquire_timed(stile_lock *lock, const stile_lock_options *options,
                          struct timed_hold *timed)
{
    timed->from_ns = test_now_ns();
    assert_status(stile_lock_acquire_with(lock, 0, options, &timed->hold), STILE_OK);
    timed->to_ns = test_now_ns();
}

/* Checks until the hold is lost: after lease_ms and neither much before nor later. */
static void await_lost(stile_lock *lock, const struct timed_hold *timed, int64_t lease_ms)
{
    int64_t end_ns = lease_ms * CONTRACT_NS_PER_MS, looked_ns, valid_ms;
    stile_status status;

    for (;;) {
        looked_ns = test_now_ns();
        valid_ms = -42;
        status = stile_lock_check(lock, &timed->hold, &valid_ms);
        if (status != STILE_OK)
            break;
        assert_true(looked_ns <= timed->to_ns + end_ns);
        assert_in_range(valid_ms, 0, lease_ms);
        test_sleep_ms(1);
    }
    assert_outcome(status, STILE_LOST);
    assert_int_equal(valid_ms, -42);
    assert_true(test_now_ns() >= timed->from_ns + end_ns - early_ns(lease_ms));
}

/* The hold is lost and stays so, and whoever has the lock keeps it. */
static void check_stays_lost(stile_lock *lock, const stile_hold *hold)
{
    stile_status status;

    assert_status(stile_lock_extend(lock, hold, 60000), STILE_LOST);
    assert_status(stile_lock_check(lock, hold, NULL), STILE_LOST);
    assert_status(stile_lock_release(lock, hold), STILE_LOST);
    status = stile_lock_release(lock, hold);
    if (status != STILE_LOST)
        assert_outcome(status, STILE_NOT_HELD);
    status = stile_lock_extend(lock, hold, 60000);
    if (status != STILE_LOST)
        assert_outcome(status, STILE_NOT_HELD);
    status = stile_lock_check(lock, hold, NULL);
    if (status != STILE_LOST)
        assert_outcome(status, STILE_NOT_HELD);
}

/* ---- leases that end ---------------------------------------------------------------------- */

static void fixed_lease_ends_at_its_time_and_is_not_revived(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 200, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("fixed", &fixed);
    struct timed_hold timed;

    (void)state;
    acquire_timed(lock, NULL, &timed);
    await_lost(lock, &timed, 200);
    check_stays_lost(lock, &timed.hold);
    assert_status(stile_lock_acquire(lock, 1000, &timed.hold), STILE_OK);
    assert_status(stile_lock_release(lock, &timed.hold), STILE_OK);
}

static void valid_ms_is_how_long_a_hold_counts(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 150, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("valid", &fixed);
    struct timed_hold timed;
    int64_t looked_ns, valid_ms;
    stile_status status;

    (void)state;
    acquire_timed(lock, NULL, &timed);
    looked_ns = test_now_ns();
    status = stile_lock_check(lock, &timed.hold, &valid_ms);
    while (status == STILE_OK) {
        test_sleep_ms(1);
        status = stile_lock_check(lock, &timed.hold, NULL);
    }
    assert_outcome(status, STILE_LOST);
    assert_true(test_now_ns() >= looked_ns + valid_ms * CONTRACT_NS_PER_MS);
    assert_status(stile_lock_release(lock, &timed.hold), STILE_LOST);
}

static void waiter_gets_the_lock_when_the_lease_is_over_and_not_before(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 250, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("waiter", NULL);
    struct contender *contender;
    struct timed_hold old;

    (void)state;
    acquire_timed(lock, &fixed, &old);
    contender = contender_queue(lock, STILE_FOREVER, NULL);
    assert_outcome(contender_answer(contender), STILE_OK);
    assert_true(contender->returned_ns >= old.from_ns + 250 * CONTRACT_NS_PER_MS - early_ns(250));
    assert_true(contender->returned_ns <= old.to_ns + 2000 * CONTRACT_NS_PER_MS);
    assert_true(contender->hold.fence > old.hold.fence);
    /* The old owner has lost it before the new one had it, and can do no harm. */
    assert_status(stile_lock_check(lock, &old.hold, NULL), STILE_LOST);
    check_stays_lost(lock, &old.hold);
    contract_check_taken(lock);
    assert_status(stile_lock_check(lock, &contender->hold, NULL), STILE_OK);
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
    contract_check_free(lock);
}

static void try_gets_the_lock_when_the_lease_is_over_and_not_before(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 150, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("tries", NULL);
    int64_t until_ms = test_now_ms() + CONTRACT_SOON_MS;
    struct timed_hold old;
    stile_status status;
    stile_hold next;

    (void)state;
    acquire_timed(lock, &fixed, &old);
    while ((status = stile_lock_acquire(lock, 0, &next)) == STILE_TIMEOUT) {
        assert_true(test_now_ms() < until_ms);
        test_sleep_ms(1);
    }
    assert_outcome(status, STILE_OK);
    assert_true(test_now_ns() >= old.from_ns + 150 * CONTRACT_NS_PER_MS - early_ns(150));
    assert_true(next.fence > old.hold.fence);
    check_stays_lost(lock, &old.hold);
    contract_check_taken(lock);
    assert_status(stile_lock_check(lock, &next, NULL), STILE_OK);
    assert_status(stile_lock_release(lock, &next), STILE_OK);
}

static void fence_check_refuses_whom_the_next_owner_has_overtaken(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 100, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("ledger", NULL);
    stile_hold paused, next;
    uint64_t ledger = 0;

    (void)state;
    assert_status(stile_lock_acquire_with(lock, 0, &fixed, &paused), STILE_OK);
    assert_true(stile_fence_check(&ledger, paused.fence));
    assert_true(stile_fence_check(&ledger, paused.fence));
    assert_status(stile_lock_acquire(lock, 5000, &next), STILE_OK);
    assert_true(stile_fence_check(&ledger, next.fence));
    assert_false(stile_fence_check(&ledger, paused.fence));
    assert_true(stile_fence_check(&ledger, next.fence));
    assert_status(stile_lock_release(lock, &next), STILE_OK);
    assert_status(stile_lock_release(lock, &paused), STILE_LOST);
}

static void lost_hold_keeps_neither_its_lock_nor_its_handle(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 100, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("left-alone", &fixed);
    struct timed_hold timed;
    stile_hold next;

    (void)state;
    acquire_timed(lock, NULL, &timed);
    await_lost(lock, &timed, 100);
    contract_lock_close(lock);
    lock = contract_lock_open("left-alone", NULL);
    assert_status(stile_lock_acquire(lock, 1000, &next), STILE_OK);
    assert_true(next.fence > timed.hold.fence);
    assert_status(stile_lock_release(lock, &next), STILE_OK);
}

/* ---- leases that are renewed -------------------------------------------------------------- */

static void renewed_hold_outlives_its_lease_many_times(void **state)
{
    const stile_lock_options renewed = {.lease_ms = 250};
    stile_lock *lock = contract_lock_open("renewed", &renewed);
    struct timed_hold timed;
    int64_t valid_ms;

    (void)state;
    acquire_timed(lock, NULL, &timed);
    while (test_now_ns() < timed.to_ns + 1500 * CONTRACT_NS_PER_MS) {
        assert_status(stile_lock_check(lock, &timed.hold, &valid_ms), STILE_OK);
        assert_true(contract_on_redis() ? valid_ms >= 0 && valid_ms <= 250
                                        : valid_ms == STILE_FOREVER);
        contract_check_taken(lock);
        test_sleep_ms(10);
    }
    assert_status(stile_lock_release(lock, &timed.hold), STILE_OK);
    contract_check_free(lock);
}

static void renewal_ends_with_the_release(void **state)
{
    const stile_lock_options renewed = {.lease_ms = 100};
    stile_lock *lock = contract_lock_open("renewal", &renewed);
    stile_hold hold;
    int i;

    (void)state;
    for (i = 0; i < 300; i++) {
        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        /* Now and then at the time of a renewal. */
        if (i % 10 == 0)
            test_sleep_ms(30 + i / 10 % 6);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        assert_status(stile_lock_check(lock, &hold, NULL), STILE_NOT_HELD);
    }
}

static void max_hold_bounds_a_renewed_hold(void **state)
{
    const stile_lock_options bounded = {.lease_ms = 250, .max_hold_ms = 600};
    stile_lock *lock = contract_lock_open("max-hold", &bounded);
    struct timed_hold timed;

    (void)state;
    acquire_timed(lock, NULL, &timed);
    await_lost(lock, &timed, 600);
    check_stays_lost(lock, &timed.hold);
    assert_status(stile_lock_acquire(lock, 1000, &timed.hold), STILE_OK);
    assert_status(stile_lock_release(lock, &timed.hold), STILE_OK);
}

static void max_hold_bounds_a_lease_that_is_longer(void **state)
{
    const stile_lock_options bounded[] = {
        {.lease_ms = 60000, .max_hold_ms = 150},
        {.lease_ms = 60000, .max_hold_ms = 150, .fixed_lease = true}};
    stile_lock *lock = contract_lock_open("max-first", NULL);
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct timed_hold timed;

        acquire_timed(lock, &bounded[i], &timed);
        await_lost(lock, &timed, 150);
        assert_status(stile_lock_acquire(lock, 1000, &timed.hold), STILE_OK);
        assert_status(stile_lock_release(lock, &timed.hold), STILE_OK);
    }
}

/* ---- whose options count ---------------------------------------------------------------------- */

static void options_of_one_acquire_override_the_handles(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 150, .fixed_lease = true}, none = {.lease_ms = 0};
    stile_lock *plain = contract_lock_open("override", NULL);
    stile_lock *bound = contract_lock_open("override", &fixed);
    struct timed_hold timed;
    int64_t valid_ms;

    (void)state;
    acquire_timed(plain, &fixed, &timed);
    await_lost(plain, &timed, 150);
    assert_status(stile_lock_release(plain, &timed.hold), STILE_LOST);
    /* For that hold alone. */
    assert_status(stile_lock_acquire(plain, 1000, &timed.hold), STILE_OK);
    assert_status(stile_lock_check(plain, &timed.hold, &valid_ms), STILE_OK);
    assert_true(valid_ms == STILE_FOREVER || valid_ms > 10000);
    assert_status(stile_lock_release(plain, &timed.hold), STILE_OK);
    /* 0 is what the space says, not what the handle does. */
    assert_status(stile_lock_acquire_with(bound, 1000, &none, &timed.hold), STILE_OK);
    assert_status(stile_lock_check(bound, &timed.hold, &valid_ms), STILE_OK);
    assert_true(valid_ms == STILE_FOREVER || valid_ms > 10000);
    assert_status(stile_lock_release(bound, &timed.hold), STILE_OK);
    acquire_timed(bound, NULL, &timed);
    await_lost(bound, &timed, 150);
    assert_status(stile_lock_release(bound, &timed.hold), STILE_LOST);
}

static void space_says_what_a_lock_does_not(void **state)
{
    const stile_options short_lease = {.lease_ms = 150}, short_hold = {.max_hold_ms = 150};
    const stile_lock_options fixed = {.fixed_lease = true};
    stile_lock *lock = contract_lock_open_in(contract_space_open(&short_lease), "space", &fixed);
    struct timed_hold timed;

    (void)state;
    acquire_timed(lock, NULL, &timed);
    await_lost(lock, &timed, 150);
    assert_status(stile_lock_release(lock, &timed.hold), STILE_LOST);
    lock = contract_lock_open_in(contract_space_open(&short_hold), "space", NULL);
    assert_status(stile_lock_acquire(lock, 1000, &timed.hold), STILE_OK);
    assert_status(stile_lock_release(lock, &timed.hold), STILE_OK);
    acquire_timed(lock, NULL, &timed);
    await_lost(lock, &timed, 150);
    assert_status(stile_lock_release(lock, &timed.hold), STILE_LOST);
}

/* ---- extend ---------------------------------------------------------------------------------------- */

/* What is left of a hold, which counts. */
static int64_t left_ms(stile_lock *lock, const stile_hold *hold)
{
    int64_t valid_ms;

    assert_status(stile_lock_check(lock, hold, &valid_ms), STILE_OK);
    return valid_ms;
}

static void extension_adds_to_what_is_left(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 1000, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("extend", &fixed);
    struct timed_hold timed;
    int64_t left;

    (void)state;
    acquire_timed(lock, NULL, &timed);
    assert_status(stile_lock_extend(lock, &timed.hold, 5000), STILE_OK);
    left = left_ms(lock, &timed.hold);
    assert_in_range(left, 5000, 6000);
    assert_status(stile_lock_extend(lock, &timed.hold, 100000), STILE_OK);
    left = left_ms(lock, &timed.hold);
    assert_in_range(left, 100000, 106000);
    while (test_now_ns() < timed.to_ns + 1200 * CONTRACT_NS_PER_MS) {
        assert_status(stile_lock_check(lock, &timed.hold, NULL), STILE_OK);
        contract_check_taken(lock);
        test_sleep_ms(20);
    }
    assert_status(stile_lock_release(lock, &timed.hold), STILE_OK);
}

static void extended_hold_ends_when_its_extension_does(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 500, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("extend-end", &fixed);
    struct contender *contender;
    struct timed_hold timed;

    (void)state;
    acquire_timed(lock, NULL, &timed);
    assert_status(stile_lock_extend(lock, &timed.hold, 200), STILE_OK);
    contender = contender_queue(lock, STILE_FOREVER, NULL);
    timed.to_ns = test_now_ns();
    await_lost(lock, &timed, 700);
    assert_outcome(contender_answer(contender), STILE_OK);
    assert_true(contender->returned_ns >= timed.from_ns + 700 * CONTRACT_NS_PER_MS - early_ns(700));
    assert_status(stile_lock_release(lock, &timed.hold), STILE_LOST);
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
}

static void extension_never_shortens(void **state)
{
    const stile_lock_options kinds[] = {{.lease_ms = 60000, .fixed_lease = true},
                                        {.lease_ms = 60000},
                                        {.lease_ms = 60000, .max_hold_ms = 70000}};
    stile_lock *lock = contract_lock_open("never-shorter", NULL);
    size_t i;

    (void)state;
    for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        int64_t began_ns = test_now_ns(), before, after;
        stile_hold hold;

        assert_status(stile_lock_acquire_with(lock, 0, &kinds[i], &hold), STILE_OK);
        before = left_ms(lock, &hold);
        assert_status(stile_lock_extend(lock, &hold, 1), STILE_OK);
        after = left_ms(lock, &hold);
        assert_true(before == STILE_FOREVER
                        ? after == STILE_FOREVER
                        : after + (test_now_ns() - began_ns) / CONTRACT_NS_PER_MS + 1 >= before);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
    }
}

static void renewal_takes_nothing_back_from_an_extension(void **state)
{
    const stile_lock_options renewed = {.lease_ms = 150};
    stile_lock *lock = contract_lock_open("extend-renewed", &renewed);
    int64_t began_ns = test_now_ns(), spent_ms, left;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_extend(lock, &hold, 10000), STILE_OK);
    test_sleep_ms(400); /* for some renewals */
    left = left_ms(lock, &hold);
    spent_ms = (test_now_ns() - began_ns) / CONTRACT_NS_PER_MS;
    if (contract_on_redis())
        assert_true(left <= 10150 && left >= 10000 - spent_ms - 10150 / 100 - 3);
    else
        assert_int_equal(left, STILE_FOREVER);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void extension_stays_within_max_hold(void **state)
{
    const stile_lock_options bounded = {.lease_ms = 200, .max_hold_ms = 500, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("extend-max", &bounded);
    struct timed_hold timed;

    (void)state;
    acquire_timed(lock, NULL, &timed);
    assert_status(stile_lock_extend(lock, &timed.hold, 60000), STILE_OK);
    assert_in_range(left_ms(lock, &timed.hold), 0, 500);
    await_lost(lock, &timed, 500);
    assert_status(stile_lock_release(lock, &timed.hold), STILE_LOST);
    assert_status(stile_lock_acquire(lock, 1000, &timed.hold), STILE_OK);
    assert_status(stile_lock_release(lock, &timed.hold), STILE_OK);
}

static void extension_stays_within_ten_years(void **state)
{
    const stile_lock_options longest = {.lease_ms = TEN_YEARS_MS, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("extend-years", &longest);
    stile_hold hold;
    int i;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    for (i = 0; i < 3; i++) {
        assert_true(left_ms(lock, &hold) <= TEN_YEARS_MS);
        assert_true(left_ms(lock, &hold) >= TEN_YEARS_MS / 100 * 98);
        if (contract_on_redis())
            assert_true(test_redis_int(contract_server(), "PTTL", "stile:{lock:extend-years}",
                                       NULL) <= TEN_YEARS_MS);
        assert_status(stile_lock_extend(lock, &hold, TEN_YEARS_MS), STILE_OK);
    }
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void hold_without_an_end_stays_without(void **state)
{
    stile_lock *lock = contract_lock_open("no-end", NULL);
    stile_hold hold;
    int64_t before;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    before = left_ms(lock, &hold);
    assert_status(stile_lock_extend(lock, &hold, 1000), STILE_OK);
    if (contract_on_redis())
        assert_true(before > 0 && before <= 30000);
    else
        assert_true(before == STILE_FOREVER && left_ms(lock, &hold) == STILE_FOREVER);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

/* ------------------------------------------------------------------------------------------------ */

int contract_lock_lease(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(fixed_lease_ends_at_its_time_and_is_not_revived),
        contract_test(valid_ms_is_how_long_a_hold_counts),
        contract_test(waiter_gets_the_lock_when_the_lease_is_over_and_not_before),
        contract_test(try_gets_the_lock_when_the_lease_is_over_and_not_before),
        contract_test(fence_check_refuses_whom_the_next_owner_has_overtaken),
        contract_test(lost_hold_keeps_neither_its_lock_nor_its_handle),
        contract_test(renewed_hold_outlives_its_lease_many_times),
        contract_test(renewal_ends_with_the_release),
        contract_test(max_hold_bounds_a_renewed_hold),
        contract_test(max_hold_bounds_a_lease_that_is_longer),
        contract_test(options_of_one_acquire_override_the_handles),
        contract_test(space_says_what_a_lock_does_not),
        contract_test(extension_adds_to_what_is_left),
        contract_test(extended_hold_ends_when_its_extension_does),
        contract_test(extension_never_shortens),
        contract_test(renewal_takes_nothing_back_from_an_extension),
        contract_test(extension_stays_within_max_hold),
        contract_test(extension_stays_within_ten_years),
        contract_test(hold_without_an_end_stays_without),
    };

    return cmocka_run_group_tests_name("lock: leases", tests, NULL, NULL);
}
