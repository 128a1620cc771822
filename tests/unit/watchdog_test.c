#include "engine/watchdog.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/timer.h"

#define LIMIT_MS 200

static void describe(const void *running, char *out, size_t size)
{
    snprintf(out, size, "%s", (const char *)running);
}

static void compute(uint32_t ms)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < ms);
}

static void block(uint32_t ms)
{
    int pipe_fds[2];
    char byte;
    if (pipe(pipe_fds) == 0 && read(pipe_fds[0], &byte, 1) < 0)
        compute(ms);
}

static void compute_in_bits(uint32_t ms)
{
    for (uint32_t done = 0; done < ms; done += LIMIT_MS / 4) {
        lift_watchdog_running("a bit");
        compute(LIMIT_MS / 4);
    }
    _exit(7);
}

static void idle(uint32_t ms)
{
    compute(ms / 100);
}

struct child {
    void (*work)(uint32_t ms);
    struct lift_loop *loop;
};

static void on_work(void *payload)
{
    struct child *child = payload;
    lift_watchdog_running("vendors.slow");
    child->work(LIMIT_MS * 10);
}

static void on_end(void *payload)
{
    struct child *child = payload;
    lift_loop_stop(child->loop);
}

/* In a process of its own: what it said lies in `said`; its wait status. */
static int run(void (*work)(uint32_t ms), char said[512])
{
    int fds[2], status;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct lift_error err = {0};
        struct child child = {work, lift_loop_new(&err)};
        dup2(fds[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL); /* cmocka catches it */
        struct lift_watchdog *dog = lift_watchdog_new(child.loop, LIMIT_MS, describe);
        lift_loop_defer(child.loop, on_work, &child);
        struct lift_timer *end = lift_timer_new(child.loop, LIMIT_MS * 4, on_end, &child);
        lift_loop_run(child.loop);
        lift_timer_free(end);
        lift_watchdog_free(dog);
        lift_loop_free(child.loop);
        _exit(0);
    }
    close(fds[1]);
    size_t used = 0;
    for (ssize_t n; (n = read(fds[0], said + used, 511 - used)) > 0;)
        used += (size_t)n;
    said[used] = '\0';
    close(fds[0]);
    waitpid(pid, &status, 0);
    return status;
}

static void expect_abort(void (*work)(uint32_t ms))
{
    char said[512];
    int status = run(work, said);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(said, "nothing has moved for 200 ms"));
    assert_non_null(strstr(said, "it was running vendors.slow\n"));
}

static void ends_what_computes(void **state)
{
    (void)state;
    expect_abort(compute);
}

static void ends_what_blocks(void **state)
{
    (void)state;
    expect_abort(block);
}

static void leaves_an_idle_loop_alone(void **state)
{
    char said[512];
    (void)state;
    assert_int_equal(run(idle, said), 0);
    assert_string_equal(said, "");
}

static void takes_a_change_for_a_sign_of_life(void **state)
{
    char said[512];
    (void)state;
    int status = run(compute_in_bits, said);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void remembers_what_ran_before(void **state)
{
    (void)state;
    assert_null(lift_watchdog_running("a"));
    assert_string_equal(lift_watchdog_running(NULL), "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_what_computes),
        cmocka_unit_test(ends_what_blocks),
        cmocka_unit_test(leaves_an_idle_loop_alone),
        cmocka_unit_test(takes_a_change_for_a_sign_of_life),
        cmocka_unit_test(remembers_what_ran_before),
    };
    return cmocka_run_group_tests_name("watchdog", tests, NULL, NULL);
}
