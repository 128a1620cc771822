#include "tests/fuzz/fuzz.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void fuzz_demand(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

lua_State *fuzz_lua(void)
{
    static lua_State *L;
    if (L == NULL)
        L = luaL_newstate();
    return L;
}

int fuzz_call(lua_CFunction fn, const void *input)
{
    lua_State *L = fuzz_lua();
    lua_pushcfunction(L, fn);
    lua_pushlightuserdata(L, (void *)input);
    int status = lua_pcall(L, 1, 0, 0);
    lua_settop(L, 0);
    lua_gc(L, LUA_GCSTEP, 0);
    return status;
}
