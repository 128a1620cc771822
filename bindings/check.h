/* Arguments in, failures out: what every l_<module>.c uses at its edge. */
#pragma once

#include <lua.h>

#include "engine/buf.h"
#include "engine/error.h"
#include "engine/http.h"
#include "engine/secret.h"

/* The world's refusal: pushes nil and a failure table, returns 2, so that a function ends with
 * `return fail_push(L, &err)`. */
int fail_push(lua_State *L, const struct lift_error *err);
/* Only the table, { kind, message, hint?, unanswered?, refused?, retry_after_s? }, to be decorated.
 */
void fail_table(lua_State *L, const struct lift_error *err);
/* The value on top, if it is no failure (a text, a memory error, any table), becomes one of kind
 * bug. */
void fail_of(lua_State *L);
/* Raise a failure table: for what must end the script (cancelled, timeout, bug). */
LIFT_NORETURN void fail_raise(lua_State *L, enum lift_code code, const char *fmt, ...)
    LIFT_PRINTF(3, 4);

/*
 * Option tables.  opt_known() raises on a key that is not listed, naming the nearest one; idx may
 * be absent or nil when every option has a default.  The getters raise on a wrong type or range,
 * naming the option.  Strings live as long as the table holds them, which is why opt_known()
 * refuses one with __index.
 */
void opt_known(lua_State *L, int idx, const char *const *names); /* NULL-terminated */
const char *opt_string(lua_State *L, int idx, const char *name, const char *fallback);
const char *opt_lstring(lua_State *L, int idx, const char *name,
                        size_t *length); /* NULL if absent */
lua_Integer opt_integer(lua_State *L, int idx, const char *name, lua_Integer fallback,
                        lua_Integer min, lua_Integer max);
lua_Number opt_number(lua_State *L, int idx, const char *name, lua_Number fallback, lua_Number min,
                      lua_Number max);
bool opt_boolean(lua_State *L, int idx, const char *name, bool fallback);
struct lift_secret *opt_secret(lua_State *L, int idx,
                               const char *name); /* borrowed; NULL if absent */
/* Reads a Trust table at field `name` of the table at idx. */
void opt_trust(lua_State *L, int idx, const char *name, struct lift_trust *out);

/* Secrets (l_secret.c). */
#define SECRET_TYPE "lunalift.secret"
struct lift_secret *secret_test(lua_State *L, int idx); /* NULL if it is none; borrowed */
/* Like secret_test, but raises nothing, not even a memory error: for code outside protected calls.
 */
struct lift_secret *secret_peek(lua_State *L, int idx);
struct lift_secret *secret_check(lua_State *L, int idx); /* raises */
/* Pushes a handle on a reference of its own.  Memory errors may jump: the caller's reference must
 * already be owned by something. */
void secret_push(lua_State *L, struct lift_secret *secret);

/* Push an empty buffer that Lua collects: for C memory that must survive a jump.  Freed early with
 * lift_buf_free(). */
struct lift_buf *buf_push(lua_State *L);

/* Make a metatable `type` with the methods, __index on itself, __gc and __close (both `closer`, may
 * be NULL), and __name.  Locked. */
struct luaL_Reg;
void type_new(lua_State *L, const char *type, const struct luaL_Reg *methods, lua_CFunction closer);
