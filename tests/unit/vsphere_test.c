#include "vim_peer.h"

struct outcome {
    struct peer *peer;
    int *left; /* loop stops when it reaches 0 */
    bool done;
    struct lift_error err; /* code LIFT_OK: success */
    char fault[64];
    struct lift_xml_doc *doc;
    const struct lift_xml_node *result;
    struct lift_buf content;
};

static void end_one(struct outcome *o)
{
    assert_false(o->done);
    o->done = true;
    if (--*o->left == 0)
        lift_loop_stop(o->peer->loop);
}

static void on_end(void *payload, struct lift_vsphere_end *end)
{
    struct outcome *o = payload;
    if (end->err)
        o->err = *end->err;
    memcpy(o->fault, end->fault.type, sizeof o->fault);
    o->result = end->result;
    o->doc = end->doc;
    end->doc = NULL;
    end_one(o);
}

static void on_content(void *payload, struct lift_buf *content, const struct lift_error *err)
{
    struct outcome *o = payload;
    if (err)
        o->err = *err;
    if (content) {
        o->content = *content;
        *content = (struct lift_buf){0};
    }
    end_one(o);
}

static struct lift_vsphere_call *begin(struct outcome *o, struct peer *peer, int *left,
                                       const char *method, bool effect)
{
    *o = (struct outcome){.peer = peer, .left = left};
    struct lift_vsphere_request request = {
        .method = method, .self = {.type = "T", .id = "t-1"}, .effect = effect};
    struct lift_vsphere_call *call = lift_vsphere_call(peer->vs, &request, on_end, o, &o->err);
    *left += call != NULL;
    return call;
}

/* One call from beginning to end. */
static struct outcome call(struct peer *peer, const char *method, bool effect)
{
    struct outcome o;
    int left = 0;
    struct lift_vsphere_call *c = begin(&o, peer, &left, method, effect);
    if (c)
        lift_loop_run(peer->loop);
    lift_vsphere_call_free(c);
    lift_xml_doc_free(o.doc);
    return o;
}

static void login(struct peer *peer)
{
    peer->answers[7] = (struct answer){0};
    int left = 1;
    struct outcome o = {.peer = peer, .left = &left};
    struct lift_vsphere_call *c = lift_vsphere_login(peer->vs, on_end, &o, &o.err);
    assert_non_null(c);
    lift_loop_run(peer->loop);
    lift_vsphere_call_free(c);
    assert_int_equal(o.err.code, LIFT_OK);
    assert_non_null(o.result);
    peer->methods[0] = '\0';
}

#define READ                                                                                       \
    {                                                                                              \
        "Read", 200,                                                                               \
            SOAP("<ReadResponse xmlns='urn:vim25'><returnval>1</returnval></ReadResponse>"), 0     \
    }

static void logs_in_and_calls(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    peer->answers[0] = (struct answer)READ;
    assert_null(lift_vsphere_content(peer->vs));
    struct outcome o = call(peer, "Read", false);
    assert_int_equal(o.err.code, LIFT_OK);
    assert_string_equal(peer->methods, "GET RetrieveServiceContent Login Read ");
    assert_string_equal(peer->action, "urn:vim25/8.0.0.1");
    assert_string_equal(peer->type, "text/xml; charset=\"utf-8\"");
    assert_string_equal(peer->cookie, "vmware_soap_session=\"session-1\"");
    assert_string_equal(peer->target, "/sdk");
    assert_non_null(strstr(peer->body, "<operationID>lunalift-"));
    assert_int_equal(lift_vsphere_requests(peer->vs), 3);
    assert_int_equal(lift_vsphere_generation(peer->vs), 1);
    assert_non_null(lift_xml_child(lift_vsphere_content(peer->vs), "rootFolder"));
    peer_free(peer);
}

static void asks_for_a_version_that_both_know(void **state)
{
    (void)state;
    static const struct {
        const char *versions, *action;
    } cases[] = {
        {NULL, "urn:vim25/6.7"},
        {"not XML", "urn:vim25/6.7"},
        {"<n><namespace><name>urn:vim25</name><version>7.0.3.2</version></namespace></n>",
         "urn:vim25/7.0.3.2"},
        {"<n><namespace><name>urn:vim25</name><version>5.5</version></namespace></n>",
         "urn:vim25/6.5"},
        {"<n><namespace><name>urn:vim25</name><version>10.0</version></namespace></n>",
         "urn:vim25/8.0.0.1"},
        {"<n><namespace><name>urn:vim25</name><version>8.0&#10;x</version></namespace></n>",
         "urn:vim25/6.7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer *peer = peer_new(PASSWORD);
        peer->versions = cases[i].versions;
        login(peer);
        assert_string_equal(peer->action, cases[i].action);
        peer_free(peer);
    }
}

static void shares_one_login(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    peer->answers[0] = (struct answer)READ;
    struct outcome o[4];
    struct lift_vsphere_call *c[4];
    for (int round = 0; round < 2; round++) { /* cold, then with all logins lost */
        int left = 0;
        for (int i = 0; i < 4; i++)
            assert_non_null(c[i] = begin(&o[i], peer, &left, "Read", false));
        lift_loop_run(peer->loop);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(o[i].err.code, LIFT_OK);
            lift_vsphere_call_free(c[i]);
            lift_xml_doc_free(o[i].doc);
        }
        assert_int_equal(peer->logins, round + 1);
        peer->session[0] = '\0';
    }
    assert_int_equal(lift_vsphere_generation(peer->vs), 2);
    peer_free(peer);
}

static void sends_an_effect_once_when_the_login_was_lost(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    peer->answers[0] = (struct answer){"Act", 200, SOAP("<ActResponse xmlns='urn:vim25'/>"), 0};
    login(peer);
    peer->session[0] = '\0';
    struct outcome o = call(peer, "Act", true);
    assert_int_equal(o.err.code, LIFT_DENIED);
    assert_true(o.err.refused);
    assert_false(o.err.unanswered);
    assert_string_equal(peer->methods, "Act Logout Login ");
    o = call(peer, "Act", true);
    assert_int_equal(o.err.code, LIFT_OK);
    assert_string_equal(peer->methods, "Act Logout Login Act ");
    peer_free(peer);
}

#define MISSING                                                                                    \
    SOAP("<RResponse xmlns='urn:vim25'><returnval><objects><obj type='T'>t-1</obj><missingSet>"    \
         "<path>name</path><fault><fault xsi:type='NotAuthenticated'/></fault></missingSet>"       \
         "</objects></returnval></RResponse>")

static void sees_a_lost_login_in_missing_properties(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    login(peer);
    peer->answers[0] = (struct answer){"Read", 200, MISSING, 1};
    peer->answers[1] = (struct answer)READ;
    struct outcome o = call(peer, "Read", false);
    assert_int_equal(o.err.code, LIFT_OK);
    assert_string_equal(peer->methods, "Read Logout Login Read ");
    peer->answers[0].times = 0;
    o = call(peer, "Read", false);
    assert_int_equal(o.err.code, LIFT_DENIED);
    peer_free(peer);
}

static void doubts_a_missing_privilege_once(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    login(peer);
    peer->answers[0] = (struct answer){"Read", 500, FAULT("NoPermission", "denied"), 1};
    peer->answers[1] = (struct answer)READ;
    struct outcome o = call(peer, "Read", false);
    assert_int_equal(o.err.code, LIFT_OK);
    assert_string_equal(peer->methods, "Read Logout Login Read ");
    peer->answers[0].times = 0;
    for (int i = 0; i < 3; i++) {
        o = call(peer, "Read", i == 2);
        assert_int_equal(o.err.code, LIFT_DENIED);
        assert_string_equal(o.fault, "NoPermission");
        assert_false(o.err.refused);
    }
    assert_int_equal(peer->logins, 2);
    peer_free(peer);
}

static void does_not_try_a_refused_password_again(void **state)
{
    (void)state;
    struct peer *peer = peer_new("wrong");
    struct outcome o = call(peer, "Read", false);
    assert_true(o.done);
    assert_int_equal(o.err.code, LIFT_DENIED);
    assert_non_null(strstr(o.err.hint, "GOVMOMI_PASSWORD"));
    o = call(peer, "Read", false);
    assert_false(o.done);
    assert_int_equal(o.err.code, LIFT_DENIED);
    assert_int_equal(peer->logins, 1);
    peer_free(peer);
}

static void reads_a_status_that_no_api_sends(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum lift_code code;
        bool refused, unanswered;
    } cases[] = {
        {503, LIFT_BUSY, true, false},      {429, LIFT_BUSY, true, false},
        {502, LIFT_PROTOCOL, false, true},  {504, LIFT_TIMEOUT, false, true},
        {401, LIFT_DENIED, true, false},    {403, LIFT_DENIED, true, false},
        {404, LIFT_PROTOCOL, false, false}, {418, LIFT_PROTOCOL, false, false},
        {0, LIFT_PROTOCOL, false, true}, /* dropped */
    };
    struct peer *peer = peer_new(PASSWORD);
    login(peer);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer->answers[0] = (struct answer){"Act", cases[i].status, "<html/>", 0};
        struct outcome o = call(peer, "Act", true);
        assert_int_equal(o.err.code, cases[i].code);
        assert_int_equal(o.err.refused, cases[i].refused);
        assert_int_equal(o.err.unanswered, cases[i].unanswered);
        o = call(peer, "Act", false);
        assert_int_equal(o.err.unanswered, cases[i].status == 0); /* no whole answer, or none */
    }
    assert_int_equal(peer->logins, 3); /* 401 is taken for a lost login, once a call */
    peer_free(peer);
}

static void calls_an_effect_open_when_its_answer_is_cut(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    login(peer);
    static const char *const bodies[] = {"<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/env",
                                         "", FAULT("SystemError", "?")};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        peer->answers[0] = (struct answer){"Act", 500, bodies[i], 0};
        struct outcome o = call(peer, "Act", true);
        assert_int_not_equal(o.err.code, LIFT_OK);
        assert_true(o.err.unanswered);
    }
    peer->answers[0] = (struct answer){"Act", 500, FAULT("InvalidState", "no"), 0};
    struct outcome o = call(peer, "Act", true);
    assert_int_equal(o.err.code, LIFT_CONFLICT);
    assert_false(o.err.unanswered);
    peer_free(peer);
}

static void ends_every_call_when_nobody_listens(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    lift_server_free(peer->server);
    peer->server = NULL;
    struct outcome o[2];
    int left = 0;
    struct lift_vsphere_call *a = begin(&o[0], peer, &left, "Read", false);
    struct lift_vsphere_call *b = begin(&o[1], peer, &left, "Act", true);
    lift_loop_run(peer->loop);
    assert_int_equal(o[0].err.code, LIFT_UNREACHABLE);
    assert_int_equal(o[1].err.code, LIFT_UNREACHABLE);
    assert_true(o[1].err.refused);
    lift_vsphere_call_free(a);
    lift_vsphere_call_free(b);
    peer_free(peer);
}

static void forgets_a_call_that_is_freed(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    peer->answers[0] = (struct answer)READ;
    struct outcome gone, o;
    int left = 0;
    lift_vsphere_call_free(begin(&gone, peer, &left, "Read", false)); /* while the login runs */
    left = 0;
    struct lift_vsphere_call *c = begin(&o, peer, &left, "Read", false);
    lift_loop_run(peer->loop);
    lift_vsphere_call_free(c);
    lift_xml_doc_free(o.doc);
    lift_vsphere_call_free(begin(&gone, peer, &left, "Read", false)); /* while it is sent */
    assert_false(gone.done);
    peer_free(peer);
}

static void logs_out(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    login(peer);
    peer->answers[0] =
        (struct answer){"Logout", 200, SOAP("<LogoutResponse xmlns='urn:vim25'/>"), 0};
    for (int i = 0; i < 2; i++) { /* the second has nothing to do */
        int left = 1;
        struct outcome o = {.peer = peer, .left = &left};
        struct lift_vsphere_call *c = lift_vsphere_logout(peer->vs, on_end, &o, &o.err);
        assert_non_null(c);
        assert_false(o.done);
        lift_loop_run(peer->loop);
        assert_int_equal(o.err.code, LIFT_OK);
        lift_vsphere_call_free(c);
        lift_xml_doc_free(o.doc);
    }
    assert_string_equal(peer->methods, "Logout ");
    assert_non_null(strstr(peer->body, "SM</_this>"));
    peer_free(peer);
}

static struct outcome file(struct peer *peer, const struct lift_datastore_file *f)
{
    int left = 1;
    struct outcome o = {.peer = peer, .left = &left};
    struct lift_vsphere_call *c = lift_vsphere_file(peer->vs, f, on_content, &o, &o.err);
    assert_non_null(c);
    lift_loop_run(peer->loop);
    lift_vsphere_call_free(c);
    return o;
}

static void reads_and_writes_datastore_files(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    struct lift_datastore_file get = {
        .dc = "/F & 1/DC", .datastore = "ds#1", .path = "a b/c%.vmdk"};
    peer->answers[0] = (struct answer){"GET", 200, "content", 0};
    struct outcome o = file(peer, &get);
    assert_int_equal(o.err.code, LIFT_OK);
    assert_string_equal(o.content.data, "content");
    lift_buf_free(&o.content);
    assert_string_equal(peer->target,
                        "/folder/a%20b/c%25.vmdk?dsName=ds%231&dcPath=F%20%26%201%2FDC");
    assert_string_equal(peer->cookie, "vmware_soap_session=\"session-1\"");

    struct lift_datastore_file put = get;
    put.bytes = "new";
    put.length = 3;
    peer->answers[0] = (struct answer){"PUT", 201, "", 0};
    o = file(peer, &put);
    assert_int_equal(o.err.code, LIFT_OK);
    assert_string_equal(peer->body, "new");

    peer->session[0] = '\0';
    o = file(peer, &put);
    assert_true(o.err.refused);
    peer->session[0] = '\0';
    peer->answers[0] = (struct answer){"GET", 404, "", 0};
    o = file(peer, &get);
    assert_int_equal(o.err.code, LIFT_NOT_FOUND);
    assert_int_equal(peer->logins, 3);
    peer_free(peer);
}

static void reads_a_large_reply(void **state)
{
    (void)state;
    struct peer *peer = peer_new(PASSWORD);
    login(peer);
    struct lift_buf body = {0};
    assert_true(lift_buf_adds(&body,
                              "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'>"
                              "<s:Body><ReadResponse xmlns='urn:vim25'>"));
    int rows = 0;
    for (; body.length < 5 << 20; rows++)
        assert_true(lift_buf_adds(&body,
                                  "<returnval><obj type='VirtualMachine'>vm-1</obj><propSet>"
                                  "<name>name</name><val>some name</val></propSet></returnval>"));
    assert_true(lift_buf_adds(&body, "</ReadResponse></s:Body></s:Envelope>"));
    peer->answers[0] = (struct answer){"Read", 200, body.data, 0};
    struct outcome o;
    int left = 0;
    struct lift_vsphere_call *c = begin(&o, peer, &left, "Read", false);
    lift_loop_run(peer->loop);
    assert_int_equal(o.err.code, LIFT_OK);
    const struct lift_xml_node *row = lift_xml_child(o.result, "returnval");
    for (; row; row = lift_xml_next(row, "returnval"))
        rows--;
    assert_int_equal(rows, 0);
    lift_vsphere_call_free(c);
    lift_xml_doc_free(o.doc);
    lift_buf_free(&body);
    peer_free(peer);
}

static void refuses_what_is_no_host(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "ftp://vc", "https://", "user@vc", "vc?x", "a b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lift_error err = {0};
        struct lift_vsphere_spec spec = {.host = bad[i]};
        assert_null(lift_vsphere_new(NULL, NULL, &spec, &err));
        assert_int_equal(err.code, LIFT_CONFIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_in_and_calls),
        cmocka_unit_test(asks_for_a_version_that_both_know),
        cmocka_unit_test(shares_one_login),
        cmocka_unit_test(sends_an_effect_once_when_the_login_was_lost),
        cmocka_unit_test(sees_a_lost_login_in_missing_properties),
        cmocka_unit_test(doubts_a_missing_privilege_once),
        cmocka_unit_test(does_not_try_a_refused_password_again),
        cmocka_unit_test(reads_a_status_that_no_api_sends),
        cmocka_unit_test(calls_an_effect_open_when_its_answer_is_cut),
        cmocka_unit_test(ends_every_call_when_nobody_listens),
        cmocka_unit_test(forgets_a_call_that_is_freed),
        cmocka_unit_test(logs_out),
        cmocka_unit_test(reads_and_writes_datastore_files),
        cmocka_unit_test(reads_a_large_reply),
        cmocka_unit_test(refuses_what_is_no_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
