#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/timer.h"

struct run {
    struct lift_loop *loop;
    struct lift_timer *one, *other;
    int fired;
    uint64_t at_ms, from_ms;
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

static void fire(void *payload)
{
    struct run *run = payload;
    run->fired++;
    run->at_ms = lift_loop_now_ms(run->loop);
}

static void stop(void *payload)
{
    struct run *run = payload;
    lift_loop_stop(run->loop);
}

static void run_for(struct run *run, uint64_t ms)
{
    struct lift_timer *end = lift_timer_new(run->loop, ms, stop, run);
    lift_loop_run(run->loop);
    lift_timer_free(end);
}

static void stay_busy(void *payload)
{
    struct run *run = payload;
    if (run->fired == 0)
        lift_loop_defer(run->loop, stay_busy, run);
}

/* In a busy loop, since one that sleeps between two events also sleeps over a sloppy clock. */
static void fires_once_and_not_early(void **state)
{
    struct run *run = *state;
    for (uint64_t ms = 0; ms < 12; ms++) {
        run->fired = 0;
        usleep(2500); /* off the tick that the last run ended on */
        uint64_t from = lift_loop_now_ms(run->loop);
        struct lift_timer *timer = lift_timer_new(run->loop, ms, fire, run);
        assert_int_equal(run->fired, 0);
        lift_loop_defer(run->loop, stay_busy, run);
        run_for(run, 20);
        assert_int_equal(run->fired, 1);
        assert_true(run->at_ms - from >= ms);
        lift_timer_free(timer);
    }
}

static void start_after_work(void *payload)
{
    struct run *run = payload;
    usleep(20000); /* the turn is old now: the timer must count from here */
    run->from_ms = lift_loop_now_ms(run->loop);
    run->one = lift_timer_new(run->loop, 20, fire, run);
    lift_loop_defer(run->loop, stay_busy, run);
}

static void counts_from_its_start_not_from_the_turns(void **state)
{
    struct run *run = *state;
    lift_loop_defer(run->loop, start_after_work, run);
    run_for(run, 60);
    assert_int_equal(run->fired, 1);
    assert_true(run->at_ms - run->from_ms >= 20);
    lift_timer_free(run->one);
}

static void a_freed_one_never_fires(void **state)
{
    struct run *run = *state;
    struct lift_timer *timer = lift_timer_new(run->loop, 0, fire, run);
    lift_timer_free(timer);
    run_for(run, 10);
    assert_int_equal(run->fired, 0);
    lift_timer_free(NULL);
}

static void free_both(void *payload)
{
    struct run *run = payload;
    run->fired++;
    lift_timer_free(run->one);
    lift_timer_free(run->other);
    run->one = run->other = NULL;
}

static void one_that_is_due_too_can_still_be_freed(void **state)
{
    struct run *run = *state;
    run->one = lift_timer_new(run->loop, 0, free_both, run);
    run->other = lift_timer_new(run->loop, 0, free_both, run);
    usleep(2000); /* both are due in the same turn */
    run_for(run, 10);
    assert_int_equal(run->fired, 1);
}

static void counts_as_a_handle_until_freed(void **state)
{
    struct run *run = *state;
    struct lift_timer *timer = lift_timer_new(run->loop, 0, fire, run);
    assert_int_equal(lift_loop_handles(run->loop), 1);
    run_for(run, 5);
    assert_int_equal(run->fired, 1);
    assert_int_equal(lift_loop_handles(run->loop), 1);
    lift_timer_free(timer);
    assert_int_equal(lift_loop_handles(run->loop), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fires_once_and_not_early),       TEST(counts_from_its_start_not_from_the_turns),
        TEST(a_freed_one_never_fires),        TEST(one_that_is_due_too_can_still_be_freed),
        TEST(counts_as_a_handle_until_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
