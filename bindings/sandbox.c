/* What a script finds as its globals: an allow-list, its functions tamed where a script could hang
 * or escape by them. */
#include "bindings/sandbox.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "bindings/state.h"
#include "bindings/task.h"

/*
 * Pattern functions run without a hook: ceilings on what they look at.  One repetition costs the
 * square of the subject at worst, which at 32 KiB is seconds; several can be worse still, and then
 * the watchdog ends them.
 */
#define SUBJECT_MAX ((size_t)1 << 20)
#define VENDOR_SUBJECT_MAX ((size_t)32 << 10) /* of a pattern with repetitions */
#define PATTERN_MAX ((size_t)4 << 10)
#define MOVED_MAX ((lua_Integer)1 << 22)

static int passes_on(lua_State *L, int status)
{
    bool ok = status == LUA_OK || status == LUA_YIELD;
    if (!ok)
        task_check(L); /* a task that must end is not saved by a pcall */
    return ok;
}

static int pcall_done(lua_State *L, int status, lua_KContext extra)
{
    int ok = passes_on(L, status);
    lua_pushboolean(L, ok);
    lua_replace(L, (int)extra);
    return lua_gettop(L) - (int)extra + 1;
}

int sandbox_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1); /* room for the verdict, below the function */
    lua_insert(L, 1);
    return pcall_done(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 1, pcall_done), 1);
}

/* For what stands before a function: upvalue 1. */
static int pass_to_upvalue(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* A message handler runs before the stack unwinds: for an error out of the budget's hook that is
 * still inside the hook, where no other would end it.  A task that must end needs no messages. */
static int unless_doomed(lua_State *L)
{
    if (task_doom(task_of(L)) != TASK_LIVES)
        return 1;
    return pass_to_upvalue(L);
}

static int safe_xpcall(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, unless_doomed, 1);
    lua_replace(L, 2);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* f handler verdict f args… */
    return pcall_done(L, lua_pcallk(L, count - 2, LUA_MULTRET, 2, 3, pcall_done), 3);
}

/* A finalizer would run without hooks, so no budget could end it. */
static int safe_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    if (lua_istable(L, 2) && (lua_pushliteral(L, "__gc"), lua_rawget(L, 2)) != LUA_TNIL)
        return luaL_error(L, "__gc is not offered to scripts; use a <close> variable");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static size_t subject_max(lua_State *L, const char *pattern)
{
    bool repeats = strpbrk(pattern, "*+-") != NULL;
    return repeats && state_kind(task_state(task_of(L))) == STATE_VENDOR ? VENDOR_SUBJECT_MAX
                                                                         : SUBJECT_MAX;
}

/* find, match, gmatch, gsub: upvalue 1 is the library's own. */
static int capped_pattern(lua_State *L)
{
    size_t length = 0, pattern_length = 0;
    luaL_checklstring(L, 1, &length);
    size_t max = subject_max(L, luaL_checklstring(L, 2, &pattern_length));
    if (length > max)
        return luaL_error(L, "the subject of this pattern may have %I KiB: got %I bytes",
                          (LUAI_UACINT)(max >> 10), (LUAI_UACINT)length);
    if (pattern_length > PATTERN_MAX)
        return luaL_error(L, "a pattern may have %I bytes", (LUAI_UACINT)PATTERN_MAX);
    return pass_to_upvalue(L);
}

/* table.insert, remove, sort: they loop, without a hook, as often as __len says. */
static int counted_by_table(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (luaL_getmetafield(L, 1, "__len") != LUA_TNIL)
        return luaL_error(L, "a table with __len is not taken here");
    return pass_to_upvalue(L);
}

/* table.move: the same, as often as its arguments say. */
static int capped_move(lua_State *L)
{
    lua_Integer from = luaL_checkinteger(L, 2), to = luaL_checkinteger(L, 3);
    if (to >= from && (lua_Unsigned)to - (lua_Unsigned)from >= (lua_Unsigned)MOVED_MAX)
        return luaL_error(L, "too many elements to move");
    return pass_to_upvalue(L);
}

static int refuse_write(lua_State *L)
{
    return luaL_error(L, "cannot set '%s': globals and libraries are read-only",
                      luaL_tolstring(L, 2, NULL));
}

static int refuse_read(lua_State *L)
{
    return luaL_error(L, "undefined global '%s'", luaL_tolstring(L, 2, NULL));
}

/* Replace the table on top by a read-only view of it; an unknown key raises when strict. */
static void seal(lua_State *L, bool strict)
{
    if (strict) {
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, refuse_read);
        lua_setfield(L, -2, "__index");
        lua_setmetatable(L, -2);
    }
    lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

static void copy_fields(lua_State *L, int from, const char *const *names)
{
    int to = lua_gettop(L);
    for (; *names != NULL; names++) {
        lua_getfield(L, from, *names);
        lua_setfield(L, to, *names);
    }
}

/* Leave in the field `name` of the table on top a sealed library with only `names`. */
static void add_library(lua_State *L, const char *name, lua_CFunction open,
                        const char *const *names)
{
    luaL_requiref(L, name, open, 0);
    int library = lua_gettop(L);
    lua_newtable(L);
    copy_fields(L, library, names);
    seal(L, false);
    lua_remove(L, library);
    lua_setfield(L, -2, name);
}

/* In the library's table on top, the field becomes `guard`, with the old one as its upvalue. */
static void guard_field(lua_State *L, const char *name, lua_CFunction guard)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, guard, 1);
    lua_setfield(L, -2, name);
}

/* The string library also serves s:find(): its patterns are capped, dump is gone, and strings lead
 * nowhere else. */
static void tame_strings(lua_State *L)
{
    static const char *const patterns[] = {"find", "match", "gmatch", "gsub", NULL};
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 0);
    for (const char *const *name = patterns; *name != NULL; name++)
        guard_field(L, *name, capped_pattern);
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
}

static void tame_tables(lua_State *L)
{
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 0);
    guard_field(L, "insert", counted_by_table);
    guard_field(L, "remove", counted_by_table);
    guard_field(L, "sort", counted_by_table);
    guard_field(L, "move", capped_move);
    lua_pop(L, 1);
}

void sandbox_globals(lua_State *L, lua_CFunction require)
{
    static const char *const base[] = {"assert",       "error",    "ipairs", "next",   "pairs",
                                       "getmetatable", "rawequal", "rawget", "rawlen", "select",
                                       "tonumber",     "tostring", "type",   NULL};
    static const char *const strings[] = {
        "byte", "char", "find",    "format", "gmatch", "gsub",  "len",      "lower", "match",
        "pack", "rep",  "reverse", "sub",    "unpack", "upper", "packsize", NULL};
    static const char *const tables[] = {"concat", "insert", "move",   "pack",
                                         "remove", "sort",   "unpack", NULL};
    static const char *const maths[] = {"abs",        "ceil", "floor",     "fmod", "huge",
                                        "maxinteger", "max",  "min",       "modf", "mininteger",
                                        "pi",         "sqrt", "tointeger", "type", "ult",
                                        "random",     "log",  "exp",       NULL};
    static const char *const utf8s[] = {"char", "charpattern", "codepoint", "codes",
                                        "len",  "offset",      NULL};
    static const char *const clocks[] = {"clock", "date", "difftime", "time", NULL};
    luaL_requiref(L, LUA_GNAME, luaopen_base, 0);
    int all = lua_gettop(L);
    tame_strings(L);
    tame_tables(L);
    lua_newtable(L);
    copy_fields(L, all, base);
    add_library(L, LUA_STRLIBNAME, luaopen_string, strings);
    add_library(L, LUA_TABLIBNAME, luaopen_table, tables);
    add_library(L, LUA_MATHLIBNAME, luaopen_math, maths);
    add_library(L, LUA_UTF8LIBNAME, luaopen_utf8, utf8s);
    add_library(L, LUA_OSLIBNAME, luaopen_os, clocks);
    lua_pushcfunction(L, sandbox_pcall);
    lua_setfield(L, -2, "pcall");
    lua_pushcfunction(L, safe_xpcall);
    lua_setfield(L, -2, "xpcall");
    lua_pushcfunction(L, safe_setmetatable);
    lua_setfield(L, -2, "setmetatable");
    lua_pushcfunction(L, require);
    lua_setfield(L, -2, "require");
    seal(L, true);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_settop(L, all - 1);
    lua_pushnil(L); /* what luaL_requiref remembered must not be reached by any require */
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
}
