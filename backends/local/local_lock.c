/*
 * The lock of local: one word, and a queue for when it is not free.
 *
 * word: bit 0 HELD, bit 1 QUEUED, bits 2..63 the fence of the last acquire.
 * Acquire is a compare-and-swap from "not held, not queued" to the next fence
 * and HELD; release one from the own fence and HELD to not held.  Release,
 * expiry and close compare the same fence, so one of them wins.  QUEUED sends
 * both the slow way, under the queue's mutex.
 *
 * Whenever the mutex is free:
 *   - QUEUED is set if somebody is in the queue, the hold is watched or the
 *     object is closed, and only then;
 *   - if somebody is in the queue, the lock is held or somebody is awake: told
 *     STILE_AGAIN, and owing an attempt.
 * So whoever leaves without the lock passes the wake-up on.
 *
 * Who is woken competes with running threads, since a wake-up costs tens of
 * microseconds in which the lock would lie idle.  Who lost that race for
 * HANDOFF_NS, or asked for fairness, is made the owner by the releaser.
 */
#include "local.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/error.h"
#include "base/token.h"

#define HELD UINT64_C(1)
#define QUEUED UINT64_C(2)
#define FLAGS (HELD | QUEUED)
#define FENCE_SHIFT 2
#define NEXT_FENCE (UINT64_C(1) << FENCE_SHIFT)

/* How long a waiter that was woken may be passed over. */
#define HANDOFF_NS INT64_C(500000)

/* How often a waiter in a child of fork() looks whether a lease is over: the thread
 * that ends leases is the parent's. */
#define FORKED_LOOK_MS 50

/* Looks at a taken lock before sleeping: at most this many, about twice what
 * it took the last times. */
enum { SPIN_MOST = 200 };

struct local_lock_object {
    struct stile_named named; /* first: what the table of names knows */
    struct local_space *space;
    struct stile_mutex mutex; /* guards the queue and all below */
    struct stile_link queue;  /* struct stile_waiter, first come first */
    unsigned awake;           /* waiters told STILE_AGAIN that owe an attempt */
    bool closed;              /* once true, stays true */
    /* The last hold that had a lease, and when that ends. */
    stile_hold leased;
    int64_t lapse_ns;
    bool watched;              /* the holder has no lease, and may have watches: */
    struct stile_link watches; /* under the space's watch_mutex */
    /* How many looks it took lately until the lock came free; a hint. */
    _Atomic uint32_t spins;
    /* On a line of its own: written by every acquire and release. */
    _Alignas(64) _Atomic uint64_t word;
    /* Who took the lock last, beside the end of its fence: see owner_of(). */
    _Atomic uint64_t owner;
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

static int64_t length_ms(const stile_lock_options *options)
{
    if (!options->fixed_lease)
        return options->max_hold_ms;
    if (options->max_hold_ms != 0 && options->max_hold_ms < options->lease_ms)
        return options->max_hold_ms;
    return options->lease_ms;
}

/*
 * A thread, in the upper half, and the hold that it took.  Written by whoever makes it
 * the owner, after the word and before anybody has the hold.  So what was written for a
 * fence is there when the word has that fence or a later one, and a note of another
 * fence says nothing: nobody has to take it back.
 */
static uint64_t owner_of(uint64_t fence, uint64_t thread)
{
    return (thread & ~(uint64_t)UINT32_MAX) | (uint32_t)fence;
}

static void note_owner(struct local_lock_object *object, uint64_t fence, uint64_t thread)
{
    os_store(&object->owner, owner_of(fence, thread), memory_order_relaxed);
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

static uint64_t queued_flag(const struct local_lock_object *object)
{
    return object->closed || object->watched || !list_empty(&object->queue) ? QUEUED : 0;
}

/* Makes QUEUED what it has to be, on a word whose other bits may move. */
static void settle_flag(struct local_lock_object *object)
{
    if (queued_flag(object) != 0)
        os_or(&object->word, QUEUED, memory_order_relaxed);
    else
        os_and(&object->word, ~QUEUED, memory_order_relaxed);
}

/* Fills the hold of a new owner with this fence. */
static void grant(struct local_lock_object *object, uint64_t fence,
                  const stile_lock_options *options, uint64_t thread, stile_hold *hold)
{
    note_owner(object, fence, thread);
    fill(object, fence, hold);
    if (ends(options)) {
        struct stile_lease_terms terms = {.object = object,
                                          .fence = fence,
                                          .lease_ms = options->lease_ms,
                                          .max_until_ns = INT64_MAX};

        terms.valid_until_ns = later_ns(stile__boottime_ns(), length_ms(options));
        if (options->max_hold_ms != 0)
            terms.max_until_ns = later_ns(stile__boottime_ns(), options->max_hold_ms);
        object->lapse_ns = terms.valid_until_ns;
        stile__lease_arm(&object->space->leases, &terms, hold);
        object->leased = *hold;
    }
}

/*
 * The lock is free: wakes the first in the queue to compete, unless somebody is
 * competing already.
 */
static void wake_first(struct local_lock_object *object, struct stile_parker **wake)
{
    struct stile_waiter *first;

    *wake = NULL;
    if (list_empty(&object->queue) || object->awake > 0)
        return;
    first = waiter_of(object->queue.next);
    list_remove(&first->link);
    object->awake++;
    if (first->woken_ns == 0)
        first->woken_ns = stile__monotonic_ns();
    /* It is in the queue, and leaving takes the mutex: it has not left. */
    stile__settle(first, STILE_AGAIN, wake);
}

static bool wants_handoff(const struct stile_waiter *waiter)
{
    const stile_lock_options *options = waiter->options;

    return options->fair ||
           (waiter->woken_ns != 0 && stile__monotonic_ns() - waiter->woken_ns >= HANDOFF_NS);
}

/* The hold has ended in this way. */
static void tell_watches(struct local_lock_object *object, uint64_t fence, stile_hold_state end)
{
    struct stile_mutex *mutex = &object->space->watch_mutex;

    /* An owner who gives it back has told the watches of its lease. */
    if (end == STILE_HOLD_LOST && object->leased.fence == fence)
        stile__lease_lost(&object->space->leases, &object->leased);
    if (!object->watched)
        return;
    object->watched = false;
    stile__mutex_lock(mutex);
    stile__watches_end(&object->watches, end);
    stile__mutex_unlock(mutex);
}

/*
 * The hold of this fence is over, in this way: the lock passes to the first in the
 * queue, or comes free.  False: it was over before.
 */
static bool pass_on(struct local_lock_object *object, uint64_t fence, stile_hold_state end,
                    struct stile_parker **wake)
{
    struct stile_waiter *first = NULL;
    uint64_t word = os_load(&object->word, memory_order_relaxed), next;

    *wake = NULL;
    if (!list_empty(&object->queue) && wants_handoff(waiter_of(object->queue.next)))
        first = waiter_of(object->queue.next);
    /* Only this fence's owners can move the word now, by a release that races
     * with this one. */
    do {
        if ((word & ~QUEUED) != (fence << FENCE_SHIFT | HELD))
            return false;
        next = first == NULL ? word & ~HELD : word + NEXT_FENCE;
        /* acq_rel: what the old owner did is seen by the new one, which may not
         * touch the word at all. */
    } while (!os_cas(&object->word, &word, next, memory_order_acq_rel));
    tell_watches(object, fence, end);
    if (first == NULL) {
        wake_first(object, wake);
    } else {
        list_remove(&first->link);
        grant(object, fence + 1, first->options, first->thread, &first->hold);
        stile__settle(first, STILE_OK, wake);
    }
    settle_flag(object);
    return true;
}

/* Ends a lease that is over, so that nobody depends on when its thread runs. */
static void lapse_due(struct local_lock_object *object, struct stile_parker **wake)
{
    uint64_t word = os_load(&object->word, memory_order_relaxed);

    *wake = NULL;
    if ((word & HELD) && object->leased.fence == word >> FENCE_SHIFT &&
        stile__boottime_ns() >= object->lapse_ns)
        pass_on(object, object->leased.fence, STILE_HOLD_LOST, wake);
}

/*
 * Takes the lock if it is free and is not somebody else's turn; else notes with
 * QUEUED that somebody will wait, so that its release comes the slow way.
 */
static bool take(struct local_lock_object *object, bool behind, bool note, uint64_t *fence)
{
    uint64_t word = os_load(&object->word, memory_order_relaxed);

    for (;;) {
        bool free = !(word & HELD) && !behind;
        uint64_t next = free ? (word + NEXT_FENCE) | HELD : word | QUEUED;

        if (!free && !note)
            return false;
        if (!os_cas(&object->word, &word, next, memory_order_acquire))
            continue;
        *fence = next >> FENCE_SHIFT;
        return free;
    }
}

/* ---- acquire ----------------------------------------------------------------------- */

/* Looks at the lock for a while, in case its holder is about to let go. */
static void spin(struct local_lock_object *object)
{
    uint32_t usual = os_load(&object->spins, memory_order_relaxed);
    uint32_t most = usual * 2 + 10, looks = 0;

    if (most > SPIN_MOST)
        most = SPIN_MOST;
    while (looks < most && (os_load(&object->word, memory_order_relaxed) & HELD)) {
        os_pause();
        looks++;
    }
    if (looks > usual)
        usual += (looks - usual) / 8;
    else
        usual -= (usual - looks) / 8;
    os_store(&object->spins, usual, memory_order_relaxed);
}

static inline bool take_fast(struct local_lock_object *object, uint64_t thread, stile_hold *hold)
{
    uint64_t word = os_load(&object->word, memory_order_relaxed);

    if ((word & FLAGS) ||
        !os_cas(&object->word, &word, (word + NEXT_FENCE) | HELD, memory_order_acquire))
        return false;
    hold->slot = 0;
    fill(object, (word >> FENCE_SHIFT) + 1, hold);
    note_owner(object, (word >> FENCE_SHIFT) + 1, thread);
    return true;
}

/* When a waiter looks again by itself. */
static void set_recheck(const struct local_lock_object *object, struct stile_waiter *waiter)
{
    int64_t at_ns = INT64_MAX;

    if (stile__space_forked(&object->space->base))
        at_ns = later_ns(stile__monotonic_ns(), FORKED_LOOK_MS);
    os_store(&waiter->recheck_ns, at_ns, memory_order_relaxed);
}

/* Who will have the hold. */
static uint64_t thread_of(const struct stile_waiter *waiter)
{
    return waiter != NULL ? waiter->thread : stile__thread_number();
}

static void queue_up(struct local_lock_object *object, struct stile_waiter *waiter)
{
    set_recheck(object, waiter);
    os_store(&waiter->state, STILE_WAITER_QUEUED, memory_order_relaxed);
    /* Who was woken and lost the race was first, and is again. */
    if (waiter->woken_ns != 0)
        list_push_front(&object->queue, &waiter->link);
    else
        list_push_back(&object->queue, &waiter->link);
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
        object->awake--;
    lapse_due(object, &lapsed);
    behind = options->fair && !woken && !list_empty(&object->queue);
    if (object->closed || ((struct local_lock *)lock)->shut) {
        status = STILE_CLOSED;
    } else if (take(object, behind, may_queue, &fence)) {
        grant(object, fence, options, thread_of(waiter), hold);
        status = STILE_OK;
    } else if (may_queue) {
        queue_up(object, waiter);
        status = STILE_PENDING;
    }
    if (!(os_load(&object->word, memory_order_relaxed) & HELD))
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
    stile_hold taken = STILE_HOLD_INIT;
    stile_status status;

    if (waiter != NULL && !ends(options) && !woken && stile__cpus() > 1) {
        spin(object);
        if (take_fast(object, thread_of(waiter), hold))
            return STILE_OK;
    }
    if (waiter != NULL)
        taken = waiter->hold;
    if (ends(options) && taken.slot == 0) {
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
    uint64_t thread = os_thread_known();

    if (waiter == NULL && thread != 0 && !ends(options) && take_fast(object_of(lock), thread, hold))
        return STILE_OK;
    return acquire_slowly(lock, options, waiter, hold);
}

static void local_lock_poll(stile_lock *lock, struct stile_waiter *waiter)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_parker *wake;

    stile__mutex_lock(&object->mutex);
    lapse_due(object, &wake);
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
        list_remove(&waiter->link);
        settle_flag(object);
    }
    stile__mutex_unlock(&object->mutex);
    if (!left)
        return STILE_TOO_LATE;
    stile__lease_unreserve(&object->space->leases, waiter->hold.slot);
    return STILE_OK;
}

/* ---- what an owner does -------------------------------------------------------------- */

/* The word while that fence holds, QUEUED aside. */
static uint64_t held_word(const stile_hold *hold)
{
    return hold->fence << FENCE_SHIFT | HELD;
}

OS_SLOW_PATH static stile_status release_slowly(struct local_lock_object *object,
                                                const stile_hold *hold)
{
    struct stile_lease_terms terms;
    stile_status status = STILE_OK;
    struct stile_parker *wake;
    bool passed;

    if (hold->slot != 0)
        status = stile__lease_end(&object->space->leases, hold, &terms);
    if (status == STILE_NOT_HELD)
        return status;
    /* Also when the lease is over: with its slot gone, nobody else ends it. */
    stile__mutex_lock(&object->mutex);
    passed =
        pass_on(object, hold->fence, status == STILE_OK ? STILE_RELEASED : STILE_HOLD_LOST, &wake);
    stile__mutex_unlock(&object->mutex);
    if (wake != NULL)
        stile__unpark(wake);
    if (status != STILE_OK || passed)
        return status;
    return hold->slot != 0 ? STILE_LOST : STILE_NOT_HELD;
}

static stile_status local_lock_release(stile_lock *lock, const stile_hold *hold)
{
    struct local_lock_object *object = object_of(lock);
    uint64_t word = held_word(hold);

    if (hold->object != object)
        return STILE_NOT_HELD;
    /* Release: the next owner sees what this one did. */
    if (hold->slot == 0 && os_cas(&object->word, &word, word & ~HELD, memory_order_release))
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
        uint64_t word = os_load(&object->word, memory_order_relaxed);

        *valid_ms = STILE_FOREVER;
        return (word & ~QUEUED) == held_word(hold) ? STILE_OK : STILE_NOT_HELD;
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
    if (status == STILE_OK) {
        most_ns = later_ns(stile__boottime_ns(), STILE_TEN_YEARS_MS);
        valid_ns = later_ns(valid_ns, add_ms);
        if (valid_ns > most_ns)
            valid_ns = most_ns;
        if (valid_ns > max_ns)
            valid_ns = max_ns;
        status = stile__lease_prolong(leases, hold, valid_ns);
    }
    if (status == STILE_OK && object->leased.fence == hold->fence)
        object->lapse_ns = valid_ns;
    stile__mutex_unlock(&object->mutex);
    return status;
}

/* ---- what an owner has done ------------------------------------------------------------ */

static bool local_lock_own(stile_lock *lock)
{
    struct local_lock_object *object = object_of(lock);
    /* Acquire: who sees the word of a later hold sees who has it. */
    uint64_t word = os_load(&object->word, memory_order_acquire);
    bool own = (word & HELD) && os_load(&object->owner, memory_order_relaxed) ==
                                    owner_of(word >> FENCE_SHIFT, stile__thread_number());

    if (!own)
        return false;
    stile__mutex_lock(&object->mutex);
    own = object->leased.fence != word >> FENCE_SHIFT;
    stile__mutex_unlock(&object->mutex);
    return own;
}

static stile_status local_lock_hand_over(stile_lock *lock, const stile_hold *hold)
{
    struct local_lock_object *object = object_of(lock);
    uint64_t owner = os_load(&object->owner, memory_order_relaxed);
    int64_t valid_ms;
    stile_status status = local_lock_check(lock, hold, &valid_ms);

    /* Fails if the hold has ended meanwhile, and the next owner is noted. */
    if (status == STILE_OK && (uint32_t)owner == (uint32_t)hold->fence)
        os_cas(&object->owner, &owner, owner_of(hold->fence, 0), memory_order_relaxed);
    return status;
}

static stile_status local_lock_watch(stile_lock *lock, const stile_hold *hold,
                                     struct stile_watch *watch)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_mutex *mutex = &object->space->watch_mutex;
    bool held;

    if (hold->object != object)
        return STILE_NOT_HELD;
    watch->copied = true;
    if (hold->slot != 0)
        return stile__lease_watch(&object->space->leases, hold, watch);
    watch->mutex = mutex;
    stile__mutex_lock(&object->mutex);
    /* From here on its release comes the slow way. */
    held = (os_or(&object->word, QUEUED, memory_order_relaxed) & ~QUEUED) == held_word(hold);
    if (held) {
        object->watched = true;
        stile__mutex_lock(mutex);
        stile__watch_attach(watch, &object->watches, STILE_HELD);
        stile__mutex_unlock(mutex);
    }
    settle_flag(object);
    stile__mutex_unlock(&object->mutex);
    return held ? STILE_OK : STILE_NOT_HELD;
}

/* Under the mutex: the hold of this fence gets the next one, and the lock stays taken. */
static bool renumber(struct local_lock_object *object, uint64_t fence)
{
    uint64_t word = os_load(&object->word, memory_order_relaxed);

    /* acq_rel: what the old owner did is seen by the new one. */
    do {
        if ((word & ~QUEUED) != (fence << FENCE_SHIFT | HELD))
            return false;
    } while (!os_cas(&object->word, &word, word + NEXT_FENCE, memory_order_acq_rel));
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
        status = stile__lease_rename(&object->space->leases, hold, token.fence, &object->leased);
    if (status == STILE_OK && !renumber(object, hold->fence))
        status = STILE_NOT_HELD;
    if (status == STILE_OK)
        tell_watches(object, hold->fence, STILE_RELEASED);
    settle_flag(object);
    stile__mutex_unlock(&object->mutex);
    if (status == STILE_OK)
        stile__token_write(&token, object->named.name, strlen(object->named.name), text);
    return status;
}

/* Under the mutex.  *old is the hold whose lease has to end outside. */
static stile_status adopt(stile_lock *lock, uint64_t fence, stile_hold *hold, stile_hold *old)
{
    struct local_lock_object *object = object_of(lock);

    if (object->closed || ((struct local_lock *)lock)->shut)
        return stile__fail(STILE_CLOSED, "the space or the handle was closed");
    if (!renumber(object, fence))
        return STILE_LOST;
    if (object->leased.fence == fence)
        *old = object->leased;
    grant(object, fence + 1, &lock->options, stile__thread_number(), hold);
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

    status = stile__token_read(text, object->named.name, strlen(object->named.name), &token);
    if (status == STILE_OK && token.id[0] != object->space->token_id)
        status = stile__fail(STILE_INVALID, "token is of another space");
    if (status == STILE_OK && ends(&lock->options))
        status = stile__lease_reserve(leases, &taken.slot);
    if (status != STILE_OK)
        return status;
    stile__mutex_lock(&object->mutex);
    lapse_due(object, &wake);
    status = adopt(lock, token.fence, &taken, &old);
    stile__mutex_unlock(&object->mutex);
    if (wake != NULL)
        stile__unpark(wake);
    /* Whatever became of it: it is not the holder's any more. */
    if (old.slot != 0)
        stile__lease_end(leases, &old, &terms);
    if (status == STILE_OK)
        *hold = taken;
    else
        stile__lease_unreserve(leases, taken.slot);
    return status;
}

/* ---- handles and objects ------------------------------------------------------------- */

static stile_status local_lock_init(stile_lock *lock, const char *name)
{
    struct local_space *space = (struct local_space *)lock->space;
    struct stile_named *named;
    stile_status status = stile__names_get(&space->names, STILE_LOCK, name, &named);

    if (status == STILE_OK)
        ((struct local_lock *)lock)->object = (struct local_lock_object *)(void *)named;
    return status;
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
        list_remove(&waiter->link);
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
    /* It may be made while the space is being closed, after the others were told. */
    object->closed = os_load(&space->base.closed, memory_order_relaxed);
    object->leased = (stile_hold)STILE_HOLD_INIT;
    object->lapse_ns = INT64_MAX;
    object->watched = false;
    list_init(&object->watches);
    atomic_init(&object->owner, 0);
    floor = os_load(&space->fence_floor, memory_order_relaxed);
    atomic_init(&object->spins, 0);
    atomic_init(&object->word, floor << FENCE_SHIFT | queued_flag(object));
    return &object->named;
}

bool stile__local_lock_busy(struct stile_named *named)
{
    struct local_lock_object *object = (struct local_lock_object *)(void *)named;

    return os_load(&object->word, memory_order_relaxed) & HELD;
}

void stile__local_lock_destroy(struct local_space *space, struct stile_named *named)
{
    struct local_lock_object *object = (struct local_lock_object *)(void *)named;
    uint64_t fence = os_load(&object->word, memory_order_relaxed) >> FENCE_SHIFT;
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
    .shut = local_lock_shut,
    .fini = local_lock_fini,
    .acquire = local_lock_acquire,
    .poll = local_lock_poll,
    .withdraw = local_lock_withdraw,
    .release = local_lock_release,
    .extend = local_lock_extend,
    .check = local_lock_check,
    .hand_over = local_lock_hand_over,
    .own = local_lock_own,
    .watch = local_lock_watch,
    .give = local_lock_give,
    .adopt = local_lock_adopt,
};
