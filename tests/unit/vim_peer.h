/* A vCenter small enough for one test: sessions by cookie, and what the test says for the rest. */
#pragma once

#include "engine/server.h"
#include "engine/vsphere.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOAP(body)                                                                                 \
    "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/' "                             \
    "xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><s:Body>" body "</s:Body></s:Envelope>"
#define FAULT(type, text)                                                                          \
    SOAP("<s:Fault><faultcode>ServerFaultCode</faultcode><faultstring>" text                       \
         "</faultstring><detail><f xmlns='urn:vim25' xsi:type='" type "'/></detail></s:Fault>")
#define PASSWORD "p&ss <w>"

struct answer {
    const char *method; /* of the call, or "GET" or "PUT" for a file; NULL ends the table */
    int status;
    const char *body;
    int times; /* how often it applies before the next of that name does; 0: always */
};

struct peer {
    struct lift_loop *loop;
    struct lift_http_pool *pool;
    struct lift_server *server;
    struct lift_vsphere *vs;
    const char *versions; /* NULL: 404 */
    struct answer answers[8];
    char session[32]; /* the live one; "" none */
    int logins, count;
    char body[8192], action[64], cookie[128], type[64], target[512]; /* of the last request */
    char methods[512]; /* all that came, blank separated */
};

static inline void send_text(struct lift_request *request, int status, const char *cookie,
                             const char *body)
{
    const char *headers[] = {"Content-Type", "text/xml", cookie ? "Set-Cookie" : NULL, cookie,
                             NULL};
    lift_request_reply(request, status, headers, body, strlen(body));
}

static inline void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
}

static inline void peer_login(struct peer *peer, struct lift_request *request)
{
    peer->logins++;
    if (peer->session[0] && strstr(peer->cookie, peer->session)) {
        send_text(request, 500, NULL, FAULT("InvalidLogin", "already logged in"));
    } else if (!strstr(peer->body, "<password>p&amp;ss &lt;w&gt;</password>")) {
        send_text(request, 500, NULL, FAULT("InvalidLogin", "wrong"));
    } else {
        char cookie[128];
        snprintf(peer->session, sizeof peer->session, "\"session-%d\"", peer->logins);
        snprintf(cookie, sizeof cookie, "vmware_soap_session=%s; Path=/; HttpOnly; Secure;",
                 peer->session);
        send_text(request, 200, cookie,
                  SOAP("<LoginResponse xmlns='urn:vim25'><returnval/></LoginResponse>"));
    }
}

static inline void peer_answer(struct peer *peer, struct lift_request *request, const char *method)
{
    for (struct answer *a = peer->answers; a->method; a++) {
        if (strcmp(a->method, method) != 0 || a->times < 0)
            continue;
        if (a->times > 0 && --a->times == 0)
            a->times = -1;
        if (a->status == 0)
            lift_request_drop(request);
        else
            send_text(request, a->status, NULL, a->body);
        return;
    }
    send_text(request, 500, NULL, FAULT("MethodNotFound", "not in this test"));
}

static inline void on_peer_request(void *payload, struct lift_request *request)
{
    struct peer *peer = payload;
    copy_text(peer->body, sizeof peer->body, lift_request_body(request)->data);
    copy_text(peer->action, sizeof peer->action, lift_request_header(request, "SOAPAction"));
    copy_text(peer->cookie, sizeof peer->cookie, lift_request_header(request, "Cookie"));
    copy_text(peer->type, sizeof peer->type, lift_request_header(request, "Content-Type"));
    copy_text(peer->target, sizeof peer->target, lift_request_target(request));
    char method[64] = "";
    const char *body = strstr(peer->body, "Body><");
    if (body)
        sscanf(body + 6, "%63[A-Za-z_]", method);
    else
        copy_text(method, sizeof method, lift_request_method(request));
    size_t used = strlen(peer->methods);
    snprintf(peer->methods + used, sizeof peer->methods - used, "%s ", method);
    peer->count++;
    bool known = peer->session[0] && strstr(peer->cookie, peer->session);
    if (strstr(peer->target, "vimServiceVersions.xml"))
        send_text(request, peer->versions ? 200 : 404, NULL, peer->versions ? peer->versions : "");
    else if (strcmp(method, "RetrieveServiceContent") == 0)
        send_text(request, 200, "vmware_soap_session=\"early\"; Path=/",
                  SOAP("<RetrieveServiceContentResponse xmlns='urn:vim25'><returnval>"
                       "<rootFolder type='Folder'>group-d1</rootFolder>"
                       "<propertyCollector type='PropertyCollector'>pc</propertyCollector>"
                       "<sessionManager type='SessionManager'>SM</sessionManager>"
                       "</returnval></RetrieveServiceContentResponse>"));
    else if (strcmp(method, "Login") == 0)
        peer_login(peer, request);
    else if (!known && strncmp(peer->target, "/folder/", 8) == 0)
        send_text(request, 401, NULL, "");
    else if (!known)
        send_text(request, 500, NULL,
                  FAULT("NotAuthenticated", "The session is not authenticated."));
    else
        peer_answer(peer, request, method);
}

static inline struct peer *peer_new(const char *password)
{
    struct lift_error err = {0};
    struct peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    peer->versions = "<namespaces><namespace><name>urn:vim25</name><version>8.0.3.0</version>"
                     "</namespace></namespaces>";
    peer->loop = lift_loop_new(&err);
    peer->pool = lift_http_pool_new(peer->loop, &err);
    peer->server =
        lift_server_new(peer->loop,
                        &(struct lift_server_spec){
                            .host = "127.0.0.1", .on_request = on_peer_request, .payload = peer},
                        &err);
    assert_non_null(peer->server);
    char host[64];
    snprintf(host, sizeof host, "http://127.0.0.1:%u", lift_server_port(peer->server));
    struct lift_secret *secret = lift_secret_new(password, strlen(password));
    struct lift_vsphere_spec spec = {.host = host, .username = "user", .password = secret};
    peer->vs = lift_vsphere_new(peer->pool, NULL, &spec, &err);
    lift_secret_free(secret);
    assert_non_null(peer->vs);
    return peer;
}

static inline void peer_free(struct peer *peer)
{
    lift_vsphere_free(peer->vs);
    lift_server_free(peer->server);
    lift_http_pool_free(peer->pool);
    assert_int_equal(lift_loop_handles(peer->loop), 0);
    lift_loop_free(peer->loop);
    free(peer);
}
