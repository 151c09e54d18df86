#include <stile/lock.h>

#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "backend.h"
#include "base/deadline.h"
#include "base/error.h"
#include "lock_ops.h"

/* ---- handles ------------------------------------------------------------------- */

/* A handle without a name: named by init or copy, else freed with free_handle. */
static stile_status new_handle(stile *space, const stile_lock_options *complete, stile_lock **out)
{
    stile_lock *lock = calloc(1, space->backend->lock->size);
    stile_status status;

    if (lock == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a lock handle");
    lock->ops = space->backend->lock;
    lock->space = space;
    lock->options = *complete;
    lock->plain = stile__lock_is_plain(complete) && complete->cancel == NULL;
    if (complete->label != NULL) {
        memcpy(lock->label, complete->label, strlen(complete->label) + 1);
        lock->options.label = lock->label;
    }
    status = stile__gate_init(&lock->gate);
    if (status == STILE_OK)
        *out = lock;
    else
        free(lock);
    return status;
}

static void free_handle(stile_lock *lock)
{
    stile__gate_fini(&lock->gate);
    free(lock);
}

stile_status stile__lock_open(stile *space, stile_kind kind, const char *name,
                              const stile_lock_options *options, stile_lock **out)
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
    status = new_handle(space, &complete, &lock);
    if (status != STILE_OK)
        return status;
    status = lock->ops->init(lock, kind, name);
    if (status != STILE_OK) {
        free_handle(lock);
        return status;
    }
    stile__space_ref(space);
    *out = lock;
    return STILE_OK;
}

stile_status stile__lock_copy(stile_lock *lock, const stile_lock_options *complete,
                              stile_lock **out)
{
    stile_status status = new_handle(lock->space, complete, out);

    if (status != STILE_OK)
        return status;
    lock->ops->copy(*out, lock);
    stile__space_ref(lock->space);
    return STILE_OK;
}

stile_status stile_lock_open(stile *space, const char *name, const stile_lock_options *options,
                             stile_lock **out)
{
    return stile__lock_open(space, STILE_LOCK, name, options, out);
}

void stile__lock_shut(stile_lock *lock)
{
    /* Calls that other threads were in when the process forked never leave. */
    if (stile__space_forked(lock->space))
        return;
    stile__gate_shut(&lock->gate);
    lock->ops->shut(lock);
    stile__gate_wait(&lock->gate);
}

void stile__lock_free(stile_lock *lock)
{
    stile *space = lock->space;

    lock->ops->fini(lock);
    free_handle(lock);
    stile__space_unref(space);
}

void stile_lock_close(stile_lock *lock)
{
    if (lock == NULL)
        return;
    stile__lock_shut(lock);
    stile__lock_free(lock);
}

/* ---- acquire -------------------------------------------------------------------- */

static stile_status call_attempt(void *call, struct stile_waiter *waiter)
{
    struct stile_lock_call *c = call;
    stile_status status;

    if (!c->once)
        return c->lock->ops->acquire(c->lock, c->options, waiter, &waiter->hold);
    status = c->lock->ops->acquire(c->lock, c->options, NULL, &waiter->hold);
    /* Whoever takes it from the future has it. */
    if (status == STILE_OK)
        (void)c->lock->ops->hand_over(c->lock, &waiter->hold);
    return status;
}

static void call_poll(void *call, struct stile_waiter *waiter)
{
    struct stile_lock_call *c = call;

    c->lock->ops->poll(c->lock, waiter);
}

static void call_sleep(void *call, struct stile_waiter *waiter, int64_t until_ns)
{
    struct stile_lock_call *c = call;

    c->lock->ops->sleep(c->lock, waiter, until_ns);
}

static stile_status call_withdraw(void *call, struct stile_waiter *waiter)
{
    struct stile_lock_call *c = call;

    return c->lock->ops->withdraw(c->lock, waiter);
}

static void call_give_back(void *call, const stile_hold *hold)
{
    struct stile_lock_call *c = call;

    c->lock->ops->release(c->lock, hold);
}

const struct stile_wait_ops stile__lock_wait_ops = {.attempt = call_attempt,
                                                    .poll = call_poll,
                                                    .sleep = call_sleep,
                                                    .withdraw = call_withdraw,
                                                    .give_back = call_give_back};

void stile__lock_explain(stile_status status, int64_t timeout_ms)
{
    if (status == STILE_TIMEOUT && timeout_ms == 0)
        stile__fail(status, "the lock is taken");
    else if (status == STILE_TIMEOUT)
        stile__fail(status, "the lock stayed taken for all of %lld ms", (long long)timeout_ms);
    else if (status == STILE_CLOSED)
        stile__fail(status, "the space or the handle was closed");
    else if (status == STILE_CANCELLED)
        stile__fail(status, "the cancellation was fired");
}

/*
 * Whether only the calling thread could end its wait.  What is not its own now will not
 * become so while it waits.  A reentrant lock has owners of its own, which need not be
 * threads.
 */
static bool waits_for_itself(stile_lock *lock, const stile_lock_options *options,
                             int64_t timeout_ms)
{
    return timeout_ms == STILE_FOREVER && options->cancel == NULL &&
           lock->named->kind == STILE_LOCK && lock->ops->own(lock);
}

OS_SLOW_PATH static stile_status wait_for_lock(stile_lock *lock, const stile_lock_options *options,
                                               int64_t timeout_ms, stile_hold *hold)
{
    struct stile_lock_call call = {.lock = lock, .options = options};
    struct stile_waiter waiter;
    stile_status status;

    if (!stile__gate_enter(&lock->gate))
        return stile__fail(STILE_CLOSED, "the handle is being closed");
    if (waits_for_itself(lock, options, timeout_ms)) {
        stile__gate_leave(&lock->gate);
        return stile__fail(STILE_DEADLOCK, "the calling thread holds the lock itself, and would "
                                           "wait for ever");
    }
    waiter.owner = lock;
    waiter.options = options;
    status = stile__wait(&stile__lock_wait_ops, &call, &waiter, deadline_in(timeout_ms),
                         options->cancel, hold);
    stile__gate_leave(&lock->gate);
    stile__lock_explain(status, timeout_ms);
    return status;
}

OS_SLOW_PATH static stile_status acquire(stile_lock *lock, int64_t timeout_ms,
                                         const stile_lock_options *options, stile_hold *hold)
{
    if (options->cancel != NULL && stile_cancel_fired(options->cancel)) {
        stile__lock_explain(STILE_CANCELLED, timeout_ms);
        return STILE_CANCELLED;
    }
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
    if (lock_take_word(lock, hold))
        return STILE_OK;
    /* That was the first attempt. */
    if (lock->word != NULL && timeout_ms != 0)
        return wait_for_lock(lock, &lock->options, timeout_ms, hold);
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

OS_SLOW_PATH static stile_status release(stile_lock *lock, const stile_hold *hold)
{
    return explain_hold(lock->ops->release(lock, hold));
}

stile_status stile_lock_release(stile_lock *lock, const stile_hold *hold)
{
    if (lock == NULL)
        return stile__null_argument("lock");
    if (hold == NULL)
        return stile__null_argument("hold");
    if (lock_free_word(lock, hold))
        return STILE_OK;
    return release(lock, hold);
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
