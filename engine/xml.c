#include "xml.h"

#include <libxml/SAX2.h>
#include <libxml/chvalid.h>
#include <libxml/parser.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_BYTES ((size_t)64 << 20)
#define MAX_DEPTH 64
#define CHUNK ((size_t)64 << 10)
/* A tag of four bytes becomes a node of about sixty: what the tree may weigh, per byte allowed. */
#define TREE_FACTOR 4

struct attr {
    const char *ns;
    const char *name;
    const char *value;
};

struct lift_xml_node {
    const char *name; /* names and URIs belong to the dictionary, all else to the tape */
    const char *ns;
    const char *text;
    struct lift_xml_node *child;
    struct lift_xml_node *next;
    struct attr *attrs;
    size_t attr_count;
};

/* The tape: chunks that never move, so that nodes can point at each other while it still grows. */
struct chunk {
    struct chunk *older;
    size_t used, size;
    _Alignas(void *) char bytes[];
};

struct lift_xml_doc {
    struct lift_xml_node *root;
    struct chunk *chunks;
    size_t weight;
    xmlDict *names;
};

struct frame { /* an element that is still open */
    struct lift_xml_node *node;
    struct lift_xml_node *last_child;
    struct lift_buf text;
};

struct lift_xml {
    xmlParserCtxt *parser;
    struct lift_xml_doc *doc;
    struct frame *frames;
    int depth, max_depth;
    size_t fed, max_bytes;
    bool failed;
    struct lift_error why;
};

/* ---- the tape ---- */

static void *tape_alloc(struct lift_xml_doc *doc, size_t size)
{
    size = (size + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
    struct chunk *c = doc->chunks;
    if (!c || c->size - c->used < size) {
        size_t room = size > CHUNK ? size : CHUNK;
        c = lift_calloc(1, sizeof *c + room);
        c->size = room;
        c->older = doc->chunks;
        doc->chunks = c;
    }
    void *bytes = c->bytes + c->used;
    c->used += size;
    doc->weight += size;
    return bytes;
}

static const char *tape_text(struct lift_xml_doc *doc, const char *bytes, size_t length)
{
    if (length == 0)
        return "";
    char *copy = tape_alloc(doc, length + 1);
    memcpy(copy, bytes, length);
    return copy;
}

void lift_xml_doc_free(struct lift_xml_doc *doc)
{
    if (!doc)
        return;
    for (struct chunk *c = doc->chunks, *older; c; c = older) {
        older = c->older;
        lift_free(c);
    }
    xmlDictFree(doc->names);
    lift_free(doc);
}

/* ---- what libxml2 calls ---- */

static void refuse(struct lift_xml *xml, int line, const char *why)
{
    if (xml->failed)
        return;
    xml->failed = true;
    lift_fail(&xml->why, LIFT_PROTOCOL, "XML, line %d: %s", line, why);
    xmlStopParser(xml->parser);
}

static void refuse_here(struct lift_xml *xml, const char *why)
{
    refuse(xml, xmlSAX2GetLineNumber(xml->parser), why);
}

/* Length of the character at `text`, or 0 when XML 1.0 cannot carry it (an overlong form neither).
 */
static size_t character(const char *text, size_t left)
{
    int length = left < 4 ? (int)left : 4;
    int c = xmlGetUTF8Char((const unsigned char *)text, &length);
    int shortest = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    return c > 0 && xmlIsCharQ((unsigned)c) && length == shortest ? (size_t)length : 0;
}

/* libxml2 lets overlong forms pass: they would hide from whoever looks for the character. */
static void check_characters(struct lift_xml *xml, const char *text, size_t length)
{
    for (size_t at = 0, step; at < length && !xml->failed; at += step) {
        step = (unsigned char)(text[at] - 0x20) < 0x5F ? 1 : character(text + at, length - at);
        if (step == 0)
            refuse_here(xml, "a character that is none");
    }
}

/* A name whose prefix is bound to nothing keeps it: esxcli's replies may lack the xsi declaration.
 */
static const char *name_of(struct lift_xml *xml, const xmlChar *local, const xmlChar *prefix,
                           const xmlChar *uri)
{
    if (prefix && !uri)
        local = xmlDictQLookup(xml->doc->names, prefix, local);
    return (const char *)local;
}

static void read_attrs(struct lift_xml *xml, struct lift_xml_node *node, size_t count,
                       const xmlChar **raw)
{
    if (count == 0)
        return;
    node->attrs = tape_alloc(xml->doc, count * sizeof *node->attrs);
    node->attr_count = count;
    for (size_t i = 0; i < count; i++, raw += 5) { /* local, prefix, URI, value begin, value end */
        node->attrs[i].name = name_of(xml, raw[0], raw[1], raw[2]);
        node->attrs[i].ns = raw[2] ? (const char *)raw[2] : "";
        node->attrs[i].value = tape_text(xml->doc, (const char *)raw[3], (size_t)(raw[4] - raw[3]));
        check_characters(xml, node->attrs[i].value, strlen(node->attrs[i].value));
    }
}

static void attach(struct lift_xml *xml, struct lift_xml_node *node)
{
    if (xml->depth == 0) {
        xml->doc->root = node;
        return;
    }
    struct frame *parent = &xml->frames[xml->depth - 1];
    if (parent->last_child)
        parent->last_child->next = node;
    else
        parent->node->child = node;
    parent->last_child = node;
}

static void on_start(void *payload, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri,
                     int ns_count, const xmlChar **ns, int attr_count, int defaulted,
                     const xmlChar **attrs)
{
    (void)ns_count, (void)ns, (void)defaulted;
    struct lift_xml *xml = payload;
    if (xml->failed)
        return;
    if (xml->depth == xml->max_depth) {
        refuse_here(xml, "elements nested too deeply");
        return;
    }
    struct lift_xml_node *node = tape_alloc(xml->doc, sizeof *node);
    node->name = name_of(xml, local, prefix, uri);
    node->ns = uri ? (const char *)uri : "";
    node->text = "";
    read_attrs(xml, node, (size_t)attr_count, attrs);
    attach(xml, node);
    struct frame *frame = &xml->frames[xml->depth++];
    frame->node = node;
    frame->last_child = NULL;
    lift_buf_clear(&frame->text);
    if (xml->doc->weight / TREE_FACTOR > xml->max_bytes)
        refuse_here(xml, "document too large");
}

static void on_end(void *payload, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri)
{
    (void)local, (void)prefix, (void)uri;
    struct lift_xml *xml = payload;
    if (xml->failed)
        return;
    struct frame *frame = &xml->frames[--xml->depth];
    check_characters(xml, frame->text.data, frame->text.length);
    frame->node->text = tape_text(xml->doc, frame->text.data, frame->text.length);
}

static void on_text(void *payload, const xmlChar *text, int length)
{
    struct lift_xml *xml = payload;
    if (xml->failed || xml->depth == 0)
        return;
    if (!lift_buf_add(&xml->frames[xml->depth - 1].text, text, (size_t)length))
        refuse_here(xml, "text too large");
}

static void on_doctype(void *payload, const xmlChar *name, const xmlChar *id, const xmlChar *system)
{
    (void)name, (void)id, (void)system;
    refuse_here(payload, "a document type is not accepted");
}

#if LIBXML_VERSION >= 21200
static void on_error(void *payload, const xmlError *error)
#else
static void on_error(void *payload, xmlError *error)
#endif
{
    if (error->level < XML_ERR_ERROR || error->code == XML_NS_ERR_UNDEFINED_NAMESPACE)
        return;
    const char *message = error->message ? error->message : "not well-formed";
    char line[256];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(message, "\n"), message);
    refuse(payload, error->line, line);
}

/* ---- the parser ---- */

struct lift_xml *lift_xml_new(const struct lift_xml_limits *limits, struct lift_error *err)
{
    xmlSAXHandler sax = {
        .initialized = XML_SAX2_MAGIC,
        .startElementNs = on_start,
        .endElementNs = on_end,
        .characters = on_text,
        .ignorableWhitespace = on_text,
        .cdataBlock = on_text,
        .internalSubset = on_doctype,
        .serror = on_error,
    };
    struct lift_xml *xml = lift_calloc(1, sizeof *xml);
    xml->max_bytes = limits && limits->max_bytes ? limits->max_bytes : MAX_BYTES;
    xml->max_depth = limits && limits->max_depth ? limits->max_depth : MAX_DEPTH;
    xml->frames = lift_calloc((size_t)xml->max_depth, sizeof *xml->frames);
    for (int i = 0; i < xml->max_depth; i++)
        xml->frames[i].text.max = xml->max_bytes;
    xml->doc = lift_calloc(1, sizeof *xml->doc);
    xml->parser = xmlCreatePushParserCtxt(&sax, xml, NULL, 0, NULL);
    if (!xml->parser) {
        lift_fail(err, LIFT_BUG, "no memory for an XML parser");
        lift_xml_free(xml);
        return NULL;
    }
    /* Huge: the ceilings are ours.  Noent: else an "&" in an attribute arrives as "&#38;"; without
     * a document type there is nothing else to expand. */
    xmlCtxtUseOptions(xml->parser, XML_PARSE_NONET | XML_PARSE_HUGE | XML_PARSE_NOENT);
    xml->doc->names = xml->parser->dict;
    xmlDictReference(xml->doc->names);
    return xml;
}

void lift_xml_free(struct lift_xml *xml)
{
    if (!xml)
        return;
    xmlFreeParserCtxt(xml->parser);
    lift_xml_doc_free(xml->doc);
    for (int i = 0; i < xml->max_depth; i++)
        lift_buf_free(&xml->frames[i].text);
    lift_free(xml->frames);
    lift_free(xml);
}

static bool outcome(struct lift_xml *xml, struct lift_error *err)
{
    if (!xml->failed)
        return true;
    *err = xml->why;
    return false;
}

bool lift_xml_push(struct lift_xml *xml, const void *bytes, size_t length, struct lift_error *err)
{
    const char *at = bytes;
    if (!xml->failed && length > xml->max_bytes - xml->fed)
        refuse_here(xml, "document too large");
    xml->fed += length;
    while (length > 0 && !xml->failed) {
        size_t slice = length < CHUNK ? length : CHUNK;
        xmlParseChunk(xml->parser, at, (int)slice, 0);
        at += slice;
        length -= slice;
    }
    return outcome(xml, err);
}

struct lift_xml_doc *lift_xml_finish(struct lift_xml *xml, struct lift_error *err)
{
    if (!xml->failed)
        xmlParseChunk(xml->parser, NULL, 0, 1);
    if (!xml->doc->root || xml->depth > 0)
        refuse_here(xml, "the document is not complete");
    if (!outcome(xml, err))
        return NULL;
    struct lift_xml_doc *doc = xml->doc;
    xml->doc = NULL;
    return doc;
}

struct lift_xml_doc *lift_xml_parse(const char *bytes, size_t length, struct lift_error *err)
{
    struct lift_xml *xml = lift_xml_new(NULL, err);
    struct lift_xml_doc *doc = NULL;
    if (xml && lift_xml_push(xml, bytes, length, err))
        doc = lift_xml_finish(xml, err);
    lift_xml_free(xml);
    return doc;
}

/* ---- reading ---- */

const struct lift_xml_node *lift_xml_root(const struct lift_xml_doc *doc)
{
    return doc->root;
}

const char *lift_xml_name(const struct lift_xml_node *node)
{
    return node->name;
}

const char *lift_xml_ns(const struct lift_xml_node *node)
{
    return node->ns;
}

const char *lift_xml_text(const struct lift_xml_node *node)
{
    return node->text;
}

static const struct lift_xml_node *first_named(const struct lift_xml_node *node, const char *name)
{
    while (node && name && strcmp(node->name, name) != 0)
        node = node->next;
    return node;
}

const struct lift_xml_node *lift_xml_child(const struct lift_xml_node *node, const char *name)
{
    return first_named(node->child, name);
}

const struct lift_xml_node *lift_xml_next(const struct lift_xml_node *node, const char *name)
{
    return first_named(node->next, name);
}

const char *lift_xml_attr(const struct lift_xml_node *node, const char *ns, const char *name)
{
    for (size_t i = 0; i < node->attr_count; i++) {
        const struct attr *a = &node->attrs[i];
        if (strcmp(a->name, name) == 0 && strcmp(a->ns, ns) == 0)
            return a->value;
    }
    return NULL;
}

bool lift_xml_attr_at(const struct lift_xml_node *node, size_t i, const char **ns,
                      const char **name, const char **value)
{
    if (i >= node->attr_count)
        return false;
    *ns = node->attrs[i].ns;
    *name = node->attrs[i].name;
    *value = node->attrs[i].value;
    return true;
}

/* ---- writing ---- */

static const char *escaped(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\t':
        return "&#9;";
    case '\n':
        return "&#10;";
    case '\r':
        return "&#13;";
    default:
        return NULL;
    }
}

static bool escape_all(struct lift_buf *out, const char *text, size_t length,
                       struct lift_error *err)
{
    size_t plain = 0; /* bytes before `at` that go out as they are */
    for (size_t at = 0, step; at <= length; at += step) {
        const char *as = at < length ? escaped(text[at]) : "";
        step = at < length && !as ? character(text + at, length - at) : 1;
        if (step == 0)
            return lift_fail(err, LIFT_CONFIG, "byte %zu of the text cannot be written as XML", at);
        if (!as)
            continue;
        if (!lift_buf_add(out, text + plain, at - plain) || !lift_buf_adds(out, as))
            return lift_fail(err, LIFT_NO_SPACE, "the XML text is too large");
        plain = at + 1;
    }
    return true;
}

bool lift_xml_escape(struct lift_buf *out, const char *text, size_t length, struct lift_error *err)
{
    size_t before = out->length;
    if (escape_all(out, text, length, err))
        return true;
    out->length = before;
    if (out->data)
        out->data[before] = '\0';
    return false;
}
