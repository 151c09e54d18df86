/*
 * The stile command: one file for each of its words, and what they share.
 */
#ifndef STILE_COMMAND_H
#define STILE_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <stile/inspect.h>
#include <stile/space.h>
#include <stile/status.h>

/* What most words end with. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* What `lock` and `doctor` end with besides, so that it is not mistaken for what the
 * command said, or for a finding. */
enum { EXIT_LOST = 124, EXIT_CANNOT = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/* ---- words: the arguments begin at argv[1] --------------------------------------- */

int run_lock(int argc, char **argv);
int run_inspect(int argc, char **argv);
int run_locks(int argc, char **argv);
int run_release(int argc, char **argv);
int run_doctor(int argc, char **argv);
int run_ping(int argc, char **argv);

extern const char help_lock[], help_inspect[], help_locks[], help_release[], help_doctor[],
    help_ping[];

/* ---- what goes wrong -------------------------------------------------------------- */

/* Says on stderr what went wrong.  To be called before anything else is asked of
 * stile: the detail is that of the thread's last call. */
void complain(const char *what, stile_status status);
/* One line on stderr, after "stile: ". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- arguments --------------------------------------------------------------------- */

/* Takes --url and --json, and moves other arguments behind them, to argv[optind].  False,
 * and said: there is another option. */
bool take_url_and_json(int argc, char **argv, const char **url, bool *json);

/* ---- spaces ----------------------------------------------------------------------- */

/*
 * Opens the space that url names, NULL or "" being STILE_URL, for something that
 * makes sense only where other processes share it.  False, and said: there is no
 * URL, it is local: and local_too is false, or the space cannot be opened.
 */
bool open_shared(const char *url, bool local_too, stile **space);

/* ---- text --------------------------------------------------------------------------- */

/* Decimal seconds, such as 2 or 0.25, as milliseconds, rounded up; at most ten years. */
bool parse_seconds(const char *text, int64_t *ms);
bool parse_number(const char *text, long least, long most, long *number);

/* What other programs and people wrote may hold anything: control bytes and what is
 * not UTF-8 become \xNN. */
void print_text(FILE *to, const char *text);
/* The same as the inside of print_text() between quotation marks. */
void print_quoted(FILE *to, const char *text);
/* A JSON string; what is not UTF-8 becomes \u00NN. */
void print_json(FILE *to, const char *text);

#define DURATION_SIZE 32
/* Such as "0.25 s", "3 min 20 s", "2 d 4 h". */
void format_duration(char text[DURATION_SIZE], int64_t ms);
/* How long ago that was by this machine's clock, at least 0. */
int64_t age_of(int64_t since_ms);

/* ---- locks ---------------------------------------------------------------------------- */

/* An open handle of either kind. */
struct target;

/* kind: "lock" or "rlock".  NULL, and said, if there is none. */
struct target *target_open(stile *space, const char *kind, const char *name);
void target_close(struct target *target);
stile_status target_inspect(struct target *target, stile_lock_info *info);
stile_status target_force_release(struct target *target);
bool is_kind(const char *kind);

/* HOST pid N thread N "LABEL", as far as it is known. */
void print_party(FILE *to, const stile_party *party);
void print_party_json(FILE *to, const stile_party *party);
void print_info_json(FILE *to, const char *kind, const char *name, const stile_lock_info *info);

#endif
