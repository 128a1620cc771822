/* HTTP(S) requests on libcurl's multi interface. */
#pragma once

#include "buf.h"
#include "loop.h"
#include "secret.h"
#include "tls.h"

struct lift_http_pool; /* connections kept for reuse, per loop */
struct lift_http;      /* one exchange under way */

LIFT_NODISCARD struct lift_http_pool *lift_http_pool_new(struct lift_loop *loop,
                                                         struct lift_error *err);
void lift_http_pool_free(struct lift_http_pool *pool); /* exchanges first */
struct lift_loop *lift_http_pool_loop(const struct lift_http_pool *pool);

struct lift_http_header {
    const char *name;
    const char *value;          /* sent as it is; refused when it holds CR or LF */
    struct lift_secret *secret; /* appended to value when not NULL */
};

/*
 * Takes a piece of a body as it comes.  Runs inside libcurl: it stores, and does nothing else.
 * false: it has no room, and is offered the piece again after lift_http_resume().
 */
typedef bool lift_http_take_fn(void *payload, const char *bytes, size_t length);

/*
 * One request.  Borrowed for the call of lift_http_start() only; strings and body are copied (and
 * wiped after). http and https only; redirects are never followed; no proxy of the environment is
 * used; names are resolved by evdns.
 */
struct lift_http_spec {
    const char *method; /* token, upper case */
    const char *url;
    const struct lift_http_header *headers;
    size_t header_count;
    const void *body;
    size_t body_length;
    const char *username; /* with password: Basic, UTF-8 bytes */
    struct lift_secret *password;
    struct lift_secret *bearer; /* Authorization: Bearer … */
    struct lift_trust trust;
    uint32_t connect_timeout_ms; /* 0: 10 000 */
    uint32_t timeout_ms;         /* whole exchange; 0: 60 000 */
    size_t max_body;             /* ceiling on the decoded body; 0: 16 MiB */
    struct lift_quota *quota;    /* counts both bodies while the exchange lives; may be NULL */
    lift_http_take_fn *take;     /* gets the body of a 2xx instead of the reply; may be NULL */
    bool effect; /* changes something: sent once, on a fresh connection, never resent by the library
                  */
};

struct lift_http_reply {
    int status;
    const char *content_type; /* lower case, without parameters; "" if none */
    const char *headers;      /* "name: value\n…", names in lower case */
    struct lift_buf body;     /* take it by copying the struct and zeroing this one */
    uint32_t duration_ms;
};

/* First header of that name (lower case) in the reply; copies the value into out, false if absent
 * or too long. */
bool lift_http_header(const struct lift_http_reply *reply, const char *name, char *out,
                      size_t size);

/* Retry-After, in seconds or as a date, in seconds from now; -1 when there is none. */
int64_t lift_http_retry_after(const struct lift_http_reply *reply);

/*
 * Start an exchange.  Returns at once; `done` runs later, from lift_loop_run(), exactly once, with
 * a reply of any status that lives until `done` returns, or NULL and the reason: LIFT_UNREACHABLE
 * name, connect, TLS (the text names the certificate's subject and SHA-256; hint: how to trust it)
 *   LIFT_TIMEOUT      no whole answer in time           unanswered once the request was being sent
 *   LIFT_PROTOCOL     reset, truncated, not HTTP        unanswered likewise
 *   LIFT_NO_SPACE     body above max_body               unanswered
 *
 * Returns  the exchange, owned by the caller; lift_http_free() also cancels, and `done` then never
 * runs. NULL and *err: LIFT_CONFIG for a bad URL, method, header or thumbprint.
 */
typedef void lift_http_fn(void *payload, struct lift_http_reply *reply,
                          const struct lift_error *err);
LIFT_NODISCARD struct lift_http *lift_http_start(struct lift_http_pool *pool,
                                                 const struct lift_http_spec *spec,
                                                 lift_http_fn *done, void *payload,
                                                 struct lift_error *err);
void lift_http_free(struct lift_http *http);   /* may be called from within `done` */
void lift_http_resume(struct lift_http *http); /* there is room again; not from within `take` */

/* From within `done`, without a whole reply: the headers that had come, in a reply's form. */
const char *lift_http_headers(const struct lift_http *http);

/* Append `text` percent-encoded (all but A-Z a-z 0-9 - . _ ~ and the bytes of `keep`, which may be
 * NULL). */
LIFT_NODISCARD bool lift_http_encode(struct lift_buf *out, const char *text, size_t length,
                                     const char *keep);
