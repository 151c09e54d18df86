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
 * it holds waits like any other.
 *
 * fork: what a child inherits of a redis:// space answers STILE_FORKED.  With
 * local: the child has a copy of its own, usable if no other thread was inside
 * a call at the time.
 */
#ifndef STILE_LOCK_H
#define STILE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include <stile/api.h>
#include <stile/hold.h>
#include <stile/space.h>
#include <stile/status.h>

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
 *   STILE_CLOSED       the wait was ended from outside;
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

STILE_END_DECLS

#endif
