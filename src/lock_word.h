/*
 * The word of a lock that lives in this process, who took it, and the two steps on it
 * that need nobody else.
 *
 * bit 0 HELD, bit 1 QUEUED, bits 2..63 the fence of the last acquire.  Acquire goes
 * from "not held, not queued" to the next fence and HELD; release from the own fence
 * and HELD to not held.  QUEUED sends both the backend's way.
 */
#ifndef STILE_LOCK_WORD_H
#define STILE_LOCK_WORD_H

#include <stdint.h>

#include "base/os.h"

#define STILE_WORD_HELD UINT64_C(1)
#define STILE_WORD_QUEUED UINT64_C(2)
#define STILE_WORD_FENCE_SHIFT 2
#define STILE_WORD_NEXT_FENCE (UINT64_C(1) << STILE_WORD_FENCE_SHIFT)

struct stile_lock_word {
    _Atomic uint64_t word;
    /* Which thread took which hold: see lock_word_owner().  Written by whoever makes it the
     * owner, after the word and before anybody has the hold.  So what was written for a
     * fence is there when the word has that fence or a later one, and a note of another
     * fence says nothing: nobody has to take it back. */
    _Atomic uint64_t owner;
};

/* The word while that fence holds, and nobody is queued. */
static inline uint64_t lock_word_held(uint64_t fence)
{
    return fence << STILE_WORD_FENCE_SHIFT | STILE_WORD_HELD;
}

/* What is noted of the thread, as stile__thread_number(), for the word of a hold; with 0 in
 * its upper half: nobody of whom it is known that only it can free the lock.  Two threads
 * give the same for no two holds less than 2^29 apart: while the words have the same upper
 * half the threads differ there; else the words differ in bit 31, where the system's numbers
 * have none. */
static inline uint64_t lock_word_owner(uint64_t held, uint64_t thread)
{
    return held ^ thread;
}

static inline void lock_word_note(struct stile_lock_word *word, uint64_t fence, uint64_t thread)
{
    os_store(&word->owner, lock_word_owner(lock_word_held(fence), thread), memory_order_relaxed);
}

/* The fence of the new hold, or 0: the lock is not free, or somebody is queued. */
static OS_FAST_PATH uint64_t lock_word_take(struct stile_lock_word *word, uint64_t thread)
{
    uint64_t seen = os_load(&word->word, memory_order_relaxed);
    uint64_t next = (seen + STILE_WORD_NEXT_FENCE) | STILE_WORD_HELD;

    if ((seen & (STILE_WORD_HELD | STILE_WORD_QUEUED)) ||
        !os_cas_seen(&word->word, seen, next, memory_order_acquire))
        return 0;
    os_store(&word->owner, lock_word_owner(next, thread), memory_order_relaxed);
    return next >> STILE_WORD_FENCE_SHIFT;
}

/* The same by who expects that this fence was the last, and so need not read the word
 * first: a read of what a locked instruction has just written waits for that.  It is not
 * noted who.  0: it was not, or is held, or somebody is queued. */
static OS_FAST_PATH uint64_t lock_word_take_after(struct stile_lock_word *word, uint64_t fence)
{
    uint64_t seen = fence << STILE_WORD_FENCE_SHIFT;
    uint64_t next = (seen + STILE_WORD_NEXT_FENCE) | STILE_WORD_HELD;

    if (os_alone() || !os_cas(&word->word, &seen, next, memory_order_acquire))
        return 0;
    return fence + 1;
}

/* False: somebody is queued, or it is not this fence that holds. */
static OS_FAST_PATH bool lock_word_free(struct stile_lock_word *word, uint64_t fence)
{
    uint64_t held = lock_word_held(fence), next = fence << STILE_WORD_FENCE_SHIFT;

    if (os_alone()) {
        if (os_load(&word->word, memory_order_relaxed) != held)
            return false;
        os_store(&word->word, next, memory_order_relaxed);
        return true;
    }
    /* Release: the next owner sees what this one did. */
    return os_cas(&word->word, &held, next, memory_order_release);
}

#endif
