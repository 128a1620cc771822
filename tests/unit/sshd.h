/* A real sshd on loopback with keys of its own, for one test program. */
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct sshd {
    char folder[64];
    char user[64];
    char fingerprint[64]; /* of its host key */
    uint16_t port;
    pid_t pid; /* 0: it does not run */
};

static inline void sh(const char *fmt, ...) LIFT_PRINTF(1, 2);
static inline void sh(const char *fmt, ...)
{
    char line[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    assert_int_equal(system(line), 0); // NOLINT(cert-env33-c): a test's own words
}

/* The first `size` bytes of a file below the folder. */
static inline char *sshd_file(const struct sshd *sshd, const char *name, char *out, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", sshd->folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    fclose(file);
    return out;
}

static inline bool sshd_answers(const struct sshd *sshd)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(sshd->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool up = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    close(fd);
    return up;
}

/* `options` are further lines of its configuration. */
static inline void sshd_start(struct sshd *sshd, const char *options)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config", sshd->folder);
    FILE *config = fopen(path, "w");
    assert_non_null(config);
    fprintf(config,
            "ListenAddress 127.0.0.1\nPort %u\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\n"
            "SetEnv HOME=/nonexistent\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin "
            "yes\nLogLevel VERBOSE\n%s\n",
            sshd->port, sshd->folder, sshd->folder, options);
    fclose(config);
    char log[128];
    snprintf(log, sizeof log, "%s/log", sshd->folder);
    sshd->pid = fork();
    if (sshd->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that aborts stops nothing */
        dup2(open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execl("/usr/sbin/sshd", "/usr/sbin/sshd", "-D", "-e", "-f", path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && !sshd_answers(sshd); i++)
        usleep(10000);
    assert_true(sshd_answers(sshd));
}

static inline void sshd_stop(struct sshd *sshd)
{
    if (sshd->pid > 0) {
        kill(sshd->pid, SIGTERM);
        waitpid(sshd->pid, NULL, 0);
    }
    sshd->pid = 0;
}

static inline uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* Keys: `host` and `other` of hosts, `rsa` (PEM, as forklift makes them), `ed`, `locked` and
 * `stranger` of users; `authorized` has the first two. */
static inline void sshd_make(struct sshd *sshd)
{
    *sshd = (struct sshd){.port = free_port()};
    snprintf(sshd->folder, sizeof sshd->folder, "/tmp/lunalift-ssh-XXXXXX");
    assert_non_null(mkdtemp(sshd->folder));
    snprintf(sshd->user, sizeof sshd->user, "%s", getpwuid(getuid())->pw_name);
    if (getuid() == 0)
        sh("mkdir -p /run/sshd"); /* as its unit does; it wants the folder, not what is in it */
    sh("cd %s && for key in host other ed stranger; do ssh-keygen -q -t ed25519 -N '' -f $key; "
       "done "
       "&& ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -f rsa "
       "&& ssh-keygen -q -t rsa -b 1024 -N '' -f short && ssh-keygen -q -t dsa -N '' -f dsa "
       "&& cp ed locked && ssh-keygen -q -p -N secret -f locked >/dev/null "
       "&& cat rsa.pub ed.pub > authorized "
       "&& ssh-keygen -lf host.pub | cut -d ' ' -f 2 | tr -d '\\n' > print",
       sshd->folder);
    sshd_file(sshd, "print", sshd->fingerprint, sizeof sshd->fingerprint);
}

static inline void sshd_remove(struct sshd *sshd)
{
    sshd_stop(sshd);
    sh("rm -rf %s", sshd->folder);
}
