#include "engine/clone.h"

#include "vim_peer.h"

struct outcome {
    struct peer *peer;
    bool done;
    struct lift_error err;
    char *message; /* NULL: none */
};

static void on_end(void *payload, const char *message, const struct lift_error *err)
{
    struct outcome *o = payload;
    o->done = true;
    if (err)
        o->err = *err;
    o->message = lift_strdup(message);
    lift_loop_stop(o->peer->loop);
}

static struct outcome run(struct peer *peer, const struct lift_clone_features *features,
                          enum lift_clone_op op, const struct lift_clone_args *args)
{
    struct lift_moref host = {.type = "HostSystem", .id = "host-21"};
    struct lift_clone *clone = lift_clone_esxcli(peer->vs, &host);
    struct outcome o = {.peer = peer};
    lift_clone_offer(clone, features);
    struct lift_clone_call *call = lift_clone_start(clone, op, args, 0, on_end, &o, &o.err);
    if (call)
        lift_loop_run(peer->loop);
    lift_clone_call_free(call);
    lift_clone_free(clone);
    return o;
}

#define INNER(inner)                                                                               \
    SOAP("<ExecuteSoapResponse xmlns='urn:vim25'><returnval>" inner                                \
         "</returnval></ExecuteSoapResponse>")
#define RESULT(status, message)                                                                    \
    INNER("<response>&lt;obj xsi:type=\"VimEsxCLIvmkfstoolscloneresult\">&lt;message>" message     \
          "&lt;/message>&lt;status>" status "&lt;/status>&lt;/obj></response>")

static struct peer *new_peer(const char *body)
{
    struct peer *peer = peer_new(PASSWORD);
    peer->answers[0] = (struct answer){
        "RetrieveManagedMethodExecuter", 200,
        SOAP("<R xmlns='urn:vim25'><returnval type='X'>executer-21</returnval></R>"), 0};
    peer->answers[1] = (struct answer){"ExecuteSoap", 200, body, 0};
    return peer;
}

static const struct lift_clone_features none = {0};
static const struct lift_clone_features all = {true, true, true, true, true, true};
static const struct lift_clone_args args = {.task_id = "0f9e-1",
                                            .source = "/vmfs/volumes/d s/\xc3\xa4~'1.vmdk",
                                            .target = "/vmfs/devices/disks/naa.1",
                                            .extents = "0:4096,8192:1"};

static void asks(struct peer *peer, const char *part)
{
    if (!strstr(peer->body, part))
        fail_msg("'%s' is not in %s", part, peer->body);
}

static void starts_with_encoded_names(void **state)
{
    (void)state;
    struct peer *peer = new_peer(RESULT("0", "{&amp;quot;pid&amp;quot;: 1}"));
    struct outcome o = run(peer, &all, LIFT_CLONE_START, &args);
    assert_int_equal(o.err.code, LIFT_OK);
    assert_string_equal(o.message, "{\"pid\": 1}");
    asks(peer, "<method>vim.EsxCLI.vmkfstools.clone</method>");
    asks(peer, "<name>taskid</name><val>&lt;taskid&gt;0f9e-1&lt;");
    asks(peer, "<name>sourcevmdk</name><val>&lt;sourcevmdk&gt;"
               "pct:/vmfs/volumes/d%20s/%C3%A4%7E%271.vmdk&lt;");
    asks(peer, "<name>targetlun</name><val>&lt;targetlun&gt;pct:/vmfs/devices/disks/naa.1&lt;");
    assert_null(strstr(peer->body, "extents"));
    lift_free(o.message);
    peer_free(peer);
}

static void sends_an_older_wrapper_what_it_understands(void **state)
{
    (void)state;
    struct peer *peer = new_peer(RESULT("0", "{}"));
    struct lift_clone_args plain = args;
    plain.source = "/vmfs/volumes/ds1/a & b.vmdk";
    struct outcome o = run(peer, &none, LIFT_CLONE_START, &plain);
    assert_int_equal(o.err.code, LIFT_OK);
    asks(peer, "&lt;sourcevmdk&gt;/vmfs/volumes/ds1/a &amp;amp; b.vmdk&lt;");
    assert_null(strstr(peer->body, "taskid"));
    lift_free(o.message);
    peer_free(peer);
}

static void refuses_a_name_that_an_older_wrapper_would_run(void **state)
{
    (void)state;
    struct peer *peer = new_peer(RESULT("0", "{}"));
    static const char *const bad[] = {"/v/a'b", "/v/a\"b", "/v/$a", "/v/`a`", "/v/a\\b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lift_clone_args a = args;
        a.source = bad[i];
        struct outcome o = run(peer, &none, LIFT_CLONE_START, &a);
        assert_false(o.done);
        assert_int_equal(o.err.code, LIFT_CONFIG);
        assert_non_null(strstr(o.err.text, bad[i]));
        assert_true(o.err.hint[0]);
    }
    static const char *const ids[] = {"", "a b", "a;b", "../x", "a\nb"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct lift_clone_args a = {.task_id = ids[i]};
        struct outcome o = run(peer, &all, LIFT_CLONE_POLL, &a);
        assert_false(o.done);
        assert_int_equal(o.err.code, LIFT_CONFIG);
    }
    assert_int_equal(peer->count, 0);
    peer_free(peer);
}

static void does_not_ask_for_what_the_host_lacks(void **state)
{
    (void)state;
    struct peer *peer = new_peer(RESULT("0", "{}"));
    static const enum lift_clone_op ops[] = {LIFT_CLONE_KILL, LIFT_CLONE_LIST, LIFT_CLONE_DIGEST,
                                             LIFT_CLONE_PREFLIGHT};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct outcome o = run(peer, &none, ops[i], &args);
        assert_false(o.done);
        assert_int_equal(o.err.code, LIFT_UNSUPPORTED);
        assert_true(o.err.hint[0]);
        o = run(peer, &all, ops[i], &args);
        assert_int_equal(o.err.code, LIFT_OK);
        lift_free(o.message);
    }
    assert_null(strstr(peer->body, "extents"));
    peer_free(peer);
}

static void names_the_task(void **state)
{
    (void)state;
    static const struct {
        enum lift_clone_op op;
        const char *method;
    } cases[] = {{LIFT_CLONE_POLL, "taskGet"},
                 {LIFT_CLONE_KILL, "taskKill"},
                 {LIFT_CLONE_CLEAN, "taskClean"}};
    struct peer *peer = new_peer(RESULT("0", ""));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome o = run(peer, &all, cases[i].op, &args);
        assert_int_equal(o.err.code, LIFT_OK);
        assert_string_equal(o.message, ""); /* as a clean answers */
        asks(peer, cases[i].method);
        asks(peer, "<name>id</name><val>&lt;id&gt;0f9e-1&lt;");
        lift_free(o.message);
    }
    struct outcome o = run(peer, &all, LIFT_CLONE_DIGEST, &args);
    asks(peer, "&lt;extents&gt;0:4096,8192:1&lt;");
    lift_free(o.message);
    peer_free(peer);
}

static void passes_on_what_the_wrapper_refused(void **state)
{
    (void)state;
    struct peer *peer = new_peer(RESULT("1", "it is busy"));
    struct outcome o = run(peer, &all, LIFT_CLONE_POLL, &args);
    assert_int_equal(o.err.code, LIFT_FAILED);
    assert_string_equal(o.message, "it is busy");
    assert_non_null(strstr(o.err.text, "it is busy"));
    lift_free(o.message);
    peer->answers[1].body = RESULT("28", "low space");
    o = run(peer, &all, LIFT_CLONE_START, &args);
    assert_int_equal(o.err.code, LIFT_NO_SPACE);
    lift_free(o.message);
    peer_free(peer);
}

static void wants_an_answer(void **state)
{
    (void)state;
    struct peer *peer = new_peer(INNER(""));
    struct outcome o = run(peer, &all, LIFT_CLONE_START, &args);
    assert_int_equal(o.err.code, LIFT_PROTOCOL);
    assert_true(o.err.unanswered);
    assert_null(o.message);
    o = run(peer, &all, LIFT_CLONE_POLL, &args);
    assert_int_equal(o.err.code, LIFT_PROTOCOL);
    assert_false(o.err.unanswered);
    peer_free(peer);
}

static void says_what_to_do_without_a_wrapper(void **state)
{
    (void)state;
    struct peer *peer =
        new_peer(INNER("<fault><faultMsg>m</faultMsg><faultDetail>&lt;obj>&lt;fault "
                       "xsi:type=\"NotFound\"/>&lt;/obj></faultDetail></fault>"));
    struct outcome o = run(peer, &none, LIFT_CLONE_VERSION, NULL);
    assert_int_equal(o.err.code, LIFT_UNSUPPORTED);
    assert_non_null(strstr(o.err.hint, "VIB"));
    peer_free(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_with_encoded_names),
        cmocka_unit_test(sends_an_older_wrapper_what_it_understands),
        cmocka_unit_test(refuses_a_name_that_an_older_wrapper_would_run),
        cmocka_unit_test(does_not_ask_for_what_the_host_lacks),
        cmocka_unit_test(names_the_task),
        cmocka_unit_test(passes_on_what_the_wrapper_refused),
        cmocka_unit_test(wants_an_answer),
        cmocka_unit_test(says_what_to_do_without_a_wrapper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
