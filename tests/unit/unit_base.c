/*
 * The small parts that everything else leans on: statuses, the detail behind
 * them, escaped text, the fence check, the version, timers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <stile/fence.h>
#include <stile/status.h>
#include <stile/version.h>

#include "base/error.h"
#include "base/timers.h"
#include "base/os.h"

/* ---- statuses ---------------------------------------------------------------- */

static const struct {
    stile_status status;
    const char *name;
} every_status[] = {
    {STILE_OK, "STILE_OK"},
    {STILE_TIMEOUT, "STILE_TIMEOUT"},
    {STILE_CANCELLED, "STILE_CANCELLED"},
    {STILE_CLOSED, "STILE_CLOSED"},
    {STILE_FULL, "STILE_FULL"},
    {STILE_EMPTY, "STILE_EMPTY"},
    {STILE_MISSING, "STILE_MISSING"},
    {STILE_EXISTS, "STILE_EXISTS"},
    {STILE_CONFLICT, "STILE_CONFLICT"},
    {STILE_LOST, "STILE_LOST"},
    {STILE_NOT_HELD, "STILE_NOT_HELD"},
    {STILE_BROKEN, "STILE_BROKEN"},
    {STILE_DEADLOCK, "STILE_DEADLOCK"},
    {STILE_DENIED, "STILE_DENIED"},
    {STILE_MISMATCH, "STILE_MISMATCH"},
    {STILE_INVALID, "STILE_INVALID"},
    {STILE_NO_MEMORY, "STILE_NO_MEMORY"},
    {STILE_UNREACHABLE, "STILE_UNREACHABLE"},
    {STILE_UNKNOWN, "STILE_UNKNOWN"},
    {STILE_REFUSED, "STILE_REFUSED"},
    {STILE_AUTH, "STILE_AUTH"},
    {STILE_TLS, "STILE_TLS"},
    {STILE_WRONG_KIND, "STILE_WRONG_KIND"},
    {STILE_UNSUPPORTED, "STILE_UNSUPPORTED"},
    {STILE_FORKED, "STILE_FORKED"},
    {STILE_PROTOCOL, "STILE_PROTOCOL"},
    {STILE_OVERFLOW, "STILE_OVERFLOW"},
};

#define STATUS_COUNT (sizeof(every_status) / sizeof(every_status[0]))

static void every_status_is_called_by_its_name(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < STATUS_COUNT; i++)
        assert_string_equal(stile_status_name(every_status[i].status), every_status[i].name);
}

static void every_status_has_a_sentence_of_its_own(void **state)
{
    size_t i, j;

    (void)state;
    for (i = 0; i < STATUS_COUNT; i++) {
        const char *text = stile_status_text(every_status[i].status);

        assert_true(text[0] >= 'A' && text[0] <= 'Z');
        assert_int_equal(text[strlen(text) - 1], '.');
        for (j = 0; j < i; j++)
            assert_string_not_equal(text, stile_status_text(every_status[j].status));
    }
}

static void numbers_that_are_no_status_have_no_name(void **state)
{
    const int none[] = {-1, INT32_MIN, 15, 31, 44, 1000, INT32_MAX};
    size_t i, named = 0;
    int number;

    (void)state;
    for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_string_equal(stile_status_name((stile_status)none[i]), "STILE_?");
        assert_string_equal(stile_status_text((stile_status)none[i]),
                            "This is not a status of stile.");
    }
    /* And no status has been added to the library alone. */
    for (number = -10; number < 2000; number++)
        named += strcmp(stile_status_name((stile_status)number), "STILE_?") != 0;
    assert_int_equal(named, STATUS_COUNT);
}

static void version_is_that_of_the_header(void **state)
{
    char text[32];

    (void)state;
    assert_int_equal(stile_version(), STILE_VERSION_NUMBER);
    snprintf(text, sizeof(text), "%d.%d.%d", stile_version() / 10000, stile_version() / 100 % 100,
             stile_version() % 100);
    assert_string_equal(text, STILE_VERSION_STRING);
}

/* ---- details ----------------------------------------------------------------- */

static void fail_returns_the_status_and_keeps_the_sentence(void **state)
{
    (void)state;
    assert_int_equal(stile__fail(STILE_INVALID, "the name is %d bytes too long", 3), STILE_INVALID);
    assert_string_equal(stile_error_detail(), "the name is 3 bytes too long");
    assert_int_equal(stile__fail(STILE_TIMEOUT, "%s", ""), STILE_TIMEOUT);
    assert_string_equal(stile_error_detail(), "");
}

static void long_detail_is_cut_where_the_buffer_ends(void **state)
{
    char text[1000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    stile__fail(STILE_REFUSED, "%s", text);
    assert_int_equal(strlen(stile_error_detail()), 255);
    assert_memory_equal(stile_error_detail(), text, 255);
}

static void detail_may_be_part_of_the_next_one(void **state)
{
    (void)state;
    stile__fail(STILE_UNREACHABLE, "no route");
    stile__fail(STILE_UNREACHABLE, "redis://a: %s, %s", stile_error_detail(), stile_error_detail());
    assert_string_equal(stile_error_detail(), "redis://a: no route, no route");
}

struct other_thread {
    char before[64];
    char after[64];
};

static void fail_in_another_thread(void *arg)
{
    struct other_thread *other = arg;

    snprintf(other->before, sizeof(other->before), "%s", stile_error_detail());
    stile__fail(STILE_INVALID, "of the other");
    snprintf(other->after, sizeof(other->after), "%s", stile_error_detail());
}

static void each_thread_has_its_own_detail(void **state)
{
    struct other_thread other = {.before = "?", .after = "?"};
    struct stile_thread thread;

    (void)state;
    stile__fail(STILE_INVALID, "of the first");
    assert_int_equal(stile__thread_start(&thread, "other", fail_in_another_thread, &other),
                     STILE_OK);
    stile__thread_join(&thread);
    assert_string_equal(other.before, "");
    assert_string_equal(other.after, "of the other");
    assert_string_equal(stile_error_detail(), "of the first");
}

/* ---- escapes ----------------------------------------------------------------- */

/* Escapes into a buffer of size, and checks what lies behind it. */
static void check_escape(size_t size, const char *text, size_t length, const char *expected)
{
    char out[64];

    memset(out, '#', sizeof(out));
    assert_ptr_equal(stile__escape(out, size, text, length), out);
    assert_string_equal(out, expected);
    assert_true(strlen(out) < size);
    assert_int_equal(out[size], '#');
}

static void escape_leaves_printable_text_alone(void **state)
{
    (void)state;
    check_escape(32, "", 0, "");
    check_escape(32, "ERR no \"such\" \\ key ~", 21, "ERR no \"such\" \\ key ~");
    check_escape(32, "not all of it", 3, "not");
}

static void escape_writes_other_bytes_in_hex(void **state)
{
    (void)state;
    check_escape(32, "a\nb", 3, "a\\x0ab");
    check_escape(32, "\0\x1b\x1f\x7f", 4, "\\x00\\x1b\\x1f\\x7f");
    check_escape(32, "\x80\xc3\xbc\xff", 4, "\\x80\\xc3\\xbc\\xff");
}

static void escape_shows_with_dots_where_it_cut(void **state)
{
    (void)state;
    check_escape(8, "1234567", 7, "1234567");
    check_escape(8, "12345678", 8, "1234...");
    check_escape(6, "12345678", 8, "12...");
}

static void escape_never_cuts_within_a_byte(void **state)
{
    (void)state;
    /* Four of seven would be a whole escape, of six they would not. */
    check_escape(8, "\n\n", 2, "\\x0a...");
    check_escape(7, "\n\n", 2, "...");
    check_escape(9, "\n\n", 2, "\\x0a\\x0a");
    check_escape(8, "ab\n\n", 4, "ab...");
    check_escape(10, "ab\n\n", 4, "ab\\x0a...");
    check_escape(10, "ab\n1234", 7, "ab\\x0a...");
    check_escape(10, "ab\n123", 6, "ab\\x0a123");
}

static void escape_keeps_to_the_smallest_buffers(void **state)
{
    char untouched = '#';

    (void)state;
    check_escape(4, "abcd", 4, "...");
    check_escape(3, "abcd", 4, "..");
    check_escape(2, "abcd", 4, ".");
    check_escape(1, "abcd", 4, "");
    check_escape(3, "\n", 1, "..");
    check_escape(2, "a", 1, "a");
    assert_ptr_equal(stile__escape(&untouched, 0, "abcd", 4), &untouched);
    assert_int_equal(untouched, '#');
}

static void wipe_overwrites_what_it_was_given_and_no_more(void **state)
{
    char secret[] = "-secret-";

    (void)state;
    stile__wipe(secret + 1, 6);
    assert_memory_equal(secret, "-\0\0\0\0\0\0-", 8);
}

/* ---- fences ------------------------------------------------------------------ */

static void higher_fence_goes_on_and_is_remembered(void **state)
{
    uint64_t highest = 0;

    (void)state;
    assert_true(stile_fence_check(&highest, 7));
    assert_int_equal(highest, 7);
    assert_true(stile_fence_check(&highest, UINT64_MAX));
    assert_true(highest == UINT64_MAX);
}

static void equal_fence_may_write_many_times(void **state)
{
    uint64_t highest = 7;

    (void)state;
    assert_true(stile_fence_check(&highest, 7));
    assert_true(stile_fence_check(&highest, 7));
    assert_int_equal(highest, 7);
}

static void lower_fence_is_refused_and_changes_nothing(void **state)
{
    uint64_t highest = 7;

    (void)state;
    assert_false(stile_fence_check(&highest, 6));
    assert_int_equal(highest, 7);
    /* Beyond the range of a signed number, too. */
    highest = UINT64_C(1) << 63;
    assert_false(stile_fence_check(&highest, 7));
}

static void zero_is_no_fence_and_refused(void **state)
{
    uint64_t highest = 0;

    (void)state;
    assert_false(stile_fence_check(&highest, 0));
    assert_int_equal(highest, 0);
    highest = 7;
    assert_false(stile_fence_check(&highest, 0));
    assert_int_equal(highest, 7);
}

/* ---- timers --------------------------------------------------------------------- */

enum { NODES = 64 };

/* The earliest of those that are in it, by looking at all. */
static int64_t earliest(const struct stile_timer *nodes, const bool *in)
{
    int64_t at_ns = INT64_MAX;
    size_t i;

    for (i = 0; i < NODES; i++) {
        if (in[i] && nodes[i].at_ns < at_ns)
            at_ns = nodes[i].at_ns;
    }
    return at_ns;
}

static void the_earliest_timer_is_first_whatever_comes_and_goes(void **state)
{
    struct stile_timers timers = {.first = NULL};
    struct stile_timer nodes[NODES];
    bool in[NODES] = {false};
    uint64_t draw = 1;
    size_t i, k;

    (void)state;
    for (i = 0; i < NODES; i++)
        stile__timer_init(&nodes[i]);
    for (k = 0; k < 20000; k++) {
        draw = draw * UINT64_C(6364136223846793005) + 1442695040888963407U;
        i = draw >> 33 & (NODES - 1);
        /* Also one that is not set. */
        stile__timer_clear(&timers, &nodes[i]);
        in[i] = draw >> 40 & 1;
        if (in[i])
            stile__timer_set(&timers, &nodes[i], (int64_t)(draw >> 41 & 1023));
        assert_int_equal(timers.first == NULL ? INT64_MAX : timers.first->at_ns,
                         earliest(nodes, in));
    }
    while (timers.first != NULL)
        stile__timer_clear(&timers, timers.first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_is_called_by_its_name),
        cmocka_unit_test(every_status_has_a_sentence_of_its_own),
        cmocka_unit_test(numbers_that_are_no_status_have_no_name),
        cmocka_unit_test(version_is_that_of_the_header),
        cmocka_unit_test(fail_returns_the_status_and_keeps_the_sentence),
        cmocka_unit_test(long_detail_is_cut_where_the_buffer_ends),
        cmocka_unit_test(detail_may_be_part_of_the_next_one),
        cmocka_unit_test(each_thread_has_its_own_detail),
        cmocka_unit_test(escape_leaves_printable_text_alone),
        cmocka_unit_test(escape_writes_other_bytes_in_hex),
        cmocka_unit_test(escape_shows_with_dots_where_it_cut),
        cmocka_unit_test(escape_never_cuts_within_a_byte),
        cmocka_unit_test(escape_keeps_to_the_smallest_buffers),
        cmocka_unit_test(wipe_overwrites_what_it_was_given_and_no_more),
        cmocka_unit_test(higher_fence_goes_on_and_is_remembered),
        cmocka_unit_test(equal_fence_may_write_many_times),
        cmocka_unit_test(lower_fence_is_refused_and_changes_nothing),
        cmocka_unit_test(zero_is_no_fence_and_refused),
        cmocka_unit_test(the_earliest_timer_is_first_whatever_comes_and_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
