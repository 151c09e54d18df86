#include "arguments.h"

#include <string.h>

#include "backend.h"
#include "base/deadline.h"
#include "base/error.h"

stile_status stile__null_argument(const char *argument)
{
    return stile__fail(STILE_INVALID, "%s is NULL", argument);
}

stile_status stile__check_name(const char *name)
{
    size_t length;

    if (name == NULL)
        return stile__null_argument("name");
    length = strnlen(name, STILE_NAME_MAX + 1);
    if (length == 0)
        return stile__fail(STILE_INVALID, "name is empty");
    if (length > STILE_NAME_MAX)
        return stile__fail(STILE_INVALID, "name is longer than %d bytes", STILE_NAME_MAX);
    return STILE_OK;
}

stile_status stile__check_timeout(int64_t timeout_ms)
{
    if (timeout_ms < 0 && timeout_ms != STILE_FOREVER)
        return stile__fail(STILE_INVALID, "timeout_ms %lld is negative and not STILE_FOREVER",
                           (long long)timeout_ms);
    return STILE_OK;
}

stile_status stile__check_lease(const char *argument, int64_t ms)
{
    if (ms != 0 && (ms < STILE_LEASE_MIN_MS || ms > STILE_TEN_YEARS_MS))
        return stile__fail(STILE_INVALID, "%s %lld is not from %lld ms to ten years", argument,
                           (long long)ms, (long long)STILE_LEASE_MIN_MS);
    return STILE_OK;
}

/* Of the options as they are asked for; whether they fit together is seen when they are
 * complete. */
static stile_status check_lock_options(const stile_lock_options *options)
{
    stile_status status = stile__check_lease("lease_ms", options->lease_ms);

    if (status == STILE_OK)
        status = stile__check_lease("max_hold_ms", options->max_hold_ms);
    if (status != STILE_OK)
        return status;
    if (options->min_hold_ms < 0 || options->min_hold_ms > STILE_TEN_YEARS_MS)
        return stile__fail(STILE_INVALID, "min_hold_ms %lld is not from 0 to ten years",
                           (long long)options->min_hold_ms);
    if (options->label != NULL && strnlen(options->label, STILE_LABEL_MAX + 1) > STILE_LABEL_MAX)
        return stile__fail(STILE_INVALID, "label is longer than %d bytes", STILE_LABEL_MAX);
    return STILE_OK;
}

stile_status stile__lock_options_complete(const stile *space, const stile_lock_options *asked,
                                          stile_lock_options *options)
{
    const stile_lock_options none = {.lease_ms = 0};
    stile_status status;

    *options = asked == NULL ? none : *asked;
    status = check_lock_options(options);
    if (status != STILE_OK)
        return status;
    if (options->lease_ms == 0)
        options->lease_ms = space->settings.lease_ms;
    if (options->max_hold_ms == 0)
        options->max_hold_ms = space->settings.max_hold_ms;
    options->no_fence |= space->settings.no_fence;
    if (options->max_hold_ms != 0 && options->max_hold_ms < options->min_hold_ms)
        return stile__fail(STILE_INVALID, "max_hold_ms %lld is shorter than min_hold_ms %lld",
                           (long long)options->max_hold_ms, (long long)options->min_hold_ms);
    /* So that a holder that dies keeps it for so long. */
    if (options->lease_ms < options->min_hold_ms)
        options->lease_ms = options->min_hold_ms;
    if (options->label != NULL && options->label[0] == '\0')
        options->label = NULL;
    return STILE_OK;
}

stile_status stile__explain_hold(stile_status status)
{
    if (status == STILE_NOT_HELD)
        return stile__fail(status, "the hold was never taken, was released, or is of another lock");
    if (status == STILE_LOST)
        return stile__fail(status, "the lease of the hold had ended");
    return status;
}
