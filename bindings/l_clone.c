/* lunalift.clone: the wrapper on one host. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/login.h"
#include "bindings/modules.h"
#include "bindings/ssh.h"
#include "bindings/task.h"
#include "bindings/vim_value.h"
#include "engine/clone.h"

#define CLONE "lunalift.clone"
#define CALL "lunalift.clone.call"
/* Both disks are read, 256 MiB at most, on a host that may be busy. */
#define DIGEST_TIMEOUT_MS 600000
#define EXTENTS_MAX 64 /* the wrapper's own limit */

struct clone {
    struct login *login; /* or */
    struct lift_ssh *ssh;
    struct lift_clone *clone; /* NULL once closed */
    struct lift_clone_features features;
};

static int clone_close(lua_State *L)
{
    struct clone *clone = luaL_checkudata(L, 1, CLONE);
    lift_clone_free(clone->clone);
    clone->clone = NULL;
    login_unref(clone->login);
    clone->login = NULL;
    lift_ssh_free(clone->ssh);
    clone->ssh = NULL;
    return 0;
}

static struct clone *clone_push(lua_State *L)
{
    struct clone *clone = lua_newuserdatauv(L, sizeof *clone, 0);
    *clone = (struct clone){0};
    luaL_setmetatable(L, CLONE);
    return clone;
}

static int over_esxcli(lua_State *L)
{
    struct lift_moref host;
    struct login *login = login_check(L, 1);
    vim_check_moref(L, 2, &host);
    struct clone *clone = clone_push(L);
    clone->login = login_ref(login);
    clone->clone = lift_clone_esxcli(login->vs, &host);
    return 1;
}

static int over_ssh(lua_State *L)
{
    struct lift_ssh *ssh = ssh_check(L, 1);
    const char *datastore = luaL_checkstring(L, 2);
    struct clone *clone = clone_push(L);
    struct lift_error err = {0};
    clone->ssh = lift_ssh_ref(ssh);
    clone->clone = lift_clone_ssh(ssh, datastore, &err);
    return clone->clone ? 1 : fail_push(L, &err);
}

static bool *feature(struct lift_clone_features *features, const char *name)
{
    const struct {
        const char *name;
        bool *flag;
    } all[] = {{"taskId", &features->task_id},      {"taskKill", &features->kill},
               {"taskList", &features->list},       {"digest", &features->digest},
               {"preflight", &features->preflight}, {"percent", &features->percent}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(name, all[i].name) == 0)
            return all[i].flag;
    return NULL;
}

static int clone_offers(lua_State *L)
{
    struct clone *clone = luaL_checkudata(L, 1, CLONE);
    const bool *flag = feature(&clone->features, luaL_checkstring(L, 2));
    lua_pushboolean(L, flag && *flag);
    return 1;
}

/* ---- one wait ---- */

struct call {
    struct task_op op;
    struct login *login; /* or */
    struct lift_ssh *ssh;
    struct lift_clone_call *call;
    enum lift_clone_op what;
    char *message; /* NULL: none came */
    struct lift_error err;
    bool failed;
};

static int call_close(lua_State *L)
{
    struct call *c = luaL_checkudata(L, 1, CALL);
    lift_clone_call_free(c->call);
    c->call = NULL;
    lift_free(c->message);
    c->message = NULL;
    login_unref(c->login);
    c->login = NULL;
    lift_ssh_free(c->ssh);
    c->ssh = NULL;
    return 0;
}

static void on_end(void *payload, const char *message, const struct lift_error *err)
{
    struct call *c = payload;
    c->message = lift_strdup(message);
    c->failed = err != NULL;
    if (err)
        c->err = *err;
    task_op_wake(c);
}

/* Push what the wrapper said, decoded; false and *err when it is no JSON object. */
static bool push_reply(lua_State *L, const struct call *c, struct lift_error *err)
{
    if (!json_decode(L, c->message, strlen(c->message), err))
        return false;
    if (lua_istable(L, -1))
        return true;
    lua_pop(L, 1);
    return lift_fail(err, LIFT_PROTOCOL, "the wrapper answered no JSON object");
}

/* A refusal; the wrapper's own words say more than the status. */
static int push_refusal(lua_State *L, struct call *c)
{
    struct lift_error ignored = {0};
    bool replied = c->message && push_reply(L, c, &ignored);
    int reply = lua_gettop(L);
    if (replied && lua_getfield(L, reply, "stdErr") == LUA_TSTRING && lua_rawlen(L, -1) > 0)
        lift_quote(c->err.text, sizeof c->err.text, lua_tostring(L, -1));
    if (c->ssh)
        ssh_fail_push(L, c->ssh, &c->err);
    else
        fail_push(L, &c->err);
    if (replied) {
        lua_pushvalue(L, reply);
        lua_setfield(L, -2, "reply");
    }
    return 2;
}

static int call_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct call *c = task_done(L, slot);
    struct lift_error err = {0};
    if (c->failed)
        return push_refusal(L, c);
    if (c->what == LIFT_CLONE_CLEAN) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (!push_reply(L, c, &err)) {
        err.unanswered = c->what == LIFT_CLONE_START || c->what == LIFT_CLONE_KILL;
        return fail_push(L, &err);
    }
    if (c->what == LIFT_CLONE_LIST && lua_getfield(L, -1, "tasks") != LUA_TTABLE)
        lua_newtable(L);
    return 1;
}

/* The clone stays at 1 below the operation, so it outlives the call. */
static int start(lua_State *L, enum lift_clone_op what, const struct lift_clone_args *args,
                 lua_KFunction done)
{
    struct clone *clone = luaL_checkudata(L, 1, CLONE);
    luaL_argcheck(L, clone->clone != NULL, 1, "the clone is closed");
    struct call *c = task_op(L, CALL, sizeof *c);
    if (clone->ssh)
        c->ssh = lift_ssh_ref(clone->ssh);
    else
        c->login = login_ref(clone->login);
    c->what = what;
    c->call =
        lift_clone_start(clone->clone, what, args,
                         what == LIFT_CLONE_DIGEST ? DIGEST_TIMEOUT_MS : 0, on_end, c, &c->err);
    return c->call ? task_park(L, c, done) : fail_push(L, &c->err);
}

/* ---- the operations ---- */

static int version_done(lua_State *L, int status, lua_KContext slot)
{
    int count = call_done(L, status, slot);
    if (count != 1)
        return count;
    struct clone *clone = luaL_checkudata(L, 1, CLONE);
    int reply = lua_gettop(L);
    clone->features = (struct lift_clone_features){0};
    if (lua_getfield(L, reply, "features") != LUA_TTABLE) { /* upstream's has none to tell of */
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, reply, "features");
    }
    int features = lua_gettop(L);
    for (lua_Integer i = 1; lua_rawgeti(L, features, i) == LUA_TSTRING; i++) {
        bool *flag = feature(&clone->features, lua_tostring(L, -1));
        if (flag)
            *flag = true;
        lua_pop(L, 1);
    }
    if (clone->clone)
        lift_clone_offer(clone->clone, &clone->features);
    lua_settop(L, reply);
    return 1;
}

static int clone_version(lua_State *L)
{
    lua_settop(L, 1);
    return start(L, LIFT_CLONE_VERSION, NULL, version_done);
}

static int on_task(lua_State *L, enum lift_clone_op what)
{
    struct lift_clone_args args = {.task_id = luaL_checkstring(L, 2)};
    lua_settop(L, 2);
    return start(L, what, &args, call_done);
}

static int clone_poll(lua_State *L)
{
    return on_task(L, LIFT_CLONE_POLL);
}

static int clone_kill(lua_State *L)
{
    return on_task(L, LIFT_CLONE_KILL);
}

static int clone_clean(lua_State *L)
{
    return on_task(L, LIFT_CLONE_CLEAN);
}

static int clone_tasks(lua_State *L)
{
    lua_settop(L, 1);
    return start(L, LIFT_CLONE_LIST, NULL, call_done);
}

static const char *needed(lua_State *L, const char *name)
{
    const char *text = opt_string(L, 2, name, NULL);
    if (!text)
        luaL_error(L, "option '%s' is missing", name);
    return text;
}

static int clone_start(lua_State *L)
{
    static const char *const names[] = {"task_id", "source", "target", NULL};
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    opt_known(L, 2, names);
    struct lift_clone_args args = {.task_id = opt_string(L, 2, "task_id", NULL),
                                   .source = needed(L, "source"),
                                   .target = needed(L, "target")};
    return start(L, LIFT_CLONE_START, &args, call_done);
}

static int clone_preflight(lua_State *L)
{
    static const char *const names[] = {"source", "target", NULL};
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    opt_known(L, 2, names);
    struct lift_clone_args args = {.source = opt_string(L, 2, "source", NULL),
                                   .target = opt_string(L, 2, "target", NULL)};
    return start(L, LIFT_CLONE_PREFLIGHT, &args, call_done);
}

/* Push the extents of the table at 2 as "offset:length,…". */
static const char *push_extents(lua_State *L)
{
    lua_getfield(L, 2, "extents");
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 3);
    luaL_argcheck(L, count > 0 && count <= EXTENTS_MAX, 2, "1 to 64 extents are needed");
    lua_pushliteral(L, "");
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 3, i);
        luaL_checktype(L, -1, LUA_TTABLE);
        lua_Integer offset = opt_integer(L, -1, "offset", -1, 0, LUA_MAXINTEGER);
        lua_Integer length = opt_integer(L, -1, "length", -1, 1, LUA_MAXINTEGER);
        if (offset < 0 || length < 0)
            luaL_error(L, "an extent needs an offset and a length");
        lua_pop(L, 1);
        lua_pushfstring(L, "%s%I:%I", i > 1 ? "," : "", (LUAI_UACINT)offset, (LUAI_UACINT)length);
        lua_concat(L, 2);
    }
    return lua_tostring(L, -1);
}

static int clone_digest(lua_State *L)
{
    static const char *const names[] = {"source", "target", "extents", NULL};
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    opt_known(L, 2, names);
    struct lift_clone_args args = {.source = needed(L, "source"), .target = needed(L, "target")};
    args.extents = push_extents(L);
    return start(L, LIFT_CLONE_DIGEST, &args, call_done);
}

int open_clone(lua_State *L)
{
    static const luaL_Reg methods[] = {{"version", clone_version}, {"start", clone_start},
                                       {"poll", clone_poll},       {"kill", clone_kill},
                                       {"tasks", clone_tasks},     {"clean", clone_clean},
                                       {"digest", clone_digest},   {"preflight", clone_preflight},
                                       {"offers", clone_offers},   {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"over_esxcli", over_esxcli}, {"over_ssh", over_ssh}, {NULL, NULL}};
    type_new(L, CLONE, methods, clone_close);
    type_new(L, CALL, NULL, call_close);
    luaL_newlib(L, functions);
    return 1;
}
