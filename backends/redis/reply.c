#include "reply.h"

#include <assert.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Arrays inside one another; the scripts need three. */
#define DEPTH_MAX 7
/* The shortest element there is, such as "+\r\n". */
#define ELEMENT_BYTES_MIN 3
/* hiredis counts the bytes of its buffer in an int here and there. */
#define READER_BYTES_MAX ((size_t)INT_MAX - 65536)
/* A reply that needs more is large: what it needed is given back after so many
 * small ones, and not at once, since large ones often come in rows. */
#define LARGE_BYTES ((size_t)65536)
#define SMALLS_MAX 64

/* ---- memory ---------------------------------------------------------------- */

/* Makes an array of items of size bytes have room for needed of them. */
static bool grow(void **array, size_t *capacity, size_t size, size_t needed)
{
    size_t larger = *capacity;
    void *moved;

    if (needed <= *capacity)
        return true;
    if (needed > SIZE_MAX / 2 / size)
        return false;
    if (larger < 32)
        larger = 32;
    while (larger < needed)
        larger *= 2;
    moved = realloc(*array, larger * size);
    if (moved == NULL)
        return false;
    *array = moved;
    *capacity = larger;
    return true;
}

static bool grow_nodes(struct redis_parser *parser, size_t more)
{
    void *array = parser->nodes;
    bool grown =
        grow(&array, &parser->node_capacity, sizeof(*parser->nodes), parser->node_count + more);

    parser->nodes = array;
    return grown;
}

static bool grow_text(struct redis_parser *parser, size_t more)
{
    void *array = parser->text;
    bool grown = grow(&array, &parser->text_capacity, 1, parser->text_length + more);

    parser->text = array;
    return grown;
}

/* ---- what the reader calls --------------------------------------------------
 * An object is the position of its node, plus one: NULL makes the reader fail. */

static void *stop(struct redis_parser *parser, stile_status fault, const char *reason)
{
    parser->fault = fault;
    parser->reason = reason;
    return NULL;
}

static void *object_of(size_t position)
{
    return (void *)(uintptr_t)(position + 1);
}

static size_t position_of(const void *object)
{
    return (size_t)(uintptr_t)object - 1;
}

/* The node for what is read now: the root of a new reply, or the next of the
 * nodes that its array reserved.  NULL: no memory. */
static struct redis_reply *node_of(struct redis_parser *parser, const redisReadTask *task)
{
    struct redis_reply *node;

    if (task->parent == NULL) {
        parser->node_count = 0;
        parser->text_length = 0;
        if (!grow_nodes(parser, 1))
            return NULL;
        parser->node_count = 1;
        node = &parser->nodes[0];
    } else {
        const struct redis_reply *array = &parser->nodes[position_of(task->parent->obj)];

        node = &parser->nodes[(size_t)array->integer + (size_t)task->idx];
    }
    memset(node, 0, sizeof(*node));
    return node;
}

static void *create_string(const redisReadTask *task, char *bytes, size_t length)
{
    struct redis_parser *parser = task->privdata;
    struct redis_reply *node;
    enum redis_type type;

    if (task->type == REDIS_REPLY_STRING)
        type = REDIS_STRING;
    else if (task->type == REDIS_REPLY_STATUS)
        type = REDIS_STATUS;
    else if (task->type == REDIS_REPLY_ERROR)
        type = REDIS_ERROR;
    else
        return stop(parser, STILE_PROTOCOL, "a type that RESP2 does not have");
    /* The reader has the two bytes after the text in its buffer, and skips them
     * without a look when the text came with its length. */
    if (bytes[length] != '\r' || bytes[length + 1] != '\n')
        return stop(parser, STILE_PROTOCOL, "a string does not end where it should");
    node = node_of(parser, task);
    if (node == NULL || !grow_text(parser, length + 1))
        return stop(parser, STILE_NO_MEMORY, "no memory for the answer");
    node->type = type;
    node->integer = (int64_t)parser->text_length;
    node->length = length;
    memcpy(parser->text + parser->text_length, bytes, length);
    parser->text[parser->text_length + length] = '\0';
    parser->text_length += length + 1;
    return object_of((size_t)(node - parser->nodes));
}

static int depth_of(const redisReadTask *task)
{
    int depth = 1;

    while (task->parent != NULL) {
        task = task->parent;
        depth++;
    }
    return depth;
}

/* The elements that the arrays of this reply have together so far. */
static size_t elements_so_far(const struct redis_parser *parser, const redisReadTask *task)
{
    return task->parent == NULL ? 0 : parser->node_count - 1;
}

static void *array_of(const redisReadTask *task, size_t count)
{
    struct redis_parser *parser = task->privdata;
    struct redis_reply *node;
    size_t position;

    if (task->type != REDIS_REPLY_ARRAY)
        return stop(parser, STILE_PROTOCOL, "a type that RESP2 does not have");
    if (depth_of(task) > DEPTH_MAX)
        return stop(parser, STILE_PROTOCOL, "arrays nested too deep");
    if (count > parser->limits.elements - elements_so_far(parser, task) ||
        count > parser->limits.bytes / ELEMENT_BYTES_MIN)
        return stop(parser, STILE_PROTOCOL, "more elements than allowed");
    node = node_of(parser, task);
    if (node == NULL)
        return stop(parser, STILE_NO_MEMORY, "no memory for the answer");
    position = (size_t)(node - parser->nodes);
    if (!grow_nodes(parser, count))
        return stop(parser, STILE_NO_MEMORY, "no memory for the answer");
    node = &parser->nodes[position];
    node->type = REDIS_ARRAY;
    node->integer = (int64_t)parser->node_count;
    node->count = count;
    parser->node_count += count;
    return object_of(position);
}

#if HIREDIS_MAJOR >= 1
static void *create_array(const redisReadTask *task, size_t count)
{
    return array_of(task, count);
}
#else
static void *create_array(const redisReadTask *task, int count)
{
    if (count < 0)
        return stop(task->privdata, STILE_PROTOCOL, "an array of less than no elements");
    return array_of(task, (size_t)count);
}
#endif

static void *create_integer(const redisReadTask *task, long long value)
{
    struct redis_parser *parser = task->privdata;
    struct redis_reply *node = node_of(parser, task);

    if (node == NULL)
        return stop(parser, STILE_NO_MEMORY, "no memory for the answer");
    node->type = REDIS_INTEGER;
    node->integer = value;
    return object_of((size_t)(node - parser->nodes));
}

static void *create_nil(const redisReadTask *task)
{
    struct redis_parser *parser = task->privdata;
    struct redis_reply *node;

    /* RESP2 knows the string and the array that are not there. */
    if (task->type != REDIS_REPLY_STRING && task->type != REDIS_REPLY_ARRAY)
        return stop(parser, STILE_PROTOCOL, "a type that RESP2 does not have");
    node = node_of(parser, task);
    if (node == NULL)
        return stop(parser, STILE_NO_MEMORY, "no memory for the answer");
    node->type = REDIS_NIL;
    return object_of((size_t)(node - parser->nodes));
}

#if HIREDIS_MAJOR >= 1
static void *create_double(const redisReadTask *task, double value, char *text, size_t length)
{
    (void)value;
    (void)text;
    (void)length;
    return stop(task->privdata, STILE_PROTOCOL, "a type that RESP2 does not have");
}

static void *create_bool(const redisReadTask *task, int value)
{
    (void)value;
    return stop(task->privdata, STILE_PROTOCOL, "a type that RESP2 does not have");
}
#endif

/* Not const, because hiredis takes it so; nobody writes to it. */
static redisReplyObjectFunctions reply_functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
#if HIREDIS_MAJOR >= 1
    .createDouble = create_double,
    .createBool = create_bool,
#endif
    .freeObject = NULL,
};

/* ---- the parser -------------------------------------------------------------- */

static redisReader *reader_create(struct redis_parser *parser)
{
    redisReader *reader = redisReaderCreateWithFunctions(&reply_functions);

    if (reader == NULL)
        return NULL;
    reader->privdata = parser;
    /* The reader is not to free its buffer on its own: it would do so for many
     * a reply, and assert that the next allocation works. */
    reader->maxbuf = 0;
    return reader;
}

stile_status stile__redis_parser_init(struct redis_parser *parser,
                                      const struct redis_limits *limits)
{
    memset(parser, 0, sizeof(*parser));
    parser->limits = *limits;
    if (parser->limits.bytes > READER_BYTES_MAX)
        parser->limits.bytes = READER_BYTES_MAX;
    parser->reader = reader_create(parser);
    return parser->reader != NULL ? STILE_OK : STILE_NO_MEMORY;
}

void stile__redis_parser_fini(struct redis_parser *parser)
{
    if (parser->reader != NULL)
        redisReaderFree(parser->reader);
    free(parser->nodes);
    free(parser->text);
    memset(parser, 0, sizeof(*parser));
}

/* Gives back what large replies needed, once there were only small ones for a
 * while.  Called between replies, when the reader has nothing. */
static void trim(struct redis_parser *parser)
{
    redisReader *fresh;

    if (parser->largest <= LARGE_BYTES || parser->smalls < SMALLS_MAX)
        return;
    fresh = reader_create(parser);
    if (fresh == NULL)
        return;
    redisReaderFree(parser->reader);
    parser->reader = fresh;
    free(parser->nodes);
    free(parser->text);
    parser->nodes = NULL;
    parser->text = NULL;
    parser->node_count = parser->node_capacity = 0;
    parser->text_length = parser->text_capacity = 0;
    parser->largest = 0;
}

static void note_size(struct redis_parser *parser, size_t wire_bytes)
{
    size_t bytes = parser->node_count * sizeof(*parser->nodes);

    /* The text of a reply is no longer than its bytes on the wire. */
    if (bytes < wire_bytes)
        bytes = wire_bytes;
    if (bytes > parser->largest)
        parser->largest = bytes;
    if (bytes > LARGE_BYTES)
        parser->smalls = 0;
    else if (parser->smalls < SMALLS_MAX)
        parser->smalls++;
}

/* Whether the reader waits for a string of which is known already that it does
 * not fit: the rest need not be waited for. */
static bool string_too_long(const struct redis_parser *parser)
{
    const redisReader *reader = parser->reader;
    const char *digit = reader->buf + reader->pos;
    const char *end = reader->buf + reader->len;
    size_t length = 0;

#if HIREDIS_MAJOR >= 1
    if (reader->ridx < 0 || reader->task[reader->ridx]->type != REDIS_REPLY_STRING)
        return false;
#else
    if (reader->ridx < 0 || reader->rstack[reader->ridx].type != REDIS_REPLY_STRING)
        return false;
#endif
    for (; digit < end && *digit >= '0' && *digit <= '9'; digit++) {
        if (length > parser->limits.bytes / 10)
            return true;
        length = length * 10 + (size_t)(*digit - '0');
    }
    return length > parser->limits.bytes;
}

static stile_status failed(struct redis_parser *parser)
{
    if (parser->fault != STILE_OK)
        return parser->fault;
    parser->reason = parser->reader->errstr;
    return parser->reader->err == REDIS_ERR_OOM ? STILE_NO_MEMORY : STILE_PROTOCOL;
}

/* Turns positions into pointers. */
static void settle_nodes(struct redis_parser *parser)
{
    for (size_t i = 0; i < parser->node_count; i++) {
        struct redis_reply *node = &parser->nodes[i];

        switch (node->type) {
        case REDIS_STATUS:
        case REDIS_ERROR:
        case REDIS_STRING:
            node->text = parser->text + node->integer;
            node->integer = 0;
            break;
        case REDIS_ARRAY:
            node->elements = parser->nodes + node->integer;
            node->integer = 0;
            break;
        case REDIS_NIL:
        case REDIS_INTEGER: break;
        }
    }
}

/* Reads ":", a number of at most 18 digits and the end of the line.  Returns the length
 * of it all, or 0: it is not that. */
static size_t read_number(const char *bytes, size_t size, int64_t *number)
{
    bool negative = size > 1 && bytes[1] == '-';
    size_t first = negative ? 2 : 1, at = first;

    *number = 0;
    for (; at < size && at - first < 18 && bytes[at] >= '0' && bytes[at] <= '9'; at++)
        *number = *number * 10 + (bytes[at] - '0');
    if (at == first || size - at < 2 || bytes[at] != '\r' || bytes[at + 1] != '\n')
        return 0;
    /* No zeros in front. */
    if (bytes[first] == '0' && at != 2)
        return 0;
    if (negative)
        *number = -*number;
    return at + 2;
}

/*
 * Most replies are a number, OK or nothing, and are there as a whole: these are read
 * where they are.  Whatever looks otherwise is the reader's to judge.  Returns the length
 * of the reply, or 0.
 */
static size_t parse_short(struct redis_parser *parser, const char *bytes, size_t size)
{
    static const char ok[] = "+OK\r\n", nil[] = "$-1\r\n";
    struct redis_reply found = {.type = REDIS_NIL};
    size_t length = sizeof ok - 1;

    /* Memory is made, and given back, by the others. */
    if (size < 4 || parser->fed > 0 || parser->node_capacity == 0 || parser->largest > LARGE_BYTES)
        return 0;
    if (bytes[0] == ':') {
        found.type = REDIS_INTEGER;
        length = read_number(bytes, size, &found.integer);
    } else if (size >= length && memcmp(bytes, ok, length) == 0) {
        found.type = REDIS_STATUS;
        found.text = "OK";
        found.length = 2;
    } else if (size < length || memcmp(bytes, nil, length) != 0) {
        return 0;
    }
    if (length == 0 || length > parser->limits.bytes)
        return 0;
    parser->node_count = 1;
    parser->nodes[0] = found;
    note_size(parser, length);
    return length;
}

stile_status stile__redis_parse(struct redis_parser *parser, const char *bytes, size_t size,
                                size_t *used, const struct redis_reply **reply)
{
    size_t room = parser->limits.bytes - parser->fed;
    void *root = NULL;

    *used = parse_short(parser, bytes, size);
    *reply = *used > 0 ? parser->nodes : NULL;
    /* Read, or there is nothing to read. */
    if (*used > 0 || (size == 0 && parser->fed == 0))
        return STILE_OK;
    if (size > room)
        size = room;
    *used = size;
    if (parser->fed == 0)
        trim(parser);
    if (size > 0) {
        if (redisReaderFeed(parser->reader, bytes, size) != REDIS_OK)
            return failed(parser);
        parser->fed += size;
    }
    if (redisReaderGetReply(parser->reader, &root) != REDIS_OK)
        return failed(parser);
    if (root == NULL) {
        if (parser->fed < parser->limits.bytes && !string_too_long(parser))
            return STILE_OK;
        parser->reason = "an answer longer than allowed";
        return STILE_PROTOCOL;
    }
    assert(position_of(root) == 0);
    size = parser->reader->len - parser->reader->pos;
    note_size(parser, parser->fed - size);
    parser->fed = size;
    settle_nodes(parser);
    *reply = parser->nodes;
    return STILE_OK;
}

bool stile__redis_parser_pending(const struct redis_parser *parser)
{
    return parser->fed > 0;
}
