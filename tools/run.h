/*
 * A command in a process group of its own, under a lock.
 */
#ifndef STILE_COMMAND_RUN_H
#define STILE_COMMAND_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include <stile/lock.h>

/*
 * Takes the signals that end, stop or concern the command into hand: they are
 * blocked, here and in every thread made later, and arrive only in signals_wait().
 * Before anything that makes threads.
 */
void signals_take(void);

/* Waits until fd is readable (-1: none), a signal came, or at most timeout_ms (-1: no
 * limit). */
void signals_wait(int fd, int64_t timeout_ms);

/* The clock that signals_wait() goes by. */
int64_t monotonic_ms(void);

/* Returns a signal that came and was not fetched yet, 0 if there is none. */
int signals_next(void);

/* In a child: all as this process was started with.  Async-signal-safe. */
void signals_restore(void);

/* Ends this process by the signal, as if it had never been taken. */
_Noreturn void signals_die(int number);

/* What the command runs under. */
struct guard {
    stile_lock *lock;
    const stile_hold *hold;
    stile_watch *watch;
    const char *name;
    bool verbose;
};

/*
 * Runs the command, found as a shell finds it, while the hold lasts.  Signals go to
 * its group; if the hold is about to be lost the group gets SIGTERM, and SIGKILL
 * before the hold ends.
 *
 * Returns its exit code, 128 and the signal that ended it, or EXIT_LOST,
 * EXIT_CANNOT, EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND.
 */
int run_command(const struct guard *guard, char **command);

#endif
