/*
 * stile doctor: whether locks can rely on a server, and what to do where not.
 */
#include "stile.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#ifdef STILE_BACKEND_REDIS
#include "doctor.h"
#endif

const char help_doctor[] =
    "usage: stile doctor [URL] [OPTION...]\n"
    "\n"
    "Examines a server: whether it answers, how fast, which version with which known flaws, what "
    "a\n"
    "restart or a full memory does to locks, who may do what, and whether a lock can be had.  "
    "What\n"
    "it must not look at it says.  It takes one lock of a name of its own and changes nothing.\n"
    "\n"
    "  --json     as one object of JSON\n"
    "  --url URL  the same as URL; without either, STILE_URL\n"
    "  --help     print this\n"
    "\n"
    "Each finding is OK, WARN (it may be as you want it), or BAD (locks fail, or are not safe).\n"
    "\n"
    "Exit status: 0 nothing is BAD, 1 something is, 125 it could not be examined.\n";

#ifdef STILE_BACKEND_REDIS

void found(struct doctor *doctor, enum level level, const char *check, const char *todo,
           const char *what, ...)
{
    struct finding *finding;
    va_list arguments;

    if (doctor->count == FINDINGS_MAX)
        return;
    finding = &doctor->findings[doctor->count++];
    finding->level = level;
    finding->check = check;
    (void)snprintf(finding->todo, sizeof(finding->todo), "%s", todo);
    va_start(arguments, what);
    (void)vsnprintf(finding->what, sizeof(finding->what), what, arguments);
    va_end(arguments);
}

static bool is_remote(const struct stile_settings *settings)
{
    return settings->host != NULL && strncmp(settings->host, "127.", 4) != 0 &&
           strcmp(settings->host, "localhost") != 0 && strcmp(settings->host, "::1") != 0;
}

static void examine(struct doctor *doctor, const char *url)
{
    doctor->remote = is_remote(&doctor->settings);
    check_time(doctor);
    info_read(doctor);
    check_version(doctor);
    check_role(doctor);
    check_memory(doctor);
    check_persistence(doctor);
    check_replicas(doctor);
    check_password(doctor);
    check_user(doctor);
    check_commands(doctor);
    check_inbox(doctor);
    check_lock(doctor, url);
    check_limits(doctor);
}

/* ---- telling ---------------------------------------------------------------------------- */

static const char *const level_names[LEVELS] = {"OK", "WARN", "BAD"};

static size_t count_of(const struct doctor *doctor, enum level level)
{
    size_t count = 0, i;

    for (i = 0; i < doctor->count; i++)
        count += doctor->findings[i].level == level;
    return count;
}

static void print_findings(const struct doctor *doctor)
{
    size_t i;

    printf("%s\n", doctor->settings.shown);
    for (i = 0; i < doctor->count; i++) {
        const struct finding *finding = &doctor->findings[i];

        printf("%-4s  %-11s  ", level_names[finding->level], finding->check);
        print_text(stdout, finding->what);
        printf("\n");
        if (*finding->todo != '\0')
            printf("      %-11s  -> %s\n", "", finding->todo);
    }
    printf("%zu BAD, %zu WARN\n", count_of(doctor, LEVEL_BAD), count_of(doctor, LEVEL_WARN));
}

static void print_findings_json(const struct doctor *doctor)
{
    size_t i;

    printf("{\"url\": ");
    print_json(stdout, doctor->settings.shown);
    printf(", \"bad\": %zu, \"warn\": %zu, \"findings\": [", count_of(doctor, LEVEL_BAD),
           count_of(doctor, LEVEL_WARN));
    for (i = 0; i < doctor->count; i++) {
        const struct finding *finding = &doctor->findings[i];

        printf("%s\n  {\"level\": \"%s\", \"check\": \"%s\", \"what\": ", i > 0 ? "," : "",
               level_names[finding->level], finding->check);
        print_json(stdout, finding->what);
        printf(", \"do\": ");
        print_json(stdout, finding->todo);
        printf("}");
    }
    printf("\n]}\n");
}

/* ---- all together -------------------------------------------------------------------------- */

static int examine_server(struct doctor *doctor, const char *url, bool json)
{
    stile_status status = raw_open(&doctor->raw, &doctor->settings, false);

    if (status != STILE_OK) {
        complain("the server could not be examined", status);
        return EXIT_CANNOT;
    }
    examine(doctor, url);
    raw_close(&doctor->raw);
    if (json)
        print_findings_json(doctor);
    else
        print_findings(doctor);
    return count_of(doctor, LEVEL_BAD) > 0 ? EXIT_FAILED : EXIT_DONE;
}

static int run(const char *url, bool json)
{
    struct doctor *doctor = calloc(1, sizeof(*doctor));
    stile_status status;
    int result;

    if (doctor == NULL) {
        say("no memory");
        return EXIT_CANNOT;
    }
    status = stile__settings_init(&doctor->settings, url, NULL);
    if (status != STILE_OK) {
        complain("the URL cannot be used", status);
        free(doctor);
        return EXIT_CANNOT;
    }
    if (strcmp(doctor->settings.scheme, "local") == 0) {
        say("local: lives inside one process: there is no server to examine");
        result = EXIT_CANNOT;
    } else {
        result = examine_server(doctor, url, json);
    }
    stile__settings_fini(&doctor->settings);
    free(doctor->info);
    free(doctor);
    return result;
}

#else

static int run(const char *url, bool json)
{
    (void)url;
    (void)json;
    say("this build has no backend that uses a server");
    return EXIT_CANNOT;
}

#endif

int run_doctor(int argc, char **argv)
{
    const char *url = NULL, *environment = getenv("STILE_URL");
    bool json = false;

    if (!take_url_and_json(argc, argv, &url, &json))
        return EXIT_CANNOT;
    if (optind < argc && url == NULL)
        url = argv[optind++];
    if (optind < argc) {
        say("doctor takes one URL");
        return EXIT_CANNOT;
    }
    if (url == NULL && (environment == NULL || *environment == '\0')) {
        say("which server?  stile doctor URL, or set STILE_URL");
        return EXIT_CANNOT;
    }
    return run(url, json);
}
