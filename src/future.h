/*
 * What a future is inside: an asynchronous wait, and those who want to hear of its
 * end.  The kind of object that it acquires adds what it needs behind it.
 */
#ifndef STILE_FUTURE_INSIDE_H
#define STILE_FUTURE_INSIDE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <stile/future.h>

#include "backend.h"
#include "base/async.h"
#include "base/calls.h"
#include "base/error.h"
#include "base/gate.h"
#include "base/os.h"

struct stile_future_ops {
    const struct stile_wait_ops *wait;
    /* It was acquired, and is told after that. */
    void (*granted)(stile_future *future, const stile_hold *hold);
    /* Sets the sentence of a result that is not STILE_OK. */
    void (*explain)(stile_future *future, stile_status status);
    /* Gives a hold back that nobody took. */
    void (*release)(stile_future *future, const stile_hold *hold);
    /* In a child of fork(): takes the waiter out of what is in this process.  As
     * withdraw of base/wait.h. */
    stile_status (*forget)(stile_future *future);
    void (*destroy)(stile_future *future);
};

struct stile_future {
    struct stile_async_wait wait; /* first: what the engine knows */
    const struct stile_future_ops *ops;
    stile *space;
    struct stile_gate *gate;  /* of what is acquired; left when the end was told */
    struct stile_mutex mutex; /* guards all below */
    _Atomic bool done;        /* once true, stays true; the last that the engine writes */
    bool taken;
    stile_status status;
    char detail[STILE_DETAIL_SIZE]; /* the sentence of the status */
    struct stile_link watchers;     /* threads that wait for the end */
    bool has_signal;
    struct stile_signal signal;
    struct stile_call call;
    stile_future_callback *callback; /* NULL: none */
    void *argument;
};

/* Fills what is the same for all kinds; wait.call, wait.cancel, the waiter's owner and
 * options, and gate are the kind's.  Owed one stile__future_fini() unless it is started. */
stile_status stile__future_init(stile_future *future, const struct stile_future_ops *ops,
                                stile *space, stile_future_callback *callback, void *argument);
void stile__future_fini(stile_future *future);

#endif
