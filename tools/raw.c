#include "raw.h"

#include <stddef.h>

#include "base/deadline.h"
#include "base/os.h"

/* INFO has some 10 kB, a page of SCAN some thousand keys. */
static const struct redis_limits limits = {.bytes = 64 << 20, .elements = 1 << 20};

static int64_t until(int64_t timeout_ms)
{
    return stile__monotonic_ns() + timeout_ms * STILE_NS_PER_MS;
}

stile_status raw_open(struct raw *raw, const struct stile_settings *settings, bool anonymous)
{
    struct stile_settings who = *settings;

    if (anonymous) {
        who.user = NULL;
        who.password = NULL;
    }
    raw->settings = settings;
    return stile__redis_connect(&who, "stile-command", &limits, until(settings->connect_timeout_ms),
                                &raw->connection);
}

void raw_close(struct raw *raw)
{
    stile__redis_close(raw->connection, false);
    raw->connection = NULL;
}

const struct redis_reply *raw_next(struct raw *raw)
{
    const struct redis_reply *reply;

    return stile__redis_receive(raw->connection, false, until(raw->settings->command_timeout_ms),
                                &reply) == STILE_OK
               ? reply
               : NULL;
}

const struct redis_reply *raw_call(struct raw *raw, const char *const *words)
{
    struct redis_buffer buffer;
    size_t count = 0, i;
    stile_status status;

    while (words[count] != NULL)
        count++;
    stile__redis_buffer_init(&buffer);
    stile__redis_command(&buffer, count);
    for (i = 0; i < count; i++)
        stile__redis_arg_text(&buffer, words[i]);
    status = stile__redis_send(raw->connection, &buffer, until(raw->settings->command_timeout_ms));
    stile__redis_buffer_fini(&buffer);
    return status == STILE_OK ? raw_next(raw) : NULL;
}

bool reply_is_error(const struct redis_reply *reply)
{
    return reply == NULL || reply->type == REDIS_ERROR;
}

const char *reply_text(const struct redis_reply *reply)
{
    return reply != NULL && reply->text != NULL ? reply->text : "";
}
