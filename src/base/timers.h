/*
 * Points in time, the earliest first: a pairing heap, in what is to happen, so that
 * nothing is allocated.
 */
#ifndef STILE_BASE_TIMERS_H
#define STILE_BASE_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

struct stile_timer {
    struct stile_timer *child;
    struct stile_timer *next; /* the next child of the same parent */
    struct stile_timer *prev; /* the one before, or the parent; NULL: the first of all,
                                   * or not set */
    int64_t at_ns;
};

struct stile_timers {
    struct stile_timer *first; /* NULL: none is set */
};

void stile__timer_init(struct stile_timer *timer);
void stile__timer_set(struct stile_timers *timers, struct stile_timer *timer, int64_t at_ns);
/* Harmless on one that is not set. */
void stile__timer_clear(struct stile_timers *timers, struct stile_timer *timer);

#endif
