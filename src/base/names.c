#include "base/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { FIRST_BUCKETS = 16 };

static uint64_t rotate(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

/* SipHash-1-3 (Aumasson and Bernstein), the bytes read one by one. */
static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static uint64_t hash_name(const uint64_t seed[2], stile_kind kind, const char *name, size_t length)
{
    uint64_t v[4] = {seed[0] ^ UINT64_C(0x736f6d6570736575), seed[1] ^ UINT64_C(0x646f72616e646f6d),
                     seed[0] ^ UINT64_C(0x6c7967656e657261),
                     seed[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word = (uint64_t)kind;
    size_t i;

    for (i = 0; i <= length; i++) {
        word = word << 8 | (unsigned char)name[i];
        if (i % 8 == 6 || i == length) {
            v[3] ^= word;
            sip_round(v);
            v[0] ^= word;
            word = 0;
        }
    }
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct stile_shard *shard_of(struct stile_names *names, uint64_t hash)
{
    return &names->shards[hash >> 60];
}

stile_status stile__names_init(struct stile_names *names, const struct stile_names_ops *ops,
                               void *context)
{
    stile_status status = stile__random(names->seed, sizeof names->seed);
    size_t i;

    if (status != STILE_OK)
        return status;
    names->ops = ops;
    names->context = context;
    for (i = 0; i < STILE_SHARDS; i++) {
        struct stile_shard *shard = &names->shards[i];

        stile__mutex_init(&shard->mutex, STILE_RANK_REGISTRY);
        shard->buckets = NULL;
        shard->size = 0;
        shard->count = 0;
    }
    return STILE_OK;
}

static void destroy(struct stile_names *names, struct stile_named *named)
{
    free(named->name);
    names->ops->destroy(names->context, named);
}

void stile__names_fini(struct stile_names *names)
{
    size_t i, j;

    for (i = 0; i < STILE_SHARDS; i++) {
        struct stile_shard *shard = &names->shards[i];

        for (j = 0; j < shard->size; j++) {
            while (!list_empty(&shard->buckets[j])) {
                struct stile_named *named =
                    STILE_OF(shard->buckets[j].next, struct stile_named, link);

                list_remove(&named->link);
                destroy(names, named);
            }
        }
        free(shard->buckets);
        stile__mutex_fini(&shard->mutex);
    }
}

/* Doubles the buckets.  A table that cannot grow goes on as it is, unless it
 * has none yet. */
static bool grow(struct stile_shard *shard)
{
    size_t size = shard->size == 0 ? FIRST_BUCKETS : shard->size * 2;
    struct stile_link *buckets = malloc(size * sizeof *buckets);
    size_t i;

    if (buckets == NULL)
        return shard->size != 0;
    for (i = 0; i < size; i++)
        list_init(&buckets[i]);
    for (i = 0; i < shard->size; i++) {
        while (!list_empty(&shard->buckets[i])) {
            struct stile_named *named = STILE_OF(shard->buckets[i].next, struct stile_named, link);

            list_remove(&named->link);
            list_push_back(&buckets[named->hash & (size - 1)], &named->link);
        }
    }
    free(shard->buckets);
    shard->buckets = buckets;
    shard->size = size;
    return true;
}

static struct stile_named *find(const struct stile_shard *shard, uint64_t hash, stile_kind kind,
                                const char *name)
{
    struct stile_link *head, *at;

    if (shard->size == 0)
        return NULL;
    head = &shard->buckets[hash & (shard->size - 1)];
    for (at = head->next; at != head; at = at->next) {
        struct stile_named *named = STILE_OF(at, struct stile_named, link);

        if (named->hash == hash && named->kind == kind && strcmp(named->name, name) == 0)
            return named;
    }
    return NULL;
}

/* Under the shard's mutex. */
static struct stile_named *add(struct stile_names *names, struct stile_shard *shard, uint64_t hash,
                               stile_kind kind, const char *name)
{
    struct stile_named *named;

    if (shard->count >= shard->size && !grow(shard))
        return NULL;
    named = names->ops->make(names->context, kind, name);
    if (named == NULL)
        return NULL;
    named->name = strdup(name);
    if (named->name == NULL) {
        names->ops->destroy(names->context, named);
        return NULL;
    }
    named->hash = hash;
    named->kind = kind;
    atomic_init(&named->refs, 0);
    list_push_back(&shard->buckets[hash & (shard->size - 1)], &named->link);
    shard->count++;
    return named;
}

void stile__names_ref(struct stile_named *named)
{
    os_add(&named->refs, 1, memory_order_relaxed);
}

stile_status stile__names_get(struct stile_names *names, stile_kind kind, const char *name,
                              struct stile_named **out)
{
    uint64_t hash = hash_name(names->seed, kind, name, strlen(name));
    struct stile_shard *shard = shard_of(names, hash);
    struct stile_named *named;

    stile__mutex_lock(&shard->mutex);
    named = find(shard, hash, kind, name);
    if (named == NULL)
        named = add(names, shard, hash, kind, name);
    if (named != NULL)
        stile__names_ref(named);
    stile__mutex_unlock(&shard->mutex);
    if (named == NULL)
        return stile__fail(STILE_NO_MEMORY, "no memory for one more name");
    *out = named;
    return STILE_OK;
}

void stile__names_unref(struct stile_names *names, struct stile_named *named)
{
    struct stile_shard *shard = shard_of(names, named->hash);
    bool gone;

    stile__mutex_lock(&shard->mutex);
    gone = os_sub(&named->refs, 1, memory_order_acq_rel) == 1 &&
           !names->ops->busy(names->context, named);
    if (gone) {
        list_remove(&named->link);
        shard->count--;
        /* Before the next object of this name can be made: it has to start
         * above this one's last fence. */
        destroy(names, named);
    }
    stile__mutex_unlock(&shard->mutex);
}

void stile__names_each(struct stile_names *names,
                       void (*visit)(void *argument, struct stile_named *named), void *argument)
{
    size_t i, j;

    for (i = 0; i < STILE_SHARDS; i++) {
        struct stile_shard *shard = &names->shards[i];

        stile__mutex_lock(&shard->mutex);
        for (j = 0; j < shard->size; j++) {
            struct stile_link *head = &shard->buckets[j], *at;

            for (at = head->next; at != head; at = at->next)
                visit(argument, STILE_OF(at, struct stile_named, link));
        }
        stile__mutex_unlock(&shard->mutex);
    }
}
