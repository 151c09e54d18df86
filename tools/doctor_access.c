/*
 * Checks of who may do what on the server, and of what a lock needs of it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <stile/stile.h>

#include "doctor.h"

#define TRIES 20

/* ---- time ------------------------------------------------------------------------------- */

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int compare(const void *left, const void *right)
{
    int64_t one = *(const int64_t *)left, other = *(const int64_t *)right;

    return (one > other) - (one < other);
}

/* skew_us receives how far the server is ahead of this machine.  False: no answer. */
static bool ask_time(struct doctor *doctor, int64_t *trip_us, int64_t *skew_us)
{
    int64_t begin = clock_us(CLOCK_MONOTONIC), here;
    const struct redis_reply *reply = RAW(&doctor->raw, "TIME");

    if (reply_is_error(reply) || reply->count != 2)
        return false;
    *trip_us = clock_us(CLOCK_MONOTONIC) - begin;
    here = clock_us(CLOCK_REALTIME) - *trip_us / 2;
    *skew_us = strtoll(reply_text(&reply->elements[0]), NULL, 10) * 1000000 +
               strtoll(reply_text(&reply->elements[1]), NULL, 10) - here;
    return true;
}

void check_time(struct doctor *doctor)
{
    int64_t trips[TRIES], skew_us = 0, median, most;
    int i;

    for (i = 0; i < TRIES; i++)
        if (!ask_time(doctor, &trips[i], &skew_us)) {
            found(doctor, LEVEL_BAD, "time", "permit +time",
                  "TIME is not answered, which every lock needs");
            return;
        }
    qsort(trips, TRIES, sizeof(trips[0]), compare);
    median = trips[TRIES / 2];
    most = trips[TRIES - 1];
    found(doctor, median > 20000 || most > 500000 ? LEVEL_WARN : LEVEL_OK, "round trip",
          median > 20000 || most > 500000 ? "keep leases and timeouts well above that" : "",
          "%" PRId64 " us, of %d the longest %" PRId64 " us", median, TRIES, most);
    if (skew_us > 1000000 || skew_us < -1000000)
        found(doctor, LEVEL_WARN, "clock", "have both set by NTP",
              "the server's clock is %" PRId64 " ms %s this machine's: leases do not mind, but the "
              "times that people are shown do; a clock that steps ends leases early or late",
              (skew_us < 0 ? -skew_us : skew_us) / 1000, skew_us < 0 ? "behind" : "ahead of");
    else
        found(doctor, LEVEL_OK, "clock", "", "within a second of this machine's");
}

/* ---- who gets in --------------------------------------------------------------------------- */

/* Whether commands are answered without a password. */
static bool is_open(struct doctor *doctor)
{
    struct raw raw;
    bool open;

    if (raw_open(&raw, &doctor->settings, true) != STILE_OK)
        return false;
    open = !reply_is_error(RAW(&raw, "TIME"));
    raw_close(&raw);
    return open;
}

/* Whether an address that a server is bound to is of its own machine alone. */
static bool is_loopback(const char *address)
{
    if (*address == '-') /* "if there is such an address" */
        address++;
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 ||
           strcmp(address, "localhost") == 0;
}

enum reach { REACH_OWN, REACH_SHIELDED, REACH_WIDE, REACH_UNKNOWN };

/* From where one can connect. */
static enum reach reach_of(struct doctor *doctor)
{
    char bind[VALUE_SIZE], mode[VALUE_SIZE], *address, *rest;
    bool wide;

    if (doctor->remote)
        return REACH_WIDE;
    if (!config_text(doctor, "bind", bind))
        return REACH_UNKNOWN;
    wide = *bind == '\0'; /* all interfaces */
    for (address = strtok_r(bind, " ", &rest); address != NULL;
         address = strtok_r(NULL, " ", &rest))
        wide = wide || !is_loopback(address);
    if (!wide || config_number(doctor, "port", 1) == 0)
        return REACH_OWN;
    return config_text(doctor, "protected-mode", mode) && strcmp(mode, "yes") == 0 ? REACH_SHIELDED
                                                                                   : REACH_WIDE;
}

static void check_open(struct doctor *doctor)
{
    switch (reach_of(doctor)) {
    case REACH_OWN:
        found(doctor, LEVEL_OK, "password",
              "set a password, or an ACL user, if others have accounts on the machine",
              "none is needed, and the server listens on its own machine alone");
        break;
    case REACH_SHIELDED:
        found(doctor, LEVEL_WARN, "password", "set a password, or bind 127.0.0.1",
              "none is needed; protected-mode alone keeps other machines out");
        break;
    case REACH_UNKNOWN:
        found(doctor, LEVEL_WARN, "password", "set a password, or bind 127.0.0.1",
              "none is needed, and from where one can connect cannot be looked at");
        break;
    case REACH_WIDE:
        found(doctor, LEVEL_BAD, "password", "set a password, or an ACL user as in docs/redis.md",
              "none is needed, and other machines can connect: whoever does can take every lock, "
              "and run scripts");
        break;
    }
}

void check_password(struct doctor *doctor)
{
    if (is_open(doctor))
        check_open(doctor);
    else
        found(doctor, LEVEL_OK, "password", "", "nobody gets in without");
    if (doctor->remote && doctor->settings.password != NULL)
        found(doctor, LEVEL_WARN, "password",
              "reach the server through a network that only trusted machines are in, or a tunnel",
              "it goes over the network as it is, and so does everything else");
}

void check_user(struct doctor *doctor)
{
    const struct redis_reply *reply = RAW(&doctor->raw, "ACL", "WHOAMI");

    if (!reply_is_error(reply) && strcmp(reply_text(reply), "default") == 0)
        found(doctor, LEVEL_OK, "user",
              "docs/redis.md has a user that can do what stile needs and no more",
              "it is \"default\", which usually may do everything");
    else
        found(doctor, LEVEL_OK, "user", "", "it is a user of its own");
}

/* ---- what a lock needs ---------------------------------------------------------------------- */

/* With arguments that each takes; K is a key of ours. */
static const char *const commands[][6] = {
    {"eval", "return 1", "0"},
    {"evalsha", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"},
    {"script", "load", "return 1"},
    {"subscribe", "C"},
    {"publish", "C", "hello"},
    {"get", "K"},
    {"set", "K", "value"},
    {"del", "K"},
    {"exists", "K"},
    {"pexpire", "K", "1000"},
    {"pttl", "K"},
    {"zadd", "K", "1", "member"},
    {"zcard", "K"},
    {"zrange", "K", "0", "0"},
    {"zrank", "K", "member"},
    {"zrem", "K", "member"},
    {"zscore", "K", "member"},
    {"hdel", "K", "field"},
    {"hget", "K", "field"},
    {"hlen", "K"},
    {"hmget", "K", "field"},
    {"hset", "K", "field", "value"},
};

static bool is_permitted(struct doctor *doctor, const char *user, const char *const *command)
{
    char key[128], channel[128];
    const char *words[10] = {"ACL", "DRYRUN", user};
    const struct redis_reply *reply;
    size_t i;

    (void)snprintf(key, sizeof(key), "%s{lock:stile-doctor}", doctor->settings.prefix);
    (void)snprintf(channel, sizeof(channel), "%sinbox:stile-doctor", doctor->settings.prefix);
    for (i = 0; i < 6 && command[i] != NULL; i++)
        words[3 + i] = strcmp(command[i], "K") == 0   ? key
                       : strcmp(command[i], "C") == 0 ? channel
                                                      : command[i];
    reply = raw_call(&doctor->raw, words);
    /* What is not permitted is said in a string, and OK is none. */
    return reply == NULL || reply->type != REDIS_STRING;
}

void check_commands(struct doctor *doctor)
{
    const struct redis_reply *reply = RAW(&doctor->raw, "ACL", "WHOAMI");
    char user[VALUE_SIZE], missing[VALUE_SIZE] = "";
    size_t length = 0, i;

    if (reply_is_error(reply))
        return;
    (void)snprintf(user, sizeof(user), "%s", reply_text(reply));
    reply = RAW(&doctor->raw, "ACL", "DRYRUN", user, "time");
    if (reply_is_error(reply))
        return; /* before 7.0, or not permitted: a real lock tells most of it */
    for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (!is_permitted(doctor, user, commands[i]) && length < sizeof(missing))
            length += (size_t)snprintf(missing + length, sizeof(missing) - length, " +%s",
                                       commands[i][0]);
    if (length > 0)
        found(doctor, LEVEL_BAD, "commands", "docs/redis.md has the whole ACL SETUSER line",
              "user \"%s\" may not all that locks need; missing, or for other keys and channels "
              "only:%s",
              user, missing);
    else
        found(doctor, LEVEL_OK, "commands", "", "all that locks need are permitted");
}

void check_inbox(struct doctor *doctor)
{
    char channel[128];
    struct raw raw;
    const struct redis_reply *reply = NULL;
    bool subscribed = false, heard = false;

    (void)snprintf(channel, sizeof(channel), "%sinbox:stile-doctor-%" PRId64,
                   doctor->settings.prefix, clock_us(CLOCK_REALTIME));
    if (raw_open(&raw, &doctor->settings, false) == STILE_OK) {
        subscribed = !reply_is_error(RAW(&raw, "SUBSCRIBE", channel));
        if (subscribed && !reply_is_error(RAW(&doctor->raw, "PUBLISH", channel, "hello")))
            reply = raw_next(&raw);
        heard = reply != NULL && reply->type == REDIS_ARRAY;
        raw_close(&raw);
    }
    if (heard)
        found(doctor, LEVEL_OK, "messages", "", "what is published arrives");
    else
        found(doctor, LEVEL_BAD, "messages", "permit +subscribe and +publish on &stile:*",
              "%s: locks cannot be waited for",
              subscribed ? "what is published does not arrive" : "SUBSCRIBE is refused");
}

void check_lock(struct doctor *doctor, const char *url)
{
    const char *step = "open a space";
    stile_lock *lock = NULL;
    stile *space = NULL;
    stile_hold hold;
    char name[64];
    stile_status status;

    (void)snprintf(name, sizeof(name), "stile-doctor-%" PRId64, clock_us(CLOCK_REALTIME));
    status = stile_open(url, NULL, &space);
    if (status == STILE_OK)
        status = stile_lock_open(space, name, NULL, &lock);
    if (status == STILE_OK) {
        step = "take a lock";
        status = stile_lock_acquire(lock, doctor->settings.command_timeout_ms, &hold);
    }
    if (status == STILE_OK) {
        step = "give the lock back";
        status = stile_lock_release(lock, &hold);
    }
    if (status == STILE_OK)
        found(doctor, LEVEL_OK, "lock", "", "one was taken and given back");
    else
        found(doctor, LEVEL_BAD, "lock", "", "could not %s: %s %s", step, stile_status_text(status),
              stile_error_detail());
    stile_lock_close(lock);
    stile_close(space);
}
