/*
 * Numbers, durations and strangers' text, read and printed.
 */
#include "stile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEN_YEARS_S INT64_C(315360000)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool parse_seconds(const char *text, int64_t *ms)
{
    int64_t whole = 0, part = 0, unit = 100;
    bool digits = false, more = false;

    for (; is_digit(*text); text++, digits = true) {
        whole = whole * 10 + (*text - '0');
        if (whole > TEN_YEARS_S)
            return false;
    }
    if (*text == '.')
        for (text++; is_digit(*text); text++, digits = true, unit /= 10) {
            part += (*text - '0') * unit;
            more = more || (unit == 0 && *text != '0');
        }
    if (!digits || *text != '\0')
        return false;
    *ms = whole * 1000 + part + more;
    return *ms <= TEN_YEARS_S * 1000;
}

bool parse_number(const char *text, long least, long most, long *number)
{
    char *end;

    errno = 0;
    *number = strtol(text, &end, 10);
    return is_digit(*text) && *end == '\0' && errno == 0 && *number >= least && *number <= most;
}

/* Returns how many bytes the UTF-8 character at text has, 0 if there is none: no
 * overlong forms, no surrogates, nothing above U+10FFFF. */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = *text < 0x80 ? 1 : *text < 0xe0 ? 2 : *text < 0xf0 ? 3 : 4, i;

    if ((*text >= 0x80 && *text < 0xc2) || *text > 0xf4)
        return 0;
    for (i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((*text == 0xe0 && text[1] < 0xa0) || (*text == 0xed && text[1] >= 0xa0) ||
        (*text == 0xf0 && text[1] < 0x90) || (*text == 0xf4 && text[1] >= 0x90))
        return 0;
    return length;
}

/* Whether a terminal might act on it: C0, DEL, and the C1 controls. */
static bool is_control(const unsigned char *text)
{
    return *text < 0x20 || *text == 0x7f || (*text == 0xc2 && text[1] < 0xa0);
}

static void print_escaped(FILE *to, const char *text, bool quoted)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at != '\0') {
        size_t length = utf8_length(at);

        if (length == 0 || is_control(at)) {
            fprintf(to, "\\x%02x", *at);
            length = 1;
        } else {
            if (quoted && (*at == '"' || *at == '\\'))
                (void)fputc('\\', to);
            (void)fwrite(at, 1, length, to);
        }
        at += length;
    }
}

void print_text(FILE *to, const char *text)
{
    print_escaped(to, text, false);
}

void print_quoted(FILE *to, const char *text)
{
    (void)fputc('"', to);
    print_escaped(to, text, true);
    (void)fputc('"', to);
}

void print_json(FILE *to, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    (void)fputc('"', to);
    while (*at != '\0') {
        size_t length = utf8_length(at);

        if (*at == '"' || *at == '\\')
            fprintf(to, "\\%c", *at);
        else if (length == 0 || is_control(at)) /* the last byte is U+0080 to U+009F itself */
            fprintf(to, "\\u%04x", at[length == 2 ? 1 : 0]);
        else
            (void)fwrite(at, 1, length, to);
        at += length == 0 ? 1 : length;
    }
    (void)fputc('"', to);
}

void format_duration(char text[DURATION_SIZE], int64_t ms)
{
    int64_t s = ms / 1000;

    if (ms < 60000)
        (void)snprintf(text, DURATION_SIZE, "%" PRId64 ".%" PRId64 " s", s, ms % 1000 / 100);
    else if (s < 3600)
        (void)snprintf(text, DURATION_SIZE, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
    else if (s < 86400)
        (void)snprintf(text, DURATION_SIZE, "%" PRId64 " h %" PRId64 " min", s / 3600,
                       s % 3600 / 60);
    else
        (void)snprintf(text, DURATION_SIZE, "%" PRId64 " d %" PRId64 " h", s / 86400,
                       s % 86400 / 3600);
}

int64_t age_of(int64_t since_ms)
{
    struct timespec now;
    int64_t age;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    age = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - since_ms;
    return age < 0 ? 0 : age;
}
