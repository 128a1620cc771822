/* A signal, delivered as a callback from the loop. */
#pragma once

#include "loop.h"

struct lift_signal;

LIFT_NODISCARD struct lift_signal *lift_signal_new(struct lift_loop *loop, int number, lift_fn *fn,
                                                   void *payload);
void lift_signal_free(struct lift_signal *signal);
