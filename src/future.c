#include "future.h"

#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "base/cancel.h"
#include "base/deadline.h"

/* A thread that waits for the end of a future. */
struct watcher {
    struct stile_link link; /* under the future's mutex */
    struct stile_parker *parker;
};

/* ---- its end ----------------------------------------------------------------------- */

static void run_callback(struct stile_call *call)
{
    stile_future *future = STILE_OF(call, stile_future, call);

    future->callback(future, future->argument);
}

/* Under the mutex, from which on the future may be closed. */
static void tell(stile_future *future)
{
    struct stile_link *at;

    os_store(&future->done, true, memory_order_release);
    if (future->has_signal)
        stile__signal_raise(&future->signal);
    if (future->callback != NULL)
        stile__call_post(&future->space->calls, &future->call);
    for (at = future->watchers.next; at != &future->watchers; at = at->next)
        stile__unpark(STILE_OF(at, struct watcher, link)->parker);
}

static void note_end(struct stile_async_wait *wait, stile_status status)
{
    stile_future *future = (stile_future *)wait;
    struct stile_gate *gate = future->gate;

    if (status == STILE_OK)
        future->ops->granted(future, &wait->waiter.hold);
    else
        future->ops->explain(future, status);
    stile__mutex_lock(&future->mutex);
    future->status = status;
    if (status != STILE_OK)
        memcpy(future->detail, stile_error_detail(), strlen(stile_error_detail()) + 1);
    tell(future);
    stile__mutex_unlock(&future->mutex);
    /* Last, so that who closes the handle finds its futures done. */
    stile__gate_leave(gate);
}

stile_status stile__future_init(stile_future *future, const struct stile_future_ops *ops,
                                stile *space, stile_future_callback *callback, void *argument)
{
    stile_status status = stile__call_init(&future->call, run_callback);

    if (status == STILE_OK && callback != NULL) {
        status = stile__calls_start(&space->calls);
        if (status != STILE_OK)
            stile__call_fini(&future->call);
    }
    if (status != STILE_OK)
        return status;
    future->wait.ops = ops->wait;
    future->wait.done = note_end;
    future->ops = ops;
    future->space = space;
    stile__mutex_init(&future->mutex, STILE_RANK_USER);
    atomic_init(&future->done, false);
    future->taken = false;
    future->detail[0] = '\0';
    list_init(&future->watchers);
    future->has_signal = false;
    future->callback = callback;
    future->argument = argument;
    return STILE_OK;
}

void stile__future_fini(stile_future *future)
{
    if (future->has_signal)
        stile__signal_close(&future->signal);
    stile__mutex_fini(&future->mutex);
    stile__call_fini(&future->call);
}

/* ---- how it is learned ----------------------------------------------------------------- */

static bool is_done(const stile_future *future)
{
    /* Acquire: who saw it reads what was written before. */
    return os_load(&future->done, memory_order_acquire);
}

bool stile_future_done(const stile_future *future)
{
    return future != NULL && is_done(future);
}

stile_status stile_future_fd(stile_future *future, int *fd)
{
    struct stile_signal signal;
    stile_status status;
    bool first;

    if (future == NULL)
        return stile__null_argument("future");
    if (fd == NULL)
        return stile__null_argument("fd");
    status = stile__signal_open(&signal);
    if (status != STILE_OK)
        return status;
    stile__mutex_lock(&future->mutex);
    first = !future->has_signal;
    if (first) {
        future->signal = signal;
        future->has_signal = true;
        if (is_done(future))
            stile__signal_raise(&signal);
    }
    *fd = future->signal.fds[0];
    stile__mutex_unlock(&future->mutex);
    if (!first)
        stile__signal_close(&signal);
    return STILE_OK;
}

static void watch(stile_future *future, struct watcher *watcher, struct stile_parker *parker)
{
    watcher->parker = parker;
    stile__mutex_lock(&future->mutex);
    list_push_back(&future->watchers, &watcher->link);
    stile__mutex_unlock(&future->mutex);
}

static void watch_no_more(stile_future *future, struct watcher *watcher)
{
    stile__mutex_lock(&future->mutex);
    list_remove(&watcher->link);
    stile__mutex_unlock(&future->mutex);
}

/* Whether one is done: the first. */
static bool find_done(stile_future *const *futures, size_t count, size_t *which)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (is_done(futures[i])) {
            *which = i;
            return true;
        }
    }
    return false;
}

/* watchers has room for count. */
static stile_status wait_for_done(stile_future *const *futures, size_t count,
                                  struct watcher *watchers, int64_t deadline_ns, size_t *which)
{
    struct stile_parker *parker = stile__parker_get();
    stile_status status = STILE_OK;
    size_t i;

    if (parker == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory to wait with");
    for (i = 0; i < count; i++)
        watch(futures[i], &watchers[i], parker);
    while (status == STILE_OK && !find_done(futures, count, which)) {
        if (stile__monotonic_ns() >= deadline_ns)
            status = stile__fail(STILE_TIMEOUT, "no future is done");
        else
            stile__park(parker, deadline_ns);
    }
    for (i = 0; i < count; i++)
        watch_no_more(futures[i], &watchers[i]);
    stile__parker_put(parker);
    return status;
}

/* In a child of fork() nobody ends what was under way. */
static stile_status check_parent(stile_future *const *futures, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (stile__space_forked(futures[i]->space))
            return stile__fail(STILE_FORKED, "the future was started by the parent process");
    }
    return STILE_OK;
}

static stile_status wait_any(stile_future *const *futures, size_t count, int64_t timeout_ms,
                             struct watcher *watchers, size_t *which)
{
    stile_status status;
    int previous;

    if (find_done(futures, count, which))
        return STILE_OK;
    status = check_parent(futures, count);
    if (status != STILE_OK)
        return status;
    if (timeout_ms == 0)
        return stile__fail(STILE_TIMEOUT, "no future is done");
    previous = stile__cancel_off();
    status = wait_for_done(futures, count, watchers, deadline_in(timeout_ms), which);
    stile__cancel_restore(previous);
    return status;
}

stile_status stile_future_wait(stile_future *future, int64_t timeout_ms)
{
    stile_status status = stile__check_timeout(timeout_ms);
    struct watcher watcher;
    size_t which;

    if (future == NULL)
        return stile__null_argument("future");
    if (status != STILE_OK)
        return status;
    return wait_any(&future, 1, timeout_ms, &watcher, &which);
}

stile_status stile_future_wait_any(stile_future *const *futures, size_t count, int64_t timeout_ms,
                                   size_t *which)
{
    struct watcher *watchers;
    stile_status status;
    size_t found = 0, i;

    if (futures == NULL)
        return stile__null_argument("futures");
    if (which == NULL)
        return stile__null_argument("which");
    if (count == 0)
        return stile__fail(STILE_INVALID, "count is 0");
    for (i = 0; i < count; i++) {
        if (futures[i] == NULL)
            return stile__fail(STILE_INVALID, "futures[%zu] is NULL", i);
    }
    status = stile__check_timeout(timeout_ms);
    if (status != STILE_OK)
        return status;
    watchers = calloc(count, sizeof *watchers);
    if (watchers == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory to wait for %zu futures", count);
    status = wait_any(futures, count, timeout_ms, watchers, &found);
    free(watchers);
    if (status == STILE_OK)
        *which = found;
    return status;
}

/* ---- what its owner does ------------------------------------------------------------- */

void stile_future_cancel(stile_future *future)
{
    if (future != NULL && !stile__space_forked(future->space))
        stile__cancel_waiter(&future->wait.waiter);
}

stile_status stile_future_take(stile_future *future, stile_hold *hold)
{
    stile_status status = STILE_INVALID;
    bool taken;

    if (future == NULL)
        return stile__null_argument("future");
    if (hold == NULL)
        return stile__null_argument("hold");
    if (!is_done(future))
        return stile__fail(status, "the future is not done");
    if (future->status != STILE_OK)
        return stile__fail(future->status, "%s", future->detail);
    stile__mutex_lock(&future->mutex);
    taken = future->taken;
    future->taken = true;
    stile__mutex_unlock(&future->mutex);
    if (taken)
        return stile__fail(status, "the future's hold was taken already");
    *hold = future->wait.waiter.hold;
    return STILE_OK;
}

/* Waits for the end, by means that are there. */
static void await_end(stile_future *future)
{
    struct watcher watcher;

    watch(future, &watcher, future->call.parker);
    while (!is_done(future))
        stile__park(watcher.parker, INT64_MAX);
    /* The mutex is the engine's last: with it, the engine is through. */
    watch_no_more(future, &watcher);
}

static void give_back(stile_future *future)
{
    if (future->status == STILE_OK && !future->taken)
        future->ops->release(future, &future->wait.waiter.hold);
}

/* What was under way is in the parent, and whatever waits there for this process's
 * thread is none of this one's. */
static void forget(stile_future *future)
{
    struct stile_waiter *waiter = &future->wait.waiter;

    if (!is_done(future)) {
        stile__cancel_leave(future->wait.cancel, waiter);
        future->status = STILE_FORKED;
        if (future->ops->forget(future) == STILE_TOO_LATE)
            future->status = waiter->result;
    }
    give_back(future);
    if (future->has_signal)
        stile__signal_close(&future->signal);
    stile__call_fini(&future->call);
}

void stile_future_close(stile_future *future)
{
    int previous;

    if (future == NULL)
        return;
    previous = stile__cancel_off();
    if (stile__space_forked(future->space)) {
        forget(future);
    } else {
#if STILE_BUG == 4
        future->taken |= !is_done(future);
#endif
        stile_future_cancel(future);
        await_end(future);
        stile__call_withdraw(&future->space->calls, &future->call);
        give_back(future);
        stile__future_fini(future);
    }
    future->ops->destroy(future);
    stile__cancel_restore(previous);
}
