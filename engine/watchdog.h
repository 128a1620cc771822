/* Ends a process that is wedged: computing or waiting where no loop turn comes any more. */
#pragma once

#include "loop.h"

struct lift_watchdog;

/*
 * Say, from within a signal handler and of a process that will not live on, what was running when
 * it wedged: NUL-terminated, without allocating.
 */
typedef void lift_watchdog_fn(const void *running, char *out, size_t size);

/*
 * One a process, since it owns SIGALRM.  When the loop makes no turn for limit_ms, says on standard
 * error what was running, and aborts: the journal recovers.  Time in which the process was stopped,
 * or got no processor, does not count.
 */
LIFT_NODISCARD struct lift_watchdog *lift_watchdog_new(struct lift_loop *loop, uint32_t limit_ms,
                                                       lift_watchdog_fn *describe);
void lift_watchdog_free(struct lift_watchdog *dog);

/* What is running from here on (NULL: nothing of interest), which also is a sign of life.  Returns
 * what was.  Without a watchdog, only remembers. */
const void *lift_watchdog_running(const void *running);
