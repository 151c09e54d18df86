/*
 * The wait engine: the only place where a thread sleeps for a grant.
 *
 * A backend answers every attempt at once: done, or pending with the caller's
 * waiter in its queue.  The waiter is settled exactly once, by whoever frees the
 * object, and the engine wakes up to it.  Until then it sleeps to its deadline,
 * or to the time at which the backend wants to look again.
 *
 *                    attempt                      settle by another thread
 *      NEW --------------------------> QUEUED ------------------------> SETTLED
 *       ^                                |                                 |
 *       |    STILE_AGAIN: compete again  | withdraw, by its own thread     |
 *       +--------------------------------+---------------------------------+
 *                                        v
 *                                      LEFT
 *
 * Between settle and withdraw one compare-and-swap on the state decides; both
 * hold the object's queue mutex at the time, so that the loser finds the waiter
 * out of the queue.
 */
#ifndef STILE_BASE_WAIT_H
#define STILE_BASE_WAIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <stile/hold.h>
#include <stile/status.h>

#include "base/list.h"

/* Answers that stay inside the library. */
/* The waiter is queued, and will be settled unless it is withdrawn. */
#define STILE_PENDING ((stile_status)1000)
/* Woken to compete: attempt once more.  The waiter keeps its place in time. */
#define STILE_AGAIN ((stile_status)1001)
/* The withdrawal came after the settlement, which holds. */
#define STILE_TOO_LATE ((stile_status)1002)

struct stile_parker;

enum stile_waiter_state {
    STILE_WAITER_NEW,
    STILE_WAITER_QUEUED,
    STILE_WAITER_SETTLED,
    STILE_WAITER_LEFT
};

struct stile_waiter {
    struct stile_link link;      /* in the object's queue, under its mutex */
    struct stile_parker *parker; /* where the waiting thread sleeps */
    _Atomic uint32_t state;      /* enum stile_waiter_state */
    /* Written by the settler before the state, read by the waiter after it. */
    stile_status result;
    stile_hold hold; /* with STILE_OK: what was granted */

    /* The backend's, under the object's mutex. */
    const void *owner;   /* the handle it waits through: whom to close with */
    const void *options; /* of the call; valid while the waiter is queued */
    int64_t woken_ns;    /* when it was first told STILE_AGAIN; 0: never */
    bool last;           /* attempt once, do not queue again */
    int64_t deadline_ns; /* of the wait, monotonic; INT64_MAX: none */
    int64_t back_ns;     /* when the call has to be back at the latest */
    uint64_t thread;     /* who will have the hold; 0: not known */
    /* When the engine is to call poll, monotonic; INT64_MAX: never. */
    _Atomic int64_t recheck_ns;

    /* Of a backend whose queue is elsewhere. */
    struct stile_link index; /* among all waiters of the space, by hold.id */
    uint64_t number;         /* its place in the queue; 0: none yet */
    int64_t seen_ns;         /* a reading of the boot clock, from before ... */
    int64_t seen_server_ms;  /* ... this reading of the server's */
    uint32_t seen_epoch;     /* while this subscription lasted */
    int64_t copies_until_ns; /* until when a copy of its acquire may arrive there */
};

/*
 * What the engine asks of the thing that is waited for.  None of them waits for
 * a grant; redis does I/O in all three.
 */
struct stile_wait_ops {
    /* STILE_OK: waiter->hold is filled.  STILE_PENDING: queued.  STILE_TIMEOUT:
     * it is taken, and waiter->last forbids to queue.  Anything else: nothing
     * was taken and nothing is queued. */
    stile_status (*attempt)(void *call, struct stile_waiter *waiter);
    /* Looks again: renews the waiter's place, and settles it if it can.  The
     * waiter's state tells what came of it.  An error is only noted: the next
     * look comes. */
    void (*poll)(void *call, struct stile_waiter *waiter);
    /* STILE_OK: it is out, settled by nobody.  STILE_TOO_LATE: it was settled.
     * Anything else: the caller's answer, and the backend sees to the rest by
     * itself.  Back by waiter->back_ns. */
    stile_status (*withdraw)(void *call, struct stile_waiter *waiter);
};

/*
 * Attempts, sleeps, and withdraws at deadline_ns.  Returns STILE_OK with *hold
 * filled, STILE_TIMEOUT, or what an op or the settler said.
 */
stile_status stile__wait(const struct stile_wait_ops *ops, void *call, struct stile_waiter *waiter,
                         int64_t deadline_ns, stile_hold *hold);

/*
 * Settles a queued waiter; the caller holds the queue mutex and has unlinked it
 * and filled its hold.  False: it had left, and nothing was done.  True: call
 * stile__unpark(*parker) after the mutex; the waiter itself may be gone.
 */
bool stile__settle(struct stile_waiter *waiter, stile_status result, struct stile_parker **parker);

/* Makes a queued waiter call poll now; as stile__settle, the caller holds the mutex
 * under which the waiter would leave. */
void stile__recheck(struct stile_waiter *waiter);

/* Marks a waiter as left, under the queue mutex.  False: it is settled. */
bool stile__leave(struct stile_waiter *waiter);

#endif
