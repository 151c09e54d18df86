/*
 * The lock of local: one word (lock_word.h), and a queue for when it is not free.
 *
 * Release, expiry and close compare the same fence in the word, so one of them
 * wins.  QUEUED sends acquire and release the slow way, under the queue's mutex.
 *
 * Whenever the mutex is free:
 *   - QUEUED is set if the object is closed, or somebody is in the queue and nobody is
 *     awake (told STILE_AGAIN, and owing an attempt), or the first is to be made the
 *     owner, or there is doubt whether who is awake gets a core;
 *   - if somebody is in the queue, the lock is held or somebody is awake.
 * So whoever leaves without the lock passes the wake-up on, and while somebody who was
 * woken is on its way, those who run take and free the lock without the mutex.
 *
 * Who is woken competes with running threads, since a wake-up costs tens of
 * microseconds in which the lock would lie idle.  Who lost that race for
 * HANDOFF_NS, or asked for fairness, is made the owner by the releaser.  Nobody is
 * woken while somebody spins: who spins takes the lock, or comes to the mutex.
 */
#include "local.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/error.h"
#include "base/spin.h"
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
    /* If the holder has a lease: its fence, and when it ends. */
    uint64_t lapse_fence;
    int64_t lapse_ns;
    _Atomic uint32_t sleepers; /* how many are in the queue; written under the mutex */
    struct stile_spin spin;
    /* On a line of its own: written by every acquire and release. */
    _Alignas(64) _Atomic uint64_t word;
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

    return options->fair ||
           (waiter->woken_ns != 0 && stile__monotonic_ns() - waiter->woken_ns >= HANDOFF_NS);
}

static uint64_t queued_flag(const struct local_lock_object *object)
{
    if (object->closed)
        return QUEUED;
    if (list_empty(&object->queue))
        return 0;
    return object->awake == 0 || object->doubt || wants_handoff(waiter_of(object->queue.next))
               ? QUEUED
               : 0;
}

/* Makes QUEUED what it has to be, on a word whose other bits may move. */
static void settle_flag(struct local_lock_object *object)
{
    uint64_t flag = queued_flag(object);

    /* Only who has the mutex changes it. */
    if ((os_load(&object->word, memory_order_relaxed) & QUEUED) == flag)
        return;
    if (flag != 0)
        os_or(&object->word, QUEUED, memory_order_relaxed);
    else
        os_and(&object->word, ~QUEUED, memory_order_relaxed);
}

static void dequeue(struct local_lock_object *object, struct stile_waiter *waiter)
{
    list_remove(&waiter->link);
    os_sub(&object->sleepers, 1, memory_order_relaxed);
}

/* Fills the hold of a new owner with this fence. */
static void grant(struct local_lock_object *object, uint64_t fence,
                  const stile_lock_options *options, stile_hold *hold)
{
    fill(object, fence, hold);
    if (ends(options)) {
        struct stile_lease_terms terms = {.object = object,
                                          .fence = fence,
                                          .lease_ms = options->lease_ms,
                                          .max_until_ns = INT64_MAX};

        terms.valid_until_ns = later_ns(stile__boottime_ns(), length_ms(options));
        if (options->max_hold_ms != 0)
            terms.max_until_ns = later_ns(stile__boottime_ns(), options->max_hold_ms);
        object->lapse_fence = fence;
        object->lapse_ns = terms.valid_until_ns;
        stile__lease_arm(&object->space->leases, &terms, hold);
    }
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

/*
 * The lock is free: wakes the first in the queue to compete, unless somebody is
 * competing already.
 */
static void wake_first(struct local_lock_object *object, struct stile_parker **wake)
{
    *wake = NULL;
    if (!list_empty(&object->queue) && object->awake == 0)
        tell(object, waiter_of(object->queue.next), wake);
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
        if (!stile__parked_here(waiter_of(at)->parker)) {
            tell(object, waiter_of(at), wake);
            return;
        }
    }
}

/*
 * The hold of this fence is over: the lock passes to the first in the queue, or
 * comes free.  False: it was over before.
 */
static bool pass_on(struct local_lock_object *object, uint64_t fence, struct stile_parker **wake)
{
    struct stile_waiter *first = NULL;
    uint64_t word = os_load(&object->word, memory_order_relaxed), next;

    *wake = NULL;
    if (!list_empty(&object->queue) && wants_handoff(waiter_of(object->queue.next)))
        first = waiter_of(object->queue.next);
    /* Only this fence's owners can move the word now, by a release that races
     * with this one. */
    do {
        if ((word & ~QUEUED) != lock_word_held(fence))
            return false;
        next = first == NULL ? word & ~HELD : word + NEXT_FENCE;
        /* acq_rel: what the old owner did is seen by the new one, which may not
         * touch the word at all. */
    } while (!os_cas(&object->word, &word, next, memory_order_acq_rel));
    if (first == NULL) {
        /* Who spins takes the lock, or comes here. */
        if (object->doubt && object->awake > 0)
            wake_elsewhere(object, wake);
        else if (os_load(&object->spin.inside, memory_order_relaxed) == 0)
            wake_first(object, wake);
    } else {
        dequeue(object, first);
        grant(object, fence + 1, first->options, &first->hold);
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
    if ((word & HELD) && object->lapse_fence == word >> FENCE_SHIFT &&
        stile__boottime_ns() >= object->lapse_ns)
        pass_on(object, object->lapse_fence, wake);
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

static OS_FAST_PATH bool take_fast(struct local_lock_object *object, stile_hold *hold)
{
    uint64_t fence = lock_word_take(&object->word);

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
    if (waiter->woken_ns != 0)
        list_push_front(&object->queue, &waiter->link);
    else
        list_push_back(&object->queue, &waiter->link);
}

/*
 * Whether looking at the lock for a while, in case its holder is about to let go, got
 * it.  Who comes while others sleep does not look: there are more than cores, and it
 * would take the word away from those who run.
 */
static bool watch(struct local_lock_object *object, bool woken, stile_hold *hold)
{
    uint64_t word = os_load(&object->word, memory_order_relaxed);
    struct stile_look look;

    if ((!woken && os_load(&object->sleepers, memory_order_relaxed) > 0) ||
        !stile__spin_begin(&object->spin, &look, word >> FENCE_SHIFT, woken))
        return false;
    do {
        word = os_load(&object->word, memory_order_relaxed);
        if (!(word & HELD)) {
            stile__spin_leave(&object->spin);
            if (take_fast(object, hold)) {
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
    behind = options->fair && !woken && !list_empty(&object->queue);
    if (object->closed || ((struct local_lock *)lock)->shut) {
        status = STILE_CLOSED;
    } else if (take(object, behind, may_queue, &fence)) {
        grant(object, fence, options, hold);
        status = STILE_OK;
    } else if (may_queue) {
        queue_up(object, waiter);
        object->doubt = true;
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

    if (woken)
        stile__wake_took(stile__monotonic_ns() - waiter->told_ns);
    /* Who was woken for the second time is to be made the owner soon. */
    if (waiter != NULL && !waiter->last && !ends(options) && !options->fair &&
        (!woken || waiter->told_ns == waiter->woken_ns)) {
        if (watch(object, woken, hold)) {
            if (woken) {
                stile__mutex_lock(&object->mutex);
                arrive(object, waiter);
                stile__mutex_unlock(&object->mutex);
            }
            return STILE_OK;
        }
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
    /* Who was woken owes the queue's mutex a visit. */
    if (!ends(options) && (waiter == NULL || waiter->woken_ns == 0) &&
        take_fast(object_of(lock), hold))
        return STILE_OK;
    return acquire_slowly(lock, options, waiter, hold);
}

/* In a child of fork(), those who were about to take the lock may have been threads of
 * the parent: whoever looks and finds it free competes by itself. */
static bool is_forsaken(struct local_lock_object *object, struct stile_waiter *waiter)
{
    return stile__space_forked(&object->space->base) &&
           !(os_load(&object->word, memory_order_relaxed) & HELD) &&
           os_load(&waiter->state, memory_order_relaxed) == STILE_WAITER_QUEUED;
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
    passed = pass_on(object, hold->fence, &wake);
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
        uint64_t word = os_load(&object->word, memory_order_relaxed);

        *valid_ms = STILE_FOREVER;
        return (word & ~QUEUED) == lock_word_held(hold->fence) ? STILE_OK : STILE_NOT_HELD;
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
    if (status == STILE_OK && object->lapse_fence == hold->fence)
        object->lapse_ns = valid_ns;
    stile__mutex_unlock(&object->mutex);
    return status;
}

/* ---- handles and objects ------------------------------------------------------------- */

static stile_status local_lock_init(stile_lock *lock, const char *name)
{
    struct local_space *space = (struct local_space *)lock->space;
    struct stile_named *named;
    stile_status status = stile__names_get(&space->names, STILE_LOCK, name, &named);
    struct local_lock_object *object;

    if (status != STILE_OK)
        return status;
    object = (struct local_lock_object *)(void *)named;
    ((struct local_lock *)lock)->object = object;
    if (!ends(&lock->options)) {
        lock->word = &object->word;
        lock->object = object;
    }
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
    object->lapse_fence = 0;
    object->lapse_ns = INT64_MAX;
    floor = os_load(&space->fence_floor, memory_order_relaxed);
    atomic_init(&object->sleepers, 0);
    stile__spin_init(&object->spin);
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
    pass_on(object, fence, &wake);
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
};
