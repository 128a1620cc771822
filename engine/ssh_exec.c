#include <stdio.h>
#include <string.h>

#include "ssh_inner.h"

#define TIMEOUT_MS 60000
#define MAX_OUTPUT ((size_t)1 << 20)
/* sshd's limit, MaxSessions, is 10 unless configured, and it may see all of ours close and as many
 * others open before it counts. */
#define CHANNELS_MAX 5
#define LOSSES_MAX 2

/* ---- ends ---- */

static void unlink_exec(struct lift_ssh_exec *exec)
{
    if (exec->phase == EXEC_OVER)
        return;
    struct lift_ssh *ssh = exec->ssh;
    if (exec->prev)
        exec->prev->next = exec->next;
    else
        ssh->execs = exec->next;
    if (exec->next)
        exec->next->prev = exec->prev;
    exec->phase = EXEC_OVER;
    lift_loop__outside(ssh->loop, -1);
}

static void drop_channel(struct lift_ssh_exec *exec)
{
    if (!exec->channel)
        return;
    ssh_remove_channel_callbacks(exec->channel, &exec->callbacks);
    ssh_channel_free(exec->channel);
    exec->channel = NULL;
}

static void deliver(void *payload)
{
    struct lift_ssh_exec *exec = payload;
    if (exec->err.code != LIFT_OK)
        exec->done(exec->payload, NULL, &exec->err);
    else
        exec->done(exec->payload, &exec->end, NULL);
}

/* Later, since `done` may free any command, and the connection. */
static void finish(struct lift_ssh_exec *exec)
{
    unlink_exec(exec);
    drop_channel(exec);
    lift_timer_free(exec->timer);
    exec->timer = lift_timer_new(exec->ssh->loop, 0, deliver, exec);
}

static bool was_sent(const struct lift_ssh_exec *exec)
{
    return exec->phase == EXEC_ASKING || exec->phase == EXEC_RUNNING;
}

static void on_deadline(void *payload)
{
    struct lift_ssh_exec *exec = payload;
    lift_fail(&exec->err, LIFT_TIMEOUT, "%s: no end of the command in %.1f s", exec->ssh->host,
              exec->timeout_ms / 1000.0);
    exec->err.unanswered = exec->effect && was_sent(exec);
    finish(exec);
    lift_ssh__wanted(exec->ssh); /* its channel is free for another */
}

void lift_ssh__lost(struct lift_ssh *ssh, bool ready, const struct lift_error *err)
{
    for (struct lift_ssh_exec *exec = ssh->execs, *next; exec; exec = next) {
        next = exec->next;
        bool sent = was_sent(exec);
        drop_channel(exec);
        if (ready && !sent && exec->lost++ < LOSSES_MAX) {
            exec->phase = EXEC_WAITING;
            continue;
        }
        exec->err = *err;
        exec->err.unanswered = exec->effect && sent;
        finish(exec);
    }
}

/* ---- a channel, from its opening to its close ---- */

static void on_status(ssh_session session, ssh_channel channel, int status, void *payload)
{
    (void)session, (void)channel;
    struct lift_ssh_exec *exec = payload;
    exec->end.status = status;
}

static void on_signal(ssh_session session, ssh_channel channel, const char *signal, int core,
                      const char *text, const char *language, void *payload)
{
    (void)session, (void)channel, (void)core, (void)text, (void)language;
    struct lift_ssh_exec *exec = payload;
    snprintf(exec->end.signal, sizeof exec->end.signal, "%s", signal);
}

/* Refused while the connection lives: nothing was done. */
static bool refuse(struct lift_ssh_exec *exec, const char *what)
{
    if (!ssh_is_connected(exec->ssh->session))
        return false; /* lost, which the connection's part sees */
    lift_fail(&exec->err, LIFT_BUSY, "%s %s: %s", exec->ssh->host, what,
              ssh_get_error(exec->ssh->session));
    exec->err.refused = true;
    finish(exec);
    return true;
}

static unsigned channels_of(const struct lift_ssh *ssh)
{
    unsigned count = 0;
    for (const struct lift_ssh_exec *exec = ssh->execs; exec; exec = exec->next)
        count += exec->channel != NULL;
    return count;
}

static bool begin(struct lift_ssh_exec *exec)
{
    if (channels_of(exec->ssh) >= CHANNELS_MAX)
        return false;
    exec->channel = lift_demand(ssh_channel_new(exec->ssh->session));
    exec->callbacks =
        (struct ssh_channel_callbacks_struct){.userdata = exec,
                                              .channel_exit_status_function = on_status,
                                              .channel_exit_signal_function = on_signal};
    ssh_callbacks_init(&exec->callbacks);
    ssh_set_channel_callbacks(exec->channel, &exec->callbacks);
    exec->phase = EXEC_OPENING;
    return true;
}

static bool open_channel(struct lift_ssh_exec *exec)
{
    int got = ssh_channel_open_session(exec->channel);
    if (got == SSH_AGAIN)
        return false;
    if (got != SSH_OK)
        return refuse(exec, "opens no channel");
    exec->phase = EXEC_ASKING;
    return true;
}

static bool ask(struct lift_ssh_exec *exec)
{
    int got = ssh_channel_request_exec(exec->channel, exec->command);
    if (got == SSH_AGAIN)
        return false;
    if (got != SSH_OK)
        return refuse(exec, "runs no commands");
    exec->phase = EXEC_RUNNING;
    return true;
}

static bool feed(struct lift_ssh_exec *exec)
{
    size_t left = exec->input.length - exec->written;
    if (exec->input_ended)
        return false;
    if (left > 0) {
        uint32_t length = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
        int wrote = ssh_channel_write(exec->channel, exec->input.data + exec->written, length);
        if (wrote > 0)
            exec->written += (size_t)wrote;
        return wrote > 0;
    }
    exec->input_ended = true; /* asked for once, whatever becomes of it */
    ssh_channel_send_eof(exec->channel);
    return true;
}

static bool drain(struct lift_ssh_exec *exec, bool is_err)
{
    char bytes[16 << 10];
    struct lift_buf *kept = is_err ? &exec->end.err : &exec->end.out;
    int got = ssh_channel_read_nonblocking(exec->channel, bytes, sizeof bytes, is_err);
    if (got <= 0)
        return false;
    size_t room = kept->max - kept->length, length = (size_t)got;
    if (!lift_buf_add(kept, bytes, length < room ? length : room) || length > room)
        exec->end.truncated = true;
    return true;
}

static bool run(struct lift_ssh_exec *exec)
{
    bool moved = feed(exec);
    moved = drain(exec, false) || moved;
    moved = drain(exec, true) || moved;
    if (moved || !ssh_channel_is_closed(exec->channel) || !ssh_is_connected(exec->ssh->session))
        return moved;
    finish(exec);
    return true;
}

bool lift_ssh__advance(struct lift_ssh_exec *exec)
{
    switch (exec->phase) {
    case EXEC_WAITING:
        return begin(exec);
    case EXEC_OPENING:
        return open_channel(exec);
    case EXEC_ASKING:
        return ask(exec);
    case EXEC_RUNNING:
        return run(exec);
    default:
        return false;
    }
}

/* ---- the command ---- */

static void append(struct lift_ssh *ssh, struct lift_ssh_exec *exec)
{
    struct lift_ssh_exec *last = ssh->execs;
    while (last && last->next)
        last = last->next;
    exec->prev = last;
    if (last)
        last->next = exec;
    else
        ssh->execs = exec;
    lift_loop__outside(ssh->loop, 1);
}

struct lift_ssh_exec *lift_ssh_exec(struct lift_ssh *ssh, const struct lift_ssh_request *request,
                                    lift_ssh_fn *done, void *payload)
{
    struct lift_ssh_exec *exec = lift_calloc(1, sizeof *exec);
    exec->ssh = lift_ssh_ref(ssh);
    exec->effect = request->effect;
    exec->command = lift_strdup(request->command);
    exec->timeout_ms = request->timeout_ms ? request->timeout_ms : TIMEOUT_MS;
    exec->done = done;
    exec->payload = payload;
    exec->end.status = -1;
    exec->end.out.max = exec->end.err.max = request->max_output ? request->max_output : MAX_OUTPUT;
    exec->timer = lift_timer_new(ssh->loop, exec->timeout_ms, on_deadline, exec);
    lift_loop_hold(ssh->loop, 1);
    append(ssh, exec);
    exec->input.max = request->input_length + 1;
    if (request->input && !lift_buf_add(&exec->input, request->input, request->input_length))
        lift_no_memory();
    lift_ssh__wanted(ssh);
    return exec;
}

void lift_ssh_exec_free(struct lift_ssh_exec *exec)
{
    if (!exec)
        return;
    struct lift_ssh *ssh = exec->ssh;
    bool was_running = exec->channel != NULL;
    unlink_exec(exec);
    drop_channel(exec);
    lift_timer_free(exec->timer);
    lift_buf_wipe(&exec->input);
    lift_buf_free(&exec->end.out);
    lift_buf_free(&exec->end.err);
    lift_free(exec->command);
    lift_free(exec);
    lift_loop_hold(ssh->loop, -1);
    if (was_running)
        lift_ssh__wanted(ssh); /* tells the host, and lets another begin */
    lift_ssh_free(ssh);
}
