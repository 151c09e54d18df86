#include "explore.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/os.h"
#include "fibre.h"

enum { LIMIT = 20000 };

static _Noreturn void out_of_memory(void)
{
    fputs("no memory to explore\n", stderr);
    abort();
}

/* ---- distinct schedules ---------------------------------------------------- */

/* An open hash of what is already one; 0 is an empty place. */
struct seen {
    uint64_t *places;
    size_t size; /* a power of two */
    size_t count;
};

static void seen_put(struct seen *seen, uint64_t hash)
{
    size_t at = (size_t)hash & (seen->size - 1);

    while (seen->places[at] != 0 && seen->places[at] != hash)
        at = (at + 1) & (seen->size - 1);
    if (seen->places[at] == 0)
        seen->count++;
    seen->places[at] = hash;
}

static void seen_add(struct seen *seen, uint64_t hash)
{
    if (seen->count * 2 >= seen->size) {
        struct seen grown = {NULL, seen->size == 0 ? 1024 : seen->size * 2, 0};
        size_t i;

        grown.places = calloc(grown.size, sizeof *grown.places);
        if (grown.places == NULL)
            out_of_memory();
        for (i = 0; i < seen->size; i++) {
            if (seen->places[i] != 0)
                seen_put(&grown, seen->places[i]);
        }
        free(seen->places);
        *seen = grown;
    }
    seen_put(seen, hash == 0 ? 1 : hash);
}

/* ---- one schedule ---------------------------------------------------------- */

struct program {
    const struct scenario *scenario;
    void *state;
    struct program *next;
};

/* Of schedules that failed, so that what they had allocated stays reachable. */
static struct program *kept;

struct part {
    struct program *program;
    unsigned index;
};

/* By the fibre's id. */
static unsigned part_of[FIBRES_MAX];

static void run_part(void *arg)
{
    struct part *part = arg;

    part_of[fibre_self()] = part->index;
    part->program->scenario->run[part->index](part->program->state);
}

static void run_program(void *arg)
{
    struct stile_fibre *fibres[SCENARIO_FIBRES_MAX];
    struct part parts[SCENARIO_FIBRES_MAX];
    struct program *program = arg;
    const struct scenario *scenario = program->scenario;
    unsigned i;

    if (scenario->setup != NULL)
        scenario->setup(program->state);
    for (i = 0; i < SCENARIO_FIBRES_MAX && scenario->run[i] != NULL; i++) {
        char name[8];

        snprintf(name, sizeof name, "run[%u]", i);
        parts[i].program = program;
        parts[i].index = i;
        fibres[i] = fibre_start(name, run_part, &parts[i]);
    }
    fibre_join(fibres, i);
    if (scenario->check != NULL)
        scenario->check(program->state);
}

/* The seed decides all that the plan does not. */
static void run_schedule(const struct scenario *scenario, struct fibre_plan *plan,
                         struct fibre_result *result)
{
    struct program *program = calloc(1, sizeof *program);
    uint64_t seed = plan->seed;

    if (program == NULL)
        out_of_memory();
    program->scenario = scenario;
    program->state = calloc(1, scenario->size == 0 ? 1 : scenario->size);
    if (program->state == NULL)
        out_of_memory();
    plan->run = run_program;
    plan->arg = program;
    plan->limit = scenario->limit == 0 ? LIMIT : scenario->limit;
    plan->stray = scenario->stray && !plan->early;
    /* From all of it to a 128th: in some schedules timers hardly matter. */
    plan->step_ns = scenario->step_ns >> (fibre_draw(&seed) % 8);
    /* What spins with two cores sleeps at once with one. */
    plan->cpus = plan->early ? 1 : 1 + (unsigned)(fibre_draw(&seed) % 2);
    fibre_run(plan, result);
    if (result->failed) {
        program->next = kept;
        kept = program;
    } else {
        free(program->state);
        free(program);
    }
}

/* ---- a number of schedules ------------------------------------------------- */

struct exploration {
    const struct scenario *scenario;
    struct explore_report *report;
    struct seen seen;
    struct timespec began;
};

static void begin(struct exploration *exploration, const struct scenario *scenario,
                  struct explore_report *report)
{
    memset(exploration, 0, sizeof *exploration);
    memset(report, 0, sizeof *report);
    report->scenario = scenario->name;
    exploration->scenario = scenario;
    exploration->report = report;
    clock_gettime(CLOCK_MONOTONIC, &exploration->began);
}

static void note(struct exploration *exploration, const struct fibre_result *result)
{
    struct explore_report *report = exploration->report;

    report->schedules++;
    report->points += result->points;
    report->choices += result->choices;
    report->failed = result->failed;
    memcpy(report->text, result->text, sizeof report->text);
    seen_add(&exploration->seen, result->hash);
}

static void finish(struct exploration *exploration)
{
    struct explore_report *report = exploration->report;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    report->seconds = (double)(now.tv_sec - exploration->began.tv_sec) +
                      (double)(now.tv_nsec - exploration->began.tv_nsec) / 1e9;
    report->distinct = exploration->seen.count;
    free(exploration->seen.places);
}

/* ---- random walk ----------------------------------------------------------- */

static unsigned choose_random(void *chooser, const struct fibre_choice *choice)
{
    return (unsigned)(fibre_draw(chooser) % choice->count);
}

static void walk(struct exploration *exploration, uint64_t seed)
{
    struct explore_report *report = exploration->report;
    uint64_t choices = ~seed;
    struct fibre_plan plan = {.choose = choose_random, .chooser = &choices, .seed = seed};
    struct fibre_result result;

    run_schedule(exploration->scenario, &plan, &result);
    note(exploration, &result);
    if (result.failed)
        snprintf(report->schedule, sizeof report->schedule, "random:%" PRIu64, seed);
}

void explore_random(const struct scenario *scenario, uint64_t schedules, uint64_t seed,
                    struct explore_report *report)
{
    struct exploration exploration;

    begin(&exploration, scenario, report);
    while (report->schedules < schedules && !report->failed)
        walk(&exploration, fibre_draw(&seed));
    finish(&exploration);
}

/* ---- PCT ------------------------------------------------------------------- */

enum { DEPTH_MAX = 8 };

struct priorities {
    uint64_t draws;
    uint64_t choices; /* so far */
    unsigned depth;
    uint64_t change[DEPTH_MAX]; /* the choices at which who would run falls */
    /* 0: not drawn yet.  Drawn ones are above 2^32; fallen ones below, each
     * lower than the one before. */
    uint64_t of[FIBRES_MAX];
    uint64_t fallen;
};

static void fall(struct priorities *priorities, unsigned id)
{
    priorities->of[id] = --priorities->fallen;
}

static unsigned highest(const struct priorities *priorities, const struct fibre_choice *choice)
{
    unsigned i, best = 0;

    for (i = 1; i < choice->count; i++) {
        if (priorities->of[choice->id[i]] > priorities->of[choice->id[best]])
            best = i;
    }
    return best;
}

static unsigned choose_pct(void *chooser, const struct fibre_choice *choice)
{
    struct priorities *priorities = chooser;
    unsigned i, best;

    for (i = 0; i < choice->count; i++) {
        if (priorities->of[choice->id[i]] == 0)
            priorities->of[choice->id[i]] = (fibre_draw(&priorities->draws) >> 1) | UINT64_C(1)
                                                                                        << 62;
    }
    /* Who spins waits for somebody, whoever that is. */
    if (choice->yields)
        fall(priorities, choice->running);
    best = highest(priorities, choice);
    for (i = 0; i + 1 < priorities->depth; i++) {
        if (priorities->change[i] == priorities->choices) {
            fall(priorities, choice->id[best]);
            best = highest(priorities, choice);
        }
    }
    priorities->choices++;
    return best;
}

/* Returns how many choices there were. */
static uint64_t prioritize(struct exploration *exploration, unsigned depth, uint64_t length,
                           uint64_t seed)
{
    struct priorities priorities = {
        .draws = ~seed, .depth = depth < DEPTH_MAX ? depth : DEPTH_MAX, .fallen = UINT32_MAX};
    struct fibre_plan plan = {.choose = choose_pct, .chooser = &priorities, .seed = seed};
    struct explore_report *report = exploration->report;
    struct fibre_result result;
    unsigned i;

    for (i = 0; i + 1 < priorities.depth; i++)
        priorities.change[i] = length == 0 ? UINT64_MAX : fibre_draw(&priorities.draws) % length;
    run_schedule(exploration->scenario, &plan, &result);
    note(exploration, &result);
    if (result.failed)
        snprintf(report->schedule, sizeof report->schedule, "pct:%u:%" PRIu64 ":%" PRIu64, depth,
                 length, seed);
    return result.choices;
}

void explore_pct(const struct scenario *scenario, unsigned depth, uint64_t schedules, uint64_t seed,
                 struct explore_report *report)
{
    struct exploration exploration;
    uint64_t length = 0;

    begin(&exploration, scenario, report);
    /* As many choices as the schedule before had are taken for the length of the
     * next: lengths vary, and beyond the end no change hits. */
    while (report->schedules < schedules && !report->failed)
        length = prioritize(&exploration, depth, length, fibre_draw(&seed));
    finish(&exploration);
}

/* ---- exhaustive ------------------------------------------------------------ */

enum { SEARCH_MAX = LIMIT };

/* A path through the tree of choices: what was taken at each, of how many. */
struct path {
    unsigned preemptions; /* allowed */
    unsigned used;
    size_t length; /* choices that are given */
    size_t at;     /* the next one */
    struct {
        unsigned char taken;
        unsigned char of;
    } step[SEARCH_MAX];
};

static unsigned choose_path(void *chooser, const struct fibre_choice *choice)
{
    struct path *path = chooser;
    unsigned taken;

    /* Who stays can be followed by anybody as long as preemptions are left. */
    if (choice->can_stay && path->used == path->preemptions)
        return 0;
    if (path->at == SEARCH_MAX)
        fibre_fail("more than %d choices", SEARCH_MAX);
    if (path->at == path->length) {
        path->step[path->at].taken = 0;
        path->length++;
    }
    path->step[path->at].of = (unsigned char)choice->count;
    taken = path->step[path->at++].taken;
    if (taken >= choice->count)
        fibre_fail("not a schedule of this scenario");
    if (choice->can_stay && taken != 0)
        path->used++;
    return taken;
}

static void follow(struct exploration *exploration, struct path *path)
{
    struct fibre_plan plan = {.choose = choose_path, .chooser = path, .seed = 0, .early = true};
    struct explore_report *report = exploration->report;
    struct fibre_result result;
    size_t used, i;

    path->used = 0;
    path->at = 0;
    run_schedule(exploration->scenario, &plan, &result);
    note(exploration, &result);
    if (!result.failed)
        return;
    used = (size_t)snprintf(report->schedule, sizeof report->schedule,
                            "exhaustive:%u:", path->preemptions);
    for (i = 0; i < path->at && used < sizeof report->schedule; i++) {
        if (path->step[i].taken != 0)
            used += (size_t)snprintf(report->schedule + used, sizeof report->schedule - used,
                                     "%zu.%u,", i, path->step[i].taken);
    }
}

/* To the next path: the last choice that has another.  False: there is none. */
static bool advance(struct path *path)
{
    path->length = path->at;
    while (path->length > 0) {
        size_t last = path->length - 1;

        if (path->step[last].taken + 1 < path->step[last].of) {
            path->step[last].taken++;
            return true;
        }
        path->length--;
    }
    return false;
}

static struct path *new_path(unsigned preemptions)
{
    struct path *path = calloc(1, sizeof *path);

    if (path == NULL)
        out_of_memory();
    path->preemptions = preemptions;
    return path;
}

void explore_exhaustive(const struct scenario *scenario, unsigned preemptions, uint64_t schedules,
                        struct explore_report *report)
{
    struct path *path = new_path(preemptions);
    struct exploration exploration;

    begin(&exploration, scenario, report);
    while (report->schedules < schedules && !report->failed && !report->complete) {
        follow(&exploration, path);
        report->complete = !report->failed && !advance(path);
    }
    finish(&exploration);
    free(path);
}

/* ---- again ----------------------------------------------------------------- */

static bool read_path(const char *line, struct path *path)
{
    int length;

    if (sscanf(line, "%u:%n", &path->preemptions, &length) != 1)
        return false;
    for (line += length; *line != '\0'; line += length) {
        unsigned taken;
        size_t at;

        if (sscanf(line, "%zu.%u,%n", &at, &taken, &length) != 2 || at >= SEARCH_MAX || taken > 255)
            return false;
        path->step[at].taken = (unsigned char)taken;
    }
    /* Where the line says nothing, who runs goes on. */
    path->length = SEARCH_MAX;
    return true;
}

bool explore_replay(const struct scenario *scenario, const char *schedule,
                    struct explore_report *report)
{
    static const char exhaustive[] = "exhaustive:";
    struct exploration exploration;
    uint64_t seed, length;
    unsigned depth;
    bool known = true;

    begin(&exploration, scenario, report);
    if (sscanf(schedule, "random:%" SCNu64, &seed) == 1) {
        walk(&exploration, seed);
    } else if (sscanf(schedule, "pct:%u:%" SCNu64 ":%" SCNu64, &depth, &length, &seed) == 3) {
        prioritize(&exploration, depth, length, seed);
    } else if (strncmp(schedule, exhaustive, sizeof exhaustive - 1) == 0) {
        struct path *path = new_path(0);

        known = read_path(schedule + sizeof exhaustive - 1, path);
        if (known)
            follow(&exploration, path);
        free(path);
    } else {
        known = false;
    }
    finish(&exploration);
    return known;
}

/* ---- what tests do --------------------------------------------------------- */

void explore_print(const char *what, const struct explore_report *report)
{
    printf("%s: %" PRIu64 " schedules%s, %" PRIu64 " distinct, %" PRIu64 " points, %" PRIu64
           " choices, %.2f s\n",
           what, report->schedules, report->complete ? " (all)" : "", report->distinct,
           report->points, report->choices, report->seconds);
    if (report->failed)
        printf("%s: failed: %s\n  again: STILE_SCHEDULE='%s=%s'\n", what, report->text,
               report->scenario, report->schedule);
    fflush(stdout);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 0);
}

/* Prints under the scenario's name and how it was explored. */
static bool tell(const char *how, const struct explore_report *report)
{
    char what[256];

    snprintf(what, sizeof what, "%s, %s", report->scenario, how);
    explore_print(what, report);
    return !report->failed;
}

/* Whether the environment asks for one schedule, and so for nothing else; *passed
 * says how that one ended, if it is this scenario's. */
static bool one_alone(const struct scenario *scenario, struct explore_report *report, bool *passed)
{
    const char *line = getenv("STILE_SCHEDULE");
    size_t length = strlen(scenario->name);

    if (line == NULL || *line == '\0')
        return false;
    *passed = true;
    if (strncmp(line, scenario->name, length) != 0 || line[length] != '=')
        return true;
    if (explore_replay(scenario, line + length + 1, report)) {
        *passed = tell("again", report);
    } else {
        printf("STILE_SCHEDULE is no schedule: %s\n", line);
        *passed = false;
    }
    return true;
}

bool explore(const struct scenario *scenario, uint64_t schedules, struct explore_report *report)
{
    uint64_t seed = from_environment("STILE_SEED", 1);
    char how[64];
    bool passed;

    if (one_alone(scenario, report, &passed))
        return passed;
    schedules = from_environment("STILE_SOAK", schedules);
    explore_random(scenario, schedules / 2, seed, report);
    snprintf(how, sizeof how, "random, seed %" PRIu64, seed);
    if (!tell(how, report))
        return false;
    explore_pct(scenario, 3, schedules - schedules / 2, seed, report);
    snprintf(how, sizeof how, "pct 3, seed %" PRIu64, seed);
    return tell(how, report);
}

bool explore_every(const struct scenario *scenario, unsigned preemptions, uint64_t schedules,
                   struct explore_report *report)
{
    char how[64];
    bool passed;

    if (one_alone(scenario, report, &passed))
        return passed;
    explore_exhaustive(scenario, preemptions, schedules, report);
    snprintf(how, sizeof how, "%u preemptions", preemptions);
    return tell(how, report) && report->complete;
}

/* ---- within a scenario ----------------------------------------------------- */

void explore_fail(const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fibre_fail("%s", text);
}

unsigned explore_fibre(void)
{
    return part_of[fibre_self()];
}

void explore_point(void)
{
    stile__fibre_point();
}

int64_t explore_now_ns(void)
{
    return stile__monotonic_ns();
}

void explore_sleep_ns(int64_t ns)
{
    fibre_sleep(ns);
}

bool explore_finds(const struct scenario *const *scenarios, size_t count, uint64_t schedules)
{
    struct explore_report report, again;
    size_t i;

    for (i = 0; i < count; i++) {
        if (!explore(scenarios[i], schedules, &report))
            return explore_replay(scenarios[i], report.schedule, &again) &&
                   strcmp(again.text, report.text) == 0;
    }
    printf("no schedule failed\n");
    return false;
}
