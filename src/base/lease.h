/*
 * The lease engine: what is known about every hold that can end by itself, and
 * the one background thread of a space that renews and ends them.
 *
 * A lease lives in a slot.  Slots are type-stable: never freed before the space,
 * so that a copy of an old hold reads a live slot and finds another generation
 * there.  States only fall, within a generation:
 *
 *      FREE -> HELD <-> SUSPECT -> LOST -> FREE, next generation
 *                \________\________________^
 *
 * HELD comes back from SUSPECT when a renewal succeeds after all; LOST never
 * does.  SUSPECT: a renewal failed, and belief still runs.  What its owner is done with
 * and has to be kept, or was given away, stays in its slot as nobody's: the next
 * generation is HELD, too.
 *
 * Belief is judged by the boot clock alone: past valid_until a hold is lost.  Who
 * says so notes it in the state first, without the mutex if need be, so that an
 * answer which comes at that moment cannot take it back.
 *
 * A renewal may keep the thread from the clock for as long as a server takes.  What
 * is watched has its end noted by a second thread, which does nothing else.
 */
#ifndef STILE_BASE_LEASE_H
#define STILE_BASE_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stile/hold.h>
#include <stile/status.h>
#include <stile/watch.h>

#include "base/timers.h"
#include "base/list.h"
#include "base/os.h"

/* What a hold is armed with. */
struct stile_lease_terms {
    void *object; /* kept alive through ops->retain while armed */
    uint64_t fence;
    uint64_t id[2];
    int64_t valid_until_ns;  /* belief; INT64_MAX: no end */
    int64_t lease_ms;        /* what a renewal asks for */
    int64_t max_until_ns;    /* no belief beyond; INT64_MAX: no bound */
    bool renewed;            /* renew at a third of the lease until release */
    bool claim;              /* it was granted by a push: renew soon, once */
    int64_t copies_until_ns; /* the backend's own: see stile__lease_end */
    int64_t keep_until_ns;   /* until then nobody else has it, released or not; 0: none */
    uint64_t thread;         /* who took it and never handed it over; 0: not known */
};

/* One lease that is due, as the backend gets it. */
struct stile_renewal {
    void *object;
    uint64_t fence;
    uint64_t id[2];
    uint32_t slot;
    uint32_t generation;
    int64_t lease_ms; /* ask for this much from now */
    int64_t keep_until_ns;
    bool claim;
    /* The answer: STILE_OK with the new belief; STILE_LOST: somebody else has it;
     * anything else: try again soon. */
    stile_status status;
    int64_t valid_until_ns;
};

/* Called on the background thread, outside every mutex. */
struct stile_lease_ops {
    /* NULL where no lease is ever renewed. */
    void (*renew)(void *backend, struct stile_renewal *due, size_t count);
    /* Belief has ended, by the clock or by an answer; the slot says LOST. */
    void (*lapse)(void *backend, const struct stile_renewal *lost);
    /* Other work of the space that is due.  Returns when there is more, on the
     * boot clock.  NULL: none. */
    int64_t (*chores)(void *backend, int64_t now_ns);
    /* Called under the table's mutex or by an armer, cheap. */
    void (*retain)(void *backend, void *object);
    /* Called outside every mutex. */
    void (*drop)(void *backend, void *object);
};

struct stile_lease;
struct stile_watch;

enum { STILE_LEASE_CHUNKS = 20, STILE_LEASE_FIRST = 64, STILE_RENEW_MAX = 64 };

struct stile_leases {
    const struct stile_lease_ops *ops;
    void *backend;
    struct stile_mutex mutex; /* guards all below, and the slots' plain members */
    /* Chunk k has STILE_LEASE_FIRST << k slots; written once each. */
    struct stile_lease *_Atomic chunks[STILE_LEASE_CHUNKS];
    uint32_t slots;      /* in all chunks; slot 0 is no slot */
    uint32_t free_first; /* first in, first out, so that a generation stays known
                          * for as long as possible */
    uint32_t free_last;
    struct stile_timers due; /* armed leases that have to be renewed or ended */
    /* When the thread will look again by itself, on the boot clock; INT64_MIN while it
     * is awake: it looks before it sleeps. */
    int64_t look_ns;
    bool started;
    bool stop;
    struct stile_parker *parker; /* the thread's */
    struct stile_thread thread;
    /* The clock's thread, and what it waits for: ends of belief of watched leases.
     * In it is what has an end and was not noted as lost. */
    struct stile_timers ends;
    bool clocked;
    struct stile_parker *clock_parker;
    struct stile_thread clock;
};

stile_status stile__leases_init(struct stile_leases *leases, const struct stile_lease_ops *ops,
                                void *backend);
/* Ends the thread, without lapsing or releasing anything. */
void stile__leases_stop(struct stile_leases *leases);
/* After stop: frees the table. */
void stile__leases_fini(struct stile_leases *leases);

/* Makes the thread look at its chores now. */
void stile__leases_poke(struct stile_leases *leases);

/* Sets a slot aside, and starts the thread if it is not there yet, before the request
 * goes out: memory cannot run out once the hold is there. */
stile_status stile__lease_reserve(struct stile_leases *leases, uint32_t *slot);
void stile__lease_unreserve(struct stile_leases *leases, uint32_t slot);
/* Fills hold->slot's lease and hold->generation. */
void stile__lease_arm(struct stile_leases *leases, const struct stile_lease_terms *terms,
                      stile_hold *hold);

/*
 * Ends a hold for its owner: renewed no more, the slot is free.  STILE_OK: it
 * still counted, and the caller is the one who releases it.  STILE_LOST: belief was
 * over.  Both fill terms, but for the object, with what the hold was armed with.
 * STILE_NOT_HELD: another generation.
 */
stile_status stile__lease_end(struct stile_leases *leases, const stile_hold *hold,
                              struct stile_lease_terms *terms);
/*
 * The same, but a hold that still counted and has to be kept, until
 * terms->keep_until_ns, stays in its slot until then as nobody's: it lapses, and the slot
 * is free.  Where nothing is to be kept any more, terms->keep_until_ns is 0.
 */
stile_status stile__lease_linger(struct stile_leases *leases, const stile_hold *hold,
                                 struct stile_lease_terms *terms);

/* Lock-free.  STILE_OK with *valid_until_ns, STILE_LOST or STILE_NOT_HELD. */
stile_status stile__lease_state(struct stile_leases *leases, const stile_hold *hold,
                                int64_t *valid_until_ns);

/* Lock-free: fills in STILE_HELD, STILE_SUSPECT or STILE_HOLD_LOST.  False: another
 * generation; who ended this one told its watches before. */
bool stile__lease_look(struct stile_leases *leases, const stile_hold *hold,
                       stile_hold_state *state);

/* Fills in what a watch needs of its hold and puts it with its lease.  STILE_OK, also
 * when that is lost; STILE_NOT_HELD; STILE_NO_MEMORY. */
stile_status stile__lease_watch(struct stile_leases *leases, const stile_hold *hold,
                                struct stile_watch *watch);

/* Reads what an extension needs: the remaining belief and its bound. */
stile_status stile__lease_bound(struct stile_leases *leases, const stile_hold *hold,
                                int64_t *valid_until_ns, int64_t *max_until_ns);
/* Moves belief to valid_until_ns, if that is later and the hold not lost. */
stile_status stile__lease_prolong(struct stile_leases *leases, const stile_hold *hold,
                                  int64_t valid_until_ns);
/* Changes what stile__lease_end gives for copies_until_ns. */
void stile__lease_copies(struct stile_leases *leases, const stile_hold *hold,
                         int64_t copies_until_ns);
/* A server said that somebody else has it. */
void stile__lease_lost(struct stile_leases *leases, const stile_hold *hold);

/* The lease goes on with another fence, as nobody's: if it is not ended before, it lapses,
 * and the slot is free.  hold is no more.  STILE_OK fills renamed; STILE_LOST,
 * STILE_NOT_HELD: nothing was changed. */
stile_status stile__lease_rename(struct stile_leases *leases, const stile_hold *hold,
                                 uint64_t fence, stile_hold *renamed);

/* Another thread goes on with the hold.  STILE_OK, STILE_LOST or STILE_NOT_HELD. */
stile_status stile__lease_hand_over(struct stile_leases *leases, const stile_hold *hold);
/* Whether the slot has a lease of that object without an end, as long as it is
 * renewed, that the calling thread took and never handed over: fills id. */
bool stile__lease_own(struct stile_leases *leases, uint32_t slot, const void *object,
                      uint64_t id[2]);

#endif
