/*
 * Who holds or waits, as it stands behind an op id on the server:
 *
 *     " host pid thread label"
 *
 * In the host "%", blanks and whatever does not print are %XX; the label is the rest,
 * any bytes.  What others wrote there may be anything, and is taken as far as it goes.
 */
#include "redis.h"

#include <stdio.h>
#include <string.h>

#include "redis_lock.h"

void stile__redis_who_init(struct redis_who *who)
{
    static const char digits[] = "0123456789ABCDEF";
    char host[sizeof((stile_party *)NULL)->host];
    char *at = who->text;
    const char *c;

    stile__host_name(host, sizeof host);
    *at++ = ' ';
    for (c = host; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;

        if (byte > ' ' && byte < 127 && byte != '%') {
            *at++ = *c;
            continue;
        }
        *at++ = '%';
        *at++ = digits[byte / 16];
        *at++ = digits[byte % 16];
    }
    at += sprintf(at, " %lld ", (long long)stile__process_id());
    who->length = (size_t)(at - who->text);
}

struct redis_slice stile__redis_op(struct redis_op *op, const struct redis_who *who,
                                   const uint64_t id[2], const char *label)
{
    char *at = op->text + REDIS_ID_TEXT;
    struct number number;
    struct redis_slice thread = number_slice(&number, (uint32_t)stile__thread_number());
    size_t length = label == NULL ? 0 : strlen(label);

    stile__redis_id_text(id, op->text);
    memcpy(at, who->text, who->length);
    at += who->length;
    memcpy(at, thread.bytes, thread.length);
    at += thread.length;
    *at++ = ' ';
    if (length > 0)
        memcpy(at, label, length);
    return slice_of(op->text, (size_t)(at - op->text) + length);
}

/* ---- back again ---------------------------------------------------------------------- */

/* Where the word at at ends: at a blank, or the end. */
static const char *word_end(const char *at, const char *end)
{
    const char *blank = memchr(at, ' ', (size_t)(end - at));

    return blank == NULL ? end : blank;
}

/* A word that is a number, or 0. */
static int64_t read_word(const char **at, const char *end)
{
    const char *stop = word_end(*at, end);
    int64_t number = 0;

    if (stop - *at <= 18) {
        for (; *at < stop && **at >= '0' && **at <= '9'; (*at)++)
            number = number * 10 + (**at - '0');
    }
    if (*at < stop)
        number = 0;
    *at = stop < end ? stop + 1 : end;
    return number;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void read_host(const char **at, const char *end, char *host, size_t size)
{
    const char *stop = word_end(*at, end);
    size_t length = 0;

    while (*at < stop && length + 1 < size) {
        char c = *(*at)++;

        if (c == '%' && stop - *at >= 2 && digit_of((*at)[0]) >= 0 && digit_of((*at)[1]) >= 0) {
            c = (char)(digit_of((*at)[0]) * 16 + digit_of((*at)[1]));
            *at += 2;
        }
        host[length++] = c;
    }
    host[length] = '\0';
    *at = stop < end ? stop + 1 : end;
}

void stile__redis_who_read(const char *text, size_t length, stile_party *party)
{
    const char *at = text, *end = text + length;

    if (length == 0 || *at++ != ' ')
        return;
    read_host(&at, end, party->host, sizeof party->host);
    party->pid = read_word(&at, end);
    party->thread = read_word(&at, end);
    length = (size_t)(end - at) < STILE_LABEL_MAX ? (size_t)(end - at) : STILE_LABEL_MAX;
    memcpy(party->label, at, length);
    party->label[length] = '\0';
}
