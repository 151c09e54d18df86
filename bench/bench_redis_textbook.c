#include "bench_redis.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A release, and what tells the others of it. */
static const char *const release_scripts[] = {
    [TEXTBOOK_POLL] = "if redis.call('GET', KEYS[1]) == ARGV[1] then "
                      "return redis.call('DEL', KEYS[1]) else return 0 end",
    /* One token, however many releases nobody waited for. */
    [TEXTBOOK_LIST] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
                      "redis.call('DEL', KEYS[1], KEYS[2]) "
                      "redis.call('LPUSH', KEYS[2], 1) "
                      "redis.call('PEXPIRE', KEYS[2], 30000) return 1",
    [TEXTBOOK_CHANNEL] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
                         "redis.call('DEL', KEYS[1]) "
                         "redis.call('PUBLISH', KEYS[2], 1) return 1",
};

/* ---- connections ------------------------------------------------------------------- */

static bool load_script(struct textbook *lock)
{
    redisReply *reply = redisCommand(lock->redis, "SCRIPT LOAD %s", release_scripts[lock->kind]);
    bool good = reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == 40;

    if (good)
        memcpy(lock->sha1, reply->str, sizeof lock->sha1);
    freeReplyObject(reply);
    return good;
}

static bool subscribe(struct textbook *lock, const char *address)
{
    redisReply *reply;
    bool good;

    lock->subscriber = bench_redis_connect(address);
    if (lock->subscriber == NULL)
        return false;
    reply = redisCommand(lock->subscriber, "SUBSCRIBE bench:signal");
    good = reply != NULL && reply->type == REDIS_REPLY_ARRAY;
    freeReplyObject(reply);
    return good;
}

bool textbook_open(struct textbook *lock, enum textbook_kind kind, const char *address)
{
    memset(lock, 0, sizeof *lock);
    lock->kind = kind;
    /* No two processes have the same secrets. */
    lock->secrets = (uint64_t)getpid() << 40;
    lock->redis = bench_redis_connect(address);
    return lock->redis != NULL && load_script(lock) &&
           (kind != TEXTBOOK_CHANNEL || subscribe(lock, address));
}

void textbook_close(struct textbook *lock)
{
    if (lock->redis != NULL)
        redisFree(lock->redis);
    if (lock->subscriber != NULL)
        redisFree(lock->subscriber);
}

/* ---- acquire and release -------------------------------------------------------------- */

/* A new owner's secret.  It counts, which costs less than chance does: that is in
 * this contender's favour. */
static void next_secret(struct textbook *lock)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t number = ++lock->secrets;
    int i;

    for (i = TEXTBOOK_SECRET - 1; i >= 0; i--, number >>= 4)
        lock->secret[i] = digits[number & 15];
}

/* *taken: whether it was free. */
static bool try_once(struct textbook *lock, bool *taken)
{
    redisReply *reply = redisCommand(lock->redis, "SET bench:lock %b NX PX 30000", lock->secret,
                                     (size_t)TEXTBOOK_SECRET);
    bool good =
        reply != NULL && (reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_NIL);

    *taken = good && reply->type == REDIS_REPLY_STATUS;
    freeReplyObject(reply);
    return good;
}

static bool pause_10_ms(void)
{
    struct timespec pause = {.tv_nsec = 10000000};

    return nanosleep(&pause, NULL) == 0;
}

/* For a second at most: the token of an owner that died comes never. */
static bool wait_for_token(struct textbook *lock)
{
    redisReply *reply = redisCommand(lock->redis, "BLPOP bench:signal 1");
    bool good =
        reply != NULL && (reply->type == REDIS_REPLY_ARRAY || reply->type == REDIS_REPLY_NIL);

    freeReplyObject(reply);
    return good;
}

/* One that was sent since the last wait will do. */
static bool wait_for_message(struct textbook *lock)
{
    void *reply = NULL;
    bool good = redisGetReply(lock->subscriber, &reply) == REDIS_OK;

    freeReplyObject(reply);
    return good;
}

bool textbook_acquire(struct textbook *lock)
{
    bool good, taken;

    next_secret(lock);
    good = try_once(lock, &taken);
    while (good && !taken) {
        good = lock->kind == TEXTBOOK_POLL   ? pause_10_ms()
               : lock->kind == TEXTBOOK_LIST ? wait_for_token(lock)
                                             : wait_for_message(lock);
        if (good)
            good = try_once(lock, &taken);
    }
    return good;
}

bool textbook_release(struct textbook *lock)
{
    /* The first has but one key, as one would write it. */
    redisReply *reply =
        lock->kind == TEXTBOOK_POLL
            ? redisCommand(lock->redis, "EVALSHA %b 1 bench:lock %b", lock->sha1, (size_t)40,
                           lock->secret, (size_t)TEXTBOOK_SECRET)
            : redisCommand(lock->redis, "EVALSHA %b 2 bench:lock bench:signal %b", lock->sha1,
                           (size_t)40, lock->secret, (size_t)TEXTBOOK_SECRET);
    bool good = reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;

    freeReplyObject(reply);
    return good;
}
