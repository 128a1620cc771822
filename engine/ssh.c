#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <event2/event.h>

#include "ssh_inner.h"

#define PORT 22
#define CONNECT_MS 30000
#define KEEPALIVE_MS 15000
#define SILENCES_MAX 3
#define JOIN_SHARE 4 /* of the time to connect, for each address but the last */

/* Of the host and of ours; nothing that needs SHA-1. */
#define KEY_KINDS                                                                                  \
    "ssh-ed25519,ecdsa-sha2-nistp521,ecdsa-sha2-nistp384,ecdsa-sha2-nistp256,"                     \
    "rsa-sha2-512,rsa-sha2-256"

static void pump(struct lift_ssh *ssh);

/* ---- the end of a connection ---- */

static void drop_event(struct event **event)
{
    if (*event)
        event_free(*event);
    *event = NULL;
}

static void drop_timer(struct lift_timer **timer)
{
    lift_timer_free(*timer);
    *timer = NULL;
}

static void drop_attempt(struct lift_ssh *ssh)
{
    drop_event(&ssh->joined);
    drop_timer(&ssh->moved_on);
    if (ssh->fd >= 0)
        close(ssh->fd);
    ssh->fd = -1;
}

static void drop_session(struct lift_ssh *ssh)
{
    drop_event(&ssh->readable);
    drop_event(&ssh->writable);
    drop_timer(&ssh->beat);
    if (ssh->poll)
        ssh_event_free(ssh->poll);
    ssh->poll = NULL;
    if (ssh->session) {
        ssh_disconnect(ssh->session);
        ssh_free(ssh->session);
    }
    ssh->session = NULL;
}

static void hang_up(struct lift_ssh *ssh)
{
    lift_resolve_free(ssh->resolve);
    ssh->resolve = NULL;
    drop_timer(&ssh->deadline);
    drop_attempt(ssh);
    drop_session(ssh);
    lift_free(ssh->addresses);
    ssh->addresses = NULL;
    ssh->stage = SSH_IDLE;
}

/* For the commands, and for those among them that may have another connection. */
static void give_up(struct lift_ssh *ssh, const struct lift_error *err)
{
    bool ready = ssh->stage == SSH_READY;
    lift_ssh__lost(ssh, ready, err);
    hang_up(ssh);
    if (ssh->execs)
        lift_ssh__wanted(ssh);
}

/* libssh tells only in words what went wrong. */
static void fail_session(struct lift_ssh *ssh)
{
    struct lift_error err = {0};
    bool lost = !ssh_is_connected(ssh->session);
    const char *text = ssh_get_error(ssh->session);
    lift_fail(&err, lost ? LIFT_UNREACHABLE : LIFT_PROTOCOL, "SSH to %s: %s", ssh->host,
              text[0] ? text : "the connection was lost");
    give_up(ssh, &err);
}

/* ---- logging in ---- */

/* Counted in bytes that came: libssh reads the socket in calls of its own, too. */
static void on_beat(void *payload)
{
    struct lift_ssh *ssh = payload;
    drop_timer(&ssh->beat);
    ssh->silences = ssh->traffic.in_bytes == ssh->heard_bytes ? ssh->silences + 1 : 0;
    ssh->heard_bytes = ssh->traffic.in_bytes;
    if (ssh->silences > SILENCES_MAX) {
        struct lift_error err = {0};
        lift_fail(&err, LIFT_UNREACHABLE, "SSH to %s: silent for %.1f s", ssh->host,
                  ssh->silences * ssh->keepalive_ms / 1000.0);
        give_up(ssh, &err);
        return;
    }
    ssh->beat = lift_timer_new(ssh->loop, ssh->keepalive_ms, on_beat, ssh);
    if (ssh->silences > 0) { /* the first takes the last one's answer, if there is */
        ssh_send_keepalive(ssh->session);
        ssh_send_keepalive(ssh->session);
    }
    pump(ssh);
}

static void welcome(struct lift_ssh *ssh)
{
    ssh->poll = lift_demand(ssh_event_new());
    if (ssh_event_add_session(ssh->poll, ssh->session) != SSH_OK)
        lift_no_memory();
    drop_timer(&ssh->deadline);
    ssh->beat = lift_timer_new(ssh->loop, ssh->keepalive_ms, on_beat, ssh);
    ssh->silences = 0;
    ssh->stage = SSH_READY;
}

static void refuse_key(struct lift_ssh *ssh)
{
    struct lift_error err = {0};
    ssh->refusal = LIFT_SSH_KEY_REFUSED;
    lift_fail(&err, LIFT_DENIED, "%s does not let %s in with this SSH key", ssh->host, ssh->user);
    give_up(ssh, &err);
}

static void prove(struct lift_ssh *ssh)
{
    switch (ssh_userauth_publickey(ssh->session, NULL, ssh->key)) {
    case SSH_AUTH_AGAIN:
        return;
    case SSH_AUTH_SUCCESS:
        welcome(ssh);
        return;
    case SSH_AUTH_DENIED:
    case SSH_AUTH_PARTIAL:
        refuse_key(ssh);
        return;
    default:
        fail_session(ssh);
    }
}

static void shake(struct lift_ssh *ssh)
{
    struct lift_error err = {0};
    int got = ssh_connect(ssh->session);
    if (got == SSH_AGAIN)
        return;
    if (got != SSH_OK) {
        fail_session(ssh);
    } else if (!lift_ssh__trusts(ssh, &err)) {
        give_up(ssh, &err);
    } else {
        ssh->stage = SSH_PROVING;
        prove(ssh);
    }
}

/* ---- an established connection ---- */

static void serve(struct lift_ssh *ssh)
{
    bool moved = true;
    while (moved && ssh_is_connected(ssh->session)) {
        moved = false;
        if (ssh_event_dopoll(ssh->poll, 0) == SSH_ERROR)
            break;
        for (struct lift_ssh_exec *exec = ssh->execs, *next; exec; exec = next) {
            next = exec->next;
            moved = lift_ssh__advance(exec) || moved;
        }
    }
    if (!ssh_is_connected(ssh->session))
        fail_session(ssh);
}

static void pump(struct lift_ssh *ssh)
{
    if (ssh->stage == SSH_SHAKING)
        shake(ssh);
    else if (ssh->stage == SSH_PROVING)
        prove(ssh);
    if (ssh->stage == SSH_READY)
        serve(ssh);
    if (ssh->session && ssh_get_poll_flags(ssh->session) & SSH_WRITE_PENDING)
        lift_loop__arm(ssh->writable, NULL);
}

static void on_socket(evutil_socket_t fd, short what, void *payload)
{
    (void)fd, (void)what;
    pump(payload);
}

/* ---- connecting ---- */

static void set(struct lift_ssh *ssh, enum ssh_options_e option, const void *value, bool *good)
{
    *good = ssh_options_set(ssh->session, option, value) == SSH_OK && *good;
}

/* The session owns the socket from its first act on.  Nothing of the user's own set-up counts: no
 * configuration, no agent, no folder. */
static bool open_session(struct lift_ssh *ssh, struct lift_error *err)
{
    const unsigned port = ssh->port;
    const bool no = false;
    bool good = true;
    ssh->session = lift_demand(ssh_new());
    set(ssh, SSH_OPTIONS_PROCESS_CONFIG, &no, &good);
    set(ssh, SSH_OPTIONS_SSH_DIR, "/nonexistent", &good);
    set(ssh, SSH_OPTIONS_HOST, ssh->host, &good);
    set(ssh, SSH_OPTIONS_PORT, &port, &good);
    set(ssh, SSH_OPTIONS_USER, ssh->user, &good);
    set(ssh, SSH_OPTIONS_HOSTKEYS, KEY_KINDS, &good);
    set(ssh, SSH_OPTIONS_PUBLICKEY_ACCEPTED_TYPES, KEY_KINDS, &good);
    set(ssh, SSH_OPTIONS_KNOWNHOSTS, ssh->known_hosts ? ssh->known_hosts : "/dev/null", &good);
    set(ssh, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null", &good);
    set(ssh, SSH_OPTIONS_FD, &ssh->fd, &good);
    if (!good)
        return lift_fail(err, LIFT_CONFIG, "SSH to %s: %s", ssh->host, ssh_get_error(ssh->session));
    ssh_set_blocking(ssh->session, 0);
    ssh_set_counters(ssh->session, &ssh->traffic, NULL);
    return true;
}

static void begin_session(struct lift_ssh *ssh)
{
    struct lift_error err = {0};
    struct event_base *base = lift_loop_base(ssh->loop);
    drop_event(&ssh->joined);
    drop_timer(&ssh->moved_on);
    if (!open_session(ssh, &err)) {
        give_up(ssh, &err);
        return;
    }
    ssh->readable = event_new(base, ssh->fd, EV_READ | EV_PERSIST, on_socket, ssh);
    ssh->writable = event_new(base, ssh->fd, EV_WRITE, on_socket, ssh);
    lift_loop__arm(ssh->readable, NULL);
    if (!ssh->writable)
        lift_no_memory();
    ssh->fd = -1;
    ssh->stage = SSH_SHAKING;
    pump(ssh);
}

static void try_next(struct lift_ssh *ssh);

static void on_joined(evutil_socket_t fd, short what, void *payload)
{
    (void)what;
    struct lift_ssh *ssh = payload;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error == 0) {
        begin_session(ssh);
        return;
    }
    lift_fail(&ssh->joining, LIFT_UNREACHABLE, "SSH to %s, port %u: %s", ssh->host, ssh->port,
              strerror(error));
    if (error == ECONNREFUSED)
        lift_hint(&ssh->joining, "start the SSH service of the host, and check the port");
    try_next(ssh);
}

static void on_silent(void *payload)
{
    try_next(payload);
}

static bool join(struct lift_ssh *ssh, const char *address, size_t length)
{
    char text[96];
    struct sockaddr_storage to;
    int size = sizeof to, yes = 1;
    snprintf(text, sizeof text, "%.*s:%u", (int)length, address, ssh->port);
    if (evutil_parse_sockaddr_port(text, (struct sockaddr *)&to, &size) != 0)
        return lift_fail(&ssh->joining, LIFT_CONFIG, "'%s' is no address", text);
    ssh->fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (ssh->fd >= 0)
        setsockopt(ssh->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (ssh->fd < 0 ||
        (connect(ssh->fd, (struct sockaddr *)&to, (socklen_t)size) < 0 && errno != EINPROGRESS))
        return lift_fail(&ssh->joining, LIFT_UNREACHABLE, "SSH to %s: %s", text, strerror(errno));
    ssh->joined = event_new(lift_loop_base(ssh->loop), ssh->fd, EV_WRITE, on_joined, ssh);
    lift_loop__arm(ssh->joined, NULL);
    return true;
}

static void try_next(struct lift_ssh *ssh)
{
    drop_attempt(ssh);
    while (*ssh->next) {
        const char *address = ssh->next;
        size_t length = strcspn(address, ",");
        ssh->next += length + (address[length] == ',');
        if (join(ssh, address, length)) {
            if (*ssh->next)
                ssh->moved_on =
                    lift_timer_new(ssh->loop, ssh->connect_ms / JOIN_SHARE, on_silent, ssh);
            return;
        }
        drop_attempt(ssh);
    }
    struct lift_error err = ssh->joining;
    give_up(ssh, &err);
}

static void on_addresses(void *payload, const char *addresses, const struct lift_error *err)
{
    struct lift_ssh *ssh = payload;
    lift_resolve_free(ssh->resolve);
    ssh->resolve = NULL;
    if (!addresses) {
        give_up(ssh, err);
        return;
    }
    ssh->addresses = lift_strdup(addresses);
    ssh->next = ssh->addresses;
    ssh->stage = SSH_JOINING;
    try_next(ssh);
}

static void on_late(void *payload)
{
    struct lift_ssh *ssh = payload;
    struct lift_error err = {0};
    bool there = ssh->session != NULL;
    lift_fail(&err, there ? LIFT_TIMEOUT : LIFT_UNREACHABLE, "SSH to %s: no %s in %.1f s",
              ssh->host, there ? "log-in" : "connection", ssh->connect_ms / 1000.0);
    lift_hint(&err, there ? "the host takes connections: check its SSH service, and its load"
                          : "check the address, the route and the firewalls between");
    give_up(ssh, &err);
}

static void connect_to(struct lift_ssh *ssh)
{
    ssh->refusal = LIFT_SSH_NO_REFUSAL;
    ssh->stage = SSH_NAMING;
    ssh->deadline = lift_timer_new(ssh->loop, ssh->connect_ms, on_late, ssh);
    if (ssh->literal)
        on_addresses(ssh, ssh->literal, NULL);
    else
        ssh->resolve =
            lift_resolve_start(ssh->resolver, ssh->host, ssh->connect_ms, on_addresses, ssh);
}

void lift_ssh__wanted(struct lift_ssh *ssh)
{
    if (ssh->stage == SSH_IDLE && ssh->execs)
        connect_to(ssh);
    else if (ssh->stage == SSH_READY)
        pump(ssh);
}

/* ---- life ---- */

/* What needs no name server, as lift_resolve_fn would have it. */
static char *literal_of(const char *host)
{
    struct in6_addr v6;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return lift_asprintf("[%s]", host);
    if (!lift_resolve_literal(host))
        return NULL;
    return lift_strdup(strchr("[0123456789", host[0]) ? host : "127.0.0.1,[::1]");
}

static char **copy_list(const char *const *list)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    char **copy = lift_calloc(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = lift_strdup(list[i]);
    return copy;
}

struct lift_ssh *lift_ssh_new(struct lift_loop *loop, const struct lift_ssh_spec *spec,
                              struct lift_error *err)
{
    struct lift_ssh *ssh = lift_calloc(1, sizeof *ssh);
    bool bracketed = spec->host[0] == '[';
    ssh->refs = 1;
    ssh->loop = loop;
    ssh->fd = -1;
    ssh->host = lift_strndup(spec->host + bracketed, strcspn(spec->host + bracketed, "]"));
    ssh->literal = literal_of(spec->host);
    ssh->user = lift_strdup(spec->user ? spec->user : "root");
    ssh->known_hosts = lift_strdup(spec->known_hosts);
    ssh->fingerprints = copy_list(spec->fingerprints);
    ssh->port = spec->port ? spec->port : PORT;
    ssh->connect_ms = spec->connect_ms ? spec->connect_ms : CONNECT_MS;
    ssh->keepalive_ms = spec->keepalive_ms ? spec->keepalive_ms : KEEPALIVE_MS;
    ssh->resolver = lift_resolver_new(loop);
    lift_loop_hold(loop, 1);
    if (lift_ssh__read_key(ssh, spec->key, err))
        return ssh;
    lift_ssh_free(ssh);
    return NULL;
}

struct lift_ssh *lift_ssh_ref(struct lift_ssh *ssh)
{
    ssh->refs++;
    return ssh;
}

void lift_ssh_free(struct lift_ssh *ssh)
{
    if (!ssh || --ssh->refs > 0)
        return;
    hang_up(ssh);
    lift_resolver_free(ssh->resolver);
    ssh_key_free(ssh->key);
    for (char **one = ssh->fingerprints; *one; one++)
        lift_free(*one);
    lift_free(ssh->fingerprints);
    lift_free(ssh->public_key);
    lift_free(ssh->known_hosts);
    lift_free(ssh->user);
    lift_free(ssh->literal);
    lift_free(ssh->host);
    lift_loop_hold(ssh->loop, -1);
    lift_free(ssh);
}

const char *lift_ssh_public_key(const struct lift_ssh *ssh)
{
    return ssh->public_key;
}

enum lift_ssh_refusal lift_ssh_refusal(const struct lift_ssh *ssh)
{
    return ssh->refusal;
}

const char *lift_ssh_fingerprint(const struct lift_ssh *ssh)
{
    return ssh->fingerprint;
}
