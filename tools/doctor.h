/*
 * stile doctor: what its files share.
 */
#ifndef STILE_COMMAND_DOCTOR_H
#define STILE_COMMAND_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raw.h"

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_BAD, LEVELS };

#define FINDING_TEXT 400

struct finding {
    enum level level;
    const char *check;
    char what[FINDING_TEXT];
    char todo[FINDING_TEXT]; /* "": nothing */
};

#define FINDINGS_MAX 64
#define VALUE_SIZE 256

struct doctor {
    struct stile_settings settings;
    struct raw raw;
    char *info;         /* the reply to INFO; NULL: not permitted */
    bool config_denied; /* CONFIG GET is not permitted */
    bool remote;        /* the URL names another machine */
    struct finding findings[FINDINGS_MAX];
    size_t count;
};

/* Adds a finding.  todo may be "". */
void found(struct doctor *doctor, enum level level, const char *check, const char *todo,
           const char *what, ...) __attribute__((format(printf, 5, 6)));

/* ---- what the server says of itself (doctor_info.c) --------------------------------- */

void info_read(struct doctor *doctor);
/* value receives what INFO says under name.  False: nothing, or not permitted. */
bool info_text(const struct doctor *doctor, const char *name, char value[VALUE_SIZE]);
int64_t info_number(const struct doctor *doctor, const char *name, int64_t otherwise);
/* The same for CONFIG GET. */
bool config_text(struct doctor *doctor, const char *name, char value[VALUE_SIZE]);
int64_t config_number(struct doctor *doctor, const char *name, int64_t otherwise);

/* ---- checks -------------------------------------------------------------------------- */

/* doctor_server.c */
void check_version(struct doctor *doctor);
void check_role(struct doctor *doctor);
void check_memory(struct doctor *doctor);
void check_persistence(struct doctor *doctor);
void check_replicas(struct doctor *doctor);
void check_limits(struct doctor *doctor);
/* doctor_access.c */
void check_time(struct doctor *doctor);
void check_password(struct doctor *doctor);
void check_user(struct doctor *doctor);
void check_commands(struct doctor *doctor);
void check_inbox(struct doctor *doctor);
void check_lock(struct doctor *doctor, const char *url);

/* ---- known flaws (doctor_cve.c) --------------------------------------------------------- */

/* A version as a number: 7.0.15 is 70015. */
int version_number(const char *text);

struct flaw {
    const char *ids;
    const char *what;
    bool lua;      /* whoever may run scripts can use it, as every user of stile may */
    int since;     /* the first version that has it */
    int redis[8];  /* the first versions without it, one for each branch, rising */
    int valkey[8]; /* the same; none: that server never had it */
};

/*
 * Goes on from *next, 0 at first, to the next flaw that this version has.  fixed
 * receives the first version without it on the same branch; or 0, when its branch
 * got no fix, and above then receives one on a later branch.  NULL: no more.
 */
const struct flaw *flaw_next(bool valkey, int version, size_t *next, int *fixed, int *above);

#endif
