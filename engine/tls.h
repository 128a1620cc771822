/* Whom we trust, and certificates of our own. */
#pragma once

#include <stdbool.h>

#include "buf.h"
#include "secret.h"

/*
 * How a peer is verified; all borrowed.  insecure wins, then thumbprint (the leaf certificate alone
 * decides: neither name nor date matter then), else ca_pem and ca_file if given, else the system's
 * trust and SSL_CERT_FILE; with and_system, these count beside the first two.
 */
struct lift_trust {
    const char *ca_pem;
    const char *ca_file;
    const char *thumbprint; /* "AA:BB:…", 20 bytes SHA-1 or 32 bytes SHA-256 of the DER certificate;
                               any case, colons optional */
    const char *client_cert_pem;
    struct lift_secret *client_key_pem;
    bool and_system;
    bool insecure;
};

struct ssl_ctx_st;
struct x509_store_st;

/* What the verification of a peer's leaf saw: "self-signed certificate", "CN=x", "AA:BB:…".  The
 * reason stays empty when the certificate was accepted. */
struct lift_tls_why {
    char reason[160];
    char subject[160];
    char sha256[96];
};

/*
 * Prepare an SSL_CTX for `trust`: what to verify with, and the client certificate.  Whether the
 * certificate names the host is not asked here but by the caller (not for a thumbprint or
 * insecure).  why, which may be NULL, is written by each handshake and must outlive it.
 * *store keeps the authorities, which take long to read, from one call to the next of the same
 * trust: read into it when it is NULL, the caller's to X509_STORE_free().
 * LIFT_CONFIG for a PEM text, file or thumbprint that is none.
 */
LIFT_NODISCARD bool lift_tls_trust(struct ssl_ctx_st *ctx, const struct lift_trust *trust,
                                   struct x509_store_st **store, struct lift_tls_why *why,
                                   struct lift_error *err);

/* Show this certificate (chain) to peers, with its key.  LIFT_CONFIG when they do not fit. */
LIFT_NODISCARD bool lift_tls_own(struct ssl_ctx_st *ctx, const char *cert_pem, const char *key_pem,
                                 struct lift_error *err);

/* "AA:BB:…", the SHA-256 of the first certificate in the PEM text. */
LIFT_NODISCARD bool lift_tls_sha256(const char *cert_pem, char out[96], struct lift_error *err);

/*
 * A self-signed CA, or a leaf signed by (ca_cert, ca_key), P-256, valid from an hour ago for
 * `days`. names: "DNS:host", "IP:127.0.0.1", …, NULL-terminated.  Without ca_cert the leaf is
 * self-signed.  The PEM texts are appended to *cert and *key (wipe the key).
 */
LIFT_NODISCARD bool lift_tls_make_ca(const char *cn, int days, struct lift_buf *cert,
                                     struct lift_buf *key, struct lift_error *err);
LIFT_NODISCARD bool lift_tls_make_leaf(const char *cn, const char *const *names, int days,
                                       const char *ca_cert, const char *ca_key,
                                       struct lift_buf *cert, struct lift_buf *key,
                                       struct lift_error *err);
