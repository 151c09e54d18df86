#include "redis.h"

#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/error.h"

static const char *const schemes[] = {"redis", "unix", NULL};

/* The answer about a hundred waiters is some four hundred elements. */
const struct redis_limits stile__redis_small = {.bytes = 65536, .elements = 1024};

/* ---- names ------------------------------------------------------------------------ */

static struct stile_named *make(void *context, stile_kind kind, const char *name)
{
    return stile__redis_object_make(context, kind, name);
}

/* Whoever holds is known to the server; here an object is only its waiters. */
static bool busy(void *context, struct stile_named *named)
{
    (void)context;
    (void)named;
    return false;
}

static void destroy(void *context, struct stile_named *named)
{
    (void)context;
    stile__redis_object_destroy(named);
}

static const struct stile_names_ops names_ops = {.make = make, .busy = busy, .destroy = destroy};

/* ---- leases ------------------------------------------------------------------------ */

static void renew(void *backend, struct stile_renewal *due, size_t count)
{
    stile__redis_renew(backend, due, count);
}

/* The server may still have the hold, or get to it late: belief ended first. */
static void lapse(void *backend, const struct stile_renewal *lost)
{
    struct redis_space *space = backend;

    stile__orphan_add(&space->orphans, lost->object, lost->id, 0, lost->lease_ms,
                      lost->keep_until_ns);
}

static int64_t chores(void *backend, int64_t now_ns)
{
    struct redis_space *space = backend;

    return stile__orphans_serve(&space->orphans, now_ns);
}

static void retain(void *backend, void *object)
{
    (void)backend;
    stile__names_ref(object);
}

static void drop(void *backend, void *object)
{
    struct redis_space *space = backend;

    stile__names_unref(&space->names, object);
}

static const struct stile_lease_ops lease_ops = {
    .renew = renew, .lapse = lapse, .chores = chores, .retain = retain, .drop = drop};

/* ---- what the files share ------------------------------------------------------------ */

stile_status stile__redis_usable(const stile *space)
{
    if (stile__space_forked(space))
        return stile__fail(STILE_FORKED, "the space was opened by the parent process");
    return STILE_OK;
}

stile_status stile__redis_id(struct redis_space *space, uint64_t id[2])
{
    stile_status status = STILE_OK;

    stile__mutex_lock(&space->random_mutex);
    if (space->random_left < 16) {
        status = stile__random(space->random, sizeof space->random);
        space->random_left = status == STILE_OK ? sizeof space->random : 0;
    }
    if (status == STILE_OK) {
        space->random_left -= 16;
        memcpy(id, space->random + space->random_left, 16);
        /* An op id is its owner's secret. */
        memset(space->random + space->random_left, 0, 16);
    }
    stile__mutex_unlock(&space->random_mutex);
    return status;
}

void stile__redis_id_text(const uint64_t id[2], char text[REDIS_ID_TEXT + 1])
{
    static const char digits[] = "0123456789abcdef";
    int i;

    for (i = 0; i < REDIS_ID_TEXT; i++)
        text[i] = digits[id[i / 16] >> (60 - 4 * (i % 16)) & 15];
    text[REDIS_ID_TEXT] = '\0';
}

bool stile__redis_id_parse(const char *text, size_t length, uint64_t id[2])
{
    size_t i;

    if (length != REDIS_ID_TEXT)
        return false;
    id[0] = 0;
    id[1] = 0;
    for (i = 0; i < REDIS_ID_TEXT; i++) {
        char c = text[i];
        uint64_t digit;

        if (c >= '0' && c <= '9')
            digit = (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint64_t)(c - 'a') + 10;
        else
            return false;
        id[i / 16] = id[i / 16] << 4 | digit;
    }
    return true;
}

int64_t stile__redis_command_until(const struct redis_space *space, int64_t back_ns)
{
    int64_t until_ns = later_ns(stile__monotonic_ns(), space->base.settings.command_timeout_ms);

    return until_ns < back_ns ? until_ns : back_ns;
}

int64_t stile__redis_belief(int64_t sent_ns, int64_t lease_ms)
{
    int64_t lease_ns;

    /* Whatever a server says. */
    if (lease_ms < 0)
        lease_ms = 0;
    if (lease_ms > STILE_TEN_YEARS_MS)
        lease_ms = STILE_TEN_YEARS_MS;
    lease_ns = lease_ms * STILE_NS_PER_MS;
    return sent_ns + lease_ns - lease_ns / 100 * REDIS_DRIFT_PERCENT - REDIS_MARGIN_NS;
}

/* ---- the space -------------------------------------------------------------------------- */

static stile_status make_prefix(struct redis_space *space, const char *prefix)
{
    size_t length = strlen(prefix) + sizeof "inbox:";

    space->inbox_prefix_text = malloc(length);
    if (space->inbox_prefix_text == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a space");
    memcpy(space->inbox_prefix_text, prefix, strlen(prefix));
    memcpy(space->inbox_prefix_text + strlen(prefix), "inbox:", sizeof "inbox:");
    space->inbox_prefix.bytes = space->inbox_prefix_text;
    space->inbox_prefix.length = length - 1;
    return STILE_OK;
}

static stile_status space_open(struct stile_settings *settings, stile **out)
{
    struct redis_space *space = calloc(1, sizeof *space);
    stile_status status;
    size_t i;

    if (space == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a space");
    space->base.settings = *settings;
    space->base.fork_generation = stile__fork_generation();
    stile__mutex_init(&space->mutex, STILE_RANK_SPACE);
    stile__mutex_init(&space->random_mutex, STILE_RANK_LEAF);
    for (i = 0; i < REDIS_BUCKETS; i++)
        list_init(&space->index[i]);
    stile__redis_who_init(&space->who);
    status = make_prefix(space, settings->prefix);
    if (status != STILE_OK)
        goto fail;
    status = stile__names_init(&space->names, &names_ops, space);
    if (status != STILE_OK)
        goto fail_prefix;
    status = stile__leases_init(&space->leases, &lease_ops, space);
    if (status != STILE_OK)
        goto fail_names;
    status = stile__gate_init(&space->calls);
    if (status != STILE_OK)
        goto fail_leases;
    status = stile__inbox_init(&space->inbox, space);
    if (status != STILE_OK)
        goto fail_gate;
    stile__orphans_init(&space->orphans, space);
    stile__line_init(&space->line, space);
    status = stile__line_connect(&space->line,
                                 later_ns(stile__monotonic_ns(), settings->connect_timeout_ms));
    if (status != STILE_OK)
        goto fail_line;
    *out = &space->base;
    return STILE_OK;

fail_line:
    stile__line_fini(&space->line);
    stile__orphans_fini(&space->orphans);
    stile__inbox_fini(&space->inbox);
fail_gate:
    stile__gate_fini(&space->calls);
fail_leases:
    stile__leases_fini(&space->leases);
fail_names:
    stile__names_fini(&space->names);
fail_prefix:
    free(space->inbox_prefix_text);
fail:
    stile__mutex_fini(&space->random_mutex);
    stile__mutex_fini(&space->mutex);
    free(space);
    return status;
}

static void close_object(void *argument, struct stile_named *named)
{
    (void)argument;
    stile__redis_object_close(named);
}

/* A child of fork closes its copies of the descriptors and touches nothing else:
 * other threads may have been anywhere, and the sockets are the parent's. */
static void leave_to_parent(struct redis_space *space)
{
    int fds[2] = {os_load(&space->line.fd, memory_order_relaxed),
                  os_load(&space->inbox.fd, memory_order_relaxed)};
    int i;

    stile__signal_close(&space->inbox.signal);

    for (i = 0; i < 2; i++) {
        if (fds[i] >= 0)
            stile__socket_close(fds[i], false);
    }
}

static void space_shut(stile *base)
{
    struct redis_space *space = (struct redis_space *)base;

    if (stile__space_forked(base)) {
        leave_to_parent(space);
        return;
    }
    stile__names_each(&space->names, close_object, NULL);
    /* What is not answered now is not repeated, and leaves its orphan before the flush. */
    stile__line_turn_away(&space->line);
    stile__gate_shut(&space->calls);
    stile__inbox_stop(&space->inbox);
    stile__leases_stop(&space->leases);
    stile__gate_wait(&space->calls);
    stile__orphans_flush(&space->orphans, stile__redis_command_until(space, INT64_MAX));
    stile__line_shut(&space->line);
}

static void space_fini(stile *base)
{
    struct redis_space *space = (struct redis_space *)base;

    /* A child cannot know what state its copy is in. */
    if (stile__space_forked(base))
        return;
    stile__line_fini(&space->line);
    stile__orphans_fini(&space->orphans);
    stile__inbox_fini(&space->inbox);
    stile__gate_fini(&space->calls);
    stile__leases_fini(&space->leases);
    stile__names_fini(&space->names);
    stile__mutex_fini(&space->random_mutex);
    stile__mutex_fini(&space->mutex);
    stile__settings_fini(&base->settings);
    free(space->inbox_prefix_text);
    free(space);
}

const struct stile_backend stile__redis_backend = {
    .schemes = schemes,
    .open = space_open,
    .shut = space_shut,
    .fini = space_fini,
    .lock = &stile__redis_lock_ops,
};
