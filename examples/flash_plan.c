#define _DEFAULT_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flash_sale.h"

bool flash_plan_is_local(const struct flash_plan *plan)
{
    const char *url = plan->url;

    if (url == NULL || url[0] == '\0')
        url = getenv("STILE_URL");
    return url == NULL || url[0] == '\0' || strncmp(url, "local:", strlen("local:")) == 0;
}

static bool parse_number(const char *text, unsigned least, unsigned most, unsigned *out)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value < least || value > most)
        return false;
    *out = (unsigned)value;
    return true;
}

/* K/M */
static bool parse_part(const char *text, struct flash_plan *plan)
{
    char end;

    return sscanf(text, "%4u/%4u%c", &plan->part, &plan->parts, &end) == 2 && plan->part >= 1 &&
           plan->part <= plan->parts && plan->parts <= FLASH_PARTS_MAX;
}

bool flash_plan_parse(struct flash_plan *plan, int argc, char **argv)
{
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'},        {"threads", required_argument, NULL, 't'},
        {"processes", required_argument, NULL, 'p'},  {"orders", required_argument, NULL, 'o'},
        {"goods", required_argument, NULL, 'g'},      {"stock", required_argument, NULL, 's'},
        {"part", required_argument, NULL, 'k'},       {"no-lock", no_argument, NULL, 'n'},
        {"section-us", required_argument, NULL, 'm'}, {NULL, 0, NULL, 0},
    };
    bool good = true;
    int option;

    *plan = (struct flash_plan){.orders_path = "examples/data/orders.csv",
                                .goods_path = "examples/data/stock.csv",
                                .threads = 8,
                                .processes = 1,
                                .part = 1,
                                .parts = 1,
                                .section_us = 30,
                                .locked = true};

    while (good && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'u': plan->url = optarg; break;
        case 't': good = parse_number(optarg, 1, FLASH_THREADS_MAX, &plan->threads); break;
        case 'p': good = parse_number(optarg, 1, FLASH_PROCESSES_MAX, &plan->processes); break;
        case 'o': plan->orders_path = optarg; break;
        case 'g': plan->goods_path = optarg; break;
        case 's': plan->stock_path = optarg; break;
        case 'k': good = parse_part(optarg, plan); break;
        case 'n': plan->locked = false; break;
        case 'm': good = parse_number(optarg, 0, 1000000, &plan->section_us); break;
        default: good = false; break;
        }
    }
    if (!good || optind != argc) {
        fprintf(stderr, "usage: flash_sale [--url URL] [--threads N] [--processes P]\n"
                        "           [--orders FILE] [--goods FILE] [--stock FILE [--part K/M]]\n"
                        "           [--section-us N] [--no-lock]\n");
        return false;
    }
    if (plan->parts > 1 && plan->stock_path == NULL) {
        fprintf(stderr, "flash_sale: --part needs the --stock that the parts share\n");
        return false;
    }
    /* A file: URL that says local: gets past this, and is found out by the sum. */
    if (plan->locked && flash_plan_is_local(plan) && (plan->processes > 1 || plan->parts > 1)) {
        fprintf(stderr, "flash_sale: a lock of local: is one process's own; to sell from several, "
                        "give --url redis://...\n");
        return false;
    }
    return true;
}
