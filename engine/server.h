/* An HTTP or HTTPS server on evhttp: metrics, and the lab.  Methods: GET HEAD POST PUT PATCH
 * DELETE. */
#pragma once

#include "buf.h"
#include "loop.h"

struct lift_server;
struct lift_request; /* one request that waits for its answer */

typedef void lift_server_fn(void *payload, struct lift_request *request);

struct lift_server_spec {
    const char *host;     /* address to listen on, such as 127.0.0.1 */
    uint16_t port;        /* 0: any free one */
    const char *cert_pem; /* with key_pem: HTTPS, TLS 1.2 at least; NULL: plain HTTP */
    const char *key_pem;
    size_t max_headers;         /* 0: 64 KiB; more is answered 400 without asking */
    size_t max_body;            /* 0: 16 MiB; more is answered 413 without asking */
    lift_server_fn *on_request; /* from the loop; owns the request then */
    void *payload;
};

LIFT_NODISCARD struct lift_server *lift_server_new(struct lift_loop *loop,
                                                   const struct lift_server_spec *spec,
                                                   struct lift_error *err);
uint16_t lift_server_port(const struct lift_server *server);
void lift_server_free(
    struct lift_server *server); /* drops what is unanswered; their handles stay safe to answer */

/* What was asked; all borrowed, and all stays readable when the client has gone. */
const char *lift_request_method(const struct lift_request *request); /* GET … DELETE, as above */
const char *lift_request_target(const struct lift_request *request); /* path and query, as sent */
const char *lift_request_peer(const struct lift_request *request);   /* address */
/* The peer's port, which tells its connections apart; and whether this one's TLS session was taken
 * up again, and not made anew. */
uint16_t lift_request_peer_port(const struct lift_request *request);
bool lift_request_resumed(const struct lift_request *request);
/* The first of that name in any case, until the next call; NULL if absent. */
const char *lift_request_header(struct lift_request *request, const char *name);
/* All headers as "name: value\n…", names in lower case. */
const char *lift_request_headers(const struct lift_request *request);
const struct lift_buf *lift_request_body(const struct lift_request *request);

/* Answer exactly once.  A client that went away meanwhile is no error.  headers: name, value, name,
 * value, …, NULL. */
void lift_request_reply(struct lift_request *request, int status, const char *const *headers,
                        const void *body, size_t length);
/*
 * Answer piece by piece: begin once, send while it returns true (false: the client has gone), end
 * once, which takes the request as lift_request_reply() does.
 */
void lift_request_begin(struct lift_request *request, int status, const char *const *headers);
bool lift_request_send(struct lift_request *request, const void *bytes, size_t length);
void lift_request_end(struct lift_request *request);
void lift_request_drop(struct lift_request *request); /* close the connection without a word */

/* For tests of clients: cut the connection off (RST); and answer a byte at a time. */
void lift_request_reset(struct lift_request *request);
void lift_request_drip(struct lift_request *request, int status, const char *const *headers,
                       const void *body, size_t length, uint32_t every_ms);
