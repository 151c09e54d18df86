#include <stile/lock.h>

#include <stdlib.h>

#include "arguments.h"
#include "base/deadline.h"
#include "future.h"
#include "lock_ops.h"

struct lock_future {
    struct stile_future base; /* first: the part that is the same for all kinds */
    stile_lock *lock;         /* the caller's handle, until it is done: its gate is entered */
    /* A handle of the future's own, for a hold that nobody takes: the other may be
     * closed by then.  Has the options. */
    stile_lock *own;
    struct stile_lock_call call;
    int64_t timeout_ms;
    struct stile_lock_hook *hook; /* NULL: none */
    stile_hold given;             /* what an attempt finds that has it already */
};

static bool is_given(const struct lock_future *future)
{
    return future->given.object != NULL;
}

static stile_status take_given(void *call, struct stile_waiter *waiter)
{
    struct lock_future *future = STILE_OF(call, struct lock_future, call);

    waiter->hold = future->given;
    return STILE_OK;
}

/* Nobody queues. */
static const struct stile_wait_ops given_wait_ops = {.attempt = take_given};

static void granted(stile_future *base, const stile_hold *hold)
{
    struct lock_future *future = (struct lock_future *)base;

    if (future->hook != NULL && !is_given(future))
        future->hook->granted(future->hook, hold);
}

static void explain(stile_future *base, stile_status status)
{
    stile__lock_explain(status, ((struct lock_future *)base)->timeout_ms);
}

static void release(stile_future *base, const stile_hold *hold)
{
    struct lock_future *future = (struct lock_future *)base;

    if (future->hook != NULL)
        future->hook->release(future->hook, future->own, hold);
    else
        future->own->ops->release(future->own, hold);
}

static stile_status forget(stile_future *base)
{
    stile_lock *own = ((struct lock_future *)base)->own;

    return own->ops->withdraw(own, &base->wait.waiter);
}

static void destroy(stile_future *base)
{
    struct lock_future *future = (struct lock_future *)base;

    /* Before the lock that it is about. */
    if (future->hook != NULL)
        future->hook->destroy(future->hook);
    stile_lock_close(future->own);
    free(future);
}

static const struct stile_future_ops lock_future_ops = {.wait = &stile__lock_wait_ops,
                                                        .granted = granted,
                                                        .explain = explain,
                                                        .release = release,
                                                        .forget = forget,
                                                        .destroy = destroy};

/* Makes one that is to be started, or freed with fini and destroy. */
static stile_status new_future(stile_lock *lock, const stile_lock_options *complete,
                               stile_future_callback *callback, void *argument,
                               struct lock_future **out)
{
    struct lock_future *future = calloc(1, sizeof *future);
    stile_status status;

    if (future == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a future");
    future->lock = lock;
    status = stile__lock_copy(lock, complete, &future->own);
    if (status != STILE_OK)
        goto fail;
    status = stile__future_init(&future->base, &lock_future_ops, lock->space, callback, argument);
    if (status != STILE_OK)
        goto fail_copy;
    *out = future;
    return STILE_OK;

fail_copy:
    stile_lock_close(future->own);
fail:
    free(future);
    return status;
}

/* With STILE_OK the future may be over, and gone, by the return. */
static stile_status start(struct lock_future *future, int64_t timeout_ms)
{
    struct stile_async_wait *wait = &future->base.wait;
    stile_lock *lock = future->lock;
    stile_status status;

    future->timeout_ms = timeout_ms;
    future->call.lock = lock;
    future->call.options = &future->own->options;
    future->call.once = timeout_ms == 0;
    wait->call = &future->call;
    wait->cancel = future->own->options.cancel;
    wait->waiter.owner = lock;
    wait->waiter.options = &future->own->options;
    future->base.gate = &lock->gate;
    if (!stile__gate_enter(&lock->gate))
        return stile__fail(STILE_CLOSED, "the handle is being closed");
    status = stile__async_start(&lock->space->async, wait, deadline_in(timeout_ms),
                                lock->ops->try_first || is_given(future));
    if (status != STILE_OK)
        stile__gate_leave(&lock->gate);
    return status;
}

static stile_status start_new(stile_lock *lock, int64_t timeout_ms,
                              const stile_lock_options *complete, struct stile_lock_hook *hook,
                              const stile_hold *given, stile_future_callback *callback,
                              void *argument, stile_future **out)
{
    struct lock_future *future = NULL;
    stile_status status = new_future(lock, complete, callback, argument, &future);

    if (status != STILE_OK)
        return status;
    future->hook = hook;
    if (given != NULL) {
        future->given = *given;
        future->base.wait.ops = &given_wait_ops;
    }
    *out = &future->base;
    status = start(future, timeout_ms);
    if (status != STILE_OK) {
        /* It stays the caller's. */
        future->hook = NULL;
        stile__future_fini(&future->base);
        destroy(&future->base);
    }
    return status;
}

stile_status stile__lock_start(stile_lock *lock, int64_t timeout_ms,
                               const stile_lock_options *complete, struct stile_lock_hook *hook,
                               const stile_hold *given, stile_future_callback *callback,
                               void *argument, stile_future **out)
{
    int previous = stile__cancel_off();
    stile_future *future;
    stile_status status =
        start_new(lock, timeout_ms, complete, hook, given, callback, argument, &future);

    stile__cancel_restore(previous);
    if (status == STILE_OK)
        *out = future;
    return status;
}

stile_status stile_lock_start(stile_lock *lock, int64_t timeout_ms,
                              const stile_lock_options *options, stile_future_callback *callback,
                              void *argument, stile_future **out)
{
    stile_lock_options complete;
    stile_status status;

    if (lock == NULL)
        return stile__null_argument("lock");
    if (out == NULL)
        return stile__null_argument("out");
    status = stile__check_timeout(timeout_ms);
    if (status != STILE_OK)
        return status;
    if (stile__space_forked(lock->space))
        return stile__fail(STILE_FORKED, "the space was opened by the parent process");
    if (options == NULL)
        complete = lock->options;
    else
        status = stile__lock_options_complete(lock->space, options, &complete);
    if (status != STILE_OK)
        return status;
    return stile__lock_start(lock, timeout_ms, &complete, NULL, NULL, callback, argument, out);
}
