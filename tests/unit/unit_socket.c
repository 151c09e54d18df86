/*
 * The sockets of the operating-system layer, against listeners that do what
 * servers do on bad days.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "punctual.h"

/* ---- servers ---------------------------------------------------------- */

/* A listener, on a free port of the loopback or on a path of its own. */
struct server {
    int fd;
    uint16_t port;
    char folder[32];
    char path[64];
    struct stile_address address;
};

static void server_open_tcp(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);

    memset(server, 0, sizeof(*server));
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(server->fd >= 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    server->address = (struct stile_address){.host = "127.0.0.1", .port = server->port};
}

static void server_open_unix(struct server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memset(server, 0, sizeof(*server));
    strcpy(server->folder, "/tmp/unit_socket.XXXXXX");
    assert_non_null(mkdtemp(server->folder));
    snprintf(server->path, sizeof(server->path), "%s/socket", server->folder);
    memcpy(address.sun_path, server->path, sizeof(server->path));
    server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(server->fd >= 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    server->address = (struct stile_address){.path = server->path};
}

static void server_close(struct server *server)
{
    close(server->fd);
    if (server->folder[0] != '\0') {
        unlink(server->path);
        rmdir(server->folder);
    }
}

static int dial(const struct server *server, int64_t for_ns)
{
    const char *where = NULL;
    int fd = stile__socket_connect(&server->address, in_ns(for_ns), &where);

    assert_non_null(where);
    return fd;
}

/* Connects until the listener has no room left. */
struct crowd {
    int fds[16];
    int count;
};

static void crowd_fill(struct crowd *crowd, const struct server *server)
{
    int fd;

    crowd->count = 0;
    assert_int_equal(listen(server->fd, 0), 0);
    while ((fd = dial(server, 30 * NS_PER_MS)) >= 0) {
        assert_true(crowd->count < 16);
        crowd->fds[crowd->count++] = fd;
    }
    assert_int_equal(fd, -ETIMEDOUT);
    assert_true(crowd->count > 0);
}

static void crowd_leave(struct crowd *crowd)
{
    while (crowd->count > 0)
        stile__socket_close(crowd->fds[--crowd->count], true);
}

/* A connection over the loopback, both of its ends. */
struct pair {
    struct server server;
    int near, far;
};

static void pair_open(struct pair *pair, void (*server_open)(struct server *server))
{
    server_open(&pair->server);
    assert_int_equal(listen(pair->server.fd, 4), 0);
    pair->near = dial(&pair->server, SOON_NS);
    assert_true(pair->near >= 0);
    pair->far = accept(pair->server.fd, NULL, NULL);
    assert_true(pair->far >= 0);
}

static void pair_close(struct pair *pair)
{
    stile__socket_close(pair->near, false);
    close(pair->far);
    server_close(&pair->server);
}

/* ---- connecting ------------------------------------------------------- */

/* Stands before the C library's: while faked_count is not 0, every host has the
 * ports of the loopback given here as its addresses, or the lookup fails. */
static uint16_t faked_ports[4];
static size_t faked_count;
static int faked_error;

int getaddrinfo(const char *restrict host, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    char port[8];
    size_t i;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (faked_error != 0)
        return faked_error;
    if (faked_count == 0)
        return real(host, service, hints, out);
    *out = NULL;
    for (i = faked_count; i-- > 0;) {
        struct addrinfo *one;

        snprintf(port, sizeof(port), "%u", (unsigned)faked_ports[i]);
        if (real("127.0.0.1", port, hints, &one) != 0)
            return EAI_MEMORY;
        one->ai_next = *out;
        *out = one;
    }
    return 0;
}

/* Stands before the C library's as well: while chosen_port is not 0, it is the
 * local port of every new socket. */
static uint16_t chosen_port;

int socket(int family, int type, int protocol)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
                                  .sin_port = htons(chosen_port)};
    int (*real)(int, int, int);
    int fd;

    *(void **)&real = dlsym(RTLD_NEXT, "socket");
    fd = real(family, type, protocol);
    if (fd >= 0 && chosen_port != 0 &&
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void connected_socket_does_not_block_nor_outlive_exec(void **state)
{
    struct pair pair;
    int value = 0;
    socklen_t size = sizeof(value);

    (void)state;
    pair_open(&pair, server_open_tcp);
    assert_true(fcntl(pair.near, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(pair.near, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(getsockopt(pair.near, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    assert_true(value != 0);
    assert_int_equal(getsockopt(pair.near, SOL_SOCKET, SO_KEEPALIVE, &value, &size), 0);
    assert_true(value != 0);
    assert_int_equal(getsockopt(pair.near, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &size), 0);
    assert_int_equal(value, 30000);
    pair_close(&pair);
    pair_open(&pair, server_open_unix);
    assert_true(fcntl(pair.near, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(pair.near, F_GETFD) & FD_CLOEXEC);
    pair_close(&pair);
}

static void connect_where_nobody_listens_is_refused(void **state)
{
    struct server server;

    (void)state;
    server_open_tcp(&server);
    assert_int_equal(dial(&server, SOON_NS), -ECONNREFUSED);
    server_close(&server);
    server_open_unix(&server);
    assert_int_equal(dial(&server, SOON_NS), -ECONNREFUSED);
    server_close(&server);
    assert_int_equal(dial(&server, SOON_NS), -ENOENT);
}

static void connect_refuses_a_path_that_does_not_fit(void **state)
{
    struct server server = {.fd = -1};
    char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];

    (void)state;
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    server.address.path = path;
    assert_int_equal(dial(&server, SOON_NS), -ENAMETOOLONG);
    /* One byte less is a path that only does not exist. */
    path[sizeof(path) - 2] = '\0';
    assert_int_equal(dial(&server, SOON_NS), -ENOENT);
}

static void dial_until(void *server, int64_t until_ns)
{
    const char *where;

    assert_int_equal(
        stile__socket_connect(&((const struct server *)server)->address, until_ns, &where),
        -ETIMEDOUT);
    assert_string_equal(where, "connect");
}

static void connect_to_a_full_listener_keeps_its_deadline(void **state)
{
    void (*const opens[])(struct server *) = {server_open_tcp, server_open_unix};
    struct server server;
    struct crowd crowd;
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        opens[i](&server);
        crowd_fill(&crowd, &server);
        check_punctual(dial_until, &server);
        set_alarm(count_storm, 1000, 1000);
        check_punctual(dial_until, &server);
        set_alarm(SIG_IGN, 0, 0);
        crowd_leave(&crowd);
        server_close(&server);
    }
}

static int full_listener;

static void accept_one(int number)
{
    int saved = errno;

    (void)number;
    close(accept(full_listener, NULL, NULL));
    errno = saved;
}

static void connect_to_a_full_unix_listener_gets_in_when_there_is_room(void **state)
{
    struct server server;
    struct crowd crowd;
    int fd;

    (void)state;
    server_open_unix(&server);
    crowd_fill(&crowd, &server);
    full_listener = server.fd;
    set_alarm(accept_one, 20000, 0);
    fd = dial(&server, SOON_NS);
    assert_true(fd >= 0);
    stile__socket_close(fd, false);
    crowd_leave(&crowd);
    server_close(&server);
}

static void connect_tries_every_address_of_a_host(void **state)
{
    struct server closed, full, open;
    struct crowd crowd;
    int fd, far;

    (void)state;
    server_open_tcp(&closed);
    server_open_tcp(&full);
    server_open_tcp(&open);
    crowd_fill(&crowd, &full);
    assert_int_equal(listen(open.fd, 4), 0);
    faked_ports[0] = closed.port;
    faked_ports[1] = full.port;
    faked_ports[2] = open.port;
    faked_count = 3;
    fd = dial(&full, 1000 * NS_PER_MS);
    assert_true(fd >= 0);
    far = accept(open.fd, NULL, NULL);
    assert_true(far >= 0);
    close(far);
    stile__socket_close(fd, false);
    /* When there is none that answers, the last one's failure is told. */
    faked_ports[2] = closed.port;
    assert_int_equal(dial(&full, 100 * NS_PER_MS), -ECONNREFUSED);
    /* And no time is no attempt. */
    assert_int_equal(dial(&full, 0), -ETIMEDOUT);
    faked_count = 0;
    crowd_leave(&crowd);
    server_close(&closed);
    server_close(&full);
    server_close(&open);
}

static void failed_lookup_is_told_as_such(void **state)
{
    const struct {
        int lookup, expected;
    } cases[] = {{EAI_NONAME, -ENXIO},
                 {EAI_AGAIN, -EAGAIN},
                 {EAI_MEMORY, -ENOMEM},
                 {EAI_SYSTEM, -EMFILE},
                 {EAI_FAIL, -ENXIO}};
    const struct stile_address address = {.host = "nowhere.invalid", .port = 6379};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *where = NULL;
        int result;

        faked_error = cases[i].lookup;
        errno = EMFILE;
        result = stile__socket_connect(&address, in_ns(SOON_NS), &where);
        faked_error = 0;
        assert_int_equal(result, cases[i].expected);
        assert_string_equal(where, "lookup of the host");
    }
}

static void connection_of_a_socket_to_itself_is_refused(void **state)
{
    struct server server;
    int result;

    (void)state;
    server_open_tcp(&server);
    server_close(&server);
    chosen_port = server.port;
    result = dial(&server, SOON_NS);
    chosen_port = 0;
    assert_int_equal(result, -ECONNREFUSED);
}

static void failed_connect_keeps_no_descriptor(void **state)
{
    struct server server;
    int before, after;

    (void)state;
    server_open_tcp(&server);
    before = dup(server.fd);
    close(before);
    assert_int_equal(dial(&server, SOON_NS), -ECONNREFUSED);
    after = dup(server.fd);
    close(after);
    assert_int_equal(after, before);
    server_close(&server);
}

/* ---- bytes ------------------------------------------------------------ */

static void bytes_go_both_ways_and_none_would_wait(void **state)
{
    struct pair pair;
    char bytes[16];

    (void)state;
    pair_open(&pair, server_open_tcp);
    assert_int_equal(stile__socket_receive(pair.near, bytes, sizeof(bytes)), -EAGAIN);
    assert_int_equal(stile__socket_send(pair.near, "PING", 4), 4);
    assert_int_equal(recv(pair.far, bytes, 4, MSG_WAITALL), 4);
    assert_memory_equal(bytes, "PING", 4);
    assert_int_equal(send(pair.far, "PONG", 4, 0), 4);
    assert_int_equal(stile__socket_wait(pair.near, false, in_ns(SOON_NS)), 0);
    assert_int_equal(stile__socket_receive(pair.near, bytes, sizeof(bytes)), 4);
    assert_memory_equal(bytes, "PONG", 4);
    pair_close(&pair);
}

static void send_to_a_peer_that_does_not_read_would_wait(void **state)
{
    struct pair pair;
    char bytes[65536] = {0};
    ptrdiff_t sent;

    (void)state;
    pair_open(&pair, server_open_unix);
    assert_int_equal(stile__socket_wait(pair.near, true, INT64_MAX), 0);
    while ((sent = stile__socket_send(pair.near, bytes, sizeof(bytes))) > 0)
        continue;
    assert_int_equal(sent, -EAGAIN);
    assert_int_equal(stile__socket_wait(pair.near, true, in_ns(NS_PER_MS)), -ETIMEDOUT);
    pair_close(&pair);
}

static void receive_after_the_peer_closed_is_the_end_of_the_stream(void **state)
{
    struct pair pair;
    char bytes[16];

    (void)state;
    pair_open(&pair, server_open_tcp);
    assert_int_equal(send(pair.far, "last", 4, 0), 4);
    close(pair.far);
    assert_int_equal(stile__socket_wait(pair.near, false, in_ns(SOON_NS)), 0);
    assert_int_equal(stile__socket_receive(pair.near, bytes, sizeof(bytes)), 4);
    assert_int_equal(stile__socket_wait(pair.near, false, in_ns(SOON_NS)), 0);
    assert_int_equal(stile__socket_receive(pair.near, bytes, sizeof(bytes)), 0);
    pair.far = -1;
    pair_close(&pair);
}

static void send_to_a_closed_peer_fails_and_raises_no_signal(void **state)
{
    void (*const opens[])(struct server *) = {server_open_tcp, server_open_unix};
    struct pair pair;
    ptrdiff_t sent;
    size_t i;

    (void)state;
    /* Raised, it would end this process. */
    assert_true(signal(SIGPIPE, SIG_DFL) == SIG_DFL);
    for (i = 0; i < 2; i++) {
        pair_open(&pair, opens[i]);
        close(pair.far);
        pair.far = -1;
        /* Over TCP the first may still go out, and is answered by a reset. */
        do
            sent = stile__socket_send(pair.near, "PING", 4);
        while (sent == 4);
        assert_true(sent == -EPIPE || sent == -ECONNRESET);
        assert_int_equal(stile__socket_send(pair.near, "PING", 4), -EPIPE);
        pair_close(&pair);
    }
}

static void close_with_reset_is_seen_by_the_peer(void **state)
{
    struct pair pair;
    char bytes[16];

    (void)state;
    pair_open(&pair, server_open_tcp);
    stile__socket_close(pair.near, true);
    assert_int_equal(recv(pair.far, bytes, sizeof(bytes), 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(pair.far);
    server_close(&pair.server);
    /* Without, it is the end of a stream. */
    pair_open(&pair, server_open_tcp);
    stile__socket_close(pair.near, false);
    assert_int_equal(recv(pair.far, bytes, sizeof(bytes), 0), 0);
    close(pair.far);
    server_close(&pair.server);
}

/* ---- waiting ---------------------------------------------------------- */

static void wait_for_near(void *pair, int64_t until_ns)
{
    assert_int_equal(stile__socket_wait(((struct pair *)pair)->near, false, until_ns), -ETIMEDOUT);
}

static void wait_keeps_its_deadline_under_a_storm_of_signals(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair, server_open_tcp);
    check_punctual(wait_for_near, &pair);
    storm_count = 0;
    set_alarm(count_storm, 1000, 1000);
    check_punctual(wait_for_near, &pair);
    assert_true(storm_count > 10);
    pair_close(&pair);
}

static void wait_with_no_time_only_looks(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair, server_open_unix);
    assert_int_equal(stile__socket_wait(pair.near, false, 0), -ETIMEDOUT);
    assert_int_equal(stile__socket_wait(pair.near, false, INT64_MIN), -ETIMEDOUT);
    assert_int_equal(stile__socket_wait(pair.near, true, 0), 0);
    assert_int_equal(send(pair.far, "x", 1, 0), 1);
    assert_int_equal(stile__socket_wait(pair.near, false, 0), 0);
    pair_close(&pair);
}

static void wait_on_no_socket_is_an_error(void **state)
{
    int fd = dup(STDOUT_FILENO);

    (void)state;
    close(fd);
    assert_int_equal(stile__socket_wait(fd, false, in_ns(SOON_NS)), -EBADF);
}

static int64_t cpu_ns(void)
{
    struct timespec used;

    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used), 0);
    return used.tv_sec * 1000 * NS_PER_MS + used.tv_nsec;
}

static void wait_for_part_of_a_millisecond_does_not_spin(void **state)
{
    struct pair pair;
    int64_t began;
    int i;

    (void)state;
    pair_open(&pair, server_open_unix);
    began = cpu_ns();
    for (i = 0; i < 50; i++)
        wait_for_near(&pair, in_ns(NS_PER_MS * 9 / 10));
    /* Spinning would take 45 ms. */
    assert_true(cpu_ns() - began < 25 * NS_PER_MS);
    pair_close(&pair);
}

struct waiting {
    int fd, waited;
    ptrdiff_t received;
};

static void wait_for_the_end(void *arg)
{
    struct waiting *waiting = arg;
    char byte;

    waiting->waited = stile__socket_wait(waiting->fd, false, INT64_MAX);
    waiting->received = stile__socket_receive(waiting->fd, &byte, 1);
}

static void shut_ends_the_wait_of_another_thread(void **state)
{
    struct waiting waiting = {.waited = -1, .received = -1};
    struct stile_thread thread;
    struct pair pair;

    (void)state;
    pair_open(&pair, server_open_tcp);
    waiting.fd = pair.near;
    assert_int_equal(stile__thread_start(&thread, "waiting", wait_for_the_end, &waiting), STILE_OK);
    stile__socket_shut(pair.near);
    stile__thread_join(&thread);
    assert_int_equal(waiting.waited, 0);
    assert_int_equal(waiting.received, 0);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connected_socket_does_not_block_nor_outlive_exec),
        cmocka_unit_test(connect_where_nobody_listens_is_refused),
        cmocka_unit_test(connect_refuses_a_path_that_does_not_fit),
        cmocka_unit_test_teardown(connect_to_a_full_listener_keeps_its_deadline, storm_end),
        cmocka_unit_test_teardown(connect_to_a_full_unix_listener_gets_in_when_there_is_room,
                                  storm_end),
        cmocka_unit_test(connect_tries_every_address_of_a_host),
        cmocka_unit_test(failed_lookup_is_told_as_such),
        cmocka_unit_test(connection_of_a_socket_to_itself_is_refused),
        cmocka_unit_test(failed_connect_keeps_no_descriptor),
        cmocka_unit_test(bytes_go_both_ways_and_none_would_wait),
        cmocka_unit_test(send_to_a_peer_that_does_not_read_would_wait),
        cmocka_unit_test(receive_after_the_peer_closed_is_the_end_of_the_stream),
        cmocka_unit_test(send_to_a_closed_peer_fails_and_raises_no_signal),
        cmocka_unit_test(close_with_reset_is_seen_by_the_peer),
        cmocka_unit_test_teardown(wait_keeps_its_deadline_under_a_storm_of_signals, storm_end),
        cmocka_unit_test(wait_with_no_time_only_looks),
        cmocka_unit_test(wait_on_no_socket_is_an_error),
        cmocka_unit_test(wait_for_part_of_a_millisecond_does_not_spin),
        cmocka_unit_test(shut_ends_the_wait_of_another_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
