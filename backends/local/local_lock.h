/*
 * The local lock, shared by its files:
 *
 *   local_lock.c          handles and objects
 *   local_lock_acquire.c  the way an acquire takes before it has to queue
 *   local_lock_queue.c    the queue: who waits, who is woken, who is made the owner
 *   local_lock_owner.c    holds: grant, release, check, extend
 *   local_lock_hand.c     holds that pass on: hand over, give, adopt; watches
 *   local_lock_inspect.c  who holds and who waits; taking the lock from whoever holds it
 */
#ifndef STILE_LOCAL_LOCK_H
#define STILE_LOCAL_LOCK_H

#include "local.h"

#include <string.h>

#include "base/error.h"
#include "base/spin.h"
#include "lock_word.h"

/* How many may be told to compete at a time. */
enum { LOCAL_AWAKE_MOST = 4 };

struct local_lock_object {
    struct stile_named named; /* first: what the table of names knows */
    struct local_space *space;
    struct stile_mutex mutex;                    /* guards the queue and all below */
    struct stile_link queue;                     /* struct stile_waiter, first come first */
    unsigned awake;                              /* waiters told STILE_AGAIN that owe an attempt */
    struct stile_parker *told[LOCAL_AWAKE_MOST]; /* theirs; NULL: none */
    bool doubt;  /* one of those may have to wait for the holder's core */
    bool closed; /* once true, stays true */
    /* The holder, if it did not just take the lock's word: when the fence is that of the
     * owner.  The uncontended way leaves no trace here. */
    stile_hold noted;
    /* Who that is: of one that waited, or asked for more than to hold.  What others wait
     * for is kept short. */
    struct {
        uint64_t fence;
        int64_t since_ms;
        uint64_t thread;
        char label[STILE_LABEL_MAX + 1];
    } holder;
    int64_t lapse_ns;          /* when its lease ends; INT64_MAX: never */
    int64_t keep_until_ns;     /* as in the terms of its lease */
    bool watched;              /* the holder has no lease, and may have watches: */
    struct stile_link watches; /* under the space's watch_mutex */
    /* The fence of the last hold that was ended by force; 0: none.  It is written before
     * the word changes, so that its owner, who sees another word, finds it. */
    _Atomic uint64_t revoked_fence;
    _Atomic uint32_t sleepers; /* how many are in the queue; written under the mutex */
    struct stile_spin spin;
    /* On a line of its own: written by every acquire and release. */
    _Alignas(64) struct stile_lock_word word;
};

struct local_lock {
    struct stile_lock base; /* first: the part the core knows */
    struct local_lock_object *object;
    bool shut; /* under the object's mutex */
};

static inline struct local_lock_object *object_of(stile_lock *lock)
{
    return ((struct local_lock *)lock)->object;
}

static inline struct local_lock_object *object_of_named(struct stile_named *named)
{
    return (struct local_lock_object *)(void *)named;
}

static inline struct stile_waiter *waiter_of(struct stile_link *link)
{
    return STILE_OF(link, struct stile_waiter, link);
}

/* A hold that ends by itself takes a slot; here that is one that is not renewed
 * for ever. */
static inline bool ends(const stile_lock_options *options)
{
    return options->fixed_lease || options->max_hold_ms != 0;
}

/* So does one that its owner cannot end at once. */
static inline bool needs_slot(const stile_lock_options *options)
{
    return ends(options) || options->min_hold_ms != 0;
}

/* All of a hold but its slot. */
static inline void fill(const struct local_lock_object *object, uint64_t fence, stile_hold *hold)
{
    hold->fence = fence;
    hold->object = object;
    hold->id[0] = 0;
    hold->id[1] = 0;
    hold->generation = 0;
}

/* Whether the holder of this fence is the one that is noted, and has a lease. */
static inline bool has_lease(const struct local_lock_object *object, uint64_t fence)
{
    return object->noted.fence == fence && object->noted.slot != 0;
}

/* Whose attempt it is. */
static inline uint64_t thread_of(const struct stile_waiter *waiter)
{
    return waiter != NULL ? waiter->thread : stile__thread_number();
}

/* NULL: none. */
static inline void set_label(char to[STILE_LABEL_MAX + 1], const char *label)
{
    if (label == NULL)
        to[0] = '\0';
    else
        memcpy(to, label, strlen(label) + 1);
}

/* wake may be NULL. */
static inline void unlock_and_wake(struct local_lock_object *object, struct stile_parker *wake)
{
    stile__mutex_unlock(&object->mutex);
    if (wake != NULL)
        stile__unpark(wake);
}

static inline stile_status fail_closed(void)
{
    return stile__fail(STILE_CLOSED, "the space or the handle was closed");
}

/* ---- local_lock_acquire.c ----------------------------------------------------------- */

stile_status stile__local_acquire(stile_lock *lock, const stile_lock_options *options,
                                  struct stile_waiter *waiter, stile_hold *hold);

/* ---- local_lock_queue.c, under the mutex where nothing else is said ----------------- */

/* Makes QUEUED what it has to be, on a word whose other bits may move. */
void stile__local_settle_flag(struct local_lock_object *object);
/* Who was told to compete has come. */
void stile__local_arrive(struct local_lock_object *object, const struct stile_waiter *waiter);
/*
 * The hold of this fence is over, in this way: the lock passes to the first in the
 * queue, or comes free.  False: it was over before.
 */
bool stile__local_pass_on(struct local_lock_object *object, uint64_t fence, stile_hold_state end,
                          struct stile_parker **wake);
/* Ends a lease that is over, so that nobody depends on when its thread runs. */
void stile__local_lapse_due(struct local_lock_object *object, struct stile_parker **wake);
/* Settles those who wait through this handle, or all for NULL. */
void stile__local_turn_away(struct local_lock_object *object, const stile_lock *handle);
/* Locks the mutex itself: takes the lock, or queues.  waiter is NULL for a try; hold's slot
 * is reserved if it needs one. */
stile_status stile__local_take(stile_lock *lock, const stile_lock_options *options,
                               struct stile_waiter *waiter, stile_hold *hold);
/* So do these. */
void stile__local_poll(stile_lock *lock, struct stile_waiter *waiter);
void stile__local_sleep(stile_lock *lock, struct stile_waiter *waiter, int64_t until_ns);
stile_status stile__local_withdraw(stile_lock *lock, struct stile_waiter *waiter);

/* ---- local_lock_owner.c ------------------------------------------------------------- */

/* Under the mutex: fills the hold of a new owner with this fence, which the thread asked
 * for.  Others do not get it before keep_until, nor before its own least time is over. */
void stile__local_grant(struct local_lock_object *object, uint64_t fence, uint64_t thread,
                        const stile_lock_options *options, int64_t keep_until_ns, stile_hold *hold);
/* The same: notes who the owner is. */
void stile__local_note_holder(struct local_lock_object *object, uint64_t thread, const char *label);
/* What to say of a hold without a lease whose fence is not in force. */
stile_status stile__local_explain_over(struct local_lock_object *object, const stile_hold *hold);
stile_status stile__local_release(stile_lock *lock, const stile_hold *hold);
stile_status stile__local_check(stile_lock *lock, const stile_hold *hold, int64_t *valid_ms);
stile_status stile__local_extend(stile_lock *lock, const stile_hold *hold, int64_t add_ms);

/* ---- local_lock_hand.c -------------------------------------------------------------- */

/* Under the mutex: the hold has ended in this way, and nobody else can have the lock yet. */
void stile__local_tell_watches(struct local_lock_object *object, uint64_t fence,
                               stile_hold_state end);
bool stile__local_own(stile_lock *lock);
stile_status stile__local_hand_over(stile_lock *lock, const stile_hold *hold);
stile_status stile__local_watch(stile_lock *lock, const stile_hold *hold,
                                struct stile_watch *watch);
stile_status stile__local_give(stile_lock *lock, const stile_hold *hold,
                               char text[STILE_TOKEN_SIZE]);
stile_status stile__local_adopt(stile_lock *lock, const char *text, stile_hold *hold);

/* ---- local_lock_inspect.c ----------------------------------------------------------- */

stile_status stile__local_inspect(stile_lock *lock, stile_lock_info *info);
stile_status stile__local_force_release(stile_lock *lock);

#endif
