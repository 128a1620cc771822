#include "http.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <event2/event.h>
#include <openssl/crypto.h>

#include "base64.h"
#include "http_pool.h"
#include "timer.h"
#include "url.h"

#define CONNECT_TIMEOUT_MS 10000
#define TIMEOUT_MS 60000
#define BODY_MAX ((size_t)16 << 20)
#define HEADERS_MAX ((size_t)256 << 10)

struct lift_http {
    struct lift_http_pool *pool;
    struct lift_http__lane *lane;
    CURL *curl;
    bool added;                  /* to the lane's multi handle */
    struct lift_resolve *naming; /* the name is being looked up */
    struct event *later;         /* delivers, from a turn of its own */
    struct lift_timer *late;     /* ends it; NULL before it is sent and after it has ended */
    lift_http_fn *done;
    lift_http_take_fn *take;
    void *payload;

    /* what is asked */
    struct lift_url url;
    struct curl_slist *headers;
    struct curl_slist *addresses;
    char *body;
    size_t body_length;
    uint32_t connect_timeout_ms;
    uint32_t timeout_ms;
    uint64_t started_ms;

    /* what came */
    CURLcode result;
    struct lift_buf reply_headers;
    struct lift_buf reply_body;
    struct lift_quota *quota;
    size_t counted;          /* in the quota */
    bool too_much;           /* a ceiling was hit */
    struct lift_error error; /* set: the failure, whatever libcurl says */
    struct lift_tls_why why;
    char curl_text[CURL_ERROR_SIZE];
};

/* ---- replies ---- */

static bool count(struct lift_http *http, size_t bytes, struct lift_error *err)
{
    if (!lift_quota_take(http->quota, bytes))
        return lift_fail(err, LIFT_NO_SPACE,
                         "the bodies need more memory than there is for this script");
    http->counted += bytes;
    return true;
}

static bool is_taken(const struct lift_http *http)
{
    long status = 0;
    curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
    return http->take && status >= 200 && status <= 299;
}

static size_t on_body(char *bytes, size_t size, size_t members, void *payload)
{
    struct lift_http *http = payload;
    size_t length = size * members;
    if (is_taken(http))
        return http->take(http->payload, bytes, length) ? length : CURL_WRITEFUNC_PAUSE;
    if (!count(http, length, &http->error))
        return 0;
    http->too_much = !lift_buf_add(&http->reply_body, bytes, length);
    return http->too_much ? 0 : length;
}

/* One line at a time, with those of interim replies before and of trailers behind. */
static size_t on_header(char *bytes, size_t size, size_t count, void *payload)
{
    struct lift_http *http = payload;
    size_t length = size * count;
    if (length >= 5 && memcmp(bytes, "HTTP/", 5) == 0) {
        lift_buf_clear(&http->reply_headers);
        return length;
    }
    const char *colon = memchr(bytes, ':', length);
    if (!colon || colon == bytes)
        return length;
    char *end = bytes + length;
    while (end > colon + 1 && isspace((unsigned char)end[-1]))
        end--;
    const char *value = colon + 1;
    while (value < end && isspace((unsigned char)*value))
        value++;
    for (char *c = bytes; c < colon; c++)
        *c = (char)tolower((unsigned char)*c);
    if (lift_buf_addf(&http->reply_headers, "%.*s: %.*s\n", (int)(colon - bytes), bytes,
                      (int)(end - value), value))
        return length;
    http->too_much = true;
    return 0;
}

bool lift_http_header(const struct lift_http_reply *reply, const char *name, char *out, size_t size)
{
    size_t length = strlen(name);
    for (const char *line = reply->headers, *end; (end = strchr(line, '\n')); line = end + 1) {
        if (strncmp(line, name, length) != 0 || strncmp(line + length, ": ", 2) != 0)
            continue;
        const char *value = line + length + 2;
        size_t value_length = (size_t)(end - value);
        if (value_length >= size)
            return false;
        memcpy(out, value, value_length);
        out[value_length] = '\0';
        return true;
    }
    return false;
}

const char *lift_http_headers(const struct lift_http *http)
{
    return http->reply_headers.data ? http->reply_headers.data : "";
}

int64_t lift_http_retry_after(const struct lift_http_reply *reply)
{
    char text[64], *end;
    struct tm utc = {0};
    if (!lift_http_header(reply, "retry-after", text, sizeof text))
        return -1;
    double seconds = strtod(text, &end);
    if (end == text || *end) {
        if (!strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &utc))
            return -1;
        seconds = difftime(timegm(&utc), time(NULL));
    }
    if (!isfinite(seconds))
        return -1;
    return seconds > 1e12 ? (int64_t)1e12 : seconds > 0 ? (int64_t)(seconds + 0.999) : 0;
}

/* ---- failures ---- */

/* Asking again will not make it trusted: the user decides, and is told how where flags are known.
 */
static void say_untrusted(const struct lift_http *http, struct lift_error *err)
{
    const struct lift_tls_why *why = &http->why;
    if (why->reason[0]) {
        lift_fail(err, LIFT_CONFIG, "%s: certificate not trusted: %s of %s (SHA-256 %s)",
                  http->url.origin, why->reason, why->subject, why->sha256);
        return;
    }
    lift_fail(err, LIFT_CONFIG, "%s: the certificate does not name this host: %s%s%s%s",
              http->url.origin, why->subject[0] ? why->subject : http->curl_text,
              why->sha256[0] ? " (SHA-256 " : "", why->sha256, why->sha256[0] ? ")" : "");
}

static void say_timeout(const struct lift_http *http, bool sent, struct lift_error *err)
{
    curl_off_t connected_us = 0;
    curl_easy_getinfo(http->curl, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
    if (connected_us == 0 && !sent) {
        lift_fail(err, LIFT_UNREACHABLE, "%s: no connection in %.1f s", http->url.origin,
                  (double)(lift_loop_now_ms(http->pool->loop) - http->started_ms) / 1000);
        lift_hint(err, "check the address, the route and the firewalls between");
        return;
    }
    lift_fail(err, LIFT_TIMEOUT, "%s: no whole answer in %.1f s", http->url.origin,
              http->timeout_ms / 1000.0);
}

static void say_why(const struct lift_http *http, struct lift_error *err)
{
    const char *text = http->curl_text[0] ? http->curl_text : curl_easy_strerror(http->result);
    long sent = 0;
    curl_easy_getinfo(http->curl, CURLINFO_REQUEST_SIZE, &sent);
    if (http->error.code != LIFT_OK) {
        lift_fail(err, http->error.code, "%s: %s", http->url.origin, http->error.text);
        lift_hint(err, "%s", http->error.hint);
    } else if (http->too_much) {
        lift_fail(err, LIFT_NO_SPACE, "%s: the answer is longer than the %zu bytes allowed",
                  http->url.origin, http->reply_body.max);
    } else {
        switch (http->result) {
        case CURLE_PEER_FAILED_VERIFICATION:
            say_untrusted(http, err);
            break;
        case CURLE_OPERATION_TIMEDOUT:
            say_timeout(http, sent > 0, err);
            break;
        case CURLE_COULDNT_CONNECT:
            lift_fail(err, LIFT_UNREACHABLE, "%s: %s", http->url.origin, text);
            lift_hint(err, "check the address and the port, and that the service runs");
            break;
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER:
            lift_fail(err, LIFT_UNREACHABLE, "%s: %s", http->url.origin, text);
            break;
        default:
            lift_fail(err, LIFT_PROTOCOL, "%s: %s", http->url.origin, text);
        }
    }
    err->unanswered = sent > 0;
}

/* ---- completion ---- */

static void content_type_of(const struct lift_http_reply *reply, char *out, size_t size)
{
    if (!lift_http_header(reply, "content-type", out, size))
        out[0] = '\0';
    out[strcspn(out, "; \t")] = '\0';
    for (char *c = out; *c; c++)
        *c = (char)tolower((unsigned char)*c);
}

/* `done` may free the exchange: what it is shown lives here. */
static void deliver(evutil_socket_t fd, short what, void *payload)
{
    struct lift_http *http = payload;
    (void)fd, (void)what;
    if (http->result != CURLE_OK || http->error.code != LIFT_OK) {
        struct lift_error err = {0};
        say_why(http, &err);
        http->done(http->payload, NULL, &err);
        return;
    }
    long status = 0;
    char content_type[128];
    struct lift_buf headers = http->reply_headers;
    struct lift_http_reply reply = {.headers = headers.data ? headers.data : "",
                                    .content_type = content_type,
                                    .body = http->reply_body};
    http->reply_headers = http->reply_body = (struct lift_buf){0};
    curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
    reply.status = (int)status;
    reply.duration_ms = (uint32_t)(lift_loop_now_ms(http->pool->loop) - http->started_ms);
    content_type_of(&reply, content_type, sizeof content_type);
    http->done(http->payload, &reply, NULL);
    lift_buf_wipe(&reply.body);
    lift_buf_wipe(&headers);
}

void lift_http__finished(struct lift_http *http, CURLcode result)
{
    lift_timer_free(http->late);
    http->late = NULL;
    http->result = result;
    event_active(http->later, EV_TIMEOUT, 0);
}

/* ---- the request ---- */

static bool is_token(const char *text)
{
    return *text && strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(text);
}

/* libcurl copies the line; ours is wiped here, its own in headers_free(). */
static bool add_line(struct lift_http *http, const char *name, const char *value,
                     const struct lift_secret *secret)
{
    const char *tail = secret ? lift_secret_bytes(secret) : "";
    bool empty = !*value && !*tail;
    size_t size = strlen(name) + strlen(value) + strlen(tail) + 3;
    char *line = lift_calloc(1, size);
    /* libcurl's own notation: "name;" sends an empty header, "name:" would remove it. */
    snprintf(line, size, empty ? "%s;" : "%s: %s%s", name, value, tail);
    struct curl_slist *longer = curl_slist_append(http->headers, line);
    OPENSSL_cleanse(line, size);
    lift_free(line);
    if (longer)
        http->headers = longer;
    return longer != NULL;
}

static void headers_free(struct curl_slist *headers)
{
    for (struct curl_slist *line = headers; line; line = line->next)
        OPENSSL_cleanse(line->data, strlen(line->data));
    curl_slist_free_all(headers);
}

static bool has_line_break(const char *text)
{
    return strpbrk(text, "\r\n") != NULL;
}

static bool add_header(struct lift_http *http, const struct lift_http_header *header,
                       struct lift_error *err)
{
    const char *value = header->value ? header->value : "";
    const struct lift_secret *secret = header->secret;
    if (!is_token(header->name))
        return lift_fail(err, LIFT_CONFIG, "\"%.60s\" is no name of a header", header->name);
    if (!strcasecmp(header->name, "Content-Length") ||
        !strcasecmp(header->name, "Transfer-Encoding"))
        return lift_fail(err, LIFT_CONFIG, "%s follows from the body", header->name);
    if (has_line_break(value) ||
        (secret && (has_line_break(lift_secret_bytes(secret)) ||
                    strlen(lift_secret_bytes(secret)) != lift_secret_length(secret))))
        return lift_fail(err, LIFT_CONFIG, "the value of header %.60s breaks the line",
                         header->name);
    return add_line(http, header->name, value, secret) ||
           lift_fail(err, LIFT_FAILED, "no memory for a header");
}

/* Made here and not by CURLOPT_USERPWD, whose copy nobody wipes. */
static bool add_basic(struct lift_http *http, const char *username,
                      const struct lift_secret *password, struct lift_error *err)
{
    if (strchr(username, ':'))
        return lift_fail(err, LIFT_CONFIG, "a user name for Basic cannot hold a colon");
    struct lift_buf plain = {0}, encoded = {0};
    struct lift_secret *secret = NULL;
    if (lift_buf_addf(&plain, "%s:", username) &&
        lift_buf_add(&plain, lift_secret_bytes(password), lift_secret_length(password)) &&
        lift_base64_encode(&encoded, plain.data, plain.length))
        secret = lift_secret_new(encoded.data, encoded.length);
    lift_buf_wipe(&plain);
    lift_buf_wipe(&encoded);
    const struct lift_http_header header = {"Authorization", "Basic ", secret};
    bool ok = secret ? add_header(http, &header, err)
                     : lift_fail(err, LIFT_CONFIG, "the password is too long for Basic");
    lift_secret_free(secret);
    return ok;
}

/* "Name:" takes away what libcurl would send by itself. */
static bool remove_header(struct lift_http *http, const char *name)
{
    struct curl_slist *longer = curl_slist_append(http->headers, name);
    http->headers = longer ? longer : http->headers;
    return longer != NULL;
}

static bool add_headers(struct lift_http *http, const struct lift_http_spec *spec,
                        struct lift_error *err)
{
    bool typed = false;
    for (size_t i = 0; i < spec->header_count; i++) {
        if (!add_header(http, &spec->headers[i], err))
            return false;
        typed = typed || strcasecmp(spec->headers[i].name, "Content-Type") == 0;
    }
    if (spec->bearer) {
        const struct lift_http_header bearer = {"Authorization", "Bearer ", spec->bearer};
        if (!add_header(http, &bearer, err))
            return false;
    } else if (spec->username && spec->password &&
               !add_basic(http, spec->username, spec->password, err)) {
        return false;
    }
    /* No pause for "100 Continue", and no form where none was asked for. */
    return (remove_header(http, "Expect:") && (typed || remove_header(http, "Content-Type:"))) ||
           lift_fail(err, LIFT_FAILED, "no memory for a header");
}

static CURLcode on_tls(CURL *curl, void *ctx, void *payload)
{
    struct lift_http *http = payload;
    (void)curl;
    return lift_http__trust(http->lane, ctx, &http->why, &http->error) ? CURLE_OK
                                                                       : CURLE_SSL_CERTPROBLEM;
}

#define SET(option, value) (ok = curl_easy_setopt(curl, (option), (value)) == CURLE_OK && ok)

static bool set_manners(struct lift_http *http, const struct lift_http_spec *spec)
{
    CURL *curl = http->curl;
    bool ok = true;
    SET(CURLOPT_URL, spec->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_ACCEPT_ENCODING,
        spec->take ? NULL : "gzip"); /* which holds back what comes slowly */
    SET(CURLOPT_USERAGENT, "lunalift/" LIFT_VERSION);
    SET(CURLOPT_DNS_CACHE_TIMEOUT, -1L); /* what evdns said holds until it says otherwise */
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)http->connect_timeout_ms);
    SET(CURLOPT_FRESH_CONNECT, (long)spec->effect);
    SET(CURLOPT_FORBID_REUSE, (long)spec->effect);
    return ok;
}

/* libcurl checks the name where we verify the chain; the rest is lift_tls_trust()'s. */
static bool set_trust(struct lift_http *http)
{
    CURL *curl = http->curl;
    const struct lift_trust *trust = &http->lane->trust;
    bool ok = true;
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_CAINFO, NULL);
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_SSL_VERIFYPEER, (long)!trust->insecure);
    SET(CURLOPT_SSL_VERIFYHOST, trust->insecure || trust->thumbprint ? 0L : 2L);
    SET(CURLOPT_SSL_CTX_FUNCTION, on_tls);
    SET(CURLOPT_SSL_CTX_DATA, http);
    return ok;
}

static bool set_request(struct lift_http *http, const struct lift_http_spec *spec)
{
    CURL *curl = http->curl;
    const char *method = spec->method;
    bool ok = true;
    if (strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (http->body || !strcmp(method, "POST") || !strcmp(method, "PUT") ||
               !strcmp(method, "PATCH")) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)http->body_length);
        SET(CURLOPT_POSTFIELDS, http->body ? http->body : "");
        SET(CURLOPT_CUSTOMREQUEST, method);
    } else {
        SET(CURLOPT_HTTPGET, 1L);
        SET(CURLOPT_CUSTOMREQUEST, method);
    }
    SET(CURLOPT_HTTPHEADER, http->headers);
    return ok;
}

static bool set_callbacks(struct lift_http *http)
{
    CURL *curl = http->curl;
    bool ok = true;
    SET(CURLOPT_PRIVATE, http);
    SET(CURLOPT_ERRORBUFFER, http->curl_text);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, http);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, http);
    return ok;
}

#undef SET

static void on_late(void *payload)
{
    struct lift_http *http = payload;
    lift_http__remove(http->lane, http->curl);
    http->added = false;
    lift_http__finished(http, CURLE_OPERATION_TIMEDOUT);
}

/* Hand it to libcurl, with what is left of the time: on the loop's clock, which libcurl does not
 * know. */
static bool launch(struct lift_http *http)
{
    uint64_t spent_ms = lift_loop_now_ms(http->pool->loop) - http->started_ms;
    uint64_t left_ms = spent_ms < http->timeout_ms ? http->timeout_ms - spent_ms : 1;
    http->added = lift_http__add(http->lane, http->curl);
    if (http->added)
        http->late = lift_timer_new(http->pool->loop, left_ms, on_late, http);
    return http->added;
}

static void on_resolved(void *payload, const char *addresses, const struct lift_error *err)
{
    struct lift_http *http = payload;
    if (!addresses) {
        http->error = *err;
        event_active(http->later, EV_TIMEOUT, 0);
        return;
    }
    char *entry = lift_asprintf("%s:%u:%s", http->url.host, http->url.port, addresses);
    http->addresses = curl_slist_append(NULL, entry);
    lift_free(entry);
    curl_easy_setopt(http->curl, CURLOPT_RESOLVE, http->addresses);
    if (launch(http))
        return;
    lift_fail(&http->error, LIFT_FAILED, "libcurl refuses the request");
    event_active(http->later, EV_TIMEOUT, 0);
}

static bool prepare(struct lift_http *http, const struct lift_http_spec *spec,
                    struct lift_error *err)
{
    if (!spec->method || !is_token(spec->method) ||
        strpbrk(spec->method, "abcdefghijklmnopqrstuvwxyz"))
        return lift_fail(err, LIFT_CONFIG, "not a method: \"%.20s\"", spec->method);
    if (!lift_url_parse(spec->url, &http->url, err) || !add_headers(http, spec, err))
        return false;
    http->lane = lift_http__lane(http->pool, &spec->trust, err);
    if (!http->lane)
        return false;
    http->lane->exchanges++;
    if (!count(http, spec->body_length, err))
        return false;
    if (spec->body) {
        http->body = lift_calloc(1, spec->body_length + 1);
        http->body_length = spec->body_length;
        memcpy(http->body, spec->body, spec->body_length);
    }
    http->curl = curl_easy_init();
    return (http->curl && set_manners(http, spec) && set_trust(http) && set_request(http, spec) &&
            set_callbacks(http)) ||
           lift_fail(err, LIFT_FAILED, "libcurl refuses the request");
}

static bool start(struct lift_http *http, struct lift_error *err)
{
    if (lift_resolve_literal(http->url.host))
        return launch(http) || lift_fail(err, LIFT_FAILED, "libcurl refuses the request");
    uint32_t within_ms =
        http->connect_timeout_ms < http->timeout_ms ? http->connect_timeout_ms : http->timeout_ms;
    http->naming =
        lift_resolve_start(http->pool->resolver, http->url.host, within_ms, on_resolved, http);
    return true;
}

struct lift_http *lift_http_start(struct lift_http_pool *pool, const struct lift_http_spec *spec,
                                  lift_http_fn *done, void *payload, struct lift_error *err)
{
    struct lift_http *http = lift_calloc(1, sizeof *http);
    http->pool = pool;
    http->done = done;
    http->take = spec->take;
    http->payload = payload;
    http->connect_timeout_ms =
        spec->connect_timeout_ms ? spec->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    http->timeout_ms = spec->timeout_ms ? spec->timeout_ms : TIMEOUT_MS;
    http->reply_headers.max = HEADERS_MAX;
    http->reply_body.max = spec->max_body ? spec->max_body : BODY_MAX;
    http->quota = spec->quota;
    http->started_ms = lift_loop_now_ms(pool->loop);
    http->later = lift_demand(evtimer_new(lift_loop_base(pool->loop), deliver, http));
    lift_loop_hold(pool->loop, 1);
    if (prepare(http, spec, err) && start(http, err))
        return http;
    lift_http_free(http);
    return NULL;
}

void lift_http_resume(struct lift_http *http)
{
    if (http->added)
        curl_easy_pause(http->curl, CURLPAUSE_CONT);
}

void lift_http_free(struct lift_http *http)
{
    if (!http)
        return;
    lift_resolve_free(http->naming);
    lift_timer_free(http->late);
    if (http->added)
        lift_http__remove(http->lane, http->curl);
    curl_easy_cleanup(http->curl);
    if (http->lane)
        http->lane->exchanges--;
    headers_free(http->headers);
    curl_slist_free_all(http->addresses);
    if (http->body)
        OPENSSL_cleanse(http->body, http->body_length);
    lift_free(http->body);
    lift_buf_wipe(&http->reply_headers);
    lift_buf_wipe(&http->reply_body);
    lift_quota_give(http->quota, http->counted);
    event_free(http->later);
    lift_loop_hold(http->pool->loop, -1);
    lift_url_fini(&http->url);
    lift_free(http);
}

bool lift_http_encode(struct lift_buf *out, const char *text, size_t length, const char *keep)
{
    size_t before = out->length;
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)text[i];
        bool plain =
            c < 0x80 && c && (isalnum(c) || strchr("-._~", c) || (keep && strchr(keep, c)));
        if (plain ? lift_buf_add(out, &c, 1) : lift_buf_addf(out, "%%%02X", c))
            continue;
        out->length = before; /* all or nothing */
        if (out->data)
            out->data[before] = '\0';
        return false;
    }
    return true;
}
