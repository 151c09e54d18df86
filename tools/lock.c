/*
 * stile lock: a command runs while a lock is held, as with flock(1), on all machines
 * that share a server.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <stile/stile.h>

#include "run.h"
#include "stile.h"

/* After so long a wait --verbose says who is in the way. */
#define TELL_MS 20

const char help_lock[] =
    "usage: stile lock NAME [OPTION...] -- COMMAND [ARGUMENT...]\n"
    "\n"
    "Waits for the lock NAME, runs COMMAND while it is held, and gives it back.\n"
    "\n"
    "  -n, --nonblock            do not wait\n"
    "  -w, --wait SECONDS        wait at most so long, such as 2.5; else without limit\n"
    "  -E, --conflict-exit-code CODE\n"
    "                            what to end with when the lock was not had in time; 1\n"
    "      --lease SECONDS       how long the lock stays taken when this machine dies; 30\n"
    "      --hold-for SECONDS    keep the lock at least so long, even if COMMAND is quicker:\n"
    "                            for cron on hosts whose clocks differ\n"
    "      --label TEXT          what others see of who holds it; the words of COMMAND\n"
    "      --url URL             where the lock lives; else STILE_URL.  local: protects from\n"
    "                            nobody, and has to be given here to be believed\n"
    "  -o, --close               for those who know it from flock: COMMAND never inherits the "
    "lock\n"
    "      --verbose             say what happens\n"
    "      --help                print this\n"
    "\n"
    "COMMAND is a process group of its own, gets TERM, INT, HUP, QUIT, USR1, USR2, CONT, TSTP\n"
    "and WINCH that are sent here, and finds STILE_LOCK, STILE_FENCE and STILE_URL in its\n"
    "environment.  When the lock cannot be renewed the group gets TERM, and KILL before others\n"
    "can have the lock.  The lock is given back when COMMAND ends, whatever it leaves running.\n"
    "\n"
    "Exit status: that of COMMAND, 128 and the signal that ended it; -E when others kept the\n"
    "lock; 124 when the lock was lost and COMMAND ended for that; 125 when stile could not do\n"
    "its part; 126 COMMAND cannot be executed; 127 there is no such COMMAND.\n";

struct lock_call {
    const char *name;
    const char *url;
    char **command;
    const char *label;
    char words[STILE_LABEL_MAX + 1]; /* the label, if none is given */
    int64_t wait_ms;
    int64_t lease_ms;
    int64_t hold_for_ms;
    long conflict;
    bool verbose;
};

/* ---- arguments ------------------------------------------------------------------------- */

enum { OPTION_LEASE = 256, OPTION_HOLD_FOR, OPTION_LABEL, OPTION_URL, OPTION_VERBOSE };

static const struct option options[] = {{"nonblock", no_argument, NULL, 'n'},
                                        {"wait", required_argument, NULL, 'w'},
                                        {"conflict-exit-code", required_argument, NULL, 'E'},
                                        {"close", no_argument, NULL, 'o'},
                                        {"lease", required_argument, NULL, OPTION_LEASE},
                                        {"hold-for", required_argument, NULL, OPTION_HOLD_FOR},
                                        {"label", required_argument, NULL, OPTION_LABEL},
                                        {"url", required_argument, NULL, OPTION_URL},
                                        {"verbose", no_argument, NULL, OPTION_VERBOSE},
                                        {NULL, 0, NULL, 0}};

static bool take_seconds(const char *option, int64_t *ms)
{
    if (parse_seconds(optarg, ms))
        return true;
    say("%s \"%s\" is not a number of seconds, such as 10 or 0.5", option, optarg);
    return false;
}

static bool take_code(long *code)
{
    if (parse_number(optarg, 0, 255, code))
        return true;
    say("--conflict-exit-code \"%s\" is not a number from 0 to 255", optarg);
    return false;
}

static bool take_option(struct lock_call *call, int option)
{
    switch (option) {
    case 'n': call->wait_ms = 0; return true;
    case 'w': return take_seconds("--wait", &call->wait_ms);
    case 'E': return take_code(&call->conflict);
    case 'o': return true; /* nothing of ours is ever inherited */
    case OPTION_LEASE: return take_seconds("--lease", &call->lease_ms);
    case OPTION_HOLD_FOR: return take_seconds("--hold-for", &call->hold_for_ms);
    case OPTION_LABEL: call->label = optarg; return true;
    case OPTION_URL: call->url = optarg; return true;
    case OPTION_VERBOSE: call->verbose = true; return true;
    default: return false; /* getopt_long() has said it */
    }
}

/* Takes options up to the first word that is none. */
static bool take_options(struct lock_call *call, int argc, char **argv)
{
    int option;

    while ((option = getopt_long(argc, argv, "+nw:E:o", options, NULL)) != -1)
        if (!take_option(call, option))
            return false;
    return true;
}

/* The words of the command, as many as fit whole, or the beginning of the first. */
static void label_command(struct lock_call *call)
{
    size_t length = 0;
    char **word;

    for (word = call->command; *word != NULL; word++) {
        size_t more = strlen(*word) + (length > 0);

        if (length + more > STILE_LABEL_MAX && length > 0)
            break;
        length += (size_t)snprintf(call->words + length, sizeof(call->words) - length, "%s%s",
                                   length > 0 ? " " : "", *word);
        if (length >= STILE_LABEL_MAX)
            break;
    }
    call->label = call->words;
}

static bool parse(struct lock_call *call, int argc, char **argv)
{
    char program[] = "stile";

    argv[0] = program; /* what getopt_long() complains as */
    if (!take_options(call, argc, argv))
        return false;
    if (optind == argc) {
        say("lock: which lock?  stile lock NAME -- COMMAND");
        return false;
    }
    call->name = argv[optind++];
    if (strcmp(argv[optind - 2], "--") != 0 && !take_options(call, argc, argv))
        return false;
    if (optind == argc) {
        say("lock: which command?  stile lock NAME -- COMMAND");
        return false;
    }
    call->command = argv + optind;
    if (call->label == NULL)
        label_command(call);
    return true;
}

/* ---- waiting ----------------------------------------------------------------------------- */

static void say_who(stile_lock *lock, const char *name)
{
    stile_lock_info info;

    if (stile_lock_inspect(lock, &info) != STILE_OK)
        return;
    if (info.held) {
        (void)fprintf(stderr, "stile: lock \"%s\" is held by ", name);
        print_party(stderr, &info.holder);
        (void)fprintf(stderr, "; %zu waiting\n", info.waiters);
    }
    stile_lock_info_free(&info);
}

/* Returns the signal that shall end the wait, 0 if none has come. */
static int interruption(void)
{
    int number;

    while ((number = signals_next()) != 0) {
        if (number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT)
            return number;
        /* Nothing is held yet: as if it were not taken. */
        if (number == SIGTSTP)
            (void)raise(SIGSTOP);
    }
    return 0;
}

/* For how long signals_wait() may sleep: until the wait is over, or --verbose has
 * something to say. */
static int64_t sleep_ms(int64_t until_ms, bool told)
{
    int64_t left_ms = until_ms == INT64_MAX ? -1 : until_ms - monotonic_ms();

    if (until_ms != INT64_MAX && left_ms < 0)
        left_ms = 0;
    return told || (left_ms >= 0 && left_ms < TELL_MS) ? left_ms : TELL_MS;
}

/*
 * Waits for the future; a signal, which becomes *number, and the time of the call end
 * that early, and leave no waiter behind.
 */
static stile_status wait_for(const struct lock_call *call, stile_future *future, stile_lock *lock,
                             int *number)
{
    int64_t until_ms =
        call->wait_ms > 0 ? monotonic_ms() + call->wait_ms : INT64_MAX; /* 0 ends by itself */
    bool told = !call->verbose || call->wait_ms == 0, ended = false;
    stile_status status;
    int fd;

    status = stile_future_fd(future, &fd);
    if (status != STILE_OK)
        return status;
    while (!stile_future_done(future)) {
        signals_wait(fd, ended ? -1 : sleep_ms(until_ms, told));
        if (!told && !stile_future_done(future))
            say_who(lock, call->name);
        told = true;
        if (*number == 0)
            *number = interruption();
        if (!ended && (*number != 0 || monotonic_ms() >= until_ms)) {
            stile_future_cancel(future);
            ended = true;
        }
    }
    return STILE_OK;
}

static stile_status take(stile_future *future, stile_lock *lock, stile_hold *hold, int number)
{
    stile_status status = stile_future_take(future, hold);

    /* Only the time that it had and a signal cancel it. */
    if (number == 0)
        return status == STILE_CANCELLED ? STILE_TIMEOUT : status;
    if (status == STILE_OK)
        (void)stile_lock_release(lock, hold);
    return STILE_CANCELLED;
}

/*
 * The time is counted here, and then the wait cancelled: so that a server that is slow
 * at the end of it has a command's time to say what became of it, and it is not taken
 * for one that does not answer.
 */
static stile_status acquire(const struct lock_call *call, stile_lock *lock, stile_hold *hold,
                            int *number)
{
    stile_future *future;
    stile_status status;

    status =
        stile_lock_start(lock, call->wait_ms == 0 ? 0 : STILE_FOREVER, NULL, NULL, NULL, &future);
    if (status != STILE_OK)
        return status;
    status = wait_for(call, future, lock, number);
    if (status == STILE_OK)
        status = take(future, lock, hold, *number);
    stile_future_close(future);
    return status;
}

/* ---- holding ------------------------------------------------------------------------------ */

static bool set_environment(const struct lock_call *call, const stile_hold *hold)
{
    char fence[24];

    (void)snprintf(fence, sizeof(fence), "%" PRIu64, hold->fence);
    if (setenv("STILE_LOCK", call->name, 1) == 0 && setenv("STILE_FENCE", fence, 1) == 0 &&
        (call->url == NULL || setenv("STILE_URL", call->url, 1) == 0))
        return true;
    say("no memory for the environment of the command");
    return false;
}

static int hold_and_run(const struct lock_call *call, stile_lock *lock, const stile_hold *hold)
{
    struct guard guard = {.lock = lock, .hold = hold, .name = call->name, .verbose = call->verbose};
    stile_status status;
    int result = EXIT_CANNOT;

    if (call->verbose)
        say("lock \"%s\" is taken, fence %" PRIu64, call->name, hold->fence);
    status = stile_lock_watch(lock, hold, NULL, NULL, &guard.watch);
    if (status != STILE_OK) {
        complain("the lock cannot be watched", status);
    } else {
        if (set_environment(call, hold))
            result = run_command(&guard, call->command);
        stile_watch_close(guard.watch);
    }
    status = stile_lock_release(lock, hold);
    if (status != STILE_OK && result != EXIT_LOST)
        complain(status == STILE_LOST
                     ? "the lock was lost before the command ended: others may have had it"
                     : "the lock was not given back for sure, and ends with its lease",
                 status);
    else if (call->verbose && status == STILE_OK)
        say("lock \"%s\" is given back", call->name);
    return result;
}

static int lock_and_run(const struct lock_call *call, stile *space, int *number)
{
    stile_lock_options how = {
        .lease_ms = call->lease_ms, .min_hold_ms = call->hold_for_ms, .label = call->label};
    stile_lock *lock;
    stile_hold hold;
    stile_status status = stile_lock_open(space, call->name, &how, &lock);
    int result = EXIT_CANNOT;

    if (status != STILE_OK) {
        complain("the lock could not be opened", status);
        return EXIT_CANNOT;
    }
    status = acquire(call, lock, &hold, number);
    if (status == STILE_OK) {
        result = hold_and_run(call, lock, &hold);
    } else if (status == STILE_TIMEOUT) {
        result = (int)call->conflict;
        if (call->verbose)
            say("lock \"%s\" was not to be had in time; the command was not run", call->name);
    } else if (*number == 0) {
        complain("the lock could not be taken, and the command was not run", status);
    }
    stile_lock_close(lock);
    return result;
}

int run_lock(int argc, char **argv)
{
    struct lock_call call = {.wait_ms = STILE_FOREVER, .conflict = EXIT_FAILED};
    int number = 0, result;
    stile *space;

    if (!parse(&call, argc, argv))
        return EXIT_CANNOT;
    signals_take();
    if (!open_shared(call.url, call.url != NULL && strncmp(call.url, "local:", 6) == 0, &space))
        return EXIT_CANNOT;
    result = lock_and_run(&call, space, &number);
    stile_close(space);
    if (number != 0)
        signals_die(number);
    return result;
}
