#include "base/wait.h"

#include <assert.h>

#include "base/error.h"
#include "base/os.h"

bool stile__settle(struct stile_waiter *waiter, stile_status result, struct stile_parker **parker)
{
    uint32_t queued = STILE_WAITER_QUEUED;

    waiter->result = result;
    *parker = waiter->parker;
    /* Release: the waiter reads result and hold after it has seen the state.
     * From here on the waiter's frame may be gone. */
    return os_cas(&waiter->state, &queued, STILE_WAITER_SETTLED, memory_order_release);
}

bool stile__leave(struct stile_waiter *waiter)
{
    uint32_t queued = STILE_WAITER_QUEUED;

    return os_cas(&waiter->state, &queued, STILE_WAITER_LEFT, memory_order_relaxed);
}

void stile__recheck(struct stile_waiter *waiter)
{
    os_store(&waiter->recheck_ns, INT64_MIN, memory_order_relaxed);
    stile__unpark(waiter->parker);
}

/* When a call that may take until deadline_ns has to stop talking to a server: it is
 * promised to be back 20 ms or 5 % of what it was given later, and this leaves a
 * quarter of that to get there. */
static int64_t back_by(int64_t deadline_ns)
{
    const int64_t least = INT64_C(15000000);
    int64_t part;

    if (deadline_ns == INT64_MAX)
        return INT64_MAX;
    part = (deadline_ns - stile__monotonic_ns()) / 80 * 3;
    return deadline_ns + (part > least ? part : least);
}

/* Sleeps until the queued waiter is settled or has left. */
static stile_status sleep_on(const struct stile_wait_ops *ops, void *call,
                             struct stile_waiter *waiter)
{
    for (;;) {
        int64_t now, recheck;

        if (os_load(&waiter->state, memory_order_acquire) == STILE_WAITER_SETTLED)
            return waiter->result;
        now = stile__monotonic_ns();
        if (now >= waiter->deadline_ns) {
            stile_status status = ops->withdraw(call, waiter);

            if (status == STILE_TOO_LATE)
                return waiter->result;
            return status == STILE_OK ? STILE_TIMEOUT : status;
        }
        recheck = os_load(&waiter->recheck_ns, memory_order_relaxed);
        if (now >= recheck)
            ops->poll(call, waiter);
        else
            stile__park(waiter->parker,
                        recheck < waiter->deadline_ns ? recheck : waiter->deadline_ns);
    }
}

stile_status stile__wait(const struct stile_wait_ops *ops, void *call, struct stile_waiter *waiter,
                         int64_t deadline_ns, stile_hold *hold)
{
    stile_status status;
    int cancel;

    waiter->parker = stile__parker_get();
    if (waiter->parker == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory to wait with");
    list_init(&waiter->link);
    list_init(&waiter->index);
    waiter->woken_ns = 0;
    waiter->last = false;
    waiter->number = 0;
    waiter->copies_until_ns = 0;
    waiter->deadline_ns = deadline_ns;
    waiter->back_ns = back_by(deadline_ns);
    atomic_init(&waiter->recheck_ns, INT64_MAX);
    cancel = stile__cancel_off();
    for (;;) {
        atomic_init(&waiter->state, STILE_WAITER_NEW);
        status = ops->attempt(call, waiter);
        if (status == STILE_PENDING)
            status = sleep_on(ops, call, waiter);
        if (status != STILE_AGAIN)
            break;
        /* Who was woken to compete owes an attempt even when its time is up:
         * nobody else was woken. */
        waiter->last = stile__monotonic_ns() >= deadline_ns;
#if STILE_BUG == 1
        if (waiter->last) {
            status = STILE_TIMEOUT;
            break;
        }
#endif
    }
    stile__cancel_restore(cancel);
    stile__parker_put(waiter->parker);
    if (status == STILE_OK)
        *hold = waiter->hold;
    return status;
}
