#include "lock_loops.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <stile/stile.h>

#ifdef BENCH_GLIB
#include <glib.h>
#endif
#ifdef BENCH_PARKING_LOT
#include "parking_lot.h"
#endif

/* ---- stile ------------------------------------------------------------------------ */

static bool own_lock(void *own, stile_hold *hold)
{
    return stile_rlock_acquire(((struct lock_own *)own)->rlock, STILE_FOREVER, hold) == STILE_OK;
}

static bool own_unlock(void *own, stile_hold *hold)
{
    return stile_rlock_release(((struct lock_own *)own)->rlock, hold) == STILE_OK;
}
REENTRANT_LOOPS_OF(own)

/* ---- POSIX -------------------------------------------------------------------------- */

static void *posix_create(void)
{
    return lock_mutex_create(PTHREAD_MUTEX_RECURSIVE);
}

CHECKED_CALLS_OF(posix, pthread_mutex_lock, pthread_mutex_unlock, 0)
REENTRANT_LOOPS_OF(posix)

/* ---- GLib ------------------------------------------------------------------------------ */

#ifdef BENCH_GLIB
static void *glib_create(void)
{
    GRecMutex *mutex = lock_allocate(sizeof *mutex);

    if (mutex != NULL)
        g_rec_mutex_init(mutex);
    return mutex;
}

static void glib_destroy(void *mutex)
{
    g_rec_mutex_clear(mutex);
    free(mutex);
}

CALLS_OF(glib, g_rec_mutex_lock, g_rec_mutex_unlock)
REENTRANT_LOOPS_OF(glib)
#endif

/* ---- parking_lot ------------------------------------------------------------------------ */

#ifdef BENCH_PARKING_LOT
static bool parked_pairs(void *lock, unsigned turns)
{
    bench_reentrant_pairs(lock, turns);
    return true;
}

static bool parked_nested(void *lock, unsigned turns)
{
    bench_reentrant_nested(lock, turns);
    return true;
}
#endif

/* ---- what two compare-and-swaps take ------------------------------------------------------
 * The least that can be done by a library whose release has to see whose hold it ends:
 * one compare-and-swap each way, behind a call each.  It excludes nobody well and waits
 * for nothing: shown for scale. */

struct bare {
    _Atomic uint64_t word;
    uint64_t expected;
    uint64_t depth;
};

static void *bare_create(void)
{
    return lock_allocate(sizeof(struct bare));
}

__attribute__((noinline)) static bool bare_take(struct bare *bare)
{
    uint64_t seen = bare->expected;

    if (bare->depth++ > 0)
        return true;
    return atomic_compare_exchange_strong_explicit(&bare->word, &seen, seen + 3,
                                                   memory_order_acquire, memory_order_relaxed);
}

__attribute__((noinline)) static bool bare_give(struct bare *bare)
{
    uint64_t seen = bare->expected + 3;

    if (--bare->depth > 0)
        return true;
    bare->expected += 2;
    return atomic_compare_exchange_strong_explicit(&bare->word, &seen, bare->expected,
                                                   memory_order_release, memory_order_relaxed);
}

CHECKED_CALLS_OF(bare, bare_take, bare_give, true)
REENTRANT_LOOPS_OF(bare)

/* ---- all of them ------------------------------------------------------------------------ */

const struct lock_kind lock_reentrant_kinds[] = {
    {.name = "stile", .create = lock_own_create, .destroy = lock_own_destroy, REENTRANT_CALLS(own)},
    {.name = "pthread_recursive",
     .create = posix_create,
     .destroy = lock_mutex_destroy,
     REENTRANT_CALLS(posix)},
    {.name = "grecmutex",
#ifdef BENCH_GLIB
     .create = glib_create,
     .destroy = glib_destroy,
     REENTRANT_CALLS(glib)
#endif
    },
    {.name = "parking_lot",
#ifdef BENCH_PARKING_LOT
     .create = bench_reentrant_create,
     .destroy = bench_reentrant_destroy,
     REENTRANT_CALLS(parked)
#endif
    },
    {.name = "two_cas",
     .spins = true,
     .create = bare_create,
     .destroy = free,
     REENTRANT_CALLS(bare)},
    {.name = NULL}};
