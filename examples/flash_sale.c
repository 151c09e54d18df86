/*
 * A flash sale: thousands of orders, far fewer goods, many sellers at once.
 *
 *     flash_sale                                        8 threads, local:
 *     flash_sale --url redis://host:6379/0 --processes 4
 *     flash_sale --no-lock                              watch it oversell
 *
 * Each product has a lock of its own.  A seller takes the lock, looks at the
 * stock, takes the payment, writes the stock down and gives the lock back.  When
 * all orders are settled the program adds up what the sellers say they sold and
 * compares it with the stock that is left: exit status 0 when it agrees, 1 when
 * something was sold twice, 2 when the sale could not be held.
 *
 * The stock is a file (flash_stock.c) whether the sellers are threads or
 * processes.  Only the URL decides who shares the locks.
 *
 * Processes that are started one by one take a part of the orders each and sell
 * from one stock file:
 *
 *     flash_sale --url redis://host/ --stock /srv/stock.txt --part 1/2
 *     flash_sale --url redis://host/ --stock /srv/stock.txt --part 2/2
 */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <stile/stile.h>

#include "flash_ledger.h"
#include "flash_sale.h"
#include "flash_stock.h"

#define ACQUIRE_MS 10000

/* One process: the sellers of it share a space and its locks. */
struct shop {
    const struct sale *sale;
    stile *space;
    stile_lock *locks[FLASH_PRODUCTS_MAX];
};

struct seller {
    const struct shop *shop;
    size_t first; /* order; then every stride-th */
    size_t stride;
    bool done;
    pthread_t thread;
};

static int64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* To be called before anything else is asked of stile: the detail is that of the
 * thread's last call. */
static void complain(const char *what, stile_status status)
{
    const char *detail = stile_error_detail();

    fprintf(stderr, "flash_sale: %s: %s %s%s%s\n", what, stile_status_name(status),
            stile_status_text(status), detail[0] == '\0' ? "" : ": ", detail);
}

/* Selling. */

/* The payment: with the lock held or not, others can run in this time. */
static void take_payment(unsigned us)
{
    struct timespec left = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};

    if (us == 0)
        (void)sched_yield();
    else
        while (nanosleep(&left, &left) != 0 && errno == EINTR)
            continue;
}

/* What the lock protects.  Without one, lock and hold are NULL. */
static enum settled sell_locked(const struct sale *sale, const struct flash_order *order,
                                stile_lock *lock, const stile_hold *hold)
{
    unsigned left;

    if (!flash_stock_read(sale->stock, order->product, &left))
        return UNSETTLED;
    if (left < order->quantity)
        return SOLD_OUT;
    take_payment(sale->plan.section_us);
    if (lock != NULL && stile_lock_check(lock, hold, NULL) != STILE_OK)
        return STALE;
    switch (flash_stock_write(sale->stock, order->product, left - order->quantity,
                              hold == NULL ? FLASH_UNFENCED : hold->fence)) {
    case FLASH_WRITTEN: return SOLD;
    case FLASH_STALE: return STALE;
    case FLASH_BROKEN: break;
    }
    return UNSETTLED;
}

static void sell(const struct shop *shop, const struct flash_order *order, struct outcome *outcome)
{
    stile_lock *lock = shop->locks[order->product];
    stile_hold hold;
    stile_status status;
    int64_t before;

    if (lock == NULL) {
        outcome->settled = sell_locked(shop->sale, order, NULL, NULL);
        return;
    }
    before = now_ns();
    status = stile_lock_acquire(lock, ACQUIRE_MS, &hold);
    outcome->wait_ns = now_ns() - before;
    if (status != STILE_OK) {
        complain("a lock could not be had", status);
        return;
    }
    outcome->settled = sell_locked(shop->sale, order, lock, &hold);

    /* Whatever it answers, the hold is over, and the sale stands: the stock file
     * took the write with this fence. */
    status = stile_lock_release(lock, &hold);
    if (status != STILE_OK)
        complain("a lock could not be given back", status);
}

/* Goes home at the first order that cannot be settled. */
static void *run_seller(void *argument)
{
    struct seller *seller = argument;
    const struct sale *sale = seller->shop->sale;

    seller->done = true;
    for (size_t i = seller->first; seller->done && i < sale->data.order_count;
         i += seller->stride) {
        sell(seller->shop, &sale->data.orders[i], &sale->outcomes[i]);
        seller->done = sale->outcomes[i].settled != UNSETTLED;
    }
    return NULL;
}

/* One process. */

static void close_shop(struct shop *shop)
{
    for (size_t i = 0; i < shop->sale->data.product_count; i++)
        stile_lock_close(shop->locks[i]);
    stile_close(shop->space);
}

static bool open_shop(struct shop *shop, const struct sale *sale)
{
    stile_status status;

    memset(shop, 0, sizeof(*shop));
    shop->sale = sale;
    if (!sale->plan.locked)
        return true;
    status = stile_open(sale->plan.url, NULL, &shop->space);
    if (status != STILE_OK) {
        complain("the space could not be opened", status);
        return false;
    }
    for (size_t i = 0; i < sale->data.product_count; i++) {
        char name[sizeof("flash_sale/") + FLASH_NAME_MAX];

        (void)snprintf(name, sizeof(name), "flash_sale/%s", sale->data.products[i].name);
        status = stile_lock_open(shop->space, name, NULL, &shop->locks[i]);
        if (status != STILE_OK) {
            complain("a lock could not be opened", status);
            close_shop(shop);
            return false;
        }
    }
    return true;
}

/* Sells the share of process 0 .. processes - 1.  The sellers of all parts and
 * processes are numbered through; seller n of s takes the orders n, n + s, ... */
static bool run_process(const struct sale *sale, unsigned process)
{
    const struct flash_plan *plan = &sale->plan;
    struct seller sellers[FLASH_THREADS_MAX];
    struct shop shop;
    unsigned started = 0;
    bool done;

    if (!open_shop(&shop, sale))
        return false;
    sale->spans[process].begin_ns = now_ns();
    while (started < plan->threads) {
        struct seller *seller = &sellers[started];

        seller->shop = &shop;
        seller->stride = (size_t)plan->parts * plan->processes * plan->threads;
        seller->first = ((plan->part - 1) * plan->processes + process) * plan->threads + started;
        if (pthread_create(&seller->thread, NULL, run_seller, seller) != 0)
            break;
        started++;
    }
    done = started == plan->threads;
    if (!done)
        fprintf(stderr, "flash_sale: a thread could not be started\n");
    for (unsigned i = 0; i < started; i++) {
        (void)pthread_join(sellers[i].thread, NULL);
        done = done && sellers[i].done;
    }
    sale->spans[process].end_ns = now_ns();
    close_shop(&shop);
    return done;
}

/* The children open a space each: what a fork inherits of one is of no use. */
static bool run_children(const struct sale *sale)
{
    pid_t children[FLASH_PROCESSES_MAX];
    unsigned started = 0;
    bool done;

    (void)fflush(stdout);
    while (started < sale->plan.processes) {
        pid_t child = fork();

        if (child == 0)
            _exit(run_process(sale, started) ? EXIT_SUCCESS : EXIT_FAILURE);
        if (child < 0)
            break;
        children[started++] = child;
    }
    done = started == sale->plan.processes;
    if (!done)
        fprintf(stderr, "flash_sale: a process could not be started: %s\n", strerror(errno));
    for (unsigned i = 0; i < started; i++) {
        int status = 0;
        pid_t ended;

        do
            ended = waitpid(children[i], &status, 0);
        while (ended < 0 && errno == EINTR);
        done = done && ended == children[i] && WIFEXITED(status) &&
               WEXITSTATUS(status) == EXIT_SUCCESS;
    }
    return done;
}

/* The whole. */

static void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static enum exit_status hold_sale(struct sale *sale)
{
    const struct flash_plan *plan = &sale->plan;
    enum exit_status result;
    bool done;

    printf("%zu orders for %zu products; part %u of %u; %u process%s of %u thread%s; %s\n",
           sale->data.order_count, sale->data.product_count, plan->part, plan->parts,
           plan->processes, plan->processes == 1 ? "" : "es", plan->threads,
           plan->threads == 1 ? "" : "s", plan->locked ? "a lock for each product" : "NO LOCKS");
    done = plan->processes == 1 ? run_process(sale, 0) : run_children(sale);
    result = flash_report(sale);
    if (!done && result == SOUND) {
        fprintf(stderr, "flash_sale: not all orders could be settled\n");
        result = FAILED;
    }
    return result;
}

static enum exit_status run(struct sale *sale)
{
    const struct flash_plan *plan = &sale->plan;
    enum exit_status result = FAILED;
    size_t outcomes_size;
    size_t spans_size = plan->processes * sizeof(*sale->spans);

    if (!flash_data_read(&sale->data, plan->goods_path, plan->orders_path))
        return FAILED;
    if (sale->data.order_count == 0) {
        fprintf(stderr, "flash_sale: there are no orders\n");
        goto no_memory;
    }
    outcomes_size = sale->data.order_count * sizeof(*sale->outcomes);
    sale->outcomes = shared_memory(outcomes_size);
    if (sale->outcomes == NULL) {
        perror("flash_sale: memory");
        goto no_memory;
    }
    sale->spans = shared_memory(spans_size);
    if (sale->spans == NULL) {
        perror("flash_sale: memory");
        goto no_spans;
    }
    sale->stock = flash_stock_open(plan->stock_path, &sale->data, plan->parts);
    if (sale->stock < 0)
        goto no_stock;
    sale->ledger = -1;
    if (plan->stock_path != NULL) {
        sale->ledger = flash_ledger_claim(plan->stock_path, plan->part, plan->parts);
        if (sale->ledger < 0)
            goto no_ledger;
    }

    result = hold_sale(sale);

    if (sale->ledger >= 0)
        (void)close(sale->ledger);
no_ledger:
    (void)close(sale->stock);
no_stock:
    (void)munmap(sale->spans, spans_size);
no_spans:
    (void)munmap(sale->outcomes, outcomes_size);
no_memory:
    flash_data_fini(&sale->data);
    return result;
}

int main(int argc, char **argv)
{
    struct sale sale = {0};
    enum exit_status result;

    if (!flash_plan_parse(&sale.plan, argc, argv))
        return FAILED;
    result = run(&sale);
    if (result == SOUND && sale.plan.locked && flash_plan_is_local(&sale.plan))
        printf("\nThe same from several processes, which share the locks of one Redis:\n"
               "    %s --url redis://127.0.0.1:6379/0 --processes 4\n",
               argv[0]);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("flash_sale: the output could not be written");
        return FAILED;
    }
    return (int)result;
}
