#include "base/timers.h"

#include <stddef.h>

/* Of two trees, each without siblings, the later one becomes a child of the other. */
static struct stile_timer *join(struct stile_timer *a, struct stile_timer *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    if (b->at_ns < a->at_ns) {
        struct stile_timer *earlier = b;

        b = a;
        a = earlier;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child != NULL)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Makes one tree of siblings: in pairs first, which is what keeps the cost
 * logarithmic on the average. */
static struct stile_timer *join_siblings(struct stile_timer *first)
{
    struct stile_timer *pairs = NULL, *all = NULL;

    while (first != NULL) {
        struct stile_timer *a = first, *b = a->next, *pair;

        first = b == NULL ? NULL : b->next;
        a->prev = a->next = NULL;
        if (b != NULL)
            b->prev = b->next = NULL;
        pair = join(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        struct stile_timer *pair = pairs;

        pairs = pair->next;
        pair->next = NULL;
        all = join(all, pair);
    }
    return all;
}

void stile__timer_init(struct stile_timer *timer)
{
    timer->child = NULL;
    timer->next = NULL;
    timer->prev = NULL;
}

void stile__timer_set(struct stile_timers *timers, struct stile_timer *timer, int64_t at_ns)
{
    stile__timer_init(timer);
    timer->at_ns = at_ns;
    timers->first = join(timers->first, timer);
}

void stile__timer_clear(struct stile_timers *timers, struct stile_timer *timer)
{
    struct stile_timer *rest;

    if (timers->first != timer && timer->prev == NULL)
        return;
    rest = join_siblings(timer->child);
    if (timers->first == timer) {
        timers->first = rest;
    } else {
        if (timer->prev->child == timer)
            timer->prev->child = timer->next;
        else
            timer->prev->next = timer->next;
        if (timer->next != NULL)
            timer->next->prev = timer->prev;
        timers->first = join(timers->first, rest);
    }
    stile__timer_init(timer);
}
