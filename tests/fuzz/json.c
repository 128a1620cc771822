/* JSON: what was read can be written, and reads the same again. */
#include <lauxlib.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "tests/fuzz/fuzz.h"

struct input {
    const char *text;
    size_t length;
};

static int again(lua_State *L)
{
    const struct input *input = lua_touserdata(L, 1);
    struct lift_error err = {0};
    size_t length = 0, length_again = 0;
    if (!json_decode(L, input->text, input->length, &err)) {
        fuzz_demand(err.code == LIFT_PROTOCOL && lua_gettop(L) == 1, "a refusal, and nothing else");
        return 0;
    }
    json_encode(L, -1, false); /* may raise: a list with holes is none */
    const char *text = lua_tolstring(L, -1, &length);
    fuzz_demand(json_decode(L, text, length, &err), "what was written can be read");
    json_encode(L, -1, false);
    const char *text_again = lua_tolstring(L, -1, &length_again);
    fuzz_demand(length == length_again && memcmp(text, text_again, length) == 0,
                "the same, written again");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct input input = {(const char *)bytes, length};
    fuzz_call(again, &input);
    return 0;
}
