/*
 * The sentence behind a status: stile_error_detail(), one per thread.
 */
#ifndef STILE_BASE_ERROR_H
#define STILE_BASE_ERROR_H

#include <stddef.h>

#include <stile/status.h>

/* Room for any detail, and its 0. */
#define STILE_DETAIL_SIZE 256

/* Sets the detail and returns the status.  The format is ours; what comes from
 * users or servers goes through %s, and is cut where the buffer ends. */
stile_status stile__fail(stile_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Writes text of a stranger so that it can be shown: control characters and
 * bytes beyond ASCII as \xHH, at most size - 1 bytes, "..." where cut. */
const char *stile__escape(char *out, size_t size, const char *text, size_t length);

/* Overwrites a secret in a way that no compiler leaves out. */
void stile__wipe(void *bytes, size_t size);

#endif
