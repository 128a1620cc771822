#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/journal.h"

/*
 * These stand before the C library's: what the journal asks of the disk, in which order, is the
 * very thing to test.  A step can also be the last thing the process ever does, or fail.
 */
static char steps[16];
static size_t step_count;
static int die_at = -1, fail_at = -1;

static bool step(char what)
{
    int now = (int)step_count;
    if (step_count < sizeof steps - 1)
        steps[step_count++] = what;
    if (now == die_at)
        _exit(0);
    errno = EIO;
    return now != fail_at;
}

int fsync(int fd)
{
    struct stat is;
    if (!step(fstat(fd, &is) == 0 && S_ISDIR(is.st_mode) ? 'd' : 'f'))
        return -1;
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    if (!step('r'))
        return -1;
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static char folder[64], path[96], beside[112];
static struct lift_error err;

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/lift-journal-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/run.json", folder);
    snprintf(beside, sizeof beside, "%s.tmp", path);
    memset(steps, 0, sizeof steps);
    step_count = 0;
    die_at = fail_at = -1;
    memset(&err, 0, sizeof err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char lock[128];
    snprintf(lock, sizeof lock, "%s.lock", path);
    unlink(lock);
    unlink(path);
    return rmdir(folder); /* fails when anything else was left */
}

static bool write_text(const char *text)
{
    return lift_journal_write(path, text, strlen(text), &err);
}

static void holds(const char *expected)
{
    struct lift_buf out = {0};
    assert_true(lift_journal_read(path, &out, &err));
    assert_string_equal(out.data, expected);
    assert_int_equal(out.length, strlen(expected));
    lift_buf_free(&out);
}

static void reads_what_was_written(void **state)
{
    (void)state;
    assert_true(write_text("one"));
    holds("one");
    assert_true(write_text("another, longer"));
    holds("another, longer");
    assert_true(write_text(""));
    holds("");

    struct lift_buf out = {0};
    assert_true(lift_buf_adds(&out, "what was there before"));
    assert_true(write_text("replaces"));
    assert_true(lift_journal_read(path, &out, &err));
    assert_string_equal(out.data, "replaces");
    lift_buf_free(&out);
}

static void nobody_else_may_read_it(void **state)
{
    (void)state;
    mode_t before = umask(0);
    assert_int_equal(close(open(beside, O_CREAT | O_WRONLY, 0666)), 0); /* a crash's, or a trap */
    assert_true(write_text("x"));
    umask(before);
    struct stat is;
    assert_int_equal(stat(path, &is), 0);
    assert_int_equal(is.st_mode & 07777, 0600);
}

static void follows_no_link_that_lies_beside(void **state)
{
    (void)state;
    char victim[128];
    snprintf(victim, sizeof victim, "%s/victim", folder);
    assert_int_equal(symlink(victim, beside), 0);
    assert_true(write_text("x"));
    assert_int_equal(access(victim, F_OK), -1);
    holds("x");
}

static void reaches_the_disk_in_the_only_safe_order(void **state)
{
    (void)state;
    assert_true(write_text("old"));
    assert_string_equal(steps, "frd");
    assert_true(lift_journal_remove(path, &err));
    assert_string_equal(steps, "frdd");
}

static void the_old_text_is_never_written_over(void **state)
{
    (void)state;
    char text[8] = "";
    assert_true(write_text("old"));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(write_text("new"));
    assert_int_equal(read(fd, text, sizeof text), 3);
    assert_string_equal(text, "old");
    close(fd);
}

static void a_crash_at_any_step_leaves_the_old_or_the_new(void **state)
{
    (void)state;
    static const char *const LEFT[] = {"old", "old", "new"};
    for (int at = 0; at < 3; at++) {
        assert_true(write_text("old"));
        pid_t pid = fork();
        if (pid == 0) {
            step_count = 0;
            die_at = at;
            bool written = write_text("new");
            _exit(written ? 1 : 2);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0); /* it died where it should */
        holds(LEFT[at]);
    }
    assert_true(write_text("after")); /* what the crash left beside is no obstacle */
    holds("after");
    assert_int_equal(access(beside, F_OK), -1);
}

static void a_failing_disk_is_told_and_the_old_text_stays(void **state)
{
    (void)state;
    for (int at = 0; at < 3; at++) {
        fail_at = -1;
        assert_true(write_text("old"));
        step_count = 0;
        fail_at = at;
        assert_false(write_text("new"));
        assert_int_equal(err.code, LIFT_FAILED);
        assert_non_null(strstr(err.text, path));
        assert_int_equal(access(beside, F_OK), -1);
        holds(at < 2 ? "old" : "new"); /* the rename happened; that it will last is not known */
    }
}

static void none_is_not_found_and_may_be_removed(void **state)
{
    (void)state;
    struct lift_buf out = {0};
    assert_false(lift_journal_read(path, &out, &err));
    assert_int_equal(err.code, LIFT_NOT_FOUND);
    assert_true(lift_journal_remove(path, &err));
    assert_true(write_text("x"));
    assert_true(lift_journal_remove(path, &err));
    assert_false(lift_journal_read(path, &out, &err));
    lift_buf_free(&out);
}

static void has_a_ceiling_both_ways(void **state)
{
    (void)state;
    struct lift_buf out = {0};
    char *most = calloc(1, LIFT_JOURNAL_MAX + 1);
    assert_non_null(most);
    assert_true(lift_journal_write(path, most, LIFT_JOURNAL_MAX, &err));
    assert_true(lift_journal_read(path, &out, &err));
    assert_int_equal(out.length, LIFT_JOURNAL_MAX);
    assert_false(lift_journal_write(path, most, LIFT_JOURNAL_MAX + 1, &err));
    assert_int_equal(err.code, LIFT_NO_SPACE);

    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    memset(&err, 0, sizeof err);
    assert_false(lift_journal_read(path, &out, &err));
    assert_int_equal(err.code, LIFT_NO_SPACE);
    lift_buf_free(&out);
    free(most);
}

static void a_missing_folder_is_the_users_to_make(void **state)
{
    (void)state;
    assert_false(lift_journal_write("/no/such/folder/j", "x", 1, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
    assert_true(err.hint[0] != '\0');
    assert_int_equal(lift_journal_lock("/no/such/folder/j", &err), -1);
    assert_int_equal(err.code, LIFT_CONFIG);
}

static void takes_the_place_of_nothing_but_files(void **state)
{
    (void)state;
    struct stat is;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(write_text("x"));
    assert_int_equal(err.code, LIFT_CONFIG);
    assert_false(lift_journal_writable(path, false, &err));
    assert_int_equal(stat(path, &is), 0);
    assert_true(S_ISFIFO(is.st_mode));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/nonexistent", path), 0);
    assert_false(write_text("x"));
    assert_int_equal(lstat(path, &is), 0);
    assert_true(S_ISLNK(is.st_mode));
}

static void what_can_be_written_is_known_before(void **state)
{
    (void)state;
    char deep[128];
    snprintf(deep, sizeof deep, "%s/a/b/run.json", folder);
    assert_true(lift_journal_writable(path, false, &err));
    assert_true(lift_journal_writable("run.json", false, &err));
    assert_true(lift_journal_writable(deep, true, &err));
    assert_false(lift_journal_writable(deep, false, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
    assert_non_null(strstr(err.text, "/a/b/: No such file"));
    assert_false(lift_journal_writable(folder, false, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
    assert_false(lift_journal_writable("/dev/null/run.json", true, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
    assert_true(err.hint[0] != '\0');
}

static void a_bare_name_is_in_this_folder(void **state)
{
    (void)state;
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    bool written = lift_journal_write("run.json", "here", 4, &err);
    assert_int_equal(chdir(before), 0);
    assert_true(written);
    holds("here");
}

static void only_one_has_the_lock_and_the_other_learns_who(void **state)
{
    (void)state;
    int ready[2], leave[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(leave), 0);
    pid_t holder = fork();
    if (holder == 0) {
        close(leave[1]);
        int fd = lift_journal_lock(path, &err);
        bool told = write(ready[1], fd >= 0 ? "y" : "n", 1) == 1;
        bool left = read(leave[0], &byte, 1) == 0;
        _exit(told && left ? 0 : 1); /* dies with the lock: that must release it */
    }
    close(leave[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');

    char number[32];
    snprintf(number, sizeof number, "process %d ", (int)holder);
    assert_int_equal(lift_journal_lock(path, &err), -1);
    assert_int_equal(err.code, LIFT_BUSY);
    assert_non_null(strstr(err.text, number));

    close(leave[1]);
    int status;
    assert_int_equal(waitpid(holder, &status, 0), holder);
    assert_int_equal(status, 0);
    int fd = lift_journal_lock(path, &err);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);

    snprintf(number, sizeof number, "process %d ", (int)getpid());
    assert_int_equal(lift_journal_lock(path, &err), -1); /* not even twice in one process */
    assert_non_null(strstr(err.text, number));
    close(fd);
    fd = lift_journal_lock(path, &err);
    assert_true(fd >= 0);
    close(fd);
    close(ready[0]);
    close(ready[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_what_was_written),
        TEST(nobody_else_may_read_it),
        TEST(follows_no_link_that_lies_beside),
        TEST(takes_the_place_of_nothing_but_files),
        TEST(reaches_the_disk_in_the_only_safe_order),
        TEST(the_old_text_is_never_written_over),
        TEST(a_crash_at_any_step_leaves_the_old_or_the_new),
        TEST(a_failing_disk_is_told_and_the_old_text_stays),
        TEST(none_is_not_found_and_may_be_removed),
        TEST(has_a_ceiling_both_ways),
        TEST(a_missing_folder_is_the_users_to_make),
        TEST(what_can_be_written_is_known_before),
        TEST(a_bare_name_is_in_this_folder),
        TEST(only_one_has_the_lock_and_the_other_learns_who),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
