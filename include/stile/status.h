/*
 * What a call may answer.
 *
 * Every call that can fail returns a stile_status and writes its outputs only
 * with STILE_OK.  Branch on the status; the text of stile_error_detail() is for
 * people.
 */
#ifndef STILE_STATUS_H
#define STILE_STATUS_H

#include <stile/api.h>

STILE_BEGIN_DECLS

typedef enum stile_status {
    /* Done. */
    STILE_OK = 0,

    /* Outcomes of normal life. */

    /* It was surely not acquired or applied in the time given. */
    STILE_TIMEOUT = 1,
    /* Another thread ended the wait. */
    STILE_CANCELLED = 2,
    /* The space or the object was closed. */
    STILE_CLOSED = 3,
    /* A buffer had no room, and the timeout was 0. */
    STILE_FULL = 4,
    /* A buffer had no item, and the timeout was 0. */
    STILE_EMPTY = 5,
    /* There is no such object or value. */
    STILE_MISSING = 6,
    /* It exists already. */
    STILE_EXISTS = 7,
    /* It is there in another version than the caller named. */
    STILE_CONFLICT = 8,
    /* The hold's lease ended before the call: others may have the object. */
    STILE_LOST = 9,
    /* The hold was never taken, was released, or is of another object. */
    STILE_NOT_HELD = 10,
    /* Somebody else broke the barrier. */
    STILE_BROKEN = 11,
    /* Waiting would never end: the caller itself is in the way. */
    STILE_DEADLOCK = 12,
    /* A limiter said no. */
    STILE_DENIED = 13,
    /* The object exists with other parameters than those asked for. */
    STILE_MISMATCH = 14,

    /* Failures. */

    /* An argument is wrong; stile_error_detail() says which and why. */
    STILE_INVALID = 32,
    /* Memory, threads or descriptors ran out; nothing was changed. */
    STILE_NO_MEMORY = 33,
    /* The server could not be asked: surely not done. */
    STILE_UNREACHABLE = 34,
    /* Sent and not answered: it may or may not have happened.  After an
     * acquire the library undoes what may have happened by itself. */
    STILE_UNKNOWN = 35,
    /* The server said no: out of memory, read only, not permitted, ... */
    STILE_REFUSED = 36,
    /* The server did not accept the user or the password. */
    STILE_AUTH = 37,
    /* An encrypted connection could not be made or was not trustworthy. */
    STILE_TLS = 38,
    /* The name is in use for something else, in a foreign or newer format. */
    STILE_WRONG_KIND = 39,
    /* This backend or this build does not offer it. */
    STILE_UNSUPPORTED = 40,
    /* The process forked since the space was opened; open a new one. */
    STILE_FORKED = 41,
    /* The server's answer was not what the protocol allows. */
    STILE_PROTOCOL = 42,
    /* A counter has reached its end. */
    STILE_OVERFLOW = 43
} stile_status;

/*
 * Returns the name of a status as it stands above, such as "STILE_TIMEOUT", or
 * "STILE_?" for a number that is none.  A constant; never NULL.
 *
 * Threads: any.
 */
STILE_API const char *stile_status_name(stile_status status);

/*
 * Returns one sentence that says what a status means.  A constant; never NULL.
 *
 * Threads: any.
 */
STILE_API const char *stile_status_text(stile_status status);

/*
 * Says in a sentence why the last call of this thread that did not return
 * STILE_OK did not: which argument, which server, what it answered.  Passwords
 * are left out, and what came from a server is shortened and escaped.
 *
 * The text belongs to the library, stays until this thread's next call, and is
 * "" when there is nothing to say.  Never NULL.
 *
 * Threads: each has its own.
 */
STILE_API const char *stile_error_detail(void);

STILE_END_DECLS

#endif
