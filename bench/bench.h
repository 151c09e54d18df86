/*
 * What the files of stile-bench share.
 *
 * A row is one line of what is to be measured, such as L1.  It stages matches:
 * contenders that do the same work, stile first, taking turns run by run, so that
 * whatever else happens on the machine happens to all of them.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { BENCH_RUNS_MIN = 7, BENCH_RUNS_MAX = 999, BENCH_CONTENDERS_MAX = 12, BENCH_METRICS_MAX = 4 };

struct bench_options {
    bool quick;
    bool unix_socket; /* to the server; else TCP on the loopback interface */
    bool single;      /* one run only, its values on stdout: see fresh below */
    unsigned runs;
    FILE *json; /* NULL: none */
};

struct bench_row {
    const char *name;
    const char *group;
    const char *text;
    bool (*run)(const struct bench_options *options);
};

/* Each ends with a row without a name. */
extern const struct bench_row bench_lock_rows[];
extern const struct bench_row bench_lock_handoff_rows[];
extern const struct bench_row bench_redis_lock_rows[];
extern const struct bench_row bench_redis_crowd_rows[];
extern const struct bench_row bench_redis_handoff_rows[];

/* ---- matches (match.c) --------------------------------------------------------- */

struct bench_metric {
    const char *name;
    const char *unit;
    bool higher_is_better;
};

struct bench_contender {
    const char *name;
    /* One run: writes a value for each metric.  False, and a line on stderr, when it
     * could not be measured; a peer of which fewer than BENCH_RUNS_MIN runs succeed has
     * no ratio.  NULL: this peer is not installed. */
    bool (*run)(void *context, double *values);
    void *context;
    /* What the ratio stile / this one has to reach, by the first metric; 0: the
     * project asks for nothing. */
    double goal;
};

struct bench_match {
    const char *row;
    const char *workload;
    const char *placement; /* of all threads and processes that take part */
    unsigned threads;
    /* Every run is in a process of its own, which runs this row with --single. */
    bool fresh;
    size_t metric_count;
    struct bench_metric metrics[BENCH_METRICS_MAX];
    size_t contender_count;
    struct bench_contender contenders[BENCH_CONTENDERS_MAX]; /* stile is the first */
    /* How many that follow stile are its rivals: the ratio to the best of them is
     * reported, too, if all are there.  Those behind are shown for scale. */
    size_t rival_count;
    double rival_goal; /* what that ratio has to reach; 0: nothing */
    /* What stile's own median of a metric may be at most; 0: anything. */
    double limits[BENCH_METRICS_MAX];
};

/* Runs and reports it.  False, and a line on stderr, unless everybody who is installed
 * could be measured. */
bool bench_match_run(const struct bench_options *options, const struct bench_match *match);

/*
 * Nanoseconds for one turn of work(context, turns).  The median of several slices,
 * so that one in which the scheduler gave the core to somebody else does not count.
 * False if work said so.
 */
bool bench_time(bool (*work)(void *context, unsigned turns), void *context, unsigned turns,
                double *ns);

/* The monotonic clock in nanoseconds. */
double bench_now_ns(void);

/* ---- numbers and what is said of them (stats.c) --------------------------------- */

/* Sorts the values. */
double bench_median(double *values, size_t count);

/* How many digits behind the point say something. */
int bench_decimals(double value);

struct bench_series {
    size_t count;
    double median; /* of all, once they are reported */
    double values[BENCH_RUNS_MAX];
};

/* Prints a match whose runs are over, and its lines of JSON.  series has
 * metric_count of them for each contender.  False: some peer could not be measured. */
bool bench_report(const struct bench_options *options, const struct bench_match *match,
                  struct bench_series *series);

/* ---- placement (place.c) ---------------------------------------------------------- */

/* Notes which cores the process may use; before any other of these. */
bool bench_place_init(void);
unsigned bench_cpus(void);
/* Ties the calling thread, and what it starts from now on, to core i of those,
 * counted round; or lets it go everywhere again. */
bool bench_pin(unsigned i);
bool bench_unpin(void);

#endif
