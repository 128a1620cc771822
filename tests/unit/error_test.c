#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/error.h"
#include "engine/secret.h"

static void every_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int code = LIFT_OK; code <= LIFT_BUG; code++) {
        assert_non_null(lift_code_name((enum lift_code)code));
        for (int other = LIFT_OK; other < code; other++)
            assert_string_not_equal(lift_code_name((enum lift_code)code),
                                    lift_code_name((enum lift_code)other));
    }
    assert_string_equal(lift_code_name(LIFT_NOT_FOUND), "not_found");
    assert_string_equal(lift_code_name(LIFT_NO_SPACE), "no_space");
    assert_string_equal(lift_code_name((enum lift_code)99), "bug");
}

static void failing_replaces_what_an_earlier_failure_left(void **state)
{
    (void)state;
    struct lift_error err = {.unanswered = true, .refused = true, .hint = "old"};
    assert_false(lift_fail(&err, LIFT_TIMEOUT, "%s: no answer in %d s", "vc", 30));
    assert_int_equal(err.code, LIFT_TIMEOUT);
    assert_string_equal(err.text, "vc: no answer in 30 s");
    assert_string_equal(err.hint, "");
    assert_false(err.unanswered);
    assert_false(err.refused);
}

static void a_failure_may_be_told_with_its_own_text(void **state)
{
    (void)state;
    struct lift_error err;
    lift_fail(&err, LIFT_DENIED, "wrong password");
    lift_fail(&err, err.code, "log in: %s", err.text);
    assert_string_equal(err.text, "log in: wrong password");
    assert_int_equal(err.code, LIFT_DENIED);
    assert_false(lift_hint(&err, "see to: %s", err.text));
    assert_string_equal(err.hint, "see to: log in: wrong password");
    assert_string_equal(err.text, "log in: wrong password");
}

static void a_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    struct lift_error err;
    char fill[513];
    memset(fill, 'x', 512);
    fill[512] = '\0';

    lift_fail(&err, LIFT_BUG, "%s", fill);
    assert_int_equal(strlen(err.text), 511);
    lift_fail(&err, LIFT_BUG, "%.510s\u00e9", fill); /* the second byte would be the 512th */
    assert_int_equal(strlen(err.text), 510);
    lift_fail(&err, LIFT_BUG, "%.509s\u00e9more", fill);
    assert_string_equal(err.text + 509, "\u00e9");
}

static void a_secret_is_hidden_before_a_text_is_cut(void **state)
{
    (void)state;
    struct lift_error err;
    char fill[600], shown[32];
    struct lift_secret *secret = lift_secret_new("correct horse", 13);
    memset(fill, 'x', sizeof fill);
    memcpy(fill + 504, "correct horse", 14);
    lift_fail(&err, LIFT_BUG, "%s", fill);
    assert_null(strstr(err.text, "corr"));
    assert_string_equal(err.text + 504, "***");
    lift_hint(&err, "try %s", "correct+horse");
    assert_string_equal(err.hint, "try ***");
    lift_quote(shown, sizeof shown, "it said Y29ycmVjdCBob3JzZQ==, and more than fits");
    assert_string_equal(shown, "it said ***==, and more than fi");
    lift_secret_free(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_of_its_own),
        cmocka_unit_test(failing_replaces_what_an_earlier_failure_left),
        cmocka_unit_test(a_failure_may_be_told_with_its_own_text),
        cmocka_unit_test(a_long_text_is_cut_between_characters),
        cmocka_unit_test(a_secret_is_hidden_before_a_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
