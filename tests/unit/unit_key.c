/*
 * Names to keys: injective for any bytes, and all keys of an object in one slot.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "redis.h"

/* What a cluster hashes: the bytes between the first brace and the next closing one,
 * if there are any. */
static struct redis_slice hash_tag(struct redis_slice key)
{
    const char *open = memchr(key.bytes, '{', key.length), *close;

    if (open == NULL)
        return key;
    close = memchr(open + 1, '}', (size_t)(key.bytes + key.length - open - 1));
    if (close == NULL || close == open + 1)
        return key;
    return (struct redis_slice){open + 1, (size_t)(close - open - 1)};
}

static bool same(struct redis_slice a, struct redis_slice b)
{
    return a.length == b.length && memcmp(a.bytes, b.bytes, a.length) == 0;
}

static bool same_text(struct redis_slice a, const char *text)
{
    return same(a, (struct redis_slice){text, strlen(text)});
}

static void keys_of_a_plain_name_are_the_documented_ones(void **state)
{
    struct redis_slice keys[REDIS_PARTS];
    char *bytes = stile__redis_keys("stile:", "lock", "nightly-backup", keys);

    (void)state;
    assert_non_null(bytes);
    assert_true(same_text(keys[REDIS_LOCK], "stile:{lock:nightly-backup}"));
    assert_true(same_text(keys[REDIS_FENCE], "stile:{lock:nightly-backup}:fence"));
    assert_true(same_text(keys[REDIS_QUEUE], "stile:{lock:nightly-backup}:queue"));
    assert_true(same_text(keys[REDIS_WAITERS], "stile:{lock:nightly-backup}:waiters"));
    free(bytes);
}

static void braces_percent_blanks_and_control_bytes_are_escaped(void **state)
{
    struct redis_slice keys[REDIS_PARTS];
    char *bytes = stile__redis_keys("", "lock", "a{b}c%d e\r\n\x7f\x01", keys);

    (void)state;
    assert_non_null(bytes);
    assert_true(same_text(keys[REDIS_LOCK], "{lock:a%7Bb%7Dc%25d%20e%0D%0A%7F%01}"));
    free(bytes);
}

static void bytes_beyond_ascii_stay_as_they_are(void **state)
{
    struct redis_slice keys[REDIS_PARTS];
    char *bytes = stile__redis_keys("p:", "lock", "\xc3\xbc\xff", keys);

    (void)state;
    assert_non_null(bytes);
    assert_true(same_text(keys[REDIS_LOCK], "p:{lock:\xc3\xbc\xff}"));
    free(bytes);
}

/* Names over an alphabet of what is special, all of them up to three bytes long. */
enum { LETTERS = 9, NAMES = LETTERS + LETTERS * LETTERS + LETTERS * LETTERS * LETTERS };

static void make_name(size_t number, char name[4])
{
    static const char letters[LETTERS] = {'a', '{', '}', '%', '7', 'B', ':', '\n', '\xff'};
    size_t length = 1, count = LETTERS, i;

    while (number >= count) {
        number -= count;
        count *= LETTERS;
        length++;
    }
    for (i = 0; i < length; i++, number /= LETTERS)
        name[i] = letters[number % LETTERS];
    name[length] = '\0';
}

static void different_names_have_different_keys_and_one_slot_each(void **state)
{
    static struct redis_slice keys[NAMES][REDIS_PARTS];
    static char *bytes[NAMES];
    size_t i, j, part, meet = 0;
    char name[4];

    (void)state;
    for (i = 0; i < NAMES; i++) {
        make_name(i, name);
        bytes[i] = stile__redis_keys("stile:", "lock", name, keys[i]);
        assert_non_null(bytes[i]);
        for (part = 0; part < REDIS_PARTS; part++)
            assert_true(same(hash_tag(keys[i][part]), hash_tag(keys[i][REDIS_LOCK])));
        /* The tag is the whole of what names the object. */
        assert_int_equal(hash_tag(keys[i][REDIS_LOCK]).length,
                         keys[i][REDIS_LOCK].length - strlen("stile:{}"));
    }
    for (i = 0; i < NAMES; i++)
        for (j = i + 1; j < NAMES; j++)
            meet += same(keys[i][REDIS_LOCK], keys[j][REDIS_LOCK]);
    assert_int_equal(meet, 0);
    for (i = 0; i < NAMES; i++)
        free(bytes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_a_plain_name_are_the_documented_ones),
        cmocka_unit_test(braces_percent_blanks_and_control_bytes_are_escaped),
        cmocka_unit_test(bytes_beyond_ascii_stay_as_they_are),
        cmocka_unit_test(different_names_have_different_keys_and_one_slot_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
