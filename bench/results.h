/*
 * What an earlier run, or this one, wrote with --json.
 */
#ifndef RESULTS_H
#define RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* One line that says what was measured of a contender. */
struct bench_result {
    char row[8];
    char workload[96];
    char placement[96];
    char contender[32];
    char metric[48];
    char unit[16];
    char better[8];
    unsigned threads;
    double value;
};

struct bench_results {
    size_t count;
    struct bench_result *each; /* in the order of the file */
};

/* Reads lines up to the end; name is the file's.  False, and a line on stderr, when it
 * has others or there is no memory.  A failed read leaves nothing. */
bool bench_results_read(FILE *file, const char *name, struct bench_results *results);
void bench_results_fini(struct bench_results *results);

/* Whether both belong to one match. */
bool bench_results_same_match(const struct bench_result *a, const struct bench_result *b);

#endif
