#include "clone.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define VERSION_HINT                                                                               \
    "install the VIB vmkfstools-wrapper on the host (lunalift vib install), or restart hostd if "  \
    "it "                                                                                          \
    "is installed"

enum arg { ARG_ID, ARG_TASK_ID, ARG_SOURCE, ARG_TARGET, ARG_EXTENTS, ARG_COUNT };

static const char *const arg_names[ARG_COUNT] = {"id", "taskid", "sourcevmdk", "targetlun",
                                                 "extents"};

#define TAKES(arg) (1U << (arg))

static const struct command {
    const char *words;
    unsigned args;
    bool effect;
} commands[] = {
    [LIFT_CLONE_VERSION] = {"vmkfstools version", 0, false},
    [LIFT_CLONE_START] = {"vmkfstools clone",
                          TAKES(ARG_SOURCE) | TAKES(ARG_TARGET) | TAKES(ARG_TASK_ID), true},
    [LIFT_CLONE_POLL] = {"vmkfstools taskGet", TAKES(ARG_ID), false},
    [LIFT_CLONE_KILL] = {"vmkfstools taskKill", TAKES(ARG_ID), true},
    [LIFT_CLONE_LIST] = {"vmkfstools taskList", 0, false},
    [LIFT_CLONE_CLEAN] = {"vmkfstools taskClean", TAKES(ARG_ID), true},
    [LIFT_CLONE_DIGEST] = {"vmkfstools digest",
                           TAKES(ARG_SOURCE) | TAKES(ARG_TARGET) | TAKES(ARG_EXTENTS), false},
    [LIFT_CLONE_PREFLIGHT] = {"vmkfstools preflight", TAKES(ARG_SOURCE) | TAKES(ARG_TARGET), false},
};

struct lift_clone {
    struct lift_vsphere *vs;
    struct lift_moref host;
    struct lift_clone_features features;
};

struct lift_clone_call {
    const struct command *command;
    struct lift_esxcli *cmd;
    lift_clone_fn *done;
    void *payload;
};

struct lift_clone *lift_clone_esxcli(struct lift_vsphere *vs, const struct lift_moref *host)
{
    struct lift_clone *clone = lift_calloc(1, sizeof *clone);
    clone->vs = vs;
    clone->host = *host;
    return clone;
}

void lift_clone_free(struct lift_clone *clone)
{
    lift_free(clone);
}

void lift_clone_offer(struct lift_clone *clone, const struct lift_clone_features *features)
{
    clone->features = *features;
}

void lift_clone_call_free(struct lift_clone_call *call)
{
    if (!call)
        return;
    lift_esxcli_free(call->cmd);
    lift_free(call);
}

/* ---- arguments ---- */

static bool offers(const struct lift_clone *clone, enum lift_clone_op op)
{
    switch (op) {
    case LIFT_CLONE_KILL:
        return clone->features.kill;
    case LIFT_CLONE_LIST:
        return clone->features.list;
    case LIFT_CLONE_DIGEST:
        return clone->features.digest;
    case LIFT_CLONE_PREFLIGHT:
        return clone->features.preflight;
    default:
        return true;
    }
}

static bool is_made_of(const char *text, bool letters, const char *marks)
{
    for (const char *c = text; *c; c++)
        if (!isdigit((unsigned char)*c) && !(letters && isalpha((unsigned char)*c)) &&
            !strchr(marks, *c))
            return false;
    return *text != '\0';
}

/* hostd pastes a path into a shell line as root: encoded, it holds nothing that a shell reads. */
static bool put_path(struct lift_buf *out, const char *path, bool percent, struct lift_error *err)
{
    if (!percent) {
        if (!path[strcspn(path, "'\"$`\\")])
            return lift_buf_adds(out, path) || lift_fail(err, LIFT_CONFIG, "a path is too long");
        lift_fail(err, LIFT_CONFIG, "'%.300s' holds a character that the host would run", path);
        return lift_hint(err, "upgrade the host's vmkfstools-wrapper, or rename the VM's files");
    }
    bool good = lift_buf_adds(out, "pct:");
    for (const char *c = path; *c && good; c++)
        good = isalnum((unsigned char)*c) || strchr("/._-", *c)
                   ? lift_buf_add(out, c, 1)
                   : lift_buf_addf(out, "%%%02X", (unsigned char)*c);
    return good || lift_fail(err, LIFT_CONFIG, "a path is too long");
}

static bool put_arg(struct lift_buf *out, enum arg arg, const char *value, bool percent,
                    struct lift_error *err)
{
    if (arg == ARG_SOURCE || arg == ARG_TARGET)
        return put_path(out, value, percent, err);
    if (arg == ARG_EXTENTS ? is_made_of(value, false, ":,") : is_made_of(value, true, "-"))
        return lift_buf_adds(out, value) || lift_fail(err, LIFT_CONFIG, "too many extents");
    return lift_fail(err, LIFT_CONFIG, "'%.80s' is no %s", value,
                     arg == ARG_EXTENTS ? "list of extents" : "task id");
}

static const char *value_of(const struct lift_clone_args *args, enum arg arg)
{
    switch (arg) {
    case ARG_SOURCE:
        return args->source;
    case ARG_TARGET:
        return args->target;
    case ARG_EXTENTS:
        return args->extents;
    default:
        return args->task_id;
    }
}

/* ---- answers ---- */

static const char *field(const struct lift_xml_node *row, const char *name)
{
    const struct lift_xml_node *node = lift_xml_child(row, name);
    return node ? lift_xml_text(node) : NULL;
}

static void on_done(void *payload, struct lift_vsphere_end *end)
{
    struct lift_clone_call *call = payload;
    struct lift_error err = {0};
    if (end->err) {
        err = *end->err;
        if (strcmp(end->fault.type, "NotFound") == 0)
            lift_hint(&err, "%s", VERSION_HINT);
        call->done(call->payload, NULL, &err);
        return;
    }
    const struct lift_xml_node *row = end->result;
    if (row && lift_xml_child(row, "DataObject"))
        row = lift_xml_child(row, "DataObject");
    const char *status = row ? field(row, "status") : NULL;
    const char *message = row ? field(row, "message") : NULL;
    if (!status || !message) {
        lift_fail(&err, LIFT_PROTOCOL, "esxcli %s: an answer without status and message",
                  call->command->words);
        err.unanswered = call->command->effect;
        call->done(call->payload, NULL, &err);
    } else if (strcmp(status, "0") != 0) {
        lift_fail(&err, strcmp(status, "28") == 0 ? LIFT_NO_SPACE : LIFT_FAILED, "esxcli %s: %s",
                  call->command->words, message);
        call->done(call->payload, message, &err);
    } else {
        call->done(call->payload, message, NULL);
    }
}

/* ---- the call ---- */

static struct lift_esxcli *send(struct lift_clone *clone, struct lift_clone_call *call,
                                const struct lift_clone_args *args, uint32_t timeout_ms,
                                struct lift_error *err)
{
    struct lift_buf values[ARG_COUNT] = {{0}};
    const char *list[2 * ARG_COUNT + 1];
    size_t count = 0;
    bool good = true;
    for (enum arg arg = 0; arg < ARG_COUNT && good; arg++) {
        const char *value = args && call->command->args & TAKES(arg) ? value_of(args, arg) : NULL;
        if (!value || (arg == ARG_TASK_ID && !clone->features.task_id))
            continue;
        good = put_arg(&values[arg], arg, value, clone->features.percent, err);
        list[count++] = arg_names[arg];
        list[count++] = values[arg].data;
    }
    list[count] = NULL;
    struct lift_esxcli_request request = {.host = clone->host,
                                          .words = call->command->words,
                                          .args = list,
                                          .effect = call->command->effect,
                                          .timeout_ms = timeout_ms};
    struct lift_esxcli *cmd =
        good ? lift_esxcli_start(clone->vs, &request, on_done, call, err) : NULL;
    for (size_t i = 0; i < ARG_COUNT; i++)
        lift_buf_free(&values[i]);
    return cmd;
}

struct lift_clone_call *lift_clone_start(struct lift_clone *clone, enum lift_clone_op op,
                                         const struct lift_clone_args *args, uint32_t timeout_ms,
                                         lift_clone_fn *done, void *payload, struct lift_error *err)
{
    if (!offers(clone, op)) {
        lift_fail(err, LIFT_UNSUPPORTED, "the host's wrapper cannot do %s", commands[op].words);
        lift_hint(err, "upgrade the host's VIB vmkfstools-wrapper (lunalift vib install)");
        return NULL;
    }
    struct lift_clone_call *call = lift_calloc(1, sizeof *call);
    call->command = &commands[op];
    call->done = done;
    call->payload = payload;
    call->cmd = send(clone, call, args, timeout_ms, err);
    if (call->cmd)
        return call;
    lift_clone_call_free(call);
    return NULL;
}
