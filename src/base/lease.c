#include "base/lease.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/watch.h"

/* But for FREE as watches have them. */
enum state { FREE, HELD = STILE_HELD, SUSPECT = STILE_SUSPECT, LOST = STILE_HOLD_LOST };

#define MS INT64_C(1000000)
/* A grant is claimed after this part of the time it is believed in. */
#define CLAIM_PART 50
#define SLOTS_MAX (((uint32_t)STILE_LEASE_FIRST << STILE_LEASE_CHUNKS) - STILE_LEASE_FIRST)

struct stile_lease {
    /* generation << 2 | state.  Written under the table's mutex, but that anybody may
     * note what the clock says: LOST. */
    _Atomic uint64_t word;
    _Atomic int64_t valid_until_ns;
    _Atomic uint64_t fence; /* of the hold, as in terms */
    /* Under the table's mutex. */
    struct stile_lease_terms terms;
    int64_t renew_ns;       /* when a renewal is due; INT64_MAX: never */
    struct stile_timer due; /* at the earlier of renewal and end of belief */
    struct stile_timer end; /* at the end of belief, if it is watched */
    struct stile_link watches;
    bool lingers; /* it has no owner: freed when it lapses */
    uint32_t slot;
    uint32_t next_free;
};

static uint64_t word_of(uint32_t generation, enum state state)
{
    return (uint64_t)generation << 2 | (uint64_t)state;
}

static struct stile_lease *slot_at(struct stile_leases *leases, uint32_t slot)
{
    uint32_t past = slot + STILE_LEASE_FIRST;
    uint32_t chunk = 0;
    struct stile_lease *base;

    /* A hold may be any bytes. */
    if (slot >= SLOTS_MAX)
        return NULL;
    /* Chunk k begins at slot FIRST * (2^k - 1). */
    while (past >> (chunk + 1) >= STILE_LEASE_FIRST)
        chunk++;
    /* Acquire: pairs with the release that published the chunk. */
    base = os_load(&leases->chunks[chunk], memory_order_acquire);
    return base == NULL ? NULL : base + (past - ((uint32_t)STILE_LEASE_FIRST << chunk));
}

/* ---- slots, under the mutex -------------------------------------------------- */

static void free_slot(struct stile_leases *leases, uint32_t slot)
{
    slot_at(leases, slot)->next_free = 0;
    if (leases->free_last == 0)
        leases->free_first = slot;
    else
        slot_at(leases, leases->free_last)->next_free = slot;
    leases->free_last = slot;
}

static bool grow(struct stile_leases *leases)
{
    uint32_t chunk = 0, count, slot;
    struct stile_lease *base;

    while (chunk < STILE_LEASE_CHUNKS &&
           atomic_load_explicit(&leases->chunks[chunk], memory_order_relaxed) != NULL)
        chunk++;
    if (chunk == STILE_LEASE_CHUNKS)
        return false;
    count = (uint32_t)STILE_LEASE_FIRST << chunk;
    base = calloc(count, sizeof *base);
    if (base == NULL)
        return false;
    for (slot = 0; slot < count; slot++) {
        atomic_init(&base[slot].word, word_of(1, FREE));
        atomic_init(&base[slot].valid_until_ns, INT64_MIN);
        atomic_init(&base[slot].fence, 0);
        stile__timer_init(&base[slot].due);
        stile__timer_init(&base[slot].end);
        list_init(&base[slot].watches);
        base[slot].slot = leases->slots + slot;
    }
    os_store(&leases->chunks[chunk], base, memory_order_release);
    /* Slot 0 stands for a hold without a lease. */
    for (slot = leases->slots == 0 ? 1 : leases->slots; slot < leases->slots + count; slot++)
        free_slot(leases, slot);
    leases->slots += count;
    return true;
}

/* When a lease that was renewed at now is renewed next. */
static int64_t next_renewal(const struct stile_lease *lease, int64_t now)
{
    const struct stile_lease_terms *terms = &lease->terms;
    int64_t valid = atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed);

    if (!terms->renewed)
        return INT64_MAX;
    /* What is left to the bound is what belief falls short of a lease by. */
    if (terms->max_until_ns != INT64_MAX &&
        valid >= terms->max_until_ns - terms->lease_ms * MS / 100 - 3 * MS)
        return INT64_MAX;
    return now + terms->lease_ms * MS / 3;
}

static void schedule_end(struct stile_leases *leases, struct stile_lease *lease)
{
    int64_t valid = atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed);

    stile__timer_clear(&leases->ends, &lease->end);
    if (leases->clocked && !list_empty(&lease->watches) && valid != INT64_MAX)
        stile__timer_set(&leases->ends, &lease->end, valid);
}

/* Returns whether it is due before the thread will look. */
static bool schedule(struct stile_leases *leases, struct stile_lease *lease)
{
    int64_t valid = atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed);
    int64_t at = lease->renew_ns < valid ? lease->renew_ns : valid;

    stile__timer_clear(&leases->due, &lease->due);
    if (at != INT64_MAX)
        stile__timer_set(&leases->due, &lease->due, at);
    schedule_end(leases, lease);
    return at < leases->look_ns;
}

/* It is due for nothing any more. */
static void unschedule(struct stile_leases *leases, struct stile_lease *lease)
{
    stile__timer_clear(&leases->due, &lease->due);
    stile__timer_clear(&leases->ends, &lease->end);
}

/* The lease that hold names, if it is that generation; else NULL. */
static struct stile_lease *lease_of(struct stile_leases *leases, const stile_hold *hold)
{
    struct stile_lease *lease = hold->slot == 0 ? NULL : slot_at(leases, hold->slot);
    uint64_t word;

    if (lease == NULL)
        return NULL;
    word = os_load(&lease->word, memory_order_acquire);
    if (word >> 2 != hold->generation || (word & 3) == FREE)
        return NULL;
    return lease;
}

/* The same, for a hold that its owner shows, which may be any bytes.  Under the mutex. */
static struct stile_lease *shown_lease(struct stile_leases *leases, const stile_hold *hold)
{
    struct stile_lease *lease = lease_of(leases, hold);

    if (lease == NULL || lease->terms.fence != hold->fence || lease->terms.id[0] != hold->id[0] ||
        lease->terms.id[1] != hold->id[1])
        return NULL;
    return lease;
}

/* Notes a state and tells the watches.  False: it was lost before, and stays so. */
static bool become(struct stile_lease *lease, enum state state)
{
    uint64_t word = atomic_load_explicit(&lease->word, memory_order_relaxed);

    /* Somebody may note a loss at the same time. */
    do {
        if ((word & 3) == LOST)
            state = LOST;
        /* Release: who sees HELD sees its valid_until. */
    } while (!os_cas(&lease->word, &word, (word & ~UINT64_C(3)) | (uint64_t)state,
                     memory_order_release));
    stile__watches_tell(&lease->watches, (stile_hold_state)state);
    return (word & 3) != LOST;
}

static enum state state_of(struct stile_lease *lease)
{
    return (enum state)(atomic_load_explicit(&lease->word, memory_order_relaxed) & 3);
}

/* Whether it counts at now. */
static bool counts(struct stile_lease *lease, int64_t now)
{
    return state_of(lease) != LOST &&
           now < atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed);
}

/* ---- what backends call -------------------------------------------------------- */

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

void stile__leases_fini(struct stile_leases *leases)
{
    size_t i;

    for (i = 0; i < STILE_LEASE_CHUNKS; i++)
        free(atomic_load_explicit(&leases->chunks[i], memory_order_relaxed));
    stile__mutex_fini(&leases->mutex);
    put_parkers(leases);
}

static void run(void *arg);
static void run_clock(void *arg);

static stile_status start_thread(struct stile_leases *leases)
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

static stile_status start_clock(struct stile_leases *leases)
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

stile_status stile__lease_reserve(struct stile_leases *leases, uint32_t *slot)
{
    stile_status status = start_thread(leases);

    if (status != STILE_OK)
        return status;
    stile__mutex_lock(&leases->mutex);
    if (leases->free_first == 0 && !grow(leases)) {
        status = STILE_NO_MEMORY;
    } else {
        *slot = leases->free_first;
        leases->free_first = slot_at(leases, *slot)->next_free;
        if (leases->free_first == 0)
            leases->free_last = 0;
    }
    stile__mutex_unlock(&leases->mutex);
    if (status != STILE_OK)
        return stile__fail(status, "no memory for one more lease");
    return STILE_OK;
}

void stile__lease_unreserve(struct stile_leases *leases, uint32_t slot)
{
    if (slot == 0)
        return;
    stile__mutex_lock(&leases->mutex);
    free_slot(leases, slot);
    stile__mutex_unlock(&leases->mutex);
}

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
    lease->renew_ns = terms->claim ? now + (valid - now) / CLAIM_PART : next_renewal(lease, now);
    /* Release, both: who finds them instead of an older hold's sees how that ended. */
    os_store(&lease->fence, terms->fence, memory_order_release);
    os_store(&lease->word, word_of(hold->generation, HELD), memory_order_release);
    sooner = schedule(leases, lease);
    stile__mutex_unlock(&leases->mutex);
    if (sooner)
        stile__unpark(leases->parker);
}

/* Under the mutex: no more of this generation; the next one is in that state. */
static uint32_t next_generation(struct stile_leases *leases, struct stile_lease *lease,
                                stile_hold_state end, enum state state)
{
    uint32_t generation =
        (uint32_t)(atomic_load_explicit(&lease->word, memory_order_relaxed) >> 2) + 1;

    if (generation == 0)
        generation = 1;
    /* Before the slot says that it is another's: see stile__lease_look. */
    stile__watches_end(&lease->watches, end);
    stile__timer_clear(&leases->ends, &lease->end);
    os_store(&lease->word, word_of(generation, state), memory_order_release);
    return generation;
}

/* Under the mutex: it ends in this way.  The caller drops the object. */
static void *retire(struct stile_leases *leases, struct stile_lease *lease, stile_hold_state end)
{
    void *object = lease->terms.object;

    unschedule(leases, lease);
    lease->terms.object = NULL;
    next_generation(leases, lease, end, FREE);
    free_slot(leases, lease->slot);
    return object;
}

/* Under the mutex: its owner is done with it, and nobody has it until keep_until. */
static bool linger(struct stile_leases *leases, struct stile_lease *lease)
{
    lease->lingers = true;
    lease->renew_ns = INT64_MAX;
    os_store(&lease->valid_until_ns, lease->terms.keep_until_ns, memory_order_relaxed);
    next_generation(leases, lease, STILE_RELEASED, HELD);
    return schedule(leases, lease);
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
            object = retire(leases, lease, status == STILE_OK ? STILE_RELEASED : STILE_HOLD_LOST);
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
    stile_status status = STILE_NOT_HELD;
    struct stile_lease *lease;

    stile__mutex_lock(&leases->mutex);
    lease = shown_lease(leases, hold);
    if (lease != NULL && counts(lease, stile__boottime_ns())) {
        status = STILE_OK;
        lease->lingers = true;
        lease->renew_ns = INT64_MAX;
        lease->terms.fence = fence;
        lease->terms.thread = 0;
        os_store(&lease->fence, fence, memory_order_release);
        *renamed = *hold;
        renamed->fence = fence;
        renamed->generation = next_generation(leases, lease, STILE_RELEASED, HELD);
        schedule(leases, lease);
    } else if (lease != NULL) {
        status = STILE_LOST;
    }
    stile__mutex_unlock(&leases->mutex);
    return status;
}

/* Lock-free: the state of the hold's lease, and its belief if that is not over.  False:
 * the slot is another's. */
static bool look(struct stile_leases *leases, const stile_hold *hold, enum state *state,
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
        if (again >> 2 != hold->generation || (again & 3) == FREE)
            return false;
        *state = (enum state)(word & 3);
        if (*state == LOST || stile__boottime_ns() < *valid_until_ns)
            return true;
        /* Told to somebody, it must stay so. */
        os_cas(&lease->word, &word, word | LOST, memory_order_relaxed);
        word = os_load(&lease->word, memory_order_acquire);
    }
}

stile_status stile__lease_state(struct stile_leases *leases, const stile_hold *hold,
                                int64_t *valid_until_ns)
{
    enum state state;
    int64_t valid;

    if (!look(leases, hold, &state, &valid))
        return STILE_NOT_HELD;
    if (state == LOST)
        return STILE_LOST;
    *valid_until_ns = valid;
    return STILE_OK;
}

bool stile__lease_look(struct stile_leases *leases, const stile_hold *hold, stile_hold_state *state)
{
    enum state found;
    int64_t valid;

    if (!look(leases, hold, &found, &valid))
        return false;
    *state = (stile_hold_state)found;
    return true;
}

/* ---- watches --------------------------------------------------------------------- */

stile_status stile__lease_watch(struct stile_leases *leases, const stile_hold *hold,
                                struct stile_watch *watch)
{
    stile_status status = start_clock(leases);
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
            become(lease, LOST);
        stile__watch_attach(watch, &lease->watches, (stile_hold_state)state_of(lease));
        if (state_of(lease) != LOST)
            schedule_end(leases, lease);
    }
    stile__mutex_unlock(&leases->mutex);
    stile__unpark(leases->clock_parker);
    return lease != NULL ? STILE_OK : STILE_NOT_HELD;
}

stile_status stile__lease_hand_over(struct stile_leases *leases, const stile_hold *hold)
{
    stile_status status = STILE_NOT_HELD;
    struct stile_lease *lease;

    stile__mutex_lock(&leases->mutex);
    lease = shown_lease(leases, hold);
    if (lease != NULL) {
        status = counts(lease, stile__boottime_ns()) ? STILE_OK : STILE_LOST;
        lease->terms.thread = 0;
    }
    stile__mutex_unlock(&leases->mutex);
    return status;
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

/* ---- terms that change ------------------------------------------------------------- */

stile_status stile__lease_bound(struct stile_leases *leases, const stile_hold *hold,
                                int64_t *valid_until_ns, int64_t *max_until_ns)
{
    stile_status status = STILE_NOT_HELD;
    struct stile_lease *lease;

    stile__mutex_lock(&leases->mutex);
    lease = shown_lease(leases, hold);
    if (lease != NULL) {
        status = counts(lease, stile__boottime_ns()) ? STILE_OK : STILE_LOST;
        *valid_until_ns = atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed);
        *max_until_ns = lease->terms.max_until_ns;
    }
    stile__mutex_unlock(&leases->mutex);
    return status;
}

/* Under the mutex.  A renewal never takes back what an extension gave. */
static void prolong(struct stile_lease *lease, int64_t valid_until_ns)
{
    if (valid_until_ns > lease->terms.max_until_ns)
        valid_until_ns = lease->terms.max_until_ns;
    if (valid_until_ns > atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed))
        os_store(&lease->valid_until_ns, valid_until_ns, memory_order_release);
}

stile_status stile__lease_prolong(struct stile_leases *leases, const stile_hold *hold,
                                  int64_t valid_until_ns)
{
    stile_status status = STILE_NOT_HELD;
    struct stile_lease *lease;

    stile__mutex_lock(&leases->mutex);
    lease = shown_lease(leases, hold);
    if (lease != NULL) {
        status = STILE_LOST;
        /* Whoever saw the end before it was moved has noted it. */
        if (counts(lease, stile__boottime_ns())) {
            prolong(lease, valid_until_ns);
            if (become(lease, state_of(lease)))
                status = STILE_OK;
            schedule(leases, lease);
        }
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
        become(lease, LOST);
        unschedule(leases, lease);
        /* The thread frees what has no owner. */
        if (lease->lingers) {
            lease->renew_ns = INT64_MIN;
            sooner = schedule(leases, lease);
        }
    }
    stile__mutex_unlock(&leases->mutex);
    if (sooner)
        stile__unpark(leases->parker);
}

/* ---- the thread ------------------------------------------------------------------ */

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
    if (terms->max_until_ns != INT64_MAX && due.lease_ms > (terms->max_until_ns - now) / MS)
        due.lease_ms = (terms->max_until_ns - now) / MS + 1;
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
            retire(leases, lease, STILE_HOLD_LOST);
            continue;
        }
        leases->ops->retain(leases->backend, due[count - 1].object);
        unschedule(leases, lease);
        if (over)
            become(lease, LOST);
        else
            schedule_end(leases, lease);
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
            become(lease, LOST);
            lost = true;
        } else if (due->status == STILE_OK) {
            lease->terms.claim = false;
            prolong(lease, due->valid_until_ns);
            lost = !become(lease, HELD);
            lease->renew_ns = next_renewal(lease, now);
        } else {
            int64_t pause = lease->terms.lease_ms * MS / 20;

            lost = !become(lease, SUSPECT);
            lease->renew_ns = now + (pause < 1000 * MS ? pause : 1000 * MS);
        }
        if (!lost)
            schedule(leases, lease);
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
            become(STILE_OF(first, struct stile_lease, end), LOST);
        }
        if (first != NULL)
            ahead = first->at_ns - now;
        stile__mutex_unlock(&leases->mutex);
        if (stop)
            return;
        stile__park(leases->clock_parker, ahead < 0 ? INT64_MAX : stile__monotonic_ns() + ahead);
    }
}

void stile__leases_poke(struct stile_leases *leases)
{
    stile__unpark(leases->parker);
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
