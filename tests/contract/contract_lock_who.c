/*
 * The lock: who holds it and who waits for it, how long it stays taken at least, and
 * taking it from whoever has it.
 */
#include "contract.h"
#include "contract_lock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- looking -------------------------------------------------------------------------- */

static stile_lock_info inspect(stile_lock *lock)
{
    stile_lock_info info;

    assert_status(stile_lock_inspect(lock, &info), STILE_OK);
    assert_true(info.listed <= info.waiters);
    assert_true(info.listed > 0 || info.queue == NULL);
    return info;
}

/* Looks until so many wait. */
static stile_lock_info await_waiters(stile_lock *lock, size_t waiters)
{
    int64_t until_ms = test_now_ms() + CONTRACT_SOON_MS;
    stile_lock_info info = inspect(lock);

    while (info.waiters != waiters) {
        stile_lock_info_free(&info);
        assert_true(test_now_ms() < until_ms);
        test_sleep_ms(1);
        info = inspect(lock);
    }
    return info;
}

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Of this process, a thread of it, and since a time between two readings. */
static void check_party(const stile_party *party, const char *label, pid_t thread, int64_t from_ms,
                        int64_t to_ms)
{
    char host[65] = "";

    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    host[sizeof party->host - 1] = '\0';
    assert_string_equal(party->host, host);
    assert_int_equal(party->pid, getpid());
    assert_string_equal(party->label, label);
    assert_int_equal(party->thread, thread);
    assert_in_range(party->since_ms, from_ms, to_ms);
}

/* ---- who holds -------------------------------------------------------------------------- */

static void lock_that_nobody_has_shows_nobody(void **state)
{
    stile_lock *lock = contract_lock_open("nobody", NULL);
    stile_lock_info info = inspect(lock);
    stile_hold hold;

    (void)state;
    assert_false(info.held);
    assert_int_equal(info.waiters, 0);
    stile_lock_info_free(&info);
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    info = inspect(lock);
    assert_false(info.held);
    assert_string_equal(info.holder.host, "");
    assert_int_equal(info.lease_ms, 0);
    assert_int_equal(info.fence, hold.fence);
    stile_lock_info_free(&info);
    /* Twice, and of nothing. */
    stile_lock_info_free(&info);
    stile_lock_info_free(NULL);
}

static void holder_is_shown_as_it_describes_itself(void **state)
{
    const stile_lock_options options = {.label = "the nightly report"};
    stile_lock *lock = contract_lock_open("described", &options);
    int64_t from_ms = wall_ms();
    stile_lock_info info;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    info = inspect(contract_lock_open("described", NULL));
    assert_true(info.held);
    check_party(&info.holder, "the nightly report", gettid(), from_ms, wall_ms());
    assert_int_equal(info.fence, hold.fence);
    assert_int_equal(info.waiters, 0);
    if (contract_on_redis())
        assert_in_range(info.lease_ms, 1, 30000);
    else
        assert_int_equal(info.lease_ms, STILE_FOREVER);
    stile_lock_info_free(&info);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void holder_without_a_label_is_of_this_process(void **state)
{
    const stile_lock_options labelled = {.label = "labelled"};
    const stile_lock_options fixed = {.fixed_lease = true, .lease_ms = 60000};
    const stile_lock_options *options[] = {NULL, &labelled, NULL, &fixed};
    stile_lock *lock = contract_lock_open("plain", NULL);
    size_t i;

    (void)state;
    for (i = 0; i < 4; i++) {
        stile_lock_info info;
        stile_hold hold;

        assert_status(stile_lock_acquire_with(lock, 0, options[i], &hold), STILE_OK);
        info = inspect(lock);
        assert_true(info.held);
        assert_int_equal(info.holder.pid, getpid());
        /* Nothing of an earlier holder is left. */
        assert_string_equal(info.holder.label, options[i] == &labelled ? "labelled" : "");
        if (options[i] == &fixed)
            assert_in_range(info.lease_ms, 40000, 60000);
        stile_lock_info_free(&info);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
    }
}

static void label_is_any_bytes_and_copied(void **state)
{
    static const char *const labels[] = {
        " ", "  a b  ", "%41%", "a\nb\r\n\t", "\x01\x7f\xff\xc3", "1 2 3 4", "\"';-- $x", "0", ""};
    char longest[STILE_LABEL_MAX + 1];
    size_t i;

    (void)state;
    memset(longest, 0xfe, sizeof longest);
    longest[STILE_LABEL_MAX] = '\0';
    for (i = 0; i <= sizeof labels / sizeof labels[0]; i++) {
        char label[STILE_LABEL_MAX + 1];
        stile_lock_options options = {.label = label};
        stile_lock_info info;
        stile_lock *lock;
        stile_hold hold;

        strcpy(label, i < sizeof labels / sizeof labels[0] ? labels[i] : longest);
        lock = contract_lock_open("labels", &options);
        memset(label, 'x', sizeof label);
        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        info = inspect(lock);
        assert_string_equal(info.holder.label,
                            i < sizeof labels / sizeof labels[0] ? labels[i] : longest);
        stile_lock_info_free(&info);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        contract_lock_close(lock);
    }
}

/* ---- who waits --------------------------------------------------------------------------- */

enum { IN_LINE = 5 };

static void waiters_are_listed_in_the_order_in_which_they_came(void **state)
{
    static const char *const names[IN_LINE] = {"first", "", "third one", "4", "fifth"};
    stile_lock *lock = contract_lock_open("in-line", NULL);
    struct contender *line[IN_LINE];
    int64_t from_ms[IN_LINE + 1];
    stile_lock_info info;
    stile_hold hold;
    size_t i, j;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    for (i = 0; i < IN_LINE; i++) {
        stile_lock_options options = {.label = names[i]};

        from_ms[i] = wall_ms();
        line[i] = contender_start(lock, STILE_FOREVER, &options);
        info = await_waiters(lock, i + 1);
        assert_int_equal(info.listed, i + 1);
        stile_lock_info_free(&info);
    }
    from_ms[IN_LINE] = wall_ms();
    for (i = 0; i < IN_LINE; i++) {
        info = await_waiters(lock, IN_LINE - i);
        assert_int_equal(info.listed, IN_LINE - i);
        for (j = i; j < IN_LINE; j++)
            check_party(&info.queue[j - i], names[j], line[j]->id, from_ms[j], from_ms[j + 1]);
        stile_lock_info_free(&info);
        assert_status(stile_lock_release(lock, i == 0 ? &hold : &line[i - 1]->hold), STILE_OK);
        assert_outcome(contender_answer(line[i]), STILE_OK);
    }
    assert_status(stile_lock_release(lock, &line[IN_LINE - 1]->hold), STILE_OK);
}

/* Longer than any grant that is not claimed. */
static bool is_claimed(const stile_lock_info *info)
{
    return info->lease_ms == STILE_FOREVER || info->lease_ms > 10000;
}

static void check_granted_is_shown(const stile_lock_options *labelled)
{
    stile_lock *lock = contract_lock_open("granted", NULL);
    int64_t until_ms = test_now_ms() + CONTRACT_SOON_MS, from_ms;
    struct contender *contender;
    stile_lock_info info;
    stile_hold hold;
    bool claimed = false;

    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    contender = contender_queue(lock, STILE_FOREVER, labelled);
    from_ms = wall_ms();
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_outcome(contender_answer(contender), STILE_OK);
    while (!claimed) {
        info = inspect(lock);
        assert_true(info.held);
        check_party(&info.holder, "who waited", contender->id, from_ms, wall_ms());
        assert_int_equal(info.fence, contender->hold.fence);
        assert_int_equal(info.waiters, 0);
        claimed = is_claimed(&info);
        stile_lock_info_free(&info);
        assert_true(test_now_ms() < until_ms);
    }
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
}

static void waiter_that_was_granted_is_the_holder_with_its_label(void **state)
{
    const stile_lock_options labelled = {.label = "who waited"};
    const stile_lock_options fair = {.label = "who waited", .fair = true};

    (void)state;
    check_granted_is_shown(&labelled);
    check_granted_is_shown(&fair);
}

/* redis: a waiter that looks again stays who it is. */
static void waiter_keeps_its_label_and_time_while_it_waits(void **state)
{
    const stile_lock_options labelled = {.label = "patient"};
    stile *space = contract_space_open(&(stile_options){.recheck_ms = 100});
    stile_lock *lock = contract_lock_open_in(space, "patient", NULL);
    int64_t from_ms = wall_ms(), to_ms, until_ms;
    struct contender *contender;
    stile_lock_info info;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    contender = contender_start(lock, STILE_FOREVER, &labelled);
    info = await_waiters(lock, 1);
    stile_lock_info_free(&info);
    to_ms = wall_ms();
    for (until_ms = test_now_ms() + 500; test_now_ms() < until_ms; test_sleep_ms(20)) {
        info = inspect(lock);
        assert_int_equal(info.listed, 1);
        check_party(&info.queue[0], "patient", contender->id, from_ms, to_ms);
        stile_lock_info_free(&info);
    }
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_outcome(contender_answer(contender), STILE_OK);
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
}

static void of_many_waiters_a_hundred_are_listed_and_all_are_counted(void **state)
{
    enum { MANY = 105 };
    char label[STILE_LABEL_MAX + 1];
    const stile_lock_options labelled = {.label = label};
    stile_lock *lock = contract_lock_open("many", NULL);
    stile_lock *waiting = contract_lock_open("many", NULL);
    struct contender *contenders[MANY];
    stile_lock_info info;
    stile_hold hold;
    size_t i;

    (void)state;
    memset(label, 'l', STILE_LABEL_MAX);
    label[STILE_LABEL_MAX] = '\0';
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    for (i = 0; i < MANY; i++)
        contenders[i] = contender_start(waiting, STILE_FOREVER, &labelled);
    info = await_waiters(lock, MANY);
    assert_int_equal(info.listed, 100);
    for (i = 0; i < info.listed; i++)
        assert_string_equal(info.queue[i].label, label);
    stile_lock_info_free(&info);
    contract_lock_close(waiting);
    for (i = 0; i < MANY; i++)
        assert_outcome(contender_answer(contenders[i]), STILE_CLOSED);
    info = await_waiters(lock, 0);
    stile_lock_info_free(&info);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

/* ---- by force ------------------------------------------------------------------------------ */

/* Its owner hears of it at its next call. */
static void check_revoked(stile_lock *lock, const stile_hold *hold)
{
    stile_status status;

    if (!contract_on_redis())
        assert_status(stile_lock_check(lock, hold, NULL), STILE_LOST);
    assert_status(stile_lock_extend(lock, hold, 1000), STILE_LOST);
    assert_status(stile_lock_check(lock, hold, NULL), STILE_LOST);
    assert_status(stile_lock_release(lock, hold), STILE_LOST);
    status = stile_lock_release(lock, hold);
    if (status != STILE_LOST)
        assert_outcome(status, STILE_NOT_HELD);
}

static void lock_taken_by_force_goes_to_the_first_who_waits(void **state)
{
    const stile_lock_options labelled = {.label = "labelled"};
    const stile_lock_options fixed = {.fixed_lease = true, .lease_ms = 60000};
    const stile_lock_options fair = {.fair = true};
    const stile_lock_options *options[] = {NULL, &labelled, &fixed, &fair};
    stile_lock *lock = contract_lock_open("force", NULL);
    int64_t least_ns = INT64_MAX;
    size_t i;

    (void)state;
    for (i = 0; i < 4; i++) {
        struct contender *first, *second;
        int64_t forced_ns;
        stile_hold hold;

        assert_status(stile_lock_acquire_with(lock, 0, options[i], &hold), STILE_OK);
        first = contender_queue(lock, STILE_FOREVER, options[i]);
        second = contender_queue(lock, STILE_FOREVER, options[i]);
        forced_ns = test_now_ns();
        assert_status(stile_lock_force_release(lock), STILE_OK);
        assert_outcome(contender_answer(first), STILE_OK);
        if (first->returned_ns - forced_ns < least_ns)
            least_ns = first->returned_ns - forced_ns;
        assert_true(first->hold.fence > hold.fence);
        check_revoked(lock, &hold);
        /* And did no harm to who has it now. */
        assert_status(stile_lock_check(lock, &first->hold, NULL), STILE_OK);
        contract_check_taken(lock);
        assert_true(contender_waits(second));
        assert_status(stile_lock_release(lock, &first->hold), STILE_OK);
        assert_outcome(contender_answer(second), STILE_OK);
        assert_status(stile_lock_release(lock, &second->hold), STILE_OK);
    }
    /* By itself it would look after at least 800 ms. */
    assert_true(least_ns < 400 * CONTRACT_NS_PER_MS);
}

static void lock_taken_by_force_is_free_if_nobody_waits(void **state)
{
    stile_lock *lock = contract_lock_open("force-free", NULL);
    stile_hold hold, next;

    (void)state;
    assert_status(stile_lock_force_release(lock), STILE_MISSING);
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_force_release(lock), STILE_OK);
    assert_status(stile_lock_force_release(lock), STILE_MISSING);
    assert_status(stile_lock_acquire(lock, 0, &next), STILE_OK);
    check_revoked(lock, &hold);
    assert_status(stile_lock_check(lock, &next, NULL), STILE_OK);
    assert_status(stile_lock_release(lock, &next), STILE_OK);
    assert_status(stile_lock_force_release(lock), STILE_MISSING);
    /* What was released is not what was taken away. */
    assert_status(stile_lock_release(lock, &next), STILE_NOT_HELD);
}

/* ---- held at least --------------------------------------------------------------------------- */

/* A hold, and between which times it was taken. */
struct kept {
    stile_hold hold;
    int64_t from_ns, to_ns;
};

static void acquire_kept(stile_lock *lock, struct kept *kept)
{
    kept->from_ns = test_now_ns();
    assert_status(stile_lock_acquire(lock, 0, &kept->hold), STILE_OK);
    kept->to_ns = test_now_ns();
}

/* It is over for its owner, and the lock is still taken. */
static void check_kept(stile_lock *lock, const struct kept *kept, int64_t min_hold_ms)
{
    stile_lock_info info = inspect(lock);

    /* On a busy machine its time may be over. */
    if (test_now_ns() < kept->from_ns + min_hold_ms * CONTRACT_NS_PER_MS)
        assert_true(info.held);
    if (info.held) {
        assert_int_equal(info.fence, kept->hold.fence);
        assert_string_equal(info.holder.label, "kept");
        assert_int_equal(info.holder.thread, gettid());
        assert_in_range(info.lease_ms, 0, min_hold_ms + 1);
    }
    stile_lock_info_free(&info);
    assert_status(stile_lock_check(lock, &kept->hold, NULL), STILE_NOT_HELD);
    assert_status(stile_lock_extend(lock, &kept->hold, 1000), STILE_NOT_HELD);
    assert_status(stile_lock_release(lock, &kept->hold), STILE_NOT_HELD);
}

static void lock_released_early_stays_taken_until_its_time(void **state)
{
    const stile_lock_options plain = {.min_hold_ms = 300, .label = "kept"};
    const stile_lock_options fixed = {
        .min_hold_ms = 300, .label = "kept", .fixed_lease = true, .lease_ms = 100};
    const stile_lock_options most = {.min_hold_ms = 300, .label = "kept", .max_hold_ms = 300};
    const stile_lock_options *options[] = {&plain, &fixed, &most};
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        stile_lock *lock = contract_lock_open("early", options[i]);
        stile_lock *other = contract_lock_open("early", NULL);
        stile_status status;
        struct kept kept;
        stile_hold hold;
        int64_t now_ns;

        acquire_kept(lock, &kept);
        assert_status(stile_lock_release(lock, &kept.hold), STILE_OK);
        check_kept(lock, &kept, 300);
        do {
            status = stile_lock_acquire(other, 0, &hold);
            now_ns = test_now_ns();
            assert_true(now_ns < kept.to_ns + CONTRACT_SOON_MS * CONTRACT_NS_PER_MS);
        } while (status == STILE_TIMEOUT);
        assert_outcome(status, STILE_OK);
        assert_true(now_ns >= kept.from_ns + 300 * CONTRACT_NS_PER_MS);
        assert_true(hold.fence > kept.hold.fence);
        assert_status(stile_lock_release(other, &hold), STILE_OK);
    }
}

static void waiter_gets_a_lock_released_early_at_its_time(void **state)
{
    const stile_lock_options kept_long = {.min_hold_ms = 300, .label = "kept"};
    const stile_lock_options fair = {.fair = true};
    stile_lock *lock = contract_lock_open("early-waiter", &kept_long);
    stile_lock *waiting = contract_lock_open("early-waiter", NULL);
    int64_t least_ns = INT64_MAX;
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        struct contender *contender;
        struct kept kept;

        acquire_kept(lock, &kept);
        contender = contender_queue(waiting, STILE_FOREVER, i % 2 == 0 ? NULL : &fair);
        assert_status(stile_lock_release(lock, &kept.hold), STILE_OK);
        assert_outcome(contender_answer(contender), STILE_OK);
        assert_true(contender->returned_ns >= kept.from_ns + 300 * CONTRACT_NS_PER_MS);
        if (contender->returned_ns - kept.to_ns < least_ns)
            least_ns = contender->returned_ns - kept.to_ns;
        assert_status(stile_lock_release(waiting, &contender->hold), STILE_OK);
    }
    /* It had seen a lease of half a minute, and would look again by itself after at
     * least 800 ms. */
    assert_true(least_ns < 600 * CONTRACT_NS_PER_MS);
}

static void lock_released_after_its_least_time_is_free_at_once(void **state)
{
    const stile_lock_options options = {.min_hold_ms = 50};
    stile_lock *lock = contract_lock_open("late", &options);
    struct kept kept;

    (void)state;
    acquire_kept(lock, &kept);
    while (test_now_ns() <= kept.to_ns + 50 * CONTRACT_NS_PER_MS)
        test_sleep_ms(1);
    assert_status(stile_lock_check(lock, &kept.hold, NULL), STILE_OK);
    assert_status(stile_lock_extend(lock, &kept.hold, 1000), STILE_OK);
    assert_status(stile_lock_release(lock, &kept.hold), STILE_OK);
    contract_check_free(contract_lock_open("late", NULL));
}

static void hold_that_has_to_be_kept_is_otherwise_like_any(void **state)
{
    const stile_lock_options options = {.min_hold_ms = 60000};
    stile_lock *lock = contract_lock_open("like-any", &options);
    stile_lock_info info;
    int64_t valid_ms;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_check(lock, &hold, &valid_ms), STILE_OK);
    if (contract_on_redis())
        assert_in_range(valid_ms, 50000, 60000);
    else
        assert_int_equal(valid_ms, STILE_FOREVER);
    assert_status(stile_lock_extend(lock, &hold, 1), STILE_OK);
    assert_status(stile_lock_check(lock, &hold, &valid_ms), STILE_OK);
    info = inspect(lock);
    if (!contract_on_redis()) {
        assert_int_equal(valid_ms, STILE_FOREVER);
        assert_int_equal(info.lease_ms, STILE_FOREVER);
    }
    stile_lock_info_free(&info);
    /* And force ends what is kept for nobody, too. */
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    contract_check_taken(lock);
    assert_status(stile_lock_force_release(lock), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_NOT_HELD);
    contract_check_free(contract_lock_open("like-any", NULL));
}

static void lease_is_at_least_the_least_time(void **state)
{
    const stile_lock_options fixed = {.min_hold_ms = 60000, .lease_ms = 100, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("lease", &fixed);
    int64_t valid_ms;
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_check(lock, &hold, &valid_ms), STILE_OK);
    assert_in_range(valid_ms, 40000, 60000);
    assert_status(stile_lock_force_release(lock), STILE_OK);
}

/* ---- arguments -------------------------------------------------------------------------------- */

/* Refused, and the sentence names the argument. */
#define assert_names(call, argument)                                                               \
    do {                                                                                           \
        assert_status(call, STILE_INVALID);                                                        \
        assert_non_null(strstr(stile_error_detail(), argument));                                   \
    } while (0)

static void what_is_asked_wrongly_is_refused_by_name(void **state)
{
    stile_lock *lock = contract_lock_open("wrong", NULL);
    stile_lock_info info = {.waiters = 42};

    (void)state;
    assert_names(stile_lock_inspect(NULL, &info), "lock");
    assert_names(stile_lock_inspect(lock, NULL), "info");
    assert_names(stile_lock_force_release(NULL), "lock");
    assert_int_equal(info.waiters, 42);
}

static void try_wrong(const stile_lock_options *options, const char *argument, const char *other)
{
    stile_lock *lock = contract_lock_open("wrong-options", NULL), *opened = NULL;
    stile_hold hold;

    assert_names(stile_lock_open(contract_space(), "wrong-options", options, &opened), argument);
    assert_non_null(strstr(stile_error_detail(), other));
    assert_null(opened);
    assert_names(stile_lock_acquire_with(lock, 0, options, &hold), argument);
    contract_check_free(lock);
    contract_lock_close(lock);
}

static void least_time_and_label_have_bounds(void **state)
{
    const int64_t wrong_ms[] = {-1, INT64_MIN, INT64_C(315360000001), INT64_MAX};
    const int64_t right_ms[] = {0, 1, 100, INT64_C(315360000000)};
    stile *space = contract_space_open(&(stile_options){.max_hold_ms = 1000});
    char label[STILE_LABEL_MAX + 2];
    stile_lock *opened = NULL;
    size_t i;

    (void)state;
    for (i = 0; i < 4; i++)
        try_wrong(&(stile_lock_options){.min_hold_ms = wrong_ms[i]}, "min_hold_ms", "");
    for (i = 0; i < 4; i++)
        contract_lock_close(
            contract_lock_open("right", &(stile_lock_options){.min_hold_ms = right_ms[i]}));
    try_wrong(&(stile_lock_options){.min_hold_ms = 201, .max_hold_ms = 200}, "min_hold_ms",
              "max_hold_ms");
    contract_lock_open("right", &(stile_lock_options){.min_hold_ms = 200, .max_hold_ms = 200});
    assert_names(
        stile_lock_open(space, "wrong", &(stile_lock_options){.min_hold_ms = 1001}, &opened),
        "max_hold_ms");
    memset(label, 'l', sizeof label);
    label[STILE_LABEL_MAX + 1] = '\0';
    try_wrong(&(stile_lock_options){.label = label}, "label", "");
}

static void closed_space_shows_nothing(void **state)
{
    stile *space = contract_space_open(NULL);
    stile_lock *lock = contract_lock_open_in(space, "closed", NULL);
    stile_lock_info info;

    (void)state;
    contract_space_close(space);
    assert_status(stile_lock_inspect(lock, &info), STILE_CLOSED);
    assert_status(stile_lock_force_release(lock), STILE_CLOSED);
}

/* ----------------------------------------------------------------------------------------------- */

int contract_lock_who(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(lock_that_nobody_has_shows_nobody),
        contract_test(holder_is_shown_as_it_describes_itself),
        contract_test(holder_without_a_label_is_of_this_process),
        contract_test(label_is_any_bytes_and_copied),
        contract_test(waiters_are_listed_in_the_order_in_which_they_came),
        contract_test(waiter_that_was_granted_is_the_holder_with_its_label),
        contract_test(waiter_keeps_its_label_and_time_while_it_waits),
        contract_test(of_many_waiters_a_hundred_are_listed_and_all_are_counted),
        contract_test(lock_taken_by_force_goes_to_the_first_who_waits),
        contract_test(lock_taken_by_force_is_free_if_nobody_waits),
        contract_test(lock_released_early_stays_taken_until_its_time),
        contract_test(waiter_gets_a_lock_released_early_at_its_time),
        contract_test(lock_released_after_its_least_time_is_free_at_once),
        contract_test(hold_that_has_to_be_kept_is_otherwise_like_any),
        contract_test(lease_is_at_least_the_least_time),
        contract_test(what_is_asked_wrongly_is_refused_by_name),
        contract_test(least_time_and_label_have_bounds),
        contract_test(closed_space_shows_nothing),
    };

    return cmocka_run_group_tests_name("lock: who", tests, NULL, NULL);
}
