/*
 * The URL that stile_open() gets, taken apart.
 *
 * Secrets.  An error text shows a URL only as it was understood, put together
 * anew from its parts, with *** for who to be and for values that are text.  A
 * part that was not understood is shown only if it is all digits: whoever forgets
 * a '@' or writes a '/' into a password has made something else of it.  For the
 * same reason '@', '#', '=' and '&' must be percent-encoded wherever they do not
 * separate: so that one slip does not make a host or a path of a password.
 */
#include "settings_parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"

#define DEFAULT_PORT 6379

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

/* No secret, and what such an option has for a value. */
static bool may_be_shown(const struct stile_setting *setting, const char *text)
{
    bool on;

    if (setting->kind == STILE_SETTING_SWITCH)
        return stile__text_switch(text, &on);
    return setting->kind != STILE_SETTING_TEXT && stile__text_is_digits(text, strlen(text));
}

static stile_status parse_option(struct parse *parse, struct stile_slice name,
                                 struct stile_slice value, char separator)
{
    const struct stile_setting *setting = stile__setting_of(name.at, name.length);
    char *text = NULL;
    stile_status status;

    if (setting != NULL && !setting->local && strcmp(parse->settings->scheme, "local") == 0)
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "%s is not an option of local:", setting->name);
    status = stile__settings_decode(value, setting == NULL ? "value of an option" : setting->name,
                                    &parse->origin, &text);
    if (status != STILE_OK)
        return status;
    status = stile__said_add(parse->said, &parse->origin, name.at, name.length, text);
    if (status == STILE_OK)
        show(parse, "%c%s=%s", separator, setting->name,
             may_be_shown(setting, text) ? text : "***");
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
        struct stile_slice name = {query, strcspn(query, "=&")};
        struct stile_slice value = {query + name.length + 1, 0};

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
static stile_status parse_identity(struct parse *parse, struct stile_slice identity)
{
    const char *colon = memchr(identity.at, ':', identity.length);
    size_t user_length = colon == NULL ? identity.length : (size_t)(colon - identity.at);
    struct stile_slice part[2] = {{identity.at, user_length}, {NULL, 0}};
    static const char *const name[2] = {"user", "password"};
    stile_status status = STILE_OK;
    int i;

    if (colon != NULL)
        part[1] = (struct stile_slice){colon + 1, identity.length - user_length - 1};
    for (i = 0; i < 2 && status == STILE_OK; i++) {
        char *text = NULL;

        if (part[i].length == 0)
            continue;
        status = stile__settings_decode(part[i], name[i], &parse->origin, &text);
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
static bool is_host(struct stile_slice host)
{
    size_t i;

    for (i = 0; i < host.length; i++)
        if (!is_letter_or_digit(host.at[i]) && strchr(".-_", host.at[i]) == NULL)
            return false;
    return host.length > 0;
}

/* What stands between brackets, perhaps with a zone: fe80::1%25eth0. */
static bool is_ipv6(struct stile_slice host)
{
    const char *zone = memchr(host.at, '%', host.length);
    struct stile_slice address = {host.at, zone == NULL ? host.length : (size_t)(zone - host.at)};
    size_t i;

    for (i = 0; i < address.length; i++)
        if (stile__text_hex(address.at[i]) < 0 && address.at[i] != ':' && address.at[i] != '.')
            return false;
    if (zone != NULL &&
        (host.length - address.length <= 3 || strncmp(zone, "%25", 3) != 0 ||
         !is_host((struct stile_slice){zone + 3, host.length - address.length - 3})))
        return false;
    return address.length >= 2 && memchr(address.at, ':', address.length) != NULL;
}

static stile_status parse_port(struct parse *parse, struct stile_slice port, bool has_identity)
{
    int64_t number;
    char text[24];

    if (stile__text_number(port.at, port.length, 1, UINT16_MAX, &number)) {
        parse->settings->port = (uint16_t)number;
        show(parse, ":%d", (int)number);
        return STILE_OK;
    }
    /* Without a '@', this may be a password in front of a host that was
     * forgotten. */
    if (port.length >= sizeof(text) || !stile__text_is_digits(port.at, port.length) ||
        (!has_identity && port.length > 5)) {
        (void)snprintf(parse->shown, parse->room, "%s:", parse->settings->scheme);
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "the port is not a number from 1 to 65535");
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)port.length, port.at);
    show(parse, ":%s", text);
    return stile__settings_wrong_number("port", text, 1, UINT16_MAX, false, &parse->origin);
}

/* host, host:port, [ipv6], [ipv6]:port */
static stile_status parse_host(struct parse *parse, struct stile_slice authority, bool has_identity)
{
    const char *end = authority.at + authority.length;
    bool brackets = authority.length > 0 && *authority.at == '[';
    struct stile_slice host = {authority.at + brackets, 0};
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
    status = stile__settings_decode(host, "host", &parse->origin, &parse->settings->host);
    if (status != STILE_OK)
        return status;
    parse->settings->port = DEFAULT_PORT;
    show(parse, "//%s%s%.*s%s", has_identity ? "***@" : "", brackets ? "[" : "", (int)host.length,
         host.at, brackets ? "]" : "");
    if (rest == end)
        return STILE_OK;
    return parse_port(parse, (struct stile_slice){rest + 1, (size_t)(end - rest - 1)},
                      has_identity);
}

/* redis: nothing, "/" or "/db". */
static stile_status parse_db(struct parse *parse, struct stile_slice path)
{
    char text[24];

    if (path.length <= 1)
        return STILE_OK;
    if (path.length > sizeof(text) || !stile__text_is_digits(path.at + 1, path.length - 1))
        return stile__settings_wrong(STILE_INVALID, &parse->origin,
                                     "the path is not the number of a db");
    (void)snprintf(text, sizeof(text), "%.*s", (int)path.length - 1, path.at + 1);
    show(parse, "/%s", text);
    return stile__said_add(parse->said, &parse->origin, "db", 2, text);
}

/* unix: the socket. */
static stile_status parse_socket(struct parse *parse, struct stile_slice authority,
                                 struct stile_slice path, bool has_identity)
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
    status = stile__settings_decode(path, "path", &parse->origin, &parse->settings->path);
    if (status == STILE_OK)
        show(parse, "//%s%s", has_identity ? "***@" : "",
             stile__escape(shown, sizeof(shown), path.at, path.length));
    return status;
}

/* //[identity@]host:port/db?query or //[identity@]/path?query */
static stile_status parse_server(struct parse *parse, const char *rest)
{
    bool is_unix = strcmp(parse->settings->scheme, "unix") == 0;
    struct stile_slice authority, path;
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
        status =
            parse_identity(parse, (struct stile_slice){authority.at, (size_t)(at - authority.at)});
        authority = (struct stile_slice){at + 1, (size_t)(path.at - at - 1)};
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
    return length <= 32 && url[length] == ':' ? length : 0;
}

bool stile__url_has_scheme(const char *url, const char *name)
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
    if (stile__text_has_control(url))
        return stile__settings_wrong(STILE_INVALID, origin, "the URL has a control character");
    if (scheme_length(url) == 0)
        return stile__settings_wrong(STILE_INVALID, origin,
                                     "the URL does not begin with a scheme, such as local:");
    if (strchr(url, '#') != NULL)
        return stile__settings_wrong(STILE_INVALID, origin,
                                     "the URL has a '#', to be written %%23");
    return STILE_OK;
}

stile_status stile__url_parse(struct stile_settings *settings, struct stile_said *said,
                              const char *url, struct stile_origin *origin)
{
    struct parse parse = {.settings = settings, .said = said, .origin = *origin};
    const struct scheme *scheme = NULL;
    size_t i;
    stile_status status = check_url(url, origin);

    if (status != STILE_OK)
        return status;
    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (stile__url_has_scheme(url, schemes[i].name))
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
    status = stile__settings_replace(&settings->scheme, scheme->name);
    if (status != STILE_OK || parse.shown == NULL)
        return stile__settings_no_memory();
    parse.origin.url = origin->url = parse.shown;
    show(&parse, "%s:", scheme->name);
    return scheme->parse(&parse, url + scheme_length(url) + 1);
}

stile_status stile__url_file_path(const char *url, struct stile_origin *origin, char **path)
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
    status = stile__settings_decode((struct stile_slice){rest, strlen(rest)}, "path", origin, path);
    origin->url = NULL;
    return status;
}
