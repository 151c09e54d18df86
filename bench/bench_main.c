/*
 * stile-bench: measures stile and what one would use instead, taking turns.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <stile/version.h>

#ifdef STILE_BACKEND_REDIS
#include "bench_redis.h"
#endif

enum { ROWS_MAX = 64 };

static const struct bench_row *const tables[] = {
    bench_lock_rows,
    bench_handoff_rows,
#ifdef STILE_BACKEND_REDIS
    bench_redis_lock_rows,
    bench_redis_crowd_rows,
    bench_redis_handoff_rows,
#endif
};

static void usage(FILE *out)
{
    fputs("usage: stile-bench [GROUP|ROW...] [OPTION...]\n"
          "\n"
          "Measures stile and what one would use instead, taking turns run by run, and\n"
          "prints medians, spread and ratios.  Without a group or a row: all of them.\n"
          "\n"
          "  --quick      shorter runs, and 7 of them: a minute for a group at most\n"
          "  --runs N     how many runs; 7 to 999, 15 by default\n"
          "  --json FILE  also writes a line of JSON per measurement and per ratio\n"
          "  --unix       reaches redis-server by unix socket, not by TCP\n"
          "  --single     one run in this process, and only its values: what rows that\n"
          "               need a new process for each run start\n"
          "  --list       lists groups and rows\n"
          "  --help       this\n",
          out);
}

static void list(void)
{
    const struct bench_row *row;
    size_t i;

    for (i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (row = tables[i]; row->name != NULL; row++)
            printf("%-8s %-4s %s\n", row->group, row->name, row->text);
    }
}

static int refuse(const char *what, const char *argument)
{
    fprintf(stderr, "stile-bench: %s: %s; --help says what there is\n", argument, what);
    return 2;
}

/* Rows chosen by the arguments, in the order of the tables. */
struct choice {
    bool any; /* something was named */
    size_t count;
    bool chosen[ROWS_MAX];
    const struct bench_row *rows[ROWS_MAX];
};

static void fill_choice(struct choice *choice)
{
    const struct bench_row *row;
    size_t i;

    memset(choice, 0, sizeof *choice);
    for (i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (row = tables[i]; row->name != NULL && choice->count < ROWS_MAX; row++)
            choice->rows[choice->count++] = row;
    }
}

static bool choose(struct choice *choice, const char *name)
{
    bool found = false;
    size_t i;

    choice->any = true;
    for (i = 0; i < choice->count; i++) {
        if (strcmp(name, choice->rows[i]->name) == 0 || strcmp(name, choice->rows[i]->group) == 0)
            found = choice->chosen[i] = true;
    }
    return found;
}

static bool parse_runs(const char *text, unsigned *runs)
{
    char *end;
    long number;

    errno = 0;
    number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < BENCH_RUNS_MIN ||
        number > BENCH_RUNS_MAX)
        return false;
    *runs = (unsigned)number;
    return true;
}

static void introduce(const struct bench_options *options)
{
    double load = 0;

    (void)getloadavg(&load, 1);
    printf("stile %s, %u cores, load average %.2f before the start, %u runs each\n\n",
           STILE_VERSION_STRING, bench_cpus(), load, options->runs);
    fflush(stdout);
}

static bool run_chosen(const struct bench_options *options, const struct choice *choice)
{
    bool good = true;
    size_t i;

    for (i = 0; i < choice->count; i++) {
        if (choice->chosen[i] || !choice->any)
            good &= choice->rows[i]->run(options);
    }
    return good;
}

int main(int argc, char **argv)
{
    struct bench_options options = {.runs = 0};
    const char *json = NULL;
    struct choice choice;
    bool good;
    int i;

#ifdef STILE_BACKEND_REDIS
    /* This program's own affair: how it starts its clients. */
    if (argc > 1 && strcmp(argv[1], "--client") == 0)
        return bench_client_main(argc - 2, argv + 2);
#endif
    fill_choice(&choice);
    for (i = 1; i < argc; i++) {
        const char *argument = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argument, "--help") == 0) {
            usage(stdout);
            return 0;
        } else if (strcmp(argument, "--list") == 0) {
            list();
            return 0;
        } else if (strcmp(argument, "--quick") == 0) {
            options.quick = true;
        } else if (strcmp(argument, "--unix") == 0) {
            options.unix_socket = true;
        } else if (strcmp(argument, "--single") == 0) {
            options.single = true;
        } else if (strcmp(argument, "--runs") == 0) {
            if (!parse_runs(value, &options.runs))
                return refuse("needs a number from 7 to 999", argument);
            i++;
        } else if (strcmp(argument, "--json") == 0) {
            if (*value == '\0')
                return refuse("needs a file", argument);
            json = value;
            i++;
        } else if (*argument == '-') {
            return refuse("no such option", argument);
        } else if (!choose(&choice, argument)) {
            return refuse("no such group or row", argument);
        }
    }
    if (options.runs == 0)
        options.runs = options.quick ? BENCH_RUNS_MIN : 15;
    if (!bench_place_init())
        return 1;
    if (json != NULL && (options.json = fopen(json, "we")) == NULL) {
        fprintf(stderr, "stile-bench: %s: %s\n", json, strerror(errno));
        return 1;
    }
    if (!options.single)
        introduce(&options);
    good = run_chosen(&options, &choice);
    if (options.json != NULL && fclose(options.json) != 0) {
        fprintf(stderr, "stile-bench: %s: %s\n", json, strerror(errno));
        good = false;
    }
    return good ? 0 : 1;
}
