/*
 * What the parts of the flash sale share: the plan, which the command line
 * makes; the sale, which the sellers fill in; and what comes out of it.
 */
#ifndef FLASH_SALE_H
#define FLASH_SALE_H

#include <stdbool.h>
#include <stdint.h>

#include "flash_data.h"

#define FLASH_THREADS_MAX 256
#define FLASH_PROCESSES_MAX 64
#define FLASH_PARTS_MAX 64

/* SOUND also when the sum is left to another part. */
enum exit_status { SOUND = 0, OVERSOLD = 1, FAILED = 2 };

struct flash_plan {
    const char *url; /* NULL: what STILE_URL says */
    const char *orders_path;
    const char *goods_path;
    const char *stock_path; /* NULL: one for this run alone */
    unsigned threads;       /* of each process */
    unsigned processes;
    unsigned part; /* 1 .. parts: the share of the orders that is sold here */
    unsigned parts;
    unsigned section_us; /* how long a payment takes */
    bool locked;
};

enum settled {
    UNSETTLED = 0, /* as the memory comes */
    SOLD,
    SOLD_OUT,
    STALE /* the lease was over: nothing was written */
};

/* What became of an order.  Written by the one seller it belongs to, read by the
 * process that waits for all of them. */
struct outcome {
    enum settled settled;
    int64_t wait_ns; /* for the lock */
};

struct span {
    int64_t begin_ns;
    int64_t end_ns;
};

struct sale {
    struct flash_plan plan;
    struct flash_data data;
    int stock;
    int ledger; /* -1 without --stock */
    /* Shared with the children. */
    struct outcome *outcomes; /* one for each order */
    struct span *spans;       /* one for each process */
};

/* Makes the plan.  Returns false, having said why on stderr, when the arguments
 * are wrong or contradict each other. */
bool flash_plan_parse(struct flash_plan *plan, int argc, char **argv);

/* Whether the URL says that the locks are this process's own. */
bool flash_plan_is_local(const struct flash_plan *plan);

/* When all sellers have ended: prints what they did, proves that it is sound or
 * shows where it is not. */
enum exit_status flash_report(const struct sale *sale);

#endif
