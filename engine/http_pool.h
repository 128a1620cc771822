/* Inside http: connections by trust, and libcurl's sockets and timer on the loop. */
#pragma once

#include <curl/curl.h>

#include "http.h"
#include "resolve.h"

struct lift_http_pool {
    struct lift_loop *loop;
    struct lift_resolver *resolver;
    struct lift_http__lane *lanes;
};

/*
 * The connections and TLS sessions of one trust.  libcurl cannot tell apart what a callback has
 * verified, so that one pool for all would lend a connection made insecurely to a request that
 * verifies.
 */
struct lift_http__lane {
    struct lift_http__lane *next;
    struct lift_http_pool *pool;
    struct lift_trust trust;           /* a copy of its own */
    struct x509_store_st *authorities; /* of that trust, once read */
    uint64_t read_ms;                  /* when they were */
    CURLM *multi;
    CURLSH *sessions;
    struct event *timer;
    bool busy; /* libcurl acts in a moment, by a clock of its own */
    unsigned exchanges;
};

/* The lane of that trust, made at first use; LIFT_CONFIG when the trust makes no sense. */
LIFT_NODISCARD struct lift_http__lane *lift_http__lane(struct lift_http_pool *pool,
                                                       const struct lift_trust *trust,
                                                       struct lift_error *err);
LIFT_NODISCARD bool lift_http__add(struct lift_http__lane *lane, CURL *curl);
void lift_http__remove(struct lift_http__lane *lane, CURL *curl);
/* Prepare a connection's SSL_CTX for the lane's trust. */
LIFT_NODISCARD bool lift_http__trust(struct lift_http__lane *lane, struct ssl_ctx_st *ctx,
                                     struct lift_tls_why *why, struct lift_error *err);

/* In http.c: libcurl is through with the exchange.  Called outside of libcurl; completes later. */
void lift_http__finished(struct lift_http *http, CURLcode result);
