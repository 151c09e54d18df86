/*
 * The URL that stile_open() gets, taken apart.
 *
 * Order of strength: what the query says, the keys of a file, stile_options, the
 * defaults.  What is wrong is an error even where something stronger would win.
 *
 * Secrets.  An error text shows a URL only as it was understood, put together
 * anew from its parts, with *** for who to be and for values that are text.  A
 * part that was not understood is shown only if it is all digits: whoever forgets
 * a '@' or writes a '/' into a password has made something else of it.  For the
 * same reason '@', '#', '=' and '&' must be percent-encoded wherever they do not
 * separate: so that one slip does not make a host or a path of a password.
 */
#include "settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "settings_parse.h"

#define DEFAULT_URL "local:"
#define DEFAULT_PREFIX "stile:"
#define DEFAULT_PORT 6379
#define PREFIX_MAX 64
#define PASSWORD_FILE_MAX 4096
#define DB_MAX 65535
#define HOUR_MS 3600000

/* ---- the options ----------------------------------------------------------*/

enum kind { TEXT, DB, TIME };

/* 0 in stile_options is the default.  A URL and a file may say 0 only where 0
 * has a meaning, which is the default as well. */
static const struct key {
    const char *name;
    enum kind kind;
    bool local;     /* it concerns local: too */
    bool zero;      /* a URL and a file may say 0 */
    size_t setting; /* TIME: where it is in stile_settings and in stile_options */
    size_t option;
    int64_t least;
    int64_t most;
    int64_t usual;
} keys[STILE_KEYS] = {
#define AT(field) offsetof(struct stile_settings, field), offsetof(stile_options, field)
    [STILE_KEY_PREFIX] = {.name = "prefix"},
    [STILE_KEY_USER] = {.name = "user"},
    [STILE_KEY_PASSWORD] = {.name = "password"},
    [STILE_KEY_PASSWORD_FILE] = {.name = "password_file"},
    [STILE_KEY_PASSWORD_ENV] = {.name = "password_env"},
    [STILE_KEY_DB] = {.name = "db", .kind = DB, .most = DB_MAX},
    [STILE_KEY_CONNECT_TIMEOUT_MS] = {"connect_timeout_ms", TIME, false, false,
                                      AT(connect_timeout_ms), 1, HOUR_MS, 2000},
    [STILE_KEY_COMMAND_TIMEOUT_MS] = {"command_timeout_ms", TIME, false, false,
                                      AT(command_timeout_ms), 1, HOUR_MS, 2000},
    [STILE_KEY_LEASE_MS] = {"lease_ms", TIME, true, true, AT(lease_ms), STILE_LEASE_MIN_MS,
                            STILE_TEN_YEARS_MS, 30000},
    [STILE_KEY_MAX_HOLD_MS] = {"max_hold_ms", TIME, true, true, AT(max_hold_ms), STILE_LEASE_MIN_MS,
                               STILE_TEN_YEARS_MS, 0},
    [STILE_KEY_WAITER_LEASE_MS] = {"waiter_lease_ms", TIME, false, false, AT(waiter_lease_ms), 1000,
                                   HOUR_MS, 5000},
    [STILE_KEY_CLAIM_MS] = {"claim_ms", TIME, false, false, AT(claim_ms), 100, STILE_CLAIM_MAX_MS,
                            1000},
    [STILE_KEY_RECHECK_MS] = {"recheck_ms", TIME, false, false, AT(recheck_ms), 50, 60000, 1000},
#undef AT
};

static int64_t *time_of(struct stile_settings *settings, const struct key *key)
{
    return (int64_t *)(void *)((char *)settings + key->setting);
}

/* ---- errors ---------------------------------------------------------------*/

stile_status stile__settings_wrong(stile_status status, const struct stile_origin *origin,
                                   const char *format, ...)
{
    char what[384], line[32] = "";
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    if (origin->line > 0)
        (void)snprintf(line, sizeof(line), "line %d of ", origin->line);
    return stile__fail(status, "%s%s%s%.96s%s%s%.96s", origin->environment ? "STILE_URL: " : "",
                       what, origin->url != NULL ? " in " : "",
                       origin->url != NULL ? origin->url : "", origin->file != NULL ? " in " : "",
                       line, origin->file != NULL ? origin->file : "");
}

stile_status stile__settings_no_memory(void)
{
    return stile__fail(STILE_NO_MEMORY, "no memory or descriptors for the settings of a space");
}

/* ---- strings --------------------------------------------------------------*/

/* A part of a URL. */
struct slice {
    const char *at;
    size_t length;
};

void stile__wipe_free(char *text)
{
    if (text != NULL)
        stile__wipe(text, strlen(text));
    free(text);
}

static stile_status replace(char **field, const char *value)
{
    char *copy = strdup(value);

    if (copy == NULL)
        return stile__settings_no_memory();
    stile__wipe_free(*field);
    *field = copy;
    return STILE_OK;
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static bool is_digits(const char *text, size_t length)
{
    size_t i;

    for (i = 0; i < length; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return length > 0;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Takes the percent signs out of a part of a URL, which error texts call what. */
static stile_status decode(struct slice part, const char *what, const struct stile_origin *origin,
                           char **out)
{
    char *text = calloc(1, part.length + 1);
    char *end = text;
    size_t i;

    if (text == NULL)
        return stile__settings_no_memory();
    for (i = 0; i < part.length; i++, end++) {
        int high, low;

        if (part.at[i] != '%') {
            *end = part.at[i];
            continue;
        }
        high = part.length - i > 2 ? hex(part.at[i + 1]) : -1;
        low = high >= 0 ? hex(part.at[i + 2]) : -1;
        if (low < 0) {
            stile__wipe_free(text);
            return stile__settings_wrong(STILE_INVALID, origin,
                                         "the %s has a '%%' without two hexadecimal digits", what);
        }
        *end = (char)(high * 16 + low);
        if (*end == '\0')
            break;
        i += 2;
    }
    if (i < part.length || has_control(text)) {
        stile__wipe_free(text);
        return stile__settings_wrong(STILE_INVALID, origin, "the %s has a control character", what);
    }
    *out = text;
    return STILE_OK;
}

/* Decimal digits and nothing else, from least to most. */
static bool read_number(const char *text, size_t length, int64_t least, int64_t most, int64_t *out)
{
    int64_t number = 0;
    size_t i;

    if (!is_digits(text, length))
        return false;
    for (i = 0; i < length; i++) {
        int digit = text[i] - '0';

        if (number > (INT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (number < least || number > most)
        return false;
    *out = number;
    return true;
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
    if (has_control(value))
        return stile__settings_wrong(STILE_INVALID, origin, "%s has a control character", name);
    return replace(field, value);
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

static stile_status wrong_number(const char *name, const char *text, int64_t least, int64_t most,
                                 bool zero, const struct stile_origin *origin)
{
    size_t length = strlen(text);
    bool shown = length <= 20 && is_digits(text, length);

    return stile__settings_wrong(STILE_INVALID, origin,
                                 "%s%s%s%s is not %sa number from %lld to %lld", name,
                                 shown ? " \"" : "", shown ? text : "", shown ? "\"" : "",
                                 zero ? "0 or " : "", (long long)least, (long long)most);
}

static stile_status take_number(struct stile_settings *settings, const struct key *key,
                                const char *text, const struct stile_origin *origin)
{
    int64_t number;

    if (key->zero && read_number(text, strlen(text), 0, 0, &number))
        number = key->usual;
    else if (!read_number(text, strlen(text), key->least, key->most, &number))
        return wrong_number(key->name, text, key->least, key->most, key->zero, origin);
    if (key->kind == DB)
        settings->db = (int)number;
    else
        *time_of(settings, key) = number;
    return STILE_OK;
}

static stile_status apply_key(struct stile_settings *settings, enum stile_key key,
                              const char *value, const struct stile_origin *origin)
{
    switch (key) {
    case STILE_KEY_PREFIX: return take_prefix(settings, "prefix", value, origin);
    case STILE_KEY_USER: return take_identity(&settings->user, "user", value, origin);
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
    for (i = 0; i < STILE_KEYS && status == STILE_OK; i++) {
        const struct key *key = &keys[i];
        int64_t value;

        if (key->kind != TIME)
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
        if (keys[i].kind == TIME)
            *time_of(settings, &keys[i]) = keys[i].usual;
    return replace(&settings->prefix, DEFAULT_PREFIX);
}

/* ---- a URL that is not of a file ------------------------------------------*/

/* A URL on its way into settings and said. */
struct parse {
    struct stile_settings *settings;
    struct stile_said *said;
    struct stile_origin origin; /* url: shown */
    /* What may be shown of what was understood so far.  Before the host or the
     * path is understood this is the scheme alone. */
    char *shown;
    size_t room;
};

static void show(struct parse *parse, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void show(struct parse *parse, const char *format, ...)
{
    size_t used = strlen(parse->shown);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(parse->shown + used, parse->room - used, format, arguments);
    va_end(arguments);
}

static stile_status parse_option(struct parse *parse, struct slice name, struct slice value,
                                 char separator)
{
    int found = find_key(name.at, name.length);
    const struct key *key = &keys[found < 0 ? 0 : found];
    char *text = NULL;
    stile_status status;

    if (found >= 0 && !key->local && strcmp(parse->settings->scheme, "local") == 0)
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "%s is not an option of local:", key->name);
    status = decode(value, found < 0 ? "value of an option" : key->name, &parse->origin, &text);
    if (status != STILE_OK)
        return status;
    status = stile__said_add(parse->said, &parse->origin, name.at, name.length, text);
    if (status == STILE_OK)
        show(parse, "%c%s=%s", separator, key->name,
             key->kind != TEXT && is_digits(text, strlen(text)) ? text : "***");
    stile__wipe_free(text);
    return status;
}

/* name=value&name=value; query is what stands behind the '?', NULL for none. */
static stile_status parse_query(struct parse *parse, const char *query)
{
    stile_status status = STILE_OK;
    char separator = '?';

    if (query == NULL || *query == '\0')
        return STILE_OK;
    for (;;) {
        struct slice name = {query, strcspn(query, "=&")};
        struct slice value = {query + name.length + 1, 0};

        if (query[name.length] != '=')
            return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                         "there is an option without '='");
        value.length = strcspn(value.at, "=&");
        if (value.at[value.length] == '=')
            return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                         "the value of an option has a '=', to be written %%3D");
        status = parse_option(parse, name, value, separator);
        if (status != STILE_OK || value.at[value.length] == '\0')
            return status;
        query = value.at + value.length + 1;
        separator = '&';
    }
}

/* [user][:password] */
static stile_status parse_identity(struct parse *parse, struct slice identity)
{
    const char *colon = memchr(identity.at, ':', identity.length);
    size_t user_length = colon == NULL ? identity.length : (size_t)(colon - identity.at);
    struct slice part[2] = {{identity.at, user_length}, {NULL, 0}};
    static const char *const name[2] = {"user", "password"};
    stile_status status = STILE_OK;
    int i;

    if (colon != NULL)
        part[1] = (struct slice){colon + 1, identity.length - user_length - 1};
    for (i = 0; i < 2 && status == STILE_OK; i++) {
        char *text = NULL;

        if (part[i].length == 0)
            continue;
        status = decode(part[i], name[i], &parse->origin, &text);
        if (status == STILE_OK)
            status = stile__said_add(parse->said, &parse->origin, name[i], strlen(name[i]), text);
        stile__wipe_free(text);
    }
    return status;
}

static bool is_letter_or_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A name or an IPv4 address.  Dots in the right places are the resolver's
 * concern. */
static bool is_host(struct slice host)
{
    size_t i;

    for (i = 0; i < host.length; i++)
        if (!is_letter_or_digit(host.at[i]) && strchr(".-_", host.at[i]) == NULL)
            return false;
    return host.length > 0;
}

/* What stands between brackets, perhaps with a zone: fe80::1%25eth0. */
static bool is_ipv6(struct slice host)
{
    const char *zone = memchr(host.at, '%', host.length);
    struct slice address = {host.at, zone == NULL ? host.length : (size_t)(zone - host.at)};
    size_t i;

    for (i = 0; i < address.length; i++)
        if (hex(address.at[i]) < 0 && address.at[i] != ':' && address.at[i] != '.')
            return false;
    if (zone != NULL && (host.length - address.length <= 3 || strncmp(zone, "%25", 3) != 0 ||
                         !is_host((struct slice){zone + 3, host.length - address.length - 3})))
        return false;
    return address.length >= 2 && memchr(address.at, ':', address.length) != NULL;
}

static stile_status parse_port(struct parse *parse, struct slice port, bool has_identity)
{
    int64_t number;
    char text[24];

    if (read_number(port.at, port.length, 1, UINT16_MAX, &number)) {
        parse->settings->port = (uint16_t)number;
        show(parse, ":%d", (int)number);
        return STILE_OK;
    }
    /* Without a '@', this may be a password in front of a host that was
     * forgotten. */
    if (port.length >= sizeof(text) || !is_digits(port.at, port.length) ||
        (!has_identity && port.length > 5)) {
        (void)snprintf(parse->shown, parse->room, "%s:", parse->settings->scheme);
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "the port is not a number from 1 to 65535");
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)port.length, port.at);
    show(parse, ":%s", text);
    return wrong_number("port", text, 1, UINT16_MAX, false, &parse->origin);
}

/* host, host:port, [ipv6], [ipv6]:port */
static stile_status parse_host(struct parse *parse, struct slice authority, bool has_identity)
{
    const char *end = authority.at + authority.length;
    bool brackets = authority.length > 0 && *authority.at == '[';
    struct slice host = {authority.at + brackets, 0};
    const char *rest; /* ":port" or nothing */
    stile_status status;

    rest = memchr(host.at, brackets ? ']' : ':', (size_t)(end - host.at));
    if (rest == NULL)
        rest = end;
    host.length = (size_t)(rest - host.at);
    if (brackets && rest < end)
        rest++;
    else if (brackets)
        host.length = 0; /* no bracket closes */
    if (authority.length == 0)
        return stile__settings_wrong(STILE_INVALID, &parse->origin, "there is no host");
    if (!(brackets ? is_ipv6(host) : is_host(host)) || (rest < end && *rest != ':'))
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "the host is not a name or an address (IPv6 in brackets)");
    status = decode(host, "host", &parse->origin, &parse->settings->host);
    if (status != STILE_OK)
        return status;
    parse->settings->port = DEFAULT_PORT;
    show(parse, "//%s%s%.*s%s", has_identity ? "***@" : "", brackets ? "[" : "", (int)host.length,
         host.at, brackets ? "]" : "");
    if (rest == end)
        return STILE_OK;
    return parse_port(parse, (struct slice){rest + 1, (size_t)(end - rest - 1)}, has_identity);
}

/* redis: nothing, "/" or "/db". */
static stile_status parse_db(struct parse *parse, struct slice path)
{
    char text[24];

    if (path.length <= 1)
        return STILE_OK;
    if (path.length > sizeof(text) || !is_digits(path.at + 1, path.length - 1))
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "the path is not the number of a db");
    (void)snprintf(text, sizeof(text), "%.*s", (int)path.length - 1, path.at + 1);
    show(parse, "/%s", text);
    return stile__said_add(parse->said, &parse->origin, "db", 2, text);
}

/* unix: the socket. */
static stile_status parse_socket(struct parse *parse, struct slice authority, struct slice path,
                                 bool has_identity)
{
    stile_status status;
    char shown[256];

    if (authority.length > 0)
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "there is a host, where unix: has none (three slashes)");
    if (path.length <= 1)
        return stile__settings_wrong(STILE_INVALID, &parse->origin, "there is no path of a socket");
    if (memchr(path.at, '=', path.length) != NULL || memchr(path.at, '&', path.length) != NULL)
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "the path has a '=' or a '&', to be written %%3D or %%26");
    status = decode(path, "path", &parse->origin, &parse->settings->path);
    if (status == STILE_OK)
        show(parse, "//%s%s", has_identity ? "***@" : "",
             stile__escape(shown, sizeof(shown), path.at, path.length));
    return status;
}

/* //[identity@]host:port/db?query or //[identity@]/path?query */
static stile_status parse_server(struct parse *parse, const char *rest)
{
    bool is_unix = strcmp(parse->settings->scheme, "unix") == 0;
    struct slice authority, path;
    const char *query, *at;
    stile_status status = STILE_OK;

    if (strncmp(rest, "//", 2) != 0)
        return stile__settings_wrong(STILE_INVALID, &parse->origin, "there is no // after the :");
    authority.at = rest + 2;
    authority.length = strcspn(authority.at, "/?");
    path.at = authority.at + authority.length;
    path.length = strcspn(path.at, "?");
    query = path.at[path.length] == '?' ? path.at + path.length + 1 : NULL;
    at = strchr(authority.at, '@');
    if (at != NULL && (at > path.at || strchr(at + 1, '@') != NULL))
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "a '/', '?' or '@' that separates nothing is not written "
                                     "%%2F, %%3F or %%40");
    if (at != NULL) {
        status = parse_identity(parse, (struct slice){authority.at, (size_t)(at - authority.at)});
        authority = (struct slice){at + 1, (size_t)(path.at - at - 1)};
    }
    if (status == STILE_OK && is_unix)
        status = parse_socket(parse, authority, path, at != NULL);
    else if (status == STILE_OK)
        status = parse_host(parse, authority, at != NULL);
    if (status == STILE_OK && !is_unix)
        status = parse_db(parse, path);
    if (status == STILE_OK)
        status = parse_query(parse, query);
    return status;
}

static stile_status parse_local(struct parse *parse, const char *rest)
{
    if (*rest != '\0' && *rest != '?')
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "only ?options may stand after the :");
    return parse_query(parse, *rest == '?' ? rest + 1 : NULL);
}

/* parse: NULL with the reason why it cannot be used. */
static const struct scheme {
    const char *name;
    stile_status (*parse)(struct parse *parse, const char *rest);
    const char *why;
    stile_status status;
} schemes[] = {
    {"local", parse_local, NULL, STILE_OK},
    {"redis", parse_server, NULL, STILE_OK},
    {"unix", parse_server, NULL, STILE_OK},
    {"file", NULL, "the url of a file must not be one of a file", STILE_INVALID},
    {"rediss", NULL, "encrypted connections (rediss://) are not built yet", STILE_UNSUPPORTED},
    {"redis+sentinel", NULL, "servers behind Sentinel (redis+sentinel://) are not built yet",
     STILE_UNSUPPORTED},
    {"redis+cluster", NULL, "clusters (redis+cluster://) are not built yet", STILE_UNSUPPORTED},
    {"quorum", NULL, "a majority of several servers (quorum:) is not built yet", STILE_UNSUPPORTED},
};

/* Returns how many bytes the scheme has, 0 if what stands there is none. */
static size_t scheme_length(const char *url)
{
    size_t length = strcspn(url, ":");
    size_t i;

    for (i = 0; i < length; i++)
        if (!is_letter_or_digit(url[i]) && (i == 0 || strchr("+-.", url[i]) == NULL))
            return 0;
    return url[length] == ':' && length <= 32 ? length : 0;
}

static bool has_scheme(const char *url, const char *name)
{
    size_t length = scheme_length(url);

    return length == strlen(name) && strncasecmp(url, name, length) == 0;
}

/* What holds for every URL, before anything in it is known. */
static stile_status check_url(const char *url, const struct stile_origin *origin)
{
    if (strnlen(url, STILE_URL_MAX + 1) > STILE_URL_MAX)
        return stile__settings_wrong(STILE_INVALID, origin, "the URL is longer than %d bytes",
                                     STILE_URL_MAX);
    if (has_control(url))
        return stile__settings_wrong(STILE_INVALID, origin, "the URL has a control character");
    if (scheme_length(url) == 0)
        return stile__settings_wrong(STILE_INVALID, origin,
                                     "the URL does not begin with a scheme, such as local:");
    if (strchr(url, '#') != NULL)
        return stile__settings_wrong(STILE_INVALID, origin,
                                     "the URL has a '#', to be written %%23");
    return STILE_OK;
}

/* Fills the settings that only a URL has, and said with the rest. */
static stile_status parse_url(struct stile_settings *settings, struct stile_said *said,
                              const char *url, struct stile_origin *origin)
{
    struct parse parse = {.settings = settings, .said = said, .origin = *origin};
    const struct scheme *scheme = NULL;
    size_t i;
    stile_status status = check_url(url, origin);

    if (status != STILE_OK)
        return status;
    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (has_scheme(url, schemes[i].name))
            scheme = &schemes[i];
    if (scheme == NULL)
        return stile__settings_wrong(STILE_INVALID, origin,
                                     "there is no scheme %.*s:", (int)scheme_length(url), url);
    if (scheme->parse == NULL)
        return stile__settings_wrong(scheme->status, origin, "%s", scheme->why);

    /* Escaping makes four bytes of one, and so does *** with its separator. */
    parse.room = 4 * strlen(url) + 8;
    parse.shown = calloc(1, parse.room);
    settings->shown = parse.shown;
    status = replace(&settings->scheme, scheme->name);
    if (status != STILE_OK || parse.shown == NULL)
        return stile__settings_no_memory();
    parse.origin.url = origin->url = parse.shown;
    show(&parse, "%s:", scheme->name);
    return scheme->parse(&parse, url + scheme_length(url) + 1);
}

/* ---- a URL of a file ------------------------------------------------------*/

/* The path of file:PATH or file:///PATH, decoded. */
static stile_status file_path(const char *url, struct stile_origin *origin, char **path)
{
    stile_status status = check_url(url, origin);
    const char *rest;

    if (status != STILE_OK)
        return status;
    rest = url + scheme_length(url) + 1;
    origin->url = "file:";
    if (strchr(rest, '?') != NULL)
        return stile__settings_wrong(STILE_INVALID, origin,
                                     "there is a '?': options stand in the file");
    if (strncmp(rest, "//", 2) == 0) {
        rest += 2;
        if (*rest != '/')
            return stile__settings_wrong(STILE_INVALID, origin, "there is a host");
    }
    if (*rest == '\0')
        return stile__settings_wrong(STILE_INVALID, origin, "there is no path");
    status = decode((struct slice){rest, strlen(rest)}, "path", origin, path);
    origin->url = NULL;
    return status;
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
    status = parse_url(settings, &said, url, origin);
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
    stile_status status = file_path(url, origin, &path);

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
    if (has_scheme(url, "file"))
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
