/*
 * The lock on local:, alone and in a crowd, against the mutexes of others.
 */
#include "lock_stage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAIRS = 50000 };

/* ---- L1, L2: uncontended --------------------------------------------------------- */

static bool time_pairs(void *context, double *values)
{
    struct lock_contender *contender = context;

    return bench_time(contender->kind->pairs, contender->lock, PAIRS, values);
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

/* Runs a match, pinned, while there is a second thread, which does nothing. */
static bool run_beside_another(const struct bench_options *options, const struct bench_match *match)
{
    pthread_t second;
    int ends[2];
    bool good;

    if (pipe(ends) != 0 || pthread_create(&second, NULL, sit, &ends[0]) != 0) {
        fprintf(stderr, "stile-bench: no second thread\n");
        return false;
    }
    good = bench_pin(0) && bench_match_run(options, match);
    good &= bench_unpin();
    close(ends[1]);
    pthread_join(second, NULL);
    close(ends[0]);
    return good;
}

static bool run_l1(const struct bench_options *options)
{
    struct lock_stage stage;
    struct bench_match match = {.row = "L1",
                                .workload = "lock pair, uncontended, a second thread lives",
                                .placement = "pinned to one core",
                                .threads = 1,
                                .metric_count = 1,
                                .metrics = {{"time", "ns/pair", false}}};
    bool good;

    if (!lock_stage_init(&stage, lock_kinds))
        return false;
    lock_stage_cast(&stage, &match, time_pairs, NULL, 1.2);
    good = run_beside_another(options, &match);
    lock_stage_fini(&stage);
    return good;
}

static bool run_l2(const struct bench_options *options)
{
    struct lock_stage stage;
    struct bench_match match = {.row = "L2",
                                .workload = "lock pair, uncontended, no second thread ever",
                                .placement = "pinned to one core, each run in a new process",
                                .threads = 1,
                                .fresh = true,
                                .metric_count = 1,
                                .metrics = {{"time", "ns/pair", false}}};
    bool good;

    if (!lock_stage_init(&stage, lock_kinds))
        return false;
    lock_stage_cast(&stage, &match, time_pairs, NULL, 2.0);
    good = bench_pin(0) && bench_match_run(options, &match);
    good &= bench_unpin();
    lock_stage_fini(&stage);
    return good;
}

/* ---- L3: reentrant ------------------------------------------------------------------ */

enum { DEPTH = 3 };

static bool time_nested(void *context, double *values)
{
    struct lock_contender *contender = context;
    bool good = bench_time(contender->kind->nested, contender->lock, PAIRS / DEPTH, values);

    values[0] /= DEPTH;
    return good;
}

static bool run_l3(const struct bench_options *options)
{
    static const struct {
        const char *workload;
        bool (*run)(void *context, double *values);
        double goal;
    } parts[] = {{"reentrant lock pair, outermost", time_pairs, 1.1},
                 {"reentrant lock pair, nested 3 deep", time_nested, 1.2}};
    struct lock_stage stage;
    bool good = true;
    size_t i;

    if (!lock_stage_init(&stage, lock_reentrant_kinds))
        return false;
    for (i = 0; i < sizeof parts / sizeof parts[0] && good; i++) {
        struct bench_match match = {.row = "L3",
                                    .workload = parts[i].workload,
                                    .placement = "pinned to one core",
                                    .threads = 1,
                                    .metric_count = 1,
                                    .metrics = {{"time", "ns/pair", false}},
                                    .rival_goal = parts[i].goal};

        lock_stage_cast(&stage, &match, parts[i].run, NULL, 0);
        good = run_beside_another(options, &match);
    }
    lock_stage_fini(&stage);
    return good;
}

/* ---- L4, L5: contended ------------------------------------------------------------ */

/* A member of a crowd looks up whether it is over after so many pairs. */
enum { CROWD_MAX = 8, BATCH = 16 };

struct crowd {
    unsigned count;
    unsigned run_ms;
    struct lock_section *section; /* NULL: nothing is done under the lock */
    struct lock_contender *contender;
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
    const struct lock_kind *kind = crowd->contender->kind;
    void *lock = crowd->contender->lock;
    uint64_t pairs = 0;
    bool good = bench_pin(member->index);

    pthread_barrier_wait(&crowd->barrier);
    while (!atomic_load_explicit(&crowd->stop, memory_order_relaxed)) {
        good &= crowd->section == NULL ? kind->pairs(lock, BATCH)
                                       : kind->sections(lock, BATCH, crowd->section);
        pairs += BATCH;
    }
    member->pairs = pairs;
    member->good = good;
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

static bool run_crowd(void *context, double *values)
{
    struct lock_contender *contender = context;
    struct crowd *crowd = contender->work;
    struct member members[CROWD_MAX] = {{.crowd = crowd}};
    pthread_t threads[CROWD_MAX];
    uint64_t sum = 0, least = UINT64_MAX, most = 0;
    bool good = true;
    double ns;
    unsigned i;

    crowd->contender = contender;
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

/* The same crowd in three sizes.  The size is in the workload, too: ratios have no
 * other place for it. */
static bool run_crowds(const struct bench_options *options, const char *row, const char *what,
                       struct lock_section *section)
{
    static const unsigned sizes[] = {2, 4, 8};
    struct lock_stage stage;
    bool good = true;
    size_t i;

    if (!lock_stage_init(&stage, lock_kinds))
        return false;
    for (i = 0; i < sizeof sizes / sizeof sizes[0] && good; i++) {
        struct crowd crowd = {
            .count = sizes[i], .section = section, .run_ms = options->quick ? 30 : 200};
        char workload[80];
        struct bench_match match = {
            .row = row,
            .workload = workload,
            .placement = "thread i pinned to core i % cores",
            .threads = sizes[i],
            .metric_count = 2,
            .metrics = {{"rate", "Mpairs/s", true}, {"max/min over threads", "ratio", false}},
            .rival_goal = 0.9,
            /* In a short run not every thread has had its turns on its core. */
            .limits = {0, options->quick ? 0 : 2}};

        snprintf(workload, sizeof workload, "lock pair, %s, %u threads contend", what, sizes[i]);
        lock_stage_cast(&stage, &match, run_crowd, &crowd, 0);
        good = bench_match_run(options, &match);
    }
    lock_stage_fini(&stage);
    return good;
}

static bool run_l4(const struct bench_options *options)
{
    return run_crowds(options, "L4", "empty section", NULL);
}

static bool run_l5(const struct bench_options *options)
{
    struct lock_section section;

    lock_section_fit(&section, 60);
    return run_crowds(options, "L5", "section of 60 ns", &section);
}

const struct bench_row bench_lock_rows[] = {
    {"L1", "lock", "lock and unlock, uncontended, in a process with a second thread", run_l1},
    {"L2", "lock", "the same in a process that never had a second thread", run_l2},
    {"L3", "lock", "a reentrant lock, outermost and nested 3 deep", run_l3},
    {"L4", "lock", "2, 4 and 8 threads contend for the lock, empty section", run_l4},
    {"L5", "lock", "the same with a section of 60 ns", run_l5},
    {NULL, NULL, NULL, NULL}};
