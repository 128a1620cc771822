/* lunalift.crash: points at which a test can have the process die as if by SIGKILL. */
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/modules.h"

#define ASKED_BY "LUNALIFT_TEST_CRASH" /* "before:3": before the third effect */

static int crash_point(lua_State *L)
{
    const char *when = luaL_checkstring(L, 1);
    lua_Integer number = luaL_checkinteger(L, 2);
    const char *asked = getenv(ASKED_BY);
    if (asked == NULL)
        return 0;
    char point[64];
    snprintf(point, sizeof point, "%s:%lld", when, (long long)number);
    if (strcmp(point, asked) == 0)
        raise(SIGKILL);
    return 0;
}

int open_crash(lua_State *L)
{
    static const luaL_Reg functions[] = {{"point", crash_point}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
