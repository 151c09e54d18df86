#include "base/cancel.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/os.h"

struct stile_cancel {
    struct stile_mutex mutex;  /* guards the list; a waiter in it is there */
    struct stile_link waiters; /* struct stile_waiter, by cancelling */
    _Atomic bool fired;        /* written under the mutex; once true, stays true */
};

stile_status stile_cancel_open(stile_cancel **out)
{
    stile_cancel *cancel;

    if (out == NULL)
        return stile__fail(STILE_INVALID, "out is NULL");
    cancel = malloc(sizeof *cancel);
    if (cancel == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a cancellation");
    stile__mutex_init(&cancel->mutex, STILE_RANK_USER);
    list_init(&cancel->waiters);
    atomic_init(&cancel->fired, false);
    *out = cancel;
    return STILE_OK;
}

void stile_cancel_close(stile_cancel *cancel)
{
    if (cancel == NULL)
        return;
    stile__mutex_fini(&cancel->mutex);
    free(cancel);
}

void stile_cancel_fire(stile_cancel *cancel)
{
    struct stile_link *at;
    int previous;

    if (cancel == NULL)
        return;
    previous = stile__cancel_off();
    stile__mutex_lock(&cancel->mutex);
    os_store(&cancel->fired, true, memory_order_relaxed);
    for (at = cancel->waiters.next; at != &cancel->waiters; at = at->next)
        stile__cancel_waiter(STILE_OF(at, struct stile_waiter, cancelling));
    stile__mutex_unlock(&cancel->mutex);
    stile__cancel_restore(previous);
}

bool stile_cancel_fired(const stile_cancel *cancel)
{
    return cancel != NULL && os_load(&cancel->fired, memory_order_relaxed);
}

void stile__cancel_enter(stile_cancel *cancel, struct stile_waiter *waiter)
{
    if (cancel == NULL)
        return;
    stile__mutex_lock(&cancel->mutex);
    if (os_load(&cancel->fired, memory_order_relaxed))
        os_store(&waiter->cancelled, true, memory_order_relaxed);
    list_push_back(&cancel->waiters, &waiter->cancelling);
    stile__mutex_unlock(&cancel->mutex);
}

void stile__cancel_leave(stile_cancel *cancel, struct stile_waiter *waiter)
{
    if (cancel == NULL)
        return;
    stile__mutex_lock(&cancel->mutex);
    list_remove(&waiter->cancelling);
    stile__mutex_unlock(&cancel->mutex);
}
