/* lunalift.vsphere: a login, its calls, properties, esxcli commands and datastore files. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/login.h"
#include "bindings/modules.h"
#include "bindings/state.h"
#include "bindings/task.h"
#include "bindings/vim_value.h"
#include "engine/esxcli.h"

#define SESSION "lunalift.vsphere"
#define CALL "lunalift.vsphere.call"

/* ---- the login ---- */

struct session {
    struct login *login; /* NULL once closed */
};

struct login *login_ref(struct login *login)
{
    login->refs++;
    return login;
}

void login_unref(struct login *login)
{
    if (!login || --login->refs > 0)
        return;
    lift_vsphere_free(login->vs);
    lift_free(login);
}

struct login *login_check(lua_State *L, int idx)
{
    struct session *session = luaL_checkudata(L, idx, SESSION);
    luaL_argcheck(L, session->login != NULL, idx, "the session is closed");
    return session->login;
}

static int session_close(lua_State *L)
{
    struct session *session = luaL_checkudata(L, 1, SESSION);
    login_unref(session->login);
    session->login = NULL;
    return 0;
}

static uint32_t timeout_ms(lua_State *L, int idx)
{
    return (uint32_t)(opt_number(L, idx, "timeout_s", 0, 0, 86400) * 1000);
}

static int vsphere_open(lua_State *L)
{
    static const char *const names[] = {"host", "username", "password", "tls", "timeout_s", NULL};
    opt_known(L, 1, names);
    struct lift_error err = {0};
    struct lift_vsphere_spec spec = {
        .host = opt_string(L, 1, "host", NULL),
        .username = opt_string(L, 1, "username", NULL),
        .password = opt_secret(L, 1, "password"),
        .timeout_ms = timeout_ms(L, 1),
    };
    luaL_argcheck(L, spec.host && spec.username && spec.password, 1,
                  "host, username and password are needed");
    opt_trust(L, 1, "tls", &spec.trust);
    const struct context *context = context_of(L);
    struct session *session = lua_newuserdatauv(L, sizeof *session, 0);
    session->login = NULL;
    luaL_setmetatable(L, SESSION);
    struct lift_vsphere *vs = lift_vsphere_new(context->pool, context->log, &spec, &err);
    if (!vs) {
        fail_table(L, &err);
        return lua_error(L);
    }
    session->login = lift_calloc(1, sizeof *session->login);
    *session->login = (struct login){.refs = 1, .vs = vs};
    return 1;
}

static int session_requests(lua_State *L)
{
    lua_pushinteger(L, lift_vsphere_requests(login_check(L, 1)->vs));
    return 1;
}

/* ---- one wait ---- */

struct call {
    struct task_op op;
    struct login *login;
    struct lift_vsphere_call *call; /* one of the two */
    struct lift_esxcli *esxcli;
    struct lift_buf body; /* wiped */
    struct lift_xml_doc *doc;
    const struct lift_xml_node *result;
    struct lift_buf content; /* of a file */
    char fault[64];
    struct lift_error err;
    bool failed;
    bool put;            /* a file was written */
    uint32_t generation; /* of the login that the first page came from */
    bool more;           /* a further page is asked for */
    bool again;          /* all pages were asked for a second time */
};

static void call_end(struct call *c)
{
    lift_vsphere_call_free(c->call);
    c->call = NULL;
    lift_esxcli_free(c->esxcli);
    c->esxcli = NULL;
    lift_xml_doc_free(c->doc);
    c->doc = NULL;
    lift_buf_free(&c->content);
}

static int call_close(lua_State *L)
{
    struct call *c = luaL_checkudata(L, 1, CALL);
    call_end(c);
    lift_buf_wipe(&c->body);
    login_unref(c->login);
    c->login = NULL;
    return 0;
}

static struct call *call_new(lua_State *L)
{
    struct login *login = login_check(L, 1);
    struct call *c = task_op(L, CALL, sizeof *c);
    c->login = login_ref(login);
    return c;
}

static void on_end(void *payload, struct lift_vsphere_end *end)
{
    struct call *c = payload;
    c->failed = end->err != NULL;
    if (end->err)
        c->err = *end->err;
    memcpy(c->fault, end->fault.type, sizeof c->fault);
    c->result = end->result;
    c->doc = end->doc;
    end->doc = NULL;
    task_op_wake(c);
}

static void on_content(void *payload, struct lift_buf *content, const struct lift_error *err)
{
    struct call *c = payload;
    c->failed = err != NULL;
    if (err)
        c->err = *err;
    if (content) {
        c->content = *content;
        *content = (struct lift_buf){0};
    }
    task_op_wake(c);
}

static int call_failed(lua_State *L, const struct call *c)
{
    fail_push(L, &c->err);
    if (c->fault[0]) {
        lua_pushstring(L, c->fault);
        lua_setfield(L, -2, "fault");
    }
    return 2;
}

/* ---- login, logout, call ---- */

static int login_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct call *c = task_done(L, slot);
    if (c->failed)
        return call_failed(L, c);
    vim_push_fields(L, c->result, false);
    call_end(c);
    return 1;
}

static int session_login(lua_State *L)
{
    struct call *c = call_new(L);
    c->call = lift_vsphere_login(c->login->vs, on_end, c, &c->err);
    return c->call ? task_park(L, c, login_done) : call_failed(L, c);
}

static int logout_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct call *c = task_done(L, slot);
    if (c->failed)
        return call_failed(L, c);
    call_end(c);
    lua_pushboolean(L, 1);
    return 1;
}

static int session_logout(lua_State *L)
{
    struct call *c = call_new(L);
    c->call = lift_vsphere_logout(c->login->vs, on_end, c, &c->err);
    return c->call ? task_park(L, c, logout_done) : call_failed(L, c);
}

static int method_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct call *c = task_done(L, slot);
    if (c->failed)
        return call_failed(L, c);
    const struct lift_xml_node *value = lift_xml_child(c->result, "returnval");
    lua_pushnil(L);
    if (value && !lift_xml_next(value, "returnval")) {
        vim_push(L, value);
    } else if (value) {
        lua_newtable(L);
        for (lua_Integer i = 1; value; i++, value = lift_xml_next(value, "returnval")) {
            vim_push(L, value);
            lua_rawseti(L, -2, i);
        }
    }
    call_end(c);
    return 1;
}

/* A moref, or the name of a property of the service content. */
static void check_self(lua_State *L, int idx, struct lift_moref *self)
{
    size_t length = 0;
    if (lua_type(L, idx) != LUA_TSTRING) {
        vim_check_moref(L, idx, self);
        return;
    }
    const char *name = lua_tolstring(L, idx, &length);
    luaL_argcheck(L, length > 0 && length < sizeof self->id, idx, "no such manager");
    memcpy(self->id, name, length + 1);
}

static int session_call(lua_State *L)
{
    static const char *const names[] = {"effect", "timeout_s", NULL};
    lua_settop(L, 5);
    struct lift_vsphere_request request = {.method = luaL_checkstring(L, 2)};
    check_self(L, 3, &request.self);
    opt_known(L, 5, names);
    request.effect = opt_boolean(L, 5, "effect", false);
    request.timeout_ms = timeout_ms(L, 5);
    struct call *c = call_new(L);
    if (!vim_write_pairs(L, 4, &c->body, &c->err))
        return call_failed(L, c);
    request.body = c->body.data;
    request.body_length = c->body.length;
    c->call = lift_vsphere_call(c->login->vs, &request, on_end, c, &c->err);
    lift_buf_wipe(&c->body);
    return c->call ? task_park(L, c, method_done) : call_failed(L, c);
}

static int vsphere_list(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_istable(L, 1) && lua_rawlen(L, 1) > 0)
        return 1;
    bool empty = lua_isnil(L, 1);
    if (lua_istable(L, 1)) {
        lua_pushnil(L);
        empty = lua_next(L, 1) == 0;
        lua_settop(L, 1);
    }
    lua_newtable(L);
    if (!empty) {
        lua_pushvalue(L, 1);
        lua_rawseti(L, 2, 1);
    }
    return 1;
}

/* ---- properties ---- */

enum { FOUND = 3 }; /* where retrieve keeps the list that outlives its waits */

static int retrieve_done(lua_State *L, int status, lua_KContext slot);

static bool ask_page(struct call *c, const char *token)
{
    struct lift_buf body = {0};
    struct lift_vsphere_request request = {.method = "RetrievePropertiesEx",
                                           .self = {.id = "propertyCollector"},
                                           .body = c->body.data,
                                           .body_length = c->body.length};
    lift_xml_doc_free(c->doc); /* of a fault, if any */
    c->doc = NULL;
    c->failed = false;
    c->more = token != NULL;
    bool good = true;
    if (token) {
        request.method = "ContinueRetrievePropertiesEx";
        good = lift_soap_text(&body, "token", NULL, token, strlen(token), &c->err);
        request.body = body.data;
        request.body_length = body.length;
    }
    struct lift_vsphere_call *old = c->call;
    c->call = good ? lift_vsphere_call(c->login->vs, &request, on_end, c, &c->err) : NULL;
    lift_vsphere_call_free(old);
    lift_buf_free(&body);
    return c->call != NULL;
}

/* A page that was lost with the login: what came before is void, and all is asked again, once. */
static bool start_over(lua_State *L, struct call *c)
{
    if (!c->more || c->again || lift_vsphere_generation(c->login->vs) == c->generation)
        return false;
    c->again = true;
    lua_newtable(L);
    lua_replace(L, FOUND);
    return ask_page(c, NULL);
}

static int retrieve_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct call *c = task_done(L, slot);
    if (c->failed)
        return start_over(L, c) ? task_park(L, c, retrieve_done) : call_failed(L, c);
    if (!c->more)
        c->generation = lift_vsphere_generation(c->login->vs);
    const struct lift_xml_node *page = lift_xml_child(c->result, "returnval");
    vim_push_objects(L, page, FOUND);
    struct lift_xml_doc *doc = c->doc; /* holds the token */
    const struct lift_xml_node *token = page ? lift_xml_child(page, "token") : NULL;
    c->doc = NULL;
    bool asked = token && ask_page(c, lift_xml_text(token));
    lift_xml_doc_free(doc);
    if (asked)
        return task_park(L, c, retrieve_done);
    if (token)
        return call_failed(L, c);
    call_end(c);
    lua_settop(L, FOUND);
    return 1;
}

static int session_retrieve(lua_State *L)
{
    static const char *const names[] = {"objects", "props", "select", NULL};
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    opt_known(L, 2, names);
    lua_newtable(L);
    struct call *c = call_new(L);
    if (!vim_write_retrieve(L, 2, &c->body, &c->err) || !ask_page(c, NULL))
        return call_failed(L, c);
    return task_park(L, c, retrieve_done);
}

/* ---- esxcli ---- */

static int esxcli_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct call *c = task_done(L, slot);
    if (c->failed)
        return call_failed(L, c);
    vim_push_rows(L, c->result);
    call_end(c);
    return 1;
}

/* The names of the arguments at idx in order, so that the same call is the same text.  Pushes a
 * list. */
static lua_Integer push_sorted_names(lua_State *L, int idx)
{
    lua_Integer count = 0;
    lua_newtable(L);
    int names = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, idx, "arguments are named");
        lua_Integer at = ++count;
        for (; at > 1; at--) { /* a handful at most: insertion will do */
            lua_rawgeti(L, names, at - 1);
            if (strcmp(lua_tostring(L, -1), lua_tostring(L, -3)) < 0)
                break;
            lua_rawseti(L, names, at);
        }
        lua_settop(L, names + 2);
        lua_pushvalue(L, names + 1);
        lua_rawseti(L, names, at);
    }
    return count;
}

/* Append name and value (on top, popped) to the list at `list`, as text without zero bytes. */
static void add_argument(lua_State *L, int list, const char *name)
{
    lua_Integer at = (lua_Integer)lua_rawlen(L, list);
    luaL_gsub(L, name, "-", "");
    lua_rawseti(L, list, at + 1);
    size_t length = 0;
    if (lua_isboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushliteral(L, "true");
    }
    const char *text = lua_tolstring(L, -1, &length);
    if (!text || strlen(text) != length)
        luaL_error(L, "esxcli argument '%s' is no text", name);
    lua_rawseti(L, list, at + 2);
}

/* Push a list of SOAP name, value, name, value, … of the arguments at idx. */
static void push_arguments(lua_State *L, int idx)
{
    lua_newtable(L);
    int list = lua_gettop(L);
    if (lua_isnoneornil(L, idx))
        return;
    luaL_checktype(L, idx, LUA_TTABLE);
    lua_Integer count = push_sorted_names(L, idx);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, list + 1, i);
        const char *name = lua_tostring(L, -1);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, idx) == LUA_TTABLE) {
            for (lua_Integer k = 1; lua_rawgeti(L, list + 3, k) != LUA_TNIL; k++)
                add_argument(L, list, name);
        } else if (!lua_isboolean(L, -1) || lua_toboolean(L, -1)) {
            add_argument(L, list, name);
        }
        lua_settop(L, list + 1);
    }
    lua_settop(L, list);
}

static int session_esxcli(lua_State *L)
{
    static const char *const names[] = {"effect", "timeout_s", NULL};
    lua_settop(L, 5);
    struct lift_esxcli_request request = {.words = luaL_checkstring(L, 3)};
    vim_check_moref(L, 2, &request.host);
    opt_known(L, 5, names);
    request.effect = opt_boolean(L, 5, "effect", false);
    request.timeout_ms = timeout_ms(L, 5);
    push_arguments(L, 4);
    size_t count = (size_t)lua_rawlen(L, 6);
    const char **args = lua_newuserdatauv(L, (count + 1) * sizeof *args, 0);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 6, (lua_Integer)i + 1);
        args[i] = lua_tostring(L, -1); /* the list holds it */
        lua_pop(L, 1);
    }
    args[count] = NULL;
    request.args = args;
    struct call *c = call_new(L);
    c->esxcli = lift_esxcli_start(c->login->vs, &request, on_end, c, &c->err);
    return c->esxcli ? task_park(L, c, esxcli_done) : call_failed(L, c);
}

/* ---- datastore files ---- */

static int file_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct call *c = task_done(L, slot);
    if (c->failed)
        return call_failed(L, c);
    if (c->put)
        lua_pushboolean(L, 1);
    else
        lua_pushlstring(L, c->content.data ? c->content.data : "", c->content.length);
    call_end(c);
    return 1;
}

static int start_file(lua_State *L, bool put)
{
    static const char *const get_names[] = {"dc", "datastore", "path", "max", NULL};
    static const char *const put_names[] = {"dc", "datastore", "path", "content", NULL};
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    opt_known(L, 2, put ? put_names : get_names);
    struct lift_datastore_file file = {
        .dc = opt_string(L, 2, "dc", ""),
        .datastore = opt_string(L, 2, "datastore", NULL),
        .path = opt_string(L, 2, "path", NULL),
    };
    if (put)
        file.bytes = opt_lstring(L, 2, "content", &file.length);
    else
        file.max = (size_t)opt_integer(L, 2, "max", 0, 0, LIFT_BUF_MAX);
    luaL_argcheck(L, file.datastore && file.path && (!put || file.bytes), 2,
                  put ? "datastore, path and content are needed" : "datastore and path are needed");
    struct call *c = call_new(L);
    c->put = put;
    c->call = lift_vsphere_file(c->login->vs, &file, on_content, c, &c->err);
    return c->call ? task_park(L, c, file_done) : call_failed(L, c);
}

static int session_get_file(lua_State *L)
{
    return start_file(L, false);
}

static int session_put_file(lua_State *L)
{
    return start_file(L, true);
}

int open_vsphere(lua_State *L)
{
    static const luaL_Reg methods[] = {{"login", session_login},
                                       {"logout", session_logout},
                                       {"call", session_call},
                                       {"retrieve", session_retrieve},
                                       {"esxcli", session_esxcli},
                                       {"get_file", session_get_file},
                                       {"put_file", session_put_file},
                                       {"requests", session_requests},
                                       {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"open", vsphere_open}, {"list", vsphere_list}, {NULL, NULL}};
    type_new(L, SESSION, methods, session_close);
    type_new(L, CALL, NULL, call_close);
    luaL_newlib(L, functions);
    return 1;
}
