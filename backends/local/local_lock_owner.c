#include "local_lock.h"

#include "base/deadline.h"

/* Of a hold that ends by itself. */
static int64_t length_ms(const stile_lock_options *options)
{
    if (!options->fixed_lease)
        return options->max_hold_ms;
    if (options->max_hold_ms != 0 && options->max_hold_ms < options->lease_ms)
        return options->max_hold_ms;
    return options->lease_ms;
}

void stile__local_grant(struct local_lock_object *object, uint64_t fence, uint64_t thread,
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

void stile__local_note_holder(struct local_lock_object *object, uint64_t thread, const char *label)
{
    object->holder.fence = object->noted.fence;
    object->holder.since_ms = stile__realtime_ms();
    object->holder.thread = thread;
    set_label(object->holder.label, label);
}

stile_status stile__local_explain_over(struct local_lock_object *object, const stile_hold *hold)
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
    passed = stile__local_pass_on(object, hold->fence,
                                  status == STILE_OK ? STILE_RELEASED : STILE_HOLD_LOST, &wake);
    unlock_and_wake(object, wake);
    if (status != STILE_OK || passed)
        return status;
    return hold->slot != 0 ? STILE_LOST : stile__local_explain_over(object, hold);
}

stile_status stile__local_release(stile_lock *lock, const stile_hold *hold)
{
    struct local_lock_object *object = object_of(lock);

    if (hold->object != object)
        return STILE_NOT_HELD;
    if (hold->slot == 0 && lock_word_free(&object->word, hold->fence))
        return STILE_OK;
    return release_slowly(object, hold);
}

stile_status stile__local_check(stile_lock *lock, const stile_hold *hold, int64_t *valid_ms)
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
        return (word & ~STILE_WORD_QUEUED) == lock_word_held(hold->fence)
                   ? STILE_OK
                   : stile__local_explain_over(object, hold);
    }
    status = stile__lease_state(&object->space->leases, hold, &valid_ns);
    if (status == STILE_OK)
        *valid_ms = remaining_ms(valid_ns);
    return status;
}

stile_status stile__local_extend(stile_lock *lock, const stile_hold *hold, int64_t add_ms)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_leases *leases = &object->space->leases;
    int64_t valid_ns, max_ns, most_ns;
    stile_status status;

    if (hold->slot == 0 || hold->object != object)
        return stile__local_check(lock, hold, &valid_ns);
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
