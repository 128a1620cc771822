/* What runs one job of tests/spec/layer/spec/torture.lua and looks at what it left. */
#pragma once

#include "bindings/state.h"
#include "tests/torture/peer.h"

struct rig {
    struct context context;
    struct peer *peer;   /* borrowed */
    bool peer_elsewhere; /* in another process, not on this loop */
    struct memory_fault fault;
};

void rig_open(struct rig *rig);
void rig_close(struct rig *rig);
/* One run; `touched`: the fault was met.  false, and why on standard output, when something was
 * left behind or went wrong. */
bool rig_run(struct rig *rig, const char *name, struct memory_fault fault, bool *touched);
