#include "bindings/state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "bindings/check.h"
#include "bindings/modules.h"
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

struct state {
    struct context context;
    enum state_kind kind;
    lua_State *L;
    struct tasks *tasks;
    size_t used, max;
    char **hosts; /* NULL: any */
};

/* ---- memory ---- */

static bool is_refused(struct memory_fault *fault)
{
    if (fault == NULL || fault->fails == 0 || --fault->after > 0)
        return false;
    fault->fails -= fault->fails > 0;
    return true;
}

static void *allocate(void *ud, void *old, size_t old_size, size_t size)
{
    struct state *state = ud;
    size_t before = old != NULL ? old_size : 0;
    if (size == 0) {
        state->used -= before;
        free(old);
        return NULL;
    }
    if (size > before && is_refused(state->context.fault))
        return NULL;
    if (state->max != 0 && size > before && state->used - before + size > state->max)
        return NULL;
    void *memory = realloc(old, size);
    if (memory != NULL)
        state->used += size - before;
    return memory;
}

static int on_panic(lua_State *L)
{
    struct lift_log *log = context_of(L)->log;
    lift_logf(log, LIFT_LOG_ERROR, "error outside any protected call: %s",
              lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1));
    return 0; /* Lua aborts */
}

/* ---- the allow-list ---- */

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

static int safe_pcall(lua_State *L)
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
    return repeats && task_state(task_of(L))->kind == STATE_VENDOR ? VENDOR_SUBJECT_MAX
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

static int open_require(lua_State *L);

static void install_globals(lua_State *L)
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
    lua_pushcfunction(L, safe_pcall);
    lua_setfield(L, -2, "pcall");
    lua_pushcfunction(L, safe_xpcall);
    lua_setfield(L, -2, "xpcall");
    lua_pushcfunction(L, safe_setmetatable);
    lua_setfield(L, -2, "setmetatable");
    lua_pushcfunction(L, open_require);
    lua_setfield(L, -2, "require");
    seal(L, true);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_settop(L, all - 1);
    lua_pushnil(L); /* what luaL_requiref remembered must not be reached by any require */
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
}

/* ---- modules ---- */

enum { IN_FLOW = 1, IN_VENDOR = 2, IN_LAB = 4, IN_TEST = 8, IN_ALL = 15 };

static const struct module {
    const char *name;
    lua_CFunction open;
    int where;
} MODULES[] = {
    {"lunalift.task", open_task, IN_ALL},
    {"lunalift.timer", open_timer, IN_ALL},
    {"lunalift.json", open_json, IN_ALL},
    {"lunalift.secret", open_secret, IN_ALL},
    {"lunalift.log", open_log, IN_ALL},
    {"lunalift.codec", open_codec, IN_ALL},
    {"lunalift.xml", open_xml, IN_ALL},
    {"lunalift.http", open_http, IN_ALL},
    {"lunalift.vsphere", open_vsphere, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.clone", open_clone, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.kube", open_kube, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.journal", open_journal, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.console", open_console, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.env", open_env, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.script", open_script, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.isolate", open_isolate, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.crash", open_crash, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.server", open_server, IN_LAB | IN_TEST},
    {"lunalift.fs", open_fs, IN_LAB | IN_TEST},
    {"lunalift.process", open_process, IN_LAB | IN_TEST},
    {"lunalift.certificate", open_certificate, IN_LAB | IN_TEST},
    {"lunalift.probe", open_probe, IN_TEST},
};

static int bit_of(enum state_kind kind)
{
    return 1 << kind;
}

static const struct module *find_module(enum state_kind kind, const char *name)
{
    for (size_t i = 0; i < sizeof MODULES / sizeof *MODULES; i++)
        if (strcmp(MODULES[i].name, name) == 0 && (MODULES[i].where & bit_of(kind)) != 0)
            return &MODULES[i];
    return NULL;
}

static bool is_module_name(const char *name)
{
    size_t length =
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    return name[0] != '\0' && name[0] != '.' && name[length] == '\0' && strstr(name, "..") == NULL;
}

static bool hash_file(const char *path, char hex[65])
{
    unsigned char block[4096], digest[32];
    FILE *file = fopen(path, "rb");
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = file != NULL && md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    for (size_t n; ok && (n = fread(block, 1, sizeof block, file)) > 0;)
        ok = EVP_DigestUpdate(md, block, n) == 1;
    ok = ok && EVP_DigestFinal_ex(md, digest, NULL) == 1;
    for (size_t i = 0; ok && i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (file != NULL)
        fclose(file);
    EVP_MD_CTX_free(md);
    return ok;
}

bool state_find_script(const struct context *context, const char *name, struct script_file *out)
{
    struct stat info;
    int count = 0;
    if (!is_module_name(name))
        return false;
    while (context->layers[count] != NULL)
        count++;
    for (int i = count - 1; i >= 0; i--) {
        int prefix = snprintf(out->path, sizeof out->path, "%s/", context->layers[i]);
        int length = snprintf(out->path, sizeof out->path, "%s/%s.lua", context->layers[i], name);
        if (length < 0 || (size_t)length >= sizeof out->path)
            continue;
        for (char *dot = out->path + prefix; dot < out->path + length - 4; dot++)
            if (*dot == '.')
                *dot = '/';
        if (stat(out->path, &info) != 0 || !S_ISREG(info.st_mode))
            continue;
        out->layer = context->layers[i];
        out->built_in = i == 0;
        return hash_file(out->path, out->sha256);
    }
    return false;
}

static void load_script(lua_State *L, const char *name)
{
    struct script_file file;
    if (!state_find_script(context_of(L), name, &file))
        luaL_error(L,
                   "no module '%s' (a module of lunalift that this kind of script may use, or a "
                   "script below %s)",
                   name, context_of(L)->layers[0]);
    if (!file.built_in) {
        struct lift_field fields[] = {
            {"module", name}, {"path", file.path}, {"sha256", file.sha256}};
        lift_log_write(context_of(L)->log, LIFT_LOG_INFO, "script laid over the built-in one",
                       fields, 3);
    }
    if (luaL_loadfilex(L, file.path, "t") != LUA_OK) {
        struct lift_error err = {0};
        lift_fail(&err, LIFT_CONFIG, "%s", lua_tostring(L, -1));
        lift_hint(&err, "correct it or take it away; for flows: lunalift flow check %s", file.path);
        fail_table(L, &err);
        lua_error(L);
    }
    lua_pushstring(L, name);
}

static int open_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "lunalift.loaded");
    if (lua_getfield(L, 2, name) != LUA_TNIL) {
        if (lua_islightuserdata(L, -1))
            luaL_error(L, "module '%s' requires itself", name);
        return 1;
    }
    const struct module *module = find_module(task_state(task_of(L))->kind, name);
    if (module != NULL) {
        lua_pushcfunction(L, module->open);
        lua_pushstring(L, name);
    } else {
        load_script(L, name);
    }
    lua_pushlightuserdata(L, L); /* being loaded; nothing raises from here to the verdict */
    lua_setfield(L, 2, name);
    int status = lua_pcall(L, 1, 1, 0);
    if (status == LUA_OK && lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    if (status == LUA_OK)
        lua_pushvalue(L, -1);
    else
        lua_pushnil(L); /* a failed load may be tried again */
    lua_setfield(L, 2, name);
    return status == LUA_OK ? 1 : lua_error(L);
}

/* ---- tests see all of Lua, and our modules through its own package library ---- */

static void install_test_globals(lua_State *L, const struct context *context)
{
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (size_t i = 0; i < sizeof MODULES / sizeof *MODULES; i++) {
        lua_pushcfunction(L, MODULES[i].open);
        lua_setfield(L, -2, MODULES[i].name);
    }
    lua_pop(L, 1);
    lua_pushfstring(L, "%s/?.lua;", context->layers[0]);
    lua_getfield(L, -2, "path");
    lua_concat(L, 2);
    lua_setfield(L, -2, "path");
    lua_pop(L, 1);
    lua_pushcfunction(L, safe_pcall);
    lua_setglobal(L, "pcall");
}

static int install(lua_State *L)
{
    const struct state *state = lua_touserdata(L, 1);
    lua_settop(L, 0);
    if (state->kind == STATE_TEST)
        install_test_globals(L, &state->context);
    else
        install_globals(L);
    open_secret(
        L); /* secrets may arrive from another state before any script asks for the module */
    return 0;
}

/* ---- life ---- */

struct state *state_new(const struct context *context, enum state_kind kind, size_t memory_max,
                        struct lift_error *err)
{
    struct state *state = lift_calloc(1, sizeof *state);
    *state = (struct state){.context = *context, .kind = kind, .max = memory_max};
    state->L = lua_newstate(allocate, state);
    if (state->L == NULL) {
        lift_fail(err, LIFT_NO_SPACE, "no memory for a script state");
        lift_free(state);
        return NULL;
    }
    lua_atpanic(state->L, on_panic);
    if (context->fault != NULL && context->fault->harsh)
        lua_gc(state->L, LUA_GCINC, 1, 0, 64); /* no pause, and each step a whole cycle */
    state->tasks = tasks_new(state, state->L, context->loop);
    lua_pushcfunction(state->L, install);
    lua_pushlightuserdata(state->L, state);
    if (lua_pcall(state->L, 1, 0, 0) != LUA_OK) {
        lift_fail(err, LIFT_BUG, "script state: %s", lua_tostring(state->L, -1));
        state_free(state);
        return NULL;
    }
    return state;
}

void state_free(struct state *state)
{
    if (state == NULL)
        return;
    tasks_close(state->tasks);
    lua_close(state->L);
    tasks_free(state->tasks);
    for (char **host = state->hosts; host != NULL && *host != NULL; host++)
        lift_free(*host);
    lift_free(state->hosts);
    lift_free(state);
}

lua_State *state_lua(struct state *state)
{
    return state->L;
}

const struct context *state_context(const struct state *state)
{
    return &state->context;
}

const struct context *context_of(lua_State *L)
{
    return &task_state(task_of(L))->context;
}

void state_allow_hosts(struct state *state, const char *const *hosts)
{
    size_t count = 0;
    while (hosts[count] != NULL)
        count++;
    state->hosts = lift_calloc(count + 1, sizeof *state->hosts);
    for (size_t i = 0; i < count; i++)
        state->hosts[i] = lift_strdup(hosts[i]);
}

const char *const *state_hosts(const struct state *state)
{
    return (const char *const *)state->hosts;
}

bool state_host_allowed(const struct state *state, const char *host)
{
    if (state->hosts == NULL)
        return true;
    for (char **allowed = state->hosts; *allowed != NULL; allowed++)
        if (strcasecmp(*allowed, host) == 0)
            return true;
    return false;
}
