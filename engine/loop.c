#include "loop.h"

#include <assert.h>
#include <poll.h>
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

    struct lift_loop__alarm alarms; /* ring; only its links are used */
    int outside;                    /* what lives by another clock */
    uint64_t skipped_ms;            /* what the clock has jumped so far */
    struct event *idle;             /* NULL unless waits are skipped */
};

static const struct timeval AT_ONCE = {0, 0};
static const struct timeval A_MOMENT = {0, 100}; /* between two looks whether nothing happens */
static const struct timeval A_WHILE = {0, 2000}; /* the same, while others are at work */
/* What is on its way over loopback, or to another process, takes that long at most. */
static const struct timespec QUIET = {0, 400000};
#define WATCHED_MAX 1024

enum priority { FIRST, NORMAL /* libevent's default: the middle */, LAST, PRIORITIES };

/* Runs what was there when the turn began; what is deferred meanwhile waits for the next one, so
 * that the sockets get theirs in between.  A stop leaves the rest in the queue. */
void lift_loop__arm(struct event *event, const struct timeval *within)
{
    if (event_add(lift_demand(event), within) < 0)
        lift_no_memory();
}

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
        lift_loop__arm(loop->turn, &AT_ONCE);
}

/* Precise and uncached: the usual clock of libevent is a tick coarse and stands still during a
 * turn, so in a busy loop timers would fire early. */
static struct event_base *base_new(void)
{
    struct event_config *config = lift_demand(event_config_new());
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NO_CACHE_TIME);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    if (base)
        event_base_priority_init(base, PRIORITIES);
    return base;
}

struct lift_loop *lift_loop_new(struct lift_error *err)
{
    struct lift_loop *loop = lift_calloc(1, sizeof *loop);
    loop->last = &loop->first;
    loop->alarms.prev = loop->alarms.next = &loop->alarms;
    loop->base = base_new();
    if (!loop->base) {
        lift_free(loop);
        lift_fail(err, LIFT_FAILED, "cannot make an event loop");
        lift_hint(err, "raise the limit of open files (ulimit -n)");
        return NULL;
    }
    loop->turn = lift_demand(event_new(loop->base, -1, 0, on_turn, loop));
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
    lift_loop_skip_waits(loop, false);
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
    lift_loop__arm(loop->turn, &AT_ONCE);
}

uint64_t lift_loop_now_ms(const struct lift_loop *loop)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return loop->skipped_ms + (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- waits that cost nothing ---- */

void lift_loop__set(struct lift_loop *loop, struct lift_loop__alarm *alarm)
{
    alarm->prev = loop->alarms.prev;
    alarm->next = &loop->alarms;
    alarm->prev->next = alarm;
    loop->alarms.prev = alarm;
}

void lift_loop__unset(struct lift_loop__alarm *alarm)
{
    alarm->prev->next = alarm->next;
    alarm->next->prev = alarm->prev;
}

void lift_loop__outside(struct lift_loop *loop, int change)
{
    loop->outside += change;
}

struct watched {
    struct pollfd fds[WATCHED_MAX];
    nfds_t count;
};

static int watch(const struct event_base *base, const struct event *event, void *payload)
{
    (void)base;
    struct watched *all = payload;
    short what = event_get_events(event);
    if (event_get_fd(event) >= 0 && what & (EV_READ | EV_WRITE) && all->count < WATCHED_MAX)
        all->fds[all->count++] = (struct pollfd){
            .fd = event_get_fd(event),
            .events = (short)((what & EV_READ ? POLLIN : 0) | (what & EV_WRITE ? POLLOUT : 0))};
    return 0;
}

static bool is_quiet(const struct lift_loop *loop)
{
    struct watched all = {.count = 0};
    event_base_foreach_event(loop->base, watch, &all);
    return ppoll(all.fds, all.count, &QUIET, NULL) == 0;
}

/* Its priority is the last one, so that it runs only when a look at all sockets found nothing. */
static void on_idle(evutil_socket_t fd, short what, void *payload)
{
    (void)fd, (void)what;
    struct lift_loop *loop = payload;
    uint64_t now_ms = lift_loop_now_ms(loop), next_ms = UINT64_MAX;
    lift_loop__arm(loop->idle, loop->outside > 0 ? &A_WHILE : &A_MOMENT);
    if (loop->outside > 0 || loop->first || !is_quiet(loop))
        return;
    now_ms = lift_loop_now_ms(loop);
    for (struct lift_loop__alarm *a = loop->alarms.next; a != &loop->alarms; a = a->next)
        next_ms = a->due_ms < next_ms ? a->due_ms : next_ms;
    if (next_ms == UINT64_MAX)
        return;
    if (next_ms > now_ms)
        loop->skipped_ms += next_ms - now_ms;
    for (struct lift_loop__alarm *a = loop->alarms.next; a != &loop->alarms; a = a->next)
        if (a->due_ms <= next_ms)
            event_active(a->event, EV_TIMEOUT, 0);
}

void lift_loop_skip_waits(struct lift_loop *loop, bool on)
{
    if (loop->idle && !on) {
        event_free(loop->idle);
        loop->idle = NULL;
    } else if (!loop->idle && on) {
        loop->idle = lift_demand(event_new(loop->base, -1, 0, on_idle, loop));
        event_priority_set(loop->idle, LAST);
        lift_loop__arm(loop->idle, &A_MOMENT);
    }
}

struct event_base *lift_loop_base(struct lift_loop *loop)
{
    return loop->base;
}

struct evdns_base *lift_loop_dns(struct lift_loop *loop)
{
    if (loop->dns)
        return loop->dns;
    loop->dns = lift_demand(evdns_base_new(loop->base, EVDNS_BASE_DISABLE_WHEN_INACTIVE));
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
