/*
 * Flaws of servers that matter to who runs one for stile: every user of stile may
 * run Lua scripts.  From the release notes of Redis and Valkey, as of the summer of
 * 2026; a new one is a new row here.
 */
#include "doctor.h"

#include <stdio.h>

#define V(major, minor, patch) ((major)*10000 + (minor)*100 + (patch))

static const struct flaw flaws[] = {
    {"CVE-2025-49844, CVE-2025-46817, CVE-2025-46818, CVE-2025-46819",
     "a Lua script can run code on the server, or act as another user",
     true,
     V(2, 6, 0),
     {V(6, 2, 20), V(7, 2, 11), V(7, 4, 6), V(8, 0, 4), V(8, 2, 2)},
     {V(7, 2, 11), V(8, 0, 6), V(8, 1, 4)}},
    {"CVE-2024-46981",
     "a Lua script can run code on the server",
     true,
     V(2, 6, 0),
     {V(6, 2, 17), V(7, 2, 7), V(7, 4, 2)},
     {V(7, 2, 8), V(8, 0, 2)}},
    {"CVE-2024-31449, CVE-2024-31228",
     "a Lua script can run code on the server, a long pattern can crash it",
     true,
     V(2, 6, 0),
     {V(6, 2, 16), V(7, 2, 6), V(7, 4, 1)},
     {V(7, 2, 7), V(8, 0, 1)}},
    {"CVE-2022-24834",
     "a Lua script can run code on the server",
     true,
     V(2, 6, 0),
     {V(6, 0, 20), V(6, 2, 13), V(7, 0, 12)},
     {0}},
    {"CVE-2022-24735, CVE-2022-24736",
     "a Lua script can act as another user, or crash the server",
     true,
     V(2, 6, 0),
     {V(6, 2, 7), V(7, 0, 0)},
     {0}},
    {"CVE-2025-67733",
     "a Lua script can put words into replies to others on the same connection",
     true,
     V(7, 2, 0),
     {0},
     {V(7, 2, 12), V(8, 0, 7), V(8, 1, 6), V(9, 0, 2)}},
    {"CVE-2026-23631",
     "a Lua script can run code on a replica that takes writes",
     false,
     V(7, 0, 0),
     {V(7, 4, 9), V(8, 2, 6), V(8, 4, 3), V(8, 6, 3)},
     {V(7, 2, 13), V(8, 0, 9), V(8, 1, 7), V(9, 0, 4)}},
    {"CVE-2026-23479, CVE-2026-25243",
     "a user can run code on the server with blocking commands or RESTORE",
     false,
     V(7, 2, 0),
     {V(7, 4, 9), V(8, 2, 6), V(8, 4, 3), V(8, 6, 3)},
     {V(7, 2, 13), V(8, 0, 9), V(8, 1, 7), V(9, 0, 4)}},
    {"CVE-2026-81934",
     "where it serves TLS, anybody can run code on the server",
     false,
     V(8, 2, 0),
     {V(8, 2, 9), V(8, 4, 6), V(8, 6, 6), V(8, 8, 2), V(8, 10, 1)},
     {0}},
    {"CVE-2026-56684, CVE-2026-63639",
     "a user can run code on the server with CLIENT KILL over TLS, or a crafted stream",
     false,
     V(8, 0, 0),
     {0},
     {V(8, 0, 10), V(8, 1, 9), V(9, 0, 5), V(9, 1, 1)}},
    {"CVE-2025-32023, CVE-2025-48367",
     "a user can run code on the server with HyperLogLog commands; failing connections starve it",
     false,
     V(2, 8, 0),
     {V(6, 2, 19), V(7, 2, 10), V(7, 4, 5), V(8, 0, 3)},
     {V(7, 2, 10), V(8, 0, 4), V(8, 1, 3)}},
    {"CVE-2025-21605",
     "who has no password can fill the server's memory",
     false,
     V(2, 6, 0),
     {V(6, 2, 18), V(7, 2, 8), V(7, 4, 3)},
     {V(7, 2, 9), V(8, 0, 3), V(8, 1, 1)}},
};

int version_number(const char *text)
{
    int major, minor, patch;

    if (sscanf(text, "%3d.%2d.%2d", &major, &minor, &patch) != 3)
        return 0;
    return V(major, minor, patch);
}

/* Whether a version has a flaw that these ended. */
static bool is_affected(const int *ends, int version, int *fixed, int *above)
{
    *fixed = 0;
    *above = 0;
    for (; *ends != 0; ends++) {
        if (*ends / 100 == version / 100) {
            *fixed = *ends;
            return version < *ends;
        }
        if (*ends > version && *above == 0)
            *above = *ends;
    }
    /* Branches above the last were made when it was mended. */
    return *above != 0;
}

const struct flaw *flaw_next(bool valkey, int version, size_t *next, int *fixed, int *above)
{
    while (*next < sizeof(flaws) / sizeof(flaws[0])) {
        const struct flaw *flaw = &flaws[(*next)++];

        if (version >= flaw->since &&
            is_affected(valkey ? flaw->valkey : flaw->redis, version, fixed, above))
            return flaw;
    }
    return NULL;
}
