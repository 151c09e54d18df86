#include "base/async.h"

#include "base/cancel.h"
#include "base/error.h"

stile_status stile__async_init(struct stile_async *async)
{
    async->parker = stile__parker_get();
    if (async->parker == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a space's futures");
    stile__mutex_init(&async->mutex, STILE_RANK_LEAF);
    list_init(&async->ready);
    async->later.first = NULL;
    async->count = 0;
    async->started = false;
    async->stop = false;
    return STILE_OK;
}

void stile__async_fini(struct stile_async *async)
{
    stile__mutex_fini(&async->mutex);
    stile__parker_put(async->parker);
}

/* ---- who is next ------------------------------------------------------------------ */

void stile__async_lock(struct stile_async_wait *wait)
{
    stile__mutex_lock(&wait->async->mutex);
}

void stile__async_unlock_ready(struct stile_async_wait *wait)
{
    struct stile_async *async = wait->async;

    if (wait->stepping)
        wait->again = true;
    else if (!wait->over && list_empty(&wait->ready))
        list_push_back(&async->ready, &wait->ready);
    stile__mutex_unlock(&async->mutex);
}

/* Under the mutex: takes one that has something to do, or NULL; then *until_ns is when
 * the first has. */
static struct stile_async_wait *take_due(struct stile_async *async, int64_t *until_ns)
{
    struct stile_async_wait *wait;

    if (!list_empty(&async->ready)) {
        wait = STILE_OF(async->ready.next, struct stile_async_wait, ready);
    } else if (async->later.first != NULL && async->later.first->at_ns <= stile__monotonic_ns()) {
        wait = STILE_OF(async->later.first, struct stile_async_wait, later);
    } else {
        *until_ns = async->later.first == NULL ? INT64_MAX : async->later.first->at_ns;
        return NULL;
    }
    list_remove(&wait->ready);
    stile__timer_clear(&async->later, &wait->later);
    wait->stepping = true;
    return wait;
}

/* ---- steps --------------------------------------------------------------------------- */

/* Under the mutex, after a step: the wait goes on, or is over. */
static void put_back(struct stile_async *async, struct stile_async_wait *wait, bool over,
                     int64_t until_ns)
{
    wait->stepping = false;
    wait->over = over;
    if (over)
        return;
    if (wait->again)
        list_push_back(&async->ready, &wait->ready);
    else
        stile__timer_set(&async->later, &wait->later, until_ns);
    wait->again = false;
}

/* Takes a wait that is marked as stepping one step on. */
static void step(struct stile_async_wait *wait)
{
    struct stile_async *async = wait->async;
    struct stile_parker *parker = async->parker;
    int64_t until_ns = INT64_MAX;
    stile_status status = stile__wait_step(wait->ops, wait->call, &wait->waiter, &until_ns);
    bool over = status != STILE_PENDING;

    stile__mutex_lock(&async->mutex);
    put_back(async, wait, over, until_ns);
    stile__mutex_unlock(&async->mutex);
    if (over) {
        stile__cancel_leave(wait->cancel, &wait->waiter);
        wait->done(wait, status);
        stile__mutex_lock(&async->mutex);
        async->count--;
        stile__mutex_unlock(&async->mutex);
    }
    /* Another than the thread changed what it sleeps for.  The space may be gone. */
    stile__unpark(parker);
}

static void run(void *arg)
{
    struct stile_async *async = arg;

    stile__mutex_lock(&async->mutex);
    while (!async->stop || async->count > 0) {
        int64_t until_ns;
        struct stile_async_wait *wait = take_due(async, &until_ns);

        stile__mutex_unlock(&async->mutex);
        if (wait != NULL)
            step(wait);
        else
            stile__park(async->parker, until_ns);
        stile__mutex_lock(&async->mutex);
    }
    stile__mutex_unlock(&async->mutex);
}

/* ---- callers --------------------------------------------------------------------------- */

/* Under the mutex. */
static stile_status begin(struct stile_async *async)
{
    stile_status status = STILE_OK;

    if (async->stop)
        return stile__fail(STILE_CLOSED, "the space is closed");
    if (!async->started) {
        status = stile__thread_start(&async->thread, "stile-async", run, async);
        async->started = status == STILE_OK;
    }
    if (status == STILE_OK)
        async->count++;
    return status;
}

stile_status stile__async_start(struct stile_async *async, struct stile_async_wait *wait,
                                int64_t deadline_ns, bool at_once)
{
    stile_status status;

    stile__waiter_init(&wait->waiter, async->parker, deadline_ns);
    wait->waiter.async = wait;
    /* Whoever takes the hold from the future has it. */
    wait->waiter.thread &= UINT32_MAX;
    wait->async = async;
    list_init(&wait->ready);
    stile__timer_init(&wait->later);
    wait->stepping = true;
    wait->again = false;
    wait->over = false;
    stile__mutex_lock(&async->mutex);
    status = begin(async);
    stile__mutex_unlock(&async->mutex);
    if (status != STILE_OK)
        return status;
    stile__cancel_enter(wait->cancel, &wait->waiter);
    if (at_once) {
        step(wait);
        return STILE_OK;
    }
    stile__mutex_lock(&async->mutex);
    wait->again = true;
    put_back(async, wait, false, INT64_MAX);
    stile__mutex_unlock(&async->mutex);
    stile__unpark(async->parker);
    return STILE_OK;
}

void stile__async_stop(struct stile_async *async)
{
    bool started;

    stile__mutex_lock(&async->mutex);
    started = async->started;
    async->started = false;
    async->stop = true;
    stile__mutex_unlock(&async->mutex);
    if (started) {
        stile__unpark(async->parker);
        stile__thread_join(&async->thread);
    }
}
