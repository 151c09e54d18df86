#include "base/heap.h"

#include <stddef.h>

/* Of two trees, each without siblings, the later one becomes a child of the other. */
static struct stile_heap_node *join(struct stile_heap_node *a, struct stile_heap_node *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    if (b->at_ns < a->at_ns) {
        struct stile_heap_node *earlier = b;

        b = a;
        a = earlier;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child != NULL)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Makes one tree of siblings: in pairs first, which is what keeps the cost
 * logarithmic on the average. */
static struct stile_heap_node *join_siblings(struct stile_heap_node *first)
{
    struct stile_heap_node *pairs = NULL, *all = NULL;

    while (first != NULL) {
        struct stile_heap_node *a = first, *b = a->next, *pair;

        first = b == NULL ? NULL : b->next;
        a->prev = a->next = NULL;
        if (b != NULL)
            b->prev = b->next = NULL;
        pair = join(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        struct stile_heap_node *pair = pairs;

        pairs = pair->next;
        pair->next = NULL;
        all = join(all, pair);
    }
    return all;
}

void stile__heap_node_init(struct stile_heap_node *node)
{
    node->child = NULL;
    node->next = NULL;
    node->prev = NULL;
}

void stile__heap_insert(struct stile_heap *heap, struct stile_heap_node *node, int64_t at_ns)
{
    stile__heap_node_init(node);
    node->at_ns = at_ns;
    heap->first = join(heap->first, node);
}

void stile__heap_remove(struct stile_heap *heap, struct stile_heap_node *node)
{
    struct stile_heap_node *rest;

    if (heap->first != node && node->prev == NULL)
        return;
    rest = join_siblings(node->child);
    if (heap->first == node) {
        heap->first = rest;
    } else {
        if (node->prev->child == node)
            node->prev->child = node->next;
        else
            node->prev->next = node->next;
        if (node->next != NULL)
            node->next->prev = node->prev;
        heap->first = join(heap->first, rest);
    }
    stile__heap_node_init(node);
}
