/* vim25 envelopes: requests written in schema order, answers read as result or fault.  Facts: the
 * vSphere Web Services SDK. */
#pragma once

#include "xml.h"

/* A managed object reference.  Opaque: echoed as it came, serverGuid included ("" if none). */
struct lift_moref {
    char type[64];
    char id[256];
    char guid[64];
};

/* Builds the Body child of one call.  Every writer returns false at the buffer's ceiling or on text
 * XML cannot carry. */
LIFT_NODISCARD bool lift_soap_begin(struct lift_buf *out, const char *method,
                                    const struct lift_moref *self, const char *operation_id,
                                    struct lift_error *err);
LIFT_NODISCARD bool lift_soap_text(struct lift_buf *out, const char *name, const char *xsi_type,
                                   const char *text, size_t length,
                                   struct lift_error *err); /* xsi_type may be NULL */
LIFT_NODISCARD bool lift_soap_moref(struct lift_buf *out, const char *name,
                                    const struct lift_moref *ref, struct lift_error *err);
LIFT_NODISCARD bool lift_soap_open(struct lift_buf *out, const char *name, const char *xsi_type,
                                   struct lift_error *err);
LIFT_NODISCARD bool lift_soap_close(struct lift_buf *out, const char *name, struct lift_error *err);
LIFT_NODISCARD bool lift_soap_end(struct lift_buf *out, const char *method, struct lift_error *err);

struct lift_soap_fault {
    char type[64];     /* xsi:type of the detail without prefix and without a trailing "Fault":
                          "NotAuthenticated" */
    char message[512]; /* faultstring, or localizedMessage */
    const struct lift_xml_node *detail; /* borrowed from the document; NULL if none */
};

/*
 * Read an envelope.  Returns true and *result = the <MethodResponse> element; or false with *err,
 * and, when it was a fault, fault->type non-empty (kinds mapped: NotAuthenticated, InvalidLogin,
 * NoPermission → denied; ManagedObjectNotFound, NotFound, FileNotFound → not_found; ResourceInUse,
 * TaskInProgress → busy; InvalidState, DuplicateName → conflict; Timedout → timeout; NotSupported →
 * unsupported; HostNotConnected, HostNotReachable → unreachable; others → failed).
 */
LIFT_NODISCARD bool lift_soap_decode(const struct lift_xml_doc *doc,
                                     const struct lift_xml_node **result,
                                     struct lift_soap_fault *fault, struct lift_error *err);

/* Likewise for a LocalizedMethodFault (of a task, a missingSet, an esxcli reply), which is a
 * failure by being there. */
void lift_soap_read_fault(const struct lift_xml_node *localized, struct lift_soap_fault *fault,
                          struct lift_error *err);

/* xsi:type of a value, prefix stripped; "" if none.  Also accepts an attribute literally named
 * xsi:type. */
const char *lift_soap_type(const struct lift_xml_node *node);
/* The moref that a node carries; false if it has no type attribute or is too long. */
bool lift_soap_read_moref(const struct lift_xml_node *node, struct lift_moref *out);
