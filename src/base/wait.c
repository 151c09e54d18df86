#include "base/wait.h"

#include <string.h>

#include "base/async.h"
#include "base/cancel.h"
#include "base/error.h"
#include "base/os.h"

/* ---- what happens to a waiter ---------------------------------------------------- */

bool stile__settle(struct stile_waiter *waiter, stile_status result, struct stile_parker **parker)
{
    struct stile_async_wait *async = waiter->async;
    uint32_t queued = STILE_WAITER_QUEUED;
    bool settled;

    waiter->result = result;
    *parker = waiter->parker;
    if (async != NULL)
        stile__async_lock(async);
    /* Release: the waiter reads result and hold after it has seen the state.
     * From here on a thread's frame may be gone; what is asynchronous stays until the
     * mutex is free. */
    settled = os_cas(&waiter->state, &queued, STILE_WAITER_SETTLED, memory_order_release);
    if (async != NULL)
        stile__async_unlock_ready(async);
    return settled;
}

bool stile__leave(struct stile_waiter *waiter)
{
    uint32_t queued = STILE_WAITER_QUEUED;

    return os_cas(&waiter->state, &queued, STILE_WAITER_LEFT, memory_order_relaxed);
}

/* Makes who waits look at the waiter. */
static void nudge(struct stile_waiter *waiter)
{
    struct stile_parker *parker = waiter->parker;

    if (waiter->async != NULL) {
        stile__async_lock(waiter->async);
        stile__async_unlock_ready(waiter->async);
    }
    stile__unpark(parker);
}

void stile__recheck_at(struct stile_waiter *waiter, int64_t at_ns)
{
    if (os_exchange(&waiter->recheck_ns, at_ns, memory_order_relaxed) > at_ns)
        nudge(waiter);
}

void stile__recheck(struct stile_waiter *waiter)
{
    stile__recheck_at(waiter, INT64_MIN);
}

void stile__cancel_waiter(struct stile_waiter *waiter)
{
    os_store(&waiter->cancelled, true, memory_order_relaxed);
    nudge(waiter);
}

bool stile__claimable(const struct stile_waiter *waiter)
{
    return waiter->choice == NULL || os_load(&waiter->choice->taken, memory_order_relaxed) == NULL;
}

bool stile__claim(struct stile_waiter *waiter)
{
    struct stile_waiter *none = NULL;

    if (waiter->choice == NULL)
        return true;
    /* Relaxed: the word decides, and carries nothing; the state brings the hold. */
    return os_cas(&waiter->choice->taken, &none, waiter, memory_order_relaxed) || none == waiter;
}

/* ---- steps ------------------------------------------------------------------------- */

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

void stile__waiter_init(struct stile_waiter *waiter, struct stile_parker *parker,
                        int64_t deadline_ns)
{
    list_init(&waiter->link);
    waiter->parker = parker;
    atomic_init(&waiter->state, STILE_WAITER_NEW);
    waiter->result = STILE_PENDING;
    memset(&waiter->hold, 0, sizeof waiter->hold);
    waiter->async = NULL;
    waiter->choice = NULL;
    atomic_init(&waiter->cancelled, false);
    list_init(&waiter->cancelling);
    waiter->woken_ns = 0;
    waiter->last = false;
    waiter->deadline_ns = deadline_ns;
    waiter->back_ns = back_by(deadline_ns);
    waiter->thread = stile__thread_number();
    atomic_init(&waiter->recheck_ns, INT64_MAX);
    list_init(&waiter->index);
    waiter->number = 0;
    waiter->copies_until_ns = 0;
}

static bool is_cancelled(struct stile_waiter *waiter)
{
    return os_load(&waiter->cancelled, memory_order_relaxed);
}

static stile_status attempt(const struct stile_wait_ops *ops, void *call,
                            struct stile_waiter *waiter)
{
    bool owes = waiter->result == STILE_AGAIN;
    stile_status status;

    if (is_cancelled(waiter) && !owes)
        return STILE_CANCELLED;
    /* Who was woken to compete owes an attempt even when its time is up: nobody else
     * was woken. */
    if (owes)
        waiter->last = is_cancelled(waiter) || stile__monotonic_ns() >= waiter->deadline_ns;
#if STILE_BUG == 1
    if (waiter->last && owes)
        return STILE_TIMEOUT;
#endif
    status = ops->attempt(call, waiter);
    if (status == STILE_TIMEOUT && is_cancelled(waiter))
        return STILE_CANCELLED;
    return status;
}

static stile_status withdraw(const struct stile_wait_ops *ops, void *call,
                             struct stile_waiter *waiter)
{
    bool cancelled = is_cancelled(waiter);
    stile_status status = ops->withdraw(call, waiter);

#if STILE_BUG == 2
    if (cancelled)
        return STILE_CANCELLED;
#endif
    if (status == STILE_TOO_LATE)
        return STILE_PENDING;
    if (status != STILE_OK)
        return status;
    return cancelled ? STILE_CANCELLED : STILE_TIMEOUT;
}

stile_status stile__wait_step(const struct stile_wait_ops *ops, void *call,
                              struct stile_waiter *waiter, int64_t *until_ns)
{
    stile_status status = STILE_PENDING;

    while (status == STILE_PENDING) {
        int64_t now, recheck;

        switch (os_load(&waiter->state, memory_order_acquire)) {
        case STILE_WAITER_NEW: status = attempt(ops, call, waiter); continue;
        case STILE_WAITER_SETTLED:
            if (waiter->result != STILE_AGAIN)
                return waiter->result;
            os_store(&waiter->state, STILE_WAITER_NEW, memory_order_relaxed);
            continue;
        }
        now = stile__monotonic_ns();
        recheck = os_load(&waiter->recheck_ns, memory_order_relaxed);
        if (now >= waiter->deadline_ns || is_cancelled(waiter)) {
            status = withdraw(ops, call, waiter);
        } else if (now >= recheck) {
            ops->poll(call, waiter);
        } else {
            *until_ns = recheck < waiter->deadline_ns ? recheck : waiter->deadline_ns;
            return STILE_PENDING;
        }
    }
    return status;
}

bool stile__wait_is_due(struct stile_waiter *waiter, int64_t until_ns)
{
    return os_load(&waiter->state, memory_order_relaxed) != STILE_WAITER_QUEUED ||
           is_cancelled(waiter) || os_load(&waiter->recheck_ns, memory_order_relaxed) < until_ns ||
           stile__monotonic_ns() >= until_ns;
}

/* ---- a thread that waits for one thing ----------------------------------------------- */

stile_status stile__wait(const struct stile_wait_ops *ops, void *call, struct stile_waiter *waiter,
                         int64_t deadline_ns, stile_cancel *cancel, stile_hold *hold)
{
    struct stile_parker *parker = stile__parker_get();
    stile_status status;
    int64_t until_ns;
    int previous;

    if (parker == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory to wait with");
    previous = stile__cancel_off();
    stile__waiter_init(waiter, parker, deadline_ns);
    stile__cancel_enter(cancel, waiter);
    while ((status = stile__wait_step(ops, call, waiter, &until_ns)) == STILE_PENDING)
        ops->sleep(call, waiter, until_ns);
    stile__cancel_leave(cancel, waiter);
    stile__cancel_restore(previous);
    stile__parker_put(parker);
    if (status == STILE_OK)
        *hold = waiter->hold;
    return status;
}
