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
#include <sys/socket.h>

#include "engine/http.h"
#include "engine/server.h"
#include "engine/timer.h"

struct fixture {
    struct lift_loop *loop;
    struct lift_http_pool *pool;
    struct lift_server *server;
    char url[64];

    /* the next answer */
    int status;
    const char *const *headers;
    const char *body;
    size_t body_length;
    bool keep, drop, echo;

    /* what was asked */
    struct lift_request *kept;
    int requests;
    char method[8];
    char target[256];
    char said[4096];

    /* what a client of ours got */
    int got_status;
    struct lift_error got_err;
    char got_headers[4096];
    struct lift_buf got;
};

static void on_request(void *payload, struct lift_request *request)
{
    struct fixture *f = payload;
    const struct lift_buf *body = lift_request_body(request);
    f->requests++;
    snprintf(f->method, sizeof f->method, "%s", lift_request_method(request));
    snprintf(f->target, sizeof f->target, "%s", lift_request_target(request));
    snprintf(f->said, sizeof f->said, "%s", lift_request_headers(request));
    assert_string_equal(lift_request_peer(request), "127.0.0.1");
    if (f->keep)
        f->kept = request;
    else if (f->drop)
        lift_request_drop(request);
    else if (f->echo)
        lift_request_reply(request, f->status, f->headers, body->data, body->length);
    else
        lift_request_reply(request, f->status, f->headers, f->body, f->body_length);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct lift_error err = {0};
    f->loop = lift_loop_new(&err);
    f->pool = lift_http_pool_new(f->loop, &err);
    const struct lift_server_spec spec = {
        .host = "127.0.0.1", .max_headers = 4096, .on_request = on_request, .payload = f};
    f->server = lift_server_new(f->loop, &spec, &err);
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%u", lift_server_port(f->server));
    f->status = 200;
    f->body = "fine";
    f->body_length = 4;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    lift_server_free(f->server);
    lift_http_pool_free(f->pool);
    lift_buf_free(&f->got);
    event_base_loop(lift_loop_base(f->loop), EVLOOP_NONBLOCK);
    int left = lift_loop_handles(f->loop);
    lift_loop_free(f->loop);
    free(f);
    return left;
}

static void on_done(void *payload, struct lift_http_reply *reply, const struct lift_error *err)
{
    struct fixture *f = payload;
    lift_buf_free(&f->got);
    f->got_status = reply ? reply->status : 0;
    if (reply) {
        snprintf(f->got_headers, sizeof f->got_headers, "%s", reply->headers);
        f->got = reply->body;
        memset(&reply->body, 0, sizeof reply->body);
    } else {
        f->got_err = *err;
    }
    lift_loop_stop(f->loop);
}

static void fetch(struct fixture *f, const char *method, const char *path, const void *body,
                  size_t length)
{
    char url[256];
    struct lift_error err = {0};
    snprintf(url, sizeof url, "%s%s", f->url, path);
    const struct lift_http_spec spec = {
        .method = method, .url = url, .body = body, .body_length = length, .max_body = 20 << 20};
    struct lift_http *http = lift_http_start(f->pool, &spec, on_done, f, &err);
    assert_non_null(http);
    lift_loop_run(f->loop);
    lift_http_free(http);
}

/* ---- a client that says any bytes, and hears what comes within a while ---- */

struct client {
    struct bufferevent *bev;
    struct lift_loop *loop;
    char heard[8192];
    bool closed;
};

static void on_heard(struct bufferevent *bev, void *payload)
{
    struct client *c = payload;
    size_t used = strlen(c->heard);
    size_t more = bufferevent_read(bev, c->heard + used, sizeof c->heard - 1 - used);
    c->heard[used + more] = '\0';
}

static void on_end(struct bufferevent *bev, short what, void *payload)
{
    struct client *c = payload;
    (void)bev;
    c->closed = c->closed || what & (BEV_EVENT_EOF | BEV_EVENT_ERROR);
}

static void stop(void *payload)
{
    lift_loop_stop(payload);
}

static void wait_ms(struct lift_loop *loop, uint64_t ms)
{
    struct lift_timer *timer = lift_timer_new(loop, ms, stop, loop);
    lift_loop_run(loop);
    lift_timer_free(timer);
}

static struct client *say(struct fixture *f, uint16_t port, const char *text)
{
    struct client *c = calloc(1, sizeof *c);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->loop = f->loop;
    c->bev = bufferevent_socket_new(lift_loop_base(f->loop), -1, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(c->bev, on_heard, NULL, on_end, c);
    bufferevent_socket_connect(c->bev, (struct sockaddr *)&address, sizeof address);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    bufferevent_write(c->bev, text, strlen(text));
    wait_ms(f->loop, 50);
    return c;
}

static void leave(struct client *c, bool reset)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    if (reset)
        setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    bufferevent_free(c->bev);
    wait_ms(c->loop, 20);
    free(c);
}

/* ---- asking and answering ---- */

static void a_request_says_what_was_asked(void **state)
{
    struct fixture *f = *state;
    struct client *c = say(f, lift_server_port(f->server),
                           "PATCH /a%2Fb/../c?x=%41&y HTTP/1.1\r\nHost: h\r\nX-One: 1\r\n"
                           "x-oNE: 2\r\nContent-Length: 3\r\n\r\na\xff"
                           "b");
    assert_string_equal(f->method, "PATCH");
    assert_string_equal(f->target, "/a%2Fb/../c?x=%41&y");
    assert_string_equal(f->said, "host: h\nx-one: 1\nx-one: 2\ncontent-length: 3\n");
    assert_non_null(strstr(c->heard, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(c->heard, "\r\nContent-Length: 4\r\n"));
    assert_non_null(strstr(c->heard, "\r\n\r\nfine"));
    assert_null(strstr(c->heard, "Content-Type"));
    leave(c, false);
}

static void a_header_is_found_in_any_case(void **state)
{
    struct fixture *f = *state;
    f->keep = true;
    struct client *c = say(f, lift_server_port(f->server),
                           "GET http://proxied/p?q HTTP/1.1\r\nHost: h\r\nX-One: 1\r\n\r\n");
    assert_string_equal(f->target, "/p?q");
    assert_string_equal(lift_request_header(f->kept, "X-ONE"), "1");
    assert_null(lift_request_header(f->kept, "X-On"));
    lift_request_drop(f->kept);
    leave(c, false);
}

static void each_method_is_let_in_and_no_other(void **state)
{
    struct fixture *f = *state;
    static const char *const METHODS[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < 5; i++) {
        fetch(f, METHODS[i], "/", i ? "body" : NULL, i ? 4 : 0);
        assert_int_equal(f->got_status, 200);
        assert_string_equal(f->method, METHODS[i]);
        assert_string_equal(f->got.data, "fine");
    }
    fetch(f, "OPTIONS", "/", NULL, 0);
    fetch(f, "BREW", "/", NULL, 0);
    assert_int_equal(f->requests, 5);
}

static void a_head_has_a_length_and_no_body(void **state)
{
    struct fixture *f = *state;
    struct client *c = say(f, lift_server_port(f->server), "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_string_equal(f->method, "HEAD");
    assert_non_null(strstr(c->heard, "\r\nContent-Length: 4\r\n"));
    assert_string_equal(strstr(c->heard, "\r\n\r\n"), "\r\n\r\n");
    leave(c, false);
}

static void no_content_is_none(void **state)
{
    struct fixture *f = *state;
    f->status = 204;
    struct client *c = say(f, lift_server_port(f->server), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_non_null(strstr(c->heard, " 204 "));
    assert_string_equal(strstr(c->heard, "\r\n\r\n"), "\r\n\r\n");
    leave(c, false);
}

static void an_answer_carries_its_headers_and_breaks_no_line(void **state)
{
    struct fixture *f = *state;
    static const char *const HEADERS[] = {"X-A",          "1",        "X-A", "2", "X-Bad",
                                          "a\r\nX-B: no", "Location", "/l",  NULL};
    f->headers = HEADERS;
    f->status = 302;
    fetch(f, "GET", "/", NULL, 0);
    assert_int_equal(f->got_status, 302);
    assert_non_null(strstr(f->got_headers, "x-a: 1\nx-a: 2\n"));
    assert_non_null(strstr(f->got_headers, "location: /l\n"));
    assert_null(strstr(f->got_headers, "x-b"));
}

static void a_connection_serves_one_request_after_the_other(void **state)
{
    struct fixture *f = *state;
    struct client *c = say(f, lift_server_port(f->server), "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
    const char *second = "GET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_false(c->closed);
    bufferevent_write(c->bev, second, strlen(second));
    wait_ms(f->loop, 50);
    assert_string_equal(f->target, "/2");
    assert_true(c->closed);
    leave(c, false);
}

static void sixteen_mebibytes_go_in_and_out(void **state)
{
    struct fixture *f = *state;
    size_t size = (size_t)16 << 20;
    char *body = calloc(1, size);
    memset(body, 'z', size);
    body[0] = 'a', body[size - 1] = 'b';
    f->echo = true;
    fetch(f, "POST", "/", body, size);
    assert_int_equal(f->got_status, 200);
    assert_int_equal(f->got.length, size);
    assert_memory_equal(f->got.data, body, size);
    fetch(f, "POST", "/", NULL, 0);
    assert_int_equal(f->got.length, 0);
    free(body);
}

/* ---- ceilings ---- */

static void what_is_too_long_is_refused_unasked(void **state)
{
    struct fixture *f = *state;
    size_t size = ((size_t)16 << 20) + 1;
    char *body = calloc(1, size), field[6000];
    fetch(f, "POST", "/", body, size);
    assert_int_equal(f->got_status, 413);
    memset(field, 'h', sizeof field);
    field[sizeof field - 1] = '\0';
    snprintf(body, size, "GET / HTTP/1.1\r\nX-Long: %s\r\n\r\n", field);
    struct client *c = say(f, lift_server_port(f->server), body);
    assert_non_null(strstr(c->heard, "HTTP/1.1 400 "));
    leave(c, false);
    assert_int_equal(f->requests, 0);
    free(body);
}

static void nonsense_is_refused_and_the_server_lives(void **state)
{
    struct fixture *f = *state;
    static const char BAD_CHUNK[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n";
    static const char *const NONSENSE[] = {"\x16\x03\x01 hello\r\n\r\n", "GET\r\n\r\n",
                                           "POST / HTTP/1.1\r\nContent-Length: -4\r\n\r\n",
                                           BAD_CHUNK};
    for (size_t i = 0; i < 4; i++)
        leave(say(f, lift_server_port(f->server), NONSENSE[i]), i % 2);
    assert_int_equal(f->requests, 0);
    fetch(f, "GET", "/", NULL, 0);
    assert_int_equal(f->got_status, 200);
}

/* ---- who leaves when ---- */

static void a_client_that_left_may_still_be_answered(void **state)
{
    struct fixture *f = *state;
    f->keep = true;
    for (int i = 0; i < 4; i++) {
        struct client *c =
            say(f, lift_server_port(f->server), "GET /k HTTP/1.1\r\nHost: h\r\n\r\n");
        leave(c, i % 2);
        assert_string_equal(lift_request_target(f->kept), "/k");
        if (i < 2)
            lift_request_reply(f->kept, 200, NULL, "late", 4);
        else
            lift_request_drop(f->kept);
        wait_ms(f->loop, 10);
    }
    assert_int_equal(f->requests, 4);
}

static void a_dropped_request_ends_without_a_word(void **state)
{
    struct fixture *f = *state;
    f->drop = true;
    struct client *c = say(f, lift_server_port(f->server), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(c->closed);
    assert_string_equal(c->heard, "");
    leave(c, false);
}

static void a_request_outlives_its_server(void **state)
{
    struct fixture *f = *state;
    f->keep = true;
    struct client *c = say(f, lift_server_port(f->server), "GET /o HTTP/1.1\r\nHost: h\r\n\r\n");
    lift_server_free(f->server);
    f->server = NULL;
    wait_ms(f->loop, 10);
    assert_true(c->closed);
    assert_string_equal(lift_request_target(f->kept), "/o");
    lift_request_reply(f->kept, 200, NULL, "x", 1);
    leave(c, false);
}

static void a_server_may_go_at_any_turn(void **state)
{
    struct fixture *f = *state;
    struct lift_error err = {0};
    f->keep = true;
    for (int turns = 0; turns < 12; turns++) {
        f->kept = NULL;
        const struct lift_server_spec spec = {
            .host = "127.0.0.1", .on_request = on_request, .payload = f};
        struct lift_server *server = lift_server_new(f->loop, &spec, &err);
        struct client *c = calloc(1, sizeof *c);
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons(lift_server_port(server))};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        c->loop = f->loop;
        c->bev = bufferevent_socket_new(lift_loop_base(f->loop), -1, BEV_OPT_CLOSE_ON_FREE);
        bufferevent_socket_connect(c->bev, (struct sockaddr *)&address, sizeof address);
        bufferevent_enable(c->bev, EV_READ | EV_WRITE);
        bufferevent_write(c->bev, "GET / HTTP/1.1\r\n\r\n", 18);
        for (int i = 0; i < turns; i++)
            event_base_loop(lift_loop_base(f->loop), EVLOOP_NONBLOCK | EVLOOP_ONCE);
        lift_server_free(server);
        if (f->kept)
            lift_request_reply(f->kept, 200, NULL, "x", 1);
        leave(c, false);
    }
    assert_in_range(f->requests, 1, 11); /* before it was handed over, and after */
}

/* ---- listening ---- */

static void a_server_that_cannot_listen_says_why(void **state)
{
    struct fixture *f = *state;
    struct lift_error err = {0};
    struct lift_server_spec spec = {.host = "127.0.0.1", .port = lift_server_port(f->server)};
    assert_null(lift_server_new(f->loop, &spec, &err));
    assert_int_equal(err.code, LIFT_CONFLICT);
    assert_non_null(strstr(err.hint, "port"));
    spec = (struct lift_server_spec){.host = "localhost"};
    assert_null(lift_server_new(f->loop, &spec, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
    spec = (struct lift_server_spec){.host = "127.0.0.1", .cert_pem = "no", .key_pem = "no"};
    assert_null(lift_server_new(f->loop, &spec, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
}

static void tls_survives_who_does_not_speak_it(void **state)
{
    struct fixture *f = *state;
    struct lift_error err = {0};
    struct lift_buf cert = {0}, key = {0};
    const char *const names[] = {"IP:127.0.0.1", NULL};
    assert_true(lift_tls_make_leaf("s", names, 1, NULL, NULL, &cert, &key, &err));
    const struct lift_server_spec spec = {.host = "127.0.0.1",
                                          .cert_pem = cert.data,
                                          .key_pem = key.data,
                                          .on_request = on_request,
                                          .payload = f};
    struct lift_server *server = lift_server_new(f->loop, &spec, &err);
    leave(say(f, lift_server_port(server), "GET / HTTP/1.1\r\n\r\n"), false);
    leave(say(f, lift_server_port(server), "\x16\x03\x01\x00"), true);
    leave(say(f, lift_server_port(server), ""), true);
    char url[64];
    snprintf(url, sizeof url, "https://127.0.0.1:%u/t", lift_server_port(server));
    for (int i = 0; i < 3; i++) {
        const struct lift_http_spec ask = {
            .method = "GET", .url = url, .trust.ca_pem = cert.data, .effect = i == 1};
        f->drop = i == 2;
        struct lift_http *http = lift_http_start(f->pool, &ask, on_done, f, &err);
        lift_loop_run(f->loop);
        lift_http_free(http);
        assert_int_equal(f->got_status, i == 2 ? 0 : 200);
    }
    assert_int_equal(f->got_err.code, LIFT_PROTOCOL);
    assert_true(f->got_err.unanswered);
    lift_server_free(server);
    lift_buf_free(&cert);
    lift_buf_wipe(&key);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_says_what_was_asked),
        TEST(a_header_is_found_in_any_case),
        TEST(each_method_is_let_in_and_no_other),
        TEST(a_head_has_a_length_and_no_body),
        TEST(no_content_is_none),
        TEST(an_answer_carries_its_headers_and_breaks_no_line),
        TEST(a_connection_serves_one_request_after_the_other),
        TEST(sixteen_mebibytes_go_in_and_out),
        TEST(what_is_too_long_is_refused_unasked),
        TEST(nonsense_is_refused_and_the_server_lives),
        TEST(a_client_that_left_may_still_be_answered),
        TEST(a_dropped_request_ends_without_a_word),
        TEST(a_request_outlives_its_server),
        TEST(a_server_may_go_at_any_turn),
        TEST(a_server_that_cannot_listen_says_why),
        TEST(tls_survives_who_does_not_speak_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
