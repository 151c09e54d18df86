/*
 * Makes up the data of the flash sale: no customer and no product is real.
 *
 *     make_orders stock > examples/data/stock.csv
 *     make_orders orders > examples/data/orders.csv
 *     make_orders orders --seed 7 --orders 100000 > many.csv
 *
 * The same seed gives the same bytes on every machine: whole numbers only, and
 * the generator is written out below.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SEED 20240529
#define DEFAULT_ORDERS 4000
#define CUSTOMERS 1500

/* Of 1000 orders, `share` are for the product.  With 4000 orders of 1.6 units
 * each, all but the last two have more takers than units. */
static const struct {
    const char *name;
    unsigned units;
    unsigned share;
} products[] = {
    {"kettle", 250, 180},      {"desk-lamp", 300, 150}, {"rucksack", 120, 120},
    {"headphones", 60, 110},   {"umbrella", 400, 90},   {"chess-set", 25, 80},
    {"bicycle-pump", 150, 70}, {"hammock", 90, 60},     {"sewing-box", 200, 50},
    {"telescope", 5, 40},      {"tea-towel", 1000, 30}, {"door-mat", 500, 20},
};

#define PRODUCTS (sizeof(products) / sizeof(products[0]))

/* SplitMix64: a counter, and a mixing of its bits. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 .. below - 1.  The remainder favours small numbers by less than 1 in 2^50. */
static unsigned pick(uint64_t *state, unsigned below)
{
    return (unsigned)(next_random(state) % below);
}

static const char *pick_product(uint64_t *state)
{
    unsigned drawn = pick(state, 1000);
    size_t i = 0;

    while (i + 1 < PRODUCTS && drawn >= products[i].share)
        drawn -= products[i++].share;
    return products[i].name;
}

static unsigned pick_quantity(uint64_t *state)
{
    unsigned drawn = pick(state, 100);

    if (drawn < 60)
        return 1;
    if (drawn < 85)
        return 2;
    return drawn < 95 ? 3 : 4;
}

static void print_stock(void)
{
    printf("# Made up by examples/make_orders.c; nothing in it is real.\n");
    printf("product,units\n");
    for (size_t i = 0; i < PRODUCTS; i++)
        printf("%s,%u\n", products[i].name, products[i].units);
}

/* The rush is densest when the doors open: the gaps grow with each order. */
static void print_orders(uint64_t seed, uint64_t orders)
{
    uint64_t state = seed;
    uint64_t at_ms = 0;

    printf("# Made up by examples/make_orders.c --seed %" PRIu64 " --orders %" PRIu64
           "; nothing in it is real.\n",
           seed, orders);
    printf("# time is in seconds since the sale was opened.\n");
    printf("time,customer,product,quantity\n");
    for (uint64_t i = 0; i < orders; i++) {
        unsigned customer;
        const char *product;

        at_ms += pick(&state, 3 + (unsigned)(i / 200 % 1000));
        customer = 1 + pick(&state, CUSTOMERS);
        product = pick_product(&state);
        printf("%" PRIu64 ".%03u,c%04u,%s,%u\n", at_ms / 1000, (unsigned)(at_ms % 1000), customer,
               product, pick_quantity(&state));
    }
}

static bool parse_number(const char *text, uint64_t *out)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return false;
    *out = value;
    return true;
}

int main(int argc, char **argv)
{
    uint64_t seed = DEFAULT_SEED;
    uint64_t orders = DEFAULT_ORDERS;
    bool usable = argc >= 2 && argc % 2 == 0;

    for (int i = 2; usable && i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            usable = parse_number(argv[i + 1], &seed);
        else if (strcmp(argv[i], "--orders") == 0)
            usable = parse_number(argv[i + 1], &orders);
        else
            usable = false;
    }
    if (usable && strcmp(argv[1], "stock") == 0)
        print_stock();
    else if (usable && strcmp(argv[1], "orders") == 0)
        print_orders(seed, orders);
    else {
        fprintf(stderr, "usage: make_orders stock | orders [--seed N] [--orders N]\n");
        return 2;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("make_orders: the output could not be written");
        return 2;
    }
    return 0;
}
