/*
 * Locks in an event loop: event_loop URL NAME...
 *
 * Starts to acquire every name, and serves a timer and stdin meanwhile.  Each lock that
 * it gets it keeps for three ticks.  Ends when it had all, or when stdin says quit.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <stile/stile.h>

enum { TICK_MS = 20, KEEP_TICKS = 3, MOST = 16 };

struct job {
    const char *name;
    stile_lock *lock;
    stile_future *future; /* NULL: the result was taken */
    stile_hold hold;
    int keep; /* ticks until it is released; 0: it is not held */
};

static void must(stile_status status)
{
    if (status != STILE_OK) {
        fprintf(stderr, "%s %s\n", stile_status_text(status), stile_error_detail());
        exit(EXIT_FAILURE);
    }
}

/* What the loop gets back with an event is the job, or one of these. */
static char timer, input;

static void watch(int loop, int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = what}};

    /* A file as stdin is always readable, and cannot be polled: it is left alone. */
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) != 0 && what != &input)
        exit(EXIT_FAILURE);
}

static void begin(int loop, stile *space, struct job *job)
{
    int fd;

    must(stile_lock_open(space, job->name, NULL, &job->lock));
    must(stile_lock_start(job->lock, STILE_FOREVER, NULL, NULL, NULL, &job->future));
    must(stile_future_fd(job->future, &fd));
    watch(loop, fd, job);
}

/* The descriptor became readable: the future is done.  Closing it takes the descriptor
 * out of the loop. */
static void granted(struct job *job)
{
    must(stile_future_take(job->future, &job->hold));
    stile_future_close(job->future);
    job->future = NULL;
    job->keep = KEEP_TICKS;
    printf("%s: got it, fence %" PRIu64 "\n", job->name, job->hold.fence);
}

/* Returns how many have not had their lock yet. */
static int tick(int clock, struct job *jobs, int count)
{
    uint64_t ticks;
    int left = 0, i;

    if (read(clock, &ticks, sizeof ticks) < 0)
        return count;
    for (i = 0; i < count; i++) {
        if (jobs[i].keep > 0 && --jobs[i].keep == 0) {
            must(stile_lock_release(jobs[i].lock, &jobs[i].hold));
            printf("%s: released\n", jobs[i].name);
        }
        left += jobs[i].future != NULL || jobs[i].keep > 0;
    }
    return left;
}

/* False: it is enough. */
static bool hear(int loop)
{
    char text[256];
    ssize_t length = read(STDIN_FILENO, text, sizeof text - 1);

    if (length <= 0) {
        epoll_ctl(loop, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        return true;
    }
    text[length] = '\0';
    printf("heard: %s", text);
    return strstr(text, "quit") == NULL;
}

/* What is under way is given up, and what is held is released. */
static void end(struct job *job)
{
    if (job->future != NULL)
        printf("%s: gave up\n", job->name);
    stile_future_close(job->future);
    if (job->keep > 0)
        must(stile_lock_release(job->lock, &job->hold));
    stile_lock_close(job->lock);
}

int main(int argc, char **argv)
{
    struct itimerspec every = {.it_interval = {.tv_nsec = TICK_MS * 1000000L},
                               .it_value = {.tv_nsec = TICK_MS * 1000000L}};
    int loop = epoll_create1(EPOLL_CLOEXEC), count = argc - 2, left = count, i;
    int clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    bool going = true;
    struct job jobs[MOST] = {{.name = NULL}};
    stile *space;

    if (count < 1 || count > MOST || loop < 0 || timerfd_settime(clock, 0, &every, NULL) != 0) {
        fprintf(stderr, "usage: %s URL NAME...\n", argv[0]);
        return EXIT_FAILURE;
    }
    must(stile_open(argv[1], NULL, &space));
    watch(loop, clock, &timer);
    watch(loop, STDIN_FILENO, &input);
    for (i = 0; i < count; i++) {
        jobs[i].name = argv[i + 2];
        begin(loop, space, &jobs[i]);
    }
    while (going && left > 0) {
        struct epoll_event event;

        if (epoll_wait(loop, &event, 1, -1) != 1)
            continue;
        if (event.data.ptr == &timer)
            left = tick(clock, jobs, count);
        else if (event.data.ptr == &input)
            going = hear(loop);
        else
            granted(event.data.ptr);
    }
    for (i = 0; i < count; i++)
        end(&jobs[i]);
    stile_close(space);
}
