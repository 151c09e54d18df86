/*
 * A future: an acquire that is under way while its caller does something else.
 *
 * stile_lock_start() and the calls like it for other objects return at once with
 * a future.  Its end is learned in any of four ways, which can be mixed:
 *
 *     callback     called on a thread of the library
 *     descriptor   becomes readable: for poll, epoll, libuv, ...
 *     question     stile_future_done()
 *     wait         stile_future_wait(), stile_future_wait_any()
 *
 * and then stile_future_take() gives the result and the hold.
 *
 * Callbacks run on one thread of the space, one after the other, outside every
 * lock of the library.  They may call anything of it but stile_close(); one that
 * blocks delays the others of its space.  They must not exit their thread.
 */
#ifndef STILE_FUTURE_H
#define STILE_FUTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stile/api.h>
#include <stile/hold.h>
#include <stile/status.h>

STILE_BEGIN_DECLS

typedef struct stile_future stile_future;

/* Told once, when the future is done; perhaps before the call that started it has
 * returned. */
typedef void stile_future_callback(stile_future *future, void *argument);

/*
 * Returns whether it is done: what stile_future_take() will say is settled.
 *
 * Threads: any.
 */
STILE_API bool stile_future_done(const stile_future *future);

/*
 * Gives a descriptor that is readable once the future is done, and stays so.
 *
 * fd  receives it.  It belongs to the future, is closed with it, and is only to
 *     be polled, neither read nor written.
 *
 * Returns STILE_OK, STILE_INVALID, or STILE_NO_MEMORY when descriptors ran out.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_future_fd(stile_future *future, int *fd);

/*
 * Waits until the future is done.
 *
 * timeout_ms  0 only looks, STILE_FOREVER waits without limit.
 *
 * Returns STILE_OK when it is done, whatever its result; STILE_TIMEOUT;
 * STILE_INVALID; STILE_NO_MEMORY; STILE_FORKED in a child of fork(), where nobody
 * ends it.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_future_wait(stile_future *future, int64_t timeout_ms);

/*
 * Waits until one of several futures is done; they may be of different objects
 * and spaces.  The others stay under way.  To take only one of several locks,
 * use stile_lock_acquire_any().
 *
 * futures  count of them, none NULL.
 * which    receives the index of one that is done, the lowest.  Written only
 *          with STILE_OK.
 *
 * Returns STILE_OK; STILE_TIMEOUT; STILE_INVALID; STILE_NO_MEMORY; STILE_FORKED.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_future_wait_any(stile_future *const *futures,
                                                              size_t count, int64_t timeout_ms,
                                                              size_t *which);

/*
 * Ends it early: its result will be STILE_CANCELLED, unless it is done, or the
 * grant is quicker.  Returns at once.
 *
 * Threads: any.
 */
STILE_API void stile_future_cancel(stile_future *future);

/*
 * Gives the result, once.
 *
 * hold  receives the hold.  Written only with STILE_OK; then the caller owes its
 *       release.
 *
 * Returns what the acquire would have returned; or STILE_INVALID when the future
 * is not done or its hold was taken already.
 *
 * Threads: any; of several one gets the hold.
 */
STILE_API STILE_MUST_CHECK stile_status stile_future_take(stile_future *future, stile_hold *hold);

/*
 * Frees the future.  One that is under way is cancelled; a hold that nobody took
 * is released.  When it returns, nothing of it is left, and the callback does not
 * run and will not, unless it is the callback itself that closes.  NULL does nothing.
 *
 * redis: for that it asks the server, for at most the command timeout each.  In a
 * child of fork() it only frees.
 *
 * Threads: one, once; not while another thread uses the future.
 */
STILE_API void stile_future_close(stile_future *future);

STILE_END_DECLS

#endif
