/*
 * A binary heap of what is due at a time; what is in it has a struct stile_due in
 * it.  Whoever owns the heap guards it.
 */
#ifndef STILE_BASE_HEAP_H
#define STILE_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stile_due {
    int64_t at_ns;
    uint32_t place; /* in the heap, from 1; 0: in none */
};

struct stile_heap {
    struct stile_due **dues;
    uint32_t size;
};

/* Makes room for so many, so that putting cannot fail.  False: no memory. */
bool stile__heap_reserve(struct stile_heap *heap, uint32_t count);
void stile__heap_fini(struct stile_heap *heap);
/* Puts it in, or moves it, to be due at at_ns. */
void stile__heap_put(struct stile_heap *heap, struct stile_due *due, int64_t at_ns);
/* Harmless for one that is in none. */
void stile__heap_remove(struct stile_heap *heap, struct stile_due *due);

/* The earliest, or NULL. */
static inline struct stile_due *heap_first(const struct stile_heap *heap)
{
    return heap->size == 0 ? NULL : heap->dues[0];
}

#endif
