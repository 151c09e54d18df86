#include "bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

double bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

bool bench_time(bool (*work)(void *context, unsigned turns), void *context, unsigned turns,
                double *ns)
{
    enum { SLICES = 15 };
    double slices[SLICES];
    size_t i;

    /* What the last contender left in the caches is not this one's fault. */
    if (!work(context, turns / 10 + 1))
        return false;
    for (i = 0; i < SLICES; i++) {
        double begin = bench_now_ns();

        if (!work(context, turns))
            return false;
        slices[i] = (bench_now_ns() - begin) / turns;
    }
    *ns = bench_median(slices, SLICES);
    return true;
}

/* One run of each, with a NAN for each value that there is none of.  The order moves on
 * with every run, so that nobody always follows the same other.  False: stile, without
 * which there is nothing to compare, could not be measured. */
static bool run_each(const struct bench_match *match, size_t run, double *values)
{
    size_t i, m;

    for (i = 0; i < match->contender_count; i++) {
        size_t c = (run + i) % match->contender_count;
        const struct bench_contender *contender = &match->contenders[c];
        double *own = &values[c * match->metric_count];

        if (contender->run != NULL && contender->run(contender->context, own))
            continue;
        for (m = 0; m < match->metric_count; m++)
            own[m] = NAN;
        if (contender->run != NULL)
            fprintf(stderr, "stile-bench: %s: %s failed in run %zu\n", match->row, contender->name,
                    run + 1);
        if (c == 0)
            return false;
    }
    return true;
}

/* Becomes a stile-bench that runs the row once and says the values. */
static _Noreturn void become_single(const struct bench_options *options,
                                    const struct bench_match *match, int out)
{
    if (dup2(out, STDOUT_FILENO) != -1)
        execl("/proc/self/exe", "stile-bench", "--single", match->row,
              options->quick ? "--quick" : (char *)NULL, (char *)NULL);
    fprintf(stderr, "stile-bench: a process of its own: %s\n", strerror(errno));
    _exit(1);
}

static bool run_fresh(const struct bench_options *options, const struct bench_match *match,
                      double *values)
{
    size_t i, count = match->contender_count * match->metric_count;
    int ends[2], status = -1;
    FILE *stream;
    pid_t pid;

    fflush(NULL);
    if (pipe(ends) != 0) {
        fprintf(stderr, "stile-bench: pipe: %s\n", strerror(errno));
        return false;
    }
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        become_single(options, match, ends[1]);
    }
    close(ends[1]);
    stream = fdopen(ends[0], "r");
    for (i = 0; stream != NULL && i < count; i++) {
        if (fscanf(stream, "%lf", &values[i]) != 1)
            break;
    }
    if (stream != NULL)
        fclose(stream);
    else
        close(ends[0]);
    while (pid > 0 && waitpid(pid, &status, 0) == -1 && errno == EINTR)
        continue;
    if (i == count && status == 0)
        return true;
    fprintf(stderr, "stile-bench: %s: a run in a process of its own failed\n", match->row);
    return false;
}

static bool run_single(const struct bench_match *match)
{
    double values[BENCH_CONTENDERS_MAX * BENCH_METRICS_MAX];
    size_t i;

    if (!run_each(match, 0, values))
        return false;
    for (i = 0; i < match->contender_count * match->metric_count; i++)
        printf("%.9g\n", values[i]);
    return true;
}

bool bench_match_run(const struct bench_options *options, const struct bench_match *match)
{
    size_t i, run, count = match->contender_count * match->metric_count;
    double values[BENCH_CONTENDERS_MAX * BENCH_METRICS_MAX];
    struct bench_series *series;
    bool going = true;

    if (options->single)
        return run_single(match);
    series = calloc(count, sizeof *series);
    if (series == NULL) {
        fprintf(stderr, "stile-bench: out of memory\n");
        return false;
    }
    for (run = 0; run < options->runs && going; run++) {
        going = match->fresh ? run_fresh(options, match, values) : run_each(match, run, values);
        for (i = 0; i < count && going; i++) {
            if (!isnan(values[i]))
                series[i].values[series[i].count++] = values[i];
        }
    }
    if (going)
        going = bench_report(options, match, series);
    free(series);
    return going;
}
