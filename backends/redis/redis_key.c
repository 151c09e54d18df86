/*
 * Names to keys: <prefix>{<kind>:<escaped name>}[:<part>].
 *
 * Escaped are '{', '}', '%' and control bytes, as %XX; so the hash tag is all of
 * what stands in the braces, whatever the name, and two names never meet.
 */
#include "redis.h"

#include <stdlib.h>
#include <string.h>

static const char *const part_names[REDIS_PARTS] = {"", ":fence", ":queue", ":waiters"};

static bool plain(unsigned char byte)
{
    return byte > 0x20 && byte != 0x7f && byte != '{' && byte != '}' && byte != '%';
}

static size_t escaped_length(const char *name)
{
    size_t length = 0;

    for (; *name != '\0'; name++)
        length += plain((unsigned char)*name) ? 1 : 3;
    return length;
}

static char *put(char *out, const char *text)
{
    size_t length = strlen(text);

    memcpy(out, text, length);
    return out + length;
}

static char *put_escaped(char *out, const char *name)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *name != '\0'; name++) {
        unsigned char byte = (unsigned char)*name;

        if (plain(byte)) {
            *out++ = (char)byte;
        } else {
            *out++ = '%';
            *out++ = digits[byte >> 4];
            *out++ = digits[byte & 15];
        }
    }
    return out;
}

char *stile__redis_keys(const char *prefix, const char *kind, const char *name,
                        struct redis_slice keys[REDIS_PARTS])
{
    size_t stem = strlen(prefix) + strlen(kind) + escaped_length(name) + 3, size = 0;
    char *bytes, *out;
    int part;

    for (part = 0; part < REDIS_PARTS; part++)
        size += stem + strlen(part_names[part]);
    bytes = malloc(size);
    if (bytes == NULL)
        return NULL;
    out = bytes;
    for (part = 0; part < REDIS_PARTS; part++) {
        keys[part].bytes = out;
        out = put(out, prefix);
        *out++ = '{';
        out = put(out, kind);
        *out++ = ':';
        out = put_escaped(out, name);
        *out++ = '}';
        out = put(out, part_names[part]);
        keys[part].length = (size_t)(out - keys[part].bytes);
    }
    return bytes;
}
