/*
 * R6: eight clients in eight processes want one lock, again and again, and do nothing
 * with it.
 */
#include "bench_redis.h"

#include <stdlib.h>
#include <string.h>

enum { CLIENTS = 8 };

#define SOON_NS INT64_C(10000000)
#define WINDOW_NS INT64_C(1000000000)
#define WINDOW_QUICK_NS INT64_C(200000000)

/* One contender: its clients wait for orders from the first run to the last. */
struct crowd {
    const struct bench_peer *peer;
    redisContext *redis; /* to ask the server what it has counted */
    int64_t window_ns;
    struct bench_client clients[CLIENTS];
};

struct stage {
    struct test_server server;
    redisContext *redis;
    size_t count;
    struct crowd crowds[BENCH_PEERS_MAX];
};

/* ---- what was sent ------------------------------------------------------------------ */

/* How often the server has run a command, from "cmdstat_NAME:calls=N,..." lines. */
static double calls_of(const char *text, const char *name, size_t length)
{
    char line[64];
    const char *found;

    snprintf(line, sizeof line, "cmdstat_%.*s:calls=", (int)length, name);
    found = strstr(text, line);
    return found == NULL ? 0 : strtod(found + strlen(line), NULL);
}

/* How many commands the clients of a crowd, and whoever else sends those, have written
 * so far. */
static bool count_sent(struct crowd *crowd, double *sent)
{
    redisReply *reply = redisCommand(crowd->redis, "INFO commandstats");
    bool good = reply != NULL && reply->type == REDIS_REPLY_STRING;
    const char *at = crowd->peer->sent;

    *sent = 0;
    while (good && *at != '\0') {
        size_t length = strcspn(at, " ");

        *sent += calls_of(reply->str, at, length);
        at += length + strspn(at + length, " ");
    }
    freeReplyObject(reply);
    return good;
}

/* ---- a run --------------------------------------------------------------------------- */

static bool send_all(struct crowd *crowd)
{
    int64_t begin = (int64_t)bench_now_ns() + SOON_NS;
    int64_t orders[2] = {begin, begin + crowd->window_ns};
    bool good = true;
    size_t i;

    for (i = 0; i < CLIENTS; i++)
        good &= bench_client_tell(&crowd->clients[i], orders, 2);
    return good;
}

static bool run_crowd(void *context, double *values)
{
    struct crowd *crowd = context;
    double before, after, counts[2], in_time = 0, all = 0, most = 0, least = 1e18;
    size_t i;

    if (!count_sent(crowd, &before) || !send_all(crowd))
        return false;
    for (i = 0; i < CLIENTS; i++) {
        if (!bench_client_answer(&crowd->clients[i], counts, 2))
            return false;
        in_time += counts[0];
        all += counts[1];
        most = counts[0] > most ? counts[0] : most;
        least = counts[0] < least ? counts[0] : least;
    }
    if (!count_sent(crowd, &after))
        return false;
    values[0] = in_time / ((double)crowd->window_ns / 1e9) / 1000;
    values[1] = most / (least > 1 ? least : 1);
    values[2] = (after - before) / all;
    return true;
}

/* ---- the row --------------------------------------------------------------------------- */

static void stage_fini(struct stage *stage)
{
    size_t c, i;

    for (c = 0; c < stage->count; c++) {
        for (i = 0; i < CLIENTS; i++)
            bench_client_end(&stage->crowds[c].clients[i]);
    }
    if (stage->redis != NULL)
        redisFree(stage->redis);
    test_server_stop(&stage->server);
}

static bool start_crowd(struct stage *stage, const struct bench_peer *peer, const char *address,
                        int64_t window_ns)
{
    struct crowd *crowd = &stage->crowds[stage->count++];
    size_t i, count = bench_peer_installed(peer) ? CLIENTS : 0;

    crowd->peer = peer;
    crowd->redis = stage->redis;
    crowd->window_ns = window_ns;
    for (i = 0; i < count; i++) {
        if (!bench_client_start(peer, "crowd", address, &crowd->clients[i]))
            return false;
    }
    return true;
}

static bool stage_init(const struct bench_options *options, struct stage *stage)
{
    struct test_server_options server = {.tcp = true};
    const struct bench_peer *peer;
    struct bench_address address;
    bool good;

    memset(stage, 0, sizeof *stage);
    if (!test_server_start(&server, &stage->server))
        return false;
    address = bench_address(options, &stage->server);
    stage->redis = bench_redis_connect(address.text);
    good = stage->redis != NULL;
    for (peer = bench_redis_peers; good && peer->name != NULL; peer++) {
        if (bench_peer_chosen(options, peer))
            good = start_crowd(stage, peer, address.text,
                               options->quick ? WINDOW_QUICK_NS : WINDOW_NS);
    }
    if (!good)
        stage_fini(stage);
    return good;
}

static double goal(const struct bench_peer *peer, bool one_core)
{
    return one_core && strcmp(peer->kind, "list") == 0 ? 1.0 : 0;
}

static bool run_placed(const struct bench_options *options, bool one_core)
{
    static struct stage stage;
    struct bench_match match = {.row = "R6",
                                .workload = "8 clients in 8 processes, one lock on a server",
                                .placement = bench_redis_placement(options, one_core),
                                .threads = CLIENTS,
                                .metric_count = 3,
                                .metrics = {{"rate", "K/s", true},
                                            {"max/min", "clients", false},
                                            {"sent", "commands", false}},
                                .limits = {0, one_core ? 1.2 : 0, one_core ? 3 : 0}};
    bool good;

    if (!(one_core ? bench_pin(0) : bench_unpin()) || !stage_init(options, &stage))
        return false;
    for (; match.contender_count < stage.count; match.contender_count++) {
        struct crowd *crowd = &stage.crowds[match.contender_count];
        bool there = crowd->clients[0].answers != NULL;

        match.contenders[match.contender_count] = (struct bench_contender){
            crowd->peer->name, there ? run_crowd : NULL, crowd, goal(crowd->peer, one_core)};
    }
    good = bench_match_run(options, &match);
    stage_fini(&stage);
    return bench_unpin() && good;
}

static bool run_r6(const struct bench_options *options)
{
    return run_placed(options, true) && run_placed(options, false);
}

const struct bench_row bench_redis_crowd_rows[] = {
    {"R6", "lock", "8 processes contend for one lock on a server", run_r6},
    {NULL, NULL, NULL, NULL}};
