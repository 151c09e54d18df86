#define _DEFAULT_SOURCE
#include "flash_stock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stile/fence.h>

/* The file is lines of this many bytes: one that says what it is, then the
 * products in the order of the goods. */
#define RECORD 64

struct record {
    char name[FLASH_NAME_MAX + 1];
    unsigned units;
    unsigned left;
    uint64_t fence; /* highest that wrote this record */
};

static off_t position_of(size_t product)
{
    return (off_t)((1 + product) * RECORD);
}

static bool read_line(int fd, off_t at, char line[RECORD + 1])
{
    ssize_t got = pread(fd, line, RECORD, at);

    if (got != RECORD || line[RECORD - 1] != '\n') {
        fprintf(stderr, "flash_sale: the stock could not be read: %s\n",
                got < 0 ? strerror(errno) : "it is not a stock file");
        return false;
    }
    line[RECORD] = '\0';
    return true;
}

static bool write_line(int fd, off_t at, const char line[RECORD + 1])
{
    ssize_t put = pwrite(fd, line, RECORD, at);

    if (put == RECORD)
        return true;
    fprintf(stderr, "flash_sale: the stock could not be written: %s\n",
            put < 0 ? strerror(errno) : "the disk is full");
    return false;
}

static void format_title(char line[RECORD + 1], unsigned parts)
{
    char text[RECORD];

    (void)snprintf(text, sizeof(text), "%u parts; product, units, left, highest fence", parts);
    (void)snprintf(line, RECORD + 1, "%-*s\n", RECORD - 1, text);
}

static bool read_record(int fd, size_t product, struct record *out)
{
    char line[RECORD + 1];

    if (!read_line(fd, position_of(product), line))
        return false;
    if (sscanf(line, "%20s %8u %8u %20" SCNu64, out->name, &out->units, &out->left, &out->fence) ==
        4)
        return true;
    fprintf(stderr, "flash_sale: the stock has a record that cannot be understood\n");
    return false;
}

static bool write_record(int fd, size_t product, const struct record *record)
{
    char line[RECORD + 1];

    (void)snprintf(line, sizeof(line), "%-20s %8u %8u %24" PRIu64 "\n", record->name, record->units,
                   record->left, record->fence);
    return write_line(fd, position_of(product), line);
}

static bool fill(int fd, const struct flash_data *data, unsigned parts)
{
    char title[RECORD + 1];
    bool good;

    format_title(title, parts);
    good = write_line(fd, 0, title);
    for (size_t i = 0; good && i < data->product_count; i++) {
        struct record record = {.units = data->products[i].units, .left = data->products[i].units};

        memcpy(record.name, data->products[i].name, sizeof(record.name));
        good = write_record(fd, i, &record);
    }
    return good;
}

static bool is_of(int fd, const struct flash_data *data, unsigned parts)
{
    char title[RECORD + 1];
    char line[RECORD + 1];
    struct record record;
    bool same;

    format_title(title, parts);
    if (!read_line(fd, 0, line))
        return false;
    same = strcmp(line, title) == 0;
    for (size_t i = 0; same && i < data->product_count; i++) {
        if (!read_record(fd, i, &record))
            return false;
        same = strcmp(record.name, data->products[i].name) == 0 &&
               record.units == data->products[i].units;
    }
    if (!same)
        fprintf(stderr, "flash_sale: the stock file is of other goods or other parts\n");
    return same;
}

/* Makes a filled file under a new name, which is left in path. */
static int make_file(char *path, const struct flash_data *data, unsigned parts)
{
    int fd = mkstemp(path);

    if (fd < 0) {
        fprintf(stderr, "flash_sale: %s: %s\n", path, strerror(errno));
        return -1;
    }
    if (fill(fd, data, parts))
        return fd;
    (void)unlink(path);
    (void)close(fd);
    return -1;
}

static int open_unnamed(const struct flash_data *data, unsigned parts)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int fd;

    if (folder == NULL || folder[0] == '\0')
        folder = "/tmp";
    if (snprintf(path, sizeof(path), "%s/flash_sale.XXXXXX", folder) >= (int)sizeof(path)) {
        fprintf(stderr, "flash_sale: TMPDIR is too long\n");
        return -1;
    }
    fd = make_file(path, data, parts);
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

/* Several processes may do this at once.  link() lets one of them name its file,
 * which is filled by then; the others find it there and open it. */
static bool make_named(const char *path, const struct flash_data *data, unsigned parts)
{
    char draft[4096];
    bool made;
    int fd;

    if (snprintf(draft, sizeof(draft), "%s.XXXXXX", path) >= (int)sizeof(draft)) {
        fprintf(stderr, "flash_sale: the name of the stock file is too long\n");
        return false;
    }
    fd = make_file(draft, data, parts);
    if (fd < 0)
        return false;
    made = link(draft, path) == 0 || errno == EEXIST;
    if (!made)
        fprintf(stderr, "flash_sale: %s: %s\n", path, strerror(errno));
    (void)unlink(draft);
    (void)close(fd);
    return made;
}

int flash_stock_open(const char *path, const struct flash_data *data, unsigned parts)
{
    int fd;

    if (path == NULL)
        return open_unnamed(data, parts);
    if (access(path, F_OK) != 0 && !make_named(path, data, parts))
        return -1;
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fprintf(stderr, "flash_sale: %s: %s\n", path, strerror(errno));
    else if (!is_of(fd, data, parts)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

bool flash_stock_read(int fd, size_t product, unsigned *left)
{
    struct record record;

    if (!read_record(fd, product, &record))
        return false;
    *left = record.left;
    return true;
}

/*
 * The record is read again for its fence, just before it is written.  A writer
 * that was paused since it looked at the stock, and whose lease is over, finds
 * the fence of its successor.  A plain file cannot make the check and the write
 * one step, so a pause of exactly here would still be believed; a database can:
 *
 *     UPDATE stock SET left = ?, fence = ? WHERE product = ? AND fence <= ?
 */
enum flash_written flash_stock_write(int fd, size_t product, unsigned left, uint64_t fence)
{
    struct record record;

    if (!read_record(fd, product, &record))
        return FLASH_BROKEN;
    if (fence != FLASH_UNFENCED && !stile_fence_check(&record.fence, fence))
        return FLASH_STALE;
    record.left = left;
    return write_record(fd, product, &record) ? FLASH_WRITTEN : FLASH_BROKEN;
}
