/*
 * Says whether an option has this default and these bounds:
 * docs_options NAME DEFAULT [LEAST MOST].
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings.h"

static const struct {
    const char *name;
    size_t at;
} numbers[] = {
#define NUMBER(field)                                                                              \
    {                                                                                              \
#field, offsetof(struct stile_settings, field)                                             \
    }
    NUMBER(connect_timeout_ms), NUMBER(command_timeout_ms), NUMBER(lease_ms),   NUMBER(max_hold_ms),
    NUMBER(waiter_lease_ms),    NUMBER(claim_ms),           NUMBER(recheck_ms),
#undef NUMBER
};

/* The option of settings as text, NULL if it has none. */
static const char *value_of(const struct stile_settings *settings, const char *name, char *text,
                            size_t size)
{
    size_t i;

    if (strcmp(name, "prefix") == 0)
        return settings->prefix;
    if (strcmp(name, "user") == 0)
        return settings->user;
    if (strcmp(name, "password") == 0)
        return settings->password;
    if (strcmp(name, "fence") == 0)
        return settings->no_fence ? "off" : "on";
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            int64_t value;

            memcpy(&value, (const char *)settings + numbers[i].at, sizeof value);
            (void)snprintf(text, size, "%" PRId64, value);
            return text;
        }
    }
    fprintf(stderr, "%s is not known here\n", name);
    exit(EXIT_FAILURE);
}

static void check(const char *name, int64_t value, stile_status expected)
{
    struct stile_settings settings;
    stile_status status;
    char url[256];

    /* The two that bound each other get out of each other's way. */
    (void)snprintf(url, sizeof url, "redis://h?%s=%" PRId64 "%s", name, value,
                   strcmp(name, "recheck_ms") == 0        ? "&waiter_lease_ms=3600000"
                   : strcmp(name, "waiter_lease_ms") == 0 ? "&recheck_ms=50"
                                                          : "");
    status = stile__settings_init(&settings, url, NULL);
    if (status == STILE_OK)
        stile__settings_fini(&settings);
    if (status != expected) {
        fprintf(stderr, "%s is %s, not %s\n", url, stile_status_name(status),
                stile_status_name(expected));
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    struct stile_settings settings;
    const char *value;
    char text[32];

    if (argc != 3 && argc != 5)
        return EXIT_FAILURE;
    if (stile__settings_init(&settings, "redis://h", NULL) != STILE_OK)
        return EXIT_FAILURE;
    value = value_of(&settings, argv[1], text, sizeof text);
    if (strcmp(value == NULL ? "none" : value, argv[2]) != 0) {
        fprintf(stderr, "%s is %s, not %s\n", argv[1], value == NULL ? "none" : value, argv[2]);
        return EXIT_FAILURE;
    }
    stile__settings_fini(&settings);
    if (argc == 5) {
        int64_t least = strtoll(argv[3], NULL, 10), most = strtoll(argv[4], NULL, 10);

        check(argv[1], least, STILE_OK);
        check(argv[1], most, STILE_OK);
        check(argv[1], most + 1, STILE_INVALID);
        /* 0 may mean the default. */
        if (least > 1)
            check(argv[1], least - 1, STILE_INVALID);
    }
    return EXIT_SUCCESS;
}
