#include "local_lock.h"

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
        !stile__spin_begin(&object->spin, &look, word >> STILE_WORD_FENCE_SHIFT, woken))
        return false;
    do {
        word = os_load(&object->word.word, memory_order_relaxed);
        if (!(word & STILE_WORD_HELD)) {
            stile__spin_leave(&object->spin);
            if (take_fast(object, thread, hold)) {
                stile__spin_tell(&object->spin, true);
                return true;
            }
            /* Who takes it past others who sleep does so under the mutex. */
            if ((word & STILE_WORD_QUEUED) || !stile__spin_enter(&object->spin))
                return false;
        }
    } while (stile__spin_next(&look, word >> STILE_WORD_FENCE_SHIFT));
    stile__spin_leave(&object->spin);
    stile__spin_tell(&object->spin, false);
    return false;
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
            stile__local_arrive(object, waiter);
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
    status = stile__local_take(lock, options, waiter, &taken);
    if (status == STILE_OK)
        *hold = taken;
    else if (status != STILE_PENDING)
        stile__lease_unreserve(&object->space->leases, taken.slot);
    return status;
}

stile_status stile__local_acquire(stile_lock *lock, const stile_lock_options *options,
                                  struct stile_waiter *waiter, stile_hold *hold)
{
    /* Who was woken owes the queue's mutex a visit. */
    if (options == &lock->options && lock->plain && (waiter == NULL || waiter->woken_ns == 0) &&
        take_fast(object_of(lock), thread_of(waiter), hold))
        return STILE_OK;
    return acquire_slowly(lock, options, waiter, hold);
}
