#include "tests/torture/rig.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bindings/task.h"
#include "engine/timer.h"

/* lua-cjson forgets its buffer when Lua runs out of memory while it decodes, libyaml its first
 * stack when there is none for the second; they are not ours. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:strbuf_init\nleak:strbuf_new\nleak:yaml_parser_load\n";
}

enum { PATIENCE_MS = 10000 };

struct job {
    struct rig *rig;
    struct state *state;
    const char *name;
    bool ended, ok, in_words, late;
    char words[160];
};

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
    lua_settop(L, 2);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "spec.torture");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, lua_tostring(L, 1));
    lua_pushvalue(L, 2);
    lua_callk(L, 1, 0, 0, function_done);
    return 0;
}

static void push_peer(lua_State *L, const struct peer *peer)
{
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, peer->port);
    lua_setfield(L, -2, "port");
    lua_pushinteger(L, peer->tls_port);
    lua_setfield(L, -2, "tls_port");
    lua_pushstring(L, peer->ca_file);
    lua_setfield(L, -2, "ca_file");
    lua_pushstring(L, peer->kubeconfig);
    lua_setfield(L, -2, "kubeconfig");
}

static int start(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    lua_pushcfunction(L, run_function);
    lua_pushstring(L, job->name);
    push_peer(L, job->rig->peer);
    task_start(L, 2, on_end, job);
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
    if (!rig->peer_elsewhere)
        peer_settle(rig->peer);
    for (int turn = 0; turn < 1000 && lift_loop_handles(loop) > before; turn++) {
        struct lift_timer *look = lift_timer_new(loop, 1, on_look, &none);
        lift_loop_run(loop);
        lift_timer_free(look);
    }
    return lift_loop_handles(loop) - before;
}

bool rig_run(struct rig *rig, const char *name, struct memory_fault fault, bool *touched)
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
           fault.fails < 0 ? " and all after" : "", job.late ? "stuck; " : "",
           job.ok || job.in_words ? "" : "no words; ", tasks, left, job.words);
    return false;
}

void rig_open(struct rig *rig)
{
    static const char *const layers[] = {LUNALIFT_SOURCE_DIR "/scripts",
                                         LUNALIFT_SOURCE_DIR "/tests/spec/layer", NULL};
    struct lift_error err = {0};
    *rig = (struct rig){.context.layers = layers};
    signal(SIGPIPE, SIG_IGN);
    rig->context.log = lift_log_new(STDERR_FILENO, LIFT_LOG_ERROR, false);
    rig->context.loop = lift_loop_new(&err);
    rig->context.pool = lift_http_pool_new(rig->context.loop, &err);
    rig->context.fault = &rig->fault;
}

void rig_close(struct rig *rig)
{
    lift_http_pool_free(rig->context.pool);
    lift_loop_free(rig->context.loop);
    lift_log_free(rig->context.log);
}
