/* lunalift.probe: what only tests may do to the runtime. */
#include <lauxlib.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "bindings/task.h"

static int probe_skip_waits(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TBOOLEAN);
    lift_loop_skip_waits(task_loop(task_of(L)), lua_toboolean(L, 1));
    return 0;
}

static int probe_waits(lua_State *L)
{
    lua_pushinteger(L, task_waits(task_of(L)));
    return 1;
}

static int probe_cancel_at(lua_State *L)
{
    lua_Integer wait = luaL_checkinteger(L, 1);
    luaL_argcheck(L, wait > 0 && wait <= UINT16_MAX, 1, "out of range");
    task_cancel_at(task_of(L), (unsigned)wait);
    return 0;
}

int open_probe(lua_State *L)
{
    static const luaL_Reg functions[] = {{"skip_waits", probe_skip_waits},
                                         {"waits", probe_waits},
                                         {"cancel_at", probe_cancel_at},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
