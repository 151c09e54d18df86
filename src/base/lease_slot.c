#include "base/lease_slot.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/watch.h"

/* Under the mutex. */
static void free_slot(struct stile_leases *leases, uint32_t slot)
{
    slot_at(leases, slot)->next_free = 0;
    if (leases->free_last == 0)
        leases->free_first = slot;
    else
        slot_at(leases, leases->free_last)->next_free = slot;
    leases->free_last = slot;
}

/* Adds slots, under the mutex.  False: memory is out. */
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
        atomic_init(&base[slot].word, word_of(1, LEASE_FREE));
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

stile_status stile__lease_reserve(struct stile_leases *leases, uint32_t *slot)
{
    stile_status status = stile__leases_start(leases);

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

bool stile__lease_become(struct stile_lease *lease, enum lease_state state)
{
    uint64_t word = atomic_load_explicit(&lease->word, memory_order_relaxed);

    /* Somebody may note a loss at the same time. */
    do {
        if ((word & 3) == LEASE_LOST)
            state = LEASE_LOST;
        /* Release: who sees HELD sees its valid_until. */
    } while (!os_cas(&lease->word, &word, (word & ~UINT64_C(3)) | (uint64_t)state,
                     memory_order_release));
    stile__watches_tell(&lease->watches, (stile_hold_state)state);
    return (word & 3) != LEASE_LOST;
}

void stile__lease_believe(struct stile_lease *lease, int64_t valid_until_ns)
{
    if (valid_until_ns > lease->terms.max_until_ns)
        valid_until_ns = lease->terms.max_until_ns;
    if (valid_until_ns > atomic_load_explicit(&lease->valid_until_ns, memory_order_relaxed))
        os_store(&lease->valid_until_ns, valid_until_ns, memory_order_release);
}

uint32_t stile__lease_next_generation(struct stile_leases *leases, struct stile_lease *lease,
                                      stile_hold_state end, enum lease_state state)
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

void *stile__lease_retire(struct stile_leases *leases, struct stile_lease *lease,
                          stile_hold_state end)
{
    void *object = lease->terms.object;

    stile__lease_unschedule(leases, lease);
    lease->terms.object = NULL;
    stile__lease_next_generation(leases, lease, end, LEASE_FREE);
    free_slot(leases, lease->slot);
    return object;
}
