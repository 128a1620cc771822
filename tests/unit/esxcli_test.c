#include "engine/esxcli.h"

#include "vim_peer.h"

struct outcome {
    struct peer *peer;
    bool done;
    struct lift_error err;
    char fault[64];
    struct lift_xml_doc *doc;
    const struct lift_xml_node *result;
};

static void on_end(void *payload, struct lift_vsphere_end *end)
{
    struct outcome *o = payload;
    o->done = true;
    if (end->err)
        o->err = *end->err;
    memcpy(o->fault, end->fault.type, sizeof o->fault);
    o->result = end->result;
    o->doc = end->doc;
    end->doc = NULL;
    lift_loop_stop(o->peer->loop);
}

static struct outcome run(struct peer *peer, const char *words, const char *const *args,
                          bool effect)
{
    struct outcome o = {.peer = peer};
    struct lift_esxcli_request request = {.host = {.type = "HostSystem", .id = "host-21"},
                                          .words = words,
                                          .args = args,
                                          .effect = effect};
    peer->methods[0] = '\0';
    struct lift_esxcli *cmd = lift_esxcli_start(peer->vs, &request, on_end, &o, &o.err);
    if (cmd)
        lift_loop_run(peer->loop);
    lift_esxcli_free(cmd);
    return o;
}

static const struct answer executer = {
    "RetrieveManagedMethodExecuter", 200,
    SOAP("<R xmlns='urn:vim25'><returnval type='ReflectManagedMethodExecuter'>executer-21"
         "</returnval></R>"),
    0};

#define RESPONSE(inner)                                                                            \
    SOAP("<ExecuteSoapResponse xmlns='urn:vim25'><returnval><response>" inner                      \
         "</response></returnval></ExecuteSoapResponse>")
#define REFUSAL(inner)                                                                             \
    SOAP("<ExecuteSoapResponse xmlns='urn:vim25'><returnval><fault><faultMsg>m</faultMsg>"         \
         "<faultDetail>" inner "</faultDetail></fault></returnval></ExecuteSoapResponse>")

static struct peer *new_peer(int status, const char *body)
{
    struct peer *peer = peer_new(PASSWORD);
    peer->answers[0] = executer;
    peer->answers[1] = (struct answer){"ExecuteSoap", status, body, 0};
    return peer;
}

static void takes_one_round_trip_once_warm(void **state)
{
    (void)state;
    struct peer *peer = new_peer(200, RESPONSE("&lt;obj xsi:type=\"ArrayOfDataObject\">"
                                               "&lt;DataObject>&lt;Device>naa.1&lt;/Device>"
                                               "&lt;/DataObject>&lt;/obj>"));
    static const char *const args[] = {"device", "a&<b>", "list", "1", "list", "2", NULL};
    for (int i = 0; i < 2; i++) {
        struct outcome o = run(peer, "storage core device list", args, false);
        assert_int_equal(o.err.code, LIFT_OK);
        assert_string_equal(lift_soap_type(o.result), "ArrayOfDataObject");
        const struct lift_xml_node *row = lift_xml_child(o.result, "DataObject");
        assert_string_equal(lift_xml_text(lift_xml_child(row, "Device")), "naa.1");
        lift_xml_doc_free(o.doc);
    }
    assert_string_equal(peer->methods, "ExecuteSoap ");
    const char *at = strstr(peer->body, "<_this ");
    static const char wanted[] =
        "<_this type=\"ReflectManagedMethodExecuter\">executer-21</_this>"
        "<moid>ha-cli-handler-storage-core-device</moid><version>urn:vim25/5.0</version>"
        "<method>vim.EsxCLI.storage.core.device.list</method>"
        "<argument><name>device</name><val>&lt;device&gt;a&amp;amp;&amp;lt;b&amp;gt;"
        "&lt;/device&gt;</val></argument>"
        "<argument><name>list</name><val>&lt;list&gt;1&lt;/list&gt;&lt;list&gt;2&lt;/list&gt;"
        "</val></argument></ExecuteSoap>";
    assert_non_null(at);
    assert_memory_equal(at, wanted, sizeof wanted - 1);
    peer_free(peer);
}

static void asks_for_an_executer_once_for_all_that_wait(void **state)
{
    (void)state;
    struct peer *peer = new_peer(200, RESPONSE(""));
    struct lift_esxcli_request request = {.host = {.type = "HostSystem", .id = "host-21"},
                                          .words = "system version get"};
    struct outcome o[3];
    struct lift_esxcli *cmd[3];
    for (int i = 0; i < 3; i++) {
        o[i] = (struct outcome){.peer = peer};
        cmd[i] = lift_esxcli_start(peer->vs, &request, on_end, &o[i], &o[i].err);
        assert_non_null(cmd[i]);
    }
    lift_esxcli_free(cmd[0]); /* who asked first is not missed */
    while (!o[1].done || !o[2].done)
        lift_loop_run(peer->loop);
    assert_false(o[0].done);
    assert_int_equal(o[1].err.code, LIFT_OK);
    assert_int_equal(o[2].err.code, LIFT_OK);
    assert_non_null(
        strstr(peer->methods, "Login RetrieveManagedMethodExecuter ExecuteSoap ExecuteSoap "));
    lift_esxcli_free(cmd[1]);
    lift_esxcli_free(cmd[2]);
    peer_free(peer);
}

static void fails_all_that_wait_for_an_executer(void **state)
{
    (void)state;
    struct peer *peer = new_peer(200, RESPONSE(""));
    peer->answers[0] = (struct answer){"RetrieveManagedMethodExecuter", 500,
                                       FAULT("HostNotConnected", "not connected"), 0};
    struct lift_esxcli_request request = {.host = {.type = "HostSystem", .id = "host-21"},
                                          .words = "system version get"};
    struct outcome o[2];
    struct lift_esxcli *cmd[2];
    for (int i = 0; i < 2; i++) {
        o[i] = (struct outcome){.peer = peer};
        cmd[i] = lift_esxcli_start(peer->vs, &request, on_end, &o[i], &o[i].err);
        assert_non_null(cmd[i]);
    }
    while (!o[0].done || !o[1].done)
        lift_loop_run(peer->loop);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(o[i].fault, "HostNotConnected");
        lift_esxcli_free(cmd[i]);
    }
    struct lift_esxcli *last = lift_esxcli_start(peer->vs, &request, on_end, &o[0], &o[0].err);
    assert_non_null(last);
    lift_esxcli_free(last); /* and nobody asks any more */
    peer_free(peer);
}

static void takes_no_output_for_success(void **state)
{
    (void)state;
    static const char *const bodies[] = {SOAP("<ExecuteSoapResponse xmlns='urn:vim25'/>"),
                                         RESPONSE("")};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct peer *peer = new_peer(200, bodies[i]);
        struct outcome o = run(peer, "storage core adapter rescan", NULL, true);
        assert_true(o.done);
        assert_int_equal(o.err.code, LIFT_OK);
        assert_null(o.result);
        peer_free(peer);
    }
}

static void shows_the_lines_of_a_refused_command(void **state)
{
    (void)state;
    struct peer *peer = new_peer(
        200, REFUSAL("&lt;obj xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
                     "xsi:type=\"LocalizedMethodFault\">&lt;fault "
                     "xsi:type=\"VimEsxCLICLIFault\">&lt;errMsg>one&lt;/errMsg>&lt;errMsg>two"
                     "&lt;/errMsg>&lt;/fault>&lt;localizedMessage>EsxCLI.CLIFault.summary"
                     "&lt;/localizedMessage>&lt;/obj>"));
    struct outcome o = run(peer, "storage core device list", NULL, false);
    assert_int_equal(o.err.code, LIFT_FAILED);
    assert_string_equal(o.fault, "CLIFault");
    assert_non_null(strstr(o.err.text, "one; two"));
    assert_null(strstr(o.err.text, "summary"));
    peer_free(peer);
}

static void knows_a_missing_command(void **state)
{
    (void)state;
    struct peer *peer =
        new_peer(200, REFUSAL("&lt;obj xsi:type=\"LocalizedMethodFault\">&lt;fault "
                              "xsi:type=\"NotFound\">&lt;/fault>&lt;localizedMessage>not found"
                              "&lt;/localizedMessage>&lt;/obj>"));
    struct outcome o = run(peer, "vmkfstools clone", NULL, true);
    assert_int_equal(o.err.code, LIFT_UNSUPPORTED);
    assert_string_equal(o.fault, "NotFound");
    assert_false(o.err.unanswered);
    peer_free(peer);
}

static void keeps_the_message_of_a_fault_it_cannot_read(void **state)
{
    (void)state;
    struct peer *peer = new_peer(200, REFUSAL("nonsense"));
    struct outcome o = run(peer, "system version get", NULL, false);
    assert_int_equal(o.err.code, LIFT_FAILED);
    assert_non_null(strstr(o.err.text, "system version get: m"));
    peer_free(peer);
}

static void calls_an_effect_open_when_its_output_makes_no_sense(void **state)
{
    (void)state;
    struct peer *peer = new_peer(200, RESPONSE("&lt;obj>&lt;a>"));
    struct outcome o = run(peer, "vmkfstools clone", NULL, true);
    assert_int_equal(o.err.code, LIFT_PROTOCOL);
    assert_true(o.err.unanswered);
    o = run(peer, "vmkfstools taskGet", NULL, false);
    assert_int_equal(o.err.code, LIFT_PROTOCOL);
    assert_false(o.err.unanswered);
    peer_free(peer);
}

static void asks_for_a_new_executer_when_the_old_one_has_gone(void **state)
{
    (void)state;
    struct peer *peer = new_peer(200, RESPONSE("&lt;obj/>"));
    struct outcome o = run(peer, "system version get", NULL, false);
    lift_xml_doc_free(o.doc);
    const struct answer good = peer->answers[1];
    peer->answers[1] = (struct answer){"ExecuteSoap", 500, FAULT("ManagedObjectNotFound", "x"), 1};
    peer->answers[2] = good;
    o = run(peer, "system version get", NULL, false);
    assert_int_equal(o.err.code, LIFT_OK);
    lift_xml_doc_free(o.doc);
    assert_string_equal(peer->methods, "ExecuteSoap RetrieveManagedMethodExecuter ExecuteSoap ");

    peer->answers[1].times = 1;
    o = run(peer, "vmkfstools clone", NULL, true);
    assert_int_equal(o.err.code, LIFT_NOT_FOUND);
    assert_true(o.err.refused);
    assert_string_equal(peer->methods, "ExecuteSoap ");
    peer->answers[1].times = 0;
    o = run(peer, "system version get", NULL,
            false); /* it never comes back: one try more, no loop */
    assert_int_equal(o.err.code, LIFT_NOT_FOUND);
    peer_free(peer);
}

static void forgets_the_executer_with_the_login(void **state)
{
    (void)state;
    struct peer *peer = new_peer(200, RESPONSE("&lt;obj/>"));
    struct outcome o = run(peer, "system version get", NULL, false);
    lift_xml_doc_free(o.doc);
    peer->session[0] = '\0';
    o = run(peer, "vmkfstools clone", NULL, true);
    assert_true(o.err.refused);
    assert_string_equal(peer->methods, "ExecuteSoap Logout Login ");
    o = run(peer, "vmkfstools clone", NULL, true);
    assert_int_equal(o.err.code, LIFT_OK);
    lift_xml_doc_free(o.doc);
    assert_string_equal(peer->methods, "RetrieveManagedMethodExecuter ExecuteSoap ");
    peer_free(peer);
}

static void refuses_what_is_no_command(void **state)
{
    (void)state;
    struct peer *peer = new_peer(200, RESPONSE(""));
    static const char *const bad[] = {"", "one", "a  b", "a b ", " a b", "a b;c", "a/b c"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct outcome o = run(peer, bad[i], NULL, false);
        assert_false(o.done);
        assert_int_equal(o.err.code, LIFT_CONFIG);
    }
    assert_int_equal(peer->count, 0);
    peer_free(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_one_round_trip_once_warm),
        cmocka_unit_test(asks_for_an_executer_once_for_all_that_wait),
        cmocka_unit_test(fails_all_that_wait_for_an_executer),
        cmocka_unit_test(takes_no_output_for_success),
        cmocka_unit_test(shows_the_lines_of_a_refused_command),
        cmocka_unit_test(knows_a_missing_command),
        cmocka_unit_test(keeps_the_message_of_a_fault_it_cannot_read),
        cmocka_unit_test(calls_an_effect_open_when_its_output_makes_no_sense),
        cmocka_unit_test(asks_for_a_new_executer_when_the_old_one_has_gone),
        cmocka_unit_test(forgets_the_executer_with_the_login),
        cmocka_unit_test(refuses_what_is_no_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
