/*
 * The wait engine: the only place where anybody waits for a grant.
 *
 * A backend answers every attempt at once: done, or pending with the caller's
 * waiter in its queue.  The waiter is settled exactly once, by whoever frees the
 * object, and the engine wakes up to it.  Until then it sleeps to its deadline,
 * to a cancellation, or to the time at which the backend wants to look again.
 *
 * A thread waits for one thing (stile__wait) or for one of several
 * (stile__wait_any); what waits without a thread is in base/async.h.  All of them
 * go on in steps (stile__wait_step), and differ in who sleeps between two.
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
 *
 * One of several: the waiters share a choice, which is claimed before one of them is
 * granted anything.  A waiter whose choice is another's cannot be granted; it is
 * passed over, and withdraws.
 */
#ifndef STILE_BASE_WAIT_H
#define STILE_BASE_WAIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stile/cancel.h>
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
struct stile_async_wait;
struct stile_waiter;

/* Which of several waiters is granted; NULL: none so far. */
struct stile_choice {
    struct stile_waiter *_Atomic taken;
};

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

    struct stile_async_wait *async; /* NULL: a thread sleeps on the parker */
    struct stile_choice *choice;    /* NULL: it waits for this alone */
    _Atomic bool cancelled;         /* once true, stays true */
    struct stile_link cancelling;   /* in the list of a cancellation, under its mutex */

    /* The backend's, under the object's mutex. */
    const void *owner;   /* the handle it waits through: whom to close with */
    const void *options; /* of the call; valid while the waiter is queued */
    int64_t woken_ns;    /* when it was first told STILE_AGAIN; 0: never */
    int64_t since_ms;    /* when it queued first, by the clock that people set */
    int64_t told_ns;     /* when it was last told that */
    bool last;           /* attempt once, do not queue again */
    int64_t deadline_ns; /* of the wait, monotonic; INT64_MAX: none */
    int64_t back_ns;     /* when the call has to be back at the latest */
    /* Whose wait it is, as stile__thread_number(); with 0 in the upper half if the hold
     * will not be that thread's own. */
    uint64_t thread;
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
 * What the engine asks of the thing that is waited for.  Only sleep waits for a grant;
 * redis does I/O in all of them.
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
    /* Sleeps until the waiter is woken or until_ns, or a bit less: the engine looks what
     * there is to do, and lets it sleep on. */
    void (*sleep)(void *call, struct stile_waiter *waiter, int64_t until_ns);
    /* STILE_OK: it is out, settled by nobody.  STILE_TOO_LATE: it was settled.
     * Anything else: the caller's answer, and the backend sees to the rest by
     * itself.  Back by waiter->back_ns. */
    stile_status (*withdraw)(void *call, struct stile_waiter *waiter);
    /* An attempt took it that had no right to: it is given to the next. */
    void (*give_back)(void *call, const stile_hold *hold);
};

/* Makes a waiter for one wait; all but owner and options. */
void stile__waiter_init(struct stile_waiter *waiter, struct stile_parker *parker,
                        int64_t deadline_ns);

/*
 * Does what is due: attempts, polls, withdraws.  STILE_PENDING: there is nothing to do
 * before *until_ns unless the waiter is woken.  STILE_OK: its hold is filled.
 * STILE_TIMEOUT, STILE_CANCELLED, or what an op or the settler said.  Never
 * STILE_AGAIN.
 */
stile_status stile__wait_step(const struct stile_wait_ops *ops, void *call,
                              struct stile_waiter *waiter, int64_t *until_ns);

/* Whether a step has something to do for a queued waiter that was to sleep until
 * until_ns. */
bool stile__wait_is_due(struct stile_waiter *waiter, int64_t until_ns);

/*
 * Attempts, sleeps, and withdraws at deadline_ns or when cancel, which may be NULL, is
 * fired.  Returns STILE_OK with *hold filled, or as stile__wait_step().
 */
stile_status stile__wait(const struct stile_wait_ops *ops, void *call, struct stile_waiter *waiter,
                         int64_t deadline_ns, stile_cancel *cancel, stile_hold *hold);

/* One of several that are waited for; ops, call, cancel and the waiter's owner and
 * options are the caller's to fill in. */
struct stile_any {
    struct stile_waiter waiter;
    const struct stile_wait_ops *ops;
    void *call;
    stile_cancel *cancel;
    bool out; /* it is over for this one: it is in no queue */
};

/*
 * Attempts in order, then queues for all of them.  STILE_OK: *which was granted and
 * *hold is filled; else as stile__wait().  None of them is queued any more.
 */
stile_status stile__wait_any(struct stile_any *any, size_t count, int64_t deadline_ns,
                             size_t *which, stile_hold *hold);

/* Whether nobody is there who could compete: such a waiter is made the owner. */
static inline bool stile__is_passive(const struct stile_waiter *waiter)
{
    return waiter->async != NULL || waiter->choice != NULL;
}

/* Whether a waiter can still be granted something. */
bool stile__claimable(const struct stile_waiter *waiter);
/*
 * Claims the choice that a waiter is part of: under the queue mutex, before it is
 * settled with STILE_OK.  False: another was quicker, and this one must be granted
 * nothing.  Claiming again is harmless; what was claimed must be granted.
 */
bool stile__claim(struct stile_waiter *waiter);

/*
 * Settles a queued waiter; the caller holds the queue mutex and has unlinked it
 * and filled its hold.  False: it had left, and nothing was done.  True: call
 * stile__unpark(*parker) after the mutex; the waiter itself may be gone.
 */
bool stile__settle(struct stile_waiter *waiter, stile_status result, struct stile_parker **parker);

/* Makes a queued waiter call poll at that time, or now; as stile__settle, the caller
 * holds the mutex under which the waiter would leave, or is the waiter itself. */
void stile__recheck_at(struct stile_waiter *waiter, int64_t at_ns);
void stile__recheck(struct stile_waiter *waiter);

/* Makes a waiter withdraw.  The caller knows that it is there. */
void stile__cancel_waiter(struct stile_waiter *waiter);

/* Marks a waiter as left, under the queue mutex.  False: it is settled. */
bool stile__leave(struct stile_waiter *waiter);

#endif
