/*
 * Waiting without a thread of one's own: one thread of the space takes the steps of
 * all such waits.  It starts with the first of them.
 *
 * A wait is taken a step on by one at a time: the thread, or who starts it.  Whoever
 * settles or wakes it meanwhile has it looked at once more.  A settlement and the
 * entry into the list of those to look at are one critical section of the mutex
 * here, and a wait ends under it: so the settler is through with it by then.
 */
#ifndef STILE_BASE_ASYNC_H
#define STILE_BASE_ASYNC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/timers.h"
#include "base/list.h"
#include "base/os.h"
#include "base/wait.h"

struct stile_async {
    struct stile_mutex mutex;  /* guards all below, and those marked so in a wait; a leaf */
    struct stile_link ready;   /* waits to be taken a step on, first come first */
    struct stile_timers later; /* the others, by when they have something to do */
    size_t count;              /* waits that are not over */
    bool started;
    bool stop;
    struct stile_parker *parker;
    struct stile_thread thread;
};

struct stile_async_wait {
    struct stile_waiter waiter;
    struct stile_async *async;
    const struct stile_wait_ops *ops;
    void *call;
    stile_cancel *cancel;
    /* Told once, outside every mutex; the wait may go with it. */
    void (*done)(struct stile_async_wait *wait, stile_status status);
    /* Under the mutex. */
    struct stile_link ready;
    struct stile_timer later;
    bool stepping; /* somebody takes it a step on ... */
    bool again;    /* ... and is to do so once more */
    bool over;     /* nobody takes it a step on any more */
};

stile_status stile__async_init(struct stile_async *async);
/* Returns when all waits are over, which the space's backend has seen to, and the thread
 * has ended. */
void stile__async_stop(struct stile_async *async);
void stile__async_fini(struct stile_async *async);

/*
 * Starts a wait whose ops, call, cancel and done and whose waiter's owner and options
 * are filled in.  at_once: the caller takes the first step.  STILE_OK, and done is
 * told, maybe before this returns; else STILE_CLOSED or STILE_NO_MEMORY.
 */
stile_status stile__async_start(struct stile_async *async, struct stile_async_wait *wait,
                                int64_t deadline_ns, bool at_once);

/* Between the two a settler changes the waiter's state; the second has the wait looked
 * at.  The caller unparks the waiter's parker after that. */
void stile__async_lock(struct stile_async_wait *wait);
void stile__async_unlock_ready(struct stile_async_wait *wait);

#endif
