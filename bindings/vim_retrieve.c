/* Property retrieval: the specification written, the objects read. */
#include <lauxlib.h>
#include <string.h>

#include "bindings/vim_value.h"

#define PAGE "250" /* objects: a reply of some MB at most */

struct writer { /* after the first failure nothing more is written */
    lua_State *L;
    struct lift_buf *out;
    struct lift_error *err;
    bool good;
};

static void open(struct writer *w, const char *name, const char *type)
{
    w->good = w->good && lift_soap_open(w->out, name, type, w->err);
}

static void close(struct writer *w, const char *name)
{
    w->good = w->good && lift_soap_close(w->out, name, w->err);
}

static void text(struct writer *w, const char *name, const char *value)
{
    w->good = w->good && lift_soap_text(w->out, name, NULL, value, strlen(value), w->err);
}

typedef void item_fn(struct writer *w); /* the item is on top of the stack */

/* Each item of the list on top, which is popped; nil is an empty list. */
static void each(struct writer *w, const char *what, item_fn *item)
{
    lua_State *L = w->L;
    luaL_checkstack(L, 8, "property retrieval");
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        luaL_error(L, "%s must be a list", what);
    lua_Integer count = lua_isnil(L, -1) ? 0 : (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        item(w);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* A string field of the table on top; the table holds it. */
static const char *field(lua_State *L, const char *name, bool needed)
{
    int type = lua_getfield(L, -1, name);
    if (type != LUA_TSTRING && (needed || type != LUA_TNIL))
        luaL_error(L, "'%s' of a traversal must be a string", name);
    const char *value = lua_tostring(L, -1);
    lua_pop(L, 1);
    return value;
}

static void write_path(struct writer *w)
{
    text(w, "pathSet", luaL_checkstring(w->L, -1));
}

static void write_reference(struct writer *w)
{
    open(w, "selectSet", NULL);
    text(w, "name", luaL_checkstring(w->L, -1));
    close(w, "selectSet");
}

static void write_traversal(struct writer *w)
{
    if (!lua_istable(w->L, -1))
        luaL_error(w->L, "a traversal must be a table");
    const char *name = field(w->L, "name", false);
    open(w, "selectSet", "TraversalSpec");
    if (name)
        text(w, "name", name);
    text(w, "type", field(w->L, "type", true));
    text(w, "path", field(w->L, "path", true));
    text(w, "skip", "false");
    lua_getfield(w->L, -1, "again");
    each(w, "again", write_reference);
    close(w, "selectSet");
}

static void write_object(struct writer *w) /* the specification lies two below */
{
    struct lift_moref ref;
    vim_check_moref(w->L, -1, &ref);
    open(w, "objectSet", NULL);
    w->good = w->good && lift_soap_moref(w->out, "obj", &ref, w->err);
    text(w, "skip", "false");
    lua_getfield(w->L, -3, "select");
    each(w, "select", write_traversal);
    close(w, "objectSet");
}

static void write_props(struct writer *w) /* the specification is on top */
{
    lua_State *L = w->L;
    if (lua_getfield(L, -1, "props") != LUA_TTABLE)
        luaL_error(L, "props must be a table of paths by type");
    for (lua_pushnil(L); lua_next(L, -2);) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "props must be named by type");
        open(w, "propSet", NULL);
        text(w, "type", lua_tostring(L, -2));
        text(w, "all", "false");
        each(w, "props", write_path);
        close(w, "propSet");
    }
    lua_pop(L, 1);
}

bool vim_write_retrieve(lua_State *L, int idx, struct lift_buf *out, struct lift_error *err)
{
    struct writer w = {L, out, err, true};
    lua_pushvalue(L, idx);
    open(&w, "specSet", NULL);
    write_props(&w);
    lua_getfield(L, -1, "objects");
    each(&w, "objects", write_object);
    text(&w, "reportMissingObjectsInResults", "true");
    close(&w, "specSet");
    open(&w, "options", NULL);
    text(&w, "maxObjects", PAGE);
    close(&w, "options");
    lua_pop(L, 1);
    return w.good;
}

static void set_prop(lua_State *L, const struct lift_xml_node *set) /* into the table on top */
{
    const struct lift_xml_node *name = lift_xml_child(set, "name");
    const struct lift_xml_node *val = lift_xml_child(set, "val");
    if (!name || !val)
        return;
    lua_pushstring(L, lift_xml_text(name));
    vim_push(L, val);
    lua_rawset(L, -3);
}

static void set_missing(lua_State *L, const struct lift_xml_node *set)
{
    const struct lift_xml_node *path = lift_xml_child(set, "path");
    const struct lift_xml_node *why = lift_xml_child(set, "fault");
    struct lift_soap_fault fault = {.type = "Unknown"};
    struct lift_error ignored;
    if (!path)
        return;
    if (why)
        lift_soap_read_fault(why, &fault, &ignored);
    lua_pushstring(L, lift_xml_text(path));
    lua_pushstring(L, fault.type);
    lua_rawset(L, -3);
}

static void push_object(lua_State *L, const struct lift_xml_node *object)
{
    const struct lift_xml_node *node = lift_xml_child(object, "obj");
    struct lift_moref ref = {0};
    lua_createtable(L, 0, 3);
    if (node && lift_soap_read_moref(node, &ref)) {
        vim_push_moref(L, &ref);
        lua_setfield(L, -2, "ref");
    }
    lua_newtable(L);
    for (node = lift_xml_child(object, "propSet"); node; node = lift_xml_next(node, "propSet"))
        set_prop(L, node);
    lua_setfield(L, -2, "props");
    lua_newtable(L);
    node = lift_xml_child(object, "missingSet");
    for (; node; node = lift_xml_next(node, "missingSet"))
        set_missing(L, node);
    lua_setfield(L, -2, "missing");
}

void vim_push_objects(lua_State *L, const struct lift_xml_node *page, int idx)
{
    luaL_checkstack(L, 8, "property retrieval");
    lua_Integer count = (lua_Integer)lua_rawlen(L, idx);
    const struct lift_xml_node *object = page ? lift_xml_child(page, "objects") : NULL;
    for (; object; object = lift_xml_next(object, "objects")) {
        push_object(L, object);
        lua_rawseti(L, idx, ++count);
    }
}
