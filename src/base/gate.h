/*
 * A gate counts the calls inside something that is to be freed: shutting it
 * keeps newcomers out and returns when the last call has left.
 */
#ifndef STILE_BASE_GATE_H
#define STILE_BASE_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <stile/status.h>

struct stile_parker;

struct stile_gate {
    _Atomic uint32_t word;       /* calls inside times 2, and 1 when shut */
    struct stile_parker *closer; /* where who shut it sleeps */
};

stile_status stile__gate_init(struct stile_gate *gate);
void stile__gate_fini(struct stile_gate *gate);
/* False when it is shut: the caller is not inside. */
bool stile__gate_enter(struct stile_gate *gate);
void stile__gate_leave(struct stile_gate *gate);
/* Keeps newcomers out. */
void stile__gate_shut(struct stile_gate *gate);
/* After shut, by one thread: returns when nobody is inside.  Between the two,
 * make those inside leave. */
void stile__gate_wait(struct stile_gate *gate);

#endif
