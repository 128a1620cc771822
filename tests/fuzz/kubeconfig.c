/* A kubeconfig of whatever bytes: loaded whole, or refused with a reason. */
#include "engine/kubeconfig.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char path[64];
    struct lift_error err = {0};
    struct lift_kubeconfig config = {0};
    int fd = memfd_create("kubeconfig", MFD_CLOEXEC);
    fuzz_demand(fd >= 0 && write(fd, bytes, length) == (ssize_t)length, "room for the file");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (lift_kubeconfig_load(&config, path, length % 2 ? NULL : "dev", &err))
        fuzz_demand(config.server != NULL && config.namespace != NULL, "a server and a namespace");
    else
        fuzz_demand(err.code != LIFT_OK && err.text[0] != '\0', "a refusal has a reason");
    lift_kubeconfig_fini(&config);
    close(fd);
    return 0;
}
