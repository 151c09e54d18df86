/*
 * What goes wrong, where it is to be, and spaces that other processes share.
 */
#include "stile.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <stile/stile.h>

#include "settings.h"

void complain(const char *what, stile_status status)
{
    const char *detail = stile_error_detail();

    fprintf(stderr, "stile: %s: %s: %s%s%s\n", what, stile_status_name(status),
            stile_status_text(status), *detail == '\0' ? "" : " ", detail);
}

void say(const char *format, ...)
{
    va_list arguments;

    (void)fputs("stile: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

bool take_url_and_json(int argc, char **argv, const char **url, bool *json)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"url", required_argument, NULL, 'u'},
                                            {NULL, 0, NULL, 0}};
    char program[] = "stile";
    int option;

    argv[0] = program; /* what getopt_long() complains as */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'u')
            *url = optarg;
        else if (option == 'j')
            *json = true;
        else
            return false;
    }
    return true;
}

/* A file may name local:, so that the URL alone does not tell. */
static bool is_local(const char *url, bool *local)
{
    struct stile_settings settings;
    stile_status status = stile__settings_init(&settings, url, NULL);

    if (status != STILE_OK) {
        complain("the URL cannot be used", status);
        return false;
    }
    *local = strcmp(settings.scheme, "local") == 0;
    stile__settings_fini(&settings);
    return true;
}

bool open_shared(const char *url, bool local_too, stile **space)
{
    const char *environment = getenv("STILE_URL");
    stile_status status;
    bool local;

    if ((url == NULL || *url == '\0') && (environment == NULL || *environment == '\0')) {
        say("there is no URL that says where locks are shared; give --url redis://HOST, or set "
            "STILE_URL");
        return false;
    }
    if (!is_local(url, &local))
        return false;
    if (local && !local_too) {
        say("local: lives inside one process: no other process sees it, and nothing of others is "
            "to be seen from here; give the --url of a server");
        return false;
    }
    status = stile_open(url, NULL, space);
    if (status != STILE_OK)
        complain("the space could not be opened", status);
    return status == STILE_OK;
}
