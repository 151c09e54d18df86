/*
 * What processes that were started one by one have sold: one ledger for each
 * part of the orders, beside the stock file.
 *
 * A process writes its ledger when it has sold, and reads the others' only
 * then.  So the last one finds all of them complete and can do the sum.
 */
#ifndef FLASH_LEDGER_H
#define FLASH_LEDGER_H

#include <stdbool.h>

#include "flash_data.h"

/*
 * Claims a part for this process: makes its ledger, still empty.
 *
 * Returns a descriptor, or -1 having said why on stderr; above all when the part
 * was claimed before.
 */
int flash_ledger_claim(const char *stock_path, unsigned part, unsigned parts);

/* Writes the units sold of each product, and that this is all. */
bool flash_ledger_write(int fd, const struct flash_data *data, const unsigned *sold);

/* Sums up the ledgers of all parts.  False, without a word, when one is missing
 * or not complete. */
bool flash_ledger_sum(const char *stock_path, unsigned parts, const struct flash_data *data,
                      unsigned *sold);

#endif
