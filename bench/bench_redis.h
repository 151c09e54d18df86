/*
 * What the redis rows of stile-bench share: the server's address, locks as one
 * writes them by hand, and clients that are processes of their own.
 */
#ifndef BENCH_REDIS_H
#define BENCH_REDIS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <hiredis/hiredis.h>

#include "bench.h"
#include "support/process.h"
#include "support/server.h"

/* ---- the server ------------------------------------------------------------------ */

/* Where a server of a benchmark is: the path of a unix socket, which begins with
 * '/', or a port of the loopback interface. */
struct bench_address {
    char text[TEST_TEMPDIR_SIZE + 16];
};

struct bench_address bench_address(const struct bench_options *options,
                                   const struct test_server *server);

/* NULL, and a line on stderr, if nobody answers. */
redisContext *bench_redis_connect(const char *address);

/* What a match says of its placement. */
const char *bench_redis_placement(const struct bench_options *options, bool one_core);

/* ---- locks as one writes them by hand (bench_redis_textbook.c) --------------------- */

/*
 * All of them: SET NX PX with a secret takes it, a script that compares the secret
 * gives it back.  They differ in how somebody waits:
 *
 *   POLL     tries again every 10 ms
 *   LIST     the release leaves a token in a list, and BLPOP waits for that
 *   CHANNEL  the release publishes a message, and who waits is subscribed
 */
enum textbook_kind { TEXTBOOK_POLL, TEXTBOOK_LIST, TEXTBOOK_CHANNEL };

enum { TEXTBOOK_SECRET = 32 };

struct textbook {
    enum textbook_kind kind;
    redisContext *redis;
    redisContext *subscriber; /* CHANNEL */
    char sha1[41];            /* of the script that releases */
    char secret[TEXTBOOK_SECRET + 1];
    uint64_t secrets;
};

/* True, and a textbook_close() is owed; else it is owed, too, and does no harm. */
bool textbook_open(struct textbook *lock, enum textbook_kind kind, const char *address);
void textbook_close(struct textbook *lock);
bool textbook_acquire(struct textbook *lock);
bool textbook_release(struct textbook *lock);

/* ---- a lock that clients use, and what they do with it ------------------------------ */

/* What there is to compare with stile. */
struct bench_peer {
    const char *name; /* as reports have it */
    /* Which lock, as clients know it. */
    const char *kind;
    /* "clients.js", "clients.py"; NULL: this program has it. */
    const char *script;
    /* The commands that its clients write and that no script of theirs calls: what the
     * server counts under them is what was sent. */
    const char *sent;
    /* It may sleep for tenths of a second. */
    bool slow;
};

enum { BENCH_PEERS_MAX = 8 };

/* stile, then those written by hand, then other people's; ends with a peer without a
 * name. */
extern const struct bench_peer bench_redis_peers[];

/* Whether it is to be compared with: other people's are not when it is to be quick. */
bool bench_peer_chosen(const struct bench_options *options, const struct bench_peer *peer);
/* Whether what it needs is there. */
bool bench_peer_installed(const struct bench_peer *peer);

/* ---- clients (bench_redis_client.c, peers/) ------------------------------------------ */

/*
 * A client is told, on its standard input, one line of numbers for each thing to do,
 * and answers with one.  Instants are of the monotonic clock, in nanoseconds.
 *
 *   pairs   turns                         ns for an acquire and a release
 *   crowd   begin, end                    how many pairs were over by the end, how
 *                                         many there were
 *   give    begin, period, spread, rounds  in each round: acquires at its begin, gives
 *                                         back BENCH_IDLE_NS after the other queued and
 *                                         up to spread later; answers when, each time
 *   take    the same                      in each round: acquires, BENCH_QUEUE_NS after
 *                                         its begin; answers when it had it, each time
 */
#define BENCH_QUEUE_NS INT64_C(20000000)
#define BENCH_IDLE_NS INT64_C(50000000)

enum { BENCH_ROUNDS_MAX = 64 };

struct bench_client {
    struct test_process process;
    FILE *answers; /* of a socket to it; NULL: there is no client */
};

/* Starts it, with the caller's placement, and waits until it has used the lock once.
 * Before that the client is all zero. */
bool bench_client_start(const struct bench_peer *peer, const char *work, const char *address,
                        struct bench_client *client);
bool bench_client_tell(struct bench_client *client, const int64_t *numbers, size_t count);
/* Waits for the answer. */
bool bench_client_answer(struct bench_client *client, double *numbers, size_t count);
/* Nothing for one that is all zero. */
void bench_client_end(struct bench_client *client);

/* What stile-bench --client KIND WORK ADDRESS does. */
int bench_client_main(int argc, char **argv);

#endif
