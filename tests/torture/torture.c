/*
 * Every job of tests/spec/layer/spec/torture.lua, again and again, its n-th allocation failing for
 * n = 1, 2, 3, …, until one passes untouched.  Whatever n: the process lives, the job ends with a
 * failure in words or succeeds, and no task, handle or byte stays (AddressSanitizer counts bytes).
 */
#include <lauxlib.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/state.h"
#include "bindings/task.h"
#include "engine/server.h"
#include "engine/timer.h"
#include "tests/torture/peer.h"

/* lua-cjson forgets its buffer when Lua runs out of memory while it decodes; it is not ours. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:strbuf_init\nleak:strbuf_new\n";
}

/* Lua asks twice: after a refusal it collects garbage and tries again. */
enum { ONE_FAILS = 2, ALL_FAIL = -1, PATIENCE_MS = 10000 };

struct rig {
    struct context context;
    struct peer peer;
    struct memory_fault fault;
};

struct job {
    struct rig *rig;
    struct state *state;
    const char *name;
    bool ended, ok, in_words, late;
    char words[160];
};

/* ---- one run ---- */

static void read_words(struct job *job, lua_State *co)
{
    const char *text = lua_type(co, -1) == LUA_TSTRING ? lua_tostring(co, -1) : NULL;
    if (lua_istable(co, -1) && lua_checkstack(co, 4))
        for (lua_pushnil(co); lua_next(co, -2) != 0; lua_pop(co, 1))
            if (lua_type(co, -2) == LUA_TSTRING && strcmp(lua_tostring(co, -2), "message") == 0)
                text = lua_tostring(co, -1);
    job->in_words = text != NULL;
    snprintf(job->words, sizeof job->words, "%s", text != NULL ? text : "");
}

static void on_end(void *payload, lua_State *co, bool ok, int results)
{
    struct job *job = payload;
    job->ended = true;
    job->ok = ok;
    if (!ok && results > 0)
        read_words(job, co);
    lift_loop_stop(job->rig->context.loop);
}

static int function_done(lua_State *L, int status, lua_KContext extra)
{
    (void)L, (void)status, (void)extra;
    return 0;
}

static int run_function(lua_State *L)
{
    lua_settop(L, 3);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "spec.torture");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, lua_tostring(L, 1));
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_callk(L, 2, 0, 0, function_done);
    return 0;
}

static int start(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    lua_pushcfunction(L, run_function);
    lua_pushstring(L, job->name);
    lua_pushinteger(L, lift_server_port(job->rig->peer.server));
    lua_pushstring(L, job->rig->peer.kubeconfig);
    task_start(L, 3, on_end, job);
    return 0;
}

static void on_late(void *payload)
{
    struct job *job = payload;
    job->late = true;
    lift_loop_stop(job->rig->context.loop);
}

static void on_look(void *payload)
{
    struct job *job = payload;
    lift_loop_stop(job->rig->context.loop);
}

/* What the job cancelled needs a turn or two to end. */
static void wait_for_tasks(struct job *job, struct lift_loop *loop)
{
    while (!job->late && task_count(job->state) > 0) {
        struct lift_timer *look = lift_timer_new(loop, 1, on_look, job);
        lift_loop_run(loop);
        lift_timer_free(look);
    }
}

static void run_in_state(struct job *job)
{
    struct lift_loop *loop = job->rig->context.loop;
    lua_State *L = state_lua(job->state);
    lua_pushcfunction(L, start);
    lua_pushlightuserdata(L, job);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        read_words(job, L);
        job->ended = true;
        return;
    }
    struct lift_timer *late = lift_timer_new(loop, PATIENCE_MS, on_late, job);
    lift_loop_run(loop);
    job->rig->fault.fails = 0; /* what is left may end in peace */
    wait_for_tasks(job, loop);
    lift_timer_free(late);
}

/* Beyond what there was.  The peer hears a little later that its client has gone. */
static int handles_left(struct rig *rig, int before)
{
    struct lift_loop *loop = rig->context.loop;
    struct job none = {.rig = rig};
    peer_settle(&rig->peer);
    for (int turn = 0; turn < 1000 && lift_loop_handles(loop) > before; turn++) {
        struct lift_timer *look = lift_timer_new(loop, 1, on_look, &none);
        lift_loop_run(loop);
        lift_timer_free(look);
    }
    return lift_loop_handles(loop) - before;
}

/* false when something was left behind or went wrong. */
static bool run(struct rig *rig, const char *name, struct memory_fault fault, bool *touched)
{
    struct lift_error err = {0};
    struct job job = {.rig = rig, .name = name};
    int handles = lift_loop_handles(rig->context.loop), tasks = 0;
    rig->fault = fault;
    job.state = state_new(&rig->context, STATE_FLOW, 0, &err);
    if (job.state != NULL) {
        run_in_state(&job);
        tasks = task_count(job.state);
        state_free(job.state);
    } else {
        job.ended = job.in_words = true;
    }
    *touched = rig->fault.after <= 0;
    rig->fault.fails = 0;
    int left = handles_left(rig, handles);
    if (job.ended && !job.late && (job.ok || (job.in_words && *touched)) && tasks == 0 && left == 0)
        return true;
    printf("# %s, allocation %ld%s: %s%s%d tasks, %d handles left; %s\n", name, fault.after,
           fault.fails == ALL_FAIL ? " and all after" : "", job.late ? "stuck; " : "",
           job.ok || job.in_words ? "" : "no words; ", tasks, left, job.words);
    return false;
}

/* ---- all of them ---- */

static bool torture(struct rig *rig, const char *name, int fails)
{
    bool touched = true, good = true;
    long after = 0;
    while (good && touched)
        good = run(rig, name, (struct memory_fault){.after = ++after, .fails = fails}, &touched);
    printf("# %s: %ld allocations\n", name, after - 1);
    return good;
}

static bool succeeds(struct rig *rig, const char *name, bool harsh)
{
    bool touched;
    return run(rig, name, (struct memory_fault){.after = LONG_MAX, .harsh = harsh}, &touched);
}

static void say(bool good, const char *name, const char *what, int *number, int *bad)
{
    printf("%sok %d - %s %s\n", good ? "" : "not ", ++*number, name, what);
    fflush(stdout);
    *bad += !good;
}

int main(void)
{
    static const char *const JOBS[] = {"data", "tasks", "http", "isolate", "kube", "vsphere"};
    static const char *const layers[] = {LUNALIFT_SOURCE_DIR "/scripts",
                                         LUNALIFT_SOURCE_DIR "/tests/spec/layer", NULL};
    struct lift_error err = {0};
    struct rig rig = {.context.layers = layers};
    int number = 0, bad = 0;
    signal(SIGPIPE, SIG_IGN);
    rig.context.log = lift_log_new(STDERR_FILENO, LIFT_LOG_ERROR, false);
    rig.context.loop = lift_loop_new(&err);
    rig.context.pool = lift_http_pool_new(rig.context.loop, &err);
    rig.context.fault = &rig.fault;
    peer_open(&rig.peer, rig.context.loop);
    for (size_t i = 0; i < sizeof JOBS / sizeof *JOBS; i++) {
        const char *name = JOBS[i];
        say(succeeds(&rig, name, false), name, "succeeds", &number, &bad);
        say(succeeds(&rig, name, true), name, "succeeds, garbage collected at every allocation",
            &number, &bad);
        say(torture(&rig, name, ONE_FAILS), name, "lives through an allocation that fails", &number,
            &bad);
        say(torture(&rig, name, ALL_FAIL), name, "lives through all of them failing from there",
            &number, &bad);
    }
    printf("1..%d\n", number);
    peer_close(&rig.peer);
    lift_http_pool_free(rig.context.pool);
    lift_loop_free(rig.context.loop);
    lift_log_free(rig.context.log);
    return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
