/*
 * The reentrant lock, shared by its files, and what a space keeps for it.
 */
#ifndef STILE_SRC_RLOCK_H
#define STILE_SRC_RLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include <stile/rlock.h>

#include "base/names.h"

/* Of one name: its first member is a struct stile_named. */
struct stile_rlock_state;
/* How deep one owner holds one name. */
struct stile_rlock_count;

struct stile_rlock {
    stile_lock *lock;
    struct stile_rlock_state *state;
    uint64_t owner;  /* 0: the calling thread */
    uint64_t serial; /* of the state if the owner is the thread, else 0 */
};

static inline struct stile_named *stile__rlock_named(struct stile_rlock_state *state)
{
    return (struct stile_named *)(void *)state;
}

struct stile_named *stile__rlock_make(void);
bool stile__rlock_busy(struct stile_named *named);
void stile__rlock_destroy(struct stile_named *named);

/* ---- what futures need: owners are numbers, one thread at a time each ------------- */

bool stile__rlock_holds(struct stile_rlock_state *state, uint64_t owner);
/* The next level of an owner that holds it. */
stile_status stile__rlock_deeper(stile_rlock *rlock, uint64_t owner, stile_hold *hold);
/* A count for a hold that is to come; freed with free() if it does not. */
stile_status stile__rlock_provide(struct stile_rlock_count **fresh);
void stile__rlock_begin(struct stile_rlock_state *state, uint64_t owner,
                        struct stile_rlock_count *fresh, const stile_hold *outer);
stile_status stile__rlock_release(stile_lock *lock, struct stile_rlock_state *state,
                                  const stile_hold *hold);

#endif
