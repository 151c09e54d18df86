/*
 * The seam to the operating system: the only file that touches pthreads, futex,
 * atomics, clocks, entropy and sockets (os_posix.c, os_socket.c behind it).
 *
 * Test builds put something else in its place.  With STILE_FIBRES, threads are
 * fibres of one scheduler that decides by a seed who runs, time is a number
 * that moves when everybody sleeps, and every os_* operation on an atomic is a
 * point where another fibre may be let in (tests/schedule/os_fibre.c).
 */
#ifndef STILE_BASE_OS_H
#define STILE_BASE_OS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(STILE_FIBRES)
#include <pthread.h>
#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define OS_KNOWS_ALONE 1
#endif
#endif
#endif

#include <stile/status.h>

/* A slow path that stays out of the fast one: inlined, it would make the fast one save
 * registers and check a stack that only the slow one needs. */
#if defined(__GNUC__)
#define OS_SLOW_PATH __attribute__((noinline))
#define OS_FAST_PATH inline __attribute__((always_inline))
#else
#define OS_SLOW_PATH
#define OS_FAST_PATH inline
#endif

/* A variable of each thread whose place is known when the library is loaded, so that
 * reading it takes no call. */
#if defined(__GNUC__)
#define OS_THREAD_LOCAL                                                                            \
    __attribute__((visibility("hidden"), tls_model("initial-exec"))) _Thread_local
#else
#define OS_THREAD_LOCAL _Thread_local
#endif

/* ---- atomics --------------------------------------------------------------
 * No fences: the thread sanitizer does not model them. */

#if defined(STILE_FIBRES)
void stile__fibre_point(void);
void stile__fibre_yield(void);
#define OS_POINT() stile__fibre_point()
#else
#define OS_POINT() ((void)0)
#endif

#define os_load(p, order) (OS_POINT(), atomic_load_explicit((p), (order)))
#define os_store(p, v, order) (OS_POINT(), atomic_store_explicit((p), (v), (order)))
#define os_exchange(p, v, order) (OS_POINT(), atomic_exchange_explicit((p), (v), (order)))
#define os_add(p, v, order) (OS_POINT(), atomic_fetch_add_explicit((p), (v), (order)))
#define os_sub(p, v, order) (OS_POINT(), atomic_fetch_sub_explicit((p), (v), (order)))
#define os_or(p, v, order) (OS_POINT(), atomic_fetch_or_explicit((p), (v), (order)))
#define os_and(p, v, order) (OS_POINT(), atomic_fetch_and_explicit((p), (v), (order)))
/* Strong; a failure is relaxed. */
#define os_cas(p, expected, desired, order)                                                        \
    (OS_POINT(), atomic_compare_exchange_strong_explicit((p), (expected), (desired), (order),      \
                                                         memory_order_relaxed))

/* Whether the process has one thread, as far as that can be known.  What is true stays
 * true until this thread starts another, and that orders all it did before. */
static inline bool os_alone(void)
{
#if defined(OS_KNOWS_ALONE)
    return __libc_single_threaded != 0;
#else
    return false;
#endif
}

/* os_cas without telling what was found, for a word that was just seen to be as expected:
 * alone, it still is, and a locked instruction costs as much as all the rest. */
#define os_cas_seen(p, seen, desired, order)                                                       \
    (os_alone() ? (atomic_store_explicit((p), (desired), memory_order_relaxed), true)              \
                : os_cas((p), &(seen), (desired), (order)))

/* Tells the core that this is a spinning loop. */
static inline void os_pause(void)
{
#if defined(STILE_FIBRES)
    /* Somebody else has to run for the loop to end. */
    stile__fibre_yield();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

/* How many looks a spinning loop may have, whatever the clock says. */
#if defined(STILE_FIBRES)
enum { OS_LOOKS_MOST = 8 };
#else
enum { OS_LOOKS_MOST = 10000 };
#endif

/* How many threads can run at once; read once. */
unsigned stile__cpus(void);

/* How long it takes until a thread runs that was woken, as far as is known; at most
 * 50 us.  Whoever was woken tells how long it took. */
int64_t stile__wake_ns(void);
void stile__wake_took(int64_t ns);

/* ---- mutexes --------------------------------------------------------------
 * Short sections only: nothing sleeps, does I/O or calls a user under one.
 *
 * Lock order, outermost first.  A thread takes a mutex only if its rank is
 * higher than that of every mutex it has; builds without NDEBUG check it. */
enum stile_rank {
    STILE_RANK_REGISTRY = 1, /* a shard of names */
    STILE_RANK_OBJECT,       /* the queue of one object */
    STILE_RANK_SPACE,        /* lists that a space keeps: orphans, waiting ops */
    STILE_RANK_LEASE,        /* the lease table */
    STILE_RANK_LINE,         /* who uses a connection */
    STILE_RANK_USER,         /* what users wait with: a cancellation, a future */
    STILE_RANK_LEAF          /* takes nothing inside */
};

struct stile_mutex {
#if defined(STILE_FIBRES)
    struct stile_fibre *owner;
#else
    pthread_mutex_t mutex;
#endif
    enum stile_rank rank;
};

/* Cannot fail: a default mutex needs no resource. */
void stile__mutex_init(struct stile_mutex *mutex, enum stile_rank rank);
void stile__mutex_fini(struct stile_mutex *mutex);
void stile__mutex_lock(struct stile_mutex *mutex);
void stile__mutex_unlock(struct stile_mutex *mutex);

/* ---- parking --------------------------------------------------------------
 * A parker is one thread's place to sleep: a token, there or not.  Unparking
 * puts the token down and wakes; parking takes it, or sleeps until it is there
 * or the time has come.  Parkers are pooled and never freed while the process
 * lives, so that a late unpark hits a live word; whoever parks tolerates a
 * stray token. */
struct stile_parker;

/* NULL when memory is out. */
struct stile_parker *stile__parker_get(void);
void stile__parker_put(struct stile_parker *parker);
/* Returns on a token, at until_ns of the monotonic clock (INT64_MAX: never), or
 * now and then for no reason. */
void stile__park(struct stile_parker *parker, int64_t until_ns);
void stile__unpark(struct stile_parker *parker);
/* Whether its thread went to sleep on the core on which the caller runs: woken, it may
 * have to wait until the caller stops.  A hint. */
bool stile__parked_here(const struct stile_parker *parker);

struct stile_signal;
/*
 * As stile__park, but returns true as soon as fd can be read (a broken one counts).
 * signal is what stile__unpark raises then: no other thread uses it meanwhile, and nobody
 * touches it any more after the return.
 */
bool stile__park_with(struct stile_parker *parker, const struct stile_signal *signal, int fd,
                      int64_t until_ns);

/* ---- time -----------------------------------------------------------------
 * Waits are measured by the monotonic clock, leases by the boot clock, which
 * goes on while a machine sleeps. */
int64_t stile__monotonic_ns(void);
int64_t stile__boottime_ns(void);

/* The clock that people set, in milliseconds since 1970. */
int64_t stile__realtime_ms(void);

/* ---- who this is, for people -----------------------------------------------*/
/* The machine's name, cut to size and always ended; "" if it has none. */
void stile__host_name(char *name, size_t size);
int64_t stile__process_id(void);

/* ---- threads --------------------------------------------------------------*/
struct stile_thread {
#if defined(STILE_FIBRES)
    struct stile_fibre *fibre;
#else
    pthread_t thread;
#endif
};

/* Starts a thread of the library: named (at most 15 bytes), all signals
 * blocked.  STILE_OK or STILE_NO_MEMORY. */
stile_status stile__thread_start(struct stile_thread *thread, const char *name,
                                 void (*run)(void *arg), void *arg);
void stile__thread_join(struct stile_thread *thread);

/* Cancellation is off between these two: a cancelled thread would strand those
 * it owes something. */
int stile__cancel_off(void);
void stile__cancel_restore(int previous);

/* What the calling thread keeps until it ends: a pointer that starts as NULL, for the
 * reentrant lock alone.  Read on its fast path, hence no call. */
#if defined(STILE_FIBRES)
void **stile__fibre_kept(void);
#define os_kept() stile__fibre_kept()
#else
extern OS_THREAD_LOCAL void *stile__kept;
#define os_kept() (&stile__kept)
#endif
/* Sets what the calling thread keeps, and who frees it when the thread ends: the same
 * for all threads.  STILE_OK or STILE_NO_MEMORY. */
stile_status stile__keep(void *kept, void (*free_kept)(void *kept));

/* The calling thread's number: never 0, never used again in this process.  Its
 * lower 32 bits are the number that the system has for the thread. */
uint64_t stile__thread_number(void);

#if defined(STILE_FIBRES)
#define os_thread_known() stile__thread_number()
#else
extern OS_THREAD_LOCAL uint64_t stile__thread_known;

/* The same, or 0 if the thread was not asked for it yet.  In a child of fork() the thread
 * that forked may keep the number that it had. */
static inline uint64_t os_thread_known(void)
{
    return stile__thread_known;
}
#endif

/* ---- signals ---------------------------------------------------------------
 * A descriptor that event loops poll: readable while raised.  Raising and
 * clearing never block. */
struct stile_signal {
    int fds[2]; /* what is polled, and what raises; the same, or a pipe's ends */
};

/* STILE_OK or STILE_NO_MEMORY. */
stile_status stile__signal_open(struct stile_signal *signal);
void stile__signal_close(struct stile_signal *signal);
void stile__signal_raise(const struct stile_signal *signal);
void stile__signal_clear(const struct stile_signal *signal);

/* How often this process is a fork of the one it was; compare with the number
 * kept when an object was made.  Async-signal-safe. */
uint32_t stile__fork_generation(void);

/* ---- entropy --------------------------------------------------------------
 * Fills size bytes from the kernel, or fails: nothing else is good enough. */
stile_status stile__random(void *bytes, size_t size);

/* ---- sockets --------------------------------------------------------------
 * Non-blocking, close-on-exec, never raising SIGPIPE.  Times are monotonic.  A
 * negative answer is the errno, negated. */

/* Where to connect: a unix path, or a host and port. */
struct stile_address {
    const char *path; /* NULL for host and port */
    const char *host;
    uint16_t port;
};

/* Connects, trying every address of the host until until_ns.  Returns a
 * descriptor.  *where tells which step failed, for people. */
int stile__socket_connect(const struct stile_address *address, int64_t until_ns,
                          const char **where);
/* Bytes moved, 0 at the end of the stream (receive), or a negative errno:
 * -EAGAIN when the socket would have to wait. */
ptrdiff_t stile__socket_send(int fd, const void *bytes, size_t size);
ptrdiff_t stile__socket_receive(int fd, void *bytes, size_t size);
/* Waits until fd can be read (or written), or until_ns passes: 0, -ETIMEDOUT or
 * another negative errno.  A closed or broken socket counts as readable. */
int stile__socket_wait(int fd, bool for_write, int64_t until_ns);
/* Waits until fd or other can be read, or until_ns passes: whether fd can, or neither
 * can be waited for. */
bool stile__socket_wait_with(int fd, int other, int64_t until_ns);
/* Makes everybody who waits on fd see the end of the stream. */
void stile__socket_shut(int fd);
/* reset: throw away what was not sent yet, so that no copy of a request can
 * arrive later. */
void stile__socket_close(int fd, bool reset);

#endif
