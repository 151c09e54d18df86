/*
 * What a space keeps for the reentrant locks in it.
 */
#ifndef STILE_SRC_RLOCK_H
#define STILE_SRC_RLOCK_H

#include <stdbool.h>

#include "base/names.h"

struct stile_named *stile__rlock_make(void);
bool stile__rlock_busy(struct stile_named *named);
void stile__rlock_destroy(struct stile_named *named);

#endif
