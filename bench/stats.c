#include "bench.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    if (count % 2 == 1)
        return values[count / 2];
    return (values[count / 2 - 1] + values[count / 2]) / 2;
}

static const char *better(const struct bench_metric *metric)
{
    return metric->higher_is_better ? "higher" : "lower";
}

int bench_decimals(double value)
{
    return value < 10 ? 2 : value < 1000 ? 1 : 0;
}

/* The names in a match are constants of ours that need no escapes. */
static void report_value(const struct bench_options *options, const struct bench_match *match,
                         const struct bench_contender *contender, const struct bench_metric *metric,
                         const struct bench_series *series)
{
    double least = series->values[0], most = series->values[series->count - 1];
    int digits = bench_decimals(series->median);

    printf("  %-16s %10.*f %-9s (%.*f to %.*f in %zu runs)\n", contender->name, digits,
           series->median, metric->unit, digits, least, digits, most, series->count);
    if (options->json != NULL)
        fprintf(options->json,
                "{\"row\":\"%s\",\"workload\":\"%s\",\"placement\":\"%s\",\"contender\":\"%s\","
                "\"threads\":%u,\"metric\":\"%s\",\"value\":%.6g,\"min\":%.6g,\"max\":%.6g,"
                "\"runs\":%zu,\"unit\":\"%s\",\"better\":\"%s\"}\n",
                match->row, match->workload, match->placement, contender->name, match->threads,
                metric->name, series->median, least, most, series->count, metric->unit,
                better(metric));
}

static const char *verdict(bool reached)
{
    return reached ? "reached" : "NOT reached";
}

/* name is how the peer is printed, peer what it is in JSON. */
static void report_ratio(const struct bench_options *options, const struct bench_match *match,
                         const char *name, const char *peer, double ratio, double goal)
{
    const struct bench_metric *metric = &match->metrics[0];
    bool reached = metric->higher_is_better ? ratio >= goal : ratio <= goal;

    printf("  %s / %s: %.3f", match->contenders[0].name, name, ratio);
    if (goal > 0)
        printf(", goal %s %.2f: %s", metric->higher_is_better ? ">=" : "<=", goal,
               verdict(reached));
    printf("\n");
    if (options->json != NULL)
        fprintf(options->json,
                "{\"row\":\"%s\",\"workload\":\"%s\",\"placement\":\"%s\",\"peer\":\"%s\","
                "\"ratio\":%.4f,\"better\":\"%s\",\"gate\":%s}\n",
                match->row, match->workload, match->placement, peer, ratio, better(metric),
                goal > 0 ? "true" : "false");
}

/* The ratio to whichever rival is best: not known as long as one is missing. */
static void report_best(const struct bench_options *options, const struct bench_match *match,
                        const struct bench_series *series)
{
    size_t c, best = 1, metrics = match->metric_count;
    char name[64];

    for (c = 1; c <= match->rival_count; c++) {
        double value = series[c * metrics].median, least = series[best * metrics].median;

        if (series[c * metrics].count < BENCH_RUNS_MIN) {
            printf("  %s / the best: %s is missing: no ratio\n", match->contenders[0].name,
                   match->contenders[c].name);
            return;
        }
        if (match->metrics[0].higher_is_better ? value > least : value < least)
            best = c;
    }
    snprintf(name, sizeof name, "the best, %s", match->contenders[best].name);
    report_ratio(options, match, name, "best", series[0].median / series[best * metrics].median,
                 match->rival_goal);
}

static void report_metric(const struct bench_options *options, const struct bench_match *match,
                          size_t m, struct bench_series *series)
{
    const struct bench_metric *metric = &match->metrics[m];
    size_t c;

    printf(" %s, %s is better\n", metric->name, better(metric));
    for (c = 0; c < match->contender_count; c++) {
        struct bench_series *one = &series[c * match->metric_count + m];

        if (one->count < BENCH_RUNS_MIN) {
            printf("  %-16s %s: no ratio\n", match->contenders[c].name,
                   match->contenders[c].run == NULL ? "peer not installed" : "failed");
            continue;
        }
        one->median = bench_median(one->values, one->count);
        report_value(options, match, &match->contenders[c], metric, one);
    }
    if (match->limits[m] > 0)
        printf("  %s: goal <= %.2f: %s\n", match->contenders[0].name, match->limits[m],
               verdict(series[m].median <= match->limits[m]));
}

bool bench_report(const struct bench_options *options, const struct bench_match *match,
                  struct bench_series *series)
{
    size_t m, c;
    bool good = true;

    printf("%s  %s; %s\n", match->row, match->workload, match->placement);
    for (m = 0; m < match->metric_count; m++)
        report_metric(options, match, m, series);
    for (c = 1; c < match->contender_count; c++) {
        const struct bench_contender *peer = &match->contenders[c];
        const struct bench_series *one = &series[c * match->metric_count];

        if (one->count >= BENCH_RUNS_MIN)
            report_ratio(options, match, peer->name, peer->name, series[0].median / one->median,
                         peer->goal);
        else
            good &= peer->run == NULL;
    }
    if (match->rival_count > 0)
        report_best(options, match, series);
    printf("\n");
    fflush(stdout);
    return good;
}
