#include "redis_lock.h"

#include <string.h>

#include "base/deadline.h"
#include "base/error.h"

/* The server's clock while an acquire is not answered. */
#define UNSEEN (-1)

/* How many waiters one poll asks about. */
enum { POLL_MOST = 100 };

static struct stile_waiter *waiter_of(struct stile_link *link)
{
    return STILE_OF(link, struct stile_waiter, link);
}

/* ---- queueing ---------------------------------------------------------------------------------- */

/*
 * Sets when the waiter looks again: in about recheck_ms, or once the owner's lease is
 * over for who is first.  Under the space's mutex, or by a waiter that is in no list.
 */
static void look_later(const struct redis_space *space, struct stile_waiter *waiter,
                       int64_t left_ms, int64_t rank)
{
    int64_t recheck = space->base.settings.recheck_ms, now = stile__monotonic_ns();
    /* Plus or minus a fifth, by the op id, so that waiters do not look in step. */
    int64_t pause =
        recheck * 8 / 10 + (int64_t)(waiter->hold.id[1] % 1024) * recheck * 4 / 10 / 1024;

    if (rank == 0 && left_ms + 2 < pause)
        pause = left_ms + 2;
    stile__recheck_at(waiter, later_ns(now, pause));
}

/* Somebody has asked for a look at once, by stile__recheck. */
static bool wants_look(struct stile_waiter *waiter)
{
    return os_load(&waiter->recheck_ns, memory_order_relaxed) == INT64_MIN;
}

static struct stile_link *bucket_of(struct redis_space *space, const uint64_t id[2])
{
    return &space->index[id[0] % REDIS_BUCKETS];
}

/* Under the space's mutex, both: */
static void enter(struct redis_object *object, struct stile_waiter *waiter)
{
    if (stile__is_passive(waiter))
        stile__inbox_passive(&object->space->inbox, 1);
    os_store(&waiter->state, STILE_WAITER_QUEUED, memory_order_relaxed);
    list_push_back(&object->waiters, &waiter->link);
    list_push_back(bucket_of(object->space, waiter->hold.id), &waiter->index);
}

static void take_out(struct redis_space *space, struct stile_waiter *waiter)
{
    if (stile__is_passive(waiter))
        stile__inbox_passive(&space->inbox, -1);
    list_remove(&waiter->link);
    list_remove(&waiter->index);
}

/* Whoever is taken out without a grant may be granted on the server. */
static void give_up(struct redis_object *object, struct stile_waiter *waiter)
{
    stile__redis_orphan(object, waiter->hold.id, waiter->options);
    stile__lease_unreserve(&object->space->leases, waiter->hold.slot);
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
        if (acquire->copies && waiter->result == STILE_OK)
            stile__lease_copies(&space->leases, &waiter->hold, stile__redis_copies_until(space));
        pending = true;
    } else if (status == STILE_OK && acquire->answer == QUEUED) {
        waiter->number = (uint64_t)acquire->remote;
        waiter->seen_ns = acquire->exchange.sent_ns;
        waiter->seen_server_ms = acquire->server_ms;
        waiter->seen_epoch = epoch;
        if (acquire->copies)
            waiter->copies_until_ns = stile__redis_copies_until(space);
        /* A message that overtook the answer may have asked for a look already. */
        if (!wants_look(waiter))
            look_later(space, waiter, acquire->left_ms, acquire->rank);
        pending = true;
    } else {
        stile__leave(waiter);
        take_out(space, waiter);
    }
    stile__mutex_unlock(&space->mutex);
    if (pending)
        return STILE_PENDING;
    if (status == STILE_OK && acquire->answer == OWNER)
        return stile__redis_become_owner(object, options, acquire, waiter->thread, &waiter->hold);
    if (acquire->copies)
        stile__redis_orphan(object, waiter->hold.id, options);
    return status == STILE_OK ? STILE_TIMEOUT : status;
}

/* Queues for the lock, or takes it if it is free after all. */
stile_status stile__redis_queue(stile_lock *lock, const stile_lock_options *options,
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
    status = stile__redis_acquire(object, options, waiter->hold.id, waiter->number, !waiter->last,
                                  REDIS_PATIENT, until_ns, &acquire);
    return settle_answer(object, waiter, &acquire, status, epoch);
}

/* ---- lock_poll ----------------------------------------------------------------------------------- */

struct poll {
    struct redis_exchange exchange; /* first: take gets it */
    struct redis_object *object;
    uint32_t epoch; /* of the subscription when it was sent */
    size_t count;
    uint64_t ids[POLL_MOST][2];
    struct id_text ops[POLL_MOST];
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

    if (!stile__redis_are_ints(reply, 2 + 3 * poll->count))
        return stile__redis_odd_answer(exchange);
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
    for (i = 0; i < poll->count; i++)
        poll->args[4 + i] = id_slice(&poll->ops[i], poll->ids[i]);
    poll->exchange = (struct redis_exchange){.call = {&stile__script_lock_poll, poll->object->keys,
                                                      REDIS_PARTS, poll->args, 4 + poll->count},
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

/* Under the space's mutex: the waiter's lock is its own, as of sent_ns; unless it has
 * another, of those that it waits for. */
static void settle_owner(struct redis_object *object, struct stile_waiter *waiter, int64_t remote,
                         int64_t valid_until_ns)
{
    const struct taken taken = {.fence = stile__redis_fence(waiter->options, remote),
                                .valid_until_ns = valid_until_ns,
                                .copies_until_ns = waiter->copies_until_ns,
                                .thread = waiter->thread,
                                .claim = true};
    struct stile_parker *wake;

    take_out(object->space, waiter);
    if (stile__claim(waiter)) {
        stile__redis_note_busy(object, stile__monotonic_ns());
        stile__redis_arm(object, waiter->options, &taken, &waiter->hold);
        stile__settle(waiter, STILE_OK, &wake);
    } else {
        give_up(object, waiter);
        stile__settle(waiter, STILE_TOO_LATE, &wake);
    }
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
        waiter->seen_epoch = poll->epoch;
        /* Unless a message came while the poll was under way. */
        if (!wants_look(waiter)) {
            /* There are dead waiters left to take out: at once, wherever this one stands. */
            if (poll->more)
                look_later(space, waiter, 0, 0);
            else
                look_later(space, waiter, poll->answers[i].left_ms, poll->answers[i].value);
        }
    } else if (poll->answers[i].code == 0) {
        /* The server knows nothing of it: it queues again, with its number. */
        take_out(space, waiter);
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
        if (waiter == first || waiter->seen_server_ms == UNSEEN || poll->count == POLL_MOST)
            continue;
        look_later(space, waiter, 0, 1);
        memcpy(poll->ids[poll->count++], waiter->hold.id, sizeof poll->ids[0]);
    }
}

void stile__redis_poll(stile_lock *lock, struct stile_waiter *waiter)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    struct poll poll;
    size_t i;

    poll.object = object;
    poll.epoch = os_load(&space->inbox.epoch, memory_order_relaxed);
    stile__mutex_lock(&space->mutex);
    look_later(space, waiter, 0, 1);
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

/* Many dead waiters were in the queue: goes on until a live one has the lock. */
void stile__redis_reap(struct redis_object *object)
{
    struct poll poll = {.object = object, .more = true};
    int i;

    for (i = 0; i < POLL_MOST && poll.more; i++) {
        if (run_poll(&poll, stile__redis_command_until(object->space, INT64_MAX)) != STILE_OK)
            return;
    }
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

stile_status stile__redis_withdraw(stile_lock *lock, struct stile_waiter *waiter)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    stile_status status;
    bool left;

    stile__mutex_lock(&space->mutex);
    left = stile__leave(waiter);
    if (left)
        take_out(space, waiter);
    stile__mutex_unlock(&space->mutex);
    if (!left)
        return STILE_TOO_LATE;
    status = stile__redis_abandon(object, waiter->hold.id, REDIS_PATIENT,
                                  stile__redis_command_until(space, waiter->back_ns));
    if (status != STILE_OK || waiter->copies_until_ns != 0)
        stile__redis_orphan(object, waiter->hold.id, waiter->options);
    if (status != STILE_OK) {
        status =
            stile__fail(STILE_UNKNOWN, "the lock stayed taken, and the server did not confirm the "
                                       "withdrawal in time");
    }
    stile__lease_unreserve(&space->leases, waiter->hold.slot);
    return status;
}

/* Under the space's mutex: settles those who wait through this handle, or all for
 * NULL. */
void stile__redis_turn_away(struct redis_object *object, const stile_lock *handle)
{
    struct stile_link *at = object->waiters.next;

    while (at != &object->waiters) {
        struct stile_waiter *waiter = waiter_of(at);
        struct stile_parker *wake;

        at = at->next;
        if (handle != NULL && waiter->owner != handle)
            continue;
        take_out(object->space, waiter);
        give_up(object, waiter);
        stile__settle(waiter, STILE_CLOSED, &wake);
        stile__unpark(wake);
    }
}
