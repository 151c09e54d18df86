/*
 * The scripts of lua/, as the build embeds them.
 */
#ifndef STILE_REDIS_SCRIPT_H
#define STILE_REDIS_SCRIPT_H

#include <stddef.h>

struct redis_script {
    const char *name;
    const char *sha1; /* of the text: what EVALSHA takes */
    size_t length;
    const char *text;
};

extern const struct redis_script stile__script_lock_abandon;
extern const struct redis_script stile__script_lock_acquire;
extern const struct redis_script stile__script_lock_extend;
extern const struct redis_script stile__script_lock_force;
extern const struct redis_script stile__script_lock_inspect;
extern const struct redis_script stile__script_lock_poll;
extern const struct redis_script stile__script_lock_release;
extern const struct redis_script stile__script_lock_renew;
extern const struct redis_script stile__script_lock_try;

/* All of them, ended by NULL. */
extern const struct redis_script *const stile__scripts[];

#endif
