/*
 * What a backend implements to offer locks.
 *
 * Arguments are checked and options complete.  No op calls a primitive, and none
 * waits for another holder: acquire answers at once, and a queued waiter is
 * settled later, by whoever frees the lock.
 *
 *            may do I/O   called by several threads at once
 *   init     no           no, the handle is not shared yet
 *   copy     no           yes, on the handle that is copied
 *   shut     no           with calls inside, which it makes return
 *   fini     no           no, the handle is shared no longer
 *   acquire  redis        yes
 *   poll     redis        yes
 *   sleep    redis        yes
 *   withdraw redis        yes
 *   release  redis        yes
 *   extend   redis        yes
 *   check    no           yes
 *   own      redis        yes
 *   hand_over, watch  no  yes
 *   give     redis        yes
 *   adopt    redis        yes
 *   inspect  redis        yes
 *   force_release  redis  yes
 */
#ifndef STILE_LOCK_OPS_H
#define STILE_LOCK_OPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stile/lock.h>

#include "base/gate.h"
#include "base/names.h"
#include "base/wait.h"
#include "base/watch.h"
#include "lock_word.h"

/* How many waiters an inspection lists. */
enum { STILE_LISTED_MOST = 100 };

struct stile_lock_ops {
    /* sizeof the backend's lock, whose first member is a struct stile_lock.  The
     * core allocates it zeroed before init and frees it after fini. */
    size_t size;
    /* Whether an attempt without a waiter is so cheap that a timed acquire starts
     * with one. */
    bool try_first;
    /* Sets lock->named.  A failed init leaves nothing for fini. */
    stile_status (*init)(stile_lock *lock, stile_kind kind, const char *name);
    /* The same for the name that another handle has. */
    void (*copy)(stile_lock *lock, stile_lock *from);
    /* Settles those who wait through this handle with STILE_CLOSED, and lets
     * nobody queue through it any more. */
    void (*shut)(stile_lock *lock);
    void (*fini)(stile_lock *lock);
    /* waiter NULL: one attempt; STILE_OK fills hold, STILE_TIMEOUT: it is taken.
     * Else as attempt in base/wait.h, and hold is waiter->hold. */
    stile_status (*acquire)(stile_lock *lock, const stile_lock_options *options,
                            struct stile_waiter *waiter, stile_hold *hold);
    /* As poll, sleep and withdraw in base/wait.h.  In a child of fork() a withdrawal takes the
     * waiter out of what is in this process and asks nobody. */
    void (*poll)(stile_lock *lock, struct stile_waiter *waiter);
    void (*sleep)(stile_lock *lock, struct stile_waiter *waiter, int64_t until_ns);
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
    /* As the public calls.  info is zeroed; a failed inspection leaves nothing in it. */
    stile_status (*inspect)(stile_lock *lock, stile_lock_info *info);
    stile_status (*force_release)(stile_lock *lock);
};

/* Whether these ask for nothing but to hold: no end, nothing to keep in mind. */
static inline bool stile__lock_is_plain(const stile_lock_options *options)
{
    return !options->fixed_lease && options->max_hold_ms == 0 && options->min_hold_ms == 0 &&
           options->label == NULL;
}

/* The part of a handle that the core knows. */
struct stile_lock {
    const struct stile_lock_ops *ops;
    stile *space;
    /* Set by init, if the core may take and free this word by itself (lock_word.h) for
     * holds of object without a slot, made with the handle's own options: it saves the
     * calls.  Else NULL. */
    struct stile_lock_word *word;
    const void *object;
    /* Set by init where the lock is in this process, whatever the handle's options: to see
     * whether it is held.  Else NULL. */
    const struct stile_lock_word *seen;
    const struct stile_named *named; /* the same for all handles of one lock */
    stile_lock_options options;      /* complete: nothing in it means "the default" */
    bool plain;                      /* its acquires are, and cannot be cancelled */
    char label[STILE_LABEL_MAX + 1];
    /* Calls that may sleep.  The others must not begin when the handle is being
     * closed, which the header says. */
    struct stile_gate gate;
};

/* Takes a lock that is free, if that is one step on a word.  Not where the number of the
 * thread would have to be asked for. */
static OS_FAST_PATH bool lock_take_word(const stile_lock *lock, stile_hold *hold)
{
    uint64_t thread = os_thread_known(), fence;

    if (lock->word == NULL || thread == 0)
        return false;
    fence = lock_word_take(lock->word, thread);
    if (fence == 0)
        return false;
    *hold = (stile_hold){.fence = fence, .object = lock->object};
    return true;
}

/* The same by who held it last, as far as it knows, with that fence. */
static OS_FAST_PATH bool lock_take_word_after(const stile_lock *lock, uint64_t fence,
                                              stile_hold *hold)
{
    if (lock->word == NULL || lock_word_take_after(lock->word, fence) == 0)
        return false;
    *hold = (stile_hold){.fence = fence + 1, .object = lock->object};
    return true;
}

/* Frees the lock, if that is one step on a word. */
static OS_FAST_PATH bool lock_free_word(const stile_lock *lock, const stile_hold *hold)
{
    return lock->word != NULL && hold->object == lock->object && hold->slot == 0 &&
           lock_word_free(lock->word, hold->fence);
}

/* What the reentrant lock asks of the lock: handles of its own kind. */
stile_status stile__lock_open(stile *space, stile_kind kind, const char *name,
                              const stile_lock_options *options, stile_lock **out);
/* The two halves of a close: nobody is inside any more, and it is gone. */
void stile__lock_shut(stile_lock *lock);
void stile__lock_free(stile_lock *lock);

/* ---- what src/lock*.c share -------------------------------------------------------- */

/* One acquire, as the wait engine sees it. */
struct stile_lock_call {
    stile_lock *lock;
    const stile_lock_options *options;
    bool once; /* a try, which has no waiter */
};

extern const struct stile_wait_ops stile__lock_wait_ops; /* call is a stile_lock_call */

/* What another primitive adds to the future of a lock that it acquires. */
struct stile_lock_hook {
    /* The hold is there, and is told after that. */
    void (*granted)(struct stile_lock_hook *hook, const stile_hold *hold);
    /* Gives a hold back that nobody took; lock is a handle of the future's own. */
    void (*release)(struct stile_lock_hook *hook, stile_lock *lock, const stile_hold *hold);
    void (*destroy)(struct stile_lock_hook *hook);
};

/*
 * As stile_lock_start(), with arguments that were checked.  hook may be NULL; with
 * STILE_OK it belongs to the future.  given NULL, or a hold that is there already.
 */
stile_status stile__lock_start(stile_lock *lock, int64_t timeout_ms,
                               const stile_lock_options *complete, struct stile_lock_hook *hook,
                               const stile_hold *given, stile_future_callback *callback,
                               void *argument, stile_future **out);
/* Sets the sentence of an acquire that was not granted, where nobody has yet. */
void stile__lock_explain(stile_status status, int64_t timeout_ms);
/* One more handle of the same lock; complete as in struct stile_lock. */
stile_status stile__lock_copy(stile_lock *lock, const stile_lock_options *complete,
                              stile_lock **out);

#endif
