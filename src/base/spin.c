#include "base/spin.h"

#include "base/os.h"

/* A turn that is shorter than a few passages of a cache line between cores. */
#define SHORT_TURN_NS 400

/* Where turns are short, looks are this part of a wake-up apart, and there are this many. */
#define BRISK_PART 5
#define BRISK_LOOKS 15

/* Of who is patient, they are two wake-ups apart, or this. */
#define PATIENT_STEP_MOST_NS INT64_C(30000)

/* After how many failures in a row only every so many are tried. */
enum { FAILURES_MOST = 4, TRY_EVERY = 8 };

/* How often to look for a place among those who look: who has just got the thing is
 * about to leave its own. */
enum { ENTER_TRIES = 8 };

void stile__spin_init(struct stile_spin *spin)
{
    atomic_init(&spin->inside, 0);
    atomic_init(&spin->failures, 0);
    atomic_init(&spin->turn, 0);
    atomic_init(&spin->turn_ns, 0);
}

bool stile__spin_enter(struct stile_spin *spin)
{
    unsigned most = stile__cpus() - 1;
    int i;

    for (i = 0; i < ENTER_TRIES && most > 0; i++) {
        uint32_t inside = os_load(&spin->inside, memory_order_relaxed);

        if (inside < most && os_cas(&spin->inside, &inside, inside + 1, memory_order_relaxed))
            return true;
        os_pause();
    }
    return false;
}

void stile__spin_leave(struct stile_spin *spin)
{
    os_sub(&spin->inside, 1, memory_order_relaxed);
}

static bool promises(struct stile_spin *spin)
{
    uint32_t failures = os_load(&spin->failures, memory_order_relaxed);

    if (failures < FAILURES_MOST || failures % TRY_EVERY == 0)
        return true;
    os_store(&spin->failures, failures + 1, memory_order_relaxed);
    return false;
}

void stile__spin_tell(struct stile_spin *spin, bool good)
{
    uint32_t failures = os_load(&spin->failures, memory_order_relaxed);

    if (good && failures != 0)
        os_store(&spin->failures, 0, memory_order_relaxed);
    else if (!good)
        os_store(&spin->failures, failures + 1, memory_order_relaxed);
}

/* Whether that many turns in that time are short ones. */
static bool are_short(int64_t ns, uint64_t turns)
{
    return ns >= 0 && (uint64_t)ns / SHORT_TURN_NS < turns;
}

bool stile__spin_begin(struct stile_spin *spin, struct stile_look *look, uint64_t turn,
                       bool patient)
{
    if (!promises(spin) || !stile__spin_enter(spin))
        return false;
    look->began_ns = look->now_ns = stile__monotonic_ns();
    look->wake_ns = stile__wake_ns();
    look->step_ns = patient ? look->wake_ns * 2 : look->wake_ns / BRISK_PART;
    if (look->step_ns > PATIENT_STEP_MOST_NS)
        look->step_ns = PATIENT_STEP_MOST_NS;
    look->first_turn = look->last_turn = turn;
    look->left = OS_LOOKS_MOST;
    look->brisk = are_short(look->now_ns - os_load(&spin->turn_ns, memory_order_relaxed),
                            turn - os_load(&spin->turn, memory_order_relaxed));
    os_store(&spin->turn, turn, memory_order_relaxed);
    os_store(&spin->turn_ns, look->now_ns, memory_order_relaxed);
    return true;
}

bool stile__spin_next(struct stile_look *look, uint64_t turn)
{
    int64_t next_ns = look->now_ns, until_ns = look->began_ns + look->wake_ns;

    if (turn != look->last_turn)
        look->brisk = are_short(look->now_ns - look->began_ns, turn - look->first_turn);
    else if (look->now_ns != look->began_ns)
        look->brisk = false;
    look->last_turn = turn;
    if (look->brisk) {
        next_ns += look->step_ns;
        until_ns = look->began_ns + look->step_ns * BRISK_LOOKS;
    }
    do {
        if (--look->left == 0)
            return false;
        os_pause();
        look->now_ns = stile__monotonic_ns();
    } while (look->now_ns < next_ns);
    return look->now_ns < until_ns;
}
