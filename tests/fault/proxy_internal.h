/*
 * One thread polls all sockets and moves whole RESP values:
 *
 *   client -> from_client -> requests -> (server) -> pending
 *   server -> from_server, matched with pending -> replies -> (client)
 *
 * Per connection all three queues are in the order of the stream, and only the
 * first of a queue is ever written; so what is held or late holds up what is
 * behind it, as a stream does.
 *
 * Everything in struct proxy below its mutex is guarded by it.  The thread has it
 * except while it polls; it alone opens and closes the sockets of connections.
 */
#ifndef TEST_PROXY_INTERNAL_H
#define TEST_PROXY_INTERNAL_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include "fault/proxy.h"
#include "support/tempdir.h"

#define CONNECTIONS_MAX 1000

/* Poll slots: these three, then two for each connection. */
enum { SLOT_WAKE, SLOT_UNIX, SLOT_TCP, SLOTS_FIXED };

/* When a rule acts. */
enum stage { ON_REQUEST, ON_REPLY, ON_WRITTEN, STAGES };

/* What a request subscribes to or unsubscribes from; the server counts them
 * apart, and answers once for each name. */
enum subject { CHANNELS, PATTERNS, SHARDS, SUBJECTS, NO_SUBJECT = SUBJECTS };

struct rule {
    struct proxy_rule spec;
    char *command, *contains, *bytes; /* what spec points to; owned */
    bool active;
    struct proxy_rule_counts counts;
    /* Holds are numbered by counts.acted; those up to this one were let go. */
    unsigned released;
};

struct frame {
    struct frame *next;
    struct rule *rules[STAGES]; /* NULL: none acts */
    unsigned ordinal;           /* of the hold, if the rule is one */
    enum subject subject;       /* of a request */
    unsigned replies_due;       /* of a request; 0: known when the first comes */
    int64_t due_ms;             /* of a reply: not written before */
    size_t length;
    size_t done; /* bytes written */
    char bytes[];
};

struct queue {
    struct frame *first;
    struct frame *last; /* undefined while first is NULL */
};

struct bytes {
    char *data;
    size_t length;
    size_t capacity;
};

struct connection {
    struct connection *next;
    int client; /* -1: gone */
    int server;
    bool over_tcp;
    bool deaf;                       /* a request was swallowed: nothing more to the server */
    bool silent;                     /* a reply was dropped: nothing more to the client */
    bool server_told;                /* that the client has gone */
    nfds_t client_slot, server_slot; /* in this round; 0: not polled */
    struct bytes from_client, from_server;
    struct queue requests;         /* not wholly written to the server */
    struct queue pending;          /* written, and a reply is owed */
    struct queue replies;          /* not wholly written to the client */
    unsigned subscribed[SUBJECTS]; /* as the server counts, at the last reply */
};

struct proxy {
    char dir[TEST_TEMPDIR_SIZE];
    char unix_url[TEST_TEMPDIR_SIZE + 32];
    char tcp_url[32];
    struct sockaddr_un upstream;
    int unix_listener, tcp_listener;
    int wake[2]; /* a byte in it ends the thread's poll */
    pthread_t thread;

    pthread_mutex_t mutex;
    pthread_cond_t changed; /* acted or answered of a rule, or kills_done */
    bool stopping;
    unsigned kills_asked, kills_done;
    struct rule **rules;
    size_t rule_count;
    struct proxy_counts counts; /* open: also the length of connections */
    struct connection *connections;
    /* The thread's alone. */
    struct pollfd slots[SLOTS_FIXED + 2 * CONNECTIONS_MAX];
};

/* ---- proxy_rule.c: with the mutex held, but for create and free ---------------- */

/* A rule with copies of the texts of spec; NULL without memory. */
struct rule *proxy_rule_create(const struct proxy_rule *spec);
void proxy_rule_free(struct rule *rule);

/* Finds who acts on a frame that is complete: a request, or a message. */
void proxy_choose_rules(struct proxy *proxy, struct frame *frame, bool push);

/* Whether a rule wants what has just come from the server thrown away. */
bool proxy_swallows_reply(struct proxy *proxy);

/* Whether a rule swallows all that goes in the direction of this action. */
bool proxy_is_blackhole(const struct proxy *proxy, enum proxy_action action);

/* Whether that is what is to be done to a frame; whether it is held now. */
bool proxy_rule_acts(const struct frame *frame, enum stage stage, enum proxy_action action);
bool proxy_frame_held(const struct frame *frame, enum stage stage);

/* Counts that a rule did its work. */
void proxy_rule_acted(struct proxy *proxy, struct rule *rule);

/* ---- proxy_connection.c: with the mutex held, by the thread -------------------- */

/* Accepts a client, if one waits at listener, and connects it to the server. */
void proxy_accept_client(struct proxy *proxy, int listener);
void proxy_connection_free(struct connection *connection);

/* Reads from where something is ready, and writes all that can be written.  The
 * connection is over when both sockets are -1 then. */
void proxy_connection_serve(struct proxy *proxy, struct connection *connection, bool client_ready,
                            bool server_ready);

/* Whether the first in the queue may be written. */
bool proxy_can_write_client(const struct connection *connection, int64_t now_ms);
bool proxy_can_write_server(const struct connection *connection);

/* Closes one side.  What was read from a client stays to be delivered, and what
 * was read from the server to be given on.  Nothing for one that is closed. */
void proxy_lose_client(struct proxy *proxy, struct connection *connection, bool reset);
void proxy_lose_server(struct proxy *proxy, struct connection *connection);

/* Ends a stream for good, also where a forked child has the descriptor as well.
 * reset: over TCP the other side is told that it broke, not that it is over. */
void proxy_end_socket(int fd, bool reset);

#endif
