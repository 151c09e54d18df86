#include "contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A handle of the test, and how its waiters are found on the server. */
struct opened {
    stile_lock *lock;
    char queue[STILE_NAME_MAX + 32];
};

enum { SPACES_MOST = 8, THREADS_MOST = 128 };

static struct {
    bool redis;
    struct test_server server;
    /* Before the test. */
    struct test_census census;
    int64_t clients;
    /* Of the test. */
    stile *spaces[SPACES_MOST]; /* the first is the test's own */
    struct opened *opened;
    size_t opened_count, opened_room;
    struct {
        pthread_t thread;
        bool running;
    } threads[THREADS_MOST];
    size_t thread_count;
    struct contender *contenders;
} contract;

/* ---- a run ------------------------------------------------------------------- */

bool contract_begin(int argc, char **argv)
{
    const char *backend = argc > 1 ? argv[1] : "";

    contract.redis = strcmp(backend, "redis") == 0;
    if (argc > 3 || (!contract.redis && strcmp(backend, "local") != 0)) {
        fprintf(stderr, "usage: %s local|redis [PATTERN]\n", argv[0]);
        return false;
    }
    if (argc == 3)
        cmocka_set_test_filter(argv[2]);
    unsetenv("STILE_URL");
    return !contract.redis || test_server_start(NULL, &contract.server);
}

void contract_end(void)
{
    test_server_stop(&contract.server);
    free(contract.opened);
    contract.opened = NULL;
}

bool contract_on_redis(void)
{
    return contract.redis;
}

const char *contract_url(void)
{
    return contract.redis ? test_server_unix_url(&contract.server) : "local:";
}

struct test_server *contract_server(void)
{
    return &contract.server;
}

/* ---- what is left on the server ------------------------------------------------ */

/* What a script says, "" being nothing. */
static bool server_says_nothing(const char *script, bool loud)
{
    char text[256];

    if (test_redis(&contract.server, text, sizeof text, "EVAL", script, "0", NULL) != TEST_REPLY_OK)
        snprintf(text, sizeof text, "the server does not answer");
    if (text[0] != '\0' && loud)
        fprintf(stderr, "Left on the server: %s\n", text);
    return text[0] == '\0';
}

static bool keys_have_an_end(void)
{
    return server_says_nothing("for _, key in ipairs(redis.call('KEYS', '*')) do"
                               "  if redis.call('PTTL', key) == -1 then"
                               "    return key .. ' without an end' end "
                               "end return ''",
                               true);
}

static bool locks_are_gone(bool loud)
{
    return server_says_nothing("for _, key in ipairs(redis.call('KEYS', '*{*lock:*')) do"
                               "  if string.sub(key, -7) ~= '}:fence' then"
                               "    return key .. ' for ' .. redis.call('PTTL', key) .. ' ms' end "
                               "end return ''",
                               loud);
}

static bool channels_are_gone(bool loud)
{
    return server_says_nothing("return redis.call('PUBSUB', 'CHANNELS')[1] or ''", loud);
}

/* This one's connection among them, each time. */
static int64_t count_clients(void)
{
    char text[1024];
    const char *at;

    if (test_redis(&contract.server, text, sizeof text, "INFO", "clients", NULL) != TEST_REPLY_OK)
        return -1;
    at = strstr(text, "connected_clients:");
    return at == NULL ? -1 : strtoll(at + strlen("connected_clients:"), NULL, 10);
}

static bool clients_are_gone(bool loud)
{
    int64_t now = count_clients();

    if (now == contract.clients)
        return true;
    if (loud)
        fprintf(stderr, "Clients of the server: %lld, before the test %lld\n", (long long)now,
                (long long)contract.clients);
    return false;
}

/* The server notes later than the client that a connection is gone, and keys may
 * end with a lease. */
static bool server_is_clean(void)
{
    int64_t until = test_now_ms() + 2000;

    while (!locks_are_gone(false) || !channels_are_gone(false) || !clients_are_gone(false)) {
        if (test_now_ms() >= until)
            return locks_are_gone(true) && channels_are_gone(true) && clients_are_gone(true);
        test_sleep_ms(2);
    }
    return true;
}

/* ---- setup and teardown ---------------------------------------------------------- */

int contract_setup(void **state)
{
    (void)state;
    if (contract.redis) {
        if (test_redis(&contract.server, NULL, 0, "FLUSHALL", NULL) != TEST_REPLY_OK)
            return -1;
        contract.clients = count_clients();
    }
    contract.census = test_census_take();
    return stile_open(contract_url(), NULL, &contract.spaces[0]) == STILE_OK ? 0 : -1;
}

int contract_teardown(void **state)
{
    bool clean = !contract.redis || keys_have_an_end();
    size_t i;

    (void)state;
    /* Whoever still waits comes back; then the handles can go. */
    for (i = 0; i < SPACES_MOST; i++) {
        stile_close(contract.spaces[i]);
        contract.spaces[i] = NULL;
    }
    for (i = 0; i < contract.thread_count; i++) {
        if (contract.threads[i].running)
            pthread_join(contract.threads[i].thread, NULL);
    }
    for (i = 0; i < contract.opened_count; i++)
        stile_lock_close(contract.opened[i].lock);
    while (contract.contenders != NULL) {
        struct contender *next = contract.contenders->next;

        free(contract.contenders);
        contract.contenders = next;
    }
    contract.thread_count = 0;
    contract.opened_count = 0;
    clean = (!contract.redis || server_is_clean()) && clean;
    clean = test_census_is_back(&contract.census) && clean;
    return clean ? 0 : -1;
}

/* ---- spaces and handles ------------------------------------------------------------ */

stile *contract_space(void)
{
    return contract.spaces[0];
}

stile *contract_space_open(const stile_options *options)
{
    size_t i = 1;

    while (i < SPACES_MOST && contract.spaces[i] != NULL)
        i++;
    assert_true(i < SPACES_MOST);
    assert_status(stile_open(contract_url(), options, &contract.spaces[i]), STILE_OK);
    return contract.spaces[i];
}

void contract_space_close(stile *space)
{
    size_t i;

    for (i = 0; i < SPACES_MOST; i++) {
        if (contract.spaces[i] == space)
            contract.spaces[i] = NULL;
    }
    stile_close(space);
}

stile_lock *contract_lock_open_in(stile *space, const char *name, const stile_lock_options *options)
{
    struct opened *opened;

    if (contract.opened_count == contract.opened_room) {
        size_t room = contract.opened_room * 2 + 16;

        opened = realloc(contract.opened, room * sizeof *opened);
        assert_non_null(opened);
        contract.opened = opened;
        contract.opened_room = room;
    }
    opened = &contract.opened[contract.opened_count];
    assert_status(stile_lock_open(space, name, options, &opened->lock), STILE_OK);
    snprintf(opened->queue, sizeof opened->queue, "stile:{lock:%s}:queue", name);
    contract.opened_count++;
    return opened->lock;
}

stile_lock *contract_lock_open(const char *name, const stile_lock_options *options)
{
    return contract_lock_open_in(contract_space(), name, options);
}

static struct opened *opened_of(const stile_lock *lock)
{
    size_t i = 0;

    while (i < contract.opened_count && contract.opened[i].lock != lock)
        i++;
    assert_true(i < contract.opened_count);
    return &contract.opened[i];
}

void contract_lock_close(stile_lock *lock)
{
    *opened_of(lock) = contract.opened[contract.opened_count - 1];
    contract.opened_count--;
    stile_lock_close(lock);
}

/* ---- answers -------------------------------------------------------------------------- */

void contract_check_status(stile_status status, stile_status expected, bool detailed,
                           const char *call, const char *file, int line)
{
    if (status != expected) {
        print_error("%s is %s (%s), not %s\n", call, stile_status_name(status),
                    detailed ? stile_error_detail() : "?", stile_status_name(expected));
        _fail(file, line);
    }
    if (detailed && status != STILE_OK && stile_error_detail()[0] == '\0') {
        print_error("%s is %s without a sentence\n", call, stile_status_name(status));
        _fail(file, line);
    }
}

void contract_check_free(stile_lock *lock)
{
    stile_hold hold;

    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_OK);
    assert_status(stile_lock_release(lock, &hold), STILE_OK);
}

void contract_check_taken(stile_lock *lock)
{
    stile_hold hold;

    assert_status(stile_lock_acquire(lock, 0, &hold), STILE_TIMEOUT);
}

bool contract_in_vain(stile_status status)
{
    return status == STILE_TIMEOUT || (contract.redis && status == STILE_UNKNOWN);
}

void contract_check_waits_in_vain(stile_lock *lock, int64_t timeout_ms)
{
    stile_status status = STILE_UNKNOWN;
    stile_hold hold;
    int i;

    for (i = 0; i < 5 && status != STILE_TIMEOUT; i++) {
        int64_t began_ns = test_now_ns();

        status = stile_lock_acquire(lock, timeout_ms, &hold);
        assert_true(contract_in_vain(status));
        assert_true(test_now_ns() - began_ns >= timeout_ms * CONTRACT_NS_PER_MS);
    }
    assert_status(status, STILE_TIMEOUT);
}

/* ---- threads ----------------------------------------------------------------------------- */

pthread_t contract_thread_start(void *(*run)(void *arg), void *arg)
{
    size_t i = 0;

    while (i < contract.thread_count && contract.threads[i].running)
        i++;
    assert_true(i < THREADS_MOST);
    assert_int_equal(pthread_create(&contract.threads[i].thread, NULL, run, arg), 0);
    contract.threads[i].running = true;
    if (i == contract.thread_count)
        contract.thread_count++;
    return contract.threads[i].thread;
}

void *contract_thread_join(pthread_t thread)
{
    void *result = NULL;
    size_t i = 0;

    while (!contract.threads[i].running || !pthread_equal(contract.threads[i].thread, thread))
        i++;
    assert_int_equal(pthread_join(thread, &result), 0);
    contract.threads[i].running = false;
    return result;
}

/* ---- contenders ----------------------------------------------------------------------------- */

static void *contend(void *arg)
{
    struct contender *contender = arg;

    contender->id = gettid();
    contender->called_ns = test_now_ns();
    test_flag_set(&contender->calling, 1);
    contender->status = stile_lock_acquire_with(contender->lock, contender->timeout_ms,
                                                contender->has_options ? &contender->options : NULL,
                                                &contender->hold);
    contender->returned_ns = test_now_ns();
    contender->explained = contender->status == STILE_OK || stile_error_detail()[0] != '\0';
    test_flag_set(&contender->returned, 1);
    return NULL;
}

struct contender *contender_start(stile_lock *lock, int64_t timeout_ms,
                                  const stile_lock_options *options)
{
    struct contender *contender = calloc(1, sizeof *contender);

    assert_non_null(contender);
    contender->next = contract.contenders;
    contract.contenders = contender;
    contender->lock = lock;
    contender->timeout_ms = timeout_ms;
    contender->has_options = options != NULL;
    if (options != NULL)
        contender->options = *options;
    contender->thread = contract_thread_start(contend, contender);
    return contender;
}

bool contender_waits(struct contender *contender)
{
    return test_flag_get(&contender->returned) == 0;
}

stile_status contender_answer(struct contender *contender)
{
    assert_true(test_flag_wait(&contender->returned, 1, CONTRACT_SOON_MS));
    contract_thread_join(contender->thread);
    assert_true(contender->explained);
    return contender->status;
}

/* Whether a thread of this process is among the first hundred who wait. */
static bool thread_waits(stile_lock *lock, pid_t thread)
{
    stile_lock_info info;
    bool waits = false;
    size_t i;

    assert_status(stile_lock_inspect(lock, &info), STILE_OK);
    for (i = 0; i < info.listed; i++)
        waits = waits || (info.queue[i].thread == thread && info.queue[i].pid == getpid());
    stile_lock_info_free(&info);
    return waits;
}

struct contender *contender_queue(stile_lock *lock, int64_t timeout_ms,
                                  const stile_lock_options *options)
{
    struct contender *contender = contender_start(lock, timeout_ms, options);
    int64_t until = test_now_ms() + CONTRACT_SOON_MS;

    assert_true(test_flag_wait(&contender->calling, 1, CONTRACT_SOON_MS));
    while (contender_waits(contender) && !thread_waits(lock, contender->id)) {
        assert_true(test_now_ms() < until);
        test_sleep_ms(1);
    }
    return contender;
}

int64_t contract_queue_length(const stile_lock *lock)
{
    if (!contract.redis)
        return 0;
    return test_redis_int(&contract.server, "ZCARD", opened_of(lock)->queue, NULL);
}

/* How often a thread has gone to sleep so far, if it sleeps now; else -1. */
static long sleeps_of(pid_t thread)
{
    char path[64], line[128];
    bool sleeping = false;
    long sleeps = -1;
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)thread);
    file = fopen(path, "re");
    if (file == NULL)
        return -1;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "State:\tS", 8) == 0)
            sleeping = true;
        else if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0)
            sleeps = strtol(line + 24, NULL, 10);
    }
    fclose(file);
    return sleeping ? sleeps : -1;
}

/*
 * On a server the queue says so.  In the process a thread that sleeps in its call
 * has queued, since nobody is active there who could make it sleep for anything
 * else but the sanitizer; that is over when it has not stirred for a while.
 */
void contract_await_queued(stile_lock *lock, pid_t thread, struct test_flag *returned,
                           int64_t queued)
{
    int64_t until = test_now_ms() + CONTRACT_SOON_MS;
    long before = -1;
    int still = 0;

    while (test_flag_get(returned) == 0 &&
           (contract.redis ? contract_queue_length(lock) <= queued : still < 5)) {
        long sleeps = contract.redis ? -1 : sleeps_of(thread);

        still = sleeps >= 0 && sleeps == before ? still + 1 : 0;
        before = sleeps;
        assert_true(test_now_ms() < until);
        test_sleep_ms(1);
    }
}

/* ---- time ------------------------------------------------------------------------------------- */

int64_t contract_latest_ms(int64_t timeout_ms)
{
    return timeout_ms + (timeout_ms / 20 > 20 ? timeout_ms / 20 : 20);
}
