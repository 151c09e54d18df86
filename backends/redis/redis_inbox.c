/*
 * The inbox: messages carry no truth.  Each grant in one is checked against a
 * waiter that is there; a lost one costs the time until that waiter polls.
 */
#include "redis.h"

#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/error.h"

#define BACKOFF_FIRST_MS 20
#define BACKOFF_MOST_MS 1000

/* Somebody who waits for the subscription; on its own stack. */
struct reader {
    struct stile_link link;
    struct stile_parker *parker;
};

stile_status stile__inbox_init(struct redis_inbox *inbox, struct redis_space *space)
{
    const char *prefix = space->inbox_prefix_text;
    uint64_t id[2];
    stile_status status = stile__redis_id(space, id);
    size_t length;

    if (status != STILE_OK)
        return status;
    inbox->space = space;
    inbox->trouble = STILE_UNREACHABLE;
    stile__mutex_init(&inbox->mutex, STILE_RANK_LINE);
    list_init(&inbox->waiting);
    atomic_init(&inbox->epoch, 0);
    atomic_init(&inbox->fd, -1);
    stile__redis_id_text(id, inbox->client);
    length = strlen(prefix);
    inbox->leader = &inbox->self;
    list_init(&inbox->listeners);
    inbox->channel = malloc(length + REDIS_ID_TEXT + 1);
    inbox->self.parker = stile__parker_get();
    if (inbox->channel == NULL || inbox->self.parker == NULL)
        status = stile__fail(STILE_NO_MEMORY, "no memory for a space");
    else
        status = stile__signal_open(&inbox->signal);
    if (status != STILE_OK) {
        free(inbox->channel);
        if (inbox->self.parker != NULL)
            stile__parker_put(inbox->self.parker);
        stile__mutex_fini(&inbox->mutex);
        return status;
    }
    memcpy(inbox->channel, prefix, length);
    memcpy(inbox->channel + length, inbox->client, REDIS_ID_TEXT + 1);
    return STILE_OK;
}

void stile__inbox_fini(struct redis_inbox *inbox)
{
    stile__signal_close(&inbox->signal);
    free(inbox->channel);
    stile__parker_put(inbox->self.parker);
    stile__mutex_fini(&inbox->mutex);
}

/* ---- the subscription --------------------------------------------------------------- */

static void wake_readers(struct redis_inbox *inbox)
{
    struct stile_link *at;

    for (at = inbox->waiting.next; at != &inbox->waiting; at = at->next)
        stile__unpark(STILE_OF(at, struct reader, link)->parker);
}

static void set_ready(struct redis_inbox *inbox, bool ready, stile_status trouble)
{
    stile__mutex_lock(&inbox->mutex);
    inbox->ready = ready;
    inbox->trouble = trouble;
    if (ready)
        os_add(&inbox->epoch, 1, memory_order_relaxed);
    wake_readers(inbox);
    stile__mutex_unlock(&inbox->mutex);
}

static bool stopped(struct redis_inbox *inbox)
{
    bool stop;

    stile__mutex_lock(&inbox->mutex);
    stop = inbox->stop;
    stile__mutex_unlock(&inbox->mutex);
    return stop;
}

/* The descriptor is published under the mutex: whoever stops the thread either is
 * seen here or sees the descriptor. */
static bool publish_fd(struct redis_inbox *inbox, int fd)
{
    bool stop;

    stile__mutex_lock(&inbox->mutex);
    os_store(&inbox->fd, fd, memory_order_relaxed);
    stop = inbox->stop;
    stile__mutex_unlock(&inbox->mutex);
    return !stop;
}

static bool is_text(const struct redis_reply *reply, const char *text)
{
    return reply->type == REDIS_STRING && reply->length == strlen(text) &&
           memcmp(reply->text, text, reply->length) == 0;
}

/* A number of at most 18 digits, ended by a blank or the end. */
static bool read_number(const char **at, const char *end, int64_t *number)
{
    const char *from = *at;

    *number = 0;
    while (*at < end && **at >= '0' && **at <= '9' && *at - from < 18)
        *number = *number * 10 + (*(*at)++ - '0');
    if (*at == from || (*at < end && **at != ' '))
        return false;
    if (*at < end)
        (*at)++;
    return true;
}

/* "<op id> <fence> <when, in server ms> <claim ms>"; anything else is nobody's
 * grant. */
static void read_grant(struct redis_inbox *inbox, const char *text, size_t length,
                       int64_t receipt_ns)
{
    const char *at = text + REDIS_ID_TEXT + 1, *end = text + length;
    struct redis_grant grant;
    uint64_t id[2];

    if (length <= REDIS_ID_TEXT || text[REDIS_ID_TEXT] != ' ' ||
        !stile__redis_id_parse(text, REDIS_ID_TEXT, id) || !read_number(&at, end, &grant.fence) ||
        !read_number(&at, end, &grant.deadline_ms) || !read_number(&at, end, &grant.claim_ms) ||
        at != end || grant.claim_ms > STILE_CLAIM_MAX_MS)
        return;
    grant.deadline_ms += grant.claim_ms;
    stile__redis_granted(inbox->space, id, &grant, receipt_ns,
                         os_load(&inbox->epoch, memory_order_relaxed));
}

static stile_status subscribe(struct redis_inbox *inbox, struct redis_connection *connection,
                              int64_t until_ns)
{
    const struct redis_reply *reply;
    struct redis_buffer request;
    stile_status status;

    stile__redis_buffer_init(&request);
    stile__redis_command(&request, 2);
    stile__redis_arg_text(&request, "SUBSCRIBE");
    stile__redis_arg_text(&request, inbox->channel);
    status = stile__redis_send(connection, &request, until_ns);
    stile__redis_buffer_fini(&request);
    if (status == STILE_OK)
        status = stile__redis_receive(connection, false, until_ns, &reply);
    if (status != STILE_OK)
        return status;
    if (reply->type == REDIS_ERROR)
        return stile__redis_error(inbox->space, reply);
    if (reply->type != REDIS_ARRAY || reply->count != 3 ||
        !is_text(&reply->elements[0], "subscribe") || !is_text(&reply->elements[1], inbox->channel))
        return stile__fail(STILE_PROTOCOL, "the answer to SUBSCRIBE is none");
    return STILE_OK;
}

/* ---- the lead ------------------------------------------------------------------------- */

/* Reads what has come, as who leads.  False: the connection ended. */
static bool take_messages(struct redis_inbox *inbox)
{
    const struct redis_reply *reply;

    do {
        stile_status status = stile__redis_receive(inbox->connection, true, REDIS_AT_ONCE, &reply);
        int64_t receipt_ns = stile__boottime_ns();

        if (status == STILE_TIMEOUT)
            return true;
        if (status != STILE_OK || reply->type != REDIS_ARRAY || reply->count != 3 ||
            !is_text(&reply->elements[0], "message") || reply->elements[2].type != REDIS_STRING)
            return false;
        read_grant(inbox, reply->elements[2].text, reply->elements[2].length, receipt_ns);
        /* What was read is settled before anybody polls again. */
    } while (stile__redis_has_more(inbox->connection));
    return true;
}

/* Sleeps as who leads, and reads what comes. */
static void lead(struct redis_inbox *inbox, struct redis_listener *leader, int64_t until_ns)
{
    int fd = stile__redis_fd(inbox->connection);

    if (stile__park_with(leader->parker, &inbox->signal, fd, until_ns) && !take_messages(inbox))
        set_ready(inbox, false, STILE_UNREACHABLE);
}

/* Under the mutex: the leader leaves.  Returns whom to unpark, or NULL. */
static struct stile_parker *pass_lead(struct redis_inbox *inbox)
{
    if (!inbox->ready || inbox->stop) {
        inbox->leader = &inbox->self;
    } else if (!list_empty(&inbox->listeners)) {
        inbox->leader = STILE_OF(inbox->listeners.next, struct redis_listener, link);
        list_remove(&inbox->leader->link);
    } else if (inbox->passive > 0) {
        inbox->leader = &inbox->self;
    } else {
        inbox->leader = NULL;
        return NULL;
    }
    return inbox->leader->parker;
}

static void unlock_and_unpark(struct redis_inbox *inbox, struct stile_parker *parker)
{
    stile__mutex_unlock(&inbox->mutex);
    if (parker != NULL)
        stile__unpark(parker);
}

static void begin_listening(struct redis_inbox *inbox, struct redis_listener *self)
{
    struct stile_parker *wake = NULL;

    stile__mutex_lock(&inbox->mutex);
    if (inbox->leader == NULL) {
        list_init(&self->link);
        inbox->leader = self;
    } else {
        list_push_back(&inbox->listeners, &self->link);
        if (inbox->leader == &inbox->self && inbox->ready)
            wake = inbox->self.parker;
    }
    unlock_and_unpark(inbox, wake);
}

/* A leader whose connection ended is a listener again. */
static bool is_leader(struct redis_inbox *inbox, struct redis_listener *self)
{
    struct stile_parker *wake = NULL;
    bool leads;

    stile__mutex_lock(&inbox->mutex);
    if (inbox->leader == self && !inbox->ready) {
        wake = pass_lead(inbox);
        list_push_back(&inbox->listeners, &self->link);
    }
    leads = inbox->leader == self;
    unlock_and_unpark(inbox, wake);
    return leads;
}

static void end_listening(struct redis_inbox *inbox, struct redis_listener *self)
{
    struct stile_parker *wake = NULL;

    stile__mutex_lock(&inbox->mutex);
    list_remove(&self->link);
    if (inbox->leader == self)
        wake = pass_lead(inbox);
    unlock_and_unpark(inbox, wake);
}

void stile__inbox_sleep(struct redis_inbox *inbox, struct stile_waiter *waiter, int64_t until_ns)
{
    struct redis_listener self = {.parker = waiter->parker};

    begin_listening(inbox, &self);
    while (!stile__wait_is_due(waiter, until_ns)) {
        if (is_leader(inbox, &self))
            lead(inbox, &self, until_ns);
        else
            stile__park(self.parker, until_ns);
    }
    end_listening(inbox, &self);
}

void stile__inbox_passive(struct redis_inbox *inbox, int more)
{
    struct stile_parker *wake = NULL;

    stile__mutex_lock(&inbox->mutex);
    inbox->passive += (size_t)more;
    if (inbox->leader == NULL && inbox->passive > 0)
        wake = pass_lead(inbox);
    unlock_and_unpark(inbox, wake);
}

/* ---- the thread ------------------------------------------------------------------------ */

/* Whether the connection is still the thread's to look after; *leads: to read, too. */
static bool goes_on(struct redis_inbox *inbox, bool *leads)
{
    struct stile_parker *wake = NULL;
    bool over;

    stile__mutex_lock(&inbox->mutex);
    over = !inbox->ready || inbox->stop;
    if (inbox->leader == NULL ? over
                              : inbox->leader == &inbox->self && !list_empty(&inbox->listeners))
        wake = pass_lead(inbox);
    *leads = inbox->leader == &inbox->self;
    unlock_and_unpark(inbox, wake);
    return !(*leads && over);
}

static void listen_for_grants(struct redis_inbox *inbox)
{
    bool leads;

    while (goes_on(inbox, &leads)) {
        if (leads)
            lead(inbox, &inbox->self, INT64_MAX);
        else
            stile__park(inbox->self.parker, INT64_MAX);
    }
}

static stile_status serve(struct redis_inbox *inbox)
{
    const struct stile_settings *settings = &inbox->space->base.settings;
    int64_t until_ns = later_ns(stile__monotonic_ns(), settings->connect_timeout_ms);
    stile_status status = stile__redis_connect(settings, "stile-inbox", &stile__redis_small,
                                               until_ns, &inbox->connection);

    if (status != STILE_OK)
        return status;
    if (publish_fd(inbox, stile__redis_fd(inbox->connection))) {
        status = subscribe(inbox, inbox->connection, until_ns);
        if (status == STILE_OK) {
            set_ready(inbox, true, STILE_OK);
            /* What was granted while nobody listened is found by looking. */
            stile__redis_recheck_all(inbox->space);
            listen_for_grants(inbox);
            set_ready(inbox, false, STILE_UNREACHABLE);
        }
    }
    publish_fd(inbox, -1);
    stile__redis_close(inbox->connection, true);
    return status;
}

static void pause(struct redis_inbox *inbox, int64_t pause_ms)
{
    int64_t until_ns = later_ns(stile__monotonic_ns(), pause_ms);

    /* A token may be there that was about the lead. */
    while (!stopped(inbox) && stile__monotonic_ns() < until_ns)
        stile__park(inbox->self.parker, until_ns);
}

static void run(void *arg)
{
    struct redis_inbox *inbox = arg;
    int64_t pause_ms = BACKOFF_FIRST_MS;
    uint32_t chance = 0;

    while (!stopped(inbox)) {
        stile_status status = serve(inbox);

        if (status == STILE_OK)
            pause_ms = BACKOFF_FIRST_MS;
        else
            set_ready(inbox, false, status == STILE_TIMEOUT ? STILE_UNREACHABLE : status);
        if (stile__random(&chance, sizeof chance) != STILE_OK)
            chance = 0;
        pause(inbox, pause_ms / 2 + chance % pause_ms);
        if (pause_ms < BACKOFF_MOST_MS)
            pause_ms *= 2;
    }
}

/* ---- callers -------------------------------------------------------------------------- */

stile_status stile__inbox_ready(struct redis_inbox *inbox, int64_t until_ns)
{
    struct reader reader = {.parker = NULL};
    stile_status status = STILE_OK;

    stile__mutex_lock(&inbox->mutex);
    if (!inbox->ready && !inbox->stop) {
        if (!inbox->started) {
            status = stile__thread_start(&inbox->thread, "stile-inbox", run, inbox);
            inbox->started = status == STILE_OK;
        }
        reader.parker = status == STILE_OK ? stile__parker_get() : NULL;
        if (reader.parker == NULL)
            status = STILE_NO_MEMORY;
        else
            list_push_back(&inbox->waiting, &reader.link);
    }
    while (status == STILE_OK && !inbox->ready && !inbox->stop) {
        if (stile__monotonic_ns() >= until_ns ||
            (inbox->trouble != STILE_OK && inbox->trouble != STILE_UNREACHABLE)) {
            status = inbox->trouble == STILE_OK ? STILE_UNREACHABLE : inbox->trouble;
            break;
        }
        stile__mutex_unlock(&inbox->mutex);
        stile__park(reader.parker, until_ns);
        stile__mutex_lock(&inbox->mutex);
    }
    if (status == STILE_OK && inbox->stop)
        status = STILE_CLOSED;
    if (reader.parker != NULL) {
        list_remove(&reader.link);
        stile__parker_put(reader.parker);
    }
    stile__mutex_unlock(&inbox->mutex);
    if (status == STILE_NO_MEMORY)
        return stile__fail(status, "no memory or threads to wait with");
    if (status == STILE_CLOSED)
        return stile__fail(status, "the space is closed");
    if (status != STILE_OK)
        return stile__fail(status, "no subscription to %s at %s", inbox->channel,
                           inbox->space->base.settings.shown);
    return STILE_OK;
}

void stile__inbox_stop(struct redis_inbox *inbox)
{
    bool started;
    int fd;

    stile__mutex_lock(&inbox->mutex);
    started = inbox->started;
    inbox->stop = true;
    inbox->started = false;
    fd = os_load(&inbox->fd, memory_order_relaxed);
    if (fd >= 0)
        stile__socket_shut(fd);
    wake_readers(inbox);
    stile__mutex_unlock(&inbox->mutex);
    if (started) {
        stile__unpark(inbox->self.parker);
        stile__thread_join(&inbox->thread);
    }
}
