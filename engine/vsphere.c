#include "vsphere_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS 60000
#define REPLY_MAX ((size_t)64 << 20)
/* After a refused password: three tries a minute apart lock no account that people use too. */
#define LOGIN_PAUSE_MS 60000
#define COOKIE "vmware_soap_session="

/* ---- life ---- */

static void copy_trust(struct lift_trust *to, const struct lift_trust *from)
{
    to->ca_pem = lift_strdup(from->ca_pem);
    to->ca_file = lift_strdup(from->ca_file);
    to->thumbprint = lift_strdup(from->thumbprint);
    to->client_cert_pem = lift_strdup(from->client_cert_pem);
    to->client_key_pem = lift_secret_ref(from->client_key_pem);
    to->and_system = from->and_system;
    to->insecure = from->insecure;
}

static void free_trust(struct lift_trust *trust)
{
    lift_free((char *)(uintptr_t)trust->ca_pem);
    lift_free((char *)(uintptr_t)trust->ca_file);
    lift_free((char *)(uintptr_t)trust->thumbprint);
    lift_free((char *)(uintptr_t)trust->client_cert_pem);
    lift_secret_free(trust->client_key_pem);
}

/* "host", "host:port" or a URL into origin and path. */
static bool read_host(struct lift_vsphere *vs, const char *host, struct lift_error *err)
{
    const char *scheme_end = strstr(host, "://");
    const char *authority = scheme_end ? scheme_end + 3 : host;
    size_t length = strcspn(authority, "/");
    if (length == 0 || strcspn(authority, "@?# \t\r\n") < strlen(authority) ||
        (scheme_end && strncmp(host, "http://", 7) != 0 && strncmp(host, "https://", 8) != 0)) {
        lift_fail(err, LIFT_CONFIG, "'%.100s' is no vCenter or ESXi host", host);
        return lift_hint(err, "give a name or address, host:port, or https://host/sdk");
    }
    vs->origin = scheme_end ? lift_strndup(host, (size_t)(authority - host) + length)
                            : lift_asprintf("https://%.*s", (int)length, authority);
    const char *path = authority + length;
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    vs->path = end > 0 ? lift_strndup(path, end) : lift_strdup("/sdk");
    return true;
}

struct lift_vsphere *lift_vsphere_new(struct lift_http_pool *pool, struct lift_log *log,
                                      const struct lift_vsphere_spec *spec, struct lift_error *err)
{
    struct lift_vsphere *vs = lift_calloc(1, sizeof *vs);
    vs->pool = pool;
    vs->log = log;
    vs->calls.prev = vs->calls.next = &vs->calls;
    vs->username = lift_strdup(spec->username ? spec->username : "");
    vs->password = lift_secret_ref(spec->password);
    copy_trust(&vs->trust, &spec->trust);
    vs->timeout_ms = spec->timeout_ms ? spec->timeout_ms : TIMEOUT_MS;
    vs->user_agent = lift_strdup(spec->user_agent ? spec->user_agent : "lunalift/" LIFT_VERSION);
    if (getentropy(&vs->tag, sizeof vs->tag) != 0)
        vs->tag = (unsigned)getpid();
    if (read_host(vs, spec->host ? spec->host : "", err))
        return vs;
    lift_vsphere_free(vs);
    return NULL;
}

static void forget_all(struct lift_vsphere *vs)
{
    for (struct known *k = vs->known, *next; k; k = next) {
        next = k->next;
        lift_free(k);
    }
    vs->known = NULL;
}

void lift_vsphere_free(struct lift_vsphere *vs)
{
    if (!vs)
        return;
    lift_http_free(vs->login);
    lift_xml_doc_free(vs->content_doc);
    lift_secret_free(vs->cookie);
    lift_secret_free(vs->password);
    free_trust(&vs->trust);
    forget_all(vs);
    lift_free(vs->user_agent);
    lift_free(vs->username);
    lift_free(vs->origin);
    lift_free(vs->path);
    lift_free(vs);
}

uint32_t lift_vsphere_requests(const struct lift_vsphere *vs)
{
    return vs->requests;
}

uint32_t lift_vsphere_generation(const struct lift_vsphere *vs)
{
    return vs->generation;
}

const struct lift_xml_node *lift_vsphere_content(const struct lift_vsphere *vs)
{
    return vs->generation > 0 ? vs->content : NULL;
}

/* ---- what the server told us to remember ---- */

/* The cookie is echoed as it came, quotes and all, and treated as the secret it is. */
void lift_vsphere__take_cookie(struct lift_vsphere *vs, const char *headers)
{
    static const char name[] = "set-cookie: " COOKIE;
    const char *line = strstr(headers, name);
    if (!line || (line != headers && line[-1] != '\n'))
        return;
    const char *value = line + sizeof name - 1;
    size_t length = strcspn(value, "; \r\n");
    if (length == 0 || length > 1024)
        return;
    if (vs->cookie && lift_secret_length(vs->cookie) == length &&
        memcmp(lift_secret_bytes(vs->cookie), value, length) == 0)
        return;
    lift_secret_free(vs->cookie);
    vs->cookie = lift_secret_new(value, length);
}

void lift_vsphere__forget_login(struct lift_vsphere *vs)
{
    vs->live = vs->stale = false;
    lift_secret_free(vs->cookie);
    vs->cookie = NULL;
}

/* Not inlined: under the sanitizers gcc then takes it for an over-read. */
__attribute__((noinline)) static bool same_ref(const struct lift_moref *a,
                                               const struct lift_moref *b)
{
    return strcmp(a->id, b->id) == 0 && strcmp(a->type, b->type) == 0 &&
           strcmp(a->guid, b->guid) == 0;
}

const struct lift_moref *lift_vsphere__recall(const struct lift_vsphere *vs,
                                              const struct lift_moref *of)
{
    for (const struct known *k = vs->known; k; k = k->next)
        if (k->generation == vs->generation && same_ref(&k->of, of))
            return &k->ref;
    return NULL;
}

void lift_vsphere__forget(struct lift_vsphere *vs, const struct lift_moref *of)
{
    for (struct known **at = &vs->known, *k; (k = *at);) {
        if (k->generation == vs->generation && !same_ref(&k->of, of)) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        lift_free(k);
    }
}

void lift_vsphere__remember(struct lift_vsphere *vs, const struct lift_moref *of,
                            const struct lift_moref *ref)
{
    lift_vsphere__forget(vs, of);
    struct known *k = lift_calloc(1, sizeof *k);
    *k = (struct known){vs->known, vs->generation, *of, *ref};
    vs->known = k;
}

/* ---- sending ---- */

struct lift_http *lift_vsphere__send(struct lift_vsphere *vs, const struct lift_vsphere__post *post,
                                     lift_http_fn *done, void *payload, struct lift_error *err)
{
    bool soap = !post->url && post->body;
    char *url = post->url ? NULL : lift_asprintf("%s%s", vs->origin, vs->path);
    struct lift_http_header headers[4] = {{"User-Agent", vs->user_agent, NULL}};
    size_t count = 1;
    if (post->body)
        headers[count++] = (struct lift_http_header){
            "Content-Type", soap ? "text/xml; charset=\"utf-8\"" : "application/octet-stream",
            NULL};
    if (soap)
        headers[count++] = (struct lift_http_header){"SOAPAction", vs->action, NULL};
    if (vs->cookie)
        headers[count++] = (struct lift_http_header){"Cookie", COOKIE, vs->cookie};
    struct lift_http_spec spec = {
        .method = post->method,
        .url = post->url ? post->url : url,
        .headers = headers,
        .header_count = count,
        .body = post->body,
        .body_length = post->body_length,
        .trust = vs->trust,
        .timeout_ms = post->timeout_ms ? post->timeout_ms : vs->timeout_ms,
        .max_body = post->max_body,
        .effect = post->effect,
    };
    struct lift_http *http = lift_http_start(vs->pool, &spec, done, payload, err);
    lift_free(url);
    if (soap && http)
        vs->requests++;
    return http;
}

static bool find_self(const struct lift_vsphere *vs, const char *property, struct lift_moref *self,
                      struct lift_error *err)
{
    const struct lift_xml_node *node = vs->content ? lift_xml_child(vs->content, property) : NULL;
    if (node && lift_soap_read_moref(node, self))
        return true;
    return lift_fail(err, LIFT_UNSUPPORTED, "%s has no %.60s", vs->origin, property);
}

struct lift_http *lift_vsphere__soap(struct lift_vsphere *vs,
                                     const struct lift_vsphere_request *request, lift_http_fn *done,
                                     void *payload, struct lift_error *err)
{
    char operation[40];
    snprintf(operation, sizeof operation, "lunalift-%08x-%u", vs->tag, vs->requests + 1);
    struct lift_moref self = request->self;
    struct lift_buf envelope = {0};
    struct lift_http *http = NULL;
    if ((self.type[0] || find_self(vs, self.id, &self, err)) &&
        lift_soap_begin(&envelope, request->method, &self, operation, err) &&
        (lift_buf_add(&envelope, request->body, request->body_length) ||
         lift_fail(err, LIFT_NO_SPACE, "%s: the request is too large", request->method)) &&
        lift_soap_end(&envelope, request->method, err)) {
        lift_logf(vs->log, LIFT_LOG_DEBUG, "vsphere %s %s %s", request->method, self.id, operation);
        struct lift_vsphere__post post = {.method = "POST",
                                          .body = envelope.data,
                                          .body_length = envelope.length,
                                          .max_body = REPLY_MAX,
                                          .timeout_ms = request->timeout_ms,
                                          .effect = request->effect};
        http = lift_vsphere__send(vs, &post, done, payload, err);
    }
    lift_buf_wipe(&envelope);
    return http;
}

/* ---- judging ---- */

bool lift_vsphere__bad_status(const struct lift_http_reply *reply, bool effect,
                              struct lift_error *err)
{
    const int status = reply->status;
    const int64_t wait_s = lift_http_retry_after(reply);
    bool refused = false, unknown = false;
    switch (status) {
    case 429:
    case 503:
        lift_fail(err, LIFT_BUSY, "HTTP %d: not available for now", status);
        err->retry_after_s = wait_s < 0 ? 0 : wait_s > 86400 ? 86400 : (uint32_t)wait_s;
        refused = true;
        break;
    case 401:
    case 403:
        lift_fail(err, LIFT_DENIED, "HTTP %d: access denied", status); /* a vCenter sends faults */
        lift_hint(err, "GOVMOMI_HOSTNAME must name a vCenter or an ESXi host");
        refused = true;
        break;
    case 404:
    case 405:
        lift_fail(err, LIFT_PROTOCOL, "HTTP %d: no vSphere API here", status);
        lift_hint(err, "GOVMOMI_HOSTNAME must name a vCenter or an ESXi host");
        break;
    case 504:
        lift_fail(err, LIFT_TIMEOUT, "HTTP 504: a proxy got no answer in time");
        unknown = true;
        break;
    case 502:
        unknown = true; /* fall through */
    default:
        lift_fail(err, LIFT_PROTOCOL, "HTTP %d instead of an answer", status);
        break;
    }
    err->refused = refused;
    err->unanswered = unknown && effect;
    return false;
}

/* Faults after which nobody knows whether the act was done. */
static bool leaves_open(const char *fault)
{
    static const char *const types[] = {"Timedout",       "SystemError",       "RequestCanceled",
                                        "Unexpected",     "HostCommunication", "HostNotReachable",
                                        "ServerFaultCode"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(fault, types[i]) == 0)
            return true;
    return false;
}

static bool read_answer(const struct lift_http_reply *reply, bool effect,
                        struct lift_vsphere_end *end, struct lift_error *err)
{
    if (reply->status != 200 && reply->status != 500)
        return lift_vsphere__bad_status(reply, effect, err);
    end->doc = lift_xml_parse(reply->body.data ? reply->body.data : "", reply->body.length, err);
    if (end->doc && lift_soap_decode(end->doc, &end->result, &end->fault, err))
        return true;
    err->unanswered = effect && (!end->fault.type[0] || leaves_open(end->fault.type));
    return false;
}

bool lift_vsphere__judge(const struct lift_http_reply *reply, const struct lift_error *why,
                         const char *method, bool effect, struct lift_vsphere_end *end,
                         struct lift_error *err)
{
    *end = (struct lift_vsphere_end){0};
    if (!reply)
        *err = *why;
    else if (read_answer(reply, effect, end, err))
        return true;
    char text[sizeof err->text];
    memcpy(text, err->text, sizeof text);
    snprintf(err->text, sizeof err->text, "%.60s: %.440s", method, text);
    end->err = err;
    return false;
}

/* ---- logging in: version list, service content, Login ---- */

bool lift_vsphere__logging_in(const struct lift_vsphere *vs)
{
    return vs->login != NULL;
}

static void end_login(struct lift_vsphere *vs, const struct lift_error *err)
{
    lift_http_free(vs->login);
    vs->login = NULL;
    if (!err) {
        vs->live = true;
        vs->generation++;
    } else if (!vs->stale) {
        lift_vsphere__forget_login(vs);
    }
    /* Apart first: what the callbacks start may wait for the next login, not for this one. */
    struct lift_vsphere_call batch = {.prev = &batch, .next = &batch};
    for (struct lift_vsphere_call *c = vs->calls.next, *next; c != &vs->calls; c = next) {
        next = c->next;
        if (!c->waiting)
            continue;
        c->prev->next = c->next;
        c->next->prev = c->prev;
        c->prev = batch.prev;
        c->next = &batch;
        batch.prev->next = c;
        batch.prev = c;
    }
    while (batch.next != &batch) { /* a callback may free any call, and with the last one vs */
        struct lift_vsphere_call *c = batch.next;
        c->next->prev = &batch;
        batch.next = c->next;
        c->prev = vs->calls.prev;
        c->next = &vs->calls;
        vs->calls.prev->next = c;
        vs->calls.prev = c;
        lift_vsphere__resume(c, err);
    }
}

static bool next_step(struct lift_vsphere *vs, struct lift_error *err);

static void go_on(struct lift_vsphere *vs)
{
    struct lift_error err = {0};
    lift_http_free(vs->login);
    vs->login = NULL;
    if (!next_step(vs, &err))
        end_login(vs, &err);
}

static void on_login(void *payload, struct lift_http_reply *reply, const struct lift_error *why)
{
    struct lift_vsphere *vs = payload;
    struct lift_vsphere_end end;
    struct lift_error err = {0};
    /* Of an answer that is cut, too: it may have made a login. */
    lift_vsphere__take_cookie(vs, reply ? reply->headers : lift_http_headers(vs->login));
    bool good = lift_vsphere__judge(reply, why, "Login", false, &end, &err);
    lift_xml_doc_free(end.doc);
    if (!good && strcmp(end.fault.type, "InvalidLocale") == 0 && !vs->no_locale) {
        vs->no_locale = true;
        go_on(vs);
        return;
    }
    if (!good && err.code == LIFT_DENIED && end.fault.type[0]) {
        vs->paused_till = lift_loop_now_ms(lift_http_pool_loop(vs->pool)) + LOGIN_PAUSE_MS;
        vs->refusal = err;
    }
    /* An answer without sense may have made a login all the same. */
    vs->stale = !good && !end.fault.type[0] && vs->cookie;
    end_login(vs, good ? NULL : &err);
}

static void on_content(void *payload, struct lift_http_reply *reply, const struct lift_error *why)
{
    struct lift_vsphere *vs = payload;
    struct lift_vsphere_end end;
    struct lift_error err = {0};
    if (reply)
        lift_vsphere__take_cookie(vs, reply->headers);
    bool good =
        lift_vsphere__judge(reply, why, "RetrieveServiceContent", false, &end, &err) &&
        ((vs->content = lift_xml_child(end.result, "returnval")) ||
         lift_fail(&err, LIFT_PROTOCOL, "RetrieveServiceContent: the answer has no content"));
    if (!good) {
        lift_xml_doc_free(end.doc);
        end_login(vs, &err);
        return;
    }
    vs->content_doc = end.doc;
    go_on(vs);
}

/* Of dotted decimal numbers. */
static int compare_versions(const char *a, const char *b)
{
    while (*a || *b) {
        char *a_end, *b_end;
        long x = strtol(a, &a_end, 10), y = strtol(b, &b_end, 10);
        if (x != y)
            return x < y ? -1 : 1;
        a = a_end + (*a_end == '.');
        b = b_end + (*b_end == '.');
    }
    return 0;
}

/* The newest version that both sides know: an old server refuses newer ones, and each server leaves
 * out what is newer than asked for. */
static void choose_version(char *out, size_t size, const struct lift_xml_doc *list)
{
    const struct lift_xml_node *ns = list ? lift_xml_child(lift_xml_root(list), "namespace") : NULL;
    const char *version = "6.7";
    for (; ns; ns = lift_xml_next(ns, "namespace")) {
        const struct lift_xml_node *name = lift_xml_child(ns, "name");
        const struct lift_xml_node *newest = lift_xml_child(ns, "version");
        if (!name || !newest || strcmp(lift_xml_text(name), "urn:vim25") != 0)
            continue;
        const char *v = lift_xml_text(newest);
        if (strspn(v, "0123456789.") == strlen(v) && strlen(v) < 20 && *v)
            version = compare_versions(v, "6.5") < 0       ? "6.5"
                      : compare_versions(v, "8.0.0.1") > 0 ? "8.0.0.1"
                                                           : v;
    }
    snprintf(out, size, "urn:vim25/%s", version);
}

static void on_versions(void *payload, struct lift_http_reply *reply, const struct lift_error *why)
{
    struct lift_vsphere *vs = payload;
    if (!reply) {
        end_login(vs, why);
        return;
    }
    struct lift_error ignored;
    struct lift_xml_doc *list = reply->status == 200 && reply->body.data
                                    ? lift_xml_parse(reply->body.data, reply->body.length, &ignored)
                                    : NULL;
    choose_version(vs->action, sizeof vs->action, list);
    lift_xml_doc_free(list);
    go_on(vs);
}

static struct lift_http *send_login(struct lift_vsphere *vs, struct lift_error *err)
{
    struct lift_buf body = {0};
    struct lift_http *http = NULL;
    if (lift_soap_text(&body, "userName", NULL, vs->username, strlen(vs->username), err) &&
        lift_soap_text(&body, "password", NULL, vs->password ? lift_secret_bytes(vs->password) : "",
                       vs->password ? lift_secret_length(vs->password) : 0, err) &&
        (vs->no_locale || lift_soap_text(&body, "locale", NULL, "en_US", 5, err))) {
        struct lift_vsphere_request login = {.method = "Login",
                                             .self = {.id = "sessionManager"},
                                             .body = body.data,
                                             .body_length = body.length};
        http = lift_vsphere__soap(vs, &login, on_login, vs, err);
    }
    lift_buf_wipe(&body);
    return http;
}

static void on_stale_gone(void *payload, struct lift_http_reply *reply,
                          const struct lift_error *why)
{
    struct lift_vsphere *vs = payload;
    (void)reply, (void)why; /* mostly it had gone already */
    lift_vsphere__forget_login(vs);
    go_on(vs);
}

static bool next_step(struct lift_vsphere *vs, struct lift_error *err)
{
    if (vs->stale) {
        static const struct lift_vsphere_request logout = {
            .method = "Logout", .self = {.id = "sessionManager"}, .timeout_ms = LOGOUT_TIMEOUT_MS};
        vs->login = lift_vsphere__soap(vs, &logout, on_stale_gone, vs, err);
    } else if (!vs->action[0]) {
        char *url = lift_asprintf("%s%s/vimServiceVersions.xml", vs->origin, vs->path);
        struct lift_vsphere__post get = {.method = "GET", .url = url};
        vs->login = lift_vsphere__send(vs, &get, on_versions, vs, err);
        lift_free(url);
    } else if (!vs->content) {
        static const struct lift_vsphere_request request = {
            .method = "RetrieveServiceContent",
            .self = {.type = "ServiceInstance", .id = "ServiceInstance"}};
        vs->login = lift_vsphere__soap(vs, &request, on_content, vs, err);
    } else {
        vs->login = send_login(vs, err);
    }
    return vs->login != NULL;
}

bool lift_vsphere__login(struct lift_vsphere *vs, struct lift_error *err)
{
    if (vs->login)
        return true;
    if (lift_loop_now_ms(lift_http_pool_loop(vs->pool)) < vs->paused_till) {
        *err = vs->refusal;
        return false;
    }
    /* A Login on a cookie that has a live session is refused like a wrong password. */
    if (!vs->stale)
        lift_vsphere__forget_login(vs);
    return next_step(vs, err);
}
