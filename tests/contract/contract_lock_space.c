/*
 * The lock: the space it lives in, which may be closed, forked or named by the
 * environment.
 */
#include "contract.h"
#include "contract_lock.h"

#include <stdlib.h>
#include <string.h>

/* ---- spaces ------------------------------------------------------------------------- */

static void space_has_locks(void **state)
{
    (void)state;
    assert_true(stile_can(contract_space(), STILE_LOCK));
    assert_false(stile_can(NULL, STILE_LOCK));
}

static void spaces_of_one_process_share_a_server_but_not_local(void **state)
{
    stile_lock *here = contract_lock_open("shared", NULL);
    stile_lock *there = contract_lock_open_in(contract_space_open(NULL), "shared", NULL);
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(here, 0, &hold), STILE_OK);
    if (contract_on_redis())
        contract_check_taken(there);
    else
        contract_check_free(there);
    assert_status(stile_lock_release(here, &hold), STILE_OK);
    contract_check_free(there);
}

static int clear_environment(void **state)
{
    unsetenv("STILE_URL");
    return contract_teardown(state);
}

static void space_without_a_url_is_the_environments_or_local(void **state)
{
    const char *const urls[] = {NULL, ""};
    stile_lock *here = contract_lock_open("environment", NULL);
    stile_hold hold;
    size_t i;

    (void)state;
    assert_status(stile_lock_acquire(here, 0, &hold), STILE_OK);
    for (i = 0; i < 2; i++) {
        stile_lock *there;
        stile *space;

        unsetenv("STILE_URL");
        assert_status(stile_open(urls[i], NULL, &space), STILE_OK);
        assert_status(stile_lock_open(space, "environment", NULL, &there), STILE_OK);
        contract_check_free(there);
        stile_lock_close(there);
        stile_close(space);

        assert_int_equal(setenv("STILE_URL", contract_url(), 1), 0);
        assert_status(stile_open(urls[i], NULL, &space), STILE_OK);
        assert_status(stile_lock_open(space, "environment", NULL, &there), STILE_OK);
        if (contract_on_redis())
            contract_check_taken(there);
        else
            contract_check_free(there);
        stile_lock_close(there);
        stile_close(space);
    }
    assert_status(stile_lock_release(here, &hold), STILE_OK);
}

static void space_that_cannot_be_opened_is_refused(void **state)
{
    stile *space = NULL;

    (void)state;
    assert_status(stile_open("rediss://127.0.0.1", NULL, &space), STILE_UNSUPPORTED);
    assert_status(stile_open("carrier-pigeon:", NULL, &space), STILE_INVALID);
    assert_status(stile_open("no url", NULL, &space), STILE_INVALID);
    assert_null(space);
}

/* ---- closing a handle ------------------------------------------------------------------ */

static void closing_a_handle_ends_the_waits_through_it_alone(void **state)
{
    stile_lock *holding = contract_lock_open("handles", NULL);
    stile_lock *closed = contract_lock_open("handles", NULL);
    stile_lock *open = contract_lock_open("handles", NULL);
    struct contender *ending[3], *staying[3];
    stile_hold hold;
    int i;

    (void)state;
    assert_status(stile_lock_acquire(holding, 0, &hold), STILE_OK);
    for (i = 0; i < 3; i++) {
        ending[i] = contender_queue(closed, i == 0 ? 60000 : STILE_FOREVER, NULL);
        staying[i] = contender_queue(open, i == 0 ? 60000 : STILE_FOREVER, NULL);
    }
    contract_lock_close(closed);
    for (i = 0; i < 3; i++)
        assert_outcome(contender_answer(ending[i]), STILE_CLOSED);
    for (i = 0; i < 3; i++)
        assert_true(contender_waits(staying[i]));
    assert_status(stile_lock_release(holding, &hold), STILE_OK);
    for (i = 0; i < 3; i++) {
        assert_outcome(contender_answer(staying[i]), STILE_OK);
        assert_status(stile_lock_release(open, &staying[i]->hold), STILE_OK);
    }
    contract_check_free(open);
}

static void closing_a_handle_beside_a_release_loses_no_hold(void **state)
{
    stile_lock *lock = contract_lock_open("close-race", NULL);
    int i;

    (void)state;
    for (i = 0; i < 50; i++) {
        stile_lock *closed = contract_lock_open("close-race", NULL);
        struct contender *leaving, *next;
        stile_status status;
        stile_hold hold;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        leaving = contender_queue(closed, STILE_FOREVER, NULL);
        next = contender_queue(lock, STILE_FOREVER, NULL);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        contract_lock_close(closed);
        status = contender_answer(leaving);
        if (status == STILE_OK)
            assert_status(stile_lock_release(lock, &leaving->hold), STILE_OK);
        else
            assert_outcome(status, STILE_CLOSED);
        assert_outcome(contender_answer(next), STILE_OK);
        assert_status(stile_lock_release(lock, &next->hold), STILE_OK);
        contract_check_free(lock);
    }
}

/* ---- closing the space -------------------------------------------------------------------- */

static void closing_the_space_wakes_everybody_at_once(void **state)
{
    int64_t best_ns = INT64_MAX;
    int round, i;

    (void)state;
    for (round = 0; round < 3; round++) {
        stile *space = contract_space_open(NULL);
        /* A server knows who holds, whatever becomes of others' spaces. */
        stile *holding = contract_on_redis() ? contract_space() : space;
        stile_lock *names[] = {contract_lock_open_in(space, "one", NULL),
                               contract_lock_open_in(space, "other", NULL)};
        stile_lock *held[] = {contract_lock_open_in(holding, "one", NULL),
                              contract_lock_open_in(holding, "other", NULL)};
        struct contender *waiting[8];
        int64_t closed_ns, last_ns = 0;
        stile_hold holds[2];

        for (i = 0; i < 2; i++)
            assert_status(stile_lock_acquire(held[i], 0, &holds[i]), STILE_OK);
        for (i = 0; i < 8; i++)
            waiting[i] = contender_queue(names[i % 2], i < 4 ? STILE_FOREVER : 60000, NULL);
        closed_ns = test_now_ns();
        contract_space_close(space);
        for (i = 0; i < 8; i++) {
            assert_outcome(contender_answer(waiting[i]), STILE_CLOSED);
            if (waiting[i]->returned_ns > last_ns)
                last_ns = waiting[i]->returned_ns;
        }
        if (last_ns - closed_ns < best_ns)
            best_ns = last_ns - closed_ns;
        for (i = 0; i < 2; i++)
            assert_status(stile_lock_release(held[i], &holds[i]), STILE_OK);
    }
    assert_true(best_ns < 100 * CONTRACT_NS_PER_MS);
}

static void closed_space_answers_closed(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 200, .fixed_lease = true};
    stile *space = contract_space_open(NULL);
    stile_lock *held = contract_lock_open_in(space, "held", NULL);
    stile_lock *unused = contract_lock_open_in(space, "unused", NULL);
    stile_lock *opened = unused;
    stile_lock_options options = {.fair = true};
    stile_hold hold, other;

    (void)state;
    assert_status(stile_lock_acquire_with(held, 0, &fixed, &hold), STILE_OK);
    contract_space_close(space);
    assert_status(stile_lock_acquire(held, 0, &other), STILE_CLOSED);
    assert_status(stile_lock_acquire(held, 50, &other), STILE_CLOSED);
    assert_status(stile_lock_acquire(unused, 0, &other), STILE_CLOSED);
    assert_status(stile_lock_acquire(unused, 50, &other), STILE_CLOSED);
    assert_status(stile_lock_acquire(unused, STILE_FOREVER, &other), STILE_CLOSED);
    assert_status(stile_lock_acquire_with(unused, 0, &options, &other), STILE_CLOSED);
    assert_status(stile_lock_acquire_with(unused, 0, &fixed, &other), STILE_CLOSED);
    /* The space is still there as long as a handle is. */
    assert_status(stile_lock_open(space, "new", NULL, &opened), STILE_CLOSED);
    assert_ptr_equal(opened, unused);
    /* A process can give back what is its own; a server is not asked any more. */
    assert_status(stile_lock_release(held, &hold), contract_on_redis() ? STILE_CLOSED : STILE_OK);
    assert_status(stile_lock_release(held, &hold), STILE_NOT_HELD);
    assert_status(stile_lock_acquire(held, 0, &other), STILE_CLOSED);
}

static void lease_goes_on_in_a_closed_space(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 150, .fixed_lease = true};
    stile *space = contract_space_open(NULL);
    stile_lock *lock = contract_lock_open_in(space, "going-on", NULL);
    int64_t valid_ms, until_ms;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire_with(lock, 0, &fixed, &hold), STILE_OK);
    contract_space_close(space);
    until_ms = test_now_ms() + 150;
    while (stile_lock_check(lock, &hold, &valid_ms) == STILE_OK) {
        assert_in_range(valid_ms, 0, 150);
        assert_true(test_now_ms() <= until_ms + 10 * CONTRACT_SOON_MS);
        test_sleep_ms(1);
    }
    assert_status(stile_lock_check(lock, &hold, NULL), STILE_LOST);
    assert_true(test_now_ms() + 10 >= until_ms - 150);
    assert_status(stile_lock_release(lock, &hold), STILE_LOST);
}

struct closing {
    stile *space;
    _Atomic int faults;
    struct test_flag running;
};

/* Uses the space until somebody has closed it. */
static void *use_until_closed(void *arg)
{
    struct closing *closing = arg;
    const int64_t timeouts_ms[] = {0, 1, STILE_FOREVER};
    stile_lock *lock;
    unsigned i;

    if (stile_lock_open(closing->space, "closing", NULL, &lock) != STILE_OK) {
        closing->faults++;
        test_flag_add(&closing->running);
        return NULL;
    }
    test_flag_add(&closing->running);
    for (i = 0;; i++) {
        stile_hold hold;
        stile_status status = stile_lock_acquire(lock, timeouts_ms[i % 3], &hold);

        if (status == STILE_CLOSED)
            break;
        if (status == STILE_OK)
            status = stile_lock_release(lock, &hold);
        if (status != STILE_OK && status != STILE_CLOSED && !contract_in_vain(status))
            closing->faults++;
    }
    stile_lock_close(lock);
    return NULL;
}

static void space_is_closed_while_everybody_uses_it(void **state)
{
    enum { USERS = 6, ROUNDS = 15 };
    static struct closing closing;
    pthread_t users[USERS];
    int round, i;

    (void)state;
    for (round = 0; round < ROUNDS; round++) {
        closing.space = contract_space_open(NULL);
        test_flag_set(&closing.running, 0);
        for (i = 0; i < USERS; i++)
            users[i] = contract_thread_start(use_until_closed, &closing);
        assert_true(test_flag_wait(&closing.running, USERS, CONTRACT_SOON_MS));
        test_sleep_ms(round % 4);
        contract_space_close(closing.space);
        for (i = 0; i < USERS; i++)
            contract_thread_join(users[i]);
        assert_int_equal(closing.faults, 0);
        if (contract_on_redis())
            test_redis_int(contract_server(), "DEL", "stile:{lock:closing}", NULL);
    }
}

/* ---- fork --------------------------------------------------------------------------------------- */

struct inherited {
    stile_lock *lock;
    const stile_hold *hold;
};

static int use_inherited_server(void *arg)
{
    const struct inherited *inherited = arg;
    stile_lock *opened = NULL;
    stile_hold hold;
    int64_t valid_ms;

    test_child_check(stile_lock_open(contract_space(), "other", NULL, &opened) == STILE_FORKED);
    test_child_check(stile_error_detail()[0] != '\0');
    test_child_check(opened == NULL);
    test_child_check(stile_lock_acquire(inherited->lock, 0, &hold) == STILE_FORKED);
    test_child_check(stile_lock_acquire(inherited->lock, 50, &hold) == STILE_FORKED);
    test_child_check(stile_lock_acquire(inherited->lock, STILE_FOREVER, &hold) == STILE_FORKED);
    test_child_check(stile_lock_check(inherited->lock, inherited->hold, &valid_ms) == STILE_FORKED);
    test_child_check(stile_lock_extend(inherited->lock, inherited->hold, 1000) == STILE_FORKED);
    test_child_check(stile_lock_release(inherited->lock, inherited->hold) == STILE_FORKED);
    stile_lock_close(inherited->lock);
    stile_close(contract_space());
    return 0;
}

/* The child's copy is a world of its own, in the state that the parent's was in. */
static int use_inherited_local(void *arg)
{
    const struct inherited *inherited = arg;
    stile_lock *lock = inherited->lock, *other;
    stile_hold hold;

    test_child_check(stile_lock_check(lock, inherited->hold, NULL) == STILE_OK);
    test_child_check(stile_lock_acquire(lock, 0, &hold) == STILE_TIMEOUT);
    test_child_check(stile_lock_acquire(lock, 20, &hold) == STILE_TIMEOUT);
    test_child_check(stile_lock_release(lock, inherited->hold) == STILE_OK);
    test_child_check(stile_lock_acquire(lock, STILE_FOREVER, &hold) == STILE_OK);
    test_child_check(hold.fence > inherited->hold->fence);
    test_child_check(stile_lock_release(lock, &hold) == STILE_OK);
    test_child_check(stile_lock_open(contract_space(), "other", NULL, &other) == STILE_OK);
    test_child_check(stile_lock_acquire(other, 0, &hold) == STILE_OK);
    test_child_check(stile_lock_release(other, &hold) == STILE_OK);
    stile_lock_close(other);
    stile_lock_close(lock);
    stile_close(contract_space());
    return 0;
}

static void child_leaves_the_parents_locks_alone(void **state)
{
    stile_lock *lock = contract_lock_open("forked", NULL);
    struct inherited inherited = {.lock = lock};
    struct contender *contender;
    struct test_process child;
    stile_hold hold;
    int i;

    (void)state;
    inherited.hold = &hold;
    for (i = 0; i < 3; i++) {
        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        assert_true(test_spawn(
            &child, contract_on_redis() ? use_inherited_server : use_inherited_local, &inherited));
        assert_int_equal(test_process_wait(&child, CONTRACT_SOON_MS), 0);
        /* Whatever the child did. */
        assert_status(stile_lock_check(lock, &hold, NULL), STILE_OK);
        contract_check_taken(lock);
        contender = contender_queue(lock, STILE_FOREVER, NULL);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        assert_outcome(contender_answer(contender), STILE_OK);
        assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
    }
}

static int use_lease_in_child(void *arg)
{
    const struct inherited *inherited = arg;
    const stile_lock_options fixed = {.lease_ms = 100, .fixed_lease = true};
    stile_hold hold, next;

    test_child_check(stile_lock_release(inherited->lock, inherited->hold) == STILE_OK);
    test_child_check(stile_lock_acquire_with(inherited->lock, 0, &fixed, &hold) == STILE_OK);
    test_child_check(stile_lock_acquire(inherited->lock, 5000, &next) == STILE_OK);
    test_child_check(stile_lock_check(inherited->lock, &hold, NULL) == STILE_LOST);
    test_child_check(stile_lock_release(inherited->lock, &next) == STILE_OK);
    return 0;
}

static void lease_ends_in_a_childs_copy_as_well(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("forked-lease", &fixed);
    struct inherited inherited = {.lock = lock};
    struct test_process child;
    stile_hold hold;

    (void)state;
    inherited.hold = &hold;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_true(test_spawn(&child, use_lease_in_child, &inherited));
    assert_int_equal(test_process_wait(&child, CONTRACT_SOON_MS), 0);
    assert_status(stile_lock_check(lock, &hold, NULL), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

/* ---- a server's alone ----------------------------------------------------------------------------- */

static void opening_a_handle_and_checking_a_hold_asks_no_server(void **state)
{
    stile_lock *lock = contract_lock_open("unasked", NULL);
    struct test_server *server = contract_server();
    stile_lock *opened = NULL;
    stile_status open, check, invalid;
    int64_t began_ms, took_ms;
    stile_hold hold, none;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    test_server_pause(server);
    began_ms = test_now_ms();
    open = stile_lock_open(contract_space(), "unasked", NULL, &opened);
    check = stile_lock_check(lock, &hold, NULL);
    invalid = stile_lock_acquire(lock, -2, &none);
    stile_lock_close(opened);
    took_ms = test_now_ms() - began_ms;
    test_server_resume(server);
    assert_outcome(open, STILE_OK);
    assert_outcome(check, STILE_OK);
    assert_outcome(invalid, STILE_INVALID);
    assert_true(took_ms < 1000);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void closing_the_space_ends_renewals_and_releases_nothing(void **state)
{
    const stile_lock_options renewed = {.lease_ms = 500};
    stile *space = contract_space_open(NULL);
    stile_lock *theirs = contract_lock_open_in(space, "unreleased", &renewed);
    stile_lock *ours = contract_lock_open("unreleased", NULL);
    int64_t began_ns, before_ns;
    stile_hold hold, next;
    stile_status status;

    (void)state;
    began_ns = test_now_ns();
    assert_status(stile_lock_acquire(theirs, 0, &hold), STILE_OK);
    contract_space_close(space);
    before_ns = test_now_ns();
    status = stile_lock_acquire(ours, 0, &next);
    assert_true(status == STILE_TIMEOUT || test_now_ns() >= began_ns + 490 * CONTRACT_NS_PER_MS);
    if (status != STILE_OK)
        assert_status(stile_lock_acquire(ours, 5000, &next), STILE_OK);
    assert_true(test_now_ns() >= began_ns + 490 * CONTRACT_NS_PER_MS);
    assert_true(test_now_ns() <= before_ns + 2500 * CONTRACT_NS_PER_MS);
    assert_true(next.fence > hold.fence);
    assert_status(stile_lock_release(ours, &next), STILE_OK);
}

struct neighbour {
    struct test_flag holds;
    struct test_flag release;
    uint64_t fence;
};

static int hold_next_door(void *arg)
{
    const stile_lock_options renewed = {.lease_ms = 300};
    struct neighbour *neighbour = arg;
    stile_lock *lock;
    stile_hold hold;
    stile *space;

    test_child_check(stile_open(contract_url(), NULL, &space) == STILE_OK);
    test_child_check(stile_lock_open(space, "processes", &renewed, &lock) == STILE_OK);
    test_child_check(stile_lock_acquire(lock, 5000, &hold) == STILE_OK);
    neighbour->fence = hold.fence;
    test_flag_set(&neighbour->holds, 1);
    test_child_check(test_flag_wait(&neighbour->release, 1, CONTRACT_SOON_MS));
    test_child_check(stile_lock_release(lock, &hold) == STILE_OK);
    stile_lock_close(lock);
    stile_close(space);
    return 0;
}

static void processes_exclude_each_other(void **state)
{
    struct neighbour *neighbour = test_shared_alloc(sizeof *neighbour);
    struct test_process process;
    struct contender *contender;
    stile_lock *lock;

    (void)state;
    assert_true(test_spawn(&process, hold_next_door, neighbour));
    lock = contract_lock_open("processes", NULL);
    assert_true(test_flag_wait(&neighbour->holds, 1, CONTRACT_SOON_MS));
    contract_check_taken(lock);
    contender = contender_queue(lock, STILE_FOREVER, NULL);
    test_flag_set(&neighbour->release, 1);
    assert_outcome(contender_answer(contender), STILE_OK);
    assert_true(contender->hold.fence > neighbour->fence);
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
    assert_int_equal(test_process_wait(&process, CONTRACT_SOON_MS), 0);
    test_shared_free(neighbour, sizeof *neighbour);
}

static void lock_of_a_dead_process_is_free_after_its_lease(void **state)
{
    struct neighbour *neighbour = test_shared_alloc(sizeof *neighbour);
    struct test_process process;
    struct contender *contender;
    int64_t killed_ns;
    stile_lock *lock;

    (void)state;
    assert_true(test_spawn(&process, hold_next_door, neighbour));
    lock = contract_lock_open("processes", NULL);
    assert_true(test_flag_wait(&neighbour->holds, 1, CONTRACT_SOON_MS));
    contender = contender_queue(lock, STILE_FOREVER, NULL);
    killed_ns = test_now_ns();
    test_process_kill(&process);
    assert_outcome(contender_answer(contender), STILE_OK);
    assert_true(contender->returned_ns <= killed_ns + 2300 * CONTRACT_NS_PER_MS);
    assert_true(contender->hold.fence > neighbour->fence);
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
    test_shared_free(neighbour, sizeof *neighbour);
}

/* ------------------------------------------------------------------------------------------------------ */

int contract_lock_space(void)
{
    const struct CMUnitTest everywhere[] = {
        contract_test(space_has_locks),
        contract_test(spaces_of_one_process_share_a_server_but_not_local),
        cmocka_unit_test_setup_teardown(space_without_a_url_is_the_environments_or_local,
                                        contract_setup, clear_environment),
        contract_test(space_that_cannot_be_opened_is_refused),
        contract_test(closing_a_handle_ends_the_waits_through_it_alone),
        contract_test(closing_a_handle_beside_a_release_loses_no_hold),
        contract_test(closing_the_space_wakes_everybody_at_once),
        contract_test(closed_space_answers_closed),
        contract_test(lease_goes_on_in_a_closed_space),
        contract_test(space_is_closed_while_everybody_uses_it),
        contract_test(child_leaves_the_parents_locks_alone),
    };
    const struct CMUnitTest in_process[] = {
        contract_test(lease_ends_in_a_childs_copy_as_well),
    };
    const struct CMUnitTest on_server[] = {
        contract_test(opening_a_handle_and_checking_a_hold_asks_no_server),
        contract_test(closing_the_space_ends_renewals_and_releases_nothing),
        contract_test(processes_exclude_each_other),
        contract_test(lock_of_a_dead_process_is_free_after_its_lease),
    };
    int failed = cmocka_run_group_tests_name("lock: spaces", everywhere, NULL, NULL);

    if (contract_on_redis())
        failed += cmocka_run_group_tests_name("lock: on a server", on_server, NULL, NULL);
    else
        failed += cmocka_run_group_tests_name("lock: in a process", in_process, NULL, NULL);
    return failed;
}
