/*
 * The lock: holds that are given away by a token.
 */
#include "contract.h"
#include "contract_lock.h"

#include <string.h>

/* A space that can adopt what another gave: with local: only the same. */
static stile *other_space(void)
{
    return contract_on_redis() ? contract_space_open(NULL) : contract_space();
}

static void acquire_and_give(stile_lock *lock, stile_hold *hold, char token[STILE_TOKEN_SIZE])
{
    assert_status(stile_lock_acquire(lock, 1000, hold), STILE_OK);
    memset(token, 'x', STILE_TOKEN_SIZE);
    assert_status(stile_lock_give(lock, hold, token), STILE_OK);
    assert_in_range(strnlen(token, STILE_TOKEN_SIZE), 1, STILE_TOKEN_SIZE - 1);
    assert_null(strpbrk(token, " \t\n\"'\\"));
}

static void check_not_held(stile_lock *lock, const stile_hold *hold)
{
    char token[STILE_TOKEN_SIZE];

    assert_status(stile_lock_check(lock, hold, NULL), STILE_NOT_HELD);
    assert_status(stile_lock_extend(lock, hold, 1000), STILE_NOT_HELD);
    assert_status(stile_lock_hand_over(lock, hold), STILE_NOT_HELD);
    assert_status(stile_lock_give(lock, hold, token), STILE_NOT_HELD);
    assert_status(stile_lock_release(lock, hold), STILE_NOT_HELD);
}

static void given_hold_is_the_adopters_alone(void **state)
{
    const stile_lock_options kinds[] = {{.lease_ms = 60000},
                                        {.lease_ms = 60000, .fixed_lease = true}};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stile_lock *giver = contract_lock_open("given", &kinds[i]);
        stile_lock *taker = contract_lock_open_in(other_space(), "given", &kinds[1 - i]);
        char token[STILE_TOKEN_SIZE];
        stile_hold hold, adopted;
        int64_t valid_ms;

        acquire_and_give(giver, &hold, token);
        check_not_held(giver, &hold);
        contract_check_taken(giver);
        assert_status(stile_lock_adopt(taker, token, &adopted), STILE_OK);
        assert_true(adopted.fence >= hold.fence);
        contract_check_taken(giver);
        check_not_held(giver, &hold);
        assert_status(stile_lock_check(taker, &adopted, &valid_ms), STILE_OK);
        /* By the options of the handle that adopts. */
        if (i == 1 && !contract_on_redis())
            assert_int_equal(valid_ms, STILE_FOREVER);
        else
            assert_in_range(valid_ms, 50000, 60000);
        assert_status(stile_lock_release(taker, &adopted), STILE_OK);
        contract_check_free(giver);
    }
}

static void adopted_hold_is_renewed(void **state)
{
    const stile_lock_options renewed = {.lease_ms = 200};
    stile_lock *giver = contract_lock_open("renewed", &renewed);
    stile_lock *taker = contract_lock_open_in(other_space(), "renewed", &renewed);
    char token[STILE_TOKEN_SIZE];
    stile_hold hold, adopted;
    int i;

    (void)state;
    acquire_and_give(giver, &hold, token);
    assert_status(stile_lock_adopt(taker, token, &adopted), STILE_OK);
    for (i = 0; i < 60; i++) {
        assert_status(stile_lock_check(taker, &adopted, NULL), STILE_OK);
        contract_check_taken(giver);
        test_sleep_ms(10);
    }
    assert_status(stile_lock_release(taker, &adopted), STILE_OK);
}

static void max_hold_of_who_adopts_begins_with_the_adoption(void **state)
{
    const stile_lock_options bounded = {.lease_ms = 150, .max_hold_ms = 400};
    stile_lock *giver = contract_lock_open("bounded", NULL);
    stile_lock *taker = contract_lock_open_in(other_space(), "bounded", &bounded);
    char token[STILE_TOKEN_SIZE];
    stile_hold hold, adopted;
    int64_t began_ms;

    (void)state;
    acquire_and_give(giver, &hold, token);
    began_ms = test_now_ms();
    assert_status(stile_lock_adopt(taker, token, &adopted), STILE_OK);
    while (stile_lock_check(taker, &adopted, NULL) == STILE_OK)
        test_sleep_ms(1);
    assert_in_range(test_now_ms() - began_ms, 400 - 8, 2000);
    assert_status(stile_lock_release(taker, &adopted), STILE_LOST);
}

static void given_hold_that_nobody_adopts_ends_with_its_lease(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 250, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("orphan", &fixed);
    int64_t began_ms = test_now_ms();
    char token[STILE_TOKEN_SIZE];
    stile_hold hold, adopted, next;

    (void)state;
    acquire_and_give(lock, &hold, token);
    assert_status(stile_lock_acquire(lock, CONTRACT_SOON_MS, &next), STILE_OK);
    assert_true(test_now_ms() >= began_ms + 250 - 6);
    assert_true(next.fence > hold.fence);
    assert_status(stile_lock_adopt(lock, token, &adopted), STILE_LOST);
    assert_status(stile_lock_check(lock, &next, NULL), STILE_OK);
    assert_status(stile_lock_release(lock, &next), STILE_OK);
    assert_status(stile_lock_adopt(lock, token, &adopted), STILE_LOST);
    contract_check_free(lock);
}

static void token_of_a_released_hold_is_lost(void **state)
{
    stile_lock *lock = contract_lock_open("after", NULL);
    char token[STILE_TOKEN_SIZE];
    stile_hold hold, adopted, again = {.fence = 42};

    (void)state;
    acquire_and_give(lock, &hold, token);
    assert_status(stile_lock_adopt(lock, token, &adopted), STILE_OK);
    assert_status(stile_lock_release(lock, &adopted), STILE_OK);
    assert_status(stile_lock_adopt(lock, token, &again), STILE_LOST);
    assert_int_equal(again.fence, 42);
    contract_check_free(lock);
}

/* Two who adopt one token are one holder, or the second is told. */
static void token_adopted_twice_is_one_hold(void **state)
{
    stile_lock *lock = contract_lock_open("twice", NULL);
    char token[STILE_TOKEN_SIZE];
    stile_hold hold, first, second;
    stile_status status;

    (void)state;
    acquire_and_give(lock, &hold, token);
    assert_status(stile_lock_adopt(lock, token, &first), STILE_OK);
    status = stile_lock_adopt(lock, token, &second);
    assert_outcome(status, contract_on_redis() ? STILE_OK : STILE_LOST);
    assert_status(stile_lock_check(lock, &first, NULL), STILE_OK);
    assert_status(stile_lock_release(lock, &first), STILE_OK);
    if (status == STILE_OK)
        assert_status(stile_lock_release(lock, &second), STILE_LOST);
    contract_check_free(lock);
}

static void watch_of_a_given_hold_says_released(void **state)
{
    const stile_lock_options kinds[] = {{.lease_ms = 60000},
                                        {.lease_ms = 60000, .fixed_lease = true}};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stile_lock *lock = contract_lock_open("watched", &kinds[i]);
        char token[STILE_TOKEN_SIZE];
        stile_watch *watch;
        stile_hold hold;

        assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
        assert_status(stile_lock_watch(lock, &hold, NULL, NULL, &watch), STILE_OK);
        assert_status(stile_lock_give(lock, &hold, token), STILE_OK);
        assert_int_equal(stile_watch_state(watch), STILE_RELEASED);
        stile_watch_close(watch);
        assert_status(stile_lock_adopt(lock, token, &hold), STILE_OK);
        assert_status(stile_lock_watch(lock, &hold, NULL, NULL, &watch), STILE_OK);
        assert_int_equal(stile_watch_state(watch), STILE_HELD);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        assert_int_equal(stile_watch_state(watch), STILE_RELEASED);
        stile_watch_close(watch);
    }
}

static void who_waits_gets_the_lock_from_who_adopted(void **state)
{
    stile_lock *lock = contract_lock_open("queue", NULL);
    struct contender *contender;
    char token[STILE_TOKEN_SIZE];
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    contender = contender_queue(lock, STILE_FOREVER, NULL);
    assert_status(stile_lock_give(lock, &hold, token), STILE_OK);
    assert_true(contender_waits(contender));
    assert_status(stile_lock_adopt(lock, token, &hold), STILE_OK);
    assert_true(contender_waits(contender));
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
    assert_outcome(contender_answer(contender), STILE_OK);
    assert_true(contender->hold.fence > hold.fence);
    assert_status(stile_lock_release(lock, &contender->hold), STILE_OK);
}

static void lost_hold_cannot_be_given(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 100, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("too-late", &fixed);
    char token[STILE_TOKEN_SIZE] = "as it was";
    stile_hold hold;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    while (stile_lock_check(lock, &hold, NULL) == STILE_OK)
        test_sleep_ms(1);
    assert_status(stile_lock_give(lock, &hold, token), STILE_LOST);
    assert_string_equal(token, "as it was");
    stile_lock_release(lock, &hold);
    assert_status(stile_lock_acquire(lock, 1000, &hold), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

/* ---- texts that are no tokens ---------------------------------------------------------- */

static void check_refused(stile_lock *lock, const char *text, const char *secret)
{
    stile_hold hold = {.fence = 42};

    assert_status(stile_lock_adopt(lock, text, &hold), STILE_INVALID);
    assert_int_equal(hold.fence, 42);
    /* Twelve of its characters in a row would be told on. */
    assert_null(strstr(stile_error_detail(), secret));
}

static void text_that_is_no_token_is_refused(void **state)
{
    stile_lock *lock = contract_lock_open("garbage", NULL);
    stile_lock *other = contract_lock_open("other", NULL);
    char token[STILE_TOKEN_SIZE], text[2 * STILE_TOKEN_SIZE], secret[13];
    size_t length, i;
    stile_hold hold;

    (void)state;
    acquire_and_give(lock, &hold, token);
    length = strlen(token);
    memcpy(secret, token + length / 2, 12);
    secret[12] = '\0';
    check_refused(other, token, secret);
    for (i = 0; i < length; i++) {
        /* Cut off, and with one character changed. */
        memcpy(text, token, length + 1);
        text[i] = '\0';
        check_refused(lock, text, secret);
        memcpy(text, token, length + 1);
        text[i] = text[i] == '7' ? '8' : '7';
        check_refused(lock, text, secret);
    }
    for (i = 0; i < sizeof text; i++) {
        memset(text, i % 2 == 0 ? 'a' : '\xff', sizeof text);
        text[i] = '\0';
        check_refused(lock, text, secret);
    }
    memcpy(text, token, length);
    memcpy(text + length, "0", 2);
    check_refused(lock, text, secret);
    /* None of them was the token, which still is one. */
    assert_status(stile_lock_adopt(lock, token, &hold), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

static void arguments_of_give_and_adopt_are_checked(void **state)
{
    stile_lock *lock = contract_lock_open("arguments", NULL);
    char token[STILE_TOKEN_SIZE];
    stile_hold hold = STILE_HOLD_INIT;

    (void)state;
    assert_status(stile_lock_give(NULL, &hold, token), STILE_INVALID);
    assert_status(stile_lock_give(lock, NULL, token), STILE_INVALID);
    assert_status(stile_lock_give(lock, &hold, NULL), STILE_INVALID);
    assert_status(stile_lock_give(lock, &hold, token), STILE_NOT_HELD);
    assert_status(stile_lock_adopt(NULL, "", &hold), STILE_INVALID);
    assert_status(stile_lock_adopt(lock, NULL, &hold), STILE_INVALID);
    assert_status(stile_lock_adopt(lock, "", NULL), STILE_INVALID);
    assert_status(stile_lock_hand_over(NULL, &hold), STILE_INVALID);
    assert_status(stile_lock_hand_over(lock, NULL), STILE_INVALID);
}

static void token_is_of_its_space_or_server(void **state)
{
    stile_lock *lock = contract_lock_open("elsewhere", NULL);
    const stile_options prefix = {.prefix = "elsewhere:"};
    stile_lock *elsewhere = contract_lock_open_in(contract_space_open(&prefix), "elsewhere", NULL);
    char token[STILE_TOKEN_SIZE];
    stile_hold hold;

    (void)state;
    acquire_and_give(lock, &hold, token);
    assert_status(stile_lock_adopt(elsewhere, token, &hold), STILE_INVALID);
    assert_status(stile_lock_adopt(lock, token, &hold), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

/* With redis:// the adopter does not know it: its handle's counts from the adoption. */
static void least_time_goes_on_with_who_adopted(void **state)
{
    const stile_lock_options least = {.lease_ms = 60000, .min_hold_ms = 300};
    stile_lock *giver = contract_lock_open("kept", &least);
    stile_lock *plain = contract_lock_open("kept", NULL);
    stile_lock *taker =
        contract_lock_open_in(other_space(), "kept", contract_on_redis() ? &least : NULL);
    char token[STILE_TOKEN_SIZE];
    stile_hold hold, adopted, next;
    int64_t began_ms = test_now_ms();

    (void)state;
    acquire_and_give(giver, &hold, token);
    assert_status(stile_lock_adopt(taker, token, &adopted), STILE_OK);
    assert_status(stile_lock_release(taker, &adopted), STILE_OK);
    assert_status(stile_lock_acquire(plain, CONTRACT_SOON_MS, &next), STILE_OK);
    assert_in_range(test_now_ms() - began_ms, 300 - 8, 2000);
    assert_status(stile_lock_release(plain, &next), STILE_OK);
}

static void given_hold_can_be_taken_by_force(void **state)
{
    const stile_lock_options kinds[] = {{.lease_ms = 60000}, {.lease_ms = 60000, .min_hold_ms = 1}};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        stile_lock *lock = contract_lock_open("force-given", &kinds[i]);
        char token[STILE_TOKEN_SIZE];
        stile_hold hold, adopted;

        acquire_and_give(lock, &hold, token);
        assert_status(stile_lock_force_release(lock), STILE_OK);
        assert_status(stile_lock_adopt(lock, token, &adopted), STILE_LOST);
        contract_check_free(lock);
    }
}

/* ---------------------------------------------------------------------------------------- */

int contract_lock_give(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(given_hold_is_the_adopters_alone),
        contract_test(adopted_hold_is_renewed),
        contract_test(max_hold_of_who_adopts_begins_with_the_adoption),
        contract_test(given_hold_that_nobody_adopts_ends_with_its_lease),
        contract_test(token_of_a_released_hold_is_lost),
        contract_test(token_adopted_twice_is_one_hold),
        contract_test(watch_of_a_given_hold_says_released),
        contract_test(who_waits_gets_the_lock_from_who_adopted),
        contract_test(lost_hold_cannot_be_given),
        contract_test(text_that_is_no_token_is_refused),
        contract_test(arguments_of_give_and_adopt_are_checked),
        contract_test(token_is_of_its_space_or_server),
        contract_test(least_time_goes_on_with_who_adopted),
        contract_test(given_hold_can_be_taken_by_force),
    };

    return cmocka_run_group_tests_name("lock: tokens", tests, NULL, NULL);
}
