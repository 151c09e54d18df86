/*
 * Error replies: the one table of what each means.  docs/redis.md shows it.
 */
#include "redis.h"

#include <string.h>

#include "base/error.h"

static const struct {
    const char *code;
    stile_status status;
} codes[] = {
    /* Surely not run, and may be later. */
    {"LOADING", STILE_UNREACHABLE},
    {"BUSY", STILE_UNREACHABLE},
    {"MASTERDOWN", STILE_UNREACHABLE},
    {"TRYAGAIN", STILE_UNREACHABLE},
    {"CLUSTERDOWN", STILE_UNREACHABLE},
    /* Surely not run, and it will not help to ask again. */
    {"READONLY", STILE_REFUSED},
    {"OOM", STILE_REFUSED},
    {"MISCONF", STILE_REFUSED},
    {"NOREPLICAS", STILE_REFUSED},
    {"NOPERM", STILE_REFUSED},
    {"DENIED", STILE_REFUSED},
    {"NOAUTH", STILE_AUTH},
    {"WRONGPASS", STILE_AUTH},
    {"MOVED", STILE_UNSUPPORTED},
    {"ASK", STILE_UNSUPPORTED},
    {"CROSSSLOT", STILE_UNSUPPORTED},
    {"WRONGTYPE", STILE_WRONG_KIND},
    /* Our scripts' own. */
    {"STILEKIND", STILE_WRONG_KIND},
    {"STILEFENCE", STILE_OVERFLOW},
};

/* Whether the text has the code as a word of its own. */
static bool says(const struct redis_reply *reply, const char *code, bool anywhere)
{
    size_t length = strlen(code), at;

    for (at = 0; at + length <= reply->length; at++) {
        bool begins = at == 0 || reply->text[at - 1] == ' ';
        bool ends = at + length == reply->length || reply->text[at + length] == ' ';

        if (begins && ends && memcmp(reply->text + at, code, length) == 0)
            return true;
        if (!anywhere)
            return false;
    }
    return false;
}

stile_status stile__redis_error(const struct redis_space *space, const struct redis_reply *reply)
{
    /* Redis 6 wraps what went wrong in a script: ERR Error running script (...):
     * @user_script:3: WRONGTYPE ... */
    bool wrapped = reply->length > 9 && memcmp(reply->text, "ERR Error", 9) == 0;
    stile_status status = STILE_REFUSED;
    char text[128];
    size_t i;

    for (i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (says(reply, codes[i].code, wrapped)) {
            status = codes[i].status;
            break;
        }
    }
    return stile__fail(status, "%s answered: %s", space->base.settings.shown,
                       stile__escape(text, sizeof text, reply->text, reply->length));
}
