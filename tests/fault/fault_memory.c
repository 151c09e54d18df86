/*
 * Every allocation of the library fails once, and from some point on all of them:
 * each call says STILE_NO_MEMORY or succeeds, what was open can be closed, and nothing
 * is left behind (which the address sanitizer's build looks at).
 *
 * The linker puts the functions below in the place of those that the library calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stile/stile.h>

#include "support/server.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);

/* Allocations left until one fails; below 0: it has failed. */
static atomic_long left = LONG_MAX;
static atomic_bool sticky;

static bool fails(void)
{
    long before = atomic_fetch_sub(&left, 1);

    return before == 1 || (before < 1 && atomic_load(&sticky));
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

static struct test_server server;

/* ---- what is done with failing memory ------------------------------------------- */

/* Counts the refusals; anything but those and success is a fault of the library. */
static int refused;

static bool done(stile_status status)
{
    if (status == STILE_OK)
        return true;
    if (status != STILE_NO_MEMORY)
        fail_msg("%s: %s", stile_status_name(status), stile_error_detail());
    assert_string_not_equal(stile_error_detail(), "");
    refused++;
    return false;
}

static void note(stile_watch *watch, stile_hold_state state, void *argument)
{
    (void)watch;
    (void)state;
    (void)argument;
}

/* Watches the hold, and has it go by token from one handle to the other, and there it
 * stays.  What could not be adopted is adopted with memory. */
static void watch_and_give(stile_lock *one, stile_lock *other, stile_hold *hold)
{
    stile_watch *watch = NULL;
    char token[STILE_TOKEN_SIZE];
    int fd;

    if (done(stile_lock_watch(one, hold, note, NULL, &watch)))
        done(stile_watch_fd(watch, &fd));
    if (done(stile_lock_give(one, hold, token)) && !done(stile_lock_adopt(other, token, hold))) {
        long kept = atomic_exchange(&left, LONG_MAX);

        if (stile_lock_adopt(other, token, hold) != STILE_OK)
            fail_msg("nobody can adopt it: %s", stile_error_detail());
        atomic_store(&left, kept);
    }
    stile_watch_close(watch);
}

/* A hold that could not be given back frees the lock with its lease. */
static void use(stile_lock *one, stile_lock *other)
{
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    stile_hold hold = {.fence = 42}, second;
    stile_lock_info info = {.fence = 42};

    if (!done(stile_lock_acquire(one, 1000, &hold))) {
        assert_int_equal(hold.fence, 42);
        return;
    }
    if (stile_lock_acquire(other, 1, &second) == STILE_OK)
        fail_msg("the lock has two owners");
    if (done(stile_lock_inspect(one, &info)))
        stile_lock_info_free(&info);
    else
        assert_int_equal(info.fence, 42);
    done(stile_lock_extend(one, &hold, 1000));
    watch_and_give(one, other, &hold);
    done(stile_lock_release(one, &hold));
    if (done(stile_lock_acquire_with(other, 1000, &fixed, &hold)))
        done(stile_lock_release(other, &hold));
}

static void ignore(stile_future *future, void *argument)
{
    (void)future;
    (void)argument;
}

/* What was granted and not taken is given back by the close. */
static void use_future(stile_lock *lock, const stile_lock_options *options)
{
    stile_hold hold = {.fence = 42};
    stile_future *future;
    size_t which;
    int fd;

    if (!done(stile_lock_start(lock, 1000, options, ignore, NULL, &future)))
        return;
    done(stile_future_fd(future, &fd));
    done(stile_future_wait(future, 10000));
    done(stile_future_wait_any(&future, 1, 10000, &which));
    if (stile_future_done(future) && !done(stile_future_take(future, &hold)))
        assert_int_equal(hold.fence, 42);
    if (hold.fence != 42)
        done(stile_lock_release(lock, &hold));
    stile_future_close(future);
}

static void use_any(stile_lock *one, stile_lock *other, const stile_lock_options *options)
{
    stile_lock *locks[] = {one, other};
    stile_hold hold, held = {.fence = 42};
    size_t which = 99;

    if (!done(stile_lock_acquire_with(one, 1000, options, &held)))
        return;
    if (done(stile_lock_acquire_any(locks, 2, 1000, &which, &hold))) {
        assert_int_equal(which, 1);
        done(stile_lock_release(other, &hold));
    } else {
        assert_int_equal(which, 99);
    }
    done(stile_lock_release(one, &held));
}

static void use_cancel(stile_lock *lock, stile_lock *other)
{
    stile_lock_options options = {.lease_ms = 60000};
    stile_hold hold = {.fence = 42};
    stile_status status;

    if (!done(stile_cancel_open(&options.cancel)))
        return;
    use_future(lock, &options);
    use_any(lock, other, &options);
    stile_cancel_fire(options.cancel);
    status = stile_lock_acquire_with(lock, 1000, &options, &hold);
    assert_true(status == STILE_CANCELLED || status == STILE_NO_MEMORY);
    assert_int_equal(hold.fence, 42);
    stile_cancel_close(options.cancel);
}

/* The ways to wait, on locks of their own. */
static void use_ways(stile *space, const char *name)
{
    stile_lock *one = NULL, *other = NULL;
    char names[2][40];

    snprintf(names[0], sizeof names[0], "%s-one", name);
    snprintf(names[1], sizeof names[1], "%s-other", name);
    if (done(stile_lock_open(space, names[0], NULL, &one)) &&
        done(stile_lock_open(space, names[1], NULL, &other)))
        use_cancel(one, other);
    stile_lock_close(one);
    stile_lock_close(other);
}

static void use_space(const char *url, const char *name)
{
    stile_lock *one = NULL, *other = NULL;
    stile *space;

    if (!done(stile_open(url, NULL, &space)))
        return;
    if (done(stile_lock_open(space, name, NULL, &one)) &&
        done(stile_lock_open(space, name, NULL, &other)))
        use(one, other);
    stile_lock_close(one);
    stile_lock_close(other);
    use_ways(space, name);
    stile_close(space);
}

/* Lets the n-th allocation fail, for every n until there is no n-th any more. */
static void fail_each(const char *url, bool all_later_ones)
{
    int with_refusal = 0;
    long n;

    atomic_store(&sticky, all_later_ones);
    for (n = 1;; n++) {
        char name[32];
        bool reached;

        /* Each on a lock of its own: one that was not given back stays taken. */
        snprintf(name, sizeof name, "memory-%d-%ld", all_later_ones, n);
        refused = 0;
        atomic_store(&left, n);
        use_space(url, name);
        reached = atomic_exchange(&left, LONG_MAX) < 1;
        with_refusal += refused > 0;
        if (!reached)
            break;
        assert_true(n < 1000);
    }
    assert_true(n > 10);
    assert_true(with_refusal > 5);
    /* And afterwards all is as before. */
    refused = 0;
    use_space(url, "afterwards");
    assert_int_equal(refused, 0);
}

static void each_allocation_may_fail_on_local(void **state)
{
    (void)state;
    fail_each("local:", false);
}

static void all_allocations_may_fail_from_any_point_on_local(void **state)
{
    (void)state;
    fail_each("local:", true);
}

static void each_allocation_may_fail_on_redis(void **state)
{
    (void)state;
    fail_each(test_server_unix_url(&server), false);
}

static void all_allocations_may_fail_from_any_point_on_redis(void **state)
{
    (void)state;
    fail_each(test_server_unix_url(&server), true);
}

static int start_server(void **state)
{
    (void)state;
    return test_server_start(NULL, &server) ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    atomic_store(&left, LONG_MAX);
    test_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_may_fail_on_local),
        cmocka_unit_test(all_allocations_may_fail_from_any_point_on_local),
        cmocka_unit_test(each_allocation_may_fail_on_redis),
        cmocka_unit_test(all_allocations_may_fail_from_any_point_on_redis),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
