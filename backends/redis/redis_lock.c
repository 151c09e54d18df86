/*
 * The lock on a server: the scripts lua/lock_*.lua, and who waits here for them.
 *
 * A waiter is entered in the space's index before its acquire is sent, so that a
 * grant that overtakes the answer finds it.  Every list and state of a waiter is
 * under the space's mutex.  Whoever takes a waiter out without a grant sees to it
 * that its op id is abandoned on the server.
 */
#include "redis.h"

#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/error.h"

/* After an attempt in vain, acquires of that lock queue at once for so long. */
#define BUSY_NS INT64_C(100000000)

/* Beyond the command timeout, until when a server may execute a copy of an
 * acquire. */
#define COPY_MS 1000

/* The server's clock while an acquire is not answered. */
#define UNSEEN (-1)

/* How many waiters one poll asks about. */
enum { POLL_MOST = 100 };

/* How often an acquire is sent again because the server's clock was elsewhere. */
enum { LATE_MOST = 3 };

struct redis_lock {
    struct stile_lock base; /* first: the part the core knows */
    struct redis_object *object;
    bool shut; /* under the space's mutex */
};

static struct redis_object *object_of(stile_lock *lock)
{
    return ((struct redis_lock *)lock)->object;
}

static struct stile_waiter *waiter_of(struct stile_link *link)
{
    return STILE_OF(link, struct stile_waiter, link);
}

/* ---- arguments and answers ----------------------------------------------------------- */

enum { NUMBER_TEXT = 24 };

struct number {
    char text[NUMBER_TEXT];
};

static struct redis_slice slice_of(const char *text, size_t length)
{
    struct redis_slice slice = {text, length};

    return slice;
}

/* A number that is not negative. */
static struct redis_slice number_slice(struct number *number, int64_t value)
{
    char *at = number->text + NUMBER_TEXT;

    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return slice_of(at, (size_t)(number->text + NUMBER_TEXT - at));
}

static stile_status odd_answer(const struct redis_exchange *exchange)
{
    return stile__fail(STILE_PROTOCOL, "the answer of %s is not one", exchange->call.script->name);
}

static bool is_int(const struct redis_reply *reply)
{
    return reply->type == REDIS_INTEGER;
}

static bool are_ints(const struct redis_reply *reply, size_t least)
{
    size_t i;

    if (reply->type != REDIS_ARRAY || reply->count < least)
        return false;
    for (i = 0; i < reply->count; i++) {
        if (!is_int(&reply->elements[i]))
            return false;
    }
    return true;
}

/* How many ms from now copies of a request may be executed. */
static int64_t copy_ms(const struct redis_space *space)
{
    return space->base.settings.command_timeout_ms + COPY_MS;
}

static struct redis_slice client_of(const struct redis_space *space)
{
    return slice_of(space->inbox.client, REDIS_ID_TEXT);
}

/* ---- holds ------------------------------------------------------------------------------ */

static int64_t max_until(const stile_lock_options *options)
{
    if (options->max_hold_ms == 0)
        return INT64_MAX;
    return later_ns(stile__boottime_ns(), options->max_hold_ms);
}

static int64_t lease_ms(const stile_lock_options *options)
{
    if (options->max_hold_ms != 0 && options->max_hold_ms < options->lease_ms)
        return options->max_hold_ms;
    return options->lease_ms;
}

/* Fills hold, whose id and slot are set, and arms its lease. */
static void arm(struct redis_object *object, const stile_lock_options *options, int64_t remote,
                int64_t valid_until_ns, bool claim, int64_t copies_until_ns, stile_hold *hold)
{
    struct stile_lease_terms terms = {.object = object,
                                      .fence = (uint64_t)remote << 10,
                                      .id = {hold->id[0], hold->id[1]},
                                      .valid_until_ns = valid_until_ns,
                                      .lease_ms = lease_ms(options),
                                      .max_until_ns = max_until(options),
                                      .renewed = !options->fixed_lease,
                                      .claim = claim,
                                      .copies_until_ns = copies_until_ns};

    hold->object = object;
    hold->fence = terms.fence;
    stile__lease_arm(&object->space->leases, &terms, hold);
}

/* ---- lock_abandon ------------------------------------------------------------------------- */

static stile_status take_int(struct redis_exchange *exchange, const struct redis_reply *reply)
{
    return is_int(reply) ? STILE_OK : odd_answer(exchange);
}

stile_status stile__redis_abandon(struct redis_object *object, const uint64_t id[2],
                                  enum redis_patience patience, int64_t until_ns)
{
    struct redis_space *space = object->space;
    char op[REDIS_ID_TEXT + 1];
    struct number claim;
    struct redis_slice args[3] = {slice_of(op, REDIS_ID_TEXT),
                                  number_slice(&claim, space->base.settings.claim_ms),
                                  space->inbox_prefix};
    struct redis_exchange exchange = {
        .call = {&stile__script_lock_abandon, object->keys, REDIS_PARTS, args, 3},
        .patience = patience,
        .repeatable = true,
        .take = take_int};

    stile__redis_id_text(id, op);
    return stile__line_exchange(&space->line, &exchange, until_ns);
}

/* Until when a server may execute a copy of an acquire that was sent before now. */
static int64_t copies_until(const struct redis_space *space)
{
    return later_ns(stile__boottime_ns(), copy_ms(space));
}

/* A copy of an acquire may still be on its way. */
static void orphan_acquire(struct redis_object *object, const uint64_t id[2],
                           const stile_lock_options *options)
{
    struct redis_space *space = object->space;

    stile__orphan_add(&space->orphans, object, id, copies_until(space), lease_ms(options));
}

/* ---- lock_try and lock_acquire: one exchange ------------------------------------------------ */

enum answer { TAKEN, OWNER, QUEUED, LATE, ASK_QUEUE };

struct acquire {
    struct redis_exchange exchange; /* first: prepare and take get it */
    struct redis_space *space;
    struct redis_slice args[9];
    char op[REDIS_ID_TEXT + 1];
    struct number lease, not_after, last;
    struct number waiter_lease, claim, place;
    /* Whether a copy was sent that was not answered. */
    bool copies;
    /* The answer. */
    enum answer answer;
    int64_t server_ms;
    int64_t left_ms; /* of the owner's lease */
    int64_t remote;  /* OWNER: the server's part of the fence; QUEUED: the number */
    int64_t rank;
    bool unclaimed;
};

static void prepare_acquire(struct redis_exchange *exchange)
{
    struct acquire *acquire = (struct acquire *)exchange;
    int64_t not_after = stile__line_server_ms(&acquire->space->line) + copy_ms(acquire->space);
    size_t at = exchange->call.script == &stile__script_lock_try ? 2 : 3;

    acquire->args[at] = number_slice(&acquire->not_after, not_after > 0 ? not_after : 0);
}

static stile_status take_try(struct redis_exchange *exchange, const struct redis_reply *reply)
{
    struct acquire *acquire = (struct acquire *)exchange;
    int64_t code;

    if (!are_ints(reply, 2))
        return odd_answer(exchange);
    code = reply->elements[0].integer;
    acquire->server_ms = reply->elements[1].integer;
    stile__line_seen(&acquire->space->line, exchange->sent_ns, acquire->server_ms);
    if (code > 0) {
        if (reply->count < 3)
            return odd_answer(exchange);
        acquire->answer = OWNER;
        acquire->remote = code;
        acquire->left_ms = reply->elements[2].integer;
        acquire->unclaimed = false;
    } else {
        acquire->answer = code == 0 ? TAKEN : code == -1 ? LATE : ASK_QUEUE;
    }
    return STILE_OK;
}

static stile_status take_acquire(struct redis_exchange *exchange, const struct redis_reply *reply)
{
    struct acquire *acquire = (struct acquire *)exchange;
    int64_t code;

    if (!are_ints(reply, 2))
        return odd_answer(exchange);
    code = reply->elements[0].integer;
    acquire->server_ms = reply->elements[1].integer;
    stile__line_seen(&acquire->space->line, exchange->sent_ns, acquire->server_ms);
    if (code > 0) {
        if (reply->count < 5)
            return odd_answer(exchange);
        acquire->answer = code == 1 ? OWNER : QUEUED;
        acquire->left_ms = reply->elements[2].integer;
        acquire->remote = reply->elements[3].integer;
        acquire->rank = reply->elements[4].integer;
        acquire->unclaimed = code == 1 && reply->elements[4].integer == 1;
    } else {
        acquire->answer = code == 0 ? TAKEN : LATE;
    }
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

static stile_status run_try(struct redis_object *object, const stile_lock_options *options,
                            const uint64_t id[2], enum redis_patience patience, int64_t until_ns,
                            struct acquire *acquire)
{
    int64_t lease = lease_ms(options);
    /* The fence key outlives what it numbers. */
    int64_t ttl = lease + 60000 > 86400000 ? lease + 60000 : 86400000;

    stile__redis_id_text(id, acquire->op);
    acquire->space = object->space;
    acquire->args[0] = slice_of(acquire->op, REDIS_ID_TEXT);
    acquire->args[1] = number_slice(&acquire->lease, lease);
    acquire->args[3] = number_slice(&acquire->last, ttl);
    acquire->exchange = (struct redis_exchange){
        .call = {&stile__script_lock_try, object->keys, 2, acquire->args, 4},
        .patience = patience,
        .repeatable = true,
        .prepare = prepare_acquire,
        .take = take_try};
    return run_acquire(acquire, until_ns);
}

static stile_status run_full(struct redis_object *object, const stile_lock_options *options,
                             const uint64_t id[2], uint64_t place, bool may_queue,
                             enum redis_patience patience, int64_t until_ns,
                             struct acquire *acquire)
{
    const struct stile_settings *settings = &object->space->base.settings;

    stile__redis_id_text(id, acquire->op);
    acquire->space = object->space;
    acquire->args[0] = slice_of(acquire->op, REDIS_ID_TEXT);
    acquire->args[1] = client_of(object->space);
    acquire->args[2] = number_slice(&acquire->lease, lease_ms(options));
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

/*
 * The server says that hold's op id is the owner.  The clock is read last: what is
 * over before it could return is given back.
 */
static stile_status become_owner(struct redis_object *object, const stile_lock_options *options,
                                 const struct acquire *acquire, stile_hold *hold)
{
    int64_t valid = stile__redis_belief(acquire->exchange.sent_ns, acquire->left_ms);
    int64_t copies = acquire->copies ? copies_until(object->space) : 0;

    if (stile__boottime_ns() >= valid) {
        orphan_acquire(object, hold->id, options);
        return STILE_TIMEOUT;
    }
    arm(object, options, acquire->remote, valid, acquire->unclaimed, copies, hold);
    return STILE_OK;
}

/* ---- acquire ---------------------------------------------------------------------------------- */

/* When the next look is due: in about recheck_ms, or once the owner's lease is over for
 * who is first. */
static int64_t next_look(const struct redis_space *space, const uint64_t id[2], int64_t left_ms,
                         int64_t rank)
{
    int64_t recheck = space->base.settings.recheck_ms, now = stile__monotonic_ns();
    /* Plus or minus a fifth, by the op id, so that waiters do not look in step. */
    int64_t pause = recheck * 8 / 10 + (int64_t)(id[1] % 1024) * recheck * 4 / 10 / 1024;

    if (rank == 0 && left_ms + 2 < pause)
        pause = left_ms + 2;
    return later_ns(now, pause);
}

static struct stile_link *bucket_of(struct redis_space *space, const uint64_t id[2])
{
    return &space->index[id[0] % REDIS_BUCKETS];
}

/* Under the space's mutex, both: */
static void enter(struct redis_object *object, struct stile_waiter *waiter)
{
    os_store(&waiter->state, STILE_WAITER_QUEUED, memory_order_relaxed);
    list_push_back(&object->waiters, &waiter->link);
    list_push_back(bucket_of(object->space, waiter->hold.id), &waiter->index);
}

static void take_out(struct stile_waiter *waiter)
{
    list_remove(&waiter->link);
    list_remove(&waiter->index);
}

/* Enters the waiter, unless the handle or the space is closed. */
static stile_status register_waiter(stile_lock *lock, struct stile_waiter *waiter)
{
    struct redis_object *object = object_of(lock);
    bool closed;

    stile__mutex_lock(&object->space->mutex);
    closed = object->closed || ((struct redis_lock *)lock)->shut;
    if (!closed) {
        /* Before it is sent, it is granted by nobody. */
        waiter->seen_ns = stile__boottime_ns();
        waiter->seen_server_ms = UNSEEN;
        os_store(&waiter->recheck_ns, INT64_MAX, memory_order_relaxed);
        enter(object, waiter);
    }
    stile__mutex_unlock(&object->space->mutex);
    return closed ? stile__fail(STILE_CLOSED, "the space or the handle was closed") : STILE_OK;
}

/* What the answer to a waiter's acquire leads to; a grant may have been quicker. */
static stile_status settle_answer(struct redis_object *object, struct stile_waiter *waiter,
                                  struct acquire *acquire, stile_status status, uint32_t epoch)
{
    struct redis_space *space = object->space;
    const stile_lock_options *options = waiter->options;
    bool pending = false;

    stile__mutex_lock(&space->mutex);
    if (os_load(&waiter->state, memory_order_relaxed) == STILE_WAITER_SETTLED) {
        pending = true;
    } else if (status == STILE_OK && acquire->answer == QUEUED) {
        waiter->number = (uint64_t)acquire->remote;
        waiter->seen_ns = acquire->exchange.sent_ns;
        waiter->seen_server_ms = acquire->server_ms;
        waiter->seen_epoch = epoch;
        if (acquire->copies)
            waiter->copies_until_ns = copies_until(space);
        /* A message that overtook the answer may have asked for a look already. */
        if (os_load(&waiter->recheck_ns, memory_order_relaxed) == INT64_MAX)
            os_store(&waiter->recheck_ns,
                     next_look(space, waiter->hold.id, acquire->left_ms, acquire->rank),
                     memory_order_relaxed);
        pending = true;
    } else {
        stile__leave(waiter);
        take_out(waiter);
    }
    stile__mutex_unlock(&space->mutex);
    if (pending)
        return STILE_PENDING;
    if (status == STILE_OK && acquire->answer == OWNER)
        return become_owner(object, options, acquire, &waiter->hold);
    if (acquire->copies)
        orphan_acquire(object, waiter->hold.id, options);
    return status == STILE_OK ? STILE_TIMEOUT : status;
}

/* Queues for the lock, or takes it if it is free after all. */
static stile_status acquire_queued(stile_lock *lock, const stile_lock_options *options,
                                   struct stile_waiter *waiter, int64_t until_ns)
{
    struct redis_object *object = object_of(lock);
    struct redis_inbox *inbox = &object->space->inbox;
    struct acquire acquire = {.copies = false};
    stile_status status;
    uint32_t epoch;

    /* Who queues must be able to hear of its grant, from the first moment on. */
    status = stile__inbox_ready(inbox, until_ns);
    if (status != STILE_OK)
        return status;
    epoch = os_load(&inbox->epoch, memory_order_relaxed);
    status = register_waiter(lock, waiter);
    if (status != STILE_OK)
        return status;
    status = run_full(object, options, waiter->hold.id, waiter->number, !waiter->last,
                      REDIS_PATIENT, until_ns, &acquire);
    return settle_answer(object, waiter, &acquire, status, epoch);
}

/* A single attempt, which never queues. */
static stile_status try_once(struct redis_object *object, const stile_lock_options *options,
                             enum redis_patience patience, int64_t until_ns, stile_hold *hold)
{
    struct acquire acquire = {.copies = false};
    stile_status status = run_try(object, options, hold->id, patience, until_ns, &acquire);

    if (status == STILE_OK && acquire.answer == ASK_QUEUE)
        status = run_full(object, options, hold->id, 0, false, patience, until_ns, &acquire);
    if (status == STILE_OK && acquire.answer == OWNER)
        return become_owner(object, options, &acquire, hold);
    if (acquire.copies)
        orphan_acquire(object, hold->id, options);
    return status == STILE_OK ? STILE_TIMEOUT : status;
}

/* The first attempt of a call that may wait. */
static stile_status attempt_first(stile_lock *lock, const stile_lock_options *options,
                                  struct stile_waiter *waiter)
{
    struct redis_object *object = object_of(lock);
    const struct stile_settings *settings = &object->space->base.settings;
    int64_t until_ns = later_ns(stile__monotonic_ns(),
                                settings->connect_timeout_ms + settings->command_timeout_ms);
    int64_t now = stile__monotonic_ns();

    if (until_ns > waiter->back_ns)
        until_ns = waiter->back_ns;
    if (!options->fair && waiter->number == 0 && !waiter->last &&
        now >= os_load(&object->busy_until_ns, memory_order_relaxed)) {
        stile_status status =
            try_once(object, options, REDIS_PATIENT, until_ns, &waiter->hold);

        if (status != STILE_TIMEOUT)
            return status;
        os_store(&object->busy_until_ns, now + BUSY_NS, memory_order_relaxed);
        /* The first id may be an orphan by now. */
        status = stile__redis_id(object->space, waiter->hold.id);
        if (status != STILE_OK)
            return status;
    }
    return acquire_queued(lock, options, waiter, until_ns);
}

static stile_status redis_lock_acquire(stile_lock *lock, const stile_lock_options *options,
                                       struct stile_waiter *waiter, stile_hold *hold)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    stile_hold mine = STILE_HOLD_INIT, *taken = waiter != NULL ? &waiter->hold : &mine;
    stile_status status = stile__redis_usable(&space->base);

    if (status != STILE_OK)
        return status;
    if (os_load(&space->base.closed, memory_order_relaxed))
        return stile__fail(STILE_CLOSED, "the space is closed");
    if (taken->slot == 0)
        status = stile__lease_reserve(&space->leases, &taken->slot);
    if (status != STILE_OK)
        return status;
    /* Queueing again is a new operation. */
    if (waiter != NULL && waiter->copies_until_ns != 0) {
        orphan_acquire(object, waiter->hold.id, options);
        waiter->copies_until_ns = 0;
    }
    status = stile__redis_id(space, taken->id);
    if (status == STILE_OK && waiter != NULL)
        status = attempt_first(lock, options, waiter);
    else if (status == STILE_OK)
        status = try_once(object, options, REDIS_ONCE,
                          stile__redis_command_until(space, INT64_MAX), taken);
    if (status == STILE_OK && waiter == NULL)
        *hold = mine;
    else if (status != STILE_OK && status != STILE_PENDING)
        stile__lease_unreserve(&space->leases, taken->slot);
    return status;
}

/* ---- lock_poll ----------------------------------------------------------------------------------- */

struct poll {
    struct redis_exchange exchange; /* first: take gets it */
    struct redis_object *object;
    size_t count;
    uint64_t ids[POLL_MOST][2];
    char ops[POLL_MOST][REDIS_ID_TEXT + 1];
    struct redis_slice args[4 + POLL_MOST];
    struct number waiter_lease, claim;
    /* The answer. */
    int64_t server_ms;
    bool more;
    struct {
        int64_t code, left_ms, value;
    } answers[POLL_MOST];
};

static stile_status take_poll(struct redis_exchange *exchange, const struct redis_reply *reply)
{
    struct poll *poll = (struct poll *)exchange;
    size_t i;

    if (!are_ints(reply, 2 + 3 * poll->count))
        return odd_answer(exchange);
    poll->server_ms = reply->elements[0].integer;
    poll->more = reply->elements[1].integer != 0;
    stile__line_seen(&poll->object->space->line, exchange->sent_ns, poll->server_ms);
    for (i = 0; i < poll->count; i++) {
        poll->answers[i].code = reply->elements[2 + 3 * i].integer;
        poll->answers[i].left_ms = reply->elements[3 + 3 * i].integer;
        poll->answers[i].value = reply->elements[4 + 3 * i].integer;
    }
    return STILE_OK;
}

static stile_status run_poll(struct poll *poll, int64_t until_ns)
{
    struct redis_space *space = poll->object->space;
    const struct stile_settings *settings = &space->base.settings;
    size_t i;

    poll->args[0] = client_of(space);
    poll->args[1] = number_slice(&poll->waiter_lease, settings->waiter_lease_ms);
    poll->args[2] = number_slice(&poll->claim, settings->claim_ms);
    poll->args[3] = space->inbox_prefix;
    for (i = 0; i < poll->count; i++) {
        stile__redis_id_text(poll->ids[i], poll->ops[i]);
        poll->args[4 + i] = slice_of(poll->ops[i], REDIS_ID_TEXT);
    }
    poll->exchange = (struct redis_exchange){
        .call = {&stile__script_lock_poll, poll->object->keys, REDIS_PARTS, poll->args,
                 4 + poll->count},
        .patience = REDIS_ONCE,
        .repeatable = true,
        .take = take_poll};
    return stile__line_exchange(&space->line, &poll->exchange, until_ns);
}

/* Under the space's mutex. */
static struct stile_waiter *find_waiter(struct redis_space *space, const uint64_t id[2])
{
    struct stile_link *head = bucket_of(space, id), *at;

    for (at = head->next; at != head; at = at->next) {
        struct stile_waiter *waiter = STILE_OF(at, struct stile_waiter, index);

        if (waiter->hold.id[0] == id[0] && waiter->hold.id[1] == id[1])
            return waiter;
    }
    return NULL;
}

/* Under the space's mutex: the waiter's lock is its own, as of sent_ns. */
static void settle_owner(struct redis_object *object, struct stile_waiter *waiter, int64_t remote,
                         int64_t valid_until_ns)
{
    struct stile_parker *wake;

    take_out(waiter);
    arm(object, waiter->options, remote, valid_until_ns, true, waiter->copies_until_ns,
        &waiter->hold);
    stile__settle(waiter, STILE_OK, &wake);
    stile__unpark(wake);
}

/* Under the space's mutex: what the poll said of one waiter that is still there. */
static void settle_polled(struct poll *poll, size_t i, struct stile_waiter *waiter)
{
    struct redis_space *space = poll->object->space;
    int64_t valid = stile__redis_belief(poll->exchange.sent_ns, poll->answers[i].left_ms);
    struct stile_parker *wake;

    if (poll->answers[i].code == 1 && stile__boottime_ns() < valid) {
        settle_owner(poll->object, waiter, poll->answers[i].value, valid);
    } else if (poll->answers[i].code == 2) {
        waiter->seen_ns = poll->exchange.sent_ns;
        waiter->seen_server_ms = poll->server_ms;
        waiter->seen_epoch = os_load(&space->inbox.epoch, memory_order_relaxed);
        os_store(&waiter->recheck_ns,
                 next_look(space, waiter->hold.id, poll->more ? 0 : poll->answers[i].left_ms,
                           poll->answers[i].value),
                 memory_order_relaxed);
    } else if (poll->answers[i].code == 0) {
        /* The server knows nothing of it: it queues again, with its number. */
        take_out(waiter);
        stile__settle(waiter, STILE_AGAIN, &wake);
        stile__unpark(wake);
    }
}

/* Takes the ids of those who wait here, this one first; they need not look
 * themselves until the next time.  Under the space's mutex. */
static void collect(struct poll *poll, const struct stile_waiter *first)
{
    struct redis_space *space = poll->object->space;
    struct stile_link *head = &poll->object->waiters, *at;

    memcpy(poll->ids[0], first->hold.id, sizeof poll->ids[0]);
    poll->count = 1;
    for (at = head->next; at != head; at = at->next) {
        struct stile_waiter *waiter = waiter_of(at);

        /* One that was not answered yet is not queued yet, for all we know. */
        if (waiter->number == 0)
            continue;
        os_store(&waiter->recheck_ns, next_look(space, waiter->hold.id, 0, 1),
                 memory_order_relaxed);
        if (waiter != first && poll->count < POLL_MOST)
            memcpy(poll->ids[poll->count++], waiter->hold.id, sizeof poll->ids[0]);
    }
}

static void redis_lock_poll(stile_lock *lock, struct stile_waiter *waiter)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    struct poll poll;
    size_t i;

    os_store(&waiter->recheck_ns, next_look(space, waiter->hold.id, 0, 1), memory_order_relaxed);
    poll.object = object;
    stile__mutex_lock(&space->mutex);
    if (os_load(&waiter->state, memory_order_relaxed) != STILE_WAITER_QUEUED) {
        stile__mutex_unlock(&space->mutex);
        return;
    }
    collect(&poll, waiter);
    stile__mutex_unlock(&space->mutex);
    /* What it costs to ask in vain is another look later. */
    if (run_poll(&poll, stile__redis_command_until(space, waiter->back_ns)) != STILE_OK)
        return;
    stile__mutex_lock(&space->mutex);
    for (i = 0; i < poll.count; i++) {
        struct stile_waiter *found = find_waiter(space, poll.ids[i]);

        if (found != NULL)
            settle_polled(&poll, i, found);
    }
    stile__mutex_unlock(&space->mutex);
}

/* ---- grants, withdrawal ------------------------------------------------------------------------------ */

/*
 * How long a grant may be believed in that ends at deadline_ms, claim_ms after it was
 * made.  It was made after the waiter was last seen in the queue; how long after,
 * the server's clock tells, compared with itself: both readings are of one server,
 * since the subscription did not end between them.
 */
static int64_t grant_belief(const struct stile_waiter *waiter, int64_t deadline_ms,
                            int64_t claim_ms, uint32_t epoch)
{
    int64_t length_ms = claim_ms;

    if (waiter->seen_server_ms != UNSEEN && waiter->seen_epoch == epoch &&
        deadline_ms - waiter->seen_server_ms > claim_ms)
        length_ms = deadline_ms - waiter->seen_server_ms;
    if (length_ms > STILE_TEN_YEARS_MS)
        length_ms = STILE_TEN_YEARS_MS;
    return stile__redis_belief(waiter->seen_ns, length_ms);
}

/*
 * A grant for an op id that is not there needs nothing: whoever took the waiter out
 * has its op id abandoned.  One that cannot be believed in makes its waiter look.
 */
void stile__redis_granted(struct redis_space *space, const uint64_t id[2],
                          const struct redis_grant *grant, int64_t receipt_ns, uint32_t epoch)
{
    struct stile_waiter *waiter;
    int64_t valid, most;

    stile__mutex_lock(&space->mutex);
    waiter = find_waiter(space, id);
    if (waiter != NULL) {
        valid = grant_belief(waiter, grant->deadline_ms, grant->claim_ms, epoch);
        most = later_ns(receipt_ns, grant->claim_ms);
        if (valid > most)
            valid = most;
        if (stile__boottime_ns() < valid)
            settle_owner(((struct redis_lock *)(uintptr_t)waiter->owner)->object, waiter,
                         grant->fence, valid);
        else
            stile__recheck(waiter);
    }
    stile__mutex_unlock(&space->mutex);
}

void stile__redis_recheck_all(struct redis_space *space)
{
    struct stile_link *at;
    size_t i;

    stile__mutex_lock(&space->mutex);
    for (i = 0; i < REDIS_BUCKETS; i++) {
        for (at = space->index[i].next; at != &space->index[i]; at = at->next)
            stile__recheck(STILE_OF(at, struct stile_waiter, index));
    }
    stile__mutex_unlock(&space->mutex);
}

static stile_status redis_lock_withdraw(stile_lock *lock, struct stile_waiter *waiter)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    stile_status status;
    bool left;

    stile__mutex_lock(&space->mutex);
    left = stile__leave(waiter);
    if (left)
        take_out(waiter);
    stile__mutex_unlock(&space->mutex);
    if (!left)
        return STILE_TOO_LATE;
    status = stile__redis_abandon(object, waiter->hold.id, REDIS_PATIENT, waiter->back_ns);
    if (status != STILE_OK || waiter->copies_until_ns != 0)
        orphan_acquire(object, waiter->hold.id, waiter->options);
    if (status != STILE_OK) {
        status = stile__fail(STILE_UNKNOWN,
                             "the lock stayed taken, and the server did not confirm the "
                             "withdrawal in time");
    }
    stile__lease_unreserve(&space->leases, waiter->hold.slot);
    return status;
}

/* ---- what an owner does --------------------------------------------------------------------------------- */

struct answer_int {
    struct redis_exchange exchange; /* first: take gets it */
    int64_t value;
};

static stile_status take_value(struct redis_exchange *exchange, const struct redis_reply *reply)
{
    if (!is_int(reply))
        return odd_answer(exchange);
    ((struct answer_int *)exchange)->value = reply->integer;
    return STILE_OK;
}

/* Many dead waiters were in the queue: goes on until a live one has the lock. */
static void reap_on(struct redis_object *object)
{
    struct poll poll = {.object = object, .more = true};
    int i;

    for (i = 0; i < POLL_MOST && poll.more; i++) {
        if (run_poll(&poll, stile__redis_command_until(object->space, INT64_MAX)) != STILE_OK)
            return;
    }
}

static stile_status redis_lock_release(stile_lock *lock, const stile_hold *hold)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    const struct stile_settings *settings = &space->base.settings;
    char op[REDIS_ID_TEXT + 1];
    struct number claim;
    struct redis_slice args[3] = {slice_of(op, REDIS_ID_TEXT),
                                  number_slice(&claim, settings->claim_ms), space->inbox_prefix};
    struct answer_int answer = {
        .exchange = {.call = {&stile__script_lock_release, object->keys, REDIS_PARTS, args, 3},
                     .patience = REDIS_PATIENT,
                     .repeatable = true,
                     .take = take_value}};
    stile_status status = stile__redis_usable(&space->base);
    struct stile_lease_terms terms;

    if (status != STILE_OK)
        return status;
    if (hold->object != object)
        return STILE_NOT_HELD;
    /* Renewed no more before the release is sent: a renewal must not outlive it. */
    status = stile__lease_end(&space->leases, hold, &terms);
    if (status == STILE_LOST)
        stile__orphan_add(&space->orphans, object, hold->id, terms.copies_until_ns,
                          terms.lease_ms);
    if (status != STILE_OK)
        return status;
    stile__redis_id_text(hold->id, op);
    status = stile__line_exchange(&space->line, &answer.exchange,
                                  stile__redis_command_until(space, INT64_MAX));
    if (status != STILE_OK || stile__boottime_ns() < terms.copies_until_ns)
        stile__orphan_add(&space->orphans, object, hold->id, terms.copies_until_ns,
                          terms.lease_ms);
    if (status != STILE_OK)
        return status;
    if (answer.value == 2)
        reap_on(object);
    /* A repetition that finds nothing comes after a release that was not answered:
     * belief had not ended when that was sent. */
    return answer.value != 0 || answer.exchange.sends > 1 ? STILE_OK : STILE_LOST;
}

static stile_status redis_lock_extend(stile_lock *lock, const stile_hold *hold, int64_t add_ms)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    char op[REDIS_ID_TEXT + 1];
    struct number add, most;
    struct redis_slice args[3];
    struct answer_int answer = {
        .exchange = {.call = {&stile__script_lock_extend, object->keys, 2, args, 3},
                     .patience = REDIS_PATIENT,
                     .take = take_value}};
    int64_t valid_ns, max_ns, most_ms = STILE_TEN_YEARS_MS;
    stile_status status = stile__redis_usable(&space->base);

    if (status != STILE_OK)
        return status;
    if (hold->object != object)
        return STILE_NOT_HELD;
    status = stile__lease_bound(&space->leases, hold, &valid_ns, &max_ns);
    if (status != STILE_OK)
        return status;
    if (max_ns != INT64_MAX)
        most_ms = remaining_ms(max_ns);
    stile__redis_id_text(hold->id, op);
    args[0] = slice_of(op, REDIS_ID_TEXT);
    args[1] = number_slice(&add, add_ms);
    args[2] = number_slice(&most, most_ms);
    status = stile__line_exchange(&space->line, &answer.exchange,
                                  stile__redis_command_until(space, INT64_MAX));
    if (status != STILE_OK)
        return status;
    if (answer.value <= 0) {
        stile__lease_lost(&space->leases, hold);
        return STILE_LOST;
    }
    return stile__lease_prolong(&space->leases, hold,
                                stile__redis_belief(answer.exchange.sent_ns, answer.value));
}

static stile_status redis_lock_check(stile_lock *lock, const stile_hold *hold, int64_t *valid_ms)
{
    struct redis_object *object = object_of(lock);
    stile_status status = stile__redis_usable(&object->space->base);
    int64_t valid_ns;

    if (status != STILE_OK)
        return status;
    if (hold->object != object)
        return STILE_NOT_HELD;
    status = stile__lease_state(&object->space->leases, hold, &valid_ns);
    if (status == STILE_OK)
        *valid_ms = remaining_ms(valid_ns);
    return status;
}

/* ---- lock_renew ------------------------------------------------------------------------------------------------ */

struct renewals {
    struct stile_renewal *due;
    struct redis_call calls[STILE_RENEW_MAX];
    struct {
        char op[REDIS_ID_TEXT + 1];
        struct number lease;
        struct redis_slice keys[3];
        struct redis_slice args[3];
    } of[STILE_RENEW_MAX];
};

static void take_renewal(void *context, size_t i, stile_status status,
                         const struct redis_reply *reply, int64_t sent_ns)
{
    struct stile_renewal *due = &((struct renewals *)context)->due[i];

    if (status == STILE_OK && !is_int(reply))
        status = STILE_PROTOCOL;
    /* What stands there instead is not ours. */
    if (status == STILE_WRONG_KIND || (status == STILE_OK && reply->integer <= 0))
        status = STILE_LOST;
    due->status = status;
    if (status == STILE_OK)
        due->valid_until_ns = stile__redis_belief(sent_ns, reply->integer);
}

void stile__redis_renew(struct redis_space *space, struct stile_renewal *due, size_t count)
{
    struct renewals batch = {.due = due};
    size_t i;

    for (i = 0; i < count; i++) {
        const struct redis_object *object = due[i].object;

        stile__redis_id_text(due[i].id, batch.of[i].op);
        batch.of[i].keys[0] = object->keys[REDIS_LOCK];
        batch.of[i].keys[1] = object->keys[REDIS_FENCE];
        batch.of[i].keys[2] = object->keys[REDIS_WAITERS];
        batch.of[i].args[0] = slice_of(batch.of[i].op, REDIS_ID_TEXT);
        batch.of[i].args[1] = number_slice(&batch.of[i].lease, due[i].lease_ms);
        batch.of[i].args[2] = slice_of(due[i].claim ? "1" : "0", 1);
        batch.calls[i] = (struct redis_call){&stile__script_lock_renew, batch.of[i].keys, 3,
                                             batch.of[i].args, 3};
    }
    stile__line_batch(&space->line, batch.calls, count,
                      stile__redis_command_until(space, INT64_MAX), take_renewal, &batch);
}

/* ---- handles and objects -------------------------------------------------------------------------------------- */

static stile_status redis_lock_init(stile_lock *lock, const char *name)
{
    struct redis_space *space = (struct redis_space *)lock->space;
    struct stile_named *named;
    stile_status status = stile__redis_usable(lock->space);

    if (status == STILE_OK)
        status = stile__names_get(&space->names, STILE_LOCK, name, &named);
    if (status == STILE_OK)
        ((struct redis_lock *)lock)->object = (struct redis_object *)(void *)named;
    return status;
}

/* Under the space's mutex: settles those who wait through this handle, or all for
 * NULL. */
static void turn_away(struct redis_object *object, const stile_lock *handle)
{
    struct stile_link *at = object->waiters.next;

    while (at != &object->waiters) {
        struct stile_waiter *waiter = waiter_of(at);
        struct stile_parker *wake;

        at = at->next;
        if (handle != NULL && waiter->owner != handle)
            continue;
        take_out(waiter);
        orphan_acquire(object, waiter->hold.id, waiter->options);
        stile__lease_unreserve(&object->space->leases, waiter->hold.slot);
        stile__settle(waiter, STILE_CLOSED, &wake);
        stile__unpark(wake);
    }
}

static void redis_lock_shut(stile_lock *lock)
{
    struct redis_object *object = object_of(lock);

    stile__mutex_lock(&object->space->mutex);
    ((struct redis_lock *)lock)->shut = true;
    turn_away(object, lock);
    stile__mutex_unlock(&object->space->mutex);
}

static void redis_lock_fini(stile_lock *lock)
{
    struct redis_object *object = object_of(lock);

    /* In a child the table of names is in a state that nobody knows. */
    if (!stile__space_forked(lock->space))
        stile__names_unref(&object->space->names, &object->named);
}

struct stile_named *stile__redis_object_make(struct redis_space *space, const char *name)
{
    struct redis_object *object = calloc(1, sizeof *object);

    if (object == NULL)
        return NULL;
    object->key_bytes =
        stile__redis_keys(space->base.settings.prefix, "lock", name, object->keys);
    if (object->key_bytes == NULL) {
        free(object);
        return NULL;
    }
    object->space = space;
    list_init(&object->waiters);
    /* It may be made while the space is being closed, after the others were told. */
    object->closed = os_load(&space->base.closed, memory_order_relaxed);
    atomic_init(&object->busy_until_ns, INT64_MIN);
    return &object->named;
}

void stile__redis_object_destroy(struct stile_named *named)
{
    struct redis_object *object = (struct redis_object *)(void *)named;

    free(object->key_bytes);
    free(object);
}

void stile__redis_object_close(struct stile_named *named)
{
    struct redis_object *object = (struct redis_object *)(void *)named;

    stile__mutex_lock(&object->space->mutex);
    object->closed = true;
    turn_away(object, NULL);
    stile__mutex_unlock(&object->space->mutex);
}

const struct stile_lock_ops stile__redis_lock_ops = {
    .size = sizeof(struct redis_lock),
    .try_first = false,
    .init = redis_lock_init,
    .shut = redis_lock_shut,
    .fini = redis_lock_fini,
    .acquire = redis_lock_acquire,
    .poll = redis_lock_poll,
    .withdraw = redis_lock_withdraw,
    .release = redis_lock_release,
    .extend = redis_lock_extend,
    .check = redis_lock_check,
};
