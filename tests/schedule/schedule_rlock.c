/*
 * The reentrant lock under schedules: one owner at a time on all of its levels, and
 * none is left behind when its lease ends.
 *
 * Built with a seeded bug (STILE_BUG), the test is that the bug is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stile/stile.h>

#include "explore.h"

enum { BUDGET = 20000, NUMBER = 7 };

#define MS INT64_C(1000000)

struct room {
    stile *space;
    stile_rlock *rlock;
    stile_rlock *other; /* another handle of the same name */
    uint64_t inside;    /* the fence of who is inside; 0: nobody */
    unsigned turns;
};

static void setup(void *state)
{
    struct room *room = state;

    EXPLORE_ASSERT(stile_open("local:", NULL, &room->space) == STILE_OK);
    EXPLORE_ASSERT(stile_rlock_open(room->space, "room", NULL, &room->rlock) == STILE_OK);
    EXPLORE_ASSERT(stile_rlock_open(room->space, "room", NULL, &room->other) == STILE_OK);
}

static void room_is_free(void *state)
{
    struct room *room = state;
    stile_hold hold;

    EXPLORE_ASSERT(room->inside == 0);
    EXPLORE_ASSERT(stile_rlock_depth(room->rlock, 0) == 0);
    EXPLORE_ASSERT(stile_rlock_acquire(room->rlock, 0, &hold) == STILE_OK);
    EXPLORE_ASSERT(stile_rlock_release(room->other, &hold) == STILE_OK);
    stile_rlock_close(room->rlock);
    stile_rlock_close(room->other);
    stile_close(room->space);
}

static void stay(struct room *room, const stile_hold *hold)
{
    explore_point();
    EXPLORE_ASSERT(room->inside == hold->fence);
}

/* Two levels through two handles. */
static void visit(struct room *room, const stile_rlock_options *options, int64_t timeout_ms)
{
    stile_hold outer, inner;
    stile_status status = stile_rlock_acquire_with(room->rlock, timeout_ms, options, &outer);

    if (status == STILE_TIMEOUT)
        return;
    EXPLORE_ASSERT(status == STILE_OK);
    EXPLORE_ASSERT(room->inside == 0);
    room->inside = outer.fence;
    room->turns++;
    stay(room, &outer);
    EXPLORE_ASSERT(stile_rlock_acquire_with(room->other, 0, options, &inner) == STILE_OK);
    stay(room, &outer);
    EXPLORE_ASSERT(stile_rlock_release(room->rlock, &inner) == STILE_OK);
    stay(room, &outer);
    room->inside = 0;
    EXPLORE_ASSERT(stile_rlock_release(room->other, &outer) == STILE_OK);
    EXPLORE_ASSERT(stile_rlock_release(room->other, &outer) == STILE_NOT_HELD);
}

static void visit_twice(void *state)
{
    visit(state, NULL, STILE_FOREVER);
    visit(state, NULL, STILE_FOREVER);
}

static void visit_by_number(void *state)
{
    const stile_rlock_options options = {.owner = NUMBER};

    visit(state, &options, STILE_FOREVER);
    visit(state, &options, 1);
}

static const struct scenario two_levels = {
    .name = "two levels",
    .size = sizeof(struct room),
    .setup = setup,
    .run = {visit_twice, visit_twice, visit_by_number},
    .check = room_is_free,
    .step_ns = MS / 10,
    .stray = true,
};

/* ---- an owner whose lease ends while it is two levels deep ------------------------ */

static void outstay(void *state)
{
    const stile_rlock_options options = {.lock = {.lease_ms = 100, .fixed_lease = true}};
    struct room *room = state;
    stile_hold outer, inner, again;

    EXPLORE_ASSERT(stile_rlock_acquire_with(room->rlock, STILE_FOREVER, &options, &outer) ==
                   STILE_OK);
    if (stile_rlock_acquire(room->rlock, 0, &inner) != STILE_OK) {
        EXPLORE_ASSERT(stile_rlock_release(room->rlock, &outer) == STILE_LOST);
        return;
    }
    explore_sleep_ns(100 * MS);
    EXPLORE_ASSERT(stile_rlock_acquire(room->other, 0, &again) == STILE_LOST);
    EXPLORE_ASSERT(stile_rlock_depth(room->other, 0) == 2);
    EXPLORE_ASSERT(stile_rlock_release(room->other, &inner) == STILE_LOST);
    EXPLORE_ASSERT(stile_rlock_release(room->rlock, &outer) == STILE_LOST);
    EXPLORE_ASSERT(stile_rlock_depth(room->other, 0) == 0);
}

static const struct scenario outstays = {
    .name = "an owner outstays its lease",
    .size = sizeof(struct room),
    .setup = setup,
    .run = {outstay, visit_twice},
    .check = room_is_free,
    .step_ns = MS / 10,
};

#if STILE_BUG == 0

static void nothing_fails(const struct scenario *scenario)
{
    struct explore_report report;

    if (!explore(scenario, BUDGET, &report))
        fail_msg("%s", report.text);
}

static void owners_have_all_levels_to_themselves(void **state)
{
    (void)state;
    nothing_fails(&two_levels);
}

static void an_owner_that_outstays_its_lease_is_told_and_in_nobodys_way(void **state)
{
    (void)state;
    nothing_fails(&outstays);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_have_all_levels_to_themselves),
        cmocka_unit_test(an_owner_that_outstays_its_lease_is_told_and_in_nobodys_way),
    };

    return cmocka_run_group_tests_name("schedules of the reentrant lock", tests, NULL, NULL);
}

#else

static void the_seeded_bug_is_found(void **state)
{
    struct explore_report report, again;

    (void)state;
    assert_false(explore(&two_levels, BUDGET, &report) && explore(&outstays, BUDGET, &report));
    if (explore_replay(&two_levels, report.schedule, &again))
        assert_string_equal(again.text, report.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_seeded_bug_is_found),
    };

    return cmocka_run_group_tests_name("schedules of the reentrant lock with a bug", tests, NULL,
                                       NULL);
}

#endif
