/*
 * Requests, replies and messages are lost, late, out of order or cut off: a hold
 * is given once, a status is never wrong, and what nobody knows about goes away by
 * itself long before its lease.
 *
 * Over a server with a lease of half a minute, so that whatever is free again
 * within a few seconds was given back and did not run out.
 */
#include "fault/lock_scene.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/proxy.h"
#include "redis_script.h"

#define RECHECK_MS 200
#define COMMAND_MS 200
#define SETTINGS                                                                                   \
    "lease_ms=30000&recheck_ms=200&claim_ms=500&waiter_lease_ms=2000&command_timeout_ms=200"
/* For what has to be renewed. */
#define SHORT_SETTINGS                                                                             \
    "lease_ms=600&recheck_ms=200&claim_ms=500&waiter_lease_ms=2000&command_timeout_ms=200"
#define POLL_MS (RECHECK_MS * 12 / 10)
/* Until when a copy of an acquire may be executed; what it did is undone then. */
#define COPIES_MS (COMMAND_MS + 1000)

static struct test_server server;
static struct proxy *proxy;
static struct test_census before;

/* One that goes through the proxy and one that does not, of the same lock. */
static stile *far_space, *near_space;
static stile_lock *far, *near;

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

static int begin_with(const char *url, const char *settings)
{
    far_space = scene_open(url, settings);
    far = scene_lock(far_space, "ledger");
    near_space = scene_open(test_server_unix_url(&server), SETTINGS);
    near = scene_lock(near_space, "ledger");
    return 0;
}

static int start_proxy(void)
{
    test_redis(&server, NULL, 0, "FLUSHALL", NULL);
    before = test_census_take();
    proxy = proxy_start(test_server_unix_path(&server));
    return proxy != NULL ? 0 : -1;
}

static int begin(void **state)
{
    (void)state;
    return start_proxy() != 0 ? -1 : begin_with(proxy_unix_url(proxy), SETTINGS);
}

static int begin_over_tcp(void **state)
{
    (void)state;
    return start_proxy() != 0 ? -1 : begin_with(proxy_tcp_url(proxy), SETTINGS);
}

static int begin_short(void **state)
{
    (void)state;
    return start_proxy() != 0 ? -1 : begin_with(proxy_unix_url(proxy), SHORT_SETTINGS);
}

static void close_spaces(void)
{
    stile_lock_close(far);
    stile_lock_close(near);
    stile_close(far_space);
    stile_close(near_space);
}

static int end(void **state)
{
    struct sigaction action;

    (void)state;
    proxy_rules_clear(proxy);
    /* Before anything is closed: nothing of it is left to who closes. */
    scene_await_clean(&server, SOON_MS);
    close_spaces();
    proxy_stop(proxy);
    /* A library that hides from SIGPIPE behind its disposition is found out. */
    assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
    assert_ptr_equal(action.sa_handler, SIG_DFL);
    return test_census_is_back(&before) ? 0 : -1;
}

static int add_rule(struct proxy_rule rule)
{
    int number = proxy_rule_add(proxy, &rule);

    assert_true(number >= 0);
    return number;
}

#define rule(...) add_rule((struct proxy_rule){__VA_ARGS__})
/* A rule about one script. */
#define script_rule(script, ...)                                                                   \
    rule(.command = "EVALSHA", .contains = stile__script_##script.sha1, __VA_ARGS__)

/* Queues a caller at the proxy behind a hold of near. */
static void queue_behind(stile_hold *hold, struct caller *caller, int64_t timeout_ms)
{
    expect_ok(stile_lock_acquire(near, SOON_MS, hold));
    caller_start(caller, far, timeout_ms);
    scene_await_queue(&server, "ledger", 1);
}

/* Nobody has it for longer than copies of a request may be on their way, though the
 * lease is much longer. */
static void expect_soon_free(void)
{
    scene_expect_free(near, COPIES_MS + POLL_MS + 2 * SLACK_MS);
}

static void expect_taken(void)
{
    stile_hold hold;

    expect_status(stile_lock_acquire(near, 0, &hold), STILE_TIMEOUT);
}

/* ---- messages ------------------------------------------------------------------- */

static void dropped_messages_cost_a_waiter_one_look(void **state)
{
    int drop = rule(.action = PROXY_DROP_REPLY, .pushes = true);
    struct caller callers[3];
    int64_t released_ms;
    stile_hold hold;

    (void)state;
    queue_behind(&hold, &callers[0], SOON_MS);
    for (int i = 1; i < 3; i++) {
        caller_start(&callers[i], far, SOON_MS);
        scene_await_queue(&server, "ledger", i + 1);
    }
    released_ms = test_now_ms();
    expect_ok(stile_lock_release(near, &hold));
    for (int i = 0; i < 3; i++) {
        expect_ok(caller_join(&callers[i]));
        assert_true(callers[i].back_ms - released_ms <= POLL_MS + SLACK_MS);
        assert_true(callers[i].hold.fence > hold.fence);
        hold = callers[i].hold;
        expect_taken();
        released_ms = test_now_ms();
        expect_ok(stile_lock_release(far, &hold));
    }
    assert_true(proxy_rule_counts(proxy, drop).acted >= 1);
}

static void foreign_messages_grant_nothing(void **state)
{
    static const char *const messages[] = {
        "", "granted", "00000000000000000000000000000000 1 9999999999999 1000",
        "0123456789abcdef0123456789abcdef 99999999999999999999 1 1",
        "0123456789abcdef0123456789abcdef 1"};
    struct caller caller;
    stile_hold hold;
    char channel[256];

    (void)state;
    queue_behind(&hold, &caller, SOON_MS);
    assert_int_equal(
        test_redis(&server, channel, sizeof channel, "PUBSUB", "CHANNELS", "stile:inbox:*", NULL),
        TEST_REPLY_OK);
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        assert_int_equal(test_redis_int(&server, "PUBLISH", channel, messages[i], NULL), 1);
    test_sleep_ms(2 * POLL_MS);
    assert_int_equal(test_flag_get(&caller.back), 0);
    expect_ok(stile_lock_release(near, &hold));
    expect_ok(caller_join(&caller));
    expect_ok(stile_lock_release(far, &caller.hold));
}

static void a_subscription_that_is_not_confirmed_holds_up_nobody_who_tries(void **state)
{
    int held = rule(.action = PROXY_HOLD_REPLY, .command = "SUBSCRIBE");
    struct caller caller;
    stile_hold hold, mine;
    int64_t began;

    (void)state;
    expect_ok(stile_lock_acquire(near, SOON_MS, &hold));
    caller_start(&caller, far, 300);
    assert_true(proxy_wait(proxy, held, 1, SOON_MS));
    began = test_now_ms();
    expect_status(stile_lock_acquire(far, 0, &mine), STILE_TIMEOUT);
    assert_true(test_now_ms() - began <= SLACK_MS);
    assert_int_equal(caller_join(&caller), STILE_UNREACHABLE);
    assert_in_range(caller.took_ms, 300, 300 + 20 + SLACK_MS);
    /* Released between the look and the confirmation. */
    caller_start(&caller, far, SOON_MS);
    expect_ok(stile_lock_release(near, &hold));
    proxy_rule_remove(proxy, held);
    expect_ok(caller_join(&caller));
    expect_ok(stile_lock_release(far, &caller.hold));
}

/* ---- replies that are lost ---------------------------------------------------------- */

static void an_acquire_whose_reply_is_lost_is_repeated_as_the_same_hold(void **state)
{
    int drop = script_rule(lock_try, .action = PROXY_DROP_REPLY, .nth = 1);
    stile_hold hold;

    (void)state;
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    assert_int_equal(proxy_rule_counts(proxy, drop).matched, 2);
    assert_true(hold.fence == scene_fence(&server, "ledger"));
    expect_taken();
    test_sleep_ms(COPIES_MS + POLL_MS);
    expect_ok(stile_lock_check(far, &hold, NULL));
    expect_taken();
    expect_ok(stile_lock_release(far, &hold));
    expect_soon_free();
}

static void a_try_whose_reply_is_lost_is_repeated_as_the_same_hold(void **state)
{
    stile_hold hold;

    (void)state;
    /* The connection has to be an old one: with a new one a try asks once. */
    scene_expect_free(far, SOON_MS);
    script_rule(lock_try, .action = PROXY_CUT_REPLY, .after = 0, .nth = 1);
    expect_ok(stile_lock_acquire(far, 0, &hold));
    expect_taken();
    expect_ok(stile_lock_release(far, &hold));
}

/* While the reply was lost somebody queued: the repetition finds the queue's mark, and
 * behind it itself. */
static void a_lost_reply_and_a_new_queue_do_not_leave_the_lock_to_nobody(void **state)
{
    int hold_reply = script_rule(lock_try, .action = PROXY_HOLD_REPLY, .nth = 1);
    struct caller first, second;

    (void)state;
    caller_start(&first, far, SOON_MS);
    assert_true(proxy_wait(proxy, hold_reply, 1, SOON_MS));
    caller_start(&second, near, SOON_MS);
    expect_ok(caller_join(&first));
    expect_ok(stile_lock_check(far, &first.hold, NULL));
    expect_ok(stile_lock_release(far, &first.hold));
    expect_ok(caller_join(&second));
    assert_true(second.took_ms < COPIES_MS + 2 * POLL_MS + 2 * SLACK_MS);
    expect_ok(stile_lock_release(near, &second.hold));
}

static void a_queueing_whose_reply_is_lost_leaves_one_place(void **state)
{
    int drop = script_rule(lock_acquire, .action = PROXY_DROP_REPLY, .nth = 1);
    struct caller caller;
    stile_hold hold;

    (void)state;
    queue_behind(&hold, &caller, SOON_MS);
    assert_true(proxy_wait_answered(proxy, drop, 1, SOON_MS));
    while (proxy_rule_counts(proxy, drop).matched < 2)
        test_sleep_ms(1);
    scene_await_queue(&server, "ledger", 1);
    expect_ok(stile_lock_release(near, &hold));
    expect_ok(caller_join(&caller));
    assert_true(caller.hold.fence == scene_fence(&server, "ledger"));
    expect_taken();
    expect_ok(stile_lock_release(far, &caller.hold));
    expect_soon_free();
}

static void a_release_whose_reply_is_lost_is_a_release(void **state)
{
    int drop = script_rule(lock_release, .action = PROXY_DROP_REPLY, .nth = 1);
    stile_hold hold;

    (void)state;
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    assert_int_equal(stile_lock_release(far, &hold), STILE_UNKNOWN);
    assert_true(proxy_rule_counts(proxy, drop).acted == 1);
    expect_status(stile_lock_release(far, &hold), STILE_NOT_HELD);
    scene_expect_free(near, SLACK_MS);
    /* With time left for a second attempt it is sure. */
    proxy_rules_clear(proxy);
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    script_rule(lock_release, .action = PROXY_CUT_REPLY, .after = 0, .nth = 1);
    expect_ok(stile_lock_release(far, &hold));
    scene_expect_free(near, SLACK_MS);
}

static void a_release_that_never_arrives_is_made_up_for(void **state)
{
    int swallow;
    stile_hold hold;

    (void)state;
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    swallow = script_rule(lock_release, .action = PROXY_SWALLOW_REQUESTS);
    assert_int_equal(stile_lock_release(far, &hold), STILE_UNKNOWN);
    expect_status(stile_lock_check(far, &hold, NULL), STILE_NOT_HELD);
    assert_true(proxy_rule_counts(proxy, swallow).acted >= 1);
    scene_expect_free(near, 2 * SLACK_MS);
}

static void a_look_whose_reply_is_lost_costs_no_place(void **state)
{
    int drop = script_rule(lock_poll, .action = PROXY_DROP_REPLY, .nth = 2);
    struct caller caller;
    stile_hold hold;

    (void)state;
    rule(.action = PROXY_DROP_REPLY, .pushes = true);
    queue_behind(&hold, &caller, SOON_MS);
    assert_true(proxy_wait(proxy, drop, 1, SOON_MS));
    scene_await_queue(&server, "ledger", 1);
    expect_ok(stile_lock_release(near, &hold));
    expect_ok(caller_join(&caller));
    expect_ok(stile_lock_release(far, &caller.hold));
}

/* Found in a reply that is lost: the server's next says the same. */
static void a_grant_that_is_looked_up_in_a_lost_reply_is_not_lost(void **state)
{
    int drop = script_rule(lock_poll, .action = PROXY_DROP_REPLY);
    struct caller caller;
    stile_hold hold;
    unsigned lost;

    (void)state;
    rule(.action = PROXY_DROP_REPLY, .pushes = true);
    queue_behind(&hold, &caller, SOON_MS);
    assert_true(proxy_wait(proxy, drop, 1, SOON_MS));
    lost = proxy_rule_counts(proxy, drop).acted;
    expect_ok(stile_lock_release(near, &hold));
    assert_true(proxy_wait(proxy, drop, lost + 1, SOON_MS));
    proxy_rule_remove(proxy, drop);
    expect_ok(caller_join(&caller));
    expect_ok(stile_lock_check(far, &caller.hold, NULL));
    expect_taken();
    expect_ok(stile_lock_release(far, &caller.hold));
}

static void a_renewal_whose_reply_is_lost_is_repeated(void **state)
{
    int drop = script_rule(lock_renew, .action = PROXY_DROP_REPLY, .nth = 1);
    int64_t until = test_now_ms() + 1500;
    stile_hold hold;

    (void)state;
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    while (test_now_ms() < until) {
        expect_ok(stile_lock_check(far, &hold, NULL));
        expect_taken();
        test_sleep_ms(5);
    }
    assert_int_equal(proxy_rule_counts(proxy, drop).acted, 1);
    expect_ok(stile_lock_release(far, &hold));
}

static void an_extension_whose_reply_is_lost_is_unknown_and_the_hold_goes_on(void **state)
{
    stile_hold hold;
    int64_t valid_ms = 0;

    (void)state;
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    script_rule(lock_extend, .action = PROXY_DROP_REPLY, .nth = 1);
    expect_status(stile_lock_extend(far, &hold, 100000), STILE_UNKNOWN);
    expect_ok(stile_lock_check(far, &hold, &valid_ms));
    assert_in_range(valid_ms, 1, 30000);
    expect_ok(stile_lock_release(far, &hold));
    expect_soon_free();
}

static void withdraw_under(enum proxy_action action)
{
    struct caller caller;
    stile_hold hold;

    script_rule(lock_abandon, .action = action);
    queue_behind(&hold, &caller, 300);
    assert_int_equal(caller_join(&caller), STILE_UNKNOWN);
    assert_in_range(caller.took_ms, 300, 320 + SLACK_MS);
    proxy_rules_clear(proxy);
    /* Nobody is there for whom the place would be. */
    scene_await_queue(&server, "ledger", 0);
    expect_ok(stile_lock_release(near, &hold));
    scene_expect_free(near, SLACK_MS);
}

static void a_withdrawal_that_is_not_confirmed_is_unknown_and_made_up_for(void **state)
{
    (void)state;
    withdraw_under(PROXY_DROP_REPLY);
    withdraw_under(PROXY_SWALLOW_REQUESTS);
}

/* ---- replies that are late ------------------------------------------------------------ */

static void a_reply_after_the_deadline_is_unknown_and_undone(void **state)
{
    int late = script_rule(lock_try, .action = PROXY_DELAY_REPLY, .delay_ms = 150);
    stile_hold hold = {.fence = 42};

    (void)state;
    expect_status(stile_lock_acquire(far, 50, &hold), STILE_UNKNOWN);
    assert_true(hold.fence == 42);
    expect_soon_free();
    assert_true(proxy_rule_counts(proxy, late).matched >= 1);
}

static void a_reply_that_stays_away_is_unknown_and_undone(void **state)
{
    int held = script_rule(lock_try, .action = PROXY_HOLD_REPLY);
    stile_hold hold;

    (void)state;
    expect_status(stile_lock_acquire(far, 0, &hold), STILE_UNKNOWN);
    assert_int_equal(proxy_rule_counts(proxy, held).acted, 1);
    expect_soon_free();
    proxy_release(proxy, held);
    expect_soon_free();
}

static void a_late_reply_of_who_queues_is_unknown_and_its_place_goes(void **state)
{
    struct caller caller;
    stile_hold hold;

    (void)state;
    script_rule(lock_acquire, .action = PROXY_HOLD_REPLY);
    queue_behind(&hold, &caller, 100);
    assert_int_equal(caller_join(&caller), STILE_UNKNOWN);
    scene_await_queue(&server, "ledger", 0);
    proxy_rules_clear(proxy);
    expect_ok(stile_lock_release(near, &hold));
    expect_soon_free();
}

/* The lease asked for was over before the answer came.  What was given meanwhile to
 * the same caller is not undone with it. */
static void a_reply_after_its_lease_is_no_hold_and_undoing_it_harms_none(void **state)
{
    stile_lock_options brief = {.lease_ms = 100, .fixed_lease = true};
    int64_t until;
    stile_hold hold;

    (void)state;
    script_rule(lock_try, .action = PROXY_DELAY_REPLY, .delay_ms = 150, .nth = 1);
    expect_status(stile_lock_acquire_with(far, 0, &brief, &hold), STILE_TIMEOUT);
    proxy_rules_clear(proxy);
    brief.fixed_lease = false;
    script_rule(lock_try, .action = PROXY_DELAY_REPLY, .delay_ms = 150, .nth = 1);
    expect_ok(stile_lock_acquire_with(far, SOON_MS, &brief, &hold));
    until = test_now_ms() + COPIES_MS + POLL_MS;
    while (test_now_ms() < until) {
        expect_ok(stile_lock_check(far, &hold, NULL));
        expect_taken();
        test_sleep_ms(2);
    }
    expect_ok(stile_lock_release(far, &hold));
}

/* ---- requests that are late ------------------------------------------------------------- */

static void a_held_acquire_of_who_gave_up_takes_nothing_in_the_end(void **state)
{
    stile_hold hold;
    int held, abandoned;

    (void)state;
    scene_expect_free(far, SOON_MS);
    held = script_rule(lock_try, .action = PROXY_HOLD_REQUEST);
    abandoned = script_rule(lock_abandon, .action = PROXY_WATCH);
    expect_status(stile_lock_acquire(far, 50, &hold), STILE_UNKNOWN);
    /* By another connection, and first. */
    assert_true(proxy_wait(proxy, abandoned, 1, SOON_MS));
    proxy_rule_remove(proxy, held);
    assert_true(proxy_wait_answered(proxy, held, 1, SOON_MS));
    expect_soon_free();
}

static void a_held_acquire_that_comes_too_late_is_refused(void **state)
{
    stile_hold hold;
    int held;

    (void)state;
    scene_expect_free(far, SOON_MS);
    held = script_rule(lock_try, .action = PROXY_HOLD_REQUEST);
    expect_status(stile_lock_acquire(far, 50, &hold), STILE_UNKNOWN);
    test_sleep_ms(COPIES_MS + 100);
    proxy_rule_remove(proxy, held);
    assert_true(proxy_wait_answered(proxy, held, 1, SOON_MS));
    assert_false(scene_owned(&server, "ledger"));
    scene_expect_free(near, 0);
}

static const stile_lock_options bare = {.no_fence = true};

/* A reply of the two that a first try without a fence has; both, or none. */
static void drop_a_try_without_a_fence(void)
{
    rule(.action = PROXY_DROP_REPLY, .command = "SET", .nth = 1);
    rule(.action = PROXY_DROP_REPLY, .command = "EXISTS", .nth = 1);
}

static void an_acquire_without_a_fence_is_repeated_as_the_same_hold(void **state)
{
    int watch = rule(.action = PROXY_WATCH, .command = "SET");
    int undone = script_rule(lock_abandon, .action = PROXY_WATCH);
    stile_hold hold;

    (void)state;
    scene_expect_free(far, SOON_MS);
    drop_a_try_without_a_fence();
    expect_ok(stile_lock_acquire_with(far, SOON_MS, &bare, &hold));
    assert_int_equal(proxy_rule_counts(proxy, watch).matched, 2);
    assert_true(hold.fence == 0);
    expect_taken();
    test_sleep_ms(COPIES_MS + POLL_MS);
    expect_ok(stile_lock_check(far, &hold, NULL));
    assert_int_equal(proxy_rule_counts(proxy, undone).matched, 0);
    expect_taken();
    expect_ok(stile_lock_release(far, &hold));
    expect_soon_free();
}

/* While its reply was lost somebody queued; it is the owner all the same, until it has
 * looked: then whoever queues is first. */
static void an_acquire_without_a_fence_that_is_repeated_behind_a_queue_joins_it(void **state)
{
    struct caller first, second;
    int held;

    (void)state;
    scene_expect_free(far, SOON_MS);
    held = rule(.action = PROXY_HOLD_REPLY, .command = "SET", .nth = 1);
    far = (stile_lock_close(far), NULL);
    assert_int_equal(stile_lock_open(far_space, "ledger", &bare, &far), STILE_OK);
    caller_start(&first, far, SOON_MS);
    assert_true(proxy_wait(proxy, held, 1, SOON_MS));
    caller_start(&second, near, SOON_MS);
    expect_ok(caller_join(&second));
    expect_ok(stile_lock_release(near, &second.hold));
    expect_ok(caller_join(&first));
    assert_true(first.hold.fence == 0);
    expect_ok(stile_lock_release(far, &first.hold));
    expect_soon_free();
}

static void an_old_copy_of_an_acquire_without_a_fence_leaves_nothing(void **state)
{
    stile_hold hold;
    int held;

    (void)state;
    scene_expect_free(far, SOON_MS);
    held = rule(.action = PROXY_HOLD_REQUEST, .command = "SET", .nth = 1);
    expect_ok(stile_lock_acquire_with(far, SOON_MS, &bare, &hold));
    expect_ok(stile_lock_release(far, &hold));
    proxy_release(proxy, held);
    assert_true(proxy_wait_answered(proxy, held, 1, SOON_MS));
    expect_soon_free();
}

/* After the last look at what it may have left: it dies when its lease would have. */
static void a_late_copy_of_an_acquire_without_a_fence_ends_with_its_lease(void **state)
{
    const stile_lock_options short_lease = {.lease_ms = COPIES_MS + 2000, .no_fence = true};
    int64_t began;
    stile_hold hold;
    int held;

    (void)state;
    scene_expect_free(far, SOON_MS);
    held = rule(.action = PROXY_HOLD_REQUEST, .command = "SET");
    began = test_now_ms();
    expect_status(stile_lock_acquire_with(far, 50, &short_lease, &hold), STILE_UNKNOWN);
    test_sleep_ms(COPIES_MS + COMMAND_MS + 600);
    proxy_rule_remove(proxy, held);
    assert_true(proxy_wait_answered(proxy, held, 1, SOON_MS));
    assert_true(scene_owned(&server, "ledger"));
    scene_await_owned(&server, "ledger", false);
    assert_in_range(test_now_ms() - began, 0, short_lease.lease_ms + SLACK_MS);
    scene_expect_free(near, 0);
}

/* The second copy was answered, and the hold given back, before the first arrives. */
static void an_old_copy_of_an_acquire_leaves_nothing(void **state)
{
    stile_hold hold;
    int held;

    (void)state;
    scene_expect_free(far, SOON_MS);
    held = script_rule(lock_try, .action = PROXY_HOLD_REQUEST, .nth = 1);
    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    expect_ok(stile_lock_release(far, &hold));
    proxy_release(proxy, held);
    assert_true(proxy_wait_answered(proxy, held, 1, SOON_MS));
    expect_soon_free();
}

static void an_old_copy_of_a_queueing_leaves_nothing(void **state)
{
    struct caller caller;
    stile_hold hold;
    int held;

    (void)state;
    held = script_rule(lock_acquire, .action = PROXY_HOLD_REQUEST, .nth = 1);
    queue_behind(&hold, &caller, 600);
    assert_int_equal(caller_join(&caller), STILE_TIMEOUT);
    assert_int_equal(test_redis_int(&server, "ZCARD", scene_key("ledger", KEY_QUEUE), NULL), 0);
    proxy_release(proxy, held);
    assert_true(proxy_wait_answered(proxy, held, 1, SOON_MS));
    scene_await_queue(&server, "ledger", 0);
    expect_ok(stile_lock_release(near, &hold));
    expect_soon_free();
}

/* ---- closed --------------------------------------------------------------------------------- */

/* The space closes while the answer to a call is missing, which would be repeated. */
static void close_amid(const struct redis_script *script, void *(*call)(void *caller),
                       enum proxy_action action)
{
    stile *space = scene_open(proxy_unix_url(proxy), SETTINGS);
    struct caller caller = {.lock = scene_lock(space, "ledger")};
    int rule = rule(.action = action, .command = "EVALSHA", .contains = script->sha1, .nth = 1);

    assert_int_equal(pthread_create(&caller.thread, NULL, call, &caller), 0);
    assert_true(proxy_wait(proxy, rule, 1, SOON_MS));
    stile_close(space);
    assert_int_not_equal(caller_join(&caller), STILE_OK);
    stile_lock_close(caller.lock);
    proxy_rule_remove(proxy, rule);
    scene_expect_free(near, SLACK_MS);
}

static void *acquire(void *arg)
{
    struct caller *caller = arg;

    caller->status = stile_lock_acquire(caller->lock, SOON_MS, &caller->hold);
    return NULL;
}

static void *acquire_fairly(void *arg)
{
    const stile_lock_options fair = {.fair = true};
    struct caller *caller = arg;

    caller->status = stile_lock_acquire_with(caller->lock, SOON_MS, &fair, &caller->hold);
    return NULL;
}

static void *acquire_and_release(void *arg)
{
    struct caller *caller = arg;

    acquire(caller);
    if (caller->status == STILE_OK)
        caller->status = stile_lock_release(caller->lock, &caller->hold);
    return NULL;
}

static void a_close_amid_an_acquire_leaves_nothing(void **state)
{
    (void)state;
    close_amid(&stile__script_lock_try, acquire, PROXY_HOLD_REPLY);
    close_amid(&stile__script_lock_try, acquire, PROXY_DROP_REPLY);
    close_amid(&stile__script_lock_acquire, acquire_fairly, PROXY_HOLD_REPLY);
    close_amid(&stile__script_lock_acquire, acquire_fairly, PROXY_DROP_REPLY);
}

static void a_close_amid_a_release_leaves_nothing(void **state)
{
    (void)state;
    close_amid(&stile__script_lock_release, acquire_and_release, PROXY_HOLD_REPLY);
    close_amid(&stile__script_lock_release, acquire_and_release, PROXY_SWALLOW_REQUESTS);
}

/* ---- cut off ------------------------------------------------------------------------------- */

/* Cuts one reply of a script off after every number of bytes up to most, one in each
 * round, which has to end with the lock free. */
static void cut_everywhere(const struct redis_script *script, size_t most, void (*round)(void))
{
    for (size_t after = 0; after <= most; after++) {
        int cut = rule(.action = PROXY_CUT_REPLY, .command = "EVALSHA", .contains = script->sha1,
                       .nth = 1, .after = after);

        round();
        assert_int_equal(proxy_rule_counts(proxy, cut).acted, 1);
        proxy_rule_remove(proxy, cut);
        assert_false(scene_owned(&server, "ledger"));
    }
}

static void take_and_give_back(void)
{
    stile_hold hold;

    expect_ok(stile_lock_acquire(far, SOON_MS, &hold));
    assert_true(hold.fence == scene_fence(&server, "ledger"));
    expect_taken();
    expect_ok(stile_lock_release(far, &hold));
}

static void wait_and_give_back(void)
{
    struct caller caller;
    stile_hold hold;

    queue_behind(&hold, &caller, SOON_MS);
    expect_ok(stile_lock_release(near, &hold));
    expect_ok(caller_join(&caller));
    assert_true(caller.hold.fence == scene_fence(&server, "ledger"));
    expect_taken();
    expect_ok(stile_lock_release(far, &caller.hold));
}

static void an_acquire_cut_off_at_any_byte_is_one_hold(void **state)
{
    (void)state;
    cut_everywhere(&stile__script_lock_try, 48, take_and_give_back);
}

static void a_release_cut_off_at_any_byte_is_a_release(void **state)
{
    (void)state;
    cut_everywhere(&stile__script_lock_release, 5, take_and_give_back);
}

static void a_queueing_cut_off_at_any_byte_is_one_place(void **state)
{
    (void)state;
    cut_everywhere(&stile__script_lock_acquire, 70, wait_and_give_back);
}

static struct test_flag enough;

/* Takes it and gives it back until enough. */
static void *take_again_and_again(void *arg)
{
    unsigned *wrong = arg;
    uint64_t fence = 0;

    while (test_flag_get(&enough) == 0) {
        stile_hold hold;

        if (stile_lock_acquire(far, SOON_MS, &hold) != STILE_OK || hold.fence <= fence ||
            stile_lock_release(far, &hold) != STILE_OK) {
            print_error("%s\n", stile_error_detail());
            ++*wrong;
            break;
        }
        fence = hold.fence;
    }
    return NULL;
}

/* At any moment, so that some writes go to a connection that is gone. */
static void connections_cut_under_load_cost_nothing(void **state)
{
    pthread_t thread;
    unsigned wrong = 0;

    (void)state;
    enough = (struct test_flag){0};
    assert_int_equal(pthread_create(&thread, NULL, take_again_and_again, &wrong), 0);
    for (int i = 0; i < 300; i++) {
        unsigned requests = proxy_counts(proxy).requests;

        while (proxy_counts(proxy).requests < requests + 20 && wrong == 0)
            continue;
        proxy_kill_connections(proxy);
    }
    test_flag_set(&enough, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(wrong, 0);
}

/* ---- races ------------------------------------------------------------------------------------ */

/* A cheap generator: the seed is printed by who draws it. */
static uint32_t draw(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)*seed * below >> 32);
}

static void a_timeout_at_the_instant_of_the_grant_is_one_of_both(void **state)
{
    uint32_t seed = (uint32_t)test_now_ns();
    unsigned granted = 0, late = 0;

    (void)state;
    print_message("seed %u\n", seed);
    for (int i = 0; i < 300; i++) {
        int64_t delay_ms = 10 + draw(&seed, 11);
        int delay = rule(.action = PROXY_DELAY_REPLY, .pushes = true, .delay_ms = delay_ms);
        struct caller caller;
        stile_hold hold;

        queue_behind(&hold, &caller, 15);
        if (stile_lock_release(near, &hold) != STILE_OK)
            fail();
        if (caller_join(&caller) == STILE_OK) {
            granted++;
            expect_ok(stile_lock_check(far, &caller.hold, NULL));
            expect_taken();
            expect_ok(stile_lock_release(far, &caller.hold));
        } else {
            late++;
            assert_int_equal(caller.status, STILE_TIMEOUT);
        }
        scene_expect_free(near, SLACK_MS);
        proxy_rule_remove(proxy, delay);
    }
    print_message("%u granted, %u timed out\n", granted, late);
    /* Else it was no race. */
    assert_true(granted >= 15 && late >= 15);
}

#define NAMES 6

/* The server's fences of each name begin at a number of their own, so that every hold
 * says which name it is of. */
static void late_replies_are_never_taken_for_others(void **state)
{
    uint32_t seed = (uint32_t)test_now_ns();
    unsigned held = 0, unknown = 0;
    stile_lock *locks[NAMES];

    (void)state;
    print_message("seed %u\n", seed);
    for (int i = 0; i < NAMES; i++) {
        char name[8], fence[24];

        snprintf(name, sizeof name, "n%d", i);
        snprintf(fence, sizeof fence, "%d000000000000000", i + 3);
        test_redis(&server, NULL, 0, "SET", scene_key(name, KEY_FENCE), fence, "PX", "1000000",
                   NULL);
        locks[i] = scene_lock(far_space, name);
    }
    for (int i = 0; i < 300; i++) {
        struct caller callers[2];
        int at[2];
        int delay = rule(.action = PROXY_DELAY_REPLY, .command = "EVALSHA",
                         .nth = 1 + draw(&seed, 3), .delay_ms = 20 + draw(&seed, 10));

        at[0] = (int)draw(&seed, NAMES);
        at[1] = (at[0] + 1) % NAMES;
        for (int j = 0; j < 2; j++)
            caller_start(&callers[j], locks[at[j]], 1 + draw(&seed, 3));
        for (int j = 0; j < 2; j++) {
            stile_status status = caller_join(&callers[j]);

            if (status != STILE_OK) {
                assert_true(status == STILE_UNKNOWN || status == STILE_TIMEOUT ||
                            status == STILE_UNREACHABLE);
                unknown++;
                continue;
            }
            held++;
            assert_int_equal((callers[j].hold.fence >> 10) / 1000000000000000, at[j] + 3);
            expect_ok(stile_lock_check(callers[j].lock, &callers[j].hold, NULL));
            assert_int_equal(stile_lock_release(callers[j].lock, &callers[j].hold), STILE_OK);
        }
        proxy_rule_remove(proxy, delay);
    }
    print_message("%u held, %u not\n", held, unknown);
    assert_true(held >= 15 && unknown >= 15);
    for (int i = 0; i < NAMES; i++) {
        scene_expect_free(locks[i], COPIES_MS + POLL_MS + 2 * SLACK_MS);
        stile_lock_close(locks[i]);
    }
}

/* Joins all callers as they come back and gives their holds back. */
static void let_through(struct caller *callers, int count)
{
    int64_t until = test_now_ms() + SOON_MS;
    int left = count;

    while (left > 0) {
        assert_true(test_now_ms() < until);
        for (int i = 0; i < count; i++) {
            if (callers[i].lock == NULL || test_flag_get(&callers[i].back) == 0)
                continue;
            expect_ok(caller_join(&callers[i]));
            expect_ok(stile_lock_release(callers[i].lock, &callers[i].hold));
            callers[i].lock = NULL;
            left--;
        }
    }
}

/* Places are lost and taken again while others of the same process look after theirs.
 * A place too many would be granted to nobody and cost a claim. */
static void waiters_that_have_to_queue_again_have_one_place_each(void **state)
{
    enum { CROWD = 8, QUICK_MS = 50 };
    stile *space = scene_open(test_server_unix_url(&server),
                              "recheck_ms=50&waiter_lease_ms=2000&claim_ms=5000");
    stile_lock *lock = scene_lock(space, "ledger");

    (void)state;
    for (int round = 0; round < 10; round++) {
        struct caller callers[CROWD];
        int64_t released_ms;
        stile_hold hold;

        expect_ok(stile_lock_acquire(near, SOON_MS, &hold));
        for (int i = 0; i < CROWD; i++)
            caller_start(&callers[i], lock, SOON_MS);
        scene_await_queue(&server, "ledger", CROWD);
        test_redis(&server, NULL, 0, "DEL", scene_key("ledger", KEY_QUEUE),
                   scene_key("ledger", KEY_WAITERS), NULL);
        scene_await_queue(&server, "ledger", CROWD);
        test_sleep_ms(2 * QUICK_MS);
        assert_int_equal(test_redis_int(&server, "ZCARD", scene_key("ledger", KEY_QUEUE), NULL),
                         CROWD);
        released_ms = test_now_ms();
        expect_ok(stile_lock_release(near, &hold));
        let_through(callers, CROWD);
        assert_true(test_now_ms() - released_ms <= SLACK_MS);
        assert_int_equal(test_redis_int(&server, "EXISTS", scene_key("ledger", KEY_QUEUE), NULL),
                         0);
    }
    stile_lock_close(lock);
    stile_close(space);
}

#define proxied(test) cmocka_unit_test_setup_teardown(test, begin, end)
#define over_tcp(test) cmocka_unit_test_setup_teardown(test, begin_over_tcp, end)
#define with_short_lease(test) cmocka_unit_test_setup_teardown(test, begin_short, end)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        proxied(dropped_messages_cost_a_waiter_one_look),
        proxied(foreign_messages_grant_nothing),
        proxied(a_subscription_that_is_not_confirmed_holds_up_nobody_who_tries),
        proxied(an_acquire_whose_reply_is_lost_is_repeated_as_the_same_hold),
        proxied(a_try_whose_reply_is_lost_is_repeated_as_the_same_hold),
        proxied(a_lost_reply_and_a_new_queue_do_not_leave_the_lock_to_nobody),
        proxied(a_queueing_whose_reply_is_lost_leaves_one_place),
        proxied(a_release_whose_reply_is_lost_is_a_release),
        proxied(a_release_that_never_arrives_is_made_up_for),
        proxied(a_look_whose_reply_is_lost_costs_no_place),
        proxied(a_grant_that_is_looked_up_in_a_lost_reply_is_not_lost),
        with_short_lease(a_renewal_whose_reply_is_lost_is_repeated),
        proxied(an_extension_whose_reply_is_lost_is_unknown_and_the_hold_goes_on),
        proxied(a_withdrawal_that_is_not_confirmed_is_unknown_and_made_up_for),
        proxied(a_reply_after_the_deadline_is_unknown_and_undone),
        proxied(a_reply_that_stays_away_is_unknown_and_undone),
        proxied(a_late_reply_of_who_queues_is_unknown_and_its_place_goes),
        proxied(a_reply_after_its_lease_is_no_hold_and_undoing_it_harms_none),
        proxied(a_held_acquire_of_who_gave_up_takes_nothing_in_the_end),
        proxied(a_held_acquire_that_comes_too_late_is_refused),
        proxied(an_acquire_without_a_fence_is_repeated_as_the_same_hold),
        proxied(an_acquire_without_a_fence_that_is_repeated_behind_a_queue_joins_it),
        proxied(an_old_copy_of_an_acquire_without_a_fence_leaves_nothing),
        proxied(a_late_copy_of_an_acquire_without_a_fence_ends_with_its_lease),
        proxied(an_old_copy_of_an_acquire_leaves_nothing),
        proxied(an_old_copy_of_a_queueing_leaves_nothing),
        proxied(a_close_amid_an_acquire_leaves_nothing),
        proxied(a_close_amid_a_release_leaves_nothing),
        over_tcp(an_acquire_cut_off_at_any_byte_is_one_hold),
        over_tcp(a_release_cut_off_at_any_byte_is_a_release),
        over_tcp(a_queueing_cut_off_at_any_byte_is_one_place),
        proxied(connections_cut_under_load_cost_nothing),
        proxied(a_timeout_at_the_instant_of_the_grant_is_one_of_both),
        proxied(late_replies_are_never_taken_for_others),
        proxied(waiters_that_have_to_queue_again_have_one_place_each),
    };

    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
