/* What every engine file may use: attributes, allocation of small records, cleanup. */
#pragma once

#include <stddef.h>

#define LIFT_VERSION "1.0.0"

#define LIFT_NODISCARD __attribute__((warn_unused_result))
#define LIFT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define LIFT_NORETURN _Noreturn

/*
 * Zeroed memory for control records, whose size we choose.  Never NULL: when memory is out, says so
 * and aborts, since a flow is resumable and a restart is a recovery.  What outsiders size lives in
 * a lift_buf, which has a ceiling.
 */
LIFT_NODISCARD void *lift_calloc(size_t count, size_t size);
LIFT_NODISCARD char *lift_strdup(const char *text); /* NULL gives NULL */
LIFT_NODISCARD char *lift_strndup(const char *text, size_t length);
LIFT_NODISCARD char *lift_asprintf(const char *fmt, ...) LIFT_PRINTF(1, 2);
void lift_free(void *memory);

/* For a library's failure that can only mean "no memory": the same end as in lift_calloc. */
LIFT_NORETURN void lift_no_memory(void);
void *lift_demand(void *made); /* the same, unless it was made */
