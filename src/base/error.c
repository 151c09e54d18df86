#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char detail[STILE_DETAIL_SIZE];

stile_status stile__fail(stile_status status, const char *format, ...)
{
    /* Apart from detail: an argument may be the detail of an inner failure. */
    char text[STILE_DETAIL_SIZE];
    va_list arguments;

    va_start(arguments, format);
    if (vsnprintf(text, sizeof(text), format, arguments) < 0)
        text[0] = '\0';
    va_end(arguments);
    memcpy(detail, text, strlen(text) + 1);
    return status;
}

const char *stile_error_detail(void)
{
    return detail;
}

const char *stile__escape(char *out, size_t size, const char *text, size_t length)
{
    static const char hex[] = "0123456789abcdef";
    static const char dots[] = "...";
    size_t room, used = 0, cut = 0, width, i;

    if (size == 0)
        return out;
    room = size - 1;
    for (i = 0; i < length; i++, used += width) {
        unsigned char byte = (unsigned char)text[i];
        bool plain = byte >= ' ' && byte < 0x7f;

        /* cut: where the dots would begin, never within an escape. */
        if (used + (sizeof(dots) - 1) <= room)
            cut = used;
        width = plain ? 1 : 4;
        if (width > room - used) {
            for (used = cut; used < room && used - cut < sizeof(dots) - 1; used++)
                out[used] = dots[used - cut];
            break;
        }
        if (plain) {
            out[used] = (char)byte;
        } else {
            out[used] = '\\';
            out[used + 1] = 'x';
            out[used + 2] = hex[byte >> 4];
            out[used + 3] = hex[byte & 15];
        }
    }
    out[used] = '\0';
    return out;
}

void stile__wipe(void *bytes, size_t size)
{
    explicit_bzero(bytes, size);
}
