/*
 * A watch: tells what becomes of a hold while its owner works.
 *
 *     held      renewed, or without an end
 *     suspect   a renewal failed; the holder may still believe, until its
 *               validity is over
 *     lost      belief is over, or somebody took the hold away by force: from
 *               now on others may have it
 *     released  its owner has given it back
 *
 * States only fall, but that suspect becomes held again when a renewal succeeds
 * after all.  Lost and released are final: what was lost stays lost when its owner
 * gives it back, and what was given away counts as released.  Lost is said by this
 * machine's clock alone, before anybody else can be given what was held.
 *
 * A watch stays good when its handle and its space are closed, until it is closed
 * itself.  Once the space is closed nothing calls back any more; a hold on a server
 * is not renewed then, and the watch says when belief is over.
 *
 * A watch is made with stile_lock_watch() and the calls like it.  It can be asked
 * (the flag), polled (the descriptor), or calls back.  Callbacks run under the
 * rules of stile/future.h.
 */
#ifndef STILE_WATCH_H
#define STILE_WATCH_H

#include <stile/api.h>
#include <stile/status.h>

STILE_BEGIN_DECLS

typedef struct stile_watch stile_watch;

typedef enum stile_hold_state {
    STILE_HELD = 1,
    STILE_SUSPECT = 2,
    STILE_HOLD_LOST = 3,
    STILE_RELEASED = 4
} stile_hold_state;

/* Told of every change, in order; two changes that follow each other quickly may
 * be told as one, with the later state. */
typedef void stile_watch_callback(stile_watch *watch, stile_hold_state state, void *argument);

/*
 * Returns the state now.
 *
 * Threads: any; takes no lock and asks nobody.
 */
STILE_API stile_hold_state stile_watch_state(const stile_watch *watch);

/*
 * Gives a descriptor that becomes readable when the state has changed since the
 * last stile_watch_clear(), or since the watch was made.
 *
 * fd  receives it.  It belongs to the watch, is closed with it, and is only to be
 *     polled.
 *
 * Returns STILE_OK, STILE_INVALID, or STILE_NO_MEMORY when descriptors ran out.
 *
 * Threads: any.
 */
STILE_API STILE_MUST_CHECK stile_status stile_watch_fd(stile_watch *watch, int *fd);

/*
 * Makes the descriptor unreadable until the next change, and returns the state.
 *
 * Threads: any.
 */
STILE_API stile_hold_state stile_watch_clear(stile_watch *watch);

/*
 * Frees the watch; the hold stays as it is.  When it returns, the callback does
 * not run and will not, unless it is the callback itself that closes.  NULL does
 * nothing.
 *
 * Threads: one, once; not while another thread uses the watch.
 */
STILE_API void stile_watch_close(stile_watch *watch);

STILE_END_DECLS

#endif
