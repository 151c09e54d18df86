/*
 * The scripts by themselves: run twice, over keys of other types, at the end of
 * the fences, on a full server.  What one cannot do it leaves as it was.
 */
#include "fault/lock_scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_script.h"

#define ME "11111111111111111111111111111111"
#define OTHER "22222222222222222222222222222222"
#define THIRD "33333333333333333333333333333333"
/* What follows an op id for people. */
#define WHO " host%20name 12 34 a label"
#define MY_CLIENT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define INBOX "stile:inbox:"
#define LEASE "30000"
#define CLAIM "1000"
#define WAITER_LEASE "5000"
#define NEVER "9000000000000000"

static struct test_server server;
static char reply[65536];

/* ---- surroundings ------------------------------------------------------------- */

static int start_server(void **state)
{
    static const char *const args[] = {"--enable-debug-command", "yes", NULL};
    struct test_server_options options = {.args = args};

    (void)state;
    return test_server_start(&options, &server) ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    test_redis(&server, NULL, 0, "CONFIG", "SET", "maxmemory", "0", NULL);
    test_redis(&server, NULL, 0, "FLUSHALL", NULL);
    return 0;
}

/* A script with its arguments; the keys are those of "ledger". */
struct step {
    const struct redis_script *script;
    int parts[4];
    size_t part_count;
    const char *args[10];
};

#define ALL_PARTS {KEY_LOCK, KEY_FENCE, KEY_QUEUE, KEY_WAITERS}, 4

static const struct step try_it = {
    &stile__script_lock_try, {KEY_LOCK, KEY_FENCE}, 2, {ME WHO, LEASE, NEVER, "86400000"}};
static const struct step queue_up = {
    &stile__script_lock_acquire,
    ALL_PARTS,
    {ME, WAITER_LEASE " " MY_CLIENT WHO, LEASE, NEVER, CLAIM, INBOX, "0"}};
static const struct step ask_queue = {
    &stile__script_lock_acquire,
    ALL_PARTS,
    {ME, WAITER_LEASE " " MY_CLIENT WHO, LEASE, NEVER, CLAIM, INBOX, "0", "try"}};
static const struct step look = {
    &stile__script_lock_poll, ALL_PARTS, {MY_CLIENT, WAITER_LEASE, CLAIM, INBOX, ME}};
static const struct step let_go = {&stile__script_lock_release, ALL_PARTS, {ME, CLAIM, INBOX}};
static const struct step keep = {
    &stile__script_lock_release, ALL_PARTS, {ME, CLAIM, INBOX, "20000"}};
static const struct step let_go_alone = {&stile__script_lock_release, {KEY_LOCK}, 1, {ME}};
static const struct step undo = {&stile__script_lock_abandon, ALL_PARTS, {ME, CLAIM, INBOX}};
static const struct step renew = {
    &stile__script_lock_renew, {KEY_LOCK, KEY_FENCE}, 2, {ME, LEASE, "0"}};
static const struct step claim = {
    &stile__script_lock_renew, {KEY_LOCK, KEY_FENCE}, 2, {ME, LEASE, "1"}};
static const struct step extend = {
    &stile__script_lock_extend, {KEY_LOCK, KEY_FENCE}, 2, {ME, "1000", "315360000000"}};

static const struct step force = {&stile__script_lock_force, ALL_PARTS, {CLAIM, INBOX}};
static const struct step inspect = {&stile__script_lock_inspect, ALL_PARTS, {"100"}};

/* Runs it for the op id that stands in the place of ME, and leaves the answer in
 * reply. */
static enum test_reply run_as(const struct step *step, const char *op)
{
    const char *words[20] = {"EVAL", step->script->text};
    char count[8], described[128];
    size_t at = 3;

    snprintf(count, sizeof count, "%zu", step->part_count);
    /* Only the first argument may be one, and what follows it stays. */
    snprintf(described, sizeof described, "%s%s", op,
             strncmp(step->args[0], ME, 32) == 0 ? step->args[0] + 32 : "");
    words[2] = count;
    for (size_t i = 0; i < step->part_count; i++)
        words[at++] = scene_key("ledger", (enum key_part)step->parts[i]);
    for (size_t i = 0; step->args[i] != NULL; i++)
        words[at++] = strncmp(step->args[i], ME, 32) == 0 ? described : step->args[i];
    return test_redis_argv(&server, reply, sizeof reply, at, words, NULL);
}

static enum test_reply run(const struct step *step)
{
    return run_as(step, ME);
}

static void must_run(const struct step *step, const char *op)
{
    if (run_as(step, op) != TEST_REPLY_OK) {
        print_error("%s: %s\n", step->script->name, reply);
        fail();
    }
    scene_expect_ttls(&server);
}

/* A line of the last reply as a number, the first being 0. */
static int64_t answer(unsigned line)
{
    const char *at = reply;

    for (; line > 0; line--) {
        at = strchr(at, '\n');
        assert_non_null(at);
        at++;
    }
    return strtoll(at, NULL, 10);
}

/* ---- situations ------------------------------------------------------------------ */

static void nothing(void)
{
}

static void mine(void)
{
    must_run(&try_it, ME);
}

/* As one takes it who describes nobody. */
static void mine_by_hand(void)
{
    static char value[] = "1-" ME;

    test_redis(&server, NULL, 0, "SET", scene_key("ledger", KEY_LOCK), value, "PX", LEASE, NULL);
    test_redis(&server, NULL, 0, "SET", scene_key("ledger", KEY_FENCE), "1", "PX", "86400000",
               NULL);
}

static void kept(void)
{
    mine();
    must_run(&keep, ME);
}

static void others(void)
{
    must_run(&try_it, OTHER);
}

static void mine_and_another_waits(void)
{
    must_run(&try_it, ME);
    must_run(&queue_up, OTHER);
}

static void i_wait(void)
{
    must_run(&try_it, OTHER);
    must_run(&queue_up, ME);
}

static void we_wait(void)
{
    must_run(&try_it, OTHER);
    must_run(&queue_up, ME);
    must_run(&queue_up, THIRD);
}

/* Its owner's lease ran out. */
static void i_wait_for_nobody(void)
{
    we_wait();
    test_redis(&server, NULL, 0, "DEL", scene_key("ledger", KEY_LOCK), NULL);
}

/* Two are queued, and the first of them, me, was granted; a subscriber is missing, so
 * that the grant is made by hand. */
static void granted_to_me(void)
{
    static char granted[] = "1g" ME WHO;

    we_wait();
    test_redis(&server, NULL, 0, "ZREM", scene_key("ledger", KEY_QUEUE), ME, NULL);
    test_redis(&server, NULL, 0, "HDEL", scene_key("ledger", KEY_WAITERS), ME, NULL);
    test_redis(&server, NULL, 0, "APPEND", scene_key("ledger", KEY_FENCE), " " MY_CLIENT, NULL);
    test_redis(&server, NULL, 0, "SET", scene_key("ledger", KEY_LOCK), granted, "PX", CLAIM, NULL);
}

static const struct situation {
    const char *name;
    void (*make)(void);
} situations[] = {
    {"free", nothing},
    {"mine", mine},
    {"mine by hand", mine_by_hand},
    {"kept for nobody", kept},
    {"another's", others},
    {"mine, another waits", mine_and_another_waits},
    {"I wait", i_wait},
    {"two wait", we_wait},
    {"two wait for nobody", i_wait_for_nobody},
    {"granted to me", granted_to_me},
};

static const struct step *const steps[] = {&try_it, &queue_up, &ask_queue, &look,   &let_go,
                                           &undo,   &renew,    &claim,     &extend, &let_go_alone,
                                           &keep,   &inspect,  &force};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* All there is of the lock but times: neither TTLs nor waiters' deadlines. */
static void read_state(char *text, size_t size)
{
    static const char script[] =
        "local out = {}\n"
        "for i = 1, 2 do out[i] = tostring(redis.call('GET', KEYS[i])) end\n"
        "for _, v in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')) do\n"
        "  out[#out + 1] = v\n"
        "end\n"
        "local h, names = redis.call('HGETALL', KEYS[4]), {}\n"
        "for i = 1, #h, 2 do\n"
        "  names[#names + 1] = h[i] .. '=' .. string.gsub(h[i + 1], '^%d+ %d+ ', '')\n"
        "end\n"
        "table.sort(names)\n"
        "return table.concat(out, ' ') .. ' | ' .. table.concat(names, ' ')\n";

    assert_int_equal(test_redis(&server, text, size, "EVAL", script, "4",
                                scene_key("ledger", KEY_LOCK), scene_key("ledger", KEY_FENCE),
                                scene_key("ledger", KEY_QUEUE), scene_key("ledger", KEY_WAITERS),
                                NULL),
                     TEST_REPLY_OK);
}

static void read_digest(char text[64])
{
    assert_int_equal(test_redis(&server, text, 64, "DEBUG", "DIGEST", NULL), TEST_REPLY_OK);
}

/* ---- twice ----------------------------------------------------------------------- */

static void a_script_run_twice_has_done_it_once(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT_OF(situations); s++) {
        for (size_t i = 0; i < COUNT_OF(steps); i++) {
            char once[4096], twice[4096];

            /* It would take the lock from the next owner, too. */
            if (steps[i] == &force)
                continue;
            begin(NULL);
            situations[s].make();
            must_run(steps[i], ME);
            read_state(once, sizeof once);
            must_run(steps[i], ME);
            read_state(twice, sizeof twice);
            if (strcmp(once, twice) != 0)
                print_error("%s, %s:\n", steps[i]->script->name, situations[s].name);
            assert_string_equal(once, twice);
        }
    }
}

/* What an acquire comes to: 1 and the fence, 2 and the number in the queue, which behind
 * others is the whole answer, or 0 and 0.  What a first try cannot tell is asked of the
 * other script, as its caller does. */
static void acquire(const struct step *step, int64_t *code, int64_t *number)
{
    must_run(step, ME);
    if (step == &try_it && answer(0) > 0) {
        *code = 1;
        *number = answer(0);
        return;
    }
    if (step == &try_it && answer(0) == -2)
        must_run(&ask_queue, ME);
    *code = answer(0) > 2 ? 2 : answer(0);
    *number = answer(0) > 2 ? answer(0) : *code > 0 ? answer(3) : 0;
}

static void a_repeated_acquire_gives_the_first_answer(void **state)
{
    static const struct step *const acquires[] = {&try_it, &queue_up, &ask_queue};

    (void)state;
    for (size_t s = 0; s < COUNT_OF(situations); s++) {
        for (size_t i = 0; i < COUNT_OF(acquires); i++) {
            int64_t code, number, code_again, number_again;

            begin(NULL);
            situations[s].make();
            acquire(acquires[i], &code, &number);
            acquire(acquires[i], &code_again, &number_again);
            assert_int_equal(code_again, code);
            assert_int_equal(number_again, number);
        }
    }
}

/* Others may have queued between an acquire and its repetition. */
static void an_acquire_repeated_behind_a_queue_still_finds_its_hold(void **state)
{
    int64_t fence;

    (void)state;
    must_run(&try_it, ME);
    fence = answer(0);
    must_run(&queue_up, OTHER);
    /* The other script is to be asked; not: it is taken. */
    must_run(&try_it, ME);
    assert_int_equal(answer(0), -2);
    must_run(&ask_queue, ME);
    assert_int_equal(answer(0), 1);
    assert_in_range(answer(2), 1, 30000);
    assert_int_equal(answer(3), fence);
    must_run(&queue_up, ME);
    assert_int_equal(answer(0), 1);
    assert_int_equal(answer(3), fence);
}

static void a_release_frees_only_its_own_hold(void **state)
{
    (void)state;
    others();
    must_run(&let_go, ME);
    assert_int_equal(answer(0), 0);
    assert_true(scene_owned(&server, "ledger"));
    must_run(&undo, ME);
    assert_int_equal(answer(0), 0);
    assert_true(scene_owned(&server, "ledger"));
    must_run(&let_go, OTHER);
    assert_int_equal(answer(0), 1);
    assert_false(scene_owned(&server, "ledger"));
    must_run(&let_go, OTHER);
    assert_int_equal(answer(0), 0);
}

/* ---- who, and for how long --------------------------------------------------------- */

/* How often text is in the last answer. */
static int mentions(const char *text)
{
    int count = 0;

    for (const char *at = strstr(reply, text); at != NULL; at = strstr(at + 1, text))
        count++;
    return count;
}

static void an_inspection_changes_nothing_and_tells_no_op_id(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT_OF(situations); s++) {
        char before[64], after[64];

        begin(NULL);
        situations[s].make();
        read_digest(before);
        must_run(&inspect, ME);
        assert_int_equal(answer(0), scene_owned(&server, "ledger"));
        assert_int_equal(mentions(ME) + mentions(OTHER) + mentions(THIRD), 0);
        read_digest(after);
        assert_string_equal(before, after);
    }
}

static void who_it_is_stays_with_a_waiter_and_becomes_the_owners(void **state)
{
    (void)state;
    we_wait();
    must_run(&look, ME);
    must_run(&inspect, ME);
    assert_int_equal(answer(3), 2);
    assert_int_equal(mentions(WHO), 3);
    granted_to_me();
    must_run(&claim, ME);
    must_run(&inspect, ME);
    assert_int_equal(answer(3), 1);
    assert_int_equal(mentions(WHO), 2);
}

static void an_inspection_leaves_out_waiters_that_do_not_count(void **state)
{
    (void)state;
    we_wait();
    test_redis(&server, NULL, 0, "HSET", scene_key("ledger", KEY_WAITERS), ME, "5 1 " MY_CLIENT WHO,
               NULL);
    must_run(&inspect, ME);
    assert_int_equal(answer(3), 1);
    assert_int_equal(mentions(WHO), 2);
    /* One whose client let a grant run out. */
    test_redis(&server, NULL, 0, "HSET", scene_key("ledger", KEY_WAITERS), "!" MY_CLIENT, NEVER,
               "!", "1", NULL);
    must_run(&inspect, ME);
    assert_int_equal(answer(3), 0);
    assert_int_equal(mentions(WHO), 1);
}

static void a_lock_kept_for_nobody_is_nobodys(void **state)
{
    static const struct step *const owners[] = {&let_go, &keep, &undo, &renew, &claim, &extend};

    (void)state;
    kept();
    for (size_t i = 0; i < COUNT_OF(owners); i++) {
        must_run(owners[i], ME);
        assert_int_equal(answer(0), 0);
    }
    must_run(&try_it, OTHER);
    assert_int_equal(answer(0), 0);
    must_run(&queue_up, OTHER);
    assert_int_equal(answer(0), 2);
    assert_in_range(answer(2), 1, 20000);
    must_run(&inspect, ME);
    assert_int_equal(answer(0), 1);
    assert_in_range(answer(1), 1, 20000);
    assert_int_equal(mentions(WHO), 2);
    /* When its time is over, who looks gets it. */
    test_redis(&server, NULL, 0, "DEL", scene_key("ledger", KEY_LOCK), NULL);
    must_run(&try_it, ME);
    assert_int_equal(answer(0), -2);
}

static void a_release_with_one_key_does_nothing_where_the_queue_has_a_say(void **state)
{
    char before[4096], after[4096];

    (void)state;
    mine();
    must_run(&let_go_alone, ME);
    assert_int_equal(answer(0), 1);
    assert_false(scene_owned(&server, "ledger"));
    others();
    must_run(&let_go_alone, ME);
    assert_int_equal(answer(0), 0);
    assert_true(scene_owned(&server, "ledger"));
    begin(NULL);
    mine_and_another_waits();
    read_state(before, sizeof before);
    must_run(&let_go_alone, ME);
    assert_int_equal(answer(0), 3);
    read_state(after, sizeof after);
    assert_string_equal(before, after);
    /* The owner's lease ran out: the queue has to be told. */
    assert_int_equal(test_redis_int(&server, "DEL", scene_key("ledger", KEY_LOCK), NULL), 1);
    must_run(&let_go_alone, ME);
    assert_int_equal(answer(0), 3);
}

/* ---- wrong types --------------------------------------------------------------------- */

static const char *const foreign[][6] = {
    {"SET", NULL, "junk"},         {"RPUSH", NULL, "a", "b"}, {"HSET", NULL, "field", "value"},
    {"ZADD", NULL, "1", "member"}, {"SADD", NULL, "a", "b"},  {"XADD", NULL, "*", "f", "v"},
};

static void put_foreign(const char *key, const char *const *words)
{
    const char *command[6];
    size_t count = 0;

    for (; count < 6 && (count == 1 || words[count] != NULL); count++)
        command[count] = count == 1 ? key : words[count];
    test_redis(&server, NULL, 0, "DEL", key, NULL);
    assert_int_equal(test_redis_argv(&server, NULL, 0, count, command, NULL), TEST_REPLY_OK);
    /* A hold that is renewed gives the fence beside it a longer time to live, whatever it
     * is. */
    test_redis(&server, NULL, 0, "PEXPIRE", key, "60000", NULL);
}

/* Whether that is the type that this part has. */
static bool is_own_type(enum key_part part, const char *const *words)
{
    return (part == KEY_QUEUE && strcmp(words[0], "ZADD") == 0) ||
           (part == KEY_WAITERS && strcmp(words[0], "HSET") == 0);
}

/*
 * A script that sees it says so and changes nothing; one that need not look there
 * (a release that nobody waits for) leaves it alone.
 */
static void a_key_of_another_type_is_an_error_and_nothing_is_written(void **state)
{
    unsigned errors = 0;

    (void)state;
    for (size_t s = 0; s < COUNT_OF(situations); s++) {
        for (size_t i = 0; i < COUNT_OF(steps); i++) {
            for (size_t p = 0; p < steps[i]->part_count; p++) {
                for (size_t f = 0; f < COUNT_OF(foreign); f++) {
                    enum key_part part = (enum key_part)steps[i]->parts[p];
                    char key[64], was[64], is[64], before[64], after[64];
                    enum test_reply got;

                    if (is_own_type(part, foreign[f]))
                        continue;
                    begin(NULL);
                    situations[s].make();
                    snprintf(key, sizeof key, "%s", scene_key("ledger", part));
                    put_foreign(key, foreign[f]);
                    test_redis(&server, was, sizeof was, "DEBUG", "DIGEST-VALUE", key, NULL);
                    read_digest(before);
                    got = run(steps[i]);
                    test_redis(&server, is, sizeof is, "DEBUG", "DIGEST-VALUE", key, NULL);
                    read_digest(after);
                    if (strcmp(was, is) != 0 ||
                        (got == TEST_REPLY_ERROR && strcmp(before, after) != 0))
                        print_error("%s, %s, part %d, %s: %s\n", steps[i]->script->name,
                                    situations[s].name, (int)part, foreign[f][0], reply);
                    assert_string_equal(was, is);
                    if (got == TEST_REPLY_ERROR) {
                        errors++;
                        assert_string_equal(before, after);
                    }
                }
            }
        }
    }
    assert_true(errors > 500);
}

/* Seen by who takes, whatever is wrong. */
static void an_acquire_takes_nothing_over_a_key_of_another_type(void **state)
{
    static const struct step *const acquires[] = {&try_it, &queue_up, &ask_queue};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(acquires); i++) {
        for (size_t p = 0; p < acquires[i]->part_count; p++) {
            for (size_t f = 0; f < COUNT_OF(foreign); f++) {
                enum key_part part = (enum key_part)acquires[i]->parts[p];

                if (is_own_type(part, foreign[f]))
                    continue;
                begin(NULL);
                put_foreign(scene_key("ledger", part), foreign[f]);
                if (run(acquires[i]) != TEST_REPLY_ERROR)
                    print_error("%s, part %d, %s: %s\n", acquires[i]->script->name, (int)part,
                                foreign[f][0], reply);
                assert_int_equal(run(acquires[i]), TEST_REPLY_ERROR);
                assert_true(strstr(reply, "WRONGTYPE") != NULL ||
                            strstr(reply, "STILEKIND") != NULL);
            }
        }
    }
}

/* ---- fences ---------------------------------------------------------------------------- */

static void preset_fence(const char *value)
{
    begin(NULL);
    test_redis(&server, NULL, 0, "SET", scene_key("ledger", KEY_FENCE), value, "PX", "86400000",
               NULL);
}

static void a_fence_that_is_none_or_at_its_end_is_an_error(void **state)
{
    static const char *const wrong[] = {"9007199254740991",
                                        "9007199254740990",
                                        "9223372036854775807",
                                        "1e300",
                                        "inf",
                                        "nan",
                                        "-nan",
                                        "-1",
                                        "-inf",
                                        "abc",
                                        "",
                                        " ",
                                        "5x",
                                        "q",
                                        "qq",
                                        "q-1",
                                        "qnan",
                                        "qabc",
                                        "q9007199254740991",
                                        "0x1fffffffffffff"};
    static const struct step *const acquires[] = {&try_it, &queue_up, &ask_queue};

    (void)state;
    for (size_t w = 0; w < COUNT_OF(wrong); w++) {
        for (size_t i = 0; i < COUNT_OF(acquires); i++) {
            char before[64], after[64];
            enum test_reply got;

            preset_fence(wrong[w]);
            read_digest(before);
            got = run(acquires[i]);
            read_digest(after);
            assert_string_equal(before, after);
            /* A mark of a queue sends the first try to the other script. */
            if (acquires[i] == &try_it && wrong[w][0] == 'q' && got == TEST_REPLY_OK)
                assert_int_equal(answer(0), -2);
            else if (got != TEST_REPLY_ERROR) {
                print_error("\"%s\", %s: %s\n", wrong[w], acquires[i]->script->name, reply);
                fail();
            }
        }
    }
}

static void a_grant_over_a_wrong_fence_is_an_error(void **state)
{
    static const char *const wrong[] = {"q9007199254740990", "q-1", "qnan", "abc", "q"};
    static const struct step *const granting[] = {&let_go, &undo, &look};

    (void)state;
    for (size_t w = 0; w < COUNT_OF(wrong); w++) {
        for (size_t i = 0; i < COUNT_OF(granting); i++) {
            char before[64], after[64];

            begin(NULL);
            mine_and_another_waits();
            test_redis(&server, NULL, 0, "SET", scene_key("ledger", KEY_FENCE), wrong[w], "PX",
                       "86400000", NULL);
            read_digest(before);
            assert_int_equal(run(granting[i]), TEST_REPLY_ERROR);
            read_digest(after);
            assert_string_equal(before, after);
        }
    }
}

static void the_last_fences_are_given_once_each(void **state)
{
    int64_t fence;

    (void)state;
    preset_fence("9007199254740987");
    for (fence = INT64_C(9007199254740988); fence <= INT64_C(9007199254740990); fence++) {
        must_run(&try_it, ME);
        assert_int_equal(answer(0), fence);
        must_run(&let_go, ME);
    }
    assert_int_equal(run(&try_it), TEST_REPLY_ERROR);
    assert_int_equal(run(&queue_up), TEST_REPLY_ERROR);
    assert_false(scene_owned(&server, "ledger"));
}

static void a_fence_from_the_future_is_passed_by_one(void **state)
{
    (void)state;
    preset_fence("5000000000000000");
    must_run(&try_it, ME);
    assert_int_equal(answer(0), INT64_C(5000000000000001));
    must_run(&let_go, ME);
    must_run(&queue_up, ME);
    assert_int_equal(answer(3), INT64_C(5000000000000002));
}

/* ---- a full server ------------------------------------------------------------------------ */

static void a_full_server_refuses_who_takes_and_serves_who_has(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT_OF(situations); s++) {
        for (size_t i = 0; i < COUNT_OF(steps); i++) {
            bool takes = steps[i] == &try_it || steps[i] == &queue_up || steps[i] == &ask_queue;
            char before[64], after[64];
            enum test_reply got;

            begin(NULL);
            situations[s].make();
            read_digest(before);
            test_redis(&server, NULL, 0, "CONFIG", "SET", "maxmemory", "1", NULL);
            got = run(steps[i]);
            read_digest(after);
            if (got == TEST_REPLY_ERROR && !takes)
                print_error("%s, %s: %s\n", steps[i]->script->name, situations[s].name, reply);
            assert_true(got == TEST_REPLY_OK || takes);
            if (got == TEST_REPLY_ERROR) {
                assert_memory_equal(reply, "OOM", 3);
                assert_string_equal(before, after);
            }
            scene_expect_ttls(&server);
        }
    }
    begin(NULL);
    test_redis(&server, NULL, 0, "CONFIG", "SET", "maxmemory", "1", NULL);
    assert_int_equal(run(&try_it), TEST_REPLY_ERROR);
    assert_int_equal(run(&queue_up), TEST_REPLY_ERROR);
}

/* ---- times -------------------------------------------------------------------------------- */

static int64_t left_ms(void)
{
    return test_redis_int(&server, "PTTL", scene_key("ledger", KEY_LOCK), NULL);
}

static void a_renewal_neither_revives_nor_shortens(void **state)
{
    static const struct step *const renewals[] = {&renew, &claim, &extend};
    static const struct step less = {
        &stile__script_lock_extend, {KEY_LOCK, KEY_FENCE}, 2, {ME, "1000", "500"}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(renewals); i++) {
        char before[64], after[64];

        begin(NULL);
        must_run(&try_it, ME);
        test_redis(&server, NULL, 0, "DEL", scene_key("ledger", KEY_LOCK), NULL);
        read_digest(before);
        must_run(renewals[i], ME);
        assert_int_equal(answer(0), 0);
        read_digest(after);
        assert_string_equal(before, after);
        others();
        read_digest(before);
        must_run(renewals[i], ME);
        assert_int_equal(answer(0), 0);
        read_digest(after);
        assert_string_equal(before, after);
        begin(NULL);
        must_run(&try_it, ME);
        test_redis(&server, NULL, 0, "PEXPIRE", scene_key("ledger", KEY_LOCK), "90000", NULL);
        must_run(renewals[i], ME);
        assert_in_range(answer(0), 80000, 91000);
        assert_in_range(left_ms(), 80000, 91000);
    }
    must_run(&less, ME);
    assert_in_range(left_ms(), 80000, 91000);
    /* And it does renew. */
    test_redis(&server, NULL, 0, "PEXPIRE", scene_key("ledger", KEY_LOCK), "5000", NULL);
    must_run(&renew, ME);
    assert_in_range(left_ms(), 29000, 30000);
}

static void an_acquire_that_comes_too_late_takes_nothing(void **state)
{
    struct step late[] = {try_it, queue_up, ask_queue};

    (void)state;
    late[0].args[2] = "1000";
    late[1].args[3] = late[2].args[3] = "1000";
    for (size_t i = 0; i < COUNT_OF(late); i++) {
        char before[64], after[64];

        begin(NULL);
        read_digest(before);
        must_run(&late[i], ME);
        assert_int_equal(answer(0), -1);
        others();
        read_digest(before);
        must_run(&late[i], ME);
        assert_int_equal(answer(0), -1);
        read_digest(after);
        assert_string_equal(before, after);
    }
}

/* ---- dead waiters --------------------------------------------------------------------------- */

/* Queues count waiters whose clients have no subscription. */
static void queue_dead(int count)
{
    for (int i = 0; i < count; i++) {
        struct step dead = queue_up;
        char op[33], waiter[48];

        snprintf(op, sizeof op, "%032x", 1000 + i);
        snprintf(waiter, sizeof waiter, WAITER_LEASE " %032x", 2000 + i);
        dead.args[1] = waiter;
        must_run(&dead, op);
        assert_true(answer(0) >= 2);
    }
}

static void dead_waiters_are_reaped_in_parts_and_to_the_end(void **state)
{
    (void)state;
    must_run(&try_it, ME);
    queue_dead(40);
    must_run(&let_go, ME);
    assert_int_equal(answer(0), 2);
    assert_int_equal(test_redis_int(&server, "ZCARD", scene_key("ledger", KEY_QUEUE), NULL), 8);
    /* Nobody gets past those who are left. */
    must_run(&try_it, ME);
    assert_int_equal(answer(0), -2);
    must_run(&look, ME);
    assert_int_equal(answer(1), 0);
    assert_int_equal(test_redis_int(&server, "EXISTS", scene_key("ledger", KEY_QUEUE),
                                    scene_key("ledger", KEY_WAITERS), NULL),
                     0);
    must_run(&try_it, ME);
    assert_true(answer(0) > 0);
}

static void a_live_waiter_behind_many_dead_ones_is_granted_with_the_release(void **state)
{
    stile *space = scene_open(test_server_unix_url(&server), "recheck_ms=4000");
    stile_lock *lock = scene_lock(space, "ledger");
    struct caller waiter;
    int64_t released_ms;
    stile_hold hold;

    (void)state;
    expect_ok(stile_lock_acquire(lock, SOON_MS, &hold));
    queue_dead(100);
    caller_start(&waiter, lock, SOON_MS);
    scene_await_queue(&server, "ledger", 101);
    released_ms = test_now_ms();
    expect_ok(stile_lock_release(lock, &hold));
    expect_ok(caller_join(&waiter));
    assert_true(waiter.back_ms - released_ms <= SLACK_MS);
    expect_ok(stile_lock_release(lock, &waiter.hold));
    stile_lock_close(lock);
    stile_close(space);
    scene_await_clean(&server, SLACK_MS);
}

/* The owner is gone, and the first in the queue has not looked yet. */
static void who_takes_a_lock_past_the_queue_without_a_fence_hands_it_on(void **state)
{
    const stile_lock_options bare = {.no_fence = true};
    const char *url = test_server_unix_url(&server);
    stile *slow_space = scene_open(url, "recheck_ms=60000&waiter_lease_ms=120000");
    stile *space = scene_open(url, "");
    stile_lock *slow = scene_lock(slow_space, "ledger"), *lock = scene_lock(space, "ledger");
    struct caller waiter;
    stile_hold hold;

    (void)state;
    expect_ok(stile_lock_acquire(lock, SOON_MS, &hold));
    caller_start(&waiter, slow, 2 * SOON_MS);
    scene_await_queue(&server, "ledger", 1);
    assert_int_equal(test_redis_int(&server, "DEL", scene_key("ledger", KEY_LOCK), NULL), 1);
    expect_status(stile_lock_acquire_with(lock, 0, &bare, &hold), STILE_TIMEOUT);
    expect_ok(caller_join(&waiter));
    assert_true(waiter.took_ms < SOON_MS);
    expect_status(stile_lock_acquire_with(lock, 0, &bare, &hold), STILE_TIMEOUT);
    expect_ok(stile_lock_release(slow, &waiter.hold));
    expect_ok(stile_lock_acquire_with(lock, 0, &bare, &hold));
    expect_ok(stile_lock_release(lock, &hold));
    stile_lock_close(slow);
    stile_lock_close(lock);
    stile_close(slow_space);
    stile_close(space);
}

/* A grant that nobody claimed speaks against its client, also when somebody had the lock
 * since who has not seen the queue. */
static void an_unclaimed_grant_is_remembered_behind_who_overtook_the_queue(void **state)
{
    stile *space = scene_open(test_server_unix_url(&server), "recheck_ms=3000");
    stile_lock *lock = scene_lock(space, "ledger");
    struct caller waiter;
    char channel[256];

    (void)state;
    must_run(&try_it, OTHER);
    caller_start(&waiter, lock, 2 * SOON_MS);
    scene_await_queue(&server, "ledger", 1);
    assert_int_equal(
        test_redis(&server, channel, sizeof channel, "PUBSUB", "CHANNELS", INBOX "*", NULL),
        TEST_REPLY_OK);
    /* Behind the fence, with a blank between them. */
    channel[strlen(INBOX) - 1] = ' ';
    test_redis(&server, NULL, 0, "APPEND", scene_key("ledger", KEY_FENCE),
               channel + strlen(INBOX) - 1, NULL);
    test_redis(&server, NULL, 0, "SET", scene_key("ledger", KEY_LOCK), "1-" OTHER, "PX", LEASE,
               NULL);
    /* Later than it queued, as the server's clock shows it. */
    test_sleep_ms(5);
    must_run(&undo, OTHER);
    assert_int_equal(answer(0), 1);
    assert_false(scene_owned(&server, "ledger"));
    /* It looks, and is alive after all. */
    expect_ok(caller_join(&waiter));
    expect_ok(stile_lock_release(lock, &waiter.hold));
    stile_lock_close(lock);
    stile_close(space);
}

static int64_t ttl_of(enum key_part part)
{
    return test_redis_int(&server, "PTTL", scene_key("ledger", part), NULL);
}

/* Nobody waits long enough for a look, and the last that came was ten seconds ago. */
static void what_a_busy_queue_needs_is_kept_alive_by_who_comes_and_goes(void **state)
{
    stile *space = scene_open(test_server_unix_url(&server), "");
    stile_lock *shelf = scene_lock(space, "shelf");
    struct step heard = queue_up;
    struct caller waiter;
    char channel[256], me[320];
    stile_hold hold;

    (void)state;
    /* Somebody who listens. */
    expect_ok(stile_lock_acquire(shelf, SOON_MS, &hold));
    caller_start(&waiter, shelf, SOON_MS);
    scene_await_queue(&server, "shelf", 1);
    assert_int_equal(
        test_redis(&server, channel, sizeof channel, "PUBSUB", "CHANNELS", INBOX "*", NULL),
        TEST_REPLY_OK);
    snprintf(me, sizeof me, WAITER_LEASE " %s", channel + strlen(INBOX));
    heard.args[1] = me;
    must_run(&try_it, OTHER);
    must_run(&heard, ME);
    test_redis(&server, NULL, 0, "HSET", scene_key("ledger", KEY_WAITERS), "#", "1", NULL);
    test_redis(&server, NULL, 0, "PEXPIRE", scene_key("ledger", KEY_WAITERS), "9000", NULL);
    test_redis(&server, NULL, 0, "PEXPIRE", scene_key("ledger", KEY_QUEUE), "9000", NULL);
    must_run(&heard, THIRD);
    assert_in_range(ttl_of(KEY_WAITERS), 60000, 65000);
    assert_in_range(ttl_of(KEY_QUEUE), 60000, 65000);
    test_redis(&server, NULL, 0, "SET", scene_key("ledger", KEY_FENCE), "q1", "PX", "9000", NULL);
    must_run(&let_go, OTHER);
    assert_int_equal(answer(0), 1);
    assert_in_range(ttl_of(KEY_FENCE), 86390000, 86400000);
    must_run(&let_go, ME);
    assert_int_equal(answer(0), 1);
    assert_in_range(ttl_of(KEY_FENCE), 86380000, 86400000);
    must_run(&let_go, THIRD);
    expect_ok(stile_lock_release(shelf, &hold));
    expect_ok(caller_join(&waiter));
    expect_ok(stile_lock_release(shelf, &waiter.hold));
    stile_lock_close(shelf);
    stile_close(space);
}

#define fresh(test) cmocka_unit_test_setup(test, begin)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        fresh(a_script_run_twice_has_done_it_once),
        fresh(a_repeated_acquire_gives_the_first_answer),
        fresh(an_acquire_repeated_behind_a_queue_still_finds_its_hold),
        fresh(a_release_frees_only_its_own_hold),
        fresh(an_inspection_changes_nothing_and_tells_no_op_id),
        fresh(who_it_is_stays_with_a_waiter_and_becomes_the_owners),
        fresh(an_inspection_leaves_out_waiters_that_do_not_count),
        fresh(a_lock_kept_for_nobody_is_nobodys),
        fresh(a_release_with_one_key_does_nothing_where_the_queue_has_a_say),
        fresh(a_key_of_another_type_is_an_error_and_nothing_is_written),
        fresh(an_acquire_takes_nothing_over_a_key_of_another_type),
        fresh(a_fence_that_is_none_or_at_its_end_is_an_error),
        fresh(a_grant_over_a_wrong_fence_is_an_error),
        fresh(the_last_fences_are_given_once_each),
        fresh(a_fence_from_the_future_is_passed_by_one),
        fresh(a_full_server_refuses_who_takes_and_serves_who_has),
        fresh(a_renewal_neither_revives_nor_shortens),
        fresh(an_acquire_that_comes_too_late_takes_nothing),
        fresh(dead_waiters_are_reaped_in_parts_and_to_the_end),
        fresh(a_live_waiter_behind_many_dead_ones_is_granted_with_the_release),
        fresh(who_takes_a_lock_past_the_queue_without_a_fence_hands_it_on),
        fresh(an_unclaimed_grant_is_remembered_behind_who_overtook_the_queue),
        fresh(what_a_busy_queue_needs_is_kept_alive_by_who_comes_and_goes),
    };

    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
