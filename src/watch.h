/*
 * Watches, as the calls of primitives make them.
 */
#ifndef STILE_WATCHES_H
#define STILE_WATCHES_H

#include "base/watch.h"

/* One that is attached to nothing yet.  STILE_OK or STILE_NO_MEMORY. */
stile_status stile__watch_make(stile *space, stile_watch_callback *callback, void *argument,
                               struct stile_watch **out);
/* Of one that was never attached. */
void stile__watch_free(struct stile_watch *watch);

#endif
