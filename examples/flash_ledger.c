#define _DEFAULT_SOURCE
#include "flash_ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The last line: what comes before it is complete. */
#define END "end\n"

static bool format_path(char *out, size_t size, const char *stock_path, unsigned part,
                        unsigned parts)
{
    int length = snprintf(out, size, "%s.sold-%u-of-%u", stock_path, part, parts);

    return length > 0 && (size_t)length < size;
}

int flash_ledger_claim(const char *stock_path, unsigned part, unsigned parts)
{
    char path[4096];
    int fd = -1;

    if (!format_path(path, sizeof(path), stock_path, part, parts))
        errno = ENAMETOOLONG;
    else
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        fprintf(stderr, "flash_sale: %s is there: this part was sold before; use a new --stock\n",
                path);
    else if (fd < 0)
        fprintf(stderr, "flash_sale: the ledger could not be made: %s\n", strerror(errno));
    return fd;
}

bool flash_ledger_write(int fd, const struct flash_data *data, const unsigned *sold)
{
    bool good = true;

    for (size_t i = 0; good && i < data->product_count; i++)
        good = dprintf(fd, "%s %u\n", data->products[i].name, sold[i]) > 0;
    good = good && dprintf(fd, END) > 0;
    if (!good)
        fprintf(stderr, "flash_sale: the ledger could not be written: %s\n", strerror(errno));
    return good;
}

static bool add_part(const char *path, const struct flash_data *data, unsigned *sold)
{
    char line[64] = "";
    FILE *file = fopen(path, "r");

    if (file == NULL)
        return false;
    for (size_t i = 0; i < data->product_count && fgets(line, sizeof(line), file) != NULL; i++) {
        char name[FLASH_NAME_MAX + 1];
        unsigned units;

        if (sscanf(line, "%20s %8u", name, &units) == 2 &&
            strcmp(name, data->products[i].name) == 0)
            sold[i] += units;
    }
    if (fgets(line, sizeof(line), file) == NULL)
        line[0] = '\0';
    (void)fclose(file);
    return strcmp(line, END) == 0;
}

bool flash_ledger_sum(const char *stock_path, unsigned parts, const struct flash_data *data,
                      unsigned *sold)
{
    char path[4096];

    memset(sold, 0, data->product_count * sizeof(*sold));
    for (unsigned part = 1; part <= parts; part++) {
        if (!format_path(path, sizeof(path), stock_path, part, parts) ||
            !add_part(path, data, sold))
            return false;
    }
    return true;
}
