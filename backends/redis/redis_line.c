#include "redis.h"

#include <assert.h>
#include <string.h>

#include "base/deadline.h"
#include "base/error.h"

/* Pauses between attempts to connect, doubled each time, half of it by chance so
 * that a fleet does not come back as one. */
#define BACKOFF_FIRST_NS INT64_C(20000000)
#define BACKOFF_MOST_NS INT64_C(1000000000)

/* Before a server that is loading or busy is asked again. */
#define PAUSE_NS INT64_C(50000000)

/* A connection that lay idle for longer is looked at before it is used. */
#define IDLE_NS INT64_C(1000000)

/* Somebody who waits for the turn; on its own stack. */
struct caller {
    struct stile_link link;
    struct stile_parker *parker;
    bool turn; /* under the line's mutex */
};

void stile__line_init(struct redis_line *line, struct redis_space *space)
{
    line->space = space;
    stile__mutex_init(&line->mutex, STILE_RANK_LINE);
    list_init(&line->queue);
    atomic_init(&line->fd, -1);
    stile__redis_buffer_init(&line->request);
}

void stile__line_fini(struct redis_line *line)
{
    stile__redis_close(line->connection, false);
    stile__redis_buffer_fini(&line->request);
    stile__mutex_fini(&line->mutex);
}

/* ---- turns ------------------------------------------------------------------------ */

static void end_turn(struct redis_line *line)
{
    struct stile_parker *wake = NULL;

    stile__mutex_lock(&line->mutex);
    if (list_empty(&line->queue)) {
        line->taken = false;
    } else {
        struct caller *next = STILE_OF(line->queue.next, struct caller, link);

        list_remove(&next->link);
        next->turn = true;
        wake = next->parker;
    }
    stile__mutex_unlock(&line->mutex);
    if (wake != NULL)
        stile__unpark(wake);
}

/* Under the line's mutex.  STILE_PENDING: somebody else has the turn. */
static stile_status turn_now(struct redis_line *line, bool closer)
{
    if (line->shut && !closer)
        return STILE_CLOSED;
    if (line->taken)
        return STILE_PENDING;
    line->taken = true;
    return STILE_OK;
}

static stile_status wait_for_turn(struct redis_line *line, bool closer, int64_t until_ns)
{
    struct caller caller = {.parker = stile__parker_get()};
    stile_status status;

    if (caller.parker == NULL)
        return STILE_NO_MEMORY;
    list_init(&caller.link);
    stile__mutex_lock(&line->mutex);
    status = turn_now(line, closer);
    if (status == STILE_PENDING)
        list_push_back(&line->queue, &caller.link);
    while (status == STILE_PENDING) {
        stile__mutex_unlock(&line->mutex);
        stile__park(caller.parker, until_ns);
        stile__mutex_lock(&line->mutex);
        if (caller.turn) {
            status = STILE_OK;
        } else if (stile__monotonic_ns() >= until_ns) {
            list_remove(&caller.link);
            status = STILE_TIMEOUT;
        }
    }
    stile__mutex_unlock(&line->mutex);
    stile__parker_put(caller.parker);
    return status;
}

/* STILE_OK: it is the caller's turn.  A closer takes one although the line is shut. */
static stile_status take_turn(struct redis_line *line, bool closer, int64_t until_ns)
{
    stile_status status;

    stile__mutex_lock(&line->mutex);
    status = turn_now(line, closer);
    stile__mutex_unlock(&line->mutex);
    if (status == STILE_PENDING)
        status = wait_for_turn(line, closer, until_ns);
    if (status == STILE_NO_MEMORY)
        stile__fail(status, "no memory for a call");
    else if (status == STILE_TIMEOUT)
        stile__fail(status, "the connection was busy with others all the time");
    else if (status == STILE_CLOSED)
        stile__fail(status, "the space is closed");
    return status;
}

/* ---- within a turn: the connection --------------------------------------------------- */

static void hang_up(struct redis_line *line)
{
    os_store(&line->fd, -1, memory_order_relaxed);
    /* Reset: what still lies in the socket must not be executed later. */
    stile__redis_close(line->connection, true);
    line->connection = NULL;
}

static void add_call(struct redis_buffer *buffer, const struct redis_call *call, bool by_text)
{
    size_t i;

    if (call->script == NULL) {
        stile__redis_command(buffer, call->arg_count);
    } else {
        stile__redis_command(buffer, 3 + call->key_count + call->arg_count);
        if (by_text) {
            stile__redis_arg(buffer, "EVAL", 4);
            stile__redis_arg(buffer, call->script->text, call->script->length);
        } else {
            stile__redis_arg(buffer, "EVALSHA", 7);
            stile__redis_arg(buffer, call->script->sha1, 40);
        }
        stile__redis_arg_int(buffer, (int64_t)call->key_count);
    }
    for (i = 0; i < call->key_count; i++)
        stile__redis_arg(buffer, call->keys[i].bytes, call->keys[i].length);
    for (i = 0; i < call->arg_count; i++)
        stile__redis_arg(buffer, call->args[i].bytes, call->args[i].length);
}

static bool is_error(const struct redis_reply *reply, const char *code)
{
    size_t length = strlen(code);

    return reply->type == REDIS_ERROR && reply->length >= length &&
           memcmp(reply->text, code, length) == 0;
}

/* Reads the server's clock from an answer to TIME. */
static stile_status read_time(struct redis_line *line, const struct redis_reply *reply,
                              int64_t sent_ns)
{
    int64_t parts[2] = {0, 0};
    size_t i, j;

    if (reply->type == REDIS_ERROR)
        return stile__redis_error(line->space, reply);
    if (reply->type != REDIS_ARRAY || reply->count != 2)
        return stile__fail(STILE_PROTOCOL, "the answer to TIME is no time");
    for (i = 0; i < 2; i++) {
        const struct redis_reply *part = &reply->elements[i];

        if (part->type != REDIS_STRING || part->length == 0 || part->length > 15)
            return stile__fail(STILE_PROTOCOL, "the answer to TIME is no time");
        for (j = 0; j < part->length; j++) {
            if (part->text[j] < '0' || part->text[j] > '9')
                return stile__fail(STILE_PROTOCOL, "the answer to TIME is no time");
            parts[i] = parts[i] * 10 + (part->text[j] - '0');
        }
    }
    stile__line_seen(line, sent_ns, parts[0] * 1000 + parts[1] / 1000);
    return STILE_OK;
}

/* Loads the scripts and asks what time it is, in one write. */
static stile_status introduce(struct redis_line *line, int64_t until_ns)
{
    const struct redis_script *const *script;
    const struct redis_reply *reply;
    int64_t sent_ns = stile__boottime_ns();
    stile_status status;

    stile__redis_buffer_reset(&line->request);
    stile__redis_command(&line->request, 1);
    stile__redis_arg_text(&line->request, "TIME");
    for (script = stile__scripts; *script != NULL; script++) {
        stile__redis_command(&line->request, 3);
        stile__redis_arg_text(&line->request, "SCRIPT");
        stile__redis_arg_text(&line->request, "LOAD");
        stile__redis_arg(&line->request, (*script)->text, (*script)->length);
    }
    status = stile__redis_send(line->connection, &line->request, until_ns);
    if (status == STILE_OK)
        status = stile__redis_receive(line->connection, false, until_ns, &reply);
    if (status == STILE_OK)
        status = read_time(line, reply, sent_ns);
    /* Who may not load them sends them with the first call. */
    for (script = stile__scripts; *script != NULL && status == STILE_OK; script++)
        status = stile__redis_receive(line->connection, false, until_ns, &reply);
    return status;
}

static stile_status dial(struct redis_line *line, int64_t until_ns)
{
    const struct stile_settings *settings = &line->space->base.settings;
    int64_t limit = later_ns(stile__monotonic_ns(), settings->connect_timeout_ms), pause;
    stile_status status;
    uint32_t chance;

    if (limit > until_ns)
        limit = until_ns;
    status = stile__redis_connect(settings, "stile", &stile__redis_small, limit, &line->connection);
    if (status == STILE_OK) {
        status = introduce(line, limit);
        if (status != STILE_OK)
            hang_up(line);
    }
    if (status == STILE_OK) {
        os_store(&line->fd, stile__redis_fd(line->connection), memory_order_relaxed);
        line->failures = 0;
        line->dial_ns = 0;
        return status;
    }
    if (status == STILE_TIMEOUT)
        status = stile__fail(STILE_UNREACHABLE, "%s did not answer in time", settings->shown);
    pause = BACKOFF_FIRST_NS << (line->failures < 6 ? line->failures : 6);
    if (pause > BACKOFF_MOST_NS)
        pause = BACKOFF_MOST_NS;
    if (stile__random(&chance, sizeof chance) != STILE_OK)
        chance = 0;
    line->failures++;
    line->dial_ns = stile__monotonic_ns() + pause / 2 + (int64_t)(chance % 1024) * (pause / 2048);
    return status;
}

static bool turns_away(struct redis_line *line)
{
    bool shut;

    stile__mutex_lock(&line->mutex);
    shut = line->shut;
    stile__mutex_unlock(&line->mutex);
    return shut;
}

/* Sleeps for a while, at most until until_ns. */
static stile_status pause_until(int64_t until_ns)
{
    struct stile_parker *parker = stile__parker_get();

    if (parker == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for a call");
    stile__park(parker, until_ns);
    stile__parker_put(parker);
    return STILE_OK;
}

static stile_status reconnect(struct redis_line *line, enum redis_patience patience,
                              int64_t until_ns, bool *fresh)
{
    for (;;) {
        int64_t now = stile__monotonic_ns();

        if (now >= line->dial_ns) {
            stile_status status = dial(line, until_ns);

            *fresh = status == STILE_OK;
            if (status != STILE_UNREACHABLE || patience != REDIS_PATIENT)
                return status;
            now = stile__monotonic_ns();
        }
        if (patience != REDIS_PATIENT || now >= until_ns || turns_away(line))
            return stile__fail(STILE_UNREACHABLE, "%s cannot be reached",
                               line->space->base.settings.shown);
        if (pause_until(line->dial_ns < until_ns ? line->dial_ns : until_ns) != STILE_OK)
            return STILE_NO_MEMORY;
    }
}

/* Sees to it that there is a connection.  *fresh: it was made just now.  *now_ns: the
 * boot clock, read while there is one. */
static stile_status connect_line(struct redis_line *line, enum redis_patience patience,
                                 int64_t until_ns, bool *fresh, int64_t *now_ns)
{
    stile_status status = STILE_OK;

    *fresh = false;
    *now_ns = stile__boottime_ns();
    if (line->connection != NULL && *now_ns - line->used_ns > IDLE_NS &&
        stile__redis_broken(line->connection))
        hang_up(line);
    if (line->connection == NULL) {
        status = reconnect(line, patience, until_ns, fresh);
        *now_ns = stile__boottime_ns();
    }
    return status;
}

void stile__line_seen(struct redis_line *line, int64_t sent_ns, int64_t server_ms)
{
    line->seen_ns = sent_ns;
    line->seen_server_ms = server_ms;
}

int64_t stile__line_server_ms(const struct redis_line *line, int64_t now_ns)
{
    return line->seen_server_ms + (now_ns - line->seen_ns) / STILE_NS_PER_MS;
}

/* ---- within a turn: one call ------------------------------------------------------------ */

/* The connection is out of step with the server or gone. */
static stile_status give_up(struct redis_line *line, stile_status status)
{
    hang_up(line);
    if (status == STILE_PROTOCOL || status == STILE_NO_MEMORY)
        return status;
    return stile__fail(STILE_UNKNOWN, "%s did not answer in time, or the connection broke",
                       line->space->base.settings.shown);
}

static stile_status call_once(struct redis_line *line, const struct redis_call *call,
                              const struct redis_call *then, bool by_text, int64_t until_ns,
                              const struct redis_reply **reply, unsigned *sends)
{
    stile_status status;

    stile__redis_buffer_reset(&line->request);
    add_call(&line->request, call, by_text);
    if (then != NULL)
        add_call(&line->request, then, false);
    status = stile__redis_send(line->connection, &line->request, until_ns);
    if (status == STILE_NO_MEMORY)
        return stile__fail(status, "no memory for a request");
    if (status != STILE_OK) {
        hang_up(line);
        return status;
    }
    ++*sends;
    status = stile__redis_receive(line->connection, false, until_ns, reply);
    return status == STILE_OK ? status : give_up(line, status);
}

/* *sent_ns is a reading of the boot clock before it goes out, moved on when it has to go
 * out again.  *sends counts how often the server may have run it. */
static stile_status call_line(struct redis_line *line, const struct redis_call *call,
                              const struct redis_call *then, int64_t until_ns,
                              const struct redis_reply **reply, int64_t *sent_ns, unsigned *sends)
{
    stile_status status = call_once(line, call, then, false, until_ns, reply, sends);

    if (status == STILE_OK && is_error(*reply, "NOSCRIPT")) {
        --*sends;
        *sent_ns = stile__boottime_ns();
        status = call_once(line, call, NULL, true, until_ns, reply, sends);
    }
    if (status == STILE_OK)
        line->used_ns = *sent_ns;
    return status;
}

typedef stile_status exchange_take(struct redis_exchange *exchange,
                                   const struct redis_reply *reply);

static stile_status take_reply(const struct redis_line *line, struct redis_exchange *exchange,
                               exchange_take *take, const struct redis_reply *reply)
{
    if (reply->type == REDIS_ERROR)
        return stile__redis_error(line->space, reply);
    return take(exchange, reply);
}

/* The answer to exchange->then, which is read in any case, so that the next call finds
 * its own.  status is what came of the first one. */
static stile_status receive_then(struct redis_line *line, struct redis_exchange *exchange,
                                 stile_status status, int64_t until_ns)
{
    const struct redis_reply *reply;
    stile_status received = stile__redis_receive(line->connection, false, until_ns, &reply);

    if (received != STILE_OK)
        return give_up(line, received);
    if (status != STILE_OK)
        return status;
    return take_reply(line, exchange, exchange->take_then, reply);
}

/* ---- exchanges --------------------------------------------------------------------------- */

/* One attempt.  *again: it failed in a way that another may mend. */
static stile_status attempt(struct redis_line *line, struct redis_exchange *exchange,
                            int64_t until_ns, bool *again)
{
    const struct redis_reply *reply;
    const struct redis_call *then;
    stile_status status;
    bool fresh, connected;
    int64_t limit;

    *again = false;
    status = take_turn(line, exchange->patience == REDIS_CLOSING, until_ns);
    if (status != STILE_OK)
        return status;
    status = connect_line(line, exchange->patience, until_ns, &fresh, &exchange->sent_ns);
    if (status == STILE_OK) {
        if (exchange->prepare != NULL)
            exchange->prepare(exchange);
        limit = later_ns(stile__monotonic_ns(), line->space->base.settings.command_timeout_ms);
        if (limit > until_ns)
            limit = until_ns;
        then = exchange->then.arg_count > 0 ? &exchange->then : NULL;
        status = call_line(line, &exchange->call, then, limit, &reply, &exchange->sent_ns,
                           &exchange->sends);
        if (status == STILE_OK) {
            status = take_reply(line, exchange, exchange->take, reply);
            if (then != NULL)
                status = receive_then(line, exchange, status, limit);
        }
        connected = line->connection != NULL;
        if (status == STILE_UNREACHABLE)
            *again = exchange->patience == REDIS_PATIENT || (!connected && !fresh);
        else if (status == STILE_UNKNOWN && exchange->repeatable)
            *again = exchange->patience == REDIS_PATIENT || !fresh;
    }
    end_turn(line);
    return status;
}

stile_status stile__line_exchange(struct redis_line *line, struct redis_exchange *exchange,
                                  int64_t until_ns)
{
    int cancel = stile__cancel_off();
    stile_status status;
    bool again;

    exchange->sends = 0;
    for (;;) {
        int64_t now;

        status = attempt(line, exchange, until_ns, &again);
        if (!again)
            break;
        now = stile__monotonic_ns();
        if (now >= until_ns)
            break;
        /* The server is there and asks for patience. */
        if (status == STILE_UNREACHABLE && exchange->patience == REDIS_PATIENT &&
            pause_until(now + PAUSE_NS < until_ns ? now + PAUSE_NS : until_ns) != STILE_OK)
            break;
    }
    stile__cancel_restore(cancel);
    /* An earlier attempt may have been run although a later one was not. */
    if (exchange->sends > 0 &&
        (status == STILE_UNREACHABLE || status == STILE_TIMEOUT || status == STILE_CLOSED))
        status = STILE_UNKNOWN;
    return status;
}

stile_status stile__line_connect(struct redis_line *line, int64_t until_ns)
{
    stile_status status = take_turn(line, false, until_ns);
    int64_t now_ns;
    bool fresh;

    if (status != STILE_OK)
        return status;
    status = connect_line(line, REDIS_ONCE, until_ns, &fresh, &now_ns);
    end_turn(line);
    return status;
}

/* ---- batches ------------------------------------------------------------------------------ */

typedef void batch_take(void *context, size_t i, stile_status status,
                        const struct redis_reply *reply, int64_t sent_ns);

static void run_batch(struct redis_line *line, const struct redis_call *calls, size_t count,
                      int64_t sent_ns, int64_t until_ns, batch_take *take, void *context)
{
    int64_t resent_ns = sent_ns;
    const struct redis_reply *reply = NULL;
    stile_status status;
    bool unknown[STILE_RENEW_MAX] = {false};
    unsigned sends = 0;
    size_t i;

    assert(count <= STILE_RENEW_MAX);
    stile__redis_buffer_reset(&line->request);
    for (i = 0; i < count; i++)
        add_call(&line->request, &calls[i], false);
    status = stile__redis_send(line->connection, &line->request, until_ns);
    if (status == STILE_UNREACHABLE)
        hang_up(line);
    for (i = 0; i < count; i++) {
        if (status == STILE_OK) {
            status = stile__redis_receive(line->connection, false, until_ns, &reply);
            if (status != STILE_OK)
                status = give_up(line, status);
        }
        if (status == STILE_OK && is_error(reply, "NOSCRIPT"))
            unknown[i] = true;
        else if (status == STILE_OK && reply->type == REDIS_ERROR)
            take(context, i, stile__redis_error(line->space, reply), NULL, sent_ns);
        else
            take(context, i, status, reply, sent_ns);
    }
    for (i = 0; i < count; i++) {
        if (!unknown[i])
            continue;
        resent_ns = stile__boottime_ns();
        if (line->connection != NULL)
            status = call_line(line, &calls[i], NULL, until_ns, &reply, &resent_ns, &sends);
        if (status == STILE_OK && reply->type == REDIS_ERROR)
            status = stile__redis_error(line->space, reply);
        take(context, i, status, reply, resent_ns);
    }
}

void stile__line_batch(struct redis_line *line, const struct redis_call *calls, size_t count,
                       int64_t until_ns, batch_take *take, void *context)
{
    stile_status status = take_turn(line, false, until_ns);
    int64_t sent_ns;
    bool fresh;
    size_t i;

    if (status == STILE_OK) {
        status = connect_line(line, REDIS_PATIENT, until_ns, &fresh, &sent_ns);
        if (status == STILE_OK)
            run_batch(line, calls, count, sent_ns, until_ns, take, context);
        end_turn(line);
    }
    for (i = 0; i < count && status != STILE_OK; i++)
        take(context, i, status, NULL, 0);
}

void stile__line_turn_away(struct redis_line *line)
{
    stile__mutex_lock(&line->mutex);
    line->shut = true;
    stile__mutex_unlock(&line->mutex);
}

void stile__line_shut(struct redis_line *line)
{
    /* Without memory the connection stays until fini, and nobody new gets it. */
    if (take_turn(line, true, INT64_MAX) == STILE_OK) {
        stile__redis_close(line->connection, false);
        line->connection = NULL;
        os_store(&line->fd, -1, memory_order_relaxed);
        end_turn(line);
    }
}
