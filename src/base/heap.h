/*
 * A pairing heap of points in time: what is in it has a struct stile_heap_node, so
 * that nothing is allocated.
 */
#ifndef STILE_BASE_HEAP_H
#define STILE_BASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct stile_heap_node {
    struct stile_heap_node *child;
    struct stile_heap_node *next; /* the next child of the same parent */
    struct stile_heap_node *prev; /* the one before, or the parent; NULL: the first of all,
                                   * or in no heap */
    int64_t at_ns;
};

struct stile_heap {
    struct stile_heap_node *first; /* NULL: empty */
};

void stile__heap_node_init(struct stile_heap_node *node);
void stile__heap_insert(struct stile_heap *heap, struct stile_heap_node *node, int64_t at_ns);
/* Harmless on a node that is in no heap. */
void stile__heap_remove(struct stile_heap *heap, struct stile_heap_node *node);

#endif
