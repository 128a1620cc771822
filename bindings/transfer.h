/* Plain data from one Lua state to another: nil, booleans, numbers, strings, tables of those, and
 * secrets. */
#pragma once

#include <lua.h>

#include "engine/buf.h"

/*
 * Write `count` values, from stack index `first` on, to the buffer.  Never raises.  false and *err
 * when one is no plain data (names its type and where), nested deeper than 32, or together above
 * the buffer's ceiling.
 */
LIFT_NODISCARD bool transfer_pack(lua_State *L, int first, int count, struct lift_buf *out,
                                  struct lift_error *err);

/* Push what was packed; how many values.  May raise a memory error.  A packed buffer is read once:
 * secrets in it are references. */
int transfer_unpack(lua_State *L, struct lift_buf *packed);

/* Free a buffer that was packed and not (or not wholly) unpacked. */
void transfer_drop(struct lift_buf *packed);
