/* Whom we trust, and certificates of our own. */
#pragma once

#include <stdbool.h>

#include "buf.h"
#include "secret.h"

/*
 * How a peer is verified; all borrowed.  insecure wins, then thumbprint (the leaf certificate alone
 * decides: neither name nor date matter then), else ca_pem and ca_file if given, else the system's
 * trust and SSL_CERT_FILE.
 */
struct lift_trust {
    const char *ca_pem;
    const char *ca_file;
    const char *thumbprint; /* "AA:BB:…", 20 bytes SHA-1 or 32 bytes SHA-256 of the DER certificate;
                               any case, colons optional */
    const char *client_cert_pem;
    struct lift_secret *client_key_pem;
    bool insecure;
};

struct ssl_ctx_st;
struct x509_st;

/* Prepare an SSL_CTX for `trust`.  When a handshake later fails in verification, lift_tls_why()
 * tells for that connection. */
LIFT_NODISCARD bool lift_tls_trust(struct ssl_ctx_st *ctx, const struct lift_trust *trust,
                                   void *why_slot, struct lift_error *err);

/* "self-signed certificate of CN=x (SHA-256 AA:BB:…)" of the last failed verification that wrote to
 * why_slot. */
struct lift_tls_why {
    char reason[160];
    char subject[160];
    char sha256[96];
};

/*
 * A self-signed CA, or a leaf signed by (ca_cert, ca_key), P-256, valid from an hour ago for
 * `days`. names: "DNS:host", "IP:127.0.0.1", …, NULL-terminated.  The PEM texts are appended to
 * *cert and *key (wipe the key).
 */
LIFT_NODISCARD bool lift_tls_make_ca(const char *cn, int days, struct lift_buf *cert,
                                     struct lift_buf *key, struct lift_error *err);
LIFT_NODISCARD bool lift_tls_make_leaf(const char *cn, const char *const *names, int days,
                                       const char *ca_cert, const char *ca_key,
                                       struct lift_buf *cert, struct lift_buf *key,
                                       struct lift_error *err);
