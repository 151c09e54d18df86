/*
 * The loops of struct lock_kind around the two calls of a kind.
 */
#ifndef LOCK_LOOPS_H
#define LOCK_LOOPS_H

#include "lock_kinds.h"

#include <stile/stile.h>

typedef bool lock_call(void *lock, stile_hold *hold);

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE bool loop_pairs(lock_call *take, lock_call *give, void *lock, unsigned turns)
{
    bool good = true;

    while (turns-- > 0) {
        stile_hold hold;

        good &= take(lock, &hold) && give(lock, &hold);
    }
    return good;
}

ALWAYS_INLINE bool loop_sections(lock_call *take, lock_call *give, void *lock, unsigned turns,
                                 struct lock_section *section)
{
    bool good = true;

    while (turns-- > 0) {
        stile_hold hold;

        good &= take(lock, &hold);
        lock_section_run(section);
        good &= give(lock, &hold);
    }
    return good;
}

ALWAYS_INLINE bool loop_nested(lock_call *take, lock_call *give, void *lock, unsigned turns)
{
    bool good = true;

    while (turns-- > 0) {
        stile_hold outer, middle, inner;

        good &= take(lock, &outer) && take(lock, &middle) && take(lock, &inner) &&
                give(lock, &inner) && give(lock, &middle) && give(lock, &outer);
    }
    return good;
}

/* kind_lock and kind_unlock, of functions that say nothing; of functions that say
 * whether they succeeded. */
#define CALLS_OF(kind, take, give)                                                                 \
    static bool kind##_lock(void *lock, stile_hold *hold)                                          \
    {                                                                                              \
        (void)hold;                                                                                \
        take(lock);                                                                                \
        return true;                                                                               \
    }                                                                                              \
    static bool kind##_unlock(void *lock, stile_hold *hold)                                        \
    {                                                                                              \
        (void)hold;                                                                                \
        give(lock);                                                                                \
        return true;                                                                               \
    }
#define CHECKED_CALLS_OF(kind, take, give, success)                                                \
    static bool kind##_lock(void *lock, stile_hold *hold)                                          \
    {                                                                                              \
        (void)hold;                                                                                \
        return take(lock) == (success);                                                            \
    }                                                                                              \
    static bool kind##_unlock(void *lock, stile_hold *hold)                                        \
    {                                                                                              \
        (void)hold;                                                                                \
        return give(lock) == (success);                                                            \
    }

#define PAIRS_OF(kind)                                                                             \
    static bool kind##_pairs(void *lock, unsigned turns)                                           \
    {                                                                                              \
        return loop_pairs(kind##_lock, kind##_unlock, lock, turns);                                \
    }

/* The loops of a kind whose calls are kind_lock and kind_unlock. */
#define LOOPS_OF(kind)                                                                             \
    PAIRS_OF(kind)                                                                                 \
    static bool kind##_sections(void *lock, unsigned turns, struct lock_section *section)          \
    {                                                                                              \
        return loop_sections(kind##_lock, kind##_unlock, lock, turns, section);                    \
    }

/* The same of a reentrant one. */
#define REENTRANT_LOOPS_OF(kind)                                                                   \
    PAIRS_OF(kind)                                                                                 \
    static bool kind##_nested(void *lock, unsigned turns)                                          \
    {                                                                                              \
        return loop_nested(kind##_lock, kind##_unlock, lock, turns);                               \
    }

/* The members of struct lock_kind that LOOPS_OF(kind) makes, and the two calls. */
#define LOCK_CALLS(kind)                                                                           \
    .lock = kind##_lock, .unlock = kind##_unlock, .pairs = kind##_pairs, .sections = kind##_sections

#define REENTRANT_CALLS(kind) .pairs = kind##_pairs, .nested = kind##_nested

/* Zeroed, in cache lines that nothing else is in.  NULL, and a line on stderr. */
void *lock_allocate(size_t size);

/* A space on local:, and a lock of either kind in it; NULL as above. */
struct lock_own {
    stile *space;
    stile_lock *lock;
    stile_rlock *rlock;
};
void *lock_own_create(void);
void lock_own_destroy(void *own);

/* A pthread_mutex_t of this type; NULL as above. */
void *lock_mutex_create(int type);
void lock_mutex_destroy(void *mutex);

#endif
