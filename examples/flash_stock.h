/*
 * The stock: the resource that the locks protect.
 *
 * It is a plain file with one record of fixed size for each product, read and
 * written in place.  Nothing in here keeps two writers apart; that is what each
 * product's lock is for.  What the file does by itself is the fence check: a
 * record remembers the highest fence that wrote it and refuses lower ones.
 */
#ifndef FLASH_STOCK_H
#define FLASH_STOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flash_data.h"

/* The fence of a writer that has no lock: it is not checked. */
#define FLASH_UNFENCED 0

enum flash_written {
    FLASH_WRITTEN,
    FLASH_STALE, /* refused: the record was written with a higher fence */
    FLASH_BROKEN /* the file cannot be used; said on stderr */
};

/*
 * Opens the stock of a sale whose orders are sold in so many parts.
 *
 * path  the file, made and filled if it is not there.  What is there must be of
 *       the same goods and as many parts.  NULL makes one without a name, which
 *       lasts as long as its descriptor.
 *
 * Returns a descriptor, or -1 having said why on stderr.
 */
int flash_stock_open(const char *path, const struct flash_data *data, unsigned parts);

/* Reads how many units are left.  False, having said why, when it cannot. */
bool flash_stock_read(int fd, size_t product, unsigned *left);

/* Writes how many units are left. */
enum flash_written flash_stock_write(int fd, size_t product, unsigned left, uint64_t fence);

#endif
