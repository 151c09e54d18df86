#include "backend.h"

#include <stddef.h>

extern const struct stile_backend stile__local_backend;
#if defined(STILE_BACKEND_REDIS)
extern const struct stile_backend stile__redis_backend;
#endif

const struct stile_backend *const stile__backends[] = {
    &stile__local_backend,
#if defined(STILE_BACKEND_REDIS)
    &stile__redis_backend,
#endif
    NULL,
};
