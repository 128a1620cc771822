/* lunalift.task: children, groups, locks, bells and signals. */
#include <lauxlib.h>
#include <math.h>
#include <signal.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "bindings/state.h"
#include "bindings/task.h"
#include "engine/signal.h"
#include "engine/timer.h"

#define HANDLE "lunalift.task.handle"
#define WAIT "lunalift.task.wait"
#define GROUP "lunalift.task.group"
#define MUTEX "lunalift.task.mutex"
#define LOCK "lunalift.task.lock"
#define BELL "lunalift.task.bell"
#define BELL_WAIT "lunalift.task.bell_wait"
#define SIGNALS "lunalift.task.signals"
#define SIGNAL_WAIT "lunalift.task.signal_wait"
#define WITHIN_MAX_S 604800

/* ---- handles ---- */

struct handle {
    struct task *task; /* a reference; NULL once closed */
};

static int handle_close(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, HANDLE);
    if (handle->task != NULL)
        task_unref(handle->task);
    handle->task = NULL;
    return 0;
}

static struct task *check_handle(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, HANDLE);
    luaL_argcheck(L, handle->task != NULL, 1, "a closed task");
    return handle->task;
}

/* Function at `from`, arguments above it: replaced by the handle of the task that will run them. */
static struct task *spawn(lua_State *L, int from, struct task *parent)
{
    luaL_checktype(L, from, LUA_TFUNCTION);
    int nargs = lua_gettop(L) - from;
    struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    handle->task = NULL;
    luaL_setmetatable(L, HANDLE);
    lua_insert(L, from);
    struct task *task = task_spawn(L, nargs, parent);
    handle->task = task_ref(task);
    return task;
}

static int task_spawn_child(lua_State *L)
{
    task_check(L);
    spawn(L, 1, task_of(L));
    return 1;
}

static lua_Number check_within(lua_State *L, int idx)
{
    lua_Number within_s = luaL_checknumber(L, idx);
    luaL_argcheck(L, within_s > 0 && within_s <= WITHIN_MAX_S, idx, "out of range (0 to 604800 s)");
    return within_s;
}

static int task_spawn_shielded(lua_State *L)
{
    lua_Number within_s = check_within(L, 1);
    task_shield(spawn(L, 2, NULL), within_s);
    return 1;
}

static int task_spawn_background(lua_State *L)
{
    task_check(L);
    spawn(L, 1, NULL);
    return 1;
}

/* ---- waiting for one ---- */

struct wait {
    struct task_op op;
    struct task *task; /* a reference */
    struct task_watch watch;
    bool watching;
    bool owns; /* a wait that is given up takes the task with it */
};

static int wait_close(lua_State *L)
{
    struct wait *wait = luaL_checkudata(L, 1, WAIT);
    if (wait->task == NULL)
        return 0;
    if (wait->watching && !task_ended(wait->task))
        task_unwatch(wait->task, &wait->watch);
    if (wait->owns)
        task_cancel(wait->task, "the task that waited for it has ended");
    task_unref(wait->task);
    wait->task = NULL;
    return 0;
}

static int wait_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct wait *wait = task_done(L, slot);
    return task_results(L, wait->task);
}

/* A cancel wakes the parked task as well: park again until the other one has ended by itself. */
static int join_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    lua_settop(L, (int)slot);
    struct wait *wait = lua_touserdata(L, (int)slot);
    if (!task_ended(wait->task))
        return task_park(L, wait, join_done);
    return task_results(L, wait->task);
}

static struct wait *wait_new(lua_State *L, struct task *task, bool even_if_doomed)
{
    struct wait *wait =
        even_if_doomed ? task_op_shielded(L, WAIT, sizeof *wait) : task_op(L, WAIT, sizeof *wait);
    wait->task = task_ref(task);
    task_watch(task, &wait->watch, wait);
    wait->watching = true;
    return wait;
}

static int handle_wait(lua_State *L)
{
    struct task *task = check_handle(L);
    task_check(L);
    if (task_ended(task))
        return task_results(L, task);
    return task_park(L, wait_new(L, task, false), wait_done);
}

static int handle_join(lua_State *L)
{
    struct task *task = check_handle(L);
    if (task_ended(task))
        return task_results(L, task);
    return task_park(L, wait_new(L, task, true), join_done);
}

static int handle_cancel(lua_State *L)
{
    task_cancel(check_handle(L), luaL_optstring(L, 2, "cancelled"));
    return 0;
}

static int handle_running(lua_State *L)
{
    lua_pushboolean(L, !task_ended(check_handle(L)));
    return 1;
}

static int task_within(lua_State *L)
{
    lua_Number within_s = check_within(L, 1);
    task_check(L);
    struct task *task = spawn(L, 2, task_of(L));
    task_deadline(task, within_s);
    struct wait *wait = wait_new(L, task, false);
    wait->owns = true;
    return task_park(L, wait, wait_done);
}

/* ---- waiting for all ---- */

struct group {
    struct task_op op;
    int count;
    struct task **tasks; /* references, owned */
    struct task_watch *watches;
    int first_failed; /* index, or -1 */
};

static int group_close(lua_State *L)
{
    struct group *group = luaL_checkudata(L, 1, GROUP);
    for (int i = 0; i < group->count; i++) {
        if (group->tasks[i] == NULL)
            continue;
        if (!task_ended(group->tasks[i]))
            task_unwatch(group->tasks[i], &group->watches[i]);
        task_cancel(group->tasks[i], "the task that waited for it has ended");
        task_unref(group->tasks[i]);
    }
    lift_free(group->tasks);
    lift_free(group->watches);
    group->tasks = NULL;
    group->watches = NULL;
    group->count = 0;
    return 0;
}

static int group_failure(lua_State *L, struct group *group)
{
    task_results(L, group->tasks[group->first_failed]);
    return lua_error(L);
}

static int group_results(lua_State *L, struct group *group)
{
    lua_createtable(L, group->count, 0);
    int list = lua_gettop(L);
    for (int i = 0; i < group->count; i++) {
        if (task_results(L, group->tasks[i]) == 0)
            lua_pushboolean(L, 0);
        else
            lua_settop(L, list + 1);
        lua_rawseti(L, list, i + 1);
        lua_settop(L, list);
    }
    return 1;
}

/* Woken at each member's end: the first failure cancels the rest, and the group waits on until all
 * have ended. */
static int group_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct group *group = task_done(L, slot);
    bool running = false;
    for (int i = 0; i < group->count; i++) {
        running |= !task_ended(group->tasks[i]);
        if (task_ended(group->tasks[i]) && !task_succeeded(group->tasks[i]) &&
            group->first_failed < 0)
            group->first_failed = i;
    }
    for (int i = 0; running && group->first_failed >= 0 && i < group->count; i++)
        task_cancel(group->tasks[i], "another task of the group has failed");
    if (running) {
        return task_park(L, group, group_done);
    }
    return group->first_failed >= 0 ? group_failure(L, group) : group_results(L, group);
}

static int task_all(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
    luaL_argcheck(L, count <= 10000, 1, "too many");
    for (lua_Integer i = 1; i <= count; i++, lua_pop(L, 1))
        luaL_argcheck(L, lua_rawgeti(L, 1, i) == LUA_TFUNCTION, 1, "a list of functions is needed");
    struct group *group = task_op(L, GROUP, sizeof *group);
    int slot = lua_gettop(L);
    group->first_failed = -1;
    group->tasks = lift_calloc((size_t)count + 1, sizeof *group->tasks);
    group->watches = lift_calloc((size_t)count + 1, sizeof *group->watches);
    for (int i = 0; i < (int)count; i++) {
        lua_rawgeti(L, 1, i + 1);
        group->tasks[i] = task_ref(task_spawn(L, 0, task_of(L)));
        group->count = i + 1;
    }
    for (int i = 0; i < group->count; i++) /* last: nothing raises between here and the wait */
        task_watch(group->tasks[i], &group->watches[i], group);
    lua_settop(L, slot);
    if (count == 0)
        return group_results(L, group);
    return task_park(L, group, group_done);
}

/* ---- mutex ---- */

struct lock {
    struct task_op op;
    struct mutex *mutex;
    struct lock *next; /* in the queue */
    bool held;
};

struct mutex {
    struct lock *holder, *queue;
};

static void unqueue(struct lock *lock)
{
    for (struct lock **link = &lock->mutex->queue; *link != NULL; link = &(*link)->next)
        if (*link == lock) {
            *link = lock->next;
            return;
        }
}

static int lock_close(lua_State *L)
{
    struct lock *lock = luaL_checkudata(L, 1, LOCK);
    if (lock->mutex == NULL)
        return 0;
    if (lock->held) {
        struct lock *next = lock->mutex->holder = lock->mutex->queue;
        if (next != NULL) {
            lock->mutex->queue = next->next;
            next->held = true;
            task_op_wake(next);
        }
    } else {
        unqueue(lock);
    }
    lock->mutex = NULL;
    return 0;
}

static int lock_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    task_done(L, slot);
    return 1;
}

static int mutex_lock(lua_State *L)
{
    struct mutex *mutex = luaL_checkudata(L, 1, MUTEX);
    struct lock *lock = task_op(L, LOCK, sizeof *lock);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1); /* keeps the mutex while the lock lives */
    lock->mutex = mutex;
    if (mutex->holder == NULL) {
        mutex->holder = lock;
        lock->held = true;
        return 1;
    }
    struct lock **link = &mutex->queue;
    while (*link != NULL)
        link = &(*link)->next;
    *link = lock;
    return task_park(L, lock, lock_done);
}

static int task_mutex(lua_State *L)
{
    struct mutex *mutex = lua_newuserdatauv(L, sizeof *mutex, 0);
    *mutex = (struct mutex){0};
    luaL_setmetatable(L, MUTEX);
    return 1;
}

/* ---- bells ---- */

struct bell {
    struct bell_wait *first; /* those who wait */
};

struct bell_wait {
    struct task_op op;
    struct bell *bell; /* NULL once closed */
    struct bell_wait *next;
    struct lift_timer *timer; /* owned; NULL: waits however long */
    bool rung;
};

static int bell_wait_close(lua_State *L)
{
    struct bell_wait *wait = luaL_checkudata(L, 1, BELL_WAIT);
    lift_timer_free(wait->timer);
    wait->timer = NULL;
    if (wait->bell == NULL)
        return 0;
    struct bell_wait **link = &wait->bell->first;
    while (*link != wait)
        link = &(*link)->next;
    *link = wait->next;
    wait->bell = NULL;
    return 0;
}

static int bell_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct bell_wait *wait = task_done(L, slot);
    bool rung = wait->rung;
    lua_pushcfunction(L, bell_wait_close);
    lua_pushvalue(L, (int)slot);
    lua_call(L, 1, 0);
    lua_pushboolean(L, rung);
    return 1;
}

static int bell_wait(lua_State *L)
{
    struct bell *bell = luaL_checkudata(L, 1, BELL);
    lua_Number within_s = luaL_optnumber(L, 2, 0);
    luaL_argcheck(L, within_s >= 0 && within_s <= WITHIN_MAX_S, 2, "out of range (0 to 604800 s)");
    struct bell_wait *wait = task_op(L, BELL_WAIT, sizeof *wait);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1); /* keeps the bell while one waits for it */
    if (!lua_isnoneornil(L, 2))
        wait->timer = lift_timer_new(task_loop(wait->op.task), (uint64_t)ceil(within_s * 1000),
                                     task_op_wake, wait);
    wait->bell = bell;
    wait->next = bell->first;
    bell->first = wait;
    return task_park(L, wait, bell_done);
}

static int bell_ring(lua_State *L)
{
    const struct bell *bell = luaL_checkudata(L, 1, BELL);
    for (struct bell_wait *wait = bell->first; wait != NULL; wait = wait->next) {
        wait->rung = true;
        task_op_wake(wait);
    }
    return 0;
}

static int task_bell(lua_State *L)
{
    struct bell *bell = lua_newuserdatauv(L, sizeof *bell, 0);
    *bell = (struct bell){0};
    luaL_setmetatable(L, BELL);
    return 1;
}

/* ---- signals ---- */

static const struct {
    int number;
    const char *name;
} SIGNAL_NAMES[] = {{SIGTERM, "TERM"}, {SIGINT, "INT"}, {SIGUSR1, "USR1"}};

enum { SIGNAL_COUNT = sizeof SIGNAL_NAMES / sizeof *SIGNAL_NAMES };

struct signals {
    struct lift_signal *handles[SIGNAL_COUNT];
    struct arrival {
        struct signals *all;
        int pending;
    } arrivals[SIGNAL_COUNT];
    struct signal_wait *waiting;
};

struct signal_wait {
    struct task_op op;
    struct signals *signals;
};

static int signals_close(lua_State *L)
{
    struct signals *signals = luaL_checkudata(L, 1, SIGNALS);
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        lift_signal_free(signals->handles[i]);
        signals->handles[i] = NULL;
    }
    return 0;
}

static int signal_wait_close(lua_State *L)
{
    struct signal_wait *wait = luaL_checkudata(L, 1, SIGNAL_WAIT);
    if (wait->signals != NULL && wait->signals->waiting == wait)
        wait->signals->waiting = NULL;
    wait->signals = NULL;
    return 0;
}

static void on_signal(void *payload)
{
    struct arrival *arrival = payload;
    arrival->pending++;
    if (arrival->all->waiting != NULL)
        task_op_wake(arrival->all->waiting);
}

/* Kept in the registry from the first call on, so that a signal between two waits is not lost. */
static struct signals *signals_of(lua_State *L)
{
    static const char key = 0;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TUSERDATA)
        return lua_touserdata(L, -1);
    lua_pop(L, 1);
    struct signals *signals = lua_newuserdatauv(L, sizeof *signals, 0);
    *signals = (struct signals){0};
    luaL_setmetatable(L, SIGNALS);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        signals->arrivals[i].all = signals;
        signals->handles[i] = lift_signal_new(task_loop(task_of(L)), SIGNAL_NAMES[i].number,
                                              on_signal, &signals->arrivals[i]);
    }
    return signals;
}

static int push_arrived(lua_State *L, struct signals *signals)
{
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        if (signals->arrivals[i].pending == 0)
            continue;
        signals->arrivals[i].pending--;
        lua_pushstring(L, SIGNAL_NAMES[i].name);
        return 1;
    }
    return 0;
}

static int signal_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct signal_wait *wait = task_done(L, slot);
    struct signals *signals = wait->signals;
    signals->waiting = NULL;
    wait->signals = NULL;
    return push_arrived(L, signals);
}

static int task_signal(lua_State *L)
{
    struct signals *signals = signals_of(L);
    if (push_arrived(L, signals) == 1)
        return 1;
    if (signals->waiting != NULL)
        return luaL_error(L, "another task waits for signals already");
    struct signal_wait *wait = task_op(L, SIGNAL_WAIT, sizeof *wait);
    wait->signals = signals;
    signals->waiting = wait;
    return task_park(L, wait, signal_done);
}

static int task_check_now(lua_State *L)
{
    task_check(L);
    return 0;
}

int open_task_of_vendor(lua_State *L)
{
    static const luaL_Reg handle[] = {{"wait", handle_wait},
                                      {"join", handle_join},
                                      {"cancel", handle_cancel},
                                      {"running", handle_running},
                                      {NULL, NULL}};
    static const luaL_Reg mutex[] = {{"lock", mutex_lock}, {NULL, NULL}};
    static const luaL_Reg bell[] = {{"wait", bell_wait}, {"ring", bell_ring}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"spawn", task_spawn_child}, {"shield", task_spawn_shielded},
        {"all", task_all},           {"within", task_within},
        {"check", task_check_now},   {"mutex", task_mutex},
        {"bell", task_bell},         {NULL, NULL}};
    type_new(L, HANDLE, handle, handle_close);
    type_new(L, WAIT, NULL, wait_close);
    type_new(L, GROUP, NULL, group_close);
    type_new(L, MUTEX, mutex, NULL);
    type_new(L, LOCK, NULL, lock_close);
    type_new(L, BELL, bell, NULL);
    type_new(L, BELL_WAIT, NULL, bell_wait_close);
    luaL_newlib(L, functions);
    return 1;
}

int open_task(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"signal", task_signal}, {"background", task_spawn_background}, {NULL, NULL}};
    type_new(L, SIGNALS, NULL, signals_close);
    type_new(L, SIGNAL_WAIT, NULL, signal_wait_close);
    open_task_of_vendor(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
