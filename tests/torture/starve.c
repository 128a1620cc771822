/*
 * Every job of tests/spec/layer/spec/torture.lua, its n-th allocation in C failing: of the engine,
 * the bindings and the libraries below, not of Lua, which is torture.c's.  A process each, since
 * the engine ends the program when it cannot have a control record.  Whatever n: the job succeeds,
 * fails in words, or the process says that memory is out and aborts; nothing crashes, hangs, leaks
 * or ends otherwise.
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/timer.h"
#include "tests/torture/rig.h"
#include "tests/torture/scarce.h"

enum { LATE_S = 20, POINTS = 100, LEAKED = 3, WENT_WRONG = 4 };

/* What the processes tell one another. */
struct board {
    struct peer peer;
    long seen;
};

#ifdef LIFT_SANITIZED
int __lsan_do_recoverable_leak_check(void);
#else
static int __lsan_do_recoverable_leak_check(void)
{
    return 0;
}
#endif

/* ---- in processes of their own ---- */

static int run(struct board *board, const char *name, long after)
{
    struct rig rig;
    bool touched;
    alarm(LATE_S);
    rig_open(&rig);
    rig.peer = &board->peer;
    rig.peer_elsewhere = true;
    scarcity = (struct scarcity){.after = after, .exempt = &rig.fault.inside};
    bool good = rig_run(&rig, name, (struct memory_fault){0}, &touched);
    board->seen = scarcity.seen;
    scarcity.after = 0;
    rig_close(&rig);
    fflush(stdout);
    return !good ? WENT_WRONG : __lsan_do_recoverable_leak_check() ? LEAKED : 0;
}

static void on_settle(void *payload)
{
    struct peer *peer = payload;
    peer_settle(peer);
    lift_loop_stop(peer->loop);
}

static void serve(struct board *board)
{
    struct rig rig;
    rig_open(&rig);
    peer_open(&board->peer, rig.context.loop);
    board->seen = 1;
    for (;;) {
        struct lift_timer *timer = lift_timer_new(rig.context.loop, 200, on_settle, &board->peer);
        lift_loop_run(rig.context.loop);
        lift_timer_free(timer);
    }
}

/* ---- who starts and judges them ---- */

struct tally {
    int lived, ended, bad;
};

/* As lift_no_memory() does; or as lua-cjson does. */
static bool ended(int status)
{
    return WIFSIGNALED(status) ? WTERMSIG(status) == SIGABRT : WEXITSTATUS(status) == 255;
}

static bool says_so(FILE *words)
{
    char text[4096] = "";
    rewind(words);
    text[fread(text, 1, sizeof text - 1, words)] = '\0';
    return strstr(text, "ut of memory\n") != NULL;
}

static void show(FILE *words)
{
    char line[512];
    rewind(words);
    for (int i = 0; i < 60 && fgets(line, sizeof line, words); i++)
        printf("# %s", line);
}

static void starve(struct board *board, const char *name, long after, struct tally *tally)
{
    int status = 0;
    FILE *words = tmpfile();
    pid_t child = fork();
    if (!words || child < 0)
        abort();
    if (child == 0) {
        dup2(fileno(words), STDERR_FILENO);
        _exit(run(board, name, after));
    }
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        tally->lived++;
    } else if (ended(status) && says_so(words)) {
        tally->ended++;
    } else {
        printf("# %s, allocation %ld: status %x\n", name, after, status);
        show(words);
        tally->bad++;
    }
    fclose(words);
}

static bool starve_all(struct board *board, const char *name)
{
    struct tally tally = {0};
    starve(board, name, LONG_MAX, &tally);
    long seen = board->seen, step = seen / POINTS + 1;
    for (long after = 1; after <= seen; after += step)
        starve(board, name, after, &tally);
    printf("# %s: %ld allocations in C, each %ldth refused: lived on %d, said so and ended %d, "
           "else %d\n",
           name, seen, step, tally.lived, tally.ended, tally.bad);
    return tally.bad == 0;
}

static void warm_up(struct board *board, const char *name)
{
    if (run(board, name, LONG_MAX) != 0)
        abort();
    alarm(0);
}

int main(void)
{
    static const char *const JOBS[] = {"data", "tasks",   "http",    "isolate",
                                       "kube", "vsphere", "journal", "tls"};
    size_t count = sizeof JOBS / sizeof *JOBS;
    bool good = true;
    struct board *board =
        mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    pid_t server = fork();
    if (server == 0)
        serve(board);
    while (*(volatile long *)&board->seen == 0)
        usleep(1000);
    for (size_t i = 0; i < count; i++) /* what libraries keep for ever, each child finds made */
        warm_up(board, JOBS[i]);
    for (size_t i = 0; i < count; i++) {
        bool ok = starve_all(board, JOBS[i]);
        printf("%sok %zu - %s lives or ends in words when C has no memory\n", ok ? "" : "not ",
               i + 1, JOBS[i]);
        good = good && ok;
    }
    printf("1..%zu\n", count);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    peer_remove(&board->peer);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
