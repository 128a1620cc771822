#include "tls.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define SHA1_BYTES 20
#define SHA256_BYTES 32

/* Hangs on the SSL_CTX, since connections outlive the exchange that opened them. */
struct verifier {
    struct lift_tls_why *why;
    size_t pin_length; /* 0: verify the chain */
    unsigned char pin[SHA256_BYTES];
};

static bool refuse(struct lift_error *err, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return lift_fail(err, LIFT_CONFIG, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
}

/* An encrypted key must fail, not ask at the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *payload)
{
    (void)buf, (void)size, (void)writing, (void)payload;
    return -1;
}

static BIO *bio_of(const char *text)
{
    return lift_demand(BIO_new_mem_buf(text ? text : "", -1));
}

static X509 *read_certificate(const char *pem)
{
    BIO *bio = bio_of(pem);
    X509 *cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    return cert;
}

static EVP_PKEY *read_key(const char *pem)
{
    BIO *bio = bio_of(pem);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    return key;
}

/* ---- whom we trust ---- */

static void sha256_text(const X509 *cert, char out[96])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    out[0] = '\0';
    if (!X509_digest(cert, EVP_sha256(), digest, &length))
        return;
    for (unsigned i = 0; i < length; i++)
        snprintf(out + i * 3, 4, "%02X%s", digest[i], i + 1 < length ? ":" : "");
}

static void subject_text(const X509 *cert, char *out, size_t size)
{
    BIO *bio = lift_demand(BIO_new(BIO_s_mem()));
    char *text = NULL;
    X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0,
                       XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
    long length = BIO_get_mem_data(bio, &text);
    snprintf(out, size, "%.*s", (int)length, length > 0 ? text : "");
    BIO_free(bio);
}

static bool pin_parse(const char *text, struct verifier *v)
{
    unsigned digits = 0;
    for (; *text; text++) {
        if (*text == ':')
            continue;
        if (!isxdigit((unsigned char)*text) || digits == 2 * SHA256_BYTES)
            return false;
        int c = tolower((unsigned char)*text);
        unsigned nibble = (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        v->pin[digits / 2] = (unsigned char)((unsigned)v->pin[digits / 2] << 4 | nibble);
        digits++;
    }
    v->pin_length = digits / 2;
    return digits == 2 * SHA1_BYTES || digits == 2 * SHA256_BYTES;
}

static bool pin_matches(const struct verifier *v, const X509 *leaf)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    const EVP_MD *md = v->pin_length == SHA1_BYTES ? EVP_sha1() : EVP_sha256();
    return X509_digest(leaf, md, digest, &length) && length == v->pin_length &&
           memcmp(digest, v->pin, length) == 0;
}

/* Worded to be followed by "of <subject>". */
static const char *reason_of(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "expired certificate";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "not yet valid certificate";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return "unknown issuer of the certificate";
    default:
        return X509_verify_cert_error_string(error);
    }
}

/* Replaces OpenSSL's own verification, so that a pinned leaf needs no chain. */
static int verify(X509_STORE_CTX *store, void *payload)
{
    const struct verifier *v = payload;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    bool ok;
    const char *reason;
    if (v->pin_length > 0) {
        ok = pin_matches(v, leaf);
        reason = "the thumbprint given is not that";
        X509_STORE_CTX_set_error(store, ok ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
    } else {
        ok = X509_verify_cert(store) > 0;
        reason = reason_of(X509_STORE_CTX_get_error(store));
    }
    if (v->why) {
        snprintf(v->why->reason, sizeof v->why->reason, "%s", ok ? "" : reason);
        subject_text(leaf, v->why->subject, sizeof v->why->subject);
        sha256_text(leaf, v->why->sha256);
    }
    return ok;
}

static void verifier_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int idx, long argl,
                          void *argp)
{
    (void)parent, (void)data, (void)idx, (void)argl, (void)argp;
    lift_free(ptr);
}

/* OpenSSL hands out one index per process and kind of data. */
static int verifier_index = -1;
static CRYPTO_ONCE verifier_once = CRYPTO_ONCE_STATIC_INIT;

static void verifier_index_init(void)
{
    verifier_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, verifier_free);
}

static bool add_authorities(X509_STORE *store, const char *pem, struct lift_error *err)
{
    BIO *bio = bio_of(pem);
    int count = 0;
    for (X509 *cert; (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)); count++) {
        X509_STORE_add_cert(store, cert);
        X509_free(cert);
    }
    BIO_free(bio);
    bool whole = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (count == 0 || !whole)
        return refuse(err, "the CA certificates are no PEM text");
    ERR_clear_error();
    return true;
}

static bool fill_store(X509_STORE *store, const struct lift_trust *trust, struct lift_error *err)
{
    bool is_own = trust->ca_pem || trust->ca_file;
    if ((!is_own || trust->and_system) && !X509_STORE_set_default_paths(store))
        return refuse(err, "no trust of the system");
    if (!is_own)
        return true;
    /* Who hands us an intermediate or a leaf as CA means to trust it. */
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    if (trust->ca_pem && !add_authorities(store, trust->ca_pem, err))
        return false;
    if (trust->ca_file && !X509_STORE_load_file(store, trust->ca_file)) {
        ERR_clear_error();
        lift_fail(err, LIFT_CONFIG, "%s: no CA certificates could be read from it", trust->ca_file);
        return lift_hint(err, "name a file of certificates in PEM: -----BEGIN CERTIFICATE-----");
    }
    return true;
}

static bool set_store(SSL_CTX *ctx, const struct lift_trust *trust, X509_STORE **kept,
                      struct lift_error *err)
{
    if (!*kept) {
        X509_STORE *store = lift_demand(X509_STORE_new());
        if (!fill_store(store, trust, err)) {
            X509_STORE_free(store);
            return false;
        }
        *kept = store;
    }
    SSL_CTX_set1_cert_store(ctx, *kept);
    return true;
}

bool lift_tls_trust(struct ssl_ctx_st *ctx, const struct lift_trust *trust,
                    struct x509_store_st **store, struct lift_tls_why *why, struct lift_error *err)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* A renegotiation would verify again, when `why` may be gone. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    /* A body that only the end of the connection delimits must not pass for whole when cut. */
    SSL_CTX_clear_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (trust->client_cert_pem && !trust->client_key_pem)
        return lift_fail(err, LIFT_CONFIG, "a client certificate needs its key");
    if (trust->client_cert_pem &&
        !lift_tls_own(ctx, trust->client_cert_pem, lift_secret_bytes(trust->client_key_pem), err))
        return false;
    if (trust->insecure) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        return true;
    }

    struct verifier *v = lift_calloc(1, sizeof *v);
    v->why = why;
    CRYPTO_THREAD_run_once(&verifier_once, verifier_index_init);
    SSL_CTX_set_ex_data(ctx, verifier_index, v); /* owns it from here */
    SSL_CTX_set_cert_verify_callback(ctx, verify, v);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (!trust->thumbprint)
        return set_store(ctx, trust, store, err);
    if (pin_parse(trust->thumbprint, v))
        return true;
    lift_fail(err, LIFT_CONFIG, "\"%.100s\" is no thumbprint", trust->thumbprint);
    return lift_hint(err, "give the certificate's SHA-256 (or SHA-1) as AA:BB:…: 64 (or 40) "
                          "hexadecimal digits");
}

bool lift_tls_own(struct ssl_ctx_st *ctx, const char *cert_pem, const char *key_pem,
                  struct lift_error *err)
{
    BIO *bio = bio_of(cert_pem);
    X509 *cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    EVP_PKEY *key = read_key(key_pem);
    bool ok = false;
    if (!cert || !SSL_CTX_use_certificate(ctx, cert)) {
        refuse(err, "the certificate is no PEM text");
        goto out;
    }
    if (!key || !SSL_CTX_use_PrivateKey(ctx, key)) {
        refuse(err, key ? "the key does not fit its certificate"
                        : "the certificate's key is no PEM text without passphrase");
        goto out;
    }
    for (X509 *issuer; (issuer = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL));)
        SSL_CTX_add0_chain_cert(ctx, issuer);
    ERR_clear_error();
    ok = true;
out:
    X509_free(cert);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok;
}

bool lift_tls_sha256(const char *cert_pem, char out[96], struct lift_error *err)
{
    X509 *cert = read_certificate(cert_pem);
    if (!cert)
        return refuse(err, "the certificate is no PEM text");
    sha256_text(cert, out);
    X509_free(cert);
    return true;
}

/* ---- certificates of our own ---- */

struct issue {
    const char *cn;
    const char *names; /* "DNS:a,IP:…"; NULL for a CA */
    int days;
    X509 *issuer; /* NULL: self-signed */
    EVP_PKEY *issuer_key;
};

static bool extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    return ok;
}

static bool extend_all(X509 *cert, X509 *issuer, const struct issue *what)
{
    bool ca = !what->names;
    if (!extend(cert, issuer, NID_basic_constraints,
                ca ? "critical,CA:TRUE" : "critical,CA:FALSE") ||
        !extend(cert, issuer, NID_key_usage,
                ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") ||
        !extend(cert, issuer, NID_subject_key_identifier, "hash") ||
        !extend(cert, issuer, NID_authority_key_identifier, "keyid"))
        return false;
    return ca || (extend(cert, issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
                  (!*what->names || extend(cert, issuer, NID_subject_alt_name, what->names)));
}

static bool name_and_date(X509 *cert, const struct issue *what)
{
    BIGNUM *serial = BN_new();
    X509_NAME *name = X509_get_subject_name(cert);
    bool ok =
        serial && BN_rand(serial, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
        BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) &&
        X509_set_version(cert, X509_VERSION_3) &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)what->cn, -1,
                                   -1, 0) &&
        X509_set_issuer_name(cert, what->issuer ? X509_get_subject_name(what->issuer) : name) &&
        X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
        X509_time_adj_ex(X509_getm_notAfter(cert), what->days, 0, NULL);
    BN_free(serial);
    return ok;
}

static bool write_pem(X509 *cert, EVP_PKEY *key, struct lift_buf *cert_out,
                      struct lift_buf *key_out, struct lift_error *err)
{
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_secmem());
    char *cert_text = NULL, *key_text = NULL;
    bool ok = PEM_write_bio_X509(cert_bio, cert) &&
              PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);
    if (ok) {
        size_t cert_length = (size_t)BIO_get_mem_data(cert_bio, &cert_text);
        size_t key_length = (size_t)BIO_get_mem_data(key_bio, &key_text);
        ok = lift_buf_add(cert_out, cert_text, cert_length) &&
             lift_buf_add(key_out, key_text, key_length);
    }
    BIO_free(cert_bio);
    BIO_free(key_bio);
    return ok || refuse(err, "the certificate cannot be written");
}

static bool issue(const struct issue *what, struct lift_buf *cert_out, struct lift_buf *key_out,
                  struct lift_error *err)
{
    X509 *cert = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY *signer = what->issuer ? what->issuer_key : key;
    bool ok = cert && key && name_and_date(cert, what) && X509_set_pubkey(cert, key) &&
              extend_all(cert, what->issuer ? what->issuer : cert, what) &&
              X509_sign(cert, signer, EVP_sha256());
    ok = ok ? write_pem(cert, key, cert_out, key_out, err)
            : refuse(err, "the certificate cannot be made");
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok;
}

bool lift_tls_make_ca(const char *cn, int days, struct lift_buf *cert, struct lift_buf *key,
                      struct lift_error *err)
{
    const struct issue what = {.cn = cn, .days = days};
    return issue(&what, cert, key, err);
}

static bool join_names(const char *const *names, struct lift_buf *out, struct lift_error *err)
{
    for (; names && *names; names++) {
        bool known = !strncmp(*names, "DNS:", 4) || !strncmp(*names, "IP:", 3);
        if (!known || strchr(*names, ','))
            return lift_fail(err, LIFT_CONFIG, "\"%.100s\" is neither DNS:<host> nor IP:<address>",
                             *names);
        if (!lift_buf_addf(out, "%s%s", out->length ? "," : "", *names))
            return lift_fail(err, LIFT_CONFIG, "too many names for one certificate");
    }
    return lift_buf_adds(out, "");
}

bool lift_tls_make_leaf(const char *cn, const char *const *names, int days, const char *ca_cert,
                        const char *ca_key, struct lift_buf *cert, struct lift_buf *key,
                        struct lift_error *err)
{
    struct issue what = {.cn = cn, .days = days};
    struct lift_buf joined = {.max = 16384};
    bool ok = join_names(names, &joined, err);
    if (ok && ca_cert) {
        what.issuer = read_certificate(ca_cert);
        what.issuer_key = read_key(ca_key);
        ok = (what.issuer && what.issuer_key) || refuse(err, "the CA or its key is no PEM text");
    }
    what.names = joined.data ? joined.data : "";
    ok = ok && issue(&what, cert, key, err);
    X509_free(what.issuer);
    EVP_PKEY_free(what.issuer_key);
    lift_buf_free(&joined);
    return ok;
}
