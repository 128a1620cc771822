#include "clone.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define VERSION_HINT                                                                               \
    "install the VIB vmkfstools-wrapper on the host (lunalift vib install), or restart hostd if "  \
    "it "                                                                                          \
    "is installed"

#define STATUS_NOT_FOUND 127 /* as every shell ends for a program that is not there */
#define HINT_OLD "upgrade the host's vmkfstools-wrapper, or rename the VM's files"

enum arg { ARG_ID, ARG_TASK_ID, ARG_SOURCE, ARG_TARGET, ARG_EXTENTS, ARG_COUNT };

static const struct {
    const char *wire, *option;
} arg_names[ARG_COUNT] = {
    {"id", "-i"}, {"taskid", "-i"}, {"sourcevmdk", "-s"}, {"targetlun", "-t"}, {"extents", "-e"}};

#define TAKES(arg) (1U << (arg))

static const struct command {
    const char *words, *option;
    unsigned args;
    bool effect;
} commands[] = {
    [LIFT_CLONE_VERSION] = {"vmkfstools version", "--version", 0, false},
    [LIFT_CLONE_START] = {"vmkfstools clone", "--clone",
                          TAKES(ARG_SOURCE) | TAKES(ARG_TARGET) | TAKES(ARG_TASK_ID), true},
    [LIFT_CLONE_POLL] = {"vmkfstools taskGet", "--task-get", TAKES(ARG_ID), false},
    [LIFT_CLONE_KILL] = {"vmkfstools taskKill", "--task-kill", TAKES(ARG_ID), true},
    [LIFT_CLONE_LIST] = {"vmkfstools taskList", "--task-list", 0, false},
    [LIFT_CLONE_CLEAN] = {"vmkfstools taskClean", "--task-clean", TAKES(ARG_ID), true},
    [LIFT_CLONE_DIGEST] = {"vmkfstools digest", "--digest",
                           TAKES(ARG_SOURCE) | TAKES(ARG_TARGET) | TAKES(ARG_EXTENTS), false},
    [LIFT_CLONE_PREFLIGHT] = {"vmkfstools preflight", "--preflight",
                              TAKES(ARG_SOURCE) | TAKES(ARG_TARGET), false},
};

/* One of both ways. */
struct lift_clone {
    struct lift_vsphere *vs;
    struct lift_moref host;
    struct lift_ssh *ssh; /* a count of its own */
    char *datastore;
    struct lift_clone_features features;
};

struct lift_clone_call {
    const struct command *command;
    struct lift_esxcli *cmd;
    struct lift_ssh_exec *exec;
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
    if (!clone)
        return;
    lift_ssh_free(clone->ssh);
    lift_free(clone->datastore);
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
    lift_ssh_exec_free(call->exec);
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

struct lift_clone *lift_clone_ssh(struct lift_ssh *ssh, const char *datastore,
                                  struct lift_error *err)
{
    if (datastore[0] == '.' || !is_made_of(datastore, true, "._:-")) {
        lift_fail(err, LIFT_CONFIG, "'%.200s' is no id of a datastore", datastore);
        return NULL;
    }
    struct lift_clone *clone = lift_calloc(1, sizeof *clone);
    clone->ssh = lift_ssh_ref(ssh);
    clone->datastore = lift_strdup(datastore);
    return clone;
}

/* An older wrapper's name goes through a shell as it is, and over SSH is split into words. */
static bool put_plain(struct lift_buf *out, const struct lift_clone *clone, const char *path,
                      struct lift_error *err)
{
    if (clone->ssh ? is_made_of(path, true, "/._-+=,:@") : !path[strcspn(path, "'\"$`\\")])
        return lift_buf_adds(out, path) || lift_fail(err, LIFT_CONFIG, "a path is too long");
    lift_fail(err, LIFT_CONFIG, "'%.300s' holds a character that the host would run", path);
    return lift_hint(err, HINT_OLD);
}

/* hostd pastes a path into a shell line as root: encoded, it holds nothing that a shell reads. */
static bool put_path(struct lift_buf *out, const struct lift_clone *clone, const char *path,
                     struct lift_error *err)
{
    if (!clone->features.percent)
        return put_plain(out, clone, path, err);
    bool good = lift_buf_adds(out, "pct:");
    for (const char *c = path; *c && good; c++)
        good = isalnum((unsigned char)*c) || strchr("/._-", *c)
                   ? lift_buf_add(out, c, 1)
                   : lift_buf_addf(out, "%%%02X", (unsigned char)*c);
    return good || lift_fail(err, LIFT_CONFIG, "a path is too long");
}

static bool put_arg(struct lift_buf *out, const struct lift_clone *clone, enum arg arg,
                    const char *value, struct lift_error *err)
{
    if (arg == ARG_SOURCE || arg == ARG_TARGET)
        return put_path(out, clone, value, err);
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

static void say(struct lift_clone_call *call, const char *status, const char *message)
{
    struct lift_error err = {0};
    const char *via = call->exec ? "SSH" : "esxcli", *words = call->command->words;
    if (!status || !message) {
        lift_fail(&err, LIFT_PROTOCOL, "%s %s: an answer without status and message", via, words);
        err.unanswered = call->command->effect;
        call->done(call->payload, NULL, &err);
    } else if (strcmp(status, "0") != 0) {
        lift_fail(&err, strcmp(status, "28") == 0 ? LIFT_NO_SPACE : LIFT_FAILED, "%s %s: %s", via,
                  words, message);
        call->done(call->payload, message, &err);
    } else {
        call->done(call->payload, message, NULL);
    }
}

static const char *element(const struct lift_xml_node *row, const char *name)
{
    const struct lift_xml_node *node = row ? lift_xml_child(row, name) : NULL;
    return node ? lift_xml_text(node) : NULL;
}

static void on_esxcli(void *payload, struct lift_vsphere_end *end)
{
    struct lift_clone_call *call = payload;
    if (end->err) {
        struct lift_error err = *end->err;
        if (strcmp(end->fault.type, "NotFound") == 0)
            lift_hint(&err, "%s", VERSION_HINT);
        call->done(call->payload, NULL, &err);
        return;
    }
    const struct lift_xml_node *row = end->result;
    if (row && lift_xml_child(row, "DataObject"))
        row = lift_xml_child(row, "DataObject");
    say(call, element(row, "status"), element(row, "message"));
}

/* <output><structure><field name="status"><string>0</string></field>… */
static const char *field(const struct lift_xml_doc *doc, const char *name)
{
    const struct lift_xml_node *structure = lift_xml_child(lift_xml_root(doc), "structure");
    const struct lift_xml_node *node = structure ? lift_xml_child(structure, "field") : NULL;
    for (; node; node = lift_xml_next(node, "field")) {
        const char *found = lift_xml_attr(node, "", "name");
        if (found && strcmp(found, name) == 0)
            return element(node, "string");
    }
    return NULL;
}

/* What a shell, a router of keys or a wrapper that broke said instead. */
static void say_nonsense(struct lift_clone_call *call, const struct lift_ssh_end *end)
{
    struct lift_error err = {0};
    bool first = call->command == &commands[LIFT_CLONE_VERSION];
    enum lift_code missing = first ? LIFT_UNSUPPORTED : LIFT_BUSY;
    const struct lift_buf *said = end->err.length > 0 ? &end->err : &end->out;
    lift_fail(&err, end->status == STATUS_NOT_FOUND ? missing : LIFT_PROTOCOL,
              "SSH %s: no answer of a wrapper, but status %d and '%.200s'", call->command->words,
              end->status, said->data ? said->data : "");
    err.unanswered = call->command->effect;
    call->done(call->payload, NULL, &err);
}

static void on_ssh(void *payload, struct lift_ssh_end *end, const struct lift_error *err)
{
    struct lift_clone_call *call = payload;
    if (err) {
        call->done(call->payload, NULL, err);
        return;
    }
    struct lift_error ignored = {0};
    const char *out = end->out.data ? end->out.data : "";
    struct lift_xml_doc *doc = lift_xml_parse(out, end->out.length, &ignored);
    if (doc)
        say(call, field(doc, "status"), field(doc, "message"));
    else
        say_nonsense(call, end);
    lift_xml_doc_free(doc);
}

/* ---- the call ---- */

static bool takes(const struct lift_clone *clone, const struct lift_clone_call *call, enum arg arg)
{
    return call->command->args & TAKES(arg) && (arg != ARG_TASK_ID || clone->features.task_id);
}

static struct lift_esxcli *send_esxcli(struct lift_clone *clone, struct lift_clone_call *call,
                                       const struct lift_buf values[ARG_COUNT], uint32_t timeout_ms,
                                       struct lift_error *err)
{
    const char *list[2 * ARG_COUNT + 1];
    size_t count = 0;
    for (enum arg arg = 0; arg < ARG_COUNT; arg++) {
        if (!values[arg].data)
            continue;
        list[count++] = arg_names[arg].wire;
        list[count++] = values[arg].data;
    }
    list[count] = NULL;
    struct lift_esxcli_request request = {.host = clone->host,
                                          .words = call->command->words,
                                          .args = list,
                                          .effect = call->command->effect,
                                          .timeout_ms = timeout_ms};
    return lift_esxcli_start(clone->vs, &request, on_esxcli, call, err);
}

static struct lift_ssh_exec *send_ssh(struct lift_clone *clone, struct lift_clone_call *call,
                                      const struct lift_buf values[ARG_COUNT], uint32_t timeout_ms,
                                      struct lift_error *err)
{
    struct lift_buf line = {0};
    bool good = lift_buf_addf(&line, "DS=%s;CMD=%s", clone->datastore, call->command->option);
    for (enum arg arg = 0; arg < ARG_COUNT && good; arg++)
        if (values[arg].data)
            good = lift_buf_addf(&line, " %s %s", arg_names[arg].option, values[arg].data);
    struct lift_ssh_request request = {
        .command = line.data, .effect = call->command->effect, .timeout_ms = timeout_ms};
    struct lift_ssh_exec *exec = good ? lift_ssh_exec(clone->ssh, &request, on_ssh, call) : NULL;
    if (!exec)
        lift_fail(err, LIFT_CONFIG, "a path is too long");
    lift_buf_free(&line);
    return exec;
}

static bool send(struct lift_clone *clone, struct lift_clone_call *call,
                 const struct lift_clone_args *args, uint32_t timeout_ms, struct lift_error *err)
{
    struct lift_buf values[ARG_COUNT] = {{0}};
    bool good = true;
    for (enum arg arg = 0; arg < ARG_COUNT && good; arg++) {
        const char *value = args && takes(clone, call, arg) ? value_of(args, arg) : NULL;
        good = !value || put_arg(&values[arg], clone, arg, value, err);
    }
    if (good && clone->ssh)
        call->exec = send_ssh(clone, call, values, timeout_ms, err);
    else if (good)
        call->cmd = send_esxcli(clone, call, values, timeout_ms, err);
    for (size_t i = 0; i < ARG_COUNT; i++)
        lift_buf_free(&values[i]);
    return call->exec || call->cmd;
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
    if (send(clone, call, args, timeout_ms, err))
        return call;
    lift_clone_call_free(call);
    return NULL;
}
