#include "bindings/vim_value.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/check.h"

#define DEPTH_MAX 32

/* ---- reading ---- */

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(word, *words) == 0)
            return true;
    return false;
}

static bool is_integer(const char *type)
{
    static const char *const types[] = {"int", "long", "short", "byte", "unsignedInt", NULL};
    return is_one_of(type, types);
}

static bool is_scalar(const char *type)
{
    static const char *const types[] = {"string",       "boolean", "dateTime", "anyURI",
                                        "base64Binary", "double",  "float",    NULL};
    return is_integer(type) || is_one_of(type, types);
}

static void push_scalar(lua_State *L, const char *type, const char *text)
{
    char *end = NULL;
    errno = 0;
    if (is_integer(type)) {
        long long value = strtoll(text, &end, 10);
        if (*text && !*end && errno == 0) {
            lua_pushinteger(L, value);
            return;
        }
    } else if (strcmp(type, "double") == 0 || strcmp(type, "float") == 0) {
        double value = strtod(text, &end);
        if (*text && !*end) {
            lua_pushnumber(L, value);
            return;
        }
    } else if (strcmp(type, "boolean") == 0) {
        lua_pushboolean(L, strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
        return;
    }
    lua_pushstring(L, text);
}

void vim_push_moref(lua_State *L, const struct lift_moref *ref)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, ref->type);
    lua_setfield(L, -2, "type");
    lua_pushstring(L, ref->id);
    lua_setfield(L, -2, "id");
    if (ref->guid[0]) {
        lua_pushstring(L, ref->guid);
        lua_setfield(L, -2, "guid");
    }
}

static void push_value(lua_State *L, const struct lift_xml_node *node, const char *type,
                       bool texts);

static bool is_twin(const struct lift_xml_node *node, const struct lift_xml_node *other)
{
    return other && strcmp(lift_xml_name(node), lift_xml_name(other)) == 0;
}

/* The value on top of the stack joins field `name` of the table below.  Repeated elements stand in
 * a row and make a list; of those that do not, the last one counts. */
static void add_field(lua_State *L, const char *name, bool begins, bool ends)
{
    if (begins && ends) {
        lua_setfield(L, -2, name);
        return;
    }
    if (begins) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -4, name);
    } else {
        lua_getfield(L, -2, name);
    }
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

void vim_push_fields(lua_State *L, const struct lift_xml_node *node, bool texts)
{
    luaL_checkstack(L, 8, "vim25 value");
    lua_newtable(L);
    const struct lift_xml_node *before = NULL, *child = lift_xml_child(node, NULL), *after;
    for (; child; before = child, child = after) {
        after = lift_xml_next(child, NULL);
        push_value(L, child, lift_soap_type(child), texts);
        add_field(L, lift_xml_name(child), !is_twin(child, before), !is_twin(child, after));
    }
}

/* Children of ArrayOfInt, ArrayOfString, … are named by their type and need not repeat it. */
static void push_list(lua_State *L, const struct lift_xml_node *node, bool texts)
{
    luaL_checkstack(L, 8, "vim25 value");
    lua_newtable(L);
    lua_Integer count = 0;
    const struct lift_xml_node *child = lift_xml_child(node, NULL);
    for (; child; child = lift_xml_next(child, NULL)) {
        const char *type = lift_soap_type(child);
        const char *name = lift_xml_name(child);
        push_value(L, child,
                   *type || !(is_scalar(name) || lift_xml_child(child, NULL)) ? type : name, texts);
        lua_rawseti(L, -2, ++count);
    }
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

static void push_value(lua_State *L, const struct lift_xml_node *node, const char *type, bool texts)
{
    const char *text = lift_xml_text(node);
    struct lift_moref ref;
    bool leaf = !lift_xml_child(node, NULL);
    if (strncmp(type, "ArrayOf", 7) == 0) {
        push_list(L, node, texts);
    } else if (leaf && texts) {
        lua_pushstring(L, text);
    } else if (leaf && lift_soap_read_moref(node, &ref)) {
        vim_push_moref(L, &ref);
    } else if (leaf && (!*type || is_scalar(type) || !is_blank(text))) {
        push_scalar(L, type, text);
    } else {
        vim_push_fields(L, node, texts);
        if (*type && !texts) {
            lua_pushstring(L, type);
            lua_setfield(L, -2, "_type");
        }
    }
}

void vim_push(lua_State *L, const struct lift_xml_node *node)
{
    push_value(L, node, lift_soap_type(node), false);
}

static void push_row(lua_State *L, const struct lift_xml_node *node)
{
    if (lift_xml_child(node, NULL)) {
        vim_push_fields(L, node, true);
        return;
    }
    lua_createtable(L, 0, 1);
    lua_pushstring(L, lift_xml_text(node));
    lua_setfield(L, -2, "value");
}

void vim_push_rows(lua_State *L, const struct lift_xml_node *node)
{
    lua_newtable(L);
    const char *type = node ? lift_soap_type(node) : "";
    if (strncmp(type, "ArrayOf", 7) == 0) {
        lua_Integer count = 0;
        for (node = lift_xml_child(node, NULL); node; node = lift_xml_next(node, NULL)) {
            push_row(L, node);
            lua_rawseti(L, -2, ++count);
        }
    } else if (node && (lift_xml_child(node, NULL) || !*type || is_scalar(type))) {
        push_row(L, node);
        lua_rawseti(L, -2, 1);
    }
}

/* ---- writing ---- */

static void read_part(lua_State *L, int idx, const char *field, char *out, size_t size)
{
    size_t length = 0;
    lua_getfield(L, idx, field);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : "";
    if (length >= size || strlen(text) != length)
        luaL_error(L, "a moref's %s is too long or holds a zero byte", field);
    memcpy(out, text, length + 1);
    lua_pop(L, 1);
}

void vim_check_moref(lua_State *L, int idx, struct lift_moref *out)
{
    idx = lua_absindex(L, idx);
    luaL_checktype(L, idx, LUA_TTABLE);
    read_part(L, idx, "type", out->type, sizeof out->type);
    read_part(L, idx, "id", out->id, sizeof out->id);
    read_part(L, idx, "guid", out->guid, sizeof out->guid);
    if (!out->type[0] || !out->id[0])
        luaL_error(L, "a moref {type =, id =} expected");
}

static bool has_field(lua_State *L, int idx, const char *name)
{
    bool has = lua_getfield(L, idx, name) != LUA_TNIL;
    lua_pop(L, 1);
    return has;
}

/* { _type = …, … }, or its first item is a pair: a table that begins with a name. */
static bool is_object(lua_State *L, int idx)
{
    if (has_field(L, idx, "_type"))
        return true;
    int top = lua_gettop(L);
    bool pair = lua_rawgeti(L, idx, 1) == LUA_TTABLE && lua_rawgeti(L, -1, 1) == LUA_TSTRING &&
                lua_rawlen(L, -2) >= 2;
    lua_settop(L, top);
    return pair;
}

static bool write_value(lua_State *L, struct lift_buf *out, const char *name, int idx,
                        const char *type, int depth, struct lift_error *err);

static bool write_pair(lua_State *L, struct lift_buf *out, int idx, int depth,
                       struct lift_error *err)
{
    int top = lua_gettop(L);
    if (lua_rawgeti(L, idx, 1) != LUA_TSTRING)
        luaL_error(L, "an argument must be a pair {name, value}");
    lua_rawgeti(L, idx, 2);
    lua_rawgeti(L, idx, 3);
    const char *type = lua_isnil(L, top + 3) ? NULL : luaL_checkstring(L, top + 3);
    bool good = write_value(L, out, lua_tostring(L, top + 1), top + 2, type, depth, err);
    lua_settop(L, top);
    return good;
}

static bool write_object(lua_State *L, struct lift_buf *out, const char *name, int idx,
                         const char *type, int depth, struct lift_error *err)
{
    if (lua_getfield(L, idx, "_type") == LUA_TSTRING && !type)
        type = lua_tostring(L, -1);
    bool good = lift_soap_open(out, name, type, err);
    lua_Integer count = (lua_Integer)lua_rawlen(L, idx);
    for (lua_Integer i = 1; i <= count && good; i++) {
        if (lua_rawgeti(L, idx, i) != LUA_TTABLE)
            luaL_error(L, "the fields of %s must be pairs {name, value}", name);
        good = write_pair(L, out, lua_gettop(L), depth, err);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return good && lift_soap_close(out, name, err);
}

static bool write_list(lua_State *L, struct lift_buf *out, const char *name, int idx,
                       const char *type, int depth, struct lift_error *err)
{
    lua_Integer count = (lua_Integer)lua_rawlen(L, idx);
    bool good = true;
    for (lua_Integer i = 1; i <= count && good; i++) {
        lua_rawgeti(L, idx, i);
        good = write_value(L, out, name, lua_gettop(L), type, depth, err);
        lua_pop(L, 1);
    }
    return good;
}

static bool write_table(lua_State *L, struct lift_buf *out, const char *name, int idx,
                        const char *type, int depth, struct lift_error *err)
{
    if (has_field(L, idx, "id")) {
        struct lift_moref ref;
        vim_check_moref(L, idx, &ref);
        return lift_soap_moref(out, name, &ref, err);
    }
    return is_object(L, idx) ? write_object(L, out, name, idx, type, depth + 1, err)
                             : write_list(L, out, name, idx, type, depth + 1, err);
}

static bool write_value(lua_State *L, struct lift_buf *out, const char *name, int idx,
                        const char *type, int depth, struct lift_error *err)
{
    luaL_checkstack(L, 8, "vim25 value");
    if (depth > DEPTH_MAX)
        luaL_error(L, "argument %s is nested too deeply", name);
    const struct lift_secret *secret = secret_test(L, idx);
    if (secret)
        return lift_soap_text(out, name, type, lift_secret_bytes(secret),
                              lift_secret_length(secret), err);
    size_t length = 0;
    const char *text = NULL;
    char number[48];
    switch (lua_type(L, idx)) {
    case LUA_TNIL: /* optional, and left out */
        return true;
    case LUA_TTABLE:
        return write_table(L, out, name, idx, type, depth, err);
    case LUA_TBOOLEAN:
        text = lua_toboolean(L, idx) ? "true" : "false";
        return lift_soap_text(out, name, type, text, strlen(text), err);
    case LUA_TNUMBER:
        if (lua_isinteger(L, idx))
            snprintf(number, sizeof number, LUA_INTEGER_FMT, (LUAI_UACINT)lua_tointeger(L, idx));
        else
            snprintf(number, sizeof number, "%.17g", lua_tonumber(L, idx));
        return lift_soap_text(out, name, type, number, strlen(number), err);
    case LUA_TSTRING:
        text = lua_tolstring(L, idx, &length);
        return lift_soap_text(out, name, type, text, length, err);
    default:
        return luaL_error(L, "argument %s is a %s", name, luaL_typename(L, idx));
    }
}

bool vim_write_pairs(lua_State *L, int idx, struct lift_buf *out, struct lift_error *err)
{
    if (lua_isnoneornil(L, idx))
        return true;
    luaL_checktype(L, idx, LUA_TTABLE);
    lua_Integer count = (lua_Integer)lua_rawlen(L, idx);
    bool good = true;
    for (lua_Integer i = 1; i <= count && good; i++) {
        if (lua_rawgeti(L, idx, i) != LUA_TTABLE)
            luaL_error(L, "an argument must be a pair {name, value}");
        good = write_pair(L, out, lua_gettop(L), 1, err);
        lua_pop(L, 1);
    }
    return good;
}
