/*
 * What an owner can have done with a hold beside giving it back: watched, handed to
 * another thread, given to another process.
 */
#include <stile/lock.h>

#include "arguments.h"
#include "backend.h"
#include "base/error.h"
#include "lock_ops.h"
#include "watch.h"

stile_status stile_lock_watch(stile_lock *lock, const stile_hold *hold,
                              stile_watch_callback *callback, void *argument, stile_watch **out)
{
    struct stile_watch *watch;
    stile_status status;

    if (lock == NULL)
        return stile__null_argument("lock");
    if (hold == NULL)
        return stile__null_argument("hold");
    if (out == NULL)
        return stile__null_argument("out");
    if (os_load(&lock->space->closed, memory_order_relaxed))
        return stile__fail(STILE_CLOSED, "the space is closed");
    status = stile__watch_make(lock->space, callback, argument, &watch);
    if (status != STILE_OK)
        return status;
    status = lock->ops->watch(lock, hold, watch);
    if (status != STILE_OK) {
        stile__watch_free(watch);
        return explain_hold(status);
    }
    *out = watch;
    return STILE_OK;
}

stile_status stile_lock_hand_over(stile_lock *lock, const stile_hold *hold)
{
    if (lock == NULL)
        return stile__null_argument("lock");
    if (hold == NULL)
        return stile__null_argument("hold");
    return explain_hold(lock->ops->hand_over(lock, hold));
}

stile_status stile_lock_give(stile_lock *lock, const stile_hold *hold, char token[STILE_TOKEN_SIZE])
{
    if (lock == NULL)
        return stile__null_argument("lock");
    if (hold == NULL)
        return stile__null_argument("hold");
    if (token == NULL)
        return stile__null_argument("token");
    return explain_hold(lock->ops->give(lock, hold, token));
}

stile_status stile_lock_adopt(stile_lock *lock, const char *token, stile_hold *hold)
{
    stile_status status;

    if (lock == NULL)
        return stile__null_argument("lock");
    if (token == NULL)
        return stile__null_argument("token");
    if (hold == NULL)
        return stile__null_argument("hold");
    status = lock->ops->adopt(lock, token, hold);
    if (status == STILE_LOST)
        return stile__fail(status, "the hold that was given away had ended, or was adopted before");
    return status;
}
