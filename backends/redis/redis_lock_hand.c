#include "redis_lock.h"

#include "base/deadline.h"
#include "base/error.h"
#include "base/token.h"

bool stile__redis_own(stile_lock *lock)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    uint32_t slot = os_load(&object->taken_slot, memory_order_relaxed);
    int64_t valid_until_ns;
    uint64_t id[2];

    if (slot == 0 || stile__space_forked(&space->base) ||
        !stile__lease_own(&space->leases, slot, object, id))
        return false;
    /* Somebody may have taken it by force, and another may have it: then waiting has an
     * end.  A renewal for the shortest time that claims nothing changes nothing
     * and tells. */
    return stile__redis_renew_id(object, id, 1, false, &valid_until_ns) == STILE_OK;
}

stile_status stile__redis_hand_over(stile_lock *lock, const stile_hold *hold)
{
    struct redis_object *object = object_of(lock);
    stile_status status = stile__redis_usable(&object->space->base);

    if (status == STILE_OK)
        status = hold->object == object ? stile__lease_hand_over(&object->space->leases, hold)
                                        : STILE_NOT_HELD;
    return status;
}

stile_status stile__redis_watch(stile_lock *lock, const stile_hold *hold, struct stile_watch *watch)
{
    struct redis_object *object = object_of(lock);
    stile_status status = stile__redis_usable(&object->space->base);

    if (status == STILE_OK)
        status = hold->object == object ? stile__lease_watch(&object->space->leases, hold, watch)
                                        : STILE_NOT_HELD;
    return status;
}

/* ---- from one process to another ------------------------------------------------------- */

stile_status stile__redis_give(stile_lock *lock, const stile_hold *hold,
                               char text[STILE_TOKEN_SIZE])
{
    struct redis_object *object = object_of(lock);
    const struct redis_slice *key = &object->keys[REDIS_LOCK];
    struct stile_token token = {.id = {hold->id[0], hold->id[1]}, .fence = hold->fence};
    struct stile_lease_terms terms;
    stile_status status = stile__redis_end(object, hold, &terms);
    int64_t valid_until_ns;

    if (status != STILE_OK)
        return status;
    /* So that whoever adopts it has a whole lease to do so.  A server that cannot be
     * asked leaves what is left of it. */
    if ((terms.renewed || terms.claim) &&
        stile__redis_renew_id(object, hold->id, terms.lease_ms, true, &valid_until_ns) ==
            STILE_LOST)
        return STILE_LOST;
    stile__token_write(&token, key->bytes, key->length, text);
    return STILE_OK;
}

static stile_status adopt(stile_lock *lock, const struct stile_token *token, stile_hold *hold)
{
    struct redis_object *object = object_of(lock);
    struct redis_space *space = object->space;
    const stile_lock_options *options = &lock->options;
    struct taken taken = {.fence = token->fence, .thread = stile__thread_number()};
    stile_status status = stile__lease_reserve(&space->leases, &hold->slot);

    if (status != STILE_OK)
        return status;
    hold->id[0] = token->id[0];
    hold->id[1] = token->id[1];
    status = stile__redis_renew_id(object, hold->id, stile__redis_lease_ms(options), true,
                                   &taken.valid_until_ns);
    /* The clock is read last: what is over before it could return is no hold. */
    if (status == STILE_OK && stile__boottime_ns() >= taken.valid_until_ns)
        status = STILE_LOST;
    if (status != STILE_OK) {
        stile__lease_unreserve(&space->leases, hold->slot);
        return status;
    }
    /* Whoever acquired it may have sent copies that were not answered. */
    taken.copies_until_ns = stile__redis_copies_until(space);
    stile__redis_arm(object, options, &taken, hold);
    return STILE_OK;
}

stile_status stile__redis_adopt(stile_lock *lock, const char *text, stile_hold *hold)
{
    struct redis_object *object = object_of(lock);
    const struct redis_slice *key = &object->keys[REDIS_LOCK];
    stile_hold taken = STILE_HOLD_INIT;
    struct stile_token token;
    stile_status status = stile__redis_usable(lock->space);

    if (status == STILE_OK)
        status = stile__token_read(text, key->bytes, key->length, &token);
    if (status != STILE_OK)
        return status;
    if (!stile__gate_enter(&object->space->calls))
        return stile__fail(STILE_CLOSED, "the space is closed");
    status = adopt(lock, &token, &taken);
    stile__gate_leave(&object->space->calls);
    if (status == STILE_OK)
        *hold = taken;
    return status;
}
