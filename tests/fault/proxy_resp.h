/*
 * RESP2 in a buffer, as the fault proxy reads it.
 */
#ifndef TEST_PROXY_RESP_H
#define TEST_PROXY_RESP_H

#include <stdbool.h>
#include <stddef.h>

/* Part of a buffer; ends with its length. */
struct text {
    const char *bytes;
    size_t length;
};

bool proxy_text_is(struct text text, const char *word); /* any case */
bool proxy_text_has(struct text text, const char *part);

/* Bytes of the value that data starts with; 0 while part of it is missing, -1 if
 * it is none.  depth: 0. */
ptrdiff_t proxy_resp_size(const char *data, size_t length, unsigned depth);

/* The others are for a value that is complete. */

/* Elements of an array, -1 if it is something else or nil; *at is then where the
 * first one starts. */
long long proxy_resp_array(const char *value, const char **at);

/* Reads the element at *at and moves on: a string's bytes, else the line without
 * its type.  Arrays are not looked into. */
struct text proxy_resp_next(const char **at);

/* Whether it is what a client may send: an array of strings, at least one. */
bool proxy_resp_is_request(const char *value);

#endif
