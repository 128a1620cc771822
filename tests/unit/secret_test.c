#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <malloc.h>

#include <cmocka.h>
#include <openssl/evp.h>

/* The engine's own allocator, with an eye on what is given back. */
static const char *watched;
static bool gave_it_back;

static void spy_free(void *memory)
{
    if (memory && watched && memmem(memory, malloc_usable_size(memory), watched, strlen(watched)))
        gave_it_back = true;
    free(memory);
}
#define free spy_free
#include "engine/lift.c"
#undef free

#include "engine/secret.h"

static const char SECRET[] = "p&ss\"w\\rd<%41+ >é";

static void shows(const char *text, const char *expected)
{
    char *out = lift_secret_redact(text, strlen(text));
    assert_string_equal(out, expected);
    lift_free(out);
}

static struct lift_secret *secret_of(const char *text)
{
    return lift_secret_new(text, strlen(text));
}

static void keeps_the_bytes_and_counts(void **state)
{
    (void)state;
    struct lift_secret *secret = lift_secret_new("a\0bcde", 6);
    assert_int_equal(lift_secret_length(secret), 6);
    assert_memory_equal(lift_secret_bytes(secret), "a\0bcde", 7);
    assert_ptr_equal(lift_secret_ref(secret), secret);
    lift_secret_free(secret);
    assert_memory_equal(lift_secret_bytes(secret), "a\0bcde", 7);
    lift_secret_free(secret);
    assert_null(lift_secret_ref(NULL));
    lift_secret_free(NULL);
}

static void hides_it_wherever_it_stands(void **state)
{
    (void)state;
    struct lift_secret *secret = secret_of("hunter2");
    shows("", "");
    shows("nothing here", "nothing here");
    shows("hunter2", "***");
    shows("login hunter2!", "login ***!");
    shows("hunterhunter2hunter", "hunter***hunter");
    shows("hunter2hunter2 hunter2", "*** ***");
    shows("hunter", "hunter");
    lift_secret_free(secret);
}

static void forgets_it_with_the_last_reference(void **state)
{
    (void)state;
    struct lift_secret *first = secret_of("hunter2"), *second = secret_of("other-secret"),
                       *third = secret_of("hunter2");
    lift_secret_free(first);
    shows("hunter2 other-secret", "*** ***");
    lift_secret_free(second);
    shows("hunter2 other-secret", "*** other-secret");
    lift_secret_free(third);
    shows("hunter2 other-secret", "hunter2 other-secret");
}

static void a_short_one_hides_nothing(void **state)
{
    (void)state;
    struct lift_secret *none = lift_secret_new(NULL, 0), *shorter = secret_of("abc"),
                       *four = secret_of("wxyz"), *line = secret_of("abc\n");
    shows("abc wxyz YWJj", "abc *** YWJj");
    lift_secret_free(line);
    lift_secret_free(four);
    lift_secret_free(shorter);
    lift_secret_free(none);
}

static void overlapping_ones_are_hidden_as_one(void **state)
{
    (void)state;
    struct lift_secret *one = secret_of("abcdef"), *other = secret_of("defghi"),
                       *within = secret_of("bcde");
    shows("-abcdefghi-", "-***-");
    shows("-abcdefbcde-", "-***-");
    shows("-abcde-", "-a***-");
    lift_secret_free(within);
    lift_secret_free(other);
    lift_secret_free(one);
}

static void hides_every_escaping(void **state)
{
    (void)state;
    struct lift_secret *secret = secret_of(SECRET);
    static const char *const FORMS[] = {
        SECRET,
        "p%26ss%22w%5Crd%3C%2541%2B%20%3E%C3%A9",          /* all but the unreserved */
        "p%26ss%22w%5crd%3c%2541%2b+%3e%c3%a9",            /* a form's, lower case */
        "p&amp;ss\"w\\rd&lt;%41+ &gt;é",                   /* XML text */
        "p&amp;ss&quot;w\\rd&lt;%41+ &gt;é",               /* XML attribute */
        "p&#38;ss&#34;w\\rd&#60;%41+ &#x3E;&#233;",        /* by number */
        "p&ss\\\"w\\\\rd<%41+ >é",                         /* JSON */
        "p\\u0026ss\\\"w\\\\rd\\u003c%41+ \\u003e\\u00e9", /* careful JSON */
    };
    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++) {
        char *text = lift_asprintf("<a>%s</a>", FORMS[i]);
        shows(text, "<a>***</a>");
        lift_free(text);
    }
    lift_secret_free(secret);
}

/* A password may look escaped by one rule and be escaped by another. */
static void what_looks_escaped_may_be_its_own(void **state)
{
    (void)state;
    struct lift_secret *secret = secret_of("50%25off&&amp;");
    shows("a 50%25off&&amp; b", "a *** b");
    shows("a 50%25off&amp;&amp;amp; b", "a *** b");
    shows("a 50%2525off%26%26amp%3b b", "a *** b");
    lift_secret_free(secret);
}

static void hides_two_escapings_of_different_kind(void **state)
{
    (void)state;
    struct lift_secret *secret = secret_of("pa\"ss&word");
    shows("'pa&quot;ss\\u0026word'", "'***'");
    lift_secret_free(secret);
}

static void a_key_is_hidden_over_its_lines(void **state)
{
    (void)state;
    struct lift_secret *key = secret_of("-----BEGIN KEY-----\nMIIE\n-----END KEY-----\n");
    shows("k: \"-----BEGIN KEY-----\\nMIIE\\n-----END KEY-----\\n\"", "k: \"***\\n\"");
    shows("-----BEGIN KEY-----\nMIIE\n-----END KEY-----.", "***.");
    lift_secret_free(key);
}

static char *base64(const char *text)
{
    size_t length = strlen(text);
    unsigned char *out = lift_calloc(1, (length + 2) / 3 * 4 + 1);
    EVP_EncodeBlock(out, (const unsigned char *)text, (int)length);
    return (char *)out;
}

/* What is left of base64("<before>secret<after>") must not depend on the secret. */
static void hides_base64_at_every_alignment(void **state)
{
    (void)state;
    static const char *const SECRETS[] = {"Zx9~", "Zx9~\xff", "Zx9~\xfb\xff", "hunter2-and-more"};
    static const char *const BEFORE[] = {"", "u", "us", "usr", "user:", "admin:"};
    static const char *const AFTER[] = {"", "#", "##", "###", "####"};
    for (size_t s = 0; s < 4; s++) {
        struct lift_secret *secret = secret_of(SECRETS[s]);
        size_t length = strlen(SECRETS[s]);
        for (size_t b = 0; b < 6; b++) {
            for (size_t a = 0; a < 5; a++) {
                char *text = lift_asprintf("%s%s%s", BEFORE[b], SECRETS[s], AFTER[a]);
                char *encoded = base64(text);
                char *shown = lift_secret_redact(encoded, strlen(encoded));
                size_t from = strlen(BEFORE[b]) * 8 / 6;
                size_t to = ((strlen(BEFORE[b]) + length) * 8 + 5) / 6;
                char *expected = lift_asprintf("%.*s***%s", (int)from, encoded, encoded + to);
                assert_string_equal(shown, expected);
                lift_free(expected);
                lift_free(shown);
                lift_free(encoded);
                lift_free(text);
            }
        }
        lift_secret_free(secret);
    }
}

static void hides_base64_in_its_other_spellings(void **state)
{
    (void)state;
    struct lift_secret *secret = secret_of("\xfb\xff\xfe\xfb\xef\xbe");
    shows("+//+++++", "***");
    shows("+/+/++++", "+/+/++++");
    shows("-__--"
          "---",
          "***");
    shows("%2B%2F%2F%2B%2B%2B%2B%2B", "***");
    shows("+\\/\\/+++++", "***");
    lift_secret_free(secret);
}

static void wipes_what_it_kept(void **state)
{
    (void)state;
    static const char *const KEPT[] = {"hunter2-and-more", "aHVudGVyMi1hbmQtbW9yZ",
                                       "h1bnRlcjItYW5kLW1vcm", "odW50ZXIyLWFuZC1tb3J"};
    for (size_t i = 0; i < sizeof KEPT / sizeof *KEPT; i++) {
        gave_it_back = false;
        watched = KEPT[i];
        struct lift_secret *secret = secret_of("hunter2-and-more");
        lift_secret_free(lift_secret_ref(secret));
        lift_secret_free(secret);
        assert_false(gave_it_back);
        lift_free(lift_strdup(watched));
        assert_true(gave_it_back); /* the spy can see */
        watched = NULL;
    }
}

static void a_cut_escape_at_the_end_is_not_read_past(void **state)
{
    (void)state;
    struct lift_secret *secret = secret_of("aaaa&%\\");
    static const char *const ENDS[] = {"aaaa%",     "aaaa%2",   "aaaa&",    "aaaa&#",
                                       "aaaa&#x",   "aaaa&#x2", "aaaa&amp", "aaaa\\",
                                       "aaaa\\u00", "aaaa\\x",  "a",        "YWFhY"};
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++) {
        size_t length = strlen(ENDS[i]);
        char *exact = malloc(length); /* no NUL: the sanitizer watches the end */
        assert_non_null(exact);
        memcpy(exact, ENDS[i], length);
        char *out = lift_secret_redact(exact, length);
        assert_string_equal(out, ENDS[i]);
        lift_free(out);
        free(exact);
    }
    lift_secret_free(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_bytes_and_counts),
        cmocka_unit_test(hides_it_wherever_it_stands),
        cmocka_unit_test(forgets_it_with_the_last_reference),
        cmocka_unit_test(a_short_one_hides_nothing),
        cmocka_unit_test(overlapping_ones_are_hidden_as_one),
        cmocka_unit_test(hides_every_escaping),
        cmocka_unit_test(what_looks_escaped_may_be_its_own),
        cmocka_unit_test(hides_two_escapings_of_different_kind),
        cmocka_unit_test(a_key_is_hidden_over_its_lines),
        cmocka_unit_test(hides_base64_at_every_alignment),
        cmocka_unit_test(hides_base64_in_its_other_spellings),
        cmocka_unit_test(wipes_what_it_kept),
        cmocka_unit_test(a_cut_escape_at_the_end_is_not_read_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
