#define _DEFAULT_SOURCE
#include "flash_data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes one line of a file; false when it is wrong. */
typedef bool line_reader(struct flash_data *data, const char *line);

static size_t find_product(const struct flash_data *data, const char *name)
{
    size_t i = 0;

    while (i < data->product_count && strcmp(data->products[i].name, name) != 0)
        i++;
    return i;
}

/* product,units */
static bool read_product(struct flash_data *data, const char *line)
{
    struct flash_product product;
    char end;

    if (sscanf(line, "%20[^, \n],%6u%c", product.name, &product.units, &end) != 3 || end != '\n')
        return false;
    if (data->product_count == FLASH_PRODUCTS_MAX ||
        find_product(data, product.name) < data->product_count)
        return false;
    data->products[data->product_count++] = product;
    return true;
}

/* time,customer,product,quantity: the sale goes by the order of the lines, and
 * does not care who buys. */
static bool read_order(struct flash_data *data, const char *line)
{
    char name[FLASH_NAME_MAX + 1];
    struct flash_order order;
    size_t product;
    char end;

    if (sscanf(line, "%*[0-9.],%*[^,\n],%20[^,\n],%4u%c", name, &order.quantity, &end) != 3 ||
        end != '\n' || order.quantity == 0)
        return false;
    product = find_product(data, name);
    if (product == data->product_count)
        return false;
    order.product = (unsigned)product;

    /* A power of two is full: make room for as many again. */
    if ((data->order_count & (data->order_count - 1)) == 0) {
        size_t room = data->order_count == 0 ? 1 : 2 * data->order_count;
        struct flash_order *orders = realloc(data->orders, room * sizeof(*orders));

        if (orders == NULL)
            return false;
        data->orders = orders;
    }
    data->orders[data->order_count++] = order;
    return true;
}

/* Gives every line to the reader but comments and the first of the others,
 * which names the columns. */
static bool read_lines(struct flash_data *data, const char *path, line_reader *read_line)
{
    char line[128];
    unsigned long number = 0;
    bool named = false;
    bool good = true;
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        fprintf(stderr, "flash_sale: %s: %s\n", path, strerror(errno));
        return false;
    }
    while (good && fgets(line, sizeof(line), file) != NULL) {
        number++;
        if (line[0] == '#')
            continue;
        if (named)
            good = read_line(data, line);
        named = true;
    }
    if (!good)
        fprintf(stderr, "flash_sale: %s: line %lu cannot be used\n", path, number);
    else if (ferror(file)) {
        fprintf(stderr, "flash_sale: %s could not be read\n", path);
        good = false;
    }
    (void)fclose(file);
    return good;
}

bool flash_data_read(struct flash_data *data, const char *goods_path, const char *orders_path)
{
    memset(data, 0, sizeof(*data));
    if (read_lines(data, goods_path, read_product) && read_lines(data, orders_path, read_order))
        return true;
    flash_data_fini(data);
    return false;
}

void flash_data_fini(struct flash_data *data)
{
    free(data->orders);
    data->orders = NULL;
    data->order_count = 0;
}
