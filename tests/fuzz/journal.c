/* A journal of whatever bytes, read by the scripts that settle it: what it says, or a failure that
 * tells a user what is wrong. */
#include "engine/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bindings/runtime.h"
#include "tests/fuzz/fuzz.h"

static struct runtime runtime;

static void leave(void)
{
    runtime_fini(&runtime);
}

static lua_State *state(void)
{
    struct lift_error err = {0};
    if (runtime.state != NULL)
        return state_lua(runtime.state);
    runtime.layers[0] = LUNALIFT_SOURCE_DIR "/scripts";
    runtime.layers[1] = LUNALIFT_SOURCE_DIR "/tests/spec/layer";
    fuzz_demand(runtime_init(&runtime, LIFT_LOG_ERROR, false, STATE_FLOW, &err), "a state");
    atexit(leave);
    lua_sethook(state_lua(runtime.state), NULL, 0, 0); /* a budget is for one module, not for all */
    return state_lua(runtime.state);
}

static int read_it(lua_State *L) /* a lift_buf as light userdata at 1 */
{
    const struct lift_buf *text = lua_touserdata(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "spec.journal_reader");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "read");
    lua_pushlstring(L, text->data, text->length);
    lua_call(L, 1, 0);
    return 0;
}

static void read_text(const struct lift_buf *text)
{
    lua_State *L = state();
    lua_pushcfunction(L, read_it);
    lua_pushlightuserdata(L, (void *)text);
    int status = lua_pcall(L, 1, 0, 0);
    fuzz_demand(status == LUA_OK, status == LUA_OK ? "" : lua_tostring(L, -1));
    lua_settop(L, 0);
    lua_gc(L, LUA_GCSTEP, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char path[64];
    struct lift_error err = {0};
    struct lift_buf text = {.max = LIFT_JOURNAL_MAX};
    int fd = memfd_create("journal", MFD_CLOEXEC);
    fuzz_demand(fd >= 0 && write(fd, bytes, length) == (ssize_t)length, "room for the file");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (lift_journal_read(path, &text, &err))
        read_text(&text);
    else
        fuzz_demand(length > LIFT_JOURNAL_MAX, "only a large one cannot be read");
    lift_buf_free(&text);
    close(fd);
    return 0;
}
