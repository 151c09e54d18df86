/*
 * R7: from the call that gives a lock back to the moment when somebody in another
 * process, who waits and has done nothing for a while, has it.
 */
#include "bench_redis.h"

#include <stdlib.h>
#include <string.h>

/* A round is long enough for who looks now and then only. */
#define SOON_NS INT64_C(20000000)
#define SPREAD_NS INT64_C(10000000)
#define SLACK_NS INT64_C(20000000)
#define SLOW_SPREAD_NS INT64_C(200000000)
#define SLOW_SLACK_NS INT64_C(350000000)

enum { ROUNDS = 20, ROUNDS_QUICK = 6, ROUNDS_SLOW = 5, ATTEMPTS = 3 };

struct pair {
    const struct bench_peer *peer;
    int rounds;
    struct bench_client giver, taker;
};

struct stage {
    struct test_server server;
    size_t count;
    struct pair pairs[BENCH_PEERS_MAX];
};

/* ---- a run ------------------------------------------------------------------------------ */

/* Lets both go through their rounds, and writes how long the hand-off took in each that
 * went as it should: on a busy machine somebody may come too late for one. */
static bool run_rounds(struct pair *pair, double *latencies, size_t *count)
{
    int64_t spread = pair->peer->slow ? SLOW_SPREAD_NS : SPREAD_NS;
    int64_t slack = pair->peer->slow ? SLOW_SLACK_NS : SLACK_NS;
    int64_t period = BENCH_QUEUE_NS + BENCH_IDLE_NS + spread + slack;
    int64_t orders[4] = {(int64_t)bench_now_ns() + SOON_NS, period, spread, pair->rounds};
    double given[BENCH_ROUNDS_MAX], taken[BENCH_ROUNDS_MAX];
    size_t i, rounds = (size_t)pair->rounds;

    if (!bench_client_tell(&pair->giver, orders, 4) ||
        !bench_client_tell(&pair->taker, orders, 4) ||
        !bench_client_answer(&pair->giver, given, rounds) ||
        !bench_client_answer(&pair->taker, taken, rounds))
        return false;
    *count = 0;
    for (i = 0; i < rounds; i++) {
        double latency = taken[i] - given[i];

        if (latency > 0 && latency < (double)period)
            latencies[(*count)++] = latency / 1000;
    }
    return true;
}

static bool run_pair(void *context, double *values)
{
    struct pair *pair = context;
    double latencies[BENCH_ROUNDS_MAX];
    size_t count = 0;
    int attempt;

    for (attempt = 0; attempt < ATTEMPTS && count * 2 < (size_t)pair->rounds; attempt++) {
        if (!run_rounds(pair, latencies, &count))
            return false;
    }
    if (count * 2 < (size_t)pair->rounds) {
        fprintf(stderr, "stile-bench: R7: %s: most rounds went wrong\n", pair->peer->name);
        return false;
    }
    values[0] = bench_median(latencies, count);
    /* By rank, which is the worst while there are no more than a hundred. */
    values[1] = latencies[(count * 99 + 99) / 100 - 1];
    return true;
}

/* ---- the row ------------------------------------------------------------------------------ */

static void stage_fini(struct stage *stage)
{
    size_t i;

    for (i = 0; i < stage->count; i++) {
        bench_client_end(&stage->pairs[i].giver);
        bench_client_end(&stage->pairs[i].taker);
    }
    test_server_stop(&stage->server);
}

static bool stage_init(const struct bench_options *options, struct stage *stage)
{
    struct test_server_options server = {.tcp = true};
    const struct bench_peer *peer;
    struct bench_address address;
    bool good = true;

    memset(stage, 0, sizeof *stage);
    if (!test_server_start(&server, &stage->server))
        return false;
    address = bench_address(options, &stage->server);
    for (peer = bench_redis_peers; good && peer->name != NULL; peer++) {
        struct pair *pair = &stage->pairs[stage->count];

        if (!bench_peer_chosen(options, peer))
            continue;
        stage->count++;
        pair->peer = peer;
        pair->rounds = peer->slow ? ROUNDS_SLOW : options->quick ? ROUNDS_QUICK : ROUNDS;
        if (bench_peer_installed(peer))
            good = bench_client_start(peer, "give", address.text, &pair->giver) &&
                   bench_client_start(peer, "take", address.text, &pair->taker);
    }
    if (!good)
        stage_fini(stage);
    return good;
}

static double goal(const struct bench_peer *peer)
{
    return strcmp(peer->kind, "list") == 0 ? 0.85 : strcmp(peer->kind, "poll") == 0 ? 0.1 : 0;
}

static bool run_r7(const struct bench_options *options)
{
    static struct stage stage;
    struct bench_match match = {.row = "R7",
                                .workload = "hand-off to a process that has waited for 50 ms",
                                .placement = bench_redis_placement(options, false),
                                .threads = 2,
                                .metric_count = 2,
                                .metrics = {{"p50", "us", false}, {"p99", "us", false}}};
    bool good;

    if (!bench_unpin() || !stage_init(options, &stage))
        return false;
    for (; match.contender_count < stage.count; match.contender_count++) {
        struct pair *pair = &stage.pairs[match.contender_count];
        bool there = pair->giver.answers != NULL;

        match.contenders[match.contender_count] = (struct bench_contender){
            pair->peer->name, there ? run_pair : NULL, pair, goal(pair->peer)};
    }
    good = bench_match_run(options, &match);
    stage_fini(&stage);
    return good;
}

const struct bench_row bench_redis_handoff_rows[] = {
    {"R7", "lock", "hand-off to an idle process that waits for a lock on a server", run_r7},
    {NULL, NULL, NULL, NULL}};
