/*
 * A space: where names live.
 *
 * A program opens one space, from a URL that its operator chooses, and opens
 * named objects in it.  The same kind and name in the same space is the same
 * object for everybody:
 *
 *     local:                          the threads of this process
 *     redis://host:6379/0             every process that uses that server
 *     unix:///run/redis.sock          the same through a unix socket
 *     file:/etc/app/stile.conf        what that INI file says
 *
 * A space is made to be shared by all threads and to live as long as the
 * program.  Each space of local: is a world of its own: two spaces opened in
 * one process share nothing.
 */
#ifndef STILE_SPACE_H
#define STILE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include <stile/api.h>
#include <stile/status.h>

STILE_BEGIN_DECLS

typedef struct stile stile;

/* A timeout that does not end. */
#define STILE_FOREVER (-1)

/* The longest name in bytes. */
#define STILE_NAME_MAX 512

/*
 * What a program asks for where the URL says nothing; what the URL says wins.
 * Zero-initialise it and set what you need: 0 and NULL mean the default.
 *
 * The same settings can stand behind a URL as ?name=value&name=value, or in the
 * [stile] section of an INI file beside url = ..., all of them but no_fence
 * under the names they have here.
 */
typedef struct stile_options {
    /* redis: what every key starts with; "stile:".  At most 64 bytes, no
     * braces, no control characters. */
    const char *prefix;
    /* redis: who to be.  A password never shows in an error text.  Behind a
     * URL, password_file=PATH and password_env=NAME say where to read it
     * from, so that it is not in what ps(1) shows. */
    const char *user;
    const char *password;
    /* redis: longest wait for a connection, and for one answer; 2000. */
    int64_t connect_timeout_ms;
    int64_t command_timeout_ms;
    /* How long a hold lives when its holder dies; 30000.  100 to ten years.
     * The library renews it at a third of that, until release. */
    int64_t lease_ms;
    /* Longest time that the library keeps renewing a hold; 0 is no limit. */
    int64_t max_hold_ms;
    /* redis: how long a waiter stays queued after its process died; 5000. */
    int64_t waiter_lease_ms;
    /* redis: how long a grant waits to be claimed; 1000. */
    int64_t claim_ms;
    /* redis: how often a waiter looks again by itself, for the case that a
     * message was lost; 1000. */
    int64_t recheck_ms;
    /* redis: holds have no fence, and cost less to acquire; see no_fence in
     * stile/lock.h.  Its name in a URL or a file is fence, its values there on,
     * which is the default, and off. */
    bool no_fence;
} stile_options;

/* Kinds of objects, for stile_can(). */
typedef enum stile_kind { STILE_LOCK = 1, STILE_RLOCK = 2 } stile_kind;

/*
 * Opens the space that a URL names.
 *
 * url      NULL or "" means what the environment variable STILE_URL says, and
 *          local: where that is not set.
 * options  NULL for the defaults.  Nothing in it is kept.
 * out      receives the space; the caller owes one stile_close().
 *
 * redis: connects, and says so when it cannot.
 *
 * Returns STILE_OK; or
 *   STILE_INVALID      the URL, the file or an option is wrong; the detail
 *                      names the part;
 *   STILE_UNSUPPORTED  this build has no such backend;
 *   STILE_UNREACHABLE, STILE_AUTH, STILE_REFUSED, STILE_PROTOCOL
 *                      the server could not be used;
 *   STILE_NO_MEMORY.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_open(const char *url, const stile_options *options,
                                                   stile **out);

/*
 * Closes a space: everybody who waits in it gets STILE_CLOSED, and so does who
 * asks for something afterwards.  Its handles stay valid until they are closed
 * each; then the memory goes.  NULL does nothing.
 *
 * Close it once.  redis: holds that were not released are renewed no more and
 * end with their leases.  Calls that are inside are answered or time out first,
 * and what one without an answer may have left behind is cleaned up, for at most
 * the command timeout more.
 *
 * In a child of fork() this only closes descriptors.  In a callback of the library
 * it does nothing.
 *
 * Threads: any, while others use the space.
 */
STILE_API void stile_close(stile *space);

/*
 * Returns whether the space offers a kind of object.
 *
 * Threads: any.
 */
STILE_API bool stile_can(const stile *space, stile_kind kind);

STILE_END_DECLS

#endif
