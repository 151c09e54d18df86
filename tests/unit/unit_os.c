/*
 * The operating-system layer without its sockets: parking, mutexes, clocks,
 * threads, forks and entropy.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "punctual.h"

/* ---- parking ----------------------------------------------------------------- */

static void park_until(void *parker, int64_t until_ns)
{
    stile__park(parker, until_ns);
}

static void token_left_before_is_taken_at_once(void **state)
{
    struct stile_parker *parker = stile__parker_get();
    int64_t until = in_ns(SOON_NS);

    (void)state;
    assert_non_null(parker);
    stile__unpark(parker);
    stile__park(parker, until);
    assert_true(stile__monotonic_ns() < until);
    stile__parker_put(parker);
}

static void token_is_taken_once_however_often_it_was_left(void **state)
{
    struct stile_parker *parker = stile__parker_get();

    (void)state;
    assert_non_null(parker);
    stile__unpark(parker);
    stile__unpark(parker);
    stile__park(parker, INT64_MAX);
    check_punctual(park_until, parker);
    stile__parker_put(parker);
}

static void token_is_there_after_a_park_that_timed_out(void **state)
{
    struct stile_parker *parker = stile__parker_get();

    (void)state;
    assert_non_null(parker);
    stile__park(parker, 0);
    stile__park(parker, INT64_MIN);
    stile__unpark(parker);
    stile__park(parker, INT64_MAX);
    stile__parker_put(parker);
}

static void parker_from_the_pool_has_no_token(void **state)
{
    struct stile_parker *parker = stile__parker_get();
    struct stile_parker *late = parker;

    (void)state;
    assert_non_null(parker);
    stile__parker_put(parker);
    stile__unpark(late); /* a late one, which hits a live word */
    parker = stile__parker_get();
    assert_ptr_equal(parker, late);
    check_punctual(park_until, parker);
    stile__parker_put(parker);
}

static void park_keeps_its_deadline_under_a_storm_of_signals(void **state)
{
    struct stile_parker *parker = stile__parker_get();

    (void)state;
    assert_non_null(parker);
    storm_count = 0;
    set_alarm(count_storm, 1000, 1000);
    check_punctual(park_until, parker);
    assert_true(storm_count > 10);
    stile__parker_put(parker);
}

#define ROUNDS 20000

/* Two threads play a ball back and forth; who has the token may touch it. */
struct game {
    struct stile_parker *parkers[2];
    const struct stile_signal *signal; /* the first parks with it; NULL: as the second */
    int silent;                        /* the descriptor that it watches */
    unsigned ball;
    unsigned faults;
};

static void play(struct game *game, unsigned me)
{
    unsigned i;

    for (i = 0; i < ROUNDS; i++) {
        if (me == 0 && game->signal != NULL)
            game->faults +=
                stile__park_with(game->parkers[0], game->signal, game->silent, INT64_MAX);
        else
            stile__park(game->parkers[me], INT64_MAX);
        game->faults += game->ball != 2 * i + me;
        game->ball++;
        stile__unpark(game->parkers[1 - me]);
    }
}

static void play_second(void *game)
{
    play(game, 1);
}

static void expect_good_game(const struct stile_signal *signal, int silent)
{
    struct game game = {
        .parkers = {stile__parker_get(), stile__parker_get()}, .signal = signal, .silent = silent};
    struct stile_thread thread;

    assert_non_null(game.parkers[0]);
    assert_non_null(game.parkers[1]);
    assert_ptr_not_equal(game.parkers[0], game.parkers[1]);
    assert_int_equal(stile__thread_start(&thread, "second", play_second, &game), STILE_OK);
    stile__unpark(game.parkers[0]);
    play(&game, 0);
    stile__thread_join(&thread);
    assert_int_equal(game.faults, 0);
    assert_int_equal(game.ball, 2 * ROUNDS);
    stile__parker_put(game.parkers[0]);
    stile__parker_put(game.parkers[1]);
}

static void unpark_wakes_and_shows_what_was_written_before(void **state)
{
    (void)state;
    expect_good_game(NULL, -1);
}

/* ---- parking with a descriptor ------------------------------------------------ */

/* One to watch, one to be woken by, and a parker. */
struct watch {
    struct stile_signal watched, signal;
    struct stile_parker *parker;
};

static void watch_begin(struct watch *watch)
{
    assert_int_equal(stile__signal_open(&watch->watched), STILE_OK);
    assert_int_equal(stile__signal_open(&watch->signal), STILE_OK);
    watch->parker = stile__parker_get();
    assert_non_null(watch->parker);
}

/* Nobody left the signal raised. */
static void watch_end(struct watch *watch)
{
    assert_int_equal(stile__socket_wait(watch->signal.fds[0], false, 0), -ETIMEDOUT);
    stile__parker_put(watch->parker);
    stile__signal_close(&watch->signal);
    stile__signal_close(&watch->watched);
}

static bool park_watching(struct watch *watch, int64_t until_ns)
{
    return stile__park_with(watch->parker, &watch->signal, watch->watched.fds[0], until_ns);
}

static void watch_until(void *watch, int64_t until_ns)
{
    park_watching(watch, until_ns);
}

static void park_with_a_descriptor_ends_when_it_can_be_read(void **state)
{
    struct watch watch;

    (void)state;
    watch_begin(&watch);
    stile__signal_raise(&watch.watched);
    assert_true(park_watching(&watch, INT64_MAX));
    stile__signal_clear(&watch.watched);
    assert_false(park_watching(&watch, 0));
    watch_end(&watch);
}

static void park_with_a_descriptor_takes_a_token_and_keeps_its_deadline(void **state)
{
    struct watch watch;

    (void)state;
    watch_begin(&watch);
    stile__unpark(watch.parker);
    assert_false(park_watching(&watch, INT64_MAX));
    check_punctual(watch_until, &watch);
    watch_end(&watch);
}

static void unpark_wakes_who_parked_with_a_descriptor(void **state)
{
    struct watch watch;

    (void)state;
    watch_begin(&watch);
    expect_good_game(&watch.signal, watch.watched.fds[0]);
    watch_end(&watch);
}

struct ringer {
    struct stile_parker *parker;
    _Atomic bool stop;
};

static void *ring(void *arg)
{
    struct ringer *ringer = arg;

    while (!os_load(&ringer->stop, memory_order_relaxed))
        stile__unpark(ringer->parker);
    return NULL;
}

static _Atomic unsigned held_up;

/* Whoever it interrupts is late with what it does next. */
static void hold_up(int number)
{
    struct timespec while_others_run = {.tv_nsec = 200000};
    int before = errno;

    (void)number;
    nanosleep(&while_others_run, NULL);
    atomic_fetch_add(&held_up, 1);
    errno = before;
}

static void nobody_raises_the_signal_of_a_park_that_is_over(void **state)
{
    sigset_t alarms, mask;
    struct ringer ringer;
    struct watch watch;
    unsigned faults = 0;
    pthread_t thread;

    (void)state;
    watch_begin(&watch);
    ringer.parker = watch.parker;
    atomic_init(&ringer.stop, false);
    assert_int_equal(pthread_create(&thread, NULL, ring, &ringer), 0);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &alarms, &mask), 0);
    atomic_store(&held_up, 0);
    set_alarm(hold_up, 1000, 1000);
    while (atomic_load(&held_up) < 500) {
        park_watching(&watch, INT64_MIN);
        faults += stile__socket_wait(watch.signal.fds[0], false, 0) != -ETIMEDOUT;
    }
    storm_end(NULL);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
    os_store(&ringer.stop, true, memory_order_relaxed);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(faults, 0);
    watch_end(&watch);
}

/* ---- mutexes ----------------------------------------------------------------- */

struct counter {
    struct stile_mutex mutex;
    unsigned count; /* under mutex */
    _Atomic unsigned ready;
};

static void count_up(void *arg)
{
    struct counter *counter = arg;
    unsigned seen;
    int i;

    os_add(&counter->ready, 1, memory_order_relaxed);
    while (os_load(&counter->ready, memory_order_relaxed) < 2)
        os_pause();
    for (i = 0; i < ROUNDS; i++) {
        stile__mutex_lock(&counter->mutex);
        seen = counter->count;
        os_pause();
        counter->count = seen + 1;
        stile__mutex_unlock(&counter->mutex);
    }
}

static void mutex_lets_one_thread_in_at_a_time(void **state)
{
    struct counter counter = {.count = 0, .ready = 0};
    struct stile_thread thread;

    (void)state;
    stile__mutex_init(&counter.mutex, STILE_RANK_LEAF);
    assert_int_equal(stile__thread_start(&thread, "counter", count_up, &counter), STILE_OK);
    count_up(&counter);
    stile__thread_join(&thread);
    assert_int_equal(counter.count, 2 * ROUNDS);
    stile__mutex_fini(&counter.mutex);
}

/* Takes three mutexes, outermost first, the middle one twice. */
static void take_three(struct stile_mutex mutexes[3], enum stile_rank outer, enum stile_rank middle,
                       enum stile_rank inner)
{
    stile__mutex_init(&mutexes[0], outer);
    stile__mutex_init(&mutexes[1], middle);
    stile__mutex_init(&mutexes[2], inner);
    stile__mutex_lock(&mutexes[0]);
    stile__mutex_lock(&mutexes[1]);
    stile__mutex_unlock(&mutexes[1]);
    stile__mutex_lock(&mutexes[1]);
    stile__mutex_lock(&mutexes[2]);
}

/* Lets go of them in another order than they were taken in. */
static void leave_three(struct stile_mutex mutexes[3])
{
    int i;

    stile__mutex_unlock(&mutexes[1]);
    stile__mutex_unlock(&mutexes[2]);
    stile__mutex_unlock(&mutexes[0]);
    for (i = 0; i < 3; i++)
        stile__mutex_fini(&mutexes[i]);
}

static void mutexes_may_be_taken_by_rising_rank(void **state)
{
    struct stile_mutex mutexes[3];

    (void)state;
    take_three(mutexes, STILE_RANK_REGISTRY, STILE_RANK_OBJECT, STILE_RANK_LEAF);
    leave_three(mutexes);
    take_three(mutexes, STILE_RANK_SPACE, STILE_RANK_LEASE, STILE_RANK_LINE);
    leave_three(mutexes);
}

#if !defined(NDEBUG)

/* The signal that ends a child which takes three mutexes of these ranks. */
static int signal_of_taking(enum stile_rank outer, enum stile_rank middle, enum stile_rank inner)
{
    const struct rlimit no_core = {0, 0};
    struct stile_mutex mutexes[3];
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        take_three(mutexes, outer, middle, inner);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void mutexes_against_the_order_of_ranks_are_an_assertion(void **state)
{
    (void)state;
    assert_int_equal(signal_of_taking(STILE_RANK_REGISTRY, STILE_RANK_OBJECT, STILE_RANK_LEASE), 0);
    assert_int_equal(signal_of_taking(STILE_RANK_REGISTRY, STILE_RANK_LEASE, STILE_RANK_OBJECT),
                     SIGABRT);
    assert_int_equal(signal_of_taking(STILE_RANK_REGISTRY, STILE_RANK_OBJECT, STILE_RANK_OBJECT),
                     SIGABRT);
    assert_int_equal(signal_of_taking(STILE_RANK_REGISTRY, STILE_RANK_LEAF, STILE_RANK_LEAF),
                     SIGABRT);
    assert_int_equal(signal_of_taking(STILE_RANK_LEAF, STILE_RANK_REGISTRY, STILE_RANK_LEAF),
                     SIGABRT);
}

#endif

/* ---- the machine ------------------------------------------------------------- */

static void some_threads_can_run_and_always_as_many(void **state)
{
    (void)state;
    assert_true(stile__cpus() >= 1);
    assert_int_equal(stile__cpus(), stile__cpus());
}

static void clocks_go_forward(void **state)
{
    int64_t monotonic = stile__monotonic_ns(), boot = stile__boottime_ns();

    (void)state;
    assert_true(monotonic > 0);
    /* The boot clock counts what the other counts, and sleep besides. */
    assert_true(boot >= monotonic);
    while (stile__monotonic_ns() <= monotonic || stile__boottime_ns() <= boot)
        os_pause();
    assert_true(stile__monotonic_ns() - monotonic < SOON_NS);
}

static void random_bytes_differ_and_fill_what_was_asked(void **state)
{
    unsigned char first[64] = {0}, second[64] = {0}, many[4096] = {0};
    const unsigned char zeros[64] = {0};

    (void)state;
    assert_int_equal(stile__random(first, 32), STILE_OK);
    assert_int_equal(stile__random(second, 32), STILE_OK);
    assert_memory_not_equal(first, second, 32);
    assert_memory_equal(first + 32, zeros, 32);
    assert_int_equal(stile__random(many, sizeof(many)), STILE_OK);
    assert_memory_not_equal(many + sizeof(many) - 32, zeros, 32);
    assert_int_equal(stile__random(NULL, 0), STILE_OK);
}

/* ---- threads ----------------------------------------------------------------- */

struct look {
    char name[16];
    int open_signals;
};

static bool blockable(int number)
{
    /* Between the standard signals and SIGRTMIN are those of the C library. */
    return number != SIGKILL && number != SIGSTOP && (number < 32 || number >= SIGRTMIN);
}

static void look_at_thread(void *arg)
{
    struct look *look = arg;
    sigset_t blocked;
    int number;

    pthread_getname_np(pthread_self(), look->name, sizeof(look->name));
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    for (number = 1; number <= SIGRTMAX; number++)
        look->open_signals += blockable(number) && !sigismember(&blocked, number);
}

static void thread_has_its_name_and_blocks_every_signal(void **state)
{
    struct look look = {.open_signals = 0};
    struct stile_thread thread;
    sigset_t mask;

    (void)state;
    assert_int_equal(stile__thread_start(&thread, "fifteen letters", look_at_thread, &look),
                     STILE_OK);
    stile__thread_join(&thread);
    assert_string_equal(look.name, "fifteen letters");
    assert_int_equal(look.open_signals, 0);
    /* The thread that started it goes on as it was. */
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

static void thread_that_cannot_be_started_is_out_of_memory(void **state)
{
    struct stile_thread thread;
    pthread_attr_t usual, greedy;

    (void)state;
    assert_int_equal(pthread_getattr_default_np(&usual), 0);
    assert_int_equal(pthread_attr_init(&greedy), 0);
    assert_int_equal(pthread_attr_setstacksize(&greedy, (size_t)1 << 50), 0);
    assert_int_equal(pthread_setattr_default_np(&greedy), 0);
    assert_int_equal(stile__thread_start(&thread, "greedy", look_at_thread, NULL), STILE_NO_MEMORY);
    assert_int_equal(pthread_setattr_default_np(&usual), 0);
    assert_non_null(strstr(stile_error_detail(), "greedy"));
    pthread_attr_destroy(&greedy);
    pthread_attr_destroy(&usual);
}

static void *be_cancelled(void *arg)
{
    int *steps = arg;
    int previous = stile__cancel_off();

    pthread_cancel(pthread_self());
    pthread_testcancel();
    *steps += 1;
    stile__cancel_restore(previous);
    pthread_testcancel();
    *steps += 1;
    return NULL;
}

static void cancellation_waits_until_it_is_restored(void **state)
{
    pthread_t thread;
    void *result;
    int steps = 0;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, be_cancelled, &steps), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    assert_int_equal(steps, 1);
}

/* ---- forks ------------------------------------------------------------------- */

/* Runs check in a child; returns whether it said so.  A child that hangs is
 * ended by its alarm. */
static bool child_says(bool (*check)(void *arg), void *arg)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(10);
        _exit(check(arg) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool has_other_generation(void *arg)
{
    return stile__fork_generation() != *(uint32_t *)arg;
}

static bool has_other_generation_and_so_has_its_child(void *arg)
{
    uint32_t mine = stile__fork_generation();

    return has_other_generation(arg) && child_says(has_other_generation, arg) &&
           child_says(has_other_generation, &mine);
}

static void fork_generation_is_another_in_each_child(void **state)
{
    uint32_t before = stile__fork_generation();

    (void)state;
    assert_true(child_says(has_other_generation_and_so_has_its_child, &before));
    assert_int_equal(stile__fork_generation(), before);
}

static void use_the_pool(void *arg)
{
    atomic_bool *stop = arg;

    while (!os_load(stop, memory_order_relaxed))
        stile__parker_put(stile__parker_get());
}

static bool can_park(void *arg)
{
    struct stile_parker *parker = stile__parker_get();

    (void)arg;
    if (parker == NULL)
        return false;
    stile__unpark(parker);
    stile__park(parker, INT64_MAX);
    stile__parker_put(parker);
    return true;
}

static void child_can_park_whoever_was_in_the_pool_at_the_fork(void **state)
{
    atomic_bool stop = false;
    struct stile_thread thread;
    int i;

    (void)state;
    /* So that the thread allocates nothing: the allocator's locks at a fork are
     * not what is tested. */
    assert_true(can_park(NULL));
    assert_int_equal(stile__thread_start(&thread, "pool", use_the_pool, &stop), STILE_OK);
    for (i = 0; i < 50; i++)
        assert_true(child_says(can_park, NULL));
    os_store(&stop, true, memory_order_relaxed);
    stile__thread_join(&thread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_left_before_is_taken_at_once),
        cmocka_unit_test(token_is_taken_once_however_often_it_was_left),
        cmocka_unit_test(token_is_there_after_a_park_that_timed_out),
        cmocka_unit_test(parker_from_the_pool_has_no_token),
        cmocka_unit_test_teardown(park_keeps_its_deadline_under_a_storm_of_signals, storm_end),
        cmocka_unit_test(unpark_wakes_and_shows_what_was_written_before),
        cmocka_unit_test(park_with_a_descriptor_ends_when_it_can_be_read),
        cmocka_unit_test(park_with_a_descriptor_takes_a_token_and_keeps_its_deadline),
        cmocka_unit_test(unpark_wakes_who_parked_with_a_descriptor),
        cmocka_unit_test_teardown(nobody_raises_the_signal_of_a_park_that_is_over, storm_end),
        cmocka_unit_test(mutex_lets_one_thread_in_at_a_time),
        cmocka_unit_test(mutexes_may_be_taken_by_rising_rank),
#if !defined(NDEBUG)
        cmocka_unit_test(mutexes_against_the_order_of_ranks_are_an_assertion),
#endif
        cmocka_unit_test(some_threads_can_run_and_always_as_many),
        cmocka_unit_test(clocks_go_forward),
        cmocka_unit_test(random_bytes_differ_and_fill_what_was_asked),
        cmocka_unit_test(thread_has_its_name_and_blocks_every_signal),
        cmocka_unit_test(thread_that_cannot_be_started_is_out_of_memory),
        cmocka_unit_test(cancellation_waits_until_it_is_restored),
        cmocka_unit_test(fork_generation_is_another_in_each_child),
        cmocka_unit_test(child_can_park_whoever_was_in_the_pool_at_the_fork),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
