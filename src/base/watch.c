#include "base/watch.h"

void stile__watch_tell(struct stile_watch *watch, stile_hold_state state)
{
    uint32_t noted = os_load(&watch->noted, memory_order_relaxed);

    if (noted == (uint32_t)state || noted >= STILE_HOLD_LOST)
        return;
    /* Release: pairs with the question that found the hold's slot given on. */
    os_store(&watch->noted, (uint32_t)state, memory_order_release);
    watch->changed = true;
    if (watch->has_signal)
        stile__signal_raise(&watch->signal);
    if (watch->callback != NULL)
        stile__call_post(watch->calls, &watch->call);
}

void stile__watch_attach(struct stile_watch *watch, struct stile_link *watches,
                         stile_hold_state state)
{
    list_push_back(watches, &watch->link);
    stile__watch_tell(watch, state);
    watch->changed = false;
}

void stile__watches_tell(struct stile_link *watches, stile_hold_state state)
{
    struct stile_link *at;

    for (at = watches->next; at != watches; at = at->next)
        stile__watch_tell(STILE_OF(at, struct stile_watch, link), state);
}

void stile__watches_end(struct stile_link *watches, stile_hold_state state)
{
    stile__watches_tell(watches, state);
    while (!list_empty(watches))
        list_remove(watches->next);
}
