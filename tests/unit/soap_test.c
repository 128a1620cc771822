#include "engine/soap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ENVELOPE(body)                                                                             \
    "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/' xmlns:xsi='" LIFT_NS_XSI      \
    "'><s:Body>" body "</s:Body></s:Envelope>"

struct answer {
    struct lift_xml_doc *doc;
    const struct lift_xml_node *result;
    struct lift_soap_fault fault;
    struct lift_error err;
    bool good;
};

static struct answer decode(const char *text)
{
    struct answer a = {0};
    a.doc = lift_xml_parse(text, strlen(text), &a.err);
    assert_non_null(a.doc);
    a.good = lift_soap_decode(a.doc, &a.result, &a.fault, &a.err);
    return a;
}

static void faults_as(const char *detail, const char *type, enum lift_code code)
{
    struct lift_buf text = {0};
    assert_true(lift_buf_addf(&text,
                              ENVELOPE("<s:Fault><faultcode>ServerFaultCode</faultcode>"
                                       "<faultstring>why not</faultstring>%s</s:Fault>"),
                              detail));
    struct answer a = decode(text.data);
    assert_false(a.good);
    assert_string_equal(a.fault.type, type);
    assert_string_equal(a.fault.message, "why not");
    assert_int_equal(a.err.code, code);
    assert_non_null(strstr(a.err.text, "why not"));
    lift_xml_doc_free(a.doc);
    lift_buf_free(&text);
}

static void writes_a_call_in_order(void **state)
{
    (void)state;
    struct lift_buf out = {0};
    struct lift_error err = {0};
    struct lift_moref self = {.type = "OptionManager", .id = "opt<1>", .guid = "g-1"};
    struct lift_moref vm = {.type = "VirtualMachine", .id = "vm-1"};
    assert_true(lift_soap_begin(&out, "UpdateOptions", &self, "op-1", &err));
    assert_true(lift_soap_open(&out, "changedValue", "OptionValue", &err));
    assert_true(lift_soap_text(&out, "key", NULL, "a & b", 5, &err));
    assert_true(lift_soap_text(&out, "value", "xsd:long", "4096", 4, &err));
    assert_true(lift_soap_moref(&out, "vm", &vm, &err));
    assert_true(lift_soap_close(&out, "changedValue", &err));
    assert_true(lift_soap_end(&out, "UpdateOptions", &err));
    struct answer a = decode(out.data);
    assert_true(a.good);
    assert_string_equal(lift_xml_name(a.result), "UpdateOptions");
    assert_string_equal(lift_xml_ns(a.result), "urn:vim25");
    const struct lift_xml_node *this = lift_xml_child(a.result, NULL);
    assert_string_equal(lift_xml_name(this), "_this");
    struct lift_moref back;
    assert_true(lift_soap_read_moref(this, &back));
    assert_string_equal(back.type, "OptionManager");
    assert_string_equal(back.id, "opt<1>");
    assert_string_equal(back.guid, "g-1");
    const struct lift_xml_node *value = lift_xml_next(this, NULL);
    assert_string_equal(lift_soap_type(value), "OptionValue");
    assert_string_equal(lift_xml_text(lift_xml_child(value, "key")), "a & b");
    assert_string_equal(lift_soap_type(lift_xml_child(value, "value")), "long");
    assert_true(lift_soap_read_moref(lift_xml_child(value, "vm"), &back));
    assert_string_equal(back.guid, "");
    const struct lift_xml_node *header = lift_xml_child(lift_xml_root(a.doc), "Header");
    const struct lift_xml_node *op = lift_xml_child(header, "operationID");
    assert_string_equal(lift_xml_text(op), "op-1");
    assert_string_equal(lift_xml_ns(op), "");
    lift_xml_doc_free(a.doc);
    lift_buf_free(&out);
}

static void refuses_names_that_would_be_markup(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a b", "a><b", "1a", "a/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lift_buf out = {0};
        struct lift_error err = {0};
        assert_false(lift_soap_text(&out, bad[i], NULL, "", 0, &err));
        assert_int_equal(err.code, LIFT_CONFIG);
        lift_buf_free(&out);
    }
}

static void stops_at_the_ceiling(void **state)
{
    (void)state;
    struct lift_buf out = {.max = 40};
    struct lift_error err = {0};
    assert_false(lift_soap_text(&out, "name", NULL, "0123456789012345678901234567890", 31, &err));
    assert_int_equal(err.code, LIFT_NO_SPACE);
    lift_buf_free(&out);
}

static void names_a_fault_by_its_type(void **state)
{
    (void)state;
    faults_as("<detail><NotAuthenticatedFault xsi:type='NotAuthenticated'/></detail>",
              "NotAuthenticated", LIFT_DENIED);
    faults_as("<detail><NotAuthenticatedFault/></detail>", "NotAuthenticated", LIFT_DENIED);
    faults_as("<detail><x xsi:type='vim25:SystemErrorFault'/></detail>", "SystemError",
              LIFT_PROTOCOL);
    faults_as("<detail><x xsi:type='ManagedObjectNotFound'/></detail>", "ManagedObjectNotFound",
              LIFT_NOT_FOUND);
    faults_as("<detail><x xsi:type='ResourceInUse'/></detail>", "ResourceInUse", LIFT_BUSY);
    faults_as("<detail><x xsi:type='InvalidState'/></detail>", "InvalidState", LIFT_CONFLICT);
    faults_as("<detail><x xsi:type='Timedout'/></detail>", "Timedout", LIFT_TIMEOUT);
    faults_as("<detail><x xsi:type='NotSupported'/></detail>", "NotSupported", LIFT_UNSUPPORTED);
    faults_as("<detail><x xsi:type='HostNotConnected'/></detail>", "HostNotConnected",
              LIFT_UNREACHABLE);
    faults_as("", "ServerFaultCode", LIFT_FAILED);
}

static void says_what_to_do(void **state)
{
    (void)state;
    struct answer a =
        decode(ENVELOPE("<s:Fault><faultcode>c</faultcode><faultstring/><detail>"
                        "<InvalidLoginFault xsi:type='InvalidLogin'/></detail></s:Fault>"));
    assert_false(a.good);
    assert_non_null(strstr(a.err.hint, "GOVMOMI_PASSWORD"));
    lift_xml_doc_free(a.doc);
    a = decode(ENVELOPE("<s:Fault><detail><f xsi:type='NoPermission'>"
                        "<privilegeId>Host.Config.Storage</privilegeId></f></detail></s:Fault>"));
    assert_non_null(strstr(a.err.hint, "Host.Config.Storage"));
    lift_xml_doc_free(a.doc);
}

static void reads_a_localized_fault(void **state)
{
    (void)state;
    const char text[] = "<error><fault xsi:type='FileNotFound'/><localizedMessage>gone"
                        "</localizedMessage></error>";
    struct lift_error err = {0};
    struct lift_soap_fault fault = {0};
    struct lift_xml_doc *doc = lift_xml_parse(text, strlen(text), &err);
    lift_soap_read_fault(lift_xml_root(doc), &fault, &err);
    assert_string_equal(fault.type, "FileNotFound");
    assert_string_equal(fault.message, "gone");
    assert_int_equal(err.code, LIFT_NOT_FOUND);
    lift_xml_doc_free(doc);
}

static void refuses_what_is_no_envelope(void **state)
{
    (void)state;
    struct answer a = decode("<html><Body>hello</Body></html>");
    assert_false(a.good);
    assert_int_equal(a.err.code, LIFT_PROTOCOL);
    assert_string_equal(a.fault.type, "");
    lift_xml_doc_free(a.doc);
    a = decode(ENVELOPE(""));
    assert_false(a.good);
    assert_int_equal(a.err.code, LIFT_PROTOCOL);
    lift_xml_doc_free(a.doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_a_call_in_order),
        cmocka_unit_test(refuses_names_that_would_be_markup),
        cmocka_unit_test(stops_at_the_ceiling),
        cmocka_unit_test(names_a_fault_by_its_type),
        cmocka_unit_test(says_what_to_do),
        cmocka_unit_test(reads_a_localized_fault),
        cmocka_unit_test(refuses_what_is_no_envelope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
