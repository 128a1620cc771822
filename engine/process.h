/* A child process with its output kept.  For the lab and the tests: the product starts no process.
 */
#pragma once

#include "buf.h"
#include "loop.h"

struct lift_process;

struct lift_process_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is a path or is looked up in PATH */
    const char *const *env;  /* NULL-terminated KEY=value, the whole environment; NULL inherits */
    const char *cwd;         /* NULL inherits */
    const char *input;       /* its standard input; NULL is /dev/null */
    size_t input_length;
    size_t max_output; /* ceiling on each of stdout and stderr; more is dropped, and `truncated`
                          says so */
    bool own_group;    /* setsid, so that a kill reaches its children */
};

struct lift_process_end {
    int status; /* as waitpid gives it */
    struct lift_buf out, err;
    bool truncated;
};

/* `done` runs from the loop once the child has ended and both pipes are at their end, exactly once.
 */
typedef void lift_process_fn(void *payload, struct lift_process_end *end);
/* Each piece of output as it comes; fd is 1 or 2.  May be NULL. */
typedef void lift_process_output_fn(void *payload, int fd, const char *bytes, size_t length);

LIFT_NODISCARD struct lift_process *lift_process_start(struct lift_loop *loop,
                                                       const struct lift_process_spec *spec,
                                                       lift_process_output_fn *output,
                                                       lift_process_fn *done, void *payload,
                                                       struct lift_error *err);
int lift_process_pid(const struct lift_process *process);
void lift_process_kill(struct lift_process *process, int signal); /* to the group when own_group */
void lift_process_free(struct lift_process *process); /* kills what runs; `done` then never runs */
