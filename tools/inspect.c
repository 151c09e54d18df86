/*
 * stile inspect: who holds a lock, and who waits for it.
 * stile release: takes it away.
 */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include <stile/stile.h>

#include "stile.h"

const char help_inspect[] =
    "usage: stile inspect NAME [OPTION...]\n"
    "\n"
    "Tells who holds the lock NAME, since when, with which fence and lease, and who waits for it,\n"
    "in the order in which they will get it.  It is true at the moment it is asked.\n"
    "\n"
    "  --kind KIND  lock or rlock, a reentrant lock; lock\n"
    "  --json       as one object of JSON\n"
    "  --url URL    where the lock lives; else STILE_URL\n"
    "  --help       print this\n"
    "\n"
    "Exit status: 0 held or free, 1 it could not be asked, 2 it was not understood.\n";

const char help_release[] =
    "usage: stile release --force NAME [OPTION...]\n"
    "\n"
    "Takes the lock NAME away from whoever holds it; the first who waits gets it.  The holder\n"
    "finds out at its next renewal, at a third of its lease, and may go on until then: use it "
    "when\n"
    "you know that the holder is gone, or must not go on.\n"
    "\n"
    "  --force      yes, from whoever holds it\n"
    "  --kind KIND  lock or rlock, a reentrant lock; lock\n"
    "  --url URL    where the lock lives; else STILE_URL\n"
    "  --help       print this\n"
    "\n"
    "Exit status: 0 taken away, 1 nobody held it, or it could not be done, 2 it was not\n"
    "understood.\n";

struct one_lock {
    const char *word;
    const char *name;
    const char *url;
    const char *kind;
    bool json;
    bool force;
};

/* NAME may stand before, between or behind the options. */
static bool parse(struct one_lock *one, const struct option *options, int argc, char **argv)
{
    char program[] = "stile";
    int option;

    argv[0] = program; /* what getopt_long() complains as */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'u')
            one->url = optarg;
        else if (option == 'k')
            one->kind = optarg;
        else if (option == 'j')
            one->json = true;
        else if (option == 'f')
            one->force = true;
        else
            return false;
    }
    if (optind + 1 != argc) {
        say("%s takes one NAME", one->word);
        return false;
    }
    if (!is_kind(one->kind)) {
        say("--kind \"%s\" is neither lock nor rlock", one->kind);
        return false;
    }
    one->name = argv[optind];
    return true;
}

/* ---- inspect ---------------------------------------------------------------------------- */

static void print_since(int64_t since_ms)
{
    time_t seconds = (time_t)(since_ms / 1000);
    char age[DURATION_SIZE], when[32];
    struct tm local;

    if (since_ms == 0 || localtime_r(&seconds, &local) == NULL ||
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local) == 0) {
        printf("  since    not known\n");
        return;
    }
    format_duration(age, age_of(since_ms));
    printf("  since    %s, %s ago\n", when, age);
}

static void print_lease(int64_t lease_ms)
{
    char lease[DURATION_SIZE];

    if (lease_ms == STILE_FOREVER) {
        printf("  lease    without an end\n");
        return;
    }
    format_duration(lease, lease_ms);
    printf("  lease    ends in %s unless it is renewed\n", lease);
}

static void print_queue(const stile_lock_info *info)
{
    char age[DURATION_SIZE];
    size_t i;

    printf("  waiting  %zu\n", info->waiters);
    for (i = 0; i < info->listed; i++) {
        printf("  %7zu  ", i + 1);
        print_party(stdout, &info->queue[i]);
        if (info->queue[i].since_ms != 0) {
            format_duration(age, age_of(info->queue[i].since_ms));
            printf(", for %s", age);
        }
        printf("\n");
    }
    if (info->listed < info->waiters)
        printf("           and %zu more\n", info->waiters - info->listed);
}

static void print_info(const struct one_lock *one, const stile_lock_info *info)
{
    printf("%s ", one->kind);
    print_quoted(stdout, one->name);
    printf(info->held ? ": held\n" : ": free\n");
    if (info->held) {
        printf("  by       ");
        print_party(stdout, &info->holder);
        printf("\n");
        print_since(info->holder.since_ms);
        print_lease(info->lease_ms);
    }
    if (info->fence != 0)
        printf("  fence    %" PRIu64 "%s\n", info->fence, info->held ? "" : ", of the last hold");
    print_queue(info);
}

static int inspect(const struct one_lock *one, struct target *target)
{
    stile_lock_info info;
    stile_status status = target_inspect(target, &info);

    if (status != STILE_OK) {
        complain("the lock could not be inspected", status);
        return EXIT_FAILED;
    }
    if (one->json) {
        print_info_json(stdout, one->kind, one->name, &info);
        printf("\n");
    } else {
        print_info(one, &info);
    }
    stile_lock_info_free(&info);
    return EXIT_DONE;
}

/* ---- release ------------------------------------------------------------------------------ */

/* Who holds it is asked first: afterwards nobody knows. */
static int release(const struct one_lock *one, struct target *target)
{
    stile_lock_info info;
    bool known = target_inspect(target, &info) == STILE_OK;
    stile_status status = target_force_release(target);

    if (status == STILE_OK) {
        printf("%s ", one->kind);
        print_quoted(stdout, one->name);
        printf(" was taken from ");
        if (known && info.held)
            print_party(stdout, &info.holder);
        else
            printf("a holder that could not be asked for");
        printf("\n");
        if (known && info.waiters > 0)
            printf("%zu waited for it; the first has it now\n", info.waiters);
    } else if (status == STILE_MISSING) {
        say("nobody held %s \"%s\"", one->kind, one->name);
    } else {
        complain("the lock could not be taken away", status);
    }
    if (known)
        stile_lock_info_free(&info);
    return status == STILE_OK ? EXIT_DONE : EXIT_FAILED;
}

/* ---- both ----------------------------------------------------------------------------------- */

static int with_target(const struct one_lock *one,
                       int (*run)(const struct one_lock *one, struct target *target))
{
    struct target *target;
    int result = EXIT_FAILED;
    stile *space;

    if (!open_shared(one->url, false, &space))
        return EXIT_FAILED;
    target = target_open(space, one->kind, one->name);
    if (target != NULL) {
        result = run(one, target);
        target_close(target);
    }
    stile_close(space);
    return result;
}

int run_inspect(int argc, char **argv)
{
    static const struct option options[] = {{"kind", required_argument, NULL, 'k'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"url", required_argument, NULL, 'u'},
                                            {NULL, 0, NULL, 0}};
    struct one_lock one = {.word = "inspect", .kind = "lock"};

    if (!parse(&one, options, argc, argv))
        return EXIT_USAGE;
    return with_target(&one, inspect);
}

int run_release(int argc, char **argv)
{
    static const struct option options[] = {{"force", no_argument, NULL, 'f'},
                                            {"kind", required_argument, NULL, 'k'},
                                            {"url", required_argument, NULL, 'u'},
                                            {NULL, 0, NULL, 0}};
    struct one_lock one = {.word = "release", .kind = "lock"};

    if (!parse(&one, options, argc, argv))
        return EXIT_USAGE;
    if (!one.force) {
        say("release takes a lock away from a holder that may be at work under it; look with "
            "\"stile inspect\", and say --force if that is what you want");
        return EXIT_USAGE;
    }
    return with_target(&one, release);
}
