/*
 * The lock under threads and processes that do what they like with it.
 *
 *     stress_lock local|redis [SECONDS]      threads on one space
 *     stress_lock processes [SECONDS]        processes with threads each, on a server
 *
 * What must be true at any moment is in shared memory, one place for each name.
 *
 * Names whose holds do not end by themselves: nobody is inside with another, and
 * each fence is above the one before.  Names whose holds run out: others may be
 * inside, but not while a hold still counts: who sees a higher fence than its own,
 * and looks at its hold after that, finds it over.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <unistd.h>

#include <stile/stile.h>

#include "support/process.h"
#include "support/server.h"

enum {
    SHORT_SECONDS = 5,
    SOAK_SECONDS = 120,
    THREADS = 8,
    PROCESSES = 4,
    THREADS_EACH = 2,
    NAMES = 3, /* of each sort */
    SORTS = 2,
    SOON_MS = 60000
};

/* What is true of one name.  Relaxed where a hold is to order what its holders do:
 * else the oracle would, and the thread sanitizer see nothing. */
struct place {
    _Atomic int inside;
    _Atomic uint64_t fence;   /* the highest seen */
    _Atomic uint64_t written; /* read and written apart: exclusion alone keeps it right */
    _Atomic uint64_t entered;
};

struct oracle {
    struct place lasting[NAMES];
    struct place ending[NAMES];
    _Atomic uint64_t refused, lost; /* so that a run shows that it came to that */
    _Atomic int faults;
    _Atomic bool stop;
    struct test_flag ready;
    char url[128];
};

static struct oracle *oracle;

/* Of one process, guarded by the lock of that name: the thread sanitizer sees
 * whether one holder's writes come before the next one's. */
static uint64_t plain[NAMES];

static bool on_server;

struct worker {
    stile *space;
    uint64_t random;
    pthread_t thread;
};

/* ---- faults -------------------------------------------------------------------------- */

#define check(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fault(__LINE__, #condition, __VA_ARGS__);                                              \
    } while (0)

static void fault(int line, const char *condition, const char *name, stile_status status)
{
    if (atomic_fetch_add(&oracle->faults, 1) < 20)
        fprintf(stderr, "stress_lock.c:%d: not so for %s (%s; %s): %s\n", line, name,
                stile_status_name(status), stile_error_detail(), condition);
}

/* ---- chance (xorshift) ------------------------------------------------------------------ */

static uint32_t chance(struct worker *worker, uint32_t below)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return (uint32_t)(worker->random >> 32) % below;
}

static int64_t some_timeout_ms(struct worker *worker)
{
    switch (chance(worker, 4)) {
    case 0: return 0;
    case 1: return chance(worker, 5);
    case 2: return chance(worker, 100);
    default: return STILE_FOREVER;
    }
}

static void dawdle(struct worker *worker)
{
    volatile uint32_t rounds = chance(worker, 8) == 0 ? chance(worker, 20000) : chance(worker, 50);

    while (rounds > 0)
        rounds--;
}

static void count(_Atomic uint64_t *number)
{
    atomic_fetch_add_explicit(number, 1, memory_order_relaxed);
}

/* The machine is busy: a server may not confirm a withdrawal in time. */
static bool is_refusal(stile_status status)
{
    if (status == STILE_TIMEOUT)
        count(&oracle->refused);
    return status == STILE_TIMEOUT || (on_server && status == STILE_UNKNOWN);
}

/* ---- one hold ------------------------------------------------------------------------------ */

/* A hold that is over: nothing may come of it, whoever has the lock now. */
static void use_old(stile_lock *lock, const char *name, const stile_hold *hold)
{
    stile_status status = stile_lock_release(lock, hold);

    check(status == STILE_NOT_HELD || status == STILE_LOST, name, status);
    status = stile_lock_extend(lock, hold, 1000);
    check(status == STILE_NOT_HELD || status == STILE_LOST, name, status);
    status = stile_lock_check(lock, hold, NULL);
    check(status == STILE_NOT_HELD || status == STILE_LOST, name, status);
}

static void be_inside(struct worker *worker, stile_lock *lock, const char *name, int number,
                      const stile_hold *hold)
{
    struct place *place = &oracle->lasting[number];
    uint64_t written;
    stile_status status;

    check(atomic_fetch_add_explicit(&place->inside, 1, memory_order_relaxed) == 0, name, STILE_OK);
    check(hold->fence > atomic_load_explicit(&place->fence, memory_order_relaxed), name, STILE_OK);
    atomic_store_explicit(&place->fence, hold->fence, memory_order_relaxed);
    plain[number]++;
    written = atomic_load_explicit(&place->written, memory_order_relaxed);
    dawdle(worker);
    if (chance(worker, 8) == 0) {
        status = stile_lock_extend(lock, hold, 100);
        check(status == STILE_OK, name, status);
    }
    if (chance(worker, 4) == 0) {
        status = stile_lock_check(lock, hold, NULL);
        check(status == STILE_OK, name, status);
    }
    atomic_store_explicit(&place->written, written + 1, memory_order_relaxed);
    count(&place->entered);
    atomic_fetch_sub_explicit(&place->inside, 1, memory_order_relaxed);
}

static void use_lasting(struct worker *worker, stile_lock *lock, const char *name, int number)
{
    const stile_lock_options kinds[] = {{.fair = true},
                                        {.lease_ms = 60000, .fixed_lease = true},
                                        {.lease_ms = 60000, .fixed_lease = true, .fair = true},
                                        {.lease_ms = 3000},
                                        {.max_hold_ms = 60000}};
    uint32_t kind = chance(worker, 8);
    stile_status status;
    stile_hold hold;

    status = stile_lock_acquire_with(lock, some_timeout_ms(worker), kind < 5 ? &kinds[kind] : NULL,
                                     &hold);
    if (status != STILE_OK) {
        check(is_refusal(status), name, status);
        return;
    }
    be_inside(worker, lock, name, number, &hold);
    status = stile_lock_release(lock, &hold);
    check(status == STILE_OK, name, status);
    if (chance(worker, 8) == 0)
        use_old(lock, name, &hold);
}

/* Raises the place's fence to the hold's; what it was. */
static uint64_t raise_fence(struct place *place, uint64_t fence)
{
    uint64_t seen = atomic_load(&place->fence);

    while (seen < fence && !atomic_compare_exchange_weak(&place->fence, &seen, fence))
        continue;
    return seen;
}

static void use_ending(struct worker *worker, stile_lock *lock, const char *name, int number)
{
    const stile_lock_options kinds[] = {{.lease_ms = 100, .fixed_lease = true},
                                        {.lease_ms = 100, .fixed_lease = true, .fair = true},
                                        {.lease_ms = 100, .max_hold_ms = 100}};
    struct place *place = &oracle->ending[number];
    bool overstays = chance(worker, 200) == 0;
    stile_status status;
    uint64_t seen;
    stile_hold hold;

    status =
        stile_lock_acquire_with(lock, some_timeout_ms(worker), &kinds[chance(worker, 3)], &hold);
    if (status != STILE_OK) {
        check(is_refusal(status), name, status);
        return;
    }
    seen = raise_fence(place, hold.fence);
    check(seen != hold.fence, name, STILE_OK);
    dawdle(worker);
    if (overstays)
        test_sleep_ms(90 + chance(worker, 30));
    seen = atomic_load(&place->fence);
    if (seen > hold.fence) {
        status = stile_lock_check(lock, &hold, NULL);
        check(status == STILE_LOST, name, status);
    }
    count(&place->entered);
    status = stile_lock_release(lock, &hold);
    check(status == STILE_OK || status == STILE_LOST, name, status);
    check(seen <= hold.fence || status == STILE_LOST, name, status);
    if (status == STILE_LOST)
        count(&oracle->lost);
    if (chance(worker, 8) == 0)
        use_old(lock, name, &hold);
}

/* ---- threads ------------------------------------------------------------------------------------ */

static void name_of(char name[32], int sort, int number)
{
    snprintf(name, 32, "%s-%d", sort == 0 ? "lasting" : "ending", number);
}

static void use_some_lock(struct worker *worker, stile_lock *const *locks)
{
    int sort = (int)chance(worker, SORTS), number = (int)chance(worker, NAMES);
    stile_lock *lock = locks[sort * NAMES + number], *own = NULL;
    stile_status status;
    char name[32];

    name_of(name, sort, number);
    /* Through a handle of the moment, now and then. */
    if (chance(worker, 4) == 0) {
        status = stile_lock_open(worker->space, name, NULL, &own);
        check(status == STILE_OK, name, status);
        lock = status == STILE_OK ? own : lock;
    }
    if (sort == 0)
        use_lasting(worker, lock, name, number);
    else
        use_ending(worker, lock, name, number);
    stile_lock_close(own);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    stile_lock *locks[SORTS * NAMES] = {NULL};
    stile_status status;
    char name[32];
    int i;

    for (i = 0; i < SORTS * NAMES; i++) {
        name_of(name, i / NAMES, i % NAMES);
        status = stile_lock_open(worker->space, name, NULL, &locks[i]);
        check(status == STILE_OK, name, status);
        if (status != STILE_OK)
            goto out;
    }
    while (!atomic_load(&oracle->stop))
        use_some_lock(worker, locks);
out:
    for (i = 0; i < SORTS * NAMES; i++)
        stile_lock_close(locks[i]);
    return NULL;
}

/* Lets threads work on one space until the oracle says stop, or for that time. */
static void work_together(int count, uint64_t seed, int64_t seconds)
{
    struct worker workers[THREADS];
    stile_status status;
    stile *space;
    int i, started = 0;

    status = stile_open(oracle->url, NULL, &space);
    check(status == STILE_OK, oracle->url, status);
    if (status != STILE_OK)
        return;
    for (i = 0; i < count; i++) {
        workers[i].space = space;
        workers[i].random = seed + (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15);
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            break;
        started++;
    }
    check(started == count, oracle->url, STILE_OK);
    if (seconds > 0) {
        test_sleep_ms(seconds * 1000);
        atomic_store(&oracle->stop, true);
    }
    for (i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    stile_close(space);
}

/* ---- processes ------------------------------------------------------------------------------------- */

static int work_in_child(void *arg)
{
    const uint64_t *seed = arg;

    test_child_check(test_flag_wait(&oracle->ready, 1, SOON_MS));
    work_together(THREADS_EACH, *seed, 0);
    return 0;
}

static bool spawn(struct test_process *processes, uint64_t *seeds, uint64_t seed)
{
    int i;

    for (i = 0; i < PROCESSES; i++) {
        seeds[i] = seed + (uint64_t)i * 1000003;
        if (!test_spawn(&processes[i], work_in_child, &seeds[i]))
            return false;
    }
    return true;
}

static void await(struct test_process *processes, int64_t seconds)
{
    int i;

    test_flag_set(&oracle->ready, 1);
    test_sleep_ms(seconds * 1000);
    atomic_store(&oracle->stop, true);
    for (i = 0; i < PROCESSES; i++)
        check(test_process_wait(&processes[i], SOON_MS) == 0, "a process", STILE_OK);
}

/* ---- what is left ------------------------------------------------------------------------------------- */

/* All locks come free, and no write was lost. */
static void check_end(void)
{
    uint64_t all = 0, within = 0;
    stile_status status;
    stile *space;
    int i;

    status = stile_open(oracle->url, NULL, &space);
    check(status == STILE_OK, oracle->url, status);
    for (i = 0; i < SORTS * NAMES && status == STILE_OK; i++) {
        const struct place *place = i < NAMES ? &oracle->lasting[i] : &oracle->ending[i - NAMES];
        stile_lock *lock;
        stile_hold hold;
        char name[32];

        name_of(name, i / NAMES, i % NAMES);
        status = stile_lock_open(space, name, NULL, &lock);
        check(status == STILE_OK, name, status);
        if (status != STILE_OK)
            break;
        status = stile_lock_acquire(lock, 3000, &hold);
        check(status == STILE_OK, name, status);
        if (status == STILE_OK) {
            check(!on_server || hold.fence > place->fence, name, status);
            status = stile_lock_release(lock, &hold);
            check(status == STILE_OK, name, status);
        }
        stile_lock_close(lock);
        check(place->entered > 0, name, STILE_OK);
        check(place->inside == 0, name, STILE_OK);
        check(i >= NAMES || place->written == place->entered, name, STILE_OK);
        all += place->entered;
        within += i < NAMES ? plain[i] : 0;
    }
    stile_close(space);
    printf("%llu holds (%llu in this process, to last), %llu refused, %llu lost, %d faults\n",
           (unsigned long long)all, (unsigned long long)within, (unsigned long long)oracle->refused,
           (unsigned long long)oracle->lost, oracle->faults);
    check(oracle->refused > 0 && oracle->lost > 0, "the run", STILE_OK);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    bool several = strcmp(what, "processes") == 0, local = strcmp(what, "local") == 0;
    int64_t seconds = getenv("STILE_SOAK") != NULL ? SOAK_SECONDS : SHORT_SECONDS;
    uint64_t seed = (uint64_t)test_now_ns() | 1, seeds[PROCESSES];
    struct test_process processes[PROCESSES] = {{.pid = 0}};
    struct test_server server = {.pid = 0};
    struct test_census before;
    int faults;

    if (argc > 2)
        seconds = strtol(argv[2], NULL, 10);
    on_server = !local;
    if ((!several && !local && strcmp(what, "redis") != 0) || seconds <= 0) {
        fprintf(stderr, "usage: %s local|redis|processes [SECONDS]\n", argv[0]);
        return 2;
    }
    oracle = test_shared_alloc(sizeof *oracle);
    /* Children before there are threads. */
    if (several && !spawn(processes, seeds, seed))
        return 1;
    if (on_server && !test_server_start(NULL, &server))
        return 1;
    snprintf(oracle->url, sizeof oracle->url, "%s",
             on_server ? test_server_unix_url(&server) : "local:");
    before = test_census_take();
    if (several)
        await(processes, seconds);
    else
        work_together(THREADS, seed, seconds);
    check_end();
    check(test_census_is_back(&before), "the process", STILE_OK);
    test_server_stop(&server);
    faults = oracle->faults;
    test_shared_free(oracle, sizeof *oracle);
    return faults == 0 ? 0 : 1;
}
