/*
 * What the flash sale is about: the products and the orders, read from two CSV
 * files.
 */
#ifndef FLASH_DATA_H
#define FLASH_DATA_H

#include <stdbool.h>
#include <stddef.h>

#define FLASH_PRODUCTS_MAX 64
#define FLASH_NAME_MAX 20

struct flash_product {
    char name[FLASH_NAME_MAX + 1];
    unsigned units; /* in stock when the sale is opened */
};

struct flash_order {
    unsigned product; /* index into products */
    unsigned quantity;
};

struct flash_data {
    struct flash_product products[FLASH_PRODUCTS_MAX];
    size_t product_count;
    struct flash_order *orders;
    size_t order_count;
};

/*
 * Reads both files.  Returns false, having said why on stderr, when one cannot
 * be read or has a line that is wrong; data then owns nothing.
 */
bool flash_data_read(struct flash_data *data, const char *goods_path, const char *orders_path);

void flash_data_fini(struct flash_data *data);

#endif
