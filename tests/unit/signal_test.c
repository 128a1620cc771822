#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/signal.h"
#include "engine/timer.h"

struct run {
    struct lift_loop *loop;
    struct lift_signal *one;
    int seen, other_seen;
};

static int setup(void **state)
{
    static struct run run;
    struct lift_error err;
    run = (struct run){.loop = lift_loop_new(&err)};
    *state = &run;
    return run.loop ? 0 : -1;
}

static int teardown(void **state)
{
    struct run *run = *state;
    int left = lift_loop_handles(run->loop);
    lift_loop_free(run->loop);
    return left;
}

static void see(void *payload)
{
    struct run *run = payload;
    run->seen++;
    lift_loop_stop(run->loop);
}

static void see_other(void *payload)
{
    struct run *run = payload;
    run->other_seen++;
}

static void see_and_free(void *payload)
{
    struct run *run = payload;
    see(run);
    lift_signal_free(run->one);
}

static void stop(void *payload)
{
    struct run *run = payload;
    lift_loop_stop(run->loop);
}

static void comes_from_the_loop_and_each_time(void **state)
{
    struct run *run = *state;
    struct lift_signal *signal = lift_signal_new(run->loop, SIGUSR1, see, run);
    for (int times = 1; times <= 3; times++) {
        raise(SIGUSR1);
        assert_int_equal(run->seen, times - 1);
        lift_loop_run(run->loop);
        assert_int_equal(run->seen, times);
    }
    assert_int_equal(lift_loop_handles(run->loop), 1);
    lift_signal_free(signal);
    lift_signal_free(NULL);
}

static void two_may_wait_for_one_signal(void **state)
{
    struct run *run = *state;
    struct lift_signal *other = lift_signal_new(run->loop, SIGUSR1, see_other, run);
    struct lift_signal *signal = lift_signal_new(run->loop, SIGUSR1, see, run);
    raise(SIGUSR1);
    lift_loop_run(run->loop);
    struct lift_timer *end = lift_timer_new(run->loop, 5, stop, run);
    lift_loop_run(run->loop);
    assert_int_equal(run->seen, 1);
    assert_int_equal(run->other_seen, 1);
    lift_timer_free(end);
    lift_signal_free(signal);
    lift_signal_free(other);
}

static void may_be_freed_by_its_own_callback(void **state)
{
    struct run *run = *state;
    run->one = lift_signal_new(run->loop, SIGUSR2, see_and_free, run);
    raise(SIGUSR2);
    raise(SIGUSR2);
    lift_loop_run(run->loop);
    assert_int_equal(run->seen, 1);
}

static void a_freed_one_hears_nothing(void **state)
{
    struct run *run = *state;
    signal(SIGUSR1, SIG_IGN); /* what it returns to */
    struct lift_signal *signal = lift_signal_new(run->loop, SIGUSR1, see, run);
    raise(SIGUSR1);
    lift_signal_free(signal);
    struct lift_timer *end = lift_timer_new(run->loop, 10, stop, run);
    lift_loop_run(run->loop);
    assert_int_equal(run->seen, 0);
    lift_timer_free(end);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(comes_from_the_loop_and_each_time),
        TEST(two_may_wait_for_one_signal),
        TEST(may_be_freed_by_its_own_callback),
        TEST(a_freed_one_hears_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
