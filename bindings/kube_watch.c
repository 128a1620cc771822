#include "bindings/kube_watch.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/http_reply.h"
#include "bindings/modules.h"
#include "bindings/task.h"
#include "engine/timer.h"

#define WATCH "lunalift.kube.watch"
#define NEXT "lunalift.kube.next"
#define SNIPPET 200                   /* bytes shown of an answer that is no Status */
#define EVENT_MAX ((size_t)16 << 20)  /* etcd keeps nothing above 1.5 MiB */
#define WAITING_MAX ((size_t)1 << 20) /* bytes of events that nobody has read */
#define TIMEOUT_MAX_S 86400

/* One event a line, read one by one; more come only while there is room. */
struct watch {
    struct lift_http *http; /* owned; NULL once over */
    struct lift_buf lines;  /* from `read` on unread */
    size_t read;
    struct next *reader; /* the task that waits for a whole line, if any */
    bool over;
    bool held_up; /* there was no room */
    bool too_long;
    int status; /* of the reply; 0 when there was none, or none yet */
    struct lift_buf refusal;
    lua_Integer retry_after_s;
    struct lift_error err;
};

/* A task that waits for the next event. */
struct next {
    struct task_op op;
    struct watch *watch; /* NULL once closed */
    struct lift_timer *timer;
    bool is_late;
};

/* ---- refusals ---- */

static void add_hint(struct lift_error *err, int status)
{
    if (status == 401)
        lift_hint(err, "the API does not know these credentials: look at the token's expiry, or "
                       "name another kubeconfig");
    else if (status == 403)
        lift_hint(err, "give the account this permission (the message names it), or use another "
                       "account");
}

/* Push the Status object of a refusal, or an empty table when the answer is none. */
static void push_status(lua_State *L, const struct lift_buf *body)
{
    struct lift_error not_json;
    const char *text = body->data != NULL ? body->data : "";
    if (json_decode(L, text, body->length, &not_json)) {
        if (lua_type(L, -1) == LUA_TTABLE && lua_getfield(L, -1, "kind") == LUA_TSTRING &&
            strcmp(lua_tostring(L, -1), "Status") == 0) {
            lua_pop(L, 1);
            return;
        }
    }
    lua_newtable(L);
}

/* The text field of the table at `idx`, left on the stack; "" when it is none. */
static const char *push_text(lua_State *L, int idx, const char *field)
{
    if (lua_getfield(L, idx, field) == LUA_TSTRING)
        return lua_tostring(L, -1);
    lua_pop(L, 1);
    return lua_pushliteral(L, "");
}

static lua_Integer told_to_wait(lua_State *L, int object, lua_Integer seconds)
{
    if (lua_getfield(L, object, "details") == LUA_TTABLE &&
        lua_getfield(L, -1, "retryAfterSeconds") == LUA_TNUMBER)
        seconds = lua_tointeger(L, -1);
    return seconds;
}

void kube_refusal_push(lua_State *L, const char *asked, int status, const struct lift_buf *body,
                       lua_Integer retry_after_s)
{
    push_status(L, body);
    int object = lua_gettop(L);
    const char *reason = push_text(L, object, "reason");
    const char *message = push_text(L, object, "message");
    struct lift_error err = {0};
    char shown[SNIPPET + 1];
    lift_quote(shown, sizeof shown,
               *message != '\0'     ? message
               : body->data != NULL ? body->data
                                    : "");
    lift_fail(&err, LIFT_FAILED, "%s: %d %s", asked, status, shown);
    http_judge(&err, status);
    if (strcmp(reason, "ServerTimeout") == 0)
        err.code = LIFT_BUSY;
    add_hint(&err, status);
    retry_after_s = told_to_wait(L, object, retry_after_s);
    fail_push(L, &err);
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "status");
    if (*reason != '\0') {
        lua_pushstring(L, reason);
        lua_setfield(L, -2, "reason");
    }
    if (retry_after_s >= 0) {
        lua_pushinteger(L, retry_after_s);
        lua_setfield(L, -2, "retry_after_s");
    }
}

/* ---- from the loop: no Lua ---- */

static void wake_reader(struct watch *watch)
{
    if (watch->reader != NULL)
        task_op_wake(watch->reader);
}

/* Who waits for the end of a line is given all of it, however long. */
static bool on_piece(void *payload, const char *bytes, size_t length)
{
    struct watch *watch = payload;
    watch->held_up =
        watch->reader == NULL && watch->lines.length - watch->read + length > WAITING_MAX;
    if (watch->held_up || watch->too_long)
        return false;
    watch->too_long = !lift_buf_add(&watch->lines, bytes, length);
    if (watch->too_long || memchr(bytes, '\n', length) != NULL)
        wake_reader(watch);
    return !watch->too_long;
}

static void on_end(void *payload, struct lift_http_reply *reply, const struct lift_error *err)
{
    struct watch *watch = payload;
    watch->over = true;
    if (reply != NULL) {
        watch->status = reply->status;
        watch->refusal = reply->body;
        reply->body = (struct lift_buf){0};
        watch->retry_after_s = (lua_Integer)lift_http_retry_after(reply);
    } else {
        watch->err = *err;
    }
    wake_reader(watch);
}

static void on_late(void *payload)
{
    struct next *next = payload;
    next->is_late = true;
    task_op_wake(next);
}

/* ---- the next event ---- */

static int next_close(lua_State *L)
{
    struct next *next = luaL_checkudata(L, 1, NEXT);
    lift_timer_free(next->timer);
    next->timer = NULL;
    if (next->watch != NULL)
        next->watch->reader = NULL;
    next->watch = NULL;
    return 0;
}

int watch_close(lua_State *L)
{
    struct watch *watch = luaL_checkudata(L, 1, WATCH);
    lift_http_free(watch->http);
    watch->http = NULL;
    watch->over = true;
    wake_reader(watch);
    lift_buf_wipe(&watch->lines);
    lift_buf_wipe(&watch->refusal);
    watch->read = 0;
    return 0;
}

/* Take the unread line's place at the front, once what was read is more than what was not. */
static void forget_what_was_read(struct watch *watch)
{
    size_t left = watch->lines.length - watch->read;
    if (watch->read < left)
        return;
    memmove(watch->lines.data, watch->lines.data + watch->read, left + 1);
    watch->lines.length = left;
    watch->read = 0;
}

/* Push the next event, or nil and what is wrong with it; 0 when there is no whole line. */
static int push_event(lua_State *L, struct watch *watch)
{
    struct lift_error err = {0};
    size_t left = watch->lines.length - watch->read;
    if (left == 0)
        return 0;
    const char *line = watch->lines.data + watch->read;
    const char *end = memchr(line, '\n', left);
    if (end == NULL)
        return 0;
    watch->read += (size_t)(end - line) + 1;
    bool decoded = json_decode(L, line, (size_t)(end - line), &err);
    forget_what_was_read(watch);
    return decoded ? 1 : fail_push(L, &err);
}

/* Push nil, and why it has ended if it did not end well. */
static int push_end(lua_State *L, const struct watch *watch)
{
    struct lift_error err = watch->err;
    if (watch->too_long)
        lift_fail(&err, LIFT_NO_SPACE, "an event of more than %zu bytes", EVENT_MAX);
    if (err.code != LIFT_OK)
        return fail_push(L, &err);
    if (watch->status > 299) {
        kube_refusal_push(L, "watch", watch->status, &watch->refusal, watch->retry_after_s);
        return 2;
    }
    lua_pushnil(L);
    return 1;
}

static int push_next(lua_State *L, struct watch *watch)
{
    int results = push_event(L, watch);
    return results == 0 && (watch->over || watch->too_long) ? push_end(L, watch) : results;
}

static int next_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct next *next = task_done(L, slot);
    struct watch *watch = next->watch;
    bool is_late = next->is_late;
    lua_pushcfunction(L, next_close);
    lua_pushvalue(L, (int)slot);
    lua_call(L, 1, 0);
    int results = push_next(L, watch);
    if (results > 0)
        return results;
    struct lift_error err = {0};
    lift_fail(&err, is_late ? LIFT_TIMEOUT : LIFT_PROTOCOL, "the watch has been silent");
    return fail_push(L, &err);
}

int watch_next(lua_State *L)
{
    struct watch *watch = luaL_checkudata(L, 1, WATCH);
    lua_Number within_s = luaL_checknumber(L, 2);
    luaL_argcheck(L, within_s > 0 && within_s <= TIMEOUT_MAX_S, 2, "out of range (0 to 86400)");
    if (watch->reader != NULL)
        return luaL_error(L, "another task waits for this watch's events");
    task_check(L);
    int results = push_next(L, watch);
    if (results > 0)
        return results;
    struct next *next = task_op(L, NEXT, sizeof *next);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1); /* keeps the watch while one waits for it */
    next->watch = watch;
    watch->reader = next;
    if (watch->held_up) {
        lift_http_resume(watch->http); /* which may hand us a piece at once */
        if ((results = push_next(L, watch)) > 0) {
            watch->reader = NULL;
            next->watch = NULL;
            return results;
        }
    }
    next->timer =
        lift_timer_new(task_loop(next->op.task), (uint64_t)ceil(within_s * 1000), on_late, next);
    return task_park(L, next, next_done);
}

int watch_start(lua_State *L, struct lift_kube *kube)
{
    static const char *const names[] = {"timeout_s", NULL};
    const char *path = luaL_checkstring(L, 2);
    luaL_argcheck(L, path[0] == '/', 2, "a path begins with /");
    opt_known(L, 3, names);
    lua_Number timeout_s = opt_number(L, 3, "timeout_s", 600, 0.001, TIMEOUT_MAX_S);
    struct lift_kube_request request = {.method = "GET",
                                        .path = path,
                                        .timeout_ms = (uint32_t)ceil(timeout_s * 1000),
                                        .take = on_piece};
    struct lift_error err = {0};
    struct watch *watch = lua_newuserdatauv(L, sizeof *watch, 0);
    *watch = (struct watch){.lines.max = EVENT_MAX, .retry_after_s = -1};
    luaL_setmetatable(L, WATCH);
    watch->http = lift_kube_start(kube, &request, on_end, watch, &err);
    return watch->http != NULL ? 1 : fail_push(L, &err);
}

void watch_types(lua_State *L, const luaL_Reg *methods)
{
    type_new(L, WATCH, methods, watch_close);
    type_new(L, NEXT, NULL, next_close);
}
