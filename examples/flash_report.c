#include <stdio.h>
#include <stdlib.h>

#include "flash_ledger.h"
#include "flash_sale.h"
#include "flash_stock.h"

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double rank_us(const int64_t *sorted, size_t count, size_t percent)
{
    return (double)sorted[(count * percent + 99) / 100 - 1] / 1e3;
}

static void print_waits(const struct sale *sale, size_t settled)
{
    int64_t *waits = settled == 0 ? NULL : malloc(settled * sizeof(*waits));
    size_t count = 0;

    if (waits == NULL)
        return;
    for (size_t i = 0; i < sale->data.order_count && count < settled; i++)
        if (sale->outcomes[i].settled != UNSETTLED)
            waits[count++] = sale->outcomes[i].wait_ns;
    qsort(waits, count, sizeof(*waits), compare_ns);
    printf("wait      p50 %.1f us, p95 %.1f us, max %.1f us for a lock\n",
           rank_us(waits, count, 50), rank_us(waits, count, 95), rank_us(waits, count, 100));
    free(waits);
}

static double seconds_of(const struct sale *sale)
{
    int64_t begin = INT64_MAX;
    int64_t end = 0;

    for (unsigned i = 0; i < sale->plan.processes; i++) {
        const struct span *span = &sale->spans[i];

        if (span->end_ns == 0)
            continue;
        begin = span->begin_ns < begin ? span->begin_ns : begin;
        end = span->end_ns > end ? span->end_ns : end;
    }
    return end > begin ? (double)(end - begin) / 1e9 : 0;
}

/* Prints what this process and its children did, and counts the units sold. */
static void print_work(const struct sale *sale, unsigned *sold)
{
    size_t of[STALE + 1] = {0};
    unsigned units = 0;
    double seconds = seconds_of(sale);
    size_t settled;

    for (size_t i = 0; i < sale->data.order_count; i++) {
        const struct flash_order *order = &sale->data.orders[i];

        of[sale->outcomes[i].settled]++;
        if (sale->outcomes[i].settled == SOLD) {
            sold[order->product] += order->quantity;
            units += order->quantity;
        }
    }
    settled = of[SOLD] + of[SOLD_OUT] + of[STALE];
    printf("orders    %zu settled\n", settled);
    printf("sold      %zu orders, %u units\n", of[SOLD], units);
    printf("refused   %zu orders for lack of stock\n", of[SOLD_OUT]);
    if (of[STALE] > 0)
        printf("stale     %zu orders refused because the lease was over\n", of[STALE]);
    if (seconds > 0)
        printf("time      %.3f s, %.0f orders/s\n", seconds, (double)settled / seconds);
    if (sale->plan.locked)
        print_waits(sale, settled);
}

/* What was sold must be what is gone, and never more than there was. */
static enum exit_status prove(const struct sale *sale, const unsigned *sold)
{
    enum exit_status result = SOUND;

    printf("\n%-20s %8s %8s %8s\n", "product", "units", "sold", "left");
    for (size_t i = 0; i < sale->data.product_count; i++) {
        const struct flash_product *product = &sale->data.products[i];
        unsigned left;

        if (!flash_stock_read(sale->stock, i, &left))
            return FAILED;
        printf("%-20s %8u %8u %8u", product->name, product->units, sold[i], left);
        if (sold[i] > product->units)
            printf("  OVERSOLD by %u", sold[i] - product->units);
        else if ((uint64_t)sold[i] + left != product->units)
            printf("  LOST UPDATE");
        if ((uint64_t)sold[i] + left != product->units)
            result = OVERSOLD;
        printf("\n");
    }
    printf(result == SOUND ? "nothing was oversold\n"
                           : "WRONG: what was sold is not what is gone from the stock\n");
    return result;
}

enum exit_status flash_report(const struct sale *sale)
{
    unsigned sold[FLASH_PRODUCTS_MAX] = {0};

    print_work(sale, sold);
    if (sale->ledger >= 0) {
        if (!flash_ledger_write(sale->ledger, &sale->data, sold))
            return FAILED;
        if (!flash_ledger_sum(sale->plan.stock_path, sale->plan.parts, &sale->data, sold)) {
            printf("part %u of %u is sold; the last one does the sum\n", sale->plan.part,
                   sale->plan.parts);
            return SOUND;
        }
    }
    return prove(sale, sold);
}
