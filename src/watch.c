#include "watch.h"

#include <stdlib.h>

#include "arguments.h"
#include "backend.h"
#include "base/error.h"

/* On the callbacks' thread. */
static void run_callback(struct stile_call *call)
{
    struct stile_watch *watch = STILE_OF(call, struct stile_watch, call);
    stile_hold_state state = stile_watch_state(watch);

    if (state == watch->told)
        return;
    watch->told = state;
    /* It may close the watch. */
    watch->callback(watch, state, watch->argument);
}

stile_status stile__watch_make(stile *space, stile_watch_callback *callback, void *argument,
                               struct stile_watch **out)
{
    struct stile_watch *watch = calloc(1, sizeof *watch);
    stile_status status;

    if (watch == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a watch");
    atomic_init(&watch->noted, STILE_HELD);
    watch->told = STILE_HELD;
    watch->callback = callback;
    watch->argument = argument;
    watch->calls = &space->calls;
    list_init(&watch->link);
    status = stile__call_init(&watch->call, run_callback);
    /* Told by whoever ends the hold, which must not fail. */
    if (status == STILE_OK && callback != NULL) {
        status = stile__calls_start(&space->calls);
        if (status != STILE_OK)
            stile__call_fini(&watch->call);
    }
    if (status != STILE_OK) {
        free(watch);
        return status;
    }
    stile__space_ref(space);
    watch->space = space;
    *out = watch;
    return STILE_OK;
}

void stile__watch_free(struct stile_watch *watch)
{
    stile *space = watch->space;

    if (watch->has_signal)
        stile__signal_close(&watch->signal);
    stile__call_fini(&watch->call);
    free(watch);
    stile__space_unref(space);
}

/* In a child of fork() the mutex is in a state that nobody knows, unless the child has
 * a copy of its own. */
static bool out_of_reach(const struct stile_watch *watch)
{
    return stile__space_forked(watch->space) && !watch->copied;
}

void stile_watch_close(stile_watch *watch)
{
    if (watch == NULL)
        return;
    if (!out_of_reach(watch)) {
        stile__mutex_lock(watch->mutex);
        list_remove(&watch->link);
        stile__mutex_unlock(watch->mutex);
    }
    /* The thread of the callbacks is the parent's. */
    if (!stile__space_forked(watch->space))
        stile__call_withdraw(watch->calls, &watch->call);
    stile__watch_free(watch);
}

stile_hold_state stile_watch_state(const stile_watch *watch)
{
    uint32_t noted = os_load(&watch->noted, memory_order_acquire);
    stile_hold_state state;

    if (noted >= STILE_HOLD_LOST || watch->leases == NULL)
        return (stile_hold_state)noted;
    if (stile__lease_look(watch->leases, &watch->hold, &state))
        return state;
    /* Who ended the lease told the watch before; the look sees to the order. */
    return (stile_hold_state)os_load(&watch->noted, memory_order_relaxed);
}

stile_status stile_watch_fd(stile_watch *watch, int *fd)
{
    struct stile_signal signal;
    stile_status status;
    bool spare;

    if (watch == NULL)
        return stile__null_argument("watch");
    if (fd == NULL)
        return stile__null_argument("fd");
    status = stile__signal_open(&signal);
    if (status != STILE_OK)
        return status;
    stile__mutex_lock(watch->mutex);
    spare = watch->has_signal;
    if (!spare) {
        watch->signal = signal;
        watch->has_signal = true;
        if (watch->changed)
            stile__signal_raise(&watch->signal);
    }
    *fd = watch->signal.fds[0];
    stile__mutex_unlock(watch->mutex);
    if (spare)
        stile__signal_close(&signal);
    return STILE_OK;
}

stile_hold_state stile_watch_clear(stile_watch *watch)
{
    stile_hold_state state;

    if (out_of_reach(watch))
        return stile_watch_state(watch);
    stile__mutex_lock(watch->mutex);
    state = stile_watch_state(watch);
    /* What only the clock knew so far is told here, and is no change any more. */
    stile__watch_tell(watch, state);
    watch->changed = false;
    if (watch->has_signal)
        stile__signal_clear(&watch->signal);
    stile__mutex_unlock(watch->mutex);
    return state;
}
