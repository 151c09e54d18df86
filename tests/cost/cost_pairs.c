/*
 * Acquires and releases a lock again and again, and says when, for those who watch
 * from outside what that costs: strace, and cost_interposer.c if it is preloaded.
 *
 * usage: cost_pairs local|redis PAIRS [malloc|syscall|clock]
 *
 * Before the first pair that counts it has made some, so that what is made once is
 * made; then it writes "begin" and after the last "end" to a descriptor that is not
 * open, which strace sees.  The third argument makes it do one such thing more in
 * between, which has to be found.  redis: on a server of its own.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <stile/stile.h>

#include "cost/cost_interposer.h"
#include "support/server.h"

enum { MARK_FD = 999, WARM_UP = 2000 };

struct pairs {
    struct test_server server;
    stile *space;
    stile_lock *lock;
};

static bool make_pairs(struct pairs *pairs, unsigned long count)
{
    stile_hold hold;

    for (; count > 0; count--) {
        if (stile_lock_acquire(pairs->lock, STILE_FOREVER, &hold) != STILE_OK ||
            stile_lock_release(pairs->lock, &hold) != STILE_OK) {
            fprintf(stderr, "cost_pairs: %s\n", stile_error_detail());
            return false;
        }
    }
    return true;
}

static void mark(const char *text)
{
    if (write(MARK_FD, text, strlen(text)) != -1)
        abort();
}

static void do_wrong(const char *what)
{
    struct timespec now;
    void *volatile memory;

    if (strcmp(what, "malloc") == 0) {
        memory = malloc(1);
        free(memory);
    } else if (strcmp(what, "syscall") == 0) {
        syscall(SYS_getppid);
    } else if (strcmp(what, "clock") == 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
}

/* With the interposer preloaded: what it counts.  Else NULL. */
static cost_counting_function *find_counting(void)
{
    cost_counting_function *counting = NULL;
    void *address = dlsym(RTLD_DEFAULT, "cost_counting");

    /* ISO C knows no pointer that is both. */
    memcpy(&counting, &address, sizeof counting);
    return counting;
}

static bool watch(struct pairs *pairs, unsigned long count, const char *wrong)
{
    cost_counting_function *counting = find_counting();
    struct cost_counts counts;
    bool good;

    if (!make_pairs(pairs, WARM_UP))
        return false;
    mark("begin");
    if (counting != NULL)
        counting(true);
    good = make_pairs(pairs, count);
    do_wrong(wrong);
    if (counting != NULL)
        counts = counting(false);
    mark("end");
    if (counting != NULL)
        printf("allocations %lu frees %lu clocks %lu\n", counts.allocations, counts.frees,
               counts.clocks);
    return good;
}

static bool open_lock(struct pairs *pairs, const char *where)
{
    const char *url = "local:";

    if (strcmp(where, "redis") == 0) {
        if (!test_server_start(NULL, &pairs->server))
            return false;
        url = test_server_unix_url(&pairs->server);
    }
    if (stile_open(url, NULL, &pairs->space) == STILE_OK &&
        stile_lock_open(pairs->space, "cost", NULL, &pairs->lock) == STILE_OK)
        return true;
    fprintf(stderr, "cost_pairs: %s\n", stile_error_detail());
    return false;
}

int main(int argc, char **argv)
{
    struct pairs pairs = {.space = NULL};
    bool good;

    if (argc < 3) {
        fprintf(stderr, "usage: cost_pairs local|redis PAIRS [malloc|syscall|clock]\n");
        return 2;
    }
    good = open_lock(&pairs, argv[1]) &&
           watch(&pairs, strtoul(argv[2], NULL, 10), argc > 3 ? argv[3] : "");
    stile_lock_close(pairs.lock);
    stile_close(pairs.space);
    test_server_stop(&pairs.server);
    return good ? 0 : 1;
}
