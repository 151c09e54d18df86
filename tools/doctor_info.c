#include "doctor.h"

#include <stdlib.h>
#include <string.h>

void info_read(struct doctor *doctor)
{
    const struct redis_reply *reply = RAW(&doctor->raw, "INFO");

    if (!reply_is_error(reply) && reply->text != NULL)
        doctor->info = strdup(reply->text);
    if (doctor->info != NULL)
        return;
    found(
        doctor, LEVEL_WARN, "info",
        "to have all checks, run doctor as a user with +info and +config|get",
        "INFO cannot be looked at (%s): version, memory, persistence and replicas are not checked",
        reply == NULL           ? "no answer"
        : reply_is_error(reply) ? "not permitted"
                                : "no memory");
}

bool info_text(const struct doctor *doctor, const char *name, char value[VALUE_SIZE])
{
    size_t length = strlen(name), size;
    const char *line = doctor->info;

    while (line != NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == ':') {
            line += length + 1;
            size = strcspn(line, "\r\n");
            if (size >= VALUE_SIZE)
                size = VALUE_SIZE - 1;
            memcpy(value, line, size);
            value[size] = '\0';
            return true;
        }
        line = strchr(line, '\n');
        if (line != NULL)
            line++;
    }
    return false;
}

int64_t info_number(const struct doctor *doctor, const char *name, int64_t otherwise)
{
    char value[VALUE_SIZE];

    return info_text(doctor, name, value) ? strtoll(value, NULL, 10) : otherwise;
}

bool config_text(struct doctor *doctor, const char *name, char value[VALUE_SIZE])
{
    const struct redis_reply *reply = RAW(&doctor->raw, "CONFIG", "GET", name);
    size_t size;

    if (reply_is_error(reply))
        doctor->config_denied = true;
    if (reply_is_error(reply) || reply->count < 2 || reply->elements[1].text == NULL)
        return false;
    size = strlen(reply->elements[1].text);
    if (size >= VALUE_SIZE)
        size = VALUE_SIZE - 1;
    memcpy(value, reply->elements[1].text, size);
    value[size] = '\0';
    return true;
}

int64_t config_number(struct doctor *doctor, const char *name, int64_t otherwise)
{
    char value[VALUE_SIZE];

    return config_text(doctor, name, value) ? strtoll(value, NULL, 10) : otherwise;
}
