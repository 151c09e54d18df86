/*
 * The settings of a space, from all places that have a say.
 *
 * Order of strength: what the query of the URL says, the keys of a file,
 * stile_options, the defaults.  What is wrong is an error even where something
 * stronger would win.
 */
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "settings_parse.h"

#define DEFAULT_URL "local:"
#define DEFAULT_PREFIX "stile:"
#define PREFIX_MAX 64
#define PASSWORD_FILE_MAX 4096
#define DB_MAX 65535
#define HOUR_MS 3600000

/* ---- the options ----------------------------------------------------------*/

/* 0 in stile_options is the default.  A URL and a file may say 0 only where 0
 * has a meaning, which is the default as well. */
static const struct stile_setting keys[STILE_KEYS] = {
#define AT(field) offsetof(struct stile_settings, field), offsetof(stile_options, field)
    [STILE_KEY_PREFIX] = {.name = "prefix"},
    [STILE_KEY_USER] = {.name = "user"},
    [STILE_KEY_PASSWORD] = {.name = "password"},
    [STILE_KEY_PASSWORD_FILE] = {.name = "password_file"},
    [STILE_KEY_PASSWORD_ENV] = {.name = "password_env"},
    [STILE_KEY_DB] = {.name = "db", .kind = STILE_SETTING_DB, .most = DB_MAX},
    [STILE_KEY_CONNECT_TIMEOUT_MS] = {"connect_timeout_ms", STILE_SETTING_TIME, false, false,
                                      AT(connect_timeout_ms), 1, HOUR_MS, 2000},
    [STILE_KEY_COMMAND_TIMEOUT_MS] = {"command_timeout_ms", STILE_SETTING_TIME, false, false,
                                      AT(command_timeout_ms), 1, HOUR_MS, 2000},
    [STILE_KEY_LEASE_MS] = {"lease_ms", STILE_SETTING_TIME, true, true, AT(lease_ms),
                            STILE_LEASE_MIN_MS, STILE_TEN_YEARS_MS, 30000},
    [STILE_KEY_MAX_HOLD_MS] = {"max_hold_ms", STILE_SETTING_TIME, true, true, AT(max_hold_ms),
                               STILE_LEASE_MIN_MS, STILE_TEN_YEARS_MS, 0},
    [STILE_KEY_WAITER_LEASE_MS] = {"waiter_lease_ms", STILE_SETTING_TIME, false, false,
                                   AT(waiter_lease_ms), 1000, HOUR_MS, 5000},
    [STILE_KEY_CLAIM_MS] = {"claim_ms", STILE_SETTING_TIME, false, false, AT(claim_ms), 100,
                            STILE_CLAIM_MAX_MS, 1000},
    [STILE_KEY_RECHECK_MS] = {"recheck_ms", STILE_SETTING_TIME, false, false, AT(recheck_ms), 50,
                              60000, 1000},
    [STILE_KEY_FENCE] = {.name = "fence", .kind = STILE_SETTING_SWITCH, .local = true},
#undef AT
};

static int64_t *time_of(struct stile_settings *settings, const struct stile_setting *key)
{
    return (int64_t *)(void *)((char *)settings + key->setting);
}

/* ---- what was said --------------------------------------------------------*/

static int find_key(const char *name, size_t length)
{
    int i;

    for (i = 0; i < STILE_KEYS; i++)
        if (strlen(keys[i].name) == length && memcmp(keys[i].name, name, length) == 0)
            return i;
    return -1;
}

const struct stile_setting *stile__setting_of(const char *name, size_t length)
{
    int key = find_key(name, length);

    return key < 0 ? NULL : &keys[key];
}

/* Whether it looks like the name of an option, and hardly like a secret. */
static bool is_name(const char *name, size_t length)
{
    size_t i;

    for (i = 0; i < length; i++)
        if (name[i] != '_' && (name[i] < 'a' || name[i] > 'z'))
            return false;
    return length > 0 && length <= 32;
}

stile_status stile__said_add(struct stile_said *said, const struct stile_origin *origin,
                             const char *name, size_t name_length, const char *value)
{
    int key = find_key(name, name_length);

    if (key < 0 && is_name(name, name_length))
        return stile__settings_wrong(STILE_INVALID, origin, "there is no option \"%.*s\"",
                                     (int)name_length, name);
    if (key < 0)
        return stile__settings_wrong(STILE_INVALID, origin, "there is no option of that name");
    if (said->value[key] != NULL)
        return stile__settings_wrong(STILE_INVALID, origin, "%s is given twice", keys[key].name);
    said->value[key] = strdup(value);
    if (said->value[key] == NULL)
        return stile__settings_no_memory();
    said->line[key] = origin->line;
    return STILE_OK;
}

void stile__said_fini(struct stile_said *said)
{
    int i;

    for (i = 0; i < STILE_KEYS; i++)
        stile__wipe_free(said->value[i]);
    memset(said, 0, sizeof(*said));
}

/* ---- from what was said to settings ---------------------------------------*/

static stile_status take_text(char **field, const char *name, const char *value,
                              const struct stile_origin *origin)
{
    if (stile__text_has_control(value))
        return stile__settings_wrong(STILE_INVALID, origin, "%s has a control character", name);
    return stile__settings_replace(field, value);
}

/* An empty prefix is one too, where it is given as such: prefix= in a query or a
 * file, "" in stile_options. */
static stile_status take_prefix(struct stile_settings *settings, const char *name,
                                const char *value, const struct stile_origin *origin)
{
    if (strlen(value) > PREFIX_MAX)
        return stile__settings_wrong(STILE_INVALID, origin, "%s is longer than %d bytes", name,
                                     PREFIX_MAX);
    if (strpbrk(value, "{}") != NULL)
        return stile__settings_wrong(STILE_INVALID, origin, "%s has a brace", name);
    return take_text(&settings->prefix, name, value, origin);
}

/* An empty user or password is none, even where something weaker gave one. */
static stile_status take_identity(char **field, const char *name, const char *value,
                                  const struct stile_origin *origin)
{
    stile_status status = take_text(field, name, value, origin);

    if (status == STILE_OK && *value == '\0') {
        free(*field);
        *field = NULL;
    }
    return status;
}

/* The first line. */
static stile_status take_password_file(struct stile_settings *settings, const char *path,
                                       const struct stile_origin *origin)
{
    stile_status status;
    char *bytes, *end;
    size_t size;

    status = stile__settings_read(path, "the file that password_file names", PASSWORD_FILE_MAX,
                                  origin, &bytes, &size);
    if (status != STILE_OK)
        return status;
    end = memchr(bytes, '\n', size);
    if (end == NULL)
        end = bytes + size;
    else if (end > bytes && end[-1] == '\r')
        end--;
    *end = '\0';
    if (bytes == end)
        status = stile__settings_wrong(STILE_INVALID, origin,
                                       "the file that password_file names begins with no password");
    else if (strlen(bytes) != (size_t)(end - bytes))
        status = stile__settings_wrong(STILE_INVALID, origin,
                                       "the file that password_file names has a NUL byte");
    else
        status = take_text(&settings->password, "the file that password_file names", bytes, origin);
    stile__wipe(bytes, size);
    free(bytes);
    return status;
}

static stile_status take_password(struct stile_settings *settings, const struct stile_said *said,
                                  const struct stile_origin *origin)
{
    const char *value = said->value[STILE_KEY_PASSWORD];
    const char *path = said->value[STILE_KEY_PASSWORD_FILE];
    const char *name = said->value[STILE_KEY_PASSWORD_ENV];

    if ((value != NULL) + (path != NULL) + (name != NULL) > 1)
        return stile__settings_wrong(STILE_INVALID, origin,
                                     "more than one of password, password_file and password_env "
                                     "is given");
    if (value != NULL)
        return take_identity(&settings->password, "password", value, origin);
    /* local: has no use for it: a secret that is not needed is not read. */
    if (strcmp(settings->scheme, "local") == 0)
        return STILE_OK;
    if (path != NULL)
        return take_password_file(settings, path, origin);
    if (name == NULL)
        return STILE_OK;
    value = getenv(name);
    if (value == NULL || *value == '\0')
        return stile__settings_wrong(STILE_INVALID, origin,
                                     "the variable that password_env names is not set");
    return take_text(&settings->password, "the variable that password_env names", value, origin);
}

static stile_status take_number(struct stile_settings *settings, const struct stile_setting *key,
                                const char *text, const struct stile_origin *origin)
{
    int64_t number;

    if (key->zero && stile__text_number(text, strlen(text), 0, 0, &number))
        number = key->usual;
    else if (!stile__text_number(text, strlen(text), key->least, key->most, &number))
        return stile__settings_wrong_number(key->name, text, key->least, key->most, key->zero,
                                            origin);
    if (key->kind == STILE_SETTING_DB)
        settings->db = (int)number;
    else
        *time_of(settings, key) = number;
    return STILE_OK;
}

static stile_status take_fence(struct stile_settings *settings, const char *value,
                               const struct stile_origin *origin)
{
    bool fence;

    if (!stile__text_switch(value, &fence))
        return stile__settings_wrong(STILE_INVALID, origin, "fence is neither on nor off");
    settings->no_fence = !fence;
    return STILE_OK;
}

static stile_status apply_key(struct stile_settings *settings, enum stile_key key,
                              const char *value, const struct stile_origin *origin)
{
    switch (key) {
    case STILE_KEY_PREFIX: return take_prefix(settings, "prefix", value, origin);
    case STILE_KEY_USER: return take_identity(&settings->user, "user", value, origin);
    case STILE_KEY_FENCE: return take_fence(settings, value, origin);
    case STILE_KEY_PASSWORD:
    case STILE_KEY_PASSWORD_FILE:
    case STILE_KEY_PASSWORD_ENV: return STILE_OK; /* take_password() looks at all three */
    default: return take_number(settings, &keys[key], value, origin);
    }
}

static stile_status apply(struct stile_settings *settings, const struct stile_said *said,
                          const struct stile_origin *origin)
{
    struct stile_origin here;
    stile_status status;
    unsigned i;

    for (i = 0; i < STILE_KEYS; i++) {
        if (said->value[i] == NULL)
            continue;
        here = *origin;
        if (said->line[i] != 0)
            here.line = said->line[i];
        status = apply_key(settings, (enum stile_key)i, said->value[i], &here);
        if (status != STILE_OK)
            return status;
    }
    return take_password(settings, said, origin);
}

static stile_status apply_options(struct stile_settings *settings, const stile_options *options)
{
    const struct stile_origin nowhere = {0};
    stile_status status = STILE_OK;
    unsigned i;

    if (options->prefix != NULL)
        status = take_prefix(settings, "stile_options.prefix", options->prefix, &nowhere);
    if (status == STILE_OK && options->user != NULL)
        status = take_identity(&settings->user, "stile_options.user", options->user, &nowhere);
    if (status == STILE_OK && options->password != NULL)
        status = take_identity(&settings->password, "stile_options.password", options->password,
                               &nowhere);
    settings->no_fence = options->no_fence;
    for (i = 0; i < STILE_KEYS && status == STILE_OK; i++) {
        const struct stile_setting *key = &keys[i];
        int64_t value;

        if (key->kind != STILE_SETTING_TIME)
            continue;
        memcpy(&value, (const char *)options + key->option, sizeof(value));
        if (value == 0)
            continue;
        if (value < key->least || value > key->most)
            status = stile__fail(
                STILE_INVALID, "stile_options.%s %lld is not 0 or a number from %lld to %lld",
                key->name, (long long)value, (long long)key->least, (long long)key->most);
        else
            *time_of(settings, key) = value;
    }
    return status;
}

static stile_status apply_defaults(struct stile_settings *settings)
{
    unsigned i;

    for (i = 0; i < STILE_KEYS; i++)
        if (keys[i].kind == STILE_SETTING_TIME)
            *time_of(settings, &keys[i]) = keys[i].usual;
    return stile__settings_replace(&settings->prefix, DEFAULT_PREFIX);
}

/* settings->shown becomes file:PATH (URL). */
static stile_status show_file(struct stile_settings *settings, const char *path)
{
    static const char format[] = "file:%s (%s)";
    size_t size = sizeof(format) + strlen(path) + strlen(settings->shown);
    char *shown = malloc(size);

    if (shown == NULL)
        return stile__settings_no_memory();
    (void)snprintf(shown, size, format, path, settings->shown);
    free(settings->shown);
    settings->shown = shown;
    return STILE_OK;
}

/* ---- all together ---------------------------------------------------------*/

/* The two may come from different places: no URL is named. */
static stile_status check_together(const struct stile_settings *settings,
                                   const struct stile_origin *origin)
{
    const struct stile_origin all = {.file = origin->file, .environment = origin->environment};

    if (settings->recheck_ms < settings->waiter_lease_ms)
        return STILE_OK;
    return stile__settings_wrong(
        STILE_INVALID, &all, "recheck_ms %lld is not less than waiter_lease_ms %lld",
        (long long)settings->recheck_ms, (long long)settings->waiter_lease_ms);
}

/* file: NULL if the URL is not one of a file. */
static stile_status fill(struct stile_settings *settings, const char *url,
                         const struct stile_file *file, struct stile_origin *origin,
                         const stile_options *options)
{
    const struct stile_origin of_file = *origin;
    struct stile_said said = {0};
    stile_status status;

    if (file != NULL)
        origin->line = file->url_line;
    status = stile__url_parse(settings, &said, url, origin);
    if (status == STILE_OK)
        status = apply_defaults(settings);
    if (status == STILE_OK && options != NULL)
        status = apply_options(settings, options);
    if (status == STILE_OK && file != NULL)
        status = apply(settings, &file->said, &of_file);
    if (status == STILE_OK)
        status = apply(settings, &said, origin);
    if (status == STILE_OK)
        status = check_together(settings, origin);
    stile__said_fini(&said);
    return status;
}

static stile_status fill_from_file(struct stile_settings *settings, const char *url,
                                   struct stile_origin *origin, const stile_options *options)
{
    struct stile_file file;
    char shown[256];
    char *path = NULL;
    stile_status status = stile__url_file_path(url, origin, &path);

    if (status != STILE_OK)
        return status;
    origin->file = stile__escape(shown, sizeof(shown), path, strlen(path));
    status = stile__settings_file(&file, path, origin);
    free(path);
    if (status != STILE_OK)
        return status;
    status = fill(settings, file.url != NULL ? file.url : DEFAULT_URL, &file, origin, options);
    if (status == STILE_OK)
        status = show_file(settings, shown);
    stile__settings_file_fini(&file);
    return status;
}

stile_status stile__settings_init(struct stile_settings *settings, const char *url,
                                  const stile_options *options)
{
    struct stile_origin origin = {0};
    stile_status status;

    memset(settings, 0, sizeof(*settings));
    if (url == NULL || *url == '\0') {
        url = getenv("STILE_URL");
        origin.environment = url != NULL && *url != '\0';
        if (!origin.environment)
            url = DEFAULT_URL;
    }
    if (stile__url_has_scheme(url, "file"))
        status = fill_from_file(settings, url, &origin, options);
    else
        status = fill(settings, url, NULL, &origin, options);
    if (status != STILE_OK)
        stile__settings_fini(settings);
    return status;
}

void stile__settings_fini(struct stile_settings *settings)
{
    free(settings->scheme);
    free(settings->host);
    free(settings->path);
    free(settings->prefix);
    free(settings->shown);
    stile__wipe_free(settings->user);
    stile__wipe_free(settings->password);
    memset(settings, 0, sizeof(*settings));
}
