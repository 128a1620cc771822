#include "signal.h"

#include <event2/event.h>

struct lift_signal {
    struct lift_loop *loop; /* borrowed */
    struct event *event;
    lift_fn *fn;
    void *payload;
};

static void on_event(evutil_socket_t number, short what, void *payload)
{
    (void)number;
    (void)what;
    struct lift_signal *signal = payload;
    signal->fn(signal->payload); /* may free the signal */
}

struct lift_signal *lift_signal_new(struct lift_loop *loop, int number, lift_fn *fn, void *payload)
{
    struct lift_signal *signal = lift_calloc(1, sizeof *signal);
    *signal = (struct lift_signal){.loop = loop, .fn = fn, .payload = payload};
    signal->event =
        event_new(lift_loop_base(loop), number, EV_SIGNAL | EV_PERSIST, on_event, signal);
    lift_loop__arm(signal->event, NULL); /* the numbers are ours, so nothing else can be wrong */
    lift_loop_hold(loop, 1);
    return signal;
}

void lift_signal_free(struct lift_signal *signal)
{
    if (!signal)
        return;
    event_free(signal->event);
    lift_loop_hold(signal->loop, -1);
    lift_free(signal);
}
