/*
 * Marks that the other headers use.  Nothing in here is for callers.
 */
#ifndef STILE_API_H
#define STILE_API_H

#if defined(_WIN32)
#error "stile needs a POSIX system"
#endif

/* What a program may call: visible in the shared library, the rest is not. */
#if defined(__GNUC__)
#define STILE_API __attribute__((visibility("default")))
#define STILE_MUST_CHECK __attribute__((warn_unused_result))
#else
#define STILE_API
#define STILE_MUST_CHECK
#endif

#ifdef __cplusplus
#define STILE_BEGIN_DECLS extern "C" {
#define STILE_END_DECLS }
#else
#define STILE_BEGIN_DECLS
#define STILE_END_DECLS
#endif

#endif
