#include "support/tempdir.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_below(const char *parent, char path[TEST_TEMPDIR_SIZE])
{
    int length = snprintf(path, TEST_TEMPDIR_SIZE, "%s/test-XXXXXX", parent);

    if (length < 0 || length >= TEST_TEMPDIR_SIZE) {
        errno = ENAMETOOLONG;
        return false;
    }
    return mkdtemp(path) != NULL;
}

bool test_tempdir_make(char path[TEST_TEMPDIR_SIZE])
{
    const char *parent = getenv("TMPDIR");

    if (parent != NULL && parent[0] == '/' && make_below(parent, path))
        return true;
    if (make_below("/tmp", path))
        return true;
    fprintf(stderr, "No temporary directory can be made: %s\n", strerror(errno));
    return false;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

void test_tempdir_remove(const char *path)
{
    if (nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        fprintf(stderr, "%s cannot be removed: %s\n", path, strerror(errno));
}
