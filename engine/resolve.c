#include "resolve.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include <event2/dns.h>
#include <event2/util.h>

#include "buf.h"
#include "timer.h"

#define KEEP_MS 60000
#define ADDRESSES_MAX 2048

struct answer {
    struct answer *next;
    char *host;
    char *addresses;
    uint64_t until_ms;
};

struct lift_resolver {
    struct lift_loop *loop;
    struct answer *answers;
};

/* evdns tells of a cancelled question too, in a later turn: this part waits for that. */
struct query {
    struct lift_resolve *owner; /* NULL once cancelled */
    struct evdns_getaddrinfo_request *request;
};

struct lift_resolve {
    struct lift_resolver *resolver;
    char *host;
    struct query *query;
    struct lift_timer *timer; /* the deadline, then the delivery */
    char *addresses;
    struct lift_error error;
    lift_resolve_fn *done;
    void *payload;
};

struct lift_resolver *lift_resolver_new(struct lift_loop *loop)
{
    struct lift_resolver *resolver = lift_calloc(1, sizeof *resolver);
    resolver->loop = loop;
    return resolver;
}

static void answer_free(struct answer *answer)
{
    lift_free(answer->host);
    lift_free(answer->addresses);
    lift_free(answer);
}

static void forget_before(struct lift_resolver *resolver, uint64_t now_ms)
{
    for (struct answer **at = &resolver->answers; *at;) {
        struct answer *answer = *at;
        if (answer->until_ms > now_ms) {
            at = &answer->next;
            continue;
        }
        *at = answer->next;
        answer_free(answer);
    }
}

void lift_resolver_free(struct lift_resolver *resolver)
{
    if (!resolver)
        return;
    forget_before(resolver, UINT64_MAX);
    lift_free(resolver);
}

static const char *recall(struct lift_resolver *resolver, const char *host)
{
    forget_before(resolver, lift_loop_now_ms(resolver->loop));
    for (struct answer *answer = resolver->answers; answer; answer = answer->next)
        if (strcasecmp(answer->host, host) == 0)
            return answer->addresses;
    return NULL;
}

static void remember(struct lift_resolver *resolver, const char *host, const char *addresses)
{
    if (recall(resolver, host))
        return;
    struct answer *answer = lift_calloc(1, sizeof *answer);
    answer->host = lift_strdup(host);
    answer->addresses = lift_strdup(addresses);
    answer->until_ms = lift_loop_now_ms(resolver->loop) + KEEP_MS;
    answer->next = resolver->answers;
    resolver->answers = answer;
}

bool lift_resolve_literal(const char *host)
{
    struct in_addr v4;
    size_t length = strlen(host);
    const size_t tail = sizeof ".localhost" - 1;
    return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1 ||
           strcasecmp(host, "localhost") == 0 ||
           (length > tail && strcasecmp(host + length - tail, ".localhost") == 0);
}

static void deliver(void *payload)
{
    struct lift_resolve *resolve = payload;
    char *addresses = resolve->addresses;
    struct lift_error error = resolve->error;
    resolve->addresses = NULL;
    resolve->done(resolve->payload, addresses, addresses ? NULL : &error);
    lift_free(addresses);
}

static void deliver_later(struct lift_resolve *resolve)
{
    lift_timer_free(resolve->timer);
    resolve->timer = lift_timer_new(resolve->resolver->loop, 0, deliver, resolve);
}

static void drop_query(struct lift_resolve *resolve)
{
    struct query *query = resolve->query;
    if (!query)
        return;
    resolve->query = NULL;
    query->owner = NULL;
    evdns_getaddrinfo_cancel(query->request);
}

static void on_deadline(void *payload)
{
    struct lift_resolve *resolve = payload;
    drop_query(resolve);
    lift_fail(&resolve->error, LIFT_UNREACHABLE, "no answer from the name servers for %.200s",
              resolve->host);
    lift_hint(&resolve->error, "check the DNS servers of this host or pod");
    deliver(resolve);
}

static char *addresses_text(const struct evutil_addrinfo *list)
{
    struct lift_buf text = {.max = ADDRESSES_MAX};
    for (; list; list = list->ai_next) {
        char address[INET6_ADDRSTRLEN] = "";
        bool v6 = list->ai_family == AF_INET6;
        const struct sockaddr_in *in = (const void *)list->ai_addr;
        const struct sockaddr_in6 *in6 = (const void *)list->ai_addr;
        const void *bytes = v6 ? (const void *)&in6->sin6_addr : &in->sin_addr;
        if (!inet_ntop(list->ai_family, bytes, address, sizeof address))
            continue;
        if (!lift_buf_addf(&text, v6 ? "%s[%s]" : "%s%s", text.length ? "," : "", address))
            break; /* enough of them */
    }
    char *out = lift_strdup(text.data);
    lift_buf_free(&text);
    return out;
}

static void on_answer(int code, struct evutil_addrinfo *list, void *payload)
{
    struct query *query = payload;
    struct lift_resolve *resolve = query->owner;
    lift_free(query);
    if (resolve) {
        resolve->query = NULL;
        resolve->addresses = code == 0 ? addresses_text(list) : NULL;
        if (resolve->addresses) {
            remember(resolve->resolver, resolve->host, resolve->addresses);
        } else {
            lift_fail(&resolve->error, LIFT_UNREACHABLE, "the name %.200s has no address: %s",
                      resolve->host, evutil_gai_strerror(code));
            lift_hint(&resolve->error, "check the name, and the DNS servers of this host or pod");
        }
        deliver_later(resolve);
    }
    if (list)
        evutil_freeaddrinfo(list);
}

static void ask(struct lift_resolve *resolve)
{
    struct evutil_addrinfo hints = {.ai_family = PF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_protocol = IPPROTO_TCP,
                                    .ai_flags = EVUTIL_AI_ADDRCONFIG};
    struct query *query = lift_calloc(1, sizeof *query);
    query->owner = resolve;
    resolve->query = query;
    struct evdns_base *dns = lift_loop_dns(resolve->resolver->loop);
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(dns, resolve->host, NULL, &hints, on_answer, query);
    if (resolve->query) /* else it was answered within the call */
        resolve->query->request = request;
}

struct lift_resolve *lift_resolve_start(struct lift_resolver *resolver, const char *host,
                                        uint32_t within_ms, lift_resolve_fn *done, void *payload)
{
    struct lift_resolve *resolve = lift_calloc(1, sizeof *resolve);
    resolve->resolver = resolver;
    resolve->host = lift_strdup(host);
    resolve->done = done;
    resolve->payload = payload;
    lift_loop_hold(resolver->loop, 1);
    resolve->addresses = lift_strdup(recall(resolver, host));
    if (resolve->addresses) {
        deliver_later(resolve);
        return resolve;
    }
    resolve->timer = lift_timer_new(resolver->loop, within_ms, on_deadline, resolve);
    ask(resolve);
    return resolve;
}

void lift_resolve_free(struct lift_resolve *resolve)
{
    if (!resolve)
        return;
    drop_query(resolve);
    lift_timer_free(resolve->timer);
    lift_loop_hold(resolve->resolver->loop, -1);
    lift_free(resolve->addresses);
    lift_free(resolve->host);
    lift_free(resolve);
}
