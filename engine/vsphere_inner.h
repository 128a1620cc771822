/* What vsphere.c (the session), vsphere_call.c (the calls) and esxcli.c share; nobody else includes
 * it. */
#pragma once

#include "timer.h"
#include "vsphere.h"

#define LOGOUT_TIMEOUT_MS 10000 /* nobody wants to wait for it */

enum call_kind { CALL_SOAP, CALL_LOGIN, CALL_LOGOUT, CALL_FILE };

struct lift_vsphere_call {
    struct lift_vsphere *vs;
    struct lift_vsphere_call *prev, *next; /* among all calls of the session */
    enum call_kind kind;
    bool waiting;        /* for the login */
    bool renewed;        /* had its one new login */
    bool effect;         /* is never sent twice */
    uint32_t generation; /* of the login it was sent under */
    uint32_t timeout_ms;
    char *method;           /* of SOAP */
    struct lift_moref self; /* of SOAP */
    char *url;              /* of a file */
    bool put;               /* of a file */
    size_t max;             /* of a file */
    struct lift_buf body;   /* after _this, or the file's content; wiped */
    struct lift_http *http;
    struct lift_timer *timer; /* ends a call that has nothing to send */
    lift_vsphere_fn *done;
    lift_file_fn *file_done;
    void *payload;
};

struct known { /* a moref that lives as long as the login does */
    struct known *next;
    uint32_t generation;
    struct lift_moref of, ref;
};

struct lift_vsphere {
    struct lift_http_pool *pool;
    struct lift_log *log;
    char *origin; /* https://host:port */
    char *path;   /* /sdk */
    char *username;
    struct lift_secret *password;
    struct lift_trust trust; /* owned */
    char *user_agent;
    uint32_t timeout_ms;

    char action[48]; /* "urn:vim25/8.0.0.1"; "" until asked */
    struct lift_xml_doc *content_doc;
    const struct lift_xml_node *content;
    struct lift_secret *cookie;
    bool live;
    bool stale;           /* the cookie's login is given up; it is ended before there is another */
    bool doubted;         /* the last login was made because of a NoPermission */
    bool no_locale;       /* the server has no en_US */
    uint64_t paused_till; /* on the loop's clock, after a refused password */
    struct lift_error refusal;
    struct lift_http *login; /* the step under way */
    uint32_t generation;
    uint32_t requests;
    unsigned tag; /* of our operation ids, so that two processes differ in the server's log */
    struct lift_vsphere_call calls; /* ring; only its links are used */
    struct known *known;
    struct search *searches; /* of esxcli.c */
};

/* The session, for the calls. */
LIFT_NODISCARD bool lift_vsphere__login(struct lift_vsphere *vs, struct lift_error *err);
bool lift_vsphere__logging_in(const struct lift_vsphere *vs);
void lift_vsphere__forget_login(struct lift_vsphere *vs);
/* Fills url's exchange with what every request carries, and starts it. */
struct lift_vsphere__post {
    const char *url; /* NULL: the API's */
    const char *method;
    const void *body;
    size_t body_length;
    size_t max_body;
    uint32_t timeout_ms;
    bool effect;
};
LIFT_NODISCARD struct lift_http *lift_vsphere__send(struct lift_vsphere *vs,
                                                    const struct lift_vsphere__post *post,
                                                    lift_http_fn *done, void *payload,
                                                    struct lift_error *err);
/* Send one SOAP request.  self as in struct lift_vsphere_request. */
LIFT_NODISCARD struct lift_http *lift_vsphere__soap(struct lift_vsphere *vs,
                                                    const struct lift_vsphere_request *request,
                                                    lift_http_fn *done, void *payload,
                                                    struct lift_error *err);
void lift_vsphere__take_cookie(struct lift_vsphere *vs, const char *headers);
/* Judge an answer (reply, or why there is none) to `method`: end->err is NULL or `err`. */
bool lift_vsphere__judge(const struct lift_http_reply *reply, const struct lift_error *why,
                         const char *method, bool effect, struct lift_vsphere_end *end,
                         struct lift_error *err);
/* What a status says that no API sends; always false. */
bool lift_vsphere__bad_status(const struct lift_http_reply *reply, bool effect,
                              struct lift_error *err);

/* The calls, for the session: the login has ended, in `err` unless NULL. */
void lift_vsphere__resume(struct lift_vsphere_call *call, const struct lift_error *err);

/* Morefs that die with the login, such as executers.  NULL when unknown. */
const struct lift_moref *lift_vsphere__recall(const struct lift_vsphere *vs,
                                              const struct lift_moref *of);
void lift_vsphere__remember(struct lift_vsphere *vs, const struct lift_moref *of,
                            const struct lift_moref *ref);
void lift_vsphere__forget(struct lift_vsphere *vs, const struct lift_moref *of);
