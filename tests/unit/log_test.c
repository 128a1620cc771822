#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/log.h"
#include "engine/secret.h"

static int fd;
static char text[64 << 10];

static int setup(void **state)
{
    (void)state;
    fd = memfd_create("log", MFD_CLOEXEC);
    return fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    return close(fd);
}

/* What was written since the last call, its time taken off (and checked). */
static const char *written(size_t time_at)
{
    off_t length = lseek(fd, 0, SEEK_CUR);
    assert_true(length < (off_t)sizeof text);
    assert_int_equal(pread(fd, text, sizeof text, 0), length);
    text[length] = '\0';
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    if (length == 0)
        return text;

    static const char SHAPE[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; SHAPE[i]; i++) {
        char c = text[time_at + i];
        assert_true(SHAPE[i] == 'd' ? c >= '0' && c <= '9' : c == SHAPE[i]);
    }
    return text + time_at + strlen(SHAPE);
}

static const char *plain_line(const char *message, const char *value)
{
    struct lift_log *log = lift_log_new(fd, LIFT_LOG_INFO, false);
    struct lift_field field = {"key", value};
    lift_log_write(log, LIFT_LOG_INFO, message, &field, 1);
    lift_log_free(log);
    return written(0);
}

static const char *json_line(const char *message, const char *value)
{
    struct lift_log *log = lift_log_new(fd, LIFT_LOG_INFO, true);
    struct lift_field field = {"key", value};
    lift_log_write(log, LIFT_LOG_INFO, message, &field, 1);
    lift_log_free(log);
    return written(strlen("{\"time\":\""));
}

static void one_line_a_call(void **state)
{
    (void)state;
    struct lift_log *log = lift_log_new(fd, LIFT_LOG_DEBUG, false);
    struct lift_field fields[] = {{"a", "1"}, {"b", "two"}};
    lift_log_write(log, LIFT_LOG_WARN, "hello", fields, 2);
    assert_string_equal(written(0), " warn hello a=1 b=two\n");
    lift_logf(log, LIFT_LOG_ERROR, "%d of %s", 1, "x");
    assert_string_equal(written(0), " error 1 of x\n");
    lift_log_free(log);
}

static void says_no_more_than_its_level(void **state)
{
    (void)state;
    struct lift_log *log = lift_log_new(fd, LIFT_LOG_WARN, false);
    lift_logf(log, LIFT_LOG_INFO, "quiet");
    assert_string_equal(written(0), "");
    lift_logf(log, LIFT_LOG_WARN, "loud");
    assert_string_equal(written(0), " warn loud\n");
    assert_true(lift_log_enabled(log, LIFT_LOG_ERROR));
    assert_false(lift_log_enabled(log, LIFT_LOG_DEBUG));
    assert_false(lift_log_enabled(NULL, LIFT_LOG_ERROR));
    lift_logf(NULL, LIFT_LOG_ERROR, "nobody");
    lift_log_write(NULL, LIFT_LOG_ERROR, "nobody", NULL, 0);
    lift_log_free(log);
    lift_log_free(NULL);
}

static void quotes_values_that_need_it(void **state)
{
    (void)state;
    assert_string_equal(plain_line("m", "two words"), " info m key=\"two words\"\n");
    assert_string_equal(plain_line("m", ""), " info m key=\"\"\n");
    assert_string_equal(plain_line("m", NULL), " info m key=\"\"\n");
    assert_string_equal(plain_line("m", "a\"b"), " info m key=\"a\\\"b\"\n");
    assert_string_equal(plain_line("m", "a\\b"), " info m key=\"a\\\\b\"\n");
    assert_string_equal(plain_line("m", "a=b"), " info m key=\"a=b\"\n");
}

static void no_text_can_forge_a_line_or_steer_a_terminal(void **state)
{
    (void)state;
    assert_string_equal(plain_line("a\nb\x1b[2J\x7f", "c\r\n"),
                        " info a\\nb\\x1b[2J\\x7f key=\"c\\r\\n\"\n");
    assert_string_equal(plain_line("\xc2\x9b", "x"), " info \\xc2\\x9b key=x\n");
    assert_string_equal(json_line("a\n\"b\\\x1b", "\t\xc2\x9b"),
                        "\",\"level\":\"info\",\"message\":\"a\\n\\\"b\\\\\\u001b\",\"key\":"
                        "\"\\t\\u009b\"}\n");
}

static void only_well_formed_utf8_passes(void **state)
{
    (void)state;
    assert_string_equal(plain_line("é€😀", "ü"), " info é€😀 key=ü\n");
    assert_string_equal(plain_line("\xff\xc3", "\xc0\xaf"), " info \\xff\\xc3 key=\\xc0\\xaf\n");
    assert_string_equal(plain_line("\xed\xa0\x80", "\xf4\x90\x80\x80"),
                        " info \\xed\\xa0\\x80 key=\\xf4\\x90\\x80\\x80\n");
    assert_string_equal(plain_line("\xe0\x80\xaf", "\xf0\x80\x80\xaf"),
                        " info \\xe0\\x80\\xaf key=\\xf0\\x80\\x80\\xaf\n");
    assert_string_equal(
        json_line("é\xff", "\xe2\x82"),
        "\",\"level\":\"info\",\"message\":\"é\\ufffd\",\"key\":\"\\ufffd\\ufffd\"}\n");
}

static void no_secret_reaches_a_line(void **state)
{
    (void)state;
    struct lift_secret *secret = lift_secret_new("pass\nword\"", 10);
    assert_string_equal(plain_line("p=pass\nword\"!", "pass\nword\""), " info p=***! key=***\n");
    assert_string_equal(json_line("pass%0Aword%22", "cGFzcwp3b3JkIg=="),
                        "\",\"level\":\"info\",\"message\":\"***\",\"key\":\"***==\"}\n");
    lift_secret_free(secret);
}

static void a_redacted_line_is_still_json(void **state)
{
    (void)state;
    struct lift_secret *secret = lift_secret_new("nabcd", 5); /* as in "\nabcd", once escaped */
    assert_string_equal(json_line("\nabcd", "x"),
                        "\",\"level\":\"info\",\"message\":\"\\nabcd\",\"key\":\"x\"}\n");
    lift_secret_free(secret);
}

static void a_line_is_written_once_where_that_is_asked(void **state)
{
    (void)state;
    struct lift_log *log = lift_log_new(fd, LIFT_LOG_INFO, false);
    struct lift_field one = {"key", "1"}, two = {"key", "2"};
    lift_log_write_once(log, LIFT_LOG_DEBUG, "m", &two, 1); /* not written: it counts for nothing */
    lift_log_write_once(log, LIFT_LOG_INFO, "m", &one, 1);
    assert_string_equal(written(0), " info m key=1\n");
    lift_log_write_once(log, LIFT_LOG_INFO, "m", &one, 1);
    assert_string_equal(written(0), "");
    lift_log_write_once(log, LIFT_LOG_INFO, "m", &two, 1);
    assert_string_equal(written(0), " info m key=2\n");
    lift_log_free(log);
}

static void a_long_text_is_cut(void **state)
{
    (void)state;
    for (size_t length = (16 << 10) - 1; length < (16 << 10) + 4; length++) {
        char *message = calloc(1, length + 1);
        assert_non_null(message);
        memset(message, 'x', length);
        const char *line = plain_line(message, "end");
        assert_string_equal(line + strlen(line) - 9, " key=end\n");
        assert_true(strlen(line) <= (16 << 10) + strlen(" info  key=end\n"));
        assert_int_equal(strstr(line, "x... ") != NULL, length > 16 << 10);
        free(message);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_line_a_call),
        TEST(says_no_more_than_its_level),
        TEST(quotes_values_that_need_it),
        TEST(no_text_can_forge_a_line_or_steer_a_terminal),
        TEST(only_well_formed_utf8_passes),
        TEST(no_secret_reaches_a_line),
        TEST(a_redacted_line_is_still_json),
        TEST(a_line_is_written_once_where_that_is_asked),
        TEST(a_long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
