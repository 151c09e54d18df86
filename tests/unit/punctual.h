/*
 * Whether waits keep their deadlines, also under a storm of signals.
 */
#ifndef STILE_TEST_PUNCTUAL_H
#define STILE_TEST_PUNCTUAL_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>

#include <cmocka.h>

#include "base/os.h"

#define NS_PER_MS INT64_C(1000000)
/* By when a wait has to be back. */
#define LATE_NS (20 * NS_PER_MS)
/* Whatever is to happen has happened by then, or the test fails. */
#define SOON_NS (30000 * NS_PER_MS)

static inline int64_t in_ns(int64_t ns)
{
    return stile__monotonic_ns() + ns;
}

/* ---- a storm of signals: every millisecond one that interrupts system calls --- */

static volatile sig_atomic_t storm_count;

static inline void count_storm(int number)
{
    (void)number;
    storm_count++;
}

static inline void set_alarm(void (*handler)(int number), int64_t first_us, int64_t every_us)
{
    struct sigaction action = {.sa_handler = handler};
    struct itimerval timer = {.it_value = {.tv_usec = first_us},
                              .it_interval = {.tv_usec = every_us}};

    sigemptyset(&action.sa_mask);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static inline int storm_end(void **state)
{
    (void)state;
    set_alarm(SIG_IGN, 0, 0);
    return 0;
}

/* Waits five times.  None may end early; the machine may be busy, so one that
 * ends in time is enough. */
static inline void check_punctual(void (*wait_until)(void *arg, int64_t until_ns), void *arg)
{
    int64_t best = INT64_MAX;
    int i;

    for (i = 0; i < 5; i++) {
        int64_t until = in_ns(50 * NS_PER_MS);
        int64_t late;

        wait_until(arg, until);
        late = stile__monotonic_ns() - until;
        assert_true(late >= 0);
        best = late < best ? late : best;
    }
    assert_true(best < LATE_NS);
}

#endif
