#include <stile/space.h>

#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "base/error.h"
#include "base/os.h"

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
    status = backend->open(&settings, &space);
    stile__cancel_restore(cancel);
    if (status != STILE_OK) {
        stile__settings_fini(&settings);
        return status;
    }
    space->backend = backend;
    atomic_init(&space->refs, 1);
    atomic_init(&space->closed, false);
    status = stile__async_init(&space->async);
    if (status != STILE_OK)
        goto fail;
    status = stile__calls_init(&space->calls);
    if (status != STILE_OK)
        goto fail_async;
    *out = space;
    return STILE_OK;

fail_async:
    stile__async_fini(&space->async);
fail:
    backend->shut(space);
    backend->fini(space);
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
    if (!stile__space_forked(space)) {
        stile__calls_fini(&space->calls);
        stile__async_fini(&space->async);
    }
    space->backend->fini(space);
}

bool stile__space_forked(const stile *space)
{
    return stile__fork_generation() != space->fork_generation;
}
