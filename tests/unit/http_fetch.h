/* A client for the tests of http: one exchange from start to end, and what came of it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "engine/http.h"

struct client {
    struct lift_loop *loop;
    struct lift_http_pool *pool;
    char url[64]; /* for requests that name none */
};

static void client_open(struct client *c)
{
    struct lift_error err = {0};
    c->loop = lift_loop_new(&err);
    c->pool = lift_http_pool_new(c->loop, &err);
    assert_non_null(c->pool);
}

/* How many handles were left open. */
static int client_close(struct client *c)
{
    lift_http_pool_free(c->pool);
    event_base_loop(lift_loop_base(c->loop), EVLOOP_NONBLOCK);
    int left = lift_loop_handles(c->loop);
    lift_loop_free(c->loop);
    return left;
}

/* What `done` said. */
struct outcome {
    struct client *client;
    struct lift_http *http;
    int calls;
    int status;
    char content_type[64];
    char headers[2048];
    struct lift_buf body;
    struct lift_error err;
    unsigned *left; /* stops the loop at 0 */
    bool free_within;
};

static void on_done(void *payload, struct lift_http_reply *reply, const struct lift_error *err)
{
    struct outcome *out = payload;
    out->calls++;
    if (reply) {
        out->status = reply->status;
        snprintf(out->content_type, sizeof out->content_type, "%s", reply->content_type);
        snprintf(out->headers, sizeof out->headers, "%s", reply->headers);
        out->body = reply->body; /* taken */
        memset(&reply->body, 0, sizeof reply->body);
    } else {
        out->err = *err;
    }
    if (out->free_within) {
        lift_http_free(out->http);
        out->http = NULL;
    }
    if (--*out->left == 0)
        lift_loop_stop(out->client->loop);
}

static void out_free(struct outcome *out)
{
    lift_http_free(out->http);
    lift_buf_free(&out->body);
}

/* One exchange from start to end; the outcome is to be freed. */
static struct outcome fetch(struct client *c, struct lift_http_spec spec)
{
    unsigned left = 1;
    struct lift_error err = {0};
    struct outcome out = {.client = c, .left = &left};
    spec.method = spec.method ? spec.method : "GET";
    spec.url = spec.url ? spec.url : c->url;
    spec.timeout_ms = spec.timeout_ms ? spec.timeout_ms : 5000;
    out.http = lift_http_start(c->pool, &spec, on_done, &out, &err);
    if (!out.http)
        fail_msg("not started: %s", err.text);
    assert_int_equal(out.calls, 0); /* never from within the call */
    lift_loop_run(c->loop);
    assert_int_equal(out.calls, 1);
    return out;
}

static void assert_fetch_fails(struct client *c, struct lift_http_spec spec, enum lift_code code,
                               bool unanswered)
{
    struct outcome out = fetch(c, spec);
    if (out.err.code != code || out.err.unanswered != unanswered)
        fail_msg("%s, %sunanswered, status %d: %s", lift_code_name(out.err.code),
                 out.err.unanswered ? "" : "not ", out.status, out.err.text);
    out_free(&out);
}

static void assert_fetch_gives(struct client *c, struct lift_http_spec spec, int status,
                               const char *body)
{
    struct outcome out = fetch(c, spec);
    if (out.status != status)
        fail_msg("status %d: %s", out.status, out.err.text);
    assert_string_equal(out.body.data ? out.body.data : "", body);
    out_free(&out);
}
