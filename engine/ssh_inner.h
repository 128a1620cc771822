/* What ssh.c (the connection), ssh_trust.c (keys) and ssh_exec.c (commands) share; nobody else
 * includes it. */
#pragma once

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h> /* ssh_send_keepalive, which is not the server's alone */

#include "resolve.h"
#include "ssh.h"
#include "timer.h"

enum ssh_stage { SSH_IDLE, SSH_NAMING, SSH_JOINING, SSH_SHAKING, SSH_PROVING, SSH_READY };

struct lift_ssh {
    unsigned refs;
    struct lift_loop *loop;
    char *host, *user, *known_hosts;
    char *literal; /* the host when that needs no name server, as lift_resolve_fn has it */
    uint16_t port;
    char **fingerprints;
    uint32_t connect_ms, keepalive_ms;
    ssh_key key;
    char *public_key;

    enum ssh_stage stage;
    struct lift_resolver *resolver;
    struct lift_resolve *resolve;
    char *addresses;             /* as lift_resolve_fn has them */
    const char *next;            /* address to try, within addresses */
    int fd;                      /* while joining; then the session's */
    struct event *joined;        /* while joining */
    struct lift_timer *deadline; /* of connecting */
    struct lift_timer *moved_on; /* from an address that is silent to the next one */
    struct lift_error joining;   /* what became of the last address */

    ssh_session session;
    ssh_event poll; /* libssh's own look at the socket, when no command waits for anything */
    struct event *readable, *writable;
    struct lift_timer *beat;
    struct ssh_counter_struct traffic;
    uint64_t heard_bytes;
    unsigned silences; /* beats since the last byte */

    enum lift_ssh_refusal refusal;
    char fingerprint[64];
    struct lift_ssh_exec *execs; /* those not over, first come first */
};

enum ssh_phase { EXEC_WAITING, EXEC_OPENING, EXEC_ASKING, EXEC_RUNNING, EXEC_OVER };

struct lift_ssh_exec {
    struct lift_ssh *ssh; /* a count of its own */
    struct lift_ssh_exec *prev, *next;
    enum ssh_phase phase;
    bool effect;
    unsigned lost; /* how many connections, before it was sent */
    char *command;
    uint32_t timeout_ms;
    struct lift_buf input;
    size_t written;
    bool input_ended;
    ssh_channel channel;
    struct ssh_channel_callbacks_struct callbacks;
    struct lift_timer *timer; /* the deadline, then the delivery */
    struct lift_ssh_end end;
    struct lift_error err; /* code LIFT_OK: it ended */
    lift_ssh_fn *done;
    void *payload;
};

/* ssh.c */
void lift_ssh__wanted(struct lift_ssh *ssh); /* a command waits: connect if need be, go on */

/* ssh_trust.c */
LIFT_NODISCARD bool lift_ssh__read_key(struct lift_ssh *ssh, const struct lift_secret *key,
                                       struct lift_error *err);
LIFT_NODISCARD bool lift_ssh__trusts(struct lift_ssh *ssh, struct lift_error *err);

/* ssh_exec.c: whether anything was achieved; a broken connection is left to the caller to see. */
LIFT_NODISCARD bool lift_ssh__advance(struct lift_ssh_exec *exec);
/* The connection is over, `ready` when there was one.  Commands that were not sent wait on for the
 * next one, unless they have done so before. */
void lift_ssh__lost(struct lift_ssh *ssh, bool ready, const struct lift_error *err);
