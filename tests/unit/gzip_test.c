#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/gzip.h"

/* Far more than one chunk, and such that it hardly shrinks. */
static struct lift_buf noise(size_t length)
{
    struct lift_buf bytes = {0};
    uint32_t state = 1;
    for (size_t i = 0; i < length; i++) {
        state = state * 1664525 + 1013904223;
        assert_true(lift_buf_add(&bytes, &(unsigned char){(unsigned char)(state >> 24)}, 1));
    }
    return bytes;
}

static void gives_back_what_it_packed(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 65536, 65537, 300000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct lift_buf bytes = noise(lengths[i]), packed = {0}, back = {0};
        struct lift_error err = {0};
        assert_true(lift_gzip(&packed, bytes.data, bytes.length));
        assert_true(lift_gunzip(&back, packed.data, packed.length, &err));
        assert_int_equal(back.length, bytes.length);
        if (bytes.length > 0)
            assert_memory_equal(back.data, bytes.data, bytes.length);
        lift_buf_free(&bytes);
        lift_buf_free(&packed);
        lift_buf_free(&back);
    }
}

static void packs_to_the_same_bytes_at_any_time(void **state)
{
    (void)state;
    struct lift_buf packed = {0};
    assert_true(lift_gzip(&packed, "lift", 4));
    assert_memory_equal(packed.data, "\x1f\x8b\x08\0\0\0\0\0", 8); /* no name, no time */
    lift_buf_free(&packed);
}

static enum lift_code code_of(const char *bytes, size_t length, size_t max)
{
    struct lift_buf out = {.max = max};
    struct lift_error err = {0};
    bool done = lift_gunzip(&out, bytes, length, &err);
    assert_int_equal(done, err.code == LIFT_OK);
    lift_buf_free(&out);
    return err.code;
}

static void refuses_what_is_cut_damaged_or_followed(void **state)
{
    (void)state;
    struct lift_buf packed = {0};
    assert_true(lift_gzip(&packed, "a text that is long enough", 26));
    assert_int_equal(code_of(packed.data, packed.length, 0), LIFT_OK);
    for (size_t length = 0; length < packed.length; length++)
        assert_int_equal(code_of(packed.data, length, 0), LIFT_PROTOCOL);
    packed.data[packed.length - 8] ^= 1; /* of its checksum */
    assert_int_equal(code_of(packed.data, packed.length, 0), LIFT_PROTOCOL);
    packed.data[packed.length - 8] ^= 1;
    assert_true(lift_buf_add(&packed, "more", 4));
    assert_int_equal(code_of(packed.data, packed.length, 0), LIFT_PROTOCOL);
    lift_buf_free(&packed);
}

static void stops_at_the_ceiling(void **state)
{
    (void)state;
    struct lift_buf zeros = {0}, packed = {0}, small = {.max = 10};
    static const char zero[1000];
    for (int i = 0; i < 1000; i++)
        assert_true(lift_buf_add(&zeros, zero, sizeof zero));
    assert_true(lift_gzip(&packed, zeros.data, zeros.length));
    assert_int_equal(code_of(packed.data, packed.length, zeros.length), LIFT_OK);
    assert_int_equal(code_of(packed.data, packed.length, zeros.length - 1), LIFT_NO_SPACE);
    assert_false(lift_gzip(&small, zeros.data, zeros.length));
    lift_buf_free(&zeros);
    lift_buf_free(&packed);
    lift_buf_free(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_it_packed),
        cmocka_unit_test(packs_to_the_same_bytes_at_any_time),
        cmocka_unit_test(refuses_what_is_cut_damaged_or_followed),
        cmocka_unit_test(stops_at_the_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
