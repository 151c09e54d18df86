#include "connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "reply.h"

#define INPUT_BYTES 16384
/* Enough for any 64-bit number, signed or not. */
#define DIGITS_MAX 20
/* How much of a server's text a detail shows, how much of the URL. */
#define QUOTE_BYTES 120
#define SHOWN "%.110s"

struct redis_connection {
    int fd;
    bool broken; /* once true, stays true */
    /* The last read filled the input: more is probably there already. */
    bool filled;
    struct redis_parser parser;
    /* What was read and not parsed yet: input[begin .. end - 1]. */
    size_t begin;
    size_t end;
    char input[INPUT_BYTES];
    char shown[]; /* settings->shown, for details */
};

/* ---- requests ---------------------------------------------------------------- */

void stile__redis_buffer_init(struct redis_buffer *buffer)
{
    memset(buffer, 0, sizeof(*buffer));
}

void stile__redis_buffer_fini(struct redis_buffer *buffer)
{
    free(buffer->bytes);
    memset(buffer, 0, sizeof(*buffer));
}

void stile__redis_buffer_reset(struct redis_buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
}

/* Makes room for more bytes.  False: failed is set. */
static bool reserve(struct redis_buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity < 256 ? 256 : buffer->capacity;
    char *bytes;

    if (buffer->failed)
        return false;
    if (more <= buffer->capacity - buffer->length)
        return true;
    if (more > SIZE_MAX / 2 - buffer->length) {
        buffer->failed = true;
        return false;
    }
    while (capacity < buffer->length + more)
        capacity *= 2;
    bytes = realloc(buffer->bytes, capacity);
    if (bytes == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return true;
}

/* Writes number so that it ends before end; returns where it begins. */
static char *digits_before(char *end, uint64_t number)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return end;
}

/* Only after reserve(). */
static void append(struct redis_buffer *buffer, const void *bytes, size_t length)
{
    if (length > 0)
        memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
}

/* "*3\r\n" or "$3\r\n".  Only after reserve(HEADER_MAX). */
#define HEADER_MAX (DIGITS_MAX + 3)

static void append_header(struct redis_buffer *buffer, char type, size_t number)
{
    char header[HEADER_MAX];
    char *begin = digits_before(header + 1 + DIGITS_MAX, number);

    *--begin = type;
    memcpy(header + 1 + DIGITS_MAX, "\r\n", 2);
    append(buffer, begin, (size_t)(header + HEADER_MAX - begin));
}

void stile__redis_command(struct redis_buffer *buffer, size_t count)
{
    if (reserve(buffer, HEADER_MAX))
        append_header(buffer, '*', count);
}

void stile__redis_arg(struct redis_buffer *buffer, const void *bytes, size_t length)
{
    if (length > SIZE_MAX / 2) {
        buffer->failed = true;
        return;
    }
    if (!reserve(buffer, HEADER_MAX + length + 2))
        return;
    append_header(buffer, '$', length);
    append(buffer, bytes, length);
    append(buffer, "\r\n", 2);
}

void stile__redis_arg_text(struct redis_buffer *buffer, const char *text)
{
    stile__redis_arg(buffer, text, strlen(text));
}

void stile__redis_arg_int(struct redis_buffer *buffer, int64_t value)
{
    char digits[1 + DIGITS_MAX];
    char *end = digits + sizeof(digits);
    char *begin = digits_before(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);

    if (value < 0)
        *--begin = '-';
    stile__redis_arg(buffer, begin, (size_t)(end - begin));
}

/* ---- bytes to and from the server ----------------------------------------------- */

/* Breaks the connection for a reason that the system gave. */
static stile_status break_by(struct redis_connection *connection, const char *what, int error)
{
    connection->broken = true;
    return stile__fail(STILE_UNREACHABLE, SHOWN ": %s: %s", connection->shown, what,
                       strerror(error));
}

static stile_status break_for(struct redis_connection *connection, stile_status status,
                              const char *reason)
{
    connection->broken = true;
    return stile__fail(status, SHOWN ": %s", connection->shown, reason);
}

stile_status stile__redis_send(struct redis_connection *connection,
                               const struct redis_buffer *buffer, int64_t until_ns)
{
    size_t sent = 0;

    if (buffer->failed)
        return stile__fail(STILE_NO_MEMORY, "no memory for the request");
    if (connection->broken)
        return break_for(connection, STILE_UNREACHABLE, "the connection is broken");
    while (sent < buffer->length) {
        ptrdiff_t moved =
            stile__socket_send(connection->fd, buffer->bytes + sent, buffer->length - sent);
        int waited;

        if (moved >= 0) {
            sent += (size_t)moved;
            continue;
        }
        if (moved != -EAGAIN)
            return break_by(connection, "send", (int)-moved);
        waited = stile__socket_wait(connection->fd, true, until_ns);
        if (waited == -ETIMEDOUT)
            return break_for(connection, STILE_UNREACHABLE,
                             "the request could not be sent in time");
        if (waited < 0)
            return break_by(connection, "wait to send", -waited);
    }
    return STILE_OK;
}

static stile_status too_late(struct redis_connection *connection, bool quiet)
{
    return quiet ? STILE_TIMEOUT : break_for(connection, STILE_TIMEOUT, "no answer in time");
}

/* Reads what is there into the empty input, waiting for it until until_ns. */
static stile_status fill_input(struct redis_connection *connection, bool quiet, int64_t until_ns)
{
    assert(connection->begin == connection->end);
    for (;;) {
        ptrdiff_t moved;

        /* Alone, an answer is not there yet when one begins to wait for it: to
         * read first would be a system call in vain. */
        if (!connection->filled && until_ns != REDIS_AT_ONCE) {
            int waited = stile__socket_wait(connection->fd, false, until_ns);

            if (waited == -ETIMEDOUT)
                return too_late(connection, quiet);
            if (waited < 0)
                return break_by(connection, "wait to receive", -waited);
        }
        moved = stile__socket_receive(connection->fd, connection->input, INPUT_BYTES);
        connection->filled = moved == INPUT_BYTES;
        if (moved > 0) {
            connection->begin = 0;
            connection->end = (size_t)moved;
            return STILE_OK;
        }
        if (moved == 0)
            return break_for(connection, STILE_UNREACHABLE, "the server closed the connection");
        if (moved != -EAGAIN)
            return break_by(connection, "receive", (int)-moved);
        if (until_ns == REDIS_AT_ONCE)
            return too_late(connection, quiet);
    }
}

static stile_status receive(struct redis_connection *connection, bool quiet, int64_t until_ns,
                            const struct redis_reply **reply)
{
    for (bool first = true;; first = false) {
        const struct redis_reply *complete;
        size_t used;
        stile_status status =
            stile__redis_parse(&connection->parser, connection->input + connection->begin,
                               connection->end - connection->begin, &used, &complete);

        connection->begin += used;
        if (status != STILE_OK) {
            char reason[QUOTE_BYTES + 1];
            const char *text = connection->parser.reason;

            return break_for(connection, status,
                             stile__escape(reason, sizeof(reason), text, strlen(text)));
        }
        if (complete != NULL) {
            *reply = complete;
            return STILE_OK;
        }
        /* A server that always has one more byte would never let a wait fail. */
        if (!first && stile__monotonic_ns() >= until_ns)
            return too_late(connection, quiet);
        status = fill_input(connection, quiet, until_ns);
        if (status != STILE_OK)
            return status;
    }
}

stile_status stile__redis_receive(struct redis_connection *connection, bool quiet, int64_t until_ns,
                                  const struct redis_reply **reply)
{
    if (connection->broken)
        return break_for(connection, STILE_UNREACHABLE, "the connection is broken");
    return receive(connection, quiet, until_ns, reply);
}

bool stile__redis_has_more(const struct redis_connection *connection)
{
    return connection->begin < connection->end || connection->filled ||
           stile__redis_parser_pending(&connection->parser);
}

bool stile__redis_broken(struct redis_connection *connection)
{
    if (connection->broken)
        return true;
    /* A byte that is read here is one that nobody asked for: it need not be
     * kept, since the connection ends with it. */
    if (connection->begin < connection->end || stile__redis_parser_pending(&connection->parser) ||
        stile__socket_receive(connection->fd, connection->input, 1) != -EAGAIN)
        connection->broken = true;
    return connection->broken;
}

int stile__redis_fd(const struct redis_connection *connection)
{
    return connection->fd;
}

/* ---- connecting ----------------------------------------------------------------- */

/* The steps of the introduction, in this order, each of them if needed. */
enum step { STEP_AUTH, STEP_SELECT, STEP_NAME };

static const char *const step_names[] = {
    [STEP_AUTH] = "AUTH", [STEP_SELECT] = "SELECT", [STEP_NAME] = "CLIENT SETNAME"};

static bool begins_with(const struct redis_reply *reply, const char *text)
{
    size_t length = strlen(text);

    return reply->length >= length && memcmp(reply->text, text, length) == 0;
}

/*
 * What may be shown of an error reply.  Some servers repeat the arguments of a
 * command they do not take, which may be a password: they do so in quotes, and
 * may cut it.
 */
static const char *quote(char *out, size_t size, enum step step, const struct redis_reply *reply,
                         const char *password)
{
    size_t length = reply->length;

    if (step == STEP_AUTH)
        length = strcspn(reply->text, "'`\"");
    if (password != NULL && password[0] != '\0' &&
        memmem(reply->text, length, password, strlen(password)) != NULL)
        length = 0;
    return stile__escape(out, size, reply->text, length);
}

/* Says what an error reply to a step means. */
static stile_status refuse(struct redis_connection *connection,
                           const struct stile_settings *settings, enum step step,
                           const struct redis_reply *reply)
{
    stile_status status = STILE_REFUSED;
    char text[QUOTE_BYTES + 1];

    if (begins_with(reply, "WRONGPASS") || begins_with(reply, "NOAUTH"))
        status = STILE_AUTH;
    /* A full server says so to whatever comes first; that is no verdict on the
     * password. */
    else if (step == STEP_AUTH && begins_with(reply, "ERR") &&
             !begins_with(reply, "ERR max number of clients"))
        status = STILE_AUTH;
    connection->broken = true;
    return stile__fail(status, SHOWN ": %s: %s", connection->shown, step_names[step],
                       quote(text, sizeof(text), step, reply, settings->password));
}

static stile_status check_step(struct redis_connection *connection,
                               const struct stile_settings *settings, enum step step,
                               int64_t until_ns)
{
    const struct redis_reply *reply;
    stile_status status = receive(connection, false, until_ns, &reply);

    if (status == STILE_TIMEOUT)
        return stile__fail(STILE_UNREACHABLE, SHOWN ": no answer to %s in time", connection->shown,
                           step_names[step]);
    if (status != STILE_OK)
        return status;
    if (step == STEP_NAME && reply->type == REDIS_ERROR && begins_with(reply, "NOPERM"))
        return STILE_OK;
    if (reply->type == REDIS_ERROR)
        return refuse(connection, settings, step, reply);
    if (reply->type != REDIS_STATUS || strcmp(reply->text, "OK") != 0)
        return stile__fail(STILE_PROTOCOL, SHOWN ": the answer to %s is not OK", connection->shown,
                           step_names[step]);
    return STILE_OK;
}

/* Sends all steps at once, then looks at each answer. */
static stile_status introduce(struct redis_connection *connection,
                              const struct stile_settings *settings, const char *client_name,
                              struct redis_buffer *buffer, int64_t until_ns)
{
    enum step steps[3];
    size_t count = 0;
    stile_status status;

    /* At once, so that the buffer does not move and leave a password behind. */
    (void)reserve(buffer, 512 + strlen(client_name) +
                              (settings->user != NULL ? strlen(settings->user) : 0) +
                              (settings->password != NULL ? strlen(settings->password) : 0));
    if (settings->password != NULL) {
        steps[count++] = STEP_AUTH;
        stile__redis_command(buffer, settings->user != NULL ? 3 : 2);
        stile__redis_arg_text(buffer, "AUTH");
        if (settings->user != NULL)
            stile__redis_arg_text(buffer, settings->user);
        stile__redis_arg_text(buffer, settings->password);
    }
    if (settings->db != 0) {
        steps[count++] = STEP_SELECT;
        stile__redis_command(buffer, 2);
        stile__redis_arg_text(buffer, "SELECT");
        stile__redis_arg_int(buffer, settings->db);
    }
    steps[count++] = STEP_NAME;
    stile__redis_command(buffer, 3);
    stile__redis_arg_text(buffer, "CLIENT");
    stile__redis_arg_text(buffer, "SETNAME");
    stile__redis_arg_text(buffer, client_name);

    status = stile__redis_send(connection, buffer, until_ns);
    if (status == STILE_UNREACHABLE) {
        /* A server that turns clients away may have said why, and closed,
         * before the first byte was sent. */
        const struct redis_reply *reply;

        if (receive(connection, false, until_ns, &reply) == STILE_OK && reply->type == REDIS_ERROR)
            return refuse(connection, settings, steps[0], reply);
        return STILE_UNREACHABLE;
    }
    for (size_t i = 0; i < count && status == STILE_OK; i++)
        status = check_step(connection, settings, steps[i], until_ns);
    return status;
}

static stile_status open_socket(struct redis_connection *connection,
                                const struct stile_settings *settings, int64_t until_ns)
{
    struct stile_address address = {
        .path = settings->path, .host = settings->host, .port = settings->port};
    const char *where = "connect";
    int fd = stile__socket_connect(&address, until_ns, &where);

    if (fd >= 0) {
        connection->fd = fd;
        return STILE_OK;
    }
    switch (-fd) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return stile__fail(STILE_NO_MEMORY, SHOWN ": %s: %s", connection->shown, where,
                           strerror(-fd));
    default:
        return stile__fail(STILE_UNREACHABLE, SHOWN ": %s: %s", connection->shown, where,
                           strerror(-fd));
    }
}

stile_status stile__redis_connect(const struct stile_settings *settings, const char *client_name,
                                  const struct redis_limits *limits, int64_t until_ns,
                                  struct redis_connection **out)
{
    size_t shown_size = strlen(settings->shown) + 1;
    struct redis_connection *connection = calloc(1, sizeof(*connection) + shown_size);
    struct redis_buffer buffer;
    stile_status status;

    if (connection == NULL)
        return stile__fail(STILE_NO_MEMORY, SHOWN ": no memory to connect", settings->shown);
    connection->fd = -1;
    memcpy(connection->shown, settings->shown, shown_size);
    status = stile__redis_parser_init(&connection->parser, limits);
    if (status != STILE_OK) {
        (void)stile__fail(status, SHOWN ": no memory to connect", settings->shown);
        goto out;
    }
    status = open_socket(connection, settings, until_ns);
    if (status != STILE_OK)
        goto out;
    stile__redis_buffer_init(&buffer);
    status = introduce(connection, settings, client_name, &buffer, until_ns);
    if (buffer.bytes != NULL)
        stile__wipe(buffer.bytes, buffer.capacity);
    stile__redis_buffer_fini(&buffer);
out:
    if (status == STILE_OK)
        *out = connection;
    else
        stile__redis_close(connection, true);
    return status;
}

void stile__redis_close(struct redis_connection *connection, bool reset)
{
    if (connection == NULL)
        return;
    if (connection->fd >= 0)
        stile__socket_close(connection->fd, reset);
    stile__redis_parser_fini(&connection->parser);
    free(connection);
}
