/*
 * A cancellation: ends waits from outside.
 *
 * It is named in the options of the calls that it shall be able to end, of one
 * handle or of a hundred calls at once, of any kind of object and in any space:
 *
 *     stile_lock_options options = {.cancel = shutdown};
 *     status = stile_lock_acquire_with(lock, STILE_FOREVER, &options, &hold);
 *
 * and another thread says stile_cancel_fire(shutdown).  Every call that waits
 * with it then answers STILE_CANCELLED and has taken nothing; one that was
 * granted what it waits for at that moment says STILE_OK, and has it.
 */
#ifndef STILE_CANCEL_H
#define STILE_CANCEL_H

#include <stdbool.h>

#include <stile/api.h>
#include <stile/status.h>

STILE_BEGIN_DECLS

typedef struct stile_cancel stile_cancel;

/*
 * Makes a cancellation that has not fired.
 *
 * out  receives it; the caller owes one stile_cancel_close().
 *
 * Returns STILE_OK, STILE_INVALID or STILE_NO_MEMORY.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_cancel_open(stile_cancel **out);

/*
 * Frees it.  No call may be waiting with it, and no handle may have it in its
 * options any more.  NULL does nothing.
 *
 * Threads: one, when no other uses it.
 */
STILE_API void stile_cancel_close(stile_cancel *cancel);

/*
 * Ends every wait that names it, now and from now on.  It stays fired; firing
 * again does nothing.
 *
 * Returns at once; those who wait return by themselves.  A call that is talking
 * to a server at that moment first gets its answer, or gives up at the command
 * timeout.
 *
 * Threads: any.  Not from a signal handler.
 */
STILE_API void stile_cancel_fire(stile_cancel *cancel);

/*
 * Returns whether it was fired.
 *
 * Threads: any.
 */
STILE_API bool stile_cancel_fired(const stile_cancel *cancel);

STILE_END_DECLS

#endif
