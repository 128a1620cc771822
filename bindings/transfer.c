#include "bindings/transfer.h"

#include <lauxlib.h>
#include <string.h>

#include "bindings/check.h"

#define DEPTH_MAX 32

/* One byte of kind before each value.  Tables are key, value, key, value, …, 'e'. */

static bool put(struct lift_buf *out, char kind, const void *bytes, size_t length,
                struct lift_error *err)
{
    size_t before = out->length;
    if (lift_buf_add(out, &kind, 1) && lift_buf_add(out, bytes, length))
        return true;
    out->length = before; /* no half value is left to be dropped */
    return lift_fail(err, LIFT_NO_SPACE, "more than %zu bytes to hand over",
                     out->max != 0 ? out->max : LIFT_BUF_MAX);
}

static bool pack_value(lua_State *L, int idx, struct lift_buf *out, int depth,
                       struct lift_error *err);

static bool pack_table(lua_State *L, int idx, struct lift_buf *out, int depth,
                       struct lift_error *err)
{
    if (depth >= DEPTH_MAX || !lua_checkstack(L, 8))
        return lift_fail(err, LIFT_BUG, "data nested deeper than %d, or a cycle", DEPTH_MAX);
    if (!put(out, 't', "", 0, err))
        return false;
    for (lua_pushnil(L); lua_next(L, idx) != 0; lua_pop(L, 1))
        if (!pack_value(L, lua_gettop(L) - 1, out, depth + 1, err) ||
            !pack_value(L, lua_gettop(L), out, depth + 1, err)) {
            lua_pop(L, 2);
            return false;
        }
    return put(out, 'e', "", 0, err);
}

static bool pack_number(lua_State *L, int idx, struct lift_buf *out, struct lift_error *err)
{
    if (lua_isinteger(L, idx)) {
        lua_Integer integer = lua_tointeger(L, idx);
        return put(out, 'i', &integer, sizeof integer, err);
    }
    lua_Number number = lua_tonumber(L, idx);
    return put(out, 'd', &number, sizeof number, err);
}

static bool pack_string(lua_State *L, int idx, struct lift_buf *out, struct lift_error *err)
{
    size_t length = 0;
    const char *text = lua_tolstring(L, idx, &length);
    size_t before = out->length;
    if (!put(out, 's', &length, sizeof length, err))
        return false;
    if (lift_buf_add(out, text, length))
        return true;
    out->length = before;
    return lift_fail(err, LIFT_NO_SPACE, "a text of %zu bytes is too long to hand over", length);
}

static bool pack_secret(lua_State *L, int idx, struct lift_buf *out, struct lift_error *err)
{
    struct lift_secret *secret = secret_peek(L, idx);
    if (secret == NULL)
        return lift_fail(err, LIFT_BUG, "a %s cannot cross to another script state",
                         lua_typename(L, lua_type(L, idx)));
    if (!put(out, 'x', &secret, sizeof secret, err))
        return false;
    lift_secret_ref(secret);
    return true;
}

static bool pack_value(lua_State *L, int idx, struct lift_buf *out, int depth,
                       struct lift_error *err)
{
    switch (lua_type(L, idx)) {
    case LUA_TNIL:
        return put(out, 'n', "", 0, err);
    case LUA_TBOOLEAN:
        return put(out, lua_toboolean(L, idx) ? '1' : '0', "", 0, err);
    case LUA_TNUMBER:
        return pack_number(L, idx, out, err);
    case LUA_TSTRING:
        return pack_string(L, idx, out, err);
    case LUA_TTABLE:
        return pack_table(L, idx, out, depth, err);
    default:
        return pack_secret(L, idx, out, err);
    }
}

bool transfer_pack(lua_State *L, int first, int count, struct lift_buf *out, struct lift_error *err)
{
    first = lua_absindex(L, first);
    for (int i = 0; i < count; i++)
        if (!pack_value(L, first + i, out, 0, err)) {
            transfer_drop(out);
            return false;
        }
    return true;
}

struct reader {
    struct lift_buf *packed;
    size_t at;
};

/* The next `size` bytes; a secret's bytes are cleared, so that what was read is not freed again. */
static void take(struct reader *reader, void *out, size_t size)
{
    memcpy(out, reader->packed->data + reader->at, size);
    reader->at += size;
}

static bool unpack_value(lua_State *L, struct reader *reader);

static void unpack_secret(lua_State *L, struct reader *reader)
{
    struct lift_secret *secret;
    size_t at = reader->at;
    take(reader, &secret, sizeof secret);
    secret_push(
        L, secret); /* with a reference of its own; may jump, then the buffer still owns its one */
    memset(reader->packed->data + at, 0, sizeof secret);
    lift_secret_free(secret);
}

static void unpack_table(lua_State *L, struct reader *reader)
{
    luaL_checkstack(L, 8, "data handed over");
    lua_newtable(L);
    while (unpack_value(L, reader)) {
        unpack_value(L, reader);
        lua_rawset(L, -3);
    }
}

/* Push one value; false, pushing nothing, at the end of a table. */
static bool unpack_value(lua_State *L, struct reader *reader)
{
    lua_Integer integer;
    lua_Number number;
    size_t length;
    switch (reader->packed->data[reader->at++]) {
    case 'n':
        lua_pushnil(L);
        return true;
    case '0':
    case '1':
        lua_pushboolean(L, reader->packed->data[reader->at - 1] == '1');
        return true;
    case 'i':
        take(reader, &integer, sizeof integer);
        lua_pushinteger(L, integer);
        return true;
    case 'd':
        take(reader, &number, sizeof number);
        lua_pushnumber(L, number);
        return true;
    case 's':
        take(reader, &length, sizeof length);
        lua_pushlstring(L, reader->packed->data + reader->at, length);
        reader->at += length;
        return true;
    case 'x':
        unpack_secret(L, reader);
        return true;
    case 't':
        unpack_table(L, reader);
        return true;
    default:
        return false;
    }
}

int transfer_unpack(lua_State *L, struct lift_buf *packed)
{
    struct reader reader = {.packed = packed};
    int count = 0;
    for (; reader.at < packed->length; count++) {
        luaL_checkstack(L, 8, "data handed over");
        unpack_value(L, &reader);
    }
    lift_buf_free(packed);
    return count;
}

void transfer_drop(struct lift_buf *packed)
{
    size_t length;
    struct lift_secret *secret;
    for (size_t at = 0; at < packed->length;) {
        char kind = packed->data[at++];
        const char *data = packed->data + at;
        if (kind == 'i' || kind == 'd') {
            at += sizeof(lua_Integer);
        } else if (kind == 's') {
            memcpy(&length, data, sizeof length);
            at += sizeof length + length;
        } else if (kind == 'x') {
            memcpy(&secret, data, sizeof secret);
            lift_secret_free(secret);
            at += sizeof secret;
        }
    }
    lift_buf_free(packed);
}
