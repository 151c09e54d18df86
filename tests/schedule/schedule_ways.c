/*
 * The ways to wait under schedules: a cancellation, a choice and a close that meet a
 * grant.  Nobody is stranded, and no hold is forgotten.
 *
 * Built with a seeded bug (STILE_BUG), the test is that the bug is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <stile/stile.h>

#include "explore.h"

enum { BUDGET = 10000, LOCKS = 2 };

#define MS INT64_C(1000000)
#define HELD_MS 2

struct place {
    stile *space;
    stile_lock *locks[LOCKS];
    stile_hold holds[LOCKS]; /* of the scenario, at first */
    bool inside[LOCKS];      /* plain memory: what the locks protect */
    unsigned acquired[LOCKS];
    stile_cancel *cancel;
    stile_lock_options options; /* name the cancellation */
    bool told;
    bool closed;
};

/* ---- what every scenario does ------------------------------------------------- */

static void setup_locks(struct place *place, bool fair)
{
    int i;

    EXPLORE_ASSERT(stile_cancel_open(&place->cancel) == STILE_OK);
    EXPLORE_ASSERT(stile_open("local:", NULL, &place->space) == STILE_OK);
    place->options = (stile_lock_options){.fair = fair, .cancel = place->cancel};
    for (i = 0; i < LOCKS; i++) {
        const stile_lock_options options = {.fair = fair};

        EXPLORE_ASSERT(stile_lock_open(place->space, i == 0 ? "one" : "two", &options,
                                       &place->locks[i]) == STILE_OK);
        EXPLORE_ASSERT(stile_lock_acquire(place->locks[i], 0, &place->holds[i]) == STILE_OK);
        place->acquired[i] = 1;
    }
}

static void setup(void *state)
{
    setup_locks(state, false);
}

static void setup_fair(void *state)
{
    setup_locks(state, true);
}

/* A local fence rises by one with every owner; what was given back at once made it rise,
 * too. */
static void locks_are_free(void *state)
{
    struct place *place = state;
    int i;

    for (i = 0; i < LOCKS; i++) {
        stile_hold hold;

        EXPLORE_ASSERT(stile_lock_acquire(place->locks[i], 0, &hold) == STILE_OK);
        EXPLORE_ASSERT(hold.fence > place->acquired[i]);
        EXPLORE_ASSERT(stile_lock_release(place->locks[i], &hold) == STILE_OK);
        stile_lock_close(place->locks[i]);
    }
    if (!place->closed)
        stile_close(place->space);
    stile_cancel_close(place->cancel);
}

static void visit(struct place *place, size_t i, const stile_hold *hold)
{
    place->acquired[i]++;
    EXPLORE_ASSERT(!place->inside[i]);
    place->inside[i] = true;
    explore_point();
    place->inside[i] = false;
    EXPLORE_ASSERT(stile_lock_release(place->locks[i], hold) == STILE_OK);
}

static void release(struct place *place, size_t i)
{
    explore_sleep_ns(HELD_MS * MS);
    EXPLORE_ASSERT(stile_lock_release(place->locks[i], &place->holds[i]) == STILE_OK);
}

static void release_one(void *state)
{
    release(state, 0);
}

static void release_two(void *state)
{
    release(state, 1);
}

static void release_both(void *state)
{
    release(state, 0);
    release(state, 1);
}

static void wait_behind(struct place *place, size_t i)
{
    stile_hold hold;

    EXPLORE_ASSERT(stile_lock_acquire(place->locks[i], STILE_FOREVER, &hold) == STILE_OK);
    visit(place, i, &hold);
}

static void wait_for_one(void *state)
{
    wait_behind(state, 0);
}

static void wait_for_two(void *state)
{
    wait_behind(state, 1);
}

/* ---- a cancellation at the instant of the grant -------------------------------- */

static void wait_with_cancel(void *state)
{
    struct place *place = state;
    stile_hold hold = {.fence = 42};
    stile_status status =
        stile_lock_acquire_with(place->locks[0], STILE_FOREVER, &place->options, &hold);

    if (status == STILE_OK) {
        visit(place, 0, &hold);
    } else {
        EXPLORE_ASSERT(status == STILE_CANCELLED);
        EXPLORE_ASSERT(stile_cancel_fired(place->cancel));
        EXPLORE_ASSERT(hold.fence == 42);
    }
}

static void fire(void *state)
{
    struct place *place = state;

    explore_sleep_ns(HELD_MS * MS);
    stile_cancel_fire(place->cancel);
}

static const struct scenario cancelled = {
    .name = "a cancellation at the instant of the grant",
    .size = sizeof(struct place),
    .setup = setup,
    .run = {release_both, wait_with_cancel, fire, wait_for_one},
    .check = locks_are_free,
    .step_ns = MS / 10,
    .stray = true,
};

static const struct scenario cancelled_fair = {
    .name = "a cancellation at the instant of the grant, fair",
    .size = sizeof(struct place),
    .setup = setup_fair,
    .run = {release_both, wait_with_cancel, wait_with_cancel, fire, wait_for_one},
    .check = locks_are_free,
    .step_ns = MS / 10,
    .stray = true,
};

/* ---- two grants to one who wants one --------------------------------------------- */

static void wait_for_any(struct place *place, size_t first, int64_t timeout_ms)
{
    stile_lock *locks[LOCKS] = {place->locks[first], place->locks[1 - first]};
    stile_hold hold = {.fence = 42};
    size_t which = 99;
    stile_status status = stile_lock_acquire_any(locks, LOCKS, timeout_ms, &which, &hold);

    if (status == STILE_OK) {
        visit(place, which == 0 ? first : 1 - first, &hold);
    } else {
        EXPLORE_ASSERT(status == STILE_TIMEOUT && timeout_ms != STILE_FOREVER);
        EXPLORE_ASSERT(hold.fence == 42 && which == 99);
    }
}

static void wait_for_any_of_both(void *state)
{
    wait_for_any(state, 0, STILE_FOREVER);
}

static void wait_a_little_for_any_of_both(void *state)
{
    wait_for_any(state, 1, HELD_MS);
}

static const struct scenario any_of_both = {
    .name = "two grants to one who wants one",
    .size = sizeof(struct place),
    .setup = setup,
    .run = {release_one, release_two, wait_for_any_of_both, wait_for_one, wait_for_two},
    .check = locks_are_free,
    .step_ns = MS / 10,
    .stray = true,
};

static const struct scenario any_twice = {
    .name = "two who want one of two",
    .size = sizeof(struct place),
    .setup = setup,
    .run = {release_one, release_two, wait_for_any_of_both, wait_a_little_for_any_of_both,
            wait_for_one, wait_for_two},
    .check = locks_are_free,
    .step_ns = MS / 10,
    .stray = true,
};

/* ---- futures ----------------------------------------------------------------------- */

static void note(stile_future *future, void *argument)
{
    struct place *place = argument;

    EXPLORE_ASSERT(stile_future_done(future));
    EXPLORE_ASSERT(!place->told);
    place->told = true;
}

static void start_and_close(void *state)
{
    struct place *place = state;
    stile_future *future;
    stile_hold hold;

    EXPLORE_ASSERT(stile_lock_start(place->locks[0], STILE_FOREVER, NULL, note, place, &future) ==
                   STILE_OK);
    explore_sleep_ns(HELD_MS * MS);
    stile_future_close(future);
    place->told = true;
    EXPLORE_ASSERT(stile_lock_acquire(place->locks[0], STILE_FOREVER, &hold) == STILE_OK);
    visit(place, 0, &hold);
}

static const struct scenario future_closes = {
    .name = "a future that is closed at the instant of the grant",
    .size = sizeof(struct place),
    .setup = setup,
    .run = {release_both, start_and_close},
    .check = locks_are_free,
    .step_ns = MS / 10,
    .stray = true,
};

static void start_and_take(void *state)
{
    struct place *place = state;
    stile_future *futures[LOCKS];
    stile_status status;
    stile_hold hold;
    size_t which;

    EXPLORE_ASSERT(stile_lock_start(place->locks[0], STILE_FOREVER, &place->options, note, place,
                                    &futures[0]) == STILE_OK);
    EXPLORE_ASSERT(stile_lock_start(place->locks[1], HELD_MS, NULL, NULL, NULL, &futures[1]) ==
                   STILE_OK);
    EXPLORE_ASSERT(stile_future_wait_any(futures, LOCKS, STILE_FOREVER, &which) == STILE_OK);
    for (which = 0; which < LOCKS; which++) {
        EXPLORE_ASSERT(stile_future_wait(futures[which], STILE_FOREVER) == STILE_OK);
        status = stile_future_take(futures[which], &hold);
        if (status == STILE_OK)
            visit(place, which, &hold);
        else
            EXPLORE_ASSERT(status == (which == 0 ? STILE_CANCELLED : STILE_TIMEOUT));
        stile_future_close(futures[which]);
    }
}

static const struct scenario future_taken = {
    .name = "futures beside threads",
    .size = sizeof(struct place),
    .setup = setup,
    .run = {release_one, release_two, start_and_take, fire, wait_for_one, wait_for_two},
    .check = locks_are_free,
    .step_ns = MS / 10,
    .stray = true,
};

static void start_to_be_closed(void *state)
{
    struct place *place = state;
    stile_future *future;
    stile_hold hold;
    stile_status status =
        stile_lock_start(place->locks[0], STILE_FOREVER, NULL, note, place, &future);

    if (status == STILE_CLOSED)
        return;
    EXPLORE_ASSERT(status == STILE_OK);
    EXPLORE_ASSERT(stile_future_wait(future, STILE_FOREVER) == STILE_OK);
    status = stile_future_take(future, &hold);
    EXPLORE_ASSERT(status == STILE_CLOSED || status == STILE_OK);
    if (status == STILE_OK)
        EXPLORE_ASSERT(stile_lock_release(place->locks[0], &hold) == STILE_OK);
    stile_future_close(future);
}

static void close_the_space(void *state)
{
    struct place *place = state;

    explore_sleep_ns(HELD_MS * MS);
    stile_close(place->space);
    place->closed = true;
}

static void close_the_rest(void *state)
{
    struct place *place = state;
    int i;

    for (i = 0; i < LOCKS; i++)
        stile_lock_close(place->locks[i]);
    stile_cancel_close(place->cancel);
}

static const struct scenario space_closes = {
    .name = "a space that is closed over a future",
    .size = sizeof(struct place),
    .setup = setup,
    .run = {release_both, start_to_be_closed, close_the_space},
    .check = close_the_rest,
    .step_ns = MS / 10,
    .stray = true,
};

/* ---- tests ------------------------------------------------------------------------- */

static const struct scenario *const scenarios[] = {
    &cancelled,     &cancelled_fair, &any_of_both,  &any_twice,
    &future_closes, &future_taken,   &space_closes,
};

enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

#if STILE_BUG == 0

static void no_way_to_wait_strands_anybody(void **state)
{
    struct explore_report report;
    size_t i;

    (void)state;
    for (i = 0; i < SCENARIOS; i++) {
        if (!explore(scenarios[i], BUDGET, &report))
            fail_msg("%s", report.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_way_to_wait_strands_anybody),
    };

    return cmocka_run_group_tests_name("schedules of the ways to wait", tests, NULL, NULL);
}

#else

static void the_seeded_bug_is_found(void **state)
{
    (void)state;
    assert_true(explore_finds(scenarios, SCENARIOS, BUDGET));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_seeded_bug_is_found),
    };

    return cmocka_run_group_tests_name("schedules of the ways to wait with a bug", tests, NULL,
                                       NULL);
}

#endif
