#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include <event2/event.h>

#include "engine/loop.h"
#include "engine/timer.h"

struct run {
    struct lift_loop *loop;
    char seen[32];
    int turns, pipe;
};

static struct run *alarmed; /* a signal handler has no payload */

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

static void see(struct run *run, char what)
{
    run->seen[strlen(run->seen)] = what;
}

static void see_a(void *run)
{
    see(run, 'a');
}

static void see_b(void *run)
{
    see(run, 'b');
}

static void stop(void *payload)
{
    struct run *run = payload;
    see(run, '.');
    lift_loop_stop(run->loop);
}

static void see_c_and_defer(void *payload)
{
    struct run *run = payload;
    see(run, 'c');
    lift_loop_defer(run->loop, see_a, run);
    lift_loop_defer(run->loop, stop, run);
}

static void defers_in_order_and_never_at_once(void **state)
{
    struct run *run = *state;
    lift_loop_defer(run->loop, see_a, run);
    lift_loop_defer(run->loop, see_c_and_defer, run);
    lift_loop_defer(run->loop, see_b, run);
    assert_string_equal(run->seen, "");
    lift_loop_run(run->loop);
    assert_string_equal(run->seen, "acba.");
}

static void stopping_leaves_the_rest_for_the_next_run(void **state)
{
    struct run *run = *state;
    lift_loop_defer(run->loop, stop, run);
    lift_loop_defer(run->loop, see_a, run);
    lift_loop_defer(run->loop, stop, run);
    lift_loop_run(run->loop);
    assert_string_equal(run->seen, ".");
    lift_loop_run(run->loop);
    assert_string_equal(run->seen, ".a.");
}

static void a_stop_before_the_run_counts(void **state)
{
    struct run *run = *state;
    lift_loop_defer(run->loop, see_a, run);
    lift_loop_stop(run->loop);
    lift_loop_run(run->loop);
    assert_string_equal(run->seen, "");
}

static void again(void *payload)
{
    struct run *run = payload;
    if (run->turns == 0) /* not before: what is ready at the begin has its place in the queue */
        assert_int_equal(write(run->pipe, "x", 1), 1);
    if (run->turns++ < 100000)
        lift_loop_defer(run->loop, again, run);
    else
        stop(run);
}

static void on_readable(evutil_socket_t fd, short what, void *payload)
{
    (void)fd;
    (void)what;
    stop(payload);
}

static void deferring_forever_does_not_starve_the_sockets(void **state)
{
    struct run *run = *state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    run->pipe = ends[1];
    struct event *readable =
        event_new(lift_loop_base(run->loop), ends[0], EV_READ, on_readable, run);
    event_add(readable, NULL);
    lift_loop_defer(run->loop, again, run);
    lift_loop_run(run->loop);
    assert_true(run->turns < 10);
    event_free(readable);
    close(ends[0]);
    close(ends[1]);
}

static void stop_from_alarm(int number)
{
    (void)number;
    lift_loop_stop(alarmed->loop);
}

/* The alarm is not libevent's: as far as the loop knows, nothing will ever happen. */
static void runs_on_with_nothing_to_do(void **state)
{
    alarmed = *state;
    struct itimerval soon = {.it_value = {0, 50000}};
    uint64_t from = lift_loop_now_ms(alarmed->loop);
    signal(SIGALRM, stop_from_alarm);
    setitimer(ITIMER_REAL, &soon, NULL);
    lift_loop_run(alarmed->loop);
    assert_true(lift_loop_now_ms(alarmed->loop) - from >= 50);
    signal(SIGALRM, SIG_DFL);
}

static void the_resolver_is_no_handle_and_is_made_once(void **state)
{
    struct run *run = *state;
    struct evdns_base *dns = lift_loop_dns(run->loop);
    assert_non_null(dns);
    assert_ptr_equal(dns, lift_loop_dns(run->loop));
    assert_int_equal(lift_loop_handles(run->loop), 0);
    /* With nothing to resolve it leaves the base without a live event. */
    assert_int_equal(event_base_loop(lift_loop_base(run->loop), EVLOOP_NONBLOCK), 1);
}

static void a_peer_that_went_away_is_an_error_not_a_signal(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    close(ends[1]);
}

static void counts_handles(void **state)
{
    struct run *run = *state;
    lift_loop_hold(run->loop, 1);
    lift_loop_hold(run->loop, 1);
    lift_loop_hold(run->loop, -1);
    assert_int_equal(lift_loop_handles(run->loop), 1);
    lift_loop_hold(run->loop, -1);
}

static uint64_t real_ms(void)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_usec / 1000;
}

static void skipped_waits_cost_nothing_and_keep_their_order(void **state)
{
    struct run *run = *state;
    uint64_t began_ms = lift_loop_now_ms(run->loop), really_ms = real_ms();
    struct lift_timer *b = lift_timer_new(run->loop, 3600000, see_b, run);
    struct lift_timer *a = lift_timer_new(run->loop, 60000, see_a, run);
    struct lift_timer *end = lift_timer_new(run->loop, 7200000, stop, run);
    lift_loop_skip_waits(run->loop, true);
    lift_loop_run(run->loop);
    lift_loop_skip_waits(run->loop, false);
    assert_string_equal(run->seen, "ab.");
    assert_true(lift_loop_now_ms(run->loop) - began_ms >= 7200000);
    assert_true(real_ms() - really_ms < 5000);
    lift_timer_free(a);
    lift_timer_free(b);
    lift_timer_free(end);
}

static void time_is_not_skipped_while_others_are_at_work(void **state)
{
    struct run *run = *state;
    struct lift_timer *end = lift_timer_new(run->loop, 50, stop, run);
    uint64_t began_ms = real_ms();
    lift_loop__outside(run->loop, 1);
    lift_loop_skip_waits(run->loop, true);
    lift_loop_run(run->loop);
    lift_loop__outside(run->loop, -1);
    assert_true(real_ms() - began_ms >= 49);
    lift_timer_free(end);
}

static void freeing_drops_what_was_deferred(void **state)
{
    struct run *run = *state;
    lift_loop_defer(run->loop, see_a, run);
    lift_loop_free(NULL);
    /* teardown frees; the leak checker has the last word */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defers_in_order_and_never_at_once),
        TEST(stopping_leaves_the_rest_for_the_next_run),
        TEST(a_stop_before_the_run_counts),
        TEST(deferring_forever_does_not_starve_the_sockets),
        TEST(runs_on_with_nothing_to_do),
        TEST(the_resolver_is_no_handle_and_is_made_once),
        TEST(a_peer_that_went_away_is_an_error_not_a_signal),
        TEST(counts_handles),
        TEST(skipped_waits_cost_nothing_and_keep_their_order),
        TEST(time_is_not_skipped_while_others_are_at_work),
        TEST(freeing_drops_what_was_deferred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
