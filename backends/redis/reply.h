/*
 * From bytes to a struct redis_reply: hiredis's reader parses, and what it finds
 * is put into memory that one connection keeps for all its replies.  The shortest are
 * read where they are, which costs a fifth of that.
 *
 * The nodes and the text of a reply lie in two arrays that grow.  While a reply
 * is parsed, its nodes refer to each other and to the text by position, since
 * either array may move; they get their pointers when the reply is complete.
 */
#ifndef STILE_REDIS_REPLY_H
#define STILE_REDIS_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include <hiredis/hiredis.h>

#include <stile/status.h>

#include "connection.h"

struct redis_parser {
    redisReader *reader; /* its privdata is this parser */
    struct redis_limits limits;

    struct redis_reply *nodes; /* the first is the reply itself */
    size_t node_count;
    size_t node_capacity;
    char *text;
    size_t text_length;
    size_t text_capacity;

    /* Bytes the reader was given since the last complete reply ended; never
     * more than limits.bytes. */
    size_t fed;
    size_t largest;  /* what the largest reply needed, in bytes of one array */
    unsigned smalls; /* replies since the last large one */

    /* Why the reader was told to stop; STILE_OK if it was not. */
    stile_status fault;
    /* With a failed parse: for people. May hold bytes of the server. */
    const char *reason;
};

/* STILE_OK or STILE_NO_MEMORY.  The parser must not move while it lives. */
stile_status stile__redis_parser_init(struct redis_parser *parser,
                                      const struct redis_limits *limits);
void stile__redis_parser_fini(struct redis_parser *parser);

/*
 * Takes *used of size bytes and looks for one reply in all it has taken.
 * STILE_OK: *reply, valid until the next parse; or NULL, more bytes are needed
 * and all were taken.  STILE_PROTOCOL, STILE_NO_MEMORY: reason is set, and the
 * parser is of no use any more.
 */
stile_status stile__redis_parse(struct redis_parser *parser, const char *bytes, size_t size,
                                size_t *used, const struct redis_reply **reply);

/* Whether it has bytes that belong to no reply it gave out. */
bool stile__redis_parser_pending(const struct redis_parser *parser);

#endif
