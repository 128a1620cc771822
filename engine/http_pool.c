#include "http_pool.h"

#include <assert.h>
#include <string.h>

#include <event2/event.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>

#define LANES_MAX 16        /* idle ones beyond are closed */
#define CONNECTIONS_KEPT 64 /* a lane */
#define AUTHORITIES_KEPT_MS (3600u * 1000)
#define SOON_MS 50 /* below this, a timer of libcurl's means that it is at work */

static struct lift_trust trust_copy(const struct lift_trust *trust)
{
    return (struct lift_trust){
        .ca_pem = lift_strdup(trust->ca_pem),
        .ca_file = lift_strdup(trust->ca_file),
        .thumbprint = lift_strdup(trust->thumbprint),
        .client_cert_pem = lift_strdup(trust->client_cert_pem),
        .client_key_pem = lift_secret_ref(trust->client_key_pem),
        .and_system = trust->and_system,
        .insecure = trust->insecure,
    };
}

static void trust_clear(struct lift_trust *trust)
{
    lift_free((char *)trust->ca_pem);
    lift_free((char *)trust->ca_file);
    lift_free((char *)trust->thumbprint);
    lift_free((char *)trust->client_cert_pem);
    lift_secret_free(trust->client_key_pem);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_secret(const struct lift_secret *a, const struct lift_secret *b)
{
    if (!a || !b)
        return a == b;
    size_t length = lift_secret_length(a);
    return length == lift_secret_length(b) &&
           CRYPTO_memcmp(lift_secret_bytes(a), lift_secret_bytes(b), length) == 0;
}

static bool same_trust(const struct lift_trust *a, const struct lift_trust *b)
{
    return a->insecure == b->insecure && a->and_system == b->and_system &&
           same_text(a->ca_pem, b->ca_pem) && same_text(a->ca_file, b->ca_file) &&
           same_text(a->thumbprint, b->thumbprint) &&
           same_text(a->client_cert_pem, b->client_cert_pem) &&
           same_secret(a->client_key_pem, b->client_key_pem);
}

/* An authority may be replaced while a controller runs, so they are read again now and then. */
static void forget_authorities(struct lift_http__lane *lane)
{
    X509_STORE_free(lane->authorities);
    lane->authorities = NULL;
    lane->read_ms = lift_loop_now_ms(lane->pool->loop);
}

bool lift_http__trust(struct lift_http__lane *lane, struct ssl_ctx_st *ctx,
                      struct lift_tls_why *why, struct lift_error *err)
{
    if (lift_loop_now_ms(lane->pool->loop) - lane->read_ms >= AUTHORITIES_KEPT_MS)
        forget_authorities(lane);
    return lift_tls_trust(ctx, &lane->trust, &lane->authorities, why, err);
}

/* A trial, so that a mistake is told when a request starts and not at some later handshake. */
static bool check_trust(struct lift_http__lane *lane, struct lift_error *err)
{
    const struct lift_trust *trust = &lane->trust;
    if (!trust->ca_pem && !trust->ca_file && !trust->thumbprint && !trust->client_cert_pem)
        return true; /* the system's bundle takes a while to read, and plain HTTP needs none */
    SSL_CTX *ctx = lift_demand(SSL_CTX_new(TLS_client_method()));
    bool ok = lift_http__trust(lane, ctx, NULL, err);
    SSL_CTX_free(ctx);
    return ok;
}

/* ---- libcurl on the loop ---- */

static void collect(struct lift_http__lane *lane)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(lane->multi, &left));) {
        struct lift_http *http = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&http);
        lift_http__finished(http, message->data.result);
    }
}

/* Without memory libcurl forgets the exchange, and nobody would be called back. */
static void act(struct lift_http__lane *lane, curl_socket_t fd, int mask)
{
    int running;
    if (curl_multi_socket_action(lane->multi, fd, mask, &running) == CURLM_OUT_OF_MEMORY)
        lift_no_memory();
    collect(lane);
}

static void on_ready(evutil_socket_t fd, short what, void *payload)
{
    struct lift_http__lane *lane = payload;
    int mask = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    act(lane, fd, mask);
}

/* libcurl reads a clock of its own, so what it wants in a moment has to be waited for. */
static void set_busy(struct lift_http__lane *lane, bool busy)
{
    if (busy != lane->busy)
        lift_loop__outside(lane->pool->loop, busy ? 1 : -1);
    lane->busy = busy;
}

static void on_timer(evutil_socket_t fd, short what, void *payload)
{
    struct lift_http__lane *lane = payload;
    (void)fd, (void)what;
    set_busy(lane, false);
    act(lane, CURL_SOCKET_TIMEOUT, 0);
}

static int watch_socket(CURL *curl, curl_socket_t fd, int what, void *payload, void *attached)
{
    struct lift_http__lane *lane = payload;
    struct event *event = attached;
    (void)curl;
    if (event)
        event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE) {
        int kind = EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) |
                   (what & CURL_POLL_OUT ? EV_WRITE : 0);
        event = event_new(lift_loop_base(lane->pool->loop), fd, (short)kind, on_ready, lane);
        lift_loop__arm(event, NULL);
    }
    curl_multi_assign(lane->multi, fd, event);
    return 0;
}

static int set_timer(CURLM *multi, long ms, void *payload)
{
    struct lift_http__lane *lane = payload;
    const struct timeval in = {ms / 1000, ms % 1000 * 1000};
    (void)multi;
    set_busy(lane, ms >= 0 && ms <= SOON_MS);
    if (ms < 0)
        event_del(lane->timer);
    else
        lift_loop__arm(lane->timer, &in);
    return 0;
}

bool lift_http__add(struct lift_http__lane *lane, CURL *curl)
{
    curl_easy_setopt(curl, CURLOPT_SHARE, lane->sessions);
    return curl_multi_add_handle(lane->multi, curl) == CURLM_OK;
}

void lift_http__remove(struct lift_http__lane *lane, CURL *curl)
{
    curl_multi_remove_handle(lane->multi, curl);
}

/* ---- lanes ---- */

static struct lift_http__lane *lane_new(struct lift_http_pool *pool, const struct lift_trust *trust)
{
    struct lift_http__lane *lane = lift_calloc(1, sizeof *lane);
    lane->pool = pool;
    lane->trust = trust_copy(trust);
    lane->read_ms = lift_loop_now_ms(pool->loop);
    lane->timer = lift_demand(evtimer_new(lift_loop_base(pool->loop), on_timer, lane));
    lane->multi = lift_demand(curl_multi_init());
    lane->sessions = lift_demand(curl_share_init());
    curl_share_setopt(lane->sessions, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    curl_multi_setopt(lane->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    return lane;
}

static void lane_free(struct lift_http__lane *lane)
{
    assert(lane->exchanges == 0);
    curl_multi_cleanup(lane->multi);
    set_busy(lane, false);
    curl_share_cleanup(lane->sessions);
    X509_STORE_free(lane->authorities);
    event_free(lane->timer);
    trust_clear(&lane->trust);
    lift_free(lane);
}

/* Credentials are rotated: a lane that nobody uses must not stay for ever. */
static void close_idle(struct lift_http_pool *pool)
{
    unsigned count = 0;
    for (struct lift_http__lane **at = &pool->lanes; *at;) {
        struct lift_http__lane *lane = *at;
        if (++count < LANES_MAX || lane->exchanges > 0) {
            at = &lane->next;
            continue;
        }
        *at = lane->next;
        lane_free(lane);
    }
}

struct lift_http__lane *lift_http__lane(struct lift_http_pool *pool, const struct lift_trust *trust,
                                        struct lift_error *err)
{
    for (struct lift_http__lane *lane = pool->lanes; lane; lane = lane->next)
        if (same_trust(&lane->trust, trust))
            return lane;
    struct lift_http__lane *lane = lane_new(pool, trust);
    if (!check_trust(lane, err)) {
        lane_free(lane);
        return NULL;
    }
    close_idle(pool);
    lane->next = pool->lanes;
    pool->lanes = lane;
    return lane;
}

struct lift_http_pool *lift_http_pool_new(struct lift_loop *loop, struct lift_error *err)
{
    CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (rc != CURLE_OK) {
        lift_fail(err, LIFT_FAILED, "libcurl: %s", curl_easy_strerror(rc));
        return NULL;
    }
    struct lift_http_pool *pool = lift_calloc(1, sizeof *pool);
    pool->loop = loop;
    pool->resolver = lift_resolver_new(loop);
    lift_loop_hold(loop, 1);
    return pool;
}

void lift_http_pool_free(struct lift_http_pool *pool)
{
    if (!pool)
        return;
    while (pool->lanes) {
        struct lift_http__lane *lane = pool->lanes;
        pool->lanes = lane->next;
        lane_free(lane);
    }
    lift_resolver_free(pool->resolver);
    lift_loop_hold(pool->loop, -1);
    lift_free(pool);
    curl_global_cleanup();
}

struct lift_loop *lift_http_pool_loop(const struct lift_http_pool *pool)
{
    return pool->loop;
}
