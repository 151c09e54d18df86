/*
 * The lock: what a watch tells of a hold.
 */
#include "contract.h"
#include "contract_lock.h"

#include <poll.h>

/* What a callback was told, in order. */
struct told {
    struct test_flag count;
    stile_hold_state states[16];
    bool closes; /* the watch, when it is told of an end */
};

static void note(stile_watch *watch, stile_hold_state state, void *argument)
{
    struct told *told = argument;

    told->states[test_flag_get(&told->count)] = state;
    if (told->closes && state >= STILE_HOLD_LOST)
        stile_watch_close(watch);
    test_flag_add(&told->count);
}

static void await_told(struct told *told, uint32_t count, stile_hold_state last)
{
    assert_true(test_flag_wait(&told->count, count, CONTRACT_SOON_MS));
    assert_int_equal(told->states[count - 1], last);
}

static bool readable(int fd, int timeout_ms)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};

    return poll(&polled, 1, timeout_ms) == 1;
}

static void await_state(const stile_watch *watch, stile_hold_state state)
{
    int64_t until_ms = test_now_ms() + CONTRACT_SOON_MS;

    while (stile_watch_state(watch) != state) {
        assert_true(test_now_ms() < until_ms);
        test_sleep_ms(1);
    }
}

/* A watch that nobody is told by. */
static stile_watch *look_at(stile_lock *lock, const stile_hold *hold)
{
    stile_watch *watch;

    assert_status(stile_lock_watch(lock, hold, NULL, NULL, &watch), STILE_OK);
    return watch;
}

/* ---- released ------------------------------------------------------------------------ */

static void watch_says_held_and_then_released(void **state)
{
    stile_lock *lock = contract_lock_open("released", NULL);
    stile_watch *watch;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    watch = look_at(lock, &hold);
    assert_int_equal(stile_watch_state(watch), STILE_HELD);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_int_equal(stile_watch_state(watch), STILE_RELEASED);
    /* The next hold is another's. */
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_int_equal(stile_watch_state(watch), STILE_RELEASED);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    stile_watch_close(watch);
    contract_check_free(lock);
}

static void release_is_told_by_callback_and_descriptor(void **state)
{
    const stile_lock_options kinds[] = {{.lease_ms = 60000},
                                        {.lease_ms = 60000, .fixed_lease = true}};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stile_lock *lock = contract_lock_open("told", &kinds[i]);
        struct told told = {.closes = false};
        stile_watch *watch;
        stile_hold hold;
        int fd;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        assert_status(stile_lock_watch(lock, &hold, note, &told, &watch), STILE_OK);
        assert_status(stile_watch_fd(watch, &fd), STILE_OK);
        assert_false(readable(fd, 0));
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        assert_true(readable(fd, CONTRACT_SOON_MS));
        await_told(&told, 1, STILE_RELEASED);
        assert_int_equal(stile_watch_clear(watch), STILE_RELEASED);
        assert_false(readable(fd, 0));
        stile_watch_close(watch);
        assert_int_equal(test_flag_get(&told.count), 1);
    }
}

static void descriptor_that_comes_late_knows_what_has_changed(void **state)
{
    stile_lock *lock = contract_lock_open("late", NULL);
    stile_watch *watch;
    stile_hold hold;
    int fd, same;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    watch = look_at(lock, &hold);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_status(stile_watch_fd(watch, &fd), STILE_OK);
    assert_true(readable(fd, 0));
    assert_status(stile_watch_fd(watch, &same), STILE_OK);
    assert_int_equal(fd, same);
    assert_int_equal(stile_watch_clear(watch), STILE_RELEASED);
    assert_false(readable(fd, 0));
    stile_watch_close(watch);
}

static void every_watch_of_a_hold_is_told(void **state)
{
    stile_lock *lock = contract_lock_open("several", NULL);
    struct told told[2] = {{.closes = false}, {.closes = false}};
    stile_watch *watches[3];
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_watch(lock, &hold, note, &told[0], &watches[0]), STILE_OK);
    watches[1] = look_at(lock, &hold);
    assert_status(stile_lock_watch(lock, &hold, note, &told[1], &watches[2]), STILE_OK);
    /* One that was closed is told nothing. */
    stile_watch_close(watches[0]);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    await_told(&told[1], 1, STILE_RELEASED);
    assert_int_equal(stile_watch_state(watches[1]), STILE_RELEASED);
    stile_watch_close(watches[1]);
    stile_watch_close(watches[2]);
    assert_int_equal(test_flag_get(&told[0].count), 0);
}

static void watched_lock_goes_to_who_waits(void **state)
{
    stile_lock *lock = contract_lock_open("waiter", NULL);
    struct contender *contender;
    stile_watch *watch;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    watch = look_at(lock, &hold);
    contender = contender_queue(lock, STILE_FOREVER, NULL);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_outcome(contender_answer(contender), STILE_OK);
    assert_int_equal(stile_watch_state(watch), STILE_RELEASED);
    stile_watch_close(watch);
    watch = look_at(lock, &contender->hold);
    assert_int_equal(stile_watch_state(watch), STILE_HELD);
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
    stile_watch_close(watch);
    contract_check_free(lock);
}

/* ---- lost ---------------------------------------------------------------------------- */

/* Watches a hold to the end of its belief, in every way at once. */
static void watch_to_the_end(const stile_lock_options *options, int64_t end_ms)
{
    stile_lock *lock = contract_lock_open("end", options);
    struct told told = {.closes = false};
    int64_t from_ms, to_ms;
    stile_watch *watch;
    stile_hold hold;
    int fd;

    from_ms = test_now_ms();
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    to_ms = test_now_ms();
    assert_status(stile_lock_watch(lock, &hold, note, &told, &watch), STILE_OK);
    assert_status(stile_watch_fd(watch, &fd), STILE_OK);
    while (stile_watch_state(watch) == STILE_HELD) {
        /* It says no more than a check. */
        assert_true(test_now_ms() <= to_ms + end_ms + 1000);
        test_sleep_ms(1);
    }
    assert_int_equal(stile_watch_state(watch), STILE_HOLD_LOST);
    assert_status(stile_lock_check(lock, &hold, NULL), STILE_LOST);
    assert_true(test_now_ms() >= from_ms + end_ms - end_ms / 100 - 4);
    assert_true(readable(fd, CONTRACT_SOON_MS));
    await_told(&told, 1, STILE_HOLD_LOST);
    assert_int_equal(stile_watch_clear(watch), STILE_HOLD_LOST);
    /* Lost is lost, also for an owner who gives it back. */
    assert_status(stile_lock_release(lock, &hold), STILE_LOST);
    assert_int_equal(stile_watch_state(watch), STILE_HOLD_LOST);
    assert_false(readable(fd, 20));
    stile_watch_close(watch);
    assert_int_equal(test_flag_get(&told.count), 1);
    assert_status(stile_lock_acquire(lock, 1000, &hold), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void end_of_a_fixed_lease_is_told_as_lost(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 150, .fixed_lease = true};

    (void)state;
    watch_to_the_end(&fixed, 150);
}

static void end_of_max_hold_is_told_as_lost(void **state)
{
    const stile_lock_options bounded = {.lease_ms = 150, .max_hold_ms = 400};

    (void)state;
    watch_to_the_end(&bounded, 400);
}

static void lost_hold_can_be_watched_and_says_so_at_once(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 100, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("lost", &fixed);
    struct told told = {.closes = false};
    stile_watch *watch;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    while (stile_lock_check(lock, &hold, NULL) == STILE_OK)
        test_sleep_ms(1);
    assert_status(stile_lock_watch(lock, &hold, note, &told, &watch), STILE_OK);
    assert_int_equal(stile_watch_state(watch), STILE_HOLD_LOST);
    await_told(&told, 1, STILE_HOLD_LOST);
    stile_watch_close(watch);
    assert_status(stile_lock_release(lock, &hold), STILE_LOST);
}

static void extension_puts_off_what_is_told(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 200, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("extended", &fixed);
    struct told told = {.closes = false};
    int64_t from_ms = test_now_ms();
    stile_watch *watch;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_watch(lock, &hold, note, &told, &watch), STILE_OK);
    assert_status(stile_lock_extend(lock, &hold, 300), STILE_OK);
    await_told(&told, 1, STILE_HOLD_LOST);
    assert_true(test_now_ms() >= from_ms + 500 - 500 / 100 - 4);
    stile_watch_close(watch);
    assert_status(stile_lock_release(lock, &hold), STILE_LOST);
}

/* ---- closing --------------------------------------------------------------------------- */

static void callback_may_close_its_watch(void **state)
{
    stile_lock *lock = contract_lock_open("self", NULL);
    struct told told = {.closes = true};
    stile_watch *watch;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_watch(lock, &hold, note, &told, &watch), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    await_told(&told, 1, STILE_RELEASED);
}

/* A callback that stays until it is let go. */
struct slow {
    struct test_flag inside, go, through;
    stile_watch *watch;
};

static void stay(stile_watch *watch, stile_hold_state state, void *argument)
{
    struct slow *slow = argument;

    (void)watch;
    (void)state;
    test_flag_set(&slow->inside, 1);
    test_flag_wait(&slow->go, 1, CONTRACT_SOON_MS);
    test_flag_set(&slow->through, 1);
}

/* Returns whether the callback was through when the close came back. */
static void *close_watch(void *arg)
{
    struct slow *slow = arg;

    stile_watch_close(slow->watch);
    return test_flag_get(&slow->through) == 1 ? slow : NULL;
}

static void close_waits_for_a_callback_that_runs(void **state)
{
    stile_lock *lock = contract_lock_open("busy", NULL);
    struct slow slow = {.watch = NULL};
    pthread_t closer;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_watch(lock, &hold, stay, &slow, &slow.watch), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_true(test_flag_wait(&slow.inside, 1, CONTRACT_SOON_MS));
    closer = contract_thread_start(close_watch, &slow);
    test_sleep_ms(20);
    test_flag_set(&slow.go, 1);
    assert_non_null(contract_thread_join(closer));
}

static void watch_outlives_handle_and_space(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 150, .fixed_lease = true};
    stile *space = contract_space_open(NULL);
    stile_lock *lock = contract_lock_open_in(space, "outlives", &fixed);
    stile_watch *watch;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    watch = look_at(lock, &hold);
    contract_lock_close(lock);
    contract_space_close(space);
    await_state(watch, STILE_HOLD_LOST);
    assert_int_equal(stile_watch_clear(watch), STILE_HOLD_LOST);
    stile_watch_close(watch);
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void only_a_hold_can_be_watched(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("one", NULL), *other = contract_lock_open("other", NULL);
    stile_hold hold, none = STILE_HOLD_INIT;
    stile_watch *watch = NULL;
    int fd;

    (void)state;
    assert_status(stile_lock_watch(lock, &none, NULL, NULL, &watch), STILE_NOT_HELD);
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_watch(other, &hold, NULL, NULL, &watch), STILE_NOT_HELD);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_status(stile_lock_watch(lock, &hold, NULL, NULL, &watch), STILE_NOT_HELD);
    assert_status(stile_lock_acquire_with(lock, 0, &fixed, &hold), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_status(stile_lock_watch(lock, &hold, NULL, NULL, &watch), STILE_NOT_HELD);
    assert_status(stile_lock_watch(NULL, &hold, NULL, NULL, &watch), STILE_INVALID);
    assert_status(stile_lock_watch(lock, NULL, NULL, NULL, &watch), STILE_INVALID);
    assert_status(stile_lock_watch(lock, &hold, NULL, NULL, NULL), STILE_INVALID);
    assert_status(stile_watch_fd(NULL, &fd), STILE_INVALID);
    assert_null(watch);
    stile_watch_close(NULL);
    contract_check_free(lock);
}

static void closed_space_watches_nothing_new(void **state)
{
    stile *space = contract_space_open(NULL);
    const stile_lock_options fixed = {.lease_ms = 200, .fixed_lease = true};
    stile_lock *lock = contract_lock_open_in(space, "closed", &fixed);
    stile_watch *watch = NULL;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    contract_space_close(space);
    assert_status(stile_lock_watch(lock, &hold, NULL, NULL, &watch), STILE_CLOSED);
    assert_null(watch);
}

/* ---- with a least time, and by force --------------------------------------------------------- */

static void release_before_the_least_time_is_told_at_once(void **state)
{
    const stile_lock_options least = {.min_hold_ms = 300};
    stile_lock *lock = contract_lock_open("least", &least);
    stile_lock *plain = contract_lock_open("least", NULL);
    struct told told = {.closes = false};
    int64_t began_ms = test_now_ms();
    stile_watch *watch;
    stile_hold hold, next;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_watch(lock, &hold, note, &told, &watch), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_int_equal(stile_watch_state(watch), STILE_RELEASED);
    await_told(&told, 1, STILE_RELEASED);
    assert_status(stile_lock_acquire(plain, STILE_FOREVER, &next), STILE_OK);
    assert_true(test_now_ms() - began_ms >= 300 - 8);
    assert_int_equal(stile_watch_state(watch), STILE_RELEASED);
    assert_status(stile_lock_release(plain, &next), STILE_OK);
    stile_watch_close(watch);
    assert_int_equal(test_flag_get(&told.count), 1);
}

static void hold_taken_by_force_is_told_as_lost(void **state)
{
    const stile_lock_options kinds[] = {{.lease_ms = 200},
                                        {.lease_ms = 200, .label = "kept"},
                                        {.lease_ms = 200, .max_hold_ms = 60000}};
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        stile_lock *lock = contract_lock_open("forced", &kinds[i]);
        struct told told = {.closes = false};
        stile_watch *watch, *late;
        stile_hold hold;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        assert_status(stile_lock_watch(lock, &hold, note, &told, &watch), STILE_OK);
        assert_status(stile_lock_force_release(lock), STILE_OK);
        /* With a server the next renewal tells. */
        if (!contract_on_redis())
            assert_int_equal(stile_watch_state(watch), STILE_HOLD_LOST);
        await_told(&told, 1, STILE_HOLD_LOST);
        late = look_at(lock, &hold);
        assert_int_equal(stile_watch_state(late), STILE_HOLD_LOST);
        assert_status(stile_lock_release(lock, &hold), STILE_LOST);
        assert_int_equal(stile_watch_state(watch), STILE_HOLD_LOST);
        stile_watch_close(late);
        stile_watch_close(watch);
        contract_check_free(lock);
    }
}

/* -------------------------------------------------------------------------------------------- */

int contract_lock_watch(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(watch_says_held_and_then_released),
        contract_test(release_is_told_by_callback_and_descriptor),
        contract_test(descriptor_that_comes_late_knows_what_has_changed),
        contract_test(every_watch_of_a_hold_is_told),
        contract_test(watched_lock_goes_to_who_waits),
        contract_test(end_of_a_fixed_lease_is_told_as_lost),
        contract_test(end_of_max_hold_is_told_as_lost),
        contract_test(lost_hold_can_be_watched_and_says_so_at_once),
        contract_test(extension_puts_off_what_is_told),
        contract_test(callback_may_close_its_watch),
        contract_test(close_waits_for_a_callback_that_runs),
        contract_test(watch_outlives_handle_and_space),
        contract_test(only_a_hold_can_be_watched),
        contract_test(closed_space_watches_nothing_new),
        contract_test(release_before_the_least_time_is_told_at_once),
        contract_test(hold_taken_by_force_is_told_as_lost),
    };

    return cmocka_run_group_tests_name("lock: watches", tests, NULL, NULL);
}
