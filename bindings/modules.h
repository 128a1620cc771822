/* Openers of the C modules: luaopen_ functions in the form that state.c preloads. */
#pragma once

#include <lua.h>

int open_task(lua_State *L);
int open_task_of_vendor(lua_State *L); /* signals are the program's */
int open_timer(lua_State *L);
int open_json(lua_State *L);
int open_secret(lua_State *L);
int open_log(lua_State *L);
int open_codec(lua_State *L);
int open_xml(lua_State *L);
int open_http(lua_State *L);
int open_server(lua_State *L);
int open_vsphere(lua_State *L);
int open_ssh(lua_State *L);
int open_clone(lua_State *L);
int open_kube(lua_State *L);
int open_journal(lua_State *L);
int open_console(lua_State *L);
int open_env(lua_State *L);
int open_script(lua_State *L);
int open_isolate(lua_State *L);
int open_fs(lua_State *L);
int open_process(lua_State *L);
int open_certificate(lua_State *L);
int open_crash(lua_State *L);
int open_probe(lua_State *L);

/* Build a Lua value from JSON text / JSON text from a value, for other modules (l_json.c).
 * json_decode: pushes the value and returns true, or fills err. */
struct lift_error;
_Bool json_decode(lua_State *L, const char *text, size_t length, struct lift_error *err);
/* Pushes the text as a string; raises on what JSON cannot say. */
void json_encode(lua_State *L, int idx, _Bool indent);
/* Appends the text to `out`, secrets in clear: for bodies of requests, which are wiped. */
struct lift_buf;
void json_reveal(lua_State *L, int idx, struct lift_buf *out);
