/*
 * The word of a lock in this process.
 *
 * Bit 0 HELD, bit 1 QUEUED, bits 2..63 the fence of the last acquire.  Acquire is a
 * compare-and-swap from "not held, not queued" to the next fence and HELD; release
 * one from the own fence and HELD to not held.  QUEUED sends both the slow way, to
 * the backend.
 */
#ifndef STILE_BASE_LOCK_WORD_H
#define STILE_BASE_LOCK_WORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <stile/hold.h>

#include "base/os.h"

#define LOCK_HELD UINT64_C(1)
#define LOCK_QUEUED UINT64_C(2)
#define LOCK_FENCE_SHIFT 2
#define LOCK_NEXT_FENCE (UINT64_C(1) << LOCK_FENCE_SHIFT)

/* What a hold of that fence makes of the word, QUEUED aside. */
static inline uint64_t lock_word_held(uint64_t fence)
{
    return fence << LOCK_FENCE_SHIFT | LOCK_HELD;
}

/* Takes a lock that is free and that nobody queues for; the hold is of object, and
 * has no lease. */
static inline bool lock_word_take(_Atomic uint64_t *word, const void *object, stile_hold *hold)
{
    uint64_t seen = os_load(word, memory_order_relaxed);

    /* Acquire: what the last owner did is seen. */
    if ((seen & (LOCK_HELD | LOCK_QUEUED)) ||
        !os_cas(word, &seen, (seen + LOCK_NEXT_FENCE) | LOCK_HELD, memory_order_acquire))
        return false;
    hold->fence = (seen >> LOCK_FENCE_SHIFT) + 1;
    hold->object = object;
    hold->id[0] = 0;
    hold->id[1] = 0;
    hold->slot = 0;
    hold->generation = 0;
    return true;
}

/* Gives back what lock_word_take() took, if nobody queues. */
static inline bool lock_word_give(_Atomic uint64_t *word, const stile_hold *hold)
{
    uint64_t held = lock_word_held(hold->fence);

    /* Release: the next owner sees what this one did. */
    return os_cas(word, &held, held & ~LOCK_HELD, memory_order_release);
}

#endif
