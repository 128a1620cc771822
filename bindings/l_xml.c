/* lunalift.xml: a document as plain tables. */
#include <lauxlib.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "engine/xml.h"

#define DOC "lunalift.xml.doc"

struct doc { /* keeps the document while Lua may jump */
    struct lift_xml_doc *doc;
};

static int doc_close(lua_State *L)
{
    struct doc *box = luaL_checkudata(L, 1, DOC);
    lift_xml_doc_free(box->doc);
    box->doc = NULL;
    return 0;
}

static void push_attrs(lua_State *L, const struct lift_xml_node *node)
{
    const char *ns, *name, *value;
    lua_newtable(L);
    for (size_t i = 0; lift_xml_attr_at(node, i, &ns, &name, &value); i++) {
        if (*ns)
            lua_pushfstring(L, "{%s}%s", ns, name);
        else
            lua_pushstring(L, name);
        lua_pushstring(L, value);
        lua_rawset(L, -3);
    }
}

static void push_node(lua_State *L, const struct lift_xml_node *node)
{
    luaL_checkstack(L, 6, "XML");
    lua_createtable(L, 0, 4);
    lua_pushstring(L, lift_xml_name(node));
    lua_setfield(L, -2, "name");
    lua_pushstring(L, lift_xml_ns(node));
    lua_setfield(L, -2, "ns");
    lua_pushstring(L, lift_xml_text(node));
    lua_setfield(L, -2, "text");
    push_attrs(L, node);
    lua_setfield(L, -2, "attr");
    lua_Integer count = 0;
    for (node = lift_xml_child(node, NULL); node; node = lift_xml_next(node, NULL)) {
        push_node(L, node); /* no deeper than the parser allows */
        lua_rawseti(L, -2, ++count);
    }
}

static int xml_parse(lua_State *L)
{
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length);
    struct lift_error err = {0};
    struct doc *box = lua_newuserdatauv(L, sizeof *box, 0);
    box->doc = NULL;
    luaL_setmetatable(L, DOC);
    box->doc = lift_xml_parse(text, length, &err);
    if (!box->doc)
        return fail_push(L, &err);
    push_node(L, lift_xml_root(box->doc));
    lift_xml_doc_free(box->doc);
    box->doc = NULL;
    return 1;
}

int open_xml(lua_State *L)
{
    static const luaL_Reg functions[] = {{"parse", xml_parse}, {NULL, NULL}};
    type_new(L, DOC, NULL, doc_close);
    luaL_newlib(L, functions);
    return 1;
}
