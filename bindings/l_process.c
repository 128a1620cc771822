/* lunalift.process: child processes, for the lab and the tests. */
#include "engine/process.h"

#include <lauxlib.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "bindings/state.h"
#include "bindings/task.h"

#define PROCESS "lunalift.process"
#define WAIT "lunalift.process.wait"
#define OUTPUT_MAX ((lua_Integer)4 << 20)

/* Output on its way to on_output. */
struct piece {
    struct piece *next;
    int fd;
    size_t length;
    char bytes[];
};

/* Lives until it is collected; whoever waits for it holds it on the stack. */
struct process {
    struct lift_process *process; /* owned; NULL once closed */
    int pid;
    bool ended;
    struct lift_process_end end; /* out and err grow while it runs */
    bool pumping;                /* a task hands output to on_output */
    struct piece *pieces, **tail;
    size_t queued; /* bytes in pieces */
    struct wait *waits;
};

/* A task that waits for the process: for its end, or, being the pump, for more output too. */
struct wait {
    struct task_op op;
    struct process *process; /* NULL when not in its list */
    struct wait *next;
    bool pump;
    bool owner; /* whose end is the end of the process: run() */
};

static void drop_pieces(struct process *p)
{
    while (p->pieces != NULL) {
        struct piece *piece = p->pieces;
        p->pieces = piece->next;
        lift_free(piece);
    }
    p->tail = &p->pieces;
    p->queued = 0;
}

static int process_close(lua_State *L)
{
    struct process *p = luaL_checkudata(L, 1, PROCESS);
    lift_process_free(p->process);
    p->process = NULL;
    drop_pieces(p);
    lift_buf_free(&p->end.out);
    lift_buf_free(&p->end.err);
    for (struct wait *wait = p->waits; wait != NULL; wait = wait->next)
        wait->process = NULL; /* collected together with it */
    p->waits = NULL;
    return 0;
}

/* ---- what the engine calls ---- */

static void wake(struct process *p, bool pump)
{
    for (struct wait *wait = p->waits; wait != NULL; wait = wait->next)
        if (wait->pump == pump)
            task_op_wake(wait);
}

static bool is_over(const struct process *p)
{
    return p->ended && !p->pumping;
}

static void on_output(void *payload, int fd, const char *bytes, size_t length)
{
    struct process *p = payload;
    struct lift_buf *kept = fd == 1 ? &p->end.out : &p->end.err;
    size_t room = kept->max - kept->length;
    if (!lift_buf_add(kept, bytes, length < room ? length : room) || length > room)
        p->end.truncated = true;
    if (!p->pumping || p->queued + length > kept->max)
        return; /* whoever reads so slowly must do without */
    struct piece *piece = lift_calloc(1, sizeof *piece + length);
    *piece = (struct piece){.fd = fd, .length = length};
    memcpy(piece->bytes, bytes, length);
    *p->tail = piece;
    p->tail = &piece->next;
    p->queued += length;
    wake(p, true);
}

static void on_end(void *payload, struct lift_process_end *end)
{
    struct process *p = payload;
    p->ended = true;
    p->end.status = end->status;
    wake(p, true);
    if (is_over(p))
        wake(p, false);
}

/* ---- waiting ---- */

static void leave(struct wait *wait)
{
    struct process *p = wait->process;
    if (p == NULL)
        return;
    struct wait **link = &p->waits;
    while (*link != wait)
        link = &(*link)->next;
    *link = wait->next;
    wait->process = NULL;
    if (wait->owner) { /* at the end of a run, and of a cancelled one */
        lift_process_free(p->process);
        p->process = NULL;
        p->ended = true;
        wake(p, true);
    }
}

static int wait_close(lua_State *L)
{
    leave(luaL_checkudata(L, 1, WAIT));
    return 0;
}

static int park(lua_State *L, struct process *p, bool pump, bool owner, lua_KFunction done)
{
    struct wait *wait = task_op(L, WAIT, sizeof *wait);
    wait->pump = pump;
    wait->owner = owner;
    wait->process = p;
    wait->next = p->waits;
    p->waits = wait;
    return task_park(L, wait, done);
}

static void set_text(lua_State *L, const char *name, const struct lift_buf *buf)
{
    lua_pushlstring(L, buf->data != NULL ? buf->data : "", buf->length);
    lua_setfield(L, -2, name);
}

static int push_end(lua_State *L, const struct process *p)
{
    int status = p->end.status;
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    lua_setfield(L, -2, WIFEXITED(status) ? "code" : "signal");
    set_text(L, "out", &p->end.out);
    set_text(L, "err", &p->end.err);
    lua_pushboolean(L, p->end.truncated);
    lua_setfield(L, -2, "truncated");
    return 1;
}

static int wait_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct wait *wait = task_done(L, slot);
    struct process *p = wait->process;
    leave(wait);
    return push_end(L, p);
}

/* ---- the pump: a task that calls on_output, piece after piece ---- */

static int pump_next(lua_State *L, int status, lua_KContext context);

static int pump_woken(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    leave(task_done(L, slot));
    return pump_next(L, LUA_OK, 0);
}

/* Pushes fd and text of the oldest piece. */
static void push_piece(lua_State *L, struct process *p)
{
    struct piece *piece = p->pieces;
    lua_pushinteger(L, piece->fd);
    lua_pushlstring(L, piece->bytes, piece->length);
    p->pieces = piece->next;
    if (p->pieces == NULL)
        p->tail = &p->pieces;
    p->queued -= piece->length;
    lift_free(piece);
}

/* Stack: the process, on_output. */
static int pump_next(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct process *p = luaL_checkudata(L, 1, PROCESS);
    for (;;) {
        lua_settop(L, 2);
        if (p->pieces == NULL && !p->ended)
            return park(L, p, true, false, pump_woken);
        if (p->pieces == NULL)
            return 0;
        lua_pushvalue(L, 2);
        push_piece(L, p);
        lua_callk(L, 2, 0, 0, pump_next);
    }
}

static int pump(lua_State *L)
{
    return pump_next(L, LUA_OK, 0);
}

/* What on_output raised ends the pump, not the process. */
static int pump_end(lua_State *L, int status, lua_KContext context)
{
    (void)context;
    struct process *p = luaL_checkudata(L, 1, PROCESS);
    p->pumping = false;
    drop_pieces(p);
    if (is_over(p))
        wake(p, false);
    if (status != LUA_OK && status != LUA_YIELD) {
        lift_logf(context_of(L)->log, LIFT_LOG_WARN, "on_output of process %d: %s", p->pid,
                  luaL_tolstring(L, -1, NULL));
    }
    return 0;
}

static int pump_body(lua_State *L)
{
    lua_pushcfunction(L, pump);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    return pump_end(L, lua_pcallk(L, 2, 0, 0, 0, pump_end), 0);
}

/* ---- starting ---- */

/* A NULL-terminated array of the list's texts, on the stack.  The list keeps them alive. */
static const char **push_array(lua_State *L, int list)
{
    lua_Integer count = (lua_Integer)lua_rawlen(L, list);
    const char **array = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *array, 0);
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_rawgeti(L, list, i) != LUA_TSTRING)
            luaL_error(L, "argument %I of the command is no string", (LUAI_UACINT)i);
        array[i - 1] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    array[count] = NULL;
    return array;
}

static const char **check_argv(lua_State *L)
{
    if (lua_getfield(L, 1, "argv") != LUA_TTABLE || lua_rawlen(L, -1) == 0)
        luaL_error(L, "option 'argv' must be a list of at least one string");
    return push_array(L, lua_gettop(L));
}

/* Pushes what must stay alive too; NULL: inherit. */
static const char **check_env(lua_State *L)
{
    if (lua_getfield(L, 1, "env") == LUA_TNIL)
        return NULL;
    luaL_argcheck(L, lua_istable(L, -1), 1, "option 'env' must be a table");
    int env = lua_gettop(L);
    lua_newtable(L); /* of "NAME=value" */
    lua_Integer count = 0;
    for (lua_pushnil(L); lua_next(L, env) != 0; lua_pop(L, 1)) {
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING, 1,
                      "option 'env' maps strings to strings");
        lua_pushfstring(L, "%s=%s", lua_tostring(L, -2), lua_tostring(L, -1));
        lua_rawseti(L, env + 1, ++count);
    }
    return push_array(L, env + 1);
}

/* A function at option on_output is started as the pump of p, which lies at index `process`. */
static void start_pump(lua_State *L, struct process *p, int process)
{
    if (lua_getfield(L, 1, "on_output") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    lua_pushcfunction(L, pump_body);
    lua_insert(L, -2);
    lua_pushvalue(L, process);
    lua_insert(L, -2);
    p->pumping = true;
    task_start(L, 2, NULL, NULL);
}

/* Leaves the process on top; false when it did not start. */
static struct process *start(lua_State *L, struct lift_error *err)
{
    static const char *const names[] = {"argv",       "env",       "cwd",       "input",
                                        "max_output", "on_output", "own_group", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    opt_known(L, 1, names);
    struct lift_process_spec spec = {.argv = check_argv(L),
                                     .env = check_env(L),
                                     .cwd = opt_string(L, 1, "cwd", NULL),
                                     .own_group = opt_boolean(L, 1, "own_group", false)};
    size_t max = (size_t)opt_integer(L, 1, "max_output", OUTPUT_MAX, 1, LIFT_BUF_MAX);
    spec.max_output = 1; /* we keep it ourselves, to show what came so far */
    spec.input = opt_lstring(L, 1, "input", &spec.input_length);
    luaL_argcheck(L, lua_getfield(L, 1, "on_output") == LUA_TNIL || lua_isfunction(L, -1), 1,
                  "option 'on_output' must be a function");
    struct process *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (struct process){.end = {.out = {.max = max}, .err = {.max = max}}};
    p->tail = &p->pieces;
    luaL_setmetatable(L, PROCESS);
    p->process = lift_process_start(context_of(L)->loop, &spec, on_output, on_end, p, err);
    if (p->process == NULL)
        return NULL;
    p->pid = lift_process_pid(p->process);
    start_pump(L, p, lua_gettop(L));
    return p;
}

static int process_start(lua_State *L)
{
    struct lift_error err = {0};
    return start(L, &err) != NULL ? 1 : fail_push(L, &err);
}

static int process_run(lua_State *L)
{
    task_check(L);
    struct lift_error err = {0};
    struct process *p = start(L, &err);
    return p != NULL ? park(L, p, false, true, wait_done) : fail_push(L, &err);
}

/* ---- a process as scripts see it ---- */

static int process_wait(lua_State *L)
{
    struct process *p = luaL_checkudata(L, 1, PROCESS);
    task_check(L);
    return is_over(p) ? push_end(L, p) : park(L, p, false, false, wait_done);
}

static int process_kill(lua_State *L)
{
    static const char *const names[] = {"TERM", "KILL", "INT",  "HUP",  "QUIT",
                                        "USR1", "USR2", "STOP", "CONT", NULL};
    static const int numbers[] = {SIGTERM, SIGKILL, SIGINT,  SIGHUP, SIGQUIT,
                                  SIGUSR1, SIGUSR2, SIGSTOP, SIGCONT};
    struct process *p = luaL_checkudata(L, 1, PROCESS);
    int number = numbers[luaL_checkoption(L, 2, "TERM", names)];
    if (p->process != NULL)
        lift_process_kill(p->process, number);
    return 0;
}

static int process_output(lua_State *L)
{
    struct process *p = luaL_checkudata(L, 1, PROCESS);
    lua_pushlstring(L, p->end.out.data != NULL ? p->end.out.data : "", p->end.out.length);
    lua_pushlstring(L, p->end.err.data != NULL ? p->end.err.data : "", p->end.err.length);
    return 2;
}

/* The pid, then the methods. */
static int process_index(lua_State *L)
{
    struct process *p = luaL_checkudata(L, 1, PROCESS);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(key, "pid") == 0)
        lua_pushinteger(L, p->pid);
    else
        lua_getfield(L, lua_upvalueindex(1), key);
    return 1;
}

int open_process(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"start", process_start}, {"run", process_run}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"wait", process_wait}, {"kill", process_kill}, {"output", process_output}, {NULL, NULL}};
    type_new(L, PROCESS, NULL, process_close);
    type_new(L, WAIT, NULL, wait_close);
    luaL_getmetatable(L, PROCESS);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, process_index, 1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
