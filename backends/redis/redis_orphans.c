#include "redis.h"

#include <stdlib.h>

#include "base/deadline.h"

/* How often an unreachable server is asked again, and how long one attempt may hold
 * up the renewals behind it. */
#define PAUSE_MS 200
#define ATTEMPT_MS 500

/* After the last copy of an operation can have been executed. */
#define AFTER_MS 10

struct orphan {
    struct stile_link link;
    struct redis_object *object;
    uint64_t id[2];
    int64_t due_ns;       /* boot clock, as the others */
    int64_t not_after_ns; /* an answer after that is final */
    int64_t give_up_ns;   /* what was left has died of its lease */
    int64_t keep_until_ns;
};

void stile__orphans_init(struct redis_orphans *orphans, struct redis_space *space)
{
    orphans->space = space;
    stile__mutex_init(&orphans->mutex, STILE_RANK_LINE);
    list_init(&orphans->list);
}

static void free_orphan(struct redis_orphans *orphans, struct orphan *orphan)
{
    stile__names_unref(&orphans->space->names, &orphan->object->named);
    free(orphan);
}

void stile__orphans_fini(struct redis_orphans *orphans)
{
    while (!list_empty(&orphans->list)) {
        struct orphan *orphan = STILE_OF(orphans->list.next, struct orphan, link);

        list_remove(&orphan->link);
        free_orphan(orphans, orphan);
    }
    stile__mutex_fini(&orphans->mutex);
}

void stile__orphan_add(struct redis_orphans *orphans, struct redis_object *object,
                       const uint64_t id[2], int64_t not_after_ns, int64_t lease_ms,
                       int64_t keep_until_ns)
{
    struct orphan *orphan = malloc(sizeof *orphan);
    int64_t now = stile__boottime_ns();

    /* Without memory the lease has to do. */
    if (orphan == NULL)
        return;
    stile__names_ref(&object->named);
    orphan->object = object;
    orphan->id[0] = id[0];
    orphan->id[1] = id[1];
    orphan->due_ns = now > keep_until_ns ? now : keep_until_ns;
    orphan->keep_until_ns = keep_until_ns;
    orphan->not_after_ns = not_after_ns;
    orphan->give_up_ns = later_ns(not_after_ns > now ? not_after_ns : now, lease_ms);
    stile__mutex_lock(&orphans->mutex);
    list_push_back(&orphans->list, &orphan->link);
    stile__mutex_unlock(&orphans->mutex);
    stile__leases_poke(&orphans->space->leases);
}

/* Takes one that is due off the list, or NULL; *next is when the others are. */
static struct orphan *take_due(struct redis_orphans *orphans, int64_t now_ns, int64_t *next)
{
    struct orphan *due = NULL;
    struct stile_link *at;

    *next = INT64_MAX;
    stile__mutex_lock(&orphans->mutex);
    for (at = orphans->list.next; at != &orphans->list; at = at->next) {
        struct orphan *orphan = STILE_OF(at, struct orphan, link);

        if (orphan->due_ns <= now_ns && due == NULL)
            due = orphan;
        else if (orphan->due_ns < *next)
            *next = orphan->due_ns;
    }
    if (due != NULL)
        list_remove(&due->link);
    stile__mutex_unlock(&orphans->mutex);
    return due;
}

int64_t stile__orphans_serve(struct redis_orphans *orphans, int64_t now_ns)
{
    struct orphan *orphan;
    stile_status status;
    int64_t next;

    orphan = take_due(orphans, now_ns, &next);
    if (orphan == NULL)
        return next;
    status = stile__redis_abandon(orphan->object, orphan->id, REDIS_ONCE,
                                  later_ns(stile__monotonic_ns(), ATTEMPT_MS));
    if ((status == STILE_OK && now_ns > orphan->not_after_ns) || now_ns > orphan->give_up_ns) {
        free_orphan(orphans, orphan);
        return now_ns;
    }
    if (status == STILE_OK)
        orphan->due_ns = later_ns(orphan->not_after_ns, AFTER_MS);
    else
        orphan->due_ns = later_ns(stile__boottime_ns(), PAUSE_MS);
    stile__mutex_lock(&orphans->mutex);
    list_push_back(&orphans->list, &orphan->link);
    stile__mutex_unlock(&orphans->mutex);
    return status == STILE_OK ? now_ns : (next < orphan->due_ns ? next : orphan->due_ns);
}

void stile__orphans_flush(struct redis_orphans *orphans, int64_t until_ns)
{
    struct orphan *orphan;
    stile_status status = STILE_OK;
    int64_t next;

    while ((orphan = take_due(orphans, INT64_MAX, &next)) != NULL) {
        /* One that is to be kept longer is left to its lease. */
        if (status == STILE_OK && stile__boottime_ns() >= orphan->keep_until_ns)
            status = stile__redis_abandon(orphan->object, orphan->id, REDIS_CLOSING, until_ns);
        free_orphan(orphans, orphan);
    }
}
