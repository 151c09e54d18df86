/*
 * Who holds and who waits: for people, and for programs that show it to people.
 *
 * What is told was true at one moment and may be over when it is read.  Nothing
 * that must be safe may depend on it.
 */
#ifndef STILE_INSPECT_H
#define STILE_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stile/api.h>

STILE_BEGIN_DECLS

/* The longest label in bytes. */
#define STILE_LABEL_MAX 63

/* Somebody who holds or waits, as it described itself. */
typedef struct stile_party {
    char host[64];                   /* "" where it is not known */
    char label[STILE_LABEL_MAX + 1]; /* of the options it acquired with, or "" */
    int64_t pid;                     /* 0: not known */
    int64_t thread;                  /* of the system, as ps -L shows it; 0: not known */
    /* Since when it holds or waits, in milliseconds since 1970 by the server's
     * clock, or this machine's with local:; 0: not known. */
    int64_t since_ms;
} stile_party;

/* A lock and its queue. */
typedef struct stile_lock_info {
    bool held;
    stile_party holder; /* if held */
    uint64_t fence;     /* of the hold, or of the last one; 0: not known */
    /* Until the lease ends if nobody renews it, in milliseconds; STILE_FOREVER
     * for a hold without an end. */
    int64_t lease_ms;
    size_t waiters;     /* how many wait */
    size_t listed;      /* how many of them are in queue */
    stile_party *queue; /* in the order in which they will be served */
} stile_lock_info;

/*
 * Frees what an inspection allocated.  NULL, and a zeroed info, do nothing.
 *
 * Threads: the owner of the info.
 */
STILE_API void stile_lock_info_free(stile_lock_info *info);

STILE_END_DECLS

#endif
