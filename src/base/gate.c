#include "base/gate.h"

#include "base/error.h"
#include "base/os.h"

#define SHUT 1u
#define CALL 2u

stile_status stile__gate_init(struct stile_gate *gate)
{
    atomic_init(&gate->word, 0);
    gate->closer = stile__parker_get();
    if (gate->closer == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a handle");
    return STILE_OK;
}

void stile__gate_fini(struct stile_gate *gate)
{
    stile__parker_put(gate->closer);
}

bool stile__gate_enter(struct stile_gate *gate)
{
    uint32_t word = os_load(&gate->word, memory_order_relaxed);

    do {
        if (word & SHUT)
            return false;
    } while (!os_cas(&gate->word, &word, word + CALL, memory_order_acquire));
    return true;
}

void stile__gate_leave(struct stile_gate *gate)
{
    /* Once the gate is shut and the count is 0 its memory may go; parkers
     * stay. */
    struct stile_parker *closer = gate->closer;

    /* Release: pairs with the acquire in wait. */
    if (os_sub(&gate->word, CALL, memory_order_release) == (CALL | SHUT))
        stile__unpark(closer);
}

void stile__gate_shut(struct stile_gate *gate)
{
    os_or(&gate->word, SHUT, memory_order_relaxed);
}

void stile__gate_wait(struct stile_gate *gate)
{
    while (os_load(&gate->word, memory_order_acquire) != SHUT)
        stile__park(gate->closer, INT64_MAX);
}
