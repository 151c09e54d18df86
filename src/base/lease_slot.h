/*
 * The lease engine, shared by its files:
 *
 *   lease.c         what backends call about one hold
 *   lease_slot.c    the slots, and what ends in one
 *   lease_thread.c  when a lease is due, and the two threads
 */
#ifndef STILE_BASE_LEASE_SLOT_H
#define STILE_BASE_LEASE_SLOT_H

#include "base/deadline.h"
#include "base/lease.h"

/* But for LEASE_FREE as watches have them. */
enum lease_state {
    LEASE_FREE,
    LEASE_HELD = STILE_HELD,
    LEASE_SUSPECT = STILE_SUSPECT,
    LEASE_LOST = STILE_HOLD_LOST
};

/* All that the chunks have room for. */
#define STILE_LEASE_SLOTS_MAX                                                                      \
    (((uint32_t)STILE_LEASE_FIRST << STILE_LEASE_CHUNKS) - STILE_LEASE_FIRST)

struct stile_lease {
    /* generation << 2 | state.  Written under the table's mutex, but that anybody may
     * note what the clock says: LOST. */
    _Atomic uint64_t word;
    _Atomic int64_t valid_until_ns;
    _Atomic uint64_t fence; /* of the hold, as in terms */
    /* Under the table's mutex. */
    struct stile_lease_terms terms;
    int64_t renew_ns;       /* when a renewal is due; INT64_MAX: never */
    struct stile_timer due; /* at the earlier of renewal and end of belief */
    struct stile_timer end; /* at the end of belief, if it is watched */
    struct stile_link watches;
    bool lingers; /* it has no owner: freed when it lapses */
    uint32_t slot;
    uint32_t next_free;
};

static inline uint64_t word_of(uint32_t generation, enum lease_state state)
{
    return (uint64_t)generation << 2 | (uint64_t)state;
}

static inline struct stile_lease *slot_at(struct stile_leases *leases, uint32_t slot)
{
    uint32_t past = slot + STILE_LEASE_FIRST;
    uint32_t chunk = 0;
    struct stile_lease *base;

    /* A hold may be any bytes. */
    if (slot >= STILE_LEASE_SLOTS_MAX)
        return NULL;
    /* Chunk k begins at slot FIRST * (2^k - 1). */
    while (past >> (chunk + 1) >= STILE_LEASE_FIRST)
        chunk++;
    /* Acquire: pairs with the release that published the chunk. */
    base = os_load(&leases->chunks[chunk], memory_order_acquire);
    return base == NULL ? NULL : base + (past - ((uint32_t)STILE_LEASE_FIRST << chunk));
}

/* The lease that hold names, if it is that generation; else NULL. */
static inline struct stile_lease *lease_of(struct stile_leases *leases, const stile_hold *hold)
{
    struct stile_lease *lease = hold->slot == 0 ? NULL : slot_at(leases, hold->slot);
    uint64_t word;

    if (lease == NULL)
        return NULL;
    word = os_load(&lease->word, memory_order_acquire);
    if (word >> 2 != hold->generation || (word & 3) == LEASE_FREE)
        return NULL;
    return lease;
}

/* The same, for a hold that its owner shows, which may be any bytes.  Under the mutex. */
static inline struct stile_lease *shown_lease(struct stile_leases *leases, const stile_hold *hold)
{
    struct stile_lease *lease = lease_of(leases, hold);

    if (lease == NULL || lease->terms.fence != hold->fence || lease->terms.id[0] != hold->id[0] ||
        lease->terms.id[1] != hold->id[1])
        return NULL;
    return lease;
}

static inline enum lease_state state_of(struct stile_lease *lease)
{
    return (enum lease_state)(atomic_load_explicit(&lease->word, memory_order_relaxed) & 3);
}

/* Whether it counts at now. */
static inline bool counts(struct stile_lease *lease, int64_t now)
{
    return state_of(lease) != LEASE_LOST &&
           now < atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed);
}

/* ---- lease_slot.c, under the mutex -------------------------------------------------- */

/* Notes a state and tells the watches.  False: it was lost before, and stays so. */
bool stile__lease_become(struct stile_lease *lease, enum lease_state state);
/* To that point or the bound, if it is later: a renewal never takes back what an extension
 * gave. */
void stile__lease_believe(struct stile_lease *lease, int64_t valid_until_ns);
/* No more of this generation, which ended in that way; the next one is in that state. */
uint32_t stile__lease_next_generation(struct stile_leases *leases, struct stile_lease *lease,
                                      stile_hold_state end, enum lease_state state);
/* It ends in this way.  The caller drops the object that it returns. */
void *stile__lease_retire(struct stile_leases *leases, struct stile_lease *lease,
                          stile_hold_state end);

/* ---- lease_thread.c, under the mutex where nothing else is said --------------------- */

/* These two lock it: they start a thread if it is not there yet. */
stile_status stile__leases_start(struct stile_leases *leases);
stile_status stile__leases_start_clock(struct stile_leases *leases);
/* When a lease that was renewed at now is renewed next. */
int64_t stile__lease_next_renewal(const struct stile_lease *lease, int64_t now);
/* Whether it is due before the thread will look. */
bool stile__lease_schedule(struct stile_leases *leases, struct stile_lease *lease);
/* For the clock alone: the end of belief, if it is watched. */
void stile__lease_schedule_end(struct stile_leases *leases, struct stile_lease *lease);
/* It is due for nothing any more. */
void stile__lease_unschedule(struct stile_leases *leases, struct stile_lease *lease);

#endif
