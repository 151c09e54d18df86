/*
 * A mutual-exclusion lock, known by its name.
 *
 * Handles of one name in one space contend for one lock: among the threads of
 * the process with local:, among all clients of the server with redis://.
 *
 *     stile_hold hold;
 *     if (stile_lock_acquire(lock, 5000, &hold) == STILE_OK) {
 *         write_ledger(hold.fence);
 *         stile_lock_release(lock, &hold);
 *     }
 *
 * A hold lives for a lease, which the library renews until release; when the
 * process dies, the lock is free again after at most one lease.  A hold that
 * could not be renewed is lost: from then on every call about it says
 * STILE_LOST, by this machine's clock alone and without asking anybody, before
 * anyone else can be given the lock.
 *
 * What this cannot promise: a process that is stopped, and goes on after its
 * lease, believes that it still holds until it looks; and a server that loses
 * its memory (restart without persistence, failover, eviction) may grant a lock
 * twice.  The fence is the cure for both; docs/promises.md has the whole list.
 *
 * Order: within a process running threads may overtake sleeping ones, but pass
 * a waiter over for at most about half a millisecond; with `fair` never.
 * Between processes always first come, first served.
 *
 * Threads: a handle may be shared.  Not re-entrant: a thread that acquires what
 * it holds waits like any other, and is told STILE_DEADLOCK if that would be for
 * ever.
 *
 * fork: what a child inherits of a redis:// space answers STILE_FORKED.  With
 * local: the child has a copy of its own, usable if no other thread was inside
 * a call at the time.
 */
#ifndef STILE_LOCK_H
#define STILE_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stile/api.h>
#include <stile/cancel.h>
#include <stile/future.h>
#include <stile/hold.h>
#include <stile/inspect.h>
#include <stile/space.h>
#include <stile/status.h>
#include <stile/watch.h>

STILE_BEGIN_DECLS

typedef struct stile_lock stile_lock;

/*
 * How a lock is acquired.  Zero-initialise it and set what you need: 0 means
 * what the space says.  These belong to the acquire, not to the name: two
 * handles of one lock may differ.
 */
typedef struct stile_lock_options {
    /* How long a hold lives without renewal, in milliseconds.  100 to ten
     * years.  With local: nobody but this process could die, so a lease that
     * is renewed has no end there; one that is not renewed ends as it does
     * with redis://. */
    int64_t lease_ms;
    /* Longest time a hold is renewed, in milliseconds; 100 to ten years. */
    int64_t max_hold_ms;
    /* The lease is given once and not renewed. */
    bool fixed_lease;
    /* Strictly first come, first served inside the process, too.  Costs a
     * wake-up per hand-over. */
    bool fair;
    /* A lock that is released sooner stays taken until it was held for so long, in
     * milliseconds; to ten years, and not longer than max_hold_ms.  So that a short job
     * does not run twice on hosts whose clocks differ.  If the holder dies, its lease is
     * at least that long. */
    int64_t min_hold_ms;
    /* What an inspection shows of who holds or waits; at most STILE_LABEL_MAX
     * bytes.  A handle copies it; what a call names has to stay until it returns,
     * or its future is done. */
    const char *label;
    /* Ends the wait from outside.  Stays the caller's, and has to live as long as
     * the handle, the call or the future. */
    stile_cancel *cancel;
    /* redis: hold->fence is 0, which stile_fence_check() refuses, and an
     * acquire costs the server less.  For what needs no fence: work that is
     * only done twice when two do it.  Whether the lock is exclusive, who is
     * next and what happens to a lost answer are as ever, and the fences of
     * those who ask for one rise as ever; but a copy of a request that the
     * network delayed can take a lock that is free, for nobody, until the
     * lease that it asked for would have ended.  Needs Redis 6.2.  With
     * local: a fence costs nothing, and the hold has one all the same. */
    bool no_fence;
} stile_lock_options;

/*
 * Opens a handle for the lock of this name, which need not exist.
 *
 * name     1..512 bytes, any but NUL.  Copied.
 * options  NULL for the space's.  Copied.
 * out      receives the handle; the caller owes one stile_lock_close().
 *
 * Asks no server.
 *
 * Returns STILE_OK; or STILE_INVALID, STILE_CLOSED, STILE_FORKED,
 * STILE_UNSUPPORTED, STILE_NO_MEMORY.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_lock_open(stile *space, const char *name,
                                                        const stile_lock_options *options,
                                                        stile_lock **out);

/*
 * Closes a handle.  Who waits through it gets STILE_CLOSED first; a hold taken
 * through it stays, and can be released through another handle of the same
 * name.  NULL does nothing.
 *
 * Threads: any, while others wait through the handle; but no call may begin on
 * it any more.
 */
STILE_API void stile_lock_close(stile_lock *lock);

/*
 * Waits until the lock is free, then holds it.
 *
 * timeout_ms  longest wait in milliseconds; 0 tries once, STILE_FOREVER waits
 *             without limit.
 * hold        receives the hold.  Written only with STILE_OK.
 *
 * Returns STILE_OK, and the caller owes one stile_lock_release(); or, holding
 * nothing,
 *   STILE_TIMEOUT      somebody else held it for all of timeout_ms;
 *   STILE_CANCELLED    the options' cancellation was fired;
 *   STILE_CLOSED       the space or the handle was closed;
 *   STILE_DEADLOCK     the wait would be without limit or cancellation, and the
 *                      calling thread itself took the hold that it waits for, and
 *                      never said with stile_lock_hand_over() that another goes on
 *                      with it.  Not for a hold that ends by itself: fixed_lease,
 *                      max_hold_ms;
 *   STILE_INVALID      an argument is wrong;
 *   STILE_NO_MEMORY    and nothing was changed;
 *   STILE_UNREACHABLE  the server could not be asked (redis);
 *   STILE_UNKNOWN      it was asked and did not answer in time (redis): the
 *                      library gives back what may have been taken;
 *   STILE_REFUSED, STILE_AUTH, STILE_WRONG_KIND, STILE_PROTOCOL,
 *   STILE_OVERFLOW, STILE_FORKED  as status.h has them (redis).
 *
 * It comes back at most 20 ms or 5 % after timeout_ms, whatever the server
 * does; a try (0) is bounded by the space's command timeout.
 *
 * Threads: any.  Not a cancellation point.
 */
STILE_API STILE_MUST_CHECK stile_status stile_lock_acquire(stile_lock *lock, int64_t timeout_ms,
                                                           stile_hold *hold);

/*
 * The same with other options than the handle's, for this hold alone.  NULL
 * means the handle's.
 */
STILE_API STILE_MUST_CHECK stile_status stile_lock_acquire_with(stile_lock *lock,
                                                                int64_t timeout_ms,
                                                                const stile_lock_options *options,
                                                                stile_hold *hold);

/*
 * Starts to acquire and returns at once.
 *
 * timeout_ms  as above; 0 tries once.
 * options     NULL for the handle's.
 * callback    told when the future is done, on a thread of the library; NULL: not.
 *             stile/future.h has the rules.
 * argument    passed on to it.
 * out         receives the future; the caller owes one stile_future_close().
 *
 * Returns STILE_OK, and what became of it is the future's to say; or
 * STILE_INVALID, STILE_CLOSED, STILE_FORKED, STILE_NO_MEMORY.
 *
 * redis: the requests of a space's futures follow one another, so that a timeout may
 * be noticed late by the time that one request takes.
 *
 * Threads: any; asks no server.
 */
STILE_API STILE_MUST_CHECK stile_status stile_lock_start(stile_lock *lock, int64_t timeout_ms,
                                                         const stile_lock_options *options,
                                                         stile_future_callback *callback,
                                                         void *argument, stile_future **out);

/* The most locks that one stile_lock_acquire_any() can wait for. */
#define STILE_ANY_MAX 64

/*
 * Waits until one of several locks is free, then holds that one.
 *
 * locks  count of them, 1 to STILE_ANY_MAX, of any spaces, no two of one lock.
 * which  receives the index of the one that was taken.
 * hold   receives its hold.
 *
 * Each is acquired with its handle's options; among those that are free the first
 * is taken.  The places in the queues of the others are given up.
 *
 * Returns what stile_lock_acquire() returns.  A lock that cannot be waited for
 * fails the whole, and nothing is held.
 *
 * Threads: any.  Not a cancellation point.
 */
STILE_API STILE_MUST_CHECK stile_status stile_lock_acquire_any(stile_lock *const *locks,
                                                               size_t count, int64_t timeout_ms,
                                                               size_t *which, stile_hold *hold);

/*
 * Gives the lock back; the first who waits gets it.
 *
 * hold  from any handle of this name in this space, by any thread.
 *
 * Returns STILE_OK; or
 *   STILE_LOST         its lease had ended before the call: the lock may be
 *                      somebody else's, and was not touched;
 *   STILE_NOT_HELD     never taken, already released, or of another lock;
 *   STILE_UNREACHABLE, STILE_UNKNOWN, STILE_REFUSED  the server did not confirm
 *                      it (redis): the hold is over for the caller all the
 *                      same, the library goes on trying, and the lease ends it
 *                      at the latest;
 *   STILE_CLOSED       the space was closed before (redis): the lease ends it;
 *   STILE_INVALID, STILE_FORKED.
 *
 * Releasing again what was lost says STILE_LOST or STILE_NOT_HELD.
 *
 * Threads: any; of several releases of one hold one wins.
 */
STILE_API stile_status stile_lock_release(stile_lock *lock, const stile_hold *hold);

/*
 * Adds to a hold's lease.  A hold without an end stays without.
 *
 * add_ms  1 to ten years.  Never shortens; the whole is at most ten years, and
 *         never beyond the hold's max_hold_ms.
 *
 * Returns STILE_OK; STILE_LOST when it had ended, and it is not revived;
 * STILE_NOT_HELD; STILE_INVALID; or, the lease being as it was or longer,
 * STILE_UNREACHABLE, STILE_UNKNOWN, STILE_REFUSED (redis), STILE_FORKED.
 *
 * Threads: any.
 */
STILE_API stile_status stile_lock_extend(stile_lock *lock, const stile_hold *hold, int64_t add_ms);

/*
 * Says whether a hold still counts, by the local clock alone.
 *
 * valid_ms  receives for how long the holder may go on believing, in
 *           milliseconds, STILE_FOREVER for a hold without an end.  NULL if
 *           the answer is enough.  Written only with STILE_OK.
 *
 * Returns STILE_OK, STILE_LOST, STILE_NOT_HELD, STILE_INVALID or STILE_FORKED.
 *
 * Threads: any; takes no lock and asks nobody.
 */
STILE_API STILE_MUST_CHECK stile_status stile_lock_check(stile_lock *lock, const stile_hold *hold,
                                                         int64_t *valid_ms);

/*
 * Watches a hold: stile/watch.h says what for.
 *
 * callback  told of every change of state, the first time only if it is not held
 *           any more; NULL: not.
 * out       receives the watch; the caller owes one stile_watch_close().
 *
 * Returns STILE_OK, also for a hold that is lost but not released: the watch says
 * so; STILE_NOT_HELD; STILE_INVALID, STILE_CLOSED, STILE_FORKED, STILE_NO_MEMORY.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_lock_watch(stile_lock *lock, const stile_hold *hold,
                                                         stile_watch_callback *callback,
                                                         void *argument, stile_watch **out);

/*
 * Says that another thread goes on with the hold.  Only the report of a
 * self-deadlock needs it: without it the thread that acquired is taken to be the
 * one that would have to release.
 *
 * Returns STILE_OK, STILE_LOST, STILE_NOT_HELD, STILE_INVALID or STILE_FORKED.
 *
 * Threads: any.
 */
STILE_API stile_status stile_lock_hand_over(stile_lock *lock, const stile_hold *hold);

/* The size of a token, its end included. */
#define STILE_TOKEN_SIZE 96

/*
 * Gives a hold away, to whoever adopts it by its token: another process that uses
 * the same server, or with local: any thread with the same space.
 *
 * token  receives a text without blanks or quotes.  It is a secret: who has it can
 *        release the lock.
 *
 * From now on the hold is over here: every call about it says STILE_NOT_HELD.  The
 * lock stays taken.  With redis:// the lease is renewed once more, if the server can
 * be asked, and then by nobody until it is adopted; if it is not, it ends.  With
 * local: a hold without an end stays until somebody adopts it.
 *
 * Returns STILE_OK; STILE_LOST, STILE_NOT_HELD, STILE_INVALID, STILE_FORKED.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_lock_give(stile_lock *lock, const stile_hold *hold,
                                                        char token[STILE_TOKEN_SIZE]);

/*
 * Takes over a hold that was given away, and renews it from now on, with the
 * options of the handle.
 *
 * token  from stile_lock_give(), of the same lock.
 * hold   receives the hold; its fence is at least that of the hold given away.
 *        Written only with STILE_OK.
 *
 * With local: what is left of the giver's min_hold_ms goes on; with redis:// it is
 * not known here, and that of the handle counts from now.
 *
 * Returns STILE_OK, and the caller owes one stile_lock_release(); STILE_LOST when
 * the lease has ended or it was released; STILE_INVALID when the token is none or
 * of another lock; STILE_NO_MEMORY, STILE_CLOSED, STILE_FORKED, STILE_UNREACHABLE,
 * STILE_UNKNOWN, STILE_REFUSED, STILE_PROTOCOL.
 *
 * Threads: any.  A token is to be adopted once.  With redis:// two who adopt it are
 * taken for one holder; with local: the second gets STILE_LOST.
 */
STILE_API STILE_MUST_CHECK stile_status stile_lock_adopt(stile_lock *lock, const char *token,
                                                         stile_hold *hold);

/*
 * Tells who holds the lock and who waits for it.
 *
 * info  receives it; the caller owes one stile_lock_info_free().  Written only
 *       with STILE_OK.  At most 100 waiters are listed.
 *
 * local: thread, label and since of the holder are known of holds that were given
 * a label or had to wait; the uncontended way writes nothing down but the lock's
 * word.  Waiters are known always.
 *
 * Returns STILE_OK; STILE_INVALID, STILE_CLOSED, STILE_FORKED, STILE_NO_MEMORY;
 * and with redis:// STILE_UNREACHABLE, STILE_UNKNOWN, STILE_REFUSED, STILE_AUTH,
 * STILE_WRONG_KIND, STILE_PROTOCOL.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_lock_inspect(stile_lock *lock, stile_lock_info *info);

/*
 * Takes the lock away from whoever holds it; the first who waits gets it.  For an
 * operator who knows that the holder is gone or must not go on: the holder finds
 * out at its next call about the hold or, with redis://, at its next renewal, and
 * may believe until then.
 *
 * Returns STILE_OK; STILE_MISSING when nobody held it; or as stile_lock_inspect().
 *
 * Threads: any.
 */
STILE_API stile_status stile_lock_force_release(stile_lock *lock);

STILE_END_DECLS

#endif
