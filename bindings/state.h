/* A Lua state: its allow-list, locked globals, memory ceiling and module search. */
#pragma once

#include <lua.h>

#include "engine/http.h"
#include "engine/log.h"
#include "engine/loop.h"

/* For tests: of the states' allocations, the one after `after` others is refused, and those behind
 * it, `fails` in all; negative: all of them.  0: none.  harsh: garbage is collected at every
 * allocation. */
struct memory_fault {
    long after;
    int fails;
    bool harsh;
    bool inside; /* a state allocates at this moment: set for those who refuse C its memory */
};

/* What main.c made and every state shares; borrowed. */
struct context {
    struct lift_loop *loop;
    struct lift_http_pool *pool;
    struct lift_log *log;
    const char *const *layers;  /* script folders, the last one wins, NULL-terminated; layers[0] is
                                   the built-in one */
    struct memory_fault *fault; /* NULL but in tests */
};

/* Who runs in it decides which modules `require "lunalift.x"` finds. */
enum state_kind {
    STATE_FLOW,   /* commands and flows: all but fs, process, server */
    STATE_VENDOR, /* one opened array: http, json, log, codec, secret, timer, task without signals,
                     xml */
    STATE_LAB,    /* everything */
    STATE_TEST,   /* everything, and Lua's whole standard library */
};

struct state;

LIFT_NODISCARD struct state *state_new(const struct context *context, enum state_kind kind,
                                       size_t memory_max, struct lift_error *err);
void state_free(struct state *state);
lua_State *state_lua(struct state *state);
const struct context *state_context(const struct state *state);
enum state_kind state_kind(const struct state *state);
const struct context *context_of(lua_State *L);

/* Hosts that HTTP may reach from this state; NULL-terminated, copied; not called: any. */
void state_allow_hosts(struct state *state, const char *const *hosts);
bool state_host_allowed(const struct state *state, const char *host);
const char *const *state_hosts(const struct state *state); /* NULL: any */
/* The only file of CA certificates that HTTP may read for a vendor's state; copied; not called:
 * none. */
void state_allow_ca_file(struct state *state, const char *path);
bool state_ca_file_allowed(const struct state *state, const char *path);

/* In this state the script `name` is the file `path`, whatever the layers have; both copied. */
void state_lay_over(struct state *state, const char *name, const char *path);

/* What Lua allocates, and the bodies of HTTP; max 0: no ceiling. */
struct lift_quota *state_memory(struct state *state);

/* A script module's file: the layer that wins.  false when there is none.  name "vendors.ontap". */
struct script_file {
    char path[1024];
    const char *layer; /* folder */
    bool built_in;
    char sha256[65];
};
bool state_find_script(const struct context *context, const char *name, struct script_file *out);
