/* vim25 values as Lua values and back; the rules are in meta/vsphere.lua. */
#pragma once

#include <lua.h>

#include "engine/soap.h"

/* Push the value of a node: scalar, moref, list or data object. */
void vim_push(lua_State *L, const struct lift_xml_node *node);
/* Push a table of a node's children.  texts: leaves stay text, whatever type they claim (esxcli).
 */
void vim_push_fields(lua_State *L, const struct lift_xml_node *node, bool texts);
/* Push what esxcli returned as a list of rows; node NULL is none. */
void vim_push_rows(lua_State *L, const struct lift_xml_node *node);
void vim_push_moref(lua_State *L, const struct lift_moref *ref);

/* Read the moref at idx; raises on anything else. */
void vim_check_moref(lua_State *L, int idx, struct lift_moref *out);
/*
 * Append the ordered {name, value, xsi_type?} pairs of the table at idx (none or nil: nothing).
 * Raises on a misshapen pair; false and *err on text that XML cannot carry.
 */
LIFT_NODISCARD bool vim_write_pairs(lua_State *L, int idx, struct lift_buf *out,
                                    struct lift_error *err);

/* The body of RetrievePropertiesEx for the RetrieveSpec at idx (vim_retrieve.c); as
 * vim_write_pairs(). */
LIFT_NODISCARD bool vim_write_retrieve(lua_State *L, int idx, struct lift_buf *out,
                                       struct lift_error *err);
/* Append the objects of a RetrieveResult (NULL: none) to the list at idx. */
void vim_push_objects(lua_State *L, const struct lift_xml_node *page, int idx);
