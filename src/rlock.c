/*
 * The reentrant lock, composed of a lock and a count that its owner keeps.
 *
 * The count of a thread is in a list of the thread's own, so that a deeper acquire
 * touches nothing that others do, and that an owner whose lease ended finds its own
 * count still there, whoever holds the lock now.  Owners that are a number of the
 * caller's have their counts in the name's state, under its mutex; a count is touched
 * by its owner alone, one thread at a time.
 *
 * A count refers to the name's state by a serial number that is never used again: it
 * may outlive the space.
 *
 * A hold of the outermost level is that of the lock.  One of a deeper level has the
 * same fence and slot, and in id its level's number and that of the level above; a
 * number is never used twice within one count.
 */
#include <stile/rlock.h>

#include "rlock.h"

#include <stdlib.h>

#include "arguments.h"
#include "backend.h"
#include "base/error.h"
#include "lock_ops.h"

/* No number of revocations. */
#define WITH_LEASE UINT64_MAX

/* How deep one owner holds one name. */
struct stile_rlock_count {
    struct stile_rlock_count *next; /* of the same thread or name; or idle */
    uint64_t serial;                /* of the state */
    uint64_t owner;                 /* 0 for a thread */
    uint64_t depth;
    uint64_t top;  /* the number of the deepest level; 0: it is the outermost */
    uint64_t last; /* number given */
    /* What the state's was when it was acquired without a lease.  If it is another now, or
     * WITH_LEASE, a look is due whether the hold still counts. */
    uint64_t revocations;
    /* The outermost hold. */
    const void *object;
    uint64_t fence;
    uint32_t slot, generation;
    uint64_t id[2];
};

/* What a thread keeps: most recently acquired first. */
struct counts {
    struct stile_rlock_count *held;
    struct stile_rlock_count *idle;
};

struct stile_rlock_state {
    struct stile_named named; /* first: what the table of names knows */
    uint64_t serial;
    struct stile_mutex mutex;
    struct stile_rlock_count *numbered; /* counts of owners that are numbers, under the mutex */
    /* What may be held by a count that needs the serial, so that this has to stay though
     * nobody has a handle: the lock's word, as long as somebody has one, and how many
     * counts are of holds with a lease. */
    const struct stile_lock_word *_Atomic word;
    _Atomic uint32_t leased;
    /* How often it was taken away by force: a hold without a lease that was acquired
     * before may have been the one. */
    _Atomic uint64_t revocations;
};

/* ---- states ------------------------------------------------------------------- */

struct stile_named *stile__rlock_make(void)
{
    static _Atomic uint64_t last;
    struct stile_rlock_state *state = calloc(1, sizeof *state);

    if (state == NULL)
        return NULL;
    state->serial = os_add(&last, 1, memory_order_relaxed) + 1;
    stile__mutex_init(&state->mutex, STILE_RANK_OBJECT);
    atomic_init(&state->word, NULL);
    atomic_init(&state->leased, 0);
    atomic_init(&state->revocations, 0);
    return &state->named;
}

bool stile__rlock_busy(struct stile_named *named)
{
    struct stile_rlock_state *state = (struct stile_rlock_state *)(void *)named;

    const struct stile_lock_word *word = os_load(&state->word, memory_order_relaxed);

    return os_load(&state->leased, memory_order_relaxed) > 0 ||
           (word != NULL && (os_load(&word->word, memory_order_relaxed) & STILE_WORD_HELD));
}

static void free_list(struct stile_rlock_count *count)
{
    while (count != NULL) {
        struct stile_rlock_count *next = count->next;

        free(count);
        count = next;
    }
}

void stile__rlock_destroy(struct stile_named *named)
{
    struct stile_rlock_state *state = (struct stile_rlock_state *)(void *)named;

    free_list(state->numbered);
    stile__mutex_fini(&state->mutex);
    free(state);
}

/* ---- counts ---------------------------------------------------------------------- */

static void free_kept(void *kept)
{
    struct counts *counts = kept;

    free_list(counts->held);
    free_list(counts->idle);
    free(counts);
}

/* What the thread keeps, made if it is not there yet; NULL when memory is out. */
static struct counts *counts_of_thread(void)
{
    struct counts *counts = *os_kept();

    if (counts != NULL)
        return counts;
    counts = calloc(1, sizeof *counts);
    if (counts != NULL && stile__keep(counts, free_kept) != STILE_OK) {
        free(counts);
        counts = NULL;
    }
    return counts;
}

/* The owner's count of this name, or NULL.  owner 0 is the calling thread. */
static inline struct stile_rlock_count *find_count(struct stile_rlock_state *state, uint64_t owner)
{
    const struct counts *counts = *os_kept();
    struct stile_rlock_count *count;

    if (owner == 0) {
        count = counts == NULL ? NULL : counts->held;
        while (count != NULL && count->serial != state->serial)
            count = count->next;
        return count;
    }
    stile__mutex_lock(&state->mutex);
    count = state->numbered;
    while (count != NULL && count->owner != owner)
        count = count->next;
    stile__mutex_unlock(&state->mutex);
    return count;
}

static stile_status no_memory(void)
{
    return stile__fail(STILE_NO_MEMORY, "no memory to count how deep a lock is held");
}

/* Sees to it that the thread has an idle count, before there is a hold: noting it cannot
 * fail then. */
OS_SLOW_PATH static stile_status provide_idle(void)
{
    struct counts *counts = counts_of_thread();

    if (counts == NULL)
        return no_memory();
    if (counts->idle == NULL)
        counts->idle = calloc(1, sizeof *counts->idle);
    return counts->idle == NULL ? no_memory() : STILE_OK;
}

static inline void push(struct stile_rlock_count **list, struct stile_rlock_count *count)
{
    count->next = *list;
    *list = count;
}

static inline void begin(struct stile_rlock_state *state, uint64_t owner,
                         struct stile_rlock_count *count, const stile_hold *outer)
{
    count->serial = state->serial;
    count->owner = owner;
    count->depth = 1;
    count->top = 0;
    count->last = 0;
    count->revocations =
        outer->slot == 0 ? os_load(&state->revocations, memory_order_relaxed) : WITH_LEASE;
    count->object = outer->object;
    count->fence = outer->fence;
    count->slot = outer->slot;
    count->generation = outer->generation;
    count->id[0] = outer->id[0];
    count->id[1] = outer->id[1];
    if (outer->slot != 0)
        os_add(&state->leased, 1, memory_order_relaxed);
}

/* The same for the calling thread, with its first idle count, after which comes next:
 * both were read before the lock was taken, since nothing is read early across that. */
static inline void begin_by_thread(struct stile_rlock_state *state, struct counts *counts,
                                   struct stile_rlock_count *count, struct stile_rlock_count *next,
                                   const stile_hold *outer)
{
    counts->idle = next;
    begin(state, 0, count, outer);
    push(&counts->held, count);
}

/* The same for a thread that holds nothing, whose count was this name's before, with the
 * fence that is one less, and no lease: the rest stands there. */
static inline void begin_again(struct stile_rlock_state *state, struct counts *counts,
                               struct stile_rlock_count *count, struct stile_rlock_count *next)
{
    counts->idle = next;
    count->fence++;
    count->revocations = os_load(&state->revocations, memory_order_relaxed);
    count->next = NULL;
    counts->held = count;
}

static void unlink_count(struct stile_rlock_count **at, struct stile_rlock_count *count)
{
    while (*at != count)
        at = &(*at)->next;
    *at = count->next;
}

/* The owner has released the outermost level. */
static inline void end(struct stile_rlock_state *state, struct stile_rlock_count *count)
{
    struct counts *counts = *os_kept();

    if (count->slot != 0)
        os_sub(&state->leased, 1, memory_order_relaxed);
    if (count->owner == 0) {
        unlink_count(&counts->held, count);
        push(&counts->idle, count);
        return;
    }
    stile__mutex_lock(&state->mutex);
    unlink_count(&state->numbered, count);
    stile__mutex_unlock(&state->mutex);
    free(count);
}

/* ---- levels -------------------------------------------------------------------------- */

static inline bool is_outer(const struct stile_rlock_count *count, const stile_hold *hold)
{
    return hold->id[0] == count->id[0] && hold->id[1] == count->id[1];
}

static inline bool is_deepest(const struct stile_rlock_count *count, const stile_hold *hold)
{
    return count->top == 0 ? is_outer(count, hold)
                           : hold->id[0] == count->top && !is_outer(count, hold);
}

/* Whether hold is a level of count. */
static inline bool matches(const struct stile_rlock_count *count, const stile_hold *hold)
{
    return count->fence == hold->fence && count->object == hold->object &&
           count->slot == hold->slot && count->generation == hold->generation;
}

/* The count that hold is a level of, if its owner is the calling thread or a number. */
static inline struct stile_rlock_count *count_of_hold(struct stile_rlock_state *state,
                                                      const stile_hold *hold)
{
    const struct counts *counts = *os_kept();
    struct stile_rlock_count *count = counts == NULL ? NULL : counts->held;

    while (count != NULL && (count->serial != state->serial || !matches(count, hold)))
        count = count->next;
    if (count != NULL)
        return count;
    stile__mutex_lock(&state->mutex);
    count = state->numbered;
    while (count != NULL && !matches(count, hold))
        count = count->next;
    stile__mutex_unlock(&state->mutex);
    return count;
}

static inline void fill(const struct stile_rlock_count *count, uint64_t id, uint64_t above,
                        stile_hold *hold)
{
    hold->fence = count->fence;
    hold->object = count->object;
    hold->id[0] = id;
    hold->id[1] = above;
    hold->slot = count->slot;
    hold->generation = count->generation;
}

static void fill_outer(const struct stile_rlock_count *count, stile_hold *outer)
{
    fill(count, count->id[0], count->id[1], outer);
}

/* Whether no level is over that the owner has not released itself. */
OS_SLOW_PATH static stile_status ask_whether_held(stile_lock *lock,
                                                  const struct stile_rlock_count *count)
{
    stile_hold outer;
    int64_t valid_ms;
    stile_status status;

    fill_outer(count, &outer);
    status = lock->ops->check(lock, &outer, &valid_ms);
    return status == STILE_NOT_HELD ? STILE_LOST : status;
}

/* Whether it is held without asking: only force could have taken it. */
static inline bool is_sure(struct stile_rlock_state *state, const struct stile_rlock_count *count)
{
    return count->revocations == os_load(&state->revocations, memory_order_relaxed);
}

static inline stile_status still_held(stile_lock *lock, struct stile_rlock_state *state,
                                      const struct stile_rlock_count *count)
{
    return is_sure(state, count) ? STILE_OK : ask_whether_held(lock, count);
}

OS_SLOW_PATH static stile_status refuse_deeper(stile_status status)
{
    if (status == STILE_LOST)
        return stile__fail(status, "the caller holds it already, and the lease had ended");
    if (status == STILE_OK)
        return stile__fail(STILE_OVERFLOW, "the lock is held %d deep already",
                           STILE_RLOCK_DEPTH_MAX);
    return status;
}

static inline void descend(struct stile_rlock_count *count, stile_hold *hold)
{
    uint64_t level = ++count->last;

    fill(count, level, count->top, hold);
    count->depth++;
    count->top = level;
}

static inline stile_status go_deeper(stile_rlock *rlock, struct stile_rlock_count *count,
                                     stile_hold *hold)
{
    stile_status status = still_held(rlock->lock, rlock->state, count);

    if (status != STILE_OK || count->depth == STILE_RLOCK_DEPTH_MAX)
        return refuse_deeper(status);
    descend(count, hold);
    return STILE_OK;
}

/* ---- handles ------------------------------------------------------------------------ */

stile_status stile_rlock_open(stile *space, const char *name, const stile_rlock_options *options,
                              stile_rlock **out)
{
    struct stile_named *named;
    stile_rlock *rlock;
    stile_status status;

    if (out == NULL)
        return stile__null_argument("out");
    rlock = calloc(1, sizeof *rlock);
    if (rlock == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a lock handle");
    status = stile__lock_open(space, STILE_RLOCK, name, options == NULL ? NULL : &options->lock,
                              &rlock->lock);
    if (status != STILE_OK)
        goto fail;
    status = stile__names_get(&space->composed, STILE_RLOCK, name, &named);
    if (status != STILE_OK)
        goto fail_lock;
    rlock->state = (struct stile_rlock_state *)(void *)named;
    /* The same for all who have a handle now. */
    os_store(&rlock->state->word, rlock->lock->word, memory_order_relaxed);
    rlock->owner = options == NULL ? 0 : options->owner;
    rlock->serial = rlock->owner == 0 ? rlock->state->serial : 0;
    *out = rlock;
    return STILE_OK;

fail_lock:
    stile_lock_close(rlock->lock);
fail:
    free(rlock);
    return status;
}

void stile_rlock_close(stile_rlock *rlock)
{
    stile *space;

    if (rlock == NULL)
        return;
    space = rlock->lock->space;
    stile__space_ref(space);
    stile__lock_shut(rlock->lock);
    /* While the lock's word is there.  In a child of fork() another thread may have been in
     * the table. */
    if (!stile__space_forked(space))
        stile__names_unref(&space->composed, &rlock->state->named);
    stile__lock_free(rlock->lock);
    free(rlock);
    stile__space_unref(space);
}

/* ---- acquire and release --------------------------------------------------------------- */

/* Within the gate.  options NULL: the handle's. */
static stile_status acquire_inside(stile_rlock *rlock, int64_t timeout_ms,
                                   const stile_rlock_options *options, uint64_t owner,
                                   stile_hold *hold)
{
    struct stile_rlock_count *fresh = NULL;
    stile_status status = owner == 0 ? provide_idle() : stile__rlock_provide(&fresh);

    if (status != STILE_OK)
        return status;
    status = stile_lock_acquire_with(rlock->lock, timeout_ms,
                                     options == NULL ? NULL : &options->lock, hold);
    if (status != STILE_OK) {
        free(fresh);
    } else if (owner == 0) {
        struct counts *counts = *os_kept();

        begin_by_thread(rlock->state, counts, counts->idle, counts->idle->next, hold);
    } else {
        stile__rlock_begin(rlock->state, owner, fresh, hold);
    }
    return status;
}

/* The caller does not hold it. */
OS_SLOW_PATH static stile_status acquire_outer(stile_rlock *rlock, int64_t timeout_ms,
                                               const stile_rlock_options *options, uint64_t owner,
                                               stile_hold *hold)
{
    stile_status status;

    /* Who closes the handle waits for more than the lock: the count is noted after it. */
    if (!stile__gate_enter(&rlock->lock->gate))
        return stile__fail(STILE_CLOSED, "the handle is being closed");
    status = acquire_inside(rlock, timeout_ms, options, owner, hold);
    stile__gate_leave(&rlock->lock->gate);
    return status;
}

static stile_status acquire(stile_rlock *rlock, int64_t timeout_ms,
                            const stile_rlock_options *options, stile_hold *hold)
{
    uint64_t owner = options == NULL ? rlock->owner : options->owner;
    struct stile_rlock_count *count = find_count(rlock->state, owner);
    stile_status status = timeout_ms < STILE_FOREVER ? stile__check_timeout(timeout_ms) : STILE_OK;

    if (status != STILE_OK)
        return status;
    if (count != NULL)
        return go_deeper(rlock, count, hold);
    return acquire_outer(rlock, timeout_ms, options, owner, hold);
}

OS_SLOW_PATH static stile_status acquire_any_way(stile_rlock *rlock, int64_t timeout_ms,
                                                 stile_hold *hold)
{
    return acquire(rlock, timeout_ms, NULL, hold);
}

/* The short ways are those of a thread that holds nothing else, or this last of all,
 * without a lease. */
stile_status stile_rlock_acquire(stile_rlock *rlock, int64_t timeout_ms, stile_hold *hold)
{
    struct counts *counts = *os_kept();
    struct stile_rlock_count *count, *next;

    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (hold == NULL)
        return stile__null_argument("hold");
    if (counts == NULL || timeout_ms < STILE_FOREVER || rlock->serial == 0)
        return acquire_any_way(rlock, timeout_ms, hold);
    count = counts->held;
    if (count != NULL) {
        if (count->serial != rlock->serial || !is_sure(rlock->state, count) ||
            count->depth == STILE_RLOCK_DEPTH_MAX)
            return acquire_any_way(rlock, timeout_ms, hold);
        descend(count, hold);
        return STILE_OK;
    }
    count = counts->idle;
    if (count == NULL)
        return acquire_any_way(rlock, timeout_ms, hold);
    next = count->next;
    if (count->serial == rlock->serial && count->slot == 0 &&
        lock_take_word_after(rlock->lock, count->fence, hold)) {
        begin_again(rlock->state, counts, count, next);
        return STILE_OK;
    }
    if (!lock_take_word(rlock->lock, hold))
        return acquire_any_way(rlock, timeout_ms, hold);
    begin_by_thread(rlock->state, counts, count, next, hold);
    return STILE_OK;
}

stile_status stile_rlock_acquire_with(stile_rlock *rlock, int64_t timeout_ms,
                                      const stile_rlock_options *options, stile_hold *hold)
{
    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (hold == NULL)
        return stile__null_argument("hold");
    return acquire(rlock, timeout_ms, options, hold);
}

OS_SLOW_PATH static stile_status release_level(stile_lock *lock, struct stile_rlock_state *state,
                                               const stile_hold *hold)
{
    struct stile_rlock_count *count = count_of_hold(state, hold);
    stile_status status;

    if (count == NULL || !is_deepest(count, hold))
        return stile__fail(STILE_NOT_HELD,
                           "the hold is not the deepest level of an owner, or not the caller's");
    if (count->top == 0) {
        end(state, count);
        if (lock_free_word(lock, hold))
            return STILE_OK;
        return explain_hold(lock->ops->release(lock, hold));
    }
    status = still_held(lock, state, count);
    count->top = hold->id[1];
    count->depth--;
#if STILE_BUG == 8
    return lock->ops->release(lock, hold);
#endif
    return explain_hold(status);
}

/* The short way is that of what the thread acquired last of all, without a lease: whose
 * outermost hold has 0 for a level. */
stile_status stile_rlock_release(stile_rlock *rlock, const stile_hold *hold)
{
    struct counts *counts = *os_kept();
    struct stile_rlock_count *count;

    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (hold == NULL)
        return stile__null_argument("hold");
    count = counts == NULL ? NULL : counts->held;
    if (count == NULL || hold->id[0] != count->top || hold->fence != count->fence ||
        hold->object != count->object || hold->slot != 0 || count->serial != rlock->serial ||
        !is_sure(rlock->state, count))
        return release_level(rlock->lock, rlock->state, hold);
#if STILE_BUG == 8
    return release_level(rlock->lock, rlock->state, hold);
#endif
    if (count->top == 0) {
        counts->held = count->next;
        push(&counts->idle, count);
        if (lock_free_word(rlock->lock, hold))
            return STILE_OK;
        return explain_hold(rlock->lock->ops->release(rlock->lock, hold));
    }
    count->top = hold->id[1];
    count->depth--;
    return STILE_OK;
}

/* ---- for futures --------------------------------------------------------------------------- */

bool stile__rlock_holds(struct stile_rlock_state *state, uint64_t owner)
{
    return find_count(state, owner) != NULL;
}

stile_status stile__rlock_deeper(stile_rlock *rlock, uint64_t owner, stile_hold *hold)
{
    return go_deeper(rlock, find_count(rlock->state, owner), hold);
}

stile_status stile__rlock_provide(struct stile_rlock_count **fresh)
{
    *fresh = calloc(1, sizeof **fresh);
    return *fresh == NULL ? no_memory() : STILE_OK;
}

void stile__rlock_begin(struct stile_rlock_state *state, uint64_t owner,
                        struct stile_rlock_count *fresh, const stile_hold *outer)
{
    begin(state, owner, fresh, outer);
    stile__mutex_lock(&state->mutex);
    push(&state->numbered, fresh);
    stile__mutex_unlock(&state->mutex);
}

stile_status stile__rlock_release(stile_lock *lock, struct stile_rlock_state *state,
                                  const stile_hold *hold)
{
    return release_level(lock, state, hold);
}

/* ---- the rest is the lock's --------------------------------------------------------------- */

/* Whether count does not have this level any more. */
static bool is_past(const struct stile_rlock_count *count, const stile_hold *hold)
{
    return !is_outer(count, hold) && hold->id[0] > count->top;
}

/* The hold of the lock that hold is a level of.  STILE_NOT_HELD: it is over. */
static stile_status find_outer(stile_rlock *rlock, const stile_hold *hold, stile_hold *outer)
{
    const struct stile_rlock_count *count;

    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (hold == NULL)
        return stile__null_argument("hold");
    count = count_of_hold(rlock->state, hold);
    /* Another thread's: the lock knows the outermost hold. */
    if (count == NULL)
        *outer = *hold;
    else
        fill_outer(count, outer);
    return count != NULL && is_past(count, hold) ? explain_hold(STILE_NOT_HELD) : STILE_OK;
}

stile_status stile_rlock_extend(stile_rlock *rlock, const stile_hold *hold, int64_t add_ms)
{
    stile_hold outer;
    stile_status status = find_outer(rlock, hold, &outer);

    return status == STILE_OK ? stile_lock_extend(rlock->lock, &outer, add_ms) : status;
}

stile_status stile_rlock_check(stile_rlock *rlock, const stile_hold *hold, int64_t *valid_ms)
{
    stile_hold outer;
    stile_status status = find_outer(rlock, hold, &outer);

    return status == STILE_OK ? stile_lock_check(rlock->lock, &outer, valid_ms) : status;
}

stile_status stile_rlock_watch(stile_rlock *rlock, const stile_hold *hold,
                               stile_watch_callback *callback, void *argument, stile_watch **out)
{
    stile_hold outer;
    stile_status status = find_outer(rlock, hold, &outer);

    if (status != STILE_OK)
        return status;
    return stile_lock_watch(rlock->lock, &outer, callback, argument, out);
}

uint64_t stile_rlock_depth(stile_rlock *rlock, uint64_t owner)
{
    const struct stile_rlock_count *count = rlock == NULL ? NULL : find_count(rlock->state, owner);

    return count == NULL ? 0 : count->depth;
}

stile_status stile_rlock_inspect(stile_rlock *rlock, stile_lock_info *info)
{
    if (rlock == NULL)
        return stile__null_argument("rlock");
    return stile_lock_inspect(rlock->lock, info);
}

stile_status stile_rlock_force_release(stile_rlock *rlock)
{
    if (rlock == NULL)
        return stile__null_argument("rlock");
    /* Before it is: who goes deeper looks then whether it still counts. */
    os_add(&rlock->state->revocations, 1, memory_order_relaxed);
    return stile_lock_force_release(rlock->lock);
}
