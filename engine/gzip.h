/* Gzip, whole texts at once: the payload of a VIB. */
#pragma once

#include "buf.h"

/* Append the compressed bytes, the same for the same bytes: no name and no time.  False at the
 * ceiling of `out`. */
LIFT_NODISCARD bool lift_gzip(struct lift_buf *out, const void *bytes, size_t length);
/*
 * Append what one gzip member holds.  LIFT_PROTOCOL when it is none, cut short, damaged, or more
 * follows; LIFT_NO_SPACE at the ceiling.
 */
LIFT_NODISCARD bool lift_gunzip(struct lift_buf *out, const void *bytes, size_t length,
                                struct lift_error *err);
