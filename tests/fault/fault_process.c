/*
 * Processes that hold, wait for or give back a lock are killed, stopped and
 * forked: nobody else waits longer than promised, and nobody is given what
 * another one has.
 */
#include "fault/lock_scene.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/proxy.h"
#include "redis_script.h"

#define LEASE_MS 500
#define RECHECK_MS 200
#define CLAIM_MS 200
#define WAITER_LEASE_MS 2000
#define SETTINGS "lease_ms=500&recheck_ms=200&claim_ms=200&waiter_lease_ms=2000"
/* For whom a grant to a dead waiter would be expensive. */
#define LONG_CLAIM_SETTINGS "lease_ms=500&recheck_ms=200&claim_ms=5000&waiter_lease_ms=20000"

/* How long a waiter may need to see what nobody tells it. */
#define POLL_MS (RECHECK_MS * 12 / 10)

static struct test_server server;
static struct test_census before;

/* What a child and the test know of each other; in shared memory. */
struct scene {
    char url[256];       /* written before the first step */
    struct test_flag go; /* steps that the child may take */
    struct test_flag at; /* steps that it has taken */
    _Atomic uint64_t fence;
    uint64_t highest; /* of the resource that the lock protects */
    bool accepted;    /* whether it took the child's write */
    stile_status checked, extended, released;
};

/* ---- surroundings ------------------------------------------------------------- */

static int start_server(void **state)
{
    (void)state;
    return test_server_start(NULL, &server) ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

static int begin(void **state)
{
    struct scene *scene = test_shared_alloc(sizeof *scene);

    test_redis(&server, NULL, 0, "FLUSHALL", NULL);
    before = test_census_take();
    snprintf(scene->url, sizeof scene->url, "%s", test_server_unix_url(&server));
    *state = scene;
    return 0;
}

static int end(void **state)
{
    test_shared_free(*state, sizeof(struct scene));
    scene_await_clean(&server, SOON_MS);
    return test_census_is_back(&before) ? 0 : -1;
}

/* The server forgets the connections of the dead only when it has seen their end. */
static void await_clients(unsigned count)
{
    int64_t until = test_now_ms() + SOON_MS;
    char text[4096], wanted[32];

    snprintf(wanted, sizeof wanted, "connected_clients:%u\r", count + 1);
    do {
        assert_true(test_now_ms() < until);
        assert_int_equal(test_redis(&server, text, sizeof text, "INFO", "clients", NULL),
                         TEST_REPLY_OK);
    } while (strstr(text, wanted) == NULL);
}

/* ---- what children do ------------------------------------------------------------ */

/* Acquires, step 1; when told, gives back, step 2; when told, closes and ends. */
static int hold_and_give_back(void *arg)
{
    struct scene *scene = arg;
    stile_lock *lock;
    stile *space;
    stile_hold hold;

    test_child_check(test_flag_wait(&scene->go, 1, SOON_MS));
    space = scene_child_open(scene->url, SETTINGS);
    lock = scene_child_lock(space, "ledger");
    test_child_check(stile_lock_acquire(lock, SOON_MS, &hold) == STILE_OK);
    atomic_store(&scene->fence, hold.fence);
    test_flag_set(&scene->at, 1);
    test_child_check(test_flag_wait(&scene->go, 2, SOON_MS));
    scene->checked = stile_lock_check(lock, &hold, NULL);
    scene->accepted = stile_fence_check(&scene->highest, hold.fence);
    scene->extended = stile_lock_extend(lock, &hold, 1000);
    scene->released = stile_lock_release(lock, &hold);
    test_flag_set(&scene->at, 2);
    test_flag_wait(&scene->go, 3, 3 * SOON_MS);
    stile_lock_close(lock);
    stile_close(space);
    return 0;
}

/* Acquires for at least LEAST_MS with a lease that is shorter, to be killed. */
#define LEAST_MS 1500

static int hold_at_least(void *arg)
{
    const stile_lock_options least = {.lease_ms = 200, .min_hold_ms = LEAST_MS};
    struct scene *scene = arg;
    stile_lock *lock;
    stile_hold hold;

    test_child_check(test_flag_wait(&scene->go, 1, SOON_MS));
    lock = scene_child_lock(scene_child_open(scene->url, SETTINGS), "ledger");
    test_child_check(stile_lock_acquire_with(lock, SOON_MS, &least, &hold) == STILE_OK);
    test_flag_set(&scene->at, 1);
    test_flag_wait(&scene->go, 3, 3 * SOON_MS);
    return 0;
}

enum { MANY = 100 };

/* Waits in many threads, to be killed. */
static int wait_many_times(void *arg)
{
    struct scene *scene = arg;
    struct caller callers[MANY];
    stile_lock *lock;

    test_child_check(test_flag_wait(&scene->go, 1, SOON_MS));
    lock = scene_child_lock(scene_child_open(scene->url, SETTINGS), "ledger");
    for (int i = 0; i < MANY; i++)
        caller_start(&callers[i], lock, STILE_FOREVER);
    test_flag_wait(&scene->go, 3, 3 * SOON_MS);
    return 0;
}

/* ---- killed ------------------------------------------------------------------------ */

static void the_lock_of_a_killed_holder_goes_to_who_waits_within_its_lease(void **state)
{
    struct scene *scene = *state;
    struct test_process holder;
    struct caller waiter;
    stile_lock *lock;
    int64_t killed_ms;
    stile *space;

    assert_true(test_spawn(&holder, hold_and_give_back, scene));
    test_flag_set(&scene->go, 1);
    assert_true(test_flag_wait(&scene->at, 1, SOON_MS));
    space = scene_open(scene->url, SETTINGS);
    lock = scene_lock(space, "ledger");
    caller_start(&waiter, lock, SOON_MS);
    scene_await_queue(&server, "ledger", 1);
    test_process_kill(&holder);
    killed_ms = test_now_ms();
    expect_ok(caller_join(&waiter));
    assert_true(waiter.back_ms - killed_ms <= LEASE_MS + POLL_MS + SLACK_MS);
    assert_true(waiter.hold.fence > atomic_load(&scene->fence));
    expect_ok(stile_lock_release(lock, &waiter.hold));
    stile_lock_close(lock);
    stile_close(space);
}

static void the_lock_of_a_killed_holder_stays_taken_for_its_least_time(void **state)
{
    struct scene *scene = *state;
    struct test_process holder;
    int64_t from_ms, held_ms;
    stile_lock *lock;
    stile *space;
    stile_hold hold;

    assert_true(test_spawn(&holder, hold_at_least, scene));
    from_ms = test_now_ms();
    test_flag_set(&scene->go, 1);
    assert_true(test_flag_wait(&scene->at, 1, SOON_MS));
    held_ms = test_now_ms();
    test_process_kill(&holder);
    space = scene_open(scene->url, SETTINGS);
    lock = scene_lock(space, "ledger");
    expect_ok(stile_lock_acquire(lock, SOON_MS, &hold));
    assert_true(test_now_ms() - from_ms >= LEAST_MS);
    assert_true(test_now_ms() - held_ms <= LEAST_MS + POLL_MS + SLACK_MS);
    expect_ok(stile_lock_release(lock, &hold));
    stile_lock_close(lock);
    stile_close(space);
}

enum point { ASKING, ANSWERED, QUEUED, HOLDING, GIVING_BACK, GIVEN_BACK, POINTS };

/* Leads a child to the point and kills it there. */
static void kill_at(enum point point, struct scene *scene, struct test_process *child,
                    struct proxy *proxy, stile_lock *lock)
{
    static const enum proxy_action actions[POINTS] = {[ASKING] = PROXY_HOLD_REQUEST,
                                                      [ANSWERED] = PROXY_HOLD_REPLY,
                                                      [GIVING_BACK] = PROXY_HOLD_REQUEST,
                                                      [GIVEN_BACK] = PROXY_HOLD_REPLY};
    struct proxy_rule rule = {.action = actions[point],
                              .command = "EVALSHA",
                              .contains = point < QUEUED ? stile__script_lock_try.sha1
                                                         : stile__script_lock_release.sha1};
    stile_hold hold;
    int number = -1;

    if (point == QUEUED)
        expect_ok(stile_lock_acquire(lock, SOON_MS, &hold));
    else if (point != HOLDING)
        number = proxy_rule_add(proxy, &rule);
    test_flag_set(&scene->go, point == GIVING_BACK || point == GIVEN_BACK ? 2 : 1);
    if (point == QUEUED)
        scene_await_queue(&server, "ledger", 1);
    else if (point == HOLDING)
        assert_true(test_flag_wait(&scene->at, 1, SOON_MS));
    else
        assert_true(proxy_wait(proxy, number, 1, SOON_MS));
    test_process_kill(child);
    if (number >= 0) {
        proxy_rule_remove(proxy, number);
        assert_true(proxy_wait_answered(proxy, number, 1, SOON_MS));
    }
    if (point == QUEUED)
        expect_ok(stile_lock_release(lock, &hold));
}

static void a_process_killed_at_any_point_leaves_the_lock_to_others(void **state)
{
    struct scene *scene = *state;
    int point;

    for (point = 0; point < POINTS; point++) {
        struct test_process child;
        struct proxy *proxy;
        stile_hold hold;
        stile_lock *lock;
        stile *space;

        memset(scene, 0, sizeof *scene);
        assert_true(test_spawn(&child, hold_and_give_back, scene));
        proxy = proxy_start(test_server_unix_path(&server));
        assert_non_null(proxy);
        snprintf(scene->url, sizeof scene->url, "%s", proxy_unix_url(proxy));
        space = scene_open(test_server_unix_url(&server), SETTINGS);
        lock = scene_lock(space, "ledger");
        kill_at((enum point)point, scene, &child, proxy, lock);
        expect_ok(stile_lock_acquire(lock, LEASE_MS + POLL_MS + SLACK_MS, &hold));
        assert_true(hold.fence > atomic_load(&scene->fence));
        expect_ok(stile_lock_release(lock, &hold));
        stile_lock_close(lock);
        stile_close(space);
        proxy_stop(proxy);
        scene_await_clean(&server, SOON_MS);
    }
}

/* Lets count waiters in children queue behind a hold, and a waiter of its own behind
 * them; kills the children and gives the lock back.  Returns how long its own waiter
 * needed from then on. */
static int64_t kill_waiters(struct scene *scene, struct proxy *proxy, const char *settings,
                            struct test_process *children, unsigned child_count, unsigned count)
{
    stile *space = scene_open(test_server_unix_url(&server), settings);
    stile_lock *lock = scene_lock(space, "ledger");
    struct caller waiter;
    int64_t released_ms;
    stile_hold hold;

    expect_ok(stile_lock_acquire(lock, SOON_MS, &hold));
    test_flag_set(&scene->go, 1);
    scene_await_queue(&server, "ledger", count);
    caller_start(&waiter, lock, SOON_MS);
    scene_await_queue(&server, "ledger", count + 1);
    if (proxy != NULL) {
        struct proxy_rule nothing = {.action = PROXY_SWALLOW_REQUESTS};

        assert_true(proxy_rule_add(proxy, &nothing) >= 0);
    }
    for (unsigned i = 0; i < child_count; i++)
        test_process_kill(&children[i]);
    if (proxy == NULL)
        await_clients(2);
    released_ms = test_now_ms();
    expect_ok(stile_lock_release(lock, &hold));
    expect_ok(caller_join(&waiter));
    assert_true(waiter.hold.fence > hold.fence);
    expect_ok(stile_lock_release(lock, &waiter.hold));
    stile_lock_close(lock);
    stile_close(space);
    return waiter.back_ms - released_ms;
}

static int64_t kill_waiters_near(struct scene *scene, unsigned count)
{
    struct test_process children[MANY];

    for (unsigned i = 0; i < count; i++)
        assert_true(test_spawn(&children[i], hold_and_give_back, scene));
    return kill_waiters(scene, NULL, LONG_CLAIM_SETTINGS, children, count, count);
}

/* Their machine is gone: the server does not hear of their end. */
static int64_t kill_waiters_far(struct scene *scene, int (*wait)(void *arg), unsigned child_count,
                                unsigned count)
{
    struct test_process children[MANY];
    struct proxy *proxy;
    int64_t took_ms;

    for (unsigned i = 0; i < child_count; i++)
        assert_true(test_spawn(&children[i], wait, scene));
    proxy = proxy_start(test_server_unix_path(&server));
    assert_non_null(proxy);
    snprintf(scene->url, sizeof scene->url, "%s", proxy_unix_url(proxy));
    took_ms = kill_waiters(scene, proxy, SETTINGS, children, child_count, count);
    proxy_stop(proxy);
    return took_ms;
}

static void a_waiter_killed_in_the_queue_delays_nobody(void **state)
{
    assert_true(kill_waiters_near(*state, 1) <= SLACK_MS);
}

static void a_hundred_waiters_killed_at_once_delay_nobody(void **state)
{
    assert_true(kill_waiters_near(*state, MANY) <= SLACK_MS);
}

static void a_waiter_whose_machine_vanished_costs_others_one_claim(void **state)
{
    int64_t took_ms = kill_waiters_far(*state, hold_and_give_back, 1, 1);

    /* Less would mean that it was not granted at all, and nothing was seen here. */
    assert_true(took_ms >= CLAIM_MS);
    assert_true(took_ms <= CLAIM_MS + POLL_MS + SLACK_MS);
}

static void a_hundred_waiters_of_a_vanished_process_cost_others_one_claim(void **state)
{
    assert_true(kill_waiters_far(*state, wait_many_times, 1, MANY) <=
                CLAIM_MS + POLL_MS + SLACK_MS);
}

static void a_hundred_vanished_processes_cost_others_one_waiter_lease(void **state)
{
    assert_true(kill_waiters_far(*state, hold_and_give_back, MANY, MANY) <=
                WAITER_LEASE_MS + CLAIM_MS + POLL_MS + SLACK_MS);
}

enum { HOLDS = 50 };

/* Holds many locks, and waits to be killed. */
static int hold_many(void *arg)
{
    struct scene *scene = arg;
    stile *space = scene_child_open(scene->url, SETTINGS);

    for (int i = 0; i < HOLDS; i++) {
        stile_hold hold;
        char name[16];

        snprintf(name, sizeof name, "many-%d", i);
        test_child_check(stile_lock_acquire(scene_child_lock(space, name), SOON_MS, &hold) ==
                         STILE_OK);
    }
    test_flag_set(&scene->at, 1);
    test_flag_wait(&scene->go, 1, SOON_MS);
    return 0;
}

static void all_holds_of_a_killed_process_end_within_their_lease(void **state)
{
    struct scene *scene = *state;
    struct test_process holder;

    assert_true(test_spawn(&holder, hold_many, scene));
    assert_true(test_flag_wait(&scene->at, 1, SOON_MS));
    test_process_kill(&holder);
    scene_await_clean(&server, LEASE_MS + SLACK_MS);
}

/* ---- stopped ------------------------------------------------------------------------- */

static void a_holder_stopped_past_its_lease_is_told_and_harms_nobody(void **state)
{
    struct scene *scene = *state;
    struct test_process stopped;
    stile_hold hold;
    stile_lock *lock;
    stile *space;

    assert_true(test_spawn(&stopped, hold_and_give_back, scene));
    test_flag_set(&scene->go, 1);
    assert_true(test_flag_wait(&scene->at, 1, SOON_MS));
    test_process_pause(&stopped);
    space = scene_open(scene->url, SETTINGS);
    lock = scene_lock(space, "ledger");
    expect_ok(stile_lock_acquire(lock, SOON_MS, &hold));
    assert_true(hold.fence > atomic_load(&scene->fence));
    assert_true(stile_fence_check(&scene->highest, hold.fence));
    test_flag_set(&scene->go, 2);
    test_process_resume(&stopped);
    assert_true(test_flag_wait(&scene->at, 2, SOON_MS));
    assert_int_equal(scene->checked, STILE_LOST);
    assert_int_equal(scene->extended, STILE_LOST);
    assert_int_equal(scene->released, STILE_LOST);
    assert_false(scene->accepted);
    assert_true(stile_fence_check(&scene->highest, hold.fence));
    /* Its thread cleans up after the loss, too. */
    test_flag_set(&scene->go, 3);
    assert_int_equal(test_process_wait(&stopped, SOON_MS), 0);
    expect_ok(stile_lock_check(lock, &hold, NULL));
    assert_true(scene_owned(&server, "ledger"));
    expect_ok(stile_lock_release(lock, &hold));
    stile_lock_close(lock);
    stile_close(space);
}

static void a_grant_to_a_stopped_waiter_passes_on(void **state)
{
    struct scene *scene = *state;
    struct test_process stopped;
    struct caller waiter;
    stile_hold hold;
    stile_lock *lock;
    stile *space;
    int64_t released_ms;

    assert_true(test_spawn(&stopped, hold_and_give_back, scene));
    space = scene_open(scene->url, SETTINGS);
    lock = scene_lock(space, "ledger");
    expect_ok(stile_lock_acquire(lock, SOON_MS, &hold));
    test_flag_set(&scene->go, 1);
    scene_await_queue(&server, "ledger", 1);
    caller_start(&waiter, lock, SOON_MS);
    scene_await_queue(&server, "ledger", 2);
    test_process_pause(&stopped);
    released_ms = test_now_ms();
    expect_ok(stile_lock_release(lock, &hold));
    expect_ok(caller_join(&waiter));
    assert_true(waiter.back_ms - released_ms >= CLAIM_MS);
    assert_true(waiter.back_ms - released_ms <= CLAIM_MS + POLL_MS + SLACK_MS);
    /* When it goes on it finds the grant it missed, does not believe in it, and
     * gets the lock in its turn. */
    test_process_resume(&stopped);
    test_sleep_ms(2 * POLL_MS);
    expect_ok(stile_lock_check(lock, &waiter.hold, NULL));
    assert_int_equal(test_flag_get(&scene->at), 0);
    expect_ok(stile_lock_release(lock, &waiter.hold));
    assert_true(test_flag_wait(&scene->at, 1, SOON_MS));
    assert_true(atomic_load(&scene->fence) > waiter.hold.fence);
    test_flag_set(&scene->go, 3);
    assert_int_equal(test_process_wait(&stopped, SOON_MS), 0);
    assert_int_equal(scene->released, STILE_OK);
    stile_lock_close(lock);
    stile_close(space);
}

/* It was the owner when the answer was written, and is none when it is read. */
static void an_answer_read_after_its_lease_is_no_hold(void **state)
{
    struct proxy_rule rule = {.action = PROXY_HOLD_REPLY,
                              .command = "EVALSHA",
                              .contains = stile__script_lock_try.sha1,
                              .nth = 1};
    struct scene *scene = *state;
    struct test_process stopped;
    struct proxy *proxy;
    stile_lock *lock;
    stile *space;
    stile_hold hold;
    int number;

    assert_true(test_spawn(&stopped, hold_and_give_back, scene));
    proxy = proxy_start(test_server_unix_path(&server));
    assert_non_null(proxy);
    snprintf(scene->url, sizeof scene->url, "%s", proxy_unix_url(proxy));
    number = proxy_rule_add(proxy, &rule);
    test_flag_set(&scene->go, 1);
    assert_true(proxy_wait(proxy, number, 1, SOON_MS));
    test_process_pause(&stopped);
    proxy_rule_remove(proxy, number);
    space = scene_open(test_server_unix_url(&server), SETTINGS);
    lock = scene_lock(space, "ledger");
    expect_ok(stile_lock_acquire(lock, SOON_MS, &hold));
    test_process_resume(&stopped);
    scene_await_queue(&server, "ledger", 1);
    expect_ok(stile_lock_check(lock, &hold, NULL));
    assert_int_equal(test_flag_get(&scene->at), 0);
    expect_ok(stile_lock_release(lock, &hold));
    assert_true(test_flag_wait(&scene->at, 1, SOON_MS));
    assert_true(atomic_load(&scene->fence) > hold.fence);
    test_flag_set(&scene->go, 3);
    assert_int_equal(test_process_wait(&stopped, SOON_MS), 0);
    assert_int_equal(scene->checked, STILE_OK);
    assert_int_equal(scene->released, STILE_OK);
    stile_lock_close(lock);
    stile_close(space);
    proxy_stop(proxy);
}

/* ---- forked ---------------------------------------------------------------------------- */

struct inherited {
    stile *space;
    stile_lock *lock;
    const stile_hold *hold;
};

/* Everything a child can do with what it inherited. */
static int use_inherited(void *arg)
{
    const struct inherited *inherited = arg;
    stile_lock *other = NULL;
    stile_hold hold = {.fence = 42};

    test_child_check(stile_lock_acquire(inherited->lock, 0, &hold) == STILE_FORKED);
    test_child_check(stile_lock_acquire(inherited->lock, 1000, &hold) == STILE_FORKED);
    test_child_check(hold.fence == 42);
    test_child_check(stile_lock_check(inherited->lock, inherited->hold, NULL) == STILE_FORKED);
    test_child_check(stile_lock_extend(inherited->lock, inherited->hold, 1000) == STILE_FORKED);
    test_child_check(stile_lock_release(inherited->lock, inherited->hold) == STILE_FORKED);
    test_child_check(stile_lock_open(inherited->space, "ledger", NULL, &other) == STILE_FORKED);
    stile_close(inherited->space);
    stile_lock_close(inherited->lock);
    return 0;
}

/* For as long as nothing is due in the parent, whatever is sent is the child's. */
static void a_child_sends_nothing_on_what_it_inherited(void **state)
{
    struct proxy *proxy = proxy_start(test_server_unix_path(&server));
    struct proxy_rule watch = {
        .action = PROXY_WATCH, .command = "EVALSHA", .contains = stile__script_lock_acquire.sha1};
    struct inherited inherited;
    struct test_process child;
    struct caller waiter;
    uint64_t sent;
    stile_hold hold;
    int queued;

    (void)state;
    assert_non_null(proxy);
    queued = proxy_rule_add(proxy, &watch);
    inherited.space = scene_open(proxy_unix_url(proxy), "lease_ms=120000&recheck_ms=60000"
                                                        "&waiter_lease_ms=120000");
    inherited.lock = scene_lock(inherited.space, "ledger");
    inherited.hold = &hold;
    expect_ok(stile_lock_acquire(inherited.lock, SOON_MS, &hold));
    /* Who waits when the subscription is made looks once more. */
    caller_start(&waiter, inherited.lock, 50);
    assert_int_equal(caller_join(&waiter), STILE_TIMEOUT);
    caller_start(&waiter, inherited.lock, SOON_MS);
    assert_true(proxy_wait(proxy, queued, 2, SOON_MS));
    sent = proxy_counts(proxy).from_clients;
    for (int i = 0; i < 5; i++) {
        assert_true(test_spawn(&child, use_inherited, &inherited));
        assert_int_equal(test_process_wait(&child, SOON_MS), 0);
    }
    assert_int_equal(proxy_counts(proxy).from_clients, sent);
    assert_int_equal(proxy_counts(proxy).open, 2);
    expect_ok(stile_lock_release(inherited.lock, &hold));
    expect_ok(caller_join(&waiter));
    expect_ok(stile_lock_release(inherited.lock, &waiter.hold));
    stile_lock_close(inherited.lock);
    stile_close(inherited.space);
    proxy_stop(proxy);
}

static void forks_do_not_disturb_who_waits_and_renews(void **state)
{
    int64_t until = test_now_ms() + 2 * LEASE_MS;
    struct inherited inherited;
    struct caller waiter;
    stile_hold hold;

    (void)state;
    inherited.space = scene_open(test_server_unix_url(&server), SETTINGS);
    inherited.lock = scene_lock(inherited.space, "ledger");
    inherited.hold = &hold;
    expect_ok(stile_lock_acquire(inherited.lock, SOON_MS, &hold));
    caller_start(&waiter, inherited.lock, SOON_MS);
    scene_await_queue(&server, "ledger", 1);
    while (test_now_ms() < until) {
        struct test_process child;

        assert_true(test_spawn(&child, use_inherited, &inherited));
        assert_int_equal(test_process_wait(&child, SOON_MS), 0);
    }
    expect_ok(stile_lock_check(inherited.lock, &hold, NULL));
    expect_ok(stile_lock_release(inherited.lock, &hold));
    expect_ok(caller_join(&waiter));
    expect_ok(stile_lock_release(inherited.lock, &waiter.hold));
    stile_lock_close(inherited.lock);
    stile_close(inherited.space);
}

#define scened(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        scened(the_lock_of_a_killed_holder_goes_to_who_waits_within_its_lease),
        scened(the_lock_of_a_killed_holder_stays_taken_for_its_least_time),
        scened(a_process_killed_at_any_point_leaves_the_lock_to_others),
        scened(a_waiter_killed_in_the_queue_delays_nobody),
        scened(a_hundred_waiters_killed_at_once_delay_nobody),
        scened(a_waiter_whose_machine_vanished_costs_others_one_claim),
        scened(a_hundred_waiters_of_a_vanished_process_cost_others_one_claim),
        scened(a_hundred_vanished_processes_cost_others_one_waiter_lease),
        scened(all_holds_of_a_killed_process_end_within_their_lease),
        scened(a_holder_stopped_past_its_lease_is_told_and_harms_nobody),
        scened(a_grant_to_a_stopped_waiter_passes_on),
        scened(an_answer_read_after_its_lease_is_no_hold),
        scened(a_child_sends_nothing_on_what_it_inherited),
        scened(forks_do_not_disturb_who_waits_and_renews),
    };

    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
