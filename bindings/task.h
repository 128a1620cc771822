/*
 * Tasks: one coroutine each, resumed only from the loop.  The border rules are in
 * docs/architecture.md; in short:
 *
 *   int timer_sleep(lua_State *L)
 *   {
 *       … check arguments …
 *       struct sleep *s = task_op(L, SLEEP, sizeof *s);             // raises if cancelled, or if
 * it cannot wait here s->timer = lift_timer_new(task_loop(s->op.task), ms, task_op_wake, s);   //
 * armed last return task_park(L, s, sleep_done);                         // parked at once
 *   }
 *
 * The operation is a userdata on the parked coroutine's stack, so the loop cannot outlive it; its
 * type's __gc and __close cancel it, twice if need be.  A callback of the engine touches no Lua: it
 * stores into the operation and calls task_op_wake(op).  The continuation finds it with
 * task_done(), which raises, after closing it, when the task was cancelled or is late.
 */
#pragma once

#include <lua.h>

#include "engine/log.h"
#include "engine/loop.h"

struct task;
struct state;

struct task *task_of(lua_State *L); /* of the running coroutine; never from __gc */
struct lift_loop *task_loop(const struct task *task);
struct state *task_state(const struct task *task);

/* Every operation struct begins with this. */
struct task_op {
    struct task *task;
    unsigned generation; /* of the task's park; a stale wake is ignored */
    int slot;            /* where it lies on the task's stack */
    bool done;
};

/* Kinds of end that a task cannot get out of: they are raised again at every wait. */
enum task_doom { TASK_LIVES, TASK_CANCELLED, TASK_LATE, TASK_SPENT };
enum task_doom task_doom(const struct task *task);
/* Raise if the task must end. */
void task_check(lua_State *L);

/*
 * Push a zeroed userdata of `type` whose first member is a struct task_op, bound to the current
 * task.  Raises when the task is cancelled or late, or when it cannot wait here (by name: sort
 * comparator, gsub callback, require, __gc, main chunk).
 */
void *task_op(lua_State *L, const char *type, size_t size);
/* The same, even for a task that must end: only to join a shielded child, which ends by itself. */
void *task_op_shielded(lua_State *L, const char *type, size_t size);
/* Yield until task_op_wake(op); then `done` continues with the operation's stack slot as
 * lua_KContext; it may park again. */
int task_park(lua_State *L, void *op, lua_KFunction done);
/* In the continuation: the operation.  Runs its closer and raises if the task must end. */
void *task_done(lua_State *L, lua_KContext slot);
/* From the loop.  Marks it done and queues the task; may be called more than once. */
void task_op_wake(void *op);

/* Start the function and arguments on top of L (function below nargs values) as a task of L's
 * state, with no parent.  For main and servers. */
typedef void task_end_fn(void *payload, lua_State *co, bool ok,
                         int nresults); /* results, or the failure, on top of co; must not raise */
struct task *task_start(lua_State *L, int nargs, task_end_fn *end, void *payload);
void task_cancel(struct task *task, const char *reason);
void task_deadline(struct task *task, double within_s);
void task_forget(struct task *task);                  /* its `end` will not be called any more */
void task_shield(struct task *task, double within_s); /* the state is not settled before its end */
/* Call fn(payload) at the end of the next turn of tasks that leaves none to run and no shielded
 * one. */
void task_settled(struct state *state, lift_fn *fn, void *payload);

/* For l_task.c and state.c only. */
struct task *task_spawn(lua_State *L, int nargs,
                        struct task *parent); /* as task_start; a parent's end cancels it */
struct task *task_ref(struct task *task);     /* keeps the record and its results */
void task_unref(struct task *task);
bool task_ended(const struct task *task);
/* Wake op when the task ends; op must not be collected before task_unwatch() unless it was woken.
 */
struct task_watch {
    struct task_watch *next;
    void *op;
};
void task_watch(struct task *task, struct task_watch *watch, void *op);
void task_unwatch(struct task *task, struct task_watch *watch);
/* Push what an ended task returned, or nil and its failure; how many values. */
int task_results(lua_State *L, struct task *task);
bool task_succeeded(const struct task *task);

/* The tasks of one state. */
struct tasks;
struct tasks *tasks_new(struct state *state, lua_State *L, struct lift_loop *loop);
void tasks_close(struct tasks *tasks); /* before lua_close: no wakes any more */
void tasks_free(struct tasks *tasks);  /* after lua_close */

/* For tests: how many tasks of the state have not ended; how often a task has waited; and cancel
 * it as soon as it waits for the nth time. */
int task_count(const struct state *state);
unsigned task_waits(const struct task *task);
void task_cancel_at(struct task *task, unsigned wait);
