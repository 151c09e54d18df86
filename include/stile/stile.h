/*
 * Everything stile offers.  Each header can also be included alone.
 */
#ifndef STILE_STILE_H
#define STILE_STILE_H

#include <stile/fence.h>
#include <stile/hold.h>
#include <stile/lock.h>
#include <stile/space.h>
#include <stile/status.h>
#include <stile/version.h>

#endif
