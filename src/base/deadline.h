/*
 * Timeouts become points on the monotonic clock, once, at the public call.
 */
#ifndef STILE_BASE_DEADLINE_H
#define STILE_BASE_DEADLINE_H

#include <stdint.h>

#include <stile/space.h>

#include "base/os.h"

#define STILE_NS_PER_MS INT64_C(1000000)

/* The longest lease, and beyond which a timeout counts as for ever. */
#define STILE_TEN_YEARS_MS INT64_C(315360000000)

/* timeout_ms is STILE_FOREVER or not negative.  INT64_MAX: no deadline. */
static inline int64_t deadline_in(int64_t timeout_ms)
{
    if (timeout_ms < 0 || timeout_ms >= STILE_TEN_YEARS_MS)
        return INT64_MAX;
    return stile__monotonic_ns() + timeout_ms * STILE_NS_PER_MS;
}

/* A point plus some milliseconds; INT64_MAX stays what it is. */
static inline int64_t later_ns(int64_t at_ns, int64_t by_ms)
{
    if (at_ns == INT64_MAX || by_ms >= (INT64_MAX - at_ns) / STILE_NS_PER_MS)
        return INT64_MAX;
    return at_ns + by_ms * STILE_NS_PER_MS;
}

/* From now to a point on the boot clock, rounded down; STILE_FOREVER for INT64_MAX. */
static inline int64_t remaining_ms(int64_t boottime_ns)
{
    int64_t ahead;

    if (boottime_ns == INT64_MAX)
        return STILE_FOREVER;
    ahead = boottime_ns - stile__boottime_ns();
    return ahead > 0 ? ahead / STILE_NS_PER_MS : 0;
}

#endif
