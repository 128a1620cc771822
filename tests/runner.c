/* Runs busted inside the real runtime: specs may use every module of lunalift and may wait. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "bindings/runtime.h"

int main(int argc, char **argv)
{
    struct lift_error err = {0};
    struct runtime runtime = {0};
    const char *level = getenv("LUNALIFT_LOG");
    signal(SIGPIPE, SIG_IGN);
    setenv("LUA_PATH",
           LUNALIFT_SOURCE_DIR "/tests/?.lua;" LUNALIFT_SOURCE_DIR
                               "/tests/spec/?.lua;" LUNALIFT_SOURCE_DIR
                               "/tests/spec/support/?.lua;;",
           1);
    runtime.layers[0] = LUNALIFT_SOURCE_DIR "/scripts";
    runtime.layers[1] = LUNALIFT_SOURCE_DIR "/tests/spec/layer"; /* scripts that only specs load */
    if (!runtime_init(&runtime, level != NULL ? LIFT_LOG_DEBUG : LIFT_LOG_ERROR, false, STATE_TEST,
                      &err)) {
        fprintf(stderr, "error: %s\n", err.text);
        return EXIT_FAILURE;
    }
    if (getenv("LUNALIFT_TEST_GC") != NULL) /* harsh: a whole collection per 2 % of growth */
        lua_gc(state_lua(runtime.state), LUA_GCINC, 102, 0, 64);
    int code = runtime_run(&runtime, "support.runner", "main", argc - 1, argv + 1);
    runtime_fini(&runtime);
    return code;
}
