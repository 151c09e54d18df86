#include <stdlib.h>

#include "arguments.h"
#include "backend.h"
#include "base/error.h"
#include "lock_ops.h"

void stile_lock_info_free(stile_lock_info *info)
{
    if (info == NULL)
        return;
    free(info->queue);
    info->queue = NULL;
    info->listed = 0;
}

static stile_status check_usable(const stile_lock *lock)
{
    if (os_load(&lock->space->closed, memory_order_relaxed))
        return stile__fail(STILE_CLOSED, "the space is closed");
    return STILE_OK;
}

stile_status stile_lock_inspect(stile_lock *lock, stile_lock_info *info)
{
    stile_lock_info found = {.held = false};
    stile_status status;

    if (lock == NULL)
        return stile__null_argument("lock");
    if (info == NULL)
        return stile__null_argument("info");
    status = check_usable(lock);
    if (status == STILE_OK)
        status = lock->ops->inspect(lock, &found);
    if (status == STILE_OK)
        *info = found;
    return status;
}

stile_status stile_lock_force_release(stile_lock *lock)
{
    stile_status status;

    if (lock == NULL)
        return stile__null_argument("lock");
    status = check_usable(lock);
    if (status == STILE_OK)
        status = lock->ops->force_release(lock);
    if (status == STILE_MISSING)
        return stile__fail(status, "nobody held the lock");
    return status;
}
