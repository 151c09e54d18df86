/*
 * stile-bench: measures stile and what one would use instead, taking turns.
 */
#include "bench.h"
#include "plot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <stile/version.h>

#ifdef STILE_BACKEND_REDIS
#include "bench_redis.h"
#endif

enum { ROWS_MAX = 64 };

static const struct bench_row *const tables[] = {
    bench_lock_rows,       bench_lock_handoff_rows,
#ifdef STILE_BACKEND_REDIS
    bench_redis_lock_rows, bench_redis_crowd_rows,  bench_redis_handoff_rows,
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
          "  --plot FOLDER\n"
          "               draws, as SVG in the folder, what docs/performance.md shows;\n"
          "               needs gnuplot\n"
          "  --from FILE  measures nothing: draws what --json wrote\n"
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

/* Where the results go, and come from. */
struct files {
    const char *json;
    const char *from;
    const char *plot;
};

/* Takes the value that follows the option argv[*i].  False: there is none. */
static bool take_value(char **argv, int *i, const char **value)
{
    *value = argv[*i + 1];
    if (*value == NULL || **value == '\0')
        return false;
    ++*i;
    return true;
}

/* -1: go on; else the program ends with this status. */
static int parse(int argc, char **argv, struct bench_options *options, struct files *files,
                 struct choice *choice)
{
    const char *value;
    int i;

    for (i = 1; i < argc; i++) {
        const char *argument = argv[i];

        if (strcmp(argument, "--help") == 0) {
            usage(stdout);
            return 0;
        } else if (strcmp(argument, "--list") == 0) {
            list();
            return 0;
        } else if (strcmp(argument, "--quick") == 0) {
            options->quick = true;
        } else if (strcmp(argument, "--unix") == 0) {
            options->unix_socket = true;
        } else if (strcmp(argument, "--single") == 0) {
            options->single = true;
        } else if (strcmp(argument, "--runs") == 0) {
            if (!take_value(argv, &i, &value) || !parse_runs(value, &options->runs))
                return refuse("needs a number from 7 to 999", argument);
        } else if (strcmp(argument, "--json") == 0) {
            if (!take_value(argv, &i, &files->json))
                return refuse("needs a file", argument);
        } else if (strcmp(argument, "--from") == 0) {
            if (!take_value(argv, &i, &files->from))
                return refuse("needs a file", argument);
        } else if (strcmp(argument, "--plot") == 0) {
            if (!take_value(argv, &i, &files->plot))
                return refuse("needs a folder", argument);
        } else if (*argument == '-') {
            return refuse("no such option", argument);
        } else if (!choose(choice, argument)) {
            return refuse("no such group or row", argument);
        }
    }
    if (files->from != NULL && (files->plot == NULL || files->json != NULL || choice->any))
        return refuse("goes with --plot alone", "--from");
    if (options->runs == 0)
        options->runs = options->quick ? BENCH_RUNS_MIN : 15;
    return -1;
}

static bool complain(const char *name)
{
    fprintf(stderr, "stile-bench: %s: %s\n", name, strerror(errno));
    return false;
}

/* Measures; what --json writes is in options->json then. */
static bool measure(struct bench_options *options, const struct files *files,
                    const struct choice *choice)
{
    bool good;

    if (files->json != NULL && (options->json = fopen(files->json, "w+e")) == NULL)
        return complain(files->json);
    if (files->json == NULL && files->plot != NULL && (options->json = tmpfile()) == NULL)
        return complain("a temporary file");
    if (!options->single)
        introduce(options);
    good = run_chosen(options, choice);
    if (options->json != NULL && fflush(options->json) != 0)
        return complain(files->json != NULL ? files->json : "a temporary file");
    return good;
}

static bool plot(FILE *json, const struct files *files)
{
    struct bench_results results;
    const char *name = files->from != NULL ? files->from : files->json;
    bool good;

    rewind(json);
    if (!bench_results_read(json, name != NULL ? name : "the results", &results))
        return false;
    good = bench_plot(&results, files->plot);
    bench_results_fini(&results);
    return good;
}

int main(int argc, char **argv)
{
    struct bench_options options = {.runs = 0};
    struct files files = {0};
    struct choice choice;
    bool good = true;
    int status;

#ifdef STILE_BACKEND_REDIS
    /* This program's own affair: how it starts its clients. */
    if (argc > 1 && strcmp(argv[1], "--client") == 0)
        return bench_client_main(argc - 2, argv + 2);
#endif
    fill_choice(&choice);
    status = parse(argc, argv, &options, &files, &choice);
    if (status != -1)
        return status;
    if (!bench_place_init())
        return 1;
    if (files.from == NULL)
        good = measure(&options, &files, &choice);
    else if ((options.json = fopen(files.from, "re")) == NULL)
        good = complain(files.from);
    if (good && files.plot != NULL)
        good = plot(options.json, &files);
    if (options.json != NULL)
        fclose(options.json);
    return good ? 0 : 1;
}
