/* lunalift.secret: values that print as *** and are wiped. */
#include <lauxlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "engine/base64.h"

#define LENGTH_MAX ((size_t)1 << 20)

static const char METATABLE = 0; /* registry key: the type's metatable */

struct handle {
    struct lift_secret *secret; /* a reference of our own; NULL once closed */
};

static int handle_close(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, SECRET_TYPE);
    lift_secret_free(handle->secret);
    handle->secret = NULL;
    return 0;
}

/* As large as what it stands for (the bytes, and the forms to look for in texts), so that the
 * state's ceiling counts secrets too. */
static struct handle *handle_new(lua_State *L, size_t length)
{
    struct handle *handle = lua_newuserdatauv(L, sizeof *handle + 5 * length, 0);
    handle->secret = NULL;
    luaL_setmetatable(L, SECRET_TYPE);
    return handle;
}

struct lift_secret *secret_test(lua_State *L, int idx)
{
    struct handle *handle = luaL_testudata(L, idx, SECRET_TYPE);
    return handle != NULL ? handle->secret : NULL;
}

/* luaL_testudata would intern the type's name, which allocates: the metatable's address does not.
 */
struct lift_secret *secret_peek(lua_State *L, int idx)
{
    if (lua_type(L, idx) != LUA_TUSERDATA || !lua_checkstack(L, 2) || !lua_getmetatable(L, idx))
        return NULL;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &METATABLE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same ? ((struct handle *)lua_touserdata(L, idx))->secret : NULL;
}

struct lift_secret *secret_check(lua_State *L, int idx)
{
    struct lift_secret *secret = secret_test(L, idx);
    if (secret == NULL)
        luaL_typeerror(L, idx, "secret");
    return secret;
}

void secret_push(lua_State *L, struct lift_secret *secret)
{
    handle_new(L, 0)->secret = lift_secret_ref(secret);
}

static int secret_new(lua_State *L)
{
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length);
    luaL_argcheck(L, length <= LENGTH_MAX, 1, "a secret may have 1 MiB");
    handle_new(L, length)->secret = lift_secret_new(text, length);
    return 1;
}

static int secret_is(lua_State *L)
{
    lua_pushboolean(L, secret_test(L, 1) != NULL);
    return 1;
}

static int secret_is_empty(lua_State *L)
{
    lua_pushboolean(L, lift_secret_length(secret_check(L, 1)) == 0);
    return 1;
}

static int secret_tostring(lua_State *L)
{
    lua_pushliteral(L, "***");
    return 1;
}

/* Concatenation hides the whole text: a secret in the middle of a message shows as ***, never as
 * itself. */
static int secret_concat(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

static int secret_wrap(lua_State *L)
{
    struct lift_secret *secret = secret_check(L, 1);
    size_t before = 0, after = 0, middle = lift_secret_length(secret);
    const char *prefix = luaL_optlstring(L, 2, "", &before);
    const char *suffix = luaL_optlstring(L, 3, "", &after);
    luaL_argcheck(L, before <= LENGTH_MAX && after <= LENGTH_MAX, 2, "too long");
    struct handle *wrapped = handle_new(L, before + middle + after);
    struct lift_buf buf = {.max = LENGTH_MAX};
    if (lift_buf_add(&buf, prefix, before) &&
        lift_buf_add(&buf, lift_secret_bytes(secret), middle) && lift_buf_add(&buf, suffix, after))
        wrapped->secret = lift_secret_new(buf.data != NULL ? buf.data : "", buf.length);
    lift_buf_wipe(&buf);
    if (wrapped->secret == NULL)
        return luaL_error(L, "the wrapped secret would be too long");
    return 1;
}

static int secret_unbase64(lua_State *L)
{
    struct lift_secret *secret = secret_check(L, 1);
    size_t length = lift_secret_length(secret);
    struct handle *decoded = handle_new(L, length);
    struct lift_buf out = {0};
    struct lift_error err = {0};
    if (lift_base64_decode(&out, lift_secret_bytes(secret), length, &err))
        decoded->secret = lift_secret_new(out.data, out.length);
    lift_buf_wipe(&out);
    return decoded->secret != NULL ? 1 : fail_push(L, &err);
}

int open_secret(lua_State *L)
{
    static const luaL_Reg methods[] = {{"is_empty", secret_is_empty},
                                       {"wrap", secret_wrap},
                                       {"unbase64", secret_unbase64},
                                       {NULL, NULL}};
    static const luaL_Reg functions[] = {{"new", secret_new}, {"is", secret_is}, {NULL, NULL}};
    type_new(L, SECRET_TYPE, methods, handle_close);
    luaL_getmetatable(L, SECRET_TYPE);
    lua_pushcfunction(L, secret_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, secret_concat);
    lua_setfield(L, -2, "__concat");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &METATABLE);
    luaL_newlib(L, functions);
    return 1;
}
