/*
 * Everything stile offers.  Each header can also be included alone.
 */
#ifndef STILE_STILE_H
#define STILE_STILE_H

#include <stile/cancel.h>
#include <stile/fence.h>
#include <stile/future.h>
#include <stile/hold.h>
#include <stile/inspect.h>
#include <stile/lock.h>
#include <stile/rlock.h>
#include <stile/scope.h>
#include <stile/space.h>
#include <stile/status.h>
#include <stile/version.h>
#include <stile/watch.h>

#endif
