/*
 * A hold: what every acquire gives and every release takes.
 *
 * It is a small value that belongs to the caller.  It may be copied and handed
 * to another thread; whoever releases it first has released it for all copies.
 * Releasing it again is answered with STILE_NOT_HELD and touches nothing, least
 * of all the next owner's hold.
 */
#ifndef STILE_HOLD_H
#define STILE_HOLD_H

#include <stdint.h>

#include <stile/api.h>

STILE_BEGIN_DECLS

typedef struct stile_hold {
    /* Greater than the fence of every earlier hold of the same name: send it
     * along with what the lock protects, see stile/fence.h.  0: the hold was
     * acquired without one. */
    uint64_t fence;
    /* The library's own. */
    const void *object;
    uint64_t id[2];
    uint32_t slot;
    uint32_t generation;
} stile_hold;

/* A hold of nothing. */
#define STILE_HOLD_INIT                                                                            \
    {                                                                                              \
        0, 0, {0, 0}, 0, 0                                                                         \
    }

STILE_END_DECLS

#endif
