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

/* As many digits as say something. */
static int decimals(double value)
{
    return value < 10 ? 2 : value < 1000 ? 1 : 0;
}

/* The names in a match are constants of ours that need no escapes. */
static void report_value(const struct bench_options *options, const struct bench_match *match,
                         const struct bench_contender *contender, const struct bench_metric *metric,
                         const struct bench_series *series)
{
    double least = series->values[0], most = series->values[series->count - 1];
    int digits = decimals(series->median);

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

static void report_ratio(const struct bench_options *options, const struct bench_match *match,
                         const struct bench_contender *peer, double ratio)
{
    const struct bench_metric *metric = &match->metrics[0];
    bool reached = metric->higher_is_better ? ratio >= peer->goal : ratio <= peer->goal;

    printf("  %s / %s: %.3f", match->contenders[0].name, peer->name, ratio);
    if (peer->goal > 0)
        printf(", goal %s %.2f: %s", metric->higher_is_better ? ">=" : "<=", peer->goal,
               reached ? "reached" : "NOT reached");
    printf("\n");
    if (options->json != NULL)
        fprintf(options->json,
                "{\"row\":\"%s\",\"workload\":\"%s\",\"placement\":\"%s\",\"peer\":\"%s\","
                "\"ratio\":%.4f,\"better\":\"%s\",\"gate\":%s}\n",
                match->row, match->workload, match->placement, peer->name, ratio, better(metric),
                peer->goal > 0 ? "true" : "false");
}

void bench_report(const struct bench_options *options, const struct bench_match *match,
                  struct bench_series *series)
{
    size_t m, c, metrics = match->metric_count;

    printf("%s  %s; %s\n", match->row, match->workload, match->placement);
    for (m = 0; m < metrics; m++) {
        printf(" %s, %s is better\n", match->metrics[m].name, better(&match->metrics[m]));
        for (c = 0; c < match->contender_count; c++) {
            struct bench_series *one = &series[c * metrics + m];

            one->median = bench_median(one->values, one->count);
            report_value(options, match, &match->contenders[c], &match->metrics[m], one);
        }
    }
    for (c = 1; c < match->contender_count; c++)
        report_ratio(options, match, &match->contenders[c],
                     series[0].median / series[c * metrics].median);
    printf("\n");
    fflush(stdout);
}
