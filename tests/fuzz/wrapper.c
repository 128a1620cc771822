/* What a host answers: an ExecuteSoap reply through engine/esxcli.c and engine/clone.c, or the
 * output of a command over SSH, to the wrapper's message.  The sessions in between are stand-ins,
 * so that nothing waits for a socket. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "bindings/vim_value.h"
#include "engine/clone.h"
#include "engine/vsphere_inner.h"
#include "tests/fuzz/fuzz.h"

/* ---- the session: known executer, the call is kept to be answered ---- */

static struct lift_vsphere_call pending;

struct lift_vsphere_call *lift_vsphere_call(struct lift_vsphere *vs,
                                            const struct lift_vsphere_request *request,
                                            lift_vsphere_fn *done, void *payload,
                                            struct lift_error *err)
{
    (void)vs, (void)request, (void)err;
    pending = (struct lift_vsphere_call){.done = done, .payload = payload};
    return &pending;
}

void lift_vsphere_call_free(struct lift_vsphere_call *call)
{
    (void)call;
}

const struct lift_moref *lift_vsphere__recall(const struct lift_vsphere *vs,
                                              const struct lift_moref *of)
{
    (void)vs;
    return of;
}

void lift_vsphere__remember(struct lift_vsphere *vs, const struct lift_moref *of,
                            const struct lift_moref *ref)
{
    (void)vs, (void)of, (void)ref;
}

void lift_vsphere__forget(struct lift_vsphere *vs, const struct lift_moref *of)
{
    (void)vs, (void)of;
}

static struct {
    lift_ssh_fn *done;
    void *payload;
} asked;

struct lift_ssh *lift_ssh_ref(struct lift_ssh *ssh)
{
    return ssh;
}

void lift_ssh_free(struct lift_ssh *ssh)
{
    (void)ssh;
}

struct lift_ssh_exec *lift_ssh_exec(struct lift_ssh *ssh, const struct lift_ssh_request *request,
                                    lift_ssh_fn *done, void *payload)
{
    (void)ssh, (void)request;
    asked.done = done;
    asked.payload = payload;
    return (struct lift_ssh_exec *)&asked;
}

void lift_ssh_exec_free(struct lift_ssh_exec *exec)
{
    (void)exec;
}

/* ---- the answer ---- */

static int push_message(lua_State *L)
{
    const char *message = lua_touserdata(L, 1);
    struct lift_error err = {0};
    if (json_decode(L, message, strlen(message), &err))
        return 0;
    fuzz_demand(err.code != LIFT_OK, "a refusal has a reason");
    return 0;
}

static void on_message(void *payload, const char *message, const struct lift_error *err)
{
    bool *told = payload;
    fuzz_demand(!*told, "one end");
    fuzz_demand(message != NULL || err != NULL, "a message or a reason");
    if (message != NULL)
        fuzz_call(push_message, message);
    *told = true;
}

static int push_rows(lua_State *L)
{
    vim_push_rows(L, lua_touserdata(L, 1));
    return 0;
}

static void on_rows(void *payload, struct lift_vsphere_end *end)
{
    (void)payload;
    if (end->err == NULL)
        fuzz_call(push_rows, end->result);
}

static struct lift_xml_doc *envelope(const uint8_t *bytes, size_t length, bool refused)
{
    struct lift_error err = {0};
    struct lift_buf text = {0};
    struct lift_xml_doc *doc = NULL;
    if (lift_buf_adds(&text, refused ? "<r><returnval><fault><faultDetail>"
                                     : "<r><returnval><response>") &&
        lift_xml_escape(&text, (const char *)bytes, length, &err) &&
        lift_buf_adds(&text, refused ? "</faultDetail></fault></returnval></r>"
                                     : "</response></returnval></r>"))
        doc = lift_xml_parse(text.data, text.length, &err);
    lift_buf_free(&text);
    return doc;
}

static const struct lift_clone_features all = {true, true, true, true, true, true};
static const struct lift_clone_args args = {"t-1", "/vmfs/volumes/a/b.vmdk",
                                            "/vmfs/devices/disks/n", "0:1"};

static struct lift_clone_call *start(struct lift_clone *clone, uint8_t op, bool *told)
{
    struct lift_error err = {0};
    lift_clone_offer(clone, &all);
    return lift_clone_start(clone, (enum lift_clone_op)(op & 7), &args, 0, on_message, told, &err);
}

static void over_ssh(const uint8_t *bytes, size_t length)
{
    struct lift_error err = {0};
    struct lift_ssh_end end = {.status = bytes[0] & 8 ? 127 : 0};
    struct lift_clone *clone = lift_clone_ssh((struct lift_ssh *)&asked, "ds", &err);
    bool told = false;
    if (!lift_buf_add(&end.out, bytes + 1, length - 1))
        return;
    struct lift_clone_call *call = start(clone, bytes[0], &told);
    asked.done(asked.payload, &end, NULL);
    fuzz_demand(told, "an end");
    lift_clone_call_free(call);
    lift_clone_free(clone);
    lift_buf_free(&end.out);
}

static void over_esxcli(const uint8_t *bytes, size_t length)
{
    struct lift_error err = {0};
    struct lift_moref host = {.type = "HostSystem", .id = "host-1"};
    bool told = false;
    struct lift_xml_doc *doc = envelope(bytes + 1, length - 1, bytes[0] & 8);
    if (doc == NULL)
        return;
    struct lift_clone *clone = lift_clone_esxcli(NULL, &host);
    struct lift_clone_call *call = start(clone, bytes[0], &told);
    pending.done(pending.payload, &(struct lift_vsphere_end){.result = lift_xml_root(doc)});
    fuzz_demand(told, "an end");
    lift_clone_call_free(call);
    lift_clone_free(clone);

    struct lift_esxcli_request request = {.host = host, .words = "storage core list"};
    struct lift_esxcli *cmd = lift_esxcli_start(NULL, &request, on_rows, NULL, &err);
    pending.done(pending.payload, &(struct lift_vsphere_end){.result = lift_xml_root(doc)});
    lift_esxcli_free(cmd);
    lift_xml_doc_free(doc);
}

/* Input: which command, which way and which kind of answer, one byte; the inner XML, or what the
 * command printed. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length > 0 && bytes[0] & 16)
        over_ssh(bytes, length);
    else if (length > 0)
        over_esxcli(bytes, length);
    return 0;
}
