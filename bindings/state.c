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
#include "bindings/sandbox.h"
#include "bindings/task.h"

struct state {
    struct context context;
    enum state_kind kind;
    lua_State *L;
    struct tasks *tasks;
    struct lift_quota memory;
    char **hosts; /* NULL: any */
    char *ca_file;
    char *script, *file; /* NULL, or a script's name and the file that is taken for it */
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
    struct memory_fault *fault = state->context.fault;
    size_t before = old != NULL ? old_size : 0;
    size_t more = size > before ? size - before : 0;
    if (size == 0) {
        lift_quota_give(&state->memory, before);
        free(old);
        return NULL;
    }
    if (more > 0 && (is_refused(fault) || !lift_quota_take(&state->memory, more)))
        return NULL;
    if (fault != NULL)
        fault->inside = true;
    void *memory = realloc(old, size);
    if (fault != NULL)
        fault->inside = false;
    if (memory == NULL)
        lift_quota_give(&state->memory, more);
    else if (size < before)
        lift_quota_give(&state->memory, before - size);
    return memory;
}

static int on_panic(lua_State *L)
{
    struct lift_log *log = context_of(L)->log;
    lift_logf(log, LIFT_LOG_ERROR, "error outside any protected call: %s",
              lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1));
    return 0; /* Lua aborts */
}

/* ---- modules ---- */

enum { IN_FLOW = 1, IN_VENDOR = 2, IN_LAB = 4, IN_TEST = 8, IN_ALL = 15 };

static const struct module {
    const char *name;
    lua_CFunction open;
    int where;
} MODULES[] = {
    {"lunalift.task", open_task, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.task", open_task_of_vendor, IN_VENDOR},
    {"lunalift.timer", open_timer, IN_ALL},
    {"lunalift.json", open_json, IN_ALL},
    {"lunalift.secret", open_secret, IN_ALL},
    {"lunalift.log", open_log, IN_ALL},
    {"lunalift.codec", open_codec, IN_ALL},
    {"lunalift.xml", open_xml, IN_ALL},
    {"lunalift.http", open_http, IN_ALL},
    {"lunalift.vsphere", open_vsphere, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.ssh", open_ssh, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.clone", open_clone, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.kube", open_kube, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.journal", open_journal, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.console", open_console, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.env", open_env, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.script", open_script, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.isolate", open_isolate, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.crash", open_crash, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.server", open_server, IN_FLOW | IN_LAB | IN_TEST},
    {"lunalift.fs", open_fs, IN_LAB | IN_TEST},
    {"lunalift.process", open_process, IN_LAB | IN_TEST},
    {"lunalift.certificate", open_certificate, IN_FLOW | IN_LAB | IN_TEST},
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

static bool is_laid_over(const struct state *state, const char *name, struct script_file *out)
{
    if (state->script == NULL || strcmp(state->script, name) != 0)
        return false;
    *out = (struct script_file){.built_in = true};
    snprintf(out->path, sizeof out->path, "%s", state->file);
    return true;
}

/* The command that checks such scripts; NULL: none. */
static const char *checker_of(const char *name)
{
    return strncmp(name, "vendors.", 8) == 0 ? "vendor"
           : strncmp(name, "flows.", 6) == 0 ? "flow"
                                             : NULL;
}

static void load_script(lua_State *L, const char *name)
{
    struct script_file file;
    if (!is_laid_over(task_state(task_of(L)), name, &file) &&
        !state_find_script(context_of(L), name, &file))
        luaL_error(L,
                   "no module '%s' (a module of lunalift that this kind of script may use, or a "
                   "script below %s)",
                   name, context_of(L)->layers[0]);
    if (!file.built_in) {
        struct lift_field fields[] = {
            {"module", name}, {"path", file.path}, {"sha256", file.sha256}};
        lift_log_write_once(context_of(L)->log, LIFT_LOG_INFO, "script laid over the built-in one",
                            fields, 3);
    }
    if (luaL_loadfilex(L, file.path, "t") != LUA_OK) {
        struct lift_error err = {0};
        lift_fail(&err, LIFT_CONFIG, "%s", lua_tostring(L, -1));
        if (checker_of(name) != NULL)
            lift_hint(&err, "correct it or take it away; see lunalift %s check %s",
                      checker_of(name), file.path);
        else
            lift_hint(&err, "correct it or take it away");
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
        if ((MODULES[i].where & IN_TEST) == 0)
            continue;
        lua_pushcfunction(L, MODULES[i].open);
        lua_setfield(L, -2, MODULES[i].name);
    }
    lua_pop(L, 1);
    lua_pushfstring(L, "%s/?.lua;", context->layers[0]);
    lua_getfield(L, -2, "path");
    lua_concat(L, 2);
    lua_setfield(L, -2, "path");
    lua_pop(L, 1);
    lua_pushcfunction(L, sandbox_pcall);
    lua_setglobal(L, "pcall");
}

static int install(lua_State *L)
{
    const struct state *state = lua_touserdata(L, 1);
    lua_settop(L, 0);
    if (state->kind == STATE_TEST)
        install_test_globals(L, &state->context);
    else
        sandbox_globals(L, open_require);
    open_secret(
        L); /* secrets may arrive from another state before any script asks for the module */
    return 0;
}

/* ---- life ---- */

struct state *state_new(const struct context *context, enum state_kind kind, size_t memory_max,
                        struct lift_error *err)
{
    struct state *state = lift_calloc(1, sizeof *state);
    *state = (struct state){.context = *context, .kind = kind, .memory.max = memory_max};
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
    lift_free(state->ca_file);
    lift_free(state->script);
    lift_free(state->file);
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

enum state_kind state_kind(const struct state *state)
{
    return state->kind;
}

const struct context *context_of(lua_State *L)
{
    return &task_state(task_of(L))->context;
}

struct lift_quota *state_memory(struct state *state)
{
    return &state->memory;
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

void state_allow_ca_file(struct state *state, const char *path)
{
    state->ca_file = lift_strdup(path);
}

void state_lay_over(struct state *state, const char *name, const char *path)
{
    state->script = lift_strdup(name);
    state->file = lift_strdup(path);
}

bool state_ca_file_allowed(const struct state *state, const char *path)
{
    return state->kind != STATE_VENDOR ||
           (state->ca_file != NULL && strcmp(state->ca_file, path) == 0);
}
