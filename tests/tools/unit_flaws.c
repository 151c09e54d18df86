/*
 * Which known flaws a version has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "doctor.h"

/* What is said about the flaw with this id: 0, the version does not have it; -1, it
 * has, and its branch got no fix; else the version that is without. */
static int fix_of(bool valkey, const char *version, const char *id)
{
    const struct flaw *flaw;
    int fixed, above;
    size_t next = 0;

    while ((flaw = flaw_next(valkey, version_number(version), &next, &fixed, &above)) != NULL)
        if (strstr(flaw->ids, id) != NULL) {
            assert_true(fixed != 0 || above > version_number(version));
            return fixed != 0 ? fixed : -1;
        }
    return 0;
}

static void versions_are_numbers(void **state)
{
    (void)state;
    assert_int_equal(version_number("7.0.15"), 70015);
    assert_int_equal(version_number("8.10.1"), 81001);
    assert_int_equal(version_number("7.4.6-rc1"), 70406);
    assert_int_equal(version_number("255.255.255"), 0);
    assert_int_equal(version_number("x"), 0);
    assert_int_equal(version_number(""), 0);
}

static void fix_on_the_same_branch_is_named(void **state)
{
    static const char *const id = "CVE-2025-49844";

    (void)state;
    assert_int_equal(fix_of(false, "6.2.19", id), 60220);
    assert_int_equal(fix_of(false, "6.2.20", id), 0);
    assert_int_equal(fix_of(false, "7.4.5", id), 70406);
    assert_int_equal(fix_of(false, "7.4.6", id), 0);
    assert_int_equal(fix_of(false, "8.2.1", id), 80202);
    assert_int_equal(fix_of(false, "8.2.2", id), 0);
    assert_int_equal(fix_of(false, "8.4.0", id), 0);
}

static void branch_without_a_fix_is_told_apart(void **state)
{
    (void)state;
    assert_int_equal(fix_of(false, "7.0.15", "CVE-2025-49844"), -1);
    assert_int_equal(fix_of(false, "6.0.16", "CVE-2024-46981"), -1);
    assert_int_equal(fix_of(false, "7.0.11", "CVE-2022-24834"), 70012);
    assert_int_equal(fix_of(false, "7.0.12", "CVE-2022-24834"), 0);
}

static void valkey_has_numbers_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(fix_of(true, "8.0.5", "CVE-2025-49844"), 80006);
    assert_int_equal(fix_of(true, "8.1.3", "CVE-2025-49844"), 80104);
    assert_int_equal(fix_of(true, "8.1.4", "CVE-2025-49844"), 0);
    assert_int_equal(fix_of(true, "9.0.0", "CVE-2025-49844"), 0);
    /* It came after that was mended. */
    assert_int_equal(fix_of(true, "7.2.5", "CVE-2022-24834"), 0);
    assert_int_equal(fix_of(true, "9.0.1", "CVE-2025-67733"), 90002);
    assert_int_equal(fix_of(false, "8.0.0", "CVE-2025-67733"), 0);
}

static void flaw_begins_with_a_version(void **state)
{
    (void)state;
    assert_int_equal(fix_of(false, "6.2.22", "CVE-2026-23631"), 0);
    assert_int_equal(fix_of(false, "7.4.8", "CVE-2026-23631"), 70409);
    assert_int_equal(fix_of(false, "7.2.12", "CVE-2026-23479"), -1);
}

static void newest_versions_have_none(void **state)
{
    int fixed, above;
    size_t next = 0;

    (void)state;
    assert_null(flaw_next(false, version_number("8.10.1"), &next, &fixed, &above));
    next = 0;
    assert_null(flaw_next(true, version_number("9.1.1"), &next, &fixed, &above));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_numbers),
        cmocka_unit_test(fix_on_the_same_branch_is_named),
        cmocka_unit_test(branch_without_a_fix_is_told_apart),
        cmocka_unit_test(valkey_has_numbers_of_its_own),
        cmocka_unit_test(flaw_begins_with_a_version),
        cmocka_unit_test(newest_versions_have_none),
    };

    return cmocka_run_group_tests_name("known flaws", tests, NULL, NULL);
}
