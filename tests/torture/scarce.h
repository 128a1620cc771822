/* The C library's allocator, of which one call, or all from there, can be made to fail. */
#pragma once

#include <stdbool.h>

struct scarcity {
    long after;         /* refuse the call after as many others; 0: none, and none is counted */
    bool all;           /* and all behind it */
    const bool *exempt; /* while true: neither counted nor refused; may be NULL */
    long seen;          /* calls so far */
};
extern struct scarcity scarcity; /* malloc knows no context */
