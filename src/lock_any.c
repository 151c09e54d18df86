#include <stile/lock.h>

#include <stdlib.h>

#include "arguments.h"
#include "backend.h"
#include "base/deadline.h"
#include "base/error.h"
#include "lock_ops.h"

static stile_status check_locks(stile_lock *const *locks, size_t count)
{
    size_t i, j;

    if (locks == NULL)
        return stile__null_argument("locks");
    if (count < 1 || count > STILE_ANY_MAX)
        return stile__fail(STILE_INVALID, "count %zu is not from 1 to %d", count, STILE_ANY_MAX);
    for (i = 0; i < count; i++) {
        if (locks[i] == NULL)
            return stile__fail(STILE_INVALID, "locks[%zu] is NULL", i);
        for (j = 0; j < i; j++) {
            if (locks[j]->named == locks[i]->named)
                return stile__fail(STILE_INVALID, "locks[%zu] and locks[%zu] are one lock", j, i);
        }
    }
    return STILE_OK;
}

/* A try of each, in order. */
static stile_status try_any(stile_lock *const *locks, size_t count, size_t *which, stile_hold *hold)
{
    stile_status status = STILE_TIMEOUT;
    size_t i;

    for (i = 0; i < count && status == STILE_TIMEOUT; i++) {
        const stile_lock_options *options = &locks[i]->options;

        status = STILE_CANCELLED;
        if (!stile_cancel_fired(options->cancel))
            status = locks[i]->ops->acquire(locks[i], options, NULL, hold);
        if (status == STILE_OK)
            *which = i;
    }
    return status;
}

static void fill(struct stile_any *any, struct stile_lock_call *call, stile_lock *lock)
{
    call->lock = lock;
    call->options = &lock->options;
    any->ops = &stile__lock_wait_ops;
    any->call = call;
    any->cancel = lock->options.cancel;
    any->waiter.owner = lock;
    any->waiter.options = &lock->options;
}

/* Enters the gates of as many as are open, in order. */
static size_t enter_all(stile_lock *const *locks, size_t count)
{
    size_t inside = 0;

    while (inside < count && stile__gate_enter(&locks[inside]->gate))
        inside++;
    return inside;
}

static stile_status wait_for_any(stile_lock *const *locks, size_t count, int64_t timeout_ms,
                                 size_t *which, stile_hold *hold)
{
    struct stile_any *any = calloc(count, sizeof *any);
    struct stile_lock_call *calls = calloc(count, sizeof *calls);
    stile_status status = STILE_CLOSED;
    size_t inside, i;

    if (any == NULL || calls == NULL) {
        status = stile__fail(STILE_NO_MEMORY, "no memory to wait for %zu locks", count);
        goto done;
    }
    inside = enter_all(locks, count);
    for (i = 0; i < inside; i++)
        fill(&any[i], &calls[i], locks[i]);
    if (inside == count)
        status = stile__wait_any(any, count, deadline_in(timeout_ms), which, hold);
    for (i = 0; i < inside; i++)
        stile__gate_leave(&locks[i]->gate);
done:
    free(any);
    free(calls);
    return status;
}

stile_status stile_lock_acquire_any(stile_lock *const *locks, size_t count, int64_t timeout_ms,
                                    size_t *which, stile_hold *hold)
{
    stile_status status = check_locks(locks, count);

    if (status != STILE_OK)
        return status;
    if (which == NULL)
        return stile__null_argument("which");
    if (hold == NULL)
        return stile__null_argument("hold");
    status = stile__check_timeout(timeout_ms);
    if (status != STILE_OK)
        return status;
    if (timeout_ms == 0)
        status = try_any(locks, count, which, hold);
    else
        status = wait_for_any(locks, count, timeout_ms, which, hold);
    stile__lock_explain(status, timeout_ms);
    return status;
}
