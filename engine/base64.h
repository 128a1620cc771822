/* Base64 with the standard alphabet. */
#pragma once

#include "buf.h"

/* Append the encoded bytes, padded, without line breaks; false at the ceiling of `out`. */
LIFT_NODISCARD bool lift_base64_encode(struct lift_buf *out, const void *bytes, size_t length);
/*
 * Append the decoded bytes.  Blanks and line breaks are skipped; padding may be missing.
 * LIFT_CONFIG for anything else that is not base64; LIFT_NO_SPACE at the ceiling.
 */
LIFT_NODISCARD bool lift_base64_decode(struct lift_buf *out, const char *text, size_t length,
                                       struct lift_error *err);
