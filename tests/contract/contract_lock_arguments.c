/*
 * The lock: what may be asked, and what is refused with a sentence that says why.
 */
#include "contract.h"
#include "contract_lock.h"

#include <stdio.h>
#include <string.h>

#define TEN_YEARS_MS INT64_C(315360000000)

/* Refused, and the sentence names the argument. */
#define assert_invalid(call, argument)                                                             \
    do {                                                                                           \
        assert_status(call, STILE_INVALID);                                                        \
        if (strstr(stile_error_detail(), argument) == NULL)                                        \
            fail_msg("%s: \"%s\" does not name %s", #call, stile_error_detail(), argument);        \
    } while (0)

/* ---- pointers ---------------------------------------------------------------------- */

static void null_is_refused_wherever_something_is_needed(void **state)
{
    stile_lock *lock = contract_lock_open("null", NULL), *untouched = lock;
    stile_lock_options options = {.lease_ms = 0};
    stile_hold hold = STILE_HOLD_INIT;
    int64_t valid_ms;

    (void)state;
    assert_invalid(stile_open(contract_url(), NULL, NULL), "out");
    assert_invalid(stile_lock_open(NULL, "null", NULL, &untouched), "space");
    assert_invalid(stile_lock_open(contract_space(), NULL, NULL, &untouched), "name");
    assert_invalid(stile_lock_open(contract_space(), "null", NULL, NULL), "out");
    assert_ptr_equal(untouched, lock);
    assert_invalid(stile_lock_acquire(NULL, 0, &hold), "lock");
    assert_invalid(stile_lock_acquire(lock, 0, NULL), "hold");
    assert_invalid(stile_lock_acquire_with(NULL, 0, &options, &hold), "lock");
    assert_invalid(stile_lock_acquire_with(lock, 0, &options, NULL), "hold");
    assert_invalid(stile_lock_release(NULL, &hold), "lock");
    assert_invalid(stile_lock_release(lock, NULL), "hold");
    assert_invalid(stile_lock_extend(NULL, &hold, 1000), "lock");
    assert_invalid(stile_lock_extend(lock, NULL, 1000), "hold");
    assert_invalid(stile_lock_check(NULL, &hold, &valid_ms), "lock");
    assert_invalid(stile_lock_check(lock, NULL, &valid_ms), "hold");
    contract_check_free(lock);
}

static void closing_null_does_nothing(void **state)
{
    (void)state;
    stile_lock_close(NULL);
    stile_close(NULL);
}

static void null_options_are_the_handles(void **state)
{
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("null-options", &fixed);
    stile_hold hold;
    int64_t valid_ms;

    (void)state;
    assert_status(stile_lock_acquire_with(lock, 0, NULL, &hold), STILE_OK);
    assert_status(stile_lock_check(lock, &hold, NULL), STILE_OK);
    assert_status(stile_lock_check(lock, &hold, &valid_ms), STILE_OK);
    assert_in_range(valid_ms, 40000, 60000);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

/* ---- what is copied ----------------------------------------------------------------- */

static void name_and_options_are_copied(void **state)
{
    stile_lock_options options = {.lease_ms = 60000, .fixed_lease = true};
    char name[] = "copied";
    stile_lock *lock = contract_lock_open(name, &options);
    stile_lock *other;
    stile_hold hold;
    int64_t valid_ms;

    (void)state;
    memset(name, 'x', sizeof name - 1);
    memset(&options, 0xff, sizeof options);
    other = contract_lock_open("copied", NULL);
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    contract_check_taken(other);
    assert_status(stile_lock_check(lock, &hold, &valid_ms), STILE_OK);
    assert_in_range(valid_ms, 40000, 60000);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

/* ---- times ------------------------------------------------------------------------------ */

static void negative_timeout_is_refused_unless_it_is_for_ever(void **state)
{
    const int64_t wrong_ms[] = {-2, -3, -1000, INT32_MIN, INT64_MIN + 1, INT64_MIN};
    stile_lock *lock = contract_lock_open("timeouts", NULL);
    stile_lock_options options = {.lease_ms = 0};
    stile_hold hold, taken;
    size_t i, round;

    (void)state;
    for (round = 0; round < 2; round++) {
        for (i = 0; i < sizeof wrong_ms / sizeof wrong_ms[0]; i++) {
            assert_invalid(stile_lock_acquire(lock, wrong_ms[i], &hold), "timeout_ms");
            assert_invalid(stile_lock_acquire_with(lock, wrong_ms[i], NULL, &hold), "timeout_ms");
            assert_invalid(stile_lock_acquire_with(lock, wrong_ms[i], &options, &hold),
                           "timeout_ms");
        }
        if (round == 0)
            assert_status(stile_lock_acquire(lock, 0, &taken), STILE_OK);
    }
    assert_status(stile_lock_release(lock, &taken), STILE_OK);
    contract_check_free(lock);
}

static void try_options(stile_lock_options options, const char *refused)
{
    stile_lock *lock = contract_lock_open("lease-bounds", NULL), *opened = lock;
    stile_hold hold;

    if (refused == NULL) {
        opened = contract_lock_open("lease-bounds", &options);
        contract_check_free(opened);
        assert_status(stile_lock_acquire_with(lock, 0, &options, &hold), STILE_OK);
        assert_status(stile_lock_check(lock, &hold, NULL), STILE_OK);
        assert_status(stile_lock_release(lock, &hold), STILE_OK);
        contract_lock_close(opened);
    } else {
        assert_invalid(stile_lock_open(contract_space(), "lease-bounds", &options, &opened),
                       refused);
        assert_ptr_equal(opened, lock);
        assert_invalid(stile_lock_acquire_with(lock, 0, &options, &hold), refused);
        contract_check_free(lock);
    }
    contract_lock_close(lock);
}

static const int64_t wrong_lengths_ms[] = {1,   99,   TEN_YEARS_MS + 1, INT64_MAX, -1,
                                           -99, -100, INT64_MIN};
static const int64_t right_lengths_ms[] = {0, 100, 101, 30000, INT32_MAX, TEN_YEARS_MS};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void lease_is_from_100_ms_to_ten_years_or_the_default(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(wrong_lengths_ms); i++) {
        try_options((stile_lock_options){.lease_ms = wrong_lengths_ms[i]}, "lease_ms");
        try_options((stile_lock_options){.lease_ms = wrong_lengths_ms[i], .fixed_lease = true},
                    "lease_ms");
        try_options((stile_lock_options){.max_hold_ms = wrong_lengths_ms[i]}, "max_hold_ms");
    }
    for (i = 0; i < COUNT(right_lengths_ms); i++) {
        try_options((stile_lock_options){.lease_ms = right_lengths_ms[i]}, NULL);
        try_options((stile_lock_options){.lease_ms = right_lengths_ms[i], .fixed_lease = true},
                    NULL);
        try_options((stile_lock_options){.max_hold_ms = right_lengths_ms[i]}, NULL);
    }
}

static void lease_of_a_space_has_the_same_bounds(void **state)
{
    size_t i;
    stile *space = NULL;

    (void)state;
    for (i = 0; i < COUNT(wrong_lengths_ms); i++) {
        stile_options lease = {.lease_ms = wrong_lengths_ms[i]};
        stile_options most = {.max_hold_ms = wrong_lengths_ms[i]};

        assert_invalid(stile_open(contract_url(), &lease, &space), "lease_ms");
        assert_invalid(stile_open(contract_url(), &most, &space), "max_hold_ms");
        assert_null(space);
    }
    for (i = 0; i < COUNT(right_lengths_ms); i++) {
        stile_options options = {.lease_ms = right_lengths_ms[i],
                                 .max_hold_ms = right_lengths_ms[i]};

        space = contract_space_open(&options);
        contract_check_free(contract_lock_open_in(space, "bounds", NULL));
        contract_space_close(space);
    }
}

static void extension_is_from_1_ms_to_ten_years(void **state)
{
    const int64_t wrong_ms[] = {0, -1, INT64_MIN, TEN_YEARS_MS + 1, INT64_MAX};
    const stile_lock_options fixed = {.lease_ms = 60000, .fixed_lease = true};
    stile_lock *lock = contract_lock_open("extensions", &fixed);
    stile_hold hold;
    size_t i;

    (void)state;
    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    for (i = 0; i < COUNT(wrong_ms); i++)
        assert_invalid(stile_lock_extend(lock, &hold, wrong_ms[i]), "add_ms");
    assert_status(stile_lock_extend(lock, &hold, 1), STILE_OK);
    assert_status(stile_lock_extend(lock, &hold, TEN_YEARS_MS), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void name_has_1_to_512_bytes(void **state)
{
    char name[STILE_NAME_MAX + 2];
    stile_lock *lock = NULL;

    (void)state;
    assert_invalid(stile_lock_open(contract_space(), "", NULL, &lock), "name");
    memset(name, 'n', sizeof name);
    name[STILE_NAME_MAX + 1] = '\0';
    assert_invalid(stile_lock_open(contract_space(), name, NULL, &lock), "name");
    assert_null(lock);
    name[STILE_NAME_MAX] = '\0';
    contract_check_free(contract_lock_open(name, NULL));
    /* Bytes, not what they become when they are escaped. */
    memset(name, '%', STILE_NAME_MAX);
    contract_check_free(contract_lock_open(name, NULL));
    contract_check_free(contract_lock_open("n", NULL));
}

/* Holds all of them at once, and finds each again by its name. */
static void check_all_differ(const char *const *names, size_t count)
{
    static stile_lock *locks[256];
    static stile_hold holds[256];
    size_t i;

    assert_true(count <= COUNT(locks));
    for (i = 0; i < count; i++) {
        locks[i] = contract_lock_open(names[i], NULL);
        assert_status(stile_lock_acquire(locks[i], 0, &holds[i]), STILE_OK);
    }
    for (i = 0; i < count; i++)
        contract_check_taken(contract_lock_open(names[i], NULL));
    for (i = 0; i < count; i++)
        assert_status(stile_lock_release(locks[i], &holds[i]), STILE_OK);
}

static void every_byte_but_nul_is_a_name_of_its_own(void **state)
{
    static char bytes[255][2];
    static const char *names[255];
    int i;

    (void)state;
    for (i = 0; i < 255; i++) {
        bytes[i][0] = (char)(i + 1);
        bytes[i][1] = '\0';
        names[i] = bytes[i];
    }
    check_all_differ(names, 255);
}

static void name_of_all_bytes_is_one_name(void **state)
{
    char all[256], other[256];
    const char *const names[] = {all, other};
    int i;

    (void)state;
    for (i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    all[255] = '\0';
    memcpy(other, all, sizeof all);
    other[127]++;
    check_all_differ(names, 2);
}

static void names_that_look_alike_are_different_locks(void **state)
{
    const char *const names[] = {
        "a{b",       "a%7Bb",     "a%7bb",  "a%257Bb", "a}b",  "a%7Db",     "a%b",     "a%25b",
        "a%%b",      "a b",       "a%20b",  "a\tb",    "a\nb", "a\r\nb",    "a%0D%0A", "a",
        "A",         "a ",        " a",     "a{}",     "a{",   "{a}",       "}a{",     "a:queue",
        "a:fence",   "a:lock",    "lock:a", "a}:",     "a}",   "a}:fence",  "a:",      ":a",
        "a:waiters", "%",         "%2",     "%25",     "%00",  "\x7f",      "%7F",     "\xc3\xa4",
        "\xe4",      "a\xcc\x88", "a/b",    "a//b",    "../a", "*",         "?",       "[a]",
        "$(a)",      "'a'",       "\"a\"",  "\\",      "\\\\", "stile:{a}", "{}",      "{lock:a}",
    };

    (void)state;
    check_all_differ(names, COUNT(names));
}

/* ---- what is said about a failure ------------------------------------------------------------- */

static void *look_at_detail(void *arg)
{
    stile_lock *lock = arg;
    stile_hold hold;

    /* Nothing has failed in this thread, whatever did elsewhere. */
    if (stile_error_detail()[0] != '\0')
        return lock;
    /* And what fails here is not seen elsewhere. */
    return stile_lock_acquire(lock, INT64_MIN, &hold) == STILE_INVALID ? NULL : lock;
}

static void each_thread_has_its_own_detail(void **state)
{
    stile_lock *lock = contract_lock_open("detail", NULL);
    char before[256];

    (void)state;
    assert_invalid(stile_lock_acquire(lock, 0, NULL), "hold");
    snprintf(before, sizeof before, "%s", stile_error_detail());
    assert_null(contract_thread_join(contract_thread_start(look_at_detail, lock)));
    assert_string_equal(stile_error_detail(), before);
}

/* ----------------------------------------------------------------------------------------------- */

int contract_lock_arguments(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(null_is_refused_wherever_something_is_needed),
        contract_test(closing_null_does_nothing),
        contract_test(null_options_are_the_handles),
        contract_test(name_and_options_are_copied),
        contract_test(negative_timeout_is_refused_unless_it_is_for_ever),
        contract_test(lease_is_from_100_ms_to_ten_years_or_the_default),
        contract_test(lease_of_a_space_has_the_same_bounds),
        contract_test(extension_is_from_1_ms_to_ten_years),
        contract_test(name_has_1_to_512_bytes),
        contract_test(every_byte_but_nul_is_a_name_of_its_own),
        contract_test(name_of_all_bytes_is_one_name),
        contract_test(names_that_look_alike_are_different_locks),
        contract_test(each_thread_has_its_own_detail),
    };

    return cmocka_run_group_tests_name("lock: arguments", tests, NULL, NULL);
}
