/*
 * Scoped use: a block that runs under a lock, which is released on every way out
 * of the block: its end, break, return, goto.
 *
 *     stile_status status;
 *     STILE_WITH_LOCK (lock, 5000, hold, &status) {
 *         write_ledger(hold->fence);
 *         if (nothing_left)
 *             break;
 *     }
 *     if (status != STILE_OK)
 *         ...
 *
 * The block runs once if the lock was acquired, else not at all.  hold is the name
 * of a const stile_hold * inside the block.  *status is STILE_OK when the block
 * ran and the release succeeded, else what the acquire or the release said: so
 * STILE_LOST after a block means that its work may have overlapped with another's.
 * On a way out by return or goto, the release comes after the value to return was
 * computed.
 *
 * longjmp() and the end of the thread do not release.  status must live outside
 * the block.
 *
 * It needs a compiler with the attribute cleanup (gcc, clang); elsewhere the
 * macros are not defined.
 */
#ifndef STILE_SCOPE_H
#define STILE_SCOPE_H

#include <stdbool.h>
#include <stdint.h>

#include <stile/api.h>
#include <stile/hold.h>
#include <stile/lock.h>
#include <stile/rlock.h>
#include <stile/status.h>

STILE_BEGIN_DECLS

/* The macros' own. */
typedef struct stile_scope {
    stile_lock *lock;
    stile_rlock *rlock;
    stile_status *status;
    stile_hold hold;
    bool held;
    int turns; /* how often the block is still to run */
} stile_scope;

STILE_API stile_scope stile_scope_lock(stile_lock *lock, int64_t timeout_ms, stile_status *status);
STILE_API stile_scope stile_scope_rlock(stile_rlock *rlock, int64_t timeout_ms,
                                        stile_status *status);
STILE_API void stile_scope_end(stile_scope *scope);

#if defined(__GNUC__)

#define STILE_SCOPE_(scope, begin, name)                                                           \
    for (stile_scope scope __attribute__((cleanup(stile_scope_end))) = (begin); (scope).turns > 0; \
         (scope).turns = 0)                                                                        \
        for (const stile_hold *const name = &(scope).hold; (scope).turns > 0; (scope).turns = 0)

#define STILE_WITH_LOCK(lock, timeout_ms, name, status)                                            \
    STILE_SCOPE_(stile_scope_of_##name, stile_scope_lock(lock, timeout_ms, status), name)
#define STILE_WITH_RLOCK(rlock, timeout_ms, name, status)                                          \
    STILE_SCOPE_(stile_scope_of_##name, stile_scope_rlock(rlock, timeout_ms, status), name)

#endif

STILE_END_DECLS

#endif
