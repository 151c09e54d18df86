/*
 * The stile command: one file for each of its words.
 */
#ifndef STILE_COMMAND_H
#define STILE_COMMAND_H

#include <stile/status.h>

/* What the command ends with. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Says on stderr what went wrong.  To be called before anything else is asked of
 * stile: the detail is that of the thread's last call. */
void complain(const char *what, stile_status status);

/* The word's arguments begin at argv[1]. */
int run_ping(int argc, char **argv);

#endif
