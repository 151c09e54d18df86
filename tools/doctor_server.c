/*
 * Checks of what the server is and keeps.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

/* The commands that the library sends are of Redis 6.0. */
#define VERSION_LEAST 60000

static void version_text(int version, char text[16])
{
    (void)snprintf(text, 16, "%d.%d.%d", version / 10000 % 1000, version / 100 % 100,
                   version % 100);
}

/* What a branch without releases may still have: its packages are mended by
 * distributions, which keep the number. */
static void tell_unmended(struct doctor *doctor, const char *ids, int above)
{
    char todo[FINDING_TEXT], to[16];

    version_text(above, to);
    (void)snprintf(todo, sizeof(todo),
                   "see whether the package's changelog names them, since distributions mend "
                   "without a new number; else upgrade to %s or later",
                   to);
    found(doctor, LEVEL_WARN, "flaws", todo, "by its version number it has %s", ids);
}

static void check_flaws(struct doctor *doctor, bool valkey, int version)
{
    char unmended[FINDING_TEXT] = "", todo[FINDING_TEXT], to[16];
    int fixed, above, highest = 0;
    const struct flaw *flaw;
    size_t next = 0, length = 0;

    while ((flaw = flaw_next(valkey, version, &next, &fixed, &above)) != NULL) {
        if (fixed == 0) {
            length += (size_t)snprintf(unmended + length, sizeof(unmended) - length, "%s%s",
                                       length > 0 ? ", " : "", flaw->ids);
            length = length < sizeof(unmended) ? length : sizeof(unmended) - 1;
            highest = above > highest ? above : highest;
            continue;
        }
        version_text(fixed, to);
        (void)snprintf(todo, sizeof(todo), "upgrade to %s or later", to);
        found(doctor, flaw->lua ? LEVEL_BAD : LEVEL_WARN, "flaws", todo,
              "by its version number it has %s: %s", flaw->ids, flaw->what);
    }
    if (length > 0)
        tell_unmended(doctor, unmended, highest);
    next = 0;
    if (flaw_next(valkey, version, &next, &fixed, &above) == NULL)
        found(doctor, LEVEL_OK, "flaws", "", "no flaw is known of this version");
}

void check_version(struct doctor *doctor)
{
    char text[VALUE_SIZE] = "", mode[VALUE_SIZE] = "standalone";
    bool valkey = info_text(doctor, "valkey_version", text);
    int version;

    if (doctor->info == NULL)
        return;
    if (!valkey && !info_text(doctor, "redis_version", text))
        (void)snprintf(text, sizeof(text), "of no version");
    version = version_number(text);
    (void)info_text(doctor, "redis_mode", mode);
    if (version == 0)
        found(doctor, LEVEL_WARN, "version", "stile is tested with redis-server 7.0.15",
              "the server says it is %s, which tells nothing", text);
    else if (version < VERSION_LEAST)
        found(doctor, LEVEL_BAD, "version", "upgrade to a version that gets security fixes",
              "%s %s is older than 6.0, the least that stile can use", valkey ? "Valkey" : "Redis",
              text);
    else
        found(doctor, LEVEL_OK, "version", "", "%s %s", valkey ? "Valkey" : "Redis", text);
    if (version != 0)
        check_flaws(doctor, valkey, version);
}

void check_role(struct doctor *doctor)
{
    char role[VALUE_SIZE] = "", mode[VALUE_SIZE] = "";

    if (doctor->info == NULL)
        return;
    (void)info_text(doctor, "role", role);
    (void)info_text(doctor, "redis_mode", mode);
    if (info_number(doctor, "loading", 0) != 0)
        found(doctor, LEVEL_BAD, "role", "wait", "it is still loading its data");
    else if (strcmp(mode, "sentinel") == 0)
        found(doctor, LEVEL_BAD, "role", "give the URL of the server that it watches",
              "it is a Sentinel, which keeps no locks");
    else if (strcmp(role, "slave") == 0)
        found(doctor, LEVEL_BAD, "role", "give the URL of its primary",
              "it is a replica: it refuses to write, and so every lock");
    else if (info_number(doctor, "cluster_enabled", 0) != 0)
        found(doctor, LEVEL_BAD, "role", "use a server that is not in a cluster",
              "it is in a cluster: locks of slots that live elsewhere are refused");
    else
        found(doctor, LEVEL_OK, "role", "", "it is a primary, and not in a cluster");
}

void check_memory(struct doctor *doctor)
{
    int64_t most = info_number(doctor, "maxmemory", 0);
    int64_t used = info_number(doctor, "used_memory", 0);
    int64_t evicted = info_number(doctor, "evicted_keys", 0);
    char policy[VALUE_SIZE] = "";

    if (doctor->info == NULL || !info_text(doctor, "maxmemory_policy", policy))
        return;
    if (strcmp(policy, "noeviction") != 0)
        found(doctor, most > 0 ? LEVEL_BAD : LEVEL_WARN, "eviction",
              "set maxmemory-policy noeviction; if the server is a cache, use another for locks",
              "maxmemory-policy is %s: when memory is full it throws away keys, and a lock that "
              "somebody holds may be one%s",
              policy, most > 0 ? "" : " (maxmemory is not set, so not now)");
    else
        found(doctor, LEVEL_OK, "eviction", "", "maxmemory-policy is noeviction");
    if (evicted > 0)
        found(doctor, LEVEL_WARN, "eviction", "look for holds that were granted twice",
              "%" PRId64 " keys were thrown away since it started", evicted);
    if (most == 0)
        found(doctor, LEVEL_OK, "memory", "", "no maxmemory is set");
    else if (used >= most / 10 * 9)
        found(doctor, LEVEL_WARN, "memory",
              "give it more, or store less: when it is full, every "
              "lock is refused",
              "%" PRId64 " %% of maxmemory is used", used * 100 / most);
    else
        found(doctor, LEVEL_OK, "memory", "", "%" PRId64 " %% of maxmemory is used",
              used * 100 / most);
}

/* What a crash of the server loses. */
static void check_log(struct doctor *doctor)
{
    char fsync[VALUE_SIZE] = "", save[VALUE_SIZE] = "";
    bool known = config_text(doctor, "appendfsync", fsync);

    if (info_number(doctor, "aof_enabled", 0) == 0) {
        bool rdb = config_text(doctor, "save", save) && *save != '\0';

        found(doctor, LEVEL_WARN, "persistence",
              "set appendonly yes, or have what the locks protect check the fence",
              rdb ? "only snapshots are kept: a restart forgets every hold since the last, and may "
                    "grant its lock again"
                  : "nothing is kept: a restart forgets every hold, and may grant its lock again");
    } else if (!known) {
        found(doctor, LEVEL_OK, "persistence", "",
              "appendonly is yes; appendfsync cannot be looked at");
    } else if (strcmp(fsync, "always") == 0) {
        found(doctor, LEVEL_OK, "persistence", "",
              "appendonly is yes and appendfsync always: what was answered is kept");
    } else if (strcmp(fsync, "everysec") == 0) {
        found(doctor, LEVEL_OK, "persistence", "set appendfsync always if no hold may be forgotten",
              "appendonly is yes and appendfsync everysec: a crash of the machine loses the last "
              "second");
    } else {
        found(doctor, LEVEL_WARN, "persistence", "set appendfsync everysec or always",
              "appendfsync is %s: a crash of the machine may lose half a minute", fsync);
    }
}

void check_persistence(struct doctor *doctor)
{
    char text[VALUE_SIZE];

    if (doctor->info == NULL)
        return;
    check_log(doctor);
    if (info_text(doctor, "aof_last_write_status", text) && strcmp(text, "ok") != 0)
        found(doctor, LEVEL_BAD, "persistence", "see the server's log; is its disk full?",
              "its log could not be written: it refuses every lock");
    if (info_text(doctor, "rdb_last_bgsave_status", text) && strcmp(text, "ok") != 0)
        found(doctor, LEVEL_WARN, "persistence",
              "see the server's log; with stop-writes-on-bgsave-error it refuses every lock",
              "its last snapshot failed");
    if (info_number(doctor, "latest_fork_usec", 0) > 500000)
        found(doctor, LEVEL_WARN, "persistence",
              "keep leases well above that; look for transparent huge pages",
              "its last fork stopped it for %" PRId64 " ms",
              info_number(doctor, "latest_fork_usec", 0) / 1000);
}

/* The largest lag in seconds of what INFO calls slave0, slave1, ... */
static int64_t largest_lag(const struct doctor *doctor, int64_t count)
{
    char name[32], line[VALUE_SIZE];
    int64_t most = 0, i;

    for (i = 0; i < count && i < 100; i++) {
        const char *lag;

        (void)snprintf(name, sizeof(name), "slave%" PRId64, i);
        lag = info_text(doctor, name, line) ? strstr(line, "lag=") : NULL;
        if (lag != NULL && strtoll(lag + 4, NULL, 10) > most)
            most = strtoll(lag + 4, NULL, 10);
    }
    return most;
}

void check_replicas(struct doctor *doctor)
{
    int64_t count = info_number(doctor, "connected_slaves", 0);
    int64_t good = info_number(doctor, "min_slaves_good_slaves", -1);
    int64_t wanted = config_number(doctor, "min-replicas-to-write", 0);

    if (doctor->info == NULL)
        return;
    if (good >= 0 && good < wanted)
        found(doctor, LEVEL_BAD, "replicas", "bring replicas back, or lower min-replicas-to-write",
              "%" PRId64 " good replicas and min-replicas-to-write %" PRId64
              ": it refuses every lock",
              good, wanted);
    else if (count == 0)
        found(doctor, LEVEL_OK, "replicas", "", "it has no replicas");
    else
        found(doctor, wanted > 0 ? LEVEL_OK : LEVEL_WARN, "replicas",
              wanted > 0 ? ""
                         : "set min-replicas-to-write 1, and have what the locks protect check the "
                           "fence",
              "%" PRId64 " replicas, the slowest %" PRId64
              " s behind: replication is asynchronous, and a failover may grant a lock again",
              count, largest_lag(doctor, count));
}

/* ---- limits ----------------------------------------------------------------------------- */

static void check_inbox_buffer(struct doctor *doctor)
{
    char text[VALUE_SIZE];
    const char *pubsub;
    long long hard;

    if (!config_text(doctor, "client-output-buffer-limit", text))
        return;
    pubsub = strstr(text, "pubsub ");
    hard = pubsub == NULL ? 0 : strtoll(pubsub + 7, NULL, 10);
    if (hard != 0 && hard < 1 << 20)
        found(doctor, LEVEL_WARN, "buffers", "set client-output-buffer-limit pubsub 32mb 8mb 60",
              "client-output-buffer-limit pubsub is %lld bytes: a client that waits for many locks "
              "may be cut off, and learns of grants late",
              hard);
    else
        found(doctor, LEVEL_OK, "buffers", "", "client-output-buffer-limit pubsub is wide enough");
}

static void check_connections(struct doctor *doctor)
{
    int64_t timeout = config_number(doctor, "timeout", 0);
    int64_t keepalive = config_number(doctor, "tcp-keepalive", 300);
    int64_t most = config_number(doctor, "maxclients", 0);
    int64_t now = info_number(doctor, "connected_clients", 0);

    if (timeout > 0)
        found(doctor, LEVEL_WARN, "connections", "set timeout 0",
              "timeout is %" PRId64 " s: idle clients are cut off and have to connect again",
              timeout);
    if (keepalive == 0 && strcmp(doctor->settings.scheme, "redis") == 0)
        found(doctor, LEVEL_WARN, "connections", "set tcp-keepalive 300",
              "tcp-keepalive is 0: clients that vanished keep their connections");
    if (most > 0 && now > most / 10 * 8)
        found(doctor, LEVEL_WARN, "connections", "raise maxclients; stile takes two for each space",
              "%" PRId64 " of %" PRId64 " connections are in use", now, most);
    else
        found(doctor, LEVEL_OK, "connections", "", "%" PRId64 " clients are connected", now);
}

void check_limits(struct doctor *doctor)
{
    char debug[VALUE_SIZE];
    int64_t busy = config_number(doctor, "lua-time-limit", 5000);

    check_inbox_buffer(doctor);
    if (doctor->info != NULL)
        check_connections(doctor);
    if (busy > 0 && busy < 1000)
        found(doctor, LEVEL_WARN, "scripts", "set busy-reply-threshold (lua-time-limit) 5000",
              "it answers BUSY when a script runs for %" PRId64 " ms", busy);
    if (config_text(doctor, "enable-debug-command", debug) && strcmp(debug, "no") != 0)
        found(doctor, LEVEL_WARN, "debug", "set enable-debug-command no",
              "enable-debug-command is %s: whoever is connected can crash it", debug);
    if (doctor->config_denied)
        found(doctor, LEVEL_WARN, "config", "run doctor as a user with +config|get",
              "CONFIG GET is not permitted: some settings are not checked");
}
