/* lunalift.server: each request in a task of its own. */
#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/http_reply.h"
#include "bindings/modules.h"
#include "bindings/state.h"
#include "bindings/task.h"
#include "engine/server.h"

#define SERVER "lunalift.server.server"
#define EXCHANGE "lunalift.server.exchange"

/* Pinned in the registry, by its address, as long as it listens. */
struct server {
    struct lift_server *server; /* NULL once closed */
    lua_State *L;               /* the main thread: what a callback may start tasks from */
    struct exchange *first;     /* under way */
    uint16_t port;
};
enum { HANDLER = 1 }; /* its user value */

/* A request on its way to an answer. */
struct exchange {
    struct lift_request *request; /* NULL once answered */
    bool begun;                   /* its answer comes in pieces */
    struct server *server;        /* NULL once that was closed */
    struct exchange *next;
    struct task *task; /* NULL once ended */
};

/* ---- one exchange ---- */

static void unlink_exchange(struct exchange *e)
{
    if (!e->server)
        return;
    for (struct exchange **at = &e->server->first; *at; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            break;
        }
    e->server = NULL;
}

/* Whatever became of the handler, the client hears of it: out of memory, no handler survives. */
static void settle(struct exchange *e)
{
    unlink_exchange(e);
    if (e->request && e->begun)
        lift_request_drop(e->request); /* the missing end says that it is not whole */
    else if (e->request)
        lift_request_reply(e->request, 500, NULL, NULL, 0);
    e->request = NULL;
    e->task = NULL;
}

static int exchange_close(lua_State *L)
{
    struct exchange *e = luaL_checkudata(L, 1, EXCHANGE);
    if (e->task)
        task_forget(e->task);
    settle(e);
    return 0;
}

static void on_end(void *payload, lua_State *co, bool ok, int results)
{
    (void)co, (void)ok, (void)results;
    settle(payload);
}

static int hex_value(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

/* Push text[0..length) with %XX and + decoded. */
static void push_decoded(lua_State *L, const char *text, size_t length)
{
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    for (const char *end = text + length; text < end; text++) {
        if (*text == '%' && end - text > 2 && hex_value(text[1]) >= 0 && hex_value(text[2]) >= 0) {
            luaL_addchar(&out, (char)(hex_value(text[1]) * 16 + hex_value(text[2])));
            text += 2;
        } else {
            luaL_addchar(&out, *text == '+' ? ' ' : *text);
        }
    }
    luaL_pushresult(&out);
}

static void push_args(lua_State *L, const char *query)
{
    lua_newtable(L);
    while (*query) {
        size_t length = strcspn(query, "&");
        const char *equals = memchr(query, '=', length);
        size_t name = equals ? (size_t)(equals - query) : length;
        if (length > 0) {
            push_decoded(L, query, name);
            push_decoded(L, query + name + (equals != NULL), length - name - (equals != NULL));
            lua_rawset(L, -3);
        }
        query += length + (query[length] == '&');
    }
}

static void push_request(lua_State *L, const struct lift_request *request)
{
    const char *target = lift_request_target(request), *query = strchr(target, '?');
    const struct lift_buf *body = lift_request_body(request);
    size_t path_length = query ? (size_t)(query - target) : strlen(target);
    lua_createtable(L, 0, 9);
    lua_pushstring(L, lift_request_method(request));
    lua_setfield(L, -2, "method");
    lua_pushlstring(L, target, path_length);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, query ? query + 1 : "");
    lua_setfield(L, -2, "query");
    push_args(L, query ? query + 1 : "");
    lua_setfield(L, -2, "args");
    http_headers_push(L, lift_request_headers(request));
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, body->data, body->length);
    lua_setfield(L, -2, "body");
    lua_pushstring(L, lift_request_peer(request));
    lua_setfield(L, -2, "peer");
    lua_pushinteger(L, lift_request_peer_port(request));
    lua_setfield(L, -2, "peer_port");
    lua_pushboolean(L, lift_request_resumed(request));
    lua_setfield(L, -2, "resumed");
}

/* Push an array name, value, …, NULL of the answer's headers, which live as long as the table. */
static const char **push_pairs(lua_State *L, int answer)
{
    size_t count = 0;
    const char **pairs;
    if (lua_getfield(L, answer, "headers") == LUA_TNIL)
        lua_newtable(L);
    luaL_checktype(L, -1, LUA_TTABLE);
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1))
        count++;
    pairs = lua_newuserdatauv(L, (2 * count + 1) * sizeof *pairs, 0);
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "the headers of an answer are names and strings");
        pairs[n++] = lua_tostring(L, -2);
        pairs[n++] = lua_tostring(L, -1);
    }
    pairs[n] = NULL;
    return pairs;
}

/* send(text): whether the client is there still. */
static int send_piece(lua_State *L)
{
    const struct exchange *e = lua_touserdata(L, lua_upvalueindex(1));
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length);
    lua_pushboolean(L, e->request && lift_request_send(e->request, text, length));
    return 1;
}

static int streamed(lua_State *L, int status, lua_KContext context)
{
    struct exchange *e = lua_touserdata(L, 2);
    (void)status, (void)context;
    struct lift_request *request = e->request;
    e->request = NULL;
    if (request)
        lift_request_end(request);
    return 0;
}

/* The exchange at 2, the function on top. */
static int stream(lua_State *L, int code, const char *const *pairs)
{
    struct exchange *e = lua_touserdata(L, 2);
    luaL_checktype(L, -1, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, send_piece, 1);
    e->begun = true;
    lift_request_begin(e->request, code, pairs);
    lua_callk(L, 1, 0, 0, streamed);
    return streamed(L, LUA_OK, 0);
}

/* The handler at 1, the exchange at 2, what the handler returned on top. */
static int answer(lua_State *L, int status, lua_KContext context)
{
    static const char *const names[] = {"status", "headers", "body",   "drop",
                                        "reset",  "drip_s",  "stream", NULL};
    struct exchange *e = lua_touserdata(L, 2);
    (void)status, (void)context;
    int table = lua_gettop(L);
    if (lua_isnil(L, table)) {
        lua_newtable(L);
        lua_replace(L, table);
    }
    if (!lua_istable(L, table))
        luaL_error(L, "on_request must return a table or nil: got %s", luaL_typename(L, table));
    opt_known(L, table, names);
    int code = (int)opt_integer(L, table, "status", 200, 200, 599);
    bool drop = opt_boolean(L, table, "drop", false);
    bool reset = opt_boolean(L, table, "reset", false);
    lua_Number drip_s = opt_number(L, table, "drip_s", 0, 0, 3600);
    size_t length = 0;
    const char *body = opt_lstring(L, table, "body", &length);
    const char **pairs = push_pairs(L, table);
    if (lua_getfield(L, table, "stream") != LUA_TNIL)
        return stream(L, code, pairs);
    struct lift_request *request = e->request;
    e->request = NULL;
    if (reset)
        lift_request_reset(request);
    else if (drop)
        lift_request_drop(request);
    else if (drip_s > 0)
        lift_request_drip(request, code, pairs, body ? body : "", body ? length : 0,
                          (uint32_t)(drip_s * 1000));
    else
        lift_request_reply(request, code, pairs, body, body ? length : 0);
    return 0;
}

static int handle(lua_State *L)
{
    const struct exchange *e = lua_touserdata(L, 2);
    lua_pushvalue(L, 1);
    push_request(L, e->request);
    lua_callk(L, 1, 1, 0, answer);
    return answer(L, LUA_OK, 0);
}

static int trace(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

/* The handler at 1, the exchange at 2, and the failure on top if there was one. */
static int served(lua_State *L, int status, lua_KContext context)
{
    const struct exchange *e = lua_touserdata(L, 2);
    bool failed = status != LUA_OK && status != LUA_YIELD;
    (void)context;
    task_check(L); /* who was cancelled need not explain itself */
    if (!failed || !e->request)
        return 0;
    fail_of(L);
    lua_getfield(L, -1, "message");
    lift_logf(context_of(L)->log, LIFT_LOG_ERROR, "%s %s: %s", lift_request_method(e->request),
              lift_request_target(e->request), luaL_tolstring(L, -1, NULL));
    return 0;
}

/* The body of the task: the handler at 1, the exchange at 2. */
static int serve(lua_State *L)
{
    lua_pushcfunction(L, trace);
    lua_pushcfunction(L, handle);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    return served(L, lua_pcallk(L, 2, 0, 3, 0, served), 0);
}

/* ---- the server ---- */

struct arrival {
    struct server *server;
    struct lift_request *request; /* NULL once an exchange owns it */
};

static int start_exchange(lua_State *L) /* struct arrival at 1 */
{
    struct arrival *arrival = lua_touserdata(L, 1);
    struct server *server = arrival->server;
    lua_pushcfunction(L, serve);
    lua_rawgetp(L, LUA_REGISTRYINDEX, server);
    lua_getiuservalue(L, -1, HANDLER);
    lua_remove(L, -2);
    struct exchange *e = lua_newuserdatauv(L, sizeof *e, 0);
    *e = (struct exchange){0};
    luaL_setmetatable(L, EXCHANGE);
    e->request = arrival->request;
    arrival->request = NULL;
    e->task = task_start(L, 2, on_end, e);
    e->server = server;
    e->next = server->first;
    server->first = e;
    return 0;
}

/* From the loop, on the main thread's clean stack: these three pushes cannot raise, and what may is
 * called protected. */
static void on_request(void *payload, struct lift_request *request)
{
    struct arrival arrival = {.server = payload, .request = request};
    lua_State *L = arrival.server->L;
    lua_pushcfunction(L, start_exchange);
    lua_pushlightuserdata(L, &arrival);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
        return;
    lift_logf(context_of(L)->log, LIFT_LOG_ERROR, "a request finds no task: %s",
              lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "unknown");
    lua_pop(L, 1);
    if (arrival.request)
        lift_request_reply(arrival.request, 503, NULL, NULL, 0);
}

static int server_close(lua_State *L)
{
    struct server *server = luaL_checkudata(L, 1, SERVER);
    if (!server->server)
        return 0;
    lift_server_free(server->server);
    server->server = NULL;
    while (server->first) { /* nobody waits for what they do */
        struct exchange *e = server->first;
        unlink_exchange(e);
        task_cancel(e->task, "the server was closed");
    }
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, server);
    return 0;
}

/* server.port, or a method. */
static int server_index(lua_State *L)
{
    const struct server *server = luaL_checkudata(L, 1, SERVER);
    const char *key = luaL_checkstring(L, 2);
    if (strcmp(key, "port") == 0)
        lua_pushinteger(L, server->port);
    else
        lua_getfield(L, lua_upvalueindex(1), key);
    return 1;
}

static void read_spec(lua_State *L, int options, struct lift_server_spec *spec)
{
    const struct lift_secret *key = NULL;
    spec->host = opt_string(L, options, "host", "127.0.0.1");
    spec->port = (uint16_t)opt_integer(L, options, "port", 0, 0, 65535);
    spec->max_body = (size_t)opt_integer(L, options, "max_body", 0, 0, LIFT_BUF_MAX);
    spec->cert_pem = opt_string(L, options, "cert", NULL);
    lua_getfield(L, options, "key");
    key = secret_test(L, -1);
    lua_pop(L, 1);
    spec->key_pem = key ? lift_secret_bytes(key) : opt_string(L, options, "key", NULL);
    if (!spec->cert_pem != !spec->key_pem)
        luaL_error(L, "options 'cert' and 'key' go together");
}

static int server_listen(lua_State *L)
{
    static const char *const names[] = {"host",     "port",       "cert", "key",
                                        "max_body", "on_request", NULL};
    struct lift_server_spec spec = {.on_request = on_request};
    struct lift_error err = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    opt_known(L, 1, names);
    read_spec(L, 1, &spec);
    struct server *server = lua_newuserdatauv(L, sizeof *server, 1);
    *server = (struct server){.L = state_lua(task_state(task_of(L)))};
    luaL_setmetatable(L, SERVER);
    if (lua_getfield(L, 1, "on_request") != LUA_TFUNCTION)
        luaL_error(L, "option 'on_request' must be a function: got %s", luaL_typename(L, -1));
    lua_setiuservalue(L, 2, HANDLER);
    lua_pushvalue(L, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, server);
    spec.payload = server;
    server->server = lift_server_new(task_loop(task_of(L)), &spec, &err);
    if (!server->server) {
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, server);
        return fail_push(L, &err);
    }
    server->port = lift_server_port(server->server);
    return 1;
}

int open_server(lua_State *L)
{
    static const luaL_Reg methods[] = {{"close", server_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"listen", server_listen}, {NULL, NULL}};
    type_new(L, SERVER, methods, server_close);
    type_new(L, EXCHANGE, NULL, exchange_close);
    luaL_getmetatable(L, SERVER);
    lua_getfield(L, -1, "__index");
    lua_pushcclosure(L, server_index, 1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
