/* The program: finds its scripts, chooses the kind of state, hands the arguments to
 * scripts/cli/main.lua. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bindings/runtime.h"
#include "engine/watchdog.h"

#ifndef LUNALIFT_SCRIPTS_DIR
#define LUNALIFT_SCRIPTS_DIR "/usr/share/lunalift/scripts"
#endif
#ifndef LUNALIFT_SCRIPTS_FROM_BIN
#define LUNALIFT_SCRIPTS_FROM_BIN "../share/lunalift/scripts"
#endif
#define OVERLAY_DIR "/etc/lunalift/scripts"

#define WATCHDOG_S 60

enum { EXIT_CONFIG = 2 };

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* A build tree has its scripts beside it; an installed tree may have been moved as a whole. */
static const char *const NEAR_PROGRAM[] = {"../scripts", LUNALIFT_SCRIPTS_FROM_BIN};

static const char *built_in_scripts(char *path, size_t size)
{
    char self[PATH_MAX], near[2 * PATH_MAX], resolved[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash == NULL)
        return LUNALIFT_SCRIPTS_DIR;
    *slash = '\0';
    for (size_t i = 0; i < sizeof NEAR_PROGRAM / sizeof *NEAR_PROGRAM; i++) {
        snprintf(near, sizeof near, "%s/%s", self, NEAR_PROGRAM[i]);
        if (is_folder(near) && realpath(near, resolved) != NULL) {
            snprintf(path, size, "%s", resolved);
            return path;
        }
    }
    return LUNALIFT_SCRIPTS_DIR;
}

/* The value of the last --NAME VALUE or --NAME=VALUE, one dash or two, before a --; NULL if absent.
 */
static const char *argument(int argc, char **argv, const char *name)
{
    size_t length = strlen(name);
    const char *value = NULL;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];
        if (word[0] != '-')
            continue;
        word += word[1] == '-' ? 2 : 1;
        if (strncmp(word, name, length) != 0)
            continue;
        if (word[length] == '=')
            value = word + length + 1;
        else if (word[length] == '\0')
            value = i + 1 < argc ? argv[++i] : "";
    }
    return value;
}

/* -v, -vv, or klog's -v=N and -v N with N above 0; one dash or two. */
static bool is_verbose(int argc, char **argv)
{
    const char *level = argument(argc, argv, "v");
    if (level != NULL)
        return atoi(level) > 0 || level[strspn(level, "0123456789")] != '\0' || *level == '\0';
    return argument(argc, argv, "vv") != NULL;
}

/* false when a folder that the user named does not exist. */
static bool find_layers(int argc, char **argv, const char *built_in, const char **layers)
{
    const char *named[] = {getenv("LUNALIFT_SCRIPTS"), argument(argc, argv, "scripts")};
    *layers++ = built_in;
    if (is_folder(OVERLAY_DIR))
        *layers++ = OVERLAY_DIR;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        if (named[i] == NULL || (i == 0 && named[i][0] == '\0'))
            continue;
        if (!is_folder(named[i])) {
            fprintf(stderr,
                    "error: the folder of scripts '%s' does not exist\n  fix   check --scripts and "
                    "LUNALIFT_SCRIPTS\n",
                    named[i]);
            return false;
        }
        *layers++ = named[i];
    }
    *layers = NULL;
    return true;
}

static enum lift_level log_level(int argc, char **argv)
{
    if (is_verbose(argc, argv))
        return LIFT_LOG_DEBUG;
    const char *level = getenv("LUNALIFT_LOG");
    if (level == NULL) /* on a terminal a line would cut the progress bar in two */
        return isatty(STDOUT_FILENO) && isatty(STDERR_FILENO) ? LIFT_LOG_WARN : LIFT_LOG_INFO;
    return strcmp(level, "debug") == 0   ? LIFT_LOG_DEBUG
           : strcmp(level, "warn") == 0  ? LIFT_LOG_WARN
           : strcmp(level, "error") == 0 ? LIFT_LOG_ERROR
                                         : LIFT_LOG_INFO;
}

/* For the watchdog: the innermost line of script, and the C function it called.  Reads, allocates
 * nothing. */
static void describe_running(const void *running, char *out, size_t size)
{
    lua_State *L = (lua_State *)running;
    lua_Debug ar;
    const char *function = NULL;
    for (int level = 0; lua_getstack(L, level, &ar) != 0; level++) {
        lua_getinfo(L, "Sln", &ar);
        if (ar.currentline > 0) {
            snprintf(out, size, "%s:%d%s%s", ar.short_src, ar.currentline,
                     function != NULL ? ", in " : "", function != NULL ? function : "");
            return;
        }
        function = function == NULL ? ar.name : function;
    }
    snprintf(out, size, "no script");
}

/* LUNALIFT_WATCHDOG_S: seconds without a turn of the loop; 0 is none. */
static struct lift_watchdog *start_watchdog(struct lift_loop *loop)
{
    const char *text = getenv("LUNALIFT_WATCHDOG_S");
    unsigned long seconds = text != NULL && *text != '\0' ? strtoul(text, NULL, 10) : WATCHDOG_S;
    if (seconds == 0 || seconds > UINT32_MAX / 1000)
        return NULL;
    return lift_watchdog_new(loop, (uint32_t)seconds * 1000, describe_running);
}

/* Passwords lie in memory: no core file is written, and no other process of this user may look.
 * LeakSanitizer has to look, and the lab has none. */
static void keep_memory_private(bool is_lab)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
#ifndef LIFT_SANITIZED
    if (!is_lab)
        prctl(PR_SET_DUMPABLE, 0);
#endif
    (void)is_lab;
}

/* Is it this command, or its help? */
static bool is_command(int argc, char **argv, const char *name)
{
    int word = argc > 2 && strcmp(argv[1], "help") == 0 ? 2 : 1;
    return word < argc && strcmp(argv[word], name) == 0;
}

int main(int argc, char **argv)
{
    char path[PATH_MAX + 16];
    struct lift_error err = {0};
    struct runtime runtime = {0};
    bool is_lab = is_command(argc, argv, "lab");
    bool is_kit = is_command(argc, argv, "vendor"); /* writes files, and tries lab arrays */
    enum state_kind kind = is_lab || is_kit ? STATE_LAB : STATE_FLOW; /* no flow may do so much */
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    keep_memory_private(is_lab);
    if (!find_layers(argc, argv, built_in_scripts(path, sizeof path), runtime.layers))
        return EXIT_CONFIG;
    const char *format = getenv("LUNALIFT_LOG_FORMAT");
    if (!runtime_init(&runtime, log_level(argc, argv),
                      format != NULL && strcmp(format, "json") == 0, kind, &err)) {
        fprintf(stderr, "error: %s\n", err.text);
        runtime_fini(&runtime);
        return EXIT_FAILURE;
    }
    struct lift_watchdog *dog = start_watchdog(runtime.context.loop);
    int code = runtime_run(&runtime, "cli.main", "main", argc - 1, argv + 1);
    lift_watchdog_free(dog);
    runtime_fini(&runtime);
    return code;
}
