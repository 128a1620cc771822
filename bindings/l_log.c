/* lunalift.log: lines for those who debug. */
#include <lauxlib.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "bindings/state.h"

#define FIELDS_MAX 24

/* Push the values of the table at 2 as texts and point `fields` at them; how many. */
static int read_fields(lua_State *L, struct lift_field *fields)
{
    int count = 0;
    if (lua_isnoneornil(L, 2))
        return 0;
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checkstack(L, FIELDS_MAX * 2 + 4, "log fields");
    lua_pushnil(L);
    while (count < FIELDS_MAX && lua_next(L, 2) != 0) {
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, 2, "field names are strings");
        fields[count].value = luaL_tolstring(L, -1, NULL);
        lua_remove(L, -2);
        lua_pushvalue(L, -2); /* the key stays below its text, for the next round on top */
        fields[count++].key = lua_tostring(L, -1);
    }
    return count;
}

static int write_line(lua_State *L, enum lift_level level)
{
    struct lift_log *log = context_of(L)->log;
    const char *message = luaL_checkstring(L, 1);
    if (!lift_log_enabled(log, level))
        return 0;
    struct lift_field fields[FIELDS_MAX];
    int count = read_fields(L, fields);
    lift_log_write(log, level, message, fields, (size_t)count);
    return 0;
}

static int log_debug(lua_State *L)
{
    return write_line(L, LIFT_LOG_DEBUG);
}

static int log_info(lua_State *L)
{
    return write_line(L, LIFT_LOG_INFO);
}

static int log_warn(lua_State *L)
{
    return write_line(L, LIFT_LOG_WARN);
}

static int log_error(lua_State *L)
{
    return write_line(L, LIFT_LOG_ERROR);
}

static int log_redact(lua_State *L)
{
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length);
    struct lift_buf *box = buf_push(L); /* owns the text while Lua copies it */
    box->data = lift_secret_redact(text, length);
    lua_pushstring(L, box->data);
    return 1;
}

int open_log(lua_State *L)
{
    static const luaL_Reg functions[] = {{"debug", log_debug},   {"info", log_info},
                                         {"warn", log_warn},     {"error", log_error},
                                         {"redact", log_redact}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
