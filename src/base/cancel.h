/*
 * Cancellations: who waits with one is in its list.
 */
#ifndef STILE_BASE_CANCEL_H
#define STILE_BASE_CANCEL_H

#include <stile/cancel.h>

#include "base/wait.h"

/* Before the first attempt, and when the wait is over; cancel NULL does nothing.  One
 * that has fired marks the waiter at once.  Leaving twice is harmless. */
void stile__cancel_enter(stile_cancel *cancel, struct stile_waiter *waiter);
void stile__cancel_leave(stile_cancel *cancel, struct stile_waiter *waiter);

#endif
