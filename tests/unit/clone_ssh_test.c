#include "engine/clone.h"

#include "sshd.h"

struct run {
    struct sshd sshd;
    struct lift_loop *loop;
    struct lift_ssh *ssh;
};

struct outcome {
    struct lift_loop *loop;
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
    lift_loop_stop(o->loop);
}

static struct outcome ask(struct run *run, const struct lift_clone_features *features,
                          enum lift_clone_op op, const struct lift_clone_args *args)
{
    struct outcome o = {.loop = run->loop};
    struct lift_clone *clone = lift_clone_ssh(run->ssh, "66aa0f10-5d2c", &o.err);
    assert_non_null(clone);
    lift_clone_offer(clone, features);
    struct lift_clone_call *call = lift_clone_start(clone, op, args, 20000, on_end, &o, &o.err);
    if (call)
        lift_loop_run(run->loop);
    lift_clone_call_free(call);
    lift_clone_free(clone);
    return o;
}

/* What the key's command does. */
static void answer(struct run *run, const char *script)
{
    char path[128];
    snprintf(path, sizeof path, "%s/command", run->sshd.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "printf '%%s' \"$SSH_ORIGINAL_COMMAND\" > %s/asked\n%s\n", run->sshd.folder,
            script);
    fclose(file);
}

static void asked(struct run *run, const char *line)
{
    char text[2048];
    assert_string_equal(sshd_file(&run->sshd, "asked", text, sizeof text), line);
}

#define DOCUMENT(status, message)                                                                  \
    "<?xml version=\"1.0\" ?><output xmlns=\"http://www.vmware.com/Products/ESX/5.0/esxcli/\">"    \
    "<structure typeName=\"result\"><field name=\"status\"><string>" status                        \
    "</string></field><field name=\"message\"><string>" message                                    \
    "</string></field></structure></output>"

static const struct lift_clone_features none = {0};
static const struct lift_clone_features all = {true, true, true, true, true, true};
static const struct lift_clone_args args = {.task_id = "0f9e-1",
                                            .source = "/vmfs/volumes/d s/\xc3\xa4~';*$(x).vmdk",
                                            .target = "/vmfs/devices/disks/naa.1"};

static void starts_with_encoded_names(void **state)
{
    struct run *run = *state;
    answer(run, "echo '" DOCUMENT("0", "{&quot;pid&quot;: 1}") "'");
    struct outcome o = ask(run, &all, LIFT_CLONE_START, &args);
    assert_int_equal(o.err.code, LIFT_OK);
    assert_string_equal(o.message, "{\"pid\": 1}");
    asked(run, "DS=66aa0f10-5d2c;CMD=--clone -i 0f9e-1 -s "
               "pct:/vmfs/volumes/d%20s/%C3%A4%7E%27%3B%2A%24%28x%29.vmdk "
               "-t pct:/vmfs/devices/disks/naa.1");
    lift_free(o.message);
}

static void refuses_a_name_that_an_older_wrapper_would_split_or_run(void **state)
{
    struct run *run = *state;
    static const char *const bad[] = {"/v/a'b", "/v/a b", "/v/$a", "/v/*", "/v/a;b", "/v/a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lift_clone_args a = args;
        a.source = bad[i];
        struct outcome o = ask(run, &none, LIFT_CLONE_START, &a);
        assert_false(o.done);
        assert_int_equal(o.err.code, LIFT_CONFIG);
    }
    struct lift_clone_args plain = args;
    plain.source = "/vmfs/volumes/ds1/web-1/web_1.vmdk";
    answer(run, "echo '" DOCUMENT("0", "{}") "'");
    struct outcome o = ask(run, &none, LIFT_CLONE_START, &plain);
    assert_int_equal(o.err.code, LIFT_OK);
    asked(run, "DS=66aa0f10-5d2c;CMD=--clone -s /vmfs/volumes/ds1/web-1/web_1.vmdk "
               "-t /vmfs/devices/disks/naa.1");
    lift_free(o.message);
}

static void refuses_what_is_no_id_of_a_datastore(void **state)
{
    struct run *run = *state;
    static const char *const bad[] = {"", "..", ".x", "a/b", "a b", "a;b", "$a", "a\nb", "*"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lift_error err = {0};
        assert_null(lift_clone_ssh(run->ssh, bad[i], &err));
        assert_int_equal(err.code, LIFT_CONFIG);
    }
}

static void tells_what_the_wrapper_refused(void **state)
{
    struct run *run = *state;
    answer(run, "echo '" DOCUMENT("1", "{&quot;stdErr&quot;: &quot;no&quot;}") "'; exit 1");
    struct outcome o = ask(run, &all, LIFT_CLONE_POLL, &args);
    assert_int_equal(o.err.code, LIFT_FAILED);
    assert_string_equal(o.message, "{\"stdErr\": \"no\"}");
    lift_free(o.message);
    answer(run, "echo '" DOCUMENT("28", "full") "'; exit 1");
    o = ask(run, &all, LIFT_CLONE_START, &args);
    assert_int_equal(o.err.code, LIFT_NO_SPACE);
    assert_false(o.err.unanswered);
    lift_free(o.message);
}

static void tells_a_host_without_wrapper_from_one_that_broke(void **state)
{
    struct run *run = *state;
    answer(run, "echo 'there is no script' >&2; exit 127");
    struct outcome o = ask(run, &none, LIFT_CLONE_VERSION, NULL);
    assert_int_equal(o.err.code, LIFT_UNSUPPORTED);
    assert_non_null(strstr(o.err.text, "there is no script"));
    assert_int_equal(ask(run, &all, LIFT_CLONE_POLL, &args).err.code, LIFT_BUSY);
    static const char *const broken[] = {"", "echo '<output>'", "echo hello",
                                         "echo '<output><structure/></output>'", "kill -9 $$"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        answer(run, broken[i]);
        o = ask(run, &all, LIFT_CLONE_START, &args);
        assert_int_equal(o.err.code, LIFT_PROTOCOL);
        assert_true(o.err.unanswered);
        assert_int_equal(ask(run, &none, LIFT_CLONE_VERSION, NULL).err.code, LIFT_PROTOCOL);
    }
}

static int setup(void **state)
{
    static struct run run;
    struct lift_error err = {0};
    char text[4096];
    const char *known[] = {run.sshd.fingerprint, NULL};
    sshd_make(&run.sshd);
    sh("cd %s && { printf 'restrict,command=\"sh %s/command\" ' && cat ed.pub; } > authorized",
       run.sshd.folder, run.sshd.folder);
    sshd_start(&run.sshd, "");
    sshd_file(&run.sshd, "ed", text, sizeof text);
    struct lift_secret *key = lift_secret_new(text, strlen(text));
    run.loop = lift_loop_new(&err);
    run.ssh = lift_ssh_new(run.loop,
                           &(struct lift_ssh_spec){.host = "127.0.0.1",
                                                   .port = run.sshd.port,
                                                   .user = run.sshd.user,
                                                   .key = key,
                                                   .fingerprints = known},
                           &err);
    lift_secret_free(key);
    *state = &run;
    return run.ssh ? 0 : -1;
}

static int teardown(void **state)
{
    struct run *run = *state;
    lift_ssh_free(run->ssh);
    int left = lift_loop_handles(run->loop);
    lift_loop_free(run->loop);
    sshd_remove(&run->sshd);
    return left;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_with_encoded_names),
        cmocka_unit_test(refuses_a_name_that_an_older_wrapper_would_split_or_run),
        cmocka_unit_test(refuses_what_is_no_id_of_a_datastore),
        cmocka_unit_test(tells_what_the_wrapper_refused),
        cmocka_unit_test(tells_a_host_without_wrapper_from_one_that_broke),
    };
    return cmocka_run_group_tests_name("clone over SSH", tests, setup, teardown);
}
