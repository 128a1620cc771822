#include "engine/ssh.h"

#include "engine/timer.h"
#include "sshd.h"

struct run {
    struct sshd sshd;
    struct lift_loop *loop;
    struct lift_ssh *ssh;
};

struct outcome {
    struct lift_loop *loop;
    int *left; /* the loop stops when it reaches 0 */
    bool done, ended, truncated;
    int status;
    char signal[16], out[256], errors[256];
    size_t length;
    struct lift_error err;
};

static void keep(char *out, size_t size, const struct lift_buf *text)
{
    snprintf(out, size, "%s", text->data ? text->data : "");
}

static void on_end(void *payload, struct lift_ssh_end *end, const struct lift_error *err)
{
    struct outcome *o = payload;
    assert_false(o->done);
    o->done = true;
    o->ended = end != NULL;
    if (end) {
        o->status = end->status;
        o->truncated = end->truncated;
        o->length = end->out.length;
        snprintf(o->signal, sizeof o->signal, "%s", end->signal);
        keep(o->out, sizeof o->out, &end->out);
        keep(o->errors, sizeof o->errors, &end->err);
    } else {
        o->err = *err;
    }
    if (--*o->left == 0)
        lift_loop_stop(o->loop);
}

static struct lift_ssh_exec *begin(struct run *run, struct outcome *o, int *left,
                                   const struct lift_ssh_request *request)
{
    *o = (struct outcome){.loop = run->loop, .left = left};
    ++*left;
    return lift_ssh_exec(run->ssh, request, on_end, o);
}

/* One command from its beginning to its end. */
static struct outcome request(struct run *run, const struct lift_ssh_request *request)
{
    struct outcome o;
    int left = 0;
    struct lift_ssh_exec *exec = begin(run, &o, &left, request);
    assert_false(o.done);
    lift_loop_run(run->loop);
    lift_ssh_exec_free(exec);
    return o;
}

static struct outcome command(struct run *run, const char *text)
{
    return request(run, &(struct lift_ssh_request){.command = text, .timeout_ms = 20000});
}

static struct lift_secret *key(struct run *run, const char *name)
{
    char text[4096];
    sshd_file(&run->sshd, name, text, sizeof text);
    return lift_secret_new(text, strlen(text));
}

/* Fields left out of `spec` are those that let us in. */
static void connect_as(struct run *run, const char *key_name, struct lift_ssh_spec spec)
{
    struct lift_error err = {0};
    const char *known[] = {run->sshd.fingerprint, NULL};
    struct lift_secret *secret = key(run, key_name);
    lift_ssh_free(run->ssh);
    spec.host = spec.host ? spec.host : "127.0.0.1";
    spec.port = spec.port ? spec.port : run->sshd.port;
    spec.user = run->sshd.user;
    spec.key = secret;
    if (!spec.fingerprints && !spec.known_hosts)
        spec.fingerprints = known;
    run->ssh = lift_ssh_new(run->loop, &spec, &err);
    lift_secret_free(secret);
    if (!run->ssh)
        fail_msg("%s", err.text);
}

static int setup_group(void **state)
{
    static struct run run;
    sshd_make(&run.sshd);
    sshd_start(&run.sshd, "");
    *state = &run;
    return 0;
}

static int teardown_group(void **state)
{
    struct run *run = *state;
    sshd_remove(&run->sshd);
    return 0;
}

static int setup(void **state)
{
    struct run *run = *state;
    struct lift_error err;
    run->ssh = NULL;
    run->loop = lift_loop_new(&err);
    connect_as(run, "ed", (struct lift_ssh_spec){0});
    return 0;
}

static int teardown(void **state)
{
    struct run *run = *state;
    lift_ssh_free(run->ssh);
    int left = lift_loop_handles(run->loop);
    lift_loop_free(run->loop);
    return left;
}

/* ---- commands ---- */

static void runs_a_command_and_keeps_both_outputs_and_the_status(void **state)
{
    struct outcome o = command(*state, "echo out; echo err >&2; exit 7");
    assert_true(o.ended);
    assert_string_equal(o.out, "out\n");
    assert_string_equal(o.errors, "err\n");
    assert_int_equal(o.status, 7);
    assert_string_equal(o.signal, "");
}

static void tells_the_signal_that_ended_a_command(void **state)
{
    struct outcome o = command(*state, "kill -TERM $$");
    assert_true(o.ended);
    assert_int_equal(o.status, -1);
    assert_string_equal(o.signal, "TERM");
}

static void runs_many_commands_over_one_connection(void **state)
{
    enum { COUNT = 25 };
    struct outcome all[COUNT];
    struct lift_ssh_exec *execs[COUNT];
    int left = 0;
    for (int i = 0; i < COUNT; i++)
        execs[i] = begin(*state, &all[i], &left,
                         &(struct lift_ssh_request){.command = "echo \"${SSH_CONNECTION#* }\""});
    lift_loop_run(((struct run *)*state)->loop);
    for (int i = 0; i < COUNT; i++) {
        lift_ssh_exec_free(execs[i]);
        if (!all[i].ended)
            fail_msg("%s", all[i].err.text);
        assert_string_equal(all[i].out, all[0].out);
    }
}

static void feeds_the_input_and_its_end(void **state)
{
    struct run *run = *state;
    size_t length = (size_t)5 << 20;
    char *input = lift_calloc(length, 1);
    memset(input, 'x', length);
    struct outcome o =
        request(run, &(struct lift_ssh_request){
                         .command = "cat | wc -c", .input = input, .input_length = length});
    lift_free(input);
    assert_string_equal(o.out, "5242880\n");
    o = command(run, "cat");
    assert_true(o.ended);
    assert_int_equal(o.length, 0);
}

static void drops_output_beyond_the_ceiling(void **state)
{
    struct outcome o = request(
        *state, &(struct lift_ssh_request){.command = "head -c 3000000 /dev/zero; echo >&2 e",
                                           .max_output = 1000});
    assert_true(o.ended && o.truncated);
    assert_int_equal(o.length, 1000);
    assert_string_equal(o.errors, "e\n");
    o = request(*state, &(struct lift_ssh_request){.command = "head -c 3000000 /dev/zero",
                                                   .max_output = 4000000});
    assert_false(o.truncated);
    assert_int_equal(o.length, 3000000);
}

static void ends_a_command_that_takes_too_long(void **state)
{
    struct lift_ssh_request slow = {.command = "sleep 30", .timeout_ms = 300, .effect = true};
    struct outcome o = request(*state, &slow);
    assert_int_equal(o.err.code, LIFT_TIMEOUT);
    assert_true(o.err.unanswered);
    slow.effect = false;
    assert_false(request(*state, &slow).err.unanswered);
    assert_string_equal(command(*state, "echo on").out, "on\n");
}

static void stop(void *payload)
{
    lift_loop_stop(payload);
}

static void run_for(struct run *run, uint64_t ms)
{
    struct lift_timer *end = lift_timer_new(run->loop, ms, stop, run->loop);
    lift_loop_run(run->loop);
    lift_timer_free(end);
}

static void a_command_that_is_freed_never_ends(void **state)
{
    struct run *run = *state;
    for (int ms = 0; ms < 60; ms += 3) { /* while it connects, asks, and runs */
        struct outcome o;
        int left = 0;
        struct lift_ssh_exec *exec =
            begin(run, &o, &left, &(struct lift_ssh_request){.command = "sleep 0.01; echo x"});
        if (ms > 0)
            run_for(run, (uint64_t)ms);
        lift_ssh_exec_free(exec);
        if (ms % 2)
            connect_as(run, "ed", (struct lift_ssh_spec){0});
    }
    assert_string_equal(command(run, "echo on").out, "on\n");
}

/* ---- keys ---- */

static void signs_with_rsa_and_sha2(void **state)
{
    struct run *run = *state;
    char line[1024];
    connect_as(run, "rsa", (struct lift_ssh_spec){0});
    assert_true(command(run, "true").ended);
    sshd_file(&run->sshd, "rsa.pub", line, sizeof line);
    assert_int_equal(
        strncmp(line, lift_ssh_public_key(run->ssh), strlen(lift_ssh_public_key(run->ssh))), 0);
    sh("grep -q 'Accepted publickey for .* ssh2: RSA' %s/log", run->sshd.folder);
}

static void says_which_key_is_refused(void **state)
{
    struct run *run = *state;
    connect_as(run, "stranger", (struct lift_ssh_spec){0});
    struct outcome o = command(run, "true");
    assert_int_equal(o.err.code, LIFT_DENIED);
    assert_int_equal(lift_ssh_refusal(run->ssh), LIFT_SSH_KEY_REFUSED);
    assert_false(o.err.unanswered);
}

static void refuses_keys_that_cannot_be_used(void **state)
{
    struct run *run = *state;
    struct lift_error err = {0};
    const char *const bad[] = {"locked", "ed.pub", "print", "short", "dsa"};
    const char *const about[] = {"passphrase", "no private key", "no private key", "2048 bits",
                                 "DSA"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lift_secret *secret = key(run, bad[i]);
        assert_null(
            lift_ssh_new(run->loop, &(struct lift_ssh_spec){.host = "h", .key = secret}, &err));
        lift_secret_free(secret);
        assert_int_equal(err.code, LIFT_CONFIG);
        assert_non_null(strstr(err.text, about[i]));
    }
}

/* ---- the host's key ---- */

static void write_known(struct run *run, const char *from)
{
    sh("cd %s && echo \"[127.0.0.1]:%u $(cut -d ' ' -f 1,2 %s.pub)\" > known", run->sshd.folder,
       run->sshd.port, from);
}

static void refuses_a_host_that_is_not_known(void **state)
{
    struct run *run = *state;
    const char *other[] = {"SHA256:0000000000000000000000000000000000000000000", NULL};
    connect_as(run, "ed", (struct lift_ssh_spec){.fingerprints = other});
    struct outcome o = command(run, "true");
    assert_int_equal(o.err.code, LIFT_DENIED);
    assert_int_equal(lift_ssh_refusal(run->ssh), LIFT_SSH_HOST_UNKNOWN);
    assert_string_equal(lift_ssh_fingerprint(run->ssh), run->sshd.fingerprint);
    assert_non_null(strstr(o.err.text, run->sshd.fingerprint));
}

static void looks_into_known_hosts(void **state)
{
    struct run *run = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/known", run->sshd.folder);
    write_known(run, "host");
    connect_as(run, "ed", (struct lift_ssh_spec){.known_hosts = path});
    assert_true(command(run, "true").ended);
    write_known(run, "other");
    connect_as(run, "ed", (struct lift_ssh_spec){.known_hosts = path});
    assert_int_equal(command(run, "true").err.code, LIFT_DENIED);
    assert_int_equal(lift_ssh_refusal(run->ssh), LIFT_SSH_HOST_CHANGED);
    connect_as(run, "ed", (struct lift_ssh_spec){.known_hosts = "/nonexistent/known"});
    assert_int_equal(command(run, "true").err.code, LIFT_DENIED);
    assert_int_equal(lift_ssh_refusal(run->ssh), LIFT_SSH_HOST_UNKNOWN);
}

/* ---- the connection ---- */

static void says_that_nothing_is_there(void **state)
{
    struct run *run = *state;
    connect_as(run, "ed", (struct lift_ssh_spec){.port = free_port()});
    struct outcome o = command(run, "true");
    assert_int_equal(o.err.code, LIFT_UNREACHABLE);
    assert_non_null(strstr(o.err.text, "refused"));
    connect_as(run, "ed", (struct lift_ssh_spec){.host = "no.such.host.invalid"});
    assert_int_equal(command(run, "true").err.code, LIFT_UNREACHABLE);
}

/* Accepts, says `words`, and stays silent. */
static int odd_peer(uint16_t *port, const char *words, pid_t *pid)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *port = ntohs(at.sin_port);
    *pid = fork();
    if (*pid == 0) {
        int peer = accept(fd, NULL, NULL);
        ssize_t wrote = write(peer, words, strlen(words));
        pause();
        _exit(wrote < 0);
    }
    close(fd);
    return 0;
}

static void gives_up_on_a_peer_that_says_nothing_or_nonsense(void **state)
{
    struct run *run = *state;
    const char *const words[] = {"", "HTTP/1.1 400 Bad Request\r\n\r\n"};
    const enum lift_code codes[] = {LIFT_TIMEOUT, LIFT_TIMEOUT};
    for (size_t i = 0; i < 2; i++) {
        pid_t pid;
        uint16_t port;
        odd_peer(&port, words[i], &pid);
        connect_as(run, "ed", (struct lift_ssh_spec){.port = port, .connect_ms = 300});
        struct outcome o = command(run, "true");
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(o.err.code, codes[i]);
        assert_non_null(strstr(o.err.hint, "SSH service"));
    }
}

static void connects_again_when_the_connection_was_lost(void **state)
{
    struct run *run = *state;
    assert_true(command(run, "p=$PPID; (sleep 0.1; kill -KILL $p) >/dev/null 2>&1 &").ended);
    run_for(run, 300);
    assert_string_equal(command(run, "echo on").out, "on\n");
}

static void sends_again_what_was_not_sent(void **state)
{
    struct run *run = *state;
    struct outcome sent, waiting;
    int left = 0;
    char line[512], at[128];
    snprintf(at, sizeof at, "%s/at", run->sshd.folder);
    snprintf(
        line, sizeof line,
        "cd %s; p=$PPID; (until [ -e go ]; do sleep 0.02; done; kill -KILL $p) >/dev/null 2>&1 &"
        "kill -STOP $p; touch at",
        run->sshd.folder);
    struct lift_ssh_exec *a = begin(run, &sent, &left, &(struct lift_ssh_request){.command = line});
    while (access(at, F_OK) != 0)
        run_for(run, 20);
    struct lift_ssh_exec *b = begin(
        run, &waiting, &left, &(struct lift_ssh_request){.command = "echo on", .effect = true});
    run_for(run, 100); /* the host neither moves nor says so */
    sh("touch %s/go", run->sshd.folder);
    lift_loop_run(run->loop);
    lift_ssh_exec_free(a);
    lift_ssh_exec_free(b);
    assert_int_equal(sent.err.code, LIFT_UNREACHABLE);
    assert_false(sent.err.unanswered);
    assert_string_equal(waiting.out, "on\n");
}

static void says_that_an_effect_may_have_happened(void **state)
{
    struct run *run = *state;
    struct outcome o = request(
        run, &(struct lift_ssh_request){.command = "kill -KILL $PPID; sleep 1", .effect = true});
    assert_int_equal(o.err.code, LIFT_UNREACHABLE);
    assert_true(o.err.unanswered);
    assert_string_equal(command(run, "echo on").out, "on\n");
}

static void is_busy_when_the_host_opens_no_channel(void **state)
{
    struct run *run = *state;
    sshd_stop(&run->sshd);
    sshd_start(&run->sshd, "MaxSessions 1");
    struct outcome first, second;
    int left = 0;
    struct lift_ssh_exec *a =
        begin(run, &first, &left, &(struct lift_ssh_request){.command = "sleep 0.3"});
    struct lift_ssh_exec *b =
        begin(run, &second, &left, &(struct lift_ssh_request){.command = "true", .effect = true});
    lift_loop_run(run->loop);
    lift_ssh_exec_free(a);
    lift_ssh_exec_free(b);
    assert_true(first.ended);
    assert_int_equal(second.err.code, LIFT_BUSY);
    assert_true(second.err.refused && !second.err.unanswered);
    sshd_stop(&run->sshd);
    sshd_start(&run->sshd, "");
}

static void notices_that_the_host_went_silent(void **state)
{
    struct run *run = *state;
    connect_as(run, "ed", (struct lift_ssh_spec){.keepalive_ms = 100});
    struct outcome o = command(run, "sleep 1.2"); /* it answers while it is quiet */
    if (!o.ended)
        fail_msg("%s", o.err.text);
    o = command(run, "kill -STOP $PPID; sleep 3; kill -KILL $PPID");
    assert_int_equal(o.err.code, LIFT_UNREACHABLE);
    assert_non_null(strstr(o.err.text, "silent"));
}

static void survives_new_keys_in_the_middle(void **state)
{
    struct run *run = *state;
    sshd_stop(&run->sshd);
    sshd_start(&run->sshd, "RekeyLimit 200K");
    struct outcome o =
        request(run, &(struct lift_ssh_request){.command = "head -c 2000000 /dev/zero",
                                                .max_output = 4000000});
    assert_int_equal(o.length, 2000000);
    sshd_stop(&run->sshd);
    sshd_start(&run->sshd, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(runs_a_command_and_keeps_both_outputs_and_the_status),
        TEST(tells_the_signal_that_ended_a_command),
        TEST(runs_many_commands_over_one_connection),
        TEST(feeds_the_input_and_its_end),
        TEST(drops_output_beyond_the_ceiling),
        TEST(ends_a_command_that_takes_too_long),
        TEST(a_command_that_is_freed_never_ends),
        TEST(signs_with_rsa_and_sha2),
        TEST(says_which_key_is_refused),
        TEST(refuses_keys_that_cannot_be_used),
        TEST(refuses_a_host_that_is_not_known),
        TEST(looks_into_known_hosts),
        TEST(says_that_nothing_is_there),
        TEST(gives_up_on_a_peer_that_says_nothing_or_nonsense),
        TEST(connects_again_when_the_connection_was_lost),
        TEST(sends_again_what_was_not_sent),
        TEST(says_that_an_effect_may_have_happened),
        TEST(is_busy_when_the_host_opens_no_channel),
        TEST(notices_that_the_host_went_silent),
        TEST(survives_new_keys_in_the_middle),
    };
    return cmocka_run_group_tests_name("ssh", tests, setup_group, teardown_group);
}
