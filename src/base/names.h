/*
 * The names of a space: (kind, name) to a counted object, in shards.
 *
 * An object stays in the table while somebody refers to it, and after that for
 * as long as it is in use without (a lock that is held); its backend says so.
 */
#ifndef STILE_BASE_NAMES_H
#define STILE_BASE_NAMES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stile/space.h>

#include "base/list.h"
#include "base/os.h"

/* First member of everything that has a name. */
struct stile_named {
    struct stile_link link; /* in its bucket */
    uint64_t hash;
    /* Falls, and rises from 0, only under the shard's mutex. */
    _Atomic uint32_t refs;
    stile_kind kind;
    char *name;
};

enum { STILE_SHARDS = 16 };

struct stile_shard {
    struct stile_mutex mutex;
    struct stile_link *buckets;
    size_t size; /* of buckets, a power of two */
    size_t count;
};

/* What a table does with its objects; context is what init was given. */
struct stile_names_ops {
    /* A new object for that name; the table fills in the struct stile_named.
     * NULL when memory is out. */
    struct stile_named *(*make)(void *context, stile_kind kind, const char *name);
    /* Whether an object that nobody refers to has to stay. */
    bool (*busy)(void *context, struct stile_named *named);
    void (*destroy)(void *context, struct stile_named *named);
};

struct stile_names {
    const struct stile_names_ops *ops;
    void *context;
    uint64_t seed[2]; /* so that nobody can choose names that collide */
    struct stile_shard shards[STILE_SHARDS];
};

stile_status stile__names_init(struct stile_names *names, const struct stile_names_ops *ops,
                               void *context);
/* Destroys whatever is left. */
void stile__names_fini(struct stile_names *names);
/* The object of that name, made if it was not there, with one reference more. */
stile_status stile__names_get(struct stile_names *names, stile_kind kind, const char *name,
                              struct stile_named **out);
/* One more, by who has one already. */
void stile__names_ref(struct stile_named *named);
void stile__names_unref(struct stile_names *names, struct stile_named *named);
/* Calls visit for every object, each under its shard's mutex. */
void stile__names_each(struct stile_names *names,
                       void (*visit)(void *argument, struct stile_named *named), void *argument);

#endif
