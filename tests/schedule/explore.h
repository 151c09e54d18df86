/*
 * Exploring schedules: a scenario is run again and again, each time in another
 * order of its fibres, until one fails or the budget is used up.
 *
 * Everything follows from a seed.  A failure comes with one line that says which
 * schedule it was; explore_replay() and the variable STILE_SCHEDULE run it again.
 */
#ifndef STILE_SCHEDULE_EXPLORE_H
#define STILE_SCHEDULE_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCENARIO_FIBRES_MAX = 8 };

struct scenario {
    const char *name;
    /* Bytes of state, zeroed before every schedule. */
    size_t size;
    /* Before the fibres start, and after all have ended; either may be NULL.
     * What setup allocates, check frees. */
    void (*setup)(void *state);
    void (*run[SCENARIO_FIBRES_MAX])(void *state); /* ended by NULL */
    void (*check)(void *state);
    /* The clock moves by itself when nobody can run.  With this it moves by up to
     * so much at every point, too; how much of it, each schedule draws. */
    int64_t step_ns;
    /* Parkers wake now and then for no reason. */
    bool stray;
    /* After so many points a schedule counts as endless; 0: 20000. */
    uint64_t limit;
};

struct explore_report {
    const char *scenario;
    uint64_t schedules;
    uint64_t distinct; /* by the sequence of choices */
    uint64_t points;
    uint64_t choices; /* points where more than one fibre could run */
    bool complete;    /* exhaustive: there are no others within the bound */
    bool failed;
    char schedule[4096]; /* the one that failed, for explore_replay() */
    char text[512];
    double seconds;
};

/* A random walk: at every point each fibre that can run is as likely. */
void explore_random(const struct scenario *scenario, uint64_t schedules, uint64_t seed,
                    struct explore_report *report);

/*
 * Probabilistic concurrency testing (Burckhardt et al., 2010): the fibre of the
 * highest priority runs; priorities are random, and depth - 1 times, at random
 * points, the running fibre's becomes the lowest.  Finds a bug that depth
 * ordered steps make, among n fibres of k steps, with a probability of at least
 * 1 / (n * k^(depth - 1)) per schedule.
 */
void explore_pct(const struct scenario *scenario, unsigned depth, uint64_t schedules, uint64_t seed,
                 struct explore_report *report);

/* Every schedule in which at most so many times a fibre gives way, or a sleeper
 * wakes by the clock, though the one that runs could go on; at most so many
 * schedules. */
void explore_exhaustive(const struct scenario *scenario, unsigned preemptions, uint64_t schedules,
                        struct explore_report *report);

/* False: the line is not one of a report. */
bool explore_replay(const struct scenario *scenario, const char *schedule,
                    struct explore_report *report);

/*
 * What tests do with a scenario: run it, print a line on stdout for each way of
 * exploring, and the schedule that failed.  False if one did; report is of that
 * part.
 *
 * explore() spends half of its schedules on a random walk, half on PCT of depth
 * 3.  explore_every() is exhaustive, and false as well if schedules do not
 * suffice.
 *
 * The environment: STILE_SOAK=N is another budget for explore(), STILE_SEED=N
 * another seed than 1; STILE_SCHEDULE=LINE, as printed, runs that schedule of
 * that scenario and nothing else.
 */
bool explore(const struct scenario *scenario, uint64_t schedules, struct explore_report *report);
bool explore_every(const struct scenario *scenario, unsigned preemptions, uint64_t schedules,
                   struct explore_report *report);

/* For tests of a seeded bug: whether exploring one of several scenarios finds it, and
 * the schedule that did fails again in the same way. */
bool explore_finds(const struct scenario *const *scenarios, size_t count, uint64_t schedules);

void explore_print(const char *what, const struct explore_report *report);

/* Within a scenario. */

/* Ends the schedule as failed. */
_Noreturn void explore_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define EXPLORE_ASSERT(condition)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            explore_fail("%s, line %d: not so: %s", __func__, __LINE__, #condition);               \
    } while (0)

/* Which fibre runs: 0 for run[0]. */
unsigned explore_fibre(void);
/* Another fibre may go on here. */
void explore_point(void);
/* Time of the schedule. */
int64_t explore_now_ns(void);
void explore_sleep_ns(int64_t ns);

#endif
