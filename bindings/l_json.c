/* lunalift.json: lua-cjson reads, with its numbers and nulls put right; our own small writer, since
 * cjson's loses digits. */
#include <lauxlib.h>
#include <lua-cjson.h>
#include <lualib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/modules.h"

#define DEPTH_MAX 100
#define EXACT_MAX                                                                                  \
    9007199254740992.0 /* 2^53: above, a JSON number is not the one that was meant                 \
                        */
#define ARRAY_TYPE "lunalift.json.array"

static const char CJSON = 0; /* registry key: cjson's decode */
static const char SORT = 0;  /* registry key: table.sort */
static const char NULL_MARK = 0;

static void push_null(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&NULL_MARK);
}

static bool is_null(lua_State *L, int idx)
{
    return lua_touserdata(L, idx) == &NULL_MARK && lua_islightuserdata(L, idx);
}

/* ---- reading ---- */

static void repair(lua_State *L, int depth);

/* The value on top: a float that is whole becomes an integer, cjson's null (a NULL pointer) ours;
 * tables are walked. */
static void repair_value(lua_State *L, int depth)
{
    if (lua_type(L, -1) == LUA_TNUMBER) {
        lua_Number number = lua_tonumber(L, -1);
        if (fabs(number) > EXACT_MAX)
            luaL_error(L, "the number %f is beyond 2^53 and would lose digits", number);
        if (number == floor(number)) {
            lua_pop(L, 1);
            lua_pushinteger(L, (lua_Integer)number);
        }
    } else if (lua_islightuserdata(L, -1)) {
        lua_pop(L, 1);
        push_null(L);
    } else if (lua_istable(L, -1)) {
        repair(L, depth + 1);
    }
}

/* Assigning to existing keys while walking is allowed; clearing too: a null in an object is an
 * absent field. */
static void repair(lua_State *L, int depth)
{
    int table = lua_gettop(L);
    if (depth > DEPTH_MAX)
        luaL_error(L, "nested deeper than %d", DEPTH_MAX);
    luaL_checkstack(L, 6, "JSON");
    for (lua_pushnil(L); lua_next(L, table) != 0;) {
        repair_value(L, depth);
        if (is_null(L, -1) && lua_type(L, -2) == LUA_TSTRING) {
            lua_pop(L, 1);
            lua_pushnil(L);
        }
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, table);
    }
}

/* cjson's decoder, told to refuse what is no JSON. */
static void keep_decoder(lua_State *L)
{
    lua_pushcfunction(L, luaopen_cjson);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "decode_invalid_numbers");
    lua_pushboolean(L, 0);
    lua_call(L, 1, 0);
    lua_getfield(L, -1, "decode_max_depth");
    lua_pushinteger(L, DEPTH_MAX);
    lua_call(L, 1, 0);
    lua_getfield(L, -1, "decode");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &CJSON);
    lua_pop(L, 1);
}

/* Other modules decode and encode in states where no script has asked for lunalift.json. */
static void prepare(lua_State *L)
{
    luaL_checkstack(L, 6, "JSON");
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &CJSON) == LUA_TNIL) {
        keep_decoder(L);
        lua_pushcfunction(L, luaopen_table);
        lua_call(L, 0, 1);
        lua_getfield(L, -1, "sort");
        lua_rawsetp(L, LUA_REGISTRYINDEX, &SORT);
        luaL_newmetatable(L, ARRAY_TYPE);
        lua_pushboolean(L, 0); /* else a script could add a __gc, which no budget would end */
        lua_setfield(L, -2, "__metatable");
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

static int decode_protected(lua_State *L) /* text at 1 */
{
    prepare(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &CJSON);
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    repair_value(L, 0);
    return 1;
}

bool json_decode(lua_State *L, const char *text, size_t length, struct lift_error *err)
{
    lua_pushcfunction(L, decode_protected);
    lua_pushlstring(L, text, length);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK)
        return true;
    const char *why = lua_tostring(L, -1);
    lift_fail(err, LIFT_PROTOCOL, "not JSON: %s", why != NULL ? why : "unknown");
    lua_pop(L, 1);
    return false;
}

static int decode(lua_State *L)
{
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length);
    struct lift_error err = {0};
    return json_decode(L, text, length, &err) ? 1 : fail_push(L, &err);
}

/* ---- writing ---- */

enum style { COMPACT, INDENTED, REVEALING }; /* REVEALING: compact, secrets in clear */

static void write_value(lua_State *L, struct lift_buf *out, int idx, int depth, enum style style);

static void add(lua_State *L, struct lift_buf *out, const char *text, size_t length)
{
    if (!lift_buf_add(out, text, length))
        luaL_error(L, "the JSON text grows beyond %I bytes", (LUAI_UACINT)LIFT_BUF_MAX);
}

static void adds(lua_State *L, struct lift_buf *out, const char *text)
{
    add(L, out, text, strlen(text));
}

static void new_line(lua_State *L, struct lift_buf *out, int depth, enum style style)
{
    if (style != INDENTED)
        return;
    adds(L, out, "\n");
    while (depth-- > 0)
        adds(L, out, "  ");
}

static void write_text(lua_State *L, struct lift_buf *out, const char *text, size_t length)
{
    const char *end = text + length, *run = text;
    adds(L, out, "\"");
    for (const char *c = text; c < end; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f)
            continue;
        char escaped[8];
        const char *at = strchr("\"\"\\\\\bb\ff\nn\rr\tt", byte);
        if (byte != 0 && at != NULL)
            snprintf(escaped, sizeof escaped, "\\%c", byte < 0x20 ? at[1] : byte);
        else
            snprintf(escaped, sizeof escaped, "\\u%04x", byte);
        add(L, out, run, (size_t)(c - run));
        adds(L, out, escaped);
        run = c + 1;
    }
    add(L, out, run, (size_t)(end - run));
    adds(L, out, "\"");
}

static void write_string(lua_State *L, struct lift_buf *out, int idx)
{
    size_t length = 0;
    const char *text = lua_tolstring(L, idx, &length);
    write_text(L, out, text, length);
}

static void write_number(lua_State *L, struct lift_buf *out, int idx)
{
    char text[64];
    if (lua_isinteger(L, idx)) {
        snprintf(text, sizeof text, LUA_INTEGER_FMT, (LUAI_UACINT)lua_tointeger(L, idx));
    } else {
        lua_Number number = lua_tonumber(L, idx);
        if (!isfinite(number))
            luaL_error(L, "JSON has no infinite or undefined numbers");
        snprintf(text, sizeof text, "%.14g", number);
        if (strtod(text, NULL) != number)
            snprintf(text, sizeof text, "%.17g", number);
    }
    adds(L, out, text);
}

static bool is_array(lua_State *L, int idx)
{
    bool marked = lua_getmetatable(L, idx) != 0;
    if (marked) {
        luaL_getmetatable(L, ARRAY_TYPE);
        marked = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    return marked || lua_rawlen(L, idx) > 0;
}

static void write_array(lua_State *L, struct lift_buf *out, int idx, int depth, enum style style)
{
    lua_Integer count = (lua_Integer)lua_rawlen(L, idx), seen = 0;
    for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1))
        seen++;
    if (seen != count)
        luaL_error(L, "a table with both list items and other keys cannot be JSON");
    adds(L, out, "[");
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1)
            adds(L, out, ",");
        new_line(L, out, depth + 1, style);
        lua_rawgeti(L, idx, i);
        write_value(L, out, lua_gettop(L), depth + 1, style);
        lua_pop(L, 1);
    }
    if (count > 0)
        new_line(L, out, depth, style);
    adds(L, out, "]");
}

/* Push the sorted list of the keys of the table at idx; how many. */
static lua_Integer push_keys(lua_State *L, int idx)
{
    lua_Integer count = 0;
    lua_newtable(L);
    int keys = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "a %s cannot be the name of a JSON field", luaL_typename(L, -2));
        lua_pushvalue(L, -2);
        lua_rawseti(L, keys, ++count);
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &SORT);
    lua_pushvalue(L, keys);
    lua_call(L, 1, 0);
    return count;
}

static void write_object(lua_State *L, struct lift_buf *out, int idx, int depth, enum style style)
{
    lua_Integer count = push_keys(L, idx);
    int keys = lua_gettop(L);
    adds(L, out, "{");
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1)
            adds(L, out, ",");
        new_line(L, out, depth + 1, style);
        lua_rawgeti(L, keys, i);
        write_string(L, out, lua_gettop(L));
        adds(L, out, style == INDENTED ? ": " : ":");
        lua_rawget(L, idx);
        write_value(L, out, lua_gettop(L), depth + 1, style);
        lua_pop(L, 1);
    }
    if (count > 0)
        new_line(L, out, depth, style);
    adds(L, out, "}");
    lua_pop(L, 1);
}

/* What JSON has no word for. */
static void write_other(lua_State *L, struct lift_buf *out, int idx, enum style style)
{
    const struct lift_secret *secret = style == REVEALING ? secret_test(L, idx) : NULL;
    if (secret != NULL)
        write_text(L, out, lift_secret_bytes(secret), lift_secret_length(secret));
    else if (is_null(L, idx))
        adds(L, out, "null");
    else
        luaL_error(L, "a %s cannot be JSON", luaL_typename(L, idx));
}

static void write_value(lua_State *L, struct lift_buf *out, int idx, int depth, enum style style)
{
    if (depth > DEPTH_MAX)
        luaL_error(L, "nested deeper than %d, or a cycle", DEPTH_MAX);
    luaL_checkstack(L, 8, "JSON");
    switch (lua_type(L, idx)) {
    case LUA_TSTRING:
        write_string(L, out, idx);
        return;
    case LUA_TNUMBER:
        write_number(L, out, idx);
        return;
    case LUA_TBOOLEAN:
        adds(L, out, lua_toboolean(L, idx) ? "true" : "false");
        return;
    case LUA_TTABLE:
        if (is_array(L, idx))
            write_array(L, out, idx, depth, style);
        else
            write_object(L, out, idx, depth, style);
        return;
    default:
        write_other(L, out, idx, style);
    }
}

void json_encode(lua_State *L, int idx, bool indent)
{
    idx = lua_absindex(L, idx);
    prepare(L);
    struct lift_buf *out = buf_push(L);
    write_value(L, out, idx, 0, indent ? INDENTED : COMPACT);
    lua_pushlstring(L, out->data, out->length);
    lift_buf_free(out);
    lua_remove(L, -2);
}

void json_reveal(lua_State *L, int idx, struct lift_buf *out)
{
    idx = lua_absindex(L, idx);
    prepare(L);
    write_value(L, out, idx, 0, REVEALING);
}

static int encode(lua_State *L)
{
    static const char *const names[] = {"indent", NULL};
    luaL_checkany(L, 1);
    opt_known(L, 2, names);
    json_encode(L, 1, opt_boolean(L, 2, "indent", false));
    return 1;
}

static int array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1)) { /* it may be what makes a library read-only */
        luaL_getmetatable(L, ARRAY_TYPE);
        luaL_argcheck(L, lua_rawequal(L, 2, 3), 1, "a plain table is needed");
        lua_settop(L, 1);
    }
    luaL_setmetatable(L, ARRAY_TYPE);
    return 1;
}

int open_json(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"decode", decode}, {"encode", encode}, {"array", array}, {NULL, NULL}};
    prepare(L);
    luaL_newlib(L, functions);
    push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
