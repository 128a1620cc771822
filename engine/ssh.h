/*
 * Commands on a host over SSH: one connection, made at the first command and again when it was
 * lost, with a channel for each command.
 *
 * An ESXi host knows one way to be trusted and one to trust: keys.  Its own is looked up among the
 * fingerprints given, else in the known_hosts file; one that is in neither is refused.
 */
#pragma once

#include "buf.h"
#include "loop.h"
#include "secret.h"

struct lift_ssh;
struct lift_ssh_exec; /* one command under way */

/* Borrowed for the call. */
struct lift_ssh_spec {
    const char *host;                /* name or address, "[::1]" too */
    uint16_t port;                   /* 0: 22 */
    const char *user;                /* NULL: root */
    struct lift_secret *key;         /* private, PEM or OpenSSH's form, without a passphrase */
    const char *const *fingerprints; /* "SHA256:…" of host keys, NULL-terminated; NULL: none */
    const char *known_hosts;         /* path; NULL: none */
    uint32_t connect_ms;             /* to name, connect, exchange keys and log in; 0: 30 s */
    uint32_t keepalive_ms;           /* silence before we ask; after three it is lost; 0: 15 s */
};

/* Reads the key: LIFT_CONFIG when it is none, or protected by a passphrase. Nothing is sent yet. */
LIFT_NODISCARD struct lift_ssh *
lift_ssh_new(struct lift_loop *loop, const struct lift_ssh_spec *spec, struct lift_error *err);
struct lift_ssh *lift_ssh_ref(struct lift_ssh *ssh);
void lift_ssh_free(struct lift_ssh *ssh); /* drops one count; each command holds one, too */

/* "ssh-rsa AAAA…": the public half, as authorized_keys wants it. */
const char *lift_ssh_public_key(const struct lift_ssh *ssh);

/* Why the last log-in was LIFT_DENIED, and the host key that was seen ("" before): the advice is
 * the caller's. */
enum lift_ssh_refusal {
    LIFT_SSH_NO_REFUSAL,
    LIFT_SSH_HOST_UNKNOWN,
    LIFT_SSH_HOST_CHANGED, /* known_hosts has another key for it */
    LIFT_SSH_KEY_REFUSED,  /* the host does not take ours */
};
enum lift_ssh_refusal lift_ssh_refusal(const struct lift_ssh *ssh);
const char *lift_ssh_fingerprint(const struct lift_ssh *ssh); /* "SHA256:…" */

struct lift_ssh_request {
    const char *command;
    const char *input; /* its standard input; NULL: none.  Copied */
    size_t input_length;
    size_t max_output; /* of stdout and of stderr each, further bytes are dropped; 0: 1 MiB */
    bool effect;
    uint32_t timeout_ms; /* from now to its end; 0: 60 s */
};

struct lift_ssh_end {
    int status;      /* -1: by a signal, or the host did not say */
    char signal[16]; /* "TERM"; "" for none */
    struct lift_buf out, err;
    bool truncated;
};

/*
 * `done` runs later, from lift_loop_run(), exactly once: with how the command ended, whatever its
 * status, or NULL and the reason:
 *
 *   LIFT_UNREACHABLE  no name, no connection, or lost
 *   LIFT_TIMEOUT      no connection, or no end of the command, in time
 *   LIFT_DENIED       see lift_ssh_refusal()
 *   LIFT_BUSY         the host opens no further channel; `refused`
 *   LIFT_PROTOCOL     it speaks no SSH, or none that is safe
 *
 * A command that was not yet sent when an established connection is lost waits for the next one.
 * One that was sent is lost: an effect's failure is `unanswered` then.
 */
typedef void lift_ssh_fn(void *payload, struct lift_ssh_end *end, const struct lift_error *err);
LIFT_NODISCARD struct lift_ssh_exec *lift_ssh_exec(struct lift_ssh *ssh,
                                                   const struct lift_ssh_request *request,
                                                   lift_ssh_fn *done, void *payload);
void lift_ssh_exec_free(struct lift_ssh_exec *exec); /* cancels; may be called from within `done` */
