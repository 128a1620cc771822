#include "server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <openssl/ssl.h>

#include "timer.h"
#include "tls.h"

#define HEADERS_MAX ((size_t)64 << 10)
#define BODY_MAX ((size_t)16 << 20)
#define METHODS                                                                                    \
    (EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_PATCH |      \
     EVHTTP_REQ_DELETE)

TAILQ_HEAD(requests, lift_request);

struct lift_server {
    struct lift_loop *loop;
    struct evhttp *http;
    SSL_CTX *tls; /* NULL: plain */
    uint16_t port;
    size_t max_body;
    struct requests requests; /* without their answer */
    lift_server_fn *on_request;
    void *payload;
};

struct lift_request {
    TAILQ_ENTRY(lift_request) entry;
    struct lift_server *server; /* NULL once it was freed */
    struct lift_loop *loop;
    struct evhttp_request *req; /* NULL once the connection went */
    struct event *later;        /* hands it over, outside of evhttp; NULL since */
    const char *method;
    char *target;
    char *peer;
    uint16_t peer_port;
    bool resumed;
    struct lift_buf headers; /* "name: value\n…" */
    char *found;             /* what lift_request_header() lends */
    struct lift_buf body;
    struct drip *drip; /* NULL unless it is being answered so */
};

struct drip {
    struct lift_buf body;
    size_t sent;
    uint32_t every_ms;
    struct lift_timer *timer;
};

/* ---- one request ---- */

static void drip_free(struct drip *drip)
{
    if (!drip)
        return;
    lift_timer_free(drip->timer);
    lift_buf_free(&drip->body);
    lift_free(drip);
}

static void request_free(struct lift_request *request)
{
    if (request->server)
        TAILQ_REMOVE(&request->server->requests, request, entry);
    if (request->later)
        event_free(request->later);
    lift_loop_hold(request->loop, -1);
    drip_free(request->drip);
    lift_buf_wipe(&request->headers);
    lift_buf_wipe(&request->body);
    lift_free(request->found);
    lift_free(request->target);
    lift_free(request->peer);
    lift_free(request);
}

/* evhttp frees a request with its connection, unless it cut the two apart before: then it is
 * ours. */
static void on_close(struct evhttp_connection *connection, void *payload)
{
    struct lift_request *request = payload;
    struct evhttp_request *req = request->req;
    (void)connection;
    request->req = NULL;
    if (!evhttp_request_get_connection(req))
        evhttp_request_free(req);
}

static void hand_over(evutil_socket_t fd, short what, void *payload)
{
    struct lift_request *request = payload;
    (void)fd, (void)what;
    event_free(request->later);
    request->later = NULL;
    request->server->on_request(request->server->payload, request);
}

static const char *method_name(enum evhttp_cmd_type type)
{
    switch (type) {
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_PATCH:
        return "PATCH";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    default:
        return "GET";
    }
}

/* A proxy's absolute form names us once more; what counts begins at the path. */
static const char *path_of(const char *uri)
{
    const char *authority = strstr(uri, "://");
    if (uri[0] == '/' || !authority)
        return uri;
    const char *path = authority + 3 + strcspn(authority + 3, "/?");
    return *path ? path : "/";
}

static bool copy_headers(struct lift_request *request)
{
    const struct evkeyval *header;
    TAILQ_FOREACH(header, evhttp_request_get_input_headers(request->req), next)
    {
        size_t at = request->headers.length;
        if (!lift_buf_addf(&request->headers, "%s: %s\n", header->key, header->value))
            return false;
        for (char *c = request->headers.data + at; *c != ':'; c++)
            *c = (char)tolower((unsigned char)*c);
    }
    return lift_buf_adds(&request->headers, "");
}

static bool copy_body(struct lift_request *request)
{
    struct evbuffer *input = evhttp_request_get_input_buffer(request->req);
    struct evbuffer_iovec part;
    while (evbuffer_peek(input, -1, NULL, &part, 1) > 0) {
        if (!lift_buf_add(&request->body, part.iov_base, part.iov_len))
            return false;
        evbuffer_drain(input, part.iov_len);
    }
    return lift_buf_adds(&request->body, "");
}

static bool is_resumed(struct evhttp_connection *connection)
{
    SSL *tls = bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(connection));
    return tls && SSL_session_reused(tls);
}

/* From evhttp, whose stack must not be pulled away by what the owner does: so only take notes. */
static void on_request(struct evhttp_request *req, void *payload)
{
    struct lift_server *server = payload;
    struct evhttp_connection *connection = evhttp_request_get_connection(req);
    char *peer = "";
    ev_uint16_t peer_port = 0;
    evhttp_connection_get_peer(connection, &peer, &peer_port);

    struct lift_request *request = lift_calloc(1, sizeof *request);
    request->loop = server->loop;
    request->server = server;
    request->req = req;
    request->method = method_name(evhttp_request_get_command(req));
    request->target = lift_strdup(path_of(evhttp_request_get_uri(req)));
    request->peer = lift_strdup(peer);
    request->peer_port = peer_port;
    request->resumed = server->tls && is_resumed(connection);
    request->headers.max = 4 * HEADERS_MAX; /* evhttp has counted already */
    request->body.max = server->max_body;
    TAILQ_INSERT_TAIL(&server->requests, request, entry);
    lift_loop_hold(server->loop, 1);
    if (!copy_headers(request) || !copy_body(request)) {
        request_free(request);
        evhttp_send_error(req, 413, NULL);
        return;
    }
    evhttp_connection_set_closecb(connection, on_close, request);
    request->later = lift_demand(evtimer_new(lift_loop_base(server->loop), hand_over, request));
    event_active(request->later, EV_TIMEOUT, 0);
}

const char *lift_request_method(const struct lift_request *request)
{
    return request->method;
}

const char *lift_request_target(const struct lift_request *request)
{
    return request->target;
}

const char *lift_request_peer(const struct lift_request *request)
{
    return request->peer;
}

uint16_t lift_request_peer_port(const struct lift_request *request)
{
    return request->peer_port;
}

bool lift_request_resumed(const struct lift_request *request)
{
    return request->resumed;
}

const char *lift_request_headers(const struct lift_request *request)
{
    return request->headers.data;
}

const struct lift_buf *lift_request_body(const struct lift_request *request)
{
    return &request->body;
}

const char *lift_request_header(struct lift_request *request, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = request->headers.data, *end; (end = strchr(line, '\n'));
         line = end + 1) {
        if (evutil_ascii_strncasecmp(line, name, length) != 0 ||
            strncmp(line + length, ": ", 2) != 0)
            continue;
        lift_free(request->found);
        request->found = lift_strndup(line + length + 2, (size_t)(end - line) - length - 2);
        return request->found;
    }
    return NULL;
}

/* evhttp would send a HEAD's body along, and leave out its length. */
static void send_body(struct evhttp_request *req, int status, const void *body, size_t length)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    bool bare = status < 200 || status == 204 || status == 304;
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
        char text[24];
        evutil_snprintf(text, sizeof text, "%zu", length);
        if (!bare && !evhttp_find_header(headers, "Content-Length"))
            evhttp_add_header(headers, "Content-Length", text);
        bare = true;
    }
    if (!bare)
        evbuffer_add(evhttp_request_get_output_buffer(req), body, length);
    evhttp_send_reply(req, status, NULL, NULL);
}

static void add_headers(struct evhttp_request *req, const char *const *headers)
{
    struct evkeyvalq *out = evhttp_request_get_output_headers(req);
    for (; headers && headers[0]; headers += 2)
        evhttp_add_header(out, headers[0], headers[1]);
}

void lift_request_reply(struct lift_request *request, int status, const char *const *headers,
                        const void *body, size_t length)
{
    struct evhttp_request *req = request->req;
    if (req) {
        evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
        add_headers(req, headers);
        send_body(req, status, body, length);
    }
    request_free(request); /* last: body may be the request's own */
}

void lift_request_begin(struct lift_request *request, int status, const char *const *headers)
{
    if (!request->req)
        return;
    add_headers(request->req, headers);
    evhttp_send_reply_start(request->req, status, NULL);
}

bool lift_request_send(struct lift_request *request, const void *bytes, size_t length)
{
    if (!request->req || length == 0)
        return request->req != NULL;
    struct evbuffer *piece = lift_demand(evbuffer_new());
    evbuffer_add(piece, bytes, length);
    evhttp_send_reply_chunk(request->req, piece);
    evbuffer_free(piece);
    return true;
}

void lift_request_end(struct lift_request *request)
{
    struct evhttp_request *req = request->req;
    if (req) {
        evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
        evhttp_send_reply_end(req);
    }
    request_free(request);
}

static void on_drop_due(void *payload)
{
    struct lift_request *request = payload;
    struct drip *drip = request->drip;
    lift_timer_free(drip->timer);
    drip->timer = NULL;
    if (drip->sent < drip->body.length &&
        lift_request_send(request, drip->body.data + drip->sent++, 1))
        drip->timer = lift_timer_new(request->loop, drip->every_ms, on_drop_due, request);
    else
        lift_request_end(request);
}

void lift_request_drip(struct lift_request *request, int status, const char *const *headers,
                       const void *body, size_t length, uint32_t every_ms)
{
    request->drip = lift_calloc(1, sizeof *request->drip);
    *request->drip = (struct drip){.body.max = length, .every_ms = every_ms};
    if (lift_buf_add(&request->drip->body, body, length))
        lift_request_begin(request, status, headers);
    request->drip->timer = lift_timer_new(request->loop, every_ms, on_drop_due, request);
}

void lift_request_drop(struct lift_request *request)
{
    struct evhttp_request *req = request->req;
    if (req) {
        struct evhttp_connection *connection = evhttp_request_get_connection(req);
        evhttp_connection_set_closecb(connection, NULL, NULL);
        evhttp_connection_free(connection); /* and the request with it */
    }
    request_free(request);
}

void lift_request_reset(struct lift_request *request)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (request->req) {
        struct evhttp_connection *connection = evhttp_request_get_connection(request->req);
        int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection));
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    lift_request_drop(request);
}

/* ---- the server ---- */

static struct bufferevent *tls_connection(struct event_base *base, void *payload)
{
    const struct lift_server *server = payload;
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, -1, SSL_new(server->tls), BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}

static bool set_tls(struct lift_server *server, const struct lift_server_spec *spec,
                    struct lift_error *err)
{
    if (!spec->cert_pem)
        return true;
    server->tls = lift_demand(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_set_min_proto_version(server->tls, TLS1_2_VERSION);
    /* Clients close as they like; the length of a request is always known. */
    SSL_CTX_set_options(server->tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (!lift_tls_own(server->tls, spec->cert_pem, spec->key_pem, err))
        return false;
    evhttp_set_bevcb(server->http, tls_connection, server);
    return true;
}

static uint16_t port_of(struct evhttp_bound_socket *bound)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &length) != 0)
        return 0;
    const struct sockaddr_in *v4 = (const void *)&address;
    const struct sockaddr_in6 *v6 = (const void *)&address;
    return ntohs(address.ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
}

/* An answer goes out in several writes, and none shall wait until the client has acknowledged the
 * one before; what is accepted takes after the listening socket. */
static void send_at_once(struct evhttp_bound_socket *bound)
{
    const int on = 1;
    setsockopt(evhttp_bound_socket_get_fd(bound), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static bool bind_address(struct lift_server *server, const struct lift_server_spec *spec,
                         struct lift_error *err)
{
    struct in6_addr address;
    if (!spec->host || (inet_pton(AF_INET, spec->host, &address) != 1 &&
                        inet_pton(AF_INET6, spec->host, &address) != 1))
        return lift_fail(err, LIFT_CONFIG, "\"%.100s\" is no address to listen on",
                         spec->host ? spec->host : "");
    errno = 0;
    struct evhttp_bound_socket *bound =
        evhttp_bind_socket_with_handle(server->http, spec->host, spec->port);
    if (bound) {
        send_at_once(bound);
        server->port = port_of(bound);
        return true;
    }
    bool taken = errno == EADDRINUSE;
    lift_fail(err, taken ? LIFT_CONFLICT : LIFT_CONFIG, "cannot listen on %s port %u: %s",
              spec->host, spec->port, strerror(errno));
    return taken ? lift_hint(err, "choose another port, or 0 for any free one") : false;
}

struct lift_server *lift_server_new(struct lift_loop *loop, const struct lift_server_spec *spec,
                                    struct lift_error *err)
{
    struct lift_server *server = lift_calloc(1, sizeof *server);
    server->loop = loop;
    server->on_request = spec->on_request;
    server->payload = spec->payload;
    server->max_body = spec->max_body ? spec->max_body : BODY_MAX;
    TAILQ_INIT(&server->requests);
    lift_loop_hold(loop, 1);
    server->http = evhttp_new(lift_loop_base(loop));
    size_t max_headers = spec->max_headers ? spec->max_headers : HEADERS_MAX;
    evhttp_set_max_headers_size(server->http, (ev_ssize_t)max_headers);
    evhttp_set_max_body_size(server->http, (ev_ssize_t)server->max_body);
    evhttp_set_allowed_methods(server->http, METHODS);
    evhttp_set_default_content_type(server->http, NULL);
    evhttp_set_gencb(server->http, on_request, server);
    if (set_tls(server, spec, err) && bind_address(server, spec, err))
        return server;
    lift_server_free(server);
    return NULL;
}

uint16_t lift_server_port(const struct lift_server *server)
{
    return server->port;
}

void lift_server_free(struct lift_server *server)
{
    if (!server)
        return;
    evhttp_free(server->http); /* on_close() for each open request */
    while (!TAILQ_EMPTY(&server->requests)) {
        struct lift_request *request = TAILQ_FIRST(&server->requests);
        TAILQ_REMOVE(&server->requests, request, entry);
        request->server = NULL;
        if (request->later || request->drip) /* nobody has it yet, or any more */
            request_free(request);
    }
    SSL_CTX_free(server->tls);
    lift_loop_hold(server->loop, -1);
    lift_free(server);
}
