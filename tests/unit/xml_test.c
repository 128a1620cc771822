#include "engine/xml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct lift_xml_doc *parse(const char *text)
{
    struct lift_error err = {0};
    struct lift_xml_doc *doc = lift_xml_parse(text, strlen(text), &err);
    if (!doc)
        print_error("%s\n", err.text);
    assert_non_null(doc);
    return doc;
}

static void refuses_n(const char *text, size_t length, const char *part)
{
    struct lift_error err = {0};
    assert_null(lift_xml_parse(text, length, &err));
    assert_int_equal(err.code, LIFT_PROTOCOL);
    if (!strstr(err.text, part))
        fail_msg("'%s' does not say '%s'", err.text, part);
}

static void refuses(const char *text, const char *part)
{
    refuses_n(text, strlen(text), part);
}

static void reads_a_tree(void **state)
{
    (void)state;
    struct lift_xml_doc *doc =
        parse("<a>one<b>x</b><c/><b k='v'>y &amp; <![CDATA[<z>]]></b>two</a>");
    const struct lift_xml_node *a = lift_xml_root(doc);
    assert_string_equal(lift_xml_name(a), "a");
    assert_string_equal(lift_xml_ns(a), "");
    assert_string_equal(lift_xml_text(a), "onetwo");
    const struct lift_xml_node *b = lift_xml_child(a, "b");
    assert_string_equal(lift_xml_text(b), "x");
    assert_string_equal(lift_xml_name(lift_xml_next(b, NULL)), "c");
    const struct lift_xml_node *second = lift_xml_next(b, "b");
    assert_string_equal(lift_xml_text(second), "y & <z>");
    assert_string_equal(lift_xml_attr(second, "", "k"), "v");
    assert_null(lift_xml_attr(second, "", "l"));
    assert_null(lift_xml_next(second, NULL));
    assert_null(lift_xml_child(a, "d"));
    lift_xml_doc_free(doc);
}

static void resolves_namespaces_by_uri(void **state)
{
    (void)state;
    struct lift_xml_doc *doc = parse("<p:a xmlns:p='urn:x' xmlns:odd='" LIFT_NS_XSI
                                     "'><b xmlns='urn:y' odd:type='T' type='U'/></p:a>");
    const struct lift_xml_node *a = lift_xml_root(doc);
    assert_string_equal(lift_xml_name(a), "a");
    assert_string_equal(lift_xml_ns(a), "urn:x");
    const struct lift_xml_node *b = lift_xml_child(a, "b");
    assert_string_equal(lift_xml_ns(b), "urn:y");
    assert_string_equal(lift_xml_attr(b, LIFT_NS_XSI, "type"), "T");
    assert_string_equal(lift_xml_attr(b, "", "type"), "U");
    const char *ns, *name, *value;
    assert_true(lift_xml_attr_at(b, 0, &ns, &name, &value));
    assert_true(lift_xml_attr_at(b, 1, &ns, &name, &value));
    assert_false(lift_xml_attr_at(b, 2, &ns, &name, &value));
    lift_xml_doc_free(doc);
}

static void keeps_an_unbound_prefix_in_the_name(void **state)
{
    (void)state;
    struct lift_xml_doc *doc = parse("<obj xsi:type='T'><q:r>1</q:r></obj>");
    const struct lift_xml_node *obj = lift_xml_root(doc);
    assert_string_equal(lift_xml_attr(obj, "", "xsi:type"), "T");
    assert_null(lift_xml_attr(obj, LIFT_NS_XSI, "type"));
    assert_string_equal(lift_xml_text(lift_xml_child(obj, "q:r")), "1");
    lift_xml_doc_free(doc);
}

static void refuses_a_document_type(void **state)
{
    (void)state;
    refuses("<!DOCTYPE a><a/>", "document type");
    refuses("<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", "document type");
    refuses("<!DOCTYPE a SYSTEM 'http://127.0.0.1:1/a.dtd'><a/>", "document type");
    refuses("<a>&e;</a>", "line 1");
}

static void refuses_what_is_not_one_whole_document(void **state)
{
    (void)state;
    refuses("", "");
    refuses("  ", "");
    refuses("<a><b></b>", "");
    refuses("<a></a><b/>", "");
    refuses("<a></b>", "line 1");
    refuses("<a x='1' x='2'/>", "line 1");
    refuses("<a>\n\n<b></a>", "line 3");
    refuses("plain text", "line 1");
    refuses("<a>\x01</a>", "line 1");
    refuses_n("<a>\0</a>", 8, "line 1");
}

static void refuses_what_is_nested_too_deeply(void **state)
{
    (void)state;
    struct lift_buf text = {0};
    for (int i = 0; i < 65; i++)
        assert_true(lift_buf_adds(&text, "<a>"));
    for (int i = 0; i < 65; i++)
        assert_true(lift_buf_adds(&text, "</a>"));
    refuses_n(text.data, text.length, "too deeply");
    struct lift_error err;
    struct lift_xml_doc *doc = lift_xml_parse(text.data + 3, text.length - 7, &err);
    assert_non_null(doc);
    lift_xml_doc_free(doc);
    lift_buf_free(&text);
}

static void refuses_more_bytes_than_allowed(void **state)
{
    (void)state;
    struct lift_error err = {0};
    struct lift_xml *xml = lift_xml_new(&(struct lift_xml_limits){.max_bytes = 16}, &err);
    assert_true(lift_xml_push(xml, "<a>12345678", 11, &err));
    assert_false(lift_xml_push(xml, "9</a>  ", 7, &err));
    assert_non_null(strstr(err.text, "too large"));
    assert_false(lift_xml_push(xml, "x", 1, &err));
    assert_null(lift_xml_finish(xml, &err));
    lift_xml_free(xml);
}

/* A small text can make a large tree: that too has a ceiling. */
static void bounds_the_tree_and_not_only_the_text(void **state)
{
    (void)state;
    struct lift_error err = {0};
    struct lift_xml *xml = lift_xml_new(&(struct lift_xml_limits){.max_bytes = 100000}, &err);
    bool good = lift_xml_push(xml, "<a>", 3, &err);
    for (int i = 0; i < 20000 && good; i++)
        good = lift_xml_push(xml, "<b/>", 4, &err);
    assert_false(good);
    assert_non_null(strstr(err.text, "too large"));
    lift_xml_free(xml);
}

static void reads_bytes_as_they_come(void **state)
{
    (void)state;
    const char text[] = "<?xml version='1.0'?><a k='\xc3\xa4'>\xe2\x82\xac<b>1</b>&lt;</a>";
    struct lift_error err = {0};
    struct lift_xml *xml = lift_xml_new(NULL, &err);
    for (size_t i = 0; i < sizeof text - 1; i++)
        assert_true(lift_xml_push(xml, text + i, 1, &err));
    struct lift_xml_doc *doc = lift_xml_finish(xml, &err);
    lift_xml_free(xml);
    assert_string_equal(lift_xml_text(lift_xml_root(doc)), "\xe2\x82\xac<");
    assert_string_equal(lift_xml_attr(lift_xml_root(doc), "", "k"), "\xc3\xa4");
    lift_xml_doc_free(doc);
}

static void reads_a_long_text_in_one_piece(void **state)
{
    (void)state;
    struct lift_buf text = {0};
    assert_true(lift_buf_adds(&text, "<a>"));
    for (int i = 0; i < 300000; i++)
        assert_true(lift_buf_adds(&text, "0123456789&amp;012345678901234567"));
    assert_true(lift_buf_adds(&text, "</a>"));
    struct lift_xml_doc *doc = parse(text.data);
    assert_int_equal(strlen(lift_xml_text(lift_xml_root(doc))), 300000 * 29);
    lift_xml_doc_free(doc);
    lift_buf_free(&text);
}

static void escapes_what_is_markup(void **state)
{
    (void)state;
    struct lift_buf out = {0};
    struct lift_error err = {0};
    const char text[] = "a<b>&\"'\t\r\n\xc3\xa4\xf0\x9f\x98\x80z";
    assert_true(lift_xml_escape(&out, text, sizeof text - 1, &err));
    assert_string_equal(out.data,
                        "a&lt;b&gt;&amp;&quot;&#39;&#9;&#13;&#10;\xc3\xa4\xf0\x9f\x98\x80z");
    struct lift_buf round = {0};
    assert_true(lift_buf_addf(&round, "<a k=\"%s\">%s</a>", out.data, out.data));
    struct lift_xml_doc *doc = parse(round.data);
    assert_string_equal(lift_xml_text(lift_xml_root(doc)), text);
    assert_string_equal(lift_xml_attr(lift_xml_root(doc), "", "k"), text);
    lift_xml_doc_free(doc);
    lift_buf_free(&round);
    lift_buf_free(&out);
}

static void refuses_to_write_what_xml_cannot_carry(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {{"x\0y", 3},         {"\x01", 1},         {"\xff", 1},        {"\xc0\xaf", 2},
               {"\xed\xa0\x80", 3}, {"\xef\xbf\xbf", 3}, {"abc\xe2\x82", 5}, {"\x80", 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lift_buf out = {0};
        struct lift_error err = {0};
        assert_true(lift_buf_adds(&out, "before"));
        assert_false(lift_xml_escape(&out, bad[i].bytes, bad[i].length, &err));
        assert_int_equal(err.code, LIFT_CONFIG);
        assert_string_equal(out.data, "before");
        lift_buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_tree),
        cmocka_unit_test(resolves_namespaces_by_uri),
        cmocka_unit_test(keeps_an_unbound_prefix_in_the_name),
        cmocka_unit_test(refuses_a_document_type),
        cmocka_unit_test(refuses_what_is_not_one_whole_document),
        cmocka_unit_test(refuses_what_is_nested_too_deeply),
        cmocka_unit_test(refuses_more_bytes_than_allowed),
        cmocka_unit_test(bounds_the_tree_and_not_only_the_text),
        cmocka_unit_test(reads_bytes_as_they_come),
        cmocka_unit_test(reads_a_long_text_in_one_piece),
        cmocka_unit_test(escapes_what_is_markup),
        cmocka_unit_test(refuses_to_write_what_xml_cannot_carry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
