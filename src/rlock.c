#include <stile/rlock.h>

#include <stdlib.h>

#include "arguments.h"
#include "backend.h"
#include "base/error.h"
#include "lock_ops.h"
#include "rlock_count.h"

/* ---- levels ------------------------------------------------------------------------- */

/* Whether no level is over that the owner has not released itself. */
OS_SLOW_PATH static stile_status ask_whether_held(stile_lock *lock,
                                                  const struct stile_rlock_count *count)
{
    stile_hold outer;
    int64_t valid_ms;
    stile_status status;

    fill_outer(count, &outer);
    status = lock->ops->check(lock, &outer, &valid_ms);
    return status == STILE_NOT_HELD ? STILE_LOST : status;
}

static inline stile_status still_held(stile_lock *lock, struct stile_rlock_state *state,
                                      const struct stile_rlock_count *count)
{
    return is_sure(state, count) ? STILE_OK : ask_whether_held(lock, count);
}

OS_SLOW_PATH static stile_status refuse_deeper(stile_status status)
{
    if (status == STILE_LOST)
        return stile__fail(status, "the caller holds it already, and the lease had ended");
    if (status == STILE_OK)
        return stile__fail(STILE_OVERFLOW, "the lock is held %d deep already",
                           STILE_RLOCK_DEPTH_MAX);
    return status;
}

static inline stile_status go_deeper(stile_rlock *rlock, struct stile_rlock_count *count,
                                     stile_hold *hold)
{
    stile_status status = still_held(rlock->lock, rlock->state, count);

    if (status != STILE_OK || count->depth == STILE_RLOCK_DEPTH_MAX)
        return refuse_deeper(status);
    descend(count, hold);
    return STILE_OK;
}

/* ---- handles ------------------------------------------------------------------------ */

stile_status stile_rlock_open(stile *space, const char *name, const stile_rlock_options *options,
                              stile_rlock **out)
{
    struct stile_named *named;
    stile_rlock *rlock;
    stile_status status;

    if (out == NULL)
        return stile__null_argument("out");
    rlock = calloc(1, sizeof *rlock);
    if (rlock == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a lock handle");
    status = stile__lock_open(space, STILE_RLOCK, name, options == NULL ? NULL : &options->lock,
                              &rlock->lock);
    if (status != STILE_OK)
        goto fail;
    status = stile__names_get(&space->composed, STILE_RLOCK, name, &named);
    if (status != STILE_OK)
        goto fail_lock;
    rlock->state = state_of_named(named);
    /* The same for all who have a handle now. */
    os_store(&rlock->state->word, rlock->lock->seen, memory_order_relaxed);
    rlock->owner = options == NULL ? 0 : options->owner;
    rlock->serial = rlock->owner == 0 ? rlock->state->serial : 0;
    *out = rlock;
    return STILE_OK;

fail_lock:
    stile_lock_close(rlock->lock);
fail:
    free(rlock);
    return status;
}

void stile_rlock_close(stile_rlock *rlock)
{
    stile *space;

    if (rlock == NULL)
        return;
    space = rlock->lock->space;
    stile__space_ref(space);
    stile__lock_shut(rlock->lock);
    /* While the lock's word is there.  In a child of fork() another thread may have been in
     * the table. */
    if (!stile__space_forked(space))
        stile__names_unref(&space->composed, &rlock->state->named);
    stile__lock_free(rlock->lock);
    free(rlock);
    stile__space_unref(space);
}

/* ---- acquire and release ------------------------------------------------------------ */

/* Within the gate.  options NULL: the handle's. */
static stile_status acquire_inside(stile_rlock *rlock, int64_t timeout_ms,
                                   const stile_rlock_options *options, uint64_t owner,
                                   stile_hold *hold)
{
    struct stile_rlock_count *fresh = NULL;
    stile_status status = owner == 0 ? stile__rlock_provide_idle() : stile__rlock_provide(&fresh);

    if (status != STILE_OK)
        return status;
    status = stile_lock_acquire_with(rlock->lock, timeout_ms,
                                     options == NULL ? NULL : &options->lock, hold);
    if (status != STILE_OK) {
        free(fresh);
    } else if (owner == 0) {
        struct stile_rlock_counts *counts = *os_kept();

        begin_by_thread(rlock->state, counts, counts->idle, counts->idle->next, hold);
    } else {
        stile__rlock_begin(rlock->state, owner, fresh, hold);
    }
    return status;
}

/* The caller does not hold it. */
OS_SLOW_PATH static stile_status acquire_outer(stile_rlock *rlock, int64_t timeout_ms,
                                               const stile_rlock_options *options, uint64_t owner,
                                               stile_hold *hold)
{
    stile_status status;

    /* Who closes the handle waits for more than the lock: the count is noted after it. */
    if (!stile__gate_enter(&rlock->lock->gate))
        return stile__fail(STILE_CLOSED, "the handle is being closed");
    status = acquire_inside(rlock, timeout_ms, options, owner, hold);
    stile__gate_leave(&rlock->lock->gate);
    return status;
}

static stile_status acquire(stile_rlock *rlock, int64_t timeout_ms,
                            const stile_rlock_options *options, stile_hold *hold)
{
    uint64_t owner = options == NULL ? rlock->owner : options->owner;
    struct stile_rlock_count *count = find_count(rlock->state, owner);
    stile_status status = timeout_ms < STILE_FOREVER ? stile__check_timeout(timeout_ms) : STILE_OK;

    if (status != STILE_OK)
        return status;
    if (count != NULL)
        return go_deeper(rlock, count, hold);
    return acquire_outer(rlock, timeout_ms, options, owner, hold);
}

OS_SLOW_PATH static stile_status acquire_any_way(stile_rlock *rlock, int64_t timeout_ms,
                                                 stile_hold *hold)
{
    return acquire(rlock, timeout_ms, NULL, hold);
}

/* The short ways are those of a thread that holds nothing else, or this last of all,
 * without a lease. */
stile_status stile_rlock_acquire(stile_rlock *rlock, int64_t timeout_ms, stile_hold *hold)
{
    struct stile_rlock_counts *counts = *os_kept();
    struct stile_rlock_count *count, *next;

    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (hold == NULL)
        return stile__null_argument("hold");
    if (counts == NULL || timeout_ms < STILE_FOREVER || rlock->serial == 0)
        return acquire_any_way(rlock, timeout_ms, hold);
    count = counts->held;
    if (count != NULL) {
        if (count->serial != rlock->serial || !is_sure(rlock->state, count) ||
            count->depth == STILE_RLOCK_DEPTH_MAX)
            return acquire_any_way(rlock, timeout_ms, hold);
        descend(count, hold);
        return STILE_OK;
    }
    count = counts->idle;
    if (count == NULL)
        return acquire_any_way(rlock, timeout_ms, hold);
    next = count->next;
    if (count->serial == rlock->serial && count->slot == 0 &&
        lock_take_word_after(rlock->lock, count->fence, hold)) {
        begin_again(rlock->state, counts, count, next);
        return STILE_OK;
    }
    if (!lock_take_word(rlock->lock, hold))
        return acquire_any_way(rlock, timeout_ms, hold);
    begin_by_thread(rlock->state, counts, count, next, hold);
    return STILE_OK;
}

stile_status stile_rlock_acquire_with(stile_rlock *rlock, int64_t timeout_ms,
                                      const stile_rlock_options *options, stile_hold *hold)
{
    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (hold == NULL)
        return stile__null_argument("hold");
    return acquire(rlock, timeout_ms, options, hold);
}

OS_SLOW_PATH static stile_status release_level(stile_lock *lock, struct stile_rlock_state *state,
                                               const stile_hold *hold)
{
    struct stile_rlock_count *count = count_of_hold(state, hold);
    stile_status status;

    if (count == NULL || !is_deepest(count, hold))
        return stile__fail(STILE_NOT_HELD,
                           "the hold is not the deepest level of an owner, or not the caller's");
    if (count->top == 0) {
        stile__rlock_end(state, count);
        if (lock_free_word(lock, hold))
            return STILE_OK;
        return explain_hold(lock->ops->release(lock, hold));
    }
#if STILE_BUG == 8
    status = lock->ops->release(lock, hold);
#else
    status = still_held(lock, state, count);
#endif
    count->top = hold->id[1];
    count->depth--;
    return explain_hold(status);
}

/* The short way is that of what the thread acquired last of all, without a lease: whose
 * outermost hold has 0 for a level. */
stile_status stile_rlock_release(stile_rlock *rlock, const stile_hold *hold)
{
    struct stile_rlock_counts *counts = *os_kept();
    struct stile_rlock_count *count;

    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (hold == NULL)
        return stile__null_argument("hold");
    count = counts == NULL ? NULL : counts->held;
    if (count == NULL || hold->id[0] != count->top || hold->fence != count->fence ||
        hold->object != count->object || hold->slot != 0 || count->serial != rlock->serial ||
        !is_sure(rlock->state, count))
        return release_level(rlock->lock, rlock->state, hold);
#if STILE_BUG == 8
    return release_level(rlock->lock, rlock->state, hold);
#endif
    if (count->top == 0) {
        counts->held = count->next;
        push(&counts->idle, count);
        if (lock_free_word(rlock->lock, hold))
            return STILE_OK;
        return explain_hold(rlock->lock->ops->release(rlock->lock, hold));
    }
    count->top = hold->id[1];
    count->depth--;
    return STILE_OK;
}

/* ---- for futures -------------------------------------------------------------------- */

stile_status stile__rlock_deeper(stile_rlock *rlock, uint64_t owner, stile_hold *hold)
{
    return go_deeper(rlock, find_count(rlock->state, owner), hold);
}

stile_status stile__rlock_release(stile_lock *lock, struct stile_rlock_state *state,
                                  const stile_hold *hold)
{
    return release_level(lock, state, hold);
}

/* ---- the rest is the lock's --------------------------------------------------------- */

/* Whether count does not have this level any more. */
static bool is_past(const struct stile_rlock_count *count, const stile_hold *hold)
{
    return !is_outer(count, hold) && hold->id[0] > count->top;
}

/* The hold of the lock that hold is a level of.  STILE_NOT_HELD: it is over. */
static stile_status find_outer(stile_rlock *rlock, const stile_hold *hold, stile_hold *outer)
{
    const struct stile_rlock_count *count;

    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (hold == NULL)
        return stile__null_argument("hold");
    count = count_of_hold(rlock->state, hold);
    /* Another thread's: the lock knows the outermost hold. */
    if (count == NULL)
        *outer = *hold;
    else
        fill_outer(count, outer);
    return count != NULL && is_past(count, hold) ? explain_hold(STILE_NOT_HELD) : STILE_OK;
}

stile_status stile_rlock_extend(stile_rlock *rlock, const stile_hold *hold, int64_t add_ms)
{
    stile_hold outer;
    stile_status status = find_outer(rlock, hold, &outer);

    return status == STILE_OK ? stile_lock_extend(rlock->lock, &outer, add_ms) : status;
}

stile_status stile_rlock_check(stile_rlock *rlock, const stile_hold *hold, int64_t *valid_ms)
{
    stile_hold outer;
    stile_status status = find_outer(rlock, hold, &outer);

    return status == STILE_OK ? stile_lock_check(rlock->lock, &outer, valid_ms) : status;
}

stile_status stile_rlock_watch(stile_rlock *rlock, const stile_hold *hold,
                               stile_watch_callback *callback, void *argument, stile_watch **out)
{
    stile_hold outer;
    stile_status status = find_outer(rlock, hold, &outer);

    if (status != STILE_OK)
        return status;
    return stile_lock_watch(rlock->lock, &outer, callback, argument, out);
}

uint64_t stile_rlock_depth(stile_rlock *rlock, uint64_t owner)
{
    const struct stile_rlock_count *count = rlock == NULL ? NULL : find_count(rlock->state, owner);

    return count == NULL ? 0 : count->depth;
}

stile_status stile_rlock_inspect(stile_rlock *rlock, stile_lock_info *info)
{
    if (rlock == NULL)
        return stile__null_argument("rlock");
    return stile_lock_inspect(rlock->lock, info);
}

stile_status stile_rlock_force_release(stile_rlock *rlock)
{
    if (rlock == NULL)
        return stile__null_argument("rlock");
    /* Before it is: who goes deeper looks then whether it still counts. */
    os_add(&rlock->state->revocations, 1, memory_order_relaxed);
    return stile_lock_force_release(rlock->lock);
}
