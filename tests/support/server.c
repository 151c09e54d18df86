#include "support/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/process.h"

#define READY_MS 10000
#define ANSWER_S 10
#define PORT_TRIES 5
#define ARGUMENTS_MAX 64
#define COMMAND_MAX 32

extern char **environ;

/* ---- starting -------------------------------------------------------------- */

/* A list for exec: ends with NULL, and owns nothing it points to. */
struct list {
    const char *items[ARGUMENTS_MAX + 1];
    size_t count;
};

static void list_add(struct list *list, const char *item)
{
    if (list->count == ARGUMENTS_MAX) {
        fprintf(stderr, "More than %d arguments for redis-server.\n", ARGUMENTS_MAX);
        abort();
    }
    list->items[list->count++] = item;
    list->items[list->count] = NULL;
}

static void list_add_pair(struct list *list, const char *name, const char *value)
{
    list_add(list, name);
    list_add(list, value);
}

static void list_add_all(struct list *list, const char *const *items)
{
    for (; items != NULL && *items != NULL; items++)
        list_add(list, *items);
}

static void fill_arguments(const struct test_server *server, const char *port, struct list *list)
{
    const struct test_server_options *options = &server->options;

    list_add(list, "redis-server");
    list_add_pair(list, "--port", port);
    list_add_pair(list, "--bind", "127.0.0.1");
    list_add_pair(list, "--unixsocket", server->path);
    list_add_pair(list, "--unixsocketperm", "700");
    list_add_pair(list, "--dir", server->dir);
    list_add_pair(list, "--daemonize", "no");
    list_add_pair(list, "--save", "");
    if (options->persistence != TEST_PERSIST_NONE) {
        list_add_pair(list, "--appendonly", "yes");
        list_add_pair(list, "--appendfsync",
                      options->persistence == TEST_PERSIST_ALWAYS ? "always" : "everysec");
    }
    if (options->password != NULL)
        list_add_pair(list, "--requirepass", options->password);
    list_add_all(list, options->args);
}

/* The environment of the test without its LD_PRELOAD, which is not meant for the
 * server.  NULL without memory; to be freed. */
static const char **make_environment(const struct test_server *server, const char *preload)
{
    const char *const *more = server->options.environment;
    size_t count = 2; /* the preload and the NULL */
    const char **made;

    for (size_t i = 0; environ[i] != NULL; i++)
        count++;
    for (size_t i = 0; more != NULL && more[i] != NULL; i++)
        count++;
    made = calloc(count, sizeof *made);
    if (made == NULL)
        return NULL;
    count = 0;
    for (size_t i = 0; environ[i] != NULL; i++) {
        if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0)
            made[count++] = environ[i];
    }
    for (size_t i = 0; more != NULL && more[i] != NULL; i++)
        made[count++] = more[i];
    if (preload != NULL)
        made[count] = preload;
    return made;
}

/* In the child, where the test may have had other threads: async-signal-safe
 * calls only.  Writes errno to report_fd if redis-server cannot be started. */
static _Noreturn void become_server(pid_t parent, int log_fd, int report_fd,
                                    const struct list *arguments, const char **environment)
{
    int error;
    union {
        const char *const *readable;
        char *const *exec; /* what exec takes, and does not change either */
    } argv = {.readable = arguments->items}, envp = {.readable = environment};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && dup2(log_fd, 1) == 1 && dup2(log_fd, 2) == 2)
        execvpe("redis-server", argv.exec, envp.exec);
    error = errno;
    if (write(report_fd, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

/* Starts the process; whether it comes to listen is another question. */
static bool launch(struct test_server *server)
{
    struct list arguments = {.count = 0};
    const char **environment = NULL;
    char port[8], log[TEST_TEMPDIR_SIZE + 16], preload[512];
    pid_t parent = getpid(), pid;
    int report[2] = {-1, -1}, log_fd = -1, error = 0;
    ssize_t got;

    snprintf(port, sizeof port, "%u", (unsigned)server->port);
    snprintf(log, sizeof log, "%s/redis.log", server->dir);
    if (server->options.preload != NULL)
        snprintf(preload, sizeof preload, "LD_PRELOAD=%s", server->options.preload);
    fill_arguments(server, port, &arguments);
    environment = make_environment(server, server->options.preload != NULL ? preload : NULL);
    log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (environment == NULL || log_fd == -1 || pipe2(report, O_CLOEXEC) != 0) {
        error = errno;
        goto done;
    }
    pid = fork(); /* not to server->pid, which may be in shared memory */
    if (pid == 0)
        become_server(parent, log_fd, report[1], &arguments, environment);
    if (pid == -1) {
        error = errno;
        goto done;
    }
    server->pid = pid;
    close(report[1]); /* the child's exec closes the other one: then read sees the end */
    report[1] = -1;
    do {
        got = read(report[0], &error, sizeof error);
    } while (got == -1 && errno == EINTR);
    if (got != 0)
        test_server_kill(server);

done:
    if (error != 0)
        fprintf(stderr, "redis-server cannot be started: %s.  Is it installed and in PATH?\n",
                strerror(error));
    if (report[0] != -1)
        close(report[0]);
    if (report[1] != -1)
        close(report[1]);
    if (log_fd != -1)
        close(log_fd);
    free(environment);
    return error == 0;
}

/* A port nobody listens on just now; 0 if there is none. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    uint16_t port = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd == -1)
        return 0;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0)
        port = ntohs(address.sin_port);
    close(fd);
    return port;
}

static void show_log(const struct test_server *server)
{
    char line[512], log[TEST_TEMPDIR_SIZE + 16];
    FILE *file;

    snprintf(log, sizeof log, "%s/redis.log", server->dir);
    file = fopen(log, "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL)
        fprintf(stderr, "redis-server: %s", line);
    fclose(file);
}

/* True when it answers PING: then it listens on all it was told to, and has read
 * what was on disk.  False when it ended (pid is 0) or time ran out. */
static bool wait_ready(struct test_server *server)
{
    int64_t until = test_now_ms() + READY_MS;
    char text[64];

    while (test_now_ms() < until) {
        int status;

        if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
            server->pid = 0;
            return false;
        }
        if (access(server->path, F_OK) == 0 &&
            test_redis(server, text, sizeof text, "PING", NULL) == TEST_REPLY_OK &&
            strcmp(text, "PONG") == 0)
            return true;
        test_sleep_ms(1);
    }
    return false;
}

/* Launches until it answers.  It ends at once when the port is taken; with
 * another_port a new one is drawn then, else the old one tried again. */
static bool launch_ready(struct test_server *server, bool another_port)
{
    for (int i = 0; i < PORT_TRIES; i++) {
        if (another_port && server->options.tcp) {
            server->port = free_port();
            snprintf(server->tcp_url, sizeof server->tcp_url, "redis://127.0.0.1:%u",
                     (unsigned)server->port);
        }
        if (!launch(server))
            return false;
        if (wait_ready(server))
            return true;
        if (server->pid != 0 || !server->options.tcp)
            break;
    }
    fprintf(stderr, "redis-server did not come to answer; this is its log:\n");
    show_log(server);
    test_server_kill(server);
    return false;
}

bool test_server_start(const struct test_server_options *options, struct test_server *server)
{
    memset(server, 0, sizeof *server);
    if (options != NULL)
        server->options = *options;
    if (!test_tempdir_make(server->dir))
        return false;
    snprintf(server->path, sizeof server->path, "%s/redis.sock", server->dir);
    snprintf(server->unix_url, sizeof server->unix_url, "unix://%s", server->path);
    if (launch_ready(server, true))
        return true;
    test_server_stop(server);
    return false;
}

void test_server_kill(struct test_server *server)
{
    int status;

    if (server->pid == 0)
        return;
    kill(server->pid, SIGKILL);
    while (waitpid(server->pid, &status, 0) == -1 && errno == EINTR)
        continue;
    server->pid = 0;
}

bool test_server_restart(struct test_server *server)
{
    test_server_kill(server);
    /* A socket file without a listener would only be found refused. */
    unlink(server->path);
    return launch_ready(server, false);
}

void test_server_pause(struct test_server *server)
{
    if (server->pid != 0)
        test_pid_pause(server->pid);
}

void test_server_resume(struct test_server *server)
{
    if (server->pid != 0)
        test_pid_resume(server->pid);
}

void test_server_stop(struct test_server *server)
{
    test_server_kill(server);
    if (server->dir[0] != '\0')
        test_tempdir_remove(server->dir);
    memset(server, 0, sizeof *server);
}

const char *test_server_unix_url(const struct test_server *server)
{
    return server->unix_url;
}

const char *test_server_tcp_url(const struct test_server *server)
{
    return server->tcp_url;
}

const char *test_server_unix_path(const struct test_server *server)
{
    return server->path;
}

/* ---- commands -------------------------------------------------------------- */

/* Where the flat text of a reply goes. */
struct sink {
    char *text;
    size_t size;
    size_t length;
    bool started; /* something was written: the next value is on a new line */
};

static void sink_put(struct sink *sink, const char *bytes, size_t length)
{
    size_t room = sink->size > 0 ? sink->size - 1 - sink->length : 0;

    if (length > room)
        length = room;
    if (length > 0)
        memcpy(sink->text + sink->length, bytes, length);
    sink->length += length;
    if (sink->size > 0)
        sink->text[sink->length] = '\0';
}

static void sink_value(struct sink *sink, const char *bytes, size_t length)
{
    if (sink->started)
        sink_put(sink, "\n", 1);
    sink->started = true;
    sink_put(sink, bytes, length);
}

static bool read_bulk(FILE *stream, size_t length, struct sink *sink)
{
    char *bytes = malloc(length + 2);
    bool complete = bytes != NULL && fread(bytes, 1, length + 2, stream) == length + 2;

    if (complete)
        sink_value(sink, bytes, length);
    free(bytes);
    return complete;
}

static enum test_reply read_reply(FILE *stream, struct sink *sink)
{
    char line[1024];
    long long number;
    size_t length;

    if (fgets(line, sizeof line, stream) == NULL)
        return TEST_REPLY_NONE;
    length = strcspn(line, "\r\n");
    number = atoll(line + 1);
    switch (line[0]) {
    case '+':
    case ':': sink_value(sink, line + 1, length - 1); return TEST_REPLY_OK;
    case '-': sink_value(sink, line + 1, length - 1); return TEST_REPLY_ERROR;
    case '$':
        if (number >= 0)
            return read_bulk(stream, (size_t)number, sink) ? TEST_REPLY_OK : TEST_REPLY_NONE;
        sink_value(sink, "(nil)", 5);
        return TEST_REPLY_OK;
    case '*':
        if (number < 0)
            sink_value(sink, "(nil)", 5);
        for (; number > 0; number--) {
            if (read_reply(stream, sink) == TEST_REPLY_NONE)
                return TEST_REPLY_NONE;
        }
        return TEST_REPLY_OK;
    default: return TEST_REPLY_NONE;
    }
}

/* Without SIGPIPE, which a server killed just now would raise. */
static bool send_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);

        if (sent < 0 && errno != EINTR)
            return false;
        if (sent > 0) {
            bytes += sent;
            length -= (size_t)sent;
        }
    }
    return true;
}

static bool send_command(int fd, size_t count, const char *const *arguments, const size_t *lengths)
{
    char *bytes = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&bytes, &size);
    bool sent;

    if (stream == NULL)
        return false;
    fprintf(stream, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        size_t length = lengths != NULL ? lengths[i] : strlen(arguments[i]);

        fprintf(stream, "$%zu\r\n", length);
        fwrite(arguments[i], 1, length, stream);
        fputs("\r\n", stream);
    }
    sent = fclose(stream) == 0 && send_all(fd, bytes, size);
    free(bytes);
    return sent;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = ANSWER_S};
    int fd;

    if (strlen(path) >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Authenticates if need be, then asks. */
static enum test_reply converse(const struct test_server *server, FILE *stream, struct sink *sink,
                                size_t count, const char *const *arguments, const size_t *lengths)
{
    const char *const auth[] = {"AUTH", server->options.password};
    struct sink nowhere = {.text = NULL};

    if (server->options.password != NULL) {
        if (!send_command(fileno(stream), 2, auth, NULL) ||
            read_reply(stream, &nowhere) != TEST_REPLY_OK)
            return TEST_REPLY_NONE;
    }
    if (!send_command(fileno(stream), count, arguments, lengths))
        return TEST_REPLY_NONE;
    return read_reply(stream, sink);
}

enum test_reply test_redis_argv(const struct test_server *server, char *text, size_t size,
                                size_t count, const char *const *arguments, const size_t *lengths)
{
    struct sink sink = {.text = text, .size = text != NULL ? size : 0};
    enum test_reply reply = TEST_REPLY_NONE;
    int fd = connect_unix(server->path);
    FILE *stream = fd != -1 ? fdopen(fd, "r") : NULL;

    sink_put(&sink, "", 0);
    if (stream != NULL)
        reply = converse(server, stream, &sink, count, arguments, lengths);
    if (reply == TEST_REPLY_NONE && sink.size > 0)
        text[0] = '\0';
    if (stream != NULL)
        fclose(stream);
    else if (fd != -1)
        close(fd);
    return reply;
}

static enum test_reply ask_list(const struct test_server *server, char *text, size_t size,
                                va_list list)
{
    const char *arguments[COMMAND_MAX];
    const char *argument;
    size_t count = 0;

    while ((argument = va_arg(list, const char *)) != NULL) {
        if (count == COMMAND_MAX) {
            fprintf(stderr, "More than %d arguments in a command.\n", COMMAND_MAX);
            abort();
        }
        arguments[count++] = argument;
    }
    return test_redis_argv(server, text, size, count, arguments, NULL);
}

enum test_reply test_redis(const struct test_server *server, char *text, size_t size, ...)
{
    enum test_reply reply;
    va_list list;

    va_start(list, size);
    reply = ask_list(server, text, size, list);
    va_end(list);
    return reply;
}

int64_t test_redis_int(const struct test_server *server, ...)
{
    enum test_reply reply;
    char text[256], *end = text;
    long long number = 0;
    va_list list;

    va_start(list, server);
    reply = ask_list(server, text, sizeof text, list);
    va_end(list);
    if (reply == TEST_REPLY_OK) {
        errno = 0;
        number = strtoll(text, &end, 10);
    }
    if (reply == TEST_REPLY_OK && end != text && *end == '\0' && errno == 0)
        return number;
    fprintf(stderr, "Not a number: \"%s\"\n", text);
    return INT64_MIN;
}
