/* lunalift.env: the environment, and files that the user names. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "engine/file.h"

#define HELD "lunalift.env.held"
#define FILE_MAX ((size_t)1 << 20)

static int env_get(lua_State *L)
{
    lua_pushstring(L, getenv(luaL_checkstring(L, 1))); /* NULL pushes nil */
    return 1;
}

/* A reference that outlives a jump out of secret_push(). */
struct held {
    struct lift_secret *secret;
};

static int held_close(lua_State *L)
{
    struct held *held = luaL_checkudata(L, 1, HELD);
    lift_secret_free(held->secret);
    held->secret = NULL;
    return 0;
}

static int env_secret(lua_State *L)
{
    const char *value = getenv(luaL_checkstring(L, 1));
    if (value == NULL)
        return 0;
    struct held *held = lua_newuserdatauv(L, sizeof *held, 0);
    held->secret = NULL;
    luaL_setmetatable(L, HELD);
    held->secret = lift_secret_new(value, strlen(value));
    secret_push(L, held->secret);
    lift_secret_free(held->secret);
    held->secret = NULL;
    return 1;
}

static int env_read(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct lift_buf *text = buf_push(L);
    text->max = FILE_MAX;
    struct lift_error err = {0};
    if (!lift_file_read(path, text, &err))
        return fail_push(L, &err);
    lua_pushlstring(L, text->data, text->length);
    lift_buf_wipe(text); /* keys and password files come this way */
    return 1;
}

int open_env(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"get", env_get}, {"secret", env_secret}, {"read", env_read}, {NULL, NULL}};
    type_new(L, HELD, NULL, held_close);
    luaL_newlib(L, functions);
    return 1;
}
