#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <stile/stile.h>

static void must(stile_status status)
{
    if (status != STILE_OK) {
        fprintf(stderr, "%s %s\n", stile_status_text(status), stile_error_detail());
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    stile *space;
    stile_lock *lock;
    stile_hold hold;

    must(stile_open(argc > 1 ? argv[1] : NULL, NULL, &space));
    must(stile_lock_open(space, "report", NULL, &lock));
    must(stile_lock_acquire(lock, 5000, &hold));
    printf("held with fence %" PRIu64 "\n", hold.fence);
    must(stile_lock_release(lock, &hold));
    stile_lock_close(lock);
    stile_close(space);
}
