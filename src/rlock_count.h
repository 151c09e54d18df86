/*
 * The reentrant lock, composed of a lock and a count that its owner keeps.
 *
 * The count of a thread is in a list of the thread's own, so that a deeper acquire
 * touches nothing that others do, and that an owner whose lease ended finds its own
 * count still there, whoever holds the lock now.  Owners that are a number of the
 * caller's have their counts in the name's state, under its mutex; a count is touched
 * by its owner alone, one thread at a time.
 *
 * A count refers to the name's state by a serial number that is never used again: it
 * may outlive the space.
 *
 * A hold of the outermost level is that of the lock.  One of a deeper level has the
 * same fence and slot, and in id its level's number and that of the level above; a
 * number is never used twice within one count.
 */
#ifndef STILE_SRC_RLOCK_COUNT_H
#define STILE_SRC_RLOCK_COUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/names.h"
#include "base/os.h"
#include "lock_word.h"
#include "rlock.h"

/* No number of revocations. */
#define WITH_LEASE UINT64_MAX

/* How deep one owner holds one name.  In cache lines of its own: what is written and read
 * again at once must not lie across two. */
struct stile_rlock_count {
    _Alignas(64) struct stile_rlock_count *next; /* of the same thread or name; or idle */
    uint64_t serial;                             /* of the state */
    uint64_t owner;                              /* 0 for a thread */
    uint64_t depth;
    uint64_t top;  /* the number of the deepest level; 0: it is the outermost */
    uint64_t last; /* number given */
    /* What the state's was when it was acquired without a lease.  If it is another now, or
     * WITH_LEASE, a look is due whether the hold still counts. */
    uint64_t revocations;
    /* The outermost hold. */
    const void *object;
    uint64_t fence;
    uint32_t slot, generation;
    uint64_t id[2];
};

/* What a thread keeps: most recently acquired first. */
struct stile_rlock_counts {
    struct stile_rlock_count *held;
    struct stile_rlock_count *idle;
};

struct stile_rlock_state {
    struct stile_named named; /* first: what the table of names knows */
    uint64_t serial;
    struct stile_mutex mutex;
    struct stile_rlock_count *numbered; /* counts of owners that are numbers, under the mutex */
    /* What may be held by a count that needs the serial, so that this has to stay though
     * nobody has a handle: the lock's word, as long as somebody has one, and how many
     * counts are of holds with a lease. */
    const struct stile_lock_word *_Atomic word;
    _Atomic uint32_t leased;
    /* How often it was taken away by force: a hold without a lease that was acquired
     * before may have been the one. */
    _Atomic uint64_t revocations;
};

static inline struct stile_rlock_state *state_of_named(struct stile_named *named)
{
    return (struct stile_rlock_state *)(void *)named;
}

/* ---- counts ------------------------------------------------------------------------- */

/* Sees to it that the thread has an idle count, before there is a hold: noting it cannot
 * fail then. */
stile_status stile__rlock_provide_idle(void);
/* The owner has released the outermost level. */
void stile__rlock_end(struct stile_rlock_state *state, struct stile_rlock_count *count);

/* The owner's count of this name, or NULL.  owner 0 is the calling thread. */
static inline struct stile_rlock_count *find_count(struct stile_rlock_state *state, uint64_t owner)
{
    const struct stile_rlock_counts *counts = *os_kept();
    struct stile_rlock_count *count;

    if (owner == 0) {
        count = counts == NULL ? NULL : counts->held;
        while (count != NULL && count->serial != state->serial)
            count = count->next;
        return count;
    }
    stile__mutex_lock(&state->mutex);
    count = state->numbered;
    while (count != NULL && count->owner != owner)
        count = count->next;
    stile__mutex_unlock(&state->mutex);
    return count;
}

static inline void push(struct stile_rlock_count **list, struct stile_rlock_count *count)
{
    count->next = *list;
    *list = count;
}

static inline void begin(struct stile_rlock_state *state, uint64_t owner,
                         struct stile_rlock_count *count, const stile_hold *outer)
{
    count->serial = state->serial;
    count->owner = owner;
    count->depth = 1;
    count->top = 0;
    count->last = 0;
    count->revocations =
        outer->slot == 0 ? os_load(&state->revocations, memory_order_relaxed) : WITH_LEASE;
    count->object = outer->object;
    count->fence = outer->fence;
    count->slot = outer->slot;
    count->generation = outer->generation;
    count->id[0] = outer->id[0];
    count->id[1] = outer->id[1];
    if (outer->slot != 0)
        os_add(&state->leased, 1, memory_order_relaxed);
}

/* The same for the calling thread, with its first idle count, after which comes next:
 * both were read before the lock was taken, since nothing is read early across that. */
static inline void begin_by_thread(struct stile_rlock_state *state,
                                   struct stile_rlock_counts *counts,
                                   struct stile_rlock_count *count, struct stile_rlock_count *next,
                                   const stile_hold *outer)
{
    counts->idle = next;
    begin(state, 0, count, outer);
    push(&counts->held, count);
}

/* The same for a thread that holds nothing, whose count was this name's before, with the
 * fence that is one less, and no lease: the rest stands there. */
static inline void begin_again(struct stile_rlock_state *state, struct stile_rlock_counts *counts,
                               struct stile_rlock_count *count, struct stile_rlock_count *next)
{
    counts->idle = next;
    count->fence++;
    count->revocations = os_load(&state->revocations, memory_order_relaxed);
    count->next = NULL;
    counts->held = count;
}

/* ---- levels ------------------------------------------------------------------------- */

static inline bool is_outer(const struct stile_rlock_count *count, const stile_hold *hold)
{
    return hold->id[0] == count->id[0] && hold->id[1] == count->id[1];
}

static inline bool is_deepest(const struct stile_rlock_count *count, const stile_hold *hold)
{
    return count->top == 0 ? is_outer(count, hold)
                           : hold->id[0] == count->top && !is_outer(count, hold);
}

/* Whether hold is a level of count. */
static inline bool matches(const struct stile_rlock_count *count, const stile_hold *hold)
{
    return count->fence == hold->fence && count->object == hold->object &&
           count->slot == hold->slot && count->generation == hold->generation;
}

/* The count that hold is a level of, if its owner is the calling thread or a number. */
static inline struct stile_rlock_count *count_of_hold(struct stile_rlock_state *state,
                                                      const stile_hold *hold)
{
    const struct stile_rlock_counts *counts = *os_kept();
    struct stile_rlock_count *count = counts == NULL ? NULL : counts->held;

    while (count != NULL && (count->serial != state->serial || !matches(count, hold)))
        count = count->next;
    if (count != NULL)
        return count;
    stile__mutex_lock(&state->mutex);
    count = state->numbered;
    while (count != NULL && !matches(count, hold))
        count = count->next;
    stile__mutex_unlock(&state->mutex);
    return count;
}

static inline void fill(const struct stile_rlock_count *count, uint64_t id, uint64_t above,
                        stile_hold *hold)
{
    hold->fence = count->fence;
    hold->object = count->object;
    hold->id[0] = id;
    hold->id[1] = above;
    hold->slot = count->slot;
    hold->generation = count->generation;
}

static inline void fill_outer(const struct stile_rlock_count *count, stile_hold *outer)
{
    fill(count, count->id[0], count->id[1], outer);
}

/* Whether it is held without asking: only force could have taken it. */
static inline bool is_sure(struct stile_rlock_state *state, const struct stile_rlock_count *count)
{
    return count->revocations == os_load(&state->revocations, memory_order_relaxed);
}

static inline void descend(struct stile_rlock_count *count, stile_hold *hold)
{
    uint64_t level = ++count->last;

    fill(count, level, count->top, hold);
    count->depth++;
    count->top = level;
}

#endif
