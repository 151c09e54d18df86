/*
 * One client's connection and the one to the server that belongs to it.  All with
 * the proxy's mutex held, by its thread.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault/proxy_internal.h"
#include "fault/proxy_resp.h"
#include "support/process.h"

#define READ_SIZE 65536

/* ---- bytes, frames, queues -------------------------------------------------- */

static bool bytes_reserve(struct bytes *bytes, size_t more)
{
    size_t capacity = bytes->capacity != 0 ? bytes->capacity : READ_SIZE;
    char *data;

    while (capacity < bytes->length + more)
        capacity *= 2;
    if (capacity == bytes->capacity)
        return true;
    data = realloc(bytes->data, capacity);
    if (data == NULL)
        return false;
    bytes->data = data;
    bytes->capacity = capacity;
    return true;
}

static void bytes_consume(struct bytes *bytes, size_t length)
{
    bytes->length -= length;
    memmove(bytes->data, bytes->data + length, bytes->length);
}

static struct frame *frame_create(const char *bytes, size_t length)
{
    struct frame *frame = calloc(1, sizeof *frame + length);

    if (frame == NULL)
        return NULL;
    frame->subject = NO_SUBJECT;
    frame->replies_due = 1;
    frame->length = length;
    if (length > 0)
        memcpy(frame->bytes, bytes, length);
    return frame;
}

static void queue_add(struct queue *queue, struct frame *frame)
{
    frame->next = NULL;
    if (queue->first == NULL)
        queue->first = frame;
    else
        queue->last->next = frame;
    queue->last = frame;
}

static struct frame *queue_take(struct queue *queue)
{
    struct frame *frame = queue->first;

    queue->first = frame->next;
    return frame;
}

static void queue_clear(struct queue *queue)
{
    while (queue->first != NULL)
        free(queue_take(queue));
}

/* ---- connections ------------------------------------------------------------ */

void proxy_end_socket(int fd, bool reset)
{
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

    if (!reset || connect(fd, &nowhere, sizeof nowhere) != 0)
        shutdown(fd, SHUT_RDWR);
    close(fd);
}

void proxy_lose_client(struct proxy *proxy, struct connection *connection, bool reset)
{
    if (connection->client == -1)
        return;
    proxy_end_socket(connection->client, reset && connection->over_tcp);
    connection->client = -1;
    connection->from_client.length = 0;
    queue_clear(&connection->replies);
    if (proxy_is_blackhole(proxy, PROXY_SWALLOW_REQUESTS))
        connection->deaf = true;
}

void proxy_lose_server(struct proxy *proxy, struct connection *connection)
{
    if (connection->server == -1)
        return;
    proxy_end_socket(connection->server, false);
    connection->server = -1;
    connection->from_server.length = 0;
    queue_clear(&connection->requests);
    queue_clear(&connection->pending);
    if (proxy_is_blackhole(proxy, PROXY_SWALLOW_REPLIES))
        connection->silent = true;
}

static void lose_both(struct proxy *proxy, struct connection *connection, const char *why)
{
    fprintf(stderr, "The proxy gives up a connection: %s.\n", why);
    proxy_lose_client(proxy, connection, true);
    proxy_lose_server(proxy, connection);
}

void proxy_connection_free(struct connection *connection)
{
    queue_clear(&connection->requests);
    queue_clear(&connection->pending);
    queue_clear(&connection->replies);
    free(connection->from_client.data);
    free(connection->from_server.data);
    free(connection);
}

/* ---- from client to server -------------------------------------------------- */

/* Notes how many replies a request will have. */
static void note_subject(struct frame *frame)
{
    static const struct {
        const char *command;
        enum subject subject;
    } known[] = {
        {"SUBSCRIBE", CHANNELS},    {"UNSUBSCRIBE", CHANNELS}, {"PSUBSCRIBE", PATTERNS},
        {"PUNSUBSCRIBE", PATTERNS}, {"SSUBSCRIBE", SHARDS},    {"SUNSUBSCRIBE", SHARDS},
    };
    const char *at;
    long long count = proxy_resp_array(frame->bytes, &at);
    struct text command = proxy_resp_next(&at);

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (proxy_text_is(command, known[i].command)) {
            frame->subject = known[i].subject;
            frame->replies_due = (unsigned)count - 1;
        }
    }
}

/* False without memory. */
static bool take_request(struct proxy *proxy, struct connection *connection, const char *bytes,
                         size_t length)
{
    struct frame *frame = frame_create(bytes, length);

    if (frame == NULL)
        return false;
    proxy->counts.requests++;
    note_subject(frame);
    proxy_choose_rules(proxy, frame, false);
    if (frame->rules[ON_REQUEST] != NULL) {
        proxy_rule_acted(proxy, frame->rules[ON_REQUEST]);
        frame->ordinal = frame->rules[ON_REQUEST]->counts.acted;
        if (proxy_rule_acts(frame, ON_REQUEST, PROXY_SWALLOW_REQUESTS))
            connection->deaf = true;
    }
    if (connection->deaf || connection->server == -1)
        free(frame);
    else
        queue_add(&connection->requests, frame);
    return true;
}

/* Reads once: bytes read, 0 at the end of the stream (or when it broke, or
 * without memory), -1 if there is nothing now. */
static ptrdiff_t read_once(int fd, struct bytes *bytes, uint64_t *counter)
{
    ssize_t got;

    if (!bytes_reserve(bytes, READ_SIZE))
        return 0;
    got = recv(fd, bytes->data + bytes->length, READ_SIZE, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? -1 : 0;
    bytes->length += (size_t)got;
    *counter += (uint64_t)got;
    return got;
}

static void read_client(struct proxy *proxy, struct connection *connection)
{
    struct bytes *bytes = &connection->from_client;
    ptrdiff_t got = read_once(connection->client, bytes, &proxy->counts.from_clients);
    ptrdiff_t size;
    size_t done = 0;

    if (got <= 0) {
        if (got == 0)
            proxy_lose_client(proxy, connection, false);
        return;
    }
    while ((size = proxy_resp_size(bytes->data + done, bytes->length - done, 0)) > 0) {
        if (!proxy_resp_is_request(bytes->data + done)) {
            size = -1;
            break;
        }
        if (!take_request(proxy, connection, bytes->data + done, (size_t)size)) {
            lose_both(proxy, connection, "no memory");
            return;
        }
        done += (size_t)size;
    }
    if (size < 0)
        lose_both(proxy, connection, "what the client sent is no request in RESP2");
    else
        bytes_consume(bytes, done);
}

/* Writes what is left of frame up to limit.  1: all is written, 0: not yet, -1:
 * the stream broke. */
static int write_frame(int fd, struct frame *frame, size_t limit, uint64_t *counter)
{
    while (frame->done < limit) {
        ssize_t sent = send(fd, frame->bytes + frame->done, limit - frame->done, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? 0 : -1;
        frame->done += (size_t)sent;
        *counter += (uint64_t)sent;
    }
    return 1;
}

bool proxy_can_write_server(const struct connection *connection)
{
    const struct frame *frame = connection->requests.first;

    return connection->server != -1 && frame != NULL && !proxy_frame_held(frame, ON_REQUEST);
}

static void write_server(struct proxy *proxy, struct connection *connection)
{
    while (proxy_can_write_server(connection)) {
        struct frame *frame = connection->requests.first;
        int written =
            write_frame(connection->server, frame, frame->length, &proxy->counts.to_server);

        if (written < 0) /* reading finds the end, behind what the server still said */
            queue_clear(&connection->requests);
        if (written <= 0)
            return;
        queue_add(&connection->pending, queue_take(&connection->requests));
    }
}

/* ---- from server to client -------------------------------------------------- */

static bool is_push(const struct connection *connection, const char *value)
{
    const unsigned *subscribed = connection->subscribed;
    const char *at;
    struct text kind;

    if (subscribed[CHANNELS] + subscribed[PATTERNS] + subscribed[SHARDS] == 0 ||
        proxy_resp_array(value, &at) <= 0)
        return false;
    kind = proxy_resp_next(&at);
    return proxy_text_is(kind, "message") || proxy_text_is(kind, "pmessage") ||
           proxy_text_is(kind, "smessage");
}

/* Takes the count out of a confirmation, which has channels and patterns in one
 * number, and shards in another. */
static void note_confirmation(struct connection *connection, enum subject subject,
                              const char *value)
{
    unsigned *subscribed = connection->subscribed;
    const char *at;
    unsigned total;

    if (proxy_resp_array(value, &at) != 3)
        return;
    proxy_resp_next(&at);
    proxy_resp_next(&at);
    total = (unsigned)strtoul(proxy_resp_next(&at).bytes, NULL, 10);
    if (subject == CHANNELS)
        total -= subscribed[PATTERNS];
    else if (subject == PATTERNS)
        total -= subscribed[CHANNELS];
    subscribed[subject] = total;
}

/* Takes reply as one of those that the oldest pending request is owed, and gives
 * it that request's rules. */
static void settle_request(struct proxy *proxy, struct connection *connection, struct frame *reply)
{
    struct frame *request = connection->pending.first;

    if (request == NULL)
        return; /* said by the server unasked, as when it is full */
    memcpy(reply->rules, request->rules, sizeof reply->rules);
    if (request->subject != NO_SUBJECT) {
        if (request->replies_due == 0) /* from all: one for each, or one for none */
            request->replies_due = connection->subscribed[request->subject];
        note_confirmation(connection, request->subject, reply->bytes);
    }
    if (request->replies_due > 1 && reply->bytes[0] != '-') {
        request->replies_due--;
        return;
    }
    for (int stage = 0; stage < STAGES; stage++) {
        if (request->rules[stage] != NULL)
            request->rules[stage]->counts.answered++;
    }
    pthread_cond_broadcast(&proxy->changed);
    free(queue_take(&connection->pending));
}

/* Does what the frame's rule wants done before it is queued.  NULL: nothing is
 * left of it. */
static struct frame *alter_reply(struct proxy *proxy, struct frame *frame)
{
    struct rule *rule = frame->rules[ON_REPLY];
    struct frame *other;

    if (rule == NULL || rule->spec.action == PROXY_CUT_REPLY)
        return frame; /* a cut acts when it is written */
    proxy_rule_acted(proxy, rule);
    switch (rule->spec.action) {
    case PROXY_DELAY_REPLY: frame->due_ms = test_now_ms() + rule->spec.delay_ms; return frame;
    case PROXY_HOLD_REPLY: frame->ordinal = rule->counts.acted; return frame;
    case PROXY_REPLACE_REPLY:
        other = frame_create(rule->spec.bytes, rule->spec.length);
        if (other != NULL)
            memcpy(other->rules, frame->rules, sizeof other->rules);
        free(frame);
        return other;
    default: free(frame); return NULL; /* PROXY_DROP_REPLY */
    }
}

/* Takes a reply or a message.  False without memory. */
static bool take_reply(struct proxy *proxy, struct connection *connection, const char *bytes,
                       size_t length)
{
    struct frame *frame = frame_create(bytes, length);
    bool push = is_push(connection, bytes), dropped;

    if (frame == NULL)
        return false;
    if (push) {
        proxy->counts.pushes++;
        proxy_choose_rules(proxy, frame, true);
    } else {
        proxy->counts.replies++;
        settle_request(proxy, connection, frame);
    }
    if (proxy_swallows_reply(proxy)) {
        free(frame);
        frame = NULL;
        dropped = true;
    } else {
        dropped = proxy_rule_acts(frame, ON_REPLY, PROXY_DROP_REPLY);
        frame = alter_reply(proxy, frame);
        if (frame == NULL && !dropped)
            return false;
    }
    if (frame != NULL && !connection->silent && connection->client != -1)
        queue_add(&connection->replies, frame);
    else
        free(frame);
    if (dropped && !push)
        connection->silent = true;
    return true;
}

static void read_server(struct proxy *proxy, struct connection *connection)
{
    struct bytes *bytes = &connection->from_server;
    ptrdiff_t got = read_once(connection->server, bytes, &proxy->counts.from_server);
    ptrdiff_t size;
    size_t done = 0;

    if (got <= 0) {
        if (got == 0)
            proxy_lose_server(proxy, connection);
        return;
    }
    while ((size = proxy_resp_size(bytes->data + done, bytes->length - done, 0)) > 0) {
        if (!take_reply(proxy, connection, bytes->data + done, (size_t)size)) {
            lose_both(proxy, connection, "no memory");
            return;
        }
        done += (size_t)size;
    }
    if (size < 0)
        lose_both(proxy, connection, "what the server sent is no RESP2");
    else
        bytes_consume(bytes, done);
}

bool proxy_can_write_client(const struct connection *connection, int64_t now_ms)
{
    const struct frame *frame = connection->replies.first;

    return connection->client != -1 && frame != NULL && !proxy_frame_held(frame, ON_REPLY) &&
           frame->due_ms <= now_ms;
}

static void write_client(struct proxy *proxy, struct connection *connection)
{
    int64_t now_ms = test_now_ms();

    while (proxy_can_write_client(connection, now_ms)) {
        struct frame *frame = connection->replies.first;
        bool cut = proxy_rule_acts(frame, ON_REPLY, PROXY_CUT_REPLY);
        size_t limit = frame->length;
        int written;

        if (cut && frame->rules[ON_REPLY]->spec.after < limit)
            limit = frame->rules[ON_REPLY]->spec.after;
        written = write_frame(connection->client, frame, limit, &proxy->counts.to_clients);
        if (written < 0) { /* reading finds the end, behind what the client still sent */
            queue_clear(&connection->replies);
            connection->silent = true;
        }
        if (written <= 0)
            return;
        if (cut) {
            struct rule *rule = frame->rules[ON_REPLY];

            proxy_lose_client(proxy, connection, true);
            proxy_rule_acted(proxy, rule);
            return;
        }
        if (frame->rules[ON_WRITTEN] != NULL)
            proxy_rule_acted(proxy, frame->rules[ON_WRITTEN]);
        free(queue_take(&connection->replies));
    }
}

/* ---- both ways --------------------------------------------------------------- */

/* Passes the end of a stream on, behind all that came before it. */
static void settle_ends(struct proxy *proxy, struct connection *connection)
{
    if (connection->server == -1 && connection->replies.first == NULL && !connection->silent)
        proxy_lose_client(proxy, connection, false);
    if (connection->client == -1 && connection->server != -1 && !connection->deaf &&
        !connection->server_told && connection->requests.first == NULL) {
        /* Not closed: that would take back what the server has not read yet. */
        shutdown(connection->server, SHUT_WR);
        connection->server_told = true;
    }
}

void proxy_connection_serve(struct proxy *proxy, struct connection *connection, bool client_ready,
                            bool server_ready)
{
    if (client_ready && connection->client != -1)
        read_client(proxy, connection);
    if (server_ready && connection->server != -1)
        read_server(proxy, connection);
    write_server(proxy, connection);
    write_client(proxy, connection);
    settle_ends(proxy, connection);
}

void proxy_accept_client(struct proxy *proxy, int listener)
{
    struct connection *connection;
    int one = 1, client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (client == -1)
        return;
    connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        close(client);
        return;
    }
    connection->client = client;
    connection->over_tcp = listener == proxy->tcp_listener;
    if (connection->over_tcp)
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connection->server = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connection->next = proxy->connections;
    proxy->connections = connection;
    proxy->counts.connections++;
    proxy->counts.open++;
    /* A connect that fails is the end of the server's stream. */
    if (connect(connection->server, (struct sockaddr *)&proxy->upstream, sizeof proxy->upstream) !=
        0) {
        proxy_lose_server(proxy, connection);
        settle_ends(proxy, connection);
    }
}
