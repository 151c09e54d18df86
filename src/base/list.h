/*
 * A doubly linked ring with a head; what is linked has a struct stile_link in
 * it.  An unlinked link points to itself.
 */
#ifndef STILE_BASE_LIST_H
#define STILE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct stile_link {
    struct stile_link *next;
    struct stile_link *prev;
};

/* The structure that a link is a member of. */
#define STILE_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct stile_link *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_empty(const struct stile_link *head)
{
    return head->next == head;
}

static inline void list_insert(struct stile_link *before, struct stile_link *link)
{
    link->next = before;
    link->prev = before->prev;
    before->prev->next = link;
    before->prev = link;
}

static inline void list_push_back(struct stile_link *head, struct stile_link *link)
{
    list_insert(head, link);
}

static inline void list_push_front(struct stile_link *head, struct stile_link *link)
{
    list_insert(head->next, link);
}

/* Harmless on a link that is in no list. */
static inline void list_remove(struct stile_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

#endif
