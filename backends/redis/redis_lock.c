#include "redis_lock.h"

#include <stdlib.h>

#include "base/deadline.h"
#include "base/error.h"

/* For how long others are expected to want a lock that they had or waited for. */
#define BUSY_NS INT64_C(100000000)

void stile__redis_note_busy(struct redis_object *object, int64_t now_ns)
{
    os_store(&object->busy_until_ns, now_ns + BUSY_NS, memory_order_relaxed);
}

bool stile__redis_busy(struct redis_object *object, int64_t now_ns)
{
    return now_ns < os_load(&object->busy_until_ns, memory_order_relaxed);
}

/* ---- acquire ---------------------------------------------------------------------------------- */

/* A single attempt, which never queues. */
static stile_status try_once(struct redis_object *object, const stile_lock_options *options,
                             enum redis_patience patience, int64_t until_ns, uint64_t thread,
                             stile_hold *hold)
{
    struct acquire acquire = {.copies = false};
    stile_status status = stile__redis_try(object, options, hold->id, patience, until_ns, &acquire);

    if (status == STILE_OK && acquire.answer == ASK_QUEUE)
        status =
            stile__redis_acquire(object, options, hold->id, 0, false, patience, until_ns, &acquire);
    if (status == STILE_OK && acquire.answer == OWNER)
        return stile__redis_become_owner(object, options, &acquire, thread, hold);
    if (acquire.copies)
        stile__redis_orphan(object, hold->id, options);
    return status == STILE_OK ? STILE_TIMEOUT : status;
}

/* The first attempt of a call that may wait. */
static stile_status attempt_first(stile_lock *lock, const stile_lock_options *options,
                                  struct stile_waiter *waiter)
{
    struct redis_object *object = object_of(lock);
    const struct stile_settings *settings = &object->space->base.settings;
    int64_t now = stile__monotonic_ns();
    int64_t until_ns = later_ns(now, settings->connect_timeout_ms + settings->command_timeout_ms);

    if (until_ns > waiter->back_ns)
        until_ns = waiter->back_ns;
    if (waiter->number == 0 &&
        (waiter->last || (!options->fair && !stile__redis_busy(object, now)))) {
        stile_status status =
            try_once(object, options, REDIS_PATIENT, until_ns, waiter->thread, &waiter->hold);

        if (status != STILE_TIMEOUT)
            return status;
        stile__redis_note_busy(object, now);
        if (waiter->last)
            return status;
        /* The first id may be an orphan by now. */
        status = stile__redis_id(object->space, waiter->hold.id);
        if (status != STILE_OK)
            return status;
    }
    return stile__redis_queue(lock, options, waiter, until_ns);
}

static stile_status acquire_inside(stile_lock *lock, const stile_lock_options *options,
                                   struct stile_waiter *waiter, stile_hold *hold)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    stile_hold mine = STILE_HOLD_INIT, *taken = waiter != NULL ? &waiter->hold : &mine;
    stile_status status = STILE_OK;

    if (taken->slot == 0)
        status = stile__lease_reserve(&space->leases, &taken->slot);
    if (status != STILE_OK)
        return status;
    /* Queueing again is a new operation. */
    if (waiter != NULL && waiter->copies_until_ns != 0) {
        stile__redis_orphan(object, waiter->hold.id, options);
        waiter->copies_until_ns = 0;
    }
    status = stile__redis_id(space, taken->id);
    if (status == STILE_OK && waiter != NULL)
        status = attempt_first(lock, options, waiter);
    else if (status == STILE_OK)
        status = try_once(object, options, REDIS_ONCE, stile__redis_command_until(space, INT64_MAX),
                          stile__thread_number(), taken);
    /* Nobody had the lock for all of the time given: it was not asked in time. */
    if (status == STILE_TIMEOUT && waiter != NULL && !waiter->last &&
        stile__monotonic_ns() < waiter->deadline_ns)
        status = stile__fail(STILE_UNREACHABLE, "%s is too slow", space->base.settings.shown);
    if (status == STILE_OK && waiter == NULL)
        *hold = mine;
    else if (status != STILE_OK && status != STILE_PENDING)
        stile__lease_unreserve(&space->leases, taken->slot);
    return status;
}

static stile_status redis_lock_acquire(stile_lock *lock, const stile_lock_options *options,
                                       struct stile_waiter *waiter, stile_hold *hold)
{
    struct redis_space *space = object_of(lock)->space;
    stile_status status = stile__redis_usable(&space->base);

    if (status != STILE_OK)
        return status;
    if (!stile__gate_enter(&space->calls))
        return stile__fail(STILE_CLOSED, "the space is closed");
    status = acquire_inside(lock, options, waiter, hold);
    stile__gate_leave(&space->calls);
    return status;
}

static void redis_lock_sleep(stile_lock *lock, struct stile_waiter *waiter, int64_t until_ns)
{
    stile__inbox_sleep(&object_of(lock)->space->inbox, waiter, until_ns);
}

/* What else may leave an orphan is counted, so that a close can wait for it. */

static stile_status redis_lock_withdraw(stile_lock *lock, struct stile_waiter *waiter)
{
    struct redis_space *space = object_of(lock)->space;
    stile_status status = stile__redis_usable(&space->base);
    bool inside;

    if (status != STILE_OK)
        return status;
    inside = stile__gate_enter(&space->calls);
    status = stile__redis_withdraw(lock, waiter);
    if (inside)
        stile__gate_leave(&space->calls);
    return status;
}

static stile_status redis_lock_release(stile_lock *lock, const stile_hold *hold)
{
    struct redis_space *space = object_of(lock)->space;
    bool inside = stile__gate_enter(&space->calls);
    stile_status status = stile__redis_release(lock, hold);

    if (inside)
        stile__gate_leave(&space->calls);
    return status;
}

/* ---- handles and objects -------------------------------------------------------------------------------------- */

static stile_status redis_lock_init(stile_lock *lock, stile_kind kind, const char *name)
{
    struct redis_space *space = (struct redis_space *)lock->space;
    struct stile_named *named;
    stile_status status = stile__redis_usable(lock->space);

    if (status == STILE_OK)
        status = stile__names_get(&space->names, kind, name, &named);
    if (status == STILE_OK) {
        ((struct redis_lock *)lock)->object = (struct redis_object *)(void *)named;
        lock->named = named;
    }
    return status;
}

static void redis_lock_copy(stile_lock *lock, stile_lock *from)
{
    struct redis_object *object = object_of(from);

    stile__names_ref(&object->named);
    ((struct redis_lock *)lock)->object = object;
    lock->named = &object->named;
}

static void redis_lock_shut(stile_lock *lock)
{
    struct redis_object *object = object_of(lock);

    stile__mutex_lock(&object->space->mutex);
    ((struct redis_lock *)lock)->shut = true;
    stile__redis_turn_away(object, lock);
    stile__mutex_unlock(&object->space->mutex);
}

static void redis_lock_fini(stile_lock *lock)
{
    struct redis_object *object = object_of(lock);

    /* In a child the table of names is in a state that nobody knows. */
    if (!stile__space_forked(lock->space))
        stile__names_unref(&object->space->names, &object->named);
}

struct stile_named *stile__redis_object_make(struct redis_space *space, stile_kind kind,
                                             const char *name)
{
    struct redis_object *object = calloc(1, sizeof *object);

    if (object == NULL)
        return NULL;
    object->key_bytes = stile__redis_keys(
        space->base.settings.prefix, kind == STILE_LOCK ? "lock" : "rlock", name, object->keys);
    if (object->key_bytes == NULL) {
        free(object);
        return NULL;
    }
    object->space = space;
    list_init(&object->waiters);
    /* It may be made while the space is being closed, after the others were told. */
    object->closed = os_load(&space->base.closed, memory_order_relaxed);
    atomic_init(&object->busy_until_ns, INT64_MIN);
    atomic_init(&object->taken_slot, 0);
    return &object->named;
}

void stile__redis_object_destroy(struct stile_named *named)
{
    struct redis_object *object = (struct redis_object *)(void *)named;

    free(object->key_bytes);
    free(object);
}

void stile__redis_object_close(struct stile_named *named)
{
    struct redis_object *object = (struct redis_object *)(void *)named;

    stile__mutex_lock(&object->space->mutex);
    object->closed = true;
    stile__redis_turn_away(object, NULL);
    stile__mutex_unlock(&object->space->mutex);
}

const struct stile_lock_ops stile__redis_lock_ops = {
    .size = sizeof(struct redis_lock),
    .try_first = false,
    .init = redis_lock_init,
    .copy = redis_lock_copy,
    .shut = redis_lock_shut,
    .fini = redis_lock_fini,
    .acquire = redis_lock_acquire,
    .poll = stile__redis_poll,
    .sleep = redis_lock_sleep,
    .withdraw = redis_lock_withdraw,
    .release = redis_lock_release,
    .extend = stile__redis_extend,
    .check = stile__redis_check,
    .hand_over = stile__redis_hand_over,
    .own = stile__redis_own,
    .watch = stile__redis_watch,
    .give = stile__redis_give,
    .adopt = stile__redis_adopt,
    .inspect = stile__redis_inspect,
    .force_release = stile__redis_force_release,
};
