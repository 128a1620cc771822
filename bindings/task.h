/*
 * Tasks: one coroutine each, resumed only from the loop.  The border rules are in docs/architecture.md; in short:
 *
 *   int timer_sleep(lua_State *L)
 *   {
 *       … check arguments …
 *       struct sleep *s = task_op(L, SLEEP, sizeof *s);             // raises if cancelled, or if it cannot wait here
 *       s->timer = lift_timer_new(task_loop(s->op.task), ms, task_op_wake, s);   // armed last
 *       return task_park(L, s, sleep_done);                         // parked at once
 *   }
 *
 * The operation is a userdata on the parked coroutine's stack, so the loop cannot outlive it; its type's __gc and __close cancel it, twice
 * if need be.  A callback of the engine touches no Lua: it stores into the operation and calls task_op_wake(op).  The continuation
 * finds it with task_done(), which raises, after closing it, when the task was cancelled or is late.
 */
#pragma once

#include <lua.h>

#include "engine/loop.h"
#include "engine/log.h"

struct task;
struct state;

struct task *task_of(lua_State *L); /* of the running coroutine; never from __gc */
struct lift_loop *task_loop(const struct task *task);
struct state *task_state(const struct task *task);

/* Every operation struct begins with this. */
struct task_op {
    struct task *task;
    unsigned generation; /* of the task's park; a stale wake is ignored */
    bool done;
};

/*
 * Push a zeroed userdata of `type` whose first member is a struct task_op, bound to the current task.  Raises when the task is
 * cancelled or late, or when it cannot wait here (by name: sort comparator, gsub callback, require, __gc, main chunk).
 */
void *task_op(lua_State *L, const char *type, size_t size);
/* Yield until task_op_wake(op); then `done` continues with the operation at the same stack slot as lua_KContext. */
int task_park(lua_State *L, void *op, lua_KFunction done);
/* In the continuation: the operation.  Runs its closer and raises if the task must end. */
void *task_done(lua_State *L, lua_KContext slot);
/* From the loop.  Marks it done and queues the task; may be called more than once. */
void task_op_wake(void *op);

/* Start the function and arguments on top of L (function below nargs values) as a task of L's state, with no parent.  For main and servers. */
typedef void task_end_fn(void *payload, lua_State *co, bool ok, int nresults); /* results, or the failure, on top of co; must not raise */
struct task *task_start(lua_State *L, int nargs, task_end_fn *end, void *payload);
void task_cancel(struct task *task, const char *reason);

/* How many tasks of the state have not ended: the tests ask. */
int task_count(const struct state *state);
