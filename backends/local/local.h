/*
 * The local: backend, shared by its files.
 */
#ifndef STILE_LOCAL_H
#define STILE_LOCAL_H

#include <stdatomic.h>
#include <stdint.h>

#include "backend.h"
#include "base/lease.h"
#include "base/names.h"
#include "lock_ops.h"

struct local_space {
    stile base; /* first: the part the core knows */
    struct stile_names names;
    struct stile_leases leases;
    /* No fence of any object that is gone was higher: new ones start above it,
     * so that the fences of a name rise even across its objects. */
    _Atomic uint64_t fence_floor;
    /* Guards the lists of watches of all holds that have no lease. */
    struct stile_mutex watch_mutex;
    uint64_t token_id; /* random: in every token that is given here */
};

extern const struct stile_lock_ops stile__local_lock_ops;

/* What local_space.c asks of the lock. */
struct stile_named *stile__local_lock_make(struct local_space *space);
bool stile__local_lock_busy(struct stile_named *named);
void stile__local_lock_destroy(struct local_space *space, struct stile_named *named);
/* Settles all waiters with STILE_CLOSED; nobody acquires any more. */
void stile__local_lock_close(struct stile_named *named);
/* Ends the hold of that fence, if it is still the one, and grants on. */
void stile__local_lock_lapse(struct stile_named *named, uint64_t fence);

#endif
