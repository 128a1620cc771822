#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/kube.h"
#include "engine/server.h"

/* A service account's folder, a kubeconfig, and an API server that writes down what it was asked.
 */
struct site {
    struct lift_loop *loop;
    struct lift_http_pool *pool;
    struct lift_server *server;
    char dir[64];
    char url[64];
    char seen[1024]; /* method target authorization content-type body */
    int status;      /* of the reply; 0 when there was none */
    char answer[1024];
    size_t taken, room; /* of a body that is taken piece by piece */
    bool refused;       /* a piece, for want of room */
};

static void put(const struct site *site, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", site->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const char *or_none(const char *text)
{
    return text ? text : "-";
}

#define PIECE ((size_t)64 << 10)
#define PIECES ((size_t)64)

static void stream(struct lift_request *request)
{
    static char piece[PIECE];
    lift_request_begin(request, 200, NULL);
    for (size_t i = 0; i < PIECES; i++) {
        memset(piece, (int)('0' + i), PIECE);
        assert_true(lift_request_send(request, piece, PIECE));
    }
    lift_request_end(request);
}

static void on_request(void *payload, struct lift_request *request)
{
    struct site *site = payload;
    static const char *const headers[] = {"Content-Type", "application/json", NULL};
    const struct lift_buf *body = lift_request_body(request);
    if (strcmp(lift_request_target(request), "/watch") == 0) {
        stream(request);
        return;
    }
    char authorization[64]; /* a header's value lasts until the next is asked for */
    snprintf(authorization, sizeof authorization, "%s",
             or_none(lift_request_header(request, "authorization")));
    snprintf(site->seen, sizeof site->seen, "%s %s %s %s %s", lift_request_method(request),
             lift_request_target(request), authorization,
             or_none(lift_request_header(request, "content-type")),
             body->length ? body->data : "-");
    lift_request_reply(request, 200, headers, "{}", 2);
}

static void on_reply(void *payload, struct lift_http_reply *reply, const struct lift_error *err)
{
    struct site *site = payload;
    site->status = reply ? reply->status : 0;
    const char *body = reply && reply->body.data ? reply->body.data : "";
    snprintf(site->answer, sizeof site->answer, "%s", reply ? body : err->text);
    lift_loop_stop(site->loop);
}

static int set_up(void **state)
{
    struct site *site = lift_calloc(1, sizeof *site);
    struct lift_error err;
    strcpy(site->dir, "/tmp/kube-XXXXXX");
    assert_non_null(mkdtemp(site->dir));
    site->loop = lift_loop_new(&err);
    site->pool = lift_http_pool_new(site->loop, &err);
    struct lift_server_spec spec = {.host = "127.0.0.1", .on_request = on_request, .payload = site};
    site->server = lift_server_new(site->loop, &spec, &err);
    assert_non_null(site->server);
    snprintf(site->url, sizeof site->url, "http://127.0.0.1:%d", lift_server_port(site->server));
    *state = site;
    return 0;
}

static int tear_down(void **state)
{
    struct site *site = *state;
    static const char *const names[] = {"config", "token", "namespace", "ca.crt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", site->dir, names[i]);
        unlink(path);
    }
    lift_server_free(site->server);
    lift_http_pool_free(site->pool);
    int left_open = lift_loop_handles(site->loop);
    lift_loop_free(site->loop);
    int removed = rmdir(site->dir);
    lift_free(site);
    return left_open == 0 ? removed : -1;
}

static struct lift_kube *open_kube(struct site *site, const struct lift_kube_spec *spec)
{
    struct lift_error err = {0};
    struct lift_kube *kube = lift_kube_new(site->pool, spec, &err);
    if (!kube)
        fail_msg("%s", err.text);
    return kube;
}

static struct lift_kube *open_user(struct site *site, const char *path, const char *user)
{
    char text[1024], config[128];
    snprintf(text, sizeof text,
             "current-context: a\n"
             "contexts: [{name: a, context: {cluster: c, user: u, namespace: vms}}]\n"
             "clusters: [{name: c, cluster: {server: '%s%s'}}]\n"
             "users: [{name: u, user: {%s}}]\n",
             site->url, path, user);
    put(site, "config", text);
    snprintf(config, sizeof config, "%s/config", site->dir);
    return open_kube(site, &(struct lift_kube_spec){.kubeconfig = config});
}

static const char *ask(struct site *site, struct lift_kube *kube,
                       const struct lift_kube_request *request)
{
    struct lift_error err = {0};
    strcpy(site->seen, "nothing");
    struct lift_http *http = lift_kube_start(kube, request, on_reply, site, &err);
    if (!http)
        fail_msg("%s", err.text);
    lift_loop_run(site->loop);
    lift_http_free(http);
    if (site->status != 200)
        fail_msg("%s", site->answer);
    return site->seen;
}

static const char *get(struct site *site, struct lift_kube *kube)
{
    return ask(site, kube, &(struct lift_kube_request){.method = "GET", .path = "/api?x=y"});
}

static void sends_the_token_and_the_body_as_told(void **state)
{
    struct site *site = *state;
    struct lift_kube *kube = open_user(site, "/", "token: abc, username: not-used");
    assert_string_equal(lift_kube_namespace(kube), "vms");
    assert_string_equal(get(site, kube), "GET /api?x=y Bearer abc - -");
    struct lift_kube_request patch = {.method = "PATCH",
                                      .path = "/api/v1/x",
                                      .content_type = "application/json-patch+json",
                                      .body = "[]",
                                      .body_length = 2,
                                      .effect = true};
    assert_string_equal(ask(site, kube, &patch),
                        "PATCH /api/v1/x Bearer abc application/json-patch+json []");
    patch.method = "POST";
    patch.content_type = NULL;
    assert_string_equal(ask(site, kube, &patch), "POST /api/v1/x Bearer abc application/json []");
    lift_kube_free(kube);
}

static bool take(void *payload, const char *bytes, size_t length)
{
    struct site *site = payload;
    site->refused = length > site->room;
    if (site->refused) {
        lift_loop_stop(site->loop);
        return false;
    }
    for (size_t i = 0; i < length; i++, site->taken++)
        assert_int_equal(bytes[i], (char)('0' + site->taken / PIECE));
    site->room -= length;
    return true;
}

static void a_body_is_taken_as_there_is_room_for_it(void **state)
{
    struct site *site = *state;
    struct lift_error err = {0};
    struct lift_kube *kube = open_kube(site, &(struct lift_kube_spec){.master = site->url});
    struct lift_kube_request request = {.method = "GET", .path = "/watch", .take = take};
    struct lift_http *http = lift_kube_start(kube, &request, on_reply, site, &err);
    assert_non_null(http);
    for (int pauses = 0; site->status == 0; pauses++) {
        assert_true(pauses < 100);
        site->room = 10 * PIECE;
        lift_http_resume(http);
        if (!site->refused)
            lift_loop_run(site->loop);
    }
    assert_int_equal(site->status, 200);
    assert_string_equal(site->answer, "");
    assert_int_equal(site->taken, PIECE * PIECES);
    lift_http_free(http);
    lift_kube_free(kube);
}

static void keeps_the_path_of_a_server_behind_a_proxy(void **state)
{
    struct site *site = *state;
    struct lift_kube *kube = open_user(site, "/k8s/clusters/c-1/", "username: me, password: pw");
    assert_string_equal(get(site, kube), "GET /k8s/clusters/c-1/api?x=y Basic bWU6cHc= - -");
    lift_kube_free(kube);
}

/* From now on the API speaks TLS, and only ca.crt of the service account vouches for it. */
static void speak_tls(struct site *site)
{
    static const char *const names[] = {"IP:127.0.0.1", NULL};
    struct lift_buf ca = {0}, ca_key = {0}, cert = {0}, key = {0};
    struct lift_error err;
    assert_true(lift_tls_make_ca("kubernetes", 1, &ca, &ca_key, &err));
    assert_true(lift_tls_make_leaf("api", names, 1, ca.data, ca_key.data, &cert, &key, &err));
    put(site, "ca.crt", ca.data);
    lift_server_free(site->server);
    struct lift_server_spec spec = {.host = "127.0.0.1",
                                    .on_request = on_request,
                                    .payload = site,
                                    .cert_pem = cert.data,
                                    .key_pem = key.data};
    site->server = lift_server_new(site->loop, &spec, &err);
    assert_non_null(site->server);
    lift_buf_free(&ca);
    lift_buf_free(&ca_key);
    lift_buf_free(&cert);
    lift_buf_free(&key);
}

static void reads_the_service_accounts_token_again_when_it_is_old(void **state)
{
    struct site *site = *state;
    char port[8];
    put(site, "token", " first\n");
    speak_tls(site);
    snprintf(port, sizeof port, "%d", lift_server_port(site->server));
    struct lift_kube_spec spec = {.sa_dir = site->dir,
                                  .service_host = "127.0.0.1",
                                  .service_port = port,
                                  .token_max_age_ms = 1};
    struct lift_kube *kube = open_kube(site, &spec);
    assert_string_equal(get(site, kube), "GET /api?x=y Bearer first - -");
    put(site, "token", "second\n");
    usleep(5000);
    assert_string_equal(get(site, kube), "GET /api?x=y Bearer second - -");
    put(site, "token", ""); /* being replaced */
    usleep(5000);
    assert_string_equal(get(site, kube), "GET /api?x=y Bearer second - -");
    lift_kube_free(kube);
}

static void leaves_a_young_token_alone_unless_it_was_refused(void **state)
{
    struct site *site = *state;
    put(site, "token", "first");
    struct lift_kube *kube = open_user(site, "", "tokenFile: token, token: not-used");
    put(site, "token", "second");
    assert_string_equal(get(site, kube), "GET /api?x=y Bearer first - -");
    lift_kube_doubt_token(kube);
    assert_string_equal(get(site, kube), "GET /api?x=y Bearer second - -");
    put(site, "token", "third");
    assert_string_equal(get(site, kube), "GET /api?x=y Bearer second - -");
    lift_kube_free(kube);
}

static void finds_itself_inside_a_cluster(void **state)
{
    struct site *site = *state;
    put(site, "token", "t");
    put(site, "namespace", "lunalift\n");
    struct lift_kube_spec spec = {
        .sa_dir = site->dir, .service_host = "fd00::1", .service_port = "443"};
    struct lift_kube *kube = open_kube(site, &spec);
    assert_string_equal(lift_kube_server(kube), "https://[fd00::1]:443");
    assert_string_equal(lift_kube_namespace(kube), "lunalift");
    lift_kube_free(kube);
    spec.service_host = "10.96.0.1";
    kube = open_kube(site, &spec);
    assert_string_equal(lift_kube_server(kube), "https://10.96.0.1:443");
    lift_kube_free(kube);
}

static void prefers_a_kubeconfig_to_the_cluster_around_it(void **state)
{
    struct site *site = *state;
    put(site, "config",
        "current-context: a\n"
        "contexts: [{name: a, context: {cluster: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://elsewhere'}}]\n");
    char config[128];
    snprintf(config, sizeof config, "%s/config", site->dir);
    struct lift_kube *kube = open_kube(
        site, &(struct lift_kube_spec){.kubeconfig = config, .service_host = "10.96.0.1"});
    assert_string_equal(lift_kube_server(kube), "https://elsewhere");
    lift_kube_free(kube);
}

static void takes_a_master_without_anything_else(void **state)
{
    struct site *site = *state;
    struct lift_kube *kube = open_kube(site, &(struct lift_kube_spec){.master = site->url});
    assert_string_equal(get(site, kube), "GET /api?x=y - - -");
    assert_string_equal(lift_kube_namespace(kube), "default");
    lift_kube_free(kube);
    kube = open_kube(site, &(struct lift_kube_spec){.master = "api.example:6443/"});
    assert_string_equal(lift_kube_server(kube), "https://api.example:6443");
    lift_kube_free(kube);
}

static void says_what_is_missing(void **state)
{
    struct site *site = *state;
    struct lift_error err = {0};
    assert_null(lift_kube_new(site->pool, &(struct lift_kube_spec){.kubeconfig = ""}, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
    assert_non_null(strstr(err.hint, "--kubeconfig"));

    struct lift_kube_spec spec = {.sa_dir = "/nowhere", .service_host = "10.96.0.1"};
    assert_null(lift_kube_new(site->pool, &spec, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
    assert_string_equal(err.text, "/nowhere/token: No such file or directory");
    assert_non_null(strstr(err.hint, "automountServiceAccountToken"));

    assert_null(lift_kube_new(site->pool, &(struct lift_kube_spec){.master = "tcp://x"}, &err));
    assert_int_equal(err.code, LIFT_CONFIG);

    struct lift_kube *kube = open_kube(site, &(struct lift_kube_spec){.master = site->url});
    struct lift_kube_request request = {.method = "GET", .path = "api"};
    assert_null(lift_kube_start(kube, &request, on_reply, site, &err));
    assert_string_equal(err.text, "'api' is no path of the API: it begins with /");
    lift_kube_free(kube);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sends_the_token_and_the_body_as_told),
        TEST(a_body_is_taken_as_there_is_room_for_it),
        TEST(keeps_the_path_of_a_server_behind_a_proxy),
        TEST(reads_the_service_accounts_token_again_when_it_is_old),
        TEST(leaves_a_young_token_alone_unless_it_was_refused),
        TEST(finds_itself_inside_a_cluster),
        TEST(prefers_a_kubeconfig_to_the_cluster_around_it),
        TEST(takes_a_master_without_anything_else),
        TEST(says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
