/*
 * lunalift, in whose Lua states, or in whose C, the n-th allocation fails: LUNALIFT_STARVE is "lua
 * 100", "all 100" (and all that follow) or "c 100".  At its end it tells on standard error how many
 * there were.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/runtime.h"
#include "tests/torture/scarce.h"

enum { FOR_EVER = 1 << 30 };

/* Lua asks twice: after a refusal it collects garbage and tries again. */
static struct memory_fault fault = {.after = FOR_EVER, .fails = 2};

int main(int argc, char **argv)
{
    char what[8] = "";
    long after = FOR_EVER;
    struct lift_error err = {0};
    struct runtime runtime = {.context.fault = &fault, .layers = {LUNALIFT_SOURCE_DIR "/scripts"}};
    const char *asked = getenv("LUNALIFT_STARVE");
    if (asked && sscanf(asked, "%7s %ld", what, &after) != 2)
        return EXIT_FAILURE;
    bool in_c = strcmp(what, "c") == 0;
    if (!runtime_init(&runtime, LIFT_LOG_DEBUG, false, STATE_FLOW, &err))
        return EXIT_FAILURE;
    fault.after = in_c ? FOR_EVER : after;
    fault.fails = strcmp(what, "all") == 0 ? -1 : 2;
    scarcity = (struct scarcity){.after = in_c ? after : FOR_EVER, .exempt = &fault.inside};
    int code = runtime_run(&runtime, "cli.main", "main", argc - 1, argv + 1);
    long seen = scarcity.seen;
    scarcity.after = 0;
    fprintf(stderr, "# allocations: lua %ld, c %ld\n", FOR_EVER - fault.after, seen);
    runtime_fini(&runtime);
    return code;
}
