/* What HTTP says, as scripts see it. */
#pragma once

#include <lua.h>

#include "engine/http.h"

/* A reply kept from the callback until the task runs; zeroed, with the method filled in. */
struct http_reply {
    char method[16];
    int status;
    uint32_t duration_ms;
    char content_type[128];
    struct lift_buf headers; /* both to be wiped by who holds the struct */
    struct lift_buf body;
};

/* From the loop: no Lua. */
void http_reply_take(struct http_reply *out, struct lift_http_reply *reply);
/* What a refusal with that status means: its kind, and whether the peer may have acted all the
 * same.
 */
void http_judge(struct lift_error *err, int status);
/* Push the reply if it is a 2xx, else nil and the failure; how many values. */
int http_reply_push(lua_State *L, const struct http_reply *r, const char *sent_to);
/* Push "name: value\n…" as a table; several values joined by ", ", of set-cookie by "\n". */
void http_headers_push(lua_State *L, const char *headers);
