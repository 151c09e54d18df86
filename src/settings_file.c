/*
 * Files that settings are read from: the INI file of a file: URL, taken apart by
 * inih, and the file that has a password.
 */
#include "settings_parse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#if defined(STILE_CONFIG_FILE)
#include <ini.h>
#endif

/* Reads until the end or until size bytes are there; -1 with errno. */
static ssize_t read_all(int fd, char *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t got = read(fd, bytes + done, size - done);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static stile_status read_open(int fd, const char *what, size_t limit,
                              const struct stile_origin *origin, char **bytes, size_t *size)
{
    struct stat about;
    ssize_t got;
    char *room;

    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        return stile__settings_wrong(STILE_INVALID, origin, "%s is not a regular file", what);
    room = calloc(1, limit + 1);
    if (room == NULL)
        return stile__settings_no_memory();
    got = read_all(fd, room, limit + 1);
    if (got >= 0 && (size_t)got <= limit) {
        *bytes = room;
        *size = (size_t)got;
        return STILE_OK;
    }
    stile__wipe(room, limit + 1);
    free(room);
    if (got < 0)
        return stile__settings_wrong(STILE_INVALID, origin, "%s cannot be read", what);
    return stile__settings_wrong(STILE_INVALID, origin, "%s is longer than %zu bytes", what, limit);
}

stile_status stile__settings_read(const char *path, const char *what, size_t limit,
                                  const struct stile_origin *origin, char **bytes, size_t *size)
{
    /* O_NONBLOCK: opening a pipe that nobody writes to must not hang. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    stile_status status;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return stile__settings_wrong(STILE_INVALID, origin, "%s does not exist", what);
    if (fd < 0 && errno == EACCES)
        return stile__settings_wrong(STILE_INVALID, origin, "%s may not be read by this user",
                                     what);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
        return stile__settings_no_memory();
    if (fd < 0)
        return stile__settings_wrong(STILE_INVALID, origin, "%s cannot be opened (errno %d)", what,
                                     errno);
    status = read_open(fd, what, limit, origin, bytes, size);
    (void)close(fd);
    return status;
}

#if defined(STILE_CONFIG_FILE)

/*
 * inih has switches that are global variables and differ from build to build;
 * they belong to the program and are left alone.  What must not depend on them is
 * seen to by next_line(): no line is longer than inih's buffer (it would go on as
 * another line), and none begins with a blank (it would continue a value).
 */
struct reading {
    const char *next; /* what inih has not seen yet */
    const char *end;
    struct stile_origin origin; /* line: the one that inih has */
    struct stile_file *file;
    stile_status status; /* the first thing that was wrong */
};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* [stile], and nothing behind it but blanks or a comment: inih ignores what
 * stands there, and says nothing about a section without keys. */
static bool is_our_section(const char *line, size_t length)
{
    static const char ours[] = "[stile]";
    size_t at = sizeof(ours) - 1;

    if (length < at || memcmp(line, ours, at) != 0)
        return false;
    while (at < length && is_blank(line[at]))
        at++;
    return at == length || ((line[at] == ';' || line[at] == '#') && is_blank(line[at - 1]));
}

/* inih's reader: puts the next line into its buffer.  The line that was there may
 * have been a password. */
static char *next_line(char *buffer, int size, void *context)
{
    struct reading *reading = context;
    const char *line = reading->next;
    const char *newline;
    size_t length;

    stile__wipe(buffer, (size_t)size);
    if (reading->status != STILE_OK || line == reading->end)
        return NULL;
    newline = memchr(line, '\n', (size_t)(reading->end - line));
    reading->next = newline == NULL ? reading->end : newline + 1;
    reading->origin.line++;
    length = (size_t)((newline == NULL ? reading->end : newline) - line);
    for (; length > 0 && is_blank(line[0]); length--)
        line++;
    if (memchr(line, '\0', length) != NULL) {
        reading->status =
            stile__settings_wrong(STILE_INVALID, &reading->origin, "there is a NUL byte");
        return NULL;
    }
    if (length > 0 && line[0] == '[' && !is_our_section(line, length)) {
        reading->status = stile__settings_wrong(STILE_INVALID, &reading->origin,
                                                "the only section is [stile], not the one");
        return NULL;
    }
    /* 3: what inih wants for the end of the line and of the string. */
    if (length + 3 > (size_t)size) {
        reading->status = stile__settings_wrong(STILE_INVALID, &reading->origin,
                                                "a line is longer than %d bytes", size - 3);
        return NULL;
    }
    memcpy(buffer, line, length);
    buffer[length] = '\n';
    buffer[length + 1] = '\0';
    return buffer;
}

static stile_status take_url(struct reading *reading, const char *value)
{
    if (reading->file->url != NULL)
        return stile__settings_wrong(STILE_INVALID, &reading->origin, "url is given twice");
    if (*value == '\0')
        return stile__settings_wrong(STILE_INVALID, &reading->origin, "url is empty");
    reading->file->url = strdup(value);
    if (reading->file->url == NULL)
        return stile__settings_no_memory();
    reading->file->url_line = reading->origin.line;
    return STILE_OK;
}

/* inih's handler.  It never tells inih that something is wrong: next_line() ends
 * the reading, after it has wiped the buffer. */
static int take_key(void *context, const char *section, const char *name, const char *value)
{
    struct reading *reading = context;

    if (*section == '\0')
        reading->status = stile__settings_wrong(STILE_INVALID, &reading->origin,
                                                "there is a key before the section [stile]");
    else if (value == NULL)
        reading->status =
            stile__settings_wrong(STILE_INVALID, &reading->origin, "there is a key without '='");
    else if (strcmp(name, "url") == 0)
        reading->status = take_url(reading, value);
    else
        reading->status =
            stile__said_add(&reading->file->said, &reading->origin, name, strlen(name), value);
    return 1;
}

stile_status stile__settings_file(struct stile_file *file, const char *path,
                                  const struct stile_origin *origin)
{
    static const char mark[] = "\xEF\xBB\xBF"; /* what some editors begin UTF-8 with */
    struct reading reading = {.origin = *origin, .file = file};
    stile_status status;
    char *bytes;
    size_t size;
    int line;

    memset(file, 0, sizeof(*file));
    status = stile__settings_read(path, "the file", STILE_FILE_MAX, origin, &bytes, &size);
    if (status != STILE_OK)
        return status;
    reading.next = bytes;
    reading.end = bytes + size;
    if (size >= sizeof(mark) - 1 && memcmp(bytes, mark, sizeof(mark) - 1) == 0)
        reading.next += sizeof(mark) - 1;
    line = ini_parse_stream(next_line, &reading, take_key, &reading);
    stile__wipe(bytes, size);
    free(bytes);
    status = reading.status;
    if (line < 0) {
        status = stile__settings_no_memory();
    } else if (line > 0 && (status == STILE_OK || line < reading.origin.line)) {
        reading.origin.line = line;
        status = stile__settings_wrong(STILE_INVALID, &reading.origin,
                                       "there is neither a [section] nor a key = value");
    }
    if (status != STILE_OK)
        stile__settings_file_fini(file);
    return status;
}

#else

stile_status stile__settings_file(struct stile_file *file, const char *path,
                                  const struct stile_origin *origin)
{
    (void)file;
    (void)path;
    return stile__settings_wrong(STILE_UNSUPPORTED, origin, "this build does not read file: URLs");
}

#endif

void stile__settings_file_fini(struct stile_file *file)
{
    stile__wipe_free(file->url);
    stile__said_fini(&file->said);
    memset(file, 0, sizeof(*file));
}
