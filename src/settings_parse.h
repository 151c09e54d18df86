/*
 * What the settings*.c files share: values as a URL or a file says them, before
 * anybody has looked whether they make sense.
 */
#ifndef STILE_SETTINGS_PARSE_H
#define STILE_SETTINGS_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include <stile/status.h>

#include "settings.h"

/* Bytes of a URL, and of a file that file: names. */
#define STILE_URL_MAX 4096
#define STILE_FILE_MAX 65536

/* The options, under the names of the table in settings.c. */
enum stile_key {
    STILE_KEY_PREFIX,
    STILE_KEY_USER,
    STILE_KEY_PASSWORD,
    STILE_KEY_PASSWORD_FILE,
    STILE_KEY_PASSWORD_ENV,
    STILE_KEY_DB,
    STILE_KEY_CONNECT_TIMEOUT_MS,
    STILE_KEY_COMMAND_TIMEOUT_MS,
    STILE_KEY_LEASE_MS,
    STILE_KEY_MAX_HOLD_MS,
    STILE_KEY_WAITER_LEASE_MS,
    STILE_KEY_CLAIM_MS,
    STILE_KEY_RECHECK_MS,
    STILE_KEY_FENCE,
    STILE_KEYS
};

enum stile_setting_kind {
    STILE_SETTING_TEXT,
    STILE_SETTING_DB,
    STILE_SETTING_TIME,
    STILE_SETTING_SWITCH /* "on" or "off" */
};

/* One option. */
struct stile_setting {
    const char *name;
    enum stile_setting_kind kind;
    bool local;     /* it concerns local: too */
    bool zero;      /* a URL and a file may say 0 */
    size_t setting; /* a time: where it is in stile_settings and in stile_options */
    size_t option;
    int64_t least;
    int64_t most;
    int64_t usual;
};

/* "on" or "off".  False: neither, and *on is as it was. */
bool stile__text_switch(const char *text, bool *on);

/* NULL: there is none of that name. */
const struct stile_setting *stile__setting_of(const char *name, size_t length);

/* What one URL or one file said.  Owned copies, wiped by fini. */
struct stile_said {
    char *value[STILE_KEYS]; /* NULL: not said */
    int line[STILE_KEYS];    /* of the file; 0 for a URL */
};

/* Where something was read, for error texts, which are cut after some 250 bytes. */
struct stile_origin {
    const char *url;  /* as it may be shown; NULL: not from a URL */
    const char *file; /* its path, as it may be shown; NULL: not from a file */
    int line;         /* of the file; 0: none in particular */
    bool environment; /* STILE_URL named all this */
};

/* What a file said. */
struct stile_file {
    char *url; /* NULL: none */
    int url_line;
    struct stile_said said;
};

/* Sets a detail that says what is wrong and where, and returns status.  What
 * the arguments hold is shown: never a secret, nor what may be part of one. */
stile_status stile__settings_wrong(stile_status status, const struct stile_origin *origin,
                                   const char *format, ...) __attribute__((format(printf, 3, 4)));
stile_status stile__settings_no_memory(void);

/* Keeps a copy of value under name.  STILE_INVALID: there is no such option, or
 * it was said before. */
stile_status stile__said_add(struct stile_said *said, const struct stile_origin *origin,
                             const char *name, size_t name_length, const char *value);
void stile__said_fini(struct stile_said *said);

/* Frees a string that may be a secret.  NULL does nothing. */
void stile__wipe_free(char *text);

/* Puts a copy of value into a field that may hold a secret. */
stile_status stile__settings_replace(char **field, const char *value);
bool stile__text_has_control(const char *text);
bool stile__text_is_digits(const char *text, size_t length);
/* Decimal digits and nothing else, from least to most. */
bool stile__text_number(const char *text, size_t length, int64_t least, int64_t most, int64_t *out);

/* The value of a hexadecimal digit, or -1. */
int stile__text_hex(char c);
stile_status stile__settings_wrong_number(const char *name, const char *text, int64_t least,
                                          int64_t most, bool zero,
                                          const struct stile_origin *origin);

/* A part of a URL. */
struct stile_slice {
    const char *at;
    size_t length;
};

/* Takes the percent signs out of a part of a URL, which error texts call what. */
stile_status stile__settings_decode(struct stile_slice part, const char *what,
                                    const struct stile_origin *origin, char **out);

bool stile__url_has_scheme(const char *url, const char *name);
/* Fills the settings that only a URL has, and said with the rest; origin gets what may
 * be shown of the URL. */
stile_status stile__url_parse(struct stile_settings *settings, struct stile_said *said,
                              const char *url, struct stile_origin *origin);
/* The path of file:PATH or file:///PATH, decoded. */
stile_status stile__url_file_path(const char *url, struct stile_origin *origin, char **path);

/* Reads a regular file of at most limit bytes, which error texts call what.
 * bytes has one byte more than size, which is 0; the caller wipes and frees. */
stile_status stile__settings_read(const char *path, const char *what, size_t limit,
                                  const struct stile_origin *origin, char **bytes, size_t *size);

/*
 * Reads the section [stile] of an INI file: url, and every option under its
 * name.  Values stand as they are, without percent signs and quotation marks; a
 * semicolon behind a blank begins a comment.  origin->file is the path as it may
 * be shown.  Only with STILE_OK is file owed a fini.  Builds without
 * STILE_CONFIG_FILE answer STILE_UNSUPPORTED.
 */
stile_status stile__settings_file(struct stile_file *file, const char *path,
                                  const struct stile_origin *origin);
void stile__settings_file_fini(struct stile_file *file);

#endif
