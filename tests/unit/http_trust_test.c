/* Names and trust: whom a request reaches. */
#include <arpa/inet.h>
#include <event2/dns.h>
#include <event2/dns_struct.h>
#include <sys/socket.h>

#include "engine/server.h"
#include "tests/unit/http_fetch.h"

/* ---- TLS ---- */

struct site {
    struct lift_buf ca, ca_key, cert, key;
    char sha256[96];
    struct lift_server *server;
    char url[64];
};

static void on_request(void *payload, struct lift_request *request)
{
    (void)payload;
    lift_request_reply(request, 200, NULL, "tls", 3);
}

static struct site *site_new(struct client *c, const char *name)
{
    struct site *site = calloc(1, sizeof *site);
    struct lift_error err = {0};
    const char *const names[] = {name, NULL};
    assert_true(lift_tls_make_ca("Site CA", 1, &site->ca, &site->ca_key, &err));
    assert_true(lift_tls_make_leaf("site", names, 1, site->ca.data, site->ca_key.data, &site->cert,
                                   &site->key, &err));
    assert_true(lift_tls_sha256(site->cert.data, site->sha256, &err));
    const struct lift_server_spec spec = {.host = "127.0.0.1",
                                          .cert_pem = site->cert.data,
                                          .key_pem = site->key.data,
                                          .on_request = on_request};
    site->server = lift_server_new(c->loop, &spec, &err);
    assert_non_null(site->server);
    snprintf(site->url, sizeof site->url, "https://127.0.0.1:%u/", lift_server_port(site->server));
    return site;
}

static void site_free(struct site *site)
{
    lift_server_free(site->server);
    lift_buf_free(&site->ca);
    lift_buf_wipe(&site->ca_key);
    lift_buf_free(&site->cert);
    lift_buf_wipe(&site->key);
    free(site);
}

static void a_stranger_is_named(void **state)
{
    struct client *c = *state;
    struct site *site = site_new(c, "IP:127.0.0.1");
    struct outcome out = fetch(c, (struct lift_http_spec){.url = site->url});
    char text[512];
    snprintf(text, sizeof text,
             "https://127.0.0.1:%u: certificate not trusted: unknown issuer of the certificate of "
             "CN=site (SHA-256 %s)",
             lift_server_port(site->server), site->sha256);
    assert_int_equal(out.err.code, LIFT_CONFIG);
    assert_false(out.err.unanswered);
    assert_string_equal(out.err.text, text);
    out_free(&out);
    site_free(site);
}

static void a_known_peer_is_trusted(void **state)
{
    struct client *c = *state;
    struct site *site = site_new(c, "IP:127.0.0.1");
    const struct lift_trust by_ca = {.ca_pem = site->ca.data},
                            by_pin = {.thumbprint = site->sha256};
    const struct lift_trust not_at_all = {.insecure = true};
    assert_fetch_gives(c, (struct lift_http_spec){.url = site->url, .trust = by_ca}, 200, "tls");
    assert_fetch_gives(c, (struct lift_http_spec){.url = site->url, .trust = by_pin}, 200, "tls");
    assert_fetch_gives(c, (struct lift_http_spec){.url = site->url, .trust = not_at_all}, 200,
                       "tls");
    assert_fetch_gives(c, (struct lift_http_spec){.url = site->url, .trust = by_ca, .effect = true},
                       200, "tls");
    site_free(site);
}

static void a_certificate_for_another_name_is_refused_unless_pinned(void **state)
{
    struct client *c = *state;
    struct site *site = site_new(c, "DNS:elsewhere.example");
    const struct lift_trust by_ca = {.ca_pem = site->ca.data},
                            by_pin = {.thumbprint = site->sha256};
    for (int i = 0; i < 2; i++) { /* a session kept from the first must not help the second */
        struct outcome out = fetch(c, (struct lift_http_spec){.url = site->url, .trust = by_ca});
        assert_int_equal(out.err.code, LIFT_CONFIG);
        assert_non_null(strstr(out.err.text, "does not name this host"));
        assert_false(out.err.unanswered);
        out_free(&out);
    }
    assert_fetch_gives(c, (struct lift_http_spec){.url = site->url, .trust = by_pin}, 200, "tls");
    site_free(site);
}

static void a_wrong_pin_is_refused_whatever_the_ca_says(void **state)
{
    struct client *c = *state;
    struct site *site = site_new(c, "IP:127.0.0.1");
    const struct lift_trust trust = {.ca_pem = site->ca.data,
                                     .thumbprint = "0000000000000000000000000000000000000000"};
    assert_fetch_fails(c, (struct lift_http_spec){.url = site->url, .trust = trust}, LIFT_CONFIG,
                       false);
    site_free(site);
}

/* libcurl keeps no account of what a callback verified: one pool for all would hand the connection
 * that was made without verification to the request that asks for it. */
static void connections_are_not_lent_across_trusts(void **state)
{
    struct client *c = *state;
    struct site *site = site_new(c, "IP:127.0.0.1");
    const struct lift_trust insecure = {.insecure = true}, strict = {0};
    for (int i = 0; i < 3; i++) {
        assert_fetch_gives(c, (struct lift_http_spec){.url = site->url, .trust = insecure}, 200,
                           "tls");
        assert_fetch_fails(c, (struct lift_http_spec){.url = site->url, .trust = strict},
                           LIFT_CONFIG, false);
    }
    site_free(site);
}

/* ---- names ---- */

struct names {
    unsigned questions;
    bool none;
};

static void on_question(struct evdns_server_request *request, void *payload)
{
    struct names *names = payload;
    const uint32_t loopback = htonl(INADDR_LOOPBACK);
    names->questions++;
    const struct evdns_server_question *question = request->questions[0];
    if (!names->none && question->type == EVDNS_TYPE_A)
        evdns_server_request_add_a_reply(request, question->name, 1, &loopback, 1);
    evdns_server_request_respond(request, names->none ? 3 : 0);
}

/* A name server of our own for the loop. */
static struct evdns_server_port *serve_names(struct client *c, struct names *names)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    getsockname(fd, (struct sockaddr *)&address, &length);
    struct evdns_base *dns = lift_loop_dns(c->loop);
    evdns_base_clear_nameservers_and_suspend(dns);
    evdns_base_search_clear(dns);
    evdns_base_nameserver_sockaddr_add(dns, (struct sockaddr *)&address, length, 0);
    evdns_base_resume(dns);
    return evdns_add_server_port_with_base(lift_loop_base(c->loop), fd, 0, on_question, names);
}

static void a_name_is_asked_for_once(void **state)
{
    struct client *c = *state;
    struct names names = {0};
    struct evdns_server_port *port = serve_names(c, &names);
    struct site *site = site_new(c, "DNS:array.example");
    struct lift_http_spec spec = {.trust.ca_pem = site->ca.data};
    snprintf(c->url, sizeof c->url, "https://array.example:%u/", lift_server_port(site->server));
    assert_fetch_gives(c, spec, 200, "tls");
    assert_in_range(names.questions, 1, 2); /* A, and AAAA where this machine has IPv6 */
    unsigned asked = names.questions;
    assert_fetch_gives(c, spec, 200, "tls");
    spec.effect = true;
    assert_fetch_gives(c, spec, 200, "tls");
    assert_int_equal(names.questions, asked);
    site_free(site);
    evdns_close_server_port(port);
}

static void a_name_without_address_is_unreachable(void **state)
{
    struct client *c = *state;
    struct names names = {.none = true};
    struct evdns_server_port *port = serve_names(c, &names);
    struct outcome out = fetch(c, (struct lift_http_spec){.url = "https://array.example/"});
    assert_int_equal(out.err.code, LIFT_UNREACHABLE);
    assert_false(out.err.unanswered);
    assert_non_null(strstr(out.err.text, "https://array.example:443: "));
    assert_non_null(strstr(out.err.hint, "DNS"));
    out_free(&out);
    evdns_close_server_port(port);
}

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct client));
    client_open(*state);
    return 0;
}

static int tear_down(void **state)
{
    int left = client_close(*state);
    free(*state);
    return left;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_is_asked_for_once),
        TEST(a_name_without_address_is_unreachable),
        TEST(a_stranger_is_named),
        TEST(a_known_peer_is_trusted),
        TEST(a_certificate_for_another_name_is_refused_unless_pinned),
        TEST(a_wrong_pin_is_refused_whatever_the_ca_says),
        TEST(connections_are_not_lent_across_trusts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
