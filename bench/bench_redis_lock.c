/*
 * The lock on redis:// against what one writes by hand: SET NX PX, and a script
 * that deletes the key if it is still one's own.
 */
#include "bench_redis.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <stile/stile.h>

/* ---- the stage: a server and a client of each kind -------------------------------- */

enum { ROUND_TRIPS = 400, ROUND_TRIPS_SLOW = 100 };

/* Somebody else's lock, in a process of its own. */
struct foreign {
    const struct bench_peer *peer;
    struct bench_client client;
};

/* Ours: as it comes, and with fence=off. */
enum { FENCED, UNFENCED, KINDS };

struct own {
    stile *space;
    stile_lock *lock;
};

struct stage {
    struct test_server server;
    struct own own[KINDS];
    struct textbook textbook;
    size_t count;
    struct foreign foreign[BENCH_PEERS_MAX];
};

static void stage_fini(struct stage *stage)
{
    size_t i;

    for (i = 0; i < stage->count; i++)
        bench_client_end(&stage->foreign[i].client);
    textbook_close(&stage->textbook);
    for (i = 0; i < KINDS; i++) {
        stile_lock_close(stage->own[i].lock);
        stile_close(stage->own[i].space);
    }
    test_server_stop(&stage->server);
}

/* query: what stands behind the server in the URL. */
static bool open_own(const struct bench_options *options, struct stage *stage, const char *query,
                     struct own *own)
{
    char url[256];

    snprintf(url, sizeof url, "%s%s",
             options->unix_socket ? test_server_unix_url(&stage->server)
                                  : test_server_tcp_url(&stage->server),
             query);
    if (stile_open(url, NULL, &own->space) == STILE_OK &&
        stile_lock_open(own->space, "bench", NULL, &own->lock) == STILE_OK)
        return true;
    fprintf(stderr, "stile-bench: %s: %s\n", url, stile_error_detail());
    return false;
}

/* With the placement that the caller has, which the server inherits. */
static bool stage_init(const struct bench_options *options, struct stage *stage)
{
    struct test_server_options server = {.tcp = true};

    memset(stage, 0, sizeof *stage);
    if (!test_server_start(&server, &stage->server))
        return false;
    if (open_own(options, stage, "", &stage->own[FENCED]) &&
        open_own(options, stage, "?fence=off", &stage->own[UNFENCED]) &&
        textbook_open(&stage->textbook, TEXTBOOK_POLL, bench_address(options, &stage->server).text))
        return true;
    stage_fini(stage);
    return false;
}

static bool start_foreign(const struct bench_options *options, struct stage *stage)
{
    struct bench_address address = bench_address(options, &stage->server);
    const struct bench_peer *peer;

    for (peer = bench_redis_peers; peer->name != NULL; peer++) {
        struct foreign *foreign = &stage->foreign[stage->count];

        if (peer->script == NULL || !bench_peer_chosen(options, peer))
            continue;
        stage->count++;
        foreign->peer = peer;
        if (bench_peer_installed(peer) &&
            !bench_client_start(peer, "pairs", address.text, &foreign->client))
            return false;
    }
    return true;
}

/* ---- the work ---------------------------------------------------------------------- */

static bool stile_pairs(void *context, unsigned turns)
{
    struct own *own = context;
    bool good = true;

    while (turns-- > 0) {
        stile_hold hold;

        good &= stile_lock_acquire(own->lock, STILE_FOREVER, &hold) == STILE_OK &&
                stile_lock_release(own->lock, &hold) == STILE_OK;
    }
    return good;
}

static bool raw_pairs(void *context, unsigned turns)
{
    struct stage *stage = context;
    bool good = true;

    while (turns-- > 0)
        good &= textbook_acquire(&stage->textbook) && textbook_release(&stage->textbook);
    return good;
}

static bool raw_pings(void *context, unsigned turns)
{
    struct stage *stage = context;
    bool good = true;

    while (turns-- > 0) {
        redisReply *reply = redisCommand(stage->textbook.redis, "PING");

        good &= reply != NULL && reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
    }
    return good;
}

static bool time_us(bool (*work)(void *context, unsigned turns), void *context, double *values)
{
    if (!bench_time(work, context, ROUND_TRIPS, values))
        return false;
    values[0] /= 1000;
    return true;
}

static bool time_stile(void *context, double *values)
{
    return time_us(stile_pairs, context, values);
}

static bool time_raw(void *context, double *values)
{
    return time_us(raw_pairs, context, values);
}

static bool time_ping(void *context, double *values)
{
    return time_us(raw_pings, context, values);
}

static bool time_foreign(void *context, double *values)
{
    struct foreign *foreign = context;
    int64_t turns = ROUND_TRIPS_SLOW;

    if (!bench_client_tell(&foreign->client, &turns, 1) ||
        !bench_client_answer(&foreign->client, values, 1))
        return false;
    values[0] /= 1000;
    return true;
}

/* ---- the rows ------------------------------------------------------------------------ */

static bool run_r1(const struct bench_options *options)
{
    struct stage stage;
    struct bench_match match = {.row = "R1",
                                .workload = "PING",
                                .placement = bench_redis_placement(options, true),
                                .threads = 1,
                                .metric_count = 1,
                                .metrics = {{"time", "us", false}},
                                .contender_count = 1,
                                .contenders = {{"hiredis", time_ping, &stage, 0}}};
    bool good = false;

    if (bench_pin(0) && stage_init(options, &stage)) {
        good = bench_match_run(options, &match);
        stage_fini(&stage);
    }
    return bench_unpin() && good;
}

static void add_foreign(struct stage *stage, struct bench_match *match)
{
    size_t i;

    for (i = 0; i < stage->count; i++) {
        struct foreign *foreign = &stage->foreign[i];
        bool there = foreign->client.answers != NULL;

        match->contenders[match->contender_count++] =
            (struct bench_contender){foreign->peer->name, there ? time_foreign : NULL, foreign, 0};
    }
}

/* One after the other: with a fence, as it comes, against all there is; and without
 * one, against what gives none either. */
static bool run_r5_staged(const struct bench_options *options, struct stage *stage, bool one_core)
{
    struct bench_match match = {.row = "R5",
                                .workload = "lock pair on a server, uncontended",
                                .placement = bench_redis_placement(options, one_core),
                                .threads = 1,
                                .metric_count = 1,
                                .metrics = {{"time", "us/pair", false}},
                                .contender_count = 2,
                                .contenders = {{"stile", time_stile, &stage->own[FENCED], 0},
                                               {"hiredis", time_raw, stage, one_core ? 1.45 : 0}}};
    struct bench_match unfenced = match;

    unfenced.workload = "lock pair on a server, uncontended, fence=off";
    unfenced.contenders[0].context = &stage->own[UNFENCED];
    unfenced.contenders[1].goal = one_core ? 1.1 : 0;
    if (!start_foreign(options, stage))
        return false;
    add_foreign(stage, &match);
    return bench_match_run(options, &match) && bench_match_run(options, &unfenced);
}

static bool run_r5_placed(const struct bench_options *options, bool one_core)
{
    static struct stage stage;
    bool good;

    if (!(one_core ? bench_pin(0) : bench_unpin()) || !stage_init(options, &stage))
        return false;
    good = run_r5_staged(options, &stage, one_core);
    stage_fini(&stage);
    return bench_unpin() && good;
}

static bool run_r5(const struct bench_options *options)
{
    return run_r5_placed(options, true) && run_r5_placed(options, false);
}

const struct bench_row bench_redis_lock_rows[] = {
    {"R1", "lock", "one round trip of hiredis, PING, for scale", run_r1},
    {"R5", "lock", "acquire and release on a server, uncontended", run_r5},
    {NULL, NULL, NULL, NULL}};
