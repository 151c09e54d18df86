#include "redis_lock.h"

#include <stdlib.h>

#include "base/error.h"

/* ---- lock_inspect ------------------------------------------------------------------- */

struct inspection {
    struct redis_exchange exchange; /* first: take gets it */
    stile_lock_info *info;
};

/* What stands before the waiters, and about each of them. */
enum { HEAD = 5, EACH = 2 };

static bool is_inspection(const struct redis_reply *reply)
{
    size_t i;

    if (reply->type != REDIS_ARRAY || reply->count < HEAD || (reply->count - HEAD) % EACH != 0 ||
        (reply->count - HEAD) / EACH > STILE_LISTED_MOST)
        return false;
    for (i = 0; i < reply->count; i++) {
        bool text = i >= HEAD ? (i - HEAD) % EACH == 1 : i == HEAD - 1;

        if (text ? reply->elements[i].type != REDIS_STRING : !is_int(&reply->elements[i]))
            return false;
    }
    return reply->elements[2].integer >= 0 && reply->elements[3].integer >= 0;
}

/* Fences and numbers of arrival are the server's clock in us. */
static void read_party(const struct redis_reply *who, int64_t since_us, stile_party *party)
{
    stile__redis_who_read(who->text, who->length, party);
    party->since_ms = since_us / 1000;
}

static stile_status take_inspection(struct redis_exchange *exchange,
                                    const struct redis_reply *reply)
{
    stile_lock_info *info = ((struct inspection *)exchange)->info;
    const struct redis_reply *elements = reply->elements;
    size_t i;

    if (!is_inspection(reply))
        return stile__redis_odd_answer(exchange);
    info->listed = (reply->count - HEAD) / EACH;
    if (info->listed > 0) {
        info->queue = calloc(info->listed, sizeof *info->queue);
        if (info->queue == NULL)
            return stile__fail(STILE_NO_MEMORY, "no memory for %zu waiters", info->listed);
    }
    info->held = elements[0].integer != 0;
    if (info->held) {
        info->lease_ms = elements[1].integer < 0 ? STILE_FOREVER : elements[1].integer;
        read_party(&elements[HEAD - 1], elements[2].integer, &info->holder);
    }
    info->fence = (uint64_t)elements[2].integer << 10;
    info->waiters = (size_t)elements[3].integer;
    for (i = 0; i < info->listed; i++) {
        const struct redis_reply *waiter = &elements[HEAD + EACH * i];

        read_party(&waiter[1], waiter[0].integer, &info->queue[i]);
    }
    return STILE_OK;
}

stile_status stile__redis_inspect(stile_lock *lock, stile_lock_info *info)
{
    struct redis_object *object = object_of(lock);
    struct number most;
    struct redis_slice args[1] = {number_slice(&most, STILE_LISTED_MOST)};
    struct inspection inspection = {
        .exchange = {.call = {&stile__script_lock_inspect, object->keys, REDIS_PARTS, args, 1},
                     .patience = REDIS_PATIENT,
                     .repeatable = true,
                     .take = take_inspection},
        .info = info};
    stile_status status = stile__redis_usable(&object->space->base);

    if (status != STILE_OK)
        return status;
    return stile__line_exchange(&object->space->line, &inspection.exchange,
                                stile__redis_command_until(object->space, INT64_MAX));
}

/* ---- lock_force ------------------------------------------------------------------------ */

stile_status stile__redis_force_release(stile_lock *lock)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    struct number claim;
    struct redis_slice args[2] = {number_slice(&claim, space->base.settings.claim_ms),
                                  space->inbox_prefix};
    /* Not repeatable: it would take the lock from the next owner, too. */
    struct answer_int answer = {
        .exchange = {.call = {&stile__script_lock_force, object->keys, REDIS_PARTS, args, 2},
                     .patience = REDIS_PATIENT,
                     .take = stile__redis_take_value}};
    stile_status status = stile__redis_usable(&space->base);

    if (status == STILE_OK)
        status = stile__line_exchange(&space->line, &answer.exchange,
                                      stile__redis_command_until(space, INT64_MAX));
    if (status != STILE_OK)
        return status;
    if (answer.value == 2)
        stile__redis_reap(object);
    return answer.value == 0 ? STILE_MISSING : STILE_OK;
}
