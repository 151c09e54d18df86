/*
 * A reentrant lock: its owner may acquire it again.
 *
 * The owner is the thread, or a number that the caller chooses.  Every acquire
 * gives a hold of its own, one level deeper, and levels are released in the
 * reverse order; the lock comes free with the outermost.  That works across all
 * handles of one name in one space.  The levels are counted in the process: the
 * lease, its renewal and the fence are those of the outermost hold, and a deeper
 * acquire asks nobody.
 *
 * Otherwise it is the lock of stile/lock.h, which see.  The reentrant lock of a
 * name and the lock of that name are two different objects.
 *
 * Threads: a handle may be shared.
 */
#ifndef STILE_RLOCK_H
#define STILE_RLOCK_H

#include <stdint.h>

#include <stile/api.h>
#include <stile/future.h>
#include <stile/hold.h>
#include <stile/inspect.h>
#include <stile/lock.h>
#include <stile/space.h>
#include <stile/status.h>
#include <stile/watch.h>

STILE_BEGIN_DECLS

typedef struct stile_rlock stile_rlock;

/* How deep a reentrant lock can be held. */
#define STILE_RLOCK_DEPTH_MAX 1000000

/*
 * As the lock's; and who acquires.  What a deeper acquire asks for in lease, label
 * and the like has no effect: the outermost decided it.
 */
typedef struct stile_rlock_options {
    stile_lock_options lock;
    /* Who acquires: a number of the caller's, the same for all who are one owner;
     * 0 is the calling thread.  It means something in this process only. */
    uint64_t owner;
} stile_rlock_options;

/*
 * Opens a handle: as stile_lock_open().
 */
STILE_API STILE_MUST_CHECK stile_status stile_rlock_open(stile *space, const char *name,
                                                         const stile_rlock_options *options,
                                                         stile_rlock **out);

/*
 * Closes a handle: as stile_lock_close().
 */
STILE_API void stile_rlock_close(stile_rlock *rlock);

/*
 * Waits until the lock is free or the caller's own, then holds it one level
 * deeper.
 *
 * timeout_ms, hold  as stile_lock_acquire(); hold->fence is the same on all levels.
 *
 * Who owns it gets the next level at once, whatever the timeout.
 *
 * Returns what stile_lock_acquire() returns; and
 *   STILE_LOST      the caller is the owner, and the lease had ended: never a new
 *                   hold in silence.  Release the levels first;
 *   STILE_OVERFLOW  it is held STILE_RLOCK_DEPTH_MAX deep; nothing was changed.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_rlock_acquire(stile_rlock *rlock, int64_t timeout_ms,
                                                            stile_hold *hold);
/* The same with other options than the handle's.  NULL means the handle's. */
STILE_API STILE_MUST_CHECK stile_status stile_rlock_acquire_with(stile_rlock *rlock,
                                                                 int64_t timeout_ms,
                                                                 const stile_rlock_options *options,
                                                                 stile_hold *hold);

/*
 * Gives one level back.
 *
 * hold  of the deepest level.
 *
 * Returns what stile_lock_release() returns; STILE_NOT_HELD also to a hold of
 * another level than the deepest, and to a thread that is not the owner; nothing
 * was changed then.  STILE_LOST: the level is over like the others.
 *
 * Threads: the owner; with an owner number, any, one at a time.
 */
STILE_API stile_status stile_rlock_release(stile_rlock *rlock, const stile_hold *hold);

/*
 * Adds to the lease, of all levels: as stile_lock_extend().  hold may be of any
 * level.
 */
STILE_API stile_status stile_rlock_extend(stile_rlock *rlock, const stile_hold *hold,
                                          int64_t add_ms);

/*
 * Says whether a hold of any level still counts: as stile_lock_check().
 */
STILE_API STILE_MUST_CHECK stile_status stile_rlock_check(stile_rlock *rlock,
                                                          const stile_hold *hold,
                                                          int64_t *valid_ms);

/*
 * Returns how deep an owner holds it, 0 if it does not.
 *
 * owner  as in the options; 0 is the calling thread.
 *
 * Threads: any; the answer is lasting only for the owner itself.
 */
STILE_API uint64_t stile_rlock_depth(stile_rlock *rlock, uint64_t owner);

/*
 * Starts an acquire: as stile_lock_start().  options must name an owner, since
 * the thread that waits is the library's; else STILE_INVALID.
 */
STILE_API STILE_MUST_CHECK stile_status stile_rlock_start(stile_rlock *rlock, int64_t timeout_ms,
                                                          const stile_rlock_options *options,
                                                          stile_future_callback *callback,
                                                          void *argument, stile_future **out);

/*
 * Watches the hold, of all levels: as stile_lock_watch().  hold may be of any level.
 */
STILE_API STILE_MUST_CHECK stile_status stile_rlock_watch(stile_rlock *rlock,
                                                          const stile_hold *hold,
                                                          stile_watch_callback *callback,
                                                          void *argument, stile_watch **out);

/*
 * Tells who holds it and who waits: as stile_lock_inspect().
 */
STILE_API STILE_MUST_CHECK stile_status stile_rlock_inspect(stile_rlock *rlock,
                                                            stile_lock_info *info);

/*
 * Takes all levels away from the owner: as stile_lock_force_release().
 */
STILE_API stile_status stile_rlock_force_release(stile_rlock *rlock);

STILE_END_DECLS

#endif
