/*
 * The lock on a server, shared by its files:
 *
 *   redis_lock.c        handles, objects, and the way an acquire takes
 *   redis_lock_call.c   the scripts that take the lock or give an attempt up
 *   redis_lock_wait.c   who waits here: queueing, polls, grants, withdrawal
 *   redis_lock_owner.c  holds: release, extend, check, renew
 *   redis_lock_hand.c   holds that pass on: hand over, give, adopt; watches
 *   redis_lock_inspect.c  who holds and who waits; taking the lock from whoever holds it
 *
 * A waiter is entered in the space's index before its acquire is sent, so that a
 * grant that overtakes the answer finds it.  Every list and state of a waiter is
 * under the space's mutex.  Whoever takes a waiter out without a grant sees to it
 * that its op id is abandoned on the server.
 */
#ifndef STILE_REDIS_LOCK_H
#define STILE_REDIS_LOCK_H

#include "redis.h"

struct redis_lock {
    struct stile_lock base; /* first: the part the core knows */
    struct redis_object *object;
    bool shut; /* under the space's mutex */
};

static inline struct redis_object *object_of(stile_lock *lock)
{
    return ((struct redis_lock *)lock)->object;
}

/* ---- arguments and answers ----------------------------------------------------------- */

enum { NUMBER_TEXT = 24 };

struct number {
    char text[NUMBER_TEXT];
};

static inline struct redis_slice slice_of(const char *text, size_t length)
{
    struct redis_slice slice = {text, length};

    return slice;
}

/* A number that is not negative. */
static inline struct redis_slice number_slice(struct number *number, int64_t value)
{
    char *at = number->text + NUMBER_TEXT;

    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return slice_of(at, (size_t)(number->text + NUMBER_TEXT - at));
}

struct id_text {
    char text[REDIS_ID_TEXT + 1];
};

static inline struct redis_slice id_slice(struct id_text *id_text, const uint64_t id[2])
{
    stile__redis_id_text(id, id_text->text);
    return slice_of(id_text->text, REDIS_ID_TEXT);
}

static inline bool is_int(const struct redis_reply *reply)
{
    return reply->type == REDIS_INTEGER;
}

/* Whether it is an array of integers that a script can have made, at least that many. */
bool stile__redis_are_ints(const struct redis_reply *reply, size_t least);
/* STILE_PROTOCOL with its sentence. */
stile_status stile__redis_odd_answer(const struct redis_exchange *exchange);

static inline struct redis_slice client_of(const struct redis_space *space)
{
    return slice_of(space->inbox.client, REDIS_ID_TEXT);
}

/* ---- redis_who.c ------------------------------------------------------------------------ */

/* An op id and who it is of; not ended. */
struct redis_op {
    char text[REDIS_ID_TEXT + REDIS_WHO_TEXT + NUMBER_TEXT + STILE_LABEL_MAX];
};

/* label NULL: none. */
struct redis_slice stile__redis_op(struct redis_op *op, const struct redis_who *who,
                                   const uint64_t id[2], const char *label);
/* Fills a zeroed party, but for its time. */
void stile__redis_who_read(const char *text, size_t length, stile_party *party);

/* ---- redis_lock.c ------------------------------------------------------------------- */

/* Somebody else had the lock, or waits for it, at now_ns (monotonic). */
void stile__redis_note_busy(struct redis_object *object, int64_t now_ns);
/* Whether that was a short while ago: then an acquire queues at once. */
bool stile__redis_busy(struct redis_object *object, int64_t now_ns);

/* ---- redis_lock_call.c --------------------------------------------------------------- */

enum answer { TAKEN, OWNER, QUEUED, LATE, ASK_QUEUE };

/* An acquire and its answer; zero-initialised before it is run. */
struct acquire {
    struct redis_exchange exchange; /* first: prepare and take get it */
    struct redis_space *space;
    const struct redis_object *object; /* of a first try */
    struct redis_slice args[8];
    struct redis_slice then[2];
    struct redis_op op;
    struct redis_slice op_slice; /* of op: with who it is */
    struct number lease, not_after, ttl;
    struct number claim, place;
    /* Of one that may queue: what stands about it in the hash of the waiters. */
    char waiter[NUMBER_TEXT + 1 + sizeof(struct redis_op)];
    int64_t asked_ms; /* the lease */
    bool no_fence;
    /* Of a plain SET: what it writes, until when by the server's clock, and what came
     * of it. */
    char value[2 + sizeof(struct redis_op)];
    struct number deadline;
    int64_t deadline_ms;
    bool set;
    /* Whether a copy was sent that was not answered. */
    bool copies;
    /* The answer. */
    enum answer answer;
    int64_t server_ms;
    int64_t left_ms; /* of the owner's lease */
    int64_t remote;  /* OWNER: the server's part of the fence; QUEUED: the number */
    int64_t rank;
    bool unclaimed;
    bool overtook; /* a queue, which has to be told */
};

/* The lease to ask for: never longer than the hold may last. */
int64_t stile__redis_lease_ms(const stile_lock_options *options);
/* Until when a server may execute a copy of an acquire that was sent before now. */
int64_t stile__redis_copies_until(const struct redis_space *space);
/* lock_try, or a plain SET where no fence is wanted: TAKEN, OWNER or ASK_QUEUE. */
stile_status stile__redis_try(struct redis_object *object, const stile_lock_options *options,
                              const uint64_t id[2], enum redis_patience patience, int64_t until_ns,
                              struct acquire *acquire);
/* lock_acquire: TAKEN, OWNER or QUEUED.  place is the number it had in the queue, or 0. */
stile_status stile__redis_acquire(struct redis_object *object, const stile_lock_options *options,
                                  const uint64_t id[2], uint64_t place, bool may_queue,
                                  enum redis_patience patience, int64_t until_ns,
                                  struct acquire *acquire);
/* The op id is abandoned by and by, in case a copy of its acquire is on its way. */
void stile__redis_orphan(struct redis_object *object, const uint64_t id[2],
                         const stile_lock_options *options);

/* ---- redis_lock_wait.c ---------------------------------------------------------------- */

/* Queues for the lock, or takes it if it is free after all: an attempt of base/wait.h. */
stile_status stile__redis_queue(stile_lock *lock, const stile_lock_options *options,
                                struct stile_waiter *waiter, int64_t until_ns);
void stile__redis_poll(stile_lock *lock, struct stile_waiter *waiter);
stile_status stile__redis_withdraw(stile_lock *lock, struct stile_waiter *waiter);
/* Many dead waiters were in the queue: goes on until a live one has the lock. */
void stile__redis_reap(struct redis_object *object);
/* Under the space's mutex: settles those who wait through this handle, or all for
 * NULL, with STILE_CLOSED. */
void stile__redis_turn_away(struct redis_object *object, const stile_lock *handle);

/* ---- redis_lock_owner.c --------------------------------------------------------------- */

/*
 * The server says that hold's op id is the owner.  The clock is read last: what is
 * over before it could return is given back, and STILE_TIMEOUT.
 */
stile_status stile__redis_become_owner(struct redis_object *object,
                                       const stile_lock_options *options,
                                       const struct acquire *acquire, uint64_t thread,
                                       stile_hold *hold);
/* The fence of a hold, of which the server has given its part. */
static inline uint64_t stile__redis_fence(const stile_lock_options *options, int64_t remote)
{
    return options->no_fence ? 0 : (uint64_t)remote << 10;
}

/* What the server, or who asked it, says of a new hold. */
struct taken {
    uint64_t fence;
    int64_t valid_until_ns;
    int64_t copies_until_ns;
    uint64_t thread; /* who took it; 0: not known */
    bool claim;      /* it was granted: the first renewal claims it */
};

/* Fills hold, whose id and slot are set, and arms its lease. */
void stile__redis_arm(struct redis_object *object, const stile_lock_options *options,
                      const struct taken *taken, stile_hold *hold);
/* A script's answer that is one number. */
struct answer_int {
    struct redis_exchange exchange; /* first: take gets it */
    int64_t value;
};

stile_status stile__redis_take_value(struct redis_exchange *exchange,
                                     const struct redis_reply *reply);
/* Ends the lease of a hold that its owner shows, on this side, as stile__lease_end; one that
 * was lost is abandoned on the server. */
stile_status stile__redis_end(struct redis_object *object, const stile_hold *hold,
                              struct stile_lease_terms *terms);
stile_status stile__redis_release(stile_lock *lock, const stile_hold *hold);
stile_status stile__redis_extend(stile_lock *lock, const stile_hold *hold, int64_t add_ms);
stile_status stile__redis_check(stile_lock *lock, const stile_hold *hold, int64_t *valid_ms);
/* Renews an op id for so many ms, and claims it if it has to be and claim is set: STILE_OK
 * with the new belief, STILE_LOST, or why the server could not be asked. */
stile_status stile__redis_renew_id(struct redis_object *object, const uint64_t id[2],
                                   int64_t lease_ms, bool claim, int64_t *valid_until_ns);

/* ---- redis_lock_hand.c ---------------------------------------------------------------- */

bool stile__redis_own(stile_lock *lock);
stile_status stile__redis_hand_over(stile_lock *lock, const stile_hold *hold);
stile_status stile__redis_watch(stile_lock *lock, const stile_hold *hold,
                                struct stile_watch *watch);
stile_status stile__redis_give(stile_lock *lock, const stile_hold *hold,
                               char token[STILE_TOKEN_SIZE]);
stile_status stile__redis_adopt(stile_lock *lock, const char *token, stile_hold *hold);

/* ---- redis_lock_inspect.c -------------------------------------------------------------- */

stile_status stile__redis_inspect(stile_lock *lock, stile_lock_info *info);
stile_status stile__redis_force_release(stile_lock *lock);

#endif
