#include "loop.h"

#include <assert.h>
#include <signal.h>
#include <time.h>

#include <event2/dns.h>
#include <event2/event.h>

struct deferred {
    struct deferred *next;
    lift_fn *fn;
    void *payload;
};

struct lift_loop {
    struct event_base *base;
    struct evdns_base *dns;         /* NULL until someone asks for a name */
    struct event *turn;             /* due at once while `first` is not NULL */
    struct deferred *first, **last; /* in the order of the calls */
    int handles;
    bool stopped;
};

static const struct timeval AT_ONCE = {0, 0};

/* Runs what was there when the turn began; what is deferred meanwhile waits for the next one, so
 * that the sockets get theirs in between.  A stop leaves the rest in the queue. */
static void on_turn(evutil_socket_t fd, short what, void *payload)
{
    (void)fd;
    (void)what;
    struct lift_loop *loop = payload;
    struct deferred **end = loop->last;
    bool more = true;
    while (more && !loop->stopped) {
        struct deferred *item = loop->first;
        more = &item->next != end;
        loop->first = item->next;
        if (!loop->first)
            loop->last = &loop->first;
        item->fn(item->payload);
        lift_free(item);
    }
    if (loop->first)
        event_add(loop->turn, &AT_ONCE);
}

/* Precise and uncached: the usual clock of libevent is a tick coarse and stands still during a
 * turn, so in a busy loop timers would fire early. */
static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        lift_no_memory();
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NO_CACHE_TIME);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

struct lift_loop *lift_loop_new(struct lift_error *err)
{
    struct lift_loop *loop = lift_calloc(1, sizeof *loop);
    loop->last = &loop->first;
    loop->base = base_new();
    if (!loop->base) {
        lift_free(loop);
        lift_fail(err, LIFT_FAILED, "cannot make an event loop");
        lift_hint(err, "raise the limit of open files (ulimit -n)");
        return NULL;
    }
    loop->turn = event_new(loop->base, -1, 0, on_turn, loop);
    if (!loop->turn)
        lift_no_memory();
    signal(SIGPIPE, SIG_IGN);
    return loop;
}

void lift_loop_free(struct lift_loop *loop)
{
    if (!loop)
        return;
    assert(loop->handles == 0);
    while (loop->first) {
        struct deferred *item = loop->first;
        loop->first = item->next;
        lift_free(item);
    }
    if (loop->dns)
        evdns_base_free(loop->dns, 0);
    event_free(loop->turn);
    event_base_free(loop->base);
    lift_free(loop);
}

void lift_loop_run(struct lift_loop *loop)
{
    while (!loop->stopped && event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY) == 0)
        continue;
    loop->stopped = false;
}

void lift_loop_stop(struct lift_loop *loop)
{
    loop->stopped = true;
    event_base_loopbreak(loop->base);
}

void lift_loop_defer(struct lift_loop *loop, lift_fn *fn, void *payload)
{
    struct deferred *item = lift_calloc(1, sizeof *item);
    *item = (struct deferred){.fn = fn, .payload = payload};
    *loop->last = item;
    loop->last = &item->next;
    event_add(loop->turn, &AT_ONCE);
}

uint64_t lift_loop_now_ms(const struct lift_loop *loop)
{
    (void)loop;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct event_base *lift_loop_base(struct lift_loop *loop)
{
    return loop->base;
}

struct evdns_base *lift_loop_dns(struct lift_loop *loop)
{
    if (loop->dns)
        return loop->dns;
    loop->dns = evdns_base_new(loop->base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (!loop->dns)
        lift_no_memory();
    /* The result is not looked at: without the file evdns asks 127.0.0.1, as the C library does. */
    evdns_base_resolv_conf_parse(loop->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
    return loop->dns;
}

void lift_loop_hold(struct lift_loop *loop, int change)
{
    loop->handles += change;
    assert(loop->handles >= 0);
}

int lift_loop_handles(const struct lift_loop *loop)
{
    return loop->handles;
}
