/*
 * What a backend is: one root table of small tables, one per primitive.
 *
 * A primitive that a backend lacks is a missing table, seen once, at open; inside
 * a table no op is NULL.  Verbs are whole transitions ("acquire, else queue me"):
 * one critical section locally, one script and one round trip on a server.
 */
#ifndef STILE_BACKEND_H
#define STILE_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>

#include <stile/space.h>

#include "base/async.h"
#include "base/calls.h"
#include "base/names.h"
#include "settings.h"

struct stile_lock_ops;

struct stile_backend {
    /* The URL schemes it answers to, ended by NULL. */
    const char *const *schemes;
    /* Makes a space whose first member is a struct stile; it takes over settings
     * when it returns STILE_OK, and sets nothing else of struct stile. */
    stile_status (*open)(struct stile_settings *settings, stile **out);
    /* Settles whoever waits with STILE_CLOSED and ends the threads.  Calls may be
     * inside, and handles open.  In a child of fork() it only closes descriptors. */
    void (*shut)(stile *space);
    /* After shut, when the last handle is gone: frees the space. */
    void (*fini)(stile *space);
    const struct stile_lock_ops *lock;
};

/* The part of a space that the core knows. */
struct stile {
    const struct stile_backend *backend;
    struct stile_settings settings;
    _Atomic uint32_t refs; /* the opener's, and one for each handle */
    _Atomic bool closed;   /* once true, stays true */
    uint32_t fork_generation;
    struct stile_async async; /* futures */
    struct stile_calls calls; /* callbacks of futures and watches */
    /* What primitives that are composed of others keep by name. */
    struct stile_names composed;
};

/* One reference more, for a handle. */
void stile__space_ref(stile *space);
void stile__space_unref(stile *space);
/* Whether this is a child of the process that opened the space. */
bool stile__space_forked(const stile *space);

/* Every backend of this build, ended by NULL (backends/backends.c). */
extern const struct stile_backend *const stile__backends[];

#endif
