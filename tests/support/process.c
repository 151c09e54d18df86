#include "support/process.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* ---- time ------------------------------------------------------------------ */

int64_t test_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t test_now_ms(void)
{
    return test_now_ns() / 1000000;
}

void test_sleep_ms(int64_t ms)
{
    int64_t until = test_now_ns() + ms * 1000000;
    struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

/* ---- processes ------------------------------------------------------------- */

bool test_spawn(struct test_process *process, int (*run)(void *arg), void *arg)
{
    pid_t parent = getpid();
    pid_t pid;

    *process = (struct test_process){0};
    fflush(NULL);
    pid = fork();
    if (pid == -1) {
        fprintf(stderr, "No process can be started: %s\n", strerror(errno));
        return false;
    }
    if (pid == 0) {
        int result;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(99); /* the parent died before it could be watched */
        result = run(arg);
        fflush(NULL);
        _exit(result);
    }
    process->pid = pid;
    return true;
}

static void note_end(struct test_process *process, int status)
{
    process->pid = 0;
    process->result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int test_process_wait(struct test_process *process, int64_t timeout_ms)
{
    int64_t until = test_now_ms() + timeout_ms;
    int status;

    while (process->pid != 0) {
        if (waitpid(process->pid, &status, WNOHANG) == process->pid)
            note_end(process, status);
        else if (test_now_ms() >= until)
            return -1;
        else
            test_sleep_ms(1);
    }
    return process->result;
}

void test_process_kill(struct test_process *process)
{
    int status;

    if (process->pid == 0)
        return;
    kill(process->pid, SIGKILL);
    while (waitpid(process->pid, &status, 0) == -1 && errno == EINTR)
        continue;
    note_end(process, status);
}

bool test_pid_pause(pid_t pid)
{
    siginfo_t info;

    if (kill(pid, SIGSTOP) != 0)
        return false;
    /* The report stays with the kernel, where a second pause finds it again and
     * SIGCONT takes it away. */
    while (waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT) != 0) {
        if (errno != EINTR)
            return false;
    }
    return info.si_code == CLD_STOPPED;
}

bool test_pid_resume(pid_t pid)
{
    return kill(pid, SIGCONT) == 0;
}

void test_process_pause(struct test_process *process)
{
    if (process->pid != 0)
        test_pid_pause(process->pid);
}

void test_process_resume(struct test_process *process)
{
    if (process->pid != 0)
        test_pid_resume(process->pid);
}

/* ---- shared memory --------------------------------------------------------- */

void *test_shared_alloc(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        fprintf(stderr, "No shared memory: %s\n", strerror(errno));
        abort();
    }
    return memory;
}

void test_shared_free(void *memory, size_t size)
{
    if (memory != NULL)
        munmap(memory, size);
}

/* Not FUTEX_PRIVATE_FLAG: the word may be another process's as well. */
static void futex_wake_all(struct test_flag *flag)
{
    syscall(SYS_futex, &flag->value, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void test_flag_set(struct test_flag *flag, uint32_t value)
{
    atomic_store(&flag->value, value);
    futex_wake_all(flag);
}

uint32_t test_flag_add(struct test_flag *flag)
{
    uint32_t value = atomic_fetch_add(&flag->value, 1) + 1;

    futex_wake_all(flag);
    return value;
}

uint32_t test_flag_get(struct test_flag *flag)
{
    return atomic_load(&flag->value);
}

bool test_flag_wait(struct test_flag *flag, uint32_t at_least, int64_t timeout_ms)
{
    int64_t until = test_now_ns() + timeout_ms * 1000000;

    for (;;) {
        uint32_t value = atomic_load(&flag->value);
        int64_t left = until - test_now_ns();
        struct timespec pause;

        if (value >= at_least)
            return true;
        if (left <= 0)
            return false;
        pause.tv_sec = left / 1000000000;
        pause.tv_nsec = left % 1000000000;
        syscall(SYS_futex, &flag->value, FUTEX_WAIT, value, &pause, NULL, 0);
    }
}

bool test_barrier_wait(struct test_barrier *barrier, uint32_t parties, int64_t timeout_ms)
{
    uint32_t place = test_flag_add(&barrier->arrived) - 1;

    return test_flag_wait(&barrier->arrived, (place / parties + 1) * parties, timeout_ms);
}

/* ---- census ---------------------------------------------------------------- */

static unsigned count_entries(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    const struct dirent *entry;

    if (dir == NULL) {
        fprintf(stderr, "%s cannot be read: %s\n", path, strerror(errno));
        abort();
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.')
            count++;
    }
    closedir(dir);
    return count;
}

static void *tell_id(void *arg)
{
    *(pid_t *)arg = gettid();
    return NULL;
}

/* The thread sanitizer starts a thread of its own with the first of the program,
 * and keeps it: so there is one before anybody counts. */
static void start_first_thread(void)
{
    pthread_t thread;
    pid_t id;

    if (pthread_create(&thread, NULL, tell_id, &id) != 0)
        return;
    pthread_join(thread, NULL);
    while (syscall(SYS_tgkill, getpid(), id, 0) == 0)
        test_sleep_ms(1);
}

struct test_census test_census_take(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct test_census census;

    pthread_once(&once, start_first_thread);
    census.descriptors = count_entries("/proc/self/fd") - 1; /* without the directory's own */
    census.threads = count_entries("/proc/self/task");
    return census;
}

bool test_census_is_back(const struct test_census *before)
{
    int64_t until = test_now_ms() + 2000;

    for (;;) {
        struct test_census now = test_census_take();

        if (now.descriptors <= before->descriptors && now.threads <= before->threads)
            return true;
        if (test_now_ms() >= until) {
            fprintf(stderr, "Left over: %u descriptors were %u, %u threads were %u\n",
                    now.descriptors, before->descriptors, now.threads, before->threads);
            return false;
        }
        test_sleep_ms(1);
    }
}
