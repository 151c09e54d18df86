/* What the other tests stand on does what its headers say. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/process.h"
#include "support/server.h"
#include "support/tempdir.h"

#define SOON_MS 5000

/* The state letter of a process, 'X' if there is none. */
static char state_of(pid_t pid)
{
    char path[64], line[256], *name_end;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return 'X';
    if (fgets(line, sizeof line, file) == NULL)
        line[0] = '\0';
    fclose(file);
    name_end = strrchr(line, ')');
    return name_end != NULL ? name_end[2] : 'X';
}

static bool is_there(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

static void assert_reply(const struct test_server *server, const char *command,
                         const char *argument, const char *expected)
{
    char text[256];

    assert_int_equal(test_redis(server, text, sizeof text, command, argument, NULL), TEST_REPLY_OK);
    assert_string_equal(text, expected);
}

/* ---- the server ---------------------------------------------------------------- */

static void a_server_answers_and_leaves_nothing(void **state)
{
    struct test_census before = test_census_take();
    struct test_server server;
    char dir[TEST_TEMPDIR_SIZE];
    pid_t pid;

    (void)state;
    assert_true(test_server_start(NULL, &server));
    pid = server.pid;
    snprintf(dir, sizeof dir, "%s", server.dir);
    assert_string_equal(test_server_unix_url(&server) + strlen("unix://"),
                        test_server_unix_path(&server));
    assert_reply(&server, "ECHO", "x", "x");
    assert_true(is_there(dir));
    test_server_stop(&server);
    test_server_stop(&server);
    assert_int_equal(state_of(pid), 'X');
    assert_false(is_there(dir));
    assert_true(test_census_is_back(&before));
}

static void a_server_takes_its_options(void **state)
{
    static const char *const arguments[] = {"--maxmemory", "3mb", NULL};
    struct test_server_options options = {.tcp = true, .password = "secret", .args = arguments};
    struct test_server server;
    char text[64], port[32];

    (void)state;
    assert_true(test_server_start(&options, &server));
    assert_int_equal(test_redis(&server, text, sizeof text, "CONFIG", "GET", "maxmemory", NULL),
                     TEST_REPLY_OK);
    assert_string_equal(text, "maxmemory\n3145728");
    snprintf(port, sizeof port, "redis://127.0.0.1:%u", (unsigned)server.port);
    assert_string_equal(test_server_tcp_url(&server), port);
    assert_int_equal(test_redis(&server, text, sizeof text, "CONFIG", "GET", "port", NULL),
                     TEST_REPLY_OK);
    assert_string_equal(text + strlen("port\n"), strrchr(port, ':') + 1);

    server.options.password = NULL;
    assert_int_equal(test_redis(&server, text, sizeof text, "PING", NULL), TEST_REPLY_ERROR);
    assert_memory_equal(text, "NOAUTH", 6);
    server.options.password = "wrong";
    assert_int_equal(test_redis(&server, text, sizeof text, "PING", NULL), TEST_REPLY_NONE);
    assert_string_equal(text, "");
    test_server_stop(&server);
}

static bool has_loaded(pid_t pid, const char *library)
{
    char path[64], line[512];
    bool found = false;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/maps", (long)pid);
    file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL)
        found = found || strstr(line, library) != NULL;
    fclose(file);
    return found;
}

/* The library is one that is surely there and that no server loads by itself. */
static void only_a_preload_meant_for_the_server_reaches_it(void **state)
{
    static const char library[] = "libcmocka.so.0";
    static const char *const environment[] = {"LD_PRELOAD=libcmocka.so.0", NULL};
    const struct test_server_options options[] = {
        {.tcp = false}, {.preload = library}, {.environment = environment}};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct test_server server;
        bool started;

        setenv("LD_PRELOAD", library, 1);
        started = test_server_start(&options[i], &server);
        unsetenv("LD_PRELOAD");
        assert_true(started);
        assert_int_equal(has_loaded(server.pid, "libcmocka"), i > 0);
        test_server_stop(&server);
    }
}

static void what_a_restart_keeps_is_what_persistence_says(void **state)
{
    static const enum test_persistence kinds[] = {TEST_PERSIST_NONE, TEST_PERSIST_EVERYSEC,
                                                  TEST_PERSIST_ALWAYS};
    static const char *const settings[] = {"appendfsync\neverysec", "appendfsync\neverysec",
                                           "appendfsync\nalways"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct test_server_options options = {.tcp = true, .persistence = kinds[i]};
        struct test_server server;
        char text[64];
        uint16_t port;

        assert_true(test_server_start(&options, &server));
        port = server.port;
        assert_int_equal(test_redis_int(&server, "INCR", "n", NULL), 1);
        test_redis(&server, text, sizeof text, "CONFIG", "GET", "appendfsync", NULL);
        assert_string_equal(text, settings[i]);
        test_server_kill(&server);
        assert_int_equal(test_redis(&server, text, sizeof text, "PING", NULL), TEST_REPLY_NONE);
        assert_true(test_server_restart(&server));
        assert_int_equal(server.port, port);
        assert_reply(&server, "GET", "n", kinds[i] == TEST_PERSIST_NONE ? "(nil)" : "1");
        test_server_stop(&server);
    }
}

static void a_paused_server_stands_still_until_it_is_resumed(void **state)
{
    struct test_server server;

    (void)state;
    assert_true(test_server_start(NULL, &server));
    test_server_pause(&server);
    test_server_pause(&server);
    assert_int_equal(state_of(server.pid), 'T');
    test_server_resume(&server);
    test_server_resume(&server);
    assert_reply(&server, "ECHO", "x", "x");
    test_server_pause(&server);
    assert_int_equal(state_of(server.pid), 'T');
    test_server_stop(&server);
}

static void a_missing_redis_server_is_a_failure(void **state)
{
    char *path = strdup(getenv("PATH"));
    struct test_census before = test_census_take();
    struct test_server server;

    (void)state;
    assert_non_null(path);
    setenv("PATH", "/nonexistent", 1);
    assert_false(test_server_start(NULL, &server));
    setenv("PATH", path, 1);
    assert_int_equal(server.pid, 0);
    assert_true(test_census_is_back(&before));
    free(path);
}

static void an_argument_that_the_server_refuses_is_a_failure(void **state)
{
    static const char *const arguments[] = {"--no-such-option", "1", NULL};
    struct test_server_options options = {.args = arguments};
    struct test_server server;

    (void)state;
    assert_false(test_server_start(&options, &server));
    assert_int_equal(server.pid, 0);
}

static int start_and_wait(void *arg)
{
    struct test_server *server = arg;

    test_child_check(test_server_start(NULL, server));
    while (pause() != 0)
        continue;
    return 0;
}

static void a_server_dies_with_the_process_that_started_it(void **state)
{
    struct test_server *server = test_shared_alloc(sizeof *server);
    int64_t until = test_now_ms() + SOON_MS;
    struct test_process child;
    char text[16];

    (void)state;
    assert_true(test_spawn(&child, start_and_wait, server));
    while (server->unix_url[0] == '\0' ||
           test_redis(server, text, sizeof text, "PING", NULL) != TEST_REPLY_OK) {
        assert_true(test_now_ms() < until);
        test_sleep_ms(1);
    }
    test_process_kill(&child);
    assert_int_equal(child.result, 128 + SIGKILL);
    while (state_of(server->pid) != 'X' && state_of(server->pid) != 'Z') {
        assert_true(test_now_ms() < until);
        test_sleep_ms(1);
    }
    test_tempdir_remove(server->dir);
    test_shared_free(server, sizeof *server);
}

/* ---- commands ------------------------------------------------------------------ */

static void replies_become_flat_text(void **state)
{
    static const char script[] = "return {1, {'a', {}, false}, 'b', redis.status_reply('c')}";
    static const char *const binary[] = {"SETRANGE", "bin", "0", "a\0b"};
    static const size_t lengths[] = {8, 3, 1, 3};
    struct test_server server;
    char text[128];

    (void)state;
    assert_true(test_server_start(NULL, &server));
    assert_int_equal(test_redis(&server, text, sizeof text, "EVAL", script, "0", NULL),
                     TEST_REPLY_OK);
    assert_string_equal(text, "1\na\n(nil)\nb\nc");
    assert_int_equal(test_redis(&server, text, 4, "EVAL", script, "0", NULL), TEST_REPLY_OK);
    assert_string_equal(text, "1\na");
    assert_int_equal(test_redis(&server, NULL, 0, "SET", "k", "v w", NULL), TEST_REPLY_OK);
    assert_reply(&server, "GET", "k", "v w");
    assert_int_equal(test_redis(&server, text, sizeof text, "INCR", "k", NULL), TEST_REPLY_ERROR);
    assert_string_equal(text, "ERR value is not an integer or out of range");
    assert_int_equal(test_redis_argv(&server, text, sizeof text, 4, binary, lengths),
                     TEST_REPLY_OK);
    assert_int_equal(test_redis_int(&server, "STRLEN", "bin", NULL), 3);
    assert_int_equal(test_redis_int(&server, "GET", "k", NULL), INT64_MIN);
    assert_int_equal(test_redis_int(&server, "INCR", "k", NULL), INT64_MIN);
    assert_int_equal(test_redis_int(&server, "PTTL", "none", NULL), -2);
    test_server_stop(&server);
}

/* ---- processes ----------------------------------------------------------------- */

struct steps {
    struct test_flag flag;
    struct test_barrier barrier;
    int order[4];
    int count;
};

static int return_the_value(void *arg)
{
    return *(int *)arg;
}

static int check_what_is_not_so(void *arg)
{
    test_child_check(arg == NULL);
    return 0;
}

static int sleep_for_ever(void *arg)
{
    test_flag_add(arg);
    while (pause() != 0)
        continue;
    return 0;
}

static void the_end_of_a_child_is_its_result(void **state)
{
    struct test_flag *flag = test_shared_alloc(sizeof *flag);
    struct test_process child;
    int value = 17;

    (void)state;
    assert_true(test_spawn(&child, return_the_value, &value));
    assert_int_equal(test_process_wait(&child, SOON_MS), 17);
    assert_int_equal(test_process_wait(&child, 0), 17);
    assert_true(test_spawn(&child, check_what_is_not_so, &value));
    assert_int_equal(test_process_wait(&child, SOON_MS), 99);
    assert_true(test_spawn(&child, sleep_for_ever, flag));
    assert_true(test_flag_wait(flag, 1, SOON_MS));
    assert_int_equal(test_process_wait(&child, 1), -1);
    test_process_pause(&child);
    assert_int_equal(state_of(child.pid), 'T');
    test_process_resume(&child);
    assert_int_not_equal(state_of(child.pid), 'T');
    test_process_kill(&child);
    test_process_kill(&child);
    assert_int_equal(test_process_wait(&child, 0), 128 + SIGKILL);
    test_shared_free(flag, sizeof *flag);
}

static int take_even_steps(void *arg)
{
    struct steps *steps = arg;

    test_child_check(test_flag_wait(&steps->flag, 1, SOON_MS));
    steps->order[steps->count++] = 2;
    test_flag_set(&steps->flag, 2);
    test_child_check(test_flag_wait(&steps->flag, 3, SOON_MS));
    steps->order[steps->count++] = 4;
    test_flag_set(&steps->flag, 4);
    return 0;
}

static void flags_order_the_steps_of_processes(void **state)
{
    static const int expected[] = {1, 2, 3, 4};
    struct steps *steps = test_shared_alloc(sizeof *steps);
    struct test_process child;

    (void)state;
    assert_true(test_spawn(&child, take_even_steps, steps));
    steps->order[steps->count++] = 1;
    test_flag_set(&steps->flag, 1);
    assert_true(test_flag_wait(&steps->flag, 2, SOON_MS));
    steps->order[steps->count++] = 3;
    test_flag_set(&steps->flag, 3);
    assert_true(test_flag_wait(&steps->flag, 4, SOON_MS));
    assert_memory_equal(steps->order, expected, sizeof expected);
    assert_false(test_flag_wait(&steps->flag, 5, 1));
    assert_int_equal(test_flag_get(&steps->flag), 4);
    assert_int_equal(test_process_wait(&child, SOON_MS), 0);
    test_shared_free(steps, sizeof *steps);
}

static int meet_often(void *arg)
{
    struct steps *steps = arg;

    for (uint32_t round = 0; round < 100; round++) {
        test_child_check(test_barrier_wait(&steps->barrier, 3, SOON_MS));
        test_child_check(test_flag_get(&steps->flag) >= round * 3);
        test_flag_add(&steps->flag);
    }
    return 0;
}

static void a_barrier_lets_all_go_or_none(void **state)
{
    struct steps *steps = test_shared_alloc(sizeof *steps);
    struct test_process children[2];

    (void)state;
    assert_true(test_spawn(&children[0], meet_often, steps));
    assert_true(test_spawn(&children[1], meet_often, steps));
    for (uint32_t round = 0; round < 100; round++) {
        assert_true(test_flag_get(&steps->flag) <= round * 3);
        assert_true(test_barrier_wait(&steps->barrier, 3, SOON_MS));
        test_flag_add(&steps->flag);
    }
    assert_int_equal(test_process_wait(&children[0], SOON_MS), 0);
    assert_int_equal(test_process_wait(&children[1], SOON_MS), 0);
    assert_int_equal(test_flag_get(&steps->flag), 300);
    assert_false(test_barrier_wait(&steps->barrier, 3, 1));
    test_shared_free(steps, sizeof *steps);
}

static void *wait_for_flag(void *arg)
{
    return test_flag_wait(arg, 1, SOON_MS) ? arg : NULL;
}

static void the_census_counts_descriptors_and_threads(void **state)
{
    struct test_flag flag = {0};
    struct test_census before, with;
    pthread_t thread;
    void *result;
    int fds[2];

    (void)state;
    before = test_census_take();
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_flag, &flag), 0);
    with = test_census_take();
    assert_int_equal(with.descriptors, before.descriptors + 2);
    assert_int_equal(with.threads, before.threads + 1);
    assert_false(test_census_is_back(&before));
    test_flag_set(&flag, 1);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &flag);
    close(fds[0]);
    close(fds[1]);
    assert_true(test_census_is_back(&before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_answers_and_leaves_nothing),
        cmocka_unit_test(a_server_takes_its_options),
        cmocka_unit_test(only_a_preload_meant_for_the_server_reaches_it),
        cmocka_unit_test(what_a_restart_keeps_is_what_persistence_says),
        cmocka_unit_test(a_paused_server_stands_still_until_it_is_resumed),
        cmocka_unit_test(a_missing_redis_server_is_a_failure),
        cmocka_unit_test(an_argument_that_the_server_refuses_is_a_failure),
        cmocka_unit_test(a_server_dies_with_the_process_that_started_it),
        cmocka_unit_test(replies_become_flat_text),
        cmocka_unit_test(the_end_of_a_child_is_its_result),
        cmocka_unit_test(flags_order_the_steps_of_processes),
        cmocka_unit_test(a_barrier_lets_all_go_or_none),
        cmocka_unit_test(the_census_counts_descriptors_and_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
