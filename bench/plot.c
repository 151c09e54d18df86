#include "plot.h"

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 3, PANELS_MAX = 16, COLOURS = 8 };

/* stile's is the first, and that of no bar but its own. */
static const char *const colours[COLOURS] = {"#c2410c", "#1f77b4", "#2ca02c", "#9467bd",
                                             "#17becf", "#bcbd22", "#7f7f7f", "#111111"};

/* One file, with a panel for each match of these rows; or, for contention, with a
 * panel for each row and in it a line for each contender. */
struct picture {
    const char *file;
    const char *rows[ROWS];
    bool by_threads;
};

static const struct picture pictures[] = {
    {"lock-local.svg", {"L1", "L2", "L3"}, false},
    {"lock-contention.svg", {"L4", "L5"}, true},
    {"lock-handoff.svg", {"L6", "L7"}, false},
    {"lock-redis.svg", {"R5", "R6", "R7"}, false},
};

/* The first results of what a picture has a panel for each of. */
struct panels {
    size_t count;
    const struct bench_result *first[PANELS_MAX];
};

static bool is_shown(const struct picture *picture, const struct bench_result *result)
{
    size_t i;

    for (i = 0; i < ROWS && picture->rows[i] != NULL; i++) {
        if (strcmp(picture->rows[i], result->row) == 0)
            return true;
    }
    return false;
}

static bool same_panel(const struct picture *picture, const struct bench_result *a,
                       const struct bench_result *b)
{
    return picture->by_threads ? strcmp(a->row, b->row) == 0 : bench_results_same_match(a, b);
}

static void find_panels(const struct picture *picture, const struct bench_results *results,
                        struct panels *panels)
{
    size_t i, p;

    panels->count = 0;
    for (i = 0; i < results->count; i++) {
        const struct bench_result *result = &results->each[i];

        if (!is_shown(picture, result))
            continue;
        for (p = 0; p < panels->count && !same_panel(picture, panels->first[p], result); p++)
            continue;
        if (p == panels->count && p < PANELS_MAX)
            panels->first[panels->count++] = result;
    }
}

/* Whether a result is drawn in the panel that begins with first: only the first metric
 * of a row is. */
static bool is_drawn(const struct picture *picture, const struct bench_result *first,
                     const struct bench_result *result)
{
    return same_panel(picture, first, result) && strcmp(first->metric, result->metric) == 0;
}

/* ---- bars ----------------------------------------------------------------------------- */

struct extent {
    size_t bars;
    double least, most;
};

static struct extent write_bars(FILE *gnuplot, const struct picture *picture,
                                const struct bench_results *results,
                                const struct bench_result *first)
{
    struct extent extent = {0};
    const struct bench_result *end = results->each + results->count, *result;

    fputs("$bars << END\n", gnuplot);
    for (result = first; result < end; result++) {
        if (!is_drawn(picture, first, result))
            continue;
        fprintf(gnuplot, "%zu %.6g \"%s\" \"%.*f\"\n", extent.bars, result->value,
                result->contender, bench_decimals(result->value), result->value);
        if (extent.bars == 0 || result->value < extent.least)
            extent.least = result->value;
        if (extent.bars == 0 || result->value > extent.most)
            extent.most = result->value;
        extent.bars++;
    }
    fputs("END\n", gnuplot);
    return extent;
}

static void draw_bars(FILE *gnuplot, const struct picture *picture,
                      const struct bench_results *results, const struct bench_result *first)
{
    struct extent extent = write_bars(gnuplot, picture, results, first);

    fprintf(gnuplot, "set title \"%s  %s\\n%s\"\n", first->row, first->workload, first->placement);
    fprintf(gnuplot, "set xlabel \"%s, %s: %s is better\"\n", first->metric, first->unit,
            first->better);
    fprintf(gnuplot, "set yrange [%zu.5:-0.5]\n", extent.bars - 1);
    /* Bars that one could not see beside the longest want another scale. */
    if (extent.most > extent.least * 50)
        fprintf(gnuplot, "low = 10**floor(log10(%g) - 0.3)\nset logscale x\nset xrange [low:%g]\n",
                extent.least, extent.most * 4);
    else
        fprintf(gnuplot, "low = 0\nunset logscale x\nset xrange [0:%g]\n", extent.most * 1.2);
    fputs("plot $bars using 2:1:(low):2:($1-0.35):($1+0.35):yticlabels(3) with boxxyerror "
          "fs solid noborder lc rgb '#9aa5b1', "
          "'' every ::0::0 using 2:1:(low):2:($1-0.35):($1+0.35) with boxxyerror "
          "fs solid noborder lc rgb '#c2410c', "
          "'' using 2:1:4 with labels left offset 0.6,0\n",
          gnuplot);
}

/* ---- lines ----------------------------------------------------------------------------- */

static void write_line(FILE *gnuplot, const struct picture *picture,
                       const struct bench_results *results, const struct bench_result *first,
                       const struct bench_result *contender, size_t number)
{
    const struct bench_result *end = results->each + results->count, *result;

    fprintf(gnuplot, "$line%zu << END\n", number);
    for (result = first; result < end; result++) {
        if (is_drawn(picture, first, result) &&
            strcmp(result->contender, contender->contender) == 0)
            fprintf(gnuplot, "%u %.6g\n", result->threads, result->value);
    }
    fputs("END\n", gnuplot);
}

static void draw_lines(FILE *gnuplot, const struct picture *picture,
                       const struct bench_results *results, const struct bench_result *first)
{
    const struct bench_result *end = results->each + results->count, *result;
    const struct bench_result *names[PANELS_MAX];
    const char *comma = strrchr(first->workload, ',');
    size_t i, count = 0;

    /* Those who take part in the row's first match take part in all. */
    for (result = first; result < end && count < PANELS_MAX; result++) {
        if (bench_results_same_match(first, result) && is_drawn(picture, first, result)) {
            write_line(gnuplot, picture, results, first, result, count);
            names[count++] = result;
        }
    }
    /* Up to the number of threads, with which the workload ends. */
    fprintf(gnuplot, "set title \"%s  %.*s\"\n", first->row,
            comma != NULL ? (int)(comma - first->workload) : -1, first->workload);
    fprintf(gnuplot, "set xlabel 'threads'\nset ylabel \"%s, %s: %s is better\"\n", first->metric,
            first->unit, first->better);
    fputs("set logscale x 2\nset xtics (2, 4, 8)\nset xrange [1.8:9]\nset yrange [0:*]\n"
          "set key outside right\nplot ",
          gnuplot);
    for (i = 0; i < count; i++)
        fprintf(gnuplot, "%s$line%zu with linespoints pt %zu ps 0.7 lw %d lc rgb '%s' title \"%s\"",
                i == 0 ? "" : ", ", i, 7 - i % 7, i == 0 ? 4 : 1, colours[i % COLOURS],
                names[i]->contender);
    fputs("\n", gnuplot);
}

/* ---- files ------------------------------------------------------------------------------ */

/* Starts a gnuplot that reads from *script. */
static pid_t start_gnuplot(FILE **script)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        if (dup2(ends[0], STDIN_FILENO) != -1)
            execlp("gnuplot", "gnuplot", (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    *script = pid > 0 ? fdopen(ends[1], "w") : NULL;
    if (*script == NULL)
        close(ends[1]);
    return pid;
}

static bool ended_well(pid_t pid)
{
    int status = -1;

    while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
        continue;
    return status == 0;
}

static bool draw(const struct picture *picture, const struct bench_results *results,
                 const struct panels *panels)
{
    size_t p, columns = panels->count > 1 ? 2 : 1, lines = (panels->count + 1) / 2;
    FILE *gnuplot = NULL;
    pid_t pid = start_gnuplot(&gnuplot);
    bool good;

    if (gnuplot == NULL)
        return false;
    fprintf(gnuplot,
            "set terminal svg size %zu,%zu noenhanced font 'sans-serif,12' background 'white'\n"
            "set output '%s'\nset multiplot layout %zu,%zu\n"
            "unset key\nset tics nomirror\nset border 3\n",
            columns * 520, lines * 320, picture->file, lines, columns);
    for (p = 0; p < panels->count; p++)
        (picture->by_threads ? draw_lines : draw_bars)(gnuplot, picture, results, panels->first[p]);
    fputs("unset multiplot\n", gnuplot);
    good = fclose(gnuplot) == 0;
    return ended_well(pid) && good;
}

bool bench_plot(const struct bench_results *results, const char *folder)
{
    struct panels panels;
    size_t i;

    if ((mkdir(folder, 0777) != 0 && errno != EEXIST) || chdir(folder) != 0) {
        fprintf(stderr, "stile-bench: %s: %s\n", folder, strerror(errno));
        return false;
    }
    /* A gnuplot that ends early is an error like others. */
    signal(SIGPIPE, SIG_IGN);
    for (i = 0; i < sizeof pictures / sizeof pictures[0]; i++) {
        find_panels(&pictures[i], results, &panels);
        if (panels.count > 0 && !draw(&pictures[i], results, &panels)) {
            fprintf(stderr, "stile-bench: gnuplot did not draw %s; is it installed?\n",
                    pictures[i].file);
            return false;
        }
    }
    return true;
}
