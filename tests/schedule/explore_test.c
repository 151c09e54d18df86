/* The scheduler and the explorers find what they are made for, and no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/os.h"
#include "explore.h"

enum { BUDGET = 5000 };

/* ---- a lost update ---------------------------------------------------------- */

struct counter {
    _Atomic int value;
    struct stile_mutex mutex;
};

static void add_in_two_steps(void *state)
{
    struct counter *counter = state;
    int value = os_load(&counter->value, memory_order_relaxed);

    os_store(&counter->value, value + 1, memory_order_relaxed);
}

static void two_were_added(void *state)
{
    struct counter *counter = state;

    EXPLORE_ASSERT(counter->value == 2);
}

static const struct scenario lost_update = {
    .name = "a lost update",
    .size = sizeof(struct counter),
    .run = {add_in_two_steps, add_in_two_steps},
    .check = two_were_added,
};

/* A report of a failure, whose schedule fails in the same way once more. */
static void assert_found(const struct scenario *scenario, const struct explore_report *report,
                         const char *text)
{
    struct explore_report again;

    explore_print(scenario->name, report);
    assert_true(report->failed);
    assert_non_null(strstr(report->text, text));
    assert_true(explore_replay(scenario, report->schedule, &again));
    assert_true(again.failed);
    assert_string_equal(again.text, report->text);
    assert_int_equal(again.schedules, 1);
}

static void a_lost_update_is_found_by_a_random_walk(void **state)
{
    struct explore_report report;

    (void)state;
    explore_random(&lost_update, BUDGET, 1, &report);
    assert_found(&lost_update, &report, "two_were_added");
}

static void a_lost_update_is_found_by_pct(void **state)
{
    struct explore_report report;

    (void)state;
    explore_pct(&lost_update, 2, BUDGET, 1, &report);
    assert_found(&lost_update, &report, "two_were_added");
}

static void a_lost_update_is_found_by_exhaustion(void **state)
{
    struct explore_report report;

    (void)state;
    explore_exhaustive(&lost_update, 1, BUDGET, &report);
    assert_found(&lost_update, &report, "two_were_added");
}

static void without_preemption_no_update_is_lost(void **state)
{
    struct explore_report report;

    (void)state;
    explore_exhaustive(&lost_update, 0, BUDGET, &report);
    assert_false(report.failed);
    assert_true(report.complete);
    /* One or the other goes first. */
    assert_int_equal(report.distinct, 2);
}

/* ---- a deadlock ------------------------------------------------------------- */

struct two {
    /* Locks made of atomics and parkers: mutexes would be refused for their
     * ranks before they came to a deadlock. */
    _Atomic int taken[2];
    struct stile_parker *parker[2];
};

static void two_setup(void *state)
{
    struct two *two = state;

    two->parker[0] = stile__parker_get();
    two->parker[1] = stile__parker_get();
}

static void two_check(void *state)
{
    struct two *two = state;

    stile__parker_put(two->parker[0]);
    stile__parker_put(two->parker[1]);
}

static void take(struct two *two, unsigned which)
{
    while (os_exchange(&two->taken[which], 1, memory_order_acquire))
        stile__park(two->parker[which], INT64_MAX);
}

static void give(struct two *two, unsigned which)
{
    os_store(&two->taken[which], 0, memory_order_release);
    stile__unpark(two->parker[which]);
}

static void first_then_second(void *state)
{
    take(state, 0);
    take(state, 1);
    give(state, 1);
    give(state, 0);
}

static void second_then_first(void *state)
{
    take(state, 1);
    take(state, 0);
    give(state, 0);
    give(state, 1);
}

static const struct scenario two_orders = {
    .name = "two orders",
    .size = sizeof(struct two),
    .setup = two_setup,
    .run = {first_then_second, second_then_first},
    .check = two_check,
};

static const struct scenario one_order = {
    .name = "one order",
    .size = sizeof(struct two),
    .setup = two_setup,
    .run = {first_then_second, first_then_second},
    .check = two_check,
};

static void a_deadlock_is_found(void **state)
{
    struct explore_report report;

    (void)state;
    explore_random(&two_orders, BUDGET, 1, &report);
    assert_found(&two_orders, &report, "deadlock");
    explore_pct(&two_orders, 2, BUDGET, 1, &report);
    assert_found(&two_orders, &report, "deadlock");
    explore_exhaustive(&two_orders, 1, BUDGET, &report);
    assert_found(&two_orders, &report, "deadlock");
}

static void what_is_right_runs_through_every_schedule(void **state)
{
    struct explore_report report;

    (void)state;
    explore_exhaustive(&one_order, 2, 100000, &report);
    explore_print("one order, exhaustive", &report);
    assert_false(report.failed);
    assert_true(report.complete);
}

struct mutexes {
    struct stile_mutex low, high;
};

static void mutexes_setup(void *state)
{
    struct mutexes *mutexes = state;

    stile__mutex_init(&mutexes->low, STILE_RANK_REGISTRY);
    stile__mutex_init(&mutexes->high, STILE_RANK_OBJECT);
}

static void against_the_ranks(void *state)
{
    struct mutexes *mutexes = state;

    stile__mutex_lock(&mutexes->high);
    stile__mutex_lock(&mutexes->low);
}

static const struct scenario wrong_ranks = {
    .name = "wrong ranks",
    .size = sizeof(struct mutexes),
    .setup = mutexes_setup,
    .run = {against_the_ranks},
};

static void mutexes_in_the_wrong_order_are_found_without_a_deadlock(void **state)
{
    struct explore_report report;

    (void)state;
    explore_random(&wrong_ranks, 1, 1, &report);
    assert_found(&wrong_ranks, &report, "within ranks");
}

/* ---- what is correct -------------------------------------------------------- */

static void counter_setup(void *state)
{
    struct counter *counter = state;

    stile__mutex_init(&counter->mutex, STILE_RANK_LEAF);
}

static void add_under_the_mutex(void *state)
{
    struct counter *counter = state;
    int i;

    for (i = 0; i < 3; i++) {
        stile__mutex_lock(&counter->mutex);
        add_in_two_steps(state);
        stile__mutex_unlock(&counter->mutex);
    }
}

static void nine_were_added(void *state)
{
    struct counter *counter = state;

    EXPLORE_ASSERT(counter->value == 9);
    stile__mutex_fini(&counter->mutex);
}

static const struct scenario guarded = {
    .name = "a guarded counter",
    .size = sizeof(struct counter),
    .setup = counter_setup,
    .run = {add_under_the_mutex, add_under_the_mutex, add_under_the_mutex},
    .check = nine_were_added,
};

static void a_guarded_counter_never_fails(void **state)
{
    struct explore_report report;

    (void)state;
    explore_random(&guarded, BUDGET, 1, &report);
    explore_print("guarded, random", &report);
    assert_false(report.failed);
    assert_int_equal(report.schedules, BUDGET);
    assert_true(report.distinct > BUDGET / 2);
    explore_pct(&guarded, 3, BUDGET, 1, &report);
    explore_print("guarded, pct 3", &report);
    assert_false(report.failed);
    assert_true(report.distinct > 100);
    explore_exhaustive(&guarded, 2, 100000, &report);
    explore_print("guarded, exhaustive", &report);
    assert_false(report.failed);
    assert_true(report.complete);
    assert_int_equal(report.distinct, report.schedules);
}

static void the_same_seed_makes_the_same_schedules(void **state)
{
    struct explore_report one, two, other;

    (void)state;
    explore_random(&guarded, 1000, 7, &one);
    explore_random(&guarded, 1000, 7, &two);
    explore_random(&guarded, 1000, 8, &other);
    assert_int_equal(one.points, two.points);
    assert_int_equal(one.choices, two.choices);
    assert_int_equal(one.distinct, two.distinct);
    assert_int_not_equal(one.choices, other.choices);
    explore_random(&lost_update, BUDGET, 7, &one);
    explore_random(&lost_update, BUDGET, 7, &two);
    assert_string_equal(one.schedule, two.schedule);
}

/* ---- depth ------------------------------------------------------------------ */

/* Fails only if both changes of an order are hit: the reader is let in after the
 * first of many stores, and is held up itself until the last. */
struct order {
    _Atomic int begun, step, done;
};

static void write_slowly(void *state)
{
    struct order *order = state;
    int i;

    os_store(&order->begun, 1, memory_order_release);
    for (i = 0; i < 20; i++)
        os_store(&order->step, i, memory_order_relaxed);
    os_store(&order->done, 1, memory_order_release);
}

static void read_early_and_late(void *state)
{
    struct order *order = state;
    bool early = os_load(&order->begun, memory_order_acquire) &&
                 !os_load(&order->done, memory_order_acquire);

    if (early && os_load(&order->done, memory_order_acquire))
        explore_fail("it was done in between");
}

static const struct scenario two_changes = {
    .name = "an order of two changes",
    .size = sizeof(struct order),
    .run = {write_slowly, read_early_and_late},
};

static void a_bug_of_some_depth_is_found_by_pct_of_that_depth(void **state)
{
    struct explore_report report;

    (void)state;
    explore_pct(&two_changes, 1, BUDGET, 1, &report);
    assert_false(report.failed);
    explore_pct(&two_changes, 3, BUDGET, 1, &report);
    assert_found(&two_changes, &report, "in between");
}

static void preemptions_bound_what_exhaustion_finds(void **state)
{
    struct explore_report report;

    (void)state;
    explore_exhaustive(&two_changes, 1, 100000, &report);
    assert_false(report.failed);
    assert_true(report.complete);
    explore_exhaustive(&two_changes, 2, 100000, &report);
    assert_found(&two_changes, &report, "in between");
}

/* ---- loops ------------------------------------------------------------------ */

static void wait_by_spinning(void *state)
{
    struct counter *counter = state;

    while (os_load(&counter->value, memory_order_acquire) == 0)
        os_pause();
}

static void end_the_spinning(void *state)
{
    struct counter *counter = state;

    os_store(&counter->value, 1, memory_order_release);
}

static const struct scenario spinning = {
    .name = "spinning",
    .size = sizeof(struct counter),
    .run = {wait_by_spinning, end_the_spinning},
};

static const struct scenario endless = {
    .name = "endless spinning",
    .size = sizeof(struct counter),
    .run = {wait_by_spinning},
};

static void who_spins_lets_others_run(void **state)
{
    struct explore_report report;

    (void)state;
    explore_random(&spinning, 1000, 1, &report);
    assert_false(report.failed);
    explore_pct(&spinning, 3, 1000, 1, &report);
    assert_false(report.failed);
    explore_exhaustive(&spinning, 2, 1000, &report);
    assert_false(report.failed);
    assert_true(report.complete);
}

static void a_loop_without_end_is_found(void **state)
{
    struct explore_report report;

    (void)state;
    explore_random(&endless, 1, 1, &report);
    assert_found(&endless, &report, "no end after");
}

/* ---- time ------------------------------------------------------------------- */

#define HOUR_NS INT64_C(3600000000000)

struct sleeper {
    struct stile_parker *parker;
    int64_t until_ns;
    int64_t woke_ns;
    _Atomic bool early;
};

static void sleeper_setup(void *state)
{
    struct sleeper *sleeper = state;

    sleeper->parker = stile__parker_get();
    sleeper->until_ns = stile__monotonic_ns() + HOUR_NS;
}

static void sleeper_check(void *state)
{
    struct sleeper *sleeper = state;

    stile__parker_put(sleeper->parker);
}

static void sleep_to_the_nanosecond(void *state)
{
    struct sleeper *sleeper = state;
    int64_t boottime = stile__boottime_ns();

    stile__park(sleeper->parker, sleeper->until_ns);
    EXPLORE_ASSERT(stile__monotonic_ns() == sleeper->until_ns);
    EXPLORE_ASSERT(stile__boottime_ns() - boottime == HOUR_NS);
    /* A time that has come needs no sleep. */
    stile__park(sleeper->parker, sleeper->until_ns);
    EXPLORE_ASSERT(stile__monotonic_ns() == sleeper->until_ns);
}

static const struct scenario an_hour = {
    .name = "an hour",
    .size = sizeof(struct sleeper),
    .setup = sleeper_setup,
    .run = {sleep_to_the_nanosecond},
    .check = sleeper_check,
};

static void an_hour_of_sleep_is_exact_and_takes_no_time(void **state)
{
    struct explore_report report;
    struct timespec before, after;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &before);
    explore_random(&an_hour, 100, 1, &report);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_false(report.failed);
    assert_int_equal(report.schedules, 100);
    assert_true(after.tv_sec - before.tv_sec < 60);
}

static void sleep_or_be_woken(void *state)
{
    struct sleeper *sleeper = state;

    stile__park(sleeper->parker, sleeper->until_ns);
    sleeper->woke_ns = stile__monotonic_ns();
    if (sleeper->woke_ns < sleeper->until_ns)
        os_store(&sleeper->early, true, memory_order_relaxed);
}

static void wake_at_that_time(void *state)
{
    struct sleeper *sleeper = state;

    explore_sleep_ns(HOUR_NS);
    stile__unpark(sleeper->parker);
}

static void wake_at_once(void *state)
{
    struct sleeper *sleeper = state;

    stile__unpark(sleeper->parker);
}

static void woken_before_its_time(void *state)
{
    struct sleeper *sleeper = state;

    EXPLORE_ASSERT(sleeper->early);
    sleeper_check(state);
}

static const struct scenario the_same_instant = {
    .name = "the same instant",
    .size = sizeof(struct sleeper),
    .setup = sleeper_setup,
    .run = {sleep_or_be_woken, wake_at_that_time},
    .check = sleeper_check,
};

static const struct scenario woken = {
    .name = "woken",
    .size = sizeof(struct sleeper),
    .setup = sleeper_setup,
    .run = {sleep_or_be_woken, wake_at_once},
    .check = woken_before_its_time,
};

static void a_token_is_kept_for_who_parks_later(void **state)
{
    struct explore_report report;

    (void)state;
    explore_random(&woken, 1000, 1, &report);
    assert_false(report.failed);
    assert_true(report.distinct > 1);
    explore_random(&the_same_instant, 1000, 1, &report);
    assert_false(report.failed);
    assert_true(report.distinct > 1);
}

static void a_sleeper_may_wake_before_the_others_are_through(void **state)
{
    struct explore_report report;

    (void)state;
    explore_exhaustive(&woken, 1, 1000, &report);
    assert_found(&woken, &report, "woken_before_its_time");
}

/* ---- what is left behind ---------------------------------------------------- */

static void leave_a_parker(void *state)
{
    (void)state;
    stile__parker_get();
}

static void leave_cancellation_off(void *state)
{
    (void)state;
    stile__cancel_off();
}

static void leave_a_mutex_locked(void *state)
{
    struct mutexes *mutexes = state;

    stile__mutex_lock(&mutexes->low);
}

static void park_with_a_mutex(void *state)
{
    struct mutexes *mutexes = state;
    struct stile_parker *parker = stile__parker_get();

    stile__mutex_lock(&mutexes->low);
    stile__park(parker, INT64_MAX);
}

static void sleep_for_ever(void *arg)
{
    stile__park(arg, INT64_MAX);
}

static void leave_a_thread(void *state)
{
    struct stile_thread thread;

    (void)state;
    stile__thread_start(&thread, "left", sleep_for_ever, stile__parker_get());
}

static void what_is_left_behind_is_found(void **state)
{
    static const struct {
        void (*run)(void *state);
        const char *text;
    } cases[] = {
        {leave_a_parker, "a parker was not put back"},
        {leave_cancellation_off, "ended with cancellation off"},
        {leave_a_mutex_locked, "ended with a mutex"},
        {park_with_a_mutex, "parks with a mutex"},
        {leave_a_thread, "(left) is left over"},
    };
    struct explore_report report;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scenario scenario = {.name = cases[i].text,
                                    .size = sizeof(struct mutexes),
                                    .setup = mutexes_setup,
                                    .run = {cases[i].run}};

        explore_random(&scenario, 1, 1, &report);
        assert_found(&scenario, &report, cases[i].text);
    }
}

static void what_is_no_schedule_is_not_run(void **state)
{
    struct explore_report report;

    (void)state;
    assert_false(explore_replay(&guarded, "", &report));
    assert_false(explore_replay(&guarded, "pct:3", &report));
    assert_false(explore_replay(&guarded, "exhaustive:2:1,", &report));
    assert_int_equal(report.schedules, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_update_is_found_by_a_random_walk),
        cmocka_unit_test(a_lost_update_is_found_by_pct),
        cmocka_unit_test(a_lost_update_is_found_by_exhaustion),
        cmocka_unit_test(without_preemption_no_update_is_lost),
        cmocka_unit_test(a_deadlock_is_found),
        cmocka_unit_test(what_is_right_runs_through_every_schedule),
        cmocka_unit_test(mutexes_in_the_wrong_order_are_found_without_a_deadlock),
        cmocka_unit_test(a_guarded_counter_never_fails),
        cmocka_unit_test(the_same_seed_makes_the_same_schedules),
        cmocka_unit_test(a_bug_of_some_depth_is_found_by_pct_of_that_depth),
        cmocka_unit_test(preemptions_bound_what_exhaustion_finds),
        cmocka_unit_test(who_spins_lets_others_run),
        cmocka_unit_test(a_loop_without_end_is_found),
        cmocka_unit_test(an_hour_of_sleep_is_exact_and_takes_no_time),
        cmocka_unit_test(a_token_is_kept_for_who_parks_later),
        cmocka_unit_test(a_sleeper_may_wake_before_the_others_are_through),
        cmocka_unit_test(what_is_left_behind_is_found),
        cmocka_unit_test(what_is_no_schedule_is_not_run),
    };

    return cmocka_run_group_tests_name("explore", tests, NULL, NULL);
}
