#include "fault/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault/proxy_internal.h"
#include "support/process.h"

/* ---- the thread ------------------------------------------------------------- */

static nfds_t add_slot(struct proxy *proxy, nfds_t *count, int fd, bool write)
{
    if (fd == -1)
        return 0;
    proxy->slots[*count].fd = fd;
    proxy->slots[*count].events = (short)(write ? POLLIN | POLLOUT : POLLIN);
    proxy->slots[*count].revents = 0;
    return (*count)++;
}

/* Fills the slots and returns their number; *timeout_ms is how long nothing is
 * due. */
static nfds_t prepare_poll(struct proxy *proxy, int *timeout_ms)
{
    int64_t now_ms = test_now_ms(), wait_ms = INT_MAX;
    bool full = proxy->counts.open == CONNECTIONS_MAX;
    nfds_t count = SLOTS_FIXED;

    proxy->slots[SLOT_WAKE] = (struct pollfd){.fd = proxy->wake[0], .events = POLLIN};
    proxy->slots[SLOT_UNIX] = (struct pollfd){.fd = proxy->unix_listener, .events = POLLIN};
    proxy->slots[SLOT_TCP] = (struct pollfd){.fd = proxy->tcp_listener, .events = POLLIN};
    if (full)
        proxy->slots[SLOT_UNIX].fd = proxy->slots[SLOT_TCP].fd = -1;
    for (struct connection *c = proxy->connections; c != NULL; c = c->next) {
        const struct frame *frame = c->replies.first;

        c->client_slot = add_slot(proxy, &count, c->client, proxy_can_write_client(c, now_ms));
        c->server_slot = add_slot(proxy, &count, c->server, proxy_can_write_server(c));
        if (frame != NULL && frame->due_ms > now_ms && frame->due_ms - now_ms < wait_ms)
            wait_ms = frame->due_ms - now_ms;
    }
    *timeout_ms = wait_ms == INT_MAX ? -1 : (int)wait_ms;
    return count;
}

static bool is_ready(const struct proxy *proxy, nfds_t slot)
{
    return slot != 0 && proxy->slots[slot].revents != 0;
}

static void serve_connections(struct proxy *proxy)
{
    struct connection **link = &proxy->connections;
    struct connection *connection;

    while ((connection = *link) != NULL) {
        if (proxy->kills_done != proxy->kills_asked)
            proxy_lose_client(proxy, connection, true);
        proxy_connection_serve(proxy, connection, is_ready(proxy, connection->client_slot),
                               is_ready(proxy, connection->server_slot));
        if (connection->client == -1 && connection->server == -1) {
            *link = connection->next;
            proxy->counts.open--;
            proxy_connection_free(connection);
        } else {
            link = &connection->next;
        }
    }
    if (proxy->kills_done != proxy->kills_asked) {
        proxy->kills_done = proxy->kills_asked;
        pthread_cond_broadcast(&proxy->changed);
    }
}

static void *run(void *arg)
{
    struct proxy *proxy = arg;
    char drain[64];

    pthread_mutex_lock(&proxy->mutex);
    while (!proxy->stopping) {
        int timeout_ms;
        nfds_t count = prepare_poll(proxy, &timeout_ms);

        pthread_mutex_unlock(&proxy->mutex);
        if (poll(proxy->slots, count, timeout_ms) < 0 && errno != EINTR)
            abort();
        if (proxy->slots[SLOT_WAKE].revents != 0) {
            while (read(proxy->wake[0], drain, sizeof drain) > 0)
                continue;
        }
        pthread_mutex_lock(&proxy->mutex);
        serve_connections(proxy);
        /* After the others, whose slots these have not. */
        if (proxy->slots[SLOT_UNIX].revents != 0)
            proxy_accept_client(proxy, proxy->unix_listener);
        if (proxy->slots[SLOT_TCP].revents != 0 && proxy->counts.open < CONNECTIONS_MAX)
            proxy_accept_client(proxy, proxy->tcp_listener);
    }
    pthread_mutex_unlock(&proxy->mutex);
    return NULL;
}

/* Makes the thread look at what was changed. */
static void wake_thread(struct proxy *proxy)
{
    /* A full pipe wakes as well. */
    if (write(proxy->wake[1], "", 1) < 0 && errno != EAGAIN)
        abort();
}

/* ---- start and stop --------------------------------------------------------- */

static int listen_unix(struct proxy *proxy)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s/proxy.sock", proxy->dir);
    snprintf(proxy->unix_url, sizeof proxy->unix_url, "unix://%s", address.sun_path);
    if (fd != -1 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        listen(fd, CONNECTIONS_MAX) == 0)
        return fd;
    if (fd != -1)
        close(fd);
    return -1;
}

static int listen_tcp(struct proxy *proxy)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd != -1 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        listen(fd, CONNECTIONS_MAX) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0) {
        snprintf(proxy->tcp_url, sizeof proxy->tcp_url, "redis://127.0.0.1:%u",
                 (unsigned)ntohs(address.sin_port));
        return fd;
    }
    if (fd != -1)
        close(fd);
    return -1;
}

static bool open_sockets(struct proxy *proxy)
{
    if (!test_tempdir_make(proxy->dir))
        return false;
    if (pipe2(proxy->wake, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    proxy->unix_listener = listen_unix(proxy);
    proxy->tcp_listener = listen_tcp(proxy);
    return proxy->unix_listener != -1 && proxy->tcp_listener != -1;
}

static void close_sockets(struct proxy *proxy)
{
    if (proxy->wake[0] != -1) {
        close(proxy->wake[0]);
        close(proxy->wake[1]);
    }
    if (proxy->unix_listener != -1)
        proxy_end_socket(proxy->unix_listener, false);
    if (proxy->tcp_listener != -1)
        proxy_end_socket(proxy->tcp_listener, false);
    if (proxy->dir[0] != '\0')
        test_tempdir_remove(proxy->dir);
}

static int start_thread(struct proxy *proxy)
{
    pthread_condattr_t attributes;
    sigset_t all, before;
    int error;

    pthread_mutex_init(&proxy->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&proxy->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&proxy->thread, NULL, run, proxy);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void free_all(struct proxy *proxy)
{
    while (proxy->connections != NULL) {
        struct connection *connection = proxy->connections;

        proxy->connections = connection->next;
        proxy_lose_client(proxy, connection, true);
        proxy_lose_server(proxy, connection);
        proxy_connection_free(connection);
    }
    for (size_t i = 0; i < proxy->rule_count; i++)
        proxy_rule_free(proxy->rules[i]);
    free(proxy->rules);
    close_sockets(proxy);
    free(proxy);
}

struct proxy *proxy_start(const char *upstream)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    int error = 0;

    if (proxy == NULL || strlen(upstream) >= sizeof proxy->upstream.sun_path) {
        fprintf(stderr, "No proxy: no memory, or too long a path: %s\n", upstream);
        free(proxy);
        return NULL;
    }
    proxy->wake[0] = proxy->wake[1] = proxy->unix_listener = proxy->tcp_listener = -1;
    proxy->upstream.sun_family = AF_UNIX;
    memcpy(proxy->upstream.sun_path, upstream, strlen(upstream));
    if (!open_sockets(proxy))
        error = errno;
    else
        error = start_thread(proxy);
    if (error == 0)
        return proxy;
    fprintf(stderr, "No proxy: %s\n", strerror(error));
    free_all(proxy);
    return NULL;
}

void proxy_stop(struct proxy *proxy)
{
    if (proxy == NULL)
        return;
    pthread_mutex_lock(&proxy->mutex);
    proxy->stopping = true;
    wake_thread(proxy);
    pthread_mutex_unlock(&proxy->mutex);
    pthread_join(proxy->thread, NULL);
    pthread_cond_destroy(&proxy->changed);
    pthread_mutex_destroy(&proxy->mutex);
    free_all(proxy);
}

const char *proxy_unix_url(const struct proxy *proxy)
{
    return proxy->unix_url;
}

const char *proxy_unix_path(const struct proxy *proxy)
{
    return proxy->unix_url + strlen("unix://");
}

const char *proxy_tcp_url(const struct proxy *proxy)
{
    return proxy->tcp_url;
}

/* ---- what a test calls while it runs ----------------------------------------- */

int proxy_rule_add(struct proxy *proxy, const struct proxy_rule *spec)
{
    struct rule *rule = proxy_rule_create(spec), **rules;
    int number = -1;

    if (rule == NULL)
        return -1;
    pthread_mutex_lock(&proxy->mutex);
    rules = realloc(proxy->rules, (proxy->rule_count + 1) * sizeof *rules);
    if (rules != NULL) {
        proxy->rules = rules;
        number = (int)proxy->rule_count++;
        rules[number] = rule;
    }
    pthread_mutex_unlock(&proxy->mutex);
    if (number == -1)
        proxy_rule_free(rule);
    return number;
}

/* The rule of that number.  It stays until the proxy stops, since frames may
 * point to it. */
static struct rule *rule_of(struct proxy *proxy, int number)
{
    if (number < 0 || (size_t)number >= proxy->rule_count) {
        fprintf(stderr, "The proxy has no rule %d.\n", number);
        abort();
    }
    return proxy->rules[number];
}

static void rule_end(struct rule *rule)
{
    rule->active = false;
    rule->released = UINT_MAX;
}

void proxy_rule_remove(struct proxy *proxy, int rule)
{
    pthread_mutex_lock(&proxy->mutex);
    rule_end(rule_of(proxy, rule));
    wake_thread(proxy);
    pthread_mutex_unlock(&proxy->mutex);
}

void proxy_rules_clear(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->mutex);
    for (size_t i = 0; i < proxy->rule_count; i++)
        rule_end(proxy->rules[i]);
    wake_thread(proxy);
    pthread_mutex_unlock(&proxy->mutex);
}

void proxy_release(struct proxy *proxy, int number)
{
    struct rule *rule;

    pthread_mutex_lock(&proxy->mutex);
    rule = rule_of(proxy, number);
    if (rule->active)
        rule->released = rule->counts.acted;
    wake_thread(proxy);
    pthread_mutex_unlock(&proxy->mutex);
}

/* Waits, with the mutex held, until *counter is at least count. */
static bool wait_for(struct proxy *proxy, const unsigned *counter, unsigned count,
                     int64_t timeout_ms)
{
    int64_t until = test_now_ns() + timeout_ms * 1000000;
    struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};

    while (*counter < count) {
        if (pthread_cond_timedwait(&proxy->changed, &proxy->mutex, &at) == ETIMEDOUT)
            return *counter >= count;
    }
    return true;
}

bool proxy_wait(struct proxy *proxy, int rule, unsigned count, int64_t timeout_ms)
{
    bool reached;

    pthread_mutex_lock(&proxy->mutex);
    reached = wait_for(proxy, &rule_of(proxy, rule)->counts.acted, count, timeout_ms);
    pthread_mutex_unlock(&proxy->mutex);
    return reached;
}

bool proxy_wait_answered(struct proxy *proxy, int rule, unsigned count, int64_t timeout_ms)
{
    bool reached;

    pthread_mutex_lock(&proxy->mutex);
    reached = wait_for(proxy, &rule_of(proxy, rule)->counts.answered, count, timeout_ms);
    pthread_mutex_unlock(&proxy->mutex);
    return reached;
}

void proxy_kill_connections(struct proxy *proxy)
{
    unsigned kill;

    pthread_mutex_lock(&proxy->mutex);
    kill = ++proxy->kills_asked;
    wake_thread(proxy);
    while (proxy->kills_done < kill)
        pthread_cond_wait(&proxy->changed, &proxy->mutex);
    pthread_mutex_unlock(&proxy->mutex);
}

struct proxy_rule_counts proxy_rule_counts(struct proxy *proxy, int rule)
{
    struct proxy_rule_counts counts;

    pthread_mutex_lock(&proxy->mutex);
    counts = rule_of(proxy, rule)->counts;
    pthread_mutex_unlock(&proxy->mutex);
    return counts;
}

struct proxy_counts proxy_counts(struct proxy *proxy)
{
    struct proxy_counts counts;

    pthread_mutex_lock(&proxy->mutex);
    counts = proxy->counts;
    pthread_mutex_unlock(&proxy->mutex);
    return counts;
}
