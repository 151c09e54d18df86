/*
 * What a backend implements to offer locks.
 *
 * Arguments are checked and options complete.  No op calls a primitive, and none
 * waits for another holder: acquire answers at once, and a queued waiter is
 * settled later, by whoever frees the lock.
 *
 *            may do I/O   called by several threads at once
 *   init     no           no, the handle is not shared yet
 *   shut     no           with calls inside, which it makes return
 *   fini     no           no, the handle is shared no longer
 *   acquire  redis        yes
 *   poll     redis        yes
 *   withdraw redis        yes
 *   release  redis        yes
 *   extend   redis        yes
 *   check    no           yes
 *   own      redis        yes
 *   hand_over, watch  no  yes
 *   give     redis        yes
 *   adopt    redis        yes
 */
#ifndef STILE_LOCK_OPS_H
#define STILE_LOCK_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stile/lock.h>

#include "base/gate.h"
#include "base/wait.h"
#include "base/watch.h"

struct stile_lock_ops {
    /* sizeof the backend's lock, whose first member is a struct stile_lock.  The
     * core allocates it zeroed before init and frees it after fini. */
    size_t size;
    /* Whether an attempt without a waiter is so cheap that a timed acquire starts
     * with one. */
    bool try_first;
    /* A failed init leaves nothing for fini. */
    stile_status (*init)(stile_lock *lock, const char *name);
    /* Settles those who wait through this handle with STILE_CLOSED, and lets
     * nobody queue through it any more. */
    void (*shut)(stile_lock *lock);
    void (*fini)(stile_lock *lock);
    /* waiter NULL: one attempt; STILE_OK fills hold, STILE_TIMEOUT: it is taken.
     * Else as attempt in base/wait.h, and hold is waiter->hold. */
    stile_status (*acquire)(stile_lock *lock, const stile_lock_options *options,
                            struct stile_waiter *waiter, stile_hold *hold);
    /* As poll and withdraw in base/wait.h. */
    void (*poll)(stile_lock *lock, struct stile_waiter *waiter);
    stile_status (*withdraw)(stile_lock *lock, struct stile_waiter *waiter);
    /* As the public calls of these names; hold may be any bytes. */
    stile_status (*release)(stile_lock *lock, const stile_hold *hold);
    stile_status (*extend)(stile_lock *lock, const stile_hold *hold, int64_t add_ms);
    stile_status (*check)(stile_lock *lock, const stile_hold *hold, int64_t *valid_ms);
    stile_status (*hand_over)(stile_lock *lock, const stile_hold *hold);
    /* Whether the lock is taken by a hold without an end that the calling thread took
     * and never handed over.  True only if that is so for sure. */
    bool (*own)(stile_lock *lock);
    /* Attaches the watch: STILE_OK, STILE_NOT_HELD, or a failure. */
    stile_status (*watch)(stile_lock *lock, const stile_hold *hold, struct stile_watch *watch);
    stile_status (*give)(stile_lock *lock, const stile_hold *hold, char token[STILE_TOKEN_SIZE]);
    stile_status (*adopt)(stile_lock *lock, const char *token, stile_hold *hold);
};

/* The part of a handle that the core knows. */
struct stile_lock {
    const struct stile_lock_ops *ops;
    stile *space;
    stile_lock_options options; /* complete: nothing in it means "the default" */
    /* Calls that may sleep.  The others must not begin when the handle is being
     * closed, which the header says. */
    struct stile_gate gate;
};

#endif
