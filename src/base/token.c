#include "base/token.h"

#include <string.h>

#include "base/error.h"

static const char version[] = "stile1";

enum { FIELDS = 4, FIELD = 17 /* a dot, and a number in hex */ };

/* FNV-1a: against mistakes, not against attackers, who have the token. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    size_t i;

    for (i = 0; i < length; i++)
        hash = (hash ^ at[i]) * UINT64_C(1099511628211);
    return hash;
}

static uint64_t mix_number(uint64_t hash, uint64_t number)
{
    unsigned char bytes[8];
    int i;

    for (i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    return mix(hash, bytes, sizeof bytes);
}

static uint64_t check_of(const struct stile_token *token, const char *lock, size_t length)
{
    uint64_t hash = mix(UINT64_C(14695981039346656037), lock, length);

    return mix_number(mix_number(mix_number(hash, token->id[0]), token->id[1]), token->fence);
}

static char *write_field(char *at, uint64_t number)
{
    int shift;

    *at++ = '.';
    for (shift = 60; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[number >> shift & 15];
    return at;
}

void stile__token_write(const struct stile_token *token, const char *lock, size_t length,
                        char text[STILE_TOKEN_SIZE])
{
    char *at = text + sizeof version - 1;

    memcpy(text, version, sizeof version - 1);
    at = write_field(at, token->id[0]);
    at = write_field(at, token->id[1]);
    at = write_field(at, token->fence);
    at = write_field(at, check_of(token, lock, length));
    *at = '\0';
}

static bool read_field(const char *at, uint64_t *number)
{
    int i;

    if (*at != '.')
        return false;
    *number = 0;
    for (i = 1; i < FIELD; i++) {
        char c = at[i];

        if (c >= '0' && c <= '9')
            *number = *number << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *number = *number << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    return true;
}

stile_status stile__token_read(const char *text, const char *lock, size_t length,
                               struct stile_token *token)
{
    const size_t before = sizeof version - 1;
    uint64_t fields[FIELDS];
    size_t i;

    if (strnlen(text, STILE_TOKEN_SIZE) != before + (size_t)FIELDS * FIELD ||
        memcmp(text, version, before) != 0)
        return stile__fail(STILE_INVALID, "token is none that stile_lock_give() wrote");
    for (i = 0; i < FIELDS; i++) {
        if (!read_field(text + before + i * (size_t)FIELD, &fields[i]))
            return stile__fail(STILE_INVALID, "token is none that stile_lock_give() wrote");
    }
    token->id[0] = fields[0];
    token->id[1] = fields[1];
    token->fence = fields[2];
    if (fields[3] != check_of(token, lock, length))
        return stile__fail(STILE_INVALID, "token is of another lock, or was changed");
    return STILE_OK;
}
