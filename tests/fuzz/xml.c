/* XML: cut anywhere it reads the same, and what was read can be written and read again. */
#include "engine/xml.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

static struct lift_xml_doc *parse_in_pieces(const char *bytes, size_t length, size_t piece)
{
    struct lift_error err = {0};
    struct lift_xml_limits limits = {.max_bytes = 1 << 20, .max_depth = 0};
    struct lift_xml *xml = lift_xml_new(&limits, &err);
    struct lift_xml_doc *doc = NULL;
    bool good = xml != NULL;
    for (size_t at = 0; good && at < length; at += piece)
        good = lift_xml_push(xml, bytes + at, length - at < piece ? length - at : piece, &err);
    if (good)
        doc = lift_xml_finish(xml, &err);
    fuzz_demand(doc != NULL || err.code != LIFT_OK, "a refusal has a reason");
    lift_xml_free(xml);
    return doc;
}

static void demand_same(const char *a, const char *b)
{
    fuzz_demand(strcmp(a, b) == 0, "the same document, however it was cut");
}

static void demand_escapable(const char *text)
{
    struct lift_error err = {0};
    struct lift_buf out = {0};
    bool good = lift_buf_adds(&out, "<a>") && lift_xml_escape(&out, text, strlen(text), &err) &&
                lift_buf_adds(&out, "</a>");
    fuzz_demand(good, "a text that was read can be written");
    struct lift_xml_doc *doc = lift_xml_parse(out.data, out.length, &err);
    fuzz_demand(doc != NULL, "what was written can be read");
    demand_same(text, lift_xml_text(lift_xml_root(doc)));
    lift_xml_doc_free(doc);
    lift_buf_free(&out);
}

static void compare(const struct lift_xml_node *a, const struct lift_xml_node *b)
{
    const char *ns = NULL, *name = NULL, *value = NULL;
    demand_same(lift_xml_name(a), lift_xml_name(b));
    demand_same(lift_xml_ns(a), lift_xml_ns(b));
    demand_same(lift_xml_text(a), lift_xml_text(b));
    demand_escapable(lift_xml_text(a));
    for (size_t i = 0; lift_xml_attr_at(a, i, &ns, &name, &value); i++) {
        fuzz_demand(lift_xml_attr(b, ns, name) != NULL, "an attribute is found by its name");
        demand_escapable(value);
    }
    const struct lift_xml_node *other = lift_xml_child(b, NULL);
    const struct lift_xml_node *child = lift_xml_child(a, NULL);
    for (; child && other; child = lift_xml_next(child, NULL), other = lift_xml_next(other, NULL))
        compare(child, other);
    fuzz_demand(!child && !other, "the same children, however it was cut");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length < 1)
        return 0;
    const char *text = (const char *)bytes + 1;
    struct lift_error err = {0};
    struct lift_xml_doc *pieces = parse_in_pieces(text, length - 1, 1U + bytes[0]);
    struct lift_xml_doc *whole = lift_xml_parse(text, length - 1, &err);
    fuzz_demand(!pieces == !whole, "valid or not, however it was cut");
    if (pieces)
        compare(lift_xml_root(whole), lift_xml_root(pieces));
    lift_xml_doc_free(pieces);
    lift_xml_doc_free(whole);
    return 0;
}
