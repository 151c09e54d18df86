#include "lock_stage.h"

bool lock_stage_init(struct lock_stage *stage, const struct lock_kind *kinds)
{
    for (stage->count = 0; kinds[stage->count].name != NULL; stage->count++) {
        const struct lock_kind *kind = &kinds[stage->count];
        void *lock = kind->create == NULL ? NULL : kind->create();

        if (kind->create != NULL && lock == NULL) {
            lock_stage_fini(stage);
            return false;
        }
        stage->contenders[stage->count] = (struct lock_contender){.kind = kind, .lock = lock};
    }
    return true;
}

void lock_stage_fini(struct lock_stage *stage)
{
    while (stage->count > 0) {
        struct lock_contender *contender = &stage->contenders[--stage->count];

        if (contender->lock != NULL)
            contender->kind->destroy(contender->lock);
    }
}

void lock_stage_cast(struct lock_stage *stage, struct bench_match *match,
                     bool (*run)(void *context, double *values), void *work, double goal)
{
    size_t i;

    for (i = 0; i < stage->count; i++) {
        struct lock_contender *contender = &stage->contenders[i];

        contender->work = work;
        match->contenders[i] = (struct bench_contender){.name = contender->kind->name,
                                                        .run = contender->lock == NULL ? NULL : run,
                                                        .context = contender};
        if (i > 0 && !contender->kind->spins)
            match->rival_count = i;
    }
    /* The first peer is always that of POSIX. */
    match->contenders[1].goal = goal;
    match->contender_count = stage->count;
}
