/*
 * Looking before sleeping: what a wake-up costs, who may look and how often, and who
 * is still awake in a child of fork().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include <stile/stile.h>

#include "base/os.h"
#include "base/spin.h"
#include "support/process.h"

enum { SOON_MS = 20000 };

static void teach_wake(int64_t ns, int times)
{
    while (times-- > 0)
        stile__wake_took(ns);
}

static void cost_of_a_wake_up_falls_fast_and_rises_slowly(void **state)
{
    int64_t before;

    (void)state;
    teach_wake(40000, 200);
    before = stile__wake_ns();
    assert_in_range(before, 39000, 40000);
    stile__wake_took(10000);
    assert_in_range(stile__wake_ns(), 10000, 26000);
    teach_wake(10000, 20);
    before = stile__wake_ns();
    assert_in_range(before, 9000, 11000);
    stile__wake_took(40000);
    assert_in_range(stile__wake_ns(), before + 1, 13000);
}

static void cost_of_a_wake_up_has_bounds(void **state)
{
    (void)state;
    teach_wake(INT64_C(1000000000), 500);
    assert_in_range(stile__wake_ns(), 49000, 50000);
    teach_wake(-5, 100);
    assert_in_range(stile__wake_ns(), 1000, 2100);
    teach_wake(20000, 200);
}

static void one_core_is_left_to_the_holder(void **state)
{
    struct stile_spin spin;
    unsigned i;

    (void)state;
    stile__spin_init(&spin);
    for (i = 1; i < stile__cpus(); i++)
        assert_true(stile__spin_enter(&spin));
    assert_false(stile__spin_enter(&spin));
    if (i > 1) {
        stile__spin_leave(&spin);
        assert_true(stile__spin_enter(&spin));
    }
}

/* Of that many, how many may look. */
static int begin(struct stile_spin *spin, int times)
{
    struct stile_look look;
    int begun = 0;

    while (times-- > 0) {
        if (!stile__spin_begin(spin, &look, 1, false))
            continue;
        stile__spin_leave(spin);
        stile__spin_tell(spin, false);
        begun++;
    }
    return begun;
}

static void looks_that_lead_to_nothing_become_rare(void **state)
{
    struct stile_spin spin;

    (void)state;
    if (stile__cpus() < 2)
        skip();
    stile__spin_init(&spin);
    assert_int_equal(begin(&spin, 4), 4);
    assert_int_equal(begin(&spin, 80), 10);
    stile__spin_tell(&spin, true);
    assert_int_equal(begin(&spin, 4), 4);
}

/* How long it takes to look as often as is allowed, at turns of that length. */
static int64_t look_ns(struct stile_spin *spin, int64_t turn_ns, bool *brisk)
{
    struct stile_look look;
    int64_t began_ns = stile__monotonic_ns();

    assert_true(stile__spin_begin(spin, &look, 1000000, false));
    while (stile__spin_next(&look, 1000000 + (uint64_t)((look.now_ns - look.began_ns) / turn_ns)))
        continue;
    stile__spin_leave(spin);
    *brisk = look.brisk;
    return stile__monotonic_ns() - began_ns;
}

static void looks_go_on_for_about_a_wake_up(void **state)
{
    struct stile_spin spin;
    bool brisk;

    (void)state;
    if (stile__cpus() < 2)
        skip();
    stile__spin_init(&spin);
    assert_true(look_ns(&spin, INT64_MAX, &brisk) >= stile__wake_ns());
    assert_false(brisk);
    assert_true(look_ns(&spin, 20, &brisk) >= 2 * stile__wake_ns());
    assert_true(brisk);
}

/* ---- fork ------------------------------------------------------------------------------ */

struct heir {
    stile_lock *lock;
    stile_hold hold;
    struct test_flag *waits;
};

static const stile_lock_options fixed = {.lease_ms = 100, .fixed_lease = true};

/* It waits for a lease to end: the thread sanitizer allows no second thread here. */
static int wait_in_child(void *arg)
{
    struct heir *heir = arg;
    stile_hold hold;

    test_child_check(stile_lock_acquire_with(heir->lock, SOON_MS, &fixed, &hold) == STILE_OK);
    test_child_check(stile_lock_acquire(heir->lock, SOON_MS / 2, &hold) == STILE_OK);
    test_child_check(stile_lock_release(heir->lock, &hold) == STILE_OK);
    return 0;
}

static void *wait_in_parent(void *arg)
{
    struct heir *heir = arg;
    stile_hold hold;

    test_flag_set(heir->waits, 1);
    if (stile_lock_acquire(heir->lock, SOON_MS, &hold) == STILE_OK &&
        stile_lock_release(heir->lock, &hold) == STILE_OK)
        return heir;
    return NULL;
}

/* On one core: who is woken by the release does not run before the fork, mostly. */
static void child_does_not_wait_for_who_was_woken_in_the_parent(void **state)
{
    struct heir heir = {.waits = test_shared_alloc(sizeof *heir.waits)};
    struct test_process child;
    cpu_set_t before, one;
    pthread_t waiter;
    stile *space;
    void *woken;
    size_t core = 0;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    while (!CPU_ISSET(core, &before))
        core++;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    assert_int_equal(stile_open("local:", NULL, &space), STILE_OK);
    assert_int_equal(stile_lock_open(space, "heir", NULL, &heir.lock), STILE_OK);
    /* The thread that ends leases is the parent's. */
    assert_int_equal(stile_lock_acquire_with(heir.lock, 0, &fixed, &heir.hold), STILE_OK);
    assert_int_equal(stile_lock_release(heir.lock, &heir.hold), STILE_OK);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(stile_lock_acquire(heir.lock, 0, &heir.hold), STILE_OK);
    assert_int_equal(pthread_create(&waiter, NULL, wait_in_parent, &heir), 0);
    assert_true(test_flag_wait(heir.waits, 1, SOON_MS));
    test_sleep_ms(20);
    assert_int_equal(stile_lock_release(heir.lock, &heir.hold), STILE_OK);
    assert_true(test_spawn(&child, wait_in_child, &heir));
    assert_int_equal(test_process_wait(&child, SOON_MS), 0);
    assert_int_equal(pthread_join(waiter, &woken), 0);
    assert_ptr_equal(woken, &heir);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    stile_lock_close(heir.lock);
    stile_close(space);
    test_shared_free(heir.waits, sizeof *heir.waits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cost_of_a_wake_up_falls_fast_and_rises_slowly),
        cmocka_unit_test(cost_of_a_wake_up_has_bounds),
        cmocka_unit_test(one_core_is_left_to_the_holder),
        cmocka_unit_test(looks_that_lead_to_nothing_become_rare),
        cmocka_unit_test(looks_go_on_for_about_a_wake_up),
        cmocka_unit_test(child_does_not_wait_for_who_was_woken_in_the_parent),
    };

    return cmocka_run_group_tests_name("looking before sleeping", tests, NULL, NULL);
}
