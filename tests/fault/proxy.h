/*
 * A proxy between clients and one Redis server that breaks what it is told to.
 *
 * It runs as a thread of the test, listens on a unix socket and on a port of the
 * loopback interface, and gives each client a connection of its own to the
 * server.  It reads RESP2 in both directions, so that a rule acts on a whole
 * request, reply or pushed message.  Rules may come and go while it runs.
 *
 * A stream never gets a hole, as none has in nature: once a reply was dropped,
 * its connection gives the client nothing more, and once a request was
 * swallowed, its connection gives the server nothing more, not even the news
 * that the client has gone.
 *
 * When a client has gone, by itself or by a reset, what was read from it is still
 * delivered, in order, and held requests when they are let go: the server sees
 * the client go after that.  (A client that goes by itself is read to its end.)
 *
 * Not understood, since replies could not be told apart: inline commands, CLIENT
 * REPLY, MONITOR, SUBSCRIBE inside MULTI, RESP3.
 *
 * Threads: every call but proxy_stop() may come from any thread.  A forked child
 * may use the URLs and nothing else.
 */
#ifndef TEST_PROXY_H
#define TEST_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proxy;

enum proxy_action {
    /* Nothing is done; it counts when the reply has been written to the client. */
    PROXY_WATCH,

    /* The request stays here until it is let go, and those of its connection
     * behind it; from the client's side, no reply comes. */
    PROXY_HOLD_REQUEST,
    /* The request is thrown away.  Without command and contains: all that clients
     * send, and the end of their streams, never reaches the server. */
    PROXY_SWALLOW_REQUESTS,

    /* The server's reply is thrown away. */
    PROXY_DROP_REPLY,
    /* It is kept for delay_ms, and those of its connection behind it. */
    PROXY_DELAY_REPLY,
    /* It is kept until it is let go, and those of its connection behind it. */
    PROXY_HOLD_REPLY,
    /* bytes are given in its place. */
    PROXY_REPLACE_REPLY,
    /* after bytes of it are given (all, if it has no more), then the connection
     * is reset. */
    PROXY_CUT_REPLY,
    /* All that the server sends, pushed messages and the end of its stream as
     * well, never reaches a client.  Matches no request. */
    PROXY_SWALLOW_REPLIES
};

/*
 * Which requests, and what happens to them.  When several rules fit a request,
 * the oldest of those that act on requests and the oldest of those that act on
 * replies are the ones that act.
 */
struct proxy_rule {
    enum proxy_action action;
    /* The rule is about pushed messages instead of requests: "message" and its
     * like, on a connection that has subscribed.  For actions on replies: the
     * message takes the place of the reply.  command means nothing then. */
    bool pushes;
    const char *command;  /* any case; NULL: any */
    const char *contains; /* part of any argument; NULL: whatever they are */
    unsigned nth;         /* acts on the nth match only, from 1; 0: on all */
    int64_t delay_ms;
    const char *bytes;
    size_t length; /* of bytes; 0: bytes is a string */
    size_t after;
};

/*
 * How often a rule
 *   matched   found its request, reply or message, whether nth chose it or not;
 *   acted     did its work: held or swallowed the request, or did to the reply,
 *             which has come from the server, what it says (reset for
 *             PROXY_CUT_REPLY, written for PROXY_WATCH);
 *   answered  saw the server's reply to a request it acts on, whether or not
 *             anybody still waits for it.
 */
struct proxy_rule_counts {
    unsigned matched;
    unsigned acted;
    unsigned answered;
};

struct proxy_counts {
    unsigned connections; /* clients accepted */
    unsigned open;        /* of these, the ones still there */
    unsigned requests;
    unsigned replies;
    unsigned pushes;
    uint64_t from_clients; /* bytes */
    uint64_t to_server;
    uint64_t from_server;
    uint64_t to_clients;
};

/*
 * Starts a proxy in front of the server that listens at the unix socket
 * upstream; it need not listen yet, each client is connected when it comes.
 * NULL, with a sentence on stderr, if there is none.  The caller owes one
 * proxy_stop().
 */
struct proxy *proxy_start(const char *upstream);

/* Closes all connections and frees it; held requests are never delivered.  NULL
 * does nothing. */
void proxy_stop(struct proxy *proxy);

const char *proxy_unix_url(const struct proxy *proxy);  /* "unix:///..." */
const char *proxy_unix_path(const struct proxy *proxy); /* the same without "unix://" */
const char *proxy_tcp_url(const struct proxy *proxy);   /* "redis://127.0.0.1:<port>" */

/* Adds a rule, of which it keeps a copy, and returns its number: 0 or more, or
 * -1 without memory.  It is for requests and messages not read yet. */
int proxy_rule_add(struct proxy *proxy, const struct proxy_rule *rule);

/* Ends a rule, or all, and lets go what they hold. */
void proxy_rule_remove(struct proxy *proxy, int rule);
void proxy_rules_clear(struct proxy *proxy);

/* Lets go what the rule holds now.  It holds what it matches from here on. */
void proxy_release(struct proxy *proxy, int rule);

/* Waits until a rule has acted count times, or has seen count replies: true; or
 * false after timeout_ms.  Removed rules keep their counts. */
bool proxy_wait(struct proxy *proxy, int rule, unsigned count, int64_t timeout_ms);
bool proxy_wait_answered(struct proxy *proxy, int rule, unsigned count, int64_t timeout_ms);

/* Resets all clients that are connected; done on return.  Over TCP they see a
 * reset, over the unix socket the end of the stream. */
void proxy_kill_connections(struct proxy *proxy);

struct proxy_rule_counts proxy_rule_counts(struct proxy *proxy, int rule);
struct proxy_counts proxy_counts(struct proxy *proxy);

#endif
