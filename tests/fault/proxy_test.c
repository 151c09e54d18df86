/* The fault proxy does each fault, and no other, in front of a real server. */
#include "fault/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/process.h"
#include "support/server.h"

#define SOON_MS 5000

static struct test_server server;
static struct proxy *proxy;
static struct test_census before;

/* ---- a client ---------------------------------------------------------------- */

static int connect_unix(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", proxy_unix_path(proxy));
    assert_int_not_equal(fd, -1);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int connect_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned port;

    assert_int_equal(sscanf(proxy_tcp_url(proxy), "redis://127.0.0.1:%u", &port), 1);
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_not_equal(fd, -1);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Sends the words of line as a request. */
static void ask(int fd, const char *line)
{
    char words[256], request[512], *rest = words, *word;
    size_t count = 0, length;

    snprintf(words, sizeof words, "%s", line);
    for (const char *at = line; *at != '\0'; at++)
        count += *at == ' ';
    length = (size_t)sprintf(request, "*%zu\r\n", count + 1);
    while ((word = strtok_r(rest, " ", &rest)) != NULL)
        length += (size_t)sprintf(request + length, "$%zu\r\n%s\r\n", strlen(word), word);
    assert_int_equal(send(fd, request, length, MSG_NOSIGNAL), length);
}

/* Whether something, the end included, can be read at fd. */
static bool readable(int fd, int timeout_ms)
{
    struct pollfd slot = {.fd = fd, .events = POLLIN};

    return poll(&slot, 1, timeout_ms) == 1;
}

/* Reads as many bytes as expected has, which have to be these. */
static void expect(int fd, const char *expected)
{
    char got[512];
    size_t length = strlen(expected), done = 0;

    while (done < length) {
        ssize_t more;

        assert_true(readable(fd, SOON_MS));
        more = recv(fd, got + done, length - done, 0);
        assert_true(more > 0);
        done += (size_t)more;
    }
    got[done] = '\0';
    assert_string_equal(got, expected);
}

/* Nothing to read now.  Meant for after a count has shown that the proxy is done. */
static void expect_silence(int fd)
{
    assert_false(readable(fd, 0));
}

static void expect_end(int fd)
{
    char byte;

    assert_true(readable(fd, SOON_MS));
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static void expect_reset(int fd)
{
    char byte;

    assert_true(readable(fd, SOON_MS));
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
}

/* ---- surroundings ------------------------------------------------------------ */

static int add_rule(struct proxy_rule rule)
{
    int number = proxy_rule_add(proxy, &rule);

    assert_true(number >= 0);
    return number;
}

#define rule(...) add_rule((struct proxy_rule){__VA_ARGS__})

static int64_t stored(const char *key)
{
    char text[64];

    assert_int_equal(test_redis(&server, text, sizeof text, "GET", key, NULL), TEST_REPLY_OK);
    return strcmp(text, "(nil)") == 0 ? -1 : atoll(text);
}

/* Waits until the server has count clients besides the one that asks. */
static void await_clients_of_server(unsigned count)
{
    int64_t until = test_now_ms() + SOON_MS;
    char text[4096], wanted[32];

    snprintf(wanted, sizeof wanted, "connected_clients:%u\r", count + 1);
    do {
        assert_true(test_now_ms() < until);
        assert_int_equal(test_redis(&server, text, sizeof text, "INFO", "clients", NULL),
                         TEST_REPLY_OK);
    } while (strstr(text, wanted) == NULL);
}

static int start_server(void **state)
{
    (void)state;
    return test_server_start(NULL, &server) ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

static int start_proxy(void **state)
{
    (void)state;
    if (server.pid == 0 && !test_server_restart(&server)) /* a test that failed left it so */
        return -1;
    test_redis(&server, NULL, 0, "FLUSHALL", NULL);
    before = test_census_take();
    proxy = proxy_start(test_server_unix_path(&server));
    return proxy != NULL ? 0 : -1;
}

static int stop_proxy(void **state)
{
    (void)state;
    proxy_stop(proxy);
    proxy = NULL;
    return test_census_is_back(&before) ? 0 : -1;
}

/* ---- without rules ----------------------------------------------------------- */

static void requests_and_replies_pass_unchanged(void **state)
{
    int clients[] = {connect_unix(), connect_tcp()};

    (void)state;
    for (int i = 0; i < 2; i++) {
        ask(clients[i], "SET k v1");
        ask(clients[i], "GET k");
        ask(clients[i], "MGET k none");
        ask(clients[i], "NOSUCH");
        expect(clients[i], "+OK\r\n$2\r\nv1\r\n*2\r\n$2\r\nv1\r\n$-1\r\n-ERR unknown command");
        close(clients[i]);
    }
    assert_int_equal(proxy_counts(proxy).connections, 2);
    assert_int_equal(proxy_counts(proxy).requests, 8);
    assert_int_equal(proxy_counts(proxy).replies, 8);
}

/* Sends and reads in turns, as much as the sockets take. */
static void large_values_pass_whole(void **state)
{
    enum { SIZE = 3 << 20 };
    char *request = malloc(SIZE + 100), *reply = malloc(SIZE + 100), head[32];
    size_t length, sent = 0, got = 0;
    int client = connect_unix();

    (void)state;
    assert_non_null(request);
    assert_non_null(reply);
    length = (size_t)sprintf(request, "*2\r\n$4\r\nECHO\r\n$%d\r\n", (int)SIZE);
    for (int i = 0; i < SIZE; i++)
        request[length++] = (char)(i * 7 % 251);
    memcpy(request + length, "\r\n", 2);
    length += 2;
    sprintf(head, "$%d\r\n", (int)SIZE);
    while (got < SIZE + strlen(head) + 2) {
        struct pollfd slot = {.fd = client, .events = POLLIN};
        ssize_t n;

        if (sent < length)
            slot.events |= POLLOUT;
        assert_int_equal(poll(&slot, 1, SOON_MS), 1);
        if ((slot.revents & POLLOUT) != 0) {
            n = send(client, request + sent, length - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            assert_true(n > 0);
            sent += (size_t)n;
        }
        if ((slot.revents & POLLIN) != 0) {
            n = recv(client, reply + got, SIZE + 100 - got, MSG_DONTWAIT);
            assert_true(n > 0);
            got += (size_t)n;
        }
    }
    assert_int_equal(got, strlen(head) + SIZE + 2);
    assert_memory_equal(reply, head, strlen(head));
    assert_memory_equal(reply + strlen(head), request + length - SIZE - 2, SIZE + 2);
    close(client);
    free(request);
    free(reply);
}

static void bytes_are_counted_in_each_direction(void **state)
{
    int client = connect_unix(), other;
    int swallow;
    struct proxy_counts counts;

    (void)state;
    ask(client, "PING");
    expect(client, "+PONG\r\n");
    counts = proxy_counts(proxy);
    assert_int_equal(counts.from_clients, 14);
    assert_int_equal(counts.to_server, 14);
    assert_int_equal(counts.from_server, 7);
    assert_int_equal(counts.to_clients, 7);
    assert_int_equal(counts.open, 1);
    swallow = rule(.action = PROXY_SWALLOW_REQUESTS);
    other = connect_unix();
    ask(other, "PING");
    assert_true(proxy_wait(proxy, swallow, 1, SOON_MS));
    counts = proxy_counts(proxy);
    assert_int_equal(counts.from_clients, 28);
    assert_int_equal(counts.to_server, 14);
    close(client);
    close(other);
}

/* ---- rules -------------------------------------------------------------------- */

static void a_rule_acts_on_its_command_and_argument_and_turn_only(void **state)
{
    int client = connect_unix();
    int second;

    (void)state;
    second = rule(.action = PROXY_REPLACE_REPLY, .command = "incr", .contains = "b", .nth = 2,
                  .bytes = "+replaced\r\n");
    ask(client, "INCR a");
    ask(client, "INCR abc");
    ask(client, "INCR a");
    ask(client, "DECR abc");
    ask(client, "INCR abc");
    ask(client, "INCR abc");
    expect(client, ":1\r\n:1\r\n:2\r\n:0\r\n+replaced\r\n:2\r\n");
    assert_int_equal(proxy_rule_counts(proxy, second).matched, 3);
    assert_int_equal(proxy_rule_counts(proxy, second).acted, 1);
    assert_int_equal(proxy_rule_counts(proxy, second).answered, 1);
    assert_false(proxy_wait(proxy, second, 2, 1));
    close(client);
}

static void the_oldest_rule_that_fits_is_the_one_that_acts(void **state)
{
    int client = connect_unix();
    int first = rule(.action = PROXY_REPLACE_REPLY, .command = "PING", .bytes = "+first\r\n");
    int second = rule(.action = PROXY_REPLACE_REPLY, .command = "PING", .bytes = "+second\r\n");

    (void)state;
    ask(client, "PING");
    expect(client, "+first\r\n");
    proxy_rule_remove(proxy, first);
    ask(client, "PING");
    expect(client, "+second\r\n");
    assert_int_equal(proxy_rule_counts(proxy, second).matched, 2);
    assert_int_equal(proxy_rule_counts(proxy, second).acted, 1);
    close(client);
}

static void a_watch_counts_and_leaves_the_rest_to_others(void **state)
{
    int client = connect_unix();
    int watch = rule(.action = PROXY_WATCH, .command = "PING");
    int replace;

    (void)state;
    ask(client, "PING");
    ask(client, "PING");
    assert_true(proxy_wait(proxy, watch, 2, SOON_MS));
    expect(client, "+PONG\r\n+PONG\r\n");
    replace = rule(.action = PROXY_REPLACE_REPLY, .bytes = "-LOADING\r\n");
    ask(client, "PING");
    expect(client, "-LOADING\r\n");
    assert_true(proxy_wait(proxy, watch, 3, SOON_MS));
    assert_true(proxy_wait(proxy, replace, 1, SOON_MS));
    close(client);
}

static void a_dropped_reply_is_to_a_command_that_was_executed(void **state)
{
    int client = connect_unix(), other = connect_unix();
    int drop;

    (void)state;
    drop = rule(.action = PROXY_DROP_REPLY, .command = "INCR", .nth = 1);
    ask(client, "INCR n");
    assert_true(proxy_wait(proxy, drop, 1, SOON_MS));
    assert_int_equal(stored("n"), 1);
    expect_silence(client);
    ask(other, "INCR n");
    expect(other, ":2\r\n");
    close(client);
    close(other);
}

static void nothing_follows_a_dropped_reply(void **state)
{
    int client = connect_unix();
    int drop = rule(.action = PROXY_DROP_REPLY, .command = "INCR", .nth = 1);
    int later = rule(.action = PROXY_WATCH, .command = "PING");

    (void)state;
    ask(client, "INCR n");
    ask(client, "PING");
    assert_true(proxy_wait(proxy, drop, 1, SOON_MS));
    assert_true(proxy_wait_answered(proxy, later, 1, SOON_MS));
    expect_silence(client);
    close(client);
    await_clients_of_server(0);
}

static void a_delayed_reply_comes_late_and_in_order(void **state)
{
    int client = connect_unix();
    int64_t start;

    (void)state;
    rule(.action = PROXY_DELAY_REPLY, .command = "INCR", .delay_ms = 60);
    start = test_now_ms();
    ask(client, "INCR n");
    ask(client, "PING");
    expect(client, ":1\r\n+PONG\r\n");
    assert_true(test_now_ms() - start >= 60);
    close(client);
}

static void a_held_request_is_executed_when_it_is_let_go(void **state)
{
    int client = connect_unix(), other = connect_unix();
    int hold;

    (void)state;
    hold = rule(.action = PROXY_HOLD_REQUEST, .command = "SET");
    ask(client, "SET k 1");
    ask(client, "GET k");
    assert_true(proxy_wait(proxy, hold, 1, SOON_MS));
    ask(other, "GET k");
    expect(other, "$-1\r\n");
    assert_int_equal(stored("k"), -1);
    proxy_release(proxy, hold);
    expect(client, "+OK\r\n$1\r\n1\r\n");
    ask(client, "SET k 2");
    assert_true(proxy_wait(proxy, hold, 2, SOON_MS));
    assert_int_equal(stored("k"), 1);
    proxy_rule_remove(proxy, hold);
    expect(client, "+OK\r\n");
    ask(client, "SET k 3");
    expect(client, "+OK\r\n");
    close(client);
    close(other);
}

static void a_held_request_is_executed_after_its_client_has_gone(void **state)
{
    int client = connect_unix();
    int hold = rule(.action = PROXY_HOLD_REQUEST, .contains = "owner");

    (void)state;
    ask(client, "SET owner 7");
    assert_true(proxy_wait(proxy, hold, 1, SOON_MS));
    close(client);
    await_clients_of_server(1);
    assert_int_equal(stored("owner"), -1);
    proxy_release(proxy, hold);
    assert_true(proxy_wait_answered(proxy, hold, 1, SOON_MS));
    assert_int_equal(stored("owner"), 7);
    await_clients_of_server(0);
}

static void a_held_reply_comes_when_it_is_let_go(void **state)
{
    int client = connect_unix();
    int hold;

    (void)state;
    hold = rule(.action = PROXY_HOLD_REPLY, .command = "INCR");
    ask(client, "INCR n");
    ask(client, "PING");
    assert_true(proxy_wait(proxy, hold, 1, SOON_MS));
    assert_int_equal(stored("n"), 1);
    expect_silence(client);
    proxy_release(proxy, hold);
    expect(client, ":1\r\n+PONG\r\n");
    ask(client, "INCR n");
    assert_true(proxy_wait(proxy, hold, 2, SOON_MS));
    expect_silence(client);
    proxy_rules_clear(proxy);
    expect(client, ":2\r\n");
    close(client);
}

static void a_reply_is_cut_after_any_byte(void **state)
{
    static const char reply[] = "$5\r\nhello\r\n";

    (void)state;
    for (size_t after = 0; after <= strlen(reply) + 1; after++) {
        int clients[] = {connect_unix(), connect_tcp()};
        int cut = rule(.action = PROXY_CUT_REPLY, .command = "ECHO", .after = after);
        char start[sizeof reply];

        snprintf(start, after + 1 < sizeof start ? after + 1 : sizeof start, "%s", reply);
        for (int i = 0; i < 2; i++) {
            ask(clients[i], "PING");
            ask(clients[i], "ECHO hello");
            expect(clients[i], "+PONG\r\n");
            expect(clients[i], start);
        }
        assert_true(proxy_wait(proxy, cut, 2, SOON_MS));
        expect_end(clients[0]);
        expect_reset(clients[1]);
        close(clients[0]);
        close(clients[1]);
        proxy_rule_remove(proxy, cut);
    }
}

/* ---- pushed messages ---------------------------------------------------------- */

static void pushed_messages_are_dropped_and_confirmations_are_not(void **state)
{
    int client = connect_unix();
    int drop = rule(.action = PROXY_DROP_REPLY, .pushes = true);

    (void)state;
    ask(client, "SUBSCRIBE inbox");
    expect(client, "*3\r\n$9\r\nsubscribe\r\n$5\r\ninbox\r\n:1\r\n");
    assert_int_equal(test_redis_int(&server, "PUBLISH", "inbox", "one", NULL), 1);
    assert_true(proxy_wait(proxy, drop, 1, SOON_MS));
    expect_silence(client);
    proxy_rule_remove(proxy, drop);
    assert_int_equal(test_redis_int(&server, "PUBLISH", "inbox", "two", NULL), 1);
    expect(client, "*3\r\n$7\r\nmessage\r\n$5\r\ninbox\r\n$3\r\ntwo\r\n");
    ask(client, "UNSUBSCRIBE inbox");
    expect(client, "*3\r\n$11\r\nunsubscribe\r\n$5\r\ninbox\r\n:0\r\n");
    assert_int_equal(proxy_counts(proxy).pushes, 2);
    close(client);
}

static void a_pushed_message_is_chosen_by_what_it_says(void **state)
{
    int client = connect_unix();
    int hold = rule(.action = PROXY_HOLD_REPLY, .pushes = true, .contains = "late");

    (void)state;
    ask(client, "PSUBSCRIBE in*");
    expect(client, "*3\r\n$10\r\npsubscribe\r\n$3\r\nin*\r\n:1\r\n");
    test_redis_int(&server, "PUBLISH", "inbox", "soon", NULL);
    test_redis_int(&server, "PUBLISH", "inbox", "late", NULL);
    expect(client, "*4\r\n$8\r\npmessage\r\n$3\r\nin*\r\n$5\r\ninbox\r\n$4\r\nsoon\r\n");
    assert_true(proxy_wait(proxy, hold, 1, SOON_MS));
    expect_silence(client);
    proxy_release(proxy, hold);
    expect(client, "*4\r\n$8\r\npmessage\r\n$3\r\nin*\r\n$5\r\ninbox\r\n$4\r\nlate\r\n");
    close(client);
}

static void a_reply_that_looks_like_a_message_is_a_reply(void **state)
{
    int client = connect_unix();
    int drop = rule(.action = PROXY_DROP_REPLY, .pushes = true);

    (void)state;
    ask(client, "RPUSH list message x y");
    ask(client, "LRANGE list 0 -1");
    expect(client, ":3\r\n*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\ny\r\n");
    ask(client, "SUBSCRIBE inbox");
    ask(client, "UNSUBSCRIBE inbox");
    ask(client, "LRANGE list 0 0");
    expect(client, "*3\r\n$9\r\nsubscribe\r\n$5\r\ninbox\r\n:1\r\n"
                   "*3\r\n$11\r\nunsubscribe\r\n$5\r\ninbox\r\n:0\r\n"
                   "*1\r\n$7\r\nmessage\r\n");
    assert_int_equal(proxy_rule_counts(proxy, drop).matched, 0);
    close(client);
}

/* SUBSCRIBE has a reply for each name, and UNSUBSCRIBE without any for each that
 * there is: the one that PING gets has to be found behind all of them. */
static void replies_find_their_requests_around_subscriptions(void **state)
{
    int client = connect_unix();
    int ping, subscribe, all;

    (void)state;
    subscribe = rule(.action = PROXY_WATCH, .command = "SUBSCRIBE");
    all = rule(.action = PROXY_WATCH, .command = "UNSUBSCRIBE");
    ping = rule(.action = PROXY_REPLACE_REPLY, .command = "PING", .bytes = "+found\r\n");
    ask(client, "PSUBSCRIBE p*");
    ask(client, "SUBSCRIBE a b b");
    ask(client, "PING");
    ask(client, "UNSUBSCRIBE");
    ask(client, "PING");
    ask(client, "PUNSUBSCRIBE");
    ask(client, "PING");
    ask(client, "UNSUBSCRIBE");
    ask(client, "PING");
    expect(client, "*3\r\n$10\r\npsubscribe\r\n$2\r\np*\r\n:1\r\n"
                   "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n"
                   "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:3\r\n"
                   "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:3\r\n+found\r\n"
                   "*3\r\n$11\r\nunsubscribe\r\n$1\r\n");
    assert_true(proxy_wait(proxy, ping, 4, SOON_MS));
    assert_int_equal(proxy_rule_counts(proxy, subscribe).acted, 3);
    assert_int_equal(proxy_rule_counts(proxy, subscribe).answered, 1);
    assert_int_equal(proxy_rule_counts(proxy, all).acted, 3);
    assert_int_equal(proxy_rule_counts(proxy, all).answered, 2);
    close(client);
}

/* ---- partitions ---------------------------------------------------------------- */

static void swallowed_requests_never_reach_the_server(void **state)
{
    int client = connect_unix();
    int swallow;

    (void)state;
    ask(client, "SUBSCRIBE inbox");
    expect(client, "*3\r\n$9\r\nsubscribe\r\n$5\r\ninbox\r\n:1\r\n");
    swallow = rule(.action = PROXY_SWALLOW_REQUESTS);
    ask(client, "UNSUBSCRIBE inbox");
    assert_true(proxy_wait(proxy, swallow, 1, SOON_MS));
    assert_int_equal(test_redis_int(&server, "PUBLISH", "inbox", "one", NULL), 1);
    expect(client, "*3\r\n$7\r\nmessage\r\n$5\r\ninbox\r\n$3\r\none\r\n");
    proxy_rules_clear(proxy);
    close(client);
    /* Nor does the news of the client's end: the server goes on counting it. */
    client = connect_unix();
    ask(client, "PUBLISH inbox two");
    expect(client, ":1\r\n");
    close(client);
}

static void an_end_is_swallowed_with_the_requests(void **state)
{
    int client = connect_unix(), other = connect_unix();

    (void)state;
    ask(client, "PING");
    expect(client, "+PONG\r\n");
    ask(other, "PING");
    expect(other, "+PONG\r\n");
    rule(.action = PROXY_SWALLOW_REQUESTS);
    close(client);
    proxy_kill_connections(proxy);
    expect_end(other);
    proxy_rules_clear(proxy);
    close(other);
    other = connect_unix();
    ask(other, "PING");
    expect(other, "+PONG\r\n");
    await_clients_of_server(3);
    close(other);
    await_clients_of_server(2);
}

static void swallowed_replies_never_reach_a_client(void **state)
{
    int client = connect_unix(), subscriber = connect_unix();
    int swallow;

    (void)state;
    ask(subscriber, "SUBSCRIBE inbox");
    expect(subscriber, "*3\r\n$9\r\nsubscribe\r\n$5\r\ninbox\r\n:1\r\n");
    swallow = rule(.action = PROXY_SWALLOW_REPLIES);
    ask(client, "INCR n");
    test_redis_int(&server, "PUBLISH", "inbox", "one", NULL);
    assert_true(proxy_wait(proxy, swallow, 2, SOON_MS));
    assert_int_equal(stored("n"), 1);
    expect_silence(client);
    expect_silence(subscriber);
    proxy_rule_remove(proxy, swallow);
    /* A lost message is no hole in the stream; a lost reply is one. */
    test_redis_int(&server, "PUBLISH", "inbox", "two", NULL);
    expect(subscriber, "*3\r\n$7\r\nmessage\r\n$5\r\ninbox\r\n$3\r\ntwo\r\n");
    ask(client, "INCR m");
    ask(subscriber, "PING");
    expect(subscriber, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    while (proxy_counts(proxy).replies < 4)
        test_sleep_ms(1);
    assert_int_equal(stored("m"), 1);
    expect_silence(client);
    close(client);
    close(subscriber);
}

/* ---- ends ---------------------------------------------------------------------- */

static void all_connections_are_reset_at_once(void **state)
{
    int clients[] = {connect_unix(), connect_tcp(), connect_unix()};
    int hold;

    (void)state;
    for (int i = 0; i < 3; i++) {
        ask(clients[i], "PING");
        expect(clients[i], "+PONG\r\n");
    }
    hold = rule(.action = PROXY_HOLD_REQUEST, .command = "SET");
    ask(clients[2], "SET k 5");
    assert_true(proxy_wait(proxy, hold, 1, SOON_MS));
    proxy_kill_connections(proxy);
    expect_end(clients[0]);
    expect_reset(clients[1]);
    expect_end(clients[2]);
    proxy_release(proxy, hold);
    assert_true(proxy_wait_answered(proxy, hold, 1, SOON_MS));
    assert_int_equal(stored("k"), 5);
    await_clients_of_server(0);
    for (int i = 0; i < 3; i++)
        close(clients[i]);
    clients[0] = connect_unix();
    ask(clients[0], "GET k");
    expect(clients[0], "$1\r\n5\r\n");
    close(clients[0]);
}

static int wait_to_end(void *arg)
{
    return test_flag_wait(arg, 1, SOON_MS) ? 0 : 1;
}

static void a_reset_reaches_clients_though_a_child_has_the_sockets(void **state)
{
    struct test_flag *flag = test_shared_alloc(sizeof *flag);
    int clients[] = {connect_unix(), connect_tcp()};
    struct test_process child;

    (void)state;
    for (int i = 0; i < 2; i++) {
        ask(clients[i], "PING");
        expect(clients[i], "+PONG\r\n");
    }
    assert_true(test_spawn(&child, wait_to_end, flag));
    proxy_kill_connections(proxy);
    expect_end(clients[0]);
    expect_reset(clients[1]);
    await_clients_of_server(0);
    test_flag_set(flag, 1);
    assert_int_equal(test_process_wait(&child, SOON_MS), 0);
    close(clients[0]);
    close(clients[1]);
    test_shared_free(flag, sizeof *flag);
}

static void a_client_that_does_not_read_is_still_read_to_its_end(void **state)
{
    int client = connect_unix();
    int64_t until = test_now_ms() + SOON_MS;

    (void)state;
    for (int i = 0; i < 2000; i++)
        ask(client, "INCR n");
    close(client);
    while (stored("n") != 2000)
        assert_true(test_now_ms() < until);
}

static void clients_see_the_end_of_the_server_and_its_return(void **state)
{
    int client = connect_unix(), late = connect_unix(), over_tcp = connect_tcp();
    int hold;

    (void)state;
    hold = rule(.action = PROXY_HOLD_REPLY, .command = "ECHO");
    ask(client, "PING");
    ask(over_tcp, "PING");
    ask(late, "ECHO x");
    expect(client, "+PONG\r\n");
    expect(over_tcp, "+PONG\r\n");
    assert_true(proxy_wait(proxy, hold, 1, SOON_MS));
    test_server_kill(&server);
    expect_end(client);
    expect_end(over_tcp);
    close(client);
    close(over_tcp);
    expect_silence(late);
    proxy_release(proxy, hold);
    expect(late, "$1\r\nx\r\n");
    expect_end(late);
    close(late);
    client = connect_unix();
    expect_end(client);
    close(client);
    assert_true(test_server_restart(&server));
    client = connect_unix();
    ask(client, "PING");
    expect(client, "+PONG\r\n");
    close(client);
}

static void what_is_no_request_ends_the_connection(void **state)
{
    static const char *const wrong[] = {"PING\r\n", "*1\r\n:1\r\n", "*0\r\n", "*1\r\n$x\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int client = connect_unix();

        assert_int_equal(send(client, wrong[i], strlen(wrong[i]), MSG_NOSIGNAL), strlen(wrong[i]));
        expect_end(client);
        close(client);
    }
    await_clients_of_server(0);
}

/* ---- all at once ---------------------------------------------------------------- */

struct counter {
    pthread_t thread;
    int client;
    unsigned right, wrong;
};

static struct test_flag enough;

static void *count_up(void *arg)
{
    static const char request[] = "*2\r\n$4\r\nINCR\r\n$3\r\nsum\r\n";
    struct counter *counter = arg;
    char reply[32];

    while (test_flag_get(&enough) == 0 && counter->wrong == 0) {
        ssize_t got = 0;

        if (send(counter->client, request, strlen(request), MSG_NOSIGNAL) > 0 &&
            readable(counter->client, SOON_MS))
            got = recv(counter->client, reply, sizeof reply, 0);
        if (got > 3 && reply[0] == ':')
            counter->right++;
        else
            counter->wrong++;
    }
    return NULL;
}

static void rules_change_while_clients_are_busy(void **state)
{
    struct counter counters[4] = {{.client = -1}};
    unsigned sum = 0;

    (void)state;
    enough = (struct test_flag){0};
    for (int i = 0; i < 4; i++) {
        counters[i].client = i % 2 == 0 ? connect_unix() : connect_tcp();
        assert_int_equal(pthread_create(&counters[i].thread, NULL, count_up, &counters[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        int request = rule(.action = PROXY_HOLD_REQUEST, .command = "INCR", .nth = 3);
        int reply = rule(.action = PROXY_HOLD_REPLY, .command = "INCR");

        assert_true(proxy_wait(proxy, request, 1, SOON_MS));
        assert_true(proxy_wait(proxy, reply, 1, SOON_MS));
        proxy_release(proxy, reply);
        proxy_rules_clear(proxy);
    }
    test_flag_set(&enough, 1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(counters[i].thread, NULL), 0);
        assert_int_equal(counters[i].wrong, 0);
        sum += counters[i].right;
        close(counters[i].client);
    }
    assert_int_equal(stored("sum"), sum);
}

#define proxied(test) cmocka_unit_test_setup_teardown(test, start_proxy, stop_proxy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        proxied(requests_and_replies_pass_unchanged),
        proxied(large_values_pass_whole),
        proxied(bytes_are_counted_in_each_direction),
        proxied(a_rule_acts_on_its_command_and_argument_and_turn_only),
        proxied(the_oldest_rule_that_fits_is_the_one_that_acts),
        proxied(a_watch_counts_and_leaves_the_rest_to_others),
        proxied(a_dropped_reply_is_to_a_command_that_was_executed),
        proxied(nothing_follows_a_dropped_reply),
        proxied(a_delayed_reply_comes_late_and_in_order),
        proxied(a_held_request_is_executed_when_it_is_let_go),
        proxied(a_held_request_is_executed_after_its_client_has_gone),
        proxied(a_held_reply_comes_when_it_is_let_go),
        proxied(a_reply_is_cut_after_any_byte),
        proxied(pushed_messages_are_dropped_and_confirmations_are_not),
        proxied(a_pushed_message_is_chosen_by_what_it_says),
        proxied(a_reply_that_looks_like_a_message_is_a_reply),
        proxied(replies_find_their_requests_around_subscriptions),
        proxied(swallowed_requests_never_reach_the_server),
        proxied(an_end_is_swallowed_with_the_requests),
        proxied(swallowed_replies_never_reach_a_client),
        proxied(all_connections_are_reset_at_once),
        proxied(a_reset_reaches_clients_though_a_child_has_the_sockets),
        proxied(a_client_that_does_not_read_is_still_read_to_its_end),
        proxied(clients_see_the_end_of_the_server_and_its_return),
        proxied(what_is_no_request_ends_the_connection),
        proxied(rules_change_while_clients_are_busy),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
