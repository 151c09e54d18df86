/*
 * Signals, one by one and only while waiting.
 *
 * Handlers run in signals_wait() alone, since the signals are blocked everywhere
 * else; so a flag for each is enough, and nothing that comes between a look at the
 * flags and the wait is missed.
 */
#include "run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

static const int taken[] = {SIGTERM, SIGINT,  SIGHUP,   SIGQUIT, SIGUSR1,
                            SIGUSR2, SIGCONT, SIGWINCH, SIGTSTP, SIGCHLD};
#define TAKEN (sizeof(taken) / sizeof(taken[0]))

static volatile sig_atomic_t came[TAKEN];
static sigset_t before; /* the mask that this process was started with */
static sigset_t waiting;

static void note(int number)
{
    size_t i;

    for (i = 0; i < TAKEN; i++)
        if (taken[i] == number)
            came[i] = 1;
}

/* What was ignored stays so, as under nohup(1); but children have to be seen. */
static bool is_ignored(int number)
{
    struct sigaction action;

    return number != SIGCHLD && sigaction(number, NULL, &action) == 0 &&
           action.sa_handler == SIG_IGN;
}

void signals_take(void)
{
    struct sigaction action = {.sa_handler = note};
    sigset_t blocked;
    size_t i;

    (void)sigemptyset(&blocked);
    /* So that the foreground can be taken back from the command's group. */
    (void)sigaddset(&blocked, SIGTTOU);
    for (i = 0; i < TAKEN; i++)
        (void)sigaddset(&blocked, taken[i]);
    (void)sigprocmask(SIG_BLOCK, &blocked, &before);
    waiting = before;
    (void)sigaddset(&waiting, SIGTTOU);
    for (i = 0; i < TAKEN; i++) {
        (void)sigdelset(&waiting, taken[i]);
        if (!is_ignored(taken[i]))
            (void)sigaction(taken[i], &action, NULL);
    }
}

int64_t monotonic_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void signals_wait(int fd, int64_t timeout_ms)
{
    struct pollfd poll = {.fd = fd, .events = POLLIN};
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ms / 1000),
                               .tv_nsec = (long)(timeout_ms % 1000 * 1000000)};

    (void)ppoll(&poll, 1, timeout_ms < 0 ? NULL : &timeout, &waiting);
}

int signals_next(void)
{
    size_t i;

    for (i = 0; i < TAKEN; i++)
        if (came[i]) {
            came[i] = 0;
            return taken[i];
        }
    return 0;
}

void signals_restore(void)
{
    size_t i;

    for (i = 0; i < TAKEN; i++)
        if (!is_ignored(taken[i]))
            (void)signal(taken[i], SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
}

void signals_die(int number)
{
    sigset_t open;

    (void)signal(number, SIG_DFL);
    (void)sigemptyset(&open);
    (void)sigaddset(&open, number);
    (void)sigprocmask(SIG_UNBLOCK, &open, NULL);
    (void)raise(number);
    _Exit(128 + number);
}
