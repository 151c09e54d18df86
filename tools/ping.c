/*
 * stile ping: whether locks can be had where a URL says, and how long one takes.
 */
#include "stile.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <stile/stile.h>

const char help_ping[] =
    "usage: stile ping [OPTION...]\n"
    "\n"
    "Takes a lock and gives it back, and says how long each took.\n"
    "\n"
    "  --url URL    where; else STILE_URL, else local:\n"
    "  --count N    how often, 1 to 1000000; 4\n"
    "  --help       print this\n"
    "\n"
    "Exit status: 0 done, 1 a lock could not be had, 2 it was not understood.\n";

#define COUNT_MOST 1000000
#define ACQUIRE_MS 5000

struct ping {
    const char *url; /* NULL: what the environment says */
    long count;
    long done;
    double least_us;
    double most_us;
    double sum_us;
};

static double now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* What stands before the colon: the rest may have a password in it. */
static void print_scheme(const char *url)
{
    if (url == NULL || *url == '\0')
        url = getenv("STILE_URL");
    if (url == NULL || *url == '\0')
        url = "local:";
    printf("%.*s:", (int)strcspn(url, ":"), url);
}

static bool ping_once(struct ping *ping, stile_lock *lock)
{
    double begin = now_us(), held, end;
    stile_hold hold;
    stile_status status = stile_lock_acquire(lock, ACQUIRE_MS, &hold);

    held = now_us();
    if (status != STILE_OK) {
        complain("the lock could not be taken", status);
        return false;
    }
    status = stile_lock_release(lock, &hold);
    end = now_us();
    if (status != STILE_OK) {
        complain("the lock could not be given back", status);
        return false;
    }
    ping->done++;
    ping->sum_us += end - begin;
    if (ping->done == 1 || end - begin < ping->least_us)
        ping->least_us = end - begin;
    if (end - begin > ping->most_us)
        ping->most_us = end - begin;
    print_scheme(ping->url);
    printf(" %ld: taken in %.1f us, given back in %.1f us, fence %" PRIu64 "\n", ping->done,
           held - begin, end - held, hold.fence);
    return true;
}

static bool ping_lock(struct ping *ping, stile *space)
{
    char name[sizeof("stile-ping-") + 20];
    stile_lock *lock;
    stile_status status;
    bool good = true;

    /* Of this process alone, so that nobody is waited for. */
    (void)snprintf(name, sizeof(name), "stile-ping-%ld", (long)getpid());
    status = stile_lock_open(space, name, NULL, &lock);
    if (status != STILE_OK) {
        complain("the lock could not be opened", status);
        return false;
    }
    while (good && ping->done < ping->count)
        good = ping_once(ping, lock);
    stile_lock_close(lock);
    return good;
}

static int run(struct ping *ping)
{
    stile *space;
    stile_status status = stile_open(ping->url, NULL, &space);
    bool good;

    if (status != STILE_OK) {
        complain("the space could not be opened", status);
        return status == STILE_INVALID ? EXIT_USAGE : EXIT_FAILED;
    }
    good = ping_lock(ping, space);
    stile_close(space);
    print_scheme(ping->url);
    printf(" %ld of %ld pairs", ping->done, ping->count);
    if (ping->done > 0)
        printf("; taking and giving back: least %.1f us, mean %.1f us, most %.1f us",
               ping->least_us, ping->sum_us / (double)ping->done, ping->most_us);
    printf("\n");
    return good ? EXIT_DONE : EXIT_FAILED;
}

static bool parse_count(const char *text, long *count)
{
    if (parse_number(text, 1, COUNT_MOST, count))
        return true;
    say("--count \"%s\" is not a number from 1 to %d", text, COUNT_MOST);
    return false;
}

int run_ping(int argc, char **argv)
{
    static const struct option options[] = {{"url", required_argument, NULL, 'u'},
                                            {"count", required_argument, NULL, 'c'},
                                            {NULL, 0, NULL, 0}};
    struct ping ping = {.count = 4};
    char program[] = "stile";
    int option;

    argv[0] = program; /* what getopt_long() complains as */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'u')
            ping.url = optarg;
        else if (option != 'c' || !parse_count(optarg, &ping.count))
            return EXIT_USAGE;
    }
    if (optind < argc) {
        say("ping takes no \"%s\"", argv[optind]);
        return EXIT_USAGE;
    }
    return run(&ping);
}
