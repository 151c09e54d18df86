/*
 * What stile_open() makes of a URL, of a file and of stile_options; and that no
 * error text has a password in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "settings.h"

#define PASSWORD "S3cr3tPassw0rd"
#define ENCODED "%53%33%63%72%33%74%50%61%73%73%77%30%72%64"
#define SIXTY "123456789012345678901234567890123456789012345678901234567890"

static char directory[64];

static int begin(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/stile-settings-XXXXXX");
    return mkdtemp(directory) == NULL ? -1 : 0;
}

static int end(void **state)
{
    (void)state;
    return rmdir(directory);
}

static int clear_environment(void **state)
{
    (void)state;
    return unsetenv("STILE_URL") + unsetenv("STILE_TEST_PASSWORD");
}

static stile_status init(struct stile_settings *settings, const char *url,
                         const stile_options *options)
{
    (void)stile__fail(STILE_OK, "%s", "");
    return stile__settings_init(settings, url, options);
}

static void assert_text(const char *actual, const char *expected, const char *url)
{
    if ((actual == NULL) != (expected == NULL) || (actual != NULL && strcmp(actual, expected) != 0))
        fail_msg("%s: \"%s\" instead of \"%s\"", url, actual == NULL ? "NULL" : actual,
                 expected == NULL ? "NULL" : expected);
}

static void assert_refused(const char *url, const stile_options *options, stile_status expected,
                           const char *word)
{
    struct stile_settings settings;
    stile_status status = init(&settings, url, options);

    if (status != expected)
        fail_msg("%s: %d instead of %d (%s)", url, status, expected, stile_error_detail());
    if (strstr(stile_error_detail(), word) == NULL)
        fail_msg("%s: no \"%s\" in \"%s\"", url, word, stile_error_detail());
}

/* ---- URLs -------------------------------------------------------------------- */

static const struct {
    const char *url;
    const char *scheme, *host, *path, *user, *password, *prefix, *shown;
    uint16_t port;
    int db;
} places[] = {
    {"local:", "local", NULL, NULL, NULL, NULL, "stile:", "local:", 0, 0},
    {"local:?", "local", NULL, NULL, NULL, NULL, "stile:", "local:", 0, 0},
    {"LOCAL:", "local", NULL, NULL, NULL, NULL, "stile:", "local:", 0, 0},
    {"local:?lease_ms=500&max_hold_ms=600", "local", NULL, NULL, NULL, NULL,
     "stile:", "local:?lease_ms=500&max_hold_ms=600", 0, 0},
    {"redis://host", "redis", "host", NULL, NULL, NULL, "stile:", "redis://host", 6379, 0},
    {"Redis://host/", "redis", "host", NULL, NULL, NULL, "stile:", "redis://host", 6379, 0},
    {"redis://a-b_c.example.org:1", "redis", "a-b_c.example.org", NULL, NULL, NULL,
     "stile:", "redis://a-b_c.example.org:1", 1, 0},
    {"redis://127.0.0.1:65535/65535", "redis", "127.0.0.1", NULL, NULL, NULL,
     "stile:", "redis://127.0.0.1:65535/65535", 65535, 65535},
    {"redis://h?db=7", "redis", "h", NULL, NULL, NULL, "stile:", "redis://h?db=7", 6379, 7},
    {"redis://[::1]", "redis", "::1", NULL, NULL, NULL, "stile:", "redis://[::1]", 6379, 0},
    {"redis://u:p@[2001:db8::1.2.3.4]:7000/2", "redis", "2001:db8::1.2.3.4", NULL, "u", "p",
     "stile:", "redis://***@[2001:db8::1.2.3.4]:7000/2", 7000, 2},
    {"redis://[fe80::1%25eth0]:1", "redis", "fe80::1%eth0", NULL, NULL, NULL,
     "stile:", "redis://[fe80::1%25eth0]:1", 1, 0},
    {"redis://:pass@host", "redis", "host", NULL, NULL, "pass", "stile:", "redis://***@host", 6379,
     0},
    {"redis://user@host", "redis", "host", NULL, "user", NULL, "stile:", "redis://***@host", 6379,
     0},
    {"redis://@host", "redis", "host", NULL, NULL, NULL, "stile:", "redis://***@host", 6379, 0},
    {"redis://u%3a%40:p:a+%2F%25%c3%bc@host", "redis", "host", NULL, "u:@", "p:a+/%\xc3\xbc",
     "stile:", "redis://***@host", 6379, 0},
    {"redis://host/3?user=u%26&password=p%3d", "redis", "host", NULL, "u&",
     "p=", "stile:", "redis://host/3?user=***&password=***", 6379, 3},
    {"redis://user@host?password=p", "redis", "host", NULL, "user", "p",
     "stile:", "redis://***@host?password=***", 6379, 0},
    {"redis://host?prefix=app%3a", "redis", "host", NULL, NULL, NULL,
     "app:", "redis://host?prefix=***", 6379, 0},
    {"redis://host?prefix=", "redis", "host", NULL, NULL, NULL, "", "redis://host?prefix=***", 6379,
     0},
    {"redis://host?prefix=" SIXTY "1234", "redis", "host", NULL, NULL, NULL, SIXTY "1234",
     "redis://host?prefix=***", 6379, 0},
    {"unix:///run/redis.sock", "unix", NULL, "/run/redis.sock", NULL, NULL,
     "stile:", "unix:///run/redis.sock", 0, 0},
    {"unix:///run/a%20b%3f.sock?db=3&password=p", "unix", NULL, "/run/a b?.sock", NULL, "p",
     "stile:", "unix:///run/a%20b%3f.sock?db=3&password=***", 0, 3},
    {"unix://user:pass@/run/redis.sock?db=1", "unix", NULL, "/run/redis.sock", "user", "pass",
     "stile:", "unix://***@/run/redis.sock?db=1", 0, 1},
    {"unix:///run/\xc3\xbc", "unix", NULL, "/run/\xc3\xbc", NULL, NULL,
     "stile:", "unix:///run/\\xc3\\xbc", 0, 0},
};

static void urls_are_taken_apart(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const char *url = places[i].url;
        struct stile_settings settings;

        if (init(&settings, url, NULL) != STILE_OK)
            fail_msg("%s: %s", url, stile_error_detail());
        assert_text(settings.scheme, places[i].scheme, url);
        assert_text(settings.host, places[i].host, url);
        assert_text(settings.path, places[i].path, url);
        assert_text(settings.user, places[i].user, url);
        assert_text(settings.password, places[i].password, url);
        assert_text(settings.prefix, places[i].prefix, url);
        assert_text(settings.shown, places[i].shown, url);
        assert_int_equal(settings.port, places[i].port);
        assert_int_equal(settings.db, places[i].db);
        stile__settings_fini(&settings);
        assert_null(settings.password);
    }
}

static void times_have_defaults(void **state)
{
    struct stile_settings settings;

    (void)state;
    assert_int_equal(init(&settings, "local:", NULL), STILE_OK);
    assert_int_equal(settings.connect_timeout_ms, 2000);
    assert_int_equal(settings.command_timeout_ms, 2000);
    assert_int_equal(settings.lease_ms, 30000);
    assert_int_equal(settings.max_hold_ms, 0);
    assert_int_equal(settings.waiter_lease_ms, 5000);
    assert_int_equal(settings.claim_ms, 1000);
    assert_int_equal(settings.recheck_ms, 1000);
    stile__settings_fini(&settings);
}

#define TIME(field, least, most)                                                                   \
    {                                                                                              \
#field, offsetof(struct stile_settings, field), offsetof(stile_options, field), least,     \
            most                                                                                   \
    }

static const struct {
    const char *name;
    size_t setting, option;
    int64_t least, most;
} times[] = {
    TIME(connect_timeout_ms, 1, 3600000),
    TIME(command_timeout_ms, 1, 3600000),
    TIME(lease_ms, 100, STILE_TEN_YEARS_MS),
    TIME(max_hold_ms, 100, STILE_TEN_YEARS_MS),
    TIME(waiter_lease_ms, 1000, 3600000),
    TIME(claim_ms, 100, 60000),
    TIME(recheck_ms, 50, 60000),
};

#define TIMES (sizeof(times) / sizeof(times[0]))

/* Opens with one time said by a URL and by stile_options, each in its turn.  The
 * other half of the pair that must fit together is made to fit. */
static void try_time(size_t i, int64_t value, bool good)
{
    stile_options options = {.waiter_lease_ms = 3600000, .recheck_ms = 50};
    struct stile_settings settings;
    char url[128];
    int64_t kept;

    (void)snprintf(url, sizeof(url), "redis://h?%s=%lld", times[i].name, (long long)value);
    if (!good) {
        assert_refused(url, &options, STILE_INVALID, times[i].name);
    } else {
        assert_int_equal(init(&settings, url, &options), STILE_OK);
        memcpy(&kept, (char *)&settings + times[i].setting, sizeof(kept));
        assert_int_equal(kept, value);
        stile__settings_fini(&settings);
    }
    memcpy((char *)&options + times[i].option, &value, sizeof(value));
    if (!good) {
        assert_refused("redis://h", &options, STILE_INVALID, times[i].name);
    } else {
        assert_int_equal(init(&settings, "redis://h", &options), STILE_OK);
        memcpy(&kept, (char *)&settings + times[i].setting, sizeof(kept));
        assert_int_equal(kept, value);
        stile__settings_fini(&settings);
    }
}

static void times_are_kept_within_their_bounds(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < TIMES; i++) {
        try_time(i, times[i].least, true);
        try_time(i, times[i].most, true);
        try_time(i, times[i].most + 1, false);
        try_time(i, -1, false);
        try_time(i, INT64_MIN, false);
        try_time(i, INT64_MAX, false);
        if (times[i].least > 1)
            try_time(i, times[i].least - 1, false);
    }
}

static const struct {
    const char *url;
    stile_status status;
    const char *word;
} wrongs[] = {
    /* Schemes. */
    {"local", STILE_INVALID, "scheme"},
    {":", STILE_INVALID, "scheme"},
    {"//host", STILE_INVALID, "scheme"},
    {"http://host", STILE_INVALID, "no scheme http:"},
    {"rediss://host", STILE_UNSUPPORTED, "encrypted connections (rediss://) are not built yet"},
    {"redis+sentinel://host", STILE_UNSUPPORTED, "Sentinel"},
    {"redis+cluster://host", STILE_UNSUPPORTED, "cluster"},
    {"quorum:a,b,c", STILE_UNSUPPORTED, "quorum"},
    {"local:x", STILE_INVALID, "local:"},
    {"local://", STILE_INVALID, "local:"},
    {"local:?prefix=a", STILE_INVALID, "prefix is not an option of local:"},
    {"local:?password=a", STILE_INVALID, "password is not an option of local:"},
    {"local:?nonsense=1", STILE_INVALID, "\"nonsense\""},
    /* Hosts and ports. */
    {"redis:host", STILE_INVALID, "//"},
    {"redis:/host", STILE_INVALID, "//"},
    {"redis://", STILE_INVALID, "no host"},
    {"redis:///0", STILE_INVALID, "no host"},
    {"redis://u:p@", STILE_INVALID, "no host"},
    {"redis://:6379", STILE_INVALID, "host"},
    {"redis://ho st", STILE_INVALID, "host"},
    {"redis://h%6fst", STILE_INVALID, "host"},
    {"redis://::1", STILE_INVALID, "host"},
    {"redis://[::1", STILE_INVALID, "host"},
    {"redis://[]", STILE_INVALID, "host"},
    {"redis://[host]", STILE_INVALID, "host"},
    {"redis://[::1]x", STILE_INVALID, "host"},
    {"redis://[fe80::1%eth0]", STILE_INVALID, "host"},
    {"redis://[fe80::1%25]", STILE_INVALID, "host"},
    {"redis://host:", STILE_INVALID, "port"},
    {"redis://host:0", STILE_INVALID, "port \"0\""},
    {"redis://host:65536", STILE_INVALID, "port \"65536\""},
    {"redis://host:700000", STILE_INVALID, "the port is not a number from 1 to 65535 in redis:"},
    {"redis://host:-1", STILE_INVALID, "port"},
    {"redis://host:+1", STILE_INVALID, "port"},
    {"redis://host:6379x", STILE_INVALID, "port"},
    {"redis://u:p@host:70000", STILE_INVALID,
     "port \"70000\" is not a number from 1 to 65535 in redis://***@host:70000"},
    {"redis://u:p@host:18446744073709551617", STILE_INVALID, "port \"18446744073709551617\""},
    {"redis://host:123456789012345678901234567890", STILE_INVALID, "port is not"},
    /* Paths. */
    {"redis://host/x", STILE_INVALID, "db"},
    {"redis://host/0/", STILE_INVALID, "db"},
    {"redis://host/65536", STILE_INVALID, "db \"65536\""},
    {"redis://host/1?db=1", STILE_INVALID, "db is given twice"},
    {"redis://host/123456789012345678901234567890", STILE_INVALID, "db"},
    {"unix:/run/redis.sock", STILE_INVALID, "//"},
    {"unix://run/redis.sock", STILE_INVALID, "host"},
    {"unix://u:p@h/run/redis.sock", STILE_INVALID, "host"},
    {"unix://", STILE_INVALID, "path"},
    {"unix:///", STILE_INVALID, "path"},
    {"unix://?db=1", STILE_INVALID, "path"},
    {"unix:///run/a%00b", STILE_INVALID, "the path has a control character"},
    {"unix:///run/a%0ab", STILE_INVALID, "the path has a control character"},
    {"unix:///run/a%2", STILE_INVALID, "'%'"},
    {"unix:///run/a=b", STILE_INVALID, "'='"},
    {"unix:///run/a@b", STILE_INVALID, "%40"},
    {"unix:///run/a#b", STILE_INVALID, "%23"},
    /* Who to be. */
    {"redis://u%:p@host", STILE_INVALID, "the user has a '%'"},
    {"redis://u:p%@host", STILE_INVALID, "the password has a '%'"},
    {"redis://u:p%4@host", STILE_INVALID, "the password has a '%'"},
    {"redis://u:p%4g@host", STILE_INVALID, "the password has a '%'"},
    {"redis://u:p%00@host", STILE_INVALID, "the password has a control character"},
    {"redis://u:p%00p@host", STILE_INVALID, "the password has a control character"},
    {"redis://u:p%7f@host", STILE_INVALID, "the password has a control character"},
    {"redis://u%1f:p@host", STILE_INVALID, "the user has a control character"},
    {"redis://u:p\x01@host", STILE_INVALID, "control character"},
    {"redis://u:p\x7f@host", STILE_INVALID, "control character"},
    {"redis://u:p@p@host", STILE_INVALID, "%40"},
    {"redis://u:p/p@host", STILE_INVALID, "%2F"},
    {"redis://u:p?p@host", STILE_INVALID, "%3F"},
    {"redis://u:p#p@host", STILE_INVALID, "%23"},
    {"redis://u@host?user=u", STILE_INVALID, "user is given twice"},
    {"redis://:p@host?password=p", STILE_INVALID, "password is given twice"},
    {"redis://:p@host?password_env=HOME", STILE_INVALID, "more than one"},
    {"redis://:p@host?password_file=/dev/null", STILE_INVALID, "more than one"},
    {"redis://host?password_env=A&password_file=B", STILE_INVALID, "more than one"},
    {"redis://host?password_env=STILE_TEST_PASSWORD", STILE_INVALID, "password_env"},
    {"redis://host?password_file=/nonexistent/file", STILE_INVALID, "does not exist"},
    {"redis://host?password_file=/", STILE_INVALID, "not a regular file"},
    /* Options. */
    {"redis://host?lease", STILE_INVALID, "'='"},
    {"redis://host?lease=1", STILE_INVALID, "\"lease\""},
    {"redis://host?Lease_ms=1000", STILE_INVALID, "no option"},
    {"redis://host?=1", STILE_INVALID, "no option"},
    {"redis://host?url=local:", STILE_INVALID, "\"url\""},
    {"redis://host?lease_ms=1000&", STILE_INVALID, "'='"},
    {"redis://host?&lease_ms=1000", STILE_INVALID, "'='"},
    {"redis://host?lease_ms=1000&lease_ms=1000", STILE_INVALID, "lease_ms is given twice"},
    {"redis://host?lease_ms=1=2", STILE_INVALID, "%3D"},
    {"redis://host?lease_ms=", STILE_INVALID, "lease_ms is not"},
    {"redis://host?lease_ms=1000s", STILE_INVALID, "lease_ms is not"},
    {"redis://host?lease_ms=%201000", STILE_INVALID, "lease_ms is not"},
    {"redis://host?lease_ms=99999999999999999999", STILE_INVALID, "lease_ms \"9999"},
    {"redis://host?lease_ms=18446744073709551716", STILE_INVALID, "lease_ms"},
    {"redis://host?lease_ms=99", STILE_INVALID,
     "lease_ms \"99\" is not 0 or a number from 100 to 315360000000 in redis://host?lease_ms=99"},
    {"redis://host?lease_ms=1s", STILE_INVALID, "in redis://host?lease_ms=***"},
    {"redis://host?claim_ms=0", STILE_INVALID, "claim_ms \"0\""},
    {"redis://host?db=-1", STILE_INVALID, "db is not"},
    {"redis://host?recheck_ms=5000", STILE_INVALID,
     "recheck_ms 5000 is not less than waiter_lease_ms 5000"},
    {"redis://host?waiter_lease_ms=1000", STILE_INVALID, "recheck_ms"},
    {"redis://host?fence=no", STILE_INVALID,
     "fence is neither on nor off in redis://host?fence=***"},
    {"local:?fence=", STILE_INVALID, "fence is neither on nor off"},
    {"redis://host?no_fence=on", STILE_INVALID, "no_fence"},
    {"redis://host?prefix=" SIXTY "12345", STILE_INVALID, "prefix is longer"},
    {"redis://host?prefix=%7b", STILE_INVALID, "prefix has a brace"},
    {"redis://host?prefix=}", STILE_INVALID, "prefix has a brace"},
    {"redis://host?prefix=%00", STILE_INVALID, "prefix has a control character"},
    {"redis://host?prefix=%09", STILE_INVALID, "prefix has a control character"},
};

static void wrong_urls_are_refused_and_the_part_is_named(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++)
        assert_refused(wrongs[i].url, NULL, wrongs[i].status, wrongs[i].word);
}

static void url_of_4096_bytes_is_the_longest(void **state)
{
    struct stile_settings settings;
    char url[4098];

    (void)state;
    memset(url, 'a', sizeof(url));
    memcpy(url, "unix:///", 8);
    url[4096] = '\0';
    assert_int_equal(init(&settings, url, NULL), STILE_OK);
    stile__settings_fini(&settings);
    url[4096] = 'a';
    url[4097] = '\0';
    assert_refused(url, NULL, STILE_INVALID, "longer than 4096 bytes");
}

/* ---- who wins ---------------------------------------------------------------- */

static void query_wins_over_options(void **state)
{
    const stile_options options = {.prefix = "weak:",
                                   .user = "weak",
                                   .password = "weak",
                                   .lease_ms = 5000,
                                   .max_hold_ms = 5000,
                                   .claim_ms = 500};
    struct stile_settings settings;

    (void)state;
    assert_int_equal(
        init(&settings, "redis://u:p@host?prefix=strong:&lease_ms=0&max_hold_ms=0", &options),
        STILE_OK);
    assert_string_equal(settings.prefix, "strong:");
    assert_string_equal(settings.user, "u");
    assert_string_equal(settings.password, "p");
    assert_int_equal(settings.lease_ms, 30000);
    assert_int_equal(settings.max_hold_ms, 0);
    assert_int_equal(settings.claim_ms, 500);
    stile__settings_fini(&settings);
}

static void empty_password_of_the_query_takes_that_of_the_options_away(void **state)
{
    const stile_options options = {.user = "weak", .password = "weak"};
    struct stile_settings settings;

    (void)state;
    assert_int_equal(init(&settings, "redis://host?user=&password=", &options), STILE_OK);
    assert_null(settings.user);
    assert_null(settings.password);
    stile__settings_fini(&settings);
}

static void options_win_over_defaults(void **state)
{
    const stile_options options = {
        .prefix = "", .user = "u", .password = "p", .connect_timeout_ms = 1, .recheck_ms = 50};
    struct stile_settings settings;

    (void)state;
    assert_int_equal(init(&settings, "redis://host", &options), STILE_OK);
    assert_string_equal(settings.prefix, "");
    assert_string_equal(settings.user, "u");
    assert_string_equal(settings.password, "p");
    assert_int_equal(settings.connect_timeout_ms, 1);
    assert_int_equal(settings.command_timeout_ms, 2000);
    assert_int_equal(settings.recheck_ms, 50);
    stile__settings_fini(&settings);
}

static void wrong_options_are_refused_and_named(void **state)
{
    const stile_options brace = {.prefix = "a{b"}, control = {.prefix = "a\tb"},
                        user = {.user = "a\n"}, password = {.password = PASSWORD "\n"},
                        together = {.recheck_ms = 2000, .waiter_lease_ms = 2000};

    (void)state;
    assert_refused("local:", &brace, STILE_INVALID, "stile_options.prefix");
    assert_refused("local:", &control, STILE_INVALID, "stile_options.prefix");
    assert_refused("local:", &user, STILE_INVALID, "stile_options.user");
    assert_refused("local:", &password, STILE_INVALID, "stile_options.password");
    assert_null(strstr(stile_error_detail(), PASSWORD));
    assert_refused("local:", &together, STILE_INVALID, "recheck_ms");
}

static void fence_is_on_unless_somebody_says_off(void **state)
{
    static const struct {
        const char *url;
        bool option, off;
    } said[] = {
        {"redis://host:6379", false, false},          {"redis://host:6379", true, true},
        {"redis://host:6379?fence=off", false, true}, {"redis://host:6379?fence=off", true, true},
        {"redis://host:6379?fence=on", true, false},  {"local:?fence=off", false, true}};
    struct stile_settings settings;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof said / sizeof *said; i++) {
        const stile_options options = {.no_fence = said[i].option};

        assert_int_equal(init(&settings, said[i].url, &options), STILE_OK);
        assert_int_equal(settings.no_fence, said[i].off);
        assert_string_equal(settings.shown, said[i].url);
        stile__settings_fini(&settings);
    }
}

/* ---- the environment --------------------------------------------------------- */

static void url_comes_from_the_environment_when_none_is_given(void **state)
{
    struct stile_settings settings;

    (void)state;
    assert_int_equal(init(&settings, NULL, NULL), STILE_OK);
    assert_string_equal(settings.scheme, "local");
    stile__settings_fini(&settings);
    assert_int_equal(setenv("STILE_URL", "", 1), 0);
    assert_int_equal(init(&settings, "", NULL), STILE_OK);
    assert_string_equal(settings.scheme, "local");
    stile__settings_fini(&settings);
    assert_int_equal(setenv("STILE_URL", "redis://host", 1), 0);
    assert_int_equal(init(&settings, NULL, NULL), STILE_OK);
    assert_string_equal(settings.host, "host");
    stile__settings_fini(&settings);
    assert_int_equal(init(&settings, "", NULL), STILE_OK);
    assert_string_equal(settings.host, "host");
    stile__settings_fini(&settings);
    assert_int_equal(init(&settings, "local:", NULL), STILE_OK);
    assert_string_equal(settings.scheme, "local");
    stile__settings_fini(&settings);
}

static void detail_says_that_a_wrong_url_came_from_the_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("STILE_URL", "redis://u:" PASSWORD "@host:0", 1), 0);
    assert_refused(NULL, NULL, STILE_INVALID, "STILE_URL: port \"0\"");
    assert_null(strstr(stile_error_detail(), PASSWORD));
    assert_refused("redis://host:0", NULL, STILE_INVALID, "port \"0\"");
    assert_null(strstr(stile_error_detail(), "STILE_URL"));
    assert_int_equal(setenv("STILE_URL", "nonsense", 1), 0);
    assert_refused(NULL, NULL, STILE_INVALID, "STILE_URL");
}

static void password_comes_from_a_variable(void **state)
{
    static const char url[] = "redis://u@host?password_env=STILE_TEST_PASSWORD";
    struct stile_settings settings;

    (void)state;
    assert_int_equal(setenv("STILE_TEST_PASSWORD", PASSWORD "%41", 1), 0);
    assert_int_equal(init(&settings, url, NULL), STILE_OK);
    assert_string_equal(settings.user, "u");
    assert_string_equal(settings.password, PASSWORD "%41");
    stile__settings_fini(&settings);
    assert_int_equal(setenv("STILE_TEST_PASSWORD", "", 1), 0);
    assert_refused(url, NULL, STILE_INVALID, "password_env");
    assert_int_equal(setenv("STILE_TEST_PASSWORD", PASSWORD "\x1b", 1), 0);
    assert_refused(url, NULL, STILE_INVALID, "password_env");
    assert_null(strstr(stile_error_detail(), PASSWORD));
}

/* ---- files ------------------------------------------------------------------- */

/* A file in the directory of the test; gone with file_end(). */
static char file_path[128];

static void file_write(const char *text, size_t size)
{
    FILE *file;

    (void)snprintf(file_path, sizeof(file_path), "%s/%s", directory, "file.conf");
    file = fopen(file_path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int file_end(void **state)
{
    int result = file_path[0] == '\0' ? 0 : unlink(file_path);

    (void)state;
    file_path[0] = '\0';
    return result;
}

/* What to open, with the path of the file in the place of %s. */
static const char *file_url(const char *format)
{
    static char url[256];
    const char *place = strstr(format, "%s");

    (void)snprintf(url, sizeof(url), "%.*s%s%s", (int)(place - format), format, file_path,
                   place + 2);
    return url;
}

static void password_comes_from_the_first_line_of_a_file(void **state)
{
    static const char *const files[] = {PASSWORD, PASSWORD "\n", PASSWORD "\r\n",
                                        PASSWORD "\nmore\n"};
    struct stile_settings settings;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        file_write(files[i], strlen(files[i]));
        assert_int_equal(init(&settings, file_url("redis://host?password_file=%s"), NULL),
                         STILE_OK);
        assert_string_equal(settings.password, PASSWORD);
        assert_string_equal(settings.shown, "redis://host?password_file=***");
        stile__settings_fini(&settings);
    }
}

static void wrong_password_files_are_refused(void **state)
{
    static const char nul[] = PASSWORD "\0\n", tab[] = PASSWORD "\t";
    const char *url;
    struct stile_settings settings;
    char big[4097];

    (void)state;
    file_write("", 0);
    url = file_url("redis://host?password_file=%s");
    assert_refused(url, NULL, STILE_INVALID, "password_file");
    file_write("\n" PASSWORD, 1 + strlen(PASSWORD));
    assert_refused(url, NULL, STILE_INVALID, "password_file");
    file_write("\r\n", 2);
    assert_refused(url, NULL, STILE_INVALID, "password_file");
    file_write(nul, sizeof(nul) - 1);
    assert_refused(url, NULL, STILE_INVALID, "NUL");
    file_write(tab, sizeof(tab) - 1);
    assert_refused(url, NULL, STILE_INVALID, "control character");
    assert_null(strstr(stile_error_detail(), PASSWORD));
    memset(big, 'x', sizeof(big));
    file_write(big, 4096);
    assert_int_equal(init(&settings, url, NULL), STILE_OK);
    assert_int_equal(strlen(settings.password), 4096);
    stile__settings_fini(&settings);
    file_write(big, sizeof(big));
    assert_refused(url, NULL, STILE_INVALID, "longer than 4096 bytes");
}

static void password_file_that_is_a_pipe_is_refused_at_once(void **state)
{
    (void)state;
    (void)snprintf(file_path, sizeof(file_path), "%s/pipe", directory);
    assert_int_equal(mkfifo(file_path, 0600), 0);
    assert_refused(file_url("redis://host?password_file=%s"), NULL, STILE_INVALID,
                   "not a regular file");
}

/* Builds without inih say so, and have nothing else to test. */
static bool files_are_built(void)
{
    struct stile_settings settings;

    if (init(&settings, "file:/nonexistent/file", NULL) == STILE_INVALID)
        return true;
    assert_refused("file:/nonexistent/file", NULL, STILE_UNSUPPORTED, "file:");
    return false;
}

static void open_file_text(struct stile_settings *settings, const char *text,
                           const stile_options *options)
{
    file_write(text, strlen(text));
    if (init(settings, file_url("file:%s"), options) != STILE_OK)
        fail_msg("%s: %s", text, stile_error_detail());
}

static void file_says_url_and_options(void **state)
{
    struct stile_settings settings;
    char shown[256];

    (void)state;
    if (!files_are_built())
        skip();
    open_file_text(&settings,
                   "\xEF\xBB\xBF# comment\n"
                   "[stile] ; ours\r\n"
                   "url = redis://host:7/2\r\n"
                   "  user = a%41 b ; comment\n"
                   "password = " PASSWORD "%41 \n"
                   "\n"
                   "[stile]\n"
                   "prefix =\n"
                   "lease_ms: 500",
                   NULL);
    assert_string_equal(settings.host, "host");
    assert_int_equal(settings.port, 7);
    assert_int_equal(settings.db, 2);
    assert_string_equal(settings.user, "a%41 b");
    assert_string_equal(settings.password, PASSWORD "%41");
    assert_string_equal(settings.prefix, "");
    assert_int_equal(settings.lease_ms, 500);
    (void)snprintf(shown, sizeof(shown), "file:%s (redis://host:7/2)", file_path);
    assert_string_equal(settings.shown, shown);
    stile__settings_fini(&settings);
}

static void file_has_every_option(void **state)
{
    struct stile_settings settings;

    (void)state;
    if (!files_are_built())
        skip();
    assert_int_equal(setenv("STILE_TEST_PASSWORD", PASSWORD, 1), 0);
    open_file_text(&settings,
                   "[stile]\nurl=unix:///run/x\ndb=3\npassword_env=STILE_TEST_PASSWORD\n"
                   "connect_timeout_ms=11\ncommand_timeout_ms=12\nlease_ms=113\nmax_hold_ms=114\n"
                   "waiter_lease_ms=1015\nclaim_ms=116\nrecheck_ms=117\nfence=off\n",
                   NULL);
    assert_int_equal(settings.db, 3);
    assert_string_equal(settings.password, PASSWORD);
    assert_int_equal(settings.connect_timeout_ms, 11);
    assert_int_equal(settings.command_timeout_ms, 12);
    assert_int_equal(settings.lease_ms, 113);
    assert_int_equal(settings.max_hold_ms, 114);
    assert_int_equal(settings.waiter_lease_ms, 1015);
    assert_int_equal(settings.claim_ms, 116);
    assert_int_equal(settings.recheck_ms, 117);
    assert_true(settings.no_fence);
    stile__settings_fini(&settings);
}

static void file_without_url_is_local(void **state)
{
    struct stile_settings settings;

    (void)state;
    if (!files_are_built())
        skip();
    /* Not even STILE_URL counts, and local: reads no password. */
    assert_int_equal(setenv("STILE_URL", "redis://host", 1), 0);
    open_file_text(&settings, "[stile]\nlease_ms = 700\npassword_file = /nonexistent/file\n", NULL);
    assert_string_equal(settings.scheme, "local");
    assert_int_equal(settings.lease_ms, 700);
    stile__settings_fini(&settings);
    open_file_text(&settings, "", NULL);
    assert_string_equal(settings.scheme, "local");
    stile__settings_fini(&settings);
}

static void query_wins_over_file_and_file_over_options(void **state)
{
    const stile_options options = {.prefix = "options:",
                                   .password = "options",
                                   .lease_ms = 300,
                                   .claim_ms = 300,
                                   .recheck_ms = 300};
    struct stile_settings settings;

    (void)state;
    if (!files_are_built())
        skip();
    open_file_text(&settings,
                   "[stile]\nurl = redis://:query@host/4?lease_ms=100\nlease_ms = 200\n"
                   "claim_ms = 200\nprefix = file:\npassword = file\ndb = 5\n",
                   &options);
    assert_string_equal(settings.prefix, "file:");
    assert_string_equal(settings.password, "query");
    assert_int_equal(settings.db, 4);
    assert_int_equal(settings.lease_ms, 100);
    assert_int_equal(settings.claim_ms, 200);
    assert_int_equal(settings.recheck_ms, 300);
    stile__settings_fini(&settings);
}

static void path_of_a_file_is_decoded(void **state)
{
    struct stile_settings settings;
    char *here;

    (void)state;
    if (!files_are_built())
        skip();
    open_file_text(&settings, "[stile]\nlease_ms = 700\n", NULL);
    stile__settings_fini(&settings);
    assert_int_equal(init(&settings, file_url("file://%s"), NULL), STILE_OK);
    stile__settings_fini(&settings);
    here = getcwd(NULL, 0);
    assert_non_null(here);
    assert_int_equal(chdir(directory), 0);
    assert_int_equal(init(&settings, "file:f%69le.conf", NULL), STILE_OK);
    assert_int_equal(chdir(here), 0);
    free(here);
    assert_int_equal(settings.lease_ms, 700);
    stile__settings_fini(&settings);
}

static void environment_may_name_a_file(void **state)
{
    struct stile_settings settings;

    (void)state;
    if (!files_are_built())
        skip();
    open_file_text(&settings, "[stile]\nlease_ms = 700\n", NULL);
    stile__settings_fini(&settings);
    assert_int_equal(setenv("STILE_URL", file_url("file:%s"), 1), 0);
    assert_int_equal(init(&settings, NULL, NULL), STILE_OK);
    assert_int_equal(settings.lease_ms, 700);
    stile__settings_fini(&settings);
    file_write("[stile]\nlease_ms = 7\n", 21);
    assert_refused(NULL, NULL, STILE_INVALID, "STILE_URL: lease_ms \"7\"");
    assert_non_null(strstr(stile_error_detail(), "line 2 of "));
    assert_non_null(strstr(stile_error_detail(), file_path));
}

#define LONG SIXTY SIXTY SIXTY SIXTY SIXTY

/* Every detail names the file as well. */
static const struct {
    const char *text;
    const char *word;
    stile_status status;
} wrong_files[] = {
    {"[stile]\nurl = http://h\n", "line 2 of ", STILE_INVALID},
    {"[stile]\n\nurl = rediss://h\n", "line 3 of ", STILE_UNSUPPORTED},
    {"[stile]\nurl = file:/etc/x\n", "the url of a file must not be one of a file", STILE_INVALID},
    {"[stile]\nurl =\n", "url is empty", STILE_INVALID},
    {"[stile]\nurl = local:\nurl = local:\n", "url is given twice in line 3 of ", STILE_INVALID},
    {"[stile]\nurl = redis://u:" PASSWORD "@h:0\n", "redis://***@h:0 in line 2 of ", STILE_INVALID},
    {"[stile]\nurl = redis://h?lease_ms=1\n", "in redis://h?lease_ms=1 in line 2 of ",
     STILE_INVALID},
    {"[stile]\nlease = 1\n", "\"lease\" in line 2 of ", STILE_INVALID},
    {"[stile]\n" PASSWORD " = 1\n", "no option of that name in line 2 of ", STILE_INVALID},
    {"[stile]\nlease_ms = 1\n", "lease_ms \"1\"", STILE_INVALID},
    {"[stile]\nlease_ms = 500\nlease_ms = 500\n", "lease_ms is given twice in line 3 of ",
     STILE_INVALID},
    {"[stile]\nlease_ms = 500\n  600\n", "line 3 of ", STILE_INVALID},
    {"[stile]\nnonsense\n", "line 2 of ", STILE_INVALID},
    {"[stile]\n" PASSWORD "\nlease = 1\n", "line 2 of ", STILE_INVALID},
    {"[stile\nlease_ms = 500\n", "line 1 of ", STILE_INVALID},
    {"[stile] x\nlease_ms = 500\n", "line 1 of ", STILE_INVALID},
    {"[other]\n", "line 1 of ", STILE_INVALID},
    {"[stile]\n[other]\nlease_ms = 500\n", "line 2 of ", STILE_INVALID},
    {"lease_ms = 500\n", "before the section [stile] in line 1 of ", STILE_INVALID},
    {"[stile]\npassword = a\nurl = redis://h\npassword_env = HOME\n", "more than one",
     STILE_INVALID},
    {"[stile]\nurl = redis://h\npassword_file = /nonexistent/file\n", "does not exist",
     STILE_INVALID},
    {"[stile]\nprefix = a{\n", "prefix has a brace in line 2 of ", STILE_INVALID},
    {"[stile]\nprefix = a\tb\n", "prefix has a control character in line 2 of ", STILE_INVALID},
    {"[stile]\nrecheck_ms = 60000\n", "waiter_lease_ms", STILE_INVALID},
    {"[stile]\npassword = " LONG PASSWORD "=1\n", "line 2 of ", STILE_INVALID},
};

static void wrong_files_are_refused_and_the_line_is_named(void **state)
{
    static const char nul[] = "[stile]\nprefix = a\0b\n";
    size_t i;

    (void)state;
    if (!files_are_built())
        skip();
    for (i = 0; i < sizeof(wrong_files) / sizeof(wrong_files[0]); i++) {
        file_write(wrong_files[i].text, strlen(wrong_files[i].text));
        assert_refused(file_url("file:%s"), NULL, wrong_files[i].status, wrong_files[i].word);
        if (strstr(stile_error_detail(), file_path) == NULL ||
            strstr(stile_error_detail(), PASSWORD) != NULL)
            fail_msg("%s: %s", wrong_files[i].text, stile_error_detail());
    }
    file_write(nul, sizeof(nul) - 1);
    assert_refused(file_url("file:%s"), NULL, STILE_INVALID, "NUL byte in line 2 of ");
}

static void wrong_urls_of_files_are_refused(void **state)
{
    struct stile_settings settings;
    char *big = calloc(1, 65537);

    (void)state;
    assert_non_null(big);
    if (!files_are_built()) {
        free(big);
        skip();
    }
    assert_refused("file:", NULL, STILE_INVALID, "no path");
    assert_refused("file://", NULL, STILE_INVALID, "host");
    assert_refused("file://host/etc/x", NULL, STILE_INVALID, "host");
    assert_refused("file:/etc/x?lease_ms=500", NULL, STILE_INVALID, "'?'");
    assert_refused("file:/etc/x#y", NULL, STILE_INVALID, "'#'");
    assert_refused("file:/etc/x%0a", NULL, STILE_INVALID, "control character");
    assert_refused("file:/nonexistent/file", NULL, STILE_INVALID,
                   "the file does not exist in /nonexistent/file");
    assert_refused("file:/", NULL, STILE_INVALID, "not a regular file");
    memset(big, '\n', 65537);
    file_write(big, 65536);
    assert_int_equal(init(&settings, file_url("file:%s"), NULL), STILE_OK);
    stile__settings_fini(&settings);
    file_write(big, 65537);
    assert_refused(file_url("file:%s"), NULL, STILE_INVALID, "longer than 65536 bytes");
    free(big);
}

/* ---- secrets ----------------------------------------------------------------- */

/* Opens, and looks for the password in what is shown: whole or in part, encoded or
 * not.  Returns whether it opened. */
static bool opens_without_showing(const char *url)
{
    static const char *const secrets[] = {PASSWORD,    "S3cr3t",    "Passw0",
                                          "%53%33%63", "%73%73%77", "%30%72%64%"};
    struct stile_settings settings;
    bool opened = init(&settings, url, NULL) == STILE_OK;
    size_t i;

    for (i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
        if (strstr(stile_error_detail(), secrets[i]) != NULL ||
            (opened && strstr(settings.shown, secrets[i]) != NULL))
            fail_msg("%s shows \"%s\" in \"%s\"%s%s", url, secrets[i], stile_error_detail(),
                     opened ? " or " : "", opened ? settings.shown : "");
    if (opened)
        stile__settings_fini(&settings);
    else if (stile_error_detail()[0] == '\0')
        fail_msg("%s: no detail", url);
    return opened;
}

/* What is put into URLs, one at a time. */
static const char marks[] = ":/@?#[]%&=.+-_ 0aP\x01\x80";

/* Writes url into out, with mark in the place of the byte at or, insert being 1, in
 * front of it.  A mark '\0' takes the byte away. */
static void edit(char *out, const char *url, size_t at, char mark, size_t insert)
{
    const char *rest = url + at + (mark == '\0' ? 1 : 1 - insert);

    memcpy(out, url, at);
    if (mark != '\0')
        out[at++] = mark;
    memcpy(out + at, rest, strlen(rest) + 1);
}

static void one_slip_in_a_url_shows_no_password(void **state)
{
    static const char *const urls[] = {
        "redis://user:" PASSWORD "@host:6379/0?lease_ms=1000",
        "redis://user:" ENCODED "@host:6379/0?lease_ms=1000",
        "redis://:" PASSWORD "@[::1]:6379",
        "redis://user:" PASSWORD "@host",
        "redis://user:" PASSWORD "@host:99999/0",
        "redis://user:" PASSWORD "@host/99999?lease_ms=1",
        "redis://user:" PASSWORD "@host?user=x&nonsense=1",
        "redis://host:6379/0?password=" PASSWORD "&lease_ms=1000",
        "redis://host?lease_ms=1000&password=" PASSWORD,
        "redis://host?user=" PASSWORD "&password=" ENCODED "&prefix=app:",
        "redis://host?prefix=app:&password=" PASSWORD,
        "unix://user:" PASSWORD "@/run/redis.sock?db=1",
        "unix:///run/redis.sock?password=" PASSWORD "&db=1",
        "unix:///run/redis.sock?db=1&password=" ENCODED,
        "local:?password=" PASSWORD,
        "rediss://user:" PASSWORD "@host:6379/0",
        "http://user:" PASSWORD "@host:6379/0",
        "user:" PASSWORD "@host:6379/0",
        ":" PASSWORD "@host",
    };
    unsigned opened = 0, refused = 0;
    char url[256];
    size_t i, at, m;

    (void)state;
    for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
        for (at = 0; at < strlen(urls[i]); at++)
            for (m = 0; m < sizeof(marks); m++) {
                size_t insert;

                for (insert = 0; insert < 2; insert++) {
                    edit(url, urls[i], at, marks[m], insert);
                    if (opens_without_showing(url))
                        opened++;
                    else
                        refused++;
                }
            }
    assert_true(opened > 1000);
    assert_true(refused > 10000);
}

/* xorshift: the same URLs in every run. */
static size_t next_random(uint32_t *seed, size_t bound)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed % bound;
}

static void many_slips_in_a_url_show_no_password_before_the_at(void **state)
{
    static const char *const before[] = {"redis://user:", "redis://:", "unix://user:"};
    static const char *const after[] = {"@host:6379/0?lease_ms=1000", "@[::1]:1/2?db=1",
                                        "@/run/redis.sock?prefix=x&db=3"};
    uint32_t seed = 20240229;
    unsigned round, opened = 0;

    (void)state;
    for (round = 0; round < 30000; round++) {
        char front[64], back[64], other[64], url[256];
        size_t edits = 1 + next_random(&seed, 4);

        (void)snprintf(front, sizeof(front), "%s", before[next_random(&seed, 3)]);
        (void)snprintf(back, sizeof(back), "%s", after[next_random(&seed, 3)]);
        while (edits-- > 0) {
            char *part = next_random(&seed, 3) == 0 ? front : back;
            size_t first = part == back; /* the '@' stays */
            size_t at = first + next_random(&seed, strlen(part) - first);

            edit(other, part, at, marks[next_random(&seed, sizeof(marks))], next_random(&seed, 2));
            (void)memcpy(part, other, sizeof(front));
        }
        (void)snprintf(url, sizeof(url), "%s%s%s", front, round % 2 ? PASSWORD : ENCODED, back);
        opened += opens_without_showing(url);
    }
    assert_true(opened > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(times_have_defaults),
        cmocka_unit_test(times_are_kept_within_their_bounds),
        cmocka_unit_test(wrong_urls_are_refused_and_the_part_is_named),
        cmocka_unit_test(url_of_4096_bytes_is_the_longest),
        cmocka_unit_test(query_wins_over_options),
        cmocka_unit_test(empty_password_of_the_query_takes_that_of_the_options_away),
        cmocka_unit_test(options_win_over_defaults),
        cmocka_unit_test(wrong_options_are_refused_and_named),
        cmocka_unit_test(fence_is_on_unless_somebody_says_off),
        cmocka_unit_test_setup(url_comes_from_the_environment_when_none_is_given,
                               clear_environment),
        cmocka_unit_test_setup(detail_says_that_a_wrong_url_came_from_the_environment,
                               clear_environment),
        cmocka_unit_test_setup(password_comes_from_a_variable, clear_environment),
        cmocka_unit_test_setup_teardown(password_comes_from_the_first_line_of_a_file,
                                        clear_environment, file_end),
        cmocka_unit_test_setup_teardown(wrong_password_files_are_refused, clear_environment,
                                        file_end),
        cmocka_unit_test_setup_teardown(password_file_that_is_a_pipe_is_refused_at_once,
                                        clear_environment, file_end),
        cmocka_unit_test_setup_teardown(file_says_url_and_options, clear_environment, file_end),
        cmocka_unit_test_setup_teardown(file_has_every_option, clear_environment, file_end),
        cmocka_unit_test_setup_teardown(file_without_url_is_local, clear_environment, file_end),
        cmocka_unit_test_setup_teardown(query_wins_over_file_and_file_over_options,
                                        clear_environment, file_end),
        cmocka_unit_test_setup_teardown(path_of_a_file_is_decoded, clear_environment, file_end),
        cmocka_unit_test_setup_teardown(environment_may_name_a_file, clear_environment, file_end),
        cmocka_unit_test_setup_teardown(wrong_files_are_refused_and_the_line_is_named,
                                        clear_environment, file_end),
        cmocka_unit_test_setup_teardown(wrong_urls_of_files_are_refused, clear_environment,
                                        file_end),
        cmocka_unit_test_setup(one_slip_in_a_url_shows_no_password, clear_environment),
        cmocka_unit_test_setup(many_slips_in_a_url_show_no_password_before_the_at,
                               clear_environment),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
