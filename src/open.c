#include <stile/space.h>

#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "base/error.h"
#include "base/os.h"
#include "rlock.h"

static const struct stile_backend *backend_of(const char *scheme)
{
    const struct stile_backend *const *backend;
    const char *const *known;

    for (backend = stile__backends; *backend != NULL; backend++) {
        for (known = (*backend)->schemes; *known != NULL; known++) {
            if (strcmp(*known, scheme) == 0)
                return *backend;
        }
    }
    return NULL;
}

/* ---- what composed primitives keep by name: reentrant locks ----------------------- */

static struct stile_named *make(void *space, stile_kind kind, const char *name)
{
    (void)space;
    (void)kind;
    (void)name;
    return stile__rlock_make();
}

static bool busy(void *space, struct stile_named *named)
{
    (void)space;
    return stile__rlock_busy(named);
}

static void destroy(void *space, struct stile_named *named)
{
    (void)space;
    stile__rlock_destroy(named);
}

static const struct stile_names_ops composed_ops = {.make = make, .busy = busy, .destroy = destroy};

/* ---- spaces ------------------------------------------------------------------------- */

/* What the core has in a space, whatever its backend. */
static stile_status init_core(stile *space)
{
    stile_status status;

    atomic_init(&space->refs, 1);
    atomic_init(&space->closed, false);
    status = stile__async_init(&space->async);
    if (status != STILE_OK)
        return status;
    status = stile__calls_init(&space->calls);
    if (status != STILE_OK)
        goto fail_async;
    status = stile__names_init(&space->composed, &composed_ops, space);
    if (status != STILE_OK)
        goto fail_calls;
    return STILE_OK;

fail_calls:
    stile__calls_fini(&space->calls);
fail_async:
    stile__async_fini(&space->async);
    return status;
}

static void fini_core(stile *space)
{
    stile__names_fini(&space->composed);
    stile__calls_fini(&space->calls);
    stile__async_fini(&space->async);
}

/* Takes over settings, also where it fails. */
static stile_status open_space(const struct stile_backend *backend, struct stile_settings *settings,
                               stile **out)
{
    stile_status status = backend->open(settings, out);

    if (status != STILE_OK) {
        stile__settings_fini(settings);
        return status;
    }
    (*out)->backend = backend;
    status = init_core(*out);
    if (status != STILE_OK) {
        backend->shut(*out);
        backend->fini(*out);
    }
    return status;
}

stile_status stile_open(const char *url, const stile_options *options, stile **out)
{
    const struct stile_backend *backend;
    struct stile_settings settings;
    stile_status status;
    stile *space;
    int cancel;

    if (out == NULL)
        return stile__fail(STILE_INVALID, "out is NULL");
    status = stile__settings_init(&settings, url, options);
    if (status != STILE_OK)
        return status;
    backend = backend_of(settings.scheme);
    if (backend == NULL) {
        status = stile__fail(STILE_UNSUPPORTED, "this build has no backend for %s", settings.shown);
        stile__settings_fini(&settings);
        return status;
    }
    cancel = stile__cancel_off();
    status = open_space(backend, &settings, &space);
    stile__cancel_restore(cancel);
    if (status == STILE_OK)
        *out = space;
    return status;
}

void stile_close(stile *space)
{
    int cancel;

    if (space == NULL)
        return;
    if (stile__calls_inside(&space->calls)) {
        stile__fail(STILE_INVALID, "a callback cannot close its space");
        return;
    }
    cancel = stile__cancel_off();
    os_store(&space->closed, true, memory_order_relaxed);
    space->backend->shut(space);
    if (!stile__space_forked(space)) {
        /* Futures end before the callbacks that tell it. */
        stile__async_stop(&space->async);
        stile__calls_stop(&space->calls);
    }
    stile__space_unref(space);
    stile__cancel_restore(cancel);
}

bool stile_can(const stile *space, stile_kind kind)
{
    if (space == NULL)
        return false;
    switch (kind) {
    case STILE_LOCK:
    case STILE_RLOCK: return space->backend->lock != NULL;
    }
    return false;
}

void stile__space_ref(stile *space)
{
    os_add(&space->refs, 1, memory_order_relaxed);
}

void stile__space_unref(stile *space)
{
    /* acq_rel: who frees the space sees everything the others did to it. */
    if (os_sub(&space->refs, 1, memory_order_acq_rel) != 1)
        return;
    /* A child does not know in what state its copy is. */
    if (!stile__space_forked(space))
        fini_core(space);
    space->backend->fini(space);
}

bool stile__space_forked(const stile *space)
{
    return stile__fork_generation() != space->fork_generation;
}
