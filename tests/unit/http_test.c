#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <sys/socket.h>

#include "engine/resolve.h"
#include "tests/unit/http_fetch.h"

#define CONNECTIONS_MAX 512
#define OK_REPLY "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* A peer that misbehaves to order: it reads whole requests, and answers with the bytes it is told
 * to. */
enum manner { KEEP, CLOSE, RESET };

struct peer {
    struct evconnlistener *listener;
    struct bufferevent *connections[CONNECTIONS_MAX];
    unsigned accepted;
    unsigned requests;
    unsigned refuse_from, refuse_until; /* requests (counted from 1) that get no answer */
    enum manner refusal;
    enum manner after; /* KEEP or CLOSE */
    const char *answer;
    size_t answer_length;
    bool drip; /* one byte each 20 ms */
    struct event *drip_timer;
    size_t dripped;
    char last[65536]; /* the request as it came */
};

struct fixture {
    struct client client;
    struct peer peer;
};

static void hang_up(struct bufferevent *bev, enum manner manner)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    if (manner == RESET)
        setsockopt(bufferevent_getfd(bev), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    bufferevent_free(bev);
}

static void forget(struct peer *peer, struct bufferevent *bev)
{
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
        if (peer->connections[i] == bev)
            peer->connections[i] = NULL;
}

static void on_sent(struct bufferevent *bev, void *payload)
{
    struct peer *peer = payload;
    if (peer->after == CLOSE && !peer->drip)
        shutdown(bufferevent_getfd(bev), SHUT_WR); /* close() may take back what is in flight */
}

static void on_drip(evutil_socket_t fd, short what, void *payload)
{
    struct peer *peer = payload;
    (void)fd, (void)what;
    if (peer->connections[0] && peer->dripped < peer->answer_length)
        bufferevent_write(peer->connections[0], peer->answer + peer->dripped++, 1);
}

/* Length of the first whole request in the text, 0 if there is none yet. */
static size_t request_length(const char *text, size_t length)
{
    const char *end = memmem(text, length, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t total = (size_t)(end - text) + 4;
    const char *field = memmem(text, total, "Content-Length: ", 16);
    total += field ? strtoul(field + 16, NULL, 10) : 0;
    return total <= length ? total : 0;
}

static void on_bytes(struct bufferevent *bev, void *payload)
{
    struct peer *peer = payload;
    struct evbuffer *input = bufferevent_get_input(bev);
    size_t have = evbuffer_get_length(input);
    size_t length = request_length((char *)evbuffer_pullup(input, -1), have);
    if (length == 0 || length >= sizeof peer->last)
        return;
    evbuffer_remove(input, peer->last, length);
    peer->last[length] = '\0';
    peer->requests++;
    if (peer->requests >= peer->refuse_from && peer->requests <= peer->refuse_until) {
        forget(peer, bev);
        hang_up(bev, peer->refusal);
    } else if (peer->drip) {
        const struct timeval each = {0, 20000};
        event_add(peer->drip_timer, &each);
    } else if (peer->answer) {
        bufferevent_write(bev, peer->answer, peer->answer_length);
    }
}

static void on_event(struct bufferevent *bev, short what, void *payload)
{
    (void)what;
    forget(payload, bev);
    bufferevent_free(bev);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int length, void *payload)
{
    struct peer *peer = payload;
    (void)address, (void)length;
    assert_true(peer->accepted < CONNECTIONS_MAX);
    struct bufferevent *bev =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    peer->connections[peer->accepted++] = bev;
    bufferevent_setcb(bev, on_bytes, on_sent, on_event, peer);
    bufferevent_enable(bev, EV_READ);
}

static void answer_with(struct peer *peer, const char *bytes, size_t length, enum manner after)
{
    peer->answer = bytes;
    peer->answer_length = length;
    peer->after = after;
}

static void answer(struct peer *peer, const char *text, enum manner after)
{
    answer_with(peer, text, strlen(text), after);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client_open(&f->client);
    struct event_base *base = lift_loop_base(f->client.loop);
    f->peer.drip_timer = event_new(base, -1, EV_PERSIST, on_drip, &f->peer);
    f->peer.listener = evconnlistener_new_bind(base, on_accept, &f->peer, LEV_OPT_CLOSE_ON_FREE,
                                               256, (struct sockaddr *)&address, sizeof address);
    getsockname(evconnlistener_get_fd(f->peer.listener), (struct sockaddr *)&address, &length);
    snprintf(f->client.url, sizeof f->client.url, "http://127.0.0.1:%u/x", ntohs(address.sin_port));
    answer(&f->peer, OK_REPLY, KEEP);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    evconnlistener_free(f->peer.listener);
    event_free(f->peer.drip_timer);
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
        if (f->peer.connections[i])
            bufferevent_free(f->peer.connections[i]);
    int left = client_close(&f->client);
    free(f);
    return left;
}

/* ---- plain exchanges ---- */

static void a_reply_comes_with_status_headers_and_body(void **state)
{
    struct fixture *f = *state;
    answer(&f->peer,
           "HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n"
           "HTTP/1.1 404 Gone Fishing\r\nContent-Type: Application/JSON; charset=utf-8\r\n"
           "X-Two:  a b \r\nContent-Length: 4\r\n\r\nnope",
           KEEP);
    struct outcome out = fetch(&f->client, (struct lift_http_spec){0});
    assert_int_equal(out.status, 404);
    assert_string_equal(out.content_type, "application/json");
    assert_string_equal(out.headers, "content-type: Application/JSON; charset=utf-8\nx-two: a b\n"
                                     "content-length: 4\n");
    assert_string_equal(out.body.data, "nope");
    char value[8];
    const struct lift_http_reply reply = {.headers = out.headers};
    assert_true(lift_http_header(&reply, "x-two", value, sizeof value));
    assert_string_equal(value, "a b");
    assert_false(lift_http_header(&reply, "x-tw", value, sizeof value));
    assert_false(lift_http_header(&reply, "content-type", value, sizeof value));
    out_free(&out);
    assert_non_null(strstr(f->peer.last, "GET /x HTTP/1.1\r\n"));
}

static void a_request_says_what_it_was_told_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct lift_secret *secret = lift_secret_new("s3cr3t", 6);
    const struct lift_http_header headers[] = {
        {"X-Token", "Bearer ", secret}, {"X-Empty", "", NULL}, {"Accept", "text/x", NULL}};
    assert_fetch_gives(&f->client,
                       (struct lift_http_spec){.method = "PATCH",
                                               .headers = headers,
                                               .header_count = 3,
                                               .body = "a\0b",
                                               .body_length = 3,
                                               .username = "root",
                                               .password = secret},
                       200, "ok");
    const char *last = f->peer.last;
    assert_non_null(strstr(last, "PATCH /x HTTP/1.1\r\n"));
    assert_non_null(strstr(last, "\r\nX-Token: Bearer s3cr3t\r\n"));
    assert_non_null(strstr(last, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(last, "\r\nAccept: text/x\r\n"));
    assert_non_null(strstr(last, "\r\nAuthorization: Basic cm9vdDpzM2NyM3Q=\r\n"));
    assert_non_null(strstr(last, "\r\nContent-Length: 3\r\n"));
    assert_null(strstr(last, "Expect"));
    assert_null(strstr(last, "Content-Type"));
    assert_memory_equal(strstr(last, "\r\n\r\n") + 4, "a\0b", 3);
    lift_secret_free(secret);
}

static void methods_go_out_as_they_are(void **state)
{
    struct fixture *f = *state;
    static const char *const METHODS[] = {"DELETE", "POST", "PUT", "PROPFIND"};
    for (size_t i = 0; i < 4; i++) {
        assert_fetch_gives(&f->client, (struct lift_http_spec){.method = METHODS[i]}, 200, "ok");
        assert_memory_equal(f->peer.last, METHODS[i], strlen(METHODS[i]));
    }
    answer(&f->peer, "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", KEEP);
    assert_fetch_gives(&f->client, (struct lift_http_spec){.method = "HEAD"}, 200, "");
}

static void the_path_is_left_alone_and_redirects_are_not_followed(void **state)
{
    struct fixture *f = *state;
    char url[128];
    snprintf(url, sizeof url, "%s/../a%%2Fb?q=1", f->client.url);
    answer(&f->peer, "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", KEEP);
    assert_fetch_gives(&f->client, (struct lift_http_spec){.url = url}, 302, "");
    assert_non_null(strstr(f->peer.last, "GET /x/../a%2Fb?q=1 HTTP/1.1\r\n"));
    assert_int_equal(f->peer.requests, 1);
}

static void the_environment_names_no_proxy(void **state)
{
    struct fixture *f = *state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    assert_fetch_gives(&f->client, (struct lift_http_spec){0}, 200, "ok");
    unsetenv("http_proxy");
}

static void mistakes_are_told_at_once(void **state)
{
    struct fixture *f = *state;
    struct lift_secret *broken = lift_secret_new("a\r\nX: y", 7);
    struct lift_secret *nul = lift_secret_new("a\0b", 3);
    const struct lift_http_header line = {"X", "a\r\nY: b", NULL}, name = {"X Y", "a", NULL};
    const struct lift_http_header secret = {"X", "", broken}, cut = {"X", "", nul};
    const struct lift_http_header length = {"content-length", "5", NULL};
    const struct lift_http_spec wrong[] = {
        {.method = "GET", .url = "ftp://127.0.0.1/"},
        {.method = "GET", .url = "file:///etc/passwd"},
        {.method = "GET", .url = "127.0.0.1/x"},
        {.method = "GET", .url = "https://user:pw@127.0.0.1/"},
        {.method = "GET", .url = "https://h\xc3\xb6st/"},
        {.method = "GET", .url = "http://127.0.0.1/a b"},
        {.method = "GET", .url = "http:/127.0.0.1/"},
        {.method = "GET", .url = ""},
        {.method = "get", .url = f->client.url},
        {.method = "GET /", .url = f->client.url},
        {.method = "GET", .url = f->client.url, .headers = &line, .header_count = 1},
        {.method = "GET", .url = f->client.url, .headers = &name, .header_count = 1},
        {.method = "GET", .url = f->client.url, .headers = &secret, .header_count = 1},
        {.method = "GET", .url = f->client.url, .headers = &cut, .header_count = 1},
        {.method = "GET", .url = f->client.url, .headers = &length, .header_count = 1},
        {.method = "GET", .url = f->client.url, .username = "a:b", .password = nul},
        {.method = "GET", .url = f->client.url, .trust.thumbprint = "AA"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct lift_error err = {0};
        if (lift_http_start(f->client.pool, &wrong[i], on_done, NULL, &err))
            fail_msg("%zu was started", i);
        assert_int_equal(err.code, LIFT_CONFIG);
        assert_null(strstr(err.text, "pw"));
    }
    lift_secret_free(broken);
    lift_secret_free(nul);
}

static void text_is_percent_encoded(void **state)
{
    (void)state;
    struct lift_buf out = {.max = 24};
    assert_true(lift_http_encode(&out, "a-._~Z9 /\xc3\0", 11, "/"));
    assert_string_equal(out.data, "a-._~Z9%20/%C3%00");
    assert_false(lift_http_encode(&out, "abcd%%%%", 8, NULL));
    assert_string_equal(out.data, "a-._~Z9%20/%C3%00");
    lift_buf_free(&out);
}

/* ---- ceilings ---- */

/* 100 000 zeros */
static const unsigned char ZEROS_GZIP[] = {
    0x1f, 0x8b, 0x8,  0x0,  0x0,  0x0,  0x0,  0x0,  0x2,  0x3,  0xed, 0xc1, 0x31, 0x1, 0x0,
    0x0,  0x0,  0xc2, 0xa0, 0xf5, 0x4f, 0x6d, 0xd,  0xf,  0xa0, 0x0,  0x0,  0x0,  0x0, 0x0,
    0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0, 0x0,
    0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0, 0x0,
    0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0, 0x0,
    0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0, 0x0,
    0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0, 0x0,
    0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0,  0x0, 0x0,
    0x0,  0x80, 0x57, 0x3,  0x7d, 0x95, 0x11, 0xd4, 0xa0, 0x86, 0x1,  0x0};

static size_t gzip_reply(char *out, size_t size)
{
    int head = snprintf(out, size,
                        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
                        sizeof ZEROS_GZIP);
    memcpy(out + head, ZEROS_GZIP, sizeof ZEROS_GZIP);
    return (size_t)head + sizeof ZEROS_GZIP;
}

static void a_ceiling_counts_decoded_bytes(void **state)
{
    struct fixture *f = *state;
    char reply[1024];
    answer_with(&f->peer, reply, gzip_reply(reply, sizeof reply), KEEP);
    struct outcome out = fetch(&f->client, (struct lift_http_spec){.max_body = 100000});
    assert_int_equal(out.body.length, 100000);
    out_free(&out);
    assert_fetch_fails(&f->client, (struct lift_http_spec){.max_body = 99999}, LIFT_NO_SPACE, true);
}

static void a_long_body_is_cut_off(void **state)
{
    struct fixture *f = *state;
    size_t size = 4 << 20;
    char *reply = calloc(1, size);
    memset(reply, 'x', size);
    memcpy(reply, "HTTP/1.1 200 OK\r\n\r\n", 19);
    answer_with(&f->peer, reply, size, CLOSE);
    struct outcome out = fetch(&f->client, (struct lift_http_spec){.max_body = size});
    assert_string_equal(out.err.text, "");
    assert_int_equal(out.body.length, size - 19);
    out_free(&out);
    assert_fetch_fails(&f->client, (struct lift_http_spec){.max_body = 65536}, LIFT_NO_SPACE, true);
    free(reply);
}

static void a_long_body_arrives(void **state)
{
    struct fixture *f = *state;
    char *body = calloc(1, 60001);
    memset(body, 'y', 60000);
    assert_fetch_gives(
        &f->client, (struct lift_http_spec){.method = "POST", .body = body, .body_length = 60000},
        200, "ok");
    assert_string_equal(strstr(f->peer.last, "\r\n\r\n") + 4, body);
    free(body);
}

/* ---- what goes wrong on the wire ---- */

static void nobody_listens_is_unreachable(void **state)
{
    struct fixture *f = *state;
    evconnlistener_disable(f->peer.listener);
    assert_fetch_fails(&f->client, (struct lift_http_spec){.url = "http://127.0.0.1:1/"},
                       LIFT_UNREACHABLE, false);
}

static void a_cut_reply_is_unanswered(void **state)
{
    struct fixture *f = *state;
    static const char *const CUT[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf",
    };
    for (size_t i = 0; i < sizeof CUT / sizeof *CUT; i++) {
        answer(&f->peer, CUT[i], CLOSE);
        assert_fetch_fails(&f->client, (struct lift_http_spec){0}, LIFT_PROTOCOL, true);
    }
}

static void what_is_not_http_is_refused(void **state)
{
    struct fixture *f = *state;
    answer(&f->peer, "SSH-2.0-OpenSSH_9.2\r\n", CLOSE);
    assert_fetch_fails(&f->client, (struct lift_http_spec){0}, LIFT_PROTOCOL, true);
}

static void a_connection_lost_before_the_answer_is_unanswered(void **state)
{
    struct fixture *f = *state;
    f->peer.refuse_from = 1, f->peer.refuse_until = 99;
    f->peer.refusal = RESET;
    assert_fetch_fails(&f->client, (struct lift_http_spec){.method = "POST"}, LIFT_PROTOCOL, true);
    f->peer.refusal = CLOSE;
    assert_fetch_fails(&f->client, (struct lift_http_spec){.method = "POST"}, LIFT_PROTOCOL, true);
    assert_int_equal(f->peer.requests, 2);
}

static void a_silent_peer_runs_into_the_timeout(void **state)
{
    struct fixture *f = *state;
    answer_with(&f->peer, NULL, 0, KEEP);
    assert_fetch_fails(&f->client, (struct lift_http_spec){.timeout_ms = 100}, LIFT_TIMEOUT, true);
}

static void a_dripping_reply_does_not_stretch_the_timeout(void **state)
{
    struct fixture *f = *state;
    f->peer.drip = true;
    uint64_t begin_ms = lift_loop_now_ms(f->client.loop);
    assert_fetch_fails(&f->client, (struct lift_http_spec){.timeout_ms = 200}, LIFT_TIMEOUT, true);
    assert_in_range(lift_loop_now_ms(f->client.loop) - begin_ms, 190, 1000);
    assert_in_range(f->peer.dripped, 2, 20);
}

/*
 * libcurl resends a request when a connection that it reuses dies before the first byte of the
 * answer, POST or not.  So a clone was once started twice.  The second case is that behaviour, for
 * what is no effect: should libcurl ever drop it, effects need no fresh connection any more.
 */
static void an_effect_is_sent_once(void **state)
{
    struct fixture *f = *state;
    assert_fetch_gives(&f->client, (struct lift_http_spec){0}, 200,
                       "ok"); /* leaves a connection behind */
    f->peer.refuse_from = 2, f->peer.refuse_until = 2;
    assert_fetch_fails(&f->client, (struct lift_http_spec){.method = "POST", .effect = true},
                       LIFT_PROTOCOL, true);
    assert_int_equal(f->peer.requests, 2);
    assert_int_equal(f->peer.accepted, 2);
}

static void a_read_is_resent_by_the_library(void **state)
{
    struct fixture *f = *state;
    assert_fetch_gives(&f->client, (struct lift_http_spec){0}, 200, "ok");
    f->peer.refuse_from = 2, f->peer.refuse_until = 2;
    assert_fetch_gives(&f->client, (struct lift_http_spec){0}, 200, "ok");
    assert_int_equal(f->peer.requests, 3);
}

static void reads_share_a_connection_and_effects_keep_their_own(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++)
        assert_fetch_gives(&f->client, (struct lift_http_spec){0}, 200, "ok");
    assert_int_equal(f->peer.accepted, 1);
    assert_fetch_gives(&f->client, (struct lift_http_spec){.method = "POST", .effect = true}, 200,
                       "ok");
    assert_int_equal(f->peer.accepted, 2);
    assert_fetch_gives(&f->client, (struct lift_http_spec){0}, 200, "ok");
    assert_int_equal(f->peer.accepted, 2);
}

/* ---- many, and cancelled ---- */

static void hundreds_run_at_once(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 300 };
    static struct outcome out[COUNT];
    unsigned left = COUNT;
    struct lift_error err = {0};
    const struct lift_http_spec spec = {.method = "GET", .url = f->client.url};
    for (int i = 0; i < COUNT; i++) {
        out[i] = (struct outcome){.client = &f->client, .left = &left, .free_within = i % 2};
        out[i].http = lift_http_start(f->client.pool, &spec, on_done, &out[i], &err);
        assert_non_null(out[i].http);
    }
    lift_loop_run(f->client.loop);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(out[i].status, 200);
        out_free(&out[i]);
    }
}

static void a_cancelled_exchange_says_nothing_more(void **state)
{
    struct fixture *f = *state;
    const struct lift_http_spec specs[] = {
        {.method = "POST", .url = f->client.url, .body = "x", .body_length = 1},
        {.method = "GET", .url = "http://name.example/"},
    };
    for (int turns = 0; turns < 24; turns++) {
        unsigned left = 2;
        struct lift_error err = {0};
        struct outcome out = {.client = &f->client, .left = &left};
        out.http = lift_http_start(f->client.pool, &specs[turns % 2], on_done, &out, &err);
        for (int i = 0; i < turns / 2; i++)
            event_base_loop(lift_loop_base(f->client.loop), EVLOOP_NONBLOCK | EVLOOP_ONCE);
        int calls = out.calls;
        lift_http_free(out.http);
        for (int i = 0; i < 10; i++)
            event_base_loop(lift_loop_base(f->client.loop), EVLOOP_NONBLOCK | EVLOOP_ONCE);
        assert_int_equal(out.calls, calls);
        lift_buf_free(&out.body);
    }
}

static void plain_text_where_tls_was_meant_is_unreachable(void **state)
{
    struct fixture *f = *state;
    char url[128];
    snprintf(url, sizeof url, "https%s", strchr(f->client.url, ':'));
    answer(&f->peer, "HTTP/1.1 400 Bad Request\r\n\r\n", CLOSE);
    assert_fetch_fails(&f->client, (struct lift_http_spec){.url = url, .timeout_ms = 300},
                       LIFT_UNREACHABLE, false);
}

static void trusts_come_and_go(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 40; i++) {
        char pin[41];
        snprintf(pin, sizeof pin, "%040x", i);
        assert_fetch_gives(&f->client, (struct lift_http_spec){.trust.thumbprint = pin}, 200, "ok");
    }
}

static void localhost_needs_no_name_server(void **state)
{
    struct fixture *f = *state;
    char url[128];
    assert_true(lift_resolve_literal("LOCALHOST"));
    assert_true(lift_resolve_literal("[::1]"));
    assert_false(lift_resolve_literal("notlocalhost"));
    snprintf(url, sizeof url, "http://localhost%s", strrchr(f->client.url, ':'));
    assert_fetch_gives(&f->client, (struct lift_http_spec){.url = url}, 200, "ok");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_reply_comes_with_status_headers_and_body),
        TEST(a_request_says_what_it_was_told_and_nothing_else),
        TEST(methods_go_out_as_they_are),
        TEST(the_path_is_left_alone_and_redirects_are_not_followed),
        TEST(the_environment_names_no_proxy),
        TEST(mistakes_are_told_at_once),
        TEST(text_is_percent_encoded),
        TEST(a_ceiling_counts_decoded_bytes),
        TEST(a_long_body_is_cut_off),
        TEST(a_long_body_arrives),
        TEST(nobody_listens_is_unreachable),
        TEST(a_cut_reply_is_unanswered),
        TEST(what_is_not_http_is_refused),
        TEST(a_connection_lost_before_the_answer_is_unanswered),
        TEST(a_silent_peer_runs_into_the_timeout),
        TEST(a_dripping_reply_does_not_stretch_the_timeout),
        TEST(an_effect_is_sent_once),
        TEST(a_read_is_resent_by_the_library),
        TEST(reads_share_a_connection_and_effects_keep_their_own),
        TEST(hundreds_run_at_once),
        TEST(a_cancelled_exchange_says_nothing_more),
        TEST(localhost_needs_no_name_server),
        TEST(plain_text_where_tls_was_meant_is_unreachable),
        TEST(trusts_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
