/* One shot, later. */
#pragma once

#include "loop.h"

struct lift_timer;

/* Fires once after at least `ms`; then it must still be freed.  Freeing it before cancels. */
LIFT_NODISCARD struct lift_timer *lift_timer_new(struct lift_loop *loop, uint64_t ms, lift_fn *fn,
                                                 void *payload);
void lift_timer_free(struct lift_timer *timer);
