/* lunalift.certificate: for the metrics listener and the lab. */
#include <lauxlib.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "engine/tls.h"

#define PAPERS "lunalift.certificate.papers"
#define DAYS 30
#define DAYS_MAX 36500
#define NAMES_MAX 64

/* Both papers while they are being made, so that an error in between finds them. */
struct papers {
    struct lift_buf cert, key;
    struct lift_secret *secret;
};

static int papers_close(lua_State *L)
{
    struct papers *p = luaL_checkudata(L, 1, PAPERS);
    lift_buf_free(&p->cert);
    lift_buf_wipe(&p->key);
    lift_secret_free(p->secret);
    p->secret = NULL;
    return 0;
}

static struct papers *push_papers(lua_State *L)
{
    struct papers *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (struct papers){0};
    luaL_setmetatable(L, PAPERS);
    return p;
}

/* Push { cert, key }. */
static void push_result(lua_State *L, struct papers *p)
{
    p->secret = lift_secret_new(p->key.data, p->key.length);
    lua_createtable(L, 0, 3);
    lua_pushlstring(L, p->cert.data, p->cert.length);
    lua_setfield(L, -2, "cert");
    secret_push(L, p->secret);
    lua_setfield(L, -2, "key");
}

static const char *need_cn(lua_State *L)
{
    const char *cn = opt_string(L, 1, "cn", NULL);
    luaL_argcheck(L, cn && *cn, 1, "option 'cn' is needed");
    return cn;
}

static int certificate_ca(lua_State *L)
{
    static const char *const options[] = {"cn", "days", NULL};
    struct lift_error err = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    opt_known(L, 1, options);
    const char *cn = need_cn(L);
    int days = (int)opt_integer(L, 1, "days", DAYS, 1, DAYS_MAX);
    struct papers *p = push_papers(L);
    if (!lift_tls_make_ca(cn, days, &p->cert, &p->key, &err))
        return fail_push(L, &err);
    push_result(L, p);
    return 1;
}

/* The strings live in the table of the options. */
static void read_names(lua_State *L, const char *names[NAMES_MAX + 1])
{
    lua_getfield(L, 1, "names");
    luaL_argcheck(L, lua_istable(L, -1), 1, "option 'names' must be a list");
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    luaL_argcheck(L, count <= NAMES_MAX, 1, "too many names");
    for (lua_Integer i = 0; i < count; i++) {
        luaL_argcheck(L, lua_rawgeti(L, -1, i + 1) == LUA_TSTRING, 1,
                      "option 'names' holds strings");
        names[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    names[count] = NULL;
    lua_pop(L, 1);
}

static int certificate_leaf(lua_State *L)
{
    static const char *const options[] = {"cn", "names", "days", "ca", NULL};
    const char *names[NAMES_MAX + 1], *ca_cert = NULL, *ca_key = NULL;
    struct lift_error err = {0};
    char sha256[96];
    luaL_checktype(L, 1, LUA_TTABLE);
    opt_known(L, 1, options);
    const char *cn = need_cn(L);
    int days = (int)opt_integer(L, 1, "days", DAYS, 1, DAYS_MAX);
    read_names(L, names);
    if (lua_getfield(L, 1, "ca") != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TTABLE);
        ca_cert = opt_string(L, -1, "cert", NULL);
        const struct lift_secret *key = opt_secret(L, -1, "key");
        luaL_argcheck(L, ca_cert && key, 1, "option 'ca' needs cert and key");
        ca_key = lift_secret_bytes(key);
    }
    struct papers *p = push_papers(L);
    if (!lift_tls_make_leaf(cn, names, days, ca_cert, ca_key, &p->cert, &p->key, &err) ||
        !lift_tls_sha256(p->cert.data, sha256, &err))
        return fail_push(L, &err);
    push_result(L, p);
    lua_pushstring(L, sha256);
    lua_setfield(L, -2, "sha256");
    return 1;
}

int open_certificate(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"ca", certificate_ca}, {"leaf", certificate_leaf}, {NULL, NULL}};
    type_new(L, PAPERS, NULL, papers_close);
    luaL_newlib(L, functions);
    return 1;
}
