/*
 * The lock on local: against the mutexes of the C library.
 */
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <unistd.h>

#include <stile/stile.h>

enum { PAIRS = 50000 };

/* ---- the contenders ------------------------------------------------------------- */

struct locks {
    stile *space;
    stile_lock *lock;
    pthread_mutex_t mutex;
    mtx_t mtx;
};

static bool locks_init(struct locks *locks)
{
    memset(locks, 0, sizeof *locks);
    if (stile_open("local:", NULL, &locks->space) != STILE_OK ||
        stile_lock_open(locks->space, "bench", NULL, &locks->lock) != STILE_OK) {
        fprintf(stderr, "stile-bench: local: %s\n", stile_error_detail());
        stile_close(locks->space);
        return false;
    }
    pthread_mutex_init(&locks->mutex, NULL);
    if (mtx_init(&locks->mtx, mtx_plain) == thrd_success)
        return true;
    fprintf(stderr, "stile-bench: mtx_init failed\n");
    stile_lock_close(locks->lock);
    stile_close(locks->space);
    return false;
}

static void locks_fini(struct locks *locks)
{
    stile_lock_close(locks->lock);
    stile_close(locks->space);
    mtx_destroy(&locks->mtx);
    pthread_mutex_destroy(&locks->mutex);
}

static bool stile_pair(struct locks *locks)
{
    stile_hold hold;

    return stile_lock_acquire(locks->lock, STILE_FOREVER, &hold) == STILE_OK &&
           stile_lock_release(locks->lock, &hold) == STILE_OK;
}

static bool pthread_pair(struct locks *locks)
{
    return pthread_mutex_lock(&locks->mutex) == 0 && pthread_mutex_unlock(&locks->mutex) == 0;
}

static bool mtx_pair(struct locks *locks)
{
    return mtx_lock(&locks->mtx) == thrd_success && mtx_unlock(&locks->mtx) == thrd_success;
}

/* ---- L1, L2: uncontended --------------------------------------------------------- */

static bool stile_pairs(void *context, unsigned turns)
{
    bool good = true;

    while (turns-- > 0)
        good &= stile_pair(context);
    return good;
}

static bool pthread_pairs(void *context, unsigned turns)
{
    bool good = true;

    while (turns-- > 0)
        good &= pthread_pair(context);
    return good;
}

static bool mtx_pairs(void *context, unsigned turns)
{
    bool good = true;

    while (turns-- > 0)
        good &= mtx_pair(context);
    return good;
}

static bool time_stile(void *context, double *values)
{
    return bench_time(stile_pairs, context, PAIRS, values);
}

static bool time_pthread(void *context, double *values)
{
    return bench_time(pthread_pairs, context, PAIRS, values);
}

static bool time_mtx(void *context, double *values)
{
    return bench_time(mtx_pairs, context, PAIRS, values);
}

/* Lives until the other end of the pipe is closed. */
static void *sit(void *context)
{
    int fd = *(int *)context;
    char byte;

    while (read(fd, &byte, 1) > 0)
        continue;
    return NULL;
}

static bool run_l1(const struct bench_options *options)
{
    struct locks locks;
    struct bench_match match = {.row = "L1",
                                .workload = "lock pair, uncontended, a second thread lives",
                                .placement = "pinned to one core",
                                .threads = 1,
                                .metric_count = 1,
                                .metrics = {{"time", "ns/pair", false}},
                                .contender_count = 3,
                                .contenders = {{"stile", time_stile, &locks, 0},
                                               {"pthread_mutex", time_pthread, &locks, 1.3},
                                               {"c11_mtx", time_mtx, &locks, 0}}};
    pthread_t second;
    int ends[2];
    bool good;

    if (!locks_init(&locks))
        return false;
    if (pipe(ends) != 0 || pthread_create(&second, NULL, sit, &ends[0]) != 0) {
        fprintf(stderr, "stile-bench: no second thread\n");
        locks_fini(&locks);
        return false;
    }
    good = bench_pin(0) && bench_match_run(options, &match);
    good &= bench_unpin();
    close(ends[1]);
    pthread_join(second, NULL);
    close(ends[0]);
    locks_fini(&locks);
    return good;
}

static bool run_l2(const struct bench_options *options)
{
    struct locks locks;
    struct bench_match match = {.row = "L2",
                                .workload = "lock pair, uncontended, no second thread ever",
                                .placement = "pinned to one core, each run in a new process",
                                .threads = 1,
                                .fresh = true,
                                .metric_count = 1,
                                .metrics = {{"time", "ns/pair", false}},
                                .contender_count = 2,
                                .contenders = {{"stile", time_stile, &locks, 0},
                                               {"pthread_mutex", time_pthread, &locks, 0}}};
    bool good;

    if (!locks_init(&locks))
        return false;
    good = bench_pin(0) && bench_match_run(options, &match);
    good &= bench_unpin();
    locks_fini(&locks);
    return good;
}

/* ---- L4: contended ---------------------------------------------------------------- */

enum { CROWD_MAX = 8 };

struct crowd {
    struct locks *locks;
    bool (*pair)(struct locks *locks);
    unsigned count;
    unsigned run_ms;
    pthread_barrier_t barrier;
    _Atomic bool stop;
};

struct member {
    struct crowd *crowd;
    unsigned index;
    bool good;
    _Alignas(64) uint64_t pairs;
};

static void *take_part(void *context)
{
    struct member *member = context;
    struct crowd *crowd = member->crowd;
    uint64_t pairs = 0;

    member->good = bench_pin(member->index);
    pthread_barrier_wait(&crowd->barrier);
    while (!atomic_load_explicit(&crowd->stop, memory_order_relaxed)) {
        member->good &= crowd->pair(crowd->locks);
        pairs++;
    }
    member->pairs = pairs;
    return NULL;
}

/* The members exist and stand at the barrier: lets them run for run_ms. */
static double let_run(struct crowd *crowd)
{
    double begin;

    pthread_barrier_wait(&crowd->barrier);
    begin = bench_now_ns();
    usleep(crowd->run_ms * 1000);
    atomic_store_explicit(&crowd->stop, true, memory_order_relaxed);
    return bench_now_ns() - begin;
}

static bool run_crowd(struct crowd *crowd, double *values)
{
    struct member members[CROWD_MAX] = {{.crowd = crowd}};
    pthread_t threads[CROWD_MAX];
    uint64_t sum = 0, least = UINT64_MAX, most = 0;
    bool good = true;
    double ns;
    unsigned i;

    atomic_store_explicit(&crowd->stop, false, memory_order_relaxed);
    pthread_barrier_init(&crowd->barrier, NULL, crowd->count + 1);
    for (i = 0; i < crowd->count; i++) {
        members[i] = (struct member){.crowd = crowd, .index = i};
        if (pthread_create(&threads[i], NULL, take_part, &members[i]) != 0) {
            /* Those at the barrier cannot be sent home. */
            fprintf(stderr, "stile-bench: no thread\n");
            exit(1);
        }
    }
    ns = let_run(crowd);
    for (i = 0; i < crowd->count; i++) {
        pthread_join(threads[i], NULL);
        good &= members[i].good;
        sum += members[i].pairs;
        least = members[i].pairs < least ? members[i].pairs : least;
        most = members[i].pairs > most ? members[i].pairs : most;
    }
    pthread_barrier_destroy(&crowd->barrier);
    values[0] = (double)sum * 1e3 / ns;
    values[1] = (double)most / (double)(least > 0 ? least : 1);
    return good;
}

static bool crowd_stile(void *context, double *values)
{
    struct crowd *crowd = context;

    crowd->pair = stile_pair;
    return run_crowd(crowd, values);
}

static bool crowd_pthread(void *context, double *values)
{
    struct crowd *crowd = context;

    crowd->pair = pthread_pair;
    return run_crowd(crowd, values);
}

static bool run_l4(const struct bench_options *options)
{
    /* The count is in the name, too: ratios have no other place for it. */
    static const struct {
        unsigned count;
        const char *workload;
    } crowds[] = {{2, "lock pair, empty section, 2 threads contend"},
                  {4, "lock pair, empty section, 4 threads contend"},
                  {8, "lock pair, empty section, 8 threads contend"}};
    struct locks locks;
    bool good = true;
    size_t i;

    if (!locks_init(&locks))
        return false;
    for (i = 0; i < sizeof crowds / sizeof crowds[0] && good; i++) {
        struct crowd crowd = {
            .locks = &locks, .count = crowds[i].count, .run_ms = options->quick ? 100 : 200};
        struct bench_match match = {
            .row = "L4",
            .workload = crowds[i].workload,
            .placement = "thread i pinned to core i % cores",
            .threads = crowds[i].count,
            .metric_count = 2,
            .metrics = {{"rate", "Mpairs/s", true}, {"max/min over threads", "ratio", false}},
            .contender_count = 2,
            .contenders = {{"stile", crowd_stile, &crowd, 0},
                           {"pthread_mutex", crowd_pthread, &crowd, 0}}};

        good = bench_match_run(options, &match);
    }
    locks_fini(&locks);
    return good;
}

const struct bench_row bench_lock_rows[] = {
    {"L1", "lock", "lock and unlock, uncontended, in a process with a second thread", run_l1},
    {"L2", "lock", "the same in a process that never had a second thread", run_l2},
    {"L4", "lock", "2, 4 and 8 threads contend for the lock, empty section", run_l4},
    {NULL, NULL, NULL, NULL}};
