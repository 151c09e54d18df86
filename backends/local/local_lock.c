#include "local_lock.h"

#include <stdlib.h>

/* ---- handles ------------------------------------------------------------------------ */

/* The core takes and frees the word by itself where that is all there is to do. */
static void share(stile_lock *lock, struct local_lock_object *object)
{
    ((struct local_lock *)lock)->object = object;
    lock->named = &object->named;
    lock->seen = &object->word;
    if (lock->plain) {
        lock->word = &object->word;
        lock->object = object;
    }
}

static stile_status local_lock_init(stile_lock *lock, stile_kind kind, const char *name)
{
    struct local_space *space = (struct local_space *)lock->space;
    struct stile_named *named;
    stile_status status = stile__names_get(&space->names, kind, name, &named);

    if (status != STILE_OK)
        return status;
    share(lock, object_of_named(named));
    return STILE_OK;
}

static void local_lock_shut(stile_lock *lock)
{
    struct local_lock_object *object = object_of(lock);

    stile__mutex_lock(&object->mutex);
    ((struct local_lock *)lock)->shut = true;
    stile__local_turn_away(object, lock);
    stile__mutex_unlock(&object->mutex);
}

static void local_lock_copy(stile_lock *lock, stile_lock *from)
{
    struct local_lock_object *object = object_of(from);

    stile__names_ref(&object->named);
    share(lock, object);
}

static void local_lock_fini(stile_lock *lock)
{
    struct local_lock_object *object = object_of(lock);

    stile__names_unref(&object->space->names, &object->named);
}

/* ---- objects ------------------------------------------------------------------------ */

struct stile_named *stile__local_lock_make(struct local_space *space)
{
    struct local_lock_object *object =
        aligned_alloc(_Alignof(struct local_lock_object), sizeof *object);
    uint64_t floor = os_load(&space->fence_floor, memory_order_relaxed);

    if (object == NULL)
        return NULL;
    memset(object, 0, sizeof *object);
    object->space = space;
    stile__mutex_init(&object->mutex, STILE_RANK_OBJECT);
    list_init(&object->queue);
    list_init(&object->watches);
    /* It may be made while the space is being closed, after the others were told. */
    object->closed = os_load(&space->base.closed, memory_order_relaxed);
    object->lapse_ns = INT64_MAX;
    atomic_init(&object->revoked_fence, 0);
    atomic_init(&object->sleepers, 0);
    stile__spin_init(&object->spin);
    atomic_init(&object->word.owner, 0);
    atomic_init(&object->word.word, floor << STILE_WORD_FENCE_SHIFT);
    stile__local_settle_flag(object);
    return &object->named;
}

bool stile__local_lock_busy(struct stile_named *named)
{
    struct local_lock_object *object = object_of_named(named);

    return os_load(&object->word.word, memory_order_relaxed) & STILE_WORD_HELD;
}

void stile__local_lock_destroy(struct local_space *space, struct stile_named *named)
{
    struct local_lock_object *object = object_of_named(named);
    uint64_t fence = os_load(&object->word.word, memory_order_relaxed) >> STILE_WORD_FENCE_SHIFT;
    uint64_t floor = os_load(&space->fence_floor, memory_order_relaxed);

    while (floor < fence && !os_cas(&space->fence_floor, &floor, fence, memory_order_relaxed))
        continue;
    stile__mutex_fini(&object->mutex);
    free(object);
}

void stile__local_lock_close(struct stile_named *named)
{
    struct local_lock_object *object = object_of_named(named);

    stile__mutex_lock(&object->mutex);
    object->closed = true;
    stile__local_turn_away(object, NULL);
    stile__mutex_unlock(&object->mutex);
}

void stile__local_lock_lapse(struct stile_named *named, uint64_t fence)
{
    struct local_lock_object *object = object_of_named(named);
    struct stile_parker *wake;

    stile__mutex_lock(&object->mutex);
    stile__local_pass_on(object, fence, STILE_HOLD_LOST, &wake);
    unlock_and_wake(object, wake);
}

const struct stile_lock_ops stile__local_lock_ops = {
    .size = sizeof(struct local_lock),
    .try_first = true,
    .init = local_lock_init,
    .copy = local_lock_copy,
    .shut = local_lock_shut,
    .fini = local_lock_fini,
    .acquire = stile__local_acquire,
    .poll = stile__local_poll,
    .sleep = stile__local_sleep,
    .withdraw = stile__local_withdraw,
    .release = stile__local_release,
    .extend = stile__local_extend,
    .check = stile__local_check,
    .hand_over = stile__local_hand_over,
    .own = stile__local_own,
    .watch = stile__local_watch,
    .give = stile__local_give,
    .adopt = stile__local_adopt,
    .inspect = stile__local_inspect,
    .force_release = stile__local_force_release,
};
