/*
 * stile: the library from a shell.
 */
#include "stile.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <stile/stile.h>

static void print_usage(FILE *to)
{
    (void)fputs("usage: stile ping [--url URL] [--count N]\n"
                "       stile version\n"
                "       stile help\n"
                "\n"
                "  ping     take a lock and give it back, N times (4), and say how long each took\n"
                "  version  print the version of the library\n"
                "  help     print this\n"
                "\n"
                "URL is where names live: local:, redis://HOST:PORT/DB, unix:///SOCKET or\n"
                "file:PATH.  Without --url it is what STILE_URL says, else local:.\n"
                "\n"
                "Exit status: 0 done, 1 it could not be done, 2 it was not understood.\n",
                to);
}

void complain(const char *what, stile_status status)
{
    const char *detail = stile_error_detail();

    fprintf(stderr, "stile: %s: %s: %s%s%s\n", what, stile_status_name(status),
            stile_status_text(status), *detail == '\0' ? "" : " ", detail);
}

static int print_version(void)
{
    int version = stile_version();

    printf("stile %d.%d.%d\n", version / 10000, version / 100 % 100, version % 100);
    return EXIT_DONE;
}

/* What could not be printed was not done. */
static int flushed(int result)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return result;
    perror("stile: the output could not be written");
    return EXIT_FAILED;
}

static bool is(const char *word, const char *text)
{
    return strcmp(word, text) == 0;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";

    if (is(word, "ping"))
        return flushed(run_ping(argc - 1, argv + 1));
    if (argc == 2 && (is(word, "version") || is(word, "--version")))
        return flushed(print_version());
    if (argc == 2 && (is(word, "help") || is(word, "--help") || is(word, "-h"))) {
        print_usage(stdout);
        return flushed(EXIT_DONE);
    }
    if (is(word, "version") || is(word, "--version") || is(word, "help") || is(word, "--help") ||
        is(word, "-h"))
        fprintf(stderr, "stile: %s takes no argument\n", word);
    else if (argc > 1)
        fprintf(stderr, "stile: there is no command \"%s\"\n", word);
    print_usage(stderr);
    return EXIT_USAGE;
}
