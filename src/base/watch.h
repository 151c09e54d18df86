/*
 * Watches, as whoever keeps a hold sees them: a list with the hold, told of each
 * change of its state.
 *
 * A watch notes the last state that it was told.  Lost and released are final.  A
 * watch of a lease judges by the clock besides, so that it never says held when a
 * check says lost.
 */
#ifndef STILE_BASE_WATCH_H
#define STILE_BASE_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <stile/hold.h>
#include <stile/space.h>
#include <stile/watch.h>

#include "base/calls.h"
#include "base/lease.h"
#include "base/list.h"
#include "base/os.h"

struct stile_watch {
    /* Set by whoever attaches it. */
    struct stile_mutex *mutex;   /* of the list it is in; it guards what is marked so */
    struct stile_leases *leases; /* NULL: the hold has no lease */
    bool copied;                 /* a child of fork() has a list of its own */
    stile_hold hold;
    struct stile_link link; /* mutex: among the watches of the hold */
    _Atomic uint32_t noted; /* enum stile_hold_state; written under mutex */
    bool changed;           /* mutex: since it was cleared last */
    bool has_signal;        /* mutex */
    struct stile_signal signal;
    stile *space;                   /* it has a reference */
    stile_watch_callback *callback; /* NULL: none */
    void *argument;
    struct stile_calls *calls;
    struct stile_call call;
    stile_hold_state told; /* by the callback's thread alone */
};

/* Under the watch's mutex: it is in that state.  One that was told of an end stays with
 * it. */
void stile__watch_tell(struct stile_watch *watch, stile_hold_state state);
/* The same: it is put with the others of its hold, which is in that
 * state. */
void stile__watch_attach(struct stile_watch *watch, struct stile_link *watches,
                         stile_hold_state state);
/* Under the mutex of the list: all are told. */
void stile__watches_tell(struct stile_link *watches, stile_hold_state state);
/* The same, and they are in the list no more: nothing follows. */
void stile__watches_end(struct stile_link *watches, stile_hold_state state);

#endif
