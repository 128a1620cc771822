/* Of lunalift.kube: watches, and what the API says when it refuses. */
#pragma once

#include <lua.h>

#include "engine/kube.h"

/* Kube:watch(path, options?): path at 2, options at 3.  The watch, or nil and the failure. */
int watch_start(lua_State *L, struct lift_kube *kube);
int watch_next(lua_State *L); /* its methods */
int watch_close(lua_State *L);
struct luaL_Reg;
void watch_types(lua_State *L, const struct luaL_Reg *methods);

/* Push nil and the failure that a refusal means.  asked: "GET /path"; retry_after_s: -1 if not
 * told. */
void kube_refusal_push(lua_State *L, const char *asked, int status, const struct lift_buf *body,
                       lua_Integer retry_after_s);
