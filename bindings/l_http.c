/* lunalift.http: a client per peer, a request per call. */
#include <ctype.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bindings/check.h"
#include "bindings/http_reply.h"
#include "bindings/modules.h"
#include "bindings/state.h"
#include "bindings/task.h"
#include "engine/http.h"
#include "engine/url.h"

#define CLIENT "lunalift.http.client"
#define REQUEST "lunalift.http.request"
#define TIMEOUT_MAX_S 86400
#define HEADERS_MAX 64

/* A client is its options: a private copy of the table, its user value. */
enum { OPTIONS = 1 };

/* One request, on the stack of the task that waits for it. */
struct request {
    struct task_op op;
    struct lift_http *http; /* NULL once closed */
    struct lift_buf url;    /* until the start; wiped */
    struct lift_buf body;   /* likewise */
    bool answered;
    struct http_reply reply;
    struct lift_error err;
};

static int request_close(lua_State *L)
{
    struct request *r = luaL_checkudata(L, 1, REQUEST);
    lift_http_free(r->http);
    r->http = NULL;
    lift_buf_wipe(&r->url);
    lift_buf_wipe(&r->body);
    lift_buf_wipe(&r->reply.headers);
    lift_buf_wipe(&r->reply.body);
    return 0;
}

/* ---- what is asked ---- */

static void add(lua_State *L, struct lift_buf *out, const char *text, size_t length, bool encode)
{
    if (encode ? !lift_http_encode(out, text, length, NULL) : !lift_buf_add(out, text, length))
        luaL_error(L, "the request grows beyond its ceiling");
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Push an array of the keys of the table at idx, sorted: its strings live as long as the table. */
static const char **push_keys(lua_State *L, int idx, const char *what, size_t *count)
{
    size_t room = 0, n = 0;
    for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1))
        room++;
    const char **keys = lua_newuserdatauv(L, (room + 1) * sizeof *keys, 0);
    for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "option '%s' must be a table with names as keys", what);
        keys[n++] = lua_tostring(L, -2);
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    *count = n;
    return keys;
}

/* One name=value of a query or a form, the value on top. */
static void add_pair(lua_State *L, struct lift_buf *out, const char *key, const char *what)
{
    size_t length = 0;
    const char *text = NULL;
    const struct lift_secret *secret = secret_test(L, -1);
    if (secret)
        text = lift_secret_bytes(secret), length = lift_secret_length(secret);
    else if (lua_isboolean(L, -1))
        text = lua_toboolean(L, -1) ? "true" : "false", length = strlen(text);
    else if (lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER)
        text = luaL_tolstring(L, -1, &length), lua_remove(L, -2);
    else
        luaL_error(L, "option '%s': '%s' cannot be a %s", what, key, luaL_typename(L, -1));
    if (out->length > 0)
        add(L, out, "&", 1, false);
    add(L, out, key, strlen(key), true);
    add(L, out, "=", 1, false);
    add(L, out, text, length, true);
}

/* Append the table `what` of the options as name=value&…, in the order of the names. */
static void add_pairs(lua_State *L, struct lift_buf *out, int options, const char *what)
{
    size_t count;
    lua_getfield(L, options, what);
    int table = lua_gettop(L);
    if (!lua_istable(L, table))
        luaL_error(L, "option '%s' must be a table: got %s", what, luaL_typename(L, table));
    const char **keys = push_keys(L, table, what, &count);
    for (size_t i = 0; i < count; i++) {
        int type = lua_getfield(L, table, keys[i]);
        lua_Integer values = type == LUA_TTABLE ? (lua_Integer)lua_rawlen(L, -1) : 0;
        for (lua_Integer j = 1; j <= values; j++) {
            lua_rawgeti(L, -1, j);
            add_pair(L, out, keys[i], what);
            lua_pop(L, 1);
        }
        if (type != LUA_TTABLE)
            add_pair(L, out, keys[i], what);
        lua_pop(L, 1);
    }
    lua_settop(L, table - 1);
}

static bool has(lua_State *L, int options, const char *name)
{
    if (lua_isnoneornil(L, options))
        return false;
    bool found = lua_getfield(L, options, name) != LUA_TNIL;
    lua_pop(L, 1);
    return found;
}

static void build_url(lua_State *L, struct request *r, int config, int path_idx, int options)
{
    size_t length = 0;
    const char *path = luaL_checklstring(L, path_idx, &length);
    luaL_argcheck(L, strlen(path) == length && (!*path || *path == '/' || *path == '?'), path_idx,
                  "a path begins with /");
    const char *base = opt_string(L, config, "base", NULL);
    add(L, &r->url, base, strlen(base), false);
    add(L, &r->url, path, length, false);
    if (!has(L, options, "query"))
        return;
    struct lift_buf *query = buf_push(L);
    add_pairs(L, query, options, "query");
    if (query->length > 0) {
        add(L, &r->url, strchr(path, '?') ? "&" : "?", 1, false);
        add(L, &r->url, query->data, query->length, false);
    }
    lift_buf_wipe(query);
    lua_pop(L, 1);
}

/* The option `body`, on top. */
static void add_text(lua_State *L, struct lift_buf *out)
{
    size_t length = 0;
    const struct lift_secret *secret = secret_test(L, -1);
    if (!secret && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "option 'body' must be a string or secret: got %s", luaL_typename(L, -1));
    const char *text = secret ? lift_secret_bytes(secret) : lua_tolstring(L, -1, &length);
    add(L, out, text, secret ? lift_secret_length(secret) : length, false);
}

/* Fill r->body; the Content-Type that goes with it, NULL for none. */
static const char *build_body(lua_State *L, struct request *r, int options)
{
    bool json = has(L, options, "json"), form = has(L, options, "form");
    bool body = has(L, options, "body");
    if (json + form + body > 1)
        luaL_error(L, "a request has one body: json, form or body");
    if (form) {
        add(L, &r->body, "", 0, false);
        add_pairs(L, &r->body, options, "form");
        return "application/x-www-form-urlencoded";
    }
    if (!json && !body)
        return NULL;
    lua_getfield(L, options, json ? "json" : "body");
    if (json)
        json_reveal(L, lua_gettop(L), &r->body);
    else
        add_text(L, &r->body);
    lua_pop(L, 1);
    return json ? "application/json" : NULL;
}

struct headers {
    struct lift_http_header list[HEADERS_MAX];
    size_t count;
};

static bool has_header(const struct headers *headers, const char *name)
{
    for (size_t i = 0; i < headers->count; i++)
        if (strcasecmp(headers->list[i].name, name) == 0)
            return true;
    return false;
}

static void add_header(lua_State *L, struct headers *headers, struct lift_http_header header)
{
    if (has_header(headers, header.name))
        return;
    if (headers->count == HEADERS_MAX)
        luaL_error(L, "more than %d headers", HEADERS_MAX);
    headers->list[headers->count++] = header;
}

static void check_header(lua_State *L) /* name and value on top */
{
    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L, "headers have names");
    if (lua_type(L, -1) != LUA_TSTRING && !secret_test(L, -1))
        luaL_error(L, "header '%s' must be a string or secret: got %s", lua_tostring(L, -2),
                   luaL_typename(L, -1));
}

/* Those of the options' table; what is there already stays. */
static void add_headers(lua_State *L, struct headers *headers, int options)
{
    if (!has(L, options, "headers"))
        return;
    lua_getfield(L, options, "headers");
    luaL_checktype(L, -1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        check_header(L);
        struct lift_secret *secret = secret_test(L, -1);
        const char *value = secret ? "" : lua_tostring(L, -1);
        add_header(L, headers, (struct lift_http_header){lua_tostring(L, -2), value, secret});
    }
    lua_pop(L, 1);
}

/* ---- what came ---- */

/* From the loop: no Lua here. */
static void on_done(void *payload, struct lift_http_reply *reply, const struct lift_error *err)
{
    struct request *r = payload;
    if (reply) {
        r->answered = true;
        http_reply_take(&r->reply, reply);
    } else {
        r->err = *err;
        r->err.refused = !err->unanswered;
    }
    task_op_wake(r);
}

static int request_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct request *r = task_done(L, slot);
    int results = r->answered ? http_reply_push(L, &r->reply, r->url.data) : fail_push(L, &r->err);
    lua_pushcfunction(L, request_close); /* what was big goes now, not with the next collection */
    lua_pushvalue(L, (int)slot);
    lua_call(L, 1, 0);
    return results;
}

/* ---- the client ---- */

static bool deny(const struct state *state, const char *host, struct lift_error *err)
{
    struct lift_buf list = {.max = 200};
    for (const char *const *one = state_hosts(state); one && *one; one++)
        if (!lift_buf_addf(&list, "%s%s", list.length ? ", " : "", *one))
            break;
    lift_fail(err, LIFT_DENIED, "%.200s is none of the hosts that this script may reach: %s", host,
              list.data ? list.data : "(none)");
    lift_buf_free(&list);
    return lift_hint(err, "if it is one of the array's addresses, name it in the configuration");
}

/* Whether this state may talk to the URL's host; fills err if not. */
static bool may_reach(const struct state *state, const char *text, struct lift_error *err)
{
    struct lift_url url = {0};
    bool ok = lift_url_parse(text, &url, err);
    if (ok) {
        char *host = url.host + (url.host[0] == '['); /* lists name v6 addresses bare */
        host[strcspn(host, "]")] = '\0';
        ok = state_host_allowed(state, host) || deny(state, host, err);
    }
    lift_url_fini(&url);
    return ok;
}

static void check_ca_file(lua_State *L, const char *path)
{
    if (path && !state_ca_file_allowed(task_state(task_of(L)), path))
        fail_raise(L, LIFT_DENIED, "%s is not the file of CA certificates that was configured",
                   path);
}

static uint32_t to_ms(lua_Number seconds)
{
    return (uint32_t)ceil(seconds * 1000);
}

static void read_config(lua_State *L, int config, struct lift_http_spec *spec)
{
    spec->username = opt_string(L, config, "username", NULL);
    spec->password = opt_secret(L, config, "password");
    spec->timeout_ms = to_ms(opt_number(L, config, "timeout_s", 60, 0.001, TIMEOUT_MAX_S));
    spec->connect_timeout_ms =
        to_ms(opt_number(L, config, "connect_timeout_s", 10, 0.001, TIMEOUT_MAX_S));
    spec->max_body = (size_t)opt_integer(L, config, "max_body", 16 << 20, 1, (lua_Integer)1 << 30);
    opt_trust(L, config, "tls", &spec->trust);
    check_ca_file(L, spec->trust.ca_file);
}

/* Garbage must not stand in a body's way: out in the loop nobody can collect it. */
static struct lift_quota *make_room(lua_State *L, size_t bytes)
{
    struct lift_quota *memory = state_memory(task_state(task_of(L)));
    if (memory->max != 0 && memory->used + bytes > memory->max)
        lua_gc(L, LUA_GCCOLLECT, 0);
    return memory;
}

static const char *const REQUEST_OPTIONS[] = {"query", "headers",   "json",   "body",
                                              "form",  "timeout_s", "effect", NULL};

/* client at 1, path at 2, options at 3. */
static int send_request(lua_State *L, const char *method)
{
    struct lift_http_spec spec = {.method = method};
    luaL_checkudata(L, 1, CLIENT);
    lua_settop(L, 3);
    opt_known(L, 3, REQUEST_OPTIONS);
    lua_getiuservalue(L, 1, OPTIONS);
    const int config = 4;
    read_config(L, config, &spec);
    if (has(L, 3, "timeout_s"))
        spec.timeout_ms = to_ms(opt_number(L, 3, "timeout_s", 60, 0.001, TIMEOUT_MAX_S));
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    spec.effect = opt_boolean(L, 3, "effect", !reads);
    spec.quota = make_room(L, spec.max_body);

    struct request *r = task_op(L, REQUEST, sizeof *r);
    strncpy(r->reply.method, method, sizeof r->reply.method - 1);
    build_url(L, r, config, 2, 3);
    const char *type = build_body(L, r, 3);
    struct headers *headers = lua_newuserdatauv(L, sizeof *headers, 0);
    headers->count = 0;
    add_headers(L, headers, 3);
    add_headers(L, headers, config);
    if (type)
        add_header(L, headers, (struct lift_http_header){"Content-Type", type, NULL});
    spec.url = r->url.data;
    spec.headers = headers->list;
    spec.header_count = headers->count;
    spec.body = r->body.data;
    spec.body_length = r->body.length;
    if (has_header(headers, "Authorization"))
        spec.password = NULL; /* a token that was got with the password takes its place */
    if (may_reach(task_state(r->op.task), spec.url, &r->err))
        r->http = lift_http_start(context_of(L)->pool, &spec, on_done, r, &r->err);
    lift_buf_wipe(&r->body);
    if (r->http)
        return task_park(L, r, request_done);
    r->err.refused = true;
    return fail_push(L, &r->err);
}

static int client_request(lua_State *L)
{
    char method[16];
    const char *given = luaL_checkstring(L, 2);
    luaL_argcheck(L, strlen(given) < sizeof method, 2, "no method");
    strcpy(method, given);
    for (char *c = method; *c; c++)
        luaL_argcheck(L, isupper((unsigned char)*c), 2, "a method is written in capitals");
    lua_remove(L, 2);
    return send_request(L, method);
}

static int client_get(lua_State *L)
{
    return send_request(L, "GET");
}

static int client_post(lua_State *L)
{
    return send_request(L, "POST");
}

static int client_put(lua_State *L)
{
    return send_request(L, "PUT");
}

static int client_patch(lua_State *L)
{
    return send_request(L, "PATCH");
}

static int client_delete(lua_State *L)
{
    return send_request(L, "DELETE");
}

/* Set to nil what is called like the name at `name`, in any case, in the table at `table`. */
static void remove_header(lua_State *L, int table, int name)
{
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        if (strcasecmp(lua_tostring(L, -2), lua_tostring(L, name)) != 0)
            continue;
        lua_pushvalue(L, -2);
        lua_pushnil(L);
        lua_rawset(L, table);
    }
}

static int client_set_headers(lua_State *L)
{
    luaL_checkudata(L, 1, CLIENT);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_getiuservalue(L, 1, OPTIONS);
    lua_getfield(L, 3, "headers");
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        bool removed = lua_isboolean(L, 6) && !lua_toboolean(L, 6);
        if (!removed || lua_type(L, 5) != LUA_TSTRING)
            check_header(L);
        remove_header(L, 4, 5);
        if (removed)
            continue;
        lua_pushvalue(L, 5);
        lua_pushvalue(L, 6);
        lua_rawset(L, 4);
    }
    return 0;
}

/* Push a copy of the table at idx, a level deep; an empty one for nil. */
static void push_copy(lua_State *L, int idx)
{
    idx = lua_absindex(L, idx);
    lua_newtable(L);
    if (!lua_istable(L, idx))
        return;
    for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -5);
    }
}

static void copy_field(lua_State *L, int idx, const char *name)
{
    lua_getfield(L, idx, name);
    push_copy(L, -1);
    lua_setfield(L, idx, name);
    lua_pop(L, 1);
}

/* "host" becomes "https://host", and a slash at the end goes: paths bring theirs. */
static void set_base(lua_State *L, int config)
{
    const char *base = opt_string(L, config, "base", NULL);
    if (!base || !*base)
        luaL_error(L, "option 'base' is needed");
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    if (strpbrk(base, "?#"))
        luaL_error(L, "option 'base' has no query");
    lua_pushstring(L, strstr(base, "://") ? "" : "https://");
    lua_pushlstring(L, base, length);
    lua_concat(L, 2);
    lua_setfield(L, config, "base");
}

static int http_client(lua_State *L)
{
    static const char *const names[] = {"base", "username",  "password", "headers",
                                        "tls",  "timeout_s", "max_body", "connect_timeout_s",
                                        NULL};
    struct lift_http_spec checked = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    opt_known(L, 1, names);
    lua_newuserdatauv(L, 0, 1);
    luaL_setmetatable(L, CLIENT);
    push_copy(L, 1);
    read_config(L, 3, &checked);
    struct headers *headers = lua_newuserdatauv(L, sizeof *headers, 0);
    headers->count = 0;
    add_headers(L, headers, 3);
    lua_pop(L, 1);
    copy_field(L, 3, "headers");
    copy_field(L, 3, "tls");
    set_base(L, 3);
    lua_setiuservalue(L, 2, OPTIONS);
    return 1;
}

int open_http(lua_State *L)
{
    static const luaL_Reg methods[] = {{"request", client_request},
                                       {"get", client_get},
                                       {"post", client_post},
                                       {"put", client_put},
                                       {"patch", client_patch},
                                       {"delete", client_delete},
                                       {"set_headers", client_set_headers},
                                       {NULL, NULL}};
    static const luaL_Reg functions[] = {{"client", http_client}, {NULL, NULL}};
    type_new(L, CLIENT, methods, NULL);
    type_new(L, REQUEST, NULL, request_close);
    luaL_newlib(L, functions);
    return 1;
}
