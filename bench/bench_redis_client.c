/*
 * A client in a process of its own: see bench_redis.h for what it is told and what it
 * answers.
 */
#include "bench_redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <stile/stile.h>

/* ---- its lock ------------------------------------------------------------------------- */

struct client {
    /* stile, or else one written by hand. */
    stile *space;
    stile_lock *lock;
    stile_hold hold;
    struct textbook textbook;
};

static bool acquire(struct client *client)
{
    if (client->lock == NULL)
        return textbook_acquire(&client->textbook);
    return stile_lock_acquire(client->lock, STILE_FOREVER, &client->hold) == STILE_OK;
}

static bool release(struct client *client)
{
    if (client->lock == NULL)
        return textbook_release(&client->textbook);
    return stile_lock_release(client->lock, &client->hold) == STILE_OK;
}

/* options: what follows the address in its URL. */
static bool open_stile(struct client *client, const char *address, const char *options)
{
    char url[256];

    snprintf(url, sizeof url, "%s%s%s", *address == '/' ? "unix://" : "redis://127.0.0.1:", address,
             options);
    return stile_open(url, NULL, &client->space) == STILE_OK &&
           stile_lock_open(client->space, "bench", NULL, &client->lock) == STILE_OK;
}

static bool open_lock(struct client *client, const char *kind, const char *address)
{
    static const char *const textbooks[] = {
        [TEXTBOOK_POLL] = "poll", [TEXTBOOK_LIST] = "list", [TEXTBOOK_CHANNEL] = "channel"};
    size_t i;

    if (strncmp(kind, "stile", 5) == 0)
        return open_stile(client, address, kind + 5);
    for (i = 0; i < sizeof textbooks / sizeof textbooks[0]; i++) {
        if (strcmp(kind, textbooks[i]) == 0)
            return textbook_open(&client->textbook, (enum textbook_kind)i, address);
    }
    return false;
}

static void close_lock(struct client *client)
{
    stile_lock_close(client->lock);
    stile_close(client->space);
    textbook_close(&client->textbook);
}

/* ---- its work --------------------------------------------------------------------------- */

static int64_t now_ns(void)
{
    return (int64_t)bench_now_ns();
}

static void sleep_until(int64_t at_ns)
{
    struct timespec at = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

static bool pairs(void *context, unsigned turns)
{
    bool good = true;

    while (turns-- > 0)
        good &= acquire(context) && release(context);
    return good;
}

static bool do_pairs(struct client *client, const int64_t *told)
{
    double ns;

    if (!bench_time(pairs, client, (unsigned)told[0], &ns))
        return false;
    printf("%.1f\n", ns);
    return true;
}

static bool do_crowd(struct client *client, const int64_t *told)
{
    unsigned in_time = 0, all = 0;
    bool going = true;

    sleep_until(told[0]);
    while (going) {
        if (!acquire(client) || !release(client))
            return false;
        going = now_ns() < told[1];
        in_time += going;
        all++;
    }
    printf("%u %u\n", in_time, all);
    return true;
}

/* Where in the spread a round's release is: the fractions of multiples of the golden
 * ratio are spread evenly. */
static int64_t part_of(int64_t spread, int64_t round)
{
    return spread * (round * 618034 % 1000000) / 1000000;
}

static void print_instants(const int64_t *instants, int64_t count)
{
    int64_t i;

    for (i = 0; i < count; i++)
        printf("%" PRId64 "%c", instants[i], i + 1 < count ? ' ' : '\n');
}

static bool do_give(struct client *client, const int64_t *told)
{
    int64_t instants[BENCH_ROUNDS_MAX], round, begin = told[0];

    for (round = 0; round < told[3]; round++, begin += told[1]) {
        sleep_until(begin);
        if (!acquire(client))
            return false;
        sleep_until(begin + BENCH_QUEUE_NS + BENCH_IDLE_NS + part_of(told[2], round));
        instants[round] = now_ns();
        if (!release(client))
            return false;
    }
    print_instants(instants, told[3]);
    return true;
}

static bool do_take(struct client *client, const int64_t *told)
{
    int64_t instants[BENCH_ROUNDS_MAX], round, begin = told[0];

    for (round = 0; round < told[3]; round++, begin += told[1]) {
        sleep_until(begin + BENCH_QUEUE_NS);
        if (!acquire(client))
            return false;
        instants[round] = now_ns();
        if (!release(client))
            return false;
    }
    print_instants(instants, told[3]);
    return true;
}

static const struct work {
    const char *name;
    size_t numbers;
    bool (*run)(struct client *client, const int64_t *told);
} works[] = {
    {"pairs", 1, do_pairs}, {"crowd", 2, do_crowd}, {"give", 4, do_give}, {"take", 4, do_take}};

/* ---- its life ------------------------------------------------------------------------------ */

static const struct work *find_work(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof works / sizeof works[0]; i++) {
        if (strcmp(name, works[i].name) == 0)
            return &works[i];
    }
    return NULL;
}

/* False at the end of the input. */
static bool read_told(const struct work *work, int64_t *told)
{
    size_t i;

    for (i = 0; i < work->numbers; i++) {
        if (scanf("%" SCNd64, &told[i]) != 1)
            return false;
    }
    return work->run != do_give || told[3] <= BENCH_ROUNDS_MAX;
}

int bench_client_main(int argc, char **argv)
{
    const struct work *work = argc == 3 ? find_work(argv[1]) : NULL;
    struct client client = {.hold = STILE_HOLD_INIT};
    int64_t told[4] = {0};
    bool good;

    if (work == NULL) {
        fprintf(stderr, "stile-bench: --client KIND WORK ADDRESS\n");
        return 2;
    }
    good = open_lock(&client, argv[0], argv[2]) && acquire(&client) && release(&client);
    if (good)
        printf("ready\n");
    fflush(stdout);
    while (good && read_told(work, told)) {
        good = work->run(&client, told);
        fflush(stdout);
    }
    if (!good)
        fprintf(stderr, "stile-bench: a client of %s failed: %s\n", argv[0], stile_error_detail());
    close_lock(&client);
    return good ? 0 : 1;
}
