/* An esxcli command on a host, relayed by the vCenter that we are logged in to: one round trip once
 * the host's executer is known. */
#pragma once

#include "vsphere.h"

struct lift_esxcli; /* one command under way */

/*
 * words  "storage core device list"
 * args   name, value, name, value, …, NULL with the SOAP names (source-vmdk is "sourcevmdk"); a
 *        name that comes several times in a row is a list.  NULL: none.
 */
struct lift_esxcli_request {
    struct lift_moref host;
    const char *words;
    const char *const *args;
    bool effect;
    uint32_t timeout_ms;
};

/*
 * As lift_vsphere_call(), save that `result` is the inner <obj> element, or NULL for a command
 * without output.  What the command itself refused is LIFT_FAILED with its errMsg lines joined and
 * fault.type "CLIFault"; a command that the host does not have is LIFT_UNSUPPORTED with fault.type
 * "NotFound".  When the host's executer has gone, a read is asked again through a new one; an
 * effect fails with `refused`.
 */
LIFT_NODISCARD struct lift_esxcli *lift_esxcli_start(struct lift_vsphere *vs,
                                                     const struct lift_esxcli_request *request,
                                                     lift_vsphere_fn *done, void *payload,
                                                     struct lift_error *err);
void lift_esxcli_free(struct lift_esxcli *cmd); /* cancels; may be called from within `done` */
