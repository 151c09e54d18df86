/*
 * The version of stile, for the preprocessor and at run time.
 */
#ifndef STILE_VERSION_H
#define STILE_VERSION_H

#include <stile/api.h>

/* Before 1.0 a change of the minor number may change the binary interface. */
#define STILE_VERSION_MAJOR 0
#define STILE_VERSION_MINOR 1
#define STILE_VERSION_PATCH 0
#define STILE_VERSION_STRING "0.1.0"

/* One number to compare: 0.1.0 is 100, 1.2.3 is 10203. */
#define STILE_VERSION_NUMBER                                                                       \
    (STILE_VERSION_MAJOR * 10000 + STILE_VERSION_MINOR * 100 + STILE_VERSION_PATCH)

STILE_BEGIN_DECLS

/*
 * Returns the STILE_VERSION_NUMBER of the library that runs, which may be
 * newer than the header that the program was compiled with.
 *
 * Threads: any.
 */
STILE_API int stile_version(void);

STILE_END_DECLS

#endif
