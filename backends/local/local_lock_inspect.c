#include "local_lock.h"

#include <stdlib.h>

#include "base/deadline.h"
#include "base/error.h"

static void describe(uint64_t thread, int64_t since_ms, const char *label, stile_party *party)
{
    memset(party, 0, sizeof *party);
    party->thread = (uint32_t)thread;
    party->since_ms = since_ms;
    set_label(party->label, label);
}

/* Under the mutex. */
static void inspect_holder(const struct local_lock_object *object, uint64_t fence,
                           stile_lock_info *info)
{
    info->held = true;
    info->lease_ms = STILE_FOREVER;
    if (object->holder.fence == fence)
        describe(object->holder.thread, object->holder.since_ms, object->holder.label,
                 &info->holder);
    if (object->noted.fence == fence)
        info->lease_ms = remaining_ms(object->lapse_ns);
}

/* Under the mutex. */
static void inspect_queue(const struct local_lock_object *object, stile_lock_info *info)
{
    struct stile_link *at;

    for (at = object->queue.next; at != &object->queue; at = at->next) {
        const struct stile_waiter *waiter = waiter_of(at);

        if (info->waiters++ < STILE_LISTED_MOST)
            describe(waiter->thread, waiter->since_ms,
                     ((const stile_lock_options *)waiter->options)->label,
                     &info->queue[info->listed++]);
    }
}

/* Everybody is of this process. */
static void add_process(stile_lock_info *info)
{
    stile_party process = {.pid = stile__process_id()};
    size_t i;

    stile__host_name(process.host, sizeof process.host);
    for (i = 0; i < info->listed + (info->held ? 1 : 0); i++) {
        stile_party *party = i < info->listed ? &info->queue[i] : &info->holder;

        memcpy(party->host, process.host, sizeof party->host);
        party->pid = process.pid;
    }
}

stile_status stile__local_inspect(stile_lock *lock, stile_lock_info *info)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_parker *wake;
    uint64_t word;

    info->queue = malloc(STILE_LISTED_MOST * sizeof *info->queue);
    if (info->queue == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for the waiters of a lock");
    stile__mutex_lock(&object->mutex);
    stile__local_lapse_due(object, &wake);
    word = os_load(&object->word.word, memory_order_relaxed);
    info->fence = word >> STILE_WORD_FENCE_SHIFT;
    if (word & STILE_WORD_HELD)
        inspect_holder(object, info->fence, info);
    inspect_queue(object, info);
    unlock_and_wake(object, wake);
    add_process(info);
    if (info->listed == 0) {
        free(info->queue);
        info->queue = NULL;
    }
    return STILE_OK;
}

stile_status stile__local_force_release(stile_lock *lock)
{
    struct local_lock_object *object = object_of(lock);
    struct stile_parker *wake = NULL;
    stile_status status = STILE_MISSING;
    uint64_t word, before;

    stile__mutex_lock(&object->mutex);
    before = os_load(&object->revoked_fence, memory_order_relaxed);
    while (status == STILE_MISSING &&
           ((word = os_load(&object->word.word, memory_order_relaxed)) & STILE_WORD_HELD)) {
        uint64_t fence = word >> STILE_WORD_FENCE_SHIFT;

        os_store(&object->revoked_fence, fence, memory_order_relaxed);
        if (stile__local_pass_on(object, fence, STILE_HOLD_LOST, &wake))
            status = STILE_OK;
        else
            /* Its owner was quicker. */
            os_store(&object->revoked_fence, before, memory_order_relaxed);
    }
    unlock_and_wake(object, wake);
    return status;
}
