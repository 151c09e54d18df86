/*
 * One connection to a Redis server, used by one thread at a time: our socket and
 * our encoder; hiredis parses the replies, but for the shortest, and does nothing else.
 *
 * A connection that saw a timeout, an I/O error or a protocol error is broken:
 * it answers nothing any more and is to be closed, never used again, since a
 * late reply would be read as the answer to something else.
 */
#ifndef STILE_REDIS_CONNECTION_H
#define STILE_REDIS_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stile/status.h>

#include "settings.h"

/* ---- requests: RESP2, every argument with its length ------------------------ */

/* Bytes that grow.  After a failed allocation it stays failed until reset, so
 * that a run of appends is checked once. */
struct redis_buffer {
    char *bytes;
    size_t length;
    size_t capacity;
    bool failed;
};

void stile__redis_buffer_init(struct redis_buffer *buffer);
void stile__redis_buffer_fini(struct redis_buffer *buffer);
/* Forgets the contents, keeps the memory. */
void stile__redis_buffer_reset(struct redis_buffer *buffer);
/* Starts a command of count arguments, its name included; then each of them. */
void stile__redis_command(struct redis_buffer *buffer, size_t count);
void stile__redis_arg(struct redis_buffer *buffer, const void *bytes, size_t length);
void stile__redis_arg_text(struct redis_buffer *buffer, const char *text);
void stile__redis_arg_int(struct redis_buffer *buffer, int64_t value);

/* ---- replies ----------------------------------------------------------------- */

enum redis_type {
    REDIS_NIL,
    REDIS_STATUS, /* text, such as OK */
    REDIS_ERROR,  /* text, such as NOSCRIPT No matching script */
    REDIS_STRING, /* text, any bytes; a NUL follows that length does not count */
    REDIS_INTEGER,
    REDIS_ARRAY
};

struct redis_reply {
    enum redis_type type;
    int64_t integer;
    const char *text;
    size_t length; /* of text */
    size_t count;  /* of elements */
    const struct redis_reply *elements;
};

/* What a server may make this process store for one reply.  More is a protocol
 * error.  Checked before anything is allocated for it. */
struct redis_limits {
    size_t bytes;    /* of the whole reply on the wire */
    size_t elements; /* of one array, and of a whole reply together */
};

/* ---- the connection ------------------------------------------------------------ */

struct redis_connection;

/*
 * Connects and introduces itself, all by until_ns: AUTH, SELECT, CLIENT SETNAME
 * client_name.  STILE_UNREACHABLE, STILE_AUTH (WRONGPASS, NOAUTH, or an ERR
 * answer to AUTH), STILE_REFUSED (any other error reply), STILE_PROTOCOL or
 * STILE_NO_MEMORY leave nothing behind; the detail names the server (settings->shown)
 * and the reason.  NOPERM on CLIENT SETNAME is no failure: the name is a
 * convenience.
 */
stile_status stile__redis_connect(const struct stile_settings *settings, const char *client_name,
                                  const struct redis_limits *limits, int64_t until_ns,
                                  struct redis_connection **out);
/* NULL does nothing. reset: nothing that lies in the socket may still arrive. */
void stile__redis_close(struct redis_connection *connection, bool reset);

/* The descriptor, for poll; and to shut from another thread. */
int stile__redis_fd(const struct redis_connection *connection);
/* Whether it failed, or the server closed it: looks at the socket without
 * waiting.  Data that nobody asked for counts as broken, too. */
bool stile__redis_broken(struct redis_connection *connection);

/*
 * Writes all of the buffer by until_ns.  STILE_OK; STILE_UNREACHABLE when not
 * every byte was handed to the socket: the server will not execute the last
 * command in it.  Then the connection is broken.
 */
stile_status stile__redis_send(struct redis_connection *connection,
                               const struct redis_buffer *buffer, int64_t until_ns);

/* Until then: takes what is there, and does not wait. */
#define REDIS_AT_ONCE INT64_MIN

/*
 * Reads one reply by until_ns.  STILE_OK: *reply is valid until the next call on
 * this connection; an error reply is STILE_OK, too.  STILE_TIMEOUT: none came;
 * STILE_UNREACHABLE: the connection ended; STILE_PROTOCOL; STILE_NO_MEMORY: all of
 * these break the connection.  While at ease it allocates nothing: reply memory
 * is kept and used again.
 *
 * quiet: a STILE_TIMEOUT does not break it (for the push connection, which waits for
 * what may never come).
 */
stile_status stile__redis_receive(struct redis_connection *connection, bool quiet, int64_t until_ns,
                                  const struct redis_reply **reply);
/* Whether more than that reply was read, perhaps not all of the next; or is probably there. */
bool stile__redis_has_more(const struct redis_connection *connection);

#endif
