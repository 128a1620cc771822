/* An SSH connection as other modules take it (l_ssh.c). */
#pragma once

#include <lua.h>

#include "engine/ssh.h"

/* The connection of the handle at idx; raises on anything else.  Borrowed. */
struct lift_ssh *ssh_check(lua_State *L, int idx);
/* fail_push(), and when the host was not let in, or did not let us in, what it was about. */
int ssh_fail_push(lua_State *L, const struct lift_ssh *ssh, const struct lift_error *err);
