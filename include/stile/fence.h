/*
 * The fence check: what a resource does to be safe from a holder that was
 * paused.
 *
 * A lease can run out while its holder is stopped, and the holder cannot know.
 * When it goes on, it still believes.  The resource that the lock protects can
 * tell: it remembers the highest fence it has seen and refuses lower ones.
 * docs/promises.md shows the same check as an SQL statement.
 */
#ifndef STILE_FENCE_H
#define STILE_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#include <stile/api.h>

STILE_BEGIN_DECLS

/*
 * Returns whether a write with this fence may go on, and remembers the fence.
 *
 * highest  belongs to the resource and starts as 0.  Raised to fence when that
 *          is higher; never lowered.
 * fence    of the writer's hold.  0 is no fence, and refused.
 *
 * True when no higher fence was seen before; a holder may write many times.
 *
 * Threads: the caller lets one in at a time, together with the write itself; a
 * check apart from the write protects nothing.
 */
STILE_API STILE_MUST_CHECK bool stile_fence_check(uint64_t *highest, uint64_t fence);

STILE_END_DECLS

#endif
