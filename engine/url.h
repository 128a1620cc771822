/* The parts of an http or https URL that others need to know. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct lift_url {
    char *origin; /* "https://host:443": all of a URL that a text may show */
    char *host;   /* "[::1]" with its brackets */
    uint16_t port;
};

/* Fills *out, to be given to lift_url_fini() also after a failure.  LIFT_CONFIG for what is no such
 * URL, names a user, or has a host that is not ASCII. */
LIFT_NODISCARD bool lift_url_parse(const char *text, struct lift_url *out, struct lift_error *err);
void lift_url_fini(struct lift_url *url);
