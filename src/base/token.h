/*
 * Tokens: a hold as a text, for whoever is to adopt it.  Version, two numbers that are
 * the backend's, the fence, and a check over these and the lock that it is of, so that
 * a token of another lock is told from one of this.
 */
#ifndef STILE_BASE_TOKEN_H
#define STILE_BASE_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stile/lock.h>

struct stile_token {
    uint64_t id[2];
    uint64_t fence;
};

/* lock: bytes that are the lock's alone, the same wherever it is adopted. */
void stile__token_write(const struct stile_token *token, const char *lock, size_t length,
                        char text[STILE_TOKEN_SIZE]);
/* STILE_OK, or STILE_INVALID with a sentence that does not have the text in it. */
stile_status stile__token_read(const char *text, const char *lock, size_t length,
                               struct stile_token *token);

#endif
