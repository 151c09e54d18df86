#include <stddef.h>

#include <stile/status.h>
#include <stile/version.h>

static const struct {
    const char *name;
    const char *text;
} statuses[] = {
#define STATUS(status, sentence) [status] = {#status, sentence}
    STATUS(STILE_OK, "The call did what it was asked for."),
    STATUS(STILE_TIMEOUT, "It was surely not acquired or applied in the time given."),
    STATUS(STILE_CANCELLED, "Another thread ended the wait."),
    STATUS(STILE_CLOSED, "The space or the object was closed."),
    STATUS(STILE_FULL, "The buffer has no room."),
    STATUS(STILE_EMPTY, "The buffer has no item."),
    STATUS(STILE_MISSING, "There is no such object or value."),
    STATUS(STILE_EXISTS, "It exists already."),
    STATUS(STILE_CONFLICT, "It is there in another version than the one named."),
    STATUS(STILE_LOST, "The lease ended before the call, and others may have the object."),
    STATUS(STILE_NOT_HELD, "The hold was never taken, was released, or is of another object."),
    STATUS(STILE_BROKEN, "Somebody else broke the barrier."),
    STATUS(STILE_DEADLOCK, "The wait would never end, since the caller itself is in the way."),
    STATUS(STILE_DENIED, "The limiter said no."),
    STATUS(STILE_MISMATCH, "The object exists with other parameters than those asked for."),
    STATUS(STILE_INVALID, "An argument is wrong."),
    STATUS(STILE_NO_MEMORY, "Memory, threads or descriptors ran out, and nothing was changed."),
    STATUS(STILE_UNREACHABLE, "The server could not be asked, and surely nothing was done."),
    STATUS(STILE_UNKNOWN, "The server was asked and did not answer: it may have been done or not."),
    STATUS(STILE_REFUSED, "The server refused the command."),
    STATUS(STILE_AUTH, "The server did not accept the user or the password."),
    STATUS(STILE_TLS, "An encrypted connection could not be made or was not trustworthy."),
    STATUS(STILE_WRONG_KIND, "The name is in use for something else, or in another format."),
    STATUS(STILE_UNSUPPORTED, "This backend or this build does not offer it."),
    STATUS(STILE_FORKED, "The process forked since the space was opened."),
    STATUS(STILE_PROTOCOL, "The server's answer was not what the protocol allows."),
    STATUS(STILE_OVERFLOW, "A counter has reached its end."),
#undef STATUS
};

#define STATUS_COUNT (sizeof(statuses) / sizeof(statuses[0]))

/* The enumeration may be signed: a number below 0 becomes one beyond the table.
 * Between outcomes and failures there are numbers with no name. */
static const char *known_name(stile_status status)
{
    size_t index = (size_t)status;

    return index < STATUS_COUNT ? statuses[index].name : NULL;
}

const char *stile_status_name(stile_status status)
{
    const char *name = known_name(status);

    return name != NULL ? name : "STILE_?";
}

const char *stile_status_text(stile_status status)
{
    return known_name(status) != NULL ? statuses[status].text : "This is not a status of stile.";
}

int stile_version(void)
{
    return STILE_VERSION_NUMBER;
}
