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
#include "base/list.h"
#include "lock_ops.h"

/* How deep one owner holds one name. */
struct count {
    struct count *next; /* of the same thread or name; or idle */
    uint64_t serial;    /* of the state */
    uint64_t owner;     /* 0 for a thread */
    uint64_t depth;
    uint64_t top;  /* the number of the deepest level; 0: it is the outermost */
    uint64_t last; /* number given */
    /* What the state's was when it was acquired; another now: look whether the hold
     * still counts. */
    uint32_t revocations;
    stile_hold outer;
};

/* What a thread keeps: most recently acquired first. */
struct counts {
    struct count *held;
    struct count *idle;
};

struct rlock_state {
    struct stile_named named; /* first: what the table of names knows */
    uint64_t serial;
    struct stile_mutex mutex;
    struct counts counts; /* of owners that are numbers, under the mutex */
    /* Somebody holds it, without a lease, by a count that needs the serial: it has to
     * stay though nobody has a handle.  Written by who holds the lock. */
    _Atomic bool held;
    /* The same of holds with a lease, of which there can be two: the last owner's that
     * ended, and the next one's. */
    _Atomic uint32_t leased;
    /* How often it was taken away by force: a hold without a lease that was acquired
     * before may have been the one. */
    _Atomic uint32_t revocations;
};

struct stile_rlock {
    stile_lock *lock;
    struct rlock_state *state;
    uint64_t owner;
};

/* ---- states ------------------------------------------------------------------- */

struct stile_named *stile__rlock_make(void)
{
    static _Atomic uint64_t last;
    struct rlock_state *state = calloc(1, sizeof *state);

    if (state == NULL)
        return NULL;
    state->serial = os_add(&last, 1, memory_order_relaxed) + 1;
    stile__mutex_init(&state->mutex, STILE_RANK_OBJECT);
    atomic_init(&state->held, false);
    atomic_init(&state->leased, 0);
    atomic_init(&state->revocations, 0);
    return &state->named;
}

bool stile__rlock_busy(struct stile_named *named)
{
    struct rlock_state *state = (struct rlock_state *)(void *)named;

    return os_load(&state->held, memory_order_relaxed) ||
           os_load(&state->leased, memory_order_relaxed) > 0;
}

static void free_list(struct count *count)
{
    while (count != NULL) {
        struct count *next = count->next;

        free(count);
        count = next;
    }
}

static void free_counts(struct counts *counts)
{
    free_list(counts->held);
    free_list(counts->idle);
}

void stile__rlock_destroy(struct stile_named *named)
{
    struct rlock_state *state = (struct rlock_state *)(void *)named;

    free_counts(&state->counts);
    stile__mutex_fini(&state->mutex);
    free(state);
}

/* ---- counts ---------------------------------------------------------------------- */

static void free_kept(void *kept)
{
    free_counts(kept);
    free(kept);
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

static struct count *find(const struct counts *counts, uint64_t serial, uint64_t owner)
{
    struct count *count = counts->held;

    while (count != NULL && (count->serial != serial || count->owner != owner))
        count = count->next;
    return count;
}

/* The owner's count of this name, or NULL.  owner 0 is the calling thread. */
static struct count *find_count(struct rlock_state *state, uint64_t owner)
{
    struct counts *counts = *os_kept();
    struct count *count;

    if (owner == 0)
        return counts == NULL ? NULL : find(counts, state->serial, 0);
    stile__mutex_lock(&state->mutex);
    count = find(&state->counts, state->serial, owner);
    stile__mutex_unlock(&state->mutex);
    return count;
}

/* The counts among which the owner's is; for a number, the caller has the mutex. */
static struct counts *counts_of(struct rlock_state *state, uint64_t owner)
{
    return owner == 0 ? counts_of_thread() : &state->counts;
}

static void lock_counts(struct rlock_state *state, uint64_t owner)
{
    if (owner != 0)
        stile__mutex_lock(&state->mutex);
}

static void unlock_counts(struct rlock_state *state, uint64_t owner)
{
    if (owner != 0)
        stile__mutex_unlock(&state->mutex);
}

/* A count to note the hold in, taken before there is one: noting cannot fail. */
static struct count *take_idle(struct rlock_state *state, uint64_t owner)
{
    struct count *count = NULL;
    struct counts *counts;

    lock_counts(state, owner);
    counts = counts_of(state, owner);
    if (counts != NULL && counts->idle != NULL) {
        count = counts->idle;
        counts->idle = count->next;
    } else if (counts != NULL) {
        count = calloc(1, sizeof *count);
    }
    unlock_counts(state, owner);
    if (count == NULL)
        stile__fail(STILE_NO_MEMORY, "no memory to count how deep a lock is held");
    return count;
}

static void put_idle(struct rlock_state *state, uint64_t owner, struct count *count)
{
    struct counts *counts;

    lock_counts(state, owner);
    counts = counts_of(state, owner);
    count->next = counts->idle;
    counts->idle = count;
    unlock_counts(state, owner);
}

static void begin(struct rlock_state *state, uint64_t owner, struct count *count,
                  const stile_hold *outer)
{
    struct counts *counts;

    count->serial = state->serial;
    count->owner = owner;
    count->depth = 1;
    count->top = 0;
    count->last = 0;
    count->revocations = os_load(&state->revocations, memory_order_relaxed);
    count->outer = *outer;
    if (outer->slot == 0)
        os_store(&state->held, true, memory_order_relaxed);
    else
        os_add(&state->leased, 1, memory_order_relaxed);
    lock_counts(state, owner);
    counts = counts_of(state, owner);
    count->next = counts->held;
    counts->held = count;
    unlock_counts(state, owner);
}

static void end(struct rlock_state *state, struct count *count)
{
    uint64_t owner = count->owner;
    struct count **at;

    lock_counts(state, owner);
    at = &counts_of(state, owner)->held;
    while (*at != count)
        at = &(*at)->next;
    *at = count->next;
    unlock_counts(state, owner);
    put_idle(state, owner, count);
}

/* ---- levels -------------------------------------------------------------------------- */

static bool is_outer(const struct count *count, const stile_hold *hold)
{
    return hold->id[0] == count->outer.id[0] && hold->id[1] == count->outer.id[1];
}

/* Whether hold is a level of count. */
static bool matches(const struct count *count, const stile_hold *hold)
{
    return count->outer.fence == hold->fence && count->outer.slot == hold->slot &&
           count->outer.generation == hold->generation && count->outer.object == hold->object;
}

static struct count *find_hold(const struct counts *counts, uint64_t serial, const stile_hold *hold)
{
    struct count *count = counts->held;

    while (count != NULL && (count->serial != serial || !matches(count, hold)))
        count = count->next;
    return count;
}

/* The count that hold is a level of, if its owner is the calling thread or a number. */
static struct count *count_of_hold(struct rlock_state *state, const stile_hold *hold)
{
    const struct counts *kept = *os_kept();
    struct count *count = kept == NULL ? NULL : find_hold(kept, state->serial, hold);

    if (count != NULL)
        return count;
    stile__mutex_lock(&state->mutex);
    count = find_hold(&state->counts, state->serial, hold);
    stile__mutex_unlock(&state->mutex);
    return count;
}

/* Whether no level is over that the owner has not released itself. */
static stile_status still_held(stile_rlock *rlock, const struct count *count)
{
    int64_t valid_ms;
    stile_status status;

    if (count->outer.slot == 0 &&
        count->revocations == os_load(&rlock->state->revocations, memory_order_relaxed))
        return STILE_OK;
    status = rlock->lock->ops->check(rlock->lock, &count->outer, &valid_ms);
    return status == STILE_NOT_HELD ? STILE_LOST : status;
}

static stile_status go_deeper(stile_rlock *rlock, struct count *count, stile_hold *hold)
{
    stile_status status = still_held(rlock, count);

    if (status == STILE_LOST)
        return stile__fail(status, "the caller holds it already, and the lease had ended");
    if (status != STILE_OK)
        return status;
    if (count->depth == STILE_RLOCK_DEPTH_MAX)
        return stile__fail(STILE_OVERFLOW, "the lock is held %d deep already",
                           STILE_RLOCK_DEPTH_MAX);
    count->depth++;
    *hold = count->outer;
    hold->id[0] = ++count->last;
    hold->id[1] = count->top;
    count->top = count->last;
    return STILE_OK;
}

/* Where the release leaves no time to look who holds it then. */
static void forget(struct rlock_state *state, struct count *count)
{
    if (count->outer.slot != 0)
        os_sub(&state->leased, 1, memory_order_relaxed);
    else if (count->revocations == os_load(&state->revocations, memory_order_relaxed))
        os_store(&state->held, false, memory_order_relaxed);
    end(state, count);
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
    rlock->state = (struct rlock_state *)(void *)named;
    rlock->owner = options == NULL ? 0 : options->owner;
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
    stile_lock_close(rlock->lock);
    /* In a child of fork() another thread may have been in the table. */
    if (!stile__space_forked(space))
        stile__names_unref(&space->composed, &rlock->state->named);
    free(rlock);
    stile__space_unref(space);
}

/* ---- acquire and release --------------------------------------------------------------- */

/* options NULL: the handle's. */
static stile_status acquire(stile_rlock *rlock, int64_t timeout_ms,
                            const stile_rlock_options *options, stile_hold *hold)
{
    uint64_t owner = options == NULL ? rlock->owner : options->owner;
    struct count *count = find_count(rlock->state, owner);
    stile_status status;

    if (count != NULL) {
        status = timeout_ms < STILE_FOREVER ? stile__check_timeout(timeout_ms) : STILE_OK;
        return status == STILE_OK ? go_deeper(rlock, count, hold) : status;
    }
    count = take_idle(rlock->state, owner);
    if (count == NULL)
        return STILE_NO_MEMORY;
    status = stile_lock_acquire_with(rlock->lock, timeout_ms,
                                     options == NULL ? NULL : &options->lock, hold);
    if (status == STILE_OK)
        begin(rlock->state, owner, count, hold);
    else
        put_idle(rlock->state, owner, count);
    return status;
}

stile_status stile_rlock_acquire(stile_rlock *rlock, int64_t timeout_ms, stile_hold *hold)
{
    return stile_rlock_acquire_with(rlock, timeout_ms, NULL, hold);
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

stile_status stile_rlock_release(stile_rlock *rlock, const stile_hold *hold)
{
    struct count *count;
    stile_status status;

    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (hold == NULL)
        return stile__null_argument("hold");
    count = count_of_hold(rlock->state, hold);
    if (count == NULL || (count->top != 0 ? hold->id[0] != count->top || is_outer(count, hold)
                                          : !is_outer(count, hold)))
        return stile__fail(STILE_NOT_HELD,
                           "the hold is not the deepest level of an owner, or not the caller's");
    if (count->top == 0) {
        stile_hold outer = count->outer;

        forget(rlock->state, count);
        return stile_lock_release(rlock->lock, &outer);
    }
    status = still_held(rlock, count);
    count->top = hold->id[1];
    count->depth--;
    return explain_hold(status);
}

/* ---- the rest is the lock's --------------------------------------------------------------- */

/* Whether count does not have this level any more. */
static bool is_past(const struct count *count, const stile_hold *hold)
{
    return !is_outer(count, hold) && hold->id[0] > count->top;
}

/* The hold of the lock that hold is a level of.  STILE_NOT_HELD: it is over. */
static stile_status find_outer(stile_rlock *rlock, const stile_hold *hold, stile_hold *outer)
{
    const struct count *count;

    if (rlock == NULL)
        return stile__null_argument("rlock");
    if (hold == NULL)
        return stile__null_argument("hold");
    count = count_of_hold(rlock->state, hold);
    /* Another thread's: the lock knows the outermost hold. */
    *outer = count == NULL ? *hold : count->outer;
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

uint64_t stile_rlock_depth(stile_rlock *rlock, uint64_t owner)
{
    const struct count *count = rlock == NULL ? NULL : find_count(rlock->state, owner);

    return count == NULL ? 0 : count->depth;
}
