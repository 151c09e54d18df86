/*
 * Holds whose renewals and releases are late, lost or out of order, and holds that go
 * from one process to another: what a watch says, and when.
 */
#include "fault/lock_scene.h"

#include <stdio.h>
#include <string.h>

#include "fault/proxy.h"
#include "redis_script.h"

static struct test_server server;
static struct proxy *proxy;
static struct test_census before;

/* One that goes through the proxy and one that does not, of the same lock. */
static stile *far_space, *near_space;
static stile_lock *far, *near;

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

/* Behind the proxy, with these settings. */
static void begin(const char *settings)
{
    test_redis(&server, NULL, 0, "FLUSHALL", NULL);
    before = test_census_take();
    proxy = proxy_start(test_server_unix_path(&server));
    assert_non_null(proxy);
    far_space = scene_open(proxy_unix_url(proxy), settings);
    far = scene_lock(far_space, "ledger");
    near_space = scene_open(test_server_unix_url(&server), settings);
    near = scene_lock(near_space, "ledger");
}

static void end(void)
{
    proxy_rules_clear(proxy);
    scene_await_clean(&server, SOON_MS);
    stile_lock_close(far);
    stile_lock_close(near);
    stile_close(far_space);
    stile_close(near_space);
    proxy_stop(proxy);
    assert_true(test_census_is_back(&before));
}

/* A rule about one script. */
static int add_rule(const struct redis_script *script, struct proxy_rule rule)
{
    int number;

    rule.command = "EVALSHA";
    rule.contains = script->sha1;
    number = proxy_rule_add(proxy, &rule);
    assert_true(number >= 0);
    return number;
}

#define script_rule(script, ...) add_rule(&stile__script_##script, (struct proxy_rule){__VA_ARGS__})

/* What a callback was told, and when. */
struct told {
    struct test_flag count;
    stile_hold_state states[16];
    int64_t at_ms[16];
};

static void note(stile_watch *watch, stile_hold_state state, void *argument)
{
    struct told *told = argument;
    uint32_t at = test_flag_get(&told->count);

    (void)watch;
    told->states[at] = state;
    told->at_ms[at] = test_now_ms();
    test_flag_add(&told->count);
}

/* Waits until it is told this, among other things; when that was. */
static int64_t await_told(struct told *told, stile_hold_state state)
{
    uint32_t i;

    for (i = 0;; i++) {
        assert_true(test_flag_wait(&told->count, i + 1, SOON_MS));
        if (told->states[i] == state)
            return told->at_ms[i];
    }
}

static stile_watch *watch(stile_lock *lock, const stile_hold *hold, struct told *told)
{
    stile_watch *made = NULL;

    expect_ok(stile_lock_watch(lock, hold, note, told, &made));
    return made;
}

/* ---- suspect ------------------------------------------------------------------------ */

static void a_hung_server_makes_a_hold_suspect_and_then_lost(void **state)
{
    struct told told = {.count = {0}};
    int64_t began_ms, lost_ms;
    stile_watch *watched;
    stile_hold hold;

    (void)state;
    begin("lease_ms=900&command_timeout_ms=100");
    began_ms = test_now_ms();
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    test_server_pause(&server);
    watched = watch(far, &hold, &told);
    assert_int_equal(stile_watch_state(watched), STILE_HELD);
    await_told(&told, STILE_SUSPECT);
    assert_int_equal(told.states[0], STILE_SUSPECT);
    /* It still counts. */
    expect_ok(stile_lock_check(far, &hold, NULL));
    assert_int_equal(stile_watch_state(watched), STILE_SUSPECT);
    lost_ms = await_told(&told, STILE_HOLD_LOST);
    assert_in_range(lost_ms - began_ms, 900 - 9 - 4, 900 + SLACK_MS);
    /* On the server it ends later than here. */
    while (stile_watch_state(watched) != STILE_HOLD_LOST)
        assert_true(test_now_ms() < began_ms + 900);
    test_server_resume(&server);
    expect_status(stile_lock_release(far, &hold), STILE_LOST);
    stile_watch_close(watched);
    assert_int_equal(test_flag_get(&told.count), 2);
    scene_expect_free(near, SOON_MS);
    end();
}

static void a_suspect_hold_is_held_again_when_a_renewal_succeeds(void **state)
{
    struct told told = {.count = {0}};
    stile_watch *watched;
    stile_hold hold;

    (void)state;
    begin("lease_ms=1500&command_timeout_ms=150");
    script_rule(lock_renew, .action = PROXY_DROP_REPLY, .nth = 1);
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    watched = watch(far, &hold, &told);
    await_told(&told, STILE_SUSPECT);
    await_told(&told, STILE_HELD);
    assert_int_equal(stile_watch_state(watched), STILE_HELD);
    expect_ok(stile_lock_release(far, &hold));
    await_told(&told, STILE_RELEASED);
    assert_int_equal(test_flag_get(&told.count), 3);
    stile_watch_close(watched);
    end();
}

/* ---- the clock ------------------------------------------------------------------------ */

static void a_renewal_that_hangs_delays_no_news_of_a_loss(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 700, .fixed_lease = true};
    struct told told[2] = {{.count = {0}}, {.count = {0}}};
    stile_watch *watches[2];
    stile_lock *other;
    stile_hold hold, second;
    int64_t began_ms;
    int held;

    (void)state;
    begin("lease_ms=1000&command_timeout_ms=4000");
    other = scene_lock(far_space, "other");
    held = script_rule(lock_renew, .action = PROXY_HOLD_REPLY);
    began_ms = test_now_ms();
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    expect_ok(stile_lock_acquire_with(other, SOON_MS, &fixed, &second));
    watches[0] = watch(far, &hold, &told[0]);
    watches[1] = watch(other, &second, &told[1]);
    /* The other's, and its own. */
    assert_true(await_told(&told[1], STILE_HOLD_LOST) < began_ms + 700 + SLACK_MS);
    assert_true(await_told(&told[0], STILE_HOLD_LOST) < began_ms + 1000 + SLACK_MS);
    assert_int_equal(proxy_rule_counts(proxy, held).matched, 1);
    assert_int_equal(test_flag_get(&told[0].count), 1);
    proxy_rules_clear(proxy);
    expect_status(stile_lock_release(far, &hold), STILE_LOST);
    expect_status(stile_lock_release(other, &second), STILE_LOST);
    stile_watch_close(watches[0]);
    stile_watch_close(watches[1]);
    stile_lock_close(other);
    end();
}

static void an_answer_after_the_end_of_belief_revives_nothing(void **state)
{
    struct told told = {.count = {0}};
    stile_watch *watched;
    stile_hold hold;
    int held;

    (void)state;
    begin("lease_ms=600&command_timeout_ms=4000");
    held = script_rule(lock_renew, .action = PROXY_HOLD_REPLY);
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    /* The server renewed it, and nobody heard. */
    assert_true(proxy_wait_answered(proxy, held, 1, SOON_MS));
    while (stile_lock_check(far, &hold, NULL) == STILE_OK)
        test_sleep_ms(1);
    expect_status(stile_lock_check(far, &hold, NULL), STILE_LOST);
    watched = watch(far, &hold, &told);
    proxy_rules_clear(proxy);
    /* The library gives back what the server took for renewed. */
    scene_await_owned(&server, "ledger", false);
    expect_status(stile_lock_check(far, &hold, NULL), STILE_LOST);
    assert_int_equal(stile_watch_state(watched), STILE_HOLD_LOST);
    expect_status(stile_lock_release(far, &hold), STILE_LOST);
    stile_watch_close(watched);
    assert_int_equal(test_flag_get(&told.count), 1);
    end();
}

static void no_renewal_is_sent_once_belief_reaches_max_hold(void **state)
{
    struct told told = {.count = {0}};
    int64_t began_ms, lost_ms;
    stile_watch *watched;
    stile_hold hold;
    int renewed;

    (void)state;
    begin("lease_ms=600&max_hold_ms=900&command_timeout_ms=200");
    renewed = script_rule(lock_renew, .action = PROXY_WATCH);
    began_ms = test_now_ms();
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    watched = watch(far, &hold, &told);
    lost_ms = await_told(&told, STILE_HOLD_LOST);
    assert_in_range(lost_ms - began_ms, 900 - 9 - 4, 900 + SLACK_MS);
    /* At a third of the lease, and at two. */
    assert_in_range(proxy_rule_counts(proxy, renewed).matched, 1, 2);
    expect_status(stile_lock_release(far, &hold), STILE_LOST);
    stile_watch_close(watched);
    scene_expect_free(near, SLACK_MS);
    end();
}

/* ---- release against renewal -------------------------------------------------------------- */

static void a_renewal_that_arrives_after_the_release_harms_nobody(void **state)
{
    struct told told = {.count = {0}};
    stile_watch *watched;
    stile_hold hold, next;
    int held;

    (void)state;
    begin("lease_ms=3000&command_timeout_ms=200");
    held = script_rule(lock_renew, .action = PROXY_HOLD_REQUEST, .nth = 1);
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    watched = watch(far, &hold, &told);
    /* The renewal was given up, and lies in the network. */
    await_told(&told, STILE_SUSPECT);
    expect_ok(stile_lock_release(far, &hold));
    assert_int_equal(stile_watch_state(watched), STILE_RELEASED);
    expect_ok(stile_lock_acquire(near, SOON_MS, &next));
    proxy_release(proxy, held);
    assert_true(proxy_wait_answered(proxy, held, 1, SOON_MS));
    expect_ok(stile_lock_check(near, &next, NULL));
    assert_int_equal(scene_fence(&server, "ledger"), next.fence);
    expect_status(stile_lock_check(far, &hold, NULL), STILE_NOT_HELD);
    expect_ok(stile_lock_release(near, &next));
    /* Nobody's lease was brought back either. */
    assert_false(scene_owned(&server, "ledger"));
    stile_watch_close(watched);
    end();
}

static void a_release_that_is_late_is_followed_by_no_renewal(void **state)
{
    struct told told = {.count = {0}};
    stile_watch *watched;
    stile_hold hold;
    unsigned renewals;
    int held, renewed;

    (void)state;
    begin("lease_ms=600&command_timeout_ms=300");
    held = script_rule(lock_release, .action = PROXY_HOLD_REQUEST);
    renewed = script_rule(lock_renew, .action = PROXY_WATCH);
    script_rule(lock_abandon, .action = PROXY_SWALLOW_REQUESTS);
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    watched = watch(far, &hold, &told);
    assert_true(proxy_wait(proxy, renewed, 1, SOON_MS));
    expect_status(stile_lock_release(far, &hold), STILE_UNKNOWN);
    renewals = proxy_rule_counts(proxy, renewed).matched;
    assert_int_equal(stile_watch_state(watched), STILE_RELEASED);
    /* The release is in the network; the lease, which nobody renews, ends it. */
    scene_await_owned(&server, "ledger", false);
    assert_int_equal(proxy_rule_counts(proxy, renewed).matched, renewals);
    assert_true(proxy_rule_counts(proxy, held).matched >= 1);
    await_told(&told, STILE_RELEASED);
    assert_int_equal(test_flag_get(&told.count), 1);
    stile_watch_close(watched);
    end();
}

static void a_release_at_the_time_of_a_renewal_is_one_of_both(void **state)
{
    int i;

    (void)state;
    begin("lease_ms=100&command_timeout_ms=500");
    for (i = 0; i < 40; i++) {
        stile_hold hold;
        stile_status status;

        expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
        /* Around a third of the lease. */
        test_sleep_ms(28 + i % 10);
        status = stile_lock_release(far, &hold);
        /* A busy machine may have been late with the renewal. */
        if (status != STILE_LOST)
            expect_status(status, STILE_OK);
        expect_status(stile_lock_check(far, &hold, NULL), STILE_NOT_HELD);
        if (status == STILE_OK)
            assert_false(scene_owned(&server, "ledger"));
    }
    end();
}

/* ---- from one process to another ------------------------------------------------------------ */

/* What both processes know. */
struct passing {
    char url[256];
    char token[STILE_TOKEN_SIZE];
    struct test_flag given, adopted, go;
    uint64_t fence;
};

static int adopt_and_release(void *arg)
{
    struct passing *passing = arg;
    stile *space;
    stile_lock *lock;
    stile_hold hold;

    test_child_check(test_flag_wait(&passing->given, 1, SOON_MS));
    space = scene_child_open(passing->url, "lease_ms=500");
    lock = scene_child_lock(space, "ledger");
    test_child_check(stile_lock_adopt(lock, passing->token, &hold) == STILE_OK);
    passing->fence = hold.fence;
    test_flag_set(&passing->adopted, 1);
    test_child_check(test_flag_wait(&passing->go, 1, SOON_MS));
    test_child_check(stile_lock_release(lock, &hold) == STILE_OK);
    stile_lock_close(lock);
    stile_close(space);
    return 0;
}

/* Gives a hold to a child, which has it by the time that this returns. */
static void give_to(struct test_process *child, struct passing *passing)
{
    stile_hold hold;

    snprintf(passing->url, sizeof passing->url, "%s", test_server_unix_url(&server));
    assert_true(test_spawn(child, adopt_and_release, passing));
    begin("lease_ms=500&recheck_ms=100");
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    expect_ok(stile_lock_give(far, &hold, passing->token));
    test_flag_set(&passing->given, 1);
    assert_true(test_flag_wait(&passing->adopted, 1, SOON_MS));
    assert_true(passing->fence >= hold.fence);
    expect_status(stile_lock_release(far, &hold), STILE_NOT_HELD);
}

static void a_hold_that_was_given_away_is_renewed_by_who_has_it(void **state)
{
    struct passing *passing = test_shared_alloc(sizeof *passing);
    struct test_process child;
    int64_t until_ms;

    (void)state;
    give_to(&child, passing);
    until_ms = test_now_ms() + 1200;
    while (test_now_ms() < until_ms) {
        stile_hold hold;

        expect_status(stile_lock_acquire(near, 0, &hold), STILE_TIMEOUT);
        test_sleep_ms(10);
    }
    test_flag_set(&passing->go, 1);
    assert_int_equal(test_process_wait(&child, SOON_MS), 0);
    scene_expect_free(near, SLACK_MS);
    end();
    test_shared_free(passing, sizeof *passing);
}

static void a_hold_given_to_a_process_that_dies_ends_with_its_lease(void **state)
{
    struct passing *passing = test_shared_alloc(sizeof *passing);
    struct test_process child;

    (void)state;
    give_to(&child, passing);
    test_process_kill(&child);
    scene_expect_free(near, 500 + 120 + SLACK_MS);
    end();
    test_shared_free(passing, sizeof *passing);
}

/* ---- self-deadlocks ----------------------------------------------------------------------------- */

static void a_hold_that_was_taken_by_force_is_no_deadlock(void **state)
{
    stile_hold hold, next;
    struct caller caller;

    (void)state;
    begin("lease_ms=30000&recheck_ms=100");
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    expect_status(stile_lock_acquire(far, STILE_FOREVER, &next), STILE_DEADLOCK);
    test_redis(&server, NULL, 0, "DEL", scene_key("ledger", KEY_LOCK), NULL);
    /* It believes that it holds, and waits for another all the same. */
    caller_start(&caller, near, SOON_MS);
    expect_ok(caller_join(&caller));
    expect_ok(stile_lock_check(far, &hold, NULL));
    expect_ok(stile_lock_release(near, &caller.hold));
    expect_ok(stile_lock_acquire(far, STILE_FOREVER, &next));
    expect_ok(stile_lock_release(far, &next));
    expect_status(stile_lock_release(far, &hold), STILE_LOST);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hold_that_was_given_away_is_renewed_by_who_has_it),
        cmocka_unit_test(a_hold_given_to_a_process_that_dies_ends_with_its_lease),
        cmocka_unit_test(a_hung_server_makes_a_hold_suspect_and_then_lost),
        cmocka_unit_test(a_suspect_hold_is_held_again_when_a_renewal_succeeds),
        cmocka_unit_test(a_renewal_that_hangs_delays_no_news_of_a_loss),
        cmocka_unit_test(an_answer_after_the_end_of_belief_revives_nothing),
        cmocka_unit_test(no_renewal_is_sent_once_belief_reaches_max_hold),
        cmocka_unit_test(a_renewal_that_arrives_after_the_release_harms_nobody),
        cmocka_unit_test(a_release_that_is_late_is_followed_by_no_renewal),
        cmocka_unit_test(a_release_at_the_time_of_a_renewal_is_one_of_both),
        cmocka_unit_test(a_hold_that_was_taken_by_force_is_no_deadlock),
    };

    return cmocka_run_group_tests_name("holds, late and lost", tests, start_server, stop_server);
}
