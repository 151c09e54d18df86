#include "results.h"

#include <stdlib.h>
#include <string.h>

/* Our own format, field by field.  What would mean something to gnuplot is not in it. */
static bool parse_value(const char *line, struct bench_result *result)
{
    return strpbrk(line, "`'\\") == NULL &&
           sscanf(line,
                  "{\"row\":\"%7[^\"]\",\"workload\":\"%95[^\"]\",\"placement\":\"%95[^\"]\","
                  "\"contender\":\"%31[^\"]\",\"threads\":%u,\"metric\":\"%47[^\"]\","
                  "\"value\":%lf,\"min\":%*f,\"max\":%*f,\"runs\":%*u,\"unit\":\"%15[^\"]\","
                  "\"better\":\"%7[^\"]\"}",
                  result->row, result->workload, result->placement, result->contender,
                  &result->threads, result->metric, &result->value, result->unit,
                  result->better) == 9;
}

static bool is_ratio(const char *line)
{
    char peer[2];

    return sscanf(line,
                  "{\"row\":\"%*[^\"]\",\"workload\":\"%*[^\"]\",\"placement\":\"%*[^\"]\","
                  "\"peer\":\"%1[^\"]",
                  peer) == 1;
}

static bool add(struct bench_results *results, const struct bench_result *result)
{
    struct bench_result *more =
        realloc(results->each, (results->count + 1) * sizeof *results->each);

    if (more == NULL)
        return false;
    results->each = more;
    results->each[results->count++] = *result;
    return true;
}

bool bench_results_read(FILE *file, const char *name, struct bench_results *results)
{
    struct bench_result result;
    char line[1024];
    size_t number = 0;

    *results = (struct bench_results){0};
    while (fgets(line, sizeof line, file) != NULL) {
        number++;
        if (parse_value(line, &result)) {
            if (add(results, &result))
                continue;
            fprintf(stderr, "stile-bench: out of memory\n");
        } else if (is_ratio(line)) {
            continue;
        } else {
            fprintf(stderr, "stile-bench: %s:%zu: not a line that --json writes\n", name, number);
        }
        bench_results_fini(results);
        return false;
    }
    if (!ferror(file))
        return true;
    fprintf(stderr, "stile-bench: %s: cannot be read\n", name);
    bench_results_fini(results);
    return false;
}

void bench_results_fini(struct bench_results *results)
{
    free(results->each);
    *results = (struct bench_results){0};
}

bool bench_results_same_match(const struct bench_result *a, const struct bench_result *b)
{
    return strcmp(a->row, b->row) == 0 && strcmp(a->workload, b->workload) == 0 &&
           strcmp(a->placement, b->placement) == 0;
}
