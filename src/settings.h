/*
 * What stile_open() was asked for: the URL taken apart, defaults filled in.
 */
#ifndef STILE_SETTINGS_H
#define STILE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include <stile/space.h>

#include "base/deadline.h"

/* The shortest lease; the longest is STILE_TEN_YEARS_MS. */
#define STILE_LEASE_MIN_MS INT64_C(100)
#define STILE_CLAIM_MAX_MS 60000

struct stile_settings {
    char *scheme;   /* "local", "redis", "unix": what stands before the colon */
    char *host;     /* redis: without the brackets of an IPv6 address */
    uint16_t port;  /* redis: 6379 if not given */
    char *path;     /* unix: the socket */
    int db;         /* redis, unix: 0 if not given */
    char *user;     /* NULL: none */
    char *password; /* NULL: none; wiped by fini */
    char *prefix;   /* "stile:" if not given */
    /* The URL as it may be shown: secrets as ***. */
    char *shown;
    int64_t connect_timeout_ms;
    int64_t command_timeout_ms;
    int64_t lease_ms;
    int64_t max_hold_ms; /* 0: no limit */
    int64_t waiter_lease_ms;
    int64_t claim_ms;
    int64_t recheck_ms;
    bool no_fence;
};

/*
 * Fills settings from url (NULL or "": STILE_URL, else local:) and options
 * (NULL: none); what the URL says wins.  STILE_OK, and settings is owed one
 * fini; else it is owed none and the detail names the part that is wrong:
 * STILE_INVALID, STILE_UNSUPPORTED (a topology that is not built),
 * STILE_NO_MEMORY.
 */
stile_status stile__settings_init(struct stile_settings *settings, const char *url,
                                  const stile_options *options);
void stile__settings_fini(struct stile_settings *settings);

#endif
