#include "tests/torture/peer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/tls.h"

#define SOAP(body)                                                                                 \
    "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/' "                             \
    "xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><s:Body>" body "</s:Body></s:Envelope>"
#define RETURNS(value) SOAP("<R xmlns='urn:vim25'><returnval>" value "</returnval></R>")

static const struct answer {
    const char *sign; /* what the request holds */
    int status;
    const char *type, *body;
} ANSWERS[] = {
    {"/missing", 404, "application/json",
     "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"code\":404}"},
    {"/lines", 200, "application/json", "{\"n\":1}\n{\"n\":2}\n"},
    {"vimServiceVersions", 404, "text/plain", "none"},
    {"<RetrieveServiceContent ", 200, "text/xml",
     RETURNS("<rootFolder type='Folder'>group-d1</rootFolder>"
             "<propertyCollector type='PropertyCollector'>pc</propertyCollector>"
             "<sessionManager type='SessionManager'>SM</sessionManager>")},
    {"<Login ", 200, "text/xml", RETURNS("<key>1</key>")},
    {"<Logout ", 200, "text/xml", SOAP("<LogoutResponse xmlns='urn:vim25'/>")},
    {"<Read ", 200, "text/xml",
     SOAP("<R xmlns='urn:vim25'><returnval>a</returnval><returnval>b</returnval></R>")},
    {"<Refuse ", 500, "text/xml",
     SOAP("<s:Fault><faultcode>c</faultcode><faultstring>no</faultstring><detail>"
          "<f xmlns='urn:vim25' "
          "xsi:type='NoPermission'><privilegeId>p</privilegeId></f></detail></s:Fault>")},
    {"<RetrieveManagedMethodExecuter ", 200, "text/xml",
     SOAP("<R xmlns='urn:vim25'><returnval type='X'>executer-1</returnval></R>")},
    {"vim.EsxCLI.storage.core.list", 200, "text/xml",
     RETURNS("<response>&lt;obj xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' "
             "xsi:type='ArrayOfDataObject'>&lt;DataObject xsi:type='Row'>&lt;Name>n&lt;/Name>"
             "&lt;/DataObject>&lt;/obj></response>")},
    {"vim.EsxCLI.vmkfstools", 200, "text/xml",
     RETURNS(
         "<response>&lt;obj>&lt;message>{\"exitCode\": \"0\"}&lt;/message>&lt;status>0&lt;/status>"
         "&lt;/obj></response>")},
    {"", 200, "application/json", "{\"ok\":true,\"list\":[1,2,{\"a\":\"b\"}]}"},
};

static void on_request(void *payload, struct lift_request *request)
{
    struct peer *peer = payload;
    const char *target = lift_request_target(request), *body = lift_request_body(request)->data;
    const struct answer *answer = ANSWERS;
    if (strcmp(target, "/never") == 0) {
        if (peer->waiting < (int)(sizeof peer->unanswered / sizeof *peer->unanswered))
            peer->unanswered[peer->waiting++] = request;
        else
            lift_request_drop(request);
        return;
    }
    while (!strstr(target, answer->sign) && !(body && strstr(body, answer->sign)))
        answer++;
    const char *headers[] = {"Content-Type",
                             answer->type,
                             "Retry-After",
                             "7",
                             "Set-Cookie",
                             "vmware_soap_session=1; Path=/",
                             NULL};
    lift_request_reply(request, answer->status, headers, answer->body, strlen(answer->body));
}

static void write_file(char *path, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    strcpy(path, "/tmp/lunalift-torture-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0 || vdprintf(fd, fmt, args) < 0)
        abort();
    close(fd);
    va_end(args);
}

static void serve(struct peer *peer)
{
    static const char *const NAMES[] = {"IP:127.0.0.1", NULL};
    struct lift_buf ca = {0}, ca_key = {0}, cert = {0}, key = {0};
    struct lift_error err = {0};
    struct lift_server_spec spec = {.host = "127.0.0.1", .on_request = on_request, .payload = peer};
    peer->server = lift_server_new(peer->loop, &spec, &err);
    if (!lift_tls_make_ca("Torture CA", 1, &ca, &ca_key, &err) ||
        !lift_tls_make_leaf("torture", NAMES, 1, ca.data, ca_key.data, &cert, &key, &err))
        abort();
    spec.cert_pem = cert.data, spec.key_pem = key.data;
    peer->tls_server = lift_server_new(peer->loop, &spec, &err);
    if (!peer->server || !peer->tls_server)
        abort();
    write_file(peer->ca_file, "%s", ca.data);
    lift_buf_free(&ca), lift_buf_wipe(&ca_key), lift_buf_free(&cert), lift_buf_wipe(&key);
}

void peer_open(struct peer *peer, struct lift_loop *loop)
{
    *peer = (struct peer){.loop = loop};
    serve(peer);
    peer->tls_port = lift_server_port(peer->tls_server);
    peer->port = lift_server_port(peer->server);
    write_file(peer->kubeconfig,
               "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], "
               "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:%u'}}], users: [{name: u, "
               "user: {token: t0ken}}]}\n",
               peer->port);
}

void peer_settle(struct peer *peer)
{
    while (peer->waiting > 0)
        lift_request_drop(peer->unanswered[--peer->waiting]);
}

void peer_close(struct peer *peer)
{
    peer_settle(peer);
    lift_server_free(peer->server);
    lift_server_free(peer->tls_server);
    peer_remove(peer);
}

void peer_remove(const struct peer *peer)
{
    static const char *const LEFT[] = {"", ".journal", ".journal.tmp", ".journal.lock"};
    char path[80];
    for (size_t i = 0; i < sizeof LEFT / sizeof *LEFT; i++) {
        snprintf(path, sizeof path, "%s%s", peer->ca_file, LEFT[i]);
        unlink(path);
    }
    unlink(peer->kubeconfig);
}
