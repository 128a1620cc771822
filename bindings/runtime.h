/* What main.c and the test runner share: making the context, running one script function as the
 * main task. */
#pragma once

#include "bindings/state.h"

struct runtime {
    struct context context;
    const char *layers[8];
    struct state *state;
    int exit_code;
};

/* Loop, connections and log; layers are filled in by the caller before.  false and *err. */
LIFT_NODISCARD bool runtime_init(struct runtime *runtime, enum lift_level level, bool json,
                                 enum state_kind kind, struct lift_error *err);
void runtime_fini(struct runtime *runtime);

/*
 * Require `module` and call its function `name` with the list of `argv` in the main task, running
 * the loop until it and what it shielded have ended. Returns the integer it returned; 1, after
 * saying why on standard error, when it raised.
 */
int runtime_run(struct runtime *runtime, const char *module, const char *name, int argc,
                char **argv);
