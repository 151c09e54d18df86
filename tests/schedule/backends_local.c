/* The list of backends of the library on fibres. */
#include "backend.h"

#include <stddef.h>

extern const struct stile_backend stile__local_backend;

const struct stile_backend *const stile__backends[] = {&stile__local_backend, NULL};
