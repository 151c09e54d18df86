/*
 * Looking at a taken thing for a while before sleeping, in case it comes free.
 *
 * A wake-up costs the sleeper and whoever wakes it tens of microseconds, a look some
 * nanoseconds; so it is worth to look for about as long as a wake-up takes.  But no
 * more threads look than there are cores for them beside the holder's, and not often
 * if looking led to nothing lately.
 *
 * What is looked at has turns, numbered as they go.  Where turns are short, each look
 * takes the cache line away from threads that would do several turns in that time:
 * then looks are far apart, and whoever gets a turn can have some in a row.
 */
#ifndef STILE_BASE_SPIN_H
#define STILE_BASE_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Of the thing that is looked at.  All of it is only for the better: nothing goes
 * wrong if a number is old. */
struct stile_spin {
    _Atomic uint32_t inside;   /* threads that look */
    _Atomic uint32_t failures; /* in a row */
    /* A turn that was on, and when. */
    _Atomic uint64_t turn;
    _Atomic int64_t turn_ns;
};

/* Of a thread that looks. */
struct stile_look {
    int64_t began_ns;
    int64_t now_ns;
    int64_t wake_ns; /* what a wake-up takes */
    uint64_t first_turn;
    uint64_t last_turn;
    int64_t step_ns; /* between looks, where turns are short */
    unsigned left;   /* looks; for where time does not pass by itself */
    bool brisk;      /* turns are short */
};

void stile__spin_init(struct stile_spin *spin);
/* False: sleep at once.  Else the thread is inside.  patient: it was woken, others
 * sleep, and the more turns there are for each wake-up the better. */
bool stile__spin_begin(struct stile_spin *spin, struct stile_look *look, uint64_t turn,
                       bool patient);
/* Takes a place among those who look, or finds none. */
bool stile__spin_enter(struct stile_spin *spin);
void stile__spin_leave(struct stile_spin *spin);
/* Waits until the next look; false: it was long enough. */
bool stile__spin_next(struct stile_look *look, uint64_t turn);
/* Says what came of it. */
void stile__spin_tell(struct stile_spin *spin, bool good);

#endif
