#include "soap.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define NS_SOAP "http://schemas.xmlsoap.org/soap/envelope/"
#define NS_XSD "http://www.w3.org/2001/XMLSchema"

/* ---- writing ---- */

static bool put(struct lift_buf *out, const char *text, struct lift_error *err)
{
    return lift_buf_adds(out, text) || lift_fail(err, LIFT_NO_SPACE, "the request is too large");
}

static bool put_escaped(struct lift_buf *out, const char *text, struct lift_error *err)
{
    return lift_xml_escape(out, text, strlen(text), err);
}

/* Names come from scripts too: nothing but a plain XML name may become markup. */
static bool put_name(struct lift_buf *out, const char *name, struct lift_error *err)
{
    bool good = isalpha((unsigned char)name[0]) || name[0] == '_';
    for (const char *c = name; *c && good; c++)
        good = isalnum((unsigned char)*c) || strchr("_-.:", *c);
    if (!good)
        return lift_fail(err, LIFT_CONFIG, "'%.80s' is no XML name", name);
    return put(out, name, err);
}

static bool put_attr(struct lift_buf *out, const char *name, const char *value,
                     struct lift_error *err)
{
    return put(out, " ", err) && put(out, name, err) && put(out, "=\"", err) &&
           put_escaped(out, value, err) && put(out, "\"", err);
}

bool lift_soap_open(struct lift_buf *out, const char *name, const char *xsi_type,
                    struct lift_error *err)
{
    return put(out, "<", err) && put_name(out, name, err) &&
           (!xsi_type || put_attr(out, "xsi:type", xsi_type, err)) && put(out, ">", err);
}

bool lift_soap_close(struct lift_buf *out, const char *name, struct lift_error *err)
{
    return put(out, "</", err) && put_name(out, name, err) && put(out, ">", err);
}

bool lift_soap_text(struct lift_buf *out, const char *name, const char *xsi_type, const char *text,
                    size_t length, struct lift_error *err)
{
    return lift_soap_open(out, name, xsi_type, err) && lift_xml_escape(out, text, length, err) &&
           lift_soap_close(out, name, err);
}

bool lift_soap_moref(struct lift_buf *out, const char *name, const struct lift_moref *ref,
                     struct lift_error *err)
{
    return put(out, "<", err) && put_name(out, name, err) &&
           put_attr(out, "type", ref->type, err) &&
           (!ref->guid[0] || put_attr(out, "serverGuid", ref->guid, err)) && put(out, ">", err) &&
           put_escaped(out, ref->id, err) && lift_soap_close(out, name, err);
}

bool lift_soap_begin(struct lift_buf *out, const char *method, const struct lift_moref *self,
                     const char *operation_id, struct lift_error *err)
{
    return put(out,
               "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
               "<soapenv:Envelope xmlns:soapenv=\"" NS_SOAP "\" xmlns:xsi=\"" LIFT_NS_XSI
               "\" xmlns:xsd=\"" NS_XSD "\"><soapenv:Header>",
               err) &&
           lift_soap_text(out, "operationID", NULL, operation_id, strlen(operation_id), err) &&
           put(out, "</soapenv:Header><soapenv:Body><", err) && put_name(out, method, err) &&
           put(out, " xmlns=\"urn:vim25\">", err) && lift_soap_moref(out, "_this", self, err);
}

bool lift_soap_end(struct lift_buf *out, const char *method, struct lift_error *err)
{
    return lift_soap_close(out, method, err) &&
           put(out, "</soapenv:Body></soapenv:Envelope>\n", err);
}

/* ---- reading ---- */

static const char *past_prefix(const char *name)
{
    const char *colon = strchr(name, ':');
    return colon ? colon + 1 : name;
}

const char *lift_soap_type(const struct lift_xml_node *node)
{
    const char *type = lift_xml_attr(node, LIFT_NS_XSI, "type");
    if (!type)
        type = lift_xml_attr(node, "", "xsi:type");
    return type ? past_prefix(type) : "";
}

static bool copy(char *out, size_t size, const char *text)
{
    return (size_t)snprintf(out, size, "%s", text ? text : "") < size;
}

bool lift_soap_read_moref(const struct lift_xml_node *node, struct lift_moref *out)
{
    const char *type = lift_xml_attr(node, "", "type");
    return type && copy(out->type, sizeof out->type, type) &&
           copy(out->id, sizeof out->id, lift_xml_text(node)) &&
           copy(out->guid, sizeof out->guid, lift_xml_attr(node, "", "serverGuid"));
}

static const struct meaning {
    const char *type;
    enum lift_code code;
    const char *hint;
} meanings[] = {
    {"NotAuthenticated", LIFT_DENIED, ""},
    {"InvalidLogin", LIFT_DENIED, "check GOVMOMI_USERNAME and GOVMOMI_PASSWORD"},
    {"PasswordExpired", LIFT_DENIED, "set a new password for the account of GOVMOMI_USERNAME"},
    {"NoPermission", LIFT_DENIED, "give the account a role with the missing privilege"},
    {"ManagedObjectNotFound", LIFT_NOT_FOUND, ""},
    {"NotFound", LIFT_NOT_FOUND, ""},
    {"FileNotFound", LIFT_NOT_FOUND, ""},
    {"ResourceInUse", LIFT_BUSY, ""},
    {"TaskInProgress", LIFT_BUSY, ""},
    {"InvalidState", LIFT_CONFLICT, ""},
    {"InvalidPowerState", LIFT_CONFLICT, ""},
    {"DuplicateName", LIFT_CONFLICT, ""},
    {"AlreadyExists", LIFT_CONFLICT, ""},
    {"Timedout", LIFT_TIMEOUT, ""},
    {"SystemError", LIFT_PROTOCOL, "see the vCenter's log (vpxd.log)"}, /* tells nothing */
    {"HostCommunication", LIFT_UNREACHABLE, "see why vCenter does not reach the host"},
    {"NotSupported", LIFT_UNSUPPORTED, ""},
    {"MethodNotFound", LIFT_UNSUPPORTED, ""},
    {"HostNotConnected", LIFT_UNREACHABLE, "reconnect the host in vCenter"},
    {"HostNotReachable", LIFT_UNREACHABLE, "see why vCenter does not reach the host"},
};

static const struct meaning *meaning_of(const char *type)
{
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (strcmp(type, meanings[i].type) == 0)
            return &meanings[i];
    static const struct meaning any = {"", LIFT_FAILED, ""};
    return &any;
}

/* `named` is what the fault is called if it does not say its type. */
static void fill_fault(struct lift_soap_fault *fault, const struct lift_xml_node *detail,
                       const char *named, const char *message, struct lift_error *err)
{
    const char *type = detail ? lift_soap_type(detail) : "";
    snprintf(fault->type, sizeof fault->type, "%s", *type ? type : named);
    size_t length = strlen(fault->type);
    if (length > 5 && strcmp(fault->type + length - 5, "Fault") == 0)
        fault->type[length - 5] = '\0';
    const struct lift_xml_node *reason = detail ? lift_xml_child(detail, "reason") : NULL;
    if (!*message && reason)
        message = lift_xml_text(reason);
    lift_quote(fault->message, sizeof fault->message, message);
    fault->detail = detail;

    const struct meaning *meaning = meaning_of(fault->type);
    const struct lift_xml_node *privilege = detail ? lift_xml_child(detail, "privilegeId") : NULL;
    lift_fail(err, meaning->code, "%s%s%s", fault->type, *message ? ": " : "", message);
    err->refused = meaning->code == LIFT_BUSY;
    if (meaning->code == LIFT_DENIED && privilege && strcmp(fault->type, "NoPermission") == 0)
        lift_hint(err, "give the account the privilege %s", lift_xml_text(privilege));
    else if (*meaning->hint)
        lift_hint(err, "%s", meaning->hint);
}

static const char *text_of(const struct lift_xml_node *node, const char *name)
{
    const struct lift_xml_node *child = lift_xml_child(node, name);
    return child ? lift_xml_text(child) : "";
}

void lift_soap_read_fault(const struct lift_xml_node *localized, struct lift_soap_fault *fault,
                          struct lift_error *err)
{
    fill_fault(fault, lift_xml_child(localized, "fault"), "Unknown",
               text_of(localized, "localizedMessage"), err);
}

static void read_soap_fault(const struct lift_xml_node *node, struct lift_soap_fault *fault,
                            struct lift_error *err)
{
    const struct lift_xml_node *list = lift_xml_child(node, "detail");
    const struct lift_xml_node *detail = list ? lift_xml_child(list, NULL) : NULL;
    const char *code = past_prefix(text_of(node, "faultcode"));
    fill_fault(fault, detail,
               detail  ? lift_xml_name(detail)
               : *code ? code
                       : "Unknown",
               text_of(node, "faultstring"), err);
}

static bool is_soap(const struct lift_xml_node *node, const char *name)
{
    return strcmp(lift_xml_name(node), name) == 0 && strcmp(lift_xml_ns(node), NS_SOAP) == 0;
}

bool lift_soap_decode(const struct lift_xml_doc *doc, const struct lift_xml_node **result,
                      struct lift_soap_fault *fault, struct lift_error *err)
{
    *fault = (struct lift_soap_fault){0};
    const struct lift_xml_node *root = lift_xml_root(doc);
    const struct lift_xml_node *body =
        is_soap(root, "Envelope") ? lift_xml_child(root, "Body") : NULL;
    const struct lift_xml_node *answer = body ? lift_xml_child(body, NULL) : NULL;
    if (!answer)
        return lift_fail(err, LIFT_PROTOCOL, "the answer <%.60s> is no SOAP envelope",
                         lift_xml_name(root));
    if (is_soap(answer, "Fault")) {
        read_soap_fault(answer, fault, err);
        return false;
    }
    *result = answer;
    return true;
}
