/*
 * The lock and time, on a clock that stands still unless everybody sleeps: what
 * takes a year takes none, and every end is exact.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <stile/stile.h>

#include "explore.h"
#include "local.h"

#define MS INT64_C(1000000)
#define YEAR_MS INT64_C(31536000000)

struct world {
    stile *space;
    stile_lock *lock;
    stile_hold held; /* where setup took the lock */
    int64_t began_ns;
    unsigned passes;
    bool waiting, through;
    stile_hold_state told; /* by a watch, and when */
    int64_t told_ns;
};

static void setup(void *state)
{
    struct world *world = state;

    EXPLORE_ASSERT(stile_open("local:", NULL, &world->space) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_open(world->space, "clock", NULL, &world->lock) == STILE_OK);
    world->began_ns = explore_now_ns();
}

static void setup_held(void *state)
{
    struct world *world = state;

    setup(state);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &world->held) == STILE_OK);
}

static void fini(void *state)
{
    struct world *world = state;

    stile_lock_close(world->lock);
    stile_close(world->space);
}

static void run(const struct scenario *scenario)
{
    struct explore_report report;

    explore_random(scenario, 500, 1, &report);
    if (report.failed) {
        explore_print(scenario->name, &report);
        fail_msg("%s", report.text);
    }
}

/* Runs body with an open lock. */
static void alone(void (*body)(void *state))
{
    const struct scenario scenario = {.name = "alone",
                                      .size = sizeof(struct world),
                                      .setup = setup,
                                      .run = {body},
                                      .check = fini};

    run(&scenario);
}

/* Runs two bodies with a lock that is held. */
static void two(void (*one)(void *state), void (*other)(void *state))
{
    const struct scenario scenario = {.name = "two",
                                      .size = sizeof(struct world),
                                      .setup = setup_held,
                                      .run = {one, other},
                                      .check = fini};

    run(&scenario);
}

static void sleep_ms(int64_t ms)
{
    explore_sleep_ns(ms * MS);
}

static int64_t since_ms(int64_t began_ns)
{
    int64_t passed = explore_now_ns() - began_ns;

    EXPLORE_ASSERT(passed % MS == 0);
    return passed / MS;
}

static void take_fixed(struct world *world, int64_t lease_ms, int64_t max_hold_ms, stile_hold *hold)
{
    const stile_lock_options options = {
        .lease_ms = lease_ms, .max_hold_ms = max_hold_ms, .fixed_lease = true};

    EXPLORE_ASSERT(stile_lock_acquire_with(world->lock, 0, &options, hold) == STILE_OK);
}

/* What the hold has left, or -2 when it is lost. */
static int64_t left_ms(struct world *world, const stile_hold *hold)
{
    int64_t valid_ms = 0;
    stile_status status = stile_lock_check(world->lock, hold, &valid_ms);

    EXPLORE_ASSERT(status == STILE_OK || status == STILE_LOST);
    return status == STILE_OK ? valid_ms : -2;
}

/* ---- leases ---------------------------------------------------------------- */

static void lose_at_1000(void *state)
{
    struct world *world = state;
    stile_hold hold, next;

    take_fixed(world, 1000, 0, &hold);
    sleep_ms(999);
    explore_sleep_ns(MS - 1);
    EXPLORE_ASSERT(left_ms(world, &hold) == 0);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &next) == STILE_TIMEOUT);
    explore_sleep_ns(1);
    EXPLORE_ASSERT(left_ms(world, &hold) == -2);
    EXPLORE_ASSERT(stile_lock_extend(world->lock, &hold, 1000) == STILE_LOST);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &next) == STILE_OK);
    EXPLORE_ASSERT(next.fence > hold.fence);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) != STILE_OK);
    EXPLORE_ASSERT(stile_lock_check(world->lock, &next, NULL) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &next) == STILE_OK);
}

static void a_fixed_lease_is_lost_at_exactly_its_time(void **state)
{
    (void)state;
    alone(lose_at_1000);
}

static void release_late(void *state)
{
    struct world *world = state;
    stile_hold hold, next;

    take_fixed(world, 1000, 0, &hold);
    sleep_ms(1000);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_LOST);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &next) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) != STILE_OK);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &next) == STILE_OK);
}

static void a_release_after_the_lease_is_told_that_it_was_lost(void **state)
{
    (void)state;
    alone(release_late);
}

static void count_down(void *state)
{
    struct world *world = state;
    stile_hold hold;
    int64_t passed;

    take_fixed(world, 1000, 0, &hold);
    for (passed = 0; passed < 1000; passed += 125) {
        EXPLORE_ASSERT(left_ms(world, &hold) == 1000 - passed);
        sleep_ms(125);
    }
    EXPLORE_ASSERT(left_ms(world, &hold) == -2);
}

static void what_is_left_of_a_lease_counts_down(void **state)
{
    (void)state;
    alone(count_down);
}

static void extend(void *state)
{
    struct world *world = state;
    stile_hold hold, next;

    take_fixed(world, 1000, 0, &hold);
    sleep_ms(400);
    EXPLORE_ASSERT(stile_lock_extend(world->lock, &hold, 500) == STILE_OK);
    EXPLORE_ASSERT(left_ms(world, &hold) == 1100);
    EXPLORE_ASSERT(stile_lock_extend(world->lock, &hold, 1) == STILE_OK);
    EXPLORE_ASSERT(left_ms(world, &hold) == 1101);
    /* Others go by the new end, too. */
    sleep_ms(1100);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &next) == STILE_TIMEOUT);
    EXPLORE_ASSERT(left_ms(world, &hold) == 1);
    sleep_ms(1);
    EXPLORE_ASSERT(stile_lock_extend(world->lock, &hold, 500) == STILE_LOST);
    EXPLORE_ASSERT(left_ms(world, &hold) == -2);
}

static void an_extension_adds_and_does_not_revive(void **state)
{
    (void)state;
    alone(extend);
}

static void extend_too_far(void *state)
{
    struct world *world = state;
    stile_hold hold;

    take_fixed(world, 1000, 3000, &hold);
    sleep_ms(500);
    EXPLORE_ASSERT(stile_lock_extend(world->lock, &hold, 1000) == STILE_OK);
    EXPLORE_ASSERT(left_ms(world, &hold) == 1500);
    EXPLORE_ASSERT(stile_lock_extend(world->lock, &hold, YEAR_MS) == STILE_OK);
    EXPLORE_ASSERT(left_ms(world, &hold) == 2500);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
    take_fixed(world, 1000, 0, &hold);
    EXPLORE_ASSERT(stile_lock_extend(world->lock, &hold, 10 * YEAR_MS) == STILE_OK);
    EXPLORE_ASSERT(left_ms(world, &hold) == 10 * YEAR_MS);
    EXPLORE_ASSERT(stile_lock_extend(world->lock, &hold, 10 * YEAR_MS + 1) == STILE_INVALID);
    EXPLORE_ASSERT(stile_lock_extend(world->lock, &hold, 0) == STILE_INVALID);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
}

static void an_extension_ends_with_max_hold_or_after_ten_years(void **state)
{
    (void)state;
    alone(extend_too_far);
}

static void hold_for_a_year(void *state)
{
    struct world *world = state;
    stile_hold hold, next;

    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &hold) == STILE_OK);
    sleep_ms(YEAR_MS);
    EXPLORE_ASSERT(left_ms(world, &hold) == STILE_FOREVER);
    EXPLORE_ASSERT(stile_lock_extend(world->lock, &hold, 1000) == STILE_OK);
    EXPLORE_ASSERT(left_ms(world, &hold) == STILE_FOREVER);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &next) == STILE_TIMEOUT);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
}

static void a_lease_that_is_renewed_has_no_end_here(void **state)
{
    (void)state;
    alone(hold_for_a_year);
}

static void hold_to_the_maximum(void *state)
{
    const stile_lock_options options = {.lease_ms = 100, .max_hold_ms = 500};
    struct world *world = state;
    stile_hold hold;

    EXPLORE_ASSERT(stile_lock_acquire_with(world->lock, 0, &options, &hold) == STILE_OK);
    EXPLORE_ASSERT(left_ms(world, &hold) <= 500);
    sleep_ms(499);
    EXPLORE_ASSERT(left_ms(world, &hold) == 1);
    sleep_ms(1);
    EXPLORE_ASSERT(left_ms(world, &hold) == -2);
    take_fixed(world, 1000, 300, &hold);
    EXPLORE_ASSERT(left_ms(world, &hold) == 300);
    sleep_ms(300);
    EXPLORE_ASSERT(left_ms(world, &hold) == -2);
}

static void no_hold_outlives_max_hold(void **state)
{
    (void)state;
    alone(hold_to_the_maximum);
}

static void ask_for_leases(void *state)
{
    static const struct {
        int64_t ms;
        stile_status status;
    } cases[] = {
        {-1, STILE_INVALID},        {1, STILE_INVALID},
        {99, STILE_INVALID},        {100, STILE_OK},
        {10 * YEAR_MS, STILE_OK},   {10 * YEAR_MS + 1, STILE_INVALID},
        {INT64_MAX, STILE_INVALID}, {INT64_MIN, STILE_INVALID},
    };
    struct world *world = state;
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const stile_lock_options lease = {.lease_ms = cases[i].ms, .fixed_lease = true};
        const stile_lock_options most = {.max_hold_ms = cases[i].ms};
        stile_lock *lock;
        stile_hold hold;

        EXPLORE_ASSERT(stile_lock_acquire_with(world->lock, 0, &lease, &hold) == cases[i].status);
        if (cases[i].status == STILE_OK) {
            EXPLORE_ASSERT(left_ms(world, &hold) == cases[i].ms);
            EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
        } else {
            EXPLORE_ASSERT(strstr(stile_error_detail(), "lease_ms") != NULL);
        }
        EXPLORE_ASSERT(stile_lock_acquire_with(world->lock, 0, &most, &hold) == cases[i].status);
        if (cases[i].status == STILE_OK) {
            EXPLORE_ASSERT(left_ms(world, &hold) == cases[i].ms);
            EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
        } else {
            EXPLORE_ASSERT(strstr(stile_error_detail(), "max_hold_ms") != NULL);
        }
        EXPLORE_ASSERT(stile_lock_open(world->space, "clock", &lease, &lock) == cases[i].status);
        if (cases[i].status == STILE_OK)
            stile_lock_close(lock);
    }
}

static void leases_are_from_100_ms_to_ten_years(void **state)
{
    (void)state;
    alone(ask_for_leases);
}

static void use_the_space_s_lease(void *state)
{
    const stile_options options = {.lease_ms = 200};
    const stile_lock_options fixed = {.fixed_lease = true};
    struct world *world = state;
    struct world inner = *world;
    stile_hold hold;

    EXPLORE_ASSERT(stile_open("local:", &options, &inner.space) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_open(inner.space, "clock", &fixed, &inner.lock) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_acquire(inner.lock, 0, &hold) == STILE_OK);
    EXPLORE_ASSERT(left_ms(&inner, &hold) == 200);
    sleep_ms(200);
    EXPLORE_ASSERT(left_ms(&inner, &hold) == -2);
    fini(&inner);
    /* Where nobody says anything it is 30 s. */
    EXPLORE_ASSERT(stile_lock_acquire_with(world->lock, 0, &fixed, &hold) == STILE_OK);
    EXPLORE_ASSERT(left_ms(world, &hold) == 30000);
}

static void a_lock_has_the_lease_of_its_space(void **state)
{
    (void)state;
    alone(use_the_space_s_lease);
}

/* ---- timeouts -------------------------------------------------------------- */

static void stay_held(void *state)
{
    (void)state;
}

static void time_out(void *state)
{
    static const int64_t timeouts[] = {1, 2, 20, 1000, YEAR_MS};
    struct world *world = state;
    stile_hold hold = {.fence = 42};
    size_t i;

    for (i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        int64_t began = explore_now_ns();

        EXPLORE_ASSERT(stile_lock_acquire(world->lock, timeouts[i], &hold) == STILE_TIMEOUT);
        EXPLORE_ASSERT(since_ms(began) == timeouts[i]);
        EXPLORE_ASSERT(hold.fence == 42);
    }
}

static void a_timeout_comes_at_exactly_its_time(void **state)
{
    (void)state;
    two(stay_held, time_out);
}

static void time_out_with_a_lease(void *state)
{
    const stile_lock_options fixed = {.fixed_lease = true};
    struct world *world = state;
    stile_hold hold;
    int i;

    for (i = 0; i < STILE_LEASE_FIRST; i++) {
        EXPLORE_ASSERT(stile_lock_acquire_with(world->lock, 0, &fixed, &hold) == STILE_TIMEOUT);
        EXPLORE_ASSERT(stile_lock_acquire_with(world->lock, 1, &fixed, &hold) == STILE_TIMEOUT);
    }
    EXPLORE_ASSERT(((struct local_space *)world->space)->leases.slots == STILE_LEASE_FIRST);
}

static void a_timeout_keeps_no_place_in_the_lease_table(void **state)
{
    (void)state;
    two(stay_held, time_out_with_a_lease);
}

static void try_only(void *state)
{
    struct world *world = state;
    stile_hold hold;

    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &hold) == STILE_TIMEOUT);
    EXPLORE_ASSERT(explore_now_ns() == world->began_ns);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, -2, &hold) == STILE_INVALID);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, INT64_MIN, &hold) == STILE_INVALID);
    EXPLORE_ASSERT(explore_now_ns() == world->began_ns);
}

static void a_try_takes_no_time(void **state)
{
    (void)state;
    two(stay_held, try_only);
}

static void release_after_twelve_years(void *state)
{
    struct world *world = state;

    sleep_ms(12 * YEAR_MS);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &world->held) == STILE_OK);
}

static void wait_longer_than_ten_years(void *state)
{
    struct world *world = state;
    stile_hold hold;

    EXPLORE_ASSERT(stile_lock_acquire(world->lock, INT64_MAX, &hold) == STILE_OK);
    EXPLORE_ASSERT(since_ms(world->began_ns) == 12 * YEAR_MS);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
}

static void beyond_ten_years_a_timeout_is_for_ever(void **state)
{
    (void)state;
    two(release_after_twelve_years, wait_longer_than_ten_years);
}

static void hold_a_lease_and_forget_it(void *state)
{
    struct world *world = state;
    stile_hold hold;

    EXPLORE_ASSERT(stile_lock_release(world->lock, &world->held) == STILE_OK);
    take_fixed(world, 5000, 0, &hold);
    world->waiting = true;
}

static void wait_for_the_lapse(void *state)
{
    struct world *world = state;
    stile_hold hold;

    sleep_ms(1000);
    EXPLORE_ASSERT(world->waiting);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 3999, &hold) == STILE_TIMEOUT);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, STILE_FOREVER, &hold) == STILE_OK);
    EXPLORE_ASSERT(since_ms(world->began_ns) == 5000);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
}

static void who_waits_gets_the_lock_when_the_lease_ends(void **state)
{
    (void)state;
    two(hold_a_lease_and_forget_it, wait_for_the_lapse);
}

static void release_a_lease_late(void *state)
{
    struct world *world = state;
    stile_hold hold;

    EXPLORE_ASSERT(stile_lock_release(world->lock, &world->held) == STILE_OK);
    take_fixed(world, 5000, 0, &hold);
    world->waiting = true;
    sleep_ms(5000);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_LOST);
}

static void a_release_that_comes_late_strands_nobody(void **state)
{
    (void)state;
    two(release_a_lease_late, wait_for_the_lapse);
}

/* ---- held at least ---------------------------------------------------------- */

static void release_early(void *state)
{
    const stile_lock_options least = {.min_hold_ms = 5000};
    struct world *world = state;
    stile_hold hold;

    EXPLORE_ASSERT(stile_lock_release(world->lock, &world->held) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_acquire_with(world->lock, 0, &least, &hold) == STILE_OK);
    world->waiting = true;
    sleep_ms(1000);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_NOT_HELD);
    sleep_ms(3999);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &hold) == STILE_TIMEOUT);
}

static void a_lock_released_early_is_free_at_exactly_its_time(void **state)
{
    (void)state;
    two(release_early, wait_for_the_lapse);
}

static void keep_many_times(void *state)
{
    const stile_lock_options least = {.min_hold_ms = 1};
    struct world *world = state;
    int i;

    for (i = 0; i < 100; i++) {
        stile_hold hold;

        EXPLORE_ASSERT(stile_lock_acquire_with(world->lock, STILE_FOREVER, &least, &hold) ==
                       STILE_OK);
        EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
        EXPLORE_ASSERT(hold.slot < STILE_LEASE_FIRST);
    }
    EXPLORE_ASSERT(since_ms(world->began_ns) == 99);
    sleep_ms(1);
}

static void what_was_kept_keeps_no_place_in_the_lease_table(void **state)
{
    (void)state;
    alone(keep_many_times);
}

/* ---- watches --------------------------------------------------------------- */

static void note(stile_watch *watch, stile_hold_state state, void *argument)
{
    struct world *world = argument;

    (void)watch;
    world->told = state;
    world->told_ns = explore_now_ns();
}

static void watch_for_1000(void *state)
{
    struct world *world = state;
    stile_watch *watch;
    stile_hold hold;

    take_fixed(world, 1000, 0, &hold);
    EXPLORE_ASSERT(stile_lock_watch(world->lock, &hold, note, world, &watch) == STILE_OK);
    sleep_ms(999);
    explore_sleep_ns(MS - 1);
    EXPLORE_ASSERT(stile_watch_state(watch) == STILE_HELD);
    EXPLORE_ASSERT(world->told == 0);
    explore_sleep_ns(1);
    EXPLORE_ASSERT(stile_watch_state(watch) == STILE_HOLD_LOST);
    sleep_ms(1);
    EXPLORE_ASSERT(world->told == STILE_HOLD_LOST);
    EXPLORE_ASSERT(world->told_ns == world->began_ns + 1000 * MS);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_LOST);
    EXPLORE_ASSERT(stile_watch_clear(watch) == STILE_HOLD_LOST);
    stile_watch_close(watch);
}

static void a_loss_is_told_at_exactly_its_time(void **state)
{
    (void)state;
    alone(watch_for_1000);
}

static void give_for_500(void *state)
{
    char token[STILE_TOKEN_SIZE];
    struct world *world = state;
    stile_hold hold, next;

    take_fixed(world, 1000, 0, &hold);
    sleep_ms(500);
    EXPLORE_ASSERT(stile_lock_give(world->lock, &hold, token) == STILE_OK);
    sleep_ms(499);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &next) == STILE_TIMEOUT);
    sleep_ms(1);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, 0, &next) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_adopt(world->lock, token, &hold) == STILE_LOST);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &next) == STILE_OK);
}

static void what_is_given_away_keeps_its_end(void **state)
{
    (void)state;
    alone(give_for_500);
}

/* Watches a hold that the other gives back, and gives up watching at any time. */
static void watch_what_is_released(void *state)
{
    struct world *world = state;
    stile_watch *watch;
    stile_status status = stile_lock_watch(world->lock, &world->held, note, world, &watch);

    if (status != STILE_OK) {
        EXPLORE_ASSERT(status == STILE_NOT_HELD);
        return;
    }
    if (stile_lock_check(world->lock, &world->held, NULL) == STILE_NOT_HELD)
        EXPLORE_ASSERT(stile_watch_state(watch) == STILE_RELEASED);
    stile_watch_close(watch);
    EXPLORE_ASSERT(world->told == 0 || world->told == STILE_RELEASED);
    world->told = 0;
    sleep_ms(1);
    EXPLORE_ASSERT(world->told == 0);
}

static void release_and_take_again(void *state)
{
    struct world *world = state;
    stile_hold next;

    EXPLORE_ASSERT(stile_lock_release(world->lock, &world->held) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, STILE_FOREVER, &next) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &next) == STILE_OK);
}

static void a_watch_made_while_its_hold_is_released_knows(void **state)
{
    (void)state;
    two(release_and_take_again, watch_what_is_released);
}

/* ---- order ----------------------------------------------------------------- */

/* Holds for 0.2 ms again and again, leaving no time in between. */
static void come_back_at_once(void *state)
{
    struct world *world = state;
    stile_hold hold = world->held;

    for (;;) {
        explore_sleep_ns(MS / 5);
        EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
        if (world->through)
            return;
        if (world->waiting)
            world->passes++;
        EXPLORE_ASSERT(stile_lock_acquire(world->lock, STILE_FOREVER, &hold) == STILE_OK);
    }
}

static void wait_for_a_turn(void *state)
{
    struct world *world = state;
    stile_hold hold;

    world->waiting = true;
    EXPLORE_ASSERT(stile_lock_acquire(world->lock, STILE_FOREVER, &hold) == STILE_OK);
    world->through = true;
    /* The release that woke it, and those within 0.5 ms after it. */
    EXPLORE_ASSERT(world->passes <= 5);
    EXPLORE_ASSERT(stile_lock_release(world->lock, &hold) == STILE_OK);
}

static void a_waiter_is_passed_over_for_half_a_millisecond_at_most(void **state)
{
    (void)state;
    two(come_back_at_once, wait_for_a_turn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fixed_lease_is_lost_at_exactly_its_time),
        cmocka_unit_test(a_release_after_the_lease_is_told_that_it_was_lost),
        cmocka_unit_test(what_is_left_of_a_lease_counts_down),
        cmocka_unit_test(an_extension_adds_and_does_not_revive),
        cmocka_unit_test(an_extension_ends_with_max_hold_or_after_ten_years),
        cmocka_unit_test(a_lease_that_is_renewed_has_no_end_here),
        cmocka_unit_test(no_hold_outlives_max_hold),
        cmocka_unit_test(leases_are_from_100_ms_to_ten_years),
        cmocka_unit_test(a_lock_has_the_lease_of_its_space),
        cmocka_unit_test(a_timeout_comes_at_exactly_its_time),
        cmocka_unit_test(a_timeout_keeps_no_place_in_the_lease_table),
        cmocka_unit_test(a_try_takes_no_time),
        cmocka_unit_test(beyond_ten_years_a_timeout_is_for_ever),
        cmocka_unit_test(who_waits_gets_the_lock_when_the_lease_ends),
        cmocka_unit_test(a_release_that_comes_late_strands_nobody),
        cmocka_unit_test(a_lock_released_early_is_free_at_exactly_its_time),
        cmocka_unit_test(what_was_kept_keeps_no_place_in_the_lease_table),
        cmocka_unit_test(a_loss_is_told_at_exactly_its_time),
        cmocka_unit_test(what_is_given_away_keeps_its_end),
        cmocka_unit_test(a_watch_made_while_its_hold_is_released_knows),
        cmocka_unit_test(a_waiter_is_passed_over_for_half_a_millisecond_at_most),
    };

    return cmocka_run_group_tests_name("the lock and time", tests, NULL, NULL);
}
