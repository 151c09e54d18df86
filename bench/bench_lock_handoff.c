/*
 * How long it takes from the unlock until the thread that waits for the lock has it.
 */
#include "lock_stage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SAMPLES_MAX = 2000 };

/* The lock goes from the thread that runs the match, on core 0, to the taker, on
 * core 1, once per turn; turns count from 1.  Between turns both spin. */
struct handoff {
    double held_ns;
    unsigned samples;
    struct lock_contender *contender;
    /* Turn in which the giver has the lock, the taker is about to ask for it, and
     * has had it.  What the other side reads after is released with them. */
    _Alignas(64) _Atomic unsigned held;
    _Alignas(64) _Atomic unsigned asked;
    _Alignas(64) _Atomic unsigned over;
    bool good;       /* the taker's */
    double taken_ns; /* when the taker had it in this turn */
    double latencies_us[SAMPLES_MAX];
};

static void await(_Atomic unsigned *turn, unsigned wanted)
{
    while (atomic_load_explicit(turn, memory_order_acquire) != wanted)
        continue;
}

static void *take(void *context)
{
    struct handoff *handoff = context;
    const struct lock_kind *kind = handoff->contender->kind;
    void *lock = handoff->contender->lock;
    unsigned turn;

    handoff->good = bench_pin(1);
    for (turn = 1; turn <= handoff->samples; turn++) {
        stile_hold hold;

        await(&handoff->held, turn);
        atomic_store_explicit(&handoff->asked, turn, memory_order_release);
        if (kind->lock(lock, &hold)) {
            handoff->taken_ns = bench_now_ns();
            handoff->good &= kind->unlock(lock, &hold);
        } else {
            handoff->good = false;
        }
        atomic_store_explicit(&handoff->over, turn, memory_order_release);
    }
    return NULL;
}

/* One turn of the giver. */
static bool give(struct handoff *handoff, unsigned turn)
{
    const struct lock_kind *kind = handoff->contender->kind;
    void *lock = handoff->contender->lock;
    stile_hold hold;
    double begin, now;
    bool good = kind->lock(lock, &hold);

    atomic_store_explicit(&handoff->held, turn, memory_order_release);
    await(&handoff->asked, turn);
    begin = bench_now_ns();
    do {
        now = bench_now_ns();
    } while (now - begin < handoff->held_ns);
    good = good && kind->unlock(lock, &hold);
    await(&handoff->over, turn);
    handoff->latencies_us[turn - 1] = (handoff->taken_ns - now) / 1000;
    return good;
}

static bool run_handoff(void *context, double *values)
{
    struct lock_contender *contender = context;
    struct handoff *handoff = contender->work;
    unsigned turn;
    pthread_t taker;
    bool good = true;

    handoff->contender = contender;
    atomic_store(&handoff->held, 0);
    atomic_store(&handoff->asked, 0);
    atomic_store(&handoff->over, 0);
    if (!bench_pin(0) || pthread_create(&taker, NULL, take, handoff) != 0)
        return false;
    for (turn = 1; turn <= handoff->samples; turn++)
        good &= give(handoff, turn);
    pthread_join(taker, NULL);
    values[0] = bench_median(handoff->latencies_us, handoff->samples);
    /* They are sorted now. */
    values[1] = handoff->latencies_us[handoff->samples * 99 / 100];
    return bench_unpin() && good && handoff->good;
}

/* Every goal may be 0: none. */
struct plan {
    const char *row;
    const char *workload;
    double held_ns;
    unsigned samples;
    double mutex_goal;
    double rival_goal;
};

static bool run_staged(const struct bench_options *options, const struct plan *plan,
                       struct handoff *handoff)
{
    struct lock_stage stage;
    struct bench_match match = {.row = plan->row,
                                .workload = plan->workload,
                                .placement = "who unlocks on core 0, who waits on core 1",
                                .threads = 2,
                                .metric_count = 2,
                                .metrics = {{"p50 from unlock to lock", "us", false},
                                            {"p99 from unlock to lock", "us", false}},
                                .rival_goal = plan->rival_goal};
    bool good;

    if (!lock_stage_init(&stage, lock_kinds))
        return false;
    handoff->held_ns = plan->held_ns;
    handoff->samples = options->quick ? plan->samples / 4 : plan->samples;
    lock_stage_cast(&stage, &match, run_handoff, handoff, plan->mutex_goal);
    good = bench_match_run(options, &match);
    lock_stage_fini(&stage);
    return good;
}

static bool run_plan(const struct bench_options *options, const struct plan *plan)
{
    struct handoff *handoff;
    bool good;

    if (bench_cpus() < 2) {
        printf("%s  %s: takes two cores: not measured\n\n", plan->row, plan->workload);
        return true;
    }
    handoff = aligned_alloc(_Alignof(struct handoff), sizeof *handoff);
    if (handoff == NULL) {
        fprintf(stderr, "stile-bench: out of memory\n");
        return false;
    }
    good = run_staged(options, plan, handoff);
    free(handoff);
    return good;
}

static bool run_l6(const struct bench_options *options)
{
    static const struct plan one = {
        "L6", "hand-off, lock held 1 us, waiter there", 1e3, SAMPLES_MAX, 0, 0};
    static const struct plan five = {
        "L6", "hand-off, lock held 5 us, waiter there", 5e3, SAMPLES_MAX, 0, 0.2};

    return run_plan(options, &one) && run_plan(options, &five);
}

static bool run_l7(const struct bench_options *options)
{
    static const struct plan hundred = {
        "L7", "hand-off, lock held 100 us, waiter asleep", 100e3, SAMPLES_MAX / 4, 1.1, 0};

    return run_plan(options, &hundred);
}

const struct bench_row bench_lock_handoff_rows[] = {
    {"L6", "lock", "hand-off to a waiter of a lock held for 1 us and for 5 us", run_l6},
    {"L7", "lock", "hand-off to a waiter of a lock held for 100 us", run_l7},
    {NULL, NULL, NULL, NULL}};
