/*
 * The lock on redis:// against what one writes by hand: SET NX PX, and a script
 * that deletes the key if it is still one's own.
 */
#include "bench.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include <stile/stile.h>

#include "support/server.h"

enum { ROUND_TRIPS = 400, TOKEN = 32 };

/* ---- the stage: a server and a client of each kind -------------------------------- */

struct stage {
    struct test_server server;
    stile *space;
    stile_lock *lock;
    redisContext *redis;
    char sha1[41];
    char token[TOKEN + 1];
    uint64_t tokens;
};

static void stage_fini(struct stage *stage)
{
    if (stage->redis != NULL)
        redisFree(stage->redis);
    stile_lock_close(stage->lock);
    stile_close(stage->space);
    test_server_stop(&stage->server);
}

static bool connect_raw(const struct bench_options *options, struct stage *stage)
{
    static const char script[] = "if redis.call('GET', KEYS[1]) == ARGV[1] then "
                                 "return redis.call('DEL', KEYS[1]) else return 0 end";
    redisReply *reply;
    bool good;

    stage->redis = options->unix_socket ? redisConnectUnix(test_server_unix_path(&stage->server))
                                        : redisConnect("127.0.0.1", stage->server.port);
    if (stage->redis == NULL || stage->redis->err != 0)
        return false;
    reply = redisCommand(stage->redis, "SCRIPT LOAD %s", script);
    good = reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == 40;
    if (good)
        memcpy(stage->sha1, reply->str, 41);
    freeReplyObject(reply);
    return good;
}

/* With the placement that the caller has, which the server inherits. */
static bool stage_init(const struct bench_options *options, struct stage *stage)
{
    struct test_server_options server = {.tcp = true};
    const char *url;

    memset(stage, 0, sizeof *stage);
    if (!test_server_start(&server, &stage->server))
        return false;
    url = options->unix_socket ? test_server_unix_url(&stage->server)
                               : test_server_tcp_url(&stage->server);
    if (stile_open(url, NULL, &stage->space) != STILE_OK ||
        stile_lock_open(stage->space, "bench", NULL, &stage->lock) != STILE_OK) {
        fprintf(stderr, "stile-bench: %s: %s\n", url, stile_error_detail());
        stage_fini(stage);
        return false;
    }
    if (!connect_raw(options, stage)) {
        fprintf(stderr, "stile-bench: hiredis cannot use %s\n", url);
        stage_fini(stage);
        return false;
    }
    return true;
}

/* ---- the work ---------------------------------------------------------------------- */

static bool stile_pairs(void *context, unsigned turns)
{
    struct stage *stage = context;
    bool good = true;

    while (turns-- > 0) {
        stile_hold hold;

        good &= stile_lock_acquire(stage->lock, STILE_FOREVER, &hold) == STILE_OK &&
                stile_lock_release(stage->lock, &hold) == STILE_OK;
    }
    return good;
}

/* A new owner's secret.  It counts, which costs less than chance does: that is in
 * this contender's favour. */
static void next_token(struct stage *stage)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t number = ++stage->tokens;
    int i;

    for (i = TOKEN - 1; i >= 0; i--, number >>= 4)
        stage->token[i] = digits[number & 15];
}

static bool raw_acquire(struct stage *stage)
{
    redisReply *reply =
        redisCommand(stage->redis, "SET bench:lock %b NX PX 30000", stage->token, (size_t)TOKEN);
    bool good = reply != NULL && reply->type == REDIS_REPLY_STATUS;

    freeReplyObject(reply);
    return good;
}

static bool raw_release(struct stage *stage)
{
    redisReply *reply = redisCommand(stage->redis, "EVALSHA %b 1 bench:lock %b", stage->sha1,
                                     (size_t)40, stage->token, (size_t)TOKEN);
    bool good = reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;

    freeReplyObject(reply);
    return good;
}

static bool raw_pairs(void *context, unsigned turns)
{
    struct stage *stage = context;
    bool good = true;

    while (turns-- > 0) {
        next_token(stage);
        good &= raw_acquire(stage) && raw_release(stage);
    }
    return good;
}

static bool raw_pings(void *context, unsigned turns)
{
    struct stage *stage = context;
    bool good = true;

    while (turns-- > 0) {
        redisReply *reply = redisCommand(stage->redis, "PING");

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

/* ---- the rows ------------------------------------------------------------------------ */

static const char *placement(const struct bench_options *options, bool one_core)
{
    if (options->unix_socket)
        return one_core ? "server and client on one core, unix socket" : "free, unix socket";
    return one_core ? "server and client on one core, TCP loopback" : "free, TCP loopback";
}

static bool run_r1(const struct bench_options *options)
{
    struct stage stage;
    struct bench_match match = {.row = "R1",
                                .workload = "PING",
                                .placement = placement(options, true),
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

static bool run_r5_placed(const struct bench_options *options, bool one_core)
{
    struct stage stage;
    struct bench_match match = {.row = "R5",
                                .workload = "lock pair on a server, uncontended",
                                .placement = placement(options, one_core),
                                .threads = 1,
                                .metric_count = 1,
                                .metrics = {{"time", "us/pair", false}},
                                .contender_count = 2,
                                .contenders = {{"stile", time_stile, &stage, 0},
                                               {"hiredis", time_raw, &stage, one_core ? 1.6 : 0}}};
    bool good = false;

    if ((one_core ? bench_pin(0) : bench_unpin()) && stage_init(options, &stage)) {
        good = bench_match_run(options, &match);
        stage_fini(&stage);
    }
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
