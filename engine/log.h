/* Lines for people who debug: one a call, to standard error, redacted.  What users read goes to
 * standard output elsewhere. */
#pragma once

#include <stdbool.h>

#include "lift.h"

enum lift_level { LIFT_LOG_ERROR, LIFT_LOG_WARN, LIFT_LOG_INFO, LIFT_LOG_DEBUG };

struct lift_log;

/* fd is borrowed.  json: one object a line instead of `time level message key=value …`. */
LIFT_NODISCARD struct lift_log *lift_log_new(int fd, enum lift_level level, bool json);
void lift_log_free(struct lift_log *log);
bool lift_log_enabled(const struct lift_log *log, enum lift_level level); /* a NULL log is silent */

struct lift_field {
    const char *key;   /* [a-z_]+ */
    const char *value; /* text; quoted when it has blanks; control bytes escaped */
};

void lift_log_write(struct lift_log *log, enum lift_level level, const char *message,
                    const struct lift_field *fields, size_t count);
/* The same, unless this log holds just such a line already. */
void lift_log_write_once(struct lift_log *log, enum lift_level level, const char *message,
                         const struct lift_field *fields, size_t count);
void lift_logf(struct lift_log *log, enum lift_level level, const char *fmt, ...) LIFT_PRINTF(3, 4);
