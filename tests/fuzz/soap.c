/* vim25 envelopes: results, faults, and the Lua values that are made of them. */
#include "engine/soap.h"

#include "bindings/vim_value.h"
#include "tests/fuzz/fuzz.h"

static void visit(const struct lift_xml_node *node)
{
    struct lift_moref ref;
    struct lift_soap_fault fault = {0};
    struct lift_error err = {0};
    lift_soap_type(node);
    if (lift_soap_read_moref(node, &ref))
        fuzz_demand(ref.type[sizeof ref.type - 1] == '\0', "a moref's type ends");
    lift_soap_read_fault(node, &fault, &err);
    fuzz_demand(fault.type[0] != '\0' && err.code != LIFT_OK, "a fault has a type and a code");
    const struct lift_xml_node *child = lift_xml_child(node, NULL);
    for (; child; child = lift_xml_next(child, NULL))
        visit(child);
}

static int push_values(lua_State *L)
{
    const struct lift_xml_node *result = lua_touserdata(L, 1);
    vim_push(L, result);
    vim_push_rows(L, result);
    vim_push_fields(L, result, true);
    lua_newtable(L);
    vim_push_objects(L, result, lua_gettop(L));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct lift_error err = {0};
    struct lift_soap_fault fault;
    const struct lift_xml_node *result = NULL;
    struct lift_xml_doc *doc = lift_xml_parse((const char *)bytes, length, &err);
    if (!doc)
        return 0;
    visit(lift_xml_root(doc));
    if (lift_soap_decode(doc, &result, &fault, &err))
        fuzz_call(push_values, result);
    else
        fuzz_demand(err.code != LIFT_OK, "a refusal has a reason");
    lift_xml_doc_free(doc);
    return 0;
}
