#include "base/wait.h"

#include <assert.h>
#include <string.h>

#include "base/cancel.h"
#include "base/error.h"
#include "base/os.h"

/* One attempt each, without queueing: a free one costs no place before it. */
static stile_status try_each(struct stile_any *any, size_t count, size_t *which)
{
    size_t i;

    for (i = 0; i < count; i++) {
        struct stile_waiter *waiter = &any[i].waiter;
        stile_status status = STILE_CANCELLED;

        waiter->last = true;
        if (!os_load(&waiter->cancelled, memory_order_relaxed))
            status = any[i].ops->attempt(any[i].call, waiter);
        if (status != STILE_TIMEOUT) {
            *which = i;
            any[i].out = true;
            return status;
        }
        waiter->last = false;
        memset(&waiter->hold, 0, sizeof waiter->hold);
    }
    return STILE_TIMEOUT;
}

/* Takes one of them a step on.  STILE_PENDING: the others decide. */
static stile_status step(struct stile_any *one, int64_t *until_ns)
{
    stile_status status;

    *until_ns = INT64_MAX;
    if (one->out)
        return STILE_PENDING;
    status = stile__wait_step(one->ops, one->call, &one->waiter, until_ns);
    if (status == STILE_PENDING)
        return status;
    one->out = true;
    if (status == STILE_OK && !stile__claim(&one->waiter)) {
        one->ops->give_back(one->call, &one->waiter.hold);
        return STILE_PENDING;
    }
    return status == STILE_TOO_LATE ? STILE_PENDING : status;
}

/* Until one of them is over. */
static stile_status wait_for_one(struct stile_any *any, size_t count, struct stile_parker *parker,
                                 size_t *which)
{
    for (;;) {
        int64_t first_ns = INT64_MAX, until_ns;
        size_t i;

        for (i = 0; i < count; i++) {
            stile_status status = step(&any[i], &until_ns);

            if (status != STILE_PENDING) {
                *which = i;
                return status;
            }
            if (until_ns < first_ns)
                first_ns = until_ns;
        }
        stile__park(parker, first_ns);
    }
}

/*
 * Takes those out that are queued, or were told to compete and owe an attempt.  One that
 * was granted meanwhile is the result, whatever status was: who is granted has the
 * choice, so there is at most one.
 */
static stile_status leave_all(struct stile_any *any, size_t count, stile_status status,
                              size_t *which)
{
    int64_t until_ns;
    size_t i;

    for (i = 0; i < count; i++) {
        struct stile_waiter *waiter = &any[i].waiter;
        stile_status left;

        if (os_load(&waiter->state, memory_order_relaxed) == STILE_WAITER_NEW)
            continue;
        waiter->deadline_ns = INT64_MIN;
        left = step(&any[i], &until_ns);
        if (left == STILE_OK) {
            assert(status != STILE_OK);
            status = STILE_OK;
            *which = i;
        } else if (status == STILE_TIMEOUT && left != STILE_PENDING && left != STILE_CANCELLED) {
            status = left;
        }
    }
    return status;
}

stile_status stile__wait_any(struct stile_any *any, size_t count, int64_t deadline_ns,
                             size_t *which, stile_hold *hold)
{
    struct stile_parker *parker = stile__parker_get();
    struct stile_choice choice;
    stile_status status;
    size_t chosen = 0, i;
    int previous;

    if (parker == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory to wait with");
    previous = stile__cancel_off();
    atomic_init(&choice.taken, NULL);
    for (i = 0; i < count; i++) {
        stile__waiter_init(&any[i].waiter, parker, deadline_ns);
        any[i].waiter.choice = &choice;
        any[i].out = false;
        stile__cancel_enter(any[i].cancel, &any[i].waiter);
    }
    status = try_each(any, count, &chosen);
    if (status == STILE_TIMEOUT)
        status = wait_for_one(any, count, parker, &chosen);
    status = leave_all(any, count, status, &chosen);
    for (i = 0; i < count; i++)
        stile__cancel_leave(any[i].cancel, &any[i].waiter);
    stile__cancel_restore(previous);
    stile__parker_put(parker);
    if (status == STILE_OK) {
        *which = chosen;
        *hold = any[chosen].waiter.hold;
    }
    return status;
}
