#include <stile/rlock.h>

#include <stdlib.h>

#include "arguments.h"
#include "backend.h"
#include "base/error.h"
#include "lock_ops.h"
#include "rlock.h"

/* What a future of a reentrant lock adds to one of a lock: the count, once it is held. */
struct rlock_hook {
    struct stile_lock_hook base; /* first: what the lock knows */
    stile *space;
    struct stile_rlock_state *state;
    uint64_t owner;
    struct stile_rlock_count *fresh; /* NULL once it is the owner's */
};

static void note_granted(struct stile_lock_hook *base, const stile_hold *hold)
{
    struct rlock_hook *hook = (struct rlock_hook *)base;

    stile__rlock_begin(hook->state, hook->owner, hook->fresh, hold);
    hook->fresh = NULL;
}

static void release_untaken(struct stile_lock_hook *base, stile_lock *lock, const stile_hold *hold)
{
    (void)stile__rlock_release(lock, ((struct rlock_hook *)base)->state, hold);
}

static void destroy_hook(struct stile_lock_hook *base)
{
    struct rlock_hook *hook = (struct rlock_hook *)base;

    free(hook->fresh);
    /* In a child of fork() another thread may have been in the table. */
    if (!stile__space_forked(hook->space))
        stile__names_unref(&hook->space->composed, stile__rlock_named(hook->state));
    stile__space_unref(hook->space);
    free(hook);
}

static stile_status new_hook(stile_rlock *rlock, uint64_t owner, struct rlock_hook **out)
{
    struct rlock_hook *hook = calloc(1, sizeof *hook);
    stile_status status;

    if (hook == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a future");
    status = stile__rlock_provide(&hook->fresh);
    if (status != STILE_OK) {
        free(hook);
        return status;
    }
    hook->base = (struct stile_lock_hook){
        .granted = note_granted, .release = release_untaken, .destroy = destroy_hook};
    hook->space = rlock->lock->space;
    hook->state = rlock->state;
    hook->owner = owner;
    stile__space_ref(hook->space);
    stile__names_ref(stile__rlock_named(hook->state));
    *out = hook;
    return STILE_OK;
}

/* An owner's next level needs no wait: its future is done from the start. */
static stile_status start_with_hook(stile_rlock *rlock, int64_t timeout_ms,
                                    const stile_lock_options *complete, struct rlock_hook *hook,
                                    stile_future_callback *callback, void *argument,
                                    stile_future **out)
{
    stile_hold deeper;
    stile_status status;

    if (!stile__rlock_holds(rlock->state, hook->owner))
        return stile__lock_start(rlock->lock, timeout_ms, complete, &hook->base, NULL, callback,
                                 argument, out);
    status = stile__rlock_deeper(rlock, hook->owner, &deeper);
    if (status != STILE_OK)
        return status;
    status = stile__lock_start(rlock->lock, timeout_ms, complete, &hook->base, &deeper, callback,
                               argument, out);
    if (status != STILE_OK)
        (void)stile__rlock_release(rlock->lock, rlock->state, &deeper);
    return status;
}

stile_status stile_rlock_start(stile_rlock *rlock, int64_t timeout_ms,
                               const stile_rlock_options *options, stile_future_callback *callback,
                               void *argument, stile_future **out)
{
    stile_lock_options complete;
    struct rlock_hook *hook = NULL;
    stile_status status;
    uint64_t owner;

    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (out == NULL)
        return stile__null_argument("out");
    status = stile__check_timeout(timeout_ms);
    if (status != STILE_OK)
        return status;
    if (stile__space_forked(rlock->lock->space))
        return stile__fail(STILE_FORKED, "the space was opened by the parent process");
    owner = options == NULL ? rlock->owner : options->owner;
    if (owner == 0)
        return stile__fail(STILE_INVALID, "options name no owner: the thread that waits is the "
                                          "library's");
    if (options == NULL)
        complete = rlock->lock->options;
    else
        status = stile__lock_options_complete(rlock->lock->space, &options->lock, &complete);
    if (status == STILE_OK)
        status = new_hook(rlock, owner, &hook);
    if (status != STILE_OK)
        return status;
    status = start_with_hook(rlock, timeout_ms, &complete, hook, callback, argument, out);
    if (status != STILE_OK)
        destroy_hook(&hook->base);
    return status;
}
