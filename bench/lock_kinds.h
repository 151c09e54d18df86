/*
 * The locks that take turns in the rows of the lock: stile's and those that one
 * would use instead.
 */
#ifndef LOCK_KINDS_H
#define LOCK_KINDS_H

#include "bench.h"

#include <stdint.h>

#include <stile/hold.h>

/* What is done while the lock is held: a chain of steps on one shared word. */
struct lock_section {
    uint64_t word;
    unsigned steps;
};

/* One section.  Not inlined anywhere, so that it is the same for everybody. */
void lock_section_run(void *section);
/* Sets how many steps take this long here. */
void lock_section_fit(struct lock_section *section, double ns);

/*
 * A kind of lock.  Each has its loops, in which its calls are inlined as far as its
 * users have them inlined.  All but create and destroy may be called by several
 * threads at once.
 */
struct lock_kind {
    const char *name;
    bool spins; /* its waiters never sleep: shown for scale, nobody's rival */
    /* NULL, and a line on stderr: there is none.  The member itself is NULL when the
     * kind was not installed when stile-bench was built; so are the rest then. */
    void *(*create)(void);
    void (*destroy)(void *lock);
    /* Two calls: hold is for whoever gives one.  NULL in a reentrant kind. */
    bool (*lock)(void *lock, stile_hold *hold);
    bool (*unlock)(void *lock, stile_hold *hold);
    /* Locks and unlocks. */
    bool (*pairs)(void *lock, unsigned turns);
    /* The same around a section; NULL in a reentrant kind. */
    bool (*sections)(void *lock, unsigned turns, struct lock_section *section);
    /* Locks three times, and unlocks three times; NULL if it is not reentrant. */
    bool (*nested)(void *lock, unsigned turns);
};

enum { LOCK_KINDS_MAX = BENCH_CONTENDERS_MAX };

/* stile first, the spinning ones last; each ends with a kind without a name. */
extern const struct lock_kind lock_kinds[];
extern const struct lock_kind lock_reentrant_kinds[];

#endif
