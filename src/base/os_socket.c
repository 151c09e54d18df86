#include "base/os.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)

/* A peer that is silent for about half a minute is taken for dead, whether
 * something was sent to it or not. */
#define SILENCE_MS 30000
#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES 3

/* How long to wait before a full unix listener is asked again. */
#define BACKLOG_FIRST_NS (NS_PER_MS / 4)
#define BACKLOG_MAX_NS (16 * NS_PER_MS)

/* Rounded up: rounded down, the last part of a millisecond would be spent in
 * polls that return at once. */
static int poll_ms(int64_t until_ns)
{
    int64_t now = stile__monotonic_ns();
    int64_t ms;

    if (until_ns == INT64_MAX)
        return -1;
    if (until_ns <= now)
        return 0;
    ms = (until_ns - now - 1) / NS_PER_MS + 1;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

int stile__socket_wait(int fd, bool for_write, int64_t until_ns)
{
    struct pollfd entry = {.fd = fd, .events = for_write ? POLLOUT : POLLIN};

    for (;;) {
        int ready = poll(&entry, 1, poll_ms(until_ns));

        if (ready > 0)
            return entry.revents & POLLNVAL ? -EBADF : 0;
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (until_ns != INT64_MAX && stile__monotonic_ns() >= until_ns)
            return -ETIMEDOUT;
    }
}

bool stile__socket_wait_with(int fd, int other, int64_t until_ns)
{
    struct pollfd entries[2] = {{.fd = fd, .events = POLLIN}, {.fd = other, .events = POLLIN}};
    int ready;

    do
        ready = poll(entries, 2, poll_ms(until_ns));
    while (ready < 0 && errno == EINTR);
    return ready < 0 || entries[0].revents != 0;
}

/* ---- connecting ----------------------------------------------------------- */

static void set_option(int fd, int level, int option, int value)
{
    /* What the system does not know is done without. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void set_tcp_options(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#if defined(TCP_KEEPIDLE)
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
#endif
#if defined(TCP_KEEPINTVL)
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
#endif
#if defined(TCP_KEEPCNT)
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
#endif
#if defined(TCP_USER_TIMEOUT)
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, SILENCE_MS);
#endif
}

/* A port of the range for outgoing connections, without a listener, may be
 * chosen as the local port of the very connection that is made to it: then the
 * socket is connected to itself. */
static bool connected_to_itself(int fd)
{
    struct sockaddr_storage local, peer;
    socklen_t local_size = sizeof(local), peer_size = sizeof(peer);

    memset(&local, 0, sizeof(local));
    memset(&peer, 0, sizeof(peer));
    return getsockname(fd, (struct sockaddr *)&local, &local_size) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 && local_size == peer_size &&
           memcmp(&local, &peer, sizeof(local)) == 0;
}

/* Waits for the end of a connect that is on its way. */
static int finish_connect(int fd, int64_t until_ns)
{
    int error = 0;
    socklen_t size = sizeof(error);
    int waited = stile__socket_wait(fd, true, until_ns);

    if (waited != 0)
        return waited;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return -errno;
    return -error;
}

/* A unix socket is connected at once or not at all.  When the listener's queue
 * is full, the answer is EAGAIN, and nothing tells when there is room: so ask
 * again, ever more slowly. */
static int connect_unix(int fd, const struct sockaddr *address, socklen_t size, int64_t until_ns)
{
    int64_t pause = BACKLOG_FIRST_NS;

    for (;;) {
        int64_t now, next;

        if (connect(fd, address, size) == 0)
            return 0;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        now = stile__monotonic_ns();
        if (now >= until_ns)
            return -ETIMEDOUT;
        next = until_ns - now > pause ? now + pause : until_ns;
        if (poll(NULL, 0, poll_ms(next)) < 0 && errno != EINTR)
            return -errno;
        pause = pause < BACKLOG_MAX_NS ? 2 * pause : BACKLOG_MAX_NS;
    }
}

static int connect_tcp(int fd, const struct sockaddr *address, socklen_t size, int64_t until_ns)
{
    int result = 0;

    set_tcp_options(fd);
    /* EINTR: the connect goes on by itself, as with EINPROGRESS. */
    if (connect(fd, address, size) != 0)
        result = errno == EINPROGRESS || errno == EINTR ? finish_connect(fd, until_ns) : -errno;
    if (result == 0 && connected_to_itself(fd))
        result = -ECONNREFUSED;
    return result;
}

static int connect_to(const struct sockaddr *address, socklen_t size, int64_t until_ns,
                      const char **where)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int result;

    if (fd < 0) {
        *where = "socket";
        return -errno;
    }
    *where = "connect";
    if (address->sa_family == AF_UNIX)
        result = connect_unix(fd, address, size, until_ns);
    else
        result = connect_tcp(fd, address, size, until_ns);
    if (result != 0) {
        stile__socket_close(fd, true);
        return result;
    }
    return fd;
}

static int connect_path(const char *path, int64_t until_ns, const char **where)
{
    struct sockaddr_un address;
    size_t length = strlen(path);

    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    if (length >= sizeof(address.sun_path)) {
        *where = "path of the socket";
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, length + 1);
    return connect_to((const struct sockaddr *)&address, sizeof(address), until_ns, where);
}

static int lookup_errno(int lookup)
{
    switch (lookup) {
    case EAI_SYSTEM: return errno;
    case EAI_MEMORY: return ENOMEM;
    case EAI_AGAIN: return EAGAIN;
    default: return ENXIO;
    }
}

/* When to give up on the next of left addresses: an equal share of the time,
 * so that one that never answers does not take it all from the others. */
static int64_t share_ns(int64_t until_ns, int64_t left)
{
    int64_t now = stile__monotonic_ns();

    if (until_ns == INT64_MAX || until_ns <= now)
        return until_ns;
    return now + (until_ns - now) / left;
}

static int connect_host(const char *host, uint16_t port, int64_t until_ns, const char **where)
{
    struct addrinfo hints, *list, *each;
    char service[sizeof("65535")];
    int64_t left = 0;
    int lookup, result = -ENXIO;

    memset(&hints, 0, sizeof(hints));
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    snprintf(service, sizeof(service), "%u", (unsigned)port);

    /* This cannot be ended from outside: for a name it may ask servers, and come
     * back after until_ns.  A numeric address asks nobody. */
    *where = "lookup of the host";
    lookup = getaddrinfo(host, service, &hints, &list);
    if (lookup != 0)
        return -lookup_errno(lookup);

    for (each = list; each != NULL; each = each->ai_next)
        left++;
    for (each = list; each != NULL && result < 0; each = each->ai_next) {
        *where = "connect";
        if (stile__monotonic_ns() >= until_ns) {
            result = -ETIMEDOUT;
            break;
        }
        result = connect_to(each->ai_addr, each->ai_addrlen, share_ns(until_ns, left--), where);
    }
    freeaddrinfo(list);
    return result;
}

int stile__socket_connect(const struct stile_address *address, int64_t until_ns, const char **where)
{
    if (address->path != NULL)
        return connect_path(address->path, until_ns, where);
    return connect_host(address->host, address->port, until_ns, where);
}

/* ---- bytes ---------------------------------------------------------------- */

/* EAGAIN and EWOULDBLOCK may be two numbers; callers know the first. */
static ptrdiff_t io_error(void)
{
#if EAGAIN != EWOULDBLOCK
    if (errno == EWOULDBLOCK)
        return -EAGAIN;
#endif
    return -errno;
}

ptrdiff_t stile__socket_send(int fd, const void *bytes, size_t size)
{
    ssize_t moved;

    do
        moved = send(fd, bytes, size, MSG_NOSIGNAL);
    while (moved < 0 && errno == EINTR);
    return moved < 0 ? io_error() : moved;
}

ptrdiff_t stile__socket_receive(int fd, void *bytes, size_t size)
{
    ssize_t moved;

    /* Of nothing, nothing is read: it would look like the end. */
    assert(size > 0);
    do
        moved = recv(fd, bytes, size, 0);
    while (moved < 0 && errno == EINTR);
    return moved < 0 ? io_error() : moved;
}

void stile__socket_shut(int fd)
{
    (void)shutdown(fd, SHUT_RDWR);
}

void stile__socket_close(int fd, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (reset)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    /* Not again after EINTR: the number may be somebody else's by then. */
    (void)close(fd);
}
