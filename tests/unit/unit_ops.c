/*
 * The tables that backends fill in have no hole: a missing op would be found by the
 * first user who needs it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend.h"
#include "lock_ops.h"

static void every_backend_fills_in_every_op(void **state)
{
    const struct stile_backend *const *backend;
    size_t count = 0;

    (void)state;
    for (backend = stile__backends; *backend != NULL; backend++, count++) {
        const struct stile_lock_ops *lock = (*backend)->lock;

        assert_non_null((*backend)->schemes);
        assert_non_null((*backend)->schemes[0]);
        assert_non_null((void *)(uintptr_t)(*backend)->open);
        assert_non_null((void *)(uintptr_t)(*backend)->shut);
        assert_non_null((void *)(uintptr_t)(*backend)->fini);
        assert_non_null(lock);
        assert_true(lock->size >= sizeof(struct stile_lock));
        assert_non_null((void *)(uintptr_t)lock->init);
        assert_non_null((void *)(uintptr_t)lock->copy);
        assert_non_null((void *)(uintptr_t)lock->shut);
        assert_non_null((void *)(uintptr_t)lock->fini);
        assert_non_null((void *)(uintptr_t)lock->acquire);
        assert_non_null((void *)(uintptr_t)lock->poll);
        assert_non_null((void *)(uintptr_t)lock->withdraw);
        assert_non_null((void *)(uintptr_t)lock->release);
        assert_non_null((void *)(uintptr_t)lock->extend);
        assert_non_null((void *)(uintptr_t)lock->check);
    }
    assert_true(count >= 1);
}

static void no_scheme_belongs_to_two_backends(void **state)
{
    const struct stile_backend *const *one, *const *other;
    const char *const *a, *const *b;

    (void)state;
    for (one = stile__backends; *one != NULL; one++)
        for (other = one + 1; *other != NULL; other++)
            for (a = (*one)->schemes; *a != NULL; a++)
                for (b = (*other)->schemes; *b != NULL; b++)
                    assert_string_not_equal(*a, *b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_backend_fills_in_every_op),
        cmocka_unit_test(no_scheme_belongs_to_two_backends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
