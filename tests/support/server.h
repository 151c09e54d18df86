/*
 * A redis-server of a test's own: on a unix socket in a directory of its own,
 * and on a port of the loopback interface if asked for.  Killed when the thread
 * that started it ends, so that nothing outlives the test.
 *
 * What fails is told on stderr.
 */
#ifndef TEST_SERVER_H
#define TEST_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "support/tempdir.h"

enum test_persistence {
    TEST_PERSIST_NONE,
    TEST_PERSIST_ALWAYS,  /* appendonly, written through before each reply */
    TEST_PERSIST_EVERYSEC /* appendonly, written through once a second */
};

/* All zero is a server on a unix socket that keeps nothing. */
struct test_server_options {
    bool tcp;
    enum test_persistence persistence;
    const char *password; /* NULL: none */
    const char *preload;  /* LD_PRELOAD of the server alone; NULL: none */
    /* Further arguments, as {"--maxmemory", "2mb", NULL}; NULL: none. */
    const char *const *args;
    /* Further environment, as {"NAME=value", NULL}; NULL: none. */
    const char *const *environment;
};

struct test_server {
    pid_t pid; /* 0 while it does not run */
    uint16_t port;
    char dir[TEST_TEMPDIR_SIZE];
    char path[TEST_TEMPDIR_SIZE + 16];     /* of the unix socket */
    char unix_url[TEST_TEMPDIR_SIZE + 32]; /* "unix:///..." */
    char tcp_url[32];                      /* "redis://127.0.0.1:<port>" */
    struct test_server_options options;
};

/*
 * Starts a server and waits until it answers.  options is copied, what it points
 * to has to stay until the stop; NULL is all zero.  True, and server is owed one
 * test_server_stop(); else it is owed none.
 */
bool test_server_start(const struct test_server_options *options, struct test_server *server);

/* SIGKILL; what it had on disk stays for a restart. */
void test_server_kill(struct test_server *server);

/* Kills it if it runs, and starts it with the same directory, port and options. */
bool test_server_restart(struct test_server *server);

/* SIGSTOP, and waits until it stands still; SIGCONT. */
void test_server_pause(struct test_server *server);
void test_server_resume(struct test_server *server);

/* Kills it if it runs and removes its directory.  Nothing for a zeroed server. */
void test_server_stop(struct test_server *server);

/* Without the password.  The second is for servers started with tcp. */
const char *test_server_unix_url(const struct test_server *server);
const char *test_server_tcp_url(const struct test_server *server);
const char *test_server_unix_path(const struct test_server *server);

/* ---- commands of the test itself -------------------------------------------- */

enum test_reply {
    TEST_REPLY_OK,
    TEST_REPLY_ERROR, /* the server refused: the text is its sentence */
    TEST_REPLY_NONE   /* nobody answered within 10 s: the text is empty */
};

/*
 * Sends one command, on a connection made for it, and waits for the reply.  The
 * arguments are strings; the last is NULL.
 *
 * text  receives the reply, cut to fit size and always ended: strings and
 *       numbers as they are, nil as "(nil)", the elements of arrays and of
 *       arrays in them one to a line.  May be NULL.
 */
enum test_reply test_redis(const struct test_server *server, char *text, size_t size, ...)
    __attribute__((sentinel));

/* The same for arguments that may hold any bytes; lengths NULL: strings. */
enum test_reply test_redis_argv(const struct test_server *server, char *text, size_t size,
                                size_t count, const char *const *arguments, const size_t *lengths);

/* Sends one command and returns its reply as a number: INT64_MIN, and a line on
 * stderr, when it is none. */
int64_t test_redis_int(const struct test_server *server, ...) __attribute__((sentinel));

#endif
