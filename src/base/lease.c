#include "base/lease_slot.h"

#include <string.h>

#include "base/watch.h"

/* A grant is claimed after this part of the time it is believed in. */
#define CLAIM_PART 50

void stile__lease_arm(struct stile_leases *leases, const struct stile_lease_terms *terms,
                      stile_hold *hold)
{
    struct stile_lease *lease = slot_at(leases, hold->slot);
    int64_t now = stile__boottime_ns();
    int64_t valid = terms->valid_until_ns;
    bool sooner;

    if (valid > terms->max_until_ns)
        valid = terms->max_until_ns;
    leases->ops->retain(leases->backend, terms->object);
    stile__mutex_lock(&leases->mutex);
    hold->generation = (uint32_t)(atomic_load_explicit(&lease->word, memory_order_relaxed) >> 2);
    lease->terms = *terms;
    lease->lingers = false;
    os_store(&lease->valid_until_ns, valid, memory_order_relaxed);
    /* Most holds of a lock that others wait for are over before a claim is needed. */
    lease->renew_ns =
        terms->claim ? now + (valid - now) / CLAIM_PART : stile__lease_next_renewal(lease, now);
    /* Release, both: who finds them instead of an older hold's sees how that ended. */
    os_store(&lease->fence, terms->fence, memory_order_release);
    os_store(&lease->word, word_of(hold->generation, LEASE_HELD), memory_order_release);
    sooner = stile__lease_schedule(leases, lease);
    stile__mutex_unlock(&leases->mutex);
    if (sooner)
        stile__unpark(leases->parker);
}

/* Under the mutex: the lease that hold shows, and whether it counts; NULL: it has none. */
static struct stile_lease *ask(struct stile_leases *leases, const stile_hold *hold,
                               stile_status *status)
{
    struct stile_lease *lease = shown_lease(leases, hold);

    if (lease == NULL)
        *status = STILE_NOT_HELD;
    else
        *status = counts(lease, stile__boottime_ns()) ? STILE_OK : STILE_LOST;
    return lease;
}

/* Under the mutex: its owner is done with it, and nobody has it until keep_until. */
static bool linger(struct stile_leases *leases, struct stile_lease *lease)
{
    lease->lingers = true;
    lease->renew_ns = INT64_MAX;
    os_store(&lease->valid_until_ns, lease->terms.keep_until_ns, memory_order_relaxed);
    stile__lease_next_generation(leases, lease, STILE_RELEASED, LEASE_HELD);
    return stile__lease_schedule(leases, lease);
}

static stile_status end_lease(struct stile_leases *leases, const stile_hold *hold, bool may_linger,
                              struct stile_lease_terms *terms)
{
    stile_status status = STILE_NOT_HELD;
    struct stile_lease *lease;
    void *object = NULL;
    bool sooner = false;

    stile__mutex_lock(&leases->mutex);
    lease = shown_lease(leases, hold);
    if (lease != NULL) {
        int64_t now = stile__boottime_ns();

        status = counts(lease, now) ? STILE_OK : STILE_LOST;
        *terms = lease->terms;
        if (terms->keep_until_ns <= now)
            terms->keep_until_ns = 0;
        if (may_linger && status == STILE_OK && terms->keep_until_ns != 0)
            sooner = linger(leases, lease);
        else
            object = stile__lease_retire(leases, lease,
                                         status == STILE_OK ? STILE_RELEASED : STILE_HOLD_LOST);
    }
    stile__mutex_unlock(&leases->mutex);
    if (sooner)
        stile__unpark(leases->parker);
    if (object != NULL)
        leases->ops->drop(leases->backend, object);
    return status;
}

stile_status stile__lease_end(struct stile_leases *leases, const stile_hold *hold,
                              struct stile_lease_terms *terms)
{
    return end_lease(leases, hold, false, terms);
}

stile_status stile__lease_linger(struct stile_leases *leases, const stile_hold *hold,
                                 struct stile_lease_terms *terms)
{
    return end_lease(leases, hold, true, terms);
}

stile_status stile__lease_rename(struct stile_leases *leases, const stile_hold *hold,
                                 uint64_t fence, stile_hold *renamed)
{
    struct stile_lease *lease;
    stile_status status;

    stile__mutex_lock(&leases->mutex);
    lease = ask(leases, hold, &status);
    if (status == STILE_OK) {
        lease->lingers = true;
        lease->renew_ns = INT64_MAX;
        lease->terms.fence = fence;
        lease->terms.thread = 0;
        os_store(&lease->fence, fence, memory_order_release);
        *renamed = *hold;
        renamed->fence = fence;
        renamed->generation =
            stile__lease_next_generation(leases, lease, STILE_RELEASED, LEASE_HELD);
        stile__lease_schedule(leases, lease);
    }
    stile__mutex_unlock(&leases->mutex);
    return status;
}

/* ---- what is asked ------------------------------------------------------------------ */

/* Lock-free: the state of the hold's lease, and its belief if that is not over.  False:
 * the slot is another's. */
static bool look(struct stile_leases *leases, const stile_hold *hold, enum lease_state *state,
                 int64_t *valid_until_ns)
{
    struct stile_lease *lease = lease_of(leases, hold);
    uint64_t word;

    if (lease == NULL)
        return false;
    word = os_load(&lease->word, memory_order_acquire);
    for (;;) {
        uint64_t again;

        *valid_until_ns = os_load(&lease->valid_until_ns, memory_order_acquire);
        if (os_load(&lease->fence, memory_order_acquire) != hold->fence)
            return false;
        /* The slot may have gone to another hold between the two reads. */
        again = os_load(&lease->word, memory_order_acquire);
        if (again >> 2 != hold->generation || (again & 3) == LEASE_FREE)
            return false;
        *state = (enum lease_state)(word & 3);
        if (*state == LEASE_LOST || stile__boottime_ns() < *valid_until_ns)
            return true;
        /* Told to somebody, it must stay so. */
        os_cas(&lease->word, &word, word | LEASE_LOST, memory_order_relaxed);
        word = os_load(&lease->word, memory_order_acquire);
    }
}

stile_status stile__lease_state(struct stile_leases *leases, const stile_hold *hold,
                                int64_t *valid_until_ns)
{
    enum lease_state state;
    int64_t valid;

    if (!look(leases, hold, &state, &valid))
        return STILE_NOT_HELD;
    if (state == LEASE_LOST)
        return STILE_LOST;
    *valid_until_ns = valid;
    return STILE_OK;
}

bool stile__lease_look(struct stile_leases *leases, const stile_hold *hold, stile_hold_state *state)
{
    enum lease_state found;
    int64_t valid;

    if (!look(leases, hold, &found, &valid))
        return false;
    *state = (stile_hold_state)found;
    return true;
}

stile_status stile__lease_watch(struct stile_leases *leases, const stile_hold *hold,
                                struct stile_watch *watch)
{
    stile_status status = stile__leases_start_clock(leases);
    struct stile_lease *lease;

    if (status != STILE_OK)
        return status;
    stile__mutex_lock(&leases->mutex);
    lease = shown_lease(leases, hold);
    if (lease != NULL) {
        watch->mutex = &leases->mutex;
        watch->leases = leases;
        watch->hold = *hold;
        if (!counts(lease, stile__boottime_ns()))
            stile__lease_become(lease, LEASE_LOST);
        stile__watch_attach(watch, &lease->watches, (stile_hold_state)state_of(lease));
        if (state_of(lease) != LEASE_LOST)
            stile__lease_schedule_end(leases, lease);
    }
    stile__mutex_unlock(&leases->mutex);
    stile__unpark(leases->clock_parker);
    return lease != NULL ? STILE_OK : STILE_NOT_HELD;
}

bool stile__lease_own(struct stile_leases *leases, uint32_t slot, const void *object,
                      uint64_t id[2])
{
    struct stile_lease *lease = slot == 0 ? NULL : slot_at(leases, slot);
    bool own = false;

    if (lease == NULL)
        return false;
    stile__mutex_lock(&leases->mutex);
    /* A slot that is FREE has no object. */
    own = lease->terms.object == object && lease->terms.thread == stile__thread_number() &&
          lease->terms.renewed && lease->terms.max_until_ns == INT64_MAX &&
          counts(lease, stile__boottime_ns());
    memcpy(id, lease->terms.id, sizeof lease->terms.id);
    stile__mutex_unlock(&leases->mutex);
    return own;
}

stile_status stile__lease_bound(struct stile_leases *leases, const stile_hold *hold,
                                int64_t *valid_until_ns, int64_t *max_until_ns)
{
    struct stile_lease *lease;
    stile_status status;

    stile__mutex_lock(&leases->mutex);
    lease = ask(leases, hold, &status);
    if (lease != NULL) {
        *valid_until_ns = atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed);
        *max_until_ns = lease->terms.max_until_ns;
    }
    stile__mutex_unlock(&leases->mutex);
    return status;
}

/* ---- terms that change -------------------------------------------------------------- */

stile_status stile__lease_hand_over(struct stile_leases *leases, const stile_hold *hold)
{
    struct stile_lease *lease;
    stile_status status;

    stile__mutex_lock(&leases->mutex);
    lease = ask(leases, hold, &status);
    if (lease != NULL)
        lease->terms.thread = 0;
    stile__mutex_unlock(&leases->mutex);
    return status;
}

stile_status stile__lease_prolong(struct stile_leases *leases, const stile_hold *hold,
                                  int64_t valid_until_ns)
{
    struct stile_lease *lease;
    stile_status status;

    stile__mutex_lock(&leases->mutex);
    lease = ask(leases, hold, &status);
    /* Whoever saw the end before it was moved has noted it. */
    if (status == STILE_OK) {
        stile__lease_believe(lease, valid_until_ns);
        if (!stile__lease_become(lease, state_of(lease)))
            status = STILE_LOST;
        stile__lease_schedule(leases, lease);
    }
    stile__mutex_unlock(&leases->mutex);
    return status;
}

void stile__lease_copies(struct stile_leases *leases, const stile_hold *hold,
                         int64_t copies_until_ns)
{
    struct stile_lease *lease;

    stile__mutex_lock(&leases->mutex);
    lease = shown_lease(leases, hold);
    if (lease != NULL)
        lease->terms.copies_until_ns = copies_until_ns;
    stile__mutex_unlock(&leases->mutex);
}

void stile__lease_lost(struct stile_leases *leases, const stile_hold *hold)
{
    struct stile_lease *lease;
    bool sooner = false;

    stile__mutex_lock(&leases->mutex);
    lease = shown_lease(leases, hold);
    if (lease != NULL) {
        stile__lease_become(lease, LEASE_LOST);
        stile__lease_unschedule(leases, lease);
        /* The thread frees what has no owner. */
        if (lease->lingers) {
            lease->renew_ns = INT64_MIN;
            sooner = stile__lease_schedule(leases, lease);
        }
    }
    stile__mutex_unlock(&leases->mutex);
    if (sooner)
        stile__unpark(leases->parker);
}
