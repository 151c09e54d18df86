/*
 * The lock of local: one word (lock_word.h), and a queue for when it is not free.
 *
 * Release, expiry and close compare the same fence in the word, so one of them
 * wins.  QUEUED sends acquire and release the slow way, under the queue's mutex.
 *
 * Whenever the mutex is free:
 *   - QUEUED is set if the object is closed, or the hold is watched, or somebody is in the
 *     queue who can still be granted the lock and nobody is awake (told STILE_AGAIN, and
 *     owing an attempt), or the first is to be made the owner, or there is doubt whether
 *     who is awake gets a core; and only then;
 *   - if somebody is in the queue who can still be granted the lock, it is held or
 *     somebody is awake.
 * So whoever leaves without the lock passes the wake-up on, and while somebody who was
 * woken is on its way, those who run take and free the lock without the mutex, unless it
 * is watched.
 *
 * Who is woken competes with running threads, since a wake-up costs tens of
 * microseconds in which the lock would lie idle.  Who lost that race for
 * HANDOFF_NS, or asked for fairness, is made the owner by the releaser; so is a
 * waiter behind which no thread of its own is, or that waits for other locks, too.
 * Nobody is woken while somebody spins: who spins takes the lock, or comes to the mutex.
 */
#include "local.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/error.h"
#include "base/spin.h"
#include "base/token.h"
#include "lock_word.h"

#define HELD STILE_WORD_HELD
#define QUEUED STILE_WORD_QUEUED
#define FENCE_SHIFT STILE_WORD_FENCE_SHIFT
#define NEXT_FENCE STILE_WORD_NEXT_FENCE

/* How long a waiter that was woken may be passed over. */
#define HANDOFF_NS INT64_C(500000)

/* How many may be told to compete at a time, and how many of the queue to ask where
 * they sleep. */
enum { AWAKE_MOST = 4, ELSEWHERE_LOOKS = 8 };

/* How often a waiter in a child of fork() looks whether a lease is over: the thread
 * that ends leases is the parent's. */
#define FORKED_LOOK_MS 50

struct local_lock_object {
    struct stile_named named; /* first: what the table of names knows */
    struct local_space *space;
    struct stile_mutex mutex;              /* guards the queue and all below */
    struct stile_link queue;               /* struct stile_waiter, first come first */
    unsigned awake;                        /* waiters told STILE_AGAIN that owe an attempt */
    struct stile_parker *told[AWAKE_MOST]; /* theirs; NULL: none */
    bool doubt;                            /* one of those may have to wait for the holder's core */
    bool closed;                           /* once true, stays true */
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

static struct local_lock_object *object_of(stile_lock *lock)
{
    return ((struct local_lock *)lock)->object;
}

static struct stile_waiter *waiter_of(struct stile_link *link)
{
    return STILE_OF(link, struct stile_waiter, link);
}

/* A hold that ends by itself takes a slot; here that is one that is not renewed
 * for ever. */
static bool ends(const stile_lock_options *options)
{
    return options->fixed_lease || options->max_hold_ms != 0;
}

/* So does one that its owner cannot end at once. */
static bool needs_slot(const stile_lock_options *options)
{
    return ends(options) || options->min_hold_ms != 0;
}

static int64_t length_ms(const stile_lock_options *options)
{
    if (!options->fixed_lease)
        return options->max_hold_ms;
    if (options->max_hold_ms != 0 && options->max_hold_ms < options->lease_ms)
        return options->max_hold_ms;
    return options->lease_ms;
}

static void fill(const struct local_lock_object *object, uint64_t fence, stile_hold *hold)
{
    hold->fence = fence;
    hold->object = object;
    hold->id[0] = 0;
    hold->id[1] = 0;
    hold->generation = 0;
}

/* ---- under the mutex ------------------------------------------------------------- */

static bool wants_handoff(const struct stile_waiter *waiter)
{
    const stile_lock_options *options = waiter->options;

    return options->fair || stile__is_passive(waiter) ||
           (waiter->woken_ns != 0 && stile__monotonic_ns() - waiter->woken_ns >= HANDOFF_NS);
}

/* The first in the queue, passing over who has been granted another lock, or NULL. */
static struct stile_waiter *first_of(const struct local_lock_object *object)
{
    struct stile_link *at;

    for (at = object->queue.next; at != &object->queue; at = at->next) {
        if (stile__claimable(waiter_of(at)))
            return waiter_of(at);
    }
    return NULL;
}

static uint64_t queued_flag(const struct local_lock_object *object)
{
    const struct stile_waiter *first = first_of(object);

    if (object->closed || object->watched)
        return QUEUED;
    if (first == NULL)
        return 0;
    return object->awake == 0 || object->doubt || wants_handoff(first) ? QUEUED : 0;
}

/* Makes QUEUED what it has to be, on a word whose other bits may move. */
static void settle_flag(struct local_lock_object *object)
{
    uint64_t flag = queued_flag(object);

    /* Only who has the mutex changes it. */
    if ((os_load(&object->word.word, memory_order_relaxed) & QUEUED) == flag)
        return;
    if (flag != 0)
        os_or(&object->word.word, QUEUED, memory_order_relaxed);
    else
        os_and(&object->word.word, ~QUEUED, memory_order_relaxed);
}

/* NULL: none. */
static void set_label(char to[STILE_LABEL_MAX + 1], const char *label)
{
    if (label == NULL)
        to[0] = '\0';
    else
        memcpy(to, label, strlen(label) + 1);
}

static void describe(uint64_t thread, int64_t since_ms, const char *label, stile_party *party)
{
    memset(party, 0, sizeof *party);
    party->thread = (uint32_t)thread;
    party->since_ms = since_ms;
    set_label(party->label, label);
}

static void dequeue(struct local_lock_object *object, struct stile_waiter *waiter)
{
    list_remove(&waiter->link);
    os_sub(&object->sleepers, 1, memory_order_relaxed);
}

/* Fills the hold of a new owner with this fence, which the thread asked for.  Others do
 * not get it before keep_until, nor before its own least time is over. */
static void grant_kept(struct local_lock_object *object, uint64_t fence, uint64_t thread,
                       const stile_lock_options *options, int64_t keep_until_ns, stile_hold *hold)
{
    struct stile_lease_terms terms = {.object = object,
                                      .fence = fence,
                                      .valid_until_ns = INT64_MAX,
                                      .lease_ms = options->lease_ms,
                                      .max_until_ns = INT64_MAX,
                                      .keep_until_ns = keep_until_ns};

    lock_word_note(&object->word, fence, thread);
    fill(object, fence, hold);
    if (needs_slot(options) || keep_until_ns != 0) {
        int64_t now = stile__boottime_ns(), least = later_ns(now, options->min_hold_ms);

        if (ends(options))
            terms.valid_until_ns = later_ns(now, length_ms(options));
        if (options->max_hold_ms != 0)
            terms.max_until_ns = later_ns(now, options->max_hold_ms);
        if (options->min_hold_ms != 0 && terms.keep_until_ns < least)
            terms.keep_until_ns = least;
        stile__lease_arm(&object->space->leases, &terms, hold);
    }
    object->noted = *hold;
    object->lapse_ns = terms.valid_until_ns;
    object->keep_until_ns = terms.keep_until_ns;
}

/* Notes who the owner is. */
static void note_holder(struct local_lock_object *object, uint64_t thread, const char *label)
{
    object->holder.fence = object->noted.fence;
    object->holder.since_ms = stile__realtime_ms();
    object->holder.thread = thread;
    set_label(object->holder.label, label);
}

static void grant(struct local_lock_object *object, uint64_t fence, uint64_t thread,
                  const stile_lock_options *options, stile_hold *hold)
{
    grant_kept(object, fence, thread, options, 0, hold);
}

/* Where in told this one is; with NULL, where there is room. */
static unsigned told_at(const struct local_lock_object *object, const struct stile_parker *parker)
{
    unsigned i = 0;

    while (i < AWAKE_MOST - 1 && object->told[i] != parker)
        i++;
    return i;
}

/* Takes a waiter out of the queue and tells it to compete; fewer than AWAKE_MOST do. */
static void tell(struct local_lock_object *object, struct stile_waiter *waiter,
                 struct stile_parker **wake)
{
    dequeue(object, waiter);
    object->awake++;
    object->told[told_at(object, NULL)] = waiter->parker;
    object->doubt = stile__parked_here(waiter->parker);
    waiter->told_ns = stile__monotonic_ns();
    if (waiter->woken_ns == 0)
        waiter->woken_ns = waiter->told_ns;
    /* It is in the queue, and leaving takes the mutex: it has not left. */
    stile__settle(waiter, STILE_AGAIN, wake);
}

/* Who was told to compete has come. */
static void arrive(struct local_lock_object *object, const struct stile_waiter *waiter)
{
    object->awake--;
    object->told[told_at(object, waiter->parker)] = NULL;
    settle_flag(object);
}

/* The first, if it is to be made the owner; then it is claimed, and has to be. */
static struct stile_waiter *choose_owner(struct local_lock_object *object)
{
    struct stile_waiter *first;

    do {
        first = first_of(object);
        if (first == NULL || !wants_handoff(first))
            return NULL;
#if STILE_BUG == 3
        return first;
#endif
        /* Another lock of those that it waits for may have been quicker. */
    } while (!stile__claim(first));
    return first;
}

/* Makes the claimed waiter the owner, for which the word has this fence. */
static void hand_over(struct local_lock_object *object, struct stile_waiter *waiter, uint64_t fence,
                      struct stile_parker **wake)
{
#if STILE_BUG == 3
    if (!stile__claim(waiter))
        return;
#endif
    dequeue(object, waiter);
    grant(object, fence, waiter->thread, waiter->options, &waiter->hold);
    note_holder(object, waiter->thread, ((const stile_lock_options *)waiter->options)->label);
    /* It is in the queue, and leaving takes the mutex: it has not left. */
    stile__settle(waiter, STILE_OK, wake);
}

/*
 * Takes the lock if it is free and is not somebody else's turn; else notes with
 * QUEUED that somebody will wait, so that its release comes the slow way.
 */
static bool take(struct local_lock_object *object, bool behind, bool note, uint64_t *fence)
{
    uint64_t word = os_load(&object->word.word, memory_order_relaxed);

    for (;;) {
        bool free = !(word & HELD) && !behind;
        uint64_t next = free ? (word + NEXT_FENCE) | HELD : word | QUEUED;

        if (!free && !note)
            return false;
        if (!os_cas(&object->word.word, &word, next, memory_order_acquire))
            continue;
        *fence = next >> FENCE_SHIFT;
        return free;
    }
}

/*
 * The lock is free: wakes the first in the queue to compete, unless somebody is
 * competing already, or makes it the owner.
 */
static void wake_first(struct local_lock_object *object, struct stile_parker **wake)
{
    struct stile_waiter *first;
    uint64_t fence;

    *wake = NULL;
    if (object->awake > 0)
        return;
    first = choose_owner(object);
    if (first != NULL) {
        /* Cannot fail: somebody is in the queue, so that others come to the mutex. */
        if (take(object, false, false, &fence))
            hand_over(object, first, fence, wake);
        return;
    }
    first = first_of(object);
    if (first == NULL)
        return;
    tell(object, first, wake);
}

/* Whether the holder of this fence is the one that is noted, and has a lease. */
static bool has_lease(const struct local_lock_object *object, uint64_t fence)
{
    return object->noted.fence == fence && object->noted.slot != 0;
}

/* The hold has ended in this way, and nobody else can have the lock yet. */
static void tell_watches(struct local_lock_object *object, uint64_t fence, stile_hold_state end)
{
    struct stile_mutex *mutex = &object->space->watch_mutex;

    /* An owner who gives it back has told the watches of its lease. */
    if (end == STILE_HOLD_LOST && has_lease(object, fence))
        stile__lease_lost(&object->space->leases, &object->noted);
    if (!object->watched)
        return;
    object->watched = false;
    stile__mutex_lock(mutex);
    stile__watches_end(&object->watches, end);
    stile__mutex_unlock(mutex);
}

/* Whether all who were told to compete, and have not come, slept on this core. */
static bool awake_here(const struct local_lock_object *object)
{
    unsigned i;

    for (i = 0; i < AWAKE_MOST; i++) {
        if (object->told[i] != NULL && !stile__parked_here(object->told[i]))
            return false;
    }
    return object->awake < AWAKE_MOST;
}

/*
 * Who was woken has not come, and the lock was taken and is freed again: perhaps this
 * thread goes on for all its time slice, on the core that the other needs.  Then
 * somebody who slept elsewhere competes, too.
 */
static void wake_elsewhere(struct local_lock_object *object, struct stile_parker **wake)
{
    struct stile_link *at = object->queue.next;
    int looks = awake_here(object) ? ELSEWHERE_LOOKS : 0;

    object->doubt = false;
    for (; at != &object->queue && looks > 0; at = at->next, looks--) {
        struct stile_waiter *waiter = waiter_of(at);

        if (!stile__is_passive(waiter) && !stile__parked_here(waiter->parker)) {
            tell(object, waiter, wake);
            return;
        }
    }
}

/*
 * The hold of this fence is over, in this way: the lock passes to the first in the
 * queue, or comes free.  False: it was over before.
 */
static bool pass_on(struct local_lock_object *object, uint64_t fence, stile_hold_state end,
                    struct stile_parker **wake)
{
    uint64_t word = os_or(&object->word.word, QUEUED, memory_order_relaxed) | QUEUED, next;
    struct stile_waiter *owner;

    *wake = NULL;
    /* With QUEUED the word stands still, but for who has the mutex: who is chosen can be
     * granted. */
    if ((word & ~QUEUED) != lock_word_held(fence)) {
        settle_flag(object);
        return false;
    }
    owner = choose_owner(object);
    next = owner == NULL ? word & ~HELD : word + NEXT_FENCE;
    /* acq_rel: what the old owner did is seen by the new one, which may not touch the
     * word at all. */
    os_exchange(&object->word.word, next, memory_order_acq_rel);
    tell_watches(object, fence, end);
    if (owner != NULL)
        hand_over(object, owner, fence + 1, wake);
    /* Who spins takes the lock, or comes here. */
    else if (object->doubt && object->awake > 0)
        wake_elsewhere(object, wake);
    else if (os_load(&object->spin.inside, memory_order_relaxed) == 0)
        wake_first(object, wake);
    settle_flag(object);
    return true;
}

/* Ends a lease that is over, so that nobody depends on when its thread runs. */
static void lapse_due(struct local_lock_object *object, struct stile_parker **wake)
{
    uint64_t word = os_load(&object->word.word, memory_order_relaxed);

    *wake = NULL;
    if ((word & HELD) && object->noted.fence == word >> FENCE_SHIFT &&
        object->lapse_ns != INT64_MAX && stile__boottime_ns() >= object->lapse_ns)
        pass_on(object, object->noted.fence, STILE_HOLD_LOST, wake);
}

/* ---- acquire ----------------------------------------------------------------------- */

static OS_FAST_PATH bool take_fast(struct local_lock_object *object, uint64_t thread,
                                   stile_hold *hold)
{
    uint64_t fence = lock_word_take(&object->word, thread);

    if (fence == 0)
        return false;
    hold->slot = 0;
    fill(object, fence, hold);
    return true;
}

/* When a waiter looks again by itself: so that releases go the slow way once it is to
 * be given the lock, and for the sake of leases in a child of fork(). */
static void set_recheck(const struct local_lock_object *object, struct stile_waiter *waiter)
{
    int64_t at_ns = INT64_MAX;

    if (stile__space_forked(&object->space->base))
        at_ns = later_ns(stile__monotonic_ns(), FORKED_LOOK_MS);
    else if (waiter->woken_ns != 0 && !wants_handoff(waiter))
        at_ns = waiter->woken_ns + HANDOFF_NS;
    os_store(&waiter->recheck_ns, at_ns, memory_order_relaxed);
}

static void queue_up(struct local_lock_object *object, struct stile_waiter *waiter)
{
    set_recheck(object, waiter);
    os_store(&waiter->state, STILE_WAITER_QUEUED, memory_order_relaxed);
    os_add(&object->sleepers, 1, memory_order_relaxed);
    /* Who was woken and lost the race was first, and is again. */
    if (waiter->woken_ns != 0) {
        list_push_front(&object->queue, &waiter->link);
    } else {
        waiter->since_ms = stile__realtime_ms();
        list_push_back(&object->queue, &waiter->link);
    }
}

/* Whose attempt it is. */
static uint64_t thread_of(const struct stile_waiter *waiter)
{
    return waiter != NULL ? waiter->thread : stile__thread_number();
}

/*
 * Whether looking at the lock for a while, in case its holder is about to let go, got
 * it.  Who comes while others sleep does not look: there are more than cores, and it
 * would take the word away from those who run.
 */
static bool look_for_a_while(struct local_lock_object *object, uint64_t thread, bool woken,
                             stile_hold *hold)
{
    uint64_t word = os_load(&object->word.word, memory_order_relaxed);
    struct stile_look look;

    if ((!woken && os_load(&object->sleepers, memory_order_relaxed) > 0) ||
        !stile__spin_begin(&object->spin, &look, word >> FENCE_SHIFT, woken))
        return false;
    do {
        word = os_load(&object->word.word, memory_order_relaxed);
        if (!(word & HELD)) {
            stile__spin_leave(&object->spin);
            if (take_fast(object, thread, hold)) {
                stile__spin_tell(&object->spin, true);
                return true;
            }
            /* Who takes it past others who sleep does so under the mutex. */
            if ((word & QUEUED) || !stile__spin_enter(&object->spin))
                return false;
        }
    } while (stile__spin_next(&look, word >> FENCE_SHIFT));
    stile__spin_leave(&object->spin);
    stile__spin_tell(&object->spin, false);
    return false;
}

/* waiter is NULL for a try; hold's slot is reserved if its lease ends. */
static stile_status take_slow(stile_lock *lock, const stile_lock_options *options,
                              struct stile_waiter *waiter, stile_hold *hold)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_parker *lapsed, *wake = NULL;
    bool woken = waiter != NULL && waiter->woken_ns != 0;
    bool may_queue = waiter != NULL && !waiter->last;
    stile_status status = STILE_TIMEOUT;
    uint64_t fence;
    bool behind;

    stile__mutex_lock(&object->mutex);
    if (woken)
        arrive(object, waiter);
    lapse_due(object, &lapsed);
    behind = options->fair && !woken && first_of(object) != NULL;
    if (object->closed || ((struct local_lock *)lock)->shut) {
        status = STILE_CLOSED;
    } else if (take(object, behind, may_queue, &fence)) {
        grant(object, fence, thread_of(waiter), options, hold);
        if (woken || !stile__lock_is_plain(options))
            note_holder(object, thread_of(waiter), options->label);
        status = STILE_OK;
    } else if (may_queue) {
        queue_up(object, waiter);
        object->doubt = true;
        status = STILE_PENDING;
    }
    if (!(os_load(&object->word.word, memory_order_relaxed) & HELD))
        wake_first(object, &wake);
    settle_flag(object);
    stile__mutex_unlock(&object->mutex);
    if (lapsed != NULL)
        stile__unpark(lapsed);
    if (wake != NULL)
        stile__unpark(wake);
    if (status == STILE_CLOSED)
        return stile__fail(status, "the space or the handle was closed");
    return status;
}

OS_SLOW_PATH static stile_status acquire_slowly(stile_lock *lock, const stile_lock_options *options,
                                                struct stile_waiter *waiter, stile_hold *hold)
{
    struct local_lock_object *object = object_of(lock);
    bool woken = waiter != NULL && waiter->woken_ns != 0;
    bool plain = stile__lock_is_plain(options);
    stile_hold taken = STILE_HOLD_INIT;
    stile_status status;

    if (woken)
        stile__wake_took(stile__monotonic_ns() - waiter->told_ns);
    if (plain && !woken && take_fast(object, thread_of(waiter), hold))
        return STILE_OK;
    /* Who was woken for the second time is to be made the owner soon. */
    if (plain && waiter != NULL && !waiter->last && !options->fair && !stile__is_passive(waiter) &&
        (!woken || waiter->told_ns == waiter->woken_ns) &&
        look_for_a_while(object, waiter->thread, woken, hold)) {
        if (woken) {
            stile__mutex_lock(&object->mutex);
            arrive(object, waiter);
            stile__mutex_unlock(&object->mutex);
        }
        return STILE_OK;
    }
    if (waiter != NULL)
        taken = waiter->hold;
    if (needs_slot(options) && taken.slot == 0) {
        status = stile__lease_reserve(&object->space->leases, &taken.slot);
        if (status != STILE_OK)
            return status;
        /* In the queue it stays with the waiter, for whoever grants. */
        if (waiter != NULL)
            waiter->hold.slot = taken.slot;
    }
    status = take_slow(lock, options, waiter, &taken);
    if (status == STILE_OK)
        *hold = taken;
    else if (status != STILE_PENDING)
        stile__lease_unreserve(&object->space->leases, taken.slot);
    return status;
}

static stile_status local_lock_acquire(stile_lock *lock, const stile_lock_options *options,
                                       struct stile_waiter *waiter, stile_hold *hold)
{
    /* Who was woken owes the queue's mutex a visit. */
    if (options == &lock->options && lock->plain && (waiter == NULL || waiter->woken_ns == 0) &&
        take_fast(object_of(lock), thread_of(waiter), hold))
        return STILE_OK;
    return acquire_slowly(lock, options, waiter, hold);
}

/* In a child of fork(), those who were about to take the lock may have been threads of
 * the parent: whoever looks and finds it free competes by itself. */
static bool is_forsaken(struct local_lock_object *object, struct stile_waiter *waiter)
{
    return stile__space_forked(&object->space->base) &&
           !(os_load(&object->word.word, memory_order_relaxed) & HELD) &&
           os_load(&waiter->state, memory_order_relaxed) == STILE_WAITER_QUEUED;
}

static void local_lock_sleep(stile_lock *lock, struct stile_waiter *waiter, int64_t until_ns)
{
    (void)lock;
    stile__park(waiter->parker, until_ns);
}

static void local_lock_poll(stile_lock *lock, struct stile_waiter *waiter)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_parker *wake, *own;

    stile__mutex_lock(&object->mutex);
    lapse_due(object, &wake);
    if (is_forsaken(object, waiter))
        tell(object, waiter, &own);
    settle_flag(object);
    stile__mutex_unlock(&object->mutex);
    if (wake != NULL)
        stile__unpark(wake);
    set_recheck(object, waiter);
}

static stile_status local_lock_withdraw(stile_lock *lock, struct stile_waiter *waiter)
{
    struct local_lock_object *object = object_of(lock);
    bool left;

    stile__mutex_lock(&object->mutex);
    left = stile__leave(waiter);
    if (left) {
        dequeue(object, waiter);
        settle_flag(object);
    }
    stile__mutex_unlock(&object->mutex);
    if (!left)
        return STILE_TOO_LATE;
    stile__lease_unreserve(&object->space->leases, waiter->hold.slot);
    return STILE_OK;
}

/* ---- what an owner does -------------------------------------------------------------- */

/* What to say of a hold without a lease whose fence is not in force. */
static stile_status over(struct local_lock_object *object, const stile_hold *hold)
{
    uint64_t revoked = os_load(&object->revoked_fence, memory_order_relaxed);

    return hold->fence == revoked && revoked != 0 ? STILE_LOST : STILE_NOT_HELD;
}

/* The hold of this fence is over for its owner, and the lock stays taken. */
static void keep(struct local_lock_object *object, uint64_t fence, int64_t until_ns)
{
    stile__mutex_lock(&object->mutex);
    /* Unless it was taken by force meanwhile, or its time has come. */
    if (object->noted.fence == fence)
        object->lapse_ns = until_ns;
    stile__mutex_unlock(&object->mutex);
}

OS_SLOW_PATH static stile_status release_slowly(struct local_lock_object *object,
                                                const stile_hold *hold)
{
    struct stile_lease_terms terms;
    stile_status status = STILE_OK;
    struct stile_parker *wake;
    bool passed;

    terms.keep_until_ns = 0;
    if (hold->slot != 0)
        status = stile__lease_linger(&object->space->leases, hold, &terms);
    if (status == STILE_NOT_HELD)
        return status;
    if (status == STILE_OK && terms.keep_until_ns != 0) {
        keep(object, hold->fence, terms.keep_until_ns);
        return STILE_OK;
    }
    /* Also when the lease is over: with its slot gone, nobody else ends it. */
    stile__mutex_lock(&object->mutex);
    passed =
        pass_on(object, hold->fence, status == STILE_OK ? STILE_RELEASED : STILE_HOLD_LOST, &wake);
    stile__mutex_unlock(&object->mutex);
    if (wake != NULL)
        stile__unpark(wake);
    if (status != STILE_OK || passed)
        return status;
    return hold->slot != 0 ? STILE_LOST : over(object, hold);
}

static stile_status local_lock_release(stile_lock *lock, const stile_hold *hold)
{
    struct local_lock_object *object = object_of(lock);

    if (hold->object != object)
        return STILE_NOT_HELD;
    if (hold->slot == 0 && lock_word_free(&object->word, hold->fence))
        return STILE_OK;
    return release_slowly(object, hold);
}

static stile_status local_lock_check(stile_lock *lock, const stile_hold *hold, int64_t *valid_ms)
{
    struct local_lock_object *object = object_of(lock);
    stile_status status;
    int64_t valid_ns;

    if (hold->object != object)
        return STILE_NOT_HELD;
    if (hold->slot == 0) {
        /* Acquire: who sees that it was ended by force sees that note, too. */
        uint64_t word = os_load(&object->word.word, memory_order_acquire);

        *valid_ms = STILE_FOREVER;
        return (word & ~QUEUED) == lock_word_held(hold->fence) ? STILE_OK : over(object, hold);
    }
    status = stile__lease_state(&object->space->leases, hold, &valid_ns);
    if (status == STILE_OK)
        *valid_ms = remaining_ms(valid_ns);
    return status;
}

static stile_status local_lock_extend(stile_lock *lock, const stile_hold *hold, int64_t add_ms)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_leases *leases = &object->space->leases;
    int64_t valid_ns, max_ns, most_ns;
    stile_status status;

    if (hold->slot == 0 || hold->object != object)
        return local_lock_check(lock, hold, &valid_ns);
    stile__mutex_lock(&object->mutex);
    status = stile__lease_bound(leases, hold, &valid_ns, &max_ns);
    if (status == STILE_OK && valid_ns != INT64_MAX) {
        most_ns = later_ns(stile__boottime_ns(), STILE_TEN_YEARS_MS);
        valid_ns = later_ns(valid_ns, add_ms);
        if (valid_ns > most_ns)
            valid_ns = most_ns;
        if (valid_ns > max_ns)
            valid_ns = max_ns;
        status = stile__lease_prolong(leases, hold, valid_ns);
    }
    if (status == STILE_OK && object->noted.fence == hold->fence)
        object->lapse_ns = valid_ns;
    stile__mutex_unlock(&object->mutex);
    return status;
}

/* ---- what an owner has done ------------------------------------------------------------ */

static bool local_lock_own(stile_lock *lock)
{
    struct local_lock_object *object = object_of(lock);
    /* Acquire: who sees the word of a later hold sees who has it. */
    uint64_t word = os_load(&object->word.word, memory_order_acquire);
    uint64_t fence = word >> FENCE_SHIFT;
    bool own = (word & HELD) && os_load(&object->word.owner, memory_order_relaxed) ==
                                    lock_word_owner(lock_word_held(fence), stile__thread_number());

    if (!own)
        return false;
    stile__mutex_lock(&object->mutex);
    own = object->noted.fence != fence || object->lapse_ns == INT64_MAX;
    stile__mutex_unlock(&object->mutex);
    return own;
}

static stile_status local_lock_hand_over(stile_lock *lock, const stile_hold *hold)
{
    struct local_lock_object *object = object_of(lock);
    uint64_t owner = os_load(&object->word.owner, memory_order_relaxed);
    int64_t valid_ms;
    stile_status status = local_lock_check(lock, hold, &valid_ms);

    /* It was in force, so that was its note.  Fails if it has ended meanwhile, and the next
     * owner is noted. */
    if (status == STILE_OK)
        os_cas(&object->word.owner, &owner, lock_word_owner(lock_word_held(hold->fence), 0),
               memory_order_relaxed);
    return status;
}

static stile_status local_lock_watch(stile_lock *lock, const stile_hold *hold,
                                     struct stile_watch *watch)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_mutex *mutex = &object->space->watch_mutex;
    stile_status status;

    if (hold->object != object)
        return STILE_NOT_HELD;
    watch->copied = true;
    if (hold->slot != 0)
        return stile__lease_watch(&object->space->leases, hold, watch);
    watch->mutex = mutex;
    stile__mutex_lock(&object->mutex);
    /* From here on its release comes the slow way. */
    if ((os_or(&object->word.word, QUEUED, memory_order_relaxed) & ~QUEUED) ==
        lock_word_held(hold->fence)) {
        object->watched = true;
        status = STILE_OK;
    } else {
        status = over(object, hold);
    }
    stile__mutex_lock(mutex);
    if (status == STILE_OK)
        stile__watch_attach(watch, &object->watches, STILE_HELD);
    if (status == STILE_LOST) {
        stile__watch_attach(watch, &object->watches, STILE_HOLD_LOST);
        list_remove(&watch->link);
    }
    stile__mutex_unlock(mutex);
    settle_flag(object);
    stile__mutex_unlock(&object->mutex);
    return status == STILE_LOST ? STILE_OK : status;
}

/* Under the mutex: the hold of this fence gets the next one, and the lock stays taken. */
static bool renumber(struct local_lock_object *object, uint64_t fence)
{
    uint64_t word = os_load(&object->word.word, memory_order_relaxed);

    /* acq_rel: what the old owner did is seen by the new one. */
    do {
        if ((word & ~QUEUED) != lock_word_held(fence))
            return false;
    } while (!os_cas(&object->word.word, &word, word + NEXT_FENCE, memory_order_acq_rel));
    return true;
}

static stile_status local_lock_give(stile_lock *lock, const stile_hold *hold,
                                    char text[STILE_TOKEN_SIZE])
{
    struct local_lock_object *object = object_of(lock);
    struct stile_token token = {.id = {object->space->token_id, 0}, .fence = hold->fence + 1};
    stile_status status = STILE_OK;

    if (hold->object != object)
        return STILE_NOT_HELD;
    stile__mutex_lock(&object->mutex);
    if (hold->slot != 0)
        status = stile__lease_rename(&object->space->leases, hold, token.fence, &object->noted);
    if (status == STILE_OK && !renumber(object, hold->fence))
        status = over(object, hold);
    if (status == STILE_OK) {
        tell_watches(object, hold->fence, STILE_RELEASED);
        memset(&object->holder, 0, sizeof object->holder);
    }
    settle_flag(object);
    stile__mutex_unlock(&object->mutex);
    if (status == STILE_OK)
        stile__token_write(&token, object->named.name, strlen(object->named.name), text);
    return status;
}

/* Under the mutex.  Takes *slot if it needs one.  *old is the hold whose lease has to end
 * outside. */
static stile_status adopt(stile_lock *lock, uint64_t fence, uint32_t *slot, stile_hold *hold,
                          stile_hold *old)
{
    struct local_lock_object *object = object_of(lock);
    int64_t keep_until_ns = 0;

    if (object->closed || ((struct local_lock *)lock)->shut)
        return stile__fail(STILE_CLOSED, "the space or the handle was closed");
    if (!renumber(object, fence))
        return STILE_LOST;
    if (has_lease(object, fence)) {
        *old = object->noted;
        keep_until_ns = object->keep_until_ns;
    }
    if (needs_slot(&lock->options) || keep_until_ns != 0) {
        hold->slot = *slot;
        *slot = 0;
    }
    grant_kept(object, fence + 1, stile__thread_number(), &lock->options, keep_until_ns, hold);
    note_holder(object, stile__thread_number(), lock->options.label);
    return STILE_OK;
}

static stile_status local_lock_adopt(stile_lock *lock, const char *text, stile_hold *hold)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_leases *leases = &object->space->leases;
    stile_hold taken = STILE_HOLD_INIT, old = STILE_HOLD_INIT;
    struct stile_lease_terms terms;
    struct stile_parker *wake;
    struct stile_token token;
    stile_status status;
    uint32_t slot;

    status = stile__token_read(text, object->named.name, strlen(object->named.name), &token);
    if (status == STILE_OK && token.id[0] != object->space->token_id)
        status = stile__fail(STILE_INVALID, "token is of another space");
    if (status == STILE_OK)
        status = stile__lease_reserve(leases, &slot);
    if (status != STILE_OK)
        return status;
    stile__mutex_lock(&object->mutex);
    lapse_due(object, &wake);
    status = adopt(lock, token.fence, &slot, &taken, &old);
    stile__mutex_unlock(&object->mutex);
    if (wake != NULL)
        stile__unpark(wake);
    /* Whatever became of it: it is not the holder's any more. */
    if (old.slot != 0)
        stile__lease_end(leases, &old, &terms);
    stile__lease_unreserve(leases, slot);
    if (status == STILE_OK)
        *hold = taken;
    return status;
}

/* ---- who holds and who waits ----------------------------------------------------------- */

/* Under the mutex. */
static void inspect_holder(const struct local_lock_object *object, uint64_t fence,
                           stile_lock_info *info)
{
    info->held = true;
    info->lease_ms = STILE_FOREVER;
    if (object->holder.fence == fence)
        describe(object->holder.thread, object->holder.since_ms, object->holder.label,
                 &info->holder);
    if (object->noted.fence == fence)
        info->lease_ms = remaining_ms(object->lapse_ns);
}

/* Under the mutex. */
static void inspect_queue(const struct local_lock_object *object, stile_lock_info *info)
{
    struct stile_link *at;

    for (at = object->queue.next; at != &object->queue; at = at->next) {
        const struct stile_waiter *waiter = waiter_of(at);

        if (info->waiters++ < STILE_LISTED_MOST)
            describe(waiter->thread, waiter->since_ms,
                     ((const stile_lock_options *)waiter->options)->label,
                     &info->queue[info->listed++]);
    }
}

/* Everybody is of this process. */
static void add_process(stile_lock_info *info)
{
    stile_party process = {.pid = stile__process_id()};
    size_t i;

    stile__host_name(process.host, sizeof process.host);
    for (i = 0; i < info->listed + (info->held ? 1 : 0); i++) {
        stile_party *party = i < info->listed ? &info->queue[i] : &info->holder;

        memcpy(party->host, process.host, sizeof party->host);
        party->pid = process.pid;
    }
}

static stile_status local_lock_inspect(stile_lock *lock, stile_lock_info *info)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_parker *wake;
    uint64_t word;

    info->queue = malloc(STILE_LISTED_MOST * sizeof *info->queue);
    if (info->queue == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for the waiters of a lock");
    stile__mutex_lock(&object->mutex);
    lapse_due(object, &wake);
    word = os_load(&object->word.word, memory_order_relaxed);
    info->fence = word >> FENCE_SHIFT;
    if (word & HELD)
        inspect_holder(object, info->fence, info);
    inspect_queue(object, info);
    stile__mutex_unlock(&object->mutex);
    if (wake != NULL)
        stile__unpark(wake);
    add_process(info);
    if (info->listed == 0) {
        free(info->queue);
        info->queue = NULL;
    }
    return STILE_OK;
}

static stile_status local_lock_force_release(stile_lock *lock)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_parker *wake = NULL;
    stile_status status = STILE_MISSING;
    uint64_t word, before;

    stile__mutex_lock(&object->mutex);
    before = os_load(&object->revoked_fence, memory_order_relaxed);
    while (status == STILE_MISSING &&
           ((word = os_load(&object->word.word, memory_order_relaxed)) & HELD)) {
        uint64_t fence = word >> FENCE_SHIFT;

        os_store(&object->revoked_fence, fence, memory_order_relaxed);
        if (pass_on(object, fence, STILE_HOLD_LOST, &wake))
            status = STILE_OK;
        else
            /* Its owner was quicker. */
            os_store(&object->revoked_fence, before, memory_order_relaxed);
    }
    stile__mutex_unlock(&object->mutex);
    if (wake != NULL)
        stile__unpark(wake);
    return status;
}

/* ---- handles and objects ------------------------------------------------------------- */

/* The core takes and frees the word by itself where that is all there is to do. */
static void share(stile_lock *lock, struct local_lock_object *object)
{
    ((struct local_lock *)lock)->object = object;
    lock->named = &object->named;
    if (lock->plain) {
        lock->word = &object->word;
        lock->object = object;
    }
}

static stile_status local_lock_init(stile_lock *lock, stile_kind kind, const char *name)
{
    struct local_space *space = (struct local_space *)lock->space;
    struct stile_named *named;
    stile_status status = stile__names_get(&space->names, kind, name, &named);

    if (status != STILE_OK)
        return status;
    share(lock, (struct local_lock_object *)(void *)named);
    return STILE_OK;
}

/* Under the mutex: settles those who wait through this handle, or all for NULL. */
static void turn_away(struct local_lock_object *object, const stile_lock *handle)
{
    struct stile_link *at = object->queue.next;

    while (at != &object->queue) {
        struct stile_waiter *waiter = waiter_of(at);
        struct stile_parker *wake;

        at = at->next;
        if (handle != NULL && waiter->owner != handle)
            continue;
        dequeue(object, waiter);
        stile__lease_unreserve(&object->space->leases, waiter->hold.slot);
        stile__settle(waiter, STILE_CLOSED, &wake);
        stile__unpark(wake);
    }
    settle_flag(object);
}

static void local_lock_shut(stile_lock *lock)
{
    struct local_lock_object *object = object_of(lock);

    stile__mutex_lock(&object->mutex);
    ((struct local_lock *)lock)->shut = true;
    turn_away(object, lock);
    stile__mutex_unlock(&object->mutex);
}

static void local_lock_copy(stile_lock *lock, stile_lock *from)
{
    struct local_lock_object *object = object_of(from);

    stile__names_ref(&object->named);
    share(lock, object);
}

static void local_lock_fini(stile_lock *lock)
{
    struct local_lock_object *object = object_of(lock);

    stile__names_unref(&object->space->names, &object->named);
}

struct stile_named *stile__local_lock_make(struct local_space *space)
{
    struct local_lock_object *object =
        aligned_alloc(_Alignof(struct local_lock_object), sizeof *object);
    uint64_t floor;

    if (object == NULL)
        return NULL;
    object->space = space;
    stile__mutex_init(&object->mutex, STILE_RANK_OBJECT);
    list_init(&object->queue);
    object->awake = 0;
    memset(object->told, 0, sizeof object->told);
    object->doubt = false;
    /* It may be made while the space is being closed, after the others were told. */
    object->closed = os_load(&space->base.closed, memory_order_relaxed);
    memset(&object->noted, 0, sizeof object->noted);
    memset(&object->holder, 0, sizeof object->holder);
    object->lapse_ns = INT64_MAX;
    object->keep_until_ns = 0;
    object->watched = false;
    list_init(&object->watches);
    atomic_init(&object->revoked_fence, 0);
    floor = os_load(&space->fence_floor, memory_order_relaxed);
    atomic_init(&object->sleepers, 0);
    stile__spin_init(&object->spin);
    atomic_init(&object->word.owner, 0);
    atomic_init(&object->word.word, floor << FENCE_SHIFT | queued_flag(object));
    return &object->named;
}

bool stile__local_lock_busy(struct stile_named *named)
{
    struct local_lock_object *object = (struct local_lock_object *)(void *)named;

    return os_load(&object->word.word, memory_order_relaxed) & HELD;
}

void stile__local_lock_destroy(struct local_space *space, struct stile_named *named)
{
    struct local_lock_object *object = (struct local_lock_object *)(void *)named;
    uint64_t fence = os_load(&object->word.word, memory_order_relaxed) >> FENCE_SHIFT;
    uint64_t floor = os_load(&space->fence_floor, memory_order_relaxed);

    while (floor < fence && !os_cas(&space->fence_floor, &floor, fence, memory_order_relaxed))
        continue;
    stile__mutex_fini(&object->mutex);
    free(object);
}

void stile__local_lock_close(struct stile_named *named)
{
    struct local_lock_object *object = (struct local_lock_object *)(void *)named;

    stile__mutex_lock(&object->mutex);
    object->closed = true;
    turn_away(object, NULL);
    stile__mutex_unlock(&object->mutex);
}

void stile__local_lock_lapse(struct stile_named *named, uint64_t fence)
{
    struct local_lock_object *object = (struct local_lock_object *)(void *)named;
    struct stile_parker *wake;

    stile__mutex_lock(&object->mutex);
    pass_on(object, fence, STILE_HOLD_LOST, &wake);
    stile__mutex_unlock(&object->mutex);
    if (wake != NULL)
        stile__unpark(wake);
}

const struct stile_lock_ops stile__local_lock_ops = {
    .size = sizeof(struct local_lock),
    .try_first = true,
    .init = local_lock_init,
    .copy = local_lock_copy,
    .shut = local_lock_shut,
    .fini = local_lock_fini,
    .acquire = local_lock_acquire,
    .poll = local_lock_poll,
    .sleep = local_lock_sleep,
    .withdraw = local_lock_withdraw,
    .release = local_lock_release,
    .extend = local_lock_extend,
    .check = local_lock_check,
    .hand_over = local_lock_hand_over,
    .own = local_lock_own,
    .watch = local_lock_watch,
    .give = local_lock_give,
    .adopt = local_lock_adopt,
    .inspect = local_lock_inspect,
    .force_release = local_lock_force_release,
};
