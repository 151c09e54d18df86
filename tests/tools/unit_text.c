/*
 * What people type and what strangers wrote, read and printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "stile.h"

static char *printed_by(void (*print)(FILE *to, const char *text), const char *text)
{
    char *bytes = NULL;
    size_t size;
    FILE *to = open_memstream(&bytes, &size);

    assert_non_null(to);
    print(to, text);
    assert_int_equal(fclose(to), 0);
    return bytes;
}

static void assert_prints(void (*print)(FILE *to, const char *text), const char *text,
                          const char *wanted)
{
    char *bytes = printed_by(print, text);

    assert_string_equal(bytes, wanted);
    free(bytes);
}

static void seconds_are_milliseconds_rounded_up(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},
                {"1", 1000},
                {"2.5", 2500},
                {".25", 250},
                {"3.", 3000},
                {"0.001", 1},
                {"0.0001", 1},
                {"0.0010", 1},
                {"0.0011", 2},
                {"007.5", 7500},
                {"1.999", 1999},
                {"0.000", 0},
                {"315360000", INT64_C(315360000000)}};
    size_t i;
    int64_t ms;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(parse_seconds(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    static const char *const bad[] = {
        "",    ".",  "-1", "+1",        " 1",          "1 ",
        "1e3", "1s", "x",  "1.2.3",     "0x10",        "inf",
        "nan", "--", "1,", "315360001", "315360000.1", "99999999999999999999"};
    size_t i;
    int64_t ms;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(parse_seconds(bad[i], &ms));
}

static void numbers_have_limits(void **state)
{
    long number;

    (void)state;
    assert_true(parse_number("255", 0, 255, &number));
    assert_int_equal(number, 255);
    assert_false(parse_number("256", 0, 255, &number));
    assert_false(parse_number("0", 1, 255, &number));
    assert_false(parse_number("", 0, 255, &number));
    assert_false(parse_number("+1", 0, 255, &number));
    assert_false(parse_number("1x", 0, 255, &number));
    assert_false(parse_number("99999999999999999999", 0, 255, &number));
}

static void control_bytes_do_not_reach_a_terminal(void **state)
{
    (void)state;
    assert_prints(print_text, "plain", "plain");
    assert_prints(print_text, "\x1b[31m\n\x7f", "\\x1b[31m\\x0a\\x7f");
    /* C1 controls, as terminals take them. */
    assert_prints(print_text, "\xc2\x9b", "\\xc2\\x9b");
    assert_prints(print_text, "\x9b", "\\x9b");
    assert_prints(print_text, "\xc2\xa0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
                  "\xc2\xa0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_prints(print_quoted, "a \"b\" \\", "\"a \\\"b\\\" \\\\\"");
}

static void what_is_not_utf8_is_escaped_byte_by_byte(void **state)
{
    (void)state;
    assert_prints(print_text, "\xff", "\\xff");
    assert_prints(print_text, "\xc3", "\\xc3");
    assert_prints(print_text, "\xe2\x82", "\\xe2\\x82");
    assert_prints(print_text, "\xc0\xaf", "\\xc0\\xaf");                   /* overlong */
    assert_prints(print_text, "\xe0\x80\xaf", "\\xe0\\x80\\xaf");          /* overlong */
    assert_prints(print_text, "\xed\xa0\x80", "\\xed\\xa0\\x80");          /* a surrogate */
    assert_prints(print_text, "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* too large */
    assert_prints(print_text, "\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80");
    assert_prints(print_text, "\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"); /* overlong */
}

static void json_takes_every_byte(void **state)
{
    (void)state;
    assert_prints(print_json, "", "\"\"");
    assert_prints(print_json, "a\"\\\n\x7f", "\"a\\\"\\\\\\u000a\\u007f\"");
    assert_prints(print_json, "\xc3\xa9\xff\xc2\x9b", "\"\xc3\xa9\\u00ff\\u009b\"");
}

static void assert_duration(int64_t ms, const char *wanted)
{
    char text[DURATION_SIZE];

    format_duration(text, ms);
    assert_string_equal(text, wanted);
}

static void durations_have_two_units_at_most(void **state)
{
    (void)state;
    assert_duration(0, "0.0 s");
    assert_duration(59999, "59.9 s");
    assert_duration(60000, "1 min 0 s");
    assert_duration(3599999, "59 min 59 s");
    assert_duration(3600000, "1 h 0 min");
    assert_duration(86399999, "23 h 59 min");
    assert_duration(INT64_C(90000000), "1 d 1 h");
    assert_duration(INT64_C(315360000000), "3650 d 0 h");
}

static void age_is_never_negative(void **state)
{
    (void)state;
    assert_int_equal(age_of(((int64_t)time(NULL) + 3600) * 1000), 0);
    assert_in_range(age_of(((int64_t)time(NULL) - 3600) * 1000), 3599000, 3660000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seconds_are_milliseconds_rounded_up),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(numbers_have_limits),
        cmocka_unit_test(control_bytes_do_not_reach_a_terminal),
        cmocka_unit_test(what_is_not_utf8_is_escaped_byte_by_byte),
        cmocka_unit_test(json_takes_every_byte),
        cmocka_unit_test(durations_have_two_units_at_most),
        cmocka_unit_test(age_is_never_negative),
    };

    return cmocka_run_group_tests_name("the command's text", tests, NULL, NULL);
}
