#include "vsphere_inner.h"

#include <stdio.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 20)

/* ---- life ---- */

static struct lift_vsphere_call *call_new(struct lift_vsphere *vs, enum call_kind kind,
                                          void *payload)
{
    struct lift_vsphere_call *call = lift_calloc(1, sizeof *call);
    call->vs = vs;
    call->kind = kind;
    call->payload = payload;
    call->prev = vs->calls.prev;
    call->next = &vs->calls;
    call->prev->next = call;
    vs->calls.prev = call;
    return call;
}

void lift_vsphere_call_free(struct lift_vsphere_call *call)
{
    if (!call)
        return;
    lift_http_free(call->http);
    lift_timer_free(call->timer);
    call->prev->next = call->next;
    call->next->prev = call->prev;
    lift_buf_wipe(&call->body);
    lift_free(call->method);
    lift_free(call->url);
    lift_free(call);
}

/* ---- ends: the last thing that is done with a call, since `done` may free it ---- */

static void settle(struct lift_vsphere_call *call)
{
    lift_http_free(call->http);
    call->http = NULL;
    call->waiting = false;
}

static void finish(struct lift_vsphere_call *call, struct lift_vsphere_end *end)
{
    settle(call);
    call->done(call->payload, end);
    lift_xml_doc_free(end->doc);
}

static void finish_file(struct lift_vsphere_call *call, struct lift_buf *content,
                        const struct lift_error *err)
{
    struct lift_buf taken = {0};
    if (content) {
        taken = *content;
        *content = (struct lift_buf){0};
    }
    settle(call);
    call->file_done(call->payload, content ? &taken : NULL, err);
    lift_buf_free(&taken);
}

static void fail(struct lift_vsphere_call *call, const struct lift_error *err)
{
    if (call->kind == CALL_FILE)
        finish_file(call, NULL, err);
    else
        finish(call, &(struct lift_vsphere_end){.err = err});
}

/* ---- a lost login ---- */

static bool send(struct lift_vsphere_call *call, struct lift_error *err);

static bool start(struct lift_vsphere_call *call, struct lift_error *err)
{
    if (call->vs->live)
        return send(call, err);
    call->waiting = true;
    return lift_vsphere__login(call->vs, err);
}

void lift_vsphere__resume(struct lift_vsphere_call *call, const struct lift_error *err)
{
    struct lift_error why = {0};
    call->waiting = false;
    if (err)
        why = *err;
    else if (call->renewed && call->effect)
        lift_fail(&why, LIFT_DENIED, "the login had been lost; a new one was made");
    else if (call->kind == CALL_LOGIN) {
        finish(call, &(struct lift_vsphere_end){.result = call->vs->content});
        return;
    } else if (send(call, &why)) {
        return;
    }
    /* Nothing of it was done, whatever became of the login. */
    why.refused = true;
    why.unanswered = false;
    fail(call, &why);
}

/* Get a new login for a call whose own was refused, and go on from there. */
static void renew(struct lift_vsphere_call *call, bool doubt)
{
    struct lift_vsphere *vs = call->vs;
    struct lift_error err = {0};
    lift_http_free(call->http);
    call->http = NULL;
    call->renewed = true;
    if (vs->live && vs->generation == call->generation) {
        vs->live = false;
        vs->stale = true;
        vs->doubted = doubt;
    }
    if (vs->live) {
        lift_vsphere__resume(call, NULL);
        return;
    }
    call->waiting = true;
    if (!lift_vsphere__login(vs, &err))
        lift_vsphere__resume(call, &err);
}

/* Every property of every object missing, for want of a login: how reads tell that it was lost. */
static bool all_missing(const struct lift_xml_node *result)
{
    const struct lift_xml_node *value = lift_xml_child(result, "returnval");
    const struct lift_xml_node *object = value ? lift_xml_child(value, "objects") : NULL;
    bool any = false;
    for (; object; object = lift_xml_next(object, "objects")) {
        if (lift_xml_child(object, "propSet"))
            return false;
        const struct lift_xml_node *set = lift_xml_child(object, "missingSet");
        for (; set; set = lift_xml_next(set, "missingSet")) {
            struct lift_soap_fault fault = {0};
            struct lift_error ignored;
            const struct lift_xml_node *why = lift_xml_child(set, "fault");
            if (why)
                lift_soap_read_fault(why, &fault, &ignored);
            if (strcmp(fault.type, "NotAuthenticated") != 0)
                return false;
            any = true;
        }
    }
    return any;
}

/*
 * A stale cookie was seen to answer NoPermission, so that one is doubted; but once, lest each call
 * without a privilege cost a login.
 */
static bool lost(const struct lift_vsphere_call *call, int status,
                 const struct lift_vsphere_end *end, bool *doubt)
{
    const struct lift_vsphere *vs = call->vs;
    *doubt = strcmp(end->fault.type, "NoPermission") == 0;
    if (call->renewed)
        return false;
    if (*doubt)
        return vs->generation != call->generation || !vs->doubted;
    return status == 401 || strcmp(end->fault.type, "NotAuthenticated") == 0 ||
           (end->result && all_missing(end->result));
}

/* ---- SOAP calls ---- */

/* Gone is gone; but a login that nobody ended is kept, to be ended by another try. */
static void end_logout(struct lift_vsphere_call *call, struct lift_vsphere_end *end)
{
    if (strcmp(end->fault.type, "NotAuthenticated") == 0)
        end->err = NULL;
    if (!end->err && call->vs->generation == call->generation)
        lift_vsphere__forget_login(call->vs);
    finish(call, end);
}

static void on_reply(void *payload, struct lift_http_reply *reply, const struct lift_error *why)
{
    struct lift_vsphere_call *call = payload;
    struct lift_vsphere *vs = call->vs;
    struct lift_vsphere_end end;
    struct lift_error err = {0};
    bool doubt;
    if (reply) {
        lift_logf(vs->log, LIFT_LOG_DEBUG, "vsphere %s: HTTP %d, %zu bytes, %u ms", call->method,
                  reply->status, reply->body.length, reply->duration_ms);
        if (vs->live && vs->generation == call->generation)
            lift_vsphere__take_cookie(vs, reply->headers);
    }
    bool good = lift_vsphere__judge(reply, why, call->method, call->effect, &end, &err);
    if (call->kind == CALL_LOGOUT) {
        end_logout(call, &end);
    } else if (reply && lost(call, reply->status, &end, &doubt)) {
        lift_xml_doc_free(end.doc);
        renew(call, doubt);
    } else {
        if (good && all_missing(end.result)) {
            lift_fail(&err, LIFT_DENIED, "%s: the new login was not accepted", call->method);
            end.err = &err;
        }
        finish(call, &end);
    }
}

/* ---- datastore files ---- */

static void on_file(void *payload, struct lift_http_reply *reply, const struct lift_error *why)
{
    struct lift_vsphere_call *call = payload;
    struct lift_error err = {0};
    int status = reply ? reply->status : 0;
    if (status == 401 && !call->renewed) {
        renew(call, false);
        return;
    }
    if (status == 200 || status == 201 || status == 204) {
        finish_file(call, call->put ? NULL : &reply->body, NULL);
        return;
    }
    if (!reply)
        err = *why;
    else if (status == 404)
        lift_fail(&err, LIFT_NOT_FOUND, "no such file, datastore or datacenter");
    else
        lift_vsphere__bad_status(reply, call->put, &err);
    if (err.code == LIFT_DENIED)
        lift_hint(&err, "give the account Datastore.Browse and Datastore.FileManagement");
    char text[sizeof err.text];
    memcpy(text, err.text, sizeof text);
    snprintf(err.text, sizeof err.text, "%s %.250s: %.240s", call->put ? "PUT" : "GET", call->url,
             text);
    finish_file(call, NULL, &err);
}

static bool add_query(struct lift_buf *url, const char *mark, const char *value)
{
    return lift_buf_adds(url, mark) && lift_http_encode(url, value, strlen(value), NULL);
}

static bool file_url(struct lift_buf *url, const struct lift_vsphere *vs,
                     const struct lift_datastore_file *file, struct lift_error *err)
{
    const char *path = file->path + strspn(file->path, "/");
    const char *dc = file->dc ? file->dc + strspn(file->dc, "/") : "";
    url->max = 8192;
    return (lift_buf_adds(url, vs->origin) && lift_buf_adds(url, "/folder/") &&
            lift_http_encode(url, path, strlen(path), "/") &&
            add_query(url, "?dsName=", file->datastore) &&
            (!*dc || add_query(url, "&dcPath=", dc))) ||
           lift_fail(err, LIFT_CONFIG, "the file's path is too long");
}

/* ---- starting ---- */

static bool send(struct lift_vsphere_call *call, struct lift_error *err)
{
    struct lift_vsphere *vs = call->vs;
    call->generation = vs->generation;
    if (call->kind == CALL_FILE) {
        struct lift_vsphere__post post = {.url = call->url,
                                          .method = call->put ? "PUT" : "GET",
                                          .body = call->put ? call->body.data : NULL,
                                          .body_length = call->body.length,
                                          .max_body = call->max,
                                          .effect = call->put};
        call->http = lift_vsphere__send(vs, &post, on_file, call, err);
    } else {
        struct lift_vsphere_request request = {.method = call->method,
                                               .self = call->self,
                                               .body = call->body.data,
                                               .body_length = call->body.length,
                                               .effect = call->effect,
                                               .timeout_ms = call->timeout_ms};
        call->http = lift_vsphere__soap(vs, &request, on_reply, call, err);
    }
    return call->http != NULL;
}

/* A call that is started, or NULL after freeing it. */
static struct lift_vsphere_call *started(struct lift_vsphere_call *call, bool good)
{
    if (good)
        return call;
    lift_vsphere_call_free(call);
    return NULL;
}

struct lift_vsphere_call *lift_vsphere_call(struct lift_vsphere *vs,
                                            const struct lift_vsphere_request *request,
                                            lift_vsphere_fn *done, void *payload,
                                            struct lift_error *err)
{
    struct lift_vsphere_call *call = call_new(vs, CALL_SOAP, payload);
    call->done = done;
    call->method = lift_strdup(request->method);
    call->self = request->self;
    call->effect = request->effect;
    call->timeout_ms = request->timeout_ms;
    bool good = lift_buf_add(&call->body, request->body, request->body_length) ||
                lift_fail(err, LIFT_NO_SPACE, "%s: the request is too large", request->method);
    return started(call, good && start(call, err));
}

static void on_nothing_to_send(void *payload)
{
    struct lift_vsphere_call *call = payload;
    finish(call, &(struct lift_vsphere_end){.result = call->vs->content});
}

static void end_soon(struct lift_vsphere_call *call)
{
    struct lift_loop *loop = lift_http_pool_loop(call->vs->pool);
    call->timer = lift_timer_new(loop, 0, on_nothing_to_send, call);
}

struct lift_vsphere_call *lift_vsphere_login(struct lift_vsphere *vs, lift_vsphere_fn *done,
                                             void *payload, struct lift_error *err)
{
    struct lift_vsphere_call *call = call_new(vs, CALL_LOGIN, payload);
    call->done = done;
    if (!vs->live)
        return started(call, start(call, err));
    end_soon(call);
    return call;
}

struct lift_vsphere_call *lift_vsphere_logout(struct lift_vsphere *vs, lift_vsphere_fn *done,
                                              void *payload, struct lift_error *err)
{
    struct lift_vsphere_call *call = call_new(vs, CALL_LOGOUT, payload);
    call->done = done;
    call->timeout_ms = vs->timeout_ms < LOGOUT_TIMEOUT_MS ? vs->timeout_ms : LOGOUT_TIMEOUT_MS;
    call->method = lift_strdup("Logout");
    snprintf(call->self.id, sizeof call->self.id, "sessionManager");
    if (vs->live || vs->stale || lift_vsphere__logging_in(vs))
        return started(call, start(call, err));
    end_soon(call);
    return call;
}

struct lift_vsphere_call *lift_vsphere_file(struct lift_vsphere *vs,
                                            const struct lift_datastore_file *file,
                                            lift_file_fn *done, void *payload,
                                            struct lift_error *err)
{
    struct lift_buf url = {0};
    if (!file_url(&url, vs, file, err)) {
        lift_buf_free(&url);
        return NULL;
    }
    struct lift_vsphere_call *call = call_new(vs, CALL_FILE, payload);
    call->file_done = done;
    call->url = lift_strdup(url.data);
    lift_buf_free(&url);
    call->put = call->effect = file->bytes != NULL;
    call->max = file->max ? file->max : FILE_MAX;
    bool good = !call->put || lift_buf_add(&call->body, file->bytes, file->length) ||
                lift_fail(err, LIFT_NO_SPACE, "the file is too large to be sent");
    return started(call, good && start(call, err));
}
