#include "bindings/check.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAIL_TYPE "lunalift.fail"

static int fail_tostring(lua_State *L)
{
    if (lua_getfield(L, 1, "message") != LUA_TSTRING)
        lua_pushliteral(L, "failure without a message");
    return 1;
}

static void set_flag(lua_State *L, const char *name, bool value)
{
    if (!value)
        return;
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, name);
}

void fail_table(lua_State *L, const struct lift_error *err)
{
    lua_createtable(L, 0, 5);
    lua_pushstring(L, lift_code_name(err->code));
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, err->text);
    lua_setfield(L, -2, "message");
    if (err->hint[0] != '\0') {
        lua_pushstring(L, err->hint);
        lua_setfield(L, -2, "hint");
    }
    set_flag(L, "unanswered", err->unanswered);
    set_flag(L, "refused", err->refused);
    if (err->retry_after_s > 0) {
        lua_pushinteger(L, err->retry_after_s);
        lua_setfield(L, -2, "retry_after_s");
    }
    if (luaL_newmetatable(L, FAIL_TYPE)) {
        lua_pushcfunction(L, fail_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushboolean(L, 0); /* else a script could add a __gc, which no budget would end */
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

int fail_push(lua_State *L, const struct lift_error *err)
{
    lua_pushnil(L);
    fail_table(L, err);
    return 2;
}

/* Whether the table on top has that field itself, a text. */
static bool has_text(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    bool has = lua_rawget(L, -2) == LUA_TSTRING;
    lua_pop(L, 1);
    return has;
}

void fail_of(lua_State *L)
{
    if (lua_istable(L, -1) && has_text(L, "kind") && has_text(L, "message"))
        return;
    struct lift_error err = {.code = LIFT_BUG};
    lift_quote(err.text, sizeof err.text, luaL_tolstring(L, -1, NULL));
    fail_table(L, &err);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

void fail_raise(lua_State *L, enum lift_code code, const char *fmt, ...)
{
    struct lift_error err = {.code = code};
    va_list args;
    va_start(args, fmt);
    vsnprintf(err.text, sizeof err.text, fmt, args);
    va_end(args);
    fail_table(L, &err);
    lua_error(L);
    abort(); /* lua_error does not return, which its prototype fails to say */
}

/* How far apart two short words are, in edits; gives up above LIMIT. */
static size_t distance(const char *a, const char *b)
{
    enum { LIMIT = 40 };
    size_t row[LIMIT + 1], la = strlen(a), lb = strlen(b);
    if (la > LIMIT || lb > LIMIT)
        return LIMIT;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[lb];
}

static bool is_known(const char *key, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(key, *names) == 0)
            return true;
    return false;
}

static const char *nearest(const char *key, const char *const *names)
{
    const char *best = names[0];
    for (; *names != NULL; names++)
        if (distance(key, *names) < distance(key, best))
            best = *names;
    return best;
}

void opt_known(lua_State *L, int idx, const char *const *names)
{
    if (lua_isnoneornil(L, idx))
        return;
    idx = lua_absindex(L, idx);
    luaL_checktype(L, idx, LUA_TTABLE);
    if (luaL_getmetafield(L, idx, "__index") != LUA_TNIL)
        luaL_error(L, "options are a table without __index");
    for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (key == NULL)
            luaL_error(L, "options are named: got a %s key", luaL_typename(L, -2));
        else if (!is_known(key, names))
            luaL_error(L, "unknown option '%s' (did you mean '%s'?)", key, nearest(key, names));
    }
}

/* Push the option; its type, LUA_TNIL when absent. */
static int get(lua_State *L, int idx, const char *name)
{
    if (lua_isnoneornil(L, idx)) {
        lua_pushnil(L);
        return LUA_TNIL;
    }
    return lua_getfield(L, idx, name);
}

static void want(lua_State *L, const char *name, const char *type)
{
    luaL_error(L, "option '%s' must be a %s: got %s", name, type, luaL_typename(L, -1));
}

const char *opt_lstring(lua_State *L, int idx, const char *name, size_t *length)
{
    int type = get(L, idx, name);
    if (type != LUA_TNIL && type != LUA_TSTRING)
        want(L, name, "string");
    const char *text = lua_tolstring(L, -1, length);
    lua_pop(L, 1); /* the table keeps it */
    return text;
}

const char *opt_string(lua_State *L, int idx, const char *name, const char *fallback)
{
    size_t length = 0;
    const char *text = opt_lstring(L, idx, name, &length);
    if (text != NULL && strlen(text) != length)
        luaL_error(L, "option '%s' holds a zero byte", name);
    return text != NULL ? text : fallback;
}

lua_Integer opt_integer(lua_State *L, int idx, const char *name, lua_Integer fallback,
                        lua_Integer min, lua_Integer max)
{
    int type = get(L, idx, name), exact = 0;
    lua_Integer value = type == LUA_TNUMBER ? lua_tointegerx(L, -1, &exact) : 0;
    if (type == LUA_TNIL)
        value = fallback;
    else if (!exact)
        want(L, name, "integer");
    else if (value < min || value > max)
        luaL_error(L, "option '%s' is out of range (%I to %I): %I", name, (LUAI_UACINT)min,
                   (LUAI_UACINT)max, (LUAI_UACINT)value);
    lua_pop(L, 1);
    return value;
}

lua_Number opt_number(lua_State *L, int idx, const char *name, lua_Number fallback, lua_Number min,
                      lua_Number max)
{
    int type = get(L, idx, name);
    lua_Number value = type == LUA_TNIL ? fallback : lua_tonumber(L, -1);
    if (type != LUA_TNIL && type != LUA_TNUMBER)
        want(L, name, "number");
    else if (type == LUA_TNUMBER && !(value >= min && value <= max))
        luaL_error(L, "option '%s' is out of range (%f to %f): %f", name, min, max, value);
    lua_pop(L, 1);
    return value;
}

bool opt_boolean(lua_State *L, int idx, const char *name, bool fallback)
{
    int type = get(L, idx, name);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        want(L, name, "boolean");
    bool value = type == LUA_TNIL ? fallback : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

struct lift_secret *opt_secret(lua_State *L, int idx, const char *name)
{
    struct lift_secret *secret = NULL;
    if (get(L, idx, name) != LUA_TNIL) {
        secret = secret_test(L, -1);
        if (secret == NULL)
            want(L, name, "secret");
    }
    lua_pop(L, 1);
    return secret;
}

void opt_trust(lua_State *L, int idx, const char *name, struct lift_trust *out)
{
    static const char *const names[] = {"ca",         "ca_file",  "and_system",
                                        "thumbprint", "insecure", NULL};
    *out = (struct lift_trust){0};
    int type = get(L, idx, name);
    if (type != LUA_TNIL) {
        if (type != LUA_TTABLE)
            want(L, name, "table");
        opt_known(L, -1, names);
        out->ca_pem = opt_string(L, -1, "ca", NULL);
        out->ca_file = opt_string(L, -1, "ca_file", NULL);
        out->and_system = opt_boolean(L, -1, "and_system", false);
        out->thumbprint = opt_string(L, -1, "thumbprint", NULL);
        out->insecure = opt_boolean(L, -1, "insecure", false);
    }
    lua_pop(L, 1);
}

#define BUF_TYPE "lunalift.buf"

static int buf_close(lua_State *L)
{
    lift_buf_free(luaL_checkudata(L, 1, BUF_TYPE));
    return 0;
}

struct lift_buf *buf_push(lua_State *L)
{
    struct lift_buf *buf = lua_newuserdatauv(L, sizeof *buf, 0);
    *buf = (struct lift_buf){0};
    type_new(L, BUF_TYPE, NULL, buf_close);
    luaL_setmetatable(L, BUF_TYPE);
    return buf;
}

void type_new(lua_State *L, const char *type, const struct luaL_Reg *methods, lua_CFunction closer)
{
    if (luaL_newmetatable(L, type)) {
        lua_newtable(L);
        if (methods != NULL)
            luaL_setfuncs(L, methods, 0);
        lua_setfield(L, -2, "__index");
        if (closer != NULL) {
            lua_pushcfunction(L, closer);
            lua_setfield(L, -2, "__gc");
            lua_pushcfunction(L, closer);
            lua_setfield(L, -2, "__close");
        }
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
}
