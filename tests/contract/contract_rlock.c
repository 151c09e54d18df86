/*
 * The contract of the reentrant lock, and of scoped use.
 */
#include "contract.h"

#include <stdlib.h>
#include <string.h>

static stile_rlock *rlock_open(const char *name, const stile_rlock_options *options)
{
    stile_rlock *rlock = NULL;

    assert_status(stile_rlock_open(contract_space(), name, options, &rlock), STILE_OK);
    return rlock;
}

/* ---- what another thread sees ---------------------------------------------------- */

struct other {
    stile_rlock *rlock;
    int64_t timeout_ms;
    uint64_t owner;
    const stile_hold *to_release; /* NULL: acquires instead, and releases at once */
    stile_status status;
    uint64_t fence;
};

static void *run_other(void *argument)
{
    struct other *other = argument;
    stile_rlock_options options = {.owner = other->owner};
    stile_hold hold;

    if (other->to_release != NULL) {
        other->status = stile_rlock_release(other->rlock, other->to_release);
        return NULL;
    }
    other->status = stile_rlock_acquire_with(other->rlock, other->timeout_ms, &options, &hold);
    if (other->status == STILE_OK) {
        other->fence = hold.fence;
        other->status = stile_rlock_release(other->rlock, &hold);
    }
    return NULL;
}

static stile_status by_other(struct other *other)
{
    contract_thread_join(contract_thread_start(run_other, other));
    return other->status;
}

static void check_taken(stile_rlock *rlock)
{
    struct other other = {.rlock = rlock};

    assert_outcome(by_other(&other), STILE_TIMEOUT);
}

static void check_free(stile_rlock *rlock)
{
    struct other other = {.rlock = rlock, .timeout_ms = CONTRACT_SOON_MS};

    assert_outcome(by_other(&other), STILE_OK);
}

/* ---- levels ------------------------------------------------------------------------ */

static void owner_acquires_again_whatever_the_timeout(void **state)
{
    static const int64_t timeouts[] = {0, 1, 5000, STILE_FOREVER};
    stile_rlock *rlock = rlock_open("again", NULL);
    stile_hold holds[4];
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        assert_status(stile_rlock_acquire(rlock, timeouts[i], &holds[i]), STILE_OK);
        assert_int_equal(stile_rlock_depth(rlock, 0), i + 1);
        assert_int_equal(holds[i].fence, holds[0].fence);
    }
    for (i = 3; i >= 0; i--) {
        check_taken(rlock);
        assert_status(stile_rlock_release(rlock, &holds[i]), STILE_OK);
        assert_int_equal(stile_rlock_depth(rlock, 0), i);
    }
    check_free(rlock);
    stile_rlock_close(rlock);
}

static void all_handles_of_one_name_count_together(void **state)
{
    stile_rlock *one = rlock_open("handles", NULL), *two = rlock_open("handles", NULL);
    stile_hold outer, inner;

    (void)state;
    assert_status(stile_rlock_acquire(one, 0, &outer), STILE_OK);
    assert_status(stile_rlock_acquire(two, 0, &inner), STILE_OK);
    stile_rlock_close(one);
    assert_int_equal(stile_rlock_depth(two, 0), 2);
    assert_status(stile_rlock_release(two, &inner), STILE_OK);
    assert_status(stile_rlock_release(two, &outer), STILE_OK);
    check_free(two);
    stile_rlock_close(two);
}

/* Whatever the handles asked for through which it was taken, and which were open meanwhile. */
static void hold_outlives_all_handles_of_its_name(void **state)
{
    const stile_rlock_options asked[] = {{.owner = 0}, {.lock = {.label = "shown"}}};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stile_rlock *rlock = rlock_open("outlives", &asked[i]), *other;
        stile_hold outer, inner;

        assert_status(stile_rlock_acquire(rlock, 0, &outer), STILE_OK);
        other = rlock_open("outlives", &asked[1 - i]);
        stile_rlock_close(rlock);
        stile_rlock_close(other);
        rlock = rlock_open("outlives", NULL);
        assert_int_equal(stile_rlock_depth(rlock, 0), 1);
        assert_status(stile_rlock_acquire(rlock, 0, &inner), STILE_OK);
        assert_status(stile_rlock_release(rlock, &inner), STILE_OK);
        assert_status(stile_rlock_release(rlock, &outer), STILE_OK);
        check_free(rlock);
        stile_rlock_close(rlock);
    }
}

static void levels_are_released_in_reverse_order_and_once(void **state)
{
    stile_rlock *rlock = rlock_open("order", NULL);
    stile_hold holds[3], again;

    (void)state;
    assert_status(stile_rlock_acquire(rlock, 0, &holds[0]), STILE_OK);
    assert_status(stile_rlock_acquire(rlock, 0, &holds[1]), STILE_OK);
    assert_status(stile_rlock_acquire(rlock, 0, &holds[2]), STILE_OK);
    assert_status(stile_rlock_release(rlock, &holds[0]), STILE_NOT_HELD);
    assert_status(stile_rlock_release(rlock, &holds[1]), STILE_NOT_HELD);
    assert_status(stile_rlock_release(rlock, &holds[2]), STILE_OK);
    assert_status(stile_rlock_release(rlock, &holds[2]), STILE_NOT_HELD);
    assert_status(stile_rlock_check(rlock, &holds[2], NULL), STILE_NOT_HELD);
    /* The number of a level that is over is not given again. */
    assert_status(stile_rlock_acquire(rlock, 0, &again), STILE_OK);
    assert_status(stile_rlock_release(rlock, &holds[2]), STILE_NOT_HELD);
    assert_status(stile_rlock_release(rlock, &again), STILE_OK);
    assert_int_equal(stile_rlock_depth(rlock, 0), 2);
    assert_status(stile_rlock_release(rlock, &holds[1]), STILE_OK);
    assert_status(stile_rlock_release(rlock, &holds[0]), STILE_OK);
    assert_status(stile_rlock_release(rlock, &holds[0]), STILE_NOT_HELD);
    check_free(rlock);
    stile_rlock_close(rlock);
}

static void another_thread_neither_gets_nor_releases_it(void **state)
{
    stile_rlock *rlock = rlock_open("other", NULL);
    stile_hold outer, inner;
    struct other other = {.rlock = rlock};

    (void)state;
    assert_status(stile_rlock_acquire(rlock, 0, &outer), STILE_OK);
    assert_status(stile_rlock_acquire(rlock, 0, &inner), STILE_OK);
    other.to_release = &inner;
    assert_outcome(by_other(&other), STILE_NOT_HELD);
    other.to_release = &outer;
    assert_outcome(by_other(&other), STILE_NOT_HELD);
    other.to_release = NULL;
    other.timeout_ms = 30;
    assert_true(contract_in_vain(by_other(&other)));
    assert_int_equal(stile_rlock_depth(rlock, 0), 2);
    assert_status(stile_rlock_release(rlock, &inner), STILE_OK);
    assert_status(stile_rlock_release(rlock, &outer), STILE_OK);
    other.timeout_ms = CONTRACT_SOON_MS;
    assert_outcome(by_other(&other), STILE_OK);
    assert_true(other.fence > outer.fence);
    stile_rlock_close(rlock);
}

static void rlock_and_lock_of_one_name_are_two_objects(void **state)
{
    stile_rlock *rlock = rlock_open("both", NULL);
    stile_lock *lock = contract_lock_open("both", NULL);
    stile_hold hold, of_lock;

    (void)state;
    assert_true(stile_can(contract_space(), STILE_RLOCK));
    assert_status(stile_rlock_acquire(rlock, 0, &hold), STILE_OK);
    assert_status(stile_lock_acquire(lock, 0, &of_lock), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_NOT_HELD);
    assert_status(stile_rlock_release(rlock, &of_lock), STILE_NOT_HELD);
    assert_status(stile_lock_release(lock, &of_lock), STILE_OK);
    assert_status(stile_rlock_release(rlock, &hold), STILE_OK);
    stile_rlock_close(rlock);
}

static void depth_has_an_end_and_nothing_changes_there(void **state)
{
    stile_rlock *rlock = rlock_open("deep", NULL);
    stile_hold *holds = calloc(STILE_RLOCK_DEPTH_MAX, sizeof *holds), refused;
    size_t i;

    (void)state;
    assert_non_null(holds);
    memset(&refused, 0x5a, sizeof refused);
    for (i = 0; i < STILE_RLOCK_DEPTH_MAX; i++)
        assert_int_equal(stile_rlock_acquire(rlock, 0, &holds[i]), STILE_OK);
    assert_status(stile_rlock_acquire(rlock, 0, &refused), STILE_OVERFLOW);
    assert_int_equal(refused.fence, UINT64_C(0x5a5a5a5a5a5a5a5a));
    assert_int_equal(stile_rlock_depth(rlock, 0), STILE_RLOCK_DEPTH_MAX);
    while (i-- > 0)
        assert_int_equal(stile_rlock_release(rlock, &holds[i]), STILE_OK);
    check_free(rlock);
    free(holds);
    stile_rlock_close(rlock);
}

/* How many scripts the server was asked to run; on local: 0. */
static int64_t scripts_run(void)
{
    char text[8192];
    const char *at;

    if (!contract_on_redis())
        return 0;
    assert_int_equal(test_redis(contract_server(), text, sizeof text, "INFO", "commandstats", NULL),
                     TEST_REPLY_OK);
    at = strstr(text, "cmdstat_evalsha:calls=");
    return at == NULL ? 0 : strtoll(at + strlen("cmdstat_evalsha:calls="), NULL, 10);
}

static void deeper_levels_ask_no_server(void **state)
{
    stile_rlock *rlock = rlock_open("silent", NULL);
    stile_hold outer, holds[100];
    int64_t before = 0;
    int i;

    (void)state;
    assert_status(stile_rlock_acquire(rlock, 0, &outer), STILE_OK);
    before = scripts_run();
    for (i = 0; i < 100; i++)
        assert_status(stile_rlock_acquire(rlock, STILE_FOREVER, &holds[i]), STILE_OK);
    for (i = 99; i >= 0; i--)
        assert_status(stile_rlock_release(rlock, &holds[i]), STILE_OK);
    assert_int_equal(scripts_run(), before);
    assert_status(stile_rlock_release(rlock, &outer), STILE_OK);
    if (contract_on_redis())
        assert_true(scripts_run() > before);
    stile_rlock_close(rlock);
}

static void *hold_and_end(void *argument)
{
    stile_rlock *rlock = argument;
    stile_hold hold;
    stile_status status = stile_rlock_acquire(rlock, 0, &hold);

    if (status == STILE_OK)
        status = stile_rlock_acquire(rlock, 0, &hold);
    return status == STILE_OK ? argument : NULL;
}

static void thread_that_ends_leaves_the_lock_taken(void **state)
{
    stile_rlock *rlock = rlock_open("ended", NULL);

    (void)state;
    assert_ptr_equal(contract_thread_join(contract_thread_start(hold_and_end, rlock)), rlock);
    check_taken(rlock);
    assert_int_equal(stile_rlock_depth(rlock, 0), 0);
    stile_rlock_close(rlock);
    if (contract_on_redis())
        (void)test_redis_int(contract_server(), "DEL", "stile:{rlock:ended}", NULL);
}

/* ---- owners that are numbers ---------------------------------------------------------- */

static void owner_can_be_a_number_that_threads_share(void **state)
{
    const stile_rlock_options options = {.owner = 77};
    stile_rlock *rlock = rlock_open("number", &options);
    stile_hold outer, inner;
    struct other other = {.rlock = rlock, .owner = 77};

    (void)state;
    assert_status(stile_rlock_acquire(rlock, 0, &outer), STILE_OK);
    assert_status(stile_rlock_acquire(rlock, 0, &inner), STILE_OK);
    assert_int_equal(stile_rlock_depth(rlock, 77), 2);
    assert_int_equal(stile_rlock_depth(rlock, 0), 0);
    assert_outcome(by_other(&other), STILE_OK);
    other.owner = 78;
    assert_outcome(by_other(&other), STILE_TIMEOUT);
    other.owner = 0;
    assert_outcome(by_other(&other), STILE_TIMEOUT);
    other.to_release = &inner;
    assert_outcome(by_other(&other), STILE_OK);
    other.to_release = &outer;
    assert_outcome(by_other(&other), STILE_OK);
    other.to_release = NULL;
    other.owner = 78;
    assert_outcome(by_other(&other), STILE_OK);
    stile_rlock_close(rlock);
}

/* ---- the lease --------------------------------------------------------------------------- */

static void lease_is_that_of_all_levels(void **state)
{
    const stile_rlock_options options = {.lock = {.lease_ms = 60000, .fixed_lease = true}};
    const stile_rlock_options shorter = {.lock = {.lease_ms = 100, .fixed_lease = true}};
    stile_rlock *rlock = rlock_open("lease", &options);
    stile_hold outer, inner;
    int64_t valid_ms = 0;

    (void)state;
    assert_status(stile_rlock_acquire(rlock, 0, &outer), STILE_OK);
    assert_status(stile_rlock_acquire_with(rlock, 0, &shorter, &inner), STILE_OK);
    assert_status(stile_rlock_check(rlock, &inner, &valid_ms), STILE_OK);
    assert_true(valid_ms > 50000);
    assert_status(stile_rlock_extend(rlock, &inner, 60000), STILE_OK);
    assert_status(stile_rlock_check(rlock, &outer, &valid_ms), STILE_OK);
    assert_true(valid_ms > 100000);
    assert_status(stile_rlock_release(rlock, &inner), STILE_OK);
    assert_status(stile_rlock_check(rlock, &outer, &valid_ms), STILE_OK);
    assert_true(valid_ms > 100000);
    assert_status(stile_rlock_release(rlock, &outer), STILE_OK);
    stile_rlock_close(rlock);
}

/* Comes back when the lease is over. */
static void await_loss(stile_rlock *rlock, const stile_hold *hold)
{
    int64_t until_ns = test_now_ns() + CONTRACT_SOON_MS * CONTRACT_NS_PER_MS;

    while (stile_rlock_check(rlock, hold, NULL) == STILE_OK && test_now_ns() < until_ns)
        test_sleep_ms(5);
}

static void reentry_after_the_lease_is_lost_and_no_new_hold(void **state)
{
    const stile_rlock_options options = {.lock = {.lease_ms = 100, .fixed_lease = true}};
    stile_rlock *rlock = rlock_open("lost", NULL);
    stile_hold outer, inner, next;
    struct other other = {.rlock = rlock, .timeout_ms = CONTRACT_SOON_MS};

    (void)state;
    assert_status(stile_rlock_acquire_with(rlock, 0, &options, &outer), STILE_OK);
    assert_status(stile_rlock_acquire(rlock, 0, &inner), STILE_OK);
    await_loss(rlock, &outer);
    assert_status(stile_rlock_acquire(rlock, STILE_FOREVER, &next), STILE_LOST);
    assert_outcome(by_other(&other), STILE_OK);
    assert_status(stile_rlock_acquire(rlock, 0, &next), STILE_LOST);
    assert_int_equal(stile_rlock_depth(rlock, 0), 2);
    assert_status(stile_rlock_release(rlock, &inner), STILE_LOST);
    assert_status(stile_rlock_release(rlock, &outer), STILE_LOST);
    assert_status(stile_rlock_acquire(rlock, CONTRACT_SOON_MS, &next), STILE_OK);
    assert_true(next.fence > other.fence);
    assert_status(stile_rlock_release(rlock, &next), STILE_OK);
    stile_rlock_close(rlock);
}

/* ---- futures ------------------------------------------------------------------------------- */

static stile_future *start(stile_rlock *rlock, uint64_t owner, int64_t timeout_ms)
{
    const stile_rlock_options options = {.owner = owner};
    stile_future *future = NULL;

    assert_status(stile_rlock_start(rlock, timeout_ms, &options, NULL, NULL, &future), STILE_OK);
    return future;
}

static void future_of_a_free_lock_gives_its_owner_the_first_level(void **state)
{
    stile_rlock *rlock = rlock_open("future", NULL);
    stile_future *future = start(rlock, 5, STILE_FOREVER), *deeper;
    stile_hold outer, inner;

    (void)state;
    assert_status(stile_future_wait(future, CONTRACT_SOON_MS), STILE_OK);
    assert_int_equal(stile_rlock_depth(rlock, 5), 1);
    assert_status(stile_future_take(future, &outer), STILE_OK);
    /* The next level needs no wait. */
    deeper = start(rlock, 5, 0);
    assert_true(stile_future_done(deeper));
    assert_status(stile_future_take(deeper, &inner), STILE_OK);
    assert_int_equal(stile_rlock_depth(rlock, 5), 2);
    check_taken(rlock);
    assert_status(stile_rlock_release(rlock, &inner), STILE_OK);
    assert_status(stile_rlock_release(rlock, &outer), STILE_OK);
    check_free(rlock);
    stile_future_close(future);
    stile_future_close(deeper);
    stile_rlock_close(rlock);
}

static void future_waits_for_another_owner(void **state)
{
    stile_rlock *rlock = rlock_open("waiting future", NULL);
    stile_future *future, *refused;
    stile_hold held, hold;

    (void)state;
    assert_status(stile_rlock_acquire(rlock, 0, &held), STILE_OK);
    future = start(rlock, 6, STILE_FOREVER);
    refused = start(rlock, 7, 0);
    assert_status(stile_future_wait(refused, CONTRACT_SOON_MS), STILE_OK);
    assert_status(stile_future_take(refused, &hold), STILE_TIMEOUT);
    assert_false(stile_future_done(future));
    assert_status(stile_rlock_release(rlock, &held), STILE_OK);
    assert_status(stile_future_wait(future, CONTRACT_SOON_MS), STILE_OK);
    assert_status(stile_future_take(future, &hold), STILE_OK);
    assert_true(hold.fence > held.fence);
    assert_int_equal(stile_rlock_depth(rlock, 6), 1);
    assert_status(stile_rlock_release(rlock, &hold), STILE_OK);
    stile_future_close(future);
    stile_future_close(refused);
    stile_rlock_close(rlock);
}

static void level_that_nobody_took_is_released_with_its_future(void **state)
{
    stile_rlock *rlock = rlock_open("untaken", NULL);
    stile_future *outer = start(rlock, 5, STILE_FOREVER), *inner;

    (void)state;
    assert_status(stile_future_wait(outer, CONTRACT_SOON_MS), STILE_OK);
    inner = start(rlock, 5, 0);
    assert_int_equal(stile_rlock_depth(rlock, 5), 2);
    stile_future_close(inner);
    assert_int_equal(stile_rlock_depth(rlock, 5), 1);
    stile_future_close(outer);
    assert_int_equal(stile_rlock_depth(rlock, 5), 0);
    check_free(rlock);
    stile_rlock_close(rlock);
}

static void future_needs_an_owner_that_is_a_number(void **state)
{
    stile_rlock *rlock = rlock_open("nobody", NULL);
    stile_future *future = NULL;

    (void)state;
    assert_status(stile_rlock_start(rlock, 0, NULL, NULL, NULL, &future), STILE_INVALID);
    assert_non_null(strstr(stile_error_detail(), "owner"));
    assert_status(stile_rlock_start(NULL, 0, NULL, NULL, NULL, &future), STILE_INVALID);
    assert_status(stile_rlock_start(rlock, 0, NULL, NULL, NULL, NULL), STILE_INVALID);
    assert_null(future);
    stile_rlock_close(rlock);
}

/* ---- who holds, and force -------------------------------------------------------------------- */

static void owner_whose_lock_was_taken_by_force_is_told_at_its_next_call(void **state)
{
    const stile_rlock_options labelled = {.lock = {.label = "deep"}};
    stile_rlock *rlock = rlock_open("force", NULL);
    stile_hold outer, inner, next;
    stile_lock_info info;

    (void)state;
    assert_status(stile_rlock_force_release(rlock), STILE_MISSING);
    assert_status(stile_rlock_acquire_with(rlock, 0, &labelled, &outer), STILE_OK);
    assert_status(stile_rlock_acquire(rlock, 0, &inner), STILE_OK);
    assert_status(stile_rlock_inspect(rlock, &info), STILE_OK);
    assert_true(info.held);
    assert_string_equal(info.holder.label, "deep");
    stile_lock_info_free(&info);
    assert_status(stile_rlock_force_release(rlock), STILE_OK);
    check_free(rlock);
    if (!contract_on_redis())
        assert_status(stile_rlock_acquire(rlock, 0, &next), STILE_LOST);
    assert_int_equal(stile_rlock_depth(rlock, 0), 2);
    (void)stile_rlock_release(rlock, &inner);
    assert_status(stile_rlock_release(rlock, &outer), STILE_LOST);
    assert_status(stile_rlock_acquire(rlock, CONTRACT_SOON_MS, &next), STILE_OK);
    assert_status(stile_rlock_release(rlock, &next), STILE_OK);
    assert_status(stile_rlock_inspect(NULL, &info), STILE_INVALID);
    assert_status(stile_rlock_force_release(NULL), STILE_INVALID);
    stile_rlock_close(rlock);
}

/* ---- arguments ------------------------------------------------------------------------------ */

/* ---- watches ------------------------------------------------------------------------- */

static void watch_of_any_level_tells_of_the_outermost(void **state)
{
    stile_rlock *rlock = rlock_open("watched", NULL);
    stile_watch *watches[2], *none = NULL;
    stile_hold outer, inner;
    int i;

    (void)state;
    assert_status(stile_rlock_acquire(rlock, 0, &outer), STILE_OK);
    assert_status(stile_rlock_acquire(rlock, 0, &inner), STILE_OK);
    assert_status(stile_rlock_watch(rlock, &outer, NULL, NULL, &watches[0]), STILE_OK);
    assert_status(stile_rlock_watch(rlock, &inner, NULL, NULL, &watches[1]), STILE_OK);
    assert_status(stile_rlock_release(rlock, &inner), STILE_OK);
    assert_status(stile_rlock_watch(rlock, &inner, NULL, NULL, &none), STILE_NOT_HELD);
    assert_null(none);
    for (i = 0; i < 2; i++)
        assert_int_equal(stile_watch_state(watches[i]), STILE_HELD);
    assert_status(stile_rlock_release(rlock, &outer), STILE_OK);
    for (i = 0; i < 2; i++) {
        assert_int_equal(stile_watch_state(watches[i]), STILE_RELEASED);
        stile_watch_close(watches[i]);
    }
    assert_status(stile_rlock_watch(NULL, &outer, NULL, NULL, &none), STILE_INVALID);
    assert_status(stile_rlock_watch(rlock, NULL, NULL, NULL, &none), STILE_INVALID);
    assert_status(stile_rlock_watch(rlock, &outer, NULL, NULL, NULL), STILE_INVALID);
    check_free(rlock);
    stile_rlock_close(rlock);
}

struct held {
    stile_rlock *rlock;
    stile_hold hold;
};

/* Releases what is held, once somebody waits. */
static void *release_when_awaited(void *arg)
{
    struct held *held = arg;
    int64_t until_ms = test_now_ms() + CONTRACT_SOON_MS;
    stile_lock_info info = {.waiters = 0};

    while (info.waiters == 0 && test_now_ms() < until_ms) {
        assert_status(stile_rlock_inspect(held->rlock, &info), STILE_OK);
        stile_lock_info_free(&info);
    }
    stile_rlock_release(held->rlock, &held->hold);
    return NULL;
}

static void another_number_of_the_same_thread_is_waited_for(void **state)
{
    const stile_rlock_options one = {.owner = 1}, two = {.owner = 2};
    struct held held = {.rlock = rlock_open("numbers-wait", &one)};
    stile_hold hold;
    pthread_t thread;

    (void)state;
    assert_status(stile_rlock_acquire(held.rlock, 0, &held.hold), STILE_OK);
    thread = contract_thread_start(release_when_awaited, &held);
    assert_status(stile_rlock_acquire_with(held.rlock, STILE_FOREVER, &two, &hold), STILE_OK);
    contract_thread_join(thread);
    assert_status(stile_rlock_release(held.rlock, &hold), STILE_OK);
    stile_rlock_close(held.rlock);
}

static void missing_arguments_are_named(void **state)
{
    const stile_rlock_options bad = {.lock = {.lease_ms = 99}};
    stile_rlock *rlock = rlock_open("arguments", NULL), *none = NULL;
    stile_hold hold = STILE_HOLD_INIT;

    (void)state;
    assert_status(stile_rlock_open(NULL, "x", NULL, &none), STILE_INVALID);
    assert_status(stile_rlock_open(contract_space(), "", NULL, &none), STILE_INVALID);
    assert_status(stile_rlock_open(contract_space(), "x", NULL, NULL), STILE_INVALID);
    assert_status(stile_rlock_open(contract_space(), "x", &bad, &none), STILE_INVALID);
    assert_non_null(strstr(stile_error_detail(), "lease_ms"));
    assert_null(none);
    assert_status(stile_rlock_acquire(NULL, 0, &hold), STILE_INVALID);
    assert_non_null(strstr(stile_error_detail(), "rlock"));
    assert_status(stile_rlock_acquire(rlock, 0, NULL), STILE_INVALID);
    assert_status(stile_rlock_acquire(rlock, -2, &hold), STILE_INVALID);
    assert_status(stile_rlock_acquire_with(rlock, 0, &bad, &hold), STILE_INVALID);
    assert_status(stile_rlock_release(NULL, &hold), STILE_INVALID);
    assert_status(stile_rlock_release(rlock, NULL), STILE_INVALID);
    assert_status(stile_rlock_release(rlock, &hold), STILE_NOT_HELD);
    assert_status(stile_rlock_extend(rlock, NULL, 1), STILE_INVALID);
    assert_status(stile_rlock_extend(rlock, &hold, 1), STILE_NOT_HELD);
    assert_status(stile_rlock_check(NULL, &hold, NULL), STILE_INVALID);
    assert_int_equal(stile_rlock_depth(NULL, 0), 0);
    assert_status(stile_rlock_acquire(rlock, 0, &hold), STILE_OK);
    assert_status(stile_rlock_acquire(rlock, -2, &hold), STILE_INVALID);
    assert_status(stile_rlock_release(rlock, &hold), STILE_OK);
    check_free(rlock);
    stile_rlock_close(rlock);
    stile_rlock_close(NULL);
}

/* ---- scoped use ------------------------------------------------------------------------------ */

static int leave_by_return(stile_lock *lock, stile_status *status)
{
    STILE_WITH_LOCK (lock, 0, hold, status)
        return hold->fence > 0;
    return -1;
}

static void block_runs_once_and_releases_on_every_way_out(void **state)
{
    stile_lock *lock = contract_lock_open("scope", NULL);
    stile_status status = STILE_UNKNOWN;
    int i, turns = 0;

    (void)state;
    STILE_WITH_LOCK (lock, 0, hold, &status) {
        contract_check_taken(lock);
        assert_status(stile_lock_check(lock, hold, NULL), STILE_OK);
        turns++;
    }
    assert_outcome(status, STILE_OK);
    contract_check_free(lock);
    STILE_WITH_LOCK (lock, 0, hold, &status) {
        turns++;
        if (hold->fence > 0)
            break;
        turns += 100;
    }
    assert_outcome(status, STILE_OK);
    contract_check_free(lock);
    for (i = 0; i < 3; i++) {
        STILE_WITH_LOCK (lock, 0, hold, &status) {
            turns++;
            if (hold->fence > 0)
                continue;
            turns += 100;
        }
        contract_check_free(lock);
    }
    STILE_WITH_LOCK (lock, 0, hold, &status) {
        turns++;
        if (hold->fence > 0)
            goto out;
    }
    turns += 100;
out:
    contract_check_free(lock);
    assert_int_equal(turns, 6);
    assert_int_equal(leave_by_return(lock, &status), 1);
    assert_outcome(status, STILE_OK);
    contract_check_free(lock);
}

static void block_does_not_run_without_the_lock(void **state)
{
    stile_lock *lock = contract_lock_open("closed scope", NULL);
    stile_status status = STILE_OK;
    stile_hold hold;
    bool ran = false;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    STILE_WITH_LOCK (lock, 0, inside, &status) {
        ran = inside != NULL;
    }
    assert_outcome(status, STILE_TIMEOUT);
    STILE_WITH_LOCK (lock, 0, inside, NULL) {
        ran = inside != NULL;
    }
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    STILE_WITH_LOCK (NULL, 0, inside, &status) {
        ran = inside != NULL;
    }
    assert_outcome(status, STILE_INVALID);
    assert_false(ran);
    assert_int_equal(leave_by_return(lock, &status), 1);
}

static void scopes_nest_with_the_reentrant_lock(void **state)
{
    stile_rlock *rlock = rlock_open("nested scope", NULL);
    stile_status status = STILE_UNKNOWN, inner_status = STILE_UNKNOWN;
    uint64_t depth = 0;

    (void)state;
    STILE_WITH_RLOCK (rlock, 0, hold, &status) {
        STILE_WITH_RLOCK (rlock, 0, inner, &inner_status) {
            depth = stile_rlock_depth(rlock, 0);
            assert_int_equal(hold->fence, inner->fence);
        }
        assert_int_equal(stile_rlock_depth(rlock, 0), 1);
    }
    assert_int_equal(depth, 2);
    assert_outcome(status, STILE_OK);
    assert_outcome(inner_status, STILE_OK);
    check_free(rlock);
    stile_rlock_close(rlock);
}

static void block_that_lost_its_lease_says_so(void **state)
{
    const stile_lock_options options = {.lease_ms = 100, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("lost scope", &options);
    stile_status status = STILE_UNKNOWN;

    (void)state;
    STILE_WITH_LOCK (lock, 0, hold, &status) {
        while (stile_lock_check(lock, hold, NULL) == STILE_OK)
            test_sleep_ms(5);
    }
    assert_outcome(status, STILE_LOST);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        contract_test(owner_acquires_again_whatever_the_timeout),
        contract_test(all_handles_of_one_name_count_together),
        contract_test(hold_outlives_all_handles_of_its_name),
        contract_test(levels_are_released_in_reverse_order_and_once),
        contract_test(another_thread_neither_gets_nor_releases_it),
        contract_test(rlock_and_lock_of_one_name_are_two_objects),
        contract_test(depth_has_an_end_and_nothing_changes_there),
        contract_test(deeper_levels_ask_no_server),
        contract_test(thread_that_ends_leaves_the_lock_taken),
        contract_test(owner_can_be_a_number_that_threads_share),
        contract_test(lease_is_that_of_all_levels),
        contract_test(reentry_after_the_lease_is_lost_and_no_new_hold),
        contract_test(future_of_a_free_lock_gives_its_owner_the_first_level),
        contract_test(future_waits_for_another_owner),
        contract_test(level_that_nobody_took_is_released_with_its_future),
        contract_test(future_needs_an_owner_that_is_a_number),
        contract_test(owner_whose_lock_was_taken_by_force_is_told_at_its_next_call),
        contract_test(watch_of_any_level_tells_of_the_outermost),
        contract_test(another_number_of_the_same_thread_is_waited_for),
        contract_test(missing_arguments_are_named),
        contract_test(block_runs_once_and_releases_on_every_way_out),
        contract_test(block_does_not_run_without_the_lock),
        contract_test(scopes_nest_with_the_reentrant_lock),
        contract_test(block_that_lost_its_lease_says_so),
    };
    int failed;

    if (!contract_begin(argc, argv))
        return 2;
    failed = cmocka_run_group_tests_name("rlock", tests, NULL, NULL);
    contract_end();
    return failed == 0 ? 0 : 1;
}
