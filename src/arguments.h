/*
 * What public calls check before anything else, and the sentences they answer with.
 */
#ifndef STILE_ARGUMENTS_H
#define STILE_ARGUMENTS_H

#include <stdint.h>

#include <stile/lock.h>

#include "base/os.h"

/* STILE_INVALID: "<argument> is NULL". */
stile_status stile__null_argument(const char *argument);
stile_status stile__check_name(const char *name);
stile_status stile__check_timeout(int64_t timeout_ms);
/* 0, which means the default, or a lease. */
stile_status stile__check_lease(const char *argument, int64_t ms);
/* Checks what the caller asks for, NULL being nothing, and fills in the rest from the
 * space. */
stile_status stile__lock_options_complete(const stile *space, const stile_lock_options *asked,
                                          stile_lock_options *options);
/* Gives the two outcomes of a stale hold their sentence; leaves any other alone. */
OS_SLOW_PATH stile_status stile__explain_hold(stile_status status);

/* The same, where STILE_OK must not cost a call. */
static inline stile_status explain_hold(stile_status status)
{
    return status == STILE_OK ? status : stile__explain_hold(status);
}

#endif
