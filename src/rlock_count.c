#include "rlock_count.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* ---- states ------------------------------------------------------------------------- */

struct stile_named *stile__rlock_make(void)
{
    static _Atomic uint64_t last;
    struct stile_rlock_state *state = calloc(1, sizeof *state);

    if (state == NULL)
        return NULL;
    state->serial = os_add(&last, 1, memory_order_relaxed) + 1;
    stile__mutex_init(&state->mutex, STILE_RANK_OBJECT);
    atomic_init(&state->word, NULL);
    atomic_init(&state->leased, 0);
    atomic_init(&state->revocations, 0);
    return &state->named;
}

bool stile__rlock_busy(struct stile_named *named)
{
    struct stile_rlock_state *state = state_of_named(named);
    const struct stile_lock_word *word = os_load(&state->word, memory_order_relaxed);

    return os_load(&state->leased, memory_order_relaxed) > 0 ||
           (word != NULL && (os_load(&word->word, memory_order_relaxed) & STILE_WORD_HELD));
}

static void free_list(struct stile_rlock_count *count)
{
    while (count != NULL) {
        struct stile_rlock_count *next = count->next;

        free(count);
        count = next;
    }
}

void stile__rlock_destroy(struct stile_named *named)
{
    struct stile_rlock_state *state = state_of_named(named);

    free_list(state->numbered);
    stile__mutex_fini(&state->mutex);
    free(state);
}

/* ---- counts ------------------------------------------------------------------------- */

static void free_kept(void *kept)
{
    struct stile_rlock_counts *counts = kept;

    free_list(counts->held);
    free_list(counts->idle);
    free(counts);
}

static struct stile_rlock_count *new_count(void)
{
    struct stile_rlock_count *count =
        aligned_alloc(_Alignof(struct stile_rlock_count), sizeof *count);

    if (count != NULL)
        memset(count, 0, sizeof *count);
    return count;
}

/* What the thread keeps, made if it is not there yet; NULL when memory is out. */
static struct stile_rlock_counts *counts_of_thread(void)
{
    struct stile_rlock_counts *counts = *os_kept();

    if (counts != NULL)
        return counts;
    counts = calloc(1, sizeof *counts);
    if (counts != NULL && stile__keep(counts, free_kept) != STILE_OK) {
        free(counts);
        counts = NULL;
    }
    return counts;
}

static stile_status no_memory(void)
{
    return stile__fail(STILE_NO_MEMORY, "no memory to count how deep a lock is held");
}

stile_status stile__rlock_provide_idle(void)
{
    struct stile_rlock_counts *counts = counts_of_thread();

    if (counts == NULL)
        return no_memory();
    if (counts->idle == NULL)
        counts->idle = new_count();
    return counts->idle == NULL ? no_memory() : STILE_OK;
}

static void unlink_count(struct stile_rlock_count **at, struct stile_rlock_count *count)
{
    while (*at != count)
        at = &(*at)->next;
    *at = count->next;
}

void stile__rlock_end(struct stile_rlock_state *state, struct stile_rlock_count *count)
{
    struct stile_rlock_counts *counts = *os_kept();

    if (count->slot != 0)
        os_sub(&state->leased, 1, memory_order_relaxed);
    if (count->owner == 0) {
        unlink_count(&counts->held, count);
        push(&counts->idle, count);
        return;
    }
    stile__mutex_lock(&state->mutex);
    unlink_count(&state->numbered, count);
    stile__mutex_unlock(&state->mutex);
    free(count);
}

stile_status stile__rlock_provide(struct stile_rlock_count **fresh)
{
    *fresh = new_count();
    return *fresh == NULL ? no_memory() : STILE_OK;
}

void stile__rlock_begin(struct stile_rlock_state *state, uint64_t owner,
                        struct stile_rlock_count *fresh, const stile_hold *outer)
{
    begin(state, owner, fresh, outer);
    stile__mutex_lock(&state->mutex);
    push(&state->numbered, fresh);
    stile__mutex_unlock(&state->mutex);
}

bool stile__rlock_holds(struct stile_rlock_state *state, uint64_t owner)
{
    return find_count(state, owner) != NULL;
}
