/*
 * The operating-system layer of base/os.h on fibres; see fibre.h.
 */
#include "base/os.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "base/error.h"
#include "fibre.h"

/* The address sanitizer has to know which stack is in use. */
#if defined(__SANITIZE_ADDRESS__)
#define TELLS_STACKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TELLS_STACKS 1
#endif
#endif
#if defined(TELLS_STACKS)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define TELLS_STACKS 0
#endif

enum { STACK_SIZE = 256 * 1024, CANARY_SIZE = 64, NAME_SIZE = 16 };

/* Where time begins.  The clocks differ, so that mixing them shows. */
#define MONOTONIC_START_NS INT64_C(5000000000)
#define BOOTTIME_AHEAD_NS INT64_C(3600000000000)

enum fibre_state {
    FIBRE_RUNS,    /* or could */
    FIBRE_SLEEPS,  /* to until_ns, or until it is woken */
    FIBRE_BLOCKED, /* by a mutex */
    FIBRE_JOINS,
    FIBRE_ENDED
};

struct stile_fibre {
    ucontext_t context;
    void *fake_stack; /* the address sanitizer's */
    const void *stack_low;
    size_t stack_size;
    unsigned char *stack; /* NULL for the host */
    struct stile_fibre *next_idle;

    unsigned id;
    char name[NAME_SIZE];
    void (*run)(void *arg);
    void *arg;
    enum fibre_state state;
    int64_t until_ns;
    struct stile_mutex *wants;  /* BLOCKED: which mutex */
    struct stile_fibre *joiner; /* who joins it */
    unsigned joins;             /* JOINS: how many of its own have not ended */
    unsigned ranks;             /* bit n: it has a mutex of rank n */
    int cancel_off;
    void *kept;
    void (*free_kept)(void *kept);
};

struct stile_parker {
    struct stile_parker *next_free;
    struct stile_parker *next; /* of all */
    struct stile_fibre *sleeper;
    bool token;
    bool out; /* got, and not put back */
};

/* The run there is; current is NULL when there is none. */
static struct {
    const struct fibre_plan *plan;
    struct fibre_result *result;
    struct stile_fibre *fibres[FIBRES_MAX];
    unsigned count;
    struct stile_fibre *current;
    struct stile_fibre *from; /* who ran before */
    struct stile_fibre host;
    int64_t now_ns;
    uint64_t weather; /* stream of steps and stray wake-ups */
    uint64_t entropy;
} world;

static struct stile_fibre *idle;          /* ready for the next run */
static struct stile_fibre *kept;          /* of runs that failed */
static struct stile_parker *parkers;      /* all */
static struct stile_parker *free_parkers; /* last in, first out: stray tokens hit */

uint64_t fibre_draw(uint64_t *state)
{
    /* splitmix64 (Steele, Lea and Flood) */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static _Noreturn void out_of_memory(void)
{
    fputs("no memory for fibres\n", stderr);
    abort();
}

/* ---- switching ------------------------------------------------------------- */

/* Called on a stack that was switched to. */
static void arrived(struct stile_fibre *self)
{
#if TELLS_STACKS
    const void *low;
    size_t size;

    __sanitizer_finish_switch_fiber(self->fake_stack, &low, &size);
    if (world.from == &world.host) {
        world.host.stack_low = low;
        world.host.stack_size = size;
    }
#else
    (void)self;
#endif
}

/* ends: the stack that is left will not be gone back to. */
static void switch_to(struct stile_fibre *to, bool ends)
{
    struct stile_fibre *self = world.current == NULL ? &world.host : world.current;

    world.from = self;
    world.current = to == &world.host ? NULL : to;
#if TELLS_STACKS
    __sanitizer_start_switch_fiber(ends ? NULL : &self->fake_stack, to->stack_low, to->stack_size);
#else
    (void)ends;
#endif
    if (swapcontext(&self->context, &to->context) != 0)
        abort();
    arrived(self);
}

static void describe(char *text, size_t size)
{
    static const char *const doing[] = {"can run", "sleeps", "waits for a mutex", "joins", "ended"};
    size_t used = 0;
    unsigned i;

    text[0] = '\0';
    for (i = 0; i < world.count && used < size; i++) {
        const struct stile_fibre *fibre = world.fibres[i];
        int length;

        if (fibre->state == FIBRE_ENDED)
            continue;
        length =
            snprintf(text + used, size - used, "; %u (%s) %s", i, fibre->name, doing[fibre->state]);
        if (length > 0)
            used += (size_t)length;
        if (fibre->state == FIBRE_BLOCKED && fibre->wants->owner != NULL && used < size) {
            length = snprintf(text + used, size - used, " of rank %d that %u has",
                              (int)fibre->wants->rank, fibre->wants->owner->id);
            if (length > 0)
                used += (size_t)length;
        }
    }
}

void fibre_fail(const char *format, ...)
{
    struct fibre_result *result = world.result;
    va_list arguments;
    size_t used;

    assert(world.current != NULL);
    va_start(arguments, format);
    vsnprintf(result->text, sizeof result->text, format, arguments);
    va_end(arguments);
    used = strlen(result->text);
    snprintf(result->text + used, sizeof result->text - used,
             " [fibre %u, %.6f ms, point %" PRIu64 "]", world.current->id,
             (double)(world.now_ns - MONOTONIC_START_NS) / 1e6, result->points);
    result->failed = true;
    switch_to(&world.host, false);
    abort();
}

/* Fills choice with who can run, after moving the clock if nobody can. */
static void collect(struct fibre_choice *choice, bool yields)
{
    struct stile_fibre *self = world.current, *next;
    unsigned i;

    for (;;) {
        next = NULL;
        choice->count = 0;
        choice->can_stay = false;
        for (i = 0; i < world.count; i++) {
            struct stile_fibre *fibre = world.fibres[i];

            if (fibre->state == FIBRE_SLEEPS && fibre->until_ns <= world.now_ns)
                fibre->state = FIBRE_RUNS;
            if (fibre->state == FIBRE_SLEEPS && fibre->until_ns != INT64_MAX &&
                (next == NULL || fibre->until_ns < next->until_ns))
                next = fibre;
            if (fibre->state != FIBRE_RUNS)
                continue;
            choice->id[choice->count++] = i;
            if (fibre == self) {
                memmove(&choice->id[1], &choice->id[0], (choice->count - 1) * sizeof choice->id[0]);
                choice->id[0] = i;
                choice->can_stay = true;
            }
        }
        if (choice->count > 0)
            break;
        if (next == NULL) {
            char text[400];

            describe(text, sizeof text);
            fibre_fail("deadlock%s", text);
        }
        world.now_ns = next->until_ns;
    }
    if (yields && choice->count > 1) {
        memmove(&choice->id[0], &choice->id[1], --choice->count * sizeof choice->id[0]);
        choice->can_stay = false;
    }
    if (world.plan->early && next != NULL)
        choice->id[choice->count++] = next->id;
    choice->running = self->id;
    choice->yields = yields;
}

static struct stile_fibre *choose(bool yields)
{
    struct fibre_result *result = world.result;
    struct stile_fibre *fibre;
    struct fibre_choice choice;
    unsigned index = 0;

    collect(&choice, yields);
    if (choice.count > 1) {
        index = world.plan->choose(world.plan->chooser, &choice);
        assert(index < choice.count);
        result->choices++;
        result->hash = (result->hash ^ (choice.id[index] + 1)) * UINT64_C(0x100000001b3);
    }
    fibre = world.fibres[choice.id[index]];
    if (fibre->state == FIBRE_SLEEPS) {
        world.now_ns = fibre->until_ns;
        fibre->state = FIBRE_RUNS;
    }
    return fibre;
}

static void reschedule(bool yields)
{
    struct stile_fibre *to = choose(yields);

    if (to != world.current)
        switch_to(to, false);
}

static void point(bool yields)
{
    const struct fibre_plan *plan = world.plan;

    /* Outside of a run there is nobody else. */
    if (world.current == NULL)
        return;
    if (++world.result->points > plan->limit)
        fibre_fail("no end after %" PRIu64 " points", plan->limit);
    if (plan->step_ns > 0)
        world.now_ns += (int64_t)(fibre_draw(&world.weather) % ((uint64_t)plan->step_ns + 1));
    reschedule(yields);
}

void stile__fibre_point(void)
{
    point(false);
}

void stile__fibre_yield(void)
{
    point(true);
}

/* ---- fibres ---------------------------------------------------------------- */

static void end_fibre(struct stile_fibre *self)
{
    unsigned i;

    if (self->kept != NULL)
        self->free_kept(self->kept);
    self->kept = NULL;
    if (self->ranks != 0)
        fibre_fail("a fibre ended with a mutex");
    if (self->cancel_off != 0)
        fibre_fail("a fibre ended with cancellation off");
    for (i = 0; i < CANARY_SIZE; i++)
        assert(self->stack[i] == 0xa5 && "the stack overflowed");
    self->state = FIBRE_ENDED;
    if (self->joiner != NULL && --self->joiner->joins == 0)
        self->joiner->state = FIBRE_RUNS;
}

static void enter(void)
{
    struct stile_fibre *self = world.current;

    arrived(self);
    self->run(self->arg);
    end_fibre(self);
    switch_to(self->id == 0 ? &world.host : choose(false), true);
    abort();
}

static struct stile_fibre *new_fibre(void)
{
    struct stile_fibre *fibre = calloc(1, sizeof *fibre);

    if (fibre == NULL)
        out_of_memory();
    fibre->stack = malloc(STACK_SIZE);
    if (fibre->stack == NULL)
        out_of_memory();
    fibre->stack_low = fibre->stack;
    fibre->stack_size = STACK_SIZE;
    if (getcontext(&fibre->context) != 0)
        abort();
    return fibre;
}

struct stile_fibre *fibre_start(const char *name, void (*run)(void *arg), void *arg)
{
    struct stile_fibre *fibre = idle;

    assert(world.count < FIBRES_MAX);
    if (fibre != NULL)
        idle = fibre->next_idle;
    else
        fibre = new_fibre();
#if TELLS_STACKS
    /* Frames that were never returned from. */
    ASAN_UNPOISON_MEMORY_REGION(fibre->stack, STACK_SIZE);
#endif
    memset(fibre->stack, 0xa5, CANARY_SIZE);
    fibre->fake_stack = NULL;
    fibre->id = world.count;
    snprintf(fibre->name, sizeof fibre->name, "%s", name);
    fibre->run = run;
    fibre->arg = arg;
    fibre->state = FIBRE_RUNS;
    fibre->joiner = NULL;
    fibre->joins = 0;
    fibre->ranks = 0;
    fibre->cancel_off = 0;
    fibre->context.uc_stack.ss_sp = fibre->stack;
    fibre->context.uc_stack.ss_size = STACK_SIZE;
    fibre->context.uc_link = NULL;
    makecontext(&fibre->context, enter, 0);
    world.fibres[world.count++] = fibre;
    return fibre;
}

void fibre_join(struct stile_fibre *const *fibres, unsigned count)
{
    struct stile_fibre *self = world.current;
    unsigned i;

    point(false);
    if (self->ranks != 0)
        fibre_fail("a fibre joins another with a mutex");
    for (i = 0; i < count; i++) {
        if (fibres[i]->joiner != NULL)
            fibre_fail("fibre %u is joined twice", fibres[i]->id);
        fibres[i]->joiner = self;
        if (fibres[i]->state != FIBRE_ENDED)
            self->joins++;
    }
    if (self->joins > 0) {
        self->state = FIBRE_JOINS;
        reschedule(false);
    }
}

/* The body of fibre 0. */
static void run_plan(void *arg)
{
    struct stile_parker *parker;
    unsigned i;

    world.plan->run(arg);
    for (i = 1; i < world.count; i++) {
        if (world.fibres[i]->state != FIBRE_ENDED)
            fibre_fail("fibre %u (%s) is left over", i, world.fibres[i]->name);
    }
    for (parker = parkers; parker != NULL; parker = parker->next) {
        if (parker->out)
            fibre_fail("a parker was not put back");
    }
}

void fibre_run(const struct fibre_plan *plan, struct fibre_result *result)
{
    struct stile_parker *parker;
    unsigned i;

    assert(world.current == NULL);
    memset(result, 0, sizeof *result);
    result->hash = UINT64_C(0xcbf29ce484222325);
    world.plan = plan;
    world.result = result;
    world.count = 0;
    world.now_ns = MONOTONIC_START_NS;
    world.weather = plan->seed ^ UINT64_C(0x77656174686572);
    world.entropy = plan->seed ^ UINT64_C(0x656e74726f7079);
    free_parkers = NULL;
    for (parker = parkers; parker != NULL; parker = parker->next) {
        parker->token = false;
        parker->out = false;
        parker->sleeper = NULL;
        parker->next_free = free_parkers;
        free_parkers = parker;
    }
    switch_to(fibre_start("main", run_plan, plan->arg), false);
    for (i = 0; i < world.count; i++) {
        struct stile_fibre **list = result->failed ? &kept : &idle;

        world.fibres[i]->next_idle = *list;
        *list = world.fibres[i];
    }
}

unsigned fibre_self(void)
{
    assert(world.current != NULL);
    return world.current->id;
}

void fibre_sleep(int64_t ns)
{
    struct stile_fibre *self = world.current;

    point(false);
    self->state = FIBRE_SLEEPS;
    self->until_ns = world.now_ns + ns;
    reschedule(false);
}

/* ---- mutexes --------------------------------------------------------------- */

void stile__mutex_init(struct stile_mutex *mutex, enum stile_rank rank)
{
    mutex->owner = NULL;
    mutex->rank = rank;
}

void stile__mutex_fini(struct stile_mutex *mutex)
{
    unsigned i;

    if (mutex->owner != NULL)
        fibre_fail("a mutex of rank %d is destroyed while it is locked", (int)mutex->rank);
    for (i = 0; i < world.count; i++) {
        if (world.fibres[i]->state == FIBRE_BLOCKED && world.fibres[i]->wants == mutex)
            fibre_fail("a mutex of rank %d is destroyed while it is wanted", (int)mutex->rank);
    }
}

void stile__mutex_lock(struct stile_mutex *mutex)
{
    struct stile_fibre *self = world.current;

    if (self->ranks >> mutex->rank != 0)
        fibre_fail("a mutex of rank %d is taken within ranks 0x%x", (int)mutex->rank, self->ranks);
    point(false);
    while (mutex->owner != NULL) {
        self->wants = mutex;
        self->state = FIBRE_BLOCKED;
        reschedule(false);
    }
    mutex->owner = self;
    self->ranks |= 1U << mutex->rank;
}

void stile__mutex_unlock(struct stile_mutex *mutex)
{
    struct stile_fibre *self = world.current;
    unsigned i;

    point(false);
    if (mutex->owner != self)
        fibre_fail("a mutex of rank %d is unlocked by who does not have it", (int)mutex->rank);
    mutex->owner = NULL;
    self->ranks &= ~(1U << mutex->rank);
    for (i = 0; i < world.count; i++) {
        struct stile_fibre *fibre = world.fibres[i];

        if (fibre->state == FIBRE_BLOCKED && fibre->wants == mutex)
            fibre->state = FIBRE_RUNS;
    }
}

/* ---- parking --------------------------------------------------------------- */

struct stile_parker *stile__parker_get(void)
{
    struct stile_parker *parker;

    point(false);
    parker = free_parkers;
    if (parker != NULL) {
        free_parkers = parker->next_free;
    } else {
        parker = calloc(1, sizeof *parker);
        if (parker == NULL)
            return NULL;
        parker->next = parkers;
        parkers = parker;
    }
    parker->out = true;
    return parker;
}

void stile__parker_put(struct stile_parker *parker)
{
    point(false);
    if (!parker->out || parker->sleeper != NULL)
        fibre_fail("a parker is put back twice, or with somebody asleep");
    parker->out = false;
    parker->next_free = free_parkers;
    free_parkers = parker;
}

void stile__park(struct stile_parker *parker, int64_t until_ns)
{
    struct stile_fibre *self = world.current;

    point(false);
    if (!parker->out || parker->sleeper != NULL)
        fibre_fail("a parker is used without having been got, or by two");
    if (!parker->token && until_ns > world.now_ns &&
        !(world.plan->stray && fibre_draw(&world.weather) % 64 == 0)) {
        if (self->ranks != 0)
            fibre_fail("a fibre parks with a mutex");
        parker->sleeper = self;
        self->until_ns = until_ns;
        self->state = FIBRE_SLEEPS;
        reschedule(false);
        parker->sleeper = NULL;
    }
    parker->token = false;
}

void stile__unpark(struct stile_parker *parker)
{
    point(false);
    parker->token = true;
    if (parker->sleeper != NULL)
        parker->sleeper->state = FIBRE_RUNS;
}

/* There are no cores: for each thread that asks, it is another. */
bool stile__parked_here(const struct stile_parker *parker)
{
    (void)parker;
    return fibre_draw(&world.weather) % 2 == 0;
}

/* ---- time ------------------------------------------------------------------ */

int64_t stile__monotonic_ns(void)
{
    point(false);
    return world.now_ns;
}

int64_t stile__boottime_ns(void)
{
    return stile__monotonic_ns() + BOOTTIME_AHEAD_NS;
}

int64_t stile__realtime_ms(void)
{
    return stile__monotonic_ns() / 1000000;
}

/* ---- who this is ------------------------------------------------------------ */

void stile__host_name(char *name, size_t size)
{
    snprintf(name, size, "fibres");
}

int64_t stile__process_id(void)
{
    return 1;
}

/* ---- threads --------------------------------------------------------------- */

unsigned stile__cpus(void)
{
    return world.plan->cpus;
}

/* Looks are counted here. */
int64_t stile__wake_ns(void)
{
    return 20000;
}

void stile__wake_took(int64_t ns)
{
    (void)ns;
}

stile_status stile__thread_start(struct stile_thread *thread, const char *name,
                                 void (*run)(void *arg), void *arg)
{
    point(false);
    if (strlen(name) >= NAME_SIZE)
        fibre_fail("a thread's name is longer than %d bytes", NAME_SIZE - 1);
    thread->fibre = fibre_start(name, run, arg);
    return STILE_OK;
}

void stile__thread_join(struct stile_thread *thread)
{
    fibre_join(&thread->fibre, 1);
}

int stile__cancel_off(void)
{
    int previous = world.current->cancel_off;

    world.current->cancel_off = 1;
    return previous;
}

void stile__cancel_restore(int previous)
{
    world.current->cancel_off = previous;
}

void **stile__fibre_kept(void)
{
    assert(world.current != NULL);
    return &world.current->kept;
}

stile_status stile__keep(void *what, void (*free_it)(void *of_thread))
{
    world.current->kept = what;
    world.current->free_kept = free_it;
    return STILE_OK;
}

uint64_t stile__thread_number(void)
{
    uint64_t number = world.current == NULL ? 1 : (uint64_t)world.current->id + 2;

    return number << 32 | number;
}

/* ---- signals: nobody polls here --------------------------------------------- */

stile_status stile__signal_open(struct stile_signal *signal)
{
    signal->fds[0] = signal->fds[1] = 0;
    return STILE_OK;
}

void stile__signal_close(struct stile_signal *signal)
{
    (void)signal;
}

void stile__signal_raise(const struct stile_signal *signal)
{
    (void)signal;
    point(false);
}

void stile__signal_clear(const struct stile_signal *signal)
{
    (void)signal;
    point(false);
}

uint32_t stile__fork_generation(void)
{
    return 0;
}

/* ---- entropy --------------------------------------------------------------- */

stile_status stile__random(void *bytes, size_t size)
{
    unsigned char *next = bytes;

    while (size > 0) {
        uint64_t word = fibre_draw(&world.entropy);
        size_t part = size < sizeof word ? size : sizeof word;

        memcpy(next, &word, part);
        next += part;
        size -= part;
    }
    return STILE_OK;
}
