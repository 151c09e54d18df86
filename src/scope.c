#include <stile/scope.h>

#include "arguments.h"

/* Where there is no room for the status, nothing is acquired. */
static bool has_room(const stile_status *status)
{
    if (status == NULL)
        stile__null_argument("status");
    return status != NULL;
}

static void acquired(stile_scope *scope, stile_status status)
{
    *scope->status = status;
    scope->held = status == STILE_OK;
    scope->turns = scope->held ? 1 : 0;
}

stile_scope stile_scope_lock(stile_lock *lock, int64_t timeout_ms, stile_status *status)
{
    stile_scope scope = {.lock = lock, .status = status};

    if (has_room(status))
        acquired(&scope, stile_lock_acquire(lock, timeout_ms, &scope.hold));
    return scope;
}

stile_scope stile_scope_rlock(stile_rlock *rlock, int64_t timeout_ms, stile_status *status)
{
    stile_scope scope = {.rlock = rlock, .status = status};

    if (has_room(status))
        acquired(&scope, stile_rlock_acquire(rlock, timeout_ms, &scope.hold));
    return scope;
}

void stile_scope_end(stile_scope *scope)
{
    if (!scope->held)
        return;
    scope->held = false;
    *scope->status = scope->lock != NULL ? stile_lock_release(scope->lock, &scope->hold)
                                         : stile_rlock_release(scope->rlock, &scope->hold);
}
