/* A password, token or key: counted, wiped when the last reference goes, never printed. */
#pragma once

#include "lift.h"

struct lift_secret;

LIFT_NODISCARD struct lift_secret *lift_secret_new(const void *bytes,
                                                   size_t length); /* copies; count 1 */
struct lift_secret *lift_secret_ref(struct lift_secret *secret);   /* NULL gives NULL */
void lift_secret_free(struct lift_secret *secret);                 /* drops one count */

/* The bytes, NUL-terminated; borrowed, and to be copied only into memory that is wiped. */
const char *lift_secret_bytes(const struct lift_secret *secret);
size_t lift_secret_length(const struct lift_secret *secret);

/*
 * Replace every occurrence in text[0..length) of any living secret of at least 4 bytes (also
 * percent-encoded, base64-encoded or XML-escaped) by "***".  Returns a lift_strdup'ed text; a zero
 * byte becomes a blank.  The log calls it on each line it writes, so a secret can reach no line by
 * any route.
 */
LIFT_NODISCARD char *lift_secret_redact(const char *text, size_t length);
