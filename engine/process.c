#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "signal.h"

struct stream {
    struct lift_process *process;
    struct event *event; /* NULL once at its end */
    struct lift_buf *kept;
    int fd;
    int number; /* as the child knows it: 1 or 2 */
};

struct lift_process {
    struct lift_loop *loop; /* borrowed */
    struct lift_signal *child_ended;
    struct stream streams[2];
    struct lift_process_end end;
    lift_process_output_fn *output;
    lift_process_fn *done;
    void *payload;
    pid_t pid;
    bool own_group;
    bool ended;  /* a zombie, so that its number stays ours to kill its group by */
    bool reaped; /* the number may be another's by now */
};

/* Both ends of what joins the child to us.  IN has no end of ours, being a file. */
enum { IN, OUT, ERR, REPORT, JOINTS };

struct plumbing {
    int theirs[JOINTS], ours[JOINTS];
};

/* What the child says, if it cannot become the program. */
struct report {
    int error;
    bool in_chdir;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_plumbing(struct plumbing *plumbing)
{
    for (int i = 0; i < JOINTS; i++) {
        close_fd(&plumbing->theirs[i]);
        close_fd(&plumbing->ours[i]);
    }
}

/* A file rather than a pipe: all of the input is known, so nobody has to be there to pump it. */
static int input_file(const struct lift_process_spec *spec)
{
    if (!spec->input)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("input", MFD_CLOEXEC);
    size_t done = 0;
    while (fd >= 0 && done < spec->input_length) {
        ssize_t wrote = write(fd, spec->input + done, spec->input_length - done);
        if (wrote < 0 && errno != EINTR)
            close_fd(&fd);
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

static bool open_plumbing(struct plumbing *plumbing, const struct lift_process_spec *spec)
{
    for (int i = 0; i < JOINTS; i++)
        plumbing->theirs[i] = plumbing->ours[i] = -1;
    plumbing->theirs[IN] = input_file(spec);
    bool opened = plumbing->theirs[IN] >= 0;
    for (int i = OUT; i < JOINTS && opened; i++) {
        int ends[2];
        opened = pipe2(ends, O_CLOEXEC) == 0;
        if (opened) {
            plumbing->ours[i] = ends[0];
            plumbing->theirs[i] = ends[1];
        }
    }
    return opened && fcntl(plumbing->ours[OUT], F_SETFL, O_NONBLOCK) == 0 &&
           fcntl(plumbing->ours[ERR], F_SETFL, O_NONBLOCK) == 0;
}

LIFT_NORETURN static void give_up(int report_fd, bool in_chdir)
{
    struct report report = {.error = errno, .in_chdir = in_chdir};
    ssize_t wrote = write(report_fd, &report, sizeof report);
    _exit(wrote == (ssize_t)sizeof report ? 127 : 126);
}

/* Between fork and exec: only what is safe after a signal. */
LIFT_NORETURN static void become(const struct lift_process_spec *spec, const int *fds)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* the loop's handlers, and SIGPIPE, which it ignores */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    if (spec->own_group)
        setsid();
    if (dup2(fds[IN], STDIN_FILENO) < 0 || dup2(fds[OUT], STDOUT_FILENO) < 0 ||
        dup2(fds[ERR], STDERR_FILENO) < 0)
        give_up(fds[REPORT], false);
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* what a library opened without the flag */
    if (spec->cwd && chdir(spec->cwd) < 0)
        give_up(fds[REPORT], true);
    /* exec takes char *const * for historical reasons, and changes nothing. */
    char *const *argv = (char *const *)(uintptr_t)spec->argv;
    char *const *env = spec->env ? (char *const *)(uintptr_t)spec->env : environ;
    execvpe(spec->argv[0], argv, env);
    give_up(fds[REPORT], false);
}

/* No handler of ours may run in the child, where it would write to the parent's loop. */
static pid_t fork_with_signals_blocked(const struct lift_process_spec *spec,
                                       const struct plumbing *plumbing)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        become(spec, plumbing->theirs);
    int why = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = why;
    return pid;
}

static void reap(struct lift_process *process)
{
    lift_loop__outside(process->loop, -1);
    while (waitpid(process->pid, &process->end.status, 0) < 0 && errno == EINTR)
        continue;
    process->reaped = true;
}

/* The report is at its end as soon as exec has happened, so this waits no longer than that. */
static bool became(int report_fd, const struct lift_process_spec *spec, struct lift_error *err)
{
    struct report report;
    ssize_t length;
    do
        length = read(report_fd, &report, sizeof report);
    while (length < 0 && errno == EINTR);
    if (length == 0)
        return true;
    if (length != (ssize_t)sizeof report)
        return lift_fail(err, LIFT_FAILED, "cannot start %s", spec->argv[0]);
    const char *reason = strerror(report.error);
    if (report.in_chdir)
        return lift_fail(err, LIFT_CONFIG, "cannot start %s in %s: %s", spec->argv[0], spec->cwd,
                         reason);
    enum lift_code code = report.error == ENOENT   ? LIFT_NOT_FOUND
                          : report.error == EACCES ? LIFT_DENIED
                                                   : LIFT_FAILED;
    lift_fail(err, code, "cannot start %s: %s", spec->argv[0], reason);
    return lift_hint(err, "is %s installed, executable, and in PATH?", spec->argv[0]);
}

/* May free the process. */
static void finish_if_over(struct lift_process *process)
{
    if (!process->ended || process->streams[0].event || process->streams[1].event)
        return;
    reap(process);
    lift_signal_free(process->child_ended);
    process->child_ended = NULL;
    process->done(process->payload, &process->end);
}

/* Asks about our own child alone: others may have theirs. */
static void on_child_ended(void *payload)
{
    struct lift_process *process = payload;
    siginfo_t info = {0};
    if (process->ended ||
        waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        info.si_pid != process->pid)
        return;
    process->ended = true;
    finish_if_over(process);
}

static void close_stream(struct stream *stream)
{
    if (!stream->event)
        return;
    event_free(stream->event);
    stream->event = NULL;
    close_fd(&stream->fd);
}

static void keep(struct stream *stream, const char *bytes, size_t length)
{
    size_t room = stream->kept->max - stream->kept->length;
    size_t fits = length < room ? length : room;
    if (!lift_buf_add(stream->kept, bytes, fits) || fits < length)
        stream->process->end.truncated = true;
}

static void on_readable(evutil_socket_t fd, short what, void *payload)
{
    (void)what;
    struct stream *stream = payload;
    struct lift_process *process = stream->process;
    char bytes[16 << 10];
    ssize_t length = read(fd, bytes, sizeof bytes);
    if (length < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (length <= 0) {
        close_stream(stream);
        finish_if_over(process);
        return;
    }
    keep(stream, bytes, (size_t)length);
    if (process->output) /* may free the process */
        process->output(process->payload, stream->number, bytes, (size_t)length);
}

static void open_stream(struct lift_process *process, int number, int *fd, struct lift_buf *kept,
                        size_t max)
{
    struct stream *stream = &process->streams[number - 1];
    kept->max = max ? max : LIFT_BUF_MAX;
    *stream = (struct stream){.process = process, .kept = kept, .fd = *fd, .number = number};
    *fd = -1;
    stream->event = event_new(lift_loop_base(process->loop), stream->fd, EV_READ | EV_PERSIST,
                              on_readable, stream);
    lift_loop__arm(stream->event, NULL);
}

static bool launch(struct lift_process *process, const struct lift_process_spec *spec,
                   struct plumbing *plumbing, struct lift_error *err)
{
    if (!open_plumbing(plumbing, spec))
        return lift_fail(err, LIFT_FAILED, "cannot start %s: %s", spec->argv[0], strerror(errno));
    process->pid = fork_with_signals_blocked(spec, plumbing);
    if (process->pid < 0)
        return lift_fail(err, LIFT_BUSY, "cannot start %s: %s", spec->argv[0], strerror(errno));
    lift_loop__outside(process->loop, 1);
    for (int i = 0; i < JOINTS; i++)
        close_fd(&plumbing->theirs[i]);
    if (!became(plumbing->ours[REPORT], spec, err)) {
        reap(process);
        return false;
    }
    open_stream(process, 1, &plumbing->ours[OUT], &process->end.out, spec->max_output);
    open_stream(process, 2, &plumbing->ours[ERR], &process->end.err, spec->max_output);
    return true;
}

struct lift_process *lift_process_start(struct lift_loop *loop,
                                        const struct lift_process_spec *spec,
                                        lift_process_output_fn *output, lift_process_fn *done,
                                        void *payload, struct lift_error *err)
{
    struct lift_process *process = lift_calloc(1, sizeof *process);
    *process = (struct lift_process){.loop = loop,
                                     .output = output,
                                     .done = done,
                                     .payload = payload,
                                     .own_group = spec->own_group};
    lift_loop_hold(loop, 1);
    /* Before there is a child, whose end could otherwise be missed. */
    process->child_ended = lift_signal_new(loop, SIGCHLD, on_child_ended, process);
    struct plumbing plumbing;
    bool launched = launch(process, spec, &plumbing, err);
    close_plumbing(&plumbing);
    if (launched)
        return process;
    process->reaped = true; /* or never born */
    lift_process_free(process);
    return NULL;
}

int lift_process_pid(const struct lift_process *process)
{
    return process->pid;
}

void lift_process_kill(struct lift_process *process, int signal)
{
    if (!process->reaped)
        kill(process->own_group ? -process->pid : process->pid, signal);
}

/* Waits for the child, but only after a SIGKILL: it has nothing left to do but to go. */
void lift_process_free(struct lift_process *process)
{
    if (!process)
        return;
    if (!process->reaped) {
        lift_process_kill(process, SIGKILL);
        reap(process);
    }
    close_stream(&process->streams[0]);
    close_stream(&process->streams[1]);
    lift_signal_free(process->child_ended);
    lift_buf_free(&process->end.out);
    lift_buf_free(&process->end.err);
    lift_loop_hold(process->loop, -1);
    lift_free(process);
}
