/* The globals of a script's state.  Only state.c needs them. */
#pragma once

#include <lua.h>

/* Put them in place, read-only, with this function as `require`. */
void sandbox_globals(lua_State *L, lua_CFunction require);
/* A pcall from which a task that must end is not saved. */
int sandbox_pcall(lua_State *L);
