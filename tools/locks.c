/*
 * stile locks: all locks of a server that are held or waited for.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <stile/stile.h>

#include "stile.h"
#ifdef STILE_BACKEND_REDIS
#include "raw.h"
#endif

const char help_locks[] =
    "usage: stile locks [OPTION...]\n"
    "\n"
    "Lists all locks that are held or waited for.  It walks through all keys of the server in\n"
    "small steps (SCAN), which the user may have to be permitted; the library itself never does.\n"
    "\n"
    "  --json       as one array of JSON\n"
    "  --url URL    where the locks live; else STILE_URL\n"
    "  --help       print this\n"
    "\n"
    "Exit status: 0 listed, also if there are none, 1 it could not be asked, 2 it was not\n"
    "understood.\n";

#ifdef STILE_BACKEND_REDIS

/* One lock that has keys on the server. */
struct found {
    const char *kind; /* a constant */
    char *name;
    bool shown;
    stile_lock_info info;
};

struct found_list {
    struct found *items;
    size_t count;
    size_t capacity;
};

static void list_fini(struct found_list *list)
{
    size_t i;

    for (i = 0; i < list->count; i++) {
        free(list->items[i].name);
        stile_lock_info_free(&list->items[i].info);
    }
    free(list->items);
}

/* Takes name, also when it fails. */
static bool list_add(struct found_list *list, const char *kind, char *name)
{
    if (name != NULL && list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        struct found *items = realloc(list->items, capacity * sizeof(*items));

        if (items == NULL) {
            free(name);
            name = NULL;
        } else {
            list->items = items;
            list->capacity = capacity;
        }
    }
    if (name == NULL) {
        say("no memory");
        return false;
    }
    list->items[list->count++] = (struct found){.kind = kind, .name = name};
    return true;
}

/* ---- from keys to names -------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes what docs/redis.md says of names in keys.  NULL: no memory. */
static char *decode(const char *text, size_t length)
{
    char *name = malloc(length + 1), *out = name;
    size_t i;

    if (name == NULL)
        return NULL;
    for (i = 0; i < length; i++) {
        if (text[i] == '%' && i + 2 < length && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
            *out++ = (char)(hex(text[i + 1]) << 4 | hex(text[i + 2]));
            i += 2;
        } else {
            *out++ = text[i];
        }
    }
    *out = '\0';
    return name;
}

/* <prefix>{<kind>:<name>} and the same with :queue are of interest; a fence alone is
 * nobody's hold. */
static bool take_key(struct found_list *list, const struct redis_reply *key, size_t prefix)
{
    static const char *const kinds[] = {"lock", "rlock"};
    const char *text = key->text + prefix, *end;
    size_t length = key->length - prefix, i;

    end = memchr(text, '}', length);
    if (end == NULL)
        return true;
    if (end + 1 != text + length && strcmp(end, "}:queue") != 0)
        return true;
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t head = strlen(kinds[i]) + 2; /* {kind: */

        if ((size_t)(end - text) > head && text[0] == '{' && text[head - 1] == ':' &&
            strncmp(text + 1, kinds[i], head - 2) == 0)
            return list_add(list, kinds[i], decode(text + head, (size_t)(end - text) - head));
    }
    return true;
}

/* The prefix may hold what means something in a pattern. */
static void make_pattern(char *pattern, const char *prefix)
{
    for (; *prefix != '\0'; *pattern++ = *prefix++)
        if (strchr("*?[]\\", *prefix) != NULL)
            *pattern++ = '\\';
    memcpy(pattern, "{*", 3);
}

static bool scan(struct raw *raw, struct found_list *list)
{
    size_t prefix = strlen(raw->settings->prefix), i;
    char cursor[24] = "0", pattern[2 * 64 + 3];

    make_pattern(pattern, raw->settings->prefix);
    do {
        const struct redis_reply *reply =
            RAW(raw, "SCAN", cursor, "MATCH", pattern, "COUNT", "1000");

        if (reply_is_error(reply) || reply->count != 2 || reply->elements[0].length > 20) {
            say("the keys of the server could not be listed: %s%s",
                reply == NULL ? "it did not answer" : reply_text(reply),
                reply != NULL && strncmp(reply_text(reply), "NOPERM", 6) == 0
                    ? "; the user needs +scan"
                    : "");
            return false;
        }
        (void)snprintf(cursor, sizeof(cursor), "%s", reply_text(&reply->elements[0]));
        for (i = 0; i < reply->elements[1].count; i++)
            if (reply->elements[1].elements[i].length >= prefix &&
                !take_key(list, &reply->elements[1].elements[i], prefix))
                return false;
    } while (strcmp(cursor, "0") != 0);
    return true;
}

static int compare(const void *left, const void *right)
{
    const struct found *one = left, *other = right;
    int kinds = strcmp(one->kind, other->kind);

    return kinds != 0 ? kinds : strcmp(one->name, other->name);
}

/* SCAN may give a key twice, and a lock has two keys. */
static void sort(struct found_list *list)
{
    size_t kept = 0, i;

    if (list->count > 0)
        qsort(list->items, list->count, sizeof(*list->items), compare);
    for (i = 0; i < list->count; i++) {
        if (kept > 0 && compare(&list->items[kept - 1], &list->items[i]) == 0)
            free(list->items[i].name);
        else
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

/* ---- what is in them --------------------------------------------------------------------- */

static bool inspect(struct found_list *list, stile *space)
{
    size_t i;

    for (i = 0; i < list->count; i++) {
        struct found *found = &list->items[i];
        struct target *target = target_open(space, found->kind, found->name);
        stile_status status;

        if (target == NULL)
            return false;
        status = target_inspect(target, &found->info);
        if (status != STILE_OK)
            complain("a lock could not be inspected", status);
        target_close(target);
        if (status != STILE_OK)
            return false;
        /* It may have come free since the scan. */
        found->shown = found->info.held || found->info.waiters > 0;
    }
    return true;
}

static void print_line(const struct found *found)
{
    char age[DURATION_SIZE] = "-", lease[DURATION_SIZE] = "-";
    const stile_lock_info *info = &found->info;

    if (info->held && info->holder.since_ms != 0)
        format_duration(age, age_of(info->holder.since_ms));
    if (info->held && info->lease_ms != STILE_FOREVER)
        format_duration(lease, info->lease_ms);
    printf("%-5s  %-12s  %-12s  %7zu  ", found->kind, age, lease, info->waiters);
    print_quoted(stdout, found->name);
    printf("  ");
    if (info->held)
        print_party(stdout, &info->holder);
    else
        printf("free, and about to be granted");
    printf("\n");
}

static void print_table(const struct found_list *list)
{
    bool head = false;
    size_t i;

    for (i = 0; i < list->count; i++) {
        if (!list->items[i].shown)
            continue;
        if (!head)
            printf("KIND   HELD FOR      LEASE LEFT    WAITING  NAME  HOLDER\n");
        head = true;
        print_line(&list->items[i]);
    }
    if (!head)
        printf("No lock is held or waited for.\n");
}

static void print_array(const struct found_list *list)
{
    const char *before = "\n  ";
    size_t i;

    printf("[");
    for (i = 0; i < list->count; i++) {
        if (!list->items[i].shown)
            continue;
        printf("%s", before);
        print_info_json(stdout, list->items[i].kind, list->items[i].name, &list->items[i].info);
        before = ",\n  ";
    }
    printf("\n]\n");
}

static bool find(const char *url, struct found_list *list)
{
    struct stile_settings settings;
    struct raw raw;
    stile_status status = stile__settings_init(&settings, url, NULL);
    bool good = false;

    if (status != STILE_OK) {
        complain("the URL cannot be used", status);
        return false;
    }
    status = raw_open(&raw, &settings, false);
    if (status == STILE_OK) {
        good = scan(&raw, list);
        raw_close(&raw);
    } else {
        complain("the server could not be asked", status);
    }
    stile__settings_fini(&settings);
    return good;
}

static bool print_locks(const char *url, bool json, stile *space)
{
    struct found_list list = {0};
    bool good = find(url, &list);

    if (good) {
        sort(&list);
        good = inspect(&list, space);
    }
    if (good && json)
        print_array(&list);
    else if (good)
        print_table(&list);
    list_fini(&list);
    return good;
}

#else

/* Without a server there is no space to be opened that has come so far. */
static bool print_locks(const char *url, bool json, stile *space)
{
    (void)url;
    (void)json;
    (void)space;
    return false;
}

#endif

int run_locks(int argc, char **argv)
{
    const char *url = NULL;
    bool json = false, good;
    stile *space;

    if (!take_url_and_json(argc, argv, &url, &json))
        return EXIT_USAGE;
    if (optind < argc) {
        say("locks takes no \"%s\"", argv[optind]);
        return EXIT_USAGE;
    }
    if (!open_shared(url, false, &space))
        return EXIT_FAILED;
    good = print_locks(url, json, space);
    stile_close(space);
    return good ? EXIT_DONE : EXIT_FAILED;
}
