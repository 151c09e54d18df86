/*
 * A program of somebody else, C and C++ alike: takes a lock and gives it back.
 */
#include <inttypes.h>
#include <stdio.h>

#include <stile/stile.h>

int main(void)
{
    stile *space = NULL;
    stile_lock *lock = NULL;
    stile_hold hold = STILE_HOLD_INIT;
    int failed = 1;

    if (stile_version() != STILE_VERSION_NUMBER) {
        fprintf(stderr, "header %d, library %d\n", STILE_VERSION_NUMBER, stile_version());
        return 1;
    }
    if (stile_open("local:", NULL, &space) == STILE_OK &&
        stile_lock_open(space, "outside", NULL, &lock) == STILE_OK &&
        stile_lock_acquire(lock, 0, &hold) == STILE_OK &&
        stile_lock_release(lock, &hold) == STILE_OK) {
        printf("held with fence %" PRIu64 "\n", hold.fence);
        failed = 0;
    }
    stile_lock_close(lock);
    stile_close(space);
    return failed;
}
