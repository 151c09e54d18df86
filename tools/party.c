/*
 * Locks of either kind, and who has to do with them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <stile/stile.h>

#include "stile.h"

struct target {
    stile_lock *lock; /* one of both */
    stile_rlock *rlock;
};

bool is_kind(const char *kind)
{
    return strcmp(kind, "lock") == 0 || strcmp(kind, "rlock") == 0;
}

struct target *target_open(stile *space, const char *kind, const char *name)
{
    struct target *target = calloc(1, sizeof(*target));
    stile_status status;

    if (target == NULL) {
        say("no memory");
        return NULL;
    }
    if (strcmp(kind, "rlock") == 0)
        status = stile_rlock_open(space, name, NULL, &target->rlock);
    else
        status = stile_lock_open(space, name, NULL, &target->lock);
    if (status == STILE_OK)
        return target;
    complain("the lock could not be opened", status);
    free(target);
    return NULL;
}

void target_close(struct target *target)
{
    stile_lock_close(target->lock);
    stile_rlock_close(target->rlock);
    free(target);
}

stile_status target_inspect(struct target *target, stile_lock_info *info)
{
    return target->rlock != NULL ? stile_rlock_inspect(target->rlock, info)
                                 : stile_lock_inspect(target->lock, info);
}

stile_status target_force_release(struct target *target)
{
    return target->rlock != NULL ? stile_rlock_force_release(target->rlock)
                                 : stile_lock_force_release(target->lock);
}

void print_party(FILE *to, const stile_party *party)
{
    if (*party->host == '\0' && party->pid == 0 && *party->label == '\0') {
        (void)fputs("somebody who did not say who it is", to);
        return;
    }
    print_text(to, *party->host == '\0' ? "unknown host" : party->host);
    if (party->pid != 0)
        fprintf(to, " pid %" PRId64, party->pid);
    if (party->thread != 0 && party->thread != party->pid)
        fprintf(to, " thread %" PRId64, party->thread);
    if (*party->label != '\0') {
        (void)fputc(' ', to);
        print_quoted(to, party->label);
    }
}

void print_party_json(FILE *to, const stile_party *party)
{
    (void)fputs("{\"host\": ", to);
    print_json(to, party->host);
    (void)fputs(", \"label\": ", to);
    print_json(to, party->label);
    fprintf(to, ", \"pid\": %" PRId64 ", \"thread\": %" PRId64 ", \"since_ms\": %" PRId64 "}",
            party->pid, party->thread, party->since_ms);
}

void print_info_json(FILE *to, const char *kind, const char *name, const stile_lock_info *info)
{
    size_t i;

    fprintf(to, "{\"kind\": \"%s\", \"name\": ", kind);
    print_json(to, name);
    fprintf(to, ", \"held\": %s, \"fence\": %" PRIu64, info->held ? "true" : "false", info->fence);
    if (info->held) {
        (void)fputs(", \"holder\": ", to);
        print_party_json(to, &info->holder);
        /* -1: it has no end. */
        fprintf(to, ", \"lease_ms\": %" PRId64, info->lease_ms);
    }
    fprintf(to, ", \"waiters\": %zu, \"queue\": [", info->waiters);
    for (i = 0; i < info->listed; i++) {
        (void)fputs(i > 0 ? ", " : "", to);
        print_party_json(to, &info->queue[i]);
    }
    (void)fputs("]}", to);
}
