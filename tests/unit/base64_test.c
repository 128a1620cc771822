#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base64.h"

static void gives_back_every_length(void **state)
{
    (void)state;
    unsigned char bytes[64];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37 + 200);
    for (size_t length = 0; length <= sizeof bytes; length++) {
        struct lift_buf text = {0}, back = {0};
        struct lift_error err = {0};
        assert_true(lift_base64_encode(&text, bytes, length));
        assert_int_equal(text.length, (length + 2) / 3 * 4);
        assert_true(lift_base64_decode(&back, text.data, text.length, &err));
        assert_int_equal(back.length, length);
        assert_memory_equal(back.data, bytes, length);
        lift_buf_free(&text);
        lift_buf_free(&back);
    }
}

static void knows_the_vectors_of_rfc_4648(void **state)
{
    (void)state;
    static const char *const vectors[][2] = {{"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct lift_buf text = {0};
        assert_true(lift_base64_encode(&text, vectors[i][0], strlen(vectors[i][0])));
        assert_string_equal(text.data, vectors[i][1]);
        lift_buf_free(&text);
    }
}

static bool decodes(const char *text)
{
    struct lift_buf out = {.max = 6};
    struct lift_error err = {0};
    bool ok = lift_base64_decode(&out, text, strlen(text), &err);
    if (ok)
        assert_string_equal(out.data, "foob");
    else
        assert_true(err.code == LIFT_CONFIG || err.code == LIFT_NO_SPACE);
    lift_buf_free(&out);
    return ok;
}

static void forgives_blanks_and_missing_padding_only(void **state)
{
    (void)state;
    assert_true(decodes("Zm9v\nYg=="));
    assert_true(decodes("Zm9vYg"));
    assert_true(decodes(" Zm9vYg = =\n"));
    assert_false(decodes("Zm9vY"));
    assert_false(decodes("Zm9vYg="));
    assert_false(decodes("Zm9vYg==="));
    assert_false(decodes("Zm9v===="));
    assert_false(decodes("Zm9vYg==Zg=="));
    assert_false(decodes("Zm-vYg=="));
    assert_false(decodes("Zm9vYmFyYg==")); /* above the ceiling */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_every_length),
        cmocka_unit_test(knows_the_vectors_of_rfc_4648),
        cmocka_unit_test(forgives_blanks_and_missing_padding_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
