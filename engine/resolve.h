/* Names to addresses, on evdns: no thread that anyone would have to wait for. */
#pragma once

#include "loop.h"

struct lift_resolver; /* keeps answers for a minute */
struct lift_resolve;  /* one question */

LIFT_NODISCARD struct lift_resolver *lift_resolver_new(struct lift_loop *loop);
void lift_resolver_free(struct lift_resolver *resolver); /* questions first */

/* Whether the name needs no asking: a literal address ("[::1]" too), or localhost. */
bool lift_resolve_literal(const char *host);

/*
 * Ask for A and AAAA.  `done` runs later, from lift_loop_run(), exactly once: with addresses such
 * as "192.0.2.1,[2001:db8::1]" that live until it returns, or NULL and LIFT_UNREACHABLE.
 * lift_resolve_free() also cancels, and may be called from within `done`.
 */
typedef void lift_resolve_fn(void *payload, const char *addresses, const struct lift_error *err);
LIFT_NODISCARD struct lift_resolve *lift_resolve_start(struct lift_resolver *resolver,
                                                       const char *host, uint32_t within_ms,
                                                       lift_resolve_fn *done, void *payload);
void lift_resolve_free(struct lift_resolve *resolve);
