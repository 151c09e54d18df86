/*
 * The lock of local: one word (lock_word.h), and a queue for when it is not free.
 *
 * Release, expiry and force compare the same fence in the word, so one of them
 * wins.  QUEUED sends acquire and release the slow way, under the queue's mutex.
 * Who is awake was told STILE_AGAIN, and owes an attempt; the first is the first in the
 * queue who can still be granted the lock.
 *
 * Whoever frees the mutex leaves it so:
 *   1. QUEUED is set if the object is closed, or the hold is watched, or there is a first
 *      and nobody is awake, or the first is to be made the owner, or there is doubt whether
 *      who is awake gets a core; and only then.
 *   2. If there is a first, the lock is held, or somebody is awake or spins.
 * Two things change who the first is, or what is to become of it, without the mutex.  Time
 * passes: who was woken and lost the race looks again once it is to be made the owner
 * (set_recheck).  Another lock is granted to one that waits for several: it withdraws.
 *
 * So whoever leaves without the lock passes the wake-up on, and while somebody who was
 * woken is on its way, those who run take and free the lock without the mutex, unless 1
 * has another reason against it.
 *
 * Who is woken competes with running threads, since a wake-up costs tens of
 * microseconds in which the lock would lie idle.  Who lost that race for
 * HANDOFF_NS, or asked for fairness, is made the owner by the releaser; so is a
 * waiter behind which no thread of its own is, or that waits for other locks, too.
 * A release wakes nobody while somebody spins: who spins takes the lock, or comes to the
 * mutex; but where there is doubt it wakes one more.
 */
#include "local_lock.h"

#include <assert.h>

#include "base/deadline.h"

/* How long a waiter that was woken may be passed over. */
#define HANDOFF_NS INT64_C(500000)

/* How many of the queue to ask where they sleep. */
enum { ELSEWHERE_LOOKS = 8 };

/* How often a waiter in a child of fork() looks whether a lease is over: the thread
 * that ends leases is the parent's. */
#define FORKED_LOOK_MS 50

/* ---- the flag ----------------------------------------------------------------------- */

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
        return STILE_WORD_QUEUED;
    if (first == NULL)
        return 0;
    return object->awake == 0 || object->doubt || wants_handoff(first) ? STILE_WORD_QUEUED : 0;
}

void stile__local_settle_flag(struct local_lock_object *object)
{
    uint64_t flag = queued_flag(object);

    /* Only who has the mutex changes it. */
    if ((os_load(&object->word.word, memory_order_relaxed) & STILE_WORD_QUEUED) == flag)
        return;
    if (flag != 0)
        os_or(&object->word.word, STILE_WORD_QUEUED, memory_order_relaxed);
    else
        os_and(&object->word.word, ~STILE_WORD_QUEUED, memory_order_relaxed);
}

/* ---- who is told and who is made the owner ------------------------------------------ */

static void dequeue(struct local_lock_object *object, struct stile_waiter *waiter)
{
    list_remove(&waiter->link);
    os_sub(&object->sleepers, 1, memory_order_relaxed);
}

/* Where in told this one is; with NULL, where there is room. */
static unsigned told_at(const struct local_lock_object *object, const struct stile_parker *parker)
{
    unsigned i = 0;

    while (i < LOCAL_AWAKE_MOST - 1 && object->told[i] != parker)
        i++;
    return i;
}

/* Takes a waiter out of the queue and tells it to compete; fewer than LOCAL_AWAKE_MOST do. */
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

void stile__local_arrive(struct local_lock_object *object, const struct stile_waiter *waiter)
{
    object->awake--;
    object->told[told_at(object, waiter->parker)] = NULL;
    stile__local_settle_flag(object);
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
static void make_owner(struct local_lock_object *object, struct stile_waiter *waiter,
                       uint64_t fence, struct stile_parker **wake)
{
#if STILE_BUG == 3
    if (!stile__claim(waiter))
        return;
#endif
    dequeue(object, waiter);
    stile__local_grant(object, fence, waiter->thread, waiter->options, 0, &waiter->hold);
    stile__local_note_holder(object, waiter->thread,
                             ((const stile_lock_options *)waiter->options)->label);
    /* It is in the queue, and leaving takes the mutex: it has not left. */
    stile__settle(waiter, STILE_OK, wake);
}

/*
 * Takes the lock if it is free and is not somebody else's turn; else notes with
 * QUEUED that somebody will wait, so that its release comes the slow way.
 */
static bool take_word(struct local_lock_object *object, bool behind, bool note, uint64_t *fence)
{
    uint64_t word = os_load(&object->word.word, memory_order_relaxed);

    for (;;) {
        bool free = !(word & STILE_WORD_HELD) && !behind;
        uint64_t next =
            free ? (word + STILE_WORD_NEXT_FENCE) | STILE_WORD_HELD : word | STILE_WORD_QUEUED;

        if (!free && !note)
            return false;
        if (!os_cas(&object->word.word, &word, next, memory_order_acquire))
            continue;
        *fence = next >> STILE_WORD_FENCE_SHIFT;
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
        if (take_word(object, false, false, &fence))
            make_owner(object, first, fence, wake);
        return;
    }
    first = first_of(object);
    if (first == NULL)
        return;
    tell(object, first, wake);
}

/* Whether all who were told to compete, and have not come, slept on this core. */
static bool awake_here(const struct local_lock_object *object)
{
    unsigned i;

    for (i = 0; i < LOCAL_AWAKE_MOST; i++) {
        if (object->told[i] != NULL && !stile__parked_here(object->told[i]))
            return false;
    }
    return object->awake < LOCAL_AWAKE_MOST;
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

bool stile__local_pass_on(struct local_lock_object *object, uint64_t fence, stile_hold_state end,
                          struct stile_parker **wake)
{
    /* With QUEUED the word stands still, but for who has the mutex: who is chosen can be
     * granted. */
    uint64_t word = os_or(&object->word.word, STILE_WORD_QUEUED, memory_order_relaxed);
    struct stile_waiter *owner;
    uint64_t next;

    *wake = NULL;
    word |= STILE_WORD_QUEUED;
    if ((word & ~STILE_WORD_QUEUED) != lock_word_held(fence)) {
        stile__local_settle_flag(object);
        return false;
    }
    owner = choose_owner(object);
    next = owner == NULL ? word & ~STILE_WORD_HELD : word + STILE_WORD_NEXT_FENCE;
    /* acq_rel: what the old owner did is seen by the new one, which may not touch the
     * word at all. */
    os_exchange(&object->word.word, next, memory_order_acq_rel);
    stile__local_tell_watches(object, fence, end);
    if (owner != NULL)
        make_owner(object, owner, fence + 1, wake);
    /* Who spins takes the lock, or comes here. */
    else if (object->doubt && object->awake > 0)
        wake_elsewhere(object, wake);
    else if (os_load(&object->spin.inside, memory_order_relaxed) == 0)
        wake_first(object, wake);
    stile__local_settle_flag(object);
    return true;
}

void stile__local_lapse_due(struct local_lock_object *object, struct stile_parker **wake)
{
    uint64_t word = os_load(&object->word.word, memory_order_relaxed);

    *wake = NULL;
    if ((word & STILE_WORD_HELD) && object->noted.fence == word >> STILE_WORD_FENCE_SHIFT &&
        object->lapse_ns != INT64_MAX && stile__boottime_ns() >= object->lapse_ns)
        stile__local_pass_on(object, object->noted.fence, STILE_HOLD_LOST, wake);
}

/* ---- who waits ---------------------------------------------------------------------- */

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

stile_status stile__local_take(stile_lock *lock, const stile_lock_options *options,
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
        stile__local_arrive(object, waiter);
    stile__local_lapse_due(object, &lapsed);
    behind = options->fair && !woken && first_of(object) != NULL;
    if (object->closed || ((struct local_lock *)lock)->shut) {
        status = STILE_CLOSED;
    } else if (take_word(object, behind, may_queue, &fence)) {
        stile__local_grant(object, fence, thread_of(waiter), options, 0, hold);
        if (woken || !stile__lock_is_plain(options))
            stile__local_note_holder(object, thread_of(waiter), options->label);
        status = STILE_OK;
    } else if (may_queue) {
        queue_up(object, waiter);
        object->doubt = true;
        status = STILE_PENDING;
    }
    if (!(os_load(&object->word.word, memory_order_relaxed) & STILE_WORD_HELD))
        wake_first(object, &wake);
    stile__local_settle_flag(object);
    unlock_and_wake(object, lapsed);
    if (wake != NULL)
        stile__unpark(wake);
    if (status == STILE_CLOSED)
        return fail_closed();
    return status;
}

/* In a child of fork(), those who were about to take the lock may have been threads of
 * the parent: whoever looks and finds it free competes by itself. */
static bool is_forsaken(struct local_lock_object *object, struct stile_waiter *waiter)
{
    return stile__space_forked(&object->space->base) &&
           !(os_load(&object->word.word, memory_order_relaxed) & STILE_WORD_HELD) &&
           os_load(&waiter->state, memory_order_relaxed) == STILE_WAITER_QUEUED;
}

void stile__local_sleep(stile_lock *lock, struct stile_waiter *waiter, int64_t until_ns)
{
    (void)lock;
    stile__park(waiter->parker, until_ns);
}

void stile__local_poll(stile_lock *lock, struct stile_waiter *waiter)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_parker *wake, *own;

    stile__mutex_lock(&object->mutex);
    stile__local_lapse_due(object, &wake);
    if (is_forsaken(object, waiter))
        tell(object, waiter, &own);
    stile__local_settle_flag(object);
    unlock_and_wake(object, wake);
    set_recheck(object, waiter);
}

stile_status stile__local_withdraw(stile_lock *lock, struct stile_waiter *waiter)
{
    struct local_lock_object *object = object_of(lock);
    bool left;

    stile__mutex_lock(&object->mutex);
    left = stile__leave(waiter);
    if (left) {
        dequeue(object, waiter);
        stile__local_settle_flag(object);
    }
    stile__mutex_unlock(&object->mutex);
    if (!left)
        return STILE_TOO_LATE;
    stile__lease_unreserve(&object->space->leases, waiter->hold.slot);
    return STILE_OK;
}

void stile__local_turn_away(struct local_lock_object *object, const stile_lock *handle)
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
    stile__local_settle_flag(object);
}
