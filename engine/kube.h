/* The Kubernetes API: where it is, who we are, and single requests.  JSON is the caller's business.
 */
#pragma once

#include "http.h"

struct lift_kube;

/*
 * kubeconfig: a path (exec plugins are refused), or KUBECONFIG's value given by the caller, else
 * NULL for in-cluster: KUBERNETES_SERVICE_HOST/PORT and the service account's token, ca.crt and
 * namespace below `sa_dir`
 * (/var/run/secrets/kubernetes.io/serviceaccount), the token being read again when it is older than
 * a minute. master overrides the server's address; outside a cluster
 * and without a kubeconfig it is used as it is, without credentials.
 */
struct lift_kube_spec {
    const char *kubeconfig;
    const char *context; /* NULL: current-context */
    const char *master;
    const char *sa_dir;
    const char *service_host, *service_port;
    uint32_t token_max_age_ms; /* of a token that came from a file; 0: 60 000 */
};

LIFT_NODISCARD struct lift_kube *
lift_kube_new(struct lift_http_pool *pool, const struct lift_kube_spec *spec,
              struct lift_error *err); /* LIFT_CONFIG names file, line and field */
void lift_kube_free(struct lift_kube *kube);
/* The API refused the token: one of a file is read again before the next request. */
void lift_kube_doubt_token(struct lift_kube *kube);
const char *lift_kube_server(const struct lift_kube *kube);
const char *lift_kube_namespace(
    const struct lift_kube *kube); /* of the context or the service account; "default" */

/* path "/api/v1/…?…"; content_type NULL with a body is application/json.  effect as in http.h. */
struct lift_kube_request {
    const char *method, *path, *content_type;
    const void *body;
    size_t body_length;
    bool effect;
    uint32_t timeout_ms;     /* 0: 30 000 */
    lift_http_take_fn *take; /* as in http.h */
};
LIFT_NODISCARD struct lift_http *lift_kube_start(struct lift_kube *kube,
                                                 const struct lift_kube_request *request,
                                                 lift_http_fn *done, void *payload,
                                                 struct lift_error *err);
