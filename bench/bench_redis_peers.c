/*
 * What there is to compare with stile, and clients that use it, seen from the process
 * that orders them about.
 */
#include "bench_redis.h"

#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A client that lives longer than this is ended, so that nothing waits for it. */
enum { CLIENT_SECONDS = 1800, CLIENT_END_MS = 2000 };

/* ---- the server ---------------------------------------------------------------------------- */

struct bench_address bench_address(const struct bench_options *options,
                                   const struct test_server *server)
{
    struct bench_address address;

    if (options->unix_socket)
        snprintf(address.text, sizeof address.text, "%s", test_server_unix_path(server));
    else
        snprintf(address.text, sizeof address.text, "%u", (unsigned)server->port);
    return address;
}

redisContext *bench_redis_connect(const char *address)
{
    redisContext *redis =
        *address == '/' ? redisConnectUnix(address) : redisConnect("127.0.0.1", atoi(address));

    if (redis != NULL && redis->err == 0)
        return redis;
    fprintf(stderr, "stile-bench: hiredis cannot use %s\n", address);
    if (redis != NULL)
        redisFree(redis);
    return NULL;
}

const char *bench_redis_placement(const struct bench_options *options, bool one_core)
{
    if (options->unix_socket)
        return one_core ? "server and clients on one core, unix socket" : "free, unix socket";
    return one_core ? "server and clients on one core, TCP loopback" : "free, TCP loopback";
}

/* ---- peers ----------------------------------------------------------------------------------- */

const struct bench_peer bench_redis_peers[] = {
    {"stile", "stile", NULL, "evalsha eval subscribe client|setname", false},
    {"BLPOP signal", "list", NULL, "set evalsha blpop", false},
    {"pub/sub signal", "channel", NULL, "set evalsha", false},
    {"10 ms polling", "poll", NULL, "set evalsha", false},
    {"redis-semaphore", "redis-semaphore", "clients.js", "set evalsha eval", false},
    {"redlock", "redlock", "clients.js", "evalsha eval", true},
    {"redis-py", "redis-py", "clients.py", "set evalsha eval", true},
    {NULL, NULL, NULL, NULL, false}};

/* ---- starting ---------------------------------------------------------------------------- */

/* What a child needs to become a client. */
struct start {
    const struct bench_peer *peer;
    const char *work, *address;
    int fd;
};

/* The folder of what other people's locks need is beside the one of this program. */
static bool find_script(const char *name, char *path, size_t size)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;
    int i;

    if (length < 0)
        return false;
    self[length] = '\0';
    for (i = 0; i < 2; i++) {
        slash = strrchr(self, '/');
        if (slash == NULL)
            return false;
        *slash = '\0';
    }
    return (size_t)snprintf(path, size, "%s/peers/%s", self, name) < size;
}

/* In the child.  Debian's modules are for Debian's python, which need not be the
 * first on the PATH. */
static int become_client(void *arg)
{
    const struct start *start = arg;
    const char *kind = start->peer->kind, *work = start->work, *address = start->address;
    char script[PATH_MAX];

    alarm(CLIENT_SECONDS); /* outlives the exec */
    if (dup2(start->fd, STDIN_FILENO) == -1 || dup2(start->fd, STDOUT_FILENO) == -1)
        return 1;
    if (start->peer->script == NULL) {
        execl("/proc/self/exe", "stile-bench", "--client", kind, work, address, (char *)NULL);
    } else if (find_script(start->peer->script, script, sizeof script)) {
        if (strcmp(start->peer->script, "clients.js") == 0) {
            execlp("node", "node", script, kind, work, address, (char *)NULL);
        } else {
            execl("/usr/bin/python3", "python3", script, kind, work, address, (char *)NULL);
            execlp("python3", "python3", script, kind, work, address, (char *)NULL);
        }
    }
    return 1;
}

/* What the client says first. */
static bool read_word(struct bench_client *client, const char *word)
{
    char said[16];

    return fscanf(client->answers, "%15s", said) == 1 && strcmp(said, word) == 0;
}

static bool spawn(const struct bench_peer *peer, const char *work, const char *address,
                  struct bench_client *client)
{
    struct start start = {peer, work, address, -1};
    int ends[2];

    memset(client, 0, sizeof *client);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    start.fd = ends[1];
    client->answers = fdopen(ends[0], "r");
    if (client->answers == NULL)
        close(ends[0]);
    else if (!test_spawn(&client->process, become_client, &start))
        bench_client_end(client);
    close(ends[1]);
    return client->answers != NULL;
}

bool bench_peer_chosen(const struct bench_options *options, const struct bench_peer *peer)
{
    return peer->script == NULL || !options->quick;
}

bool bench_peer_installed(const struct bench_peer *peer)
{
    struct bench_client client;
    bool there;

    if (peer->script == NULL)
        return true;
    there = spawn(peer, "probe", "", &client) && read_word(&client, "installed");
    bench_client_end(&client);
    return there;
}

bool bench_client_start(const struct bench_peer *peer, const char *work, const char *address,
                        struct bench_client *client)
{
    if (spawn(peer, work, address, client) && read_word(client, "ready"))
        return true;
    bench_client_end(client);
    fprintf(stderr, "stile-bench: no client of %s\n", peer->name);
    return false;
}

void bench_client_end(struct bench_client *client)
{
    if (client->answers == NULL)
        return;
    fclose(client->answers);
    client->answers = NULL;
    if (test_process_wait(&client->process, CLIENT_END_MS) == -1)
        test_process_kill(&client->process);
}

/* ---- orders and answers --------------------------------------------------------------------- */

bool bench_client_tell(struct bench_client *client, const int64_t *numbers, size_t count)
{
    bool good = true;
    size_t i;

    for (i = 0; i < count; i++)
        good &= dprintf(fileno(client->answers), "%" PRId64 "%c", numbers[i],
                        i + 1 < count ? ' ' : '\n') > 0;
    return good;
}

bool bench_client_answer(struct bench_client *client, double *numbers, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (fscanf(client->answers, "%lf", &numbers[i]) != 1)
            return false;
    }
    return true;
}
