/* XML read by libxml2's push parser into a tape: namespaces resolved, no DTD, ceilings on depth,
 * size and text. */
#pragma once

#include "buf.h"

struct lift_xml;      /* a parser under way */
struct lift_xml_doc;  /* what it made: owns every node and text */
struct lift_xml_node; /* an element, borrowed from its document */

struct lift_xml_limits {
    size_t max_bytes; /* 0: 64 MiB */
    int max_depth;    /* 0: 64 */
};

LIFT_NODISCARD struct lift_xml *lift_xml_new(const struct lift_xml_limits *limits,
                                             struct lift_error *err);
void lift_xml_free(struct lift_xml *xml);

/* Feed bytes as they come.  false and *err (LIFT_PROTOCOL, with line) at the first fault; then only
 * free it. */
LIFT_NODISCARD bool lift_xml_push(struct lift_xml *xml, const void *bytes, size_t length,
                                  struct lift_error *err);
/* The end: proves that the document is complete.  NULL and *err otherwise.  The document is the
 * caller's. */
LIFT_NODISCARD struct lift_xml_doc *lift_xml_finish(struct lift_xml *xml, struct lift_error *err);
/* All three in one, for text that is all there. */
LIFT_NODISCARD struct lift_xml_doc *lift_xml_parse(const char *bytes, size_t length,
                                                   struct lift_error *err);
void lift_xml_doc_free(struct lift_xml_doc *doc);

const struct lift_xml_node *lift_xml_root(const struct lift_xml_doc *doc);
const char *lift_xml_name(const struct lift_xml_node *node); /* local name */
const char *lift_xml_ns(const struct lift_xml_node *node);   /* namespace URI; "" if none */
/* All character data directly inside, joined; leading and trailing blanks are kept.  "" if none. */
const char *lift_xml_text(const struct lift_xml_node *node);
/* First child element, and next sibling element; name NULL is any.  NULL when there is none. */
const struct lift_xml_node *lift_xml_child(const struct lift_xml_node *node, const char *name);
const struct lift_xml_node *lift_xml_next(const struct lift_xml_node *node, const char *name);
/* ns "" is an attribute without namespace; NULL if absent.  An unbound prefix stays in the name:
 * "xsi:type", ns "". */
const char *lift_xml_attr(const struct lift_xml_node *node, const char *ns, const char *name);
/* The i-th attribute, 0-based; false past the end. */
bool lift_xml_attr_at(const struct lift_xml_node *node, size_t i, const char **ns,
                      const char **name, const char **value);

/* Append text with & < > " ' and control bytes escaped.  Bytes that XML 1.0 cannot carry fail with
 * LIFT_CONFIG. */
LIFT_NODISCARD bool lift_xml_escape(struct lift_buf *out, const char *text, size_t length,
                                    struct lift_error *err);

#define LIFT_NS_XSI "http://www.w3.org/2001/XMLSchema-instance"
