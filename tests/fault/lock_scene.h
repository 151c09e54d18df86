/*
 * What the fault tests of the lock share: spaces and handles that have to open,
 * callers that wait in threads, and what the server has to look like afterwards.
 *
 * A check that fails here fails the test it was called from.  Not for children:
 * see test_child_check().
 */
#ifndef TEST_LOCK_SCENE_H
#define TEST_LOCK_SCENE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stile/stile.h>

#include "support/process.h"
#include "support/server.h"

/* Whatever is to happen has happened by then, or the test fails. */
#define SOON_MS 10000

/* What a busy machine may add to a bound. */
#define SLACK_MS 400

/* "assert" with the detail of the last call in the message. */
#define expect_status(call, expected) scene_expect((call), (expected), #call, __FILE__, __LINE__)
#define expect_ok(call) expect_status(call, STILE_OK)

void scene_expect(stile_status status, stile_status expected, const char *call, const char *file,
                  int line);

/* Opens a space at url with these settings ("lease_ms=500&claim_ms=200"). */
stile *scene_open(const char *url, const char *settings);
/* The same in a child, where a failure ends the child. */
stile *scene_child_open(const char *url, const char *settings);
stile_lock *scene_lock(stile *space, const char *name);
stile_lock *scene_child_lock(stile *space, const char *name);

/* An acquire in a thread of its own; in children, too. */
struct caller {
    pthread_t thread;
    stile_lock *lock;
    int64_t timeout_ms;
    stile_hold hold;
    stile_status status;
    int64_t took_ms;
    int64_t back_ms; /* when it came back, by test_now_ms() */
    struct test_flag back;
};

void caller_start(struct caller *caller, stile_lock *lock, int64_t timeout_ms);
/* Waits for its end and returns its status. */
stile_status caller_join(struct caller *caller);

/* ---- what the server knows -------------------------------------------------- */

enum key_part { KEY_LOCK, KEY_FENCE, KEY_QUEUE, KEY_WAITERS };

/* The key of one part of a lock, in a buffer of this thread's that a later call
 * uses again: good for one command. */
const char *scene_key(const char *name, enum key_part part);
/* Waits until so many wait at the server for the lock. */
void scene_await_queue(const struct test_server *server, const char *name, int64_t count);
/* Whether the lock has an owner, and until it has one or none. */
bool scene_owned(const struct test_server *server, const char *name);
void scene_await_owned(const struct test_server *server, const char *name, bool owned);
/* The fence that the server gave last, as a hold has it. */
uint64_t scene_fence(const struct test_server *server, const char *name);

/*
 * Waits until nothing but fences is left of any lock, and fails after within_ms.
 * Fails at once for a key without a time to live.
 */
void scene_await_clean(const struct test_server *server, int64_t within_ms);
/* Fails for a key of a lock without a time to live. */
void scene_expect_ttls(const struct test_server *server);

/* A lock that can be taken and given back within within_ms: nobody is left that
 * holds it and does not know. */
void scene_expect_free(stile_lock *lock, int64_t within_ms);

#endif
