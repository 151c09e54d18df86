#include "base/lease_slot.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* ---- when a lease is due ------------------------------------------------------------ */

int64_t stile__lease_next_renewal(const struct stile_lease *lease, int64_t now)
{
    const struct stile_lease_terms *terms = &lease->terms;
    int64_t valid = atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed);

    if (!terms->renewed)
        return INT64_MAX;
    /* What is left to the bound is what belief falls short of a lease by. */
    if (terms->max_until_ns != INT64_MAX && valid >= terms->max_until_ns -
                                                         terms->lease_ms * STILE_NS_PER_MS / 100 -
                                                         3 * STILE_NS_PER_MS)
        return INT64_MAX;
    return now + terms->lease_ms * STILE_NS_PER_MS / 3;
}

void stile__lease_schedule_end(struct stile_leases *leases, struct stile_lease *lease)
{
    int64_t valid = atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed);

    stile__timer_clear(&leases->ends, &lease->end);
    if (leases->clocked && !list_empty(&lease->watches) && valid != INT64_MAX)
        stile__timer_set(&leases->ends, &lease->end, valid);
}

bool stile__lease_schedule(struct stile_leases *leases, struct stile_lease *lease)
{
    int64_t valid = atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed);
    int64_t at = lease->renew_ns < valid ? lease->renew_ns : valid;

    stile__timer_clear(&leases->due, &lease->due);
    if (at != INT64_MAX)
        stile__timer_set(&leases->due, &lease->due, at);
    stile__lease_schedule_end(leases, lease);
    return at < leases->look_ns;
}

void stile__lease_unschedule(struct stile_leases *leases, struct stile_lease *lease)
{
    stile__timer_clear(&leases->due, &lease->due);
    stile__timer_clear(&leases->ends, &lease->end);
}

/* ---- the thread that renews and ends ------------------------------------------------ */

static struct stile_renewal renewal_of(const struct stile_lease *lease, int64_t now)
{
    const struct stile_lease_terms *terms = &lease->terms;
    struct stile_renewal due = {.object = terms->object,
                                .fence = terms->fence,
                                .id = {terms->id[0], terms->id[1]},
                                .slot = lease->slot,
                                .lease_ms = terms->lease_ms,
                                .keep_until_ns = terms->keep_until_ns,
                                .claim = terms->claim};

    due.generation = (uint32_t)(atomic_load_explicit(&lease->word, memory_order_relaxed) >> 2);
    if (terms->max_until_ns != INT64_MAX &&
        due.lease_ms > (terms->max_until_ns - now) / STILE_NS_PER_MS)
        due.lease_ms = (terms->max_until_ns - now) / STILE_NS_PER_MS + 1;
    return due;
}

/* Takes what is due off the heap: lost ones first, else renewals.  Each keeps
 * its object alive until it is finished.  Under the mutex. */
static size_t take_due(struct stile_leases *leases, int64_t now, struct stile_renewal *due,
                       size_t room, bool *lost)
{
    struct stile_timer *first;
    size_t count = 0;

    while (count < room && (first = leases->due.first) != NULL) {
        struct stile_lease *lease = STILE_OF(first, struct stile_lease, due);
        bool over = !counts(lease, now);

        if (first->at_ns > now || (count > 0 && over != *lost))
            break;
        *lost = over;
        due[count] = renewal_of(lease, now);
        count++;
        /* One that lingers has no owner who would free it: its object is handed on. */
        if (lease->lingers) {
            stile__lease_retire(leases, lease, STILE_HOLD_LOST);
            continue;
        }
        leases->ops->retain(leases->backend, due[count - 1].object);
        stile__lease_unschedule(leases, lease);
        if (over)
            stile__lease_become(lease, LEASE_LOST);
        else
            stile__lease_schedule_end(leases, lease);
    }
    return count;
}

/* Notes what became of a renewal.  Returns whether the hold turned out lost. */
static bool finish(struct stile_leases *leases, const struct stile_renewal *due)
{
    stile_hold hold = {.slot = due->slot, .generation = due->generation};
    struct stile_lease *lease;
    bool lost = false;

    stile__mutex_lock(&leases->mutex);
    lease = lease_of(leases, &hold);
    /* Released meanwhile: a late answer changes nothing. */
    if (lease != NULL) {
        int64_t now = stile__boottime_ns();

        if (due->status == STILE_LOST || !counts(lease, now)) {
            stile__lease_become(lease, LEASE_LOST);
            lost = true;
        } else if (due->status == STILE_OK) {
            lease->terms.claim = false;
            stile__lease_believe(lease, due->valid_until_ns);
            lost = !stile__lease_become(lease, LEASE_HELD);
            lease->renew_ns = stile__lease_next_renewal(lease, now);
        } else {
            int64_t pause = lease->terms.lease_ms * STILE_NS_PER_MS / 20;

            lost = !stile__lease_become(lease, LEASE_SUSPECT);
            lease->renew_ns =
                now + (pause < 1000 * STILE_NS_PER_MS ? pause : 1000 * STILE_NS_PER_MS);
        }
        if (!lost)
            stile__lease_schedule(leases, lease);
    }
    stile__mutex_unlock(&leases->mutex);
    return lost;
}

static void serve(struct stile_leases *leases, struct stile_renewal *due, size_t count, bool lost)
{
    size_t i;

    if (!lost)
        leases->ops->renew(leases->backend, due, count);
    for (i = 0; i < count; i++) {
        if (lost || finish(leases, &due[i]))
            leases->ops->lapse(leases->backend, &due[i]);
        leases->ops->drop(leases->backend, due[i].object);
    }
}

static void run(void *arg)
{
    struct stile_leases *leases = arg;
    struct stile_renewal due[STILE_RENEW_MAX];

    for (;;) {
        int64_t now = stile__boottime_ns(), next = INT64_MAX;
        bool lost = false;
        size_t count;
        bool stop;

        if (leases->ops->chores != NULL)
            next = leases->ops->chores(leases->backend, now);
        stile__mutex_lock(&leases->mutex);
        leases->look_ns = INT64_MIN;
        stop = leases->stop;
        count = stop ? 0 : take_due(leases, stile__boottime_ns(), due, STILE_RENEW_MAX, &lost);
        if (leases->due.first != NULL && leases->due.first->at_ns < next)
            next = leases->due.first->at_ns;
        if (count == 0)
            leases->look_ns = next;
        stile__mutex_unlock(&leases->mutex);
        if (stop)
            return;
        if (count > 0) {
            serve(leases, due, count, lost);
        } else if (next == INT64_MAX) {
            stile__park(leases->parker, INT64_MAX);
        } else {
            int64_t ahead = next - stile__boottime_ns();

            /* Sleeping is measured by the monotonic clock.  It stops in suspend,
             * as this thread does: after it, belief is judged anew. */
            if (ahead > 0)
                stile__park(leases->parker, stile__monotonic_ns() + ahead);
        }
    }
}

/* ---- the clock ---------------------------------------------------------------------- */

/* Ends belief where it is watched, whatever keeps the other thread. */
static void run_clock(void *arg)
{
    struct stile_leases *leases = arg;

    for (;;) {
        int64_t now = stile__boottime_ns(), ahead = -1;
        struct stile_timer *first;
        bool stop;

        stile__mutex_lock(&leases->mutex);
        stop = leases->stop;
        while ((first = leases->ends.first) != NULL && first->at_ns <= now) {
            stile__timer_clear(&leases->ends, first);
            stile__lease_become(STILE_OF(first, struct stile_lease, end), LEASE_LOST);
        }
        if (first != NULL)
            ahead = first->at_ns - now;
        stile__mutex_unlock(&leases->mutex);
        if (stop)
            return;
        stile__park(leases->clock_parker, ahead < 0 ? INT64_MAX : stile__monotonic_ns() + ahead);
    }
}

/* ---- the space's -------------------------------------------------------------------- */

stile_status stile__leases_start(struct stile_leases *leases)
{
    stile_status status = STILE_OK;

    stile__mutex_lock(&leases->mutex);
    if (!leases->started && !leases->stop) {
        status = stile__thread_start(&leases->thread, "stile-lease", run, leases);
        leases->started = status == STILE_OK;
    }
    stile__mutex_unlock(&leases->mutex);
    return status;
}

stile_status stile__leases_start_clock(struct stile_leases *leases)
{
    stile_status status = STILE_OK;

    stile__mutex_lock(&leases->mutex);
    /* Without renewals nothing keeps the one thread from the clock. */
    if (leases->ops->renew != NULL && !leases->clocked && !leases->stop) {
        status = stile__thread_start(&leases->clock, "stile-clock", run_clock, leases);
        leases->clocked = status == STILE_OK;
    }
    stile__mutex_unlock(&leases->mutex);
    return status;
}

static void put_parkers(struct stile_leases *leases)
{
    if (leases->parker != NULL)
        stile__parker_put(leases->parker);
    if (leases->clock_parker != NULL)
        stile__parker_put(leases->clock_parker);
}

stile_status stile__leases_init(struct stile_leases *leases, const struct stile_lease_ops *ops,
                                void *backend)
{
    memset(leases, 0, sizeof *leases);
    leases->ops = ops;
    leases->backend = backend;
    leases->look_ns = INT64_MIN;
    leases->parker = stile__parker_get();
    leases->clock_parker = stile__parker_get();
    if (leases->parker == NULL || leases->clock_parker == NULL) {
        put_parkers(leases);
        return stile__fail(STILE_NO_MEMORY, "no memory for a space's leases");
    }
    stile__mutex_init(&leases->mutex, STILE_RANK_LEASE);
    return STILE_OK;
}

void stile__leases_stop(struct stile_leases *leases)
{
    bool started, clocked;

    stile__mutex_lock(&leases->mutex);
    started = leases->started;
    clocked = leases->clocked;
    leases->stop = true;
    leases->started = false;
    leases->clocked = false;
    stile__mutex_unlock(&leases->mutex);
    if (started) {
        stile__unpark(leases->parker);
        stile__thread_join(&leases->thread);
    }
    if (clocked) {
        stile__unpark(leases->clock_parker);
        stile__thread_join(&leases->clock);
    }
}

void stile__leases_fini(struct stile_leases *leases)
{
    size_t i;

    for (i = 0; i < STILE_LEASE_CHUNKS; i++)
        free(atomic_load_explicit(&leases->chunks[i], memory_order_relaxed));
    stile__mutex_fini(&leases->mutex);
    put_parkers(leases);
}

void stile__leases_poke(struct stile_leases *leases)
{
    stile__unpark(leases->parker);
}
