/* The one loop.  Only lift_loop_run() blocks; callbacks run from it, never from the call that
 * started the work. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct lift_loop;
struct event_base;
struct evdns_base;

typedef void lift_fn(void *payload);

/* Also ignores SIGPIPE: a peer that went away is an error of the write. */
LIFT_NODISCARD struct lift_loop *lift_loop_new(struct lift_error *err);
void lift_loop_free(
    struct lift_loop *loop); /* every handle must be gone: asserts in debug builds */

void lift_loop_run(struct lift_loop *loop);  /* until lift_loop_stop(), even with nothing to do */
void lift_loop_stop(struct lift_loop *loop); /* after the callback that calls it; before a run, that
                                                run ends at once */

/* Run fn(payload) in a later turn, in the order of the calls; it cannot be taken back. */
void lift_loop_defer(struct lift_loop *loop, lift_fn *fn, void *payload);

uint64_t lift_loop_now_ms(const struct lift_loop *loop); /* monotonic */

/*
 * For tests: let waits cost nothing.  While it is on, and whenever no socket is ready and no child
 * process runs, the clock jumps to when the next lift_timer is due.  What other processes do takes
 * its real time, so peers belong into this one.
 */
void lift_loop_skip_waits(struct lift_loop *loop, bool on);

/* For timer.c: what is due when, so that the clock can jump there. */
struct lift_loop__alarm {
    struct lift_loop__alarm *prev, *next;
    uint64_t due_ms;
    struct event *event;
};
void lift_loop__set(struct lift_loop *loop, struct lift_loop__alarm *alarm);
void lift_loop__unset(struct lift_loop__alarm *alarm);
/* For what lives by another clock and is about to act: child processes, libcurl.  While there is
 * one, time is not skipped. */
void lift_loop__outside(struct lift_loop *loop, int change);

/* For the files of this folder that wrap libevent: an event that was not made, or cannot be added,
 * means that memory is out. */
struct event;
struct timeval;
void lift_loop__arm(struct event *event, const struct timeval *within);
struct event_base *lift_loop_base(struct lift_loop *loop);
struct evdns_base *
lift_loop_dns(struct lift_loop *loop); /* made at first use, from resolv.conf and hosts */

/* Every handle of this folder counts itself here, so that a test can ask what was left open. */
void lift_loop_hold(struct lift_loop *loop, int change);
int lift_loop_handles(const struct lift_loop *loop);
