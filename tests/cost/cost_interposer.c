/*
 * Preloaded into a program: counts what it allocates and how often it reads a clock,
 * while it is told to.
 */
#include "cost/cost_interposer.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* The C library's own, under the names that it keeps for those who replace them. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

EXPORT cost_counting_function cost_counting;

static _Atomic bool counts_now;
static _Atomic unsigned long allocations, frees, clocks;

static void count(_Atomic unsigned long *counter)
{
    if (atomic_load_explicit(&counts_now, memory_order_relaxed))
        atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

struct cost_counts cost_counting(bool on)
{
    struct cost_counts counts;

    atomic_store(&counts_now, false);
    counts.allocations = atomic_exchange(&allocations, 0);
    counts.frees = atomic_exchange(&frees, 0);
    counts.clocks = atomic_exchange(&clocks, 0);
    atomic_store(&counts_now, on);
    return counts;
}

EXPORT void *malloc(size_t size)
{
    count(&allocations);
    return __libc_malloc(size);
}

EXPORT void *calloc(size_t number, size_t size)
{
    count(&allocations);
    return __libc_calloc(number, size);
}

EXPORT void *realloc(void *memory, size_t size)
{
    count(&allocations);
    return __libc_realloc(memory, size);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    count(&allocations);
    return __libc_memalign(alignment, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    count(&allocations);
    return __libc_memalign(alignment, size);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *memory;

    count(&allocations);
    memory = __libc_memalign(alignment, size);
    if (memory == NULL)
        return ENOMEM;
    *out = memory;
    return 0;
}

EXPORT void free(void *memory)
{
    if (memory != NULL)
        count(&frees);
    __libc_free(memory);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
    count(&clocks);
    return (int)syscall(SYS_clock_gettime, clock, now);
}
