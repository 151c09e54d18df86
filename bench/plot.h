/*
 * The pictures of docs/performance.md.
 */
#ifndef PLOT_H
#define PLOT_H

#include "results.h"

/* Lets gnuplot draw, as SVG in this folder, which is made if need be, the pictures for
 * which there are results.  Changes the working directory.  False, and a line on
 * stderr. */
bool bench_plot(const struct bench_results *results, const char *folder);

#endif
