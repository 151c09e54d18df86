#include "base/os.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

/* With STILE_NO_FUTEX, Linux sleeps as other systems do. */
#if defined(__linux__) && !defined(STILE_NO_FUTEX)
#define PARK_BY_FUTEX 1
#include <linux/futex.h>
#include <linux/posix_types.h>
#else
#define PARK_BY_FUTEX 0
#endif

#if defined(__linux__)
#include <sys/eventfd.h>
#include <sys/syscall.h>
#endif

#define NS_PER_S INT64_C(1000000000)

/* For calls that fail by misuse only. */
static void must(int error)
{
    assert(error == 0);
    (void)error;
}

unsigned stile__cpus(void)
{
    static _Atomic unsigned known;
    unsigned count = os_load(&known, memory_order_relaxed);
    long online;

    if (count != 0)
        return count;
#if defined(__linux__)
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        count = (unsigned)CPU_COUNT(&set);
#endif
    if (count == 0) {
        online = sysconf(_SC_NPROCESSORS_ONLN);
        count = online > 0 && online < INT_MAX ? (unsigned)online : 1;
    }
    /* relaxed: the number is all there is, and every thread finds the same. */
    os_store(&known, count, memory_order_relaxed);
    return count;
}

/* ---- what a wake-up costs -------------------------------------------------- */

#define WAKE_LEAST_NS 2000
#define WAKE_MOST_NS 50000
#define WAKE_GUESS_NS 20000

static _Atomic int64_t wake_ns = WAKE_GUESS_NS;

int64_t stile__wake_ns(void)
{
    return os_load(&wake_ns, memory_order_relaxed);
}

/* Down fast and up slowly: what takes longer is often that others had the core. */
void stile__wake_took(int64_t ns)
{
    int64_t known = os_load(&wake_ns, memory_order_relaxed);

    if (ns > WAKE_MOST_NS)
        ns = WAKE_MOST_NS;
    else if (ns < WAKE_LEAST_NS)
        ns = WAKE_LEAST_NS;
    known += (ns - known) / (ns < known ? 2 : 16);
    os_store(&wake_ns, known, memory_order_relaxed);
}

/* ---- mutexes -------------------------------------------------------------- */

#if !defined(NDEBUG)

/* Bit n: this thread has a mutex of rank n. */
static _Thread_local unsigned held_ranks;

static void rank_enter(enum stile_rank rank)
{
    assert(held_ranks >> rank == 0 && "mutexes are taken in the order of their ranks");
    held_ranks |= 1U << rank;
}

static void rank_leave(enum stile_rank rank)
{
    assert((held_ranks & 1U << rank) != 0 && "the thread that has a mutex unlocks it");
    held_ranks &= ~(1U << rank);
}

#else

static inline void rank_enter(enum stile_rank rank)
{
    (void)rank;
}

static inline void rank_leave(enum stile_rank rank)
{
    (void)rank;
}

#endif

void stile__mutex_init(struct stile_mutex *mutex, enum stile_rank rank)
{
    must(pthread_mutex_init(&mutex->mutex, NULL));
    mutex->rank = rank;
}

void stile__mutex_fini(struct stile_mutex *mutex)
{
    must(pthread_mutex_destroy(&mutex->mutex));
}

void stile__mutex_lock(struct stile_mutex *mutex)
{
    rank_enter(mutex->rank);
    must(pthread_mutex_lock(&mutex->mutex));
}

void stile__mutex_unlock(struct stile_mutex *mutex)
{
    /* The next who has it may free it: unlocking is the last that touches it. */
    rank_leave(mutex->rank);
    must(pthread_mutex_unlock(&mutex->mutex));
}

/* ---- parking -------------------------------------------------------------- */

enum park_state {
    PARK_EMPTY,
    PARK_TOKEN,
    PARK_SLEEPING, /* no token, and its thread is in the kernel or on its way there */
    /* The same in stile__park_with.  Whoever finds it like that puts the token down and
     * raises the signal: one does, and is waited for. */
    PARK_POLLING
};

struct stile_parker {
    /* A cache line of its own: neighbours are woken by other threads. */
#if PARK_BY_FUTEX
    _Alignas(64) _Atomic uint32_t state; /* enum park_state */
#else
    _Alignas(64) pthread_mutex_t mutex; /* guards state */
    pthread_cond_t awake;
    enum park_state state;
#endif
    _Atomic int core;               /* where its thread last went to sleep */
    struct stile_signal signal;     /* PARK_POLLING: what wakes its thread */
    uint32_t fork_generation;       /* and whose it is */
    struct stile_parker *next_free; /* under pool.mutex */
    struct stile_parker *next;      /* written once */
};

static struct {
    struct stile_mutex mutex;
    struct stile_parker *free;
    struct stile_parker *all; /* so that every parker stays reachable */
} pool = {.mutex = {.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = STILE_RANK_LEAF}};

/* -1: not known. */
static int current_core(void)
{
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

bool stile__parked_here(const struct stile_parker *parker)
{
    int core = os_load(&parker->core, memory_order_relaxed);

    return core != -1 && core == current_core();
}

/* In a child of fork the descriptor is the parent's, and so is its thread. */
static void raise_for(const struct stile_parker *parker)
{
    if (parker->fork_generation == stile__fork_generation())
        stile__signal_raise(&parker->signal);
}

#if PARK_BY_FUTEX

static bool parker_init(struct stile_parker *parker)
{
    atomic_init(&parker->state, PARK_EMPTY);
    return true;
}

static void parker_empty(struct stile_parker *parker)
{
    os_store(&parker->state, PARK_EMPTY, memory_order_relaxed);
}

/* What the futex call takes on every architecture.  Seconds since boot fit
 * where a long has 32 bits. */
struct futex_time {
    __kernel_long_t seconds;
    __kernel_long_t nanoseconds;
};

void stile__park(struct stile_parker *parker, int64_t until_ns)
{
    struct futex_time until = {0, 0}, *limit = NULL;
    uint32_t state = PARK_EMPTY;

    if (until_ns != INT64_MAX) {
        if (until_ns > 0) {
            until.seconds = (__kernel_long_t)(until_ns / NS_PER_S);
            until.nanoseconds = (__kernel_long_t)(until_ns % NS_PER_S);
        }
        limit = &until;
    }
    os_store(&parker->core, current_core(), memory_order_relaxed);
    if (os_cas(&parker->state, &state, PARK_SLEEPING, memory_order_relaxed)) {
        /* A token that comes before the kernel compares makes the call answer
         * EAGAIN; one that comes later wakes.  Other answers (a signal) leave
         * the word as it is. */
        do {
            if (syscall(SYS_futex, &parker->state, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,
                        PARK_SLEEPING, limit, NULL, FUTEX_BITSET_MATCH_ANY) != 0 &&
                errno == ETIMEDOUT)
                break;
        } while (os_load(&parker->state, memory_order_relaxed) == PARK_SLEEPING);
    }
    /* acquire: what was written before stile__unpark is seen with its token. */
    os_exchange(&parker->state, PARK_EMPTY, memory_order_acquire);
}

/* False: there is a token, and it is taken. */
static bool poll_begin(struct stile_parker *parker)
{
    uint32_t state = PARK_EMPTY;

    /* release: whoever finds it polling sees the signal. */
    if (os_cas(&parker->state, &state, PARK_POLLING, memory_order_release))
        return true;
    os_exchange(&parker->state, PARK_EMPTY, memory_order_acquire);
    return false;
}

/* False: a token was put down meanwhile; it is taken. */
static bool poll_end(struct stile_parker *parker)
{
    return os_exchange(&parker->state, PARK_EMPTY, memory_order_acquire) == PARK_POLLING;
}

void stile__unpark(struct stile_parker *parker)
{
    /* release: pairs with the exchange in stile__park.  A token put on top of
     * another is an exchange as well, so the first one's release holds on.
     * acquire: pairs with poll_begin. */
    uint32_t before = os_exchange(&parker->state, PARK_TOKEN, memory_order_acq_rel);

    if (before == PARK_SLEEPING)
        syscall(SYS_futex, &parker->state, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
    else if (before == PARK_POLLING)
        raise_for(parker);
}

#else

static bool parker_init(struct stile_parker *parker)
{
    pthread_condattr_t attributes;
    int error;

    if (pthread_condattr_init(&attributes) != 0)
        return false;
    error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (error == 0)
        error = pthread_cond_init(&parker->awake, &attributes);
    must(pthread_condattr_destroy(&attributes));
    if (error != 0)
        return false;
    if (pthread_mutex_init(&parker->mutex, NULL) != 0) {
        must(pthread_cond_destroy(&parker->awake));
        return false;
    }
    parker->state = PARK_EMPTY;
    return true;
}

static void parker_empty(struct stile_parker *parker)
{
    must(pthread_mutex_lock(&parker->mutex));
    parker->state = PARK_EMPTY;
    must(pthread_mutex_unlock(&parker->mutex));
}

void stile__park(struct stile_parker *parker, int64_t until_ns)
{
    struct timespec until = {0, 0};
    int error = 0;

    if (until_ns > 0) {
        until.tv_sec = (time_t)(until_ns / NS_PER_S);
        until.tv_nsec = (long)(until_ns % NS_PER_S);
    }
    os_store(&parker->core, current_core(), memory_order_relaxed);
    must(pthread_mutex_lock(&parker->mutex));
    if (parker->state == PARK_EMPTY)
        parker->state = PARK_SLEEPING;
    while (parker->state == PARK_SLEEPING && error == 0) {
        if (until_ns == INT64_MAX)
            error = pthread_cond_wait(&parker->awake, &parker->mutex);
        else
            error = pthread_cond_timedwait(&parker->awake, &parker->mutex, &until);
    }
    parker->state = PARK_EMPTY;
    must(pthread_mutex_unlock(&parker->mutex));
}

/* False: there is a token, and it is taken. */
static bool poll_begin(struct stile_parker *parker)
{
    bool empty;

    must(pthread_mutex_lock(&parker->mutex));
    empty = parker->state == PARK_EMPTY;
    parker->state = empty ? PARK_POLLING : PARK_EMPTY;
    must(pthread_mutex_unlock(&parker->mutex));
    return empty;
}

/* False: a token was put down meanwhile; it is taken. */
static bool poll_end(struct stile_parker *parker)
{
    bool polling;

    must(pthread_mutex_lock(&parker->mutex));
    polling = parker->state == PARK_POLLING;
    parker->state = PARK_EMPTY;
    must(pthread_mutex_unlock(&parker->mutex));
    return polling;
}

void stile__unpark(struct stile_parker *parker)
{
    enum park_state before;

    must(pthread_mutex_lock(&parker->mutex));
    before = parker->state;
    parker->state = PARK_TOKEN;
    must(pthread_mutex_unlock(&parker->mutex));
    if (before == PARK_SLEEPING)
        must(pthread_cond_signal(&parker->awake));
    else if (before == PARK_POLLING)
        raise_for(parker);
}

#endif

bool stile__park_with(struct stile_parker *parker, const struct stile_signal *signal, int fd,
                      int64_t until_ns)
{
    bool readable;

    parker->signal = *signal;
    parker->fork_generation = stile__fork_generation();
    if (!poll_begin(parker))
        return false;
    readable = stile__socket_wait_with(fd, signal->fds[0], until_ns);
    if (!poll_end(parker)) {
        /* Until it is raised, it must not be closed nor left to another. */
        (void)stile__socket_wait(signal->fds[0], false, INT64_MAX);
        stile__signal_clear(signal);
    }
    return readable;
}

static struct stile_parker *parker_new(void)
{
    struct stile_parker *parker =
        aligned_alloc(_Alignof(struct stile_parker), sizeof(struct stile_parker));

    if (parker != NULL && !parker_init(parker)) {
        free(parker);
        return NULL;
    }
    if (parker != NULL)
        atomic_init(&parker->core, -1);
    return parker;
}

struct stile_parker *stile__parker_get(void)
{
    struct stile_parker *parker;

    /* A child must find the pool usable, whoever was in it at the fork. */
    stile__fork_generation();
    stile__mutex_lock(&pool.mutex);
    parker = pool.free;
    if (parker != NULL)
        pool.free = parker->next_free;
    stile__mutex_unlock(&pool.mutex);
    if (parker != NULL) {
        parker_empty(parker);
        return parker;
    }

    parker = parker_new();
    if (parker == NULL)
        return NULL;
    stile__mutex_lock(&pool.mutex);
    parker->next = pool.all;
    pool.all = parker;
    stile__mutex_unlock(&pool.mutex);
    return parker;
}

void stile__parker_put(struct stile_parker *parker)
{
    stile__mutex_lock(&pool.mutex);
    parker->next_free = pool.free;
    pool.free = parker;
    stile__mutex_unlock(&pool.mutex);
}

/* ---- time ----------------------------------------------------------------- */

static bool clock_ns(clockid_t clock, int64_t *ns)
{
    struct timespec now;

    if (clock_gettime(clock, &now) != 0)
        return false;
    *ns = (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
    return true;
}

int64_t stile__monotonic_ns(void)
{
    int64_t ns = 0;
    bool known = clock_ns(CLOCK_MONOTONIC, &ns);

    assert(known);
    (void)known;
    return ns;
}

int64_t stile__boottime_ns(void)
{
#if defined(CLOCK_BOOTTIME)
    int64_t ns;

    if (clock_ns(CLOCK_BOOTTIME, &ns))
        return ns;
#endif
    return stile__monotonic_ns();
}

int64_t stile__realtime_ms(void)
{
    int64_t ns;

    return clock_ns(CLOCK_REALTIME, &ns) ? ns / 1000000 : 0;
}

/* ---- who this is ----------------------------------------------------------- */

void stile__host_name(char *name, size_t size)
{
    if (gethostname(name, size) != 0 && errno != ENAMETOOLONG)
        name[0] = '\0';
    name[size - 1] = '\0';
}

int64_t stile__process_id(void)
{
    return getpid();
}

/* ---- threads -------------------------------------------------------------- */

#define THREAD_NAME_SIZE 16

/* Handed to the new thread, which frees it. */
struct thread_start {
    void (*run)(void *arg);
    void *arg;
    char name[THREAD_NAME_SIZE];
};

static void *thread_main(void *start_arg)
{
    struct thread_start start = *(struct thread_start *)start_arg;

    free(start_arg);
    /* The name is for people who look at the process; it may fail. */
#if defined(__linux__)
    pthread_setname_np(pthread_self(), start.name);
#endif
    start.run(start.arg);
    return NULL;
}

stile_status stile__thread_start(struct stile_thread *thread, const char *name,
                                 void (*run)(void *arg), void *arg)
{
    struct thread_start *start = calloc(1, sizeof(*start));
    sigset_t all, before;
    int error;

    if (start == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory to start the thread %s", name);
    start->run = run;
    start->arg = arg;
    assert(strlen(name) < sizeof(start->name));
    memcpy(start->name, name, strnlen(name, sizeof(start->name) - 1));

    /* A thread inherits the mask, so there is no moment in which a signal of
     * the program could be handled by a thread of the library. */
    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before));
    error = pthread_create(&thread->thread, NULL, thread_main, start);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    if (error != 0) {
        free(start);
        return stile__fail(STILE_NO_MEMORY, "the thread %s cannot be started: %s", name,
                           strerror(error));
    }
    return STILE_OK;
}

void stile__thread_join(struct stile_thread *thread)
{
    must(pthread_join(thread->thread, NULL));
}

int stile__cancel_off(void)
{
    int previous;

    must(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &previous));
    return previous;
}

void stile__cancel_restore(int previous)
{
    int ignored;

    must(pthread_setcancelstate(previous, &ignored));
}

OS_THREAD_LOCAL void *stile__kept;

static struct {
    pthread_once_t once;
    pthread_key_t key;
    bool made;
    void (*_Atomic free_kept)(void *kept);
} keeping = {.once = PTHREAD_ONCE_INIT};

static void free_kept(void *of_key)
{
    void *kept = stile__kept;

    (void)of_key;
    stile__kept = NULL;
    if (kept != NULL)
        os_load(&keeping.free_kept, memory_order_relaxed)(kept);
}

static void make_key(void)
{
    keeping.made = pthread_key_create(&keeping.key, free_kept) == 0;
}

stile_status stile__keep(void *kept, void (*free_it)(void *kept))
{
    must(pthread_once(&keeping.once, make_key));
    os_store(&keeping.free_kept, free_it, memory_order_relaxed);
    if (!keeping.made || pthread_setspecific(keeping.key, &keeping) != 0)
        return stile__fail(STILE_NO_MEMORY, "no memory for what a thread keeps");
    stile__kept = kept;
    return STILE_OK;
}

#if defined(__GNUC__)
/* A library that is unloaded must not be called when a thread ends. */
__attribute__((destructor)) static void drop_key(void)
{
    if (keeping.made)
        (void)pthread_key_delete(keeping.key);
}
#endif

OS_THREAD_LOCAL uint64_t stile__thread_known;

uint64_t stile__thread_number(void)
{
    static _Atomic uint32_t last;
    static _Thread_local uint32_t of_fork;
    uint32_t system;

    /* A child's thread has another number in the system than its parent's. */
    if (stile__thread_known != 0 && of_fork == stile__fork_generation())
        return stile__thread_known;
#if defined(__linux__)
    system = (uint32_t)syscall(SYS_gettid);
#else
    system = (uint32_t)getpid();
#endif
    of_fork = stile__fork_generation();
    stile__thread_known = ((uint64_t)os_add(&last, 1, memory_order_relaxed) + 1) << 32 | system;
    return stile__thread_known;
}

/* ---- signals -------------------------------------------------------------- */

stile_status stile__signal_open(struct stile_signal *signal)
{
#if defined(__linux__)
    signal->fds[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    signal->fds[1] = signal->fds[0];
    if (signal->fds[0] >= 0)
        return STILE_OK;
#else
    if (pipe(signal->fds) == 0) {
        int i;

        for (i = 0; i < 2; i++) {
            (void)fcntl(signal->fds[i], F_SETFD, FD_CLOEXEC);
            (void)fcntl(signal->fds[i], F_SETFL, O_NONBLOCK);
        }
        return STILE_OK;
    }
#endif
    return stile__fail(STILE_NO_MEMORY, "no descriptor to poll: %s", strerror(errno));
}

void stile__signal_close(struct stile_signal *signal)
{
    if (signal->fds[1] != signal->fds[0])
        close(signal->fds[1]);
    close(signal->fds[0]);
}

void stile__signal_raise(const struct stile_signal *signal)
{
    static const uint64_t one = 1;
    int cancel = stile__cancel_off();

    /* Full is raised, too. */
    while (write(signal->fds[1], &one, sizeof one) < 0 && errno == EINTR)
        continue;
    stile__cancel_restore(cancel);
}

void stile__signal_clear(const struct stile_signal *signal)
{
    int cancel = stile__cancel_off();
    char taken[64];
    ssize_t got;

    /* One read empties an eventfd; a pipe is empty when it says so. */
    do {
        got = read(signal->fds[0], taken, sizeof taken);
    } while (got > 0 || (got < 0 && errno == EINTR));
    stile__cancel_restore(cancel);
}

/* ---- forks ---------------------------------------------------------------- */

enum fork_watch {
    FORK_UNWATCHED,
    FORK_COUNTED, /* the child's handler counts */
    FORK_BY_PID   /* there is no handler, for want of memory: the process id serves */
};

static _Atomic unsigned fork_watch; /* enum fork_watch; set once */
static _Atomic uint32_t fork_count;

/* In the child its thread is the only one.  Whoever was in the pool is gone, so
 * the mutex starts anew, and the free list, which may be half changed, is
 * dropped. */
static void forked(void)
{
    os_add(&fork_count, 1, memory_order_relaxed);
    stile__mutex_init(&pool.mutex, STILE_RANK_LEAF);
    pool.free = NULL;
}

static void watch_forks(void)
{
    unsigned watch = pthread_atfork(NULL, NULL, forked) == 0 ? FORK_COUNTED : FORK_BY_PID;

    os_store(&fork_watch, watch, memory_order_release);
}

uint32_t stile__fork_generation(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    unsigned watch = os_load(&fork_watch, memory_order_acquire);

    if (watch == FORK_UNWATCHED) {
        must(pthread_once(&once, watch_forks));
        watch = os_load(&fork_watch, memory_order_acquire);
    }
    if (watch == FORK_BY_PID)
        return (uint32_t)getpid();
    return os_load(&fork_count, memory_order_relaxed);
}

/* ---- entropy -------------------------------------------------------------- */

stile_status stile__random(void *bytes, size_t size)
{
    unsigned char *next = bytes;

    while (size > 0) {
        ssize_t got = getrandom(next, size, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return stile__fail(STILE_UNSUPPORTED, "the system gives no random bytes: %s",
                               strerror(errno));
        next += got;
        size -= (size_t)got;
    }
    return STILE_OK;
}
