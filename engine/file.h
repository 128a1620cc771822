/* Small files read whole, and what errno means in our words.  Blocks for as long as the disk does.
 */
#pragma once

#include "buf.h"

/* ENOENT is not_found, EEXIST conflict, EACCES denied, ENOSPC no_space, …; the rest is failed. */
enum lift_code lift_file_code(int errnum);
/* Fill *err with "what: strerror" and return false. */
bool lift_file_fail(struct lift_error *err, int errnum, const char *what);

/* Append all of it; LIFT_NO_SPACE above the ceiling of `out`.  A pipe may be read too. */
LIFT_NODISCARD bool lift_file_read(const char *path, struct lift_buf *out, struct lift_error *err);
