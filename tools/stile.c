/*
 * stile: the library from a shell.
 */
#include "stile.h"

#include <string.h>

#include <stile/stile.h>

static const char help[] =
    "usage: stile WORD [ARGUMENT...]\n"
    "\n"
    "  lock NAME [OPTION...] -- COMMAND [ARGUMENT...]\n"
    "           run a command while holding a lock\n"
    "  inspect NAME   tell who holds a lock and who waits for it\n"
    "  locks          list all locks that are held or waited for\n"
    "  release --force NAME\n"
    "                 take a lock away from whoever holds it\n"
    "  doctor [URL]   examine a server: can locks rely on it?\n"
    "  ping           take a lock and give it back, and say how long each took\n"
    "  version        print the version of the library\n"
    "  help [WORD]    print this, or what a word does; the same as stile WORD --help\n"
    "\n"
    "URL is where names live: redis://HOST:PORT/DB, unix:///SOCKET, local: or file:PATH.\n"
    "Without --url it is what the environment variable STILE_URL says.\n"
    "\n"
    "Exit status: 0 done, 1 it could not be done, 2 it was not understood; lock and doctor\n"
    "have their own.\n";

static const struct word {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} words[] = {
    {"lock", run_lock, help_lock},       {"inspect", run_inspect, help_inspect},
    {"locks", run_locks, help_locks},    {"release", run_release, help_release},
    {"doctor", run_doctor, help_doctor}, {"ping", run_ping, help_ping},
};

static int print_version(void)
{
    int version = stile_version();

    printf("stile %d.%d.%d\n", version / 10000, version / 100 % 100, version % 100);
    return EXIT_DONE;
}

static int print_help(const char *text)
{
    (void)fputs(text, stdout);
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

static const struct word *find(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (is(name, words[i].name))
            return &words[i];
    return NULL;
}

/* stile WORD --help, stile WORD NAME --help; a command that is run may have its own. */
static bool wants_help(int argc, char **argv)
{
    return (argc > 1 && is(argv[1], "--help")) || (argc == 3 && is(argv[2], "--help"));
}

static int run_word(const struct word *word, int argc, char **argv)
{
    if (wants_help(argc, argv))
        return print_help(word->help);
    return word->run(argc, argv);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    bool asks = is(name, "help") || is(name, "--help") || is(name, "-h");
    bool version = is(name, "version") || is(name, "--version");
    const struct word *word = find(name);

    if (word != NULL)
        return flushed(run_word(word, argc - 1, argv + 1));
    if (argc == 2 && version)
        return flushed(print_version());
    if (argc == 2 && asks)
        return flushed(print_help(help));
    if (argc == 3 && asks && find(argv[2]) != NULL)
        return flushed(print_help(find(argv[2])->help));
    if (version)
        say("%s takes no argument", name);
    else if (asks && argc == 3)
        say("there is no word \"%s\"", argv[2]);
    else if (asks)
        say("%s takes one argument", name);
    else if (argc > 1)
        say("there is no word \"%s\"", name);
    (void)fputs(help, stderr);
    return EXIT_USAGE;
}
