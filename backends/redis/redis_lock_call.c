#include "redis_lock.h"

#include "base/deadline.h"
#include "base/error.h"

/* Beyond the command timeout, until when a server may execute a copy of an
 * acquire. */
#define COPY_MS 1000

/* Beyond this a script's numbers are not exact: no true answer has them. */
#define LUA_INT_MAX (INT64_C(1) << 53)

/* How often an acquire is sent again because the server's clock was elsewhere. */
enum { LATE_MOST = 3 };

stile_status stile__redis_odd_answer(const struct redis_exchange *exchange)
{
    return stile__fail(STILE_PROTOCOL, "the answer of %s is not one", exchange->call.script->name);
}

bool stile__redis_are_ints(const struct redis_reply *reply, size_t least)
{
    size_t i;

    if (reply->type != REDIS_ARRAY || reply->count < least)
        return false;
    for (i = 0; i < reply->count; i++) {
        const struct redis_reply *element = &reply->elements[i];

        if (!is_int(element) || element->integer < -2 || element->integer > LUA_INT_MAX)
            return false;
    }
    return true;
}

/* How many ms from now copies of a request may be executed. */
static int64_t copy_ms(const struct redis_space *space)
{
    return space->base.settings.command_timeout_ms + COPY_MS;
}

int64_t stile__redis_lease_ms(const stile_lock_options *options)
{
    if (options->max_hold_ms != 0 && options->max_hold_ms < options->lease_ms)
        return options->max_hold_ms;
    return options->lease_ms;
}

/* ---- lock_abandon ------------------------------------------------------------------------- */

static stile_status take_int(struct redis_exchange *exchange, const struct redis_reply *reply)
{
    return is_int(reply) ? STILE_OK : stile__redis_odd_answer(exchange);
}

stile_status stile__redis_abandon(struct redis_object *object, const uint64_t id[2],
                                  enum redis_patience patience, int64_t until_ns)
{
    struct redis_space *space = object->space;
    struct id_text op;
    struct number claim;
    struct redis_slice args[3] = {id_slice(&op, id),
                                  number_slice(&claim, space->base.settings.claim_ms),
                                  space->inbox_prefix};
    struct redis_exchange exchange = {
        .call = {&stile__script_lock_abandon, object->keys, REDIS_PARTS, args, 3},
        .patience = patience,
        .repeatable = true,
        .take = take_int};

    return stile__line_exchange(&space->line, &exchange, until_ns);
}

/* What an acquire says of the server's clock may be late by as long as an answer took. */
int64_t stile__redis_copies_until(const struct redis_space *space)
{
    return later_ns(stile__boottime_ns(), copy_ms(space) + space->base.settings.command_timeout_ms);
}

/* A copy of an acquire may still be on its way. */
void stile__redis_orphan(struct redis_object *object, const uint64_t id[2],
                         const stile_lock_options *options)
{
    struct redis_space *space = object->space;

    stile__orphan_add(&space->orphans, object, id, stile__redis_copies_until(space),
                      stile__redis_lease_ms(options), 0);
}

/* ---- lock_try and lock_acquire: one exchange ------------------------------------------------ */

static void prepare_acquire(struct redis_exchange *exchange)
{
    struct acquire *acquire = (struct acquire *)exchange;
    int64_t not_after = stile__line_server_ms(&acquire->space->line) + copy_ms(acquire->space);
    size_t at = exchange->call.script == &stile__script_lock_try ? 2 : 3;

    acquire->args[at] = number_slice(&acquire->not_after, not_after > 0 ? not_after : 0);
}

/* What both scripts answer first: a code, and the server's clock. */
static stile_status take_code(struct acquire *acquire, const struct redis_reply *reply,
                              int64_t *code)
{
    if (!stile__redis_are_ints(reply, 2))
        return stile__redis_odd_answer(&acquire->exchange);
    *code = reply->elements[0].integer;
    acquire->server_ms = reply->elements[1].integer;
    stile__line_seen(&acquire->space->line, acquire->exchange.sent_ns, acquire->server_ms);
    return STILE_OK;
}

static stile_status take_try(struct redis_exchange *exchange, const struct redis_reply *reply)
{
    struct acquire *acquire = (struct acquire *)exchange;
    int64_t code = 0;
    stile_status status = take_code(acquire, reply, &code);

    if (status != STILE_OK)
        return status;
    if (code > 0) {
        acquire->answer = OWNER;
        acquire->remote = code;
        acquire->left_ms = acquire->asked_ms;
        acquire->unclaimed = false;
    } else {
        acquire->answer = code == 0 ? TAKEN : code == -1 ? LATE : ASK_QUEUE;
    }
    return STILE_OK;
}

static stile_status take_acquire(struct redis_exchange *exchange, const struct redis_reply *reply)
{
    struct acquire *acquire = (struct acquire *)exchange;
    int64_t code = 0;
    stile_status status = take_code(acquire, reply, &code);

    if (status != STILE_OK)
        return status;
    if (code <= 0) {
        acquire->answer = code == 0 ? TAKEN : LATE;
        return STILE_OK;
    }
    if (reply->count < 5)
        return stile__redis_odd_answer(exchange);
    acquire->answer = code == 1 ? OWNER : QUEUED;
    acquire->left_ms = reply->elements[2].integer;
    acquire->remote = reply->elements[3].integer;
    acquire->rank = reply->elements[4].integer;
    acquire->unclaimed = code == 1 && acquire->rank == 1;
    return STILE_OK;
}

/* Runs the exchange again while the server says that its clock was elsewhere: each
 * answer brings the right one. */
static stile_status run_acquire(struct acquire *acquire, int64_t until_ns)
{
    stile_status status = STILE_OK;
    int i;

    for (i = 0; i < LATE_MOST; i++) {
        status = stile__line_exchange(&acquire->space->line, &acquire->exchange, until_ns);
        if (acquire->exchange.sends > (status == STILE_OK ? 1 : 0))
            acquire->copies = true;
        if (status != STILE_OK || acquire->answer != LATE)
            return status;
    }
    return stile__fail(STILE_UNREACHABLE, "requests reach %s too late",
                       acquire->space->base.settings.shown);
}

stile_status stile__redis_try(struct redis_object *object, const stile_lock_options *options,
                              const uint64_t id[2], enum redis_patience patience, int64_t until_ns,
                              struct acquire *acquire)
{
    int64_t lease = stile__redis_lease_ms(options);
    /* The fence key outlives what it numbers. */
    int64_t ttl = lease + 60000 > 86400000 ? lease + 60000 : 86400000;

    acquire->space = object->space;
    acquire->asked_ms = lease;
    acquire->args[0] = stile__redis_op(&acquire->op, &object->space->who, id, options->label);
    acquire->args[1] = number_slice(&acquire->lease, lease);
    acquire->args[3] = number_slice(&acquire->ttl, ttl);
    acquire->exchange = (struct redis_exchange){
        .call = {&stile__script_lock_try, object->keys, 2, acquire->args, 4},
        .patience = patience,
        .repeatable = true,
        .prepare = prepare_acquire,
        .take = take_try};
    return run_acquire(acquire, until_ns);
}

stile_status stile__redis_acquire(struct redis_object *object, const stile_lock_options *options,
                                  const uint64_t id[2], uint64_t place, bool may_queue,
                                  enum redis_patience patience, int64_t until_ns,
                                  struct acquire *acquire)
{
    const struct stile_settings *settings = &object->space->base.settings;

    acquire->space = object->space;
    acquire->args[0] = stile__redis_op(&acquire->op, &object->space->who, id, options->label);
    acquire->args[1] = client_of(object->space);
    acquire->args[2] = number_slice(&acquire->lease, stile__redis_lease_ms(options));
    acquire->args[4] = number_slice(&acquire->waiter_lease, settings->waiter_lease_ms);
    acquire->args[5] = number_slice(&acquire->claim, settings->claim_ms);
    acquire->args[6] = object->space->inbox_prefix;
    acquire->args[7] = number_slice(&acquire->place, (int64_t)place);
    acquire->args[8] = slice_of(may_queue ? "1" : "0", 1);
    acquire->exchange = (struct redis_exchange){
        .call = {&stile__script_lock_acquire, object->keys, REDIS_PARTS, acquire->args, 9},
        .patience = patience,
        .repeatable = true,
        .prepare = prepare_acquire,
        .take = take_acquire};
    return run_acquire(acquire, until_ns);
}
