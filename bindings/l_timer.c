/* lunalift.timer: waiting, and the two clocks. */
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "bindings/task.h"
#include "engine/timer.h"

#define SLEEP "lunalift.timer.sleep"
#define SLEEP_MAX_S 86400

struct sleep {
    struct task_op op;
    struct lift_timer *timer; /* owned; NULL when not armed */
};

static int sleep_close(lua_State *L)
{
    struct sleep *s = luaL_checkudata(L, 1, SLEEP);
    lift_timer_free(s->timer);
    s->timer = NULL;
    return 0;
}

static int sleep_done(lua_State *L, int status, lua_KContext slot)
{
    (void)status;
    struct sleep *s = task_done(L, slot);
    lift_timer_free(s->timer);
    s->timer = NULL;
    lua_pushboolean(L, 1);
    return 1;
}

static int timer_sleep(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds <= SLEEP_MAX_S, 1, "out of range (0 to 86400)");
    struct sleep *s = task_op(L, SLEEP, sizeof *s);
    s->timer =
        lift_timer_new(task_loop(s->op.task), (uint64_t)ceil(seconds * 1000), task_op_wake, s);
    return task_park(L, s, sleep_done);
}

static int timer_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)lift_loop_now_ms(task_loop(task_of(L))) / 1000);
    return 1;
}

static int timer_epoch(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)time(NULL));
    return 1;
}

static int timer_iso(lua_State *L)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    lua_Number seconds =
        luaL_optnumber(L, 1, (lua_Number)now.tv_sec + (lua_Number)(now.tv_nsec / 1000) / 1e6);
    luaL_argcheck(L, fabs(seconds) < 1e11, 1, "out of range");
    lua_Number whole = floor(seconds);
    time_t when = (time_t)whole;
    struct tm utc;
    char date[48], text[64];
    if (gmtime_r(&when, &utc) == NULL ||
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        return luaL_argerror(L, 1, "no such time");
    snprintf(text, sizeof text, "%s.%06dZ", date, (int)((seconds - whole) * 1e6));
    lua_pushstring(L, text);
    return 1;
}

/* RFC 3339: 2026-01-31T12:00:00[.frac](Z|+hh:mm). */
static int timer_parse(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    struct tm utc = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    if (rest == NULL)
        return 0;
    double fraction = 0;
    int used = 0, hours = 0, minutes = 0;
    char sign = 'Z';
    if (*rest == '.' && sscanf(rest, "%lf%n", &fraction, &used) == 1)
        rest += used;
    if (*rest != 'Z' && sscanf(rest, "%c%2d:%2d", &sign, &hours, &minutes) != 3)
        return 0;
    int offset = (hours * 60 + minutes) * 60;
    lua_pushnumber(L, (lua_Number)timegm(&utc) + fraction - (sign == '-' ? -offset : offset));
    return 1;
}

int open_timer(lua_State *L)
{
    static const luaL_Reg functions[] = {{"sleep", timer_sleep}, {"now", timer_now},
                                         {"epoch", timer_epoch}, {"iso", timer_iso},
                                         {"parse", timer_parse}, {NULL, NULL}};
    type_new(L, SLEEP, NULL, sleep_close);
    luaL_newlib(L, functions);
    return 1;
}
