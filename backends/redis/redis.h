/*
 * The redis:// backend, shared by its files.
 *
 * Lock order: a name's shard, space.mutex, the lease table, the line.  No I/O
 * under any of them; who has the line's turn does I/O, and holds no mutex then.
 */
#ifndef STILE_REDIS_H
#define STILE_REDIS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend.h"
#include "base/gate.h"
#include "base/lease.h"
#include "base/names.h"
#include "base/wait.h"
#include "connection.h"
#include "lock_ops.h"
#include "redis_script.h"

/* Part of every lease that is given away, for clocks that run at different
 * rates, and for what lies between two readings. */
#define REDIS_DRIFT_PERCENT 1
#define REDIS_MARGIN_NS INT64_C(2000000)

/* What a reply on the lines for coordination may be. */
extern const struct redis_limits stile__redis_small;

/* Bytes that are somebody else's. */
struct redis_slice {
    const char *bytes;
    size_t length;
};

/* ---- keys (redis_key.c) -------------------------------------------------------- */

/* The keys of one object, all with the same hash tag. */
enum redis_part { REDIS_LOCK, REDIS_FENCE, REDIS_QUEUE, REDIS_WAITERS, REDIS_PARTS };

/* One allocation, freed with free(); NULL when memory is out. */
char *stile__redis_keys(const char *prefix, const char *kind, const char *name,
                        struct redis_slice keys[REDIS_PARTS]);

/* ---- the line for commands (redis_line.c) ---------------------------------------- */

struct redis_space;
struct redis_object;

/*
 * One connection that callers take in turns, first come first served.  It is
 * dialled by whoever needs it, and again after it broke, with pauses that grow.
 */
struct redis_line {
    struct redis_space *space;
    struct stile_mutex mutex; /* guards the turn and all up to here */
    struct stile_link queue;  /* callers that wait for their turn */
    bool taken;               /* somebody has the turn */
    bool shut;                /* nobody gets one any more */
    _Atomic int fd;           /* of the connection, or -1: for a child of fork */
    /* Of whoever has the turn. */
    struct redis_connection *connection; /* NULL: none, or broken and closed */
    struct redis_buffer request;
    int64_t dial_ns;   /* no new attempt to connect before that */
    uint32_t failures; /* to connect, in a row */
    int64_t used_ns;   /* when it was last of use, boot clock */
    /* A reading of the boot clock, and what the server's was after it. */
    int64_t seen_ns;
    int64_t seen_server_ms;
};

/* How long a caller goes on trying. */
enum redis_patience {
    REDIS_ONCE,    /* one attempt to connect, if it is due at all */
    REDIS_PATIENT, /* until its time is over */
    REDIS_CLOSING  /* as once, and although the line turns others away */
};

/* A script with its keys and arguments; or, without a script, a plain command: its words
 * are the arguments. */
struct redis_call {
    const struct redis_script *script;
    const struct redis_slice *keys;
    size_t key_count;
    const struct redis_slice *args;
    size_t arg_count;
};

/* One call on the line, with as many attempts as it may have. */
struct redis_exchange {
    struct redis_call call;
    enum redis_patience patience;
    bool repeatable; /* a second run with the same op id changes nothing */
    /* Within the turn, before each attempt, when sent_ns is known: fills in what depends
     * on the time.  May be NULL. */
    void (*prepare)(struct redis_exchange *exchange);
    /* Within the turn: reads the answer, which is no error reply.  STILE_OK, or
     * what is wrong with it. */
    stile_status (*take)(struct redis_exchange *exchange, const struct redis_reply *reply);
    /* A plain command that goes out in the same write, unless it has no words, and what
     * reads its answer.  take was called before. */
    struct redis_call then;
    stile_status (*take_then)(struct redis_exchange *exchange, const struct redis_reply *reply);
    /* Filled in: the boot clock before the attempt that was answered went out, and
     * how many attempts the server may have run. */
    int64_t sent_ns;
    unsigned sends;
};

void stile__line_init(struct redis_line *line, struct redis_space *space);
void stile__line_fini(struct redis_line *line);
/* From here on only REDIS_CLOSING gets a turn, after those who wait for one already. */
void stile__line_turn_away(struct redis_line *line);
/* After that: waits for the last turn to end, and closes the connection. */
void stile__line_shut(struct redis_line *line);

/*
 * Waits for the turn, connects if need be, sends, and reads the answer, all by
 * until_ns.  Error replies become a status and a detail.  Beside what take says:
 * STILE_TIMEOUT: others had the line all the time; STILE_UNREACHABLE, STILE_AUTH, ...:
 * surely not run; STILE_UNKNOWN, STILE_PROTOCOL: it may have been run;
 * STILE_CLOSED.
 */
stile_status stile__line_exchange(struct redis_line *line, struct redis_exchange *exchange,
                                  int64_t until_ns);

/* Connects if need be, so that the first call finds a connection. */
stile_status stile__line_connect(struct redis_line *line, int64_t until_ns);

/* Runs several calls in one write.  take gets each one's status, its reply with
 * STILE_OK, and the boot clock before it was sent. */
void stile__line_batch(struct redis_line *line, const struct redis_call *calls, size_t count,
                       int64_t until_ns,
                       void (*take)(void *context, size_t i, stile_status status,
                                    const struct redis_reply *reply, int64_t sent_ns),
                       void *context);

/* Within a turn: notes that the server's clock was at server_ms some time after
 * sent_ns; and tells what it is about at now_ns, boot clock. */
void stile__line_seen(struct redis_line *line, int64_t sent_ns, int64_t server_ms);
int64_t stile__line_server_ms(const struct redis_line *line, int64_t now_ns);

/* What an error reply means, its text kept as the detail (redis_error.c). */
stile_status stile__redis_error(const struct redis_space *space, const struct redis_reply *reply);

/* ---- the inbox (redis_inbox.c) ------------------------------------------------------ */

enum { REDIS_ID_TEXT = 32 };

/* A thread that sleeps until it is granted something, on its own stack; or the inbox's
 * own thread. */
struct redis_listener {
    struct stile_link link; /* among the listeners, unless it leads */
    struct stile_parker *parker;
};

/*
 * The push connection: one channel per space, on which grants come.  Whoever leads reads
 * it, for all: a thread that waits for a grant, if there is one, so that its own wakes no
 * other thread before it.  The inbox's thread leads while there is no subscription, or
 * while only such wait as have no thread to read with.
 */
struct redis_inbox {
    struct redis_space *space;
    struct stile_mutex mutex;
    struct stile_link waiting; /* callers that wait for the subscription */
    bool started;
    bool stop;
    bool ready;                    /* the subscription is confirmed; else the thread leads */
    stile_status trouble;          /* why it is not ready */
    struct redis_listener *leader; /* NULL: nobody waits, and nobody reads */
    struct stile_link listeners;   /* who waits and does not lead */
    size_t passive;                /* how many others wait */
    struct redis_listener self;    /* the thread's */
    _Atomic uint32_t epoch;        /* counts subscriptions */
    _Atomic int fd;
    struct redis_connection *connection; /* the leader's */
    struct stile_signal signal;          /* the leader's, to be woken by */
    struct stile_thread thread;
    char client[REDIS_ID_TEXT + 1]; /* random, in hex: whose waiter it is */
    char *channel;
};

stile_status stile__inbox_init(struct redis_inbox *inbox, struct redis_space *space);
void stile__inbox_fini(struct redis_inbox *inbox);
void stile__inbox_stop(struct redis_inbox *inbox);
/* Returns when the subscription is confirmed, or why it is not by until_ns. */
stile_status stile__inbox_ready(struct redis_inbox *inbox, int64_t until_ns);
/* Sleeps as sleep in base/wait.h, and reads messages meanwhile. */
void stile__inbox_sleep(struct redis_inbox *inbox, struct stile_waiter *waiter, int64_t until_ns);
/* So many more, or fewer, wait that do not sleep there.  Under the space's mutex. */
void stile__inbox_passive(struct redis_inbox *inbox, int more);

/* ---- orphans (redis_orphans.c) -------------------------------------------------------- */

/* Operations that may have left something behind: abandoned until the server said that
 * nothing is there, and nothing can come any more. */
struct redis_orphans {
    struct redis_space *space;
    struct stile_mutex mutex;
    struct stile_link list;
};

void stile__orphans_init(struct redis_orphans *orphans, struct redis_space *space);
void stile__orphans_fini(struct redis_orphans *orphans);
/* Until when (boot clock) a copy of the operation may still be executed is
 * not_after_ns; what it would leave dies by itself lease_ms later.  It is not abandoned
 * before keep_until_ns, 0: at once. */
void stile__orphan_add(struct redis_orphans *orphans, struct redis_object *object,
                       const uint64_t id[2], int64_t not_after_ns, int64_t lease_ms,
                       int64_t keep_until_ns);
/* Abandons what is due; returns when the next is, boot clock. */
int64_t stile__orphans_serve(struct redis_orphans *orphans, int64_t now_ns);
/* One last attempt for all, at most until until_ns (monotonic). */
void stile__orphans_flush(struct redis_orphans *orphans, int64_t until_ns);

/* ---- the space (redis_space.c) ----------------------------------------------------------- */

enum { REDIS_BUCKETS = 256 };

/* A blank, the host with every byte escaped, a blank, the process's number, a blank. */
enum { REDIS_WHO_TEXT = 3 * 63 + 24 };

/* What an op id of this process is followed by (redis_who.c). */
struct redis_who {
    char text[REDIS_WHO_TEXT];
    size_t length;
};

void stile__redis_who_init(struct redis_who *who);

struct redis_space {
    stile base; /* first: the part the core knows */
    struct stile_names names;
    struct stile_leases leases;
    struct redis_line line;
    struct redis_inbox inbox;
    struct redis_orphans orphans;
    struct stile_gate calls;         /* those that may leave an orphan */
    struct redis_slice inbox_prefix; /* what a client's channel starts with */
    char *inbox_prefix_text;
    struct redis_who who; /* this process: a child of fork has no use for it */
    /* Guards every waiter of the space and both lists it is in. */
    struct stile_mutex mutex;
    struct stile_link index[REDIS_BUCKETS]; /* waiters by op id */
    /* Random bytes in store, so that an op id costs no system call. */
    struct stile_mutex random_mutex;
    unsigned char random[512];
    size_t random_left;
};

/* STILE_FORKED with its sentence, or STILE_OK. */
stile_status stile__redis_usable(const stile *space);
/* A new op id. */
stile_status stile__redis_id(struct redis_space *space, uint64_t id[2]);
void stile__redis_id_text(const uint64_t id[2], char text[REDIS_ID_TEXT + 1]);
bool stile__redis_id_parse(const char *text, size_t length, uint64_t id[2]);
/* When one command has to be answered, monotonic, but not after back_ns. */
int64_t stile__redis_command_until(const struct redis_space *space, int64_t back_ns);
/* How long a lease of that many ms may be believed in that was asked for at sent_ns. */
int64_t stile__redis_belief(int64_t sent_ns, int64_t lease_ms);

/* ---- the lock (redis_lock.c) ---------------------------------------------------------------- */

extern const struct stile_lock_ops stile__redis_lock_ops;

/* The lock's client-side object: who waits here. */
struct redis_object {
    struct stile_named named; /* first: what the table of names knows */
    struct redis_space *space;
    struct redis_slice keys[REDIS_PARTS];
    char *key_bytes;
    /* Under the space's mutex. */
    struct stile_link waiters;
    bool closed; /* once true, stays true */
    /* Until when others are expected to want it: monotonic. */
    _Atomic int64_t busy_until_ns;
    /* The lease of the hold that was taken here last; a hint. */
    _Atomic uint32_t taken_slot;
};

struct stile_named *stile__redis_object_make(struct redis_space *space, stile_kind kind,
                                             const char *name);
void stile__redis_object_destroy(struct stile_named *named);
/* Settles all waiters with STILE_CLOSED; nobody queues any more. */
void stile__redis_object_close(struct stile_named *named);
/* A grant as it comes in a message. */
struct redis_grant {
    int64_t fence;
    int64_t deadline_ms; /* by the server's clock */
    int64_t claim_ms;    /* how long before that it was made */
};

void stile__redis_granted(struct redis_space *space, const uint64_t id[2],
                          const struct redis_grant *grant, int64_t receipt_ns, uint32_t epoch);
/* Every waiter of the space looks again now. */
void stile__redis_recheck_all(struct redis_space *space);
/* Runs lock_abandon for an op id. */
stile_status stile__redis_abandon(struct redis_object *object, const uint64_t id[2],
                                  enum redis_patience patience, int64_t until_ns);
void stile__redis_renew(struct redis_space *space, struct stile_renewal *due, size_t count);

#endif
