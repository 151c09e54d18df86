#include "redis_lock.h"

#include <string.h>

#include "base/deadline.h"
#include "base/error.h"

/* Beyond the command timeout, until when a server may execute a copy of an
 * acquire. */
#define COPY_MS 1000

/* Beyond this a script's numbers are not exact: no true answer has them. */
#define LUA_INT_MAX (INT64_C(1) << 53)

/* How old a reading of the server's clock may be for a deadline to be counted from it.
 * As clocks may drift apart by a percent, it shortens the lease by no more than 10 ms. */
#define READING_NS INT64_C(1000000000)

/* How often an acquire is sent again because the server's clock was elsewhere. */
enum { LATE_MOST = 3 };

stile_status stile__redis_odd_answer(const struct redis_exchange *exchange)
{
    return stile__fail(STILE_PROTOCOL, "the answer of %s is not one", exchange->call.script->name);
}

/* An integer that a script can have made. */
static bool is_lua_int(const struct redis_reply *reply)
{
    return is_int(reply) && reply->integer >= -2 && reply->integer <= LUA_INT_MAX;
}

bool stile__redis_are_ints(const struct redis_reply *reply, size_t least)
{
    size_t i;

    if (reply->type != REDIS_ARRAY || reply->count < least)
        return false;
    for (i = 0; i < reply->count; i++) {
        if (!is_lua_int(&reply->elements[i]))
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

static void ask_not_after(struct acquire *acquire, size_t at)
{
    int64_t not_after = stile__line_server_ms(&acquire->space->line, acquire->exchange.sent_ns) +
                        copy_ms(acquire->space);

    acquire->args[at] = number_slice(&acquire->not_after, not_after > 0 ? not_after : 0);
}

static void prepare_acquire(struct redis_exchange *exchange)
{
    ask_not_after((struct acquire *)exchange, 3);
}

/* What both scripts answer first: a code, and the server's clock; or one number for
 * both, which is that clock in us. */
static stile_status take_code(struct acquire *acquire, const struct redis_reply *reply,
                              int64_t *code)
{
    if (stile__redis_are_ints(reply, 2)) {
        *code = reply->elements[0].integer;
        acquire->server_ms = reply->elements[1].integer;
    } else if (is_lua_int(reply) && reply->integer > 0) {
        *code = reply->integer;
        acquire->server_ms = reply->integer / 1000;
    } else {
        return stile__redis_odd_answer(&acquire->exchange);
    }
    stile__line_seen(&acquire->space->line, acquire->exchange.sent_ns, acquire->server_ms);
    return STILE_OK;
}

/*
 * Without a fence: SET NX, which the lease bounds from its end on, so that a copy that is
 * executed late has the lock for nobody no longer than that; and a look at the queue.
 * Whoever finds one has overtaken it, and gives the lock back to it.
 */
static stile_status take_set(struct redis_exchange *exchange, const struct redis_reply *reply)
{
    struct acquire *acquire = (struct acquire *)exchange;

    if (reply->type != REDIS_STATUS && reply->type != REDIS_NIL)
        return stile__redis_odd_answer(exchange);
    acquire->set = reply->type == REDIS_STATUS;
    return STILE_OK;
}

static stile_status take_queued(struct redis_exchange *exchange, const struct redis_reply *reply)
{
    struct acquire *acquire = (struct acquire *)exchange;
    const struct redis_line *line = &acquire->space->line;

    if (!is_int(reply))
        return stile__redis_odd_answer(exchange);
    /* An earlier copy may have set it. */
    acquire->overtook =
        reply->integer != 0 && (acquire->set || acquire->copies || exchange->sends > 1);
    acquire->answer = acquire->set && !acquire->overtook ? OWNER : ASK_QUEUE;
    /* The deadline was counted from this reading. */
    exchange->sent_ns = line->seen_ns;
    acquire->server_ms = line->seen_server_ms;
    acquire->left_ms = acquire->deadline_ms - line->seen_server_ms;
    acquire->remote = 0;
    acquire->unclaimed = false;
    return STILE_OK;
}

static void ask_by_set(struct acquire *acquire, const struct redis_object *object)
{
    acquire->deadline_ms =
        stile__line_server_ms(&acquire->space->line, acquire->exchange.sent_ns) + acquire->asked_ms;
    memcpy(acquire->value, "1-", 2);
    memcpy(acquire->value + 2, acquire->op_slice.bytes, acquire->op_slice.length);
    acquire->args[0] = slice_of("SET", 3);
    acquire->args[1] = object->keys[REDIS_LOCK];
    acquire->args[2] = slice_of(acquire->value, 2 + acquire->op_slice.length);
    acquire->args[3] = slice_of("NX", 2);
    acquire->args[4] = slice_of("PXAT", 4);
    acquire->args[5] = number_slice(&acquire->deadline, acquire->deadline_ms);
    acquire->then[0] = slice_of("EXISTS", 6);
    acquire->then[1] = object->keys[REDIS_QUEUE];
    acquire->exchange.call = (struct redis_call){.args = acquire->args, .arg_count = 6};
    acquire->exchange.then = (struct redis_call){.args = acquire->then, .arg_count = 2};
    acquire->exchange.take = take_set;
    acquire->exchange.take_then = take_queued;
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
    if (is_int(reply)) {
        acquire->answer = QUEUED;
        acquire->left_ms = 0;
        acquire->remote = code;
        acquire->rank = 1;
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

static void ask_by_script(struct acquire *acquire, const struct redis_object *object)
{
    int64_t lease = acquire->asked_ms;
    /* The fence key outlives what it numbers. */
    int64_t ttl = lease + 60000 > 86400000 ? lease + 60000 : 86400000;

    acquire->args[0] = acquire->op_slice;
    acquire->args[1] = number_slice(&acquire->lease, lease);
    ask_not_after(acquire, 2);
    acquire->args[3] = number_slice(&acquire->ttl, ttl);
    acquire->exchange.call =
        (struct redis_call){&stile__script_lock_try, object->keys, 2, acquire->args, 4};
    acquire->exchange.then.arg_count = 0;
    acquire->exchange.take = take_try;
}

static void prepare_try(struct redis_exchange *exchange)
{
    struct acquire *acquire = (struct acquire *)exchange;

    if (acquire->no_fence && exchange->sent_ns - acquire->space->line.seen_ns <= READING_NS)
        ask_by_set(acquire, acquire->object);
    else
        ask_by_script(acquire, acquire->object);
}

stile_status stile__redis_try(struct redis_object *object, const stile_lock_options *options,
                              const uint64_t id[2], enum redis_patience patience, int64_t until_ns,
                              struct acquire *acquire)
{
    stile_status status;

    acquire->space = object->space;
    acquire->object = object;
    acquire->asked_ms = stile__redis_lease_ms(options);
    acquire->no_fence = options->no_fence;
    acquire->op_slice = stile__redis_op(&acquire->op, &object->space->who, id, options->label);
    acquire->exchange =
        (struct redis_exchange){.patience = patience, .repeatable = true, .prepare = prepare_try};
    status = run_acquire(acquire, until_ns);
    if (status != STILE_OK || !acquire->overtook)
        return status;
    status = stile__redis_abandon(object, id, patience, until_ns);
    /* As long as that is not answered, the lock may be ours. */
    if (status != STILE_OK)
        acquire->copies = true;
    return status;
}

/* "<lease> <client id> <who>", as it stands in the hash of the waiters behind the time. */
static struct redis_slice waiter_slice(struct acquire *acquire)
{
    const struct redis_space *space = acquire->space;
    struct number number;
    struct redis_slice lease = number_slice(&number, space->base.settings.waiter_lease_ms);
    size_t who = acquire->op_slice.length - REDIS_ID_TEXT;
    char *at = acquire->waiter;

    memcpy(at, lease.bytes, lease.length);
    at += lease.length;
    *at++ = ' ';
    memcpy(at, space->inbox.client, REDIS_ID_TEXT);
    at += REDIS_ID_TEXT;
    memcpy(at, acquire->op.text + REDIS_ID_TEXT, who);
    return slice_of(acquire->waiter, (size_t)(at - acquire->waiter) + who);
}

stile_status stile__redis_acquire(struct redis_object *object, const stile_lock_options *options,
                                  const uint64_t id[2], uint64_t place, bool may_queue,
                                  enum redis_patience patience, int64_t until_ns,
                                  struct acquire *acquire)
{
    const struct stile_settings *settings = &object->space->base.settings;

    acquire->space = object->space;
    acquire->op_slice = stile__redis_op(&acquire->op, &object->space->who, id, options->label);
    acquire->args[0] = slice_of(acquire->op_slice.bytes, REDIS_ID_TEXT);
    acquire->args[1] = waiter_slice(acquire);
    acquire->args[2] = number_slice(&acquire->lease, stile__redis_lease_ms(options));
    acquire->args[4] = number_slice(&acquire->claim, settings->claim_ms);
    acquire->args[5] = object->space->inbox_prefix;
    acquire->args[6] = number_slice(&acquire->place, (int64_t)place);
    acquire->args[7] = slice_of("try", 3);
    acquire->exchange =
        (struct redis_exchange){.call = {&stile__script_lock_acquire, object->keys, REDIS_PARTS,
                                         acquire->args, may_queue ? 7 : 8},
                                .patience = patience,
                                .repeatable = true,
                                .prepare = prepare_acquire,
                                .take = take_acquire};
    return run_acquire(acquire, until_ns);
}
