#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

static cpu_set_t allowed;
static unsigned allowed_count;

bool bench_place_init(void)
{
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        fprintf(stderr, "stile-bench: sched_getaffinity: %s\n", strerror(errno));
        return false;
    }
    allowed_count = (unsigned)CPU_COUNT(&allowed);
    return true;
}

unsigned bench_cpus(void)
{
    return allowed_count;
}

static bool place(const cpu_set_t *set)
{
    if (sched_setaffinity(0, sizeof *set, set) == 0)
        return true;
    fprintf(stderr, "stile-bench: sched_setaffinity: %s\n", strerror(errno));
    return false;
}

bool bench_pin(unsigned i)
{
    unsigned before = i % allowed_count;
    cpu_set_t one;
    size_t cpu;

    for (cpu = 0; !CPU_ISSET(cpu, &allowed) || before-- > 0; cpu++)
        continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return place(&one);
}

bool bench_unpin(void)
{
    return place(&allowed);
}
