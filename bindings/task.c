#include "bindings/task.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/state.h"
#include "engine/timer.h"
#include "engine/watchdog.h"

/* A burst is what a task computes between two waits; 200 million instructions are a few seconds. */
#define HOOK_EVERY 100000
#define BURST_MAX 2000
/* Of one state: what C keeps for a task is outside its ceiling, and a tree of them is walked. */
#define TASKS_MAX 20000

struct task {
    struct tasks *all;
    struct task *next, **link; /* in all->first */
    struct task *ready_next;   /* in all->ready */
    struct task *parent;       /* NULL once it has ended, or for shielded and root tasks */
    lua_State *co; /* anchored in the registry by `anchor` until the last reference goes */
    int anchor;
    int nargs;   /* waiting on co for the first resume; -1 after */
    int results; /* values on co once ended */
    unsigned refs, generation, bursts;
    unsigned waits, cancel_at; /* the latter 0 but in tests */
    bool parked, queued, ended, ok, shielded;
    enum task_doom doom;
    char reason[96];
    struct lift_timer *deadline;
    struct task_watch *watchers;
    task_end_fn *end;
    void *payload;
};

struct tasks {
    struct state *state;
    struct lift_loop *loop;
    lua_State *L;
    struct task root; /* stands for the main thread, which cannot wait */
    struct task *first, *ready, **ready_tail;
    struct lift_timer *pump;
    int count, shielded;
    lift_fn *settled; /* NULL: nobody waits for it */
    void *payload;
    bool closing;
};

/* ---- finding ---- */

struct task *task_of(lua_State *L)
{
    return *(struct task **)lua_getextraspace(L);
}

struct lift_loop *task_loop(const struct task *task)
{
    return task->all->loop;
}

struct state *task_state(const struct task *task)
{
    return task->all->state;
}

enum task_doom task_doom(const struct task *task)
{
    return task->doom;
}

int task_count(const struct state *state)
{
    return task_of(state_lua((struct state *)state))->all->count;
}

unsigned task_waits(const struct task *task)
{
    return task->waits;
}

void task_cancel_at(struct task *task, unsigned wait)
{
    task->cancel_at = wait;
}

bool task_ended(const struct task *task)
{
    return task->ended;
}

bool task_succeeded(const struct task *task)
{
    return task->ended && task->ok;
}

/* ---- running ---- */

static void pump(void *payload);

static void enqueue(struct task *task)
{
    struct tasks *all = task->all;
    if (task->queued || task->ended || all->closing)
        return;
    task->queued = true;
    task->ready_next = NULL;
    *all->ready_tail = task;
    all->ready_tail = &task->ready_next;
    if (all->pump == NULL)
        all->pump = lift_timer_new(all->loop, 0, pump, all);
}

static void task_finish(struct task *task, int status, int values)
{
    struct task *child;
    task->ended = true;
    task->ok = status == LUA_OK && values > 0 && lua_toboolean(task->co, -values);
    task->results = status == LUA_OK ? values - 1 : 1;
    lift_timer_free(task->deadline);
    task->deadline = NULL;
    task->all->count--;
    task->all->shielded -= task->shielded;
    for (child = task->all->first; child != NULL; child = child->next) {
        if (child->parent != task)
            continue;
        child->parent = NULL;
        task_cancel(child, "the task that started it has ended");
    }
    for (struct task_watch *watch = task->watchers; watch != NULL; watch = watch->next)
        task_op_wake(watch->op);
    task->watchers = NULL;
    if (task->end != NULL)
        task->end(task->payload, task->co, task->ok, task->results);
    task_unref(task);
}

static void task_resume(struct task *task)
{
    int values = 0, nargs = task->nargs > 0 ? task->nargs : 0;
    task->nargs = -1;
    task->parked = false;
    task->bursts = 0;
    const void *before = lift_watchdog_running(task->co);
    int status = lua_resume(task->co, NULL, nargs, &values);
    lift_watchdog_running(before);
    if (status != LUA_YIELD)
        task_finish(task, status, values);
}

static void pump(void *payload)
{
    struct tasks *all = payload;
    struct task *turn = all->ready;
    all->ready = NULL;
    all->ready_tail = &all->ready;
    lift_timer_free(all->pump);
    all->pump = NULL;
    while (turn != NULL) {
        struct task *task = turn;
        turn = task->ready_next;
        task->queued = false;
        if (!task->ended && (task->parked || task->nargs >= 0))
            task_resume(task);
    }
    if (all->settled != NULL && all->ready == NULL && all->shielded == 0)
        all->settled(all->payload);
}

/* ---- starting and ending ---- */

static int describe(lua_State *L) /* message handler: whatever was raised becomes a failure table
                                     with a traceback */
{
    lua_settop(L, 1);
    fail_of(L);
    bool writable = luaL_getmetafield(L, 1, "__newindex") == LUA_TNIL;
    if (writable && (lua_pushliteral(L, "traceback"), lua_rawget(L, 1)) == LUA_TNIL) {
        luaL_traceback(L, L, NULL, 1);
        lua_setfield(L, 1, "traceback");
    }
    lua_settop(L, 1);
    return 1;
}

static int task_return(lua_State *L, int status, lua_KContext context)
{
    (void)context;
    lua_pushboolean(L, status == LUA_OK || status == LUA_YIELD);
    lua_replace(L, 1); /* over the message handler */
    return lua_gettop(L);
}

/* Runs fn(...) under lua_pcallk inside the coroutine, so that closers run while unwinding and may
 * wait. */
static int task_body(lua_State *L)
{
    lua_pushcfunction(L, describe);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, 0, task_return);
    return task_return(L, status, 0);
}

static void count_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct task *task = task_of(L);
    if (++task->bursts < BURST_MAX)
        return;
    task->doom = TASK_SPENT;
    lua_sethook(L, count_hook, LUA_MASKCOUNT,
                1); /* from now on at every instruction: no pcall gets away with it */
    task_check(L);
}

struct task *task_spawn(lua_State *L, int nargs, struct task *parent)
{
    struct tasks *all = task_of(L)->all;
    if (all->count >= TASKS_MAX)
        luaL_error(L, "more than %d tasks", TASKS_MAX);
    lua_State *co = lua_newthread(L);
    lua_insert(L, -nargs - 2);
    if (!lua_checkstack(co, nargs + 8))
        luaL_error(L, "too many arguments for a task");
    lua_pushcfunction(co, task_body);
    lua_xmove(L, co, nargs + 1);
    int anchor =
        luaL_ref(L, LUA_REGISTRYINDEX); /* pops the coroutine; the last call here that may raise */
    struct task *task = lift_calloc(1, sizeof *task);
    *task = (struct task){
        .all = all, .co = co, .anchor = anchor, .nargs = nargs + 1, .refs = 1, .parent = parent};
    *(struct task **)lua_getextraspace(co) = task;
    lua_sethook(co, count_hook, LUA_MASKCOUNT, HOOK_EVERY);
    task->next = all->first;
    task->link = &all->first;
    if (task->next != NULL)
        task->next->link = &task->next;
    all->first = task;
    all->count++;
    enqueue(task);
    return task;
}

struct task *task_start(lua_State *L, int nargs, task_end_fn *end, void *payload)
{
    struct task *task = task_spawn(L, nargs, NULL);
    task->end = end;
    task->payload = payload;
    return task;
}

void task_settled(struct state *state, lift_fn *fn, void *payload)
{
    struct tasks *all = task_of(state_lua(state))->all;
    all->settled = fn;
    all->payload = payload;
}

void task_shield(struct task *task, double within_s)
{
    task->shielded = true;
    task->all->shielded++;
    task_deadline(task, within_s);
}

void task_forget(struct task *task)
{
    task->end = NULL;
}

struct task *task_ref(struct task *task)
{
    task->refs++;
    return task;
}

void task_unref(struct task *task)
{
    if (--task->refs > 0)
        return;
    if (!task->all->closing)
        luaL_unref(task->all->L, LUA_REGISTRYINDEX, task->anchor);
    *task->link = task->next;
    if (task->next != NULL)
        task->next->link = task->link;
    lift_timer_free(task->deadline);
    lift_free(task);
}

void task_watch(struct task *task, struct task_watch *watch, void *op)
{
    *watch = (struct task_watch){.next = task->watchers, .op = op};
    task->watchers = watch;
}

void task_unwatch(struct task *task, struct task_watch *watch)
{
    for (struct task_watch **link = &task->watchers; *link != NULL; link = &(*link)->next)
        if (*link == watch) {
            *link = watch->next;
            return;
        }
}

int task_results(lua_State *L, struct task *task)
{
    int count = task->results;
    luaL_checkstack(L, count + 1, "results");
    if (!lua_checkstack(task->co, 1)) /* raised there, nobody would catch it */
        luaL_error(L, "too many results");
    if (!task->ok)
        lua_pushnil(L);
    for (int i = 0; i < count; i++) {
        lua_pushvalue(task->co, i - count);
        lua_xmove(task->co, L, 1);
    }
    if (!task->ok)
        fail_of(L); /* a memory error is a bare text */
    return task->ok ? count : count + 1;
}

/* ---- cancel, deadline, budget ---- */

static void doom(struct task *task, enum task_doom why, const char *reason)
{
    if (task->ended || task->doom != TASK_LIVES)
        return;
    task->doom = why;
    snprintf(task->reason, sizeof task->reason, "%s", reason);
    if (task->parked)
        enqueue(task);
    for (struct task *child = task->all->first; child != NULL; child = child->next)
        if (child->parent == task)
            doom(child, why, reason);
}

void task_cancel(struct task *task, const char *reason)
{
    doom(task, TASK_CANCELLED, reason != NULL ? reason : "cancelled");
}

static void on_deadline(void *payload)
{
    struct task *task = payload;
    doom(task, TASK_LATE, "not done in its time");
}

void task_deadline(struct task *task, double within_s)
{
    lift_timer_free(task->deadline);
    task->deadline =
        lift_timer_new(task->all->loop, (uint64_t)(within_s * 1000), on_deadline, task);
}

void task_check(lua_State *L)
{
    const struct task *task = task_of(L);
    switch (task->doom) {
    case TASK_LIVES:
        return;
    case TASK_CANCELLED:
        fail_raise(L, LIFT_CANCELLED, "%s", task->reason);
    case TASK_LATE:
        fail_raise(L, LIFT_TIMEOUT, "%s", task->reason);
    case TASK_SPENT:
        fail_raise(L, LIFT_BUG, "the script computed for too long without waiting");
    }
}

/* ---- waiting ---- */

static void name_of_caller(lua_State *L, char *out, size_t size)
{
    lua_Debug ar;
    if (lua_getstack(L, 0, &ar) != 0 && lua_getinfo(L, "n", &ar) != 0 && ar.name != NULL)
        snprintf(out, size, "%s", ar.name);
    else
        snprintf(out, size, "this call");
}

void *task_op(lua_State *L, const char *type, size_t size)
{
    task_check(L);
    return task_op_shielded(L, type, size);
}

void *task_op_shielded(lua_State *L, const char *type, size_t size)
{
    struct task *task = task_of(L);
    if (!lua_isyieldable(L)) {
        char name[64];
        name_of_caller(L, name, sizeof name);
        luaL_error(
            L, "%s cannot wait here (inside require, a sort comparator, a gsub callback or __gc)",
            name);
    }
    struct task_op *op = lua_newuserdatauv(L, size, 1);
    memset(op, 0, size);
    op->task = task;
    op->slot = lua_gettop(L);
    luaL_setmetatable(L, type);
    return op;
}

int task_park(lua_State *L, void *op, lua_KFunction done)
{
    struct task_op *base = op;
    base->task->parked = true;
    base->generation =
        ++base->task->generation; /* wakes of earlier operations are stale from here on */
    if (++base->task->waits == base->task->cancel_at)
        task_cancel(base->task, "stopped by SIGTERM");
    return lua_yieldk(L, 0, base->slot, done);
}

void *task_done(lua_State *L, lua_KContext slot)
{
    struct task *task = task_of(L);
    int idx = (int)slot;
    lua_settop(L, idx);
    if (task->doom != TASK_LIVES) {
        if (luaL_getmetafield(L, idx, "__gc") != LUA_TNIL) {
            lua_pushvalue(L, idx);
            lua_call(L, 1, 0);
        }
        task_check(L);
    }
    return lua_touserdata(L, idx);
}

void task_op_wake(void *op)
{
    struct task_op *base = op;
    base->done = true;
    if (base->task->parked && base->generation == base->task->generation)
        enqueue(base->task);
}

/* ---- all the tasks of a state ---- */

struct tasks *tasks_new(struct state *state, lua_State *L, struct lift_loop *loop)
{
    struct tasks *all = lift_calloc(1, sizeof *all);
    *all = (struct tasks){.state = state, .L = L, .loop = loop};
    all->ready_tail = &all->ready;
    all->root.all = all;
    all->root.co = L;
    *(struct task **)lua_getextraspace(L) = &all->root;
    lua_sethook(L, count_hook, LUA_MASKCOUNT, HOOK_EVERY); /* modules may be loaded here */
    return all;
}

void tasks_close(struct tasks *tasks)
{
    tasks->closing = true;
    lift_timer_free(tasks->pump);
    tasks->pump = NULL;
}

void tasks_free(struct tasks *tasks)
{
    while (tasks->first != NULL) {
        tasks->first->refs = 1;
        task_unref(tasks->first);
    }
    lift_free(tasks);
}
