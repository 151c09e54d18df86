/*
 * A lock of each kind, and their parts in a match.
 */
#ifndef LOCK_STAGE_H
#define LOCK_STAGE_H

#include "lock_kinds.h"

struct lock_contender {
    const struct lock_kind *kind;
    void *lock;
    void *work; /* what the run wants to know besides */
};

struct lock_stage {
    size_t count;
    struct lock_contender contenders[BENCH_CONTENDERS_MAX];
};

/* Creates a lock of each kind that is installed.  A failed init leaves nothing. */
bool lock_stage_init(struct lock_stage *stage, const struct lock_kind *kinds);
void lock_stage_fini(struct lock_stage *stage);

/* Makes them the contenders of a match: run gets a struct lock_contender that has
 * this work.  Those whose waiters sleep become stile's rivals.  goal is for the ratio
 * to pthread_mutex; 0: none. */
void lock_stage_cast(struct lock_stage *stage, struct bench_match *match,
                     bool (*run)(void *context, double *values), void *work, double goal);

#endif
