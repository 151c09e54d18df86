/*
 * The local lock under schedules: nobody inside beside the owner, fences rise,
 * nobody is stranded, a timeout left nothing.
 *
 * Built with a seeded bug (STILE_BUG), the test is that the bug is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <stile/stile.h>

#include "explore.h"

enum { BUDGET = 20000 };

#define MS INT64_C(1000000)
/* How long whoever waits may go on after a close: promise C12. */
#define CLOSE_NS (100 * MS)

struct place {
    stile *space;
    stile_lock *lock;
    stile_lock *other; /* another handle of the same name */
    /* Plain memory: what the lock protects. */
    bool taken;
    stile_hold owner;
    uint64_t highest;
    unsigned acquired; /* holds ever given */
    bool closed;       /* the space, or the handle lock */
    int64_t closed_ns;
    unsigned forced, lost; /* taken away, and told so */
    stile_lock *late;      /* opened while the space was being closed */
};

/* ---- what every scenario does ---------------------------------------------- */

static void place_open(struct place *place, const stile_lock_options *options)
{
    EXPLORE_ASSERT(stile_open("local:", NULL, &place->space) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_open(place->space, "ledger", options, &place->lock) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_open(place->space, "ledger", NULL, &place->other) == STILE_OK);
}

static void setup(void *state)
{
    place_open(state, NULL);
}

static void setup_fair(void *state)
{
    const stile_lock_options fair = {.fair = true};

    place_open(state, &fair);
}

static void shut(struct place *place)
{
    stile_lock_close(place->lock);
    stile_lock_close(place->other);
    stile_close(place->space);
}

/*
 * The lock is free, and its fence shows that nobody else was ever given it: a
 * local fence rises by one with every owner.
 */
static void lock_is_free(void *state)
{
    struct place *place = state;
    stile_hold hold;

    EXPLORE_ASSERT(stile_lock_acquire(place->other, 0, &hold) == STILE_OK);
    EXPLORE_ASSERT(hold.fence == place->acquired + 1);
    EXPLORE_ASSERT(stile_lock_release(place->other, &hold) == STILE_OK);
    shut(place);
}

static void arrive(struct place *place, const stile_hold *hold)
{
    stile_hold before = place->owner;
    bool taken = place->taken;

    place->acquired++;
    /* Who was held up on the way in comes after its successor: a lease allows
     * that, if the late one is told. */
    if (hold->fence < place->highest) {
        EXPLORE_ASSERT(stile_lock_check(place->other, hold, NULL) != STILE_OK);
        return;
    }
    EXPLORE_ASSERT(hold->fence != place->highest);
    EXPLORE_ASSERT(stile_fence_check(&place->highest, hold->fence));
    place->taken = true;
    place->owner = *hold;
    /* Whoever was here before has left, or is told that its lease is over. */
    EXPLORE_ASSERT(!taken || stile_lock_check(place->other, &before, NULL) != STILE_OK);
}

static void stay(struct place *place, const stile_hold *hold)
{
    int i;

    for (i = 0; i < 3; i++) {
        explore_point();
        EXPLORE_ASSERT(place->owner.fence == hold->fence);
    }
}

static void leave(struct place *place, stile_lock *lock, const stile_hold *hold)
{
    place->taken = false;
    EXPLORE_ASSERT(stile_lock_release(lock, hold) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_release(lock, hold) == STILE_NOT_HELD);
}

/* Comes in through one handle and leaves through another.  Returns whether it had
 * the lock. */
static bool visit_through(struct place *place, stile_lock *lock, stile_lock *back,
                          int64_t timeout_ms)
{
    stile_hold hold = {.fence = 42};
    int64_t began = explore_now_ns();
    stile_status status = stile_lock_acquire(lock, timeout_ms, &hold);

    if (status == STILE_OK) {
        arrive(place, &hold);
        stay(place, &hold);
        leave(place, back, &hold);
        return true;
    }
    EXPLORE_ASSERT(hold.fence == 42);
    if (status == STILE_CLOSED) {
        EXPLORE_ASSERT(place->closed);
        EXPLORE_ASSERT(explore_now_ns() - place->closed_ns < CLOSE_NS);
        return false;
    }
    EXPLORE_ASSERT(status == STILE_TIMEOUT);
    EXPLORE_ASSERT(timeout_ms != STILE_FOREVER);
    EXPLORE_ASSERT(explore_now_ns() - began >= timeout_ms * MS);
    return false;
}

static bool visit(struct place *place, stile_lock *lock, int64_t timeout_ms)
{
    return visit_through(place, lock, lock, timeout_ms);
}

static void wait_for_ever(void *state)
{
    struct place *place = state;

    EXPLORE_ASSERT(visit(place, place->lock, STILE_FOREVER));
}

/* ---- mixed timeouts -------------------------------------------------------- */

static void wait_twice(void *state)
{
    wait_for_ever(state);
    wait_for_ever(state);
}

static void wait_a_little(void *state)
{
    struct place *place = state;

    visit(place, place->lock, 1);
    visit(place, place->other, 2);
}

static void try_and_wait(void *state)
{
    struct place *place = state;

    visit(place, place->other, 0);
    visit(place, place->lock, 1);
    EXPLORE_ASSERT(visit(place, place->other, STILE_FOREVER));
}

static const struct scenario mixed = {
    .name = "mixed timeouts",
    .size = sizeof(struct place),
    .setup = setup,
    .run = {wait_twice, wait_a_little, try_and_wait},
    .check = lock_is_free,
    .step_ns = MS / 10,
    .stray = true,
};

static const struct scenario mixed_fair = {
    .name = "mixed timeouts, fair",
    .size = sizeof(struct place),
    .setup = setup_fair,
    .run = {wait_twice, wait_a_little, try_and_wait},
    .check = lock_is_free,
    .step_ns = MS / 10,
    .stray = true,
};

/* ---- a timeout at the instant of the grant --------------------------------- */

enum { HELD_MS = 2 };

static void setup_held(void *state)
{
    struct place *place = state;
    stile_hold hold;

    setup(state);
    EXPLORE_ASSERT(stile_lock_acquire(place->lock, 0, &hold) == STILE_OK);
    arrive(place, &hold);
}

static void wait_as_long(void *state)
{
    struct place *place = state;

    visit(place, place->lock, HELD_MS);
}

static void release_in_time(void *state)
{
    struct place *place = state;
    stile_hold hold = place->owner;

    explore_sleep_ns(HELD_MS * MS);
    leave(place, place->lock, &hold);
}

static const struct scenario at_the_instant = {
    .name = "a timeout at the instant of the grant",
    .size = sizeof(struct place),
    .setup = setup_held,
    .run = {release_in_time, wait_as_long, wait_for_ever, wait_for_ever},
    .check = lock_is_free,
    .step_ns = MS / 10,
    .stray = true,
};

/* ---- small enough to see every order ---------------------------------------- */

static void release_at_once(void *state)
{
    struct place *place = state;
    stile_hold hold = place->owner;

    leave(place, place->lock, &hold);
}

static const struct scenario one_waits = {
    .name = "one waits",
    .size = sizeof(struct place),
    .setup = setup_held,
    .run = {release_at_once, wait_as_long},
    .check = lock_is_free,
};

static const struct scenario two_wait = {
    .name = "two wait",
    .size = sizeof(struct place),
    .setup = setup_held,
    .run = {release_at_once, wait_as_long, wait_for_ever},
    .check = lock_is_free,
};

/* ---- leases that lapse ----------------------------------------------------- */

enum { LEASE_MS = 100 };

/* Holds about as long as its lease. */
static void hold_too_long(void *state)
{
    const stile_lock_options options = {.lease_ms = LEASE_MS, .fixed_lease = true};
    struct place *place = state;
    int64_t began, over;
    stile_status status;
    stile_hold hold;

    began = explore_now_ns();
    EXPLORE_ASSERT(stile_lock_acquire_with(place->lock, STILE_FOREVER, &options, &hold) ==
                   STILE_OK);
    arrive(place, &hold);
    explore_sleep_ns(LEASE_MS * MS);
    over = explore_now_ns();
    if (place->owner.fence == hold.fence)
        place->taken = false;
    status = stile_lock_release(place->lock, &hold);
    /* It was given no sooner than asked for, and the sleep began after that. */
    EXPLORE_ASSERT(over - began >= LEASE_MS * MS);
    EXPLORE_ASSERT(status == STILE_LOST);
    EXPLORE_ASSERT(stile_lock_release(place->lock, &hold) != STILE_OK);
    EXPLORE_ASSERT(stile_lock_extend(place->lock, &hold, 1000) != STILE_OK);
}

/* Holds for about half of it, and may be held up. */
static void hold_with_a_lease(void *state)
{
    const stile_lock_options options = {.lease_ms = LEASE_MS, .fixed_lease = true};
    struct place *place = state;
    stile_status status;
    stile_hold hold;

    status = stile_lock_acquire_with(place->other, LEASE_MS, &options, &hold);
    if (status == STILE_TIMEOUT)
        return;
    EXPLORE_ASSERT(status == STILE_OK);
    arrive(place, &hold);
    explore_sleep_ns(LEASE_MS / 2 * MS);
    if (place->owner.fence == hold.fence)
        place->taken = false;
    status = stile_lock_release(place->other, &hold);
    EXPLORE_ASSERT(status == STILE_OK || status == STILE_LOST);
}

static const struct scenario lapses = {
    .name = "leases that lapse",
    .size = sizeof(struct place),
    .setup = setup,
    .run = {hold_too_long, hold_with_a_lease, wait_for_ever, wait_twice},
    .check = lock_is_free,
    .step_ns = LEASE_MS * MS / 20,
    .stray = true,
};

/* ---- closing --------------------------------------------------------------- */

static void wait_to_be_closed(void *state)
{
    struct place *place = state;

    visit(place, place->lock, STILE_FOREVER);
}

static void wait_with_a_lease_to_be_closed(void *state)
{
    const stile_lock_options options = {.lease_ms = LEASE_MS, .fixed_lease = true};
    struct place *place = state;
    stile_hold hold;
    stile_status status = stile_lock_acquire_with(place->lock, LEASE_MS, &options, &hold);

    if (status == STILE_OK) {
        arrive(place, &hold);
        explore_point();
        if (place->owner.fence == hold.fence)
            place->taken = false;
        stile_lock_release(place->other, &hold);
    } else {
        EXPLORE_ASSERT(place->closed ? status == STILE_CLOSED || status == STILE_TIMEOUT
                                     : status == STILE_TIMEOUT);
    }
}

static void close_the_space(void *state)
{
    struct place *place = state;

    place->closed_ns = explore_now_ns();
    place->closed = true;
    stile_close(place->space);
}

static void open_late(void *state)
{
    struct place *place = state;
    stile_lock *lock;
    stile_status status = stile_lock_open(place->space, "late", NULL, &lock);

    if (status == STILE_OK)
        place->late = lock;
    else
        EXPLORE_ASSERT(place->closed && status == STILE_CLOSED);
}

static void nobody_gets_in(void *state)
{
    struct place *place = state;
    stile_hold hold;
    stile_lock *lock;

    EXPLORE_ASSERT(stile_lock_acquire(place->lock, 0, &hold) == STILE_CLOSED);
    EXPLORE_ASSERT(stile_lock_acquire(place->other, STILE_FOREVER, &hold) == STILE_CLOSED);
    EXPLORE_ASSERT(stile_lock_open(place->space, "ledger", NULL, &lock) == STILE_CLOSED);
    if (place->late != NULL)
        EXPLORE_ASSERT(stile_lock_acquire(place->late, 0, &hold) == STILE_CLOSED);
    stile_lock_close(place->late);
    stile_lock_close(place->lock);
    stile_lock_close(place->other);
}

static const struct scenario space_closes = {
    .name = "a space that is closed",
    .size = sizeof(struct place),
    .setup = setup_held,
    .run = {release_in_time, wait_to_be_closed, wait_with_a_lease_to_be_closed, open_late,
            close_the_space},
    .check = nobody_gets_in,
    .step_ns = MS / 10,
    .stray = true,
};

/*
 * No call may begin on a handle that is being closed.  Here time moves only when
 * all are asleep, so that they wait when the holder releases, the waiter's time
 * is up and the handle is closed, all at one instant.
 */
static void release_through_other(void *state)
{
    struct place *place = state;
    stile_hold hold = place->owner;

    explore_sleep_ns(HELD_MS * MS);
    leave(place, place->other, &hold);
}

static void wait_a_little_through_lock(void *state)
{
    struct place *place = state;

    visit_through(place, place->lock, place->other, HELD_MS);
}

static void wait_through_lock(void *state)
{
    struct place *place = state;

    visit_through(place, place->lock, place->other, STILE_FOREVER);
}

/* Comes at that instant, may overtake who was woken, and keeps the lock: the close
 * does not wait for that. */
static void come_and_stay_long(void *state)
{
    struct place *place = state;
    stile_hold hold;

    explore_sleep_ns(HELD_MS * MS);
    EXPLORE_ASSERT(stile_lock_acquire(place->other, STILE_FOREVER, &hold) == STILE_OK);
    arrive(place, &hold);
    explore_sleep_ns(10 * CLOSE_NS);
    leave(place, place->other, &hold);
}

static void close_the_handle(void *state)
{
    struct place *place = state;
    stile_lock *lock = place->lock;

    explore_sleep_ns(HELD_MS * MS);
    place->closed_ns = explore_now_ns();
    place->closed = true;
    place->lock = NULL;
    stile_lock_close(lock);
    EXPLORE_ASSERT(explore_now_ns() - place->closed_ns < CLOSE_NS);
}

static const struct scenario handle_closes = {
    .name = "a handle that is closed",
    .size = sizeof(struct place),
    .setup = setup_held,
    .run = {release_through_other, wait_a_little_through_lock, wait_through_lock,
            come_and_stay_long, close_the_handle},
    .check = lock_is_free,
};

/* ---- taken by force, and kept ---------------------------------------------- */

/* Holds and gives back, unless it was taken away. */
static void hold_with(struct place *place, const stile_lock_options *options)
{
    stile_status status;
    stile_hold hold;
    int i;

    EXPLORE_ASSERT(stile_lock_acquire_with(place->lock, STILE_FOREVER, options, &hold) == STILE_OK);
    arrive(place, &hold);
    for (i = 0; i < 3; i++) {
        explore_point();
        EXPLORE_ASSERT(place->owner.fence == hold.fence ||
                       stile_lock_check(place->other, &hold, NULL) == STILE_LOST);
    }
    if (place->owner.fence == hold.fence)
        place->taken = false;
    status = stile_lock_release(place->other, &hold);
    EXPLORE_ASSERT(status == STILE_OK || status == STILE_LOST);
    place->lost += status == STILE_LOST;
    EXPLORE_ASSERT(stile_lock_check(place->other, &hold, NULL) != STILE_OK);
}

static void hold_it(void *state)
{
    hold_with(state, NULL);
}

static void hold_for_a_lease(void *state)
{
    const stile_lock_options fixed = {.fixed_lease = true, .lease_ms = 60000, .label = "fixed"};

    hold_with(state, &fixed);
}

static void hold_fairly(void *state)
{
    const stile_lock_options fair = {.fair = true};

    hold_with(state, &fair);
}

static void hold_for_at_least_a_while(void *state)
{
    const stile_lock_options kept = {.min_hold_ms = 2};

    hold_with(state, &kept);
}

static void take_by_force(void *state)
{
    struct place *place = state;
    stile_status status = stile_lock_force_release(place->other);

    EXPLORE_ASSERT(status == STILE_OK || status == STILE_MISSING);
    place->forced += status == STILE_OK;
}

/* Who lost it heard of it, and nobody else did. */
static void force_was_told(void *state)
{
    struct place *place = state;

    EXPLORE_ASSERT(place->lost == place->forced);
    lock_is_free(place);
}

/* What is kept for nobody is taken from nobody; when its time is over it is free. */
static void what_was_kept_is_free(void *state)
{
    struct place *place = state;

    EXPLORE_ASSERT(place->lost <= place->forced);
    explore_sleep_ns(2 * MS);
    lock_is_free(place);
}

static const struct scenario forced = {
    .name = "a lock that is taken by force",
    .size = sizeof(struct place),
    .setup = setup,
    .run = {hold_it, hold_for_a_lease, hold_fairly, take_by_force},
    .check = force_was_told,
};

static const struct scenario kept = {
    .name = "a lock that is kept",
    .size = sizeof(struct place),
    .setup = setup,
    .run = {hold_for_at_least_a_while, hold_it, hold_for_at_least_a_while, take_by_force},
    .check = what_was_kept_is_free,
};

/* ---- tests ----------------------------------------------------------------- */

#if STILE_BUG == 0

static void nothing_fails(const struct scenario *scenario)
{
    struct explore_report report;

    if (!explore(scenario, BUDGET, &report))
        fail_msg("%s", report.text);
}

static void the_lock_holds_with_timeouts_of_all_kinds(void **state)
{
    (void)state;
    nothing_fails(&mixed);
}

static void the_fair_lock_holds_with_timeouts_of_all_kinds(void **state)
{
    (void)state;
    nothing_fails(&mixed_fair);
}

static void a_timeout_at_the_instant_of_the_grant_strands_nobody(void **state)
{
    (void)state;
    nothing_fails(&at_the_instant);
}

static void no_order_fails(const struct scenario *scenario, unsigned preemptions)
{
    struct explore_report report;

    if (!explore_every(scenario, preemptions, 10 * BUDGET, &report))
        fail_msg("%s", report.failed ? report.text : "there are more orders");
}

static void a_release_and_a_timed_waiter_meet_in_every_order(void **state)
{
    (void)state;
    no_order_fails(&one_waits, 3);
}

static void a_release_and_two_waiters_meet_in_every_order(void **state)
{
    (void)state;
    no_order_fails(&two_wait, 2);
}

static void leases_lapse_to_those_who_wait(void **state)
{
    (void)state;
    nothing_fails(&lapses);
}

static void closing_a_space_sends_everybody_home(void **state)
{
    (void)state;
    nothing_fails(&space_closes);
}

static void closing_a_handle_sends_its_own_waiters_home(void **state)
{
    (void)state;
    nothing_fails(&handle_closes);
}

static void a_lock_taken_by_force_goes_to_those_who_wait(void **state)
{
    (void)state;
    nothing_fails(&forced);
}

static void a_lock_that_is_kept_goes_to_those_who_wait(void **state)
{
    (void)state;
    nothing_fails(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lock_holds_with_timeouts_of_all_kinds),
        cmocka_unit_test(the_fair_lock_holds_with_timeouts_of_all_kinds),
        cmocka_unit_test(a_timeout_at_the_instant_of_the_grant_strands_nobody),
        cmocka_unit_test(a_release_and_a_timed_waiter_meet_in_every_order),
        cmocka_unit_test(a_release_and_two_waiters_meet_in_every_order),
        cmocka_unit_test(leases_lapse_to_those_who_wait),
        cmocka_unit_test(closing_a_space_sends_everybody_home),
        cmocka_unit_test(closing_a_handle_sends_its_own_waiters_home),
        cmocka_unit_test(a_lock_taken_by_force_goes_to_those_who_wait),
        cmocka_unit_test(a_lock_that_is_kept_goes_to_those_who_wait),
    };

    return cmocka_run_group_tests_name("schedules of the lock", tests, NULL, NULL);
}

#else

static void the_seeded_bug_is_found(void **state)
{
    static const struct scenario *const scenarios[] = {
        &at_the_instant, &mixed,     &mixed_fair, &lapses, &space_closes,
        &handle_closes,  &one_waits, &two_wait,   &forced, &kept,
    };

    (void)state;
    assert_true(explore_finds(scenarios, sizeof scenarios / sizeof scenarios[0], BUDGET));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_seeded_bug_is_found),
    };

    return cmocka_run_group_tests_name("schedules of the lock with a bug", tests, NULL, NULL);
}

#endif
