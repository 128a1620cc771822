/* What the fuzz targets share.  A target is one file: LLVMFuzzerTestOneInput(), which crashes or
 * aborts on a fault. */
#pragma once

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Aborts, saying what does not hold. */
void fuzz_demand(int holds, const char *what);
/* A plain state for the whole run. */
lua_State *fuzz_lua(void);
/* Run fn(input) protected and clean up after it; returns Lua's status. */
int fuzz_call(lua_CFunction fn, const void *input);
