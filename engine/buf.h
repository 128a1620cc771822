/* Bytes that grow up to a ceiling.  Zero-initialised with a ceiling it is ready: `struct lift_buf b
 * = {.max = 4096}`. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct lift_buf {
    char *data; /* always NUL-terminated once anything was added; NULL before */
    size_t length;
    size_t capacity;
    size_t max; /* ceiling on length, in bytes; 0 means LIFT_BUF_MAX */
};

/* Bytes that several owners share a ceiling on; max 0: none.  NULL takes and gives, too. */
struct lift_quota {
    size_t used, max;
};
LIFT_NODISCARD bool lift_quota_take(struct lift_quota *quota, size_t bytes);
void lift_quota_give(struct lift_quota *quota, size_t bytes);

#define LIFT_BUF_MAX ((size_t)64 << 20)

/* Each returns false, leaving the content as it was, when the ceiling would be passed. */
LIFT_NODISCARD bool lift_buf_add(struct lift_buf *buf, const void *bytes, size_t length);
LIFT_NODISCARD bool lift_buf_adds(struct lift_buf *buf, const char *text);
LIFT_NODISCARD bool lift_buf_addf(struct lift_buf *buf, const char *fmt, ...) LIFT_PRINTF(2, 3);
void lift_buf_clear(struct lift_buf *buf); /* empty, memory kept */
void lift_buf_wipe(
    struct lift_buf *buf); /* overwrite what was there, then free: for bodies that held a secret */
void lift_buf_free(struct lift_buf *buf); /* happy to run twice */
