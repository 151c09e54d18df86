/*
 * A server's own commands, for `doctor` and `locks`: the library never needs them.
 * It is the library's own connection and the library's own reading of the URL, so
 * that both mean the same server, and no password shows.
 */
#ifndef STILE_COMMAND_RAW_H
#define STILE_COMMAND_RAW_H

#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "settings.h"

struct raw {
    const struct stile_settings *settings;
    struct redis_connection *connection;
};

/*
 * Connects; anonymous: without user and password.  STILE_OK, and raw is owed one
 * raw_close(); or as stile__redis_connect().
 */
stile_status raw_open(struct raw *raw, const struct stile_settings *settings, bool anonymous);
void raw_close(struct raw *raw);

/*
 * Sends one command of words, the last NULL, and waits for the reply, which stays
 * until the next.  NULL: none came; the connection is of no use any more.
 */
const struct redis_reply *raw_call(struct raw *raw, const char *const *words);
/* The next reply, for a connection that subscribed. */
const struct redis_reply *raw_next(struct raw *raw);

#define RAW(raw, ...) raw_call(raw, (const char *const[]){__VA_ARGS__, NULL})

bool reply_is_error(const struct redis_reply *reply);
/* The reply's text, "" if it has none. */
const char *reply_text(const struct redis_reply *reply);

#endif
