/* A login to a vCenter or ESXi: its session, calls and datastore files. */
#pragma once

#include "http.h"
#include "log.h"
#include "soap.h"

struct lift_vsphere;
struct lift_vsphere_call; /* one call under way */

struct lift_vsphere_spec {
    const char *host; /* host, host:port, or URL; no scheme is https, no path is /sdk */
    const char *username;
    struct lift_secret *password;
    struct lift_trust trust; /* strings are copied */
    uint32_t timeout_ms;     /* of one call; 0: 60 000 */
    const char *user_agent;  /* shows in the vCenter's session list */
};

LIFT_NODISCARD struct lift_vsphere *lift_vsphere_new(struct lift_http_pool *pool,
                                                     struct lift_log *log,
                                                     const struct lift_vsphere_spec *spec,
                                                     struct lift_error *err);
/* Forgets; does not log out (that is a call).  Calls under way must be freed first. */
void lift_vsphere_free(struct lift_vsphere *vs);

/* Counted by kind since the start, for the promises in numbers: every SOAP request sent. */
uint32_t lift_vsphere_requests(const struct lift_vsphere *vs);
/* Grows at each login: what was cached from an older one (views, executers) is void. */
uint32_t lift_vsphere_generation(const struct lift_vsphere *vs);

/*
 * The end of a call.  doc owns result and lives until `done` returns; steal it by setting *doc to
 * NULL in the struct. On failure err is set, and fault.type when the server sent a fault.
 */
struct lift_vsphere_end {
    struct lift_xml_doc *doc;
    const struct lift_xml_node *result; /* <MethodResponse> */
    struct lift_soap_fault fault;
    const struct lift_error *err; /* NULL on success */
};
typedef void lift_vsphere_fn(void *payload, struct lift_vsphere_end *end);

/*
 * The service content: rootFolder, propertyCollector, sessionManager, about …, as the element
 * `returnval`; NULL before the first login has ended.
 */
const struct lift_xml_node *lift_vsphere_content(const struct lift_vsphere *vs);

/*
 * Every call below returns at once, owned by the caller; `done` runs later, exactly once, unless
 * the call is freed before.  NULL and *err when nothing could be sent, or when the password was
 * refused less than a minute ago: asking again would lock the account.
 *
 * Log in: reads the version list and the service content, then Login; single-flight, so calls that
 * find no session share it. Calls do it on their own; ask for it to learn early whether host,
 * certificate and password are right.  The end's result is the service content.  Logging out of no
 * session succeeds.
 */
LIFT_NODISCARD struct lift_vsphere_call *lift_vsphere_login(struct lift_vsphere *vs,
                                                            lift_vsphere_fn *done, void *payload,
                                                            struct lift_error *err);
LIFT_NODISCARD struct lift_vsphere_call *lift_vsphere_logout(struct lift_vsphere *vs,
                                                             lift_vsphere_fn *done, void *payload,
                                                             struct lift_error *err);

/*
 * One call.  body: everything after _this, written with lift_soap_…; copied.
 * A lost session (NotAuthenticated; missingSet full of it; NoPermission, once) logs in again,
 * serialised.  Then a read is sent again; an effect is not, it fails with `refused`, for the caller
 * to send it anew as an effect of its own number.
 */
struct lift_vsphere_request {
    const char *method;
    struct lift_moref self; /* type "" means: the service content's property named by id, such as
                               "sessionManager" */
    const char *body;
    size_t body_length;
    bool effect;
    uint32_t timeout_ms; /* 0: the session's */
};
LIFT_NODISCARD struct lift_vsphere_call *
lift_vsphere_call(struct lift_vsphere *vs, const struct lift_vsphere_request *request,
                  lift_vsphere_fn *done, void *payload, struct lift_error *err);

/* A file of a datastore: GET, or PUT of `bytes` (an effect).  dc is the datacenter's inventory
 * path; "" on ESXi. */
struct lift_datastore_file {
    const char *dc, *datastore, *path;
    const void *bytes; /* PUT when not NULL */
    size_t length;
    size_t max; /* ceiling on what is read; 0: 1 MiB */
};
typedef void lift_file_fn(void *payload, struct lift_buf *content, const struct lift_error *err);
LIFT_NODISCARD struct lift_vsphere_call *lift_vsphere_file(struct lift_vsphere *vs,
                                                           const struct lift_datastore_file *file,
                                                           lift_file_fn *done, void *payload,
                                                           struct lift_error *err);

void lift_vsphere_call_free(
    struct lift_vsphere_call *call); /* cancels; may be called from within `done` */
