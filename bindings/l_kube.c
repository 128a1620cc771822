/* lunalift.kube: objects of the Kubernetes API, one at a time, and what becomes of them. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/http_reply.h"
#include "bindings/kube_watch.h"
#include "bindings/modules.h"
#include "bindings/state.h"
#include "bindings/task.h"
#include "engine/kube.h"

#define KUBE "lunalift.kube"
#define CALL "lunalift.kube.call"
#define SHOWN_MAX 512 /* bytes of a request, in a failure */

struct handle {
    struct lift_kube *kube; /* owned; NULL once closed */
    uint32_t timeout_ms;
};

struct call {
    struct task_op op;
    struct lift_http *http; /* owned; NULL when over */
    const char *method;     /* a literal */
    bool effect;
    int status; /* 0 when there was no answer */
    struct lift_buf body;
    lua_Integer retry_after_s; /* -1 if not told */
    struct lift_error err;     /* when there was no answer */
};

static int handle_close(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, KUBE);
    lift_kube_free(handle->kube);
    handle->kube = NULL;
    return 0;
}

static struct handle *check_handle(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, KUBE);
    luaL_argcheck(L, handle->kube != NULL, 1, "closed");
    return handle;
}

/* The two fields, then the methods. */
static int handle_index(lua_State *L)
{
    struct handle *handle = check_handle(L);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(key, "server") == 0)
        lua_pushstring(L, lift_kube_server(handle->kube));
    else if (strcmp(key, "namespace") == 0)
        lua_pushstring(L, lift_kube_namespace(handle->kube));
    else
        lua_getfield(L, lua_upvalueindex(1), key);
    return 1;
}

static int kube_open(lua_State *L)
{
    static const char *const names[] = {"kubeconfig", "context", "master", "timeout_s", NULL};
    opt_known(L, 1, names);
    struct lift_kube_spec spec = {
        .kubeconfig = opt_string(L, 1, "kubeconfig", getenv("KUBECONFIG")),
        .context = opt_string(L, 1, "context", NULL),
        .master = opt_string(L, 1, "master", NULL),
        .service_host = getenv("KUBERNETES_SERVICE_HOST"),
        .service_port = getenv("KUBERNETES_SERVICE_PORT"),
    };
    lua_Number timeout_s = opt_number(L, 1, "timeout_s", 30, 0.001, 86400);
    struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = (struct handle){.timeout_ms = (uint32_t)(timeout_s * 1000)};
    luaL_setmetatable(L, KUBE);
    struct lift_error err = {0};
    handle->kube = lift_kube_new(context_of(L)->pool, &spec, &err);
    return handle->kube != NULL ? 1 : fail_push(L, &err);
}

/* ---- what came back ---- */

static int call_close(lua_State *L)
{
    struct call *call = luaL_checkudata(L, 1, CALL);
    lift_http_free(call->http);
    call->http = NULL;
    lift_buf_wipe(&call->body); /* it may have been a Secret */
    return 0;
}

static void on_reply(void *payload, struct lift_http_reply *reply, const struct lift_error *err)
{
    struct call *call = payload;
    if (reply != NULL) {
        call->status = reply->status;
        call->body = reply->body;
        reply->body = (struct lift_buf){0};
        call->retry_after_s = (lua_Integer)lift_http_retry_after(reply);
    } else {
        call->err = *err;
    }
    task_op_wake(call);
}

static int push_refusal(lua_State *L, struct call *call)
{
    struct handle *handle = luaL_checkudata(L, 1, KUBE);
    if (call->status == 401 && handle->kube != NULL)
        lift_kube_doubt_token(handle->kube);
    char asked[SHOWN_MAX];
    snprintf(asked, sizeof asked, "%s %s", call->method, lua_tostring(L, 2));
    kube_refusal_push(L, asked, call->status, &call->body, call->retry_after_s);
    return 2;
}

static int call_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct call *call = task_done(L, slot);
    if (call->status == 0)
        return fail_push(L, &call->err);
    if (call->status < 200 || call->status > 299)
        return push_refusal(L, call);
    struct lift_error err = {0};
    const char *text = call->body.data != NULL ? call->body.data : "";
    bool decoded = json_decode(L, text, call->body.length, &err);
    lift_buf_wipe(&call->body);
    if (decoded)
        return 1;
    err.unanswered = call->effect;
    return fail_push(L, &err);
}

/* ---- the verbs ---- */

/* Arguments: handle, path, …; `body` is the index of the object to send, 0 for none. */
static int start(lua_State *L, const char *method, int body, const char *content_type)
{
    struct handle *handle = check_handle(L);
    struct lift_kube_request request = {.method = method,
                                        .path = luaL_checkstring(L, 2),
                                        .content_type = content_type,
                                        .effect = strcmp(method, "GET") != 0,
                                        .timeout_ms = handle->timeout_ms};
    luaL_argcheck(L, request.path[0] == '/', 2, "a path begins with /");
    if (body != 0) {
        luaL_checktype(L, body, LUA_TTABLE);
        json_encode(L, body, false);
        request.body = lua_tolstring(L, -1, &request.body_length);
    }
    struct lift_error err = {0};
    struct call *call = task_op(L, CALL, sizeof *call);
    call->method = method;
    call->effect = request.effect;
    call->retry_after_s = -1;
    call->http = lift_kube_start(handle->kube, &request, on_reply, call, &err);
    return call->http != NULL ? task_park(L, call, call_done) : fail_push(L, &err);
}

static int kube_get(lua_State *L)
{
    return start(L, "GET", 0, NULL);
}

static int kube_create(lua_State *L)
{
    return start(L, "POST", 3, NULL);
}

static int kube_update(lua_State *L)
{
    return start(L, "PUT", 3, NULL);
}

static int kube_patch(lua_State *L)
{
    static const char *const kinds[] = {"merge", "json", "strategic", "apply", NULL};
    static const char *const types[] = {"application/merge-patch+json",
                                        "application/json-patch+json",
                                        "application/strategic-merge-patch+json",
                                        "application/apply-patch+yaml"}; /* JSON is YAML */
    return start(L, "PATCH", 3, types[luaL_checkoption(L, 4, "merge", kinds)]);
}

static int kube_delete(lua_State *L)
{
    return start(L, "DELETE", lua_isnoneornil(L, 3) ? 0 : 3, NULL);
}

static int kube_watch(lua_State *L)
{
    return watch_start(L, check_handle(L)->kube);
}

int open_kube(lua_State *L)
{
    static const luaL_Reg functions[] = {{"open", kube_open}, {NULL, NULL}};
    static const luaL_Reg watch[] = {{"next", watch_next}, {"close", watch_close}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"get", kube_get},     {"create", kube_create}, {"update", kube_update},
        {"patch", kube_patch}, {"delete", kube_delete}, {"watch", kube_watch},
        {NULL, NULL}};
    watch_types(L, watch);
    type_new(L, KUBE, NULL, handle_close);
    type_new(L, CALL, NULL, call_close);
    luaL_getmetatable(L, KUBE);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, handle_index, 1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
