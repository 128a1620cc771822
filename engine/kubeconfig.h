/* A kubeconfig file, reduced to what one context says. */
#pragma once

#include "error.h"
#include "secret.h"

/* Filled by lift_kubeconfig_load(), emptied by _fini; everything may be NULL but the server and the
 * namespace. */
struct lift_kubeconfig {
    char *server; /* URL without a trailing slash */
    char *namespace;
    char *ca_pem;
    bool insecure;
    struct lift_secret *token;
    char *token_file; /* absolute, or relative to where we run; wins over token */
    char *client_cert_pem;
    struct lift_secret *client_key_pem;
    char *username;
    struct lift_secret *password;
};

/*
 * context  NULL: current-context
 * false    and LIFT_CONFIG naming file, line and field.  What would change who we are or where we
 * go and is not supported (exec, auth-provider, impersonation, proxy-url, tls-server-name) is
 *          refused, never skipped.
 */
LIFT_NODISCARD bool lift_kubeconfig_load(struct lift_kubeconfig *out, const char *path,
                                         const char *context, struct lift_error *err);
void lift_kubeconfig_fini(struct lift_kubeconfig *config); /* happy to run twice */
