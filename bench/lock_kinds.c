#include "lock_loops.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include <stile/stile.h>

#ifdef BENCH_NSYNC
#include <nsync.h>
#endif
#ifdef BENCH_GLIB
#include <glib.h>
#endif
#ifdef BENCH_PARKING_LOT
#include "parking_lot.h"
#endif

/* ---- for all kinds ---------------------------------------------------------------- */

/* Two lines: processors fetch them in pairs. */
enum { APART = 128 };

void *lock_allocate(size_t size)
{
    void *lock = aligned_alloc(APART, (size + APART - 1) / APART * APART);

    if (lock != NULL)
        return memset(lock, 0, size);
    fprintf(stderr, "stile-bench: out of memory\n");
    return NULL;
}

void *lock_mutex_create(int type)
{
    pthread_mutex_t *mutex = lock_allocate(sizeof(pthread_mutex_t));
    pthread_mutexattr_t attributes;

    if (mutex == NULL)
        return NULL;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, type);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return mutex;
}

void lock_mutex_destroy(void *mutex)
{
    pthread_mutex_destroy(mutex);
    free(mutex);
}

/* ---- the section ------------------------------------------------------------------ */

__attribute__((noinline)) void lock_section_run(void *context)
{
    struct lock_section *section = context;
    uint64_t word = section->word;
    unsigned i;

    for (i = 0; i < section->steps; i++)
        word = word * 6364136223846793005u + 1442695040888963407u;
    section->word = word;
}

static bool run_sections(void *context, unsigned turns)
{
    while (turns-- > 0)
        lock_section_run(context);
    return true;
}

void lock_section_fit(struct lock_section *section, double ns)
{
    enum { MANY = 1000 };
    double many;

    *section = (struct lock_section){.steps = MANY};
    if (!bench_time(run_sections, section, MANY, &many) || many <= 0)
        many = MANY;
    section->steps = (unsigned)(ns * MANY / many + 0.5);
}

/* ---- stile ------------------------------------------------------------------------ */

void lock_own_destroy(void *context)
{
    struct lock_own *own = context;

    stile_rlock_close(own->rlock);
    stile_lock_close(own->lock);
    stile_close(own->space);
    free(own);
}

void *lock_own_create(void)
{
    struct lock_own *own = lock_allocate(sizeof *own);

    if (own == NULL)
        return NULL;
    if (stile_open("local:", NULL, &own->space) == STILE_OK &&
        stile_lock_open(own->space, "bench", NULL, &own->lock) == STILE_OK &&
        stile_rlock_open(own->space, "bench reentrant", NULL, &own->rlock) == STILE_OK)
        return own;
    fprintf(stderr, "stile-bench: local: %s\n", stile_error_detail());
    lock_own_destroy(own);
    return NULL;
}

static bool own_lock(void *own, stile_hold *hold)
{
    return stile_lock_acquire(((struct lock_own *)own)->lock, STILE_FOREVER, hold) == STILE_OK;
}

static bool own_unlock(void *own, stile_hold *hold)
{
    return stile_lock_release(((struct lock_own *)own)->lock, hold) == STILE_OK;
}
LOOPS_OF(own)

/* ---- POSIX and C11 ------------------------------------------------------------------ */

static void *posix_create(void)
{
    return lock_mutex_create(PTHREAD_MUTEX_NORMAL);
}

static void *adaptive_create(void)
{
    return lock_mutex_create(PTHREAD_MUTEX_ADAPTIVE_NP);
}

CHECKED_CALLS_OF(posix, pthread_mutex_lock, pthread_mutex_unlock, 0)
LOOPS_OF(posix)

static void *c11_create(void)
{
    mtx_t *mtx = lock_allocate(sizeof *mtx);

    if (mtx == NULL || mtx_init(mtx, mtx_plain) == thrd_success)
        return mtx;
    fprintf(stderr, "stile-bench: mtx_init failed\n");
    free(mtx);
    return NULL;
}

static void c11_destroy(void *mtx)
{
    mtx_destroy(mtx);
    free(mtx);
}

CHECKED_CALLS_OF(c11, mtx_lock, mtx_unlock, thrd_success)
LOOPS_OF(c11)

/* A volatile one, as its calls want it. */
static void *spin_create(void)
{
    pthread_spinlock_t *spin = lock_allocate(sizeof(pthread_spinlock_t));

    if (spin != NULL)
        pthread_spin_init(spin, PTHREAD_PROCESS_PRIVATE);
    return (void *)(uintptr_t)spin;
}

static void spin_destroy(void *spin)
{
    pthread_spin_destroy(spin);
    free(spin);
}

CHECKED_CALLS_OF(spin, pthread_spin_lock, pthread_spin_unlock, 0)
LOOPS_OF(spin)

/* ---- nsync --------------------------------------------------------------------------- */

#ifdef BENCH_NSYNC
static void *nsync_create(void)
{
    return lock_allocate(sizeof(nsync_mu));
}

CALLS_OF(nsync, nsync_mu_lock, nsync_mu_unlock)
LOOPS_OF(nsync)
#endif

/* ---- GLib ------------------------------------------------------------------------------ */

#ifdef BENCH_GLIB
static void *glib_create(void)
{
    GMutex *mutex = lock_allocate(sizeof *mutex);

    if (mutex != NULL)
        g_mutex_init(mutex);
    return mutex;
}

static void glib_destroy(void *mutex)
{
    g_mutex_clear(mutex);
    free(mutex);
}

CALLS_OF(glib, g_mutex_lock, g_mutex_unlock)
LOOPS_OF(glib)
#endif

/* ---- parking_lot ------------------------------------------------------------------------ */

#ifdef BENCH_PARKING_LOT
CALLS_OF(parked, bench_parking_lot_lock, bench_parking_lot_unlock)

static bool parked_pairs(void *lock, unsigned turns)
{
    bench_parking_lot_pairs(lock, turns);
    return true;
}

static bool parked_sections(void *lock, unsigned turns, struct lock_section *section)
{
    bench_parking_lot_sections(lock, turns, lock_section_run, section);
    return true;
}
#endif

/* ---- all of them ------------------------------------------------------------------------ */

const struct lock_kind lock_kinds[] = {
    {.name = "stile", .create = lock_own_create, .destroy = lock_own_destroy, LOCK_CALLS(own)},
    {.name = "pthread_mutex",
     .create = posix_create,
     .destroy = lock_mutex_destroy,
     LOCK_CALLS(posix)},
    {.name = "pthread_adaptive",
     .create = adaptive_create,
     .destroy = lock_mutex_destroy,
     LOCK_CALLS(posix)},
    {.name = "c11_mtx", .create = c11_create, .destroy = c11_destroy, LOCK_CALLS(c11)},
    {.name = "nsync",
#ifdef BENCH_NSYNC
     .create = nsync_create,
     .destroy = free,
     LOCK_CALLS(nsync)
#endif
    },
    {.name = "gmutex",
#ifdef BENCH_GLIB
     .create = glib_create,
     .destroy = glib_destroy,
     LOCK_CALLS(glib)
#endif
    },
    {.name = "parking_lot",
#ifdef BENCH_PARKING_LOT
     .create = bench_parking_lot_create,
     .destroy = bench_parking_lot_destroy,
     LOCK_CALLS(parked)
#endif
    },
    {.name = "pthread_spin",
     .spins = true,
     .create = spin_create,
     .destroy = spin_destroy,
     LOCK_CALLS(spin)},
    {.name = NULL}};
