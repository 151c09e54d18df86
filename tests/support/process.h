/*
 * Processes of a test: started, ordered, killed, counted.
 *
 * A test that needs several processes spawns them first and starts threads (a
 * proxy, say) afterwards: the child of a process with threads may start none of
 * its own under the thread sanitizer.  What the children have to know by then,
 * such as a proxy's URL, goes through shared memory, and flags in it order the
 * steps.
 */
#ifndef TEST_PROCESS_H
#define TEST_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

/* ---- time ------------------------------------------------------------------
 * The monotonic clock. */
int64_t test_now_ns(void);
int64_t test_now_ms(void);

/* Sleeps.  For the pause in a loop around a condition, and for real time that
 * has to pass; never for order. */
void test_sleep_ms(int64_t ms);

/* ---- processes ------------------------------------------------------------- */

struct test_process {
    pid_t pid;  /* 0 once it was waited for */
    int result; /* then: its exit code, or 128 + the signal that ended it */
};

/*
 * Runs run(arg) in a child, which exits with what it returns (0 to 127) and
 * without exit handlers.  The child is killed when the thread that spawned it
 * ends.
 *
 * cmocka's assertions would run the rest of the suite in the child: use
 * test_child_check() there.  False, with a sentence on stderr, if there is no
 * child.
 */
bool test_spawn(struct test_process *process, int (*run)(void *arg), void *arg);

/* In a child: ends it with 99 and a line on stderr unless condition holds. */
#define test_child_check(condition)                                                                \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so in a child: %s\n", __FILE__, __LINE__, #condition);     \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

/* Returns result, or -1 if the process still runs after timeout_ms. */
int test_process_wait(struct test_process *process, int64_t timeout_ms);

/* SIGKILL, and waits until it is dead.  Nothing for one that was waited for. */
void test_process_kill(struct test_process *process);

/* SIGSTOP, and waits until all its threads stand still; SIGCONT. */
void test_process_pause(struct test_process *process);
void test_process_resume(struct test_process *process);

/* The same for any child, by its id: false if it is dead (and not reaped). */
bool test_pid_pause(pid_t pid);
bool test_pid_resume(pid_t pid);

/* ---- shared memory ---------------------------------------------------------
 * Zeroed, and shared with every child spawned later.  Ends the process if there
 * is none.  Freed by each process that has it, or when that ends. */
void *test_shared_alloc(size_t size);
void test_shared_free(void *memory, size_t size);

/*
 * A number that only grows, to be waited for by threads and, in shared memory,
 * by processes.  Zeroed memory is a flag at 0.  What was written before a set or
 * an add is seen by whoever waited for it.
 */
struct test_flag {
    _Atomic uint32_t value;
};

void test_flag_set(struct test_flag *flag, uint32_t value);
/* Adds 1 and returns the new value. */
uint32_t test_flag_add(struct test_flag *flag);
uint32_t test_flag_get(struct test_flag *flag);
/* True once the value is at_least or more; false after timeout_ms. */
bool test_flag_wait(struct test_flag *flag, uint32_t at_least, int64_t timeout_ms);

/*
 * Lets go when parties have arrived, again and again.  Zeroed memory is a
 * barrier nobody waits at.  False after timeout_ms; it is of no use then.
 */
struct test_barrier {
    struct test_flag arrived; /* in all rounds */
};

bool test_barrier_wait(struct test_barrier *barrier, uint32_t parties, int64_t timeout_ms);

/* ---- census ---------------------------------------------------------------- */

/* What the process has open and running. */
struct test_census {
    unsigned descriptors;
    unsigned threads;
};

struct test_census test_census_take(void);

/*
 * Waits up to 2 s until the process has no more than before, since the kernel
 * lists a thread for a moment after it was joined.  True if so; else false, and
 * both counts on stderr.
 */
bool test_census_is_back(const struct test_census *before);

#endif
