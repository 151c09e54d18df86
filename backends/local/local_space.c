#include "local.h"

#include <stdlib.h>

#include "base/error.h"

static const char *const schemes[] = {"local", NULL};

/* ---- names: locks of both kinds are the same object ------------------------------------- */

static struct stile_named *make(void *context, stile_kind kind, const char *name)
{
    (void)kind;
    (void)name;
    return stile__local_lock_make(context);
}

static bool busy(void *context, struct stile_named *named)
{
    (void)context;
    return stile__local_lock_busy(named);
}

static void destroy(void *context, struct stile_named *named)
{
    stile__local_lock_destroy(context, named);
}

static const struct stile_names_ops names_ops = {.make = make, .busy = busy, .destroy = destroy};

/* ---- leases: never renewed, since nobody but this process could die --------------- */

static void lapse(void *backend, const struct stile_renewal *lost)
{
    (void)backend;
    stile__local_lock_lapse(lost->object, lost->fence);
}

static void retain(void *backend, void *object)
{
    (void)backend;
    stile__names_ref(object);
}

static void drop(void *backend, void *object)
{
    struct local_space *space = backend;

    stile__names_unref(&space->names, object);
}

static const struct stile_lease_ops lease_ops = {.lapse = lapse, .retain = retain, .drop = drop};

/* ---- the space --------------------------------------------------------------------- */

static stile_status space_open(struct stile_settings *settings, stile **out)
{
    struct local_space *space = calloc(1, sizeof *space);
    stile_status status;

    if (space == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a space");
    status = stile__names_init(&space->names, &names_ops, space);
    if (status != STILE_OK)
        goto fail;
    status = stile__leases_init(&space->leases, &lease_ops, space);
    if (status != STILE_OK)
        goto fail_names;
    status = stile__random(&space->token_id, sizeof space->token_id);
    if (status != STILE_OK)
        goto fail_leases;
    stile__mutex_init(&space->watch_mutex, STILE_RANK_SPACE);
    atomic_init(&space->fence_floor, 0);
    /* Read here: later a thread may ask that was tied to a core of its own. */
    stile__cpus();
    space->base.settings = *settings;
    space->base.fork_generation = stile__fork_generation();
    *out = &space->base;
    return STILE_OK;

fail_leases:
    stile__leases_fini(&space->leases);
fail_names:
    stile__names_fini(&space->names);
fail:
    free(space);
    return status;
}

static void close_object(void *argument, struct stile_named *named)
{
    (void)argument;
    stile__local_lock_close(named);
}

static void space_shut(stile *base)
{
    struct local_space *space = (struct local_space *)base;

    if (stile__space_forked(base))
        return;
    stile__names_each(&space->names, close_object, NULL);
    stile__leases_stop(&space->leases);
}

static void space_fini(stile *base)
{
    struct local_space *space = (struct local_space *)base;

    stile__leases_fini(&space->leases);
    stile__names_fini(&space->names);
    stile__mutex_fini(&space->watch_mutex);
    stile__settings_fini(&base->settings);
    free(space);
}

const struct stile_backend stile__local_backend = {
    .schemes = schemes,
    .open = space_open,
    .shut = space_shut,
    .fini = space_fini,
    .lock = &stile__local_lock_ops,
};
