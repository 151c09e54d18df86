#include "settings_parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

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

void stile__wipe_free(char *text)
{
    if (text != NULL)
        stile__wipe(text, strlen(text));
    free(text);
}

stile_status stile__settings_replace(char **field, const char *value)
{
    char *copy = strdup(value);

    if (copy == NULL)
        return stile__settings_no_memory();
    stile__wipe_free(*field);
    *field = copy;
    return STILE_OK;
}

bool stile__text_has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

bool stile__text_is_digits(const char *text, size_t length)
{
    size_t i;

    for (i = 0; i < length; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return length > 0;
}

int stile__text_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

stile_status stile__settings_decode(struct stile_slice part, const char *what,
                                    const struct stile_origin *origin, char **out)
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
        high = part.length - i > 2 ? stile__text_hex(part.at[i + 1]) : -1;
        low = high >= 0 ? stile__text_hex(part.at[i + 2]) : -1;
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
    if (i < part.length || stile__text_has_control(text)) {
        stile__wipe_free(text);
        return stile__settings_wrong(STILE_INVALID, origin, "the %s has a control character", what);
    }
    *out = text;
    return STILE_OK;
}

bool stile__text_number(const char *text, size_t length, int64_t least, int64_t most, int64_t *out)
{
    int64_t number = 0;
    size_t i;

    if (!stile__text_is_digits(text, length))
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

bool stile__text_switch(const char *text, bool *on)
{
    bool off = strcmp(text, "off") == 0;

    if (!off && strcmp(text, "on") != 0)
        return false;
    *on = !off;
    return true;
}

stile_status stile__settings_wrong_number(const char *name, const char *text, int64_t least,
                                          int64_t most, bool zero,
                                          const struct stile_origin *origin)
{
    size_t length = strlen(text);
    bool shown = length <= 20 && stile__text_is_digits(text, length);

    return stile__settings_wrong(STILE_INVALID, origin,
                                 "%s%s%s%s is not %sa number from %lld to %lld", name,
                                 shown ? " \"" : "", shown ? text : "", shown ? "\"" : "",
                                 zero ? "0 or " : "", (long long)least, (long long)most);
}
