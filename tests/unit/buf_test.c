#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <malloc.h>

#include <cmocka.h>

/* The engine's own allocator, with an eye on what is given back: the buffer must not free a secret
 * that it has not overwritten. */
static bool gave_back_secret;

static void spy_free(void *memory)
{
    if (memory && memmem(memory, malloc_usable_size(memory), "hunter2", 7))
        gave_back_secret = true;
    free(memory);
}
#define free spy_free
#include "engine/lift.c"
#undef free

#include "engine/buf.h"

static void grows_and_stays_terminated(void **state)
{
    (void)state;
    struct lift_buf buf = {0};
    for (int i = 0; i < 1000; i++)
        assert_true(lift_buf_add(&buf, "x\0y", 3));
    assert_int_equal(buf.length, 3000);
    assert_memory_equal(buf.data + 2997, "x\0y", 4);
    lift_buf_free(&buf);
    lift_buf_free(&buf);
    assert_null(buf.data);
}

static void adding_nothing_still_gives_a_string(void **state)
{
    (void)state;
    struct lift_buf buf = {0};
    assert_true(lift_buf_add(&buf, NULL, 0));
    assert_string_equal(buf.data, "");
    lift_buf_free(&buf);
}

static void fills_to_the_ceiling_and_not_a_byte_more(void **state)
{
    (void)state;
    struct lift_buf buf = {.max = 8};
    assert_true(lift_buf_adds(&buf, "12345678"));
    assert_false(lift_buf_adds(&buf, "9"));
    assert_false(lift_buf_addf(&buf, "%d", 9));
    assert_false(lift_buf_add(&buf, "", SIZE_MAX));
    assert_string_equal(buf.data, "12345678");
    assert_int_equal(buf.length, 8);

    lift_buf_clear(&buf);
    assert_string_equal(buf.data, "");
    assert_true(lift_buf_addf(&buf, "%s-%04d", "abc", 7));
    assert_false(lift_buf_addf(&buf, "%s", "z"));
    assert_string_equal(buf.data, "abc-0007");
    lift_buf_free(&buf);
}

static void without_a_ceiling_has_the_default_one(void **state)
{
    (void)state;
    struct lift_buf buf = {0};
    assert_false(lift_buf_add(&buf, "", LIFT_BUF_MAX + 1));
    assert_null(buf.data);
}

static void formats_into_an_existing_text_across_growth(void **state)
{
    (void)state;
    struct lift_buf buf = {0};
    assert_true(lift_buf_adds(&buf, "start "));
    assert_true(lift_buf_addf(&buf, "%0500d", 7));
    assert_int_equal(buf.length, 506);
    assert_string_equal(buf.data + 500, "000007");
    lift_buf_free(&buf);
}

static void wiping_leaves_no_copy_not_even_of_growth(void **state)
{
    (void)state;
    struct lift_buf buf = {0};
    gave_back_secret = false;
    assert_true(lift_buf_adds(&buf, "password=hunter2"));
    for (int i = 0; i < 100; i++)
        assert_true(lift_buf_adds(&buf, " and much that follows"));
    lift_buf_clear(&buf);
    assert_true(lift_buf_adds(&buf, "x"));
    lift_buf_wipe(&buf);
    assert_false(gave_back_secret);
    assert_null(buf.data);
    assert_int_equal(buf.capacity, 0);
    lift_buf_wipe(&buf);

    assert_true(lift_buf_adds(&buf, "hunter2"));
    lift_buf_free(&buf);
    assert_true(gave_back_secret); /* the spy can see */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(adding_nothing_still_gives_a_string),
        cmocka_unit_test(fills_to_the_ceiling_and_not_a_byte_more),
        cmocka_unit_test(without_a_ceiling_has_the_default_one),
        cmocka_unit_test(formats_into_an_existing_text_across_growth),
        cmocka_unit_test(wiping_leaves_no_copy_not_even_of_growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
