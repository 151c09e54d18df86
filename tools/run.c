#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <stile/watch.h>

#include "stile.h"

/* Of a hold's lease, the last quarter is for ending the command, and a fifth of
 * that for the kill to be felt before the hold ends. */
#define GRACE_MAX_MS 5000
#define MARGIN_MAX_MS 500
/* A hold that is lost already, such as one taken by force. */
#define LOST_GRACE_MS 1000
/* How often a group without a leader is looked at while it ends. */
#define GROUP_LOOK_MS 20

struct running {
    const struct guard *guard;
    pid_t child;  /* and its group */
    int terminal; /* that the group has the foreground of; -1: none */
    bool reaped;
    int status;      /* of waitpid(), once reaped */
    bool told;       /* the group was sent SIGTERM, since the hold ends */
    bool lost;       /* the hold was seen to be over */
    bool killed;     /* and SIGKILL */
    int64_t kill_at; /* with told: when; INT64_MAX: not now */
    int64_t grace_ms;
    stile_hold_state state;
};

/* ---- the child ----------------------------------------------------------------------- */

/* Other threads may have been anywhere at the fork: only async-signal-safe calls. */
static _Noreturn void become_command(char **command, pid_t parent, int terminal, int report)
{
    int error;

    (void)setpgid(0, 0);
    if (terminal >= 0)
        (void)tcsetpgrp(terminal, getpid());
#ifdef __linux__
    /* The command itself does not outlive us. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != parent)
        _exit(EXIT_CANNOT);
    signals_restore();
    (void)execvp(command[0], command);
    error = errno;
    (void)!write(report, &error, sizeof(error));
    _exit(EXIT_CANNOT);
}

/* Whether we are what the terminal on stdin listens to. */
static bool in_foreground(void)
{
    return isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

/* Not where the output goes on to another program, which may need the terminal. */
static int terminal_to_give(void)
{
    return in_foreground() && isatty(STDOUT_FILENO) ? STDIN_FILENO : -1;
}

static void give_terminal(struct running *running)
{
    running->terminal = STDIN_FILENO;
    (void)tcsetpgrp(STDIN_FILENO, running->child);
}

static void take_terminal(struct running *running)
{
    if (running->terminal >= 0)
        (void)tcsetpgrp(running->terminal, getpgrp());
    running->terminal = -1;
}

/* Returns 0, or why there is no command: an exit code, and said. */
static int start(struct running *running, char **command)
{
    pid_t parent = getpid();
    int report[2], error;
    ssize_t size;

    if (pipe2(report, O_CLOEXEC) < 0) {
        say("the command was not run: %s", strerror(errno));
        return EXIT_CANNOT;
    }
    running->terminal = terminal_to_give();
    running->child = fork();
    if (running->child == 0)
        become_command(command, parent, running->terminal, report[1]);
    error = errno;
    (void)close(report[1]);
    if (running->child < 0) {
        (void)close(report[0]);
        say("the command was not run: %s", strerror(error));
        return EXIT_CANNOT;
    }
    /* Here as well, since whoever comes first has to find the group there. */
    (void)setpgid(running->child, running->child);
    if (running->terminal >= 0)
        give_terminal(running);
    do
        size = read(report[0], &error, sizeof(error));
    while (size < 0 && errno == EINTR);
    (void)close(report[0]);
    if (size != (ssize_t)sizeof(error))
        return 0;
    (void)waitpid(running->child, NULL, 0);
    take_terminal(running);
    say("%s: %s", command[0], strerror(error));
    return error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

/* ---- the hold -------------------------------------------------------------------------- */

static void end_group(struct running *running, int64_t kill_at)
{
    if (!running->told) {
        (void)kill(-running->child, SIGTERM);
        /* One that is stopped could not even be told. */
        (void)kill(-running->child, SIGCONT);
        running->told = true;
    }
    running->kill_at = kill_at;
}

/* Says what has changed; what follows from it is hold_wait()'s to decide. */
static void watch_hold(struct running *running)
{
    stile_hold_state state = stile_watch_clear(running->guard->watch);

    if (state == running->state)
        return;
    running->state = state;
    if (state == STILE_SUSPECT)
        say("lock \"%s\": it cannot be renewed for now; the command goes on while the lease lasts",
            running->guard->name);
    else if (state == STILE_HELD)
        say("lock \"%s\": it is renewed again", running->guard->name);
}

/*
 * Ends the group if the hold is lost or nearly so, and returns for how long nothing
 * is to be done about it, -1 without limit.
 */
static int64_t hold_wait(struct running *running)
{
    const struct guard *guard = running->guard;
    int64_t valid_ms, now = monotonic_ms();
    stile_status status = stile_lock_check(guard->lock, guard->hold, &valid_ms);
    int64_t margin_ms =
        running->grace_ms / 5 < MARGIN_MAX_MS ? running->grace_ms / 5 : MARGIN_MAX_MS;

    if (status != STILE_OK) {
        if (!running->told)
            say("lock \"%s\" is lost; ending the command", guard->name);
        if (!running->lost)
            end_group(running, running->told ? now : now + LOST_GRACE_MS);
        running->lost = true;
    } else if (valid_ms == STILE_FOREVER) {
        return -1;
    } else if (valid_ms <= running->grace_ms) {
        if (!running->told)
            say("lock \"%s\" could not be renewed and ends in %" PRId64
                " ms; ending the command before that",
                guard->name, valid_ms);
        end_group(running, now + valid_ms - margin_ms);
    } else {
        running->kill_at = INT64_MAX;
        return valid_ms - running->grace_ms;
    }
    if (running->kill_at <= now && !running->killed) {
        (void)kill(-running->child, SIGKILL);
        running->killed = true;
    }
    return running->killed ? -1 : running->kill_at - now;
}

/* ---- while it runs ---------------------------------------------------------------------- */

/*
 * The command was stopped.  If it only wants the terminal, and we can give it, it gets
 * it.  Else we stop as well, for the shell to see; nothing is renewed then, and the
 * hold may be lost when we go on, so that it is looked at before the command goes on.
 */
static void stop_with(struct running *running, int number)
{
    bool wants = number == SIGTTIN || number == SIGTTOU;
    bool had = running->terminal >= 0;

    if (number == SIGSTOP) /* by somebody who will continue it */
        return;
    take_terminal(running);
    if (!wants || !in_foreground())
        (void)raise(SIGSTOP);
    if ((wants || had) && in_foreground())
        give_terminal(running);
    (void)hold_wait(running);
    (void)kill(-running->child, SIGCONT);
}

static void reap(struct running *running)
{
    pid_t pid = waitpid(running->child, &running->status, WNOHANG | WUNTRACED);

    if (pid != running->child)
        return;
    if (WIFSTOPPED(running->status))
        stop_with(running, WSTOPSIG(running->status));
    else
        running->reaped = true;
}

static void handle_signals(struct running *running)
{
    int number;

    while ((number = signals_next()) != 0) {
        if (number == SIGCHLD)
            reap(running);
        else if (!running->reaped)
            (void)kill(-running->child, number);
    }
}

static bool group_is_there(const struct running *running)
{
    return kill(-running->child, 0) == 0 || errno == EPERM;
}

/* Whether there is something to wait for: the command, or, when the hold is lost, all
 * that is left of its group until that is killed. */
static bool is_running(const struct running *running)
{
    return !running->reaped || (running->told && !running->killed && group_is_there(running));
}

static void wait_command(struct running *running, int fd)
{
    while (is_running(running)) {
        int64_t wait_ms = hold_wait(running);

        if (running->reaped && (wait_ms < 0 || wait_ms > GROUP_LOOK_MS))
            wait_ms = GROUP_LOOK_MS;
        signals_wait(fd, wait_ms);
        watch_hold(running);
        handle_signals(running);
    }
}

static int64_t grace_of(const struct guard *guard)
{
    int64_t valid_ms, grace_ms = GRACE_MAX_MS;

    if (stile_lock_check(guard->lock, guard->hold, &valid_ms) != STILE_OK)
        return 0;
    if (valid_ms != STILE_FOREVER && valid_ms / 4 < grace_ms)
        grace_ms = valid_ms / 4;
    return grace_ms;
}

int run_command(const struct guard *guard, char **command)
{
    struct running running = {.guard = guard, .state = STILE_HELD, .kill_at = INT64_MAX};
    int fd, result;

    if (stile_watch_fd(guard->watch, &fd) != STILE_OK) {
        complain("the lock cannot be watched", STILE_NO_MEMORY);
        return EXIT_CANNOT;
    }
    running.grace_ms = grace_of(guard);
    result = start(&running, command);
    if (result != 0)
        return result;
    wait_command(&running, fd);
    take_terminal(&running);
    if (running.told) {
        say("the command was ended since lock \"%s\" was lost; what it did until then may be half "
            "done",
            guard->name);
        return EXIT_LOST;
    }
    if (guard->verbose && group_is_there(&running))
        say("the command has ended and left processes behind, which go on without the lock");
    return WIFSIGNALED(running.status) ? 128 + WTERMSIG(running.status)
                                       : WEXITSTATUS(running.status);
}
