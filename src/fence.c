#include <stile/fence.h>

bool stile_fence_check(uint64_t *highest, uint64_t fence)
{
    if (fence == 0 || fence < *highest)
        return false;
    *highest = fence;
    return true;
}
