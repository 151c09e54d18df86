#include "redis_lock.h"

#include "base/deadline.h"
#include "base/error.h"

/* ---- holds ------------------------------------------------------------------------------ */

static int64_t max_until(const stile_lock_options *options)
{
    if (options->max_hold_ms == 0)
        return INT64_MAX;
    return later_ns(stile__boottime_ns(), options->max_hold_ms);
}

/* The lock was taken before its answer came, so that this is never too early. */
static int64_t keep_until(const stile_lock_options *options)
{
    return options->min_hold_ms == 0 ? 0 : later_ns(stile__boottime_ns(), options->min_hold_ms);
}

void stile__redis_arm(struct redis_object *object, const stile_lock_options *options,
                      const struct taken *taken, stile_hold *hold)
{
    struct stile_lease_terms terms = {.object = object,
                                      .fence = taken->fence,
                                      .id = {hold->id[0], hold->id[1]},
                                      .valid_until_ns = taken->valid_until_ns,
                                      .lease_ms = stile__redis_lease_ms(options),
                                      .max_until_ns = max_until(options),
                                      .renewed = !options->fixed_lease,
                                      .claim = taken->claim,
                                      .copies_until_ns = taken->copies_until_ns,
                                      .keep_until_ns = keep_until(options),
                                      .thread = taken->thread};

    hold->object = object;
    hold->fence = terms.fence;
    stile__lease_arm(&object->space->leases, &terms, hold);
    os_store(&object->taken_slot, hold->slot, memory_order_relaxed);
}

stile_status stile__redis_become_owner(struct redis_object *object,
                                       const stile_lock_options *options,
                                       const struct acquire *acquire, uint64_t thread,
                                       stile_hold *hold)
{
    struct taken taken = {.fence = stile__redis_fence(options, acquire->remote),
                          .thread = thread,
                          .claim = acquire->unclaimed};

    taken.valid_until_ns = stile__redis_belief(acquire->exchange.sent_ns, acquire->left_ms);
    if (acquire->copies)
        taken.copies_until_ns = stile__redis_copies_until(object->space);
    if (stile__boottime_ns() >= taken.valid_until_ns) {
        stile__redis_orphan(object, hold->id, options);
        return STILE_TIMEOUT;
    }
    stile__redis_arm(object, options, &taken, hold);
    return STILE_OK;
}

/* ---- what an owner does --------------------------------------------------------------------------------- */

stile_status stile__redis_take_value(struct redis_exchange *exchange,
                                     const struct redis_reply *reply)
{
    if (!is_int(reply))
        return stile__redis_odd_answer(exchange);
    ((struct answer_int *)exchange)->value = reply->integer;
    return STILE_OK;
}

struct release {
    struct answer_int answer; /* first: prepare and take get it */
    struct id_text op;
    struct number claim, keep;
    struct redis_slice args[4];
    int64_t keep_until_ns; /* 0: it comes free */
};

/* For how long the lock is to stay taken, from when the request goes out. */
static void prepare_release(struct redis_exchange *exchange)
{
    struct release *release = (struct release *)(void *)exchange;
    int64_t ahead = release->keep_until_ns - stile__boottime_ns();

    if (ahead < 0)
        ahead = 0;
    release->args[3] = number_slice(&release->keep, ahead / STILE_NS_PER_MS + (ahead > 0 ? 1 : 0));
}

/* What lock_release says to one key alone when the queue may have a say. */
enum { ASK_WITH_QUEUE = 3 };

/* In a hold that lasts longer, others may well have come to queue; and then it matters
 * little that a release takes longer which would grant it to them. */
#define LONG_HOLD_NS INT64_C(1000000)

/* Whether the release had better be ready to grant the lock to another, so that it need
 * not be asked twice. */
static bool expects_queue(struct redis_object *object, const struct stile_lease_terms *terms,
                          int64_t now_ns)
{
    /* About when it was taken; earlier for one that was granted. */
    int64_t taken_ns = terms->valid_until_ns - stile__redis_belief(0, terms->lease_ms);

    return terms->keep_until_ns != 0 || stile__redis_busy(object, now_ns) ||
           stile__boottime_ns() - taken_ns > LONG_HOLD_NS;
}

/* *again is set when a request before the one that was answered may have been executed. */
static stile_status run_release(struct redis_object *object, const uint64_t id[2], bool with_queue,
                                int64_t keep_until_ns, int64_t until_ns, int64_t *value,
                                bool *again)
{
    struct redis_space *space = object->space;
    struct release release;
    struct redis_exchange *exchange = &release.answer.exchange;
    stile_status status;

    release.args[0] = id_slice(&release.op, id);
    release.args[1] = number_slice(&release.claim, space->base.settings.claim_ms);
    release.args[2] = space->inbox_prefix;
    release.keep_until_ns = keep_until_ns;
    release.answer.value = 0;
    *exchange = (struct redis_exchange){.call = {&stile__script_lock_release, object->keys,
                                                 with_queue ? REDIS_PARTS : 1, release.args,
                                                 keep_until_ns != 0 ? 4
                                                 : with_queue       ? 3
                                                                    : 1},
                                        .patience = REDIS_PATIENT,
                                        .repeatable = true,
                                        .prepare = keep_until_ns != 0 ? prepare_release : NULL,
                                        .take = stile__redis_take_value};
    status = stile__line_exchange(&space->line, exchange, until_ns);
    *value = release.answer.value;
    *again |= exchange->sends > 1;
    return status;
}

stile_status stile__redis_end(struct redis_object *object, const stile_hold *hold,
                              struct stile_lease_terms *terms)
{
    struct redis_space *space = object->space;
    stile_status status = stile__redis_usable(&space->base);

    if (status != STILE_OK)
        return status;
    if (hold->object != object)
        return STILE_NOT_HELD;
    status = stile__lease_end(&space->leases, hold, terms);
    if (status == STILE_LOST)
        stile__orphan_add(&space->orphans, object, hold->id, terms->copies_until_ns,
                          terms->lease_ms, terms->keep_until_ns);
    return status;
}

stile_status stile__redis_release(stile_lock *lock, const stile_hold *hold)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    struct stile_lease_terms terms;
    /* Renewed no more before the release is sent: a renewal must not outlive it. */
    stile_status status = stile__redis_end(object, hold, &terms);
    int64_t now, until, value = 0;
    bool again = false;

    if (status != STILE_OK)
        return status;
    now = stile__monotonic_ns();
    until = later_ns(now, space->base.settings.command_timeout_ms);
    status = run_release(object, hold->id, expects_queue(object, &terms, now), terms.keep_until_ns,
                         until, &value, &again);
    if (status == STILE_OK && value == ASK_WITH_QUEUE)
        status = run_release(object, hold->id, true, 0, until, &value, &again);
    if (status != STILE_OK ||
        (terms.copies_until_ns != 0 && stile__boottime_ns() < terms.copies_until_ns))
        stile__orphan_add(&space->orphans, object, hold->id, terms.copies_until_ns, terms.lease_ms,
                          terms.keep_until_ns);
    if (status != STILE_OK)
        return status;
    if (value == 2)
        stile__redis_reap(object);
    /* A repetition that finds nothing comes after a release that was not answered:
     * belief had not ended when that was sent. */
    return value != 0 || again ? STILE_OK : STILE_LOST;
}

stile_status stile__redis_extend(stile_lock *lock, const stile_hold *hold, int64_t add_ms)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    struct id_text op;
    struct number add, most;
    struct redis_slice args[3];
    struct answer_int answer = {
        .exchange = {.call = {&stile__script_lock_extend, object->keys, 2, args, 3},
                     .patience = REDIS_PATIENT,
                     .take = stile__redis_take_value}};
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
    args[0] = id_slice(&op, hold->id);
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

stile_status stile__redis_check(stile_lock *lock, const stile_hold *hold, int64_t *valid_ms)
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

struct renewal {
    struct id_text op;
    struct number lease;
    struct redis_slice keys[2];
    struct redis_slice args[3];
};

static struct redis_call renewal_call(struct renewal *renewal, const struct redis_object *object,
                                      const uint64_t id[2], int64_t lease_ms, bool claim)
{
    struct redis_call call = {&stile__script_lock_renew, renewal->keys, 2, renewal->args, 3};

    renewal->keys[0] = object->keys[REDIS_LOCK];
    renewal->keys[1] = object->keys[REDIS_FENCE];
    renewal->args[0] = id_slice(&renewal->op, id);
    renewal->args[1] = number_slice(&renewal->lease, lease_ms);
    renewal->args[2] = slice_of(claim ? "1" : "0", 1);
    return call;
}

stile_status stile__redis_renew_id(struct redis_object *object, const uint64_t id[2],
                                   int64_t lease_ms, bool claim, int64_t *valid_until_ns)
{
    struct redis_space *space = object->space;
    struct renewal renewal;
    struct answer_int answer = {
        .exchange = {.call = renewal_call(&renewal, object, id, lease_ms, claim),
                     .patience = REDIS_PATIENT,
                     .repeatable = true,
                     .take = stile__redis_take_value}};
    stile_status status = stile__line_exchange(&space->line, &answer.exchange,
                                               stile__redis_command_until(space, INT64_MAX));

    if (status == STILE_TIMEOUT)
        return stile__fail(STILE_UNREACHABLE, "%s is too slow", space->base.settings.shown);
    /* What stands there instead is not this hold. */
    if (status == STILE_WRONG_KIND || (status == STILE_OK && answer.value <= 0))
        return STILE_LOST;
    if (status == STILE_OK)
        *valid_until_ns = stile__redis_belief(answer.exchange.sent_ns, answer.value);
    return status;
}

struct renewals {
    struct stile_renewal *due;
    struct redis_call calls[STILE_RENEW_MAX];
    struct renewal of[STILE_RENEW_MAX];
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

    for (i = 0; i < count; i++)
        batch.calls[i] =
            renewal_call(&batch.of[i], due[i].object, due[i].id, due[i].lease_ms, due[i].claim);
    stile__line_batch(&space->line, batch.calls, count,
                      stile__redis_command_until(space, INT64_MAX), take_renewal, &batch);
}
