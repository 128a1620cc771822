#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "engine/tls.h"

/* One CA and a leaf of it, and a leaf that vouches for itself. */
struct papers {
    struct lift_buf ca, ca_key, leaf, leaf_key, lone, lone_key;
    char lone_sha256[96];
};

static const char *const NAMES[] = {"DNS:array.example", "IP:127.0.0.1", NULL};

static int make_papers(void **state)
{
    static struct papers p; /* cmocka's state lives between the tests */
    struct lift_error err = {0};
    *state = &p;
    return !(lift_tls_make_ca("Test CA", 30, &p.ca, &p.ca_key, &err) &&
             lift_tls_make_leaf("leaf", NAMES, 30, p.ca.data, p.ca_key.data, &p.leaf, &p.leaf_key,
                                &err) &&
             lift_tls_make_leaf("lone", NAMES, 30, NULL, NULL, &p.lone, &p.lone_key, &err) &&
             lift_tls_sha256(p.lone.data, p.lone_sha256, &err));
}

static int burn_papers(void **state)
{
    struct papers *p = *state;
    struct lift_buf *all[] = {&p->ca, &p->ca_key, &p->leaf, &p->leaf_key, &p->lone, &p->lone_key};
    for (size_t i = 0; i < 6; i++)
        lift_buf_wipe(all[i]);
    return 0;
}

/* A handshake in memory; what the client saw is in *why. */
static bool handshake(const struct lift_trust *trust, const char *cert, const char *key,
                      struct lift_tls_why *why)
{
    struct lift_error err = {0};
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX *server_ctx = SSL_CTX_new(TLS_server_method());
    memset(why, 0, sizeof *why);
    X509_STORE *store = NULL;
    assert_true(lift_tls_trust(client_ctx, trust, &store, why, &err));
    X509_STORE_free(store);
    assert_true(lift_tls_own(server_ctx, cert, key, &err));
    SSL *client = SSL_new(client_ctx), *server = SSL_new(server_ctx);
    BIO *a, *b;
    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    int rc = -1;
    for (int i = 0; i < 10 && rc <= 0; i++) {
        rc = SSL_do_handshake(client);
        if (rc <= 0 && SSL_get_error(client, rc) == SSL_ERROR_SSL)
            break;
        SSL_do_handshake(server);
    }
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
    return rc == 1;
}

static void a_leaf_of_the_given_ca_is_trusted(void **state)
{
    const struct papers *p = *state;
    struct lift_tls_why why;
    const struct lift_trust trust = {.ca_pem = p->ca.data};
    assert_true(handshake(&trust, p->leaf.data, p->leaf_key.data, &why));
    assert_string_equal(why.reason, "");
    assert_string_equal(why.subject, "CN=leaf");
}

static void a_self_signed_leaf_is_refused_with_its_name_and_digest(void **state)
{
    const struct papers *p = *state;
    struct lift_tls_why why;
    const struct lift_trust of_the_system = {0}, of_another_ca = {.ca_pem = p->ca.data};
    assert_false(handshake(&of_the_system, p->lone.data, p->lone_key.data, &why));
    assert_string_equal(why.reason, "self-signed certificate");
    assert_string_equal(why.subject, "CN=lone");
    assert_string_equal(why.sha256, p->lone_sha256);
    assert_false(handshake(&of_another_ca, p->lone.data, p->lone_key.data, &why));
    assert_false(handshake(&of_the_system, p->leaf.data, p->leaf_key.data, &why));
    assert_string_equal(why.reason, "unknown issuer of the certificate");
}

static void a_leaf_given_as_ca_trusts_itself(void **state)
{
    const struct papers *p = *state;
    struct lift_tls_why why;
    const struct lift_trust trust = {.ca_pem = p->lone.data};
    assert_true(handshake(&trust, p->lone.data, p->lone_key.data, &why));
}

static void a_thumbprint_alone_decides(void **state)
{
    const struct papers *p = *state;
    struct lift_tls_why why;
    char bare[65];
    size_t n = 0;
    for (const char *c = p->lone_sha256; *c; c++)
        if (*c != ':')
            bare[n++] = *c >= 'A' ? (char)(*c + 32) : *c;
    bare[n] = '\0';
    const struct lift_trust pinned = {.thumbprint = p->lone_sha256};
    const struct lift_trust written_bare = {.thumbprint = bare};
    const struct lift_trust pinned_and_ca = {.thumbprint = p->lone_sha256, .ca_pem = p->ca.data};
    assert_true(handshake(&pinned, p->lone.data, p->lone_key.data, &why));
    assert_true(handshake(&written_bare, p->lone.data, p->lone_key.data, &why));
    assert_false(handshake(&pinned_and_ca, p->leaf.data, p->leaf_key.data, &why));
    assert_string_equal(why.reason, "the thumbprint given is not that");
}

static void a_sha1_thumbprint_will_do(void **state)
{
    const struct papers *p = *state;
    struct lift_tls_why why;
    unsigned char digest[20];
    char text[41];
    BIO *bio = BIO_new_mem_buf(p->lone.data, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    assert_true(X509_digest(cert, EVP_sha1(), digest, NULL));
    for (size_t i = 0; i < 20; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    X509_free(cert);
    BIO_free(bio);
    const struct lift_trust pinned = {.thumbprint = text};
    assert_true(handshake(&pinned, p->lone.data, p->lone_key.data, &why));
    text[0] = text[0] == '0' ? '1' : '0';
    assert_false(handshake(&pinned, p->lone.data, p->lone_key.data, &why));
}

static void an_expired_leaf_is_named_so(void **state)
{
    const struct papers *p = *state;
    struct lift_tls_why why;
    struct lift_buf cert = {0}, key = {0};
    struct lift_error err = {0};
    assert_true(
        lift_tls_make_leaf("old", NAMES, -1, p->ca.data, p->ca_key.data, &cert, &key, &err));
    const struct lift_trust trust = {.ca_pem = p->ca.data};
    assert_false(handshake(&trust, cert.data, key.data, &why));
    assert_string_equal(why.reason, "expired certificate");
    lift_buf_free(&cert);
    lift_buf_wipe(&key);
}

static void insecure_asks_nothing(void **state)
{
    const struct papers *p = *state;
    struct lift_tls_why why;
    const struct lift_trust trust = {.insecure = true};
    assert_true(handshake(&trust, p->lone.data, p->lone_key.data, &why));
}

static void assert_refused(const struct lift_trust *trust)
{
    struct lift_error err = {0};
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    X509_STORE *store = NULL;
    assert_false(lift_tls_trust(ctx, trust, &store, NULL, &err));
    assert_null(store);
    assert_int_equal(err.code, LIFT_CONFIG);
    assert_true(err.text[0]);
    SSL_CTX_free(ctx);
}

static void what_is_no_trust_is_a_mistake_of_the_configuration(void **state)
{
    const struct papers *p = *state;
    static const char TOO_LONG[] = "AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:"
                                   "AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA";
    assert_refused(&(struct lift_trust){.thumbprint = "AA:BB"});
    assert_refused(&(struct lift_trust){.thumbprint = TOO_LONG});
    assert_refused(&(struct lift_trust){.thumbprint = ""});
    assert_refused(&(struct lift_trust){.ca_pem = "no PEM"});
    assert_refused(&(struct lift_trust){.ca_file = "/nonexistent/ca.pem"});
    assert_refused(&(struct lift_trust){.client_cert_pem = p->leaf.data});
}

static void a_certificate_and_a_key_that_differ_are_refused(void **state)
{
    const struct papers *p = *state;
    struct lift_error err = {0};
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_false(lift_tls_own(ctx, p->leaf.data, p->lone_key.data, &err));
    assert_false(lift_tls_own(ctx, p->leaf.data, NULL, &err));
    assert_null(strstr(err.text, "PRIVATE"));
    SSL_CTX_free(ctx);
}

static void a_name_cannot_smuggle_another(void **state)
{
    (void)state;
    struct lift_buf cert = {0}, key = {0};
    struct lift_error err = {0};
    const char *const two[] = {"DNS:a,DNS:b", NULL}, *const odd[] = {"email:a", NULL};
    assert_false(lift_tls_make_leaf("x", two, 1, NULL, NULL, &cert, &key, &err));
    assert_false(lift_tls_make_leaf("x", odd, 1, NULL, NULL, &cert, &key, &err));
    assert_int_equal(err.code, LIFT_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leaf_of_the_given_ca_is_trusted),
        cmocka_unit_test(a_self_signed_leaf_is_refused_with_its_name_and_digest),
        cmocka_unit_test(a_leaf_given_as_ca_trusts_itself),
        cmocka_unit_test(a_thumbprint_alone_decides),
        cmocka_unit_test(a_sha1_thumbprint_will_do),
        cmocka_unit_test(an_expired_leaf_is_named_so),
        cmocka_unit_test(insecure_asks_nothing),
        cmocka_unit_test(what_is_no_trust_is_a_mistake_of_the_configuration),
        cmocka_unit_test(a_certificate_and_a_key_that_differ_are_refused),
        cmocka_unit_test(a_name_cannot_smuggle_another),
    };
    return cmocka_run_group_tests(tests, make_papers, burn_papers);
}
