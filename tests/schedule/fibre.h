/*
 * The scheduler: one program, run once, on fibres of this thread.
 *
 * A fibre gives way only at a point: before every os_* operation on an atomic,
 * at a mutex, at a parker, at a clock.  There a plan chooses who goes on, so the
 * run is a function of the plan's choices and of the seed.  Memory is
 * sequentially consistent: what a weaker order allows is not seen here.
 */
#ifndef STILE_SCHEDULE_FIBRE_H
#define STILE_SCHEDULE_FIBRE_H

#include <stdbool.h>
#include <stdint.h>

struct stile_fibre;

enum { FIBRES_MAX = 64 };

/* Who can run.  Ids count from 0 in the order of creation. */
struct fibre_choice {
    unsigned id[FIBRES_MAX + 1]; /* first the one that runs, if it can go on; the others rising */
    unsigned count;              /* at least 2 */
    unsigned running;
    bool can_stay; /* id[0] is the one that runs */
    bool yields;   /* the one that runs spins: it waits for somebody else */
};

struct fibre_plan {
    /* What is run, as fibre 0; every other fibre must have ended when it returns. */
    void (*run)(void *arg);
    void *arg;
    /* Returns an index into choice->id. */
    unsigned (*choose)(void *chooser, const struct fibre_choice *choice);
    void *chooser;
    uint64_t seed;   /* of time, stray wake-ups and entropy */
    int64_t step_ns; /* time moves by 0 to this at every point */
    bool stray;      /* parkers wake now and then for no reason */
    unsigned cpus;   /* what stile__cpus() says */
    bool early;      /* the next sleeper may be chosen before its time: the clock jumps */
    uint64_t limit;  /* points after which the run counts as endless */
};

struct fibre_result {
    uint64_t points;
    uint64_t choices; /* points where more than one could run */
    uint64_t hash;    /* of what was chosen */
    bool failed;
    char text[512]; /* what failed */
};

/* One at a time, and not within a fibre.  A run that failed is abandoned where
 * it stands: its stacks are kept, so that what it had allocated stays reachable. */
void fibre_run(const struct fibre_plan *plan, struct fibre_result *result);

/* Within a run: ends it. */
_Noreturn void fibre_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Starts fibres, without a point; waits until these have ended. */
struct stile_fibre *fibre_start(const char *name, void (*run)(void *arg), void *arg);
void fibre_join(struct stile_fibre *const *fibres, unsigned count);
/* The id of the fibre that runs. */
unsigned fibre_self(void);
/* Sleeps, in the time of the run. */
void fibre_sleep(int64_t ns);

/* A stream of numbers from a seed: what makes a run repeatable. */
uint64_t fibre_draw(uint64_t *state);

#endif
