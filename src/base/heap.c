#include "base/heap.h"

#include <stdlib.h>

bool stile__heap_reserve(struct stile_heap *heap, uint32_t count)
{
    struct stile_due **dues = realloc(heap->dues, count * sizeof(struct stile_due *));

    if (dues == NULL)
        return false;
    heap->dues = dues;
    return true;
}

void stile__heap_fini(struct stile_heap *heap)
{
    free(heap->dues);
}

static void place(struct stile_heap *heap, uint32_t at, struct stile_due *due)
{
    heap->dues[at] = due;
    due->place = at + 1;
}

/* Moves what is at that place up or down to where it belongs. */
static void settle(struct stile_heap *heap, uint32_t at)
{
    struct stile_due *due = heap->dues[at];

    while (at > 0 && due->at_ns < heap->dues[(at - 1) / 2]->at_ns) {
        place(heap, at, heap->dues[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child + 1 < heap->size && heap->dues[child + 1]->at_ns < heap->dues[child]->at_ns)
            child++;
        if (child >= heap->size || heap->dues[child]->at_ns >= due->at_ns)
            break;
        place(heap, at, heap->dues[child]);
        at = child;
    }
    place(heap, at, due);
}

void stile__heap_put(struct stile_heap *heap, struct stile_due *due, int64_t at_ns)
{
    due->at_ns = at_ns;
    if (due->place == 0)
        place(heap, heap->size++, due);
    settle(heap, due->place - 1);
}

void stile__heap_remove(struct stile_heap *heap, struct stile_due *due)
{
    uint32_t at = due->place;

    if (at == 0)
        return;
    due->place = 0;
    heap->size--;
    if (at - 1 == heap->size)
        return;
    place(heap, at - 1, heap->dues[heap->size]);
    settle(heap, at - 1);
}
