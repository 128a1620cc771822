/* lunalift.isolate: a Lua state of its own, called as if it were here. */
#include <lauxlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "bindings/state.h"
#include "bindings/task.h"
#include "bindings/transfer.h"
#include "engine/watchdog.h"

#define ISOLATE "lunalift.isolate"
#define CALL "lunalift.isolate.call"
#define MEMORY_DEFAULT ((lua_Integer)64 << 20)
#define HANDED_OVER_MAX ((size_t)8 << 20)
#define HOSTS_MAX 64

struct isolate {
    struct state *state;
    struct call *calls; /* under way; each must let go before the state is freed */
};

struct call {
    struct task_op op;
    struct isolate *isolate;
    struct task *task; /* in the isolate; NULL once it has ended */
    struct call *next;
    struct lift_buf packed; /* what crosses next */
    bool ok, failed_to_pack;
    struct lift_error err;
};

static const char MODULE = 0; /* registry key in the isolate: the module's table */

/* ---- life ---- */

static void let_go(struct call *call)
{
    for (struct call **link = &call->isolate->calls; *link != NULL; link = &(*link)->next)
        if (*link == call) {
            *link = call->next;
            break;
        }
}

static int call_close(lua_State *L)
{
    struct call *call = luaL_checkudata(L, 1, CALL);
    if (call->task != NULL) {
        task_forget(call->task);
        task_cancel(call->task, "the caller has given up");
        call->task = NULL;
    }
    if (call->isolate != NULL)
        let_go(call);
    call->isolate = NULL;
    transfer_drop(&call->packed);
    return 0;
}

static int isolate_close(lua_State *L)
{
    struct isolate *isolate = luaL_checkudata(L, 1, ISOLATE);
    for (struct call *call = isolate->calls; call != NULL; call = call->next) {
        if (call->task != NULL)
            task_forget(call->task);
        call->task = NULL;
        call->isolate = NULL;
        call->ok = false;
        lift_fail(&call->err, LIFT_CANCELLED, "the script state was closed");
        call->failed_to_pack = true;
        task_op_wake(call);
    }
    isolate->calls = NULL;
    state_free(isolate->state);
    isolate->state = NULL;
    return 0;
}

static struct isolate *check_isolate(lua_State *L)
{
    struct isolate *isolate = luaL_checkudata(L, 1, ISOLATE);
    luaL_argcheck(L, isolate->state != NULL, 1, "a closed isolate");
    return isolate;
}

static void read_hosts(lua_State *L, struct state *state)
{
    const char *hosts[HOSTS_MAX + 1] = {NULL};
    if (lua_getfield(L, 1, "hosts") != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TTABLE);
        lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
        luaL_argcheck(L, count <= HOSTS_MAX, 1, "too many hosts");
        luaL_checkstack(L, HOSTS_MAX + 4, "hosts");
        for (lua_Integer i = 0; i < count; i++) {
            lua_rawgeti(L, -1 - (int)i, i + 1);
            hosts[i] = luaL_checkstring(L, -1);
        }
        state_allow_hosts(state, hosts);
    }
    lua_settop(L, 2);
}

static int load_module(lua_State *L) /* in the isolate; name as light userdata at 1 */
{
    const char *name = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_getglobal(L, "require");
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &MODULE);
    return 0;
}

/* Move a failure of the isolate's protected call here: as a text, which is all that a load can say.
 */
static void load_failure(lua_State *inner, const char *module, struct lift_error *err)
{
    const char *text = lua_type(inner, -1) == LUA_TSTRING ? lua_tostring(inner, -1) : NULL;
    if (text == NULL && lua_istable(inner, -1) && lua_checkstack(inner, 2)) {
        lua_pushnil(inner);
        while (text == NULL && lua_next(inner, -2) != 0) {
            if (lua_type(inner, -1) == LUA_TSTRING && lua_type(inner, -2) == LUA_TSTRING &&
                strcmp(lua_tostring(inner, -2), "message") == 0)
                text = lua_tostring(inner, -1);
            else
                lua_pop(inner, 1);
        }
    }
    lift_fail(err, LIFT_CONFIG, "%s: %s", module, text != NULL ? text : "cannot be loaded");
}

static int isolate_open(lua_State *L)
{
    static const char *const names[] = {"module", "hosts", "ca_file", "memory_bytes",
                                        "script", "file",  NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    opt_known(L, 1, names);
    const char *module = opt_string(L, 1, "module", NULL);
    luaL_argcheck(L, module != NULL, 1, "module is missing");
    lua_Integer memory =
        opt_integer(L, 1, "memory_bytes", MEMORY_DEFAULT, 1 << 20, (lua_Integer)4 << 30);
    luaL_argcheck(L, !opt_string(L, 1, "script", NULL) == !opt_string(L, 1, "file", NULL), 1,
                  "script goes with file");

    struct isolate *isolate = lua_newuserdatauv(L, sizeof *isolate, 0);
    *isolate = (struct isolate){0};
    luaL_setmetatable(L, ISOLATE);
    struct lift_error err = {0};
    isolate->state = state_new(context_of(L), STATE_VENDOR, (size_t)memory, &err);
    if (isolate->state == NULL)
        return fail_push(L, &err);
    read_hosts(L, isolate->state);
    state_allow_ca_file(isolate->state, opt_string(L, 1, "ca_file", NULL));
    state_lay_over(isolate->state, opt_string(L, 1, "script", NULL),
                   opt_string(L, 1, "file", NULL));

    lua_State *inner = state_lua(isolate->state);
    lua_pushcfunction(inner, load_module);
    lua_pushlightuserdata(inner, (void *)module); /* a string could raise, out here */
    const void *before = lift_watchdog_running(inner);
    int status = lua_pcall(inner, 1, 0, 0);
    lift_watchdog_running(before);
    if (status == LUA_OK)
        return 1;
    load_failure(inner, module, &err);
    return fail_push(L, &err);
}

/* ---- calls ---- */

static void on_end(void *payload, lua_State *co, bool ok, int results)
{
    struct call *call = payload;
    call->task = NULL;
    call->ok = ok;
    call->packed.max = HANDED_OVER_MAX;
    call->failed_to_pack = !transfer_pack(co, -results, results, &call->packed, &call->err);
    task_op_wake(call);
}

static int call_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct call *call = task_done(L, slot);
    if (call->isolate != NULL)
        let_go(call);
    call->isolate = NULL;
    if (call->failed_to_pack)
        return fail_push(L, &call->err);
    if (call->ok)
        return transfer_unpack(L, &call->packed);
    lua_pushnil(L);
    transfer_unpack(L, &call->packed);
    fail_of(L); /* a memory error is a bare text */
    return 2;
}

static int start_inside(lua_State *L) /* in the isolate; call as light userdata at 1 */
{
    struct call *call = lua_touserdata(L, 1);
    lua_settop(L, 0);
    int count = transfer_unpack(L, &call->packed); /* name first */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &MODULE);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, -2) != LUA_TFUNCTION)
        return luaL_error(L, "no function '%s'", lua_tostring(L, 1));
    lua_replace(L, 1);
    lua_pop(L, 1);
    call->task = task_start(L, count - 1, on_end, call);
    return 0;
}

static int isolate_call(lua_State *L)
{
    struct isolate *isolate = check_isolate(L);
    luaL_checkstring(L, 2);
    int count = lua_gettop(L) - 1;
    struct call *call = task_op(L, CALL, sizeof *call);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1); /* keeps the isolate while the call lives */
    call->packed.max = HANDED_OVER_MAX;
    if (!transfer_pack(L, 2, count, &call->packed, &call->err))
        return luaL_error(L, "%s", call->err.text);
    lua_State *inner = state_lua(isolate->state);
    lua_settop(inner, 0);
    lua_pushcfunction(inner, start_inside);
    lua_pushlightuserdata(inner, call);
    if (lua_pcall(inner, 1, 0, 0) != LUA_OK) {
        lift_fail(&call->err, LIFT_BUG, "%s",
                  lua_type(inner, -1) == LUA_TSTRING ? lua_tostring(inner, -1) : "call failed");
        return fail_push(L, &call->err);
    }
    call->isolate = isolate;
    call->next = isolate->calls;
    isolate->calls = call;
    return task_park(L, call, call_done);
}

int open_isolate(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"call", isolate_call}, {"close", isolate_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"open", isolate_open}, {NULL, NULL}};
    type_new(L, ISOLATE, methods, isolate_close);
    type_new(L, CALL, NULL, call_close);
    luaL_newlib(L, functions);
    return 1;
}
