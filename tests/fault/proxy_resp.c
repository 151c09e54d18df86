#include "fault/proxy_resp.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX 16

ptrdiff_t proxy_resp_size(const char *data, size_t length, unsigned depth)
{
    const char *end = memchr(data, '\n', length);
    size_t size;
    long long number;

    if (end == NULL)
        return 0;
    size = (size_t)(end - data) + 1;
    if (size < 3 || end[-1] != '\r' || depth > DEPTH_MAX)
        return -1;
    if (data[0] == '+' || data[0] == '-' || data[0] == ':')
        return (ptrdiff_t)size;
    if ((data[0] != '$' && data[0] != '*') || (data[1] != '-' && !isdigit((unsigned char)data[1])))
        return -1;
    number = strtoll(data + 1, NULL, 10);
    if (number > INT_MAX)
        return -1;
    if (data[0] == '$') {
        if (number >= 0)
            size += (size_t)number + 2;
        return size <= length ? (ptrdiff_t)size : 0;
    }
    for (; number > 0; number--) {
        ptrdiff_t part = proxy_resp_size(data + size, length - size, depth + 1);

        if (part <= 0)
            return part;
        size += (size_t)part;
    }
    return (ptrdiff_t)size;
}

long long proxy_resp_array(const char *value, const char **at)
{
    if (value[0] != '*')
        return -1;
    *at = strchr(value, '\n') + 1;
    return strtoll(value + 1, NULL, 10);
}

struct text proxy_resp_next(const char **at)
{
    const char *line = *at + 1, *end = strchr(line, '\n');
    struct text text = {line, (size_t)(end - line) - 1};

    *at = end + 1;
    if (line[-1] == '$') {
        long long length = strtoll(line, NULL, 10);

        text = (struct text){*at, length > 0 ? (size_t)length : 0};
        if (length >= 0)
            *at += length + 2;
    }
    return text;
}

bool proxy_text_is(struct text text, const char *word)
{
    return text.length == strlen(word) && strncasecmp(text.bytes, word, text.length) == 0;
}

bool proxy_text_has(struct text text, const char *part)
{
    return memmem(text.bytes, text.length, part, strlen(part)) != NULL;
}

bool proxy_resp_is_request(const char *value)
{
    const char *at;
    long long count = proxy_resp_array(value, &at);

    for (long long i = 0; i < count; i++) {
        if (at[0] != '$')
            return false;
        proxy_resp_next(&at);
    }
    return count > 0;
}
