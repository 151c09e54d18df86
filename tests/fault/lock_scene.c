#include "fault/lock_scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void scene_expect(stile_status status, stile_status expected, const char *call, const char *file,
                  int line)
{
    if (status == expected)
        return;
    print_error("%s is %s, not %s: %s\n", call, stile_status_name(status),
                stile_status_name(expected), stile_error_detail());
    _fail(file, line);
}

/* ---- spaces and handles ------------------------------------------------------- */

static stile_status open_at(const char *url, const char *settings, stile **space)
{
    char whole[512];

    snprintf(whole, sizeof whole, "%s?%s", url, settings);
    return stile_open(whole, NULL, space);
}

stile *scene_open(const char *url, const char *settings)
{
    stile *space = NULL;

    expect_ok(open_at(url, settings, &space));
    return space;
}

stile *scene_child_open(const char *url, const char *settings)
{
    stile *space = NULL;

    test_child_check(open_at(url, settings, &space) == STILE_OK);
    return space;
}

stile_lock *scene_lock(stile *space, const char *name)
{
    stile_lock *lock = NULL;

    expect_ok(stile_lock_open(space, name, NULL, &lock));
    return lock;
}

stile_lock *scene_child_lock(stile *space, const char *name)
{
    stile_lock *lock = NULL;

    test_child_check(stile_lock_open(space, name, NULL, &lock) == STILE_OK);
    return lock;
}

/* ---- callers ------------------------------------------------------------------- */

static void *call(void *arg)
{
    struct caller *caller = arg;
    int64_t began_ms = test_now_ms();

    caller->status = stile_lock_acquire(caller->lock, caller->timeout_ms, &caller->hold);
    caller->back_ms = test_now_ms();
    caller->took_ms = caller->back_ms - began_ms;
    test_flag_set(&caller->back, 1);
    return NULL;
}

void caller_start(struct caller *caller, stile_lock *lock, int64_t timeout_ms)
{
    *caller = (struct caller){.lock = lock, .timeout_ms = timeout_ms};
    if (pthread_create(&caller->thread, NULL, call, caller) != 0) {
        print_error("No thread can be started\n");
        abort();
    }
}

stile_status caller_join(struct caller *caller)
{
    assert_int_equal(pthread_join(caller->thread, NULL), 0);
    return caller->status;
}

/* ---- what the server knows ------------------------------------------------------- */

const char *scene_key(const char *name, enum key_part part)
{
    static const char *const parts[] = {"", ":fence", ":queue", ":waiters"};
    static _Thread_local char keys[16][128];
    static _Thread_local unsigned next;
    char *key = keys[next++ % 16];

    snprintf(key, sizeof keys[0], "stile:{lock:%s}%s", name, parts[part]);
    return key;
}

void scene_await_queue(const struct test_server *server, const char *name, int64_t count)
{
    int64_t until = test_now_ms() + SOON_MS;

    while (test_redis_int(server, "ZCARD", scene_key(name, KEY_QUEUE), NULL) != count) {
        assert_true(test_now_ms() < until);
        test_sleep_ms(1);
    }
}

bool scene_owned(const struct test_server *server, const char *name)
{
    return test_redis_int(server, "EXISTS", scene_key(name, KEY_LOCK), NULL) == 1;
}

void scene_await_owned(const struct test_server *server, const char *name, bool owned)
{
    int64_t until = test_now_ms() + SOON_MS;

    while (scene_owned(server, name) != owned) {
        assert_true(test_now_ms() < until);
        test_sleep_ms(1);
    }
}

uint64_t scene_fence(const struct test_server *server, const char *name)
{
    char text[64];

    assert_int_equal(test_redis(server, text, sizeof text, "GET", scene_key(name, KEY_FENCE), NULL),
                     TEST_REPLY_OK);
    return strtoull(text[0] == 'q' ? text + 1 : text, NULL, 10) << 10;
}

/* Calls visit for every key of a lock, until it says no. */
static bool each_key(const struct test_server *server,
                     bool (*visit)(const struct test_server *server, const char *key))
{
    static char text[65536];
    char *rest = text, *key;

    assert_int_equal(test_redis(server, text, sizeof text, "KEYS", "stile:{lock:*", NULL),
                     TEST_REPLY_OK);
    while ((key = strtok_r(rest, "\n", &rest)) != NULL) {
        if (!visit(server, key))
            return false;
    }
    return true;
}

static bool is_fence(const struct test_server *server, const char *key)
{
    size_t length = strlen(key);

    (void)server;
    return length > 6 && strcmp(key + length - 6, ":fence") == 0;
}

static bool has_end(const struct test_server *server, const char *key)
{
    int64_t ttl = test_redis_int(server, "PTTL", key, NULL);

    /* -2: it is gone meanwhile. */
    if (ttl != -1)
        return true;
    print_error("%s has no time to live\n", key);
    return false;
}

void scene_expect_ttls(const struct test_server *server)
{
    assert_true(each_key(server, has_end));
}

static bool show(const struct test_server *server, const char *key)
{
    print_error("left over: %s, for %lld ms\n", key,
                (long long)test_redis_int(server, "PTTL", key, NULL));
    return true;
}

void scene_await_clean(const struct test_server *server, int64_t within_ms)
{
    int64_t until = test_now_ms() + within_ms;

    scene_expect_ttls(server);
    while (!each_key(server, is_fence)) {
        if (test_now_ms() >= until) {
            each_key(server, show);
            fail();
        }
        test_sleep_ms(2);
    }
    scene_expect_ttls(server);
}

void scene_expect_free(stile_lock *lock, int64_t within_ms)
{
    stile_hold hold;

    expect_ok(stile_lock_acquire(lock, within_ms, &hold));
    expect_ok(stile_lock_release(lock, &hold));
}
