/* A vSphere login as Lua holds it: shared by the session's handle and by what still uses it, so
 * that either may be collected first. */
#pragma once

#include <lua.h>

#include "engine/vsphere.h"

struct login {
    unsigned refs;
    struct lift_vsphere *vs;
};

struct login *login_ref(struct login *login);
void login_unref(struct login *login); /* NULL is fine */
/* The login of the session at idx; raises on anything else.  Borrowed. */
struct login *login_check(lua_State *L, int idx);
