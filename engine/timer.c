#include "timer.h"

#include <event2/event.h>

struct lift_timer {
    struct lift_loop *loop; /* borrowed */
    struct lift_loop__alarm alarm;
    bool set; /* not fired yet */
    lift_fn *fn;
    void *payload;
};

static void on_event(evutil_socket_t fd, short what, void *payload)
{
    (void)fd;
    (void)what;
    struct lift_timer *timer = payload;
    if (!timer->set)
        return;
    event_del(timer->alarm.event); /* a jump of the clock leaves it pending */
    lift_loop__unset(&timer->alarm);
    timer->set = false;
    timer->fn(timer->payload); /* may free the timer */
}

struct lift_timer *lift_timer_new(struct lift_loop *loop, uint64_t ms, lift_fn *fn, void *payload)
{
    struct lift_timer *timer = lift_calloc(1, sizeof *timer);
    *timer = (struct lift_timer){.loop = loop, .fn = fn, .payload = payload};
    timer->alarm.event = event_new(lift_loop_base(loop), -1, 0, on_event, timer);
    timer->alarm.due_ms = lift_loop_now_ms(loop) + ms;
    struct timeval within = {.tv_sec = (time_t)(ms / 1000),
                             .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    lift_loop__arm(timer->alarm.event, &within);
    lift_loop__set(loop, &timer->alarm);
    timer->set = true;
    lift_loop_hold(loop, 1);
    return timer;
}

void lift_timer_free(struct lift_timer *timer)
{
    if (!timer)
        return;
    if (timer->set)
        lift_loop__unset(&timer->alarm);
    event_free(timer->alarm.event);
    lift_loop_hold(timer->loop, -1);
    lift_free(timer);
}
