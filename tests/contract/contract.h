/*
 * What contract tests stand on: one source that runs on every backend through the
 * public headers alone.
 *
 * Each test gets a space of its own.  After it everything that it opened is closed,
 * its threads are joined, and nothing may be left: no descriptor, no thread, and on
 * the server no client, no channel, no key without an end, and no key of a lock but
 * its fence.
 */
#ifndef CONTRACT_H
#define CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/types.h>

#include <stile/stile.h>

#include "support/process.h"
#include "support/server.h"

/* ---- a run ------------------------------------------------------------------- */

/* Takes "local" or "redis", and which tests to run if not all; false with a
 * sentence on stderr. */
bool contract_begin(int argc, char **argv);
void contract_end(void);

int contract_setup(void **state);
int contract_teardown(void **state);

#define contract_test(function)                                                                    \
    cmocka_unit_test_setup_teardown(function, contract_setup, contract_teardown)

/* ---- the backend --------------------------------------------------------------- */

bool contract_on_redis(void);
const char *contract_url(void);
/* redis alone. */
struct test_server *contract_server(void);

/* ---- spaces and handles, closed after the test at the latest -------------------- */

/* The space of the running test. */
stile *contract_space(void);
/* One more. */
stile *contract_space_open(const stile_options *options);
void contract_space_close(stile *space);

/* A handle in the space of the test, and in any. */
stile_lock *contract_lock_open(const char *name, const stile_lock_options *options);
stile_lock *contract_lock_open_in(stile *space, const char *name,
                                  const stile_lock_options *options);
void contract_lock_close(stile_lock *lock);

/* ---- answers ---------------------------------------------------------------------- */

void contract_check_status(stile_status status, stile_status expected, bool detailed,
                           const char *call, const char *file, int line);

/* A call of this thread answers this; and with a sentence, unless it is STILE_OK. */
#define assert_status(call, expected)                                                              \
    contract_check_status((call), (expected), true, #call, __FILE__, __LINE__)

/* A call of another thread did. */
#define assert_outcome(status, expected)                                                           \
    contract_check_status((status), (expected), false, #status, __FILE__, __LINE__)

/* Acquires and releases without waiting: the lock is free. */
void contract_check_free(stile_lock *lock);
/* A try is in vain, and a wait is. */
void contract_check_taken(stile_lock *lock);
void contract_check_waits_in_vain(stile_lock *lock, int64_t timeout_ms);
/* Whether a wait ended without the lock.  On a busy machine a server may not confirm
 * a withdrawal within the time that a call has. */
bool contract_in_vain(stile_status status);

/* ---- threads, joined after the test at the latest ------------------------------------ */

pthread_t contract_thread_start(void *(*run)(void *arg), void *arg);
/* Returns what the thread returned. */
void *contract_thread_join(pthread_t thread);

/* Whatever is to happen has happened by then, or the test fails. */
#define CONTRACT_SOON_MS 20000

/* A thread that acquires once.  What it got is the test's to release. */
struct contender {
    struct contender *next;
    stile_lock *lock;
    int64_t timeout_ms;
    bool has_options;
    stile_lock_options options;
    pthread_t thread;
    /* Set by the thread, in this order. */
    pid_t id;
    int64_t called_ns;
    struct test_flag calling;
    int64_t returned_ns;
    stile_hold hold;
    stile_status status;
    bool explained; /* it is STILE_OK, or there was a sentence */
    struct test_flag returned;
};

/* options NULL: the handle's.  Freed after the test. */
struct contender *contender_start(stile_lock *lock, int64_t timeout_ms,
                                  const stile_lock_options *options);
/* The same, and comes back when it waits in the queue of the lock, behind less than a
 * hundred others, or is back already. */
struct contender *contender_queue(stile_lock *lock, int64_t timeout_ms,
                                  const stile_lock_options *options);
bool contender_waits(struct contender *contender);
/* Waits until its call is back; what it answered.  Once. */
stile_status contender_answer(struct contender *contender);

/* Waits until a thread that calls into a lock that is taken waits in its queue, or
 * has set returned; queued is what contract_queue_length() said before it was
 * started. */
void contract_await_queued(stile_lock *lock, pid_t thread, struct test_flag *returned,
                           int64_t queued);
/* redis: how many wait for the lock; local: 0. */
int64_t contract_queue_length(const stile_lock *lock);

/* ---- time ------------------------------------------------------------------------------ */

#define CONTRACT_NS_PER_MS INT64_C(1000000)

/* By when a call with that timeout is back. */
int64_t contract_latest_ms(int64_t timeout_ms);

#endif
