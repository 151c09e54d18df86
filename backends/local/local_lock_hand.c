#include "local_lock.h"

#include "base/error.h"
#include "base/token.h"

bool stile__local_own(stile_lock *lock)
{
    struct local_lock_object *object = object_of(lock);
    /* Acquire: who sees the word of a later hold sees who has it. */
    uint64_t word = os_load(&object->word.word, memory_order_acquire);
    uint64_t fence = word >> STILE_WORD_FENCE_SHIFT;
    bool own = (word & STILE_WORD_HELD) &&
               os_load(&object->word.owner, memory_order_relaxed) ==
                   lock_word_owner(lock_word_held(fence), stile__thread_number());

    if (!own)
        return false;
    stile__mutex_lock(&object->mutex);
    own = object->noted.fence != fence || object->lapse_ns == INT64_MAX;
    stile__mutex_unlock(&object->mutex);
    return own;
}

stile_status stile__local_hand_over(stile_lock *lock, const stile_hold *hold)
{
    struct local_lock_object *object = object_of(lock);
    uint64_t owner = os_load(&object->word.owner, memory_order_relaxed);
    int64_t valid_ms;
    stile_status status = stile__local_check(lock, hold, &valid_ms);

    /* It was in force, so that was its note.  Fails if it has ended meanwhile, and the next
     * owner is noted. */
    if (status == STILE_OK)
        os_cas(&object->word.owner, &owner, lock_word_owner(lock_word_held(hold->fence), 0),
               memory_order_relaxed);
    return status;
}

/* ---- watches ------------------------------------------------------------------------ */

void stile__local_tell_watches(struct local_lock_object *object, uint64_t fence,
                               stile_hold_state end)
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

stile_status stile__local_watch(stile_lock *lock, const stile_hold *hold, struct stile_watch *watch)
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
    if ((os_or(&object->word.word, STILE_WORD_QUEUED, memory_order_relaxed) & ~STILE_WORD_QUEUED) ==
        lock_word_held(hold->fence)) {
        object->watched = true;
        status = STILE_OK;
    } else {
        status = stile__local_explain_over(object, hold);
    }
    stile__mutex_lock(mutex);
    if (status == STILE_OK)
        stile__watch_attach(watch, &object->watches, STILE_HELD);
    if (status == STILE_LOST) {
        stile__watch_attach(watch, &object->watches, STILE_HOLD_LOST);
        list_remove(&watch->link);
    }
    stile__mutex_unlock(mutex);
    stile__local_settle_flag(object);
    stile__mutex_unlock(&object->mutex);
    return status == STILE_LOST ? STILE_OK : status;
}

/* ---- to another owner --------------------------------------------------------------- */

/* Under the mutex: the hold of this fence gets the next one, and the lock stays taken. */
static bool renumber(struct local_lock_object *object, uint64_t fence)
{
    uint64_t word = os_load(&object->word.word, memory_order_relaxed);

    /* acq_rel: what the old owner did is seen by the new one. */
    do {
        if ((word & ~STILE_WORD_QUEUED) != lock_word_held(fence))
            return false;
    } while (
        !os_cas(&object->word.word, &word, word + STILE_WORD_NEXT_FENCE, memory_order_acq_rel));
    return true;
}

stile_status stile__local_give(stile_lock *lock, const stile_hold *hold,
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
        status = stile__local_explain_over(object, hold);
    if (status == STILE_OK) {
        stile__local_tell_watches(object, hold->fence, STILE_RELEASED);
        memset(&object->holder, 0, sizeof object->holder);
    }
    stile__local_settle_flag(object);
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
        return fail_closed();
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
    stile__local_grant(object, fence + 1, stile__thread_number(), &lock->options, keep_until_ns,
                       hold);
    stile__local_note_holder(object, stile__thread_number(), lock->options.label);
    return STILE_OK;
}

stile_status stile__local_adopt(stile_lock *lock, const char *text, stile_hold *hold)
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
    stile__local_lapse_due(object, &wake);
    status = adopt(lock, token.fence, &slot, &taken, &old);
    unlock_and_wake(object, wake);
    /* Whatever became of it: it is not the holder's any more. */
    if (old.slot != 0)
        stile__lease_end(leases, &old, &terms);
    stile__lease_unreserve(leases, slot);
    if (status == STILE_OK)
        *hold = taken;
    return status;
}
