#include <stile/lock.h>

#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "backend.h"
#include "base/deadline.h"
#include "base/error.h"
#include "lock_ops.h"

/* ---- handles ------------------------------------------------------------------- */

stile_status stile_lock_open(stile *space, const char *name, const stile_lock_options *options,
                             stile_lock **out)
{
    stile_lock_options complete;
    stile_status status;
    stile_lock *lock;

    if (space == NULL)
        return stile__null_argument("space");
    if (out == NULL)
        return stile__null_argument("out");
    status = stile__check_name(name);
    if (status == STILE_OK)
        status = stile__lock_options_complete(space, options, &complete);
    if (status != STILE_OK)
        return status;
    if (os_load(&space->closed, memory_order_relaxed))
        return stile__fail(STILE_CLOSED, "the space is closed");
    if (space->backend->lock == NULL)
        return stile__fail(STILE_UNSUPPORTED, "%s has no locks", space->settings.shown);
    lock = calloc(1, space->backend->lock->size);
    if (lock == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a lock handle");
    lock->ops = space->backend->lock;
    lock->space = space;
    lock->options = complete;
    status = stile__gate_init(&lock->gate);
    if (status != STILE_OK)
        goto fail;
    status = lock->ops->init(lock, name);
    if (status != STILE_OK)
        goto fail_gate;
    stile__space_ref(space);
    *out = lock;
    return STILE_OK;

fail_gate:
    stile__gate_fini(&lock->gate);
fail:
    free(lock);
    return status;
}

void stile_lock_close(stile_lock *lock)
{
    stile *space;

    if (lock == NULL)
        return;
    space = lock->space;
    /* Calls that other threads were in when the process forked never leave. */
    if (!stile__space_forked(space)) {
        stile__gate_shut(&lock->gate);
        lock->ops->shut(lock);
        stile__gate_wait(&lock->gate);
    }
    lock->ops->fini(lock);
    stile__gate_fini(&lock->gate);
    free(lock);
    stile__space_unref(space);
}

/* ---- acquire -------------------------------------------------------------------- */

struct lock_call {
    stile_lock *lock;
    const stile_lock_options *options;
};

static stile_status call_attempt(void *call, struct stile_waiter *waiter)
{
    struct lock_call *c = call;

    return c->lock->ops->acquire(c->lock, c->options, waiter, &waiter->hold);
}

static void call_poll(void *call, struct stile_waiter *waiter)
{
    struct lock_call *c = call;

    c->lock->ops->poll(c->lock, waiter);
}

static stile_status call_withdraw(void *call, struct stile_waiter *waiter)
{
    struct lock_call *c = call;

    return c->lock->ops->withdraw(c->lock, waiter);
}

static const struct stile_wait_ops lock_wait_ops = {
    .attempt = call_attempt, .poll = call_poll, .withdraw = call_withdraw};

OS_SLOW_PATH static stile_status wait_for_lock(stile_lock *lock, const stile_lock_options *options,
                                               int64_t timeout_ms, stile_hold *hold)
{
    struct lock_call call = {lock, options};
    struct stile_waiter waiter;
    stile_status status;

    if (!stile__gate_enter(&lock->gate))
        return stile__fail(STILE_CLOSED, "the handle is being closed");
    /* What is not the thread's own now will not become so while it waits. */
    if (timeout_ms == STILE_FOREVER && lock->ops->own(lock)) {
        stile__gate_leave(&lock->gate);
        return stile__fail(STILE_DEADLOCK, "the calling thread holds the lock itself, and would "
                                           "wait for ever");
    }
    memset(&waiter.hold, 0, sizeof waiter.hold);
    waiter.owner = lock;
    waiter.options = options;
    waiter.thread = stile__thread_number();
    status = stile__wait(&lock_wait_ops, &call, &waiter, deadline_in(timeout_ms), hold);
    stile__gate_leave(&lock->gate);
    if (status == STILE_TIMEOUT)
        stile__fail(status, "the lock stayed taken for all of %lld ms", (long long)timeout_ms);
    else if (status == STILE_CLOSED)
        stile__fail(status, "the space or the handle was closed");
    return status;
}

static stile_status acquire(stile_lock *lock, int64_t timeout_ms, const stile_lock_options *options,
                            stile_hold *hold)
{
    if (timeout_ms == 0 || lock->ops->try_first) {
        stile_status status = lock->ops->acquire(lock, options, NULL, hold);

        if (status != STILE_TIMEOUT)
            return status;
        if (timeout_ms == 0)
            return stile__fail(status, "the lock is taken");
    }
    return wait_for_lock(lock, options, timeout_ms, hold);
}

stile_status stile_lock_acquire(stile_lock *lock, int64_t timeout_ms, stile_hold *hold)
{
    if (lock == NULL)
        return stile__null_argument("lock");
    if (hold == NULL)
        return stile__null_argument("hold");
    if (timeout_ms < STILE_FOREVER)
        return stile__check_timeout(timeout_ms);
    return acquire(lock, timeout_ms, &lock->options, hold);
}

stile_status stile_lock_acquire_with(stile_lock *lock, int64_t timeout_ms,
                                     const stile_lock_options *options, stile_hold *hold)
{
    stile_lock_options complete;
    stile_status status;

    if (lock == NULL)
        return stile__null_argument("lock");
    if (hold == NULL)
        return stile__null_argument("hold");
    status = stile__check_timeout(timeout_ms);
    if (status != STILE_OK)
        return status;
    if (options == NULL)
        return acquire(lock, timeout_ms, &lock->options, hold);
    status = stile__lock_options_complete(lock->space, options, &complete);
    if (status != STILE_OK)
        return status;
    return acquire(lock, timeout_ms, &complete, hold);
}

/* ---- what an owner does ------------------------------------------------------------ */

stile_status stile_lock_release(stile_lock *lock, const stile_hold *hold)
{
    if (lock == NULL)
        return stile__null_argument("lock");
    if (hold == NULL)
        return stile__null_argument("hold");
    return explain_hold(lock->ops->release(lock, hold));
}

stile_status stile_lock_extend(stile_lock *lock, const stile_hold *hold, int64_t add_ms)
{
    if (lock == NULL)
        return stile__null_argument("lock");
    if (hold == NULL)
        return stile__null_argument("hold");
    if (add_ms < 1 || add_ms > STILE_TEN_YEARS_MS)
        return stile__fail(STILE_INVALID, "add_ms %lld is not from 1 ms to ten years",
                           (long long)add_ms);
    return explain_hold(lock->ops->extend(lock, hold, add_ms));
}

stile_status stile_lock_check(stile_lock *lock, const stile_hold *hold, int64_t *valid_ms)
{
    int64_t valid;
    stile_status status;

    if (lock == NULL)
        return stile__null_argument("lock");
    if (hold == NULL)
        return stile__null_argument("hold");
    status = lock->ops->check(lock, hold, &valid);
    if (status == STILE_OK && valid_ms != NULL)
        *valid_ms = valid;
    return explain_hold(status);
}
