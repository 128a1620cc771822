#include "esxcli.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "vsphere_inner.h"

struct lift_esxcli {
    struct lift_vsphere *vs;
    struct lift_moref host;
    char *words;
    struct lift_buf body; /* of ExecuteSoap */
    bool effect;
    bool renewed; /* the executer, once */
    uint32_t timeout_ms;
    struct search *search;          /* it waits for */
    struct lift_esxcli *next;       /* that waits for the same */
    struct lift_vsphere_call *call; /* the step under way */
    lift_vsphere_fn *done;
    void *payload;
};

/* A host's executer is being asked for, once for all commands that need it meanwhile. */
struct search {
    struct search *next;
    struct lift_vsphere *vs;
    struct lift_moref host;
    struct lift_vsphere_call *call; /* NULL once it has ended */
    struct lift_esxcli *waiting;
};

/* ---- the executer ---- */

static struct search *find_search(const struct lift_vsphere *vs, const struct lift_moref *host)
{
    struct search *search = vs->searches;
    while (search && strcmp(search->host.id, host->id) != 0)
        search = search->next;
    return search;
}

static void unlink_search(struct search *search)
{
    struct search **at = &search->vs->searches;
    while (*at != search)
        at = &(*at)->next;
    *at = search->next;
}

static void end_search(struct search *search)
{
    unlink_search(search);
    lift_vsphere_call_free(search->call);
    search->call = NULL;
}

static void on_executer(void *payload, struct lift_vsphere_end *end);

static bool start_search(struct lift_esxcli *cmd, struct lift_error *err)
{
    struct lift_vsphere *vs = cmd->vs;
    const struct lift_vsphere_request request = {.method = "RetrieveManagedMethodExecuter",
                                                 .self = cmd->host};
    struct search *search = lift_calloc(1, sizeof *search);
    *search = (struct search){.next = vs->searches, .vs = vs, .host = cmd->host};
    search->call = lift_vsphere_call(vs, &request, on_executer, search, err);
    if (!search->call) {
        lift_free(search);
        return false;
    }
    vs->searches = search;
    return true;
}

static bool wait_for_executer(struct lift_esxcli *cmd, struct lift_error *err)
{
    if (!find_search(cmd->vs, &cmd->host) && !start_search(cmd, err))
        return false;
    cmd->search = find_search(cmd->vs, &cmd->host);
    struct lift_esxcli **at = &cmd->search->waiting;
    while (*at)
        at = &(*at)->next;
    *at = cmd;
    return true;
}

static void stop_waiting(struct lift_esxcli *cmd)
{
    struct lift_esxcli **at = &cmd->search->waiting;
    while (*at != cmd)
        at = &(*at)->next;
    *at = cmd->next;
    cmd->next = NULL;
    cmd->search = NULL;
}

/* Nobody asks any more. */
static void leave_search(struct lift_esxcli *cmd)
{
    struct search *search = cmd->search;
    stop_waiting(cmd);
    if (search->waiting || !search->call)
        return;
    end_search(search);
    lift_free(search);
}

void lift_esxcli_free(struct lift_esxcli *cmd)
{
    if (!cmd)
        return;
    if (cmd->search)
        leave_search(cmd);
    lift_vsphere_call_free(cmd->call);
    lift_buf_wipe(&cmd->body);
    lift_free(cmd->words);
    lift_free(cmd);
}

/* ---- the request ---- */

/* "a b c" as prefix, a, joint, b, joint, c; but the last word only if `all`. */
static bool put_words(struct lift_buf *out, const char *name, const char *prefix, const char *words,
                      char joint, bool all, struct lift_error *err)
{
    char text[256];
    const char *end = all ? words + strlen(words) : strrchr(words, ' ');
    int length = snprintf(text, sizeof text, "%s%.*s", prefix, (int)(end - words), words);
    if (length >= (int)sizeof text)
        return lift_fail(err, LIFT_CONFIG, "the esxcli command is too long");
    for (char *c = text; *c; c++)
        if (*c == ' ')
            *c = joint;
    return lift_soap_text(out, name, NULL, text, (size_t)length, err);
}

static bool good_words(const char *words)
{
    const char *last = strrchr(words, ' ');
    if (!last || !last[1] || words[0] == ' ' || strstr(words, "  "))
        return false;
    for (const char *c = words; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != ' ')
            return false;
    return true;
}

/* Equal names in a row make one argument.  Returns where the next one begins; NULL on failure. */
static const char *const *put_argument(struct lift_buf *out, const char *const *args,
                                       struct lift_error *err)
{
    const char *name = args[0];
    struct lift_buf inner = {0}; /* XML as text: escaped here, and again by the envelope */
    bool good = true;
    for (; args[0] && strcmp(args[0], name) == 0 && good; args += 2)
        good = lift_soap_text(&inner, name, NULL, args[1], strlen(args[1]), err);
    good = good && lift_soap_open(out, "argument", NULL, err) &&
           lift_soap_text(out, "name", NULL, name, strlen(name), err) &&
           lift_soap_text(out, "val", NULL, inner.data, inner.length, err) &&
           lift_soap_close(out, "argument", err);
    lift_buf_wipe(&inner);
    return good ? args : NULL;
}

static bool put_command(struct lift_buf *out, const char *words, const char *const *args,
                        struct lift_error *err)
{
    static const char *const none[] = {NULL};
    if (!good_words(words))
        return lift_fail(err, LIFT_CONFIG, "'%.80s' is no esxcli command", words);
    bool good = put_words(out, "moid", "ha-cli-handler-", words, '-', false, err) &&
                lift_soap_text(out, "version", NULL, "urn:vim25/5.0", 13, err) &&
                put_words(out, "method", "vim.EsxCLI.", words, '.', true, err);
    if (!args)
        args = none;
    while (good && *args) {
        args = put_argument(out, args, err);
        good = args != NULL;
    }
    return good;
}

/* ---- the answer ---- */

static void finish(struct lift_esxcli *cmd, struct lift_vsphere_end *end)
{
    lift_vsphere_call_free(cmd->call);
    cmd->call = NULL;
    cmd->done(cmd->payload, end); /* may free cmd */
}

static void fail(struct lift_esxcli *cmd, struct lift_error *err, const char *fault)
{
    struct lift_vsphere_end end = {.err = err};
    char text[sizeof err->text];
    memcpy(text, err->text, sizeof text);
    snprintf(err->text, sizeof err->text, "esxcli %.100s: %.400s", cmd->words, text);
    snprintf(end.fault.type, sizeof end.fault.type, "%s", fault);
    snprintf(end.fault.message, sizeof end.fault.message, "%s", text);
    finish(cmd, &end);
}

static const struct lift_xml_node *child_of(const struct lift_xml_node *node, const char *name)
{
    return node ? lift_xml_child(node, name) : NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The command's own lines; the fault's message is only the name of a text. */
static void join_lines(const struct lift_xml_node *fault, struct lift_error *err)
{
    struct lift_buf lines = {.max = sizeof err->text - 1};
    const struct lift_xml_node *line = lift_xml_child(fault, "errMsg");
    bool good = true;
    for (; line && good; line = lift_xml_next(line, "errMsg"))
        good = lift_buf_addf(&lines, "%s%s", lines.length ? "; " : "", lift_xml_text(line));
    lift_fail(err, LIFT_FAILED, "%s", lines.length ? lines.data : "failed without a reason");
    lift_buf_free(&lines);
}

static void end_refused(struct lift_esxcli *cmd, const struct lift_xml_node *returned)
{
    struct lift_error err = {0};
    struct lift_soap_fault fault = {.type = "Unknown"};
    const struct lift_xml_node *detail = lift_xml_child(returned, "faultDetail");
    const struct lift_xml_node *message = lift_xml_child(returned, "faultMsg");
    const char *text = detail ? lift_xml_text(detail) : "";
    struct lift_xml_doc *doc = lift_xml_parse(text, strlen(text), &err);
    const struct lift_xml_node *inner = doc ? lift_xml_child(lift_xml_root(doc), "fault") : NULL;
    if (inner && ends_with(lift_soap_type(inner), "CLIFault")) {
        join_lines(inner, &err);
        snprintf(fault.type, sizeof fault.type, "CLIFault");
    } else if (inner) {
        lift_soap_read_fault(lift_xml_root(doc), &fault, &err);
    } else {
        lift_fail(&err, LIFT_FAILED, "%s", message ? lift_xml_text(message) : "failed");
    }
    lift_xml_doc_free(doc);
    if (strcmp(fault.type, "NotFound") == 0)
        lift_fail(&err, LIFT_UNSUPPORTED, "the host has no such command");
    fail(cmd, &err, fault.type);
}

static void end_answered(struct lift_esxcli *cmd, const char *text)
{
    struct lift_error err = {0};
    struct lift_vsphere_end end = {.doc = lift_xml_parse(text, strlen(text), &err)};
    if (!end.doc) {
        err.unanswered = cmd->effect;
        fail(cmd, &err, "");
        return;
    }
    end.result = lift_xml_root(end.doc);
    finish(cmd, &end);
    lift_xml_doc_free(end.doc);
}

static bool next_step(struct lift_esxcli *cmd, struct lift_error *err);

/* The executer that we knew has gone, and nothing was done. */
static void renew(struct lift_esxcli *cmd, const struct lift_vsphere_end *end)
{
    struct lift_error err = *end->err;
    lift_vsphere__forget(cmd->vs, &cmd->host);
    cmd->renewed = true;
    if (cmd->effect) {
        err.refused = true;
        fail(cmd, &err, "ManagedObjectNotFound");
        return;
    }
    if (!next_step(cmd, &err))
        fail(cmd, &err, "");
}

static void on_executed(void *payload, struct lift_vsphere_end *end)
{
    struct lift_esxcli *cmd = payload;
    if (strcmp(end->fault.type, "ManagedObjectNotFound") == 0 && !cmd->renewed) {
        renew(cmd, end);
        return;
    }
    if (end->err) {
        struct lift_error err = *end->err;
        fail(cmd, &err, end->fault.type);
        return;
    }
    const struct lift_xml_node *returned = lift_xml_child(end->result, "returnval");
    const struct lift_xml_node *fault = child_of(returned, "fault");
    const struct lift_xml_node *response = child_of(returned, "response");
    if (fault)
        end_refused(cmd, fault);
    else if (response && *lift_xml_text(response))
        end_answered(cmd, lift_xml_text(response));
    else
        finish(cmd, &(struct lift_vsphere_end){0});
}

/* Any of the commands may be freed by another's `done`: each is taken off the search before. */
static void on_executer(void *payload, struct lift_vsphere_end *end)
{
    struct search *search = payload;
    struct lift_moref executer;
    const struct lift_xml_node *returned = child_of(end->result, "returnval");
    char fault[sizeof end->fault.type];
    struct lift_error why = {0};
    memcpy(fault, end->fault.type, sizeof fault);
    if (end->err)
        why = *end->err;
    else if (returned && lift_soap_read_moref(returned, &executer))
        lift_vsphere__remember(search->vs, &search->host, &executer);
    else
        lift_fail(&why, LIFT_UNSUPPORTED, "the host offers no esxcli");
    end_search(search);
    for (struct lift_esxcli *cmd; (cmd = search->waiting);) {
        struct lift_error err = why;
        stop_waiting(cmd);
        if (err.code != LIFT_OK || !next_step(cmd, &err))
            fail(cmd, &err, fault);
    }
    lift_free(search);
}

static bool next_step(struct lift_esxcli *cmd, struct lift_error *err)
{
    const struct lift_moref *executer = lift_vsphere__recall(cmd->vs, &cmd->host);
    struct lift_vsphere_call *old = cmd->call;
    cmd->call = NULL;
    lift_vsphere_call_free(old);
    if (!executer)
        return wait_for_executer(cmd, err);
    const struct lift_vsphere_request execute = {.method = "ExecuteSoap",
                                                 .self = *executer,
                                                 .body = cmd->body.data,
                                                 .body_length = cmd->body.length,
                                                 .effect = cmd->effect,
                                                 .timeout_ms = cmd->timeout_ms};
    cmd->call = lift_vsphere_call(cmd->vs, &execute, on_executed, cmd, err);
    return cmd->call != NULL;
}

struct lift_esxcli *lift_esxcli_start(struct lift_vsphere *vs,
                                      const struct lift_esxcli_request *request,
                                      lift_vsphere_fn *done, void *payload, struct lift_error *err)
{
    struct lift_esxcli *cmd = lift_calloc(1, sizeof *cmd);
    cmd->vs = vs;
    cmd->host = request->host;
    cmd->words = lift_strdup(request->words);
    cmd->effect = request->effect;
    cmd->timeout_ms = request->timeout_ms;
    cmd->done = done;
    cmd->payload = payload;
    if (put_command(&cmd->body, request->words, request->args, err) && next_step(cmd, err))
        return cmd;
    lift_esxcli_free(cmd);
    return NULL;
}
