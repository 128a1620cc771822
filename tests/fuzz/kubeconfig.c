/* A kubeconfig of whatever bytes: loaded whole, or refused with a reason. */
#include "engine/kubeconfig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static char folder[] = "/tmp/lunalift-fuzz-XXXXXX", path[64];

static void clean_up(void)
{
    unlink(path);
    rmdir(folder);
}

/* In a folder of its own: files that it names are looked for beside it, and in /proc/self/fd there
 * are some. */
static int open_file(void)
{
    char target[32];
    int fd = memfd_create("kubeconfig", MFD_CLOEXEC);
    snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
    fuzz_demand(fd >= 0 && mkdtemp(folder) != NULL, "a folder");
    snprintf(path, sizeof path, "%s/config", folder);
    fuzz_demand(symlink(target, path) == 0 && atexit(clean_up) == 0, "room for the file");
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static int fd = -1; /* one for all inputs: libFuzzer knows no context */
    struct lift_error err = {0};
    struct lift_kubeconfig config = {0};
    if (fd < 0)
        fd = open_file();
    fuzz_demand(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, length, 0) == (ssize_t)length, "room");
    if (lift_kubeconfig_load(&config, path, length % 2 ? NULL : "dev", &err))
        fuzz_demand(config.server != NULL && config.namespace != NULL, "a server and a namespace");
    else
        fuzz_demand(err.code != LIFT_OK && err.text[0] != '\0', "a refusal has a reason");
    lift_kubeconfig_fini(&config);
    return 0;
}
