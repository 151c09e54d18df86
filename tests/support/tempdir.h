/*
 * A directory of a test's own, for sockets and servers' files.
 */
#ifndef TEST_TEMPDIR_H
#define TEST_TEMPDIR_H

#include <stdbool.h>

/* Short enough that "<dir>/redis.sock" fits the path of a unix socket. */
#define TEST_TEMPDIR_SIZE 88

/*
 * Makes a new empty directory below $TMPDIR, or below /tmp where that is unset
 * or too long, and writes its path.  False, with a sentence on stderr, if that
 * cannot be done.
 */
bool test_tempdir_make(char path[TEST_TEMPDIR_SIZE]);

/* Removes it with all that is in it. */
void test_tempdir_remove(const char *path);

#endif
