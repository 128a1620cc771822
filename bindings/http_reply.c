#include "bindings/http_reply.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "engine/url.h"

#define BODY_SHOWN 4096

void http_reply_take(struct http_reply *out, struct lift_http_reply *reply)
{
    out->status = reply->status;
    out->duration_ms = reply->duration_ms;
    strncpy(out->content_type, reply->content_type, sizeof out->content_type - 1);
    if (!lift_buf_adds(&out->headers, reply->headers))
        lift_buf_clear(&out->headers); /* cannot be: their ceiling is lower */
    out->body = reply->body;
    reply->body = (struct lift_buf){0};
}

void http_headers_push(lua_State *L, const char *headers)
{
    lua_newtable(L);
    for (const char *line = headers, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        const char *colon = strchr(line, ':');
        lua_pushlstring(L, line, (size_t)(colon - line));
        const char *joint = strcmp(lua_tostring(L, -1), "set-cookie") == 0 ? "\n" : ", ";
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlstring(L, colon + 2, (size_t)(end - colon) - 2);
        } else {
            lua_pushstring(L, joint);
            lua_pushlstring(L, colon + 2, (size_t)(end - colon) - 2);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static bool says_json(const char *type)
{
    size_t length = strlen(type);
    return strcmp(type, "application/json") == 0 || strcmp(type, "text/json") == 0 ||
           (length > 5 && strcmp(type + length - 5, "+json") == 0);
}

/* Into the table on top: status, headers, json when it is some, and as much of the body. */
static void set_reply(lua_State *L, const struct http_reply *r, size_t body_max)
{
    const struct lift_buf *body = &r->body;
    struct lift_error ignored;
    lua_pushinteger(L, r->status);
    lua_setfield(L, -2, "status");
    http_headers_push(L, r->headers.data);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, body->data ? body->data : "",
                    body->length < body_max ? body->length : body_max);
    lua_setfield(L, -2, "body");
    if (body->length > 0 && says_json(r->content_type) &&
        json_decode(L, body->data, body->length, &ignored))
        lua_setfield(L, -2, "json");
}

static enum lift_code code_of(int status)
{
    switch (status) {
    case 401:
    case 403:
        return LIFT_DENIED;
    case 404:
    case 410:
        return LIFT_NOT_FOUND;
    case 405:
    case 415:
        return LIFT_UNSUPPORTED;
    case 409:
    case 412:
        return LIFT_CONFLICT;
    case 408:
    case 504:
        return LIFT_TIMEOUT;
    case 413:
    case 507:
        return LIFT_NO_SPACE;
    case 422:
        return LIFT_CONFIG;
    case 429:
    case 503:
        return LIFT_BUSY;
    default:
        return LIFT_FAILED;
    }
}

void http_judge(struct lift_error *err, int status)
{
    err->code = code_of(status);
    err->refused = status == 401 || status == 429 || status == 503;
    err->unanswered = status == 502 || status == 504;
}

static void set_retry_after(lua_State *L, const struct http_reply *r)
{
    const struct lift_http_reply reply = {.headers = r->headers.data ? r->headers.data : ""};
    int64_t seconds = lift_http_retry_after(&reply);
    if (seconds < 0)
        return;
    lua_pushinteger(L, (lua_Integer)seconds);
    lua_setfield(L, -2, "retry_after_s");
}

/* The beginning of a textual body, in one line, for the message. */
static void excerpt(const struct http_reply *r, char out[161])
{
    bool textual = says_json(r->content_type) || strcmp(r->content_type, "text/plain") == 0;
    size_t length = r->body.length < BODY_SHOWN ? r->body.length : BODY_SHOWN;
    char *begins = lift_strndup(textual && r->body.data ? r->body.data : "", length);
    lift_quote(out, 161, begins);
    lift_free(begins);
    for (char *c = out; *c; c++)
        if (isspace((unsigned char)*c) || iscntrl((unsigned char)*c))
            *c = ' ';
}

/* Any status but 2xx. */
static int push_refusal(lua_State *L, const struct http_reply *r, const char *sent_to)
{
    char begins[161];
    struct lift_error err = {0};
    struct lift_url url = {0};
    const char *path = strstr(sent_to, "://") + 3;
    path += strcspn(path, "/?");
    bool known = lift_url_parse(sent_to, &url, &err);
    excerpt(r, begins);
    lift_fail(&err, LIFT_FAILED, "%s %.100s%.*s: HTTP status %d%s%s", r->method,
              known ? url.origin : "", (int)strcspn(path, "?"), path, r->status,
              begins[0] ? ": " : "", begins);
    lift_url_fini(&url);
    http_judge(&err, r->status);
    if (r->status >= 300 && r->status < 400)
        lift_hint(&err, "redirects are not followed: give the address that it points to");
    fail_push(L, &err);
    set_reply(L, r, BODY_SHOWN);
    set_retry_after(L, r);
    return 2;
}

int http_reply_push(lua_State *L, const struct http_reply *r, const char *sent_to)
{
    if (r->status < 200 || r->status > 299)
        return push_refusal(L, r, sent_to);
    lua_newtable(L);
    set_reply(L, r, SIZE_MAX);
    lua_pushnumber(L, r->duration_ms / 1000.0);
    lua_setfield(L, -2, "duration_s");
    return 1;
}
