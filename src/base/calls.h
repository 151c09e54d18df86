/*
 * Calls to users: callbacks run on one thread of the space, in the order in which
 * they were posted, outside every mutex.  The thread starts with the first who may
 * post.
 */
#ifndef STILE_BASE_CALLS_H
#define STILE_BASE_CALLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/os.h"

/* One callback that may be told; a member of what it is about. */
struct stile_call {
    struct stile_link link; /* in the queue */
    void (*run)(struct stile_call *call);
    struct stile_parker *parker; /* of who withdraws it */
    bool withdrawing;            /* under the mutex: the parker waits for its end */
};

struct stile_calls {
    struct stile_mutex mutex; /* guards all below; a leaf */
    struct stile_link queue;
    struct stile_call *running; /* NULL also when it withdrew itself */
    bool started;
    bool stop;
    _Atomic uint64_t number; /* of the thread; 0: none yet */
    struct stile_parker *parker;
    struct stile_thread thread;
};

stile_status stile__calls_init(struct stile_calls *calls);
/* Runs what is posted, then ends the thread; what is posted later is dropped. */
void stile__calls_stop(struct stile_calls *calls);
void stile__calls_fini(struct stile_calls *calls);
/* Starts the thread, if it does not run: posting cannot fail then. */
stile_status stile__calls_start(struct stile_calls *calls);
/* Whether the caller is a callback. */
bool stile__calls_inside(const struct stile_calls *calls);

stile_status stile__call_init(struct stile_call *call, void (*run)(struct stile_call *call));
void stile__call_fini(struct stile_call *call);
/* One that is posted already stays posted once.  Under any mutex but a leaf. */
void stile__call_post(struct stile_calls *calls, struct stile_call *call);
/* When it returns, the call is not posted, and does not run unless it is the caller
 * itself.  By one thread; nobody posts it any more. */
void stile__call_withdraw(struct stile_calls *calls, struct stile_call *call);

#endif
