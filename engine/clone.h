/*
 * The clone protocol of vmkfstools-wrapper: one protocol, over esxcli or SSH.  This file knows
 * commands, encoding and the shape of replies; what a reply's JSON means is the caller's business.
 */
#pragma once

#include "esxcli.h"
#include "ssh.h"

struct lift_clone; /* the wrapper of one host, as this session sees it */

enum lift_clone_op {
    LIFT_CLONE_VERSION,
    LIFT_CLONE_START,
    LIFT_CLONE_POLL,
    LIFT_CLONE_KILL,
    LIFT_CLONE_LIST,
    LIFT_CLONE_CLEAN,
    LIFT_CLONE_DIGEST,
    LIFT_CLONE_PREFLIGHT,
};

LIFT_NODISCARD struct lift_clone *lift_clone_esxcli(struct lift_vsphere *vs,
                                                    const struct lift_moref *host);
/*
 * By requests `DS=<datastore>;CMD=<options>`, to a key that may do nothing else.  The datastore, on
 * which some hosts have the script, is its name below /vmfs/volumes: LIFT_CONFIG for one that a
 * shell could take for more.
 */
LIFT_NODISCARD struct lift_clone *lift_clone_ssh(struct lift_ssh *ssh, const char *datastore,
                                                 struct lift_error *err);
void lift_clone_free(struct lift_clone *clone);

/* What `version` said the host offers.  percent: values may be sent as "pct:…", so that no name is
 * run by a shell of the host. */
struct lift_clone_features {
    bool task_id, kill, list, digest, preflight, percent;
};
void lift_clone_offer(struct lift_clone *clone, const struct lift_clone_features *features);

/* Only what the operation takes is looked at; NULL is left out. */
struct lift_clone_args {
    const char *task_id;
    const char *source;  /* /vmfs/volumes/…vmdk */
    const char *target;  /* /vmfs/devices/disks/… */
    const char *extents; /* offset:length,… */
};

/*
 * `message` is the wrapper's own text (JSON, or empty after a clean), borrowed until `done`
 * returns, whatever its status was; NULL when there was no usable answer.  err is set when the
 * status was not 0 (LIFT_FAILED) or there was none. START, KILL and CLEAN are effects.  Towards a
 * host without `percent`, a name with ' " $ ` \ is refused, over SSH any but a plain one:
 * LIFT_CONFIG, nothing sent. An operation that the host does not offer is LIFT_UNSUPPORTED, nothing
 * sent; so is a VERSION over SSH where there is no wrapper (exit status 127).  What comes later is
 * LIFT_BUSY there: the wrapper was there a moment ago.
 */
typedef void lift_clone_fn(void *payload, const char *message, const struct lift_error *err);
struct lift_clone_call;
LIFT_NODISCARD struct lift_clone_call *lift_clone_start(struct lift_clone *clone,
                                                        enum lift_clone_op op,
                                                        const struct lift_clone_args *args,
                                                        uint32_t timeout_ms, lift_clone_fn *done,
                                                        void *payload, struct lift_error *err);
void lift_clone_call_free(struct lift_clone_call *call);
