/*
 * What cost_interposer.c counts, in all threads of the process that it is preloaded
 * into.  Looked up with dlsym() as cost_counting.
 */
#ifndef COST_INTERPOSER_H
#define COST_INTERPOSER_H

#include <stdbool.h>

struct cost_counts {
    unsigned long allocations; /* malloc, calloc, realloc, and the aligned ones */
    unsigned long frees;       /* of what is not NULL */
    unsigned long clocks;      /* clock_gettime: no system call, and not free either */
};

/* Starts at 0, or stops, and returns what was counted until now. */
typedef struct cost_counts cost_counting_function(bool on);

#endif
