#include "base/calls.h"

#include "base/error.h"

stile_status stile__calls_init(struct stile_calls *calls)
{
    calls->parker = stile__parker_get();
    if (calls->parker == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a space's callbacks");
    stile__mutex_init(&calls->mutex, STILE_RANK_LEAF);
    list_init(&calls->queue);
    calls->running = NULL;
    calls->started = false;
    calls->stop = false;
    atomic_init(&calls->number, 0);
    return STILE_OK;
}

void stile__calls_fini(struct stile_calls *calls)
{
    stile__mutex_fini(&calls->mutex);
    stile__parker_put(calls->parker);
}

/* Under the mutex: takes the next call, or NULL. */
static struct stile_call *take_next(struct stile_calls *calls)
{
    struct stile_call *call;

    if (list_empty(&calls->queue))
        return NULL;
    call = STILE_OF(calls->queue.next, struct stile_call, link);
    list_remove(&call->link);
    return call;
}

static void run(void *arg)
{
    struct stile_calls *calls = arg;

    os_store(&calls->number, stile__thread_number(), memory_order_relaxed);
    stile__mutex_lock(&calls->mutex);
    for (;;) {
        struct stile_call *call = take_next(calls);

        if (call == NULL && calls->stop)
            break;
        calls->running = call;
        stile__mutex_unlock(&calls->mutex);
        if (call == NULL)
            stile__park(calls->parker, INT64_MAX);
        else
            call->run(call);
        stile__mutex_lock(&calls->mutex);
        /* NULL: the call withdrew itself, and may be gone. */
        if (calls->running != NULL && calls->running->withdrawing)
            stile__unpark(calls->running->parker);
        calls->running = NULL;
    }
    stile__mutex_unlock(&calls->mutex);
}

stile_status stile__calls_start(struct stile_calls *calls)
{
    stile_status status = STILE_OK;

    stile__mutex_lock(&calls->mutex);
    if (!calls->started && !calls->stop) {
        status = stile__thread_start(&calls->thread, "stile-calls", run, calls);
        calls->started = status == STILE_OK;
    }
    stile__mutex_unlock(&calls->mutex);
    return status;
}

void stile__calls_stop(struct stile_calls *calls)
{
    bool started;

    stile__mutex_lock(&calls->mutex);
    started = calls->started;
    calls->started = false;
    calls->stop = true;
    stile__mutex_unlock(&calls->mutex);
    if (started) {
        stile__unpark(calls->parker);
        stile__thread_join(&calls->thread);
    }
}

bool stile__calls_inside(const struct stile_calls *calls)
{
    return os_load(&calls->number, memory_order_relaxed) == stile__thread_number();
}

stile_status stile__call_init(struct stile_call *call, void (*run_call)(struct stile_call *call))
{
    list_init(&call->link);
    call->run = run_call;
    call->withdrawing = false;
    call->parker = stile__parker_get();
    if (call->parker == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a callback");
    return STILE_OK;
}

void stile__call_fini(struct stile_call *call)
{
    stile__parker_put(call->parker);
}

void stile__call_post(struct stile_calls *calls, struct stile_call *call)
{
    bool posted = false;

    stile__mutex_lock(&calls->mutex);
    if (calls->started && list_empty(&call->link)) {
        list_push_back(&calls->queue, &call->link);
        posted = true;
    }
    stile__mutex_unlock(&calls->mutex);
    if (posted)
        stile__unpark(calls->parker);
}

void stile__call_withdraw(struct stile_calls *calls, struct stile_call *call)
{
    stile__mutex_lock(&calls->mutex);
    list_remove(&call->link);
    if (stile__calls_inside(calls)) {
        if (calls->running == call)
            calls->running = NULL;
    } else {
        while (calls->running == call) {
            call->withdrawing = true;
            stile__mutex_unlock(&calls->mutex);
            stile__park(call->parker, INT64_MAX);
            stile__mutex_lock(&calls->mutex);
        }
    }
    stile__mutex_unlock(&calls->mutex);
}
