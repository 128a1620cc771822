#include "bindings/runtime.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bindings/check.h"
#include "bindings/task.h"

bool runtime_init(struct runtime *runtime, enum lift_level level, bool json, enum state_kind kind,
                  struct lift_error *err)
{
    runtime->context.layers = runtime->layers;
    runtime->context.log = lift_log_new(STDERR_FILENO, level, json);
    runtime->context.loop = lift_loop_new(err);
    if (runtime->context.loop == NULL)
        return false;
    runtime->context.pool = lift_http_pool_new(runtime->context.loop, err);
    if (runtime->context.pool == NULL)
        return false;
    runtime->state = state_new(&runtime->context, kind, 0, err);
    return runtime->state != NULL;
}

void runtime_fini(struct runtime *runtime)
{
    state_free(runtime->state);
    lift_http_pool_free(runtime->context.pool);
    lift_loop_free(runtime->context.loop);
    lift_log_free(runtime->context.log);
    *runtime = (struct runtime){0};
}

/* The table's text of that name, by no call that could raise: nobody would catch it here. */
static const char *text_in(lua_State *co, const char *name)
{
    const char *text = NULL;
    for (lua_pushnil(co); text == NULL && lua_next(co, -2) != 0;) {
        bool found = lua_type(co, -2) == LUA_TSTRING && lua_type(co, -1) == LUA_TSTRING &&
                     strcmp(lua_tostring(co, -2), name) == 0;
        if (found)
            text = lua_tostring(co, -1); /* the table keeps it */
        lua_pop(co, found ? 2 : 1);
    }
    return text;
}

static void complain(lua_State *co)
{
    const char *message = lua_type(co, -1) == LUA_TSTRING ? lua_tostring(co, -1) : NULL;
    const char *traceback = NULL;
    if (lua_istable(co, -1) && lua_checkstack(co, 4)) {
        message = text_in(co, "message");
        traceback = text_in(co, "traceback");
    }
    fprintf(stderr, "error: %s\n%s\n", message != NULL ? message : "unknown",
            traceback != NULL ? traceback : "");
}

static void on_settled(void *payload)
{
    lift_loop_stop(payload);
}

/* What the main task left shielded still runs: to its end, or to its deadline. */
static void on_end(void *payload, lua_State *co, bool ok, int results)
{
    struct runtime *runtime = payload;
    if (!ok)
        complain(co);
    runtime->exit_code = ok && results > 0 ? (int)lua_tointeger(co, -results) : !ok;
    task_settled(runtime->state, on_settled, runtime->context.loop);
}

static int function_done(lua_State *L, int status, lua_KContext base)
{
    (void)status;
    return lua_gettop(L) - (int)base;
}

static int call_function(lua_State *L)
{
    lua_settop(L, 3);
    lua_getglobal(L, "require");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, lua_tostring(L, 2));
    lua_pushvalue(L, 3);
    lua_callk(L, 1, LUA_MULTRET, 4, function_done);
    return function_done(L, LUA_OK, 4);
}

struct start {
    struct runtime *runtime;
    const char *module, *name;
    int argc;
    char **argv;
};

static int start(lua_State *L)
{
    const struct start *what = lua_touserdata(L, 1);
    lua_pushcfunction(L, call_function);
    lua_pushstring(L, what->module);
    lua_pushstring(L, what->name);
    lua_createtable(L, what->argc, 0);
    for (int i = 0; i < what->argc; i++) {
        lua_pushstring(L, what->argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    task_start(L, 3, on_end, what->runtime);
    return 0;
}

int runtime_run(struct runtime *runtime, const char *module, const char *name, int argc,
                char **argv)
{
    lua_State *L = state_lua(runtime->state);
    struct start what = {runtime, module, name, argc, argv};
    lua_pushcfunction(L, start);
    lua_pushlightuserdata(L, &what);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        complain(L);
        return 1;
    }
    lift_loop_run(runtime->context.loop);
    return runtime->exit_code;
}
