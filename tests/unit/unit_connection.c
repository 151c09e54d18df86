/*
 * One connection to a server: what it sends, what it reads, what it does when
 * the server lies, stops, or goes.  First the encoder and the parser by
 * themselves, then against a server that plays a script, then a real one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "base/os.h"
#include "connection.h"
#include "reply.h"
#include "support/process.h"
#include "support/server.h"
#include "support/tempdir.h"

#define MIB ((size_t)1024 * 1024)

/* ---- a look at the allocator --------------------------------------------
 * Counts what this thread allocates while it watches, hiredis included.  Without
 * a sanitizer it takes the place of malloc and can also fail on demand. */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static _Thread_local struct {
    bool watching;
    unsigned long count; /* allocations */
    long live;           /* bytes allocated and not freed */
    long peak;           /* of live */
    unsigned long fail;  /* which allocation is to fail; 0: none */
} heap;

static void watch_heap(unsigned long fail)
{
    heap.count = 0;
    heap.live = 0;
    heap.peak = 0;
    heap.fail = fail;
    heap.watching = true;
}

static void unwatch_heap(void)
{
    heap.watching = false;
}

static void note_malloc(size_t size)
{
    heap.count++;
    heap.live += (long)size;
    if (heap.live > heap.peak)
        heap.peak = heap.live;
}

#if SANITIZED
int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *, size_t),
                                              void (*free_hook)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *p);

static void on_malloc(const volatile void *memory, size_t size)
{
    (void)memory;
    if (heap.watching)
        note_malloc(size);
}

static void on_free(const volatile void *memory)
{
    if (heap.watching && memory != NULL)
        heap.live -= (long)__sanitizer_get_allocated_size(memory);
}

static void install_heap(void)
{
    if (__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) == 0)
        abort();
}
#else
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void __libc_free(void *memory);

/* Called by hiredis, too: so they have to be seen from outside. */
#define EXPORTED __attribute__((visibility("default")))

static bool fails_now(void)
{
    return heap.watching && heap.fail > 0 && heap.count + 1 == heap.fail;
}

static void *note(void *memory)
{
    if (heap.watching && memory != NULL)
        note_malloc(malloc_usable_size(memory));
    return memory;
}

static void *refuse(void)
{
    heap.count++;
    return NULL;
}

EXPORTED void *malloc(size_t size)
{
    return fails_now() ? refuse() : note(__libc_malloc(size));
}

EXPORTED void *calloc(size_t count, size_t size)
{
    return fails_now() ? refuse() : note(__libc_calloc(count, size));
}

EXPORTED void *realloc(void *memory, size_t size)
{
    size_t before = heap.watching && memory != NULL ? malloc_usable_size(memory) : 0;
    void *moved;

    if (fails_now())
        return refuse();
    moved = __libc_realloc(memory, size);
    if (moved != NULL)
        heap.live -= (long)before;
    return note(moved);
}

EXPORTED void free(void *memory)
{
    if (heap.watching && memory != NULL)
        heap.live -= (long)malloc_usable_size(memory);
    __libc_free(memory);
}

static void install_heap(void)
{
}
#endif

/* ---- the encoder -------------------------------------------------------- */

static const struct redis_limits usual = {.bytes = MIB, .elements = 4096};

static const struct redis_reply *parse_all(struct redis_parser *parser, const void *bytes,
                                           size_t length)
{
    const struct redis_reply *reply;
    size_t used;

    assert_int_equal(stile__redis_parse(parser, bytes, length, &used, &reply), STILE_OK);
    assert_int_equal(used, length);
    return reply;
}

static void a_request_is_written_as_resp2_wants_it(void **state)
{
    static const char expected[] = "*4\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\0\r\n\r\n"
                                   "$20\r\n-9223372036854775808\r\n";
    struct redis_buffer buffer;

    (void)state;
    stile__redis_buffer_init(&buffer);
    stile__redis_command(&buffer, 4);
    stile__redis_arg_text(&buffer, "SET");
    stile__redis_arg(&buffer, NULL, 0);
    stile__redis_arg(&buffer, "a\0\r\n", 4);
    stile__redis_arg_int(&buffer, INT64_MIN);
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, sizeof(expected) - 1);
    assert_memory_equal(buffer.bytes, expected, sizeof(expected) - 1);
    stile__redis_buffer_fini(&buffer);
}

/* A request is itself an array of strings, which the parser reads. */
static void any_arguments_survive_the_encoder(void **state)
{
    static const int64_t numbers[] = {0, 1, -1, 9, 10, INT64_MAX, INT64_MIN};
    char digits[32];
    unsigned char every[1024];
    const struct redis_reply *reply;
    struct redis_buffer buffer;
    struct redis_parser parser;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(every); i++)
        every[i] = (unsigned char)i;
    assert_int_equal(stile__redis_parser_init(&parser, &usual), STILE_OK);
    stile__redis_buffer_init(&buffer);
    stile__redis_command(&buffer, 1024 + 7);
    for (i = 0; i < 1024; i++)
        stile__redis_arg(&buffer, every + i % 256, i % 700);
    for (i = 0; i < 7; i++)
        stile__redis_arg_int(&buffer, numbers[i]);
    assert_false(buffer.failed);
    reply = parse_all(&parser, buffer.bytes, buffer.length);
    assert_non_null(reply);
    assert_int_equal(reply->type, REDIS_ARRAY);
    assert_int_equal(reply->count, 1024 + 7);
    for (i = 0; i < 1024; i++) {
        assert_int_equal(reply->elements[i].type, REDIS_STRING);
        assert_int_equal(reply->elements[i].length, i % 700);
        assert_memory_equal(reply->elements[i].text, every + i % 256, i % 700);
        assert_int_equal(reply->elements[i].text[i % 700], '\0');
    }
    for (i = 0; i < 7; i++) {
        snprintf(digits, sizeof(digits), "%lld", (long long)numbers[i]);
        assert_string_equal(reply->elements[1024 + i].text, digits);
    }
    stile__redis_buffer_fini(&buffer);
    stile__redis_parser_fini(&parser);
}

static void a_failed_buffer_stays_failed_until_it_is_reset(void **state)
{
    volatile size_t endless = SIZE_MAX;
    struct redis_buffer buffer;

    (void)state;
    stile__redis_buffer_init(&buffer);
    stile__redis_command(&buffer, 2);
    stile__redis_arg(&buffer, "x", endless);
    assert_true(buffer.failed);
    stile__redis_arg_text(&buffer, "PING");
    assert_true(buffer.failed);
    stile__redis_buffer_reset(&buffer);
    stile__redis_arg(&buffer, "x", endless / 2);
    assert_true(buffer.failed);
    stile__redis_buffer_reset(&buffer);
    stile__redis_command(&buffer, 1);
    stile__redis_arg_text(&buffer, "PING");
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, 14);
    assert_memory_equal(buffer.bytes, "*1\r\n$4\r\nPING\r\n", 14);
    stile__redis_buffer_fini(&buffer);
}

static void a_buffer_in_use_allocates_nothing_more(void **state)
{
    struct redis_buffer buffer;

    (void)state;
    stile__redis_buffer_init(&buffer);
    for (int round = 0; round < 100; round++) {
        if (round == 1)
            watch_heap(0);
        stile__redis_buffer_reset(&buffer);
        stile__redis_command(&buffer, 100);
        for (int i = 0; i < 100; i++)
            stile__redis_arg_int(&buffer, i);
    }
    unwatch_heap();
    assert_int_equal(heap.count, 0);
    stile__redis_buffer_fini(&buffer);
}

/* ---- the parser --------------------------------------------------------- */

struct text {
    const char *bytes;
    size_t length;
};

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static void check_text(const struct redis_reply *reply, enum redis_type type, const char *text,
                       size_t length)
{
    assert_int_equal(reply->type, type);
    assert_int_equal(reply->length, length);
    assert_memory_equal(reply->text, text, length);
    assert_int_equal(reply->text[length], '\0');
    assert_int_equal(reply->integer, 0);
    assert_null(reply->elements);
}

/* One of everything. */
static const char mixed[] = "*9\r\n"
                            "+OK\r\n"
                            "-ERR no\r\n"
                            ":-42\r\n"
                            "$-1\r\n"
                            "$0\r\n\r\n"
                            "$6\r\na\0\r\nb\xff\r\n"
                            "*-1\r\n"
                            "*0\r\n"
                            "*3\r\n*2\r\n:1\r\n$1\r\nx\r\n:2\r\n*1\r\n*1\r\n+deep\r\n";

static void check_mixed(const struct redis_reply *reply)
{
    const struct redis_reply *inner;

    assert_int_equal(reply->type, REDIS_ARRAY);
    assert_int_equal(reply->count, 9);
    check_text(&reply->elements[0], REDIS_STATUS, "OK", 2);
    check_text(&reply->elements[1], REDIS_ERROR, "ERR no", 6);
    assert_int_equal(reply->elements[2].type, REDIS_INTEGER);
    assert_int_equal(reply->elements[2].integer, -42);
    assert_int_equal(reply->elements[3].type, REDIS_NIL);
    check_text(&reply->elements[4], REDIS_STRING, "", 0);
    check_text(&reply->elements[5], REDIS_STRING, "a\0\r\nb\xff", 6);
    assert_int_equal(reply->elements[6].type, REDIS_NIL);
    assert_int_equal(reply->elements[7].type, REDIS_ARRAY);
    assert_int_equal(reply->elements[7].count, 0);
    inner = &reply->elements[8];
    assert_int_equal(inner->type, REDIS_ARRAY);
    assert_int_equal(inner->count, 3);
    assert_int_equal(inner->elements[0].count, 2);
    assert_int_equal(inner->elements[0].elements[0].integer, 1);
    check_text(&inner->elements[0].elements[1], REDIS_STRING, "x", 1);
    assert_int_equal(inner->elements[1].integer, 2);
    check_text(&inner->elements[2].elements[0].elements[0], REDIS_STATUS, "deep", 4);
}

static void every_type_of_reply_is_read(void **state)
{
    const struct redis_reply *reply;
    struct redis_parser parser;

    (void)state;
    assert_int_equal(stile__redis_parser_init(&parser, &usual), STILE_OK);
    check_text(parse_all(&parser, "+PONG\r\n", 7), REDIS_STATUS, "PONG", 4);
    check_text(parse_all(&parser, "-OOM x\r\n", 8), REDIS_ERROR, "OOM x", 5);
    check_text(parse_all(&parser, "$2\r\n\r\n\r\n", 8), REDIS_STRING, "\r\n", 2);
    reply = parse_all(&parser, ":9223372036854775807\r\n", 22);
    assert_int_equal(reply->type, REDIS_INTEGER);
    assert_true(reply->integer == INT64_MAX);
    reply = parse_all(&parser, ":-9223372036854775808\r\n", 23);
    assert_true(reply->integer == INT64_MIN);
    assert_int_equal(parse_all(&parser, "$-1\r\n", 5)->type, REDIS_NIL);
    assert_int_equal(parse_all(&parser, "*-1\r\n", 5)->type, REDIS_NIL);
    reply = parse_all(&parser, "*0\r\n", 4);
    assert_int_equal(reply->type, REDIS_ARRAY);
    assert_int_equal(reply->count, 0);
    check_mixed(parse_all(&parser, mixed, sizeof(mixed) - 1));
    assert_false(stile__redis_parser_pending(&parser));
    stile__redis_parser_fini(&parser);
}

static void a_reply_may_come_in_any_two_pieces_or_byte_by_byte(void **state)
{
    struct redis_parser parser;
    size_t length = sizeof(mixed) - 1;

    (void)state;
    assert_int_equal(stile__redis_parser_init(&parser, &usual), STILE_OK);
    for (size_t cut = 1; cut < length; cut++) {
        assert_null(parse_all(&parser, mixed, cut));
        assert_true(stile__redis_parser_pending(&parser));
        check_mixed(parse_all(&parser, mixed + cut, length - cut));
    }
    for (size_t i = 0; i + 1 < length; i++)
        assert_null(parse_all(&parser, mixed + i, 1));
    check_mixed(parse_all(&parser, mixed + length - 1, 1));
    stile__redis_parser_fini(&parser);
}

static void replies_that_come_together_are_read_one_by_one(void **state)
{
    struct redis_parser parser;

    (void)state;
    assert_int_equal(stile__redis_parser_init(&parser, &usual), STILE_OK);
    check_text(parse_all(&parser, "+one\r\n$3\r\ntwo\r\n+thr", 19), REDIS_STATUS, "one", 3);
    assert_true(stile__redis_parser_pending(&parser));
    check_text(parse_all(&parser, "", 0), REDIS_STRING, "two", 3);
    assert_null(parse_all(&parser, "", 0));
    check_text(parse_all(&parser, "ee\r\n", 4), REDIS_STATUS, "three", 5);
    assert_false(stile__redis_parser_pending(&parser));
    stile__redis_parser_fini(&parser);
}

/* Feeds bytes in pieces of 16 KiB, times over, until the parser fails.  Returns
 * what it said; STILE_OK if it took all. */
static stile_status feed(const struct redis_limits *limits, const char *bytes, size_t length,
                         size_t times)
{
    struct redis_parser parser;
    stile_status status;

    watch_heap(0);
    status = stile__redis_parser_init(&parser, limits);
    for (size_t i = 0; i < times && status == STILE_OK; i++) {
        const struct redis_reply *reply;
        size_t used;

        for (size_t begin = 0; begin < length && status == STILE_OK; begin += used) {
            size_t piece = length - begin < 16384 ? length - begin : 16384;

            status = stile__redis_parse(&parser, bytes + begin, piece, &used, &reply);
        }
    }
    if (status != STILE_OK)
        assert_non_null(parser.reason);
    stile__redis_parser_fini(&parser);
    unwatch_heap();
    assert_int_equal(heap.live, 0);
    return status;
}

static void what_is_not_resp2_is_refused(void **state)
{
    static const struct text wrong[] = {
        TEXT("\0"),           TEXT("HTTP/1.1 400 Bad Request\r\n"),
        TEXT("\r\n"),         TEXT(":\r\n"),
        TEXT(":12x\r\n"),     TEXT(":9223372036854775808\r\n"),
        TEXT("$x\r\n"),       TEXT("$-2\r\n"),
        TEXT("$\r\n"),        TEXT("$3\r\nabcXY"),
        TEXT("$3\r\nabcd\r"), TEXT("*-2\r\n"),
        TEXT("*x\r\n"),       TEXT("*1\r\n?\r\n"),
        TEXT("_\r\n"),        TEXT("#t\r\n"),
        TEXT(",1.5\r\n"),     TEXT("(12345678901234567890\r\n"),
        TEXT("%1\r\n+a\r\n"), TEXT("~1\r\n+a\r\n"),
        TEXT(">1\r\n+a\r\n"), TEXT("=7\r\ntxt:abc\r\n"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (feed(&usual, wrong[i].bytes, wrong[i].length, 1) != STILE_PROTOCOL)
            fail_msg("taken: %s", wrong[i].bytes);
    }
}

/* The first reply of a parser is always hiredis's; later ones may be read in place. */
static void a_short_reply_is_read_in_place_as_hiredis_reads_it(void **state)
{
    static const struct text texts[] = {
        TEXT(":0\r\n"),
        TEXT(":-1\r\n"),
        TEXT(":007\r\n"),
        TEXT(":-0\r\n"),
        TEXT(":999999999999999999\r\n"),
        TEXT("+OK\r\n"),
        TEXT("$-1\r\n"),
        TEXT("+\r\n"),
        TEXT(":-9223372036854775808\r\n"),
        TEXT("+OKA\r\n"),
        TEXT("$1\r\nx\r\n"),
        TEXT(":\r\n"),
        TEXT(":-\r\n"),
        TEXT(":1x\r\n"),
        TEXT(":9223372036854775808\r\n"),
        TEXT("$-10\r\n"),
        TEXT(": 1\r\n"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct redis_parser first, later;
        const struct redis_reply *one = NULL, *other = NULL;
        stile_status status;
        size_t used;

        assert_int_equal(stile__redis_parser_init(&first, &usual), STILE_OK);
        assert_int_equal(stile__redis_parser_init(&later, &usual), STILE_OK);
        assert_non_null(parse_all(&later, "+PONG\r\n", 7));
        status = stile__redis_parse(&first, texts[i].bytes, texts[i].length, &used, &one);
        assert_int_equal(stile__redis_parse(&later, texts[i].bytes, texts[i].length, &used, &other),
                         status);
        assert_int_equal(one == NULL, other == NULL);
        if (one != NULL) {
            assert_int_equal(used, texts[i].length);
            assert_int_equal(one->type, other->type);
            assert_true(one->integer == other->integer);
            assert_int_equal(one->length, other->length);
            assert_int_equal(one->text == NULL, other->text == NULL);
            if (one->text != NULL)
                assert_string_equal(one->text, other->text);
            assert_false(stile__redis_parser_pending(&later));
        }
        stile__redis_parser_fini(&first);
        stile__redis_parser_fini(&later);
    }
}

static void arrays_may_be_nested_seven_deep(void **state)
{
    static const char deepest[] = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:7\r\n";
    static const char deeper[] = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:7\r\n";
    static const char empty[] = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*0\r\n";

    (void)state;
    assert_int_equal(feed(&usual, deepest, sizeof(deepest) - 1, 3), STILE_OK);
    assert_int_equal(feed(&usual, deeper, sizeof(deeper) - 1, 1), STILE_PROTOCOL);
    assert_int_equal(feed(&usual, empty, sizeof(empty) - 1, 1), STILE_PROTOCOL);
    assert_int_equal(feed(&usual, "*1\r\n", 4, 100), STILE_PROTOCOL);
}

static void headers_that_promise_too_much_are_refused_at_once(void **state)
{
    static const struct text hostile[] = {
        TEXT("*2147483647\r\n"),
        TEXT("*2147483648\r\n"),
        TEXT("*4294967295\r\n"),
        TEXT("*9223372036854775807\r\n"),
        TEXT("*-2147483648\r\n"),
        TEXT("*4097\r\n"),
        TEXT("*2\r\n*2000\r\n"
             "*2147483647\r\n"),
        TEXT("$1048577\r\n"),
        TEXT("$2147483647\r\n"),
        TEXT("$900000000000000000\r\n"),
        TEXT("$9223372036854775807\r\n"),
        TEXT("$99999999999999999999999999"),
        TEXT("*2\r\n$900000000000000000\r\n"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        if (feed(&usual, hostile[i].bytes, hostile[i].length, 1) != STILE_PROTOCOL)
            fail_msg("taken: %s", hostile[i].bytes);
        if (heap.peak > 256 * 1024)
            fail_msg("%ld bytes for: %s", heap.peak, hostile[i].bytes);
    }
}

static void an_endless_reply_ends_at_the_limit(void **state)
{
    char *bytes = malloc(MIB);

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 'a', MIB);
    bytes[0] = '+';
    assert_int_equal(feed(&usual, bytes, MIB, 16), STILE_PROTOCOL);
    assert_in_range(heap.peak, MIB, 3 * MIB);
    memcpy(bytes, "$1048000\r\n", 10);
    assert_int_equal(feed(&usual, bytes, MIB, 16), STILE_PROTOCOL);
    assert_in_range(heap.peak, MIB, 6 * MIB);
    memset(bytes, '1', MIB);
    bytes[0] = ':';
    assert_int_equal(feed(&usual, bytes, MIB, 16), STILE_PROTOCOL);
    assert_in_range(heap.peak, MIB, 3 * MIB);
    free(bytes);
}

static void the_limit_of_bytes_is_exact(void **state)
{
    const struct redis_limits limits = {.bytes = 20, .elements = 100};
    static const char fits[] = "$13\r\n0123456789abc\r\n";
    static const char over[] = "$14\r\n0123456789abcd\r\n";
    const struct redis_reply *reply;
    struct redis_parser parser;
    size_t used;

    (void)state;
    assert_int_equal(sizeof(fits) - 1, 20);
    assert_int_equal(feed(&limits, fits, 20, 50), STILE_OK);
    assert_int_equal(feed(&limits, over, 21, 1), STILE_PROTOCOL);
    assert_int_equal(feed(&limits, "+one\r\n", 6, 50), STILE_OK);

    /* What follows a reply does not count as part of it. */
    assert_int_equal(stile__redis_parser_init(&parser, &limits), STILE_OK);
    assert_null(parse_all(&parser, "$13\r\n0123", 9));
    assert_int_equal(stile__redis_parse(&parser, "456789abc\r\n+next\r\n", 18, &used, &reply),
                     STILE_OK);
    assert_int_equal(used, 11);
    check_text(reply, REDIS_STRING, "0123456789abc", 13);
    check_text(parse_all(&parser, "+next\r\n", 7), REDIS_STATUS, "next", 4);
    stile__redis_parser_fini(&parser);
}

static void the_limit_of_elements_is_for_the_whole_reply(void **state)
{
    const struct redis_limits limits = {.bytes = MIB, .elements = 5};
    static const char fits[] = "*2\r\n*1\r\n:1\r\n*2\r\n:1\r\n:2\r\n";
    static const char over[] = "*2\r\n*1\r\n:1\r\n*3\r\n:1\r\n:2\r\n:3\r\n";

    (void)state;
    assert_int_equal(feed(&limits, fits, sizeof(fits) - 1, 10), STILE_OK);
    assert_int_equal(feed(&limits, over, sizeof(over) - 1, 1), STILE_PROTOCOL);
    assert_int_equal(feed(&limits, "*6\r\n", 4, 1), STILE_PROTOCOL);
}

static void more_elements_than_the_bytes_can_hold_are_refused(void **state)
{
    const struct redis_limits limits = {.bytes = 300, .elements = 1000000};

    (void)state;
    assert_int_equal(feed(&limits, "*100\r\n", 6, 1), STILE_OK);
    assert_int_equal(feed(&limits, "*101\r\n", 6, 1), STILE_PROTOCOL);
}

/* A string of size bytes, as a reply.  Owed a free. */
static char *make_string(size_t size, size_t *length)
{
    char *bytes = malloc(size + 64);
    size_t header;

    assert_non_null(bytes);
    header = (size_t)sprintf(bytes, "$%zu\r\n", size);
    memset(bytes + header, 'v', size);
    memcpy(bytes + header + size, "\r\n", 2);
    *length = header + size + 2;
    return bytes;
}

/* Feeds one reply whole, in pieces. */
static const struct redis_reply *feed_one(struct redis_parser *parser, const char *bytes,
                                          size_t length)
{
    const struct redis_reply *reply = NULL;
    size_t used;

    for (size_t begin = 0; begin < length; begin += used) {
        size_t piece = length - begin < 16384 ? length - begin : 16384;

        assert_null(reply);
        assert_int_equal(stile__redis_parse(parser, bytes + begin, piece, &used, &reply), STILE_OK);
    }
    assert_non_null(reply);
    return reply;
}

static void at_ease_no_reply_allocates(void **state)
{
    static const size_t sizes[] = {1, 60, 1000, 1100, 5000, 20000, 50000};
    struct redis_parser parser;
    char *strings[7];
    size_t lengths[7];
    unsigned long count = 1;

    (void)state;
    for (size_t i = 0; i < 7; i++)
        strings[i] = make_string(sizes[i], &lengths[i]);
    assert_int_equal(stile__redis_parser_init(&parser, &usual), STILE_OK);
    for (int round = 0; round < 1000; round++) {
        watch_heap(0);
        for (size_t i = 0; i < 7; i++) {
            if (feed_one(&parser, strings[i], lengths[i])->length != sizes[i])
                fail();
            if (feed_one(&parser, mixed, sizeof(mixed) - 1)->count != 9)
                fail();
        }
        unwatch_heap();
        count = heap.count;
        assert_true(round < 5 || count == 0);
    }
    assert_int_equal(count, 0);
    stile__redis_parser_fini(&parser);
    for (size_t i = 0; i < 7; i++)
        free(strings[i]);
}

static void what_a_large_reply_needed_is_given_back(void **state)
{
    const struct redis_limits limits = {.bytes = 4 * MIB, .elements = 4096};
    struct redis_parser parser;
    size_t length;
    char *bytes = make_string(3 * MIB, &length);

    (void)state;
    watch_heap(0);
    assert_int_equal(stile__redis_parser_init(&parser, &limits), STILE_OK);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(feed_one(&parser, bytes, length)->length, 3 * MIB);
        assert_true(heap.live > (long)(6 * MIB));
        for (int i = 0; i < 100; i++)
            check_text(parse_all(&parser, "+small\r\n", 8), REDIS_STATUS, "small", 5);
        assert_true(heap.live < (long)(MIB / 8));
    }
    stile__redis_parser_fini(&parser);
    unwatch_heap();
    free(bytes);
}

#if !SANITIZED
static void every_allocation_of_the_parser_may_fail(void **state)
{
    size_t length, failed = 0;
    char *bytes = make_string(30000, &length);

    (void)state;
    for (unsigned long fail = 1;; fail++) {
        const struct redis_reply *reply = NULL;
        struct redis_parser parser;
        stile_status status;
        size_t used;

        watch_heap(fail);
        status = stile__redis_parser_init(&parser, &usual);
        if (status == STILE_OK)
            status = stile__redis_parse(&parser, mixed, sizeof(mixed) - 1, &used, &reply);
        if (status == STILE_OK && reply == NULL)
            fail_msg("no reply and no failure");
        for (size_t begin = 0; begin < length && status == STILE_OK; begin += used) {
            size_t piece = length - begin < 16384 ? length - begin : 16384;

            status = stile__redis_parse(&parser, bytes + begin, piece, &used, &reply);
        }
        stile__redis_parser_fini(&parser);
        unwatch_heap();
        assert_int_equal(heap.live, 0);
        if (heap.count < fail) {
            assert_int_equal(status, STILE_OK);
            break;
        }
        assert_int_equal(status, STILE_NO_MEMORY);
        failed++;
    }
    assert_true(failed >= 5);
    free(bytes);
}
#endif

/* ---- a server that plays a script --------------------------------------- */

enum act {
    EXPECT, /* exactly these bytes come */
    SAY,
    SLICE,   /* SAY, one byte at a time */
    FLOOD,   /* SAY, again and again, until nobody reads any more */
    SWALLOW, /* take length bytes, whatever they are */
    TELL,    /* add 1 to told */
    AWAIT,   /* until asked is length */
    HANG_UP, /* close the write side only */
    READ_TO_END
};

struct step {
    enum act act;
    const char *bytes;
    size_t length;
};

#define STEP(act, bytes, length)                                                                   \
    {                                                                                              \
        (act), (bytes), (length)                                                                   \
    }
#define EXPECTS(literal) STEP(EXPECT, literal, sizeof(literal) - 1)
#define SAYS(literal) STEP(SAY, literal, sizeof(literal) - 1)
#define SLICES(literal) STEP(SLICE, literal, sizeof(literal) - 1)
#define FLOODS(literal) STEP(FLOOD, literal, sizeof(literal) - 1)
#define SWALLOWS(size) STEP(SWALLOW, NULL, size)
#define TELLS STEP(TELL, NULL, 0)
#define AWAITS(number) STEP(AWAIT, NULL, number)
#define HANGS_UP STEP(HANG_UP, NULL, 0)
#define READS_TO_END STEP(READ_TO_END, NULL, 0)

#define NAME "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$4\r\ntest\r\n"
/* What every connection begins with. */
#define INTRODUCTION EXPECTS(NAME), SAYS("+OK\r\n")

struct fake {
    char dir[TEST_TEMPDIR_SIZE];
    char path[TEST_TEMPDIR_SIZE + 16];
    char shown[32];
    struct stile_settings settings;
    struct test_census before;
    int listener;
    pthread_t thread;
    const struct step *steps;
    size_t count;
    struct test_flag told;
    struct test_flag asked;
    int watched;       /* ask_when_full: the client's descriptor */
    const char *wrong; /* what did not go by the script; NULL: nothing */
};

/* Writes all, or tells that nobody reads any more. */
static bool say(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

static const char *play_step(struct fake *fake, int fd, const struct step *step)
{
    char bytes[65536];
    size_t done = 0;
    ssize_t moved = 1;

    switch (step->act) {
    case EXPECT:
        while (done < step->length && moved > 0) {
            moved = recv(fd, bytes + done, step->length - done, 0);
            done += moved > 0 ? (size_t)moved : 0;
        }
        if (done < step->length)
            return "too little came";
        return memcmp(bytes, step->bytes, done) == 0 ? NULL : "something else came";
    case SWALLOW:
        while (done < step->length && moved > 0) {
            size_t left = step->length - done;

            moved = recv(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);
            done += moved > 0 ? (size_t)moved : 0;
        }
        return done == step->length ? NULL : "too little came";
    case SAY: return say(fd, step->bytes, step->length) ? NULL : "nobody listens";
    case SLICE:
        for (; done < step->length; done++) {
            if (!say(fd, step->bytes + done, 1))
                return "nobody listens";
        }
        return NULL;
    case FLOOD:
        while (say(fd, step->bytes, step->length))
            continue;
        return NULL;
    case TELL: test_flag_add(&fake->told); return NULL;
    case AWAIT:
        return test_flag_wait(&fake->asked, (uint32_t)step->length, 20000) ? NULL : "nobody asked";
    case HANG_UP: shutdown(fd, SHUT_WR); return NULL;
    case READ_TO_END:
        while (recv(fd, bytes, sizeof(bytes), 0) > 0)
            continue;
        return NULL;
    }
    return "no such act";
}

static void *play(void *arg)
{
    struct fake *fake = arg;
    int fd = accept(fake->listener, NULL, NULL);

    for (size_t i = 0; i < fake->count && fake->wrong == NULL; i++)
        fake->wrong = play_step(fake, fd, &fake->steps[i]);
    close(fd);
    return NULL;
}

static void fake_start(struct fake *fake, const struct step *steps, size_t count)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memset(fake, 0, sizeof(*fake));
    fake->before = test_census_take();
    assert_true(test_tempdir_make(fake->dir));
    snprintf(fake->path, sizeof(fake->path), "%s/fake.sock", fake->dir);
    snprintf(fake->shown, sizeof(fake->shown), "unix://fake");
    fake->settings.path = fake->path;
    fake->settings.shown = fake->shown;
    fake->steps = steps;
    fake->count = count;
    memcpy(address.sun_path, fake->path, strlen(fake->path));
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_not_equal(fake->listener, -1);
    assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fake->listener, 5), 0);
    assert_int_equal(pthread_create(&fake->thread, NULL, play, fake), 0);
}

#define FAKE_START(fake, steps) fake_start((fake), (steps), sizeof(steps) / sizeof((steps)[0]))

/* After its thread was joined and the connection closed. */
static void fake_finish(struct fake *fake)
{
    close(fake->listener);
    test_tempdir_remove(fake->dir);
    if (fake->wrong != NULL)
        fail_msg("the server: %s", fake->wrong);
    assert_true(test_census_is_back(&fake->before));
}

/* After the connection was closed. */
static void fake_stop(struct fake *fake)
{
    pthread_join(fake->thread, NULL);
    fake_finish(fake);
}

static int64_t in_ms(int64_t ms)
{
    return stile__monotonic_ns() + ms * 1000000;
}

static struct redis_connection *connect_to(const struct stile_settings *settings,
                                           const struct redis_limits *limits)
{
    struct redis_connection *connection = NULL;
    stile_status status = stile__redis_connect(settings, "test", limits, in_ms(10000), &connection);

    if (status != STILE_OK)
        fail_msg("%s", stile_error_detail());
    assert_non_null(connection);
    return connection;
}

static const struct redis_reply *receive(struct redis_connection *connection)
{
    const struct redis_reply *reply = NULL;

    if (stile__redis_receive(connection, false, in_ms(10000), &reply) != STILE_OK)
        fail_msg("%s", stile_error_detail());
    assert_non_null(reply);
    return reply;
}

/* Sends a command of count arguments, each of them a string. */
static void send_command(struct redis_connection *connection, size_t count, ...)
{
    struct redis_buffer buffer;
    va_list list;

    stile__redis_buffer_init(&buffer);
    stile__redis_command(&buffer, count);
    va_start(list, count);
    for (size_t i = 0; i < count; i++)
        stile__redis_arg_text(&buffer, va_arg(list, const char *));
    va_end(list);
    assert_int_equal(stile__redis_send(connection, &buffer, in_ms(10000)), STILE_OK);
    stile__redis_buffer_fini(&buffer);
}

#define PING "*1\r\n$4\r\nPING\r\n"

/* A broken connection answers nothing any more. */
static void check_broken(struct redis_connection *connection)
{
    static const struct redis_reply none;
    const struct redis_reply *reply = &none;
    struct redis_buffer buffer;

    assert_true(stile__redis_broken(connection));
    stile__redis_buffer_init(&buffer);
    stile__redis_command(&buffer, 1);
    stile__redis_arg_text(&buffer, "PING");
    assert_int_equal(stile__redis_send(connection, &buffer, in_ms(1000)), STILE_UNREACHABLE);
    stile__redis_buffer_fini(&buffer);
    assert_int_equal(stile__redis_receive(connection, true, in_ms(1000), &reply),
                     STILE_UNREACHABLE);
    assert_ptr_equal(reply, &none);
}

/* ---- talking ------------------------------------------------------------ */

static void it_asks_and_is_answered(void **state)
{
    static const struct step steps[] = {INTRODUCTION,       EXPECTS(PING),        SAYS("+PONG\r\n"),
                                        EXPECTS(PING PING), SAYS("+1\r\n+2\r\n"), EXPECTS(PING),
                                        SLICES(mixed),      READS_TO_END};
    struct redis_connection *connection;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    assert_true(stile__redis_fd(connection) >= 0);
    assert_false(stile__redis_broken(connection));
    send_command(connection, 1, "PING");
    check_text(receive(connection), REDIS_STATUS, "PONG", 4);
    send_command(connection, 1, "PING");
    send_command(connection, 1, "PING");
    check_text(receive(connection), REDIS_STATUS, "1", 1);
    check_text(receive(connection), REDIS_STATUS, "2", 1);
    send_command(connection, 1, "PING");
    check_mixed(receive(connection));
    assert_false(stile__redis_broken(connection));
    stile__redis_close(connection, false);
    fake_stop(&fake);
    stile__redis_close(NULL, true);
}

static void a_request_without_memory_is_not_sent_and_breaks_nothing(void **state)
{
    static const struct step steps[] = {INTRODUCTION, EXPECTS(PING), SAYS("+PONG\r\n"),
                                        READS_TO_END};
    volatile size_t endless = SIZE_MAX;
    struct redis_connection *connection;
    struct redis_buffer buffer;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    stile__redis_buffer_init(&buffer);
    stile__redis_command(&buffer, 2);
    stile__redis_arg_text(&buffer, "GET");
    stile__redis_arg(&buffer, "x", endless);
    assert_int_equal(stile__redis_send(connection, &buffer, in_ms(1000)), STILE_NO_MEMORY);
    stile__redis_buffer_fini(&buffer);
    assert_false(stile__redis_broken(connection));
    send_command(connection, 1, "PING");
    check_text(receive(connection), REDIS_STATUS, "PONG", 4);
    stile__redis_close(connection, false);
    fake_stop(&fake);
}

static void a_wait_that_times_out_breaks_the_connection(void **state)
{
    static const struct step steps[] = {INTRODUCTION, SAYS("+half an ans"), READS_TO_END};
    const struct redis_reply *reply = NULL;
    struct redis_connection *connection;
    int64_t until;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    until = in_ms(50);
    assert_int_equal(stile__redis_receive(connection, false, until, &reply), STILE_TIMEOUT);
    assert_true(stile__monotonic_ns() >= until);
    assert_null(reply);
    assert_non_null(strstr(stile_error_detail(), "unix://fake"));
    check_broken(connection);
    stile__redis_close(connection, true);
    fake_stop(&fake);
}

static void a_quiet_wait_that_times_out_goes_on_where_it_was(void **state)
{
    static const struct step steps[] = {INTRODUCTION, SAYS("$11\r\nhalf "), TELLS,
                                        AWAITS(1),    SAYS("answer\r\n"),   READS_TO_END};
    const struct redis_reply *reply = NULL;
    struct redis_connection *connection;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    assert_true(test_flag_wait(&fake.told, 1, 10000));
    for (int i = 0; i < 3; i++)
        assert_int_equal(stile__redis_receive(connection, true, in_ms(10), &reply), STILE_TIMEOUT);
    assert_int_equal(stile__redis_receive(connection, true, 0, &reply), STILE_TIMEOUT);
    assert_null(reply);
    test_flag_set(&fake.asked, 1);
    assert_int_equal(stile__redis_receive(connection, true, in_ms(10000), &reply), STILE_OK);
    check_text(reply, REDIS_STRING, "half answer", 11);
    assert_false(stile__redis_broken(connection));
    stile__redis_close(connection, false);
    fake_stop(&fake);
}

static void a_reply_that_is_there_is_read_after_the_deadline_too(void **state)
{
    static const struct step steps[] = {INTRODUCTION, SAYS("+a\r\n+b\r\n"), TELLS, READS_TO_END};
    const struct redis_reply *reply = NULL;
    struct redis_connection *connection;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    assert_true(test_flag_wait(&fake.told, 1, 10000));
    assert_int_equal(stile__redis_receive(connection, true, 0, &reply), STILE_OK);
    check_text(reply, REDIS_STATUS, "a", 1);
    assert_int_equal(stile__redis_receive(connection, true, 0, &reply), STILE_OK);
    check_text(reply, REDIS_STATUS, "b", 1);
    assert_int_equal(stile__redis_receive(connection, true, 0, &reply), STILE_TIMEOUT);
    stile__redis_close(connection, false);
    fake_stop(&fake);
}

static void a_stream_that_ends_at_any_byte_is_unreachable(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < sizeof(mixed) - 1; cut++) {
        const struct step steps[] = {INTRODUCTION, {SAY, mixed, cut}, HANGS_UP, READS_TO_END};
        const struct redis_reply *reply = NULL;
        struct redis_connection *connection;
        struct fake fake;

        FAKE_START(&fake, steps);
        connection = connect_to(&fake.settings, &usual);
        assert_int_equal(stile__redis_receive(connection, false, in_ms(10000), &reply),
                         STILE_UNREACHABLE);
        assert_null(reply);
        check_broken(connection);
        stile__redis_close(connection, true);
        fake_stop(&fake);
    }
}

static void a_reply_that_is_no_resp_breaks_the_connection(void **state)
{
    static const struct step steps[] = {INTRODUCTION, SAYS("*2147483647\r\n"), READS_TO_END};
    const struct redis_reply *reply = NULL;
    struct redis_connection *connection;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    assert_int_equal(stile__redis_receive(connection, true, in_ms(10000), &reply), STILE_PROTOCOL);
    assert_string_equal(stile_error_detail(), "unix://fake: more elements than allowed");
    check_broken(connection);
    stile__redis_close(connection, true);
    fake_stop(&fake);
}

static void an_endless_line_is_cut_at_the_limit_of_bytes(void **state)
{
    static const struct step steps[] = {
        INTRODUCTION, SAYS("+"),
        FLOODS("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")};
    const struct redis_limits limits = {.bytes = 200000, .elements = 1000};
    const struct redis_reply *reply = NULL;
    struct redis_connection *connection;
    stile_status status;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &limits);
    watch_heap(0);
    status = stile__redis_receive(connection, false, in_ms(20000), &reply);
    unwatch_heap();
    assert_int_equal(status, STILE_PROTOCOL);
    assert_true(heap.peak < (long)MIB);
    check_broken(connection);
    stile__redis_close(connection, true);
    fake_stop(&fake);
}

static void a_server_that_never_stops_talking_does_not_move_the_deadline(void **state)
{
    /* So much at a time that there is always more to read. */
    static char line[65536];
    static const struct step steps[] = {INTRODUCTION, SAYS("+"), {FLOOD, line, sizeof(line)}};
    const struct redis_limits limits = {.bytes = 256 * MIB, .elements = 1000};
    const struct redis_reply *reply = NULL;
    struct redis_connection *connection;
    int64_t until;
    struct fake fake;

    (void)state;
    memset(line, 'a', sizeof(line));
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &limits);
    until = in_ms(50);
    assert_int_equal(stile__redis_receive(connection, false, until, &reply), STILE_TIMEOUT);
    assert_in_range(stile__monotonic_ns() - until, 0, 1000000000);
    stile__redis_close(connection, true);
    fake_stop(&fake);
}

static void ignore_signal(int number)
{
    (void)number;
}

static void signals_do_not_move_a_deadline(void **state)
{
    static const struct step steps[] = {INTRODUCTION, READS_TO_END};
    const struct itimerval storm = {.it_interval = {.tv_usec = 1000},
                                    .it_value = {.tv_usec = 1000}};
    const struct itimerval calm = {.it_value = {.tv_usec = 0}};
    struct sigaction action = {.sa_handler = ignore_signal}, old;
    const struct redis_reply *reply = NULL;
    struct redis_connection *connection;
    sigset_t alarms, mask;
    int64_t until;
    struct fake fake;

    (void)state;
    /* The server's thread is started without the signal. */
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, &mask);
    FAKE_START(&fake, steps);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    connection = connect_to(&fake.settings, &usual);
    assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &storm, NULL), 0);
    until = in_ms(200);
    assert_int_equal(stile__redis_receive(connection, false, until, &reply), STILE_TIMEOUT);
    assert_in_range(stile__monotonic_ns() - until, 0, 300000000);
    assert_int_equal(setitimer(ITIMER_REAL, &calm, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
    stile__redis_close(connection, true);
    fake_stop(&fake);
}

/* ---- sending ------------------------------------------------------------ */

#define LARGE_REQUEST (8 * MIB)

static void fill_large(struct redis_buffer *buffer)
{
    char *bytes = malloc(LARGE_REQUEST);

    assert_non_null(bytes);
    memset(bytes, 'r', LARGE_REQUEST);
    stile__redis_buffer_init(buffer);
    stile__redis_command(buffer, 1);
    stile__redis_arg(buffer, bytes, LARGE_REQUEST);
    assert_false(buffer->failed);
    free(bytes);
}

/* Tells the server to read once the socket takes no more. */
static void *ask_when_full(void *arg)
{
    struct fake *fake = arg;
    int fd = fake->watched;
    int waiting = 0, before = -1;

    while (waiting == 0 || waiting != before) {
        before = waiting;
        test_sleep_ms(5);
        if (ioctl(fd, SIOCOUTQ, &waiting) != 0)
            break;
    }
    test_flag_set(&fake->asked, 1);
    return NULL;
}

static void a_server_that_reads_late_gets_every_byte(void **state)
{
    static const struct step steps[] = {INTRODUCTION,
                                        AWAITS(1),
                                        EXPECTS("*1\r\n$8388608\r\nrrr"),
                                        SWALLOWS(LARGE_REQUEST - 3),
                                        EXPECTS("\r\n"),
                                        SAYS("+got it\r\n"),
                                        READS_TO_END};
    struct redis_connection *connection;
    struct redis_buffer buffer;
    pthread_t watcher;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    fill_large(&buffer);
    fake.watched = stile__redis_fd(connection);
    assert_int_equal(pthread_create(&watcher, NULL, ask_when_full, &fake), 0);
    assert_int_equal(stile__redis_send(connection, &buffer, in_ms(20000)), STILE_OK);
    pthread_join(watcher, NULL);
    check_text(receive(connection), REDIS_STATUS, "got it", 6);
    stile__redis_buffer_fini(&buffer);
    stile__redis_close(connection, false);
    fake_stop(&fake);
}

static void a_request_that_is_sent_in_part_breaks_the_connection(void **state)
{
    static const struct step steps[] = {INTRODUCTION, AWAITS(1), READS_TO_END};
    struct redis_connection *connection;
    struct redis_buffer buffer;
    int64_t until;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    fill_large(&buffer);
    until = in_ms(50);
    assert_int_equal(stile__redis_send(connection, &buffer, until), STILE_UNREACHABLE);
    assert_in_range(stile__monotonic_ns() - until, 0, 1000000000);
    check_broken(connection);
    test_flag_set(&fake.asked, 1);
    stile__redis_buffer_fini(&buffer);
    stile__redis_close(connection, true);
    fake_stop(&fake);
}

static void sending_to_a_server_that_went_is_unreachable_and_no_signal(void **state)
{
    static const struct step steps[] = {INTRODUCTION};
    struct redis_connection *connection;
    struct redis_buffer buffer;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    pthread_join(fake.thread, NULL);
    fill_large(&buffer);
    assert_int_equal(stile__redis_send(connection, &buffer, in_ms(10000)), STILE_UNREACHABLE);
    check_broken(connection);
    stile__redis_buffer_fini(&buffer);
    stile__redis_close(connection, true);
    fake_finish(&fake);
}

/* ---- what nobody asked for ---------------------------------------------- */

static void data_nobody_asked_for_breaks_the_connection(void **state)
{
    static const struct step steps[] = {INTRODUCTION, AWAITS(1), SAYS("+surprise\r\n"), TELLS,
                                        READS_TO_END};
    struct redis_connection *connection;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    assert_false(stile__redis_broken(connection));
    test_flag_set(&fake.asked, 1);
    assert_true(test_flag_wait(&fake.told, 1, 10000));
    assert_true(stile__redis_broken(connection));
    check_broken(connection);
    stile__redis_close(connection, true);
    fake_stop(&fake);
}

static void a_reply_too_many_breaks_the_connection(void **state)
{
    static const struct step steps[] = {INTRODUCTION, EXPECTS(PING), SAYS("+PONG\r\n+PONG\r\n"),
                                        READS_TO_END};
    struct redis_connection *connection;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    send_command(connection, 1, "PING");
    check_text(receive(connection), REDIS_STATUS, "PONG", 4);
    assert_true(stile__redis_broken(connection));
    check_broken(connection);
    stile__redis_close(connection, true);
    fake_stop(&fake);
}

static void a_connection_that_the_server_closed_is_broken(void **state)
{
    static const struct step steps[] = {INTRODUCTION, AWAITS(1), HANGS_UP, TELLS, READS_TO_END};
    struct redis_connection *connection;
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    connection = connect_to(&fake.settings, &usual);
    assert_false(stile__redis_broken(connection));
    test_flag_set(&fake.asked, 1);
    assert_true(test_flag_wait(&fake.told, 1, 10000));
    check_broken(connection);
    stile__redis_close(connection, true);
    fake_stop(&fake);
}

/* ---- the introduction --------------------------------------------------- */

#define AUTH "*3\r\n$4\r\nAUTH\r\n$5\r\nalice\r\n$10\r\nopen\r\n'se'\r\n"
#define AUTH_ALONE "*2\r\n$4\r\nAUTH\r\n$6\r\nsesame\r\n"
#define SELECT "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n"

static char alice[] = "alice";
static char odd_password[] = "open\r\n'se'";
static char password[] = "sesame";

static stile_status try_connect(const struct stile_settings *settings, int64_t timeout_ms)
{
    struct redis_connection *connection = NULL;
    stile_status status =
        stile__redis_connect(settings, "test", &usual, in_ms(timeout_ms), &connection);

    if (status != STILE_OK)
        assert_null(connection);
    stile__redis_close(connection, false);
    return status;
}

static void it_introduces_itself_in_one_write(void **state)
{
    static const struct step steps[] = {EXPECTS(AUTH SELECT NAME), SAYS("+OK\r\n+OK\r\n+OK\r\n"),
                                        READS_TO_END};
    struct fake fake;

    (void)state;
    FAKE_START(&fake, steps);
    fake.settings.user = alice;
    fake.settings.password = odd_password;
    fake.settings.db = 12;
    assert_int_equal(try_connect(&fake.settings, 10000), STILE_OK);
    fake_stop(&fake);
}

/* Connects with the password "sesame" and database 12 to a server that gives
 * these answers and closes. */
static stile_status introduced_to(const char *answers)
{
    const struct step steps[] = {
        EXPECTS(AUTH_ALONE SELECT NAME), {SAY, answers, strlen(answers)}, HANGS_UP, READS_TO_END};
    stile_status status;
    struct fake fake;

    FAKE_START(&fake, steps);
    fake.settings.password = password;
    fake.settings.db = 12;
    status = try_connect(&fake.settings, 10000);
    fake_stop(&fake);
    if (status != STILE_OK) {
        assert_non_null(strstr(stile_error_detail(), "unix://fake: "));
        assert_null(strstr(stile_error_detail(), "ses"));
    }
    return status;
}

static void each_answer_to_the_introduction_is_judged(void **state)
{
    static const struct {
        const char *answers;
        stile_status status;
        const char *detail;
    } cases[] = {
        {"+OK\r\n+OK\r\n+OK\r\n", STILE_OK, ""},
        {"-WRONGPASS invalid pair\r\n-NOAUTH x\r\n-NOAUTH x\r\n", STILE_AUTH,
         "AUTH: WRONGPASS invalid pair"},
        {"-NOAUTH Authentication required.\r\n", STILE_AUTH, "AUTH: NOAUTH"},
        {"-ERR Client sent AUTH, but no password is set\r\n", STILE_AUTH, "no password is set"},
        {"-ERR max number of clients reached\r\n", STILE_REFUSED, "max number of clients"},
        {"-DENIED Redis is running in protected mode\r\n", STILE_REFUSED, "protected mode"},
        {"-LOADING Redis is loading\r\n", STILE_REFUSED, "AUTH: LOADING"},
        {":1\r\n", STILE_PROTOCOL, "AUTH"},
        {"+QUEUED\r\n", STILE_PROTOCOL, "AUTH"},
        {"$-1\r\n", STILE_PROTOCOL, "AUTH"},
        {"+OK\r\n-ERR DB index is out of range\r\n+OK\r\n", STILE_REFUSED,
         "SELECT: ERR DB index is out of range"},
        {"+OK\r\n-NOAUTH Authentication required.\r\n", STILE_AUTH, "SELECT: NOAUTH"},
        {"+OK\r\n-NOPERM no select\r\n+OK\r\n", STILE_REFUSED, "SELECT: NOPERM"},
        {"+OK\r\n+OK\r\n-NOPERM no client\r\n", STILE_OK, ""},
        {"+OK\r\n+OK\r\n-ERR unknown command\r\n", STILE_REFUSED, "CLIENT SETNAME: ERR unknown"},
        {"+OK\r\n+OK\r\n-NOAUTH x\r\n", STILE_AUTH, "CLIENT SETNAME: NOAUTH"},
        {"+OK\r\n+OK\r\n*0\r\n", STILE_PROTOCOL, "CLIENT SETNAME"},
        /* What repeats the password, whole or cut, is not shown. */
        {"-ERR unknown command 'AUTH', with args beginning with: 'ses\r\n", STILE_AUTH,
         "AUTH: ERR unknown command "},
        {"-ERR do not know sesame\r\n", STILE_AUTH, "AUTH: "},
        {"+OK\r\n-ERR sesame\r\n", STILE_REFUSED, "SELECT: "},
        /* The server goes. */
        {"", STILE_UNREACHABLE, "closed the connection"},
        {"+OK\r\n", STILE_UNREACHABLE, "closed the connection"},
        {"+OK\r\n+OK\r\n", STILE_UNREACHABLE, "closed the connection"},
        {"+OK\r\n+OK\r\n+O", STILE_UNREACHABLE, "closed the connection"},
        {"HTTP/1.1 400\r\n", STILE_PROTOCOL, "unix://fake: "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stile_status status = introduced_to(cases[i].answers);

        if (status != cases[i].status)
            fail_msg("%d for: %s", status, cases[i].answers);
        if (status != STILE_OK && strstr(stile_error_detail(), cases[i].detail) == NULL)
            fail_msg("\"%s\" for: %s", stile_error_detail(), cases[i].answers);
    }
}

static void what_a_server_says_is_escaped_and_cut(void **state)
{
    char answers[2048];

    (void)state;
    strcpy(answers, "-NOPE \x1b[31m\n\xff");
    memset(answers + strlen(answers), 'z', 1000);
    strcpy(answers + 1012, "\r\n");
    assert_int_equal(introduced_to(answers), STILE_REFUSED);
    assert_non_null(strstr(stile_error_detail(), "NOPE \\x1b[31m\\x0a\\xffzzz"));
    assert_in_range(strlen(stile_error_detail()), 100, 160);
}

static void a_server_that_turns_away_at_once_is_heard(void **state)
{
    static const struct step steps[] = {SAYS("-ERR max number of clients reached\r\n")};

    (void)state;
    /* Which comes first, our request or the end, is the kernel's affair. */
    for (int i = 0; i < 50; i++) {
        struct fake fake;

        FAKE_START(&fake, steps);
        fake.settings.password = password;
        assert_int_equal(try_connect(&fake.settings, 10000), STILE_REFUSED);
        assert_non_null(strstr(stile_error_detail(), "max number of clients"));
        fake_stop(&fake);
    }
}

static void a_server_that_turns_away_while_it_is_written_to_is_heard(void **state)
{
    static const struct step steps[] = {SAYS("-ERR max number of clients reached\r\n")};
    struct redis_connection *connection = NULL;
    struct fake fake;
    char *name = malloc(LARGE_REQUEST);

    (void)state;
    assert_non_null(name);
    /* More than the kernel takes: sending ends when the server closes. */
    memset(name, 'n', LARGE_REQUEST);
    name[LARGE_REQUEST - 1] = '\0';
    FAKE_START(&fake, steps);
    assert_int_equal(stile__redis_connect(&fake.settings, name, &usual, in_ms(10000), &connection),
                     STILE_REFUSED);
    assert_non_null(strstr(stile_error_detail(), "max number of clients"));
    fake_stop(&fake);
    free(name);
}

static void a_server_that_closes_at_once_is_unreachable(void **state)
{
    struct fake fake;

    (void)state;
    fake_start(&fake, NULL, 0);
    assert_int_equal(try_connect(&fake.settings, 10000), STILE_UNREACHABLE);
    fake_stop(&fake);
}

static void a_server_that_does_not_answer_the_introduction_is_unreachable(void **state)
{
    static const struct step steps[] = {EXPECTS(NAME), READS_TO_END};
    struct fake fake;
    int64_t until;

    (void)state;
    FAKE_START(&fake, steps);
    until = in_ms(50);
    assert_int_equal(try_connect(&fake.settings, 50), STILE_UNREACHABLE);
    assert_in_range(stile__monotonic_ns() - until, 0, 1000000000);
    assert_non_null(strstr(stile_error_detail(), "no answer to CLIENT SETNAME in time"));
    fake_stop(&fake);
}

static void where_nobody_listens_it_is_unreachable(void **state)
{
    char shown[] = "unix:///none", path[TEST_TEMPDIR_SIZE + 16], dir[TEST_TEMPDIR_SIZE];
    struct stile_settings settings = {.path = path, .shown = shown};

    (void)state;
    assert_true(test_tempdir_make(dir));
    snprintf(path, sizeof(path), "%s/none", dir);
    assert_int_equal(try_connect(&settings, 1000), STILE_UNREACHABLE);
    assert_non_null(strstr(stile_error_detail(), "unix:///none: "));
    test_tempdir_remove(dir);
}

/* ---- a real server ------------------------------------------------------ */

static struct test_server server;
static char real_shown[] = "unix://real";
static char real_password[] = "correct horse";
static char wrong_password[] = "battery staple";
static char bob[] = "bob";
static char bob_password[] = "bob's own";

static int start_server(void **state)
{
    static const struct test_server_options options = {.password = real_password};
    char reply[64];

    (void)state;
    if (!test_server_start(&options, &server))
        return -1;
    return test_redis(&server, reply, sizeof(reply), "ACL", "SETUSER", "bob", "on", ">bob's own",
                      "~*", "+@all", "-client", NULL) == TEST_REPLY_OK
               ? 0
               : -1;
}

static int stop_server(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

static struct stile_settings real_settings(void)
{
    return (struct stile_settings){
        .path = server.path, .shown = real_shown, .password = real_password};
}

static void a_real_server_knows_its_password_and_its_users(void **state)
{
    struct stile_settings settings = real_settings();

    (void)state;
    assert_int_equal(try_connect(&settings, 10000), STILE_OK);
    settings.password = wrong_password;
    assert_int_equal(try_connect(&settings, 10000), STILE_AUTH);
    assert_non_null(strstr(stile_error_detail(), "unix://real: AUTH: WRONGPASS"));
    settings.password = NULL;
    assert_int_equal(try_connect(&settings, 10000), STILE_AUTH);
    settings.password = bob_password;
    assert_int_equal(try_connect(&settings, 10000), STILE_AUTH);
    settings.user = bob;
    assert_int_equal(try_connect(&settings, 10000), STILE_OK);
    settings.db = 99;
    assert_int_equal(try_connect(&settings, 10000), STILE_REFUSED);
    assert_non_null(strstr(stile_error_detail(), "SELECT: ERR DB index is out of range"));
}

static void a_real_server_knows_the_name_and_the_database(void **state)
{
    struct stile_settings settings = real_settings();
    struct redis_connection *connection;

    (void)state;
    settings.db = 3;
    connection = connect_to(&settings, &usual);
    send_command(connection, 2, "CLIENT", "GETNAME");
    check_text(receive(connection), REDIS_STRING, "test", 4);
    send_command(connection, 3, "SET", "here", "yes");
    check_text(receive(connection), REDIS_STATUS, "OK", 2);
    stile__redis_close(connection, false);
    settings.db = 0;
    connection = connect_to(&settings, &usual);
    send_command(connection, 2, "GET", "here");
    assert_int_equal(receive(connection)->type, REDIS_NIL);
    send_command(connection, 2, "SELECT", "3");
    check_text(receive(connection), REDIS_STATUS, "OK", 2);
    send_command(connection, 2, "GET", "here");
    check_text(receive(connection), REDIS_STRING, "yes", 3);
    assert_false(stile__redis_broken(connection));
    stile__redis_close(connection, false);
}

static void a_real_script_answers_with_nested_arrays(void **state)
{
    static const char script[] =
        "return {1, 'a\\0b', false, {redis.status_reply('FINE'), {}, {{-7}}}, "
        "{err = 'MINE said no'}}";
    struct stile_settings settings = real_settings();
    struct redis_connection *connection = connect_to(&settings, &usual);
    const struct redis_reply *reply;

    (void)state;
    send_command(connection, 3, "EVAL", script, "0");
    reply = receive(connection);
    assert_int_equal(reply->type, REDIS_ARRAY);
    assert_int_equal(reply->count, 5);
    assert_int_equal(reply->elements[0].integer, 1);
    check_text(&reply->elements[1], REDIS_STRING, "a\0b", 3);
    assert_int_equal(reply->elements[2].type, REDIS_NIL);
    assert_int_equal(reply->elements[3].count, 3);
    check_text(&reply->elements[3].elements[0], REDIS_STATUS, "FINE", 4);
    assert_int_equal(reply->elements[3].elements[1].count, 0);
    assert_int_equal(reply->elements[3].elements[2].elements[0].elements[0].integer, -7);
    assert_int_equal(reply->elements[4].type, REDIS_ERROR);
    send_command(connection, 2, "EVALSHA", "ffffffffffffffffffffffffffffffffffffffff");
    assert_int_equal(receive(connection)->type, REDIS_ERROR);
    send_command(connection, 1, "PING");
    check_text(receive(connection), REDIS_STATUS, "PONG", 4);
    stile__redis_close(connection, false);
}

static void large_values_and_long_pipelines_pass_a_real_server(void **state)
{
    const struct redis_limits limits = {.bytes = 2 * LARGE_REQUEST, .elements = 4096};
    struct stile_settings settings = real_settings();
    struct redis_connection *connection = connect_to(&settings, &limits);
    const struct redis_reply *reply;
    struct redis_buffer buffer;
    char *bytes = malloc(LARGE_REQUEST);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < LARGE_REQUEST; i++)
        bytes[i] = (char)(i * 31 + i / 256);
    stile__redis_buffer_init(&buffer);
    stile__redis_command(&buffer, 2);
    stile__redis_arg_text(&buffer, "ECHO");
    stile__redis_arg(&buffer, bytes, LARGE_REQUEST);
    assert_int_equal(stile__redis_send(connection, &buffer, in_ms(20000)), STILE_OK);
    reply = receive(connection);
    assert_int_equal(reply->length, LARGE_REQUEST);
    assert_int_equal(memcmp(reply->text, bytes, LARGE_REQUEST), 0);
    free(bytes);
    stile__redis_buffer_reset(&buffer);
    for (int i = 0; i < 10000; i++) {
        stile__redis_command(&buffer, 2);
        stile__redis_arg_text(&buffer, "ECHO");
        stile__redis_arg_int(&buffer, i);
    }
    assert_int_equal(stile__redis_send(connection, &buffer, in_ms(20000)), STILE_OK);
    for (int i = 0; i < 10000; i++) {
        char digits[16];
        int length = snprintf(digits, sizeof(digits), "%d", i);

        check_text(receive(connection), REDIS_STRING, digits, (size_t)length);
    }
    assert_false(stile__redis_broken(connection));
    stile__redis_buffer_fini(&buffer);
    stile__redis_close(connection, false);
}

static void at_ease_a_round_trip_allocates_nothing(void **state)
{
    struct stile_settings settings = real_settings();
    struct redis_connection *connection = connect_to(&settings, &usual);
    struct redis_buffer buffer;
    stile_status failed = STILE_OK;

    (void)state;
    stile__redis_buffer_init(&buffer);
    for (int i = 0; i < 500 && failed == STILE_OK; i++) {
        const struct redis_reply *reply;

        if (i == 100)
            watch_heap(0);
        stile__redis_buffer_reset(&buffer);
        stile__redis_command(&buffer, 3);
        stile__redis_arg_text(&buffer, "EVAL");
        stile__redis_arg_text(&buffer, "return {1, {'two', 3}, 'four'}");
        stile__redis_arg_int(&buffer, 0);
        failed = stile__redis_send(connection, &buffer, in_ms(10000));
        if (failed == STILE_OK)
            failed = stile__redis_receive(connection, false, in_ms(10000), &reply);
    }
    unwatch_heap();
    assert_int_equal(failed, STILE_OK);
    assert_int_equal(heap.count, 0);
    stile__redis_buffer_fini(&buffer);
    stile__redis_close(connection, false);
}

#if !SANITIZED
static void every_allocation_of_a_connection_may_fail(void **state)
{
    struct stile_settings settings = real_settings();
    struct test_census before = test_census_take();
    unsigned failed = 0;

    (void)state;
    for (unsigned long fail = 1;; fail++) {
        struct redis_connection *connection = NULL;
        const struct redis_reply *reply;
        struct redis_buffer buffer;
        stile_status status;

        watch_heap(fail);
        stile__redis_buffer_init(&buffer);
        status = stile__redis_connect(&settings, "test", &usual, in_ms(10000), &connection);
        if (status == STILE_OK) {
            stile__redis_command(&buffer, 3);
            stile__redis_arg_text(&buffer, "EVAL");
            stile__redis_arg_text(&buffer, "return {string.rep('x', 40000), {'two', 3}, 'four'}");
            stile__redis_arg_int(&buffer, 0);
            status = stile__redis_send(connection, &buffer, in_ms(10000));
        }
        if (status == STILE_OK)
            status = stile__redis_receive(connection, false, in_ms(10000), &reply);
        stile__redis_buffer_fini(&buffer);
        stile__redis_close(connection, true);
        unwatch_heap();
        assert_int_equal(heap.live, 0);
        if (heap.count < fail) {
            assert_int_equal(status, STILE_OK);
            break;
        }
        assert_int_equal(status, STILE_NO_MEMORY);
        failed++;
    }
    assert_true(failed >= 8);
    assert_true(test_census_is_back(&before));
}
#endif

static void *do_nothing(void *arg)
{
    return arg;
}

int main(void)
{
    static const struct CMUnitTest pure[] = {
        cmocka_unit_test(a_request_is_written_as_resp2_wants_it),
        cmocka_unit_test(any_arguments_survive_the_encoder),
        cmocka_unit_test(a_failed_buffer_stays_failed_until_it_is_reset),
        cmocka_unit_test(a_buffer_in_use_allocates_nothing_more),
        cmocka_unit_test(every_type_of_reply_is_read),
        cmocka_unit_test(a_reply_may_come_in_any_two_pieces_or_byte_by_byte),
        cmocka_unit_test(replies_that_come_together_are_read_one_by_one),
        cmocka_unit_test(what_is_not_resp2_is_refused),
        cmocka_unit_test(a_short_reply_is_read_in_place_as_hiredis_reads_it),
        cmocka_unit_test(arrays_may_be_nested_seven_deep),
        cmocka_unit_test(headers_that_promise_too_much_are_refused_at_once),
        cmocka_unit_test(an_endless_reply_ends_at_the_limit),
        cmocka_unit_test(the_limit_of_bytes_is_exact),
        cmocka_unit_test(the_limit_of_elements_is_for_the_whole_reply),
        cmocka_unit_test(more_elements_than_the_bytes_can_hold_are_refused),
        cmocka_unit_test(at_ease_no_reply_allocates),
        cmocka_unit_test(what_a_large_reply_needed_is_given_back),
#if !SANITIZED
        cmocka_unit_test(every_allocation_of_the_parser_may_fail),
#endif
    };
    static const struct CMUnitTest scripted[] = {
        cmocka_unit_test(it_asks_and_is_answered),
        cmocka_unit_test(a_request_without_memory_is_not_sent_and_breaks_nothing),
        cmocka_unit_test(a_wait_that_times_out_breaks_the_connection),
        cmocka_unit_test(a_quiet_wait_that_times_out_goes_on_where_it_was),
        cmocka_unit_test(a_reply_that_is_there_is_read_after_the_deadline_too),
        cmocka_unit_test(a_stream_that_ends_at_any_byte_is_unreachable),
        cmocka_unit_test(a_reply_that_is_no_resp_breaks_the_connection),
        cmocka_unit_test(an_endless_line_is_cut_at_the_limit_of_bytes),
        cmocka_unit_test(a_server_that_never_stops_talking_does_not_move_the_deadline),
        cmocka_unit_test(signals_do_not_move_a_deadline),
        cmocka_unit_test(a_server_that_reads_late_gets_every_byte),
        cmocka_unit_test(a_request_that_is_sent_in_part_breaks_the_connection),
        cmocka_unit_test(sending_to_a_server_that_went_is_unreachable_and_no_signal),
        cmocka_unit_test(data_nobody_asked_for_breaks_the_connection),
        cmocka_unit_test(a_reply_too_many_breaks_the_connection),
        cmocka_unit_test(a_connection_that_the_server_closed_is_broken),
        cmocka_unit_test(it_introduces_itself_in_one_write),
        cmocka_unit_test(each_answer_to_the_introduction_is_judged),
        cmocka_unit_test(what_a_server_says_is_escaped_and_cut),
        cmocka_unit_test(a_server_that_turns_away_at_once_is_heard),
        cmocka_unit_test(a_server_that_turns_away_while_it_is_written_to_is_heard),
        cmocka_unit_test(a_server_that_closes_at_once_is_unreachable),
        cmocka_unit_test(a_server_that_does_not_answer_the_introduction_is_unreachable),
        cmocka_unit_test(where_nobody_listens_it_is_unreachable),
    };
    static const struct CMUnitTest real[] = {
        cmocka_unit_test(a_real_server_knows_its_password_and_its_users),
        cmocka_unit_test(a_real_server_knows_the_name_and_the_database),
        cmocka_unit_test(a_real_script_answers_with_nested_arrays),
        cmocka_unit_test(large_values_and_long_pipelines_pass_a_real_server),
        cmocka_unit_test(at_ease_a_round_trip_allocates_nothing),
#if !SANITIZED
        cmocka_unit_test(every_allocation_of_a_connection_may_fail),
#endif
    };
    pthread_t first;
    int failed = 0;

    install_heap();
    /* The thread sanitizer starts a thread of its own along with the first one:
     * it is to be there before any are counted. */
    if (pthread_create(&first, NULL, do_nothing, NULL) != 0)
        return 1;
    pthread_join(first, NULL);
    failed += cmocka_run_group_tests(pure, NULL, NULL);
    failed += cmocka_run_group_tests(scripted, NULL, NULL);
    failed += cmocka_run_group_tests(real, start_server, stop_server);
    return failed;
}
