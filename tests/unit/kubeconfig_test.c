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

#include "engine/kubeconfig.h"

/* A folder with a kubeconfig in it. */
static char dir[64];
static char config_path[96];

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/kubeconfig-XXXXXX");
    snprintf(config_path, sizeof config_path, "%s/config", mkdtemp(dir) ? dir : "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"config", "ca.pem", "key.pem", "crt.pem"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

/* One cluster, one user, one context, with these fields; "" for none. */
static const char *config_of(const char *cluster, const char *user)
{
    static char text[4096];
    snprintf(text, sizeof text,
             "apiVersion: v1\n"
             "kind: Config\n"
             "current-context: dev\n"
             "contexts:\n"
             "- name: dev\n"
             "  context: {cluster: c1, user: u1}\n"
             "clusters:\n"
             "- name: c1\n"
             "  cluster:\n"
             "    server: https://api.example:6443/\n" /* line 10 */
             "%s"
             "users:\n"
             "- name: u1\n"
             "  user:\n"
             "    x: y\n"
             "%s",
             cluster, user);
    return text;
}

static void refuses(const char *text, const char *context, const char *message, const char *hint)
{
    struct lift_kubeconfig config;
    struct lift_error err = {0};
    put("config", text);
    assert_false(lift_kubeconfig_load(&config, config_path, context, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
    assert_memory_equal(err.text, config_path, strlen(config_path));
    assert_string_equal(err.text + strlen(config_path), message);
    if (!strstr(err.hint, hint))
        assert_string_equal(err.hint, hint);
    assert_null(config.server);
    assert_null(config.token);
}

static struct lift_kubeconfig loaded(const char *text, const char *context)
{
    struct lift_kubeconfig config;
    struct lift_error err = {0};
    put("config", text);
    if (!lift_kubeconfig_load(&config, config_path, context, &err))
        fail_msg("%s", err.text);
    return config;
}

static void reads_the_current_context(void **state)
{
    (void)state;
    struct lift_kubeconfig config = loaded(config_of("", "    token: t-1\n"), NULL);
    assert_string_equal(config.server, "https://api.example:6443");
    assert_string_equal(config.namespace, "default");
    assert_string_equal(lift_secret_bytes(config.token), "t-1");
    assert_false(config.insecure);
    assert_null(config.ca_pem);
    lift_kubeconfig_fini(&config);
    lift_kubeconfig_fini(&config);
}

static void reads_json_too(void **state)
{
    (void)state;
    struct lift_kubeconfig config = loaded(
        "{\"current-context\": \"a\", \"contexts\": [{\"name\": \"a\", \"context\": {\"cluster\": "
        "\"c\", \"user\": \"u\", \"namespace\": \"vms\"}}], \"clusters\": [{\"name\": \"c\", "
        "\"cluster\": {\"server\": \"http://[::1]:8080\", \"insecure-skip-tls-verify\": true}}], "
        "\"users\": [{\"name\": \"u\", \"user\": {\"username\": \"me\", \"password\": \"pw\"}}]}",
        NULL);
    assert_string_equal(config.namespace, "vms");
    assert_true(config.insecure);
    assert_string_equal(config.username, "me");
    assert_string_equal(lift_secret_bytes(config.password), "pw");
    lift_kubeconfig_fini(&config);
}

static void finds_another_context_on_demand_and_does_without_a_user(void **state)
{
    (void)state;
    struct lift_kubeconfig config = loaded("current-context: none\n"
                                           "contexts:\n"
                                           "- {name: one, context: {cluster: gone}}\n"
                                           "- {name: two, context: {cluster: c2, user: ''}}\n"
                                           "clusters:\n"
                                           "- {name: c2, cluster: {server: 'https://two'}}\n",
                                           "two");
    assert_string_equal(config.server, "https://two");
    assert_null(config.token);
    lift_kubeconfig_fini(&config);
}

static void resolves_paths_against_the_file(void **state)
{
    (void)state;
    put("ca.pem", "-----BEGIN CERTIFICATE-----\nCA\n");
    put("crt.pem", "-----BEGIN CERTIFICATE-----\nLEAF\n");
    put("key.pem", "-----BEGIN PRIVATE KEY-----\nKEY\n");
    struct lift_kubeconfig config =
        loaded(config_of("    certificate-authority: ca.pem\n", "    client-certificate: crt.pem\n"
                                                                "    client-key: ./key.pem\n"
                                                                "    tokenFile: sub/token\n"),
               NULL);
    char token_file[128];
    snprintf(token_file, sizeof token_file, "%s/sub/token", dir);
    assert_string_equal(config.token_file, token_file);
    assert_string_equal(config.ca_pem, "-----BEGIN CERTIFICATE-----\nCA\n");
    assert_string_equal(config.client_cert_pem, "-----BEGIN CERTIFICATE-----\nLEAF\n");
    assert_string_equal(lift_secret_bytes(config.client_key_pem),
                        "-----BEGIN PRIVATE KEY-----\nKEY\n");
    lift_kubeconfig_fini(&config);
}

static void prefers_data_to_files(void **state)
{
    (void)state;
    struct lift_kubeconfig config =
        loaded(config_of("    certificate-authority: /nowhere.pem\n"
                         "    certificate-authority-data: LS0tLS1CRUdJTiBYCg==\n",
                         ""),
               NULL);
    assert_string_equal(config.ca_pem, "-----BEGIN X\n");
    lift_kubeconfig_fini(&config);
}

static void names_file_line_and_field_of_what_is_wrong(void **state)
{
    (void)state;
    refuses(config_of("    certificate-authority-data: '*'\n", ""), NULL,
            ":11: clusters[c1].cluster.certificate-authority-data: not base64: unexpected byte at "
            "offset 0",
            "");
    refuses(config_of("    certificate-authority-data: Zm9v\n", ""), NULL,
            ":11: clusters[c1].cluster.certificate-authority-data: is not PEM", "");
    refuses(config_of("    certificate-authority: /nowhere.pem\n", ""), NULL,
            ":11: clusters[c1].cluster.certificate-authority: /nowhere.pem: No such file or "
            "directory",
            "");
    refuses(config_of("    insecure-skip-tls-verify: maybe\n", ""), NULL,
            ":11: clusters[c1].cluster.insecure-skip-tls-verify: must be true or false", "");
    refuses(config_of("", "    token: [a]\n"), NULL, ":15: users[u1].user.token: must be text", "");
    refuses(config_of("", "    client-certificate-data: LS0tLS1CRUdJTiBYCg==\n"), NULL,
            ":14: users[u1].user.client-key: is missing", "");
    refuses("current-context: a\n"
            "contexts:\n"
            "- {name: a, context: {cluster: c}}\n"
            "clusters:\n"
            "- name: c\n"
            "  cluster: {server: api.example}\n",
            NULL, ":6: clusters[c].cluster.server: must begin with https:// or http://", "");
}

static void refuses_what_it_would_have_to_ignore(void **state)
{
    (void)state;
    refuses(config_of("", "    exec: {command: aws}\n"), NULL,
            ":15: users[u1].user.exec: is not supported", "kubectl create token");
    refuses(config_of("", "    auth-provider: {name: gcp}\n"), NULL,
            ":15: users[u1].user.auth-provider: is not supported", "kubectl create token");
    refuses(config_of("", "    as: root\n"), NULL, ":15: users[u1].user.as: is not supported",
            "account itself");
    refuses(config_of("    proxy-url: http://proxy\n", ""), NULL,
            ":11: clusters[c1].cluster.proxy-url: is not supported", "directly");
    refuses(config_of("    tls-server-name: other\n", ""), NULL,
            ":11: clusters[c1].cluster.tls-server-name: is not supported", "certificate");
    refuses(config_of("    insecure-skip-tls-verify: true\n"
                      "    certificate-authority-data: LS0tLS1CRUdJTiBYCg==\n",
                      ""),
            NULL,
            ":10: clusters[c1].cluster.insecure-skip-tls-verify: contradicts the certificate "
            "authority beside it",
            "");
}

static void says_which_names_there_are(void **state)
{
    (void)state;
    refuses(config_of("", ""), "prod", ":1: contexts: there is no context named 'prod'",
            "the file has: dev");
    refuses("contexts:\n- {name: a, context: {cluster: c}}\n", NULL,
            ": current-context: is not set", "kubectl config get-contexts");
    refuses("current-context: a\ncontexts:\n- {name: a, context: {cluster: c}}\n", NULL,
            ":3: clusters: there is no cluster named 'c'", "the file has none");
    refuses("current-context: a\ncontexts:\n- {name: a}\n", NULL,
            ":1: contexts[a].context.cluster: is missing", "");
}

static void refuses_what_is_no_kubeconfig(void **state)
{
    (void)state;
    refuses("a: [1, 2\nb: {\n", NULL, ":2: not YAML: did not find expected ',' or ']'", "");
    refuses("a: b: c\n", NULL, ":1: not YAML: mapping values are not allowed in this context", "");
    refuses("", NULL, ": is no kubeconfig: it holds no mapping", "");
    refuses("- a\n", NULL, ": is no kubeconfig: it holds no mapping", "");
    refuses("current-context: a\ncontexts: {}\n", NULL, ":2: contexts: must be a list", "");
    refuses("current-context: a\ncontexts: [b, {}, {name: [a]}]\n", NULL,
            ":1: contexts: there is no context named 'a'", "");
    refuses("&x a: *x\n", NULL, ": current-context: is not set", "");
}

static void names_a_missing_file_and_a_list_of_files(void **state)
{
    (void)state;
    struct lift_kubeconfig config;
    struct lift_error err = {0};
    assert_false(lift_kubeconfig_load(&config, "/nowhere/a", NULL, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
    assert_string_equal(err.text, "/nowhere/a: No such file or directory");
    assert_string_equal(err.hint, "");
    assert_false(lift_kubeconfig_load(&config, "/nowhere/a:/nowhere/b", NULL, &err));
    assert_non_null(strstr(err.hint, "kubectl config view --flatten"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_current_context),
        cmocka_unit_test(reads_json_too),
        cmocka_unit_test(finds_another_context_on_demand_and_does_without_a_user),
        cmocka_unit_test(resolves_paths_against_the_file),
        cmocka_unit_test(prefers_data_to_files),
        cmocka_unit_test(names_file_line_and_field_of_what_is_wrong),
        cmocka_unit_test(refuses_what_it_would_have_to_ignore),
        cmocka_unit_test(says_which_names_there_are),
        cmocka_unit_test(refuses_what_is_no_kubeconfig),
        cmocka_unit_test(names_a_missing_file_and_a_list_of_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
