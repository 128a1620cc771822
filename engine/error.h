/* Why something failed.  The codes are the closed list of failure kinds that scripts and users see,
 * one to one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lift.h"

enum lift_code {
    LIFT_OK = 0,
    LIFT_NOT_FOUND,
    LIFT_CONFLICT,
    LIFT_DENIED,
    LIFT_BUSY, /* refused for now: 429, 503, a lock; nothing was done */
    LIFT_TIMEOUT,
    LIFT_UNREACHABLE, /* never got there: name, connect, TLS */
    LIFT_PROTOCOL,    /* the answer makes no sense, or was cut short */
    LIFT_UNSUPPORTED,
    LIFT_CONFIG, /* what the user gave is wrong */
    LIFT_NO_SPACE,
    LIFT_INCOMPLETE, /* something is left behind */
    LIFT_FAILED,     /* the peer did it and failed */
    LIFT_CANCELLED,
    LIFT_BUG,
};

/* "not_found", "conflict", …: the word that scripts compare with. */
const char *lift_code_name(enum lift_code code);

/*
 * Belongs to the caller, is always the last argument.  Untouched on success.
 *
 * unanswered  the request may have been acted on: an effect must be looked up, never repeated
 * refused     the peer said no before it did anything: an effect may be sent again
 * retry_after_s  the peer's wish when to ask again; 0: none
 * hint        what the user should do; may be empty
 */
struct lift_error {
    enum lift_code code;
    bool unanswered;
    bool refused;
    uint32_t retry_after_s;
    char text[512];
    char hint[256];
};

/* A text of others in `size` bytes: living secrets are hidden before it is cut, since half of one
 * would not be recognised later. */
void lift_quote(char *out, size_t size, const char *text);

/* Fill *err, its texts as by lift_quote(), and return false, so that `return lift_fail(err,
 * LIFT_TIMEOUT, "%s: no answer in %d s", …)` is one act. */
bool lift_fail(struct lift_error *err, enum lift_code code, const char *fmt, ...) LIFT_PRINTF(3, 4);
/* Add the hint to a failure that was just made; returns false too. */
bool lift_hint(struct lift_error *err, const char *fmt, ...) LIFT_PRINTF(2, 3);
