/* lunalift.ssh: commands on a host over SSH. */
#include <lauxlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "bindings/ssh.h"
#include "bindings/state.h"
#include "bindings/task.h"

#define SSH "lunalift.ssh"
#define EXEC "lunalift.ssh.exec"
#define FINGERPRINTS_MAX 64
#define INPUT_MAX ((lua_Integer)64 << 20)
#define DAY_S 86400

struct handle {
    struct lift_ssh *ssh; /* NULL once closed */
};

struct exec {
    struct task_op op;
    struct lift_ssh *ssh;
    struct lift_ssh_exec *exec;
    bool ended; /* else err says why not */
    struct lift_ssh_end end;
    struct lift_error err;
};

static int handle_close(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, SSH);
    lift_ssh_free(handle->ssh);
    handle->ssh = NULL;
    return 0;
}

struct lift_ssh *ssh_check(lua_State *L, int idx)
{
    struct handle *handle = luaL_checkudata(L, idx, SSH);
    luaL_argcheck(L, handle->ssh != NULL, idx, "the connection is closed");
    return handle->ssh;
}

static uint32_t ms_of(lua_State *L, int idx, const char *name, lua_Number fallback_s)
{
    return (uint32_t)(opt_number(L, idx, name, fallback_s, 0.001, DAY_S) * 1000);
}

/* Leaves the table on the stack, which keeps the texts. */
static void read_fingerprints(lua_State *L, const char *list[FINGERPRINTS_MAX + 1])
{
    if (lua_getfield(L, 1, "fingerprints") == LUA_TNIL)
        return;
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    luaL_argcheck(L, count <= FINGERPRINTS_MAX, 1, "there may be 64 fingerprints");
    for (lua_Integer i = 0; i < count; i++) {
        if (lua_rawgeti(L, -1, i + 1) != LUA_TSTRING)
            luaL_error(L, "a fingerprint is a text");
        list[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
}

static int ssh_open(lua_State *L)
{
    static const char *const names[] = {
        "host",        "port", "user", "key", "fingerprints", "known_hosts", "connect_timeout_s",
        "keepalive_s", NULL};
    const char *fingerprints[FINGERPRINTS_MAX + 1] = {NULL};
    lua_settop(L, 1);
    opt_known(L, 1, names);
    struct lift_ssh_spec spec = {
        .host = opt_string(L, 1, "host", NULL),
        .port = (uint16_t)opt_integer(L, 1, "port", 22, 1, UINT16_MAX),
        .user = opt_string(L, 1, "user", "root"),
        .key = opt_secret(L, 1, "key"),
        .fingerprints = fingerprints,
        .known_hosts = opt_string(L, 1, "known_hosts", NULL),
        .connect_ms = ms_of(L, 1, "connect_timeout_s", 30),
        .keepalive_ms = ms_of(L, 1, "keepalive_s", 15),
    };
    luaL_argcheck(L, spec.host != NULL && spec.key != NULL, 1, "host and key are needed");
    read_fingerprints(L, fingerprints);
    struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    handle->ssh = NULL;
    luaL_setmetatable(L, SSH);
    struct lift_error err = {0};
    handle->ssh = lift_ssh_new(context_of(L)->loop, &spec, &err);
    return handle->ssh != NULL ? 1 : fail_push(L, &err);
}

static int ssh_public_key(lua_State *L)
{
    lua_pushstring(L, lift_ssh_public_key(ssh_check(L, 1)));
    return 1;
}

/* ---- commands ---- */

static int exec_close(lua_State *L)
{
    struct exec *exec = luaL_checkudata(L, 1, EXEC);
    lift_ssh_exec_free(exec->exec);
    exec->exec = NULL;
    lift_ssh_free(exec->ssh);
    exec->ssh = NULL;
    lift_buf_free(&exec->end.out);
    lift_buf_free(&exec->end.err);
    return 0;
}

static void on_end(void *payload, struct lift_ssh_end *end, const struct lift_error *err)
{
    struct exec *exec = payload;
    exec->ended = end != NULL;
    if (end != NULL) {
        exec->end = *end;
        end->out = end->err = (struct lift_buf){0};
    } else {
        exec->err = *err;
    }
    task_op_wake(exec);
}

int ssh_fail_push(lua_State *L, const struct lift_ssh *ssh, const struct lift_error *err)
{
    static const char *const words[] = {[LIFT_SSH_HOST_UNKNOWN] = "host unknown",
                                        [LIFT_SSH_HOST_CHANGED] = "host changed",
                                        [LIFT_SSH_KEY_REFUSED] = "key refused"};
    enum lift_ssh_refusal refusal = lift_ssh_refusal(ssh);
    fail_push(L, err);
    if (err->code == LIFT_DENIED && refusal != LIFT_SSH_NO_REFUSAL) {
        lua_pushstring(L, words[refusal]);
        lua_setfield(L, -2, "refusal");
        lua_pushstring(L, lift_ssh_fingerprint(ssh));
        lua_setfield(L, -2, "fingerprint");
    }
    return 2;
}

static void set_text(lua_State *L, const char *name, const struct lift_buf *text)
{
    lua_pushlstring(L, text->data != NULL ? text->data : "", text->length);
    lua_setfield(L, -2, name);
}

static int exec_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct exec *exec = task_done(L, slot);
    if (!exec->ended)
        return ssh_fail_push(L, exec->ssh, &exec->err);
    lua_createtable(L, 0, 4);
    set_text(L, "out", &exec->end.out);
    set_text(L, "err", &exec->end.err);
    lua_pushboolean(L, exec->end.truncated);
    lua_setfield(L, -2, "truncated");
    if (exec->end.status >= 0) {
        lua_pushinteger(L, exec->end.status);
        lua_setfield(L, -2, "status");
    } else if (exec->end.signal[0] != '\0') {
        lua_pushstring(L, exec->end.signal);
        lua_setfield(L, -2, "signal");
    }
    return 1;
}

static int ssh_exec(lua_State *L)
{
    static const char *const names[] = {"input", "timeout_s", "max_output", "effect", NULL};
    struct lift_ssh *ssh = ssh_check(L, 1);
    struct lift_ssh_request request = {.command = luaL_checkstring(L, 2)};
    lua_settop(L, 3);
    opt_known(L, 3, names);
    request.input = opt_lstring(L, 3, "input", &request.input_length);
    request.timeout_ms = ms_of(L, 3, "timeout_s", 60);
    request.max_output = (size_t)opt_integer(L, 3, "max_output", 1 << 20, 1, INPUT_MAX);
    request.effect = opt_boolean(L, 3, "effect", false);
    struct exec *exec = task_op(L, EXEC, sizeof *exec);
    exec->ssh = lift_ssh_ref(ssh);
    exec->exec = lift_ssh_exec(ssh, &request, on_end, exec);
    return task_park(L, exec, exec_done);
}

int open_ssh(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"exec", ssh_exec}, {"public_key", ssh_public_key}, {"close", handle_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"open", ssh_open}, {NULL, NULL}};
    type_new(L, SSH, methods, handle_close);
    type_new(L, EXEC, NULL, exec_close);
    luaL_newlib(L, functions);
    return 1;
}
