/*
 * Every job of tests/spec/layer/spec/torture.lua, again and again, its n-th allocation failing for
 * n = 1, 2, 3, …, until one passes untouched.  Whatever n: the process lives, the job ends with a
 * failure in words or succeeds, and no task, handle or byte stays (AddressSanitizer counts bytes).
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/torture/rig.h"

/* Lua asks twice: after a refusal it collects garbage and tries again. */
enum { ONE_FAILS = 2, ALL_FAIL = -1 };

static bool torture(struct rig *rig, const char *name, int fails)
{
    bool touched = true, good = true;
    long after = 0;
    while (good && touched)
        good =
            rig_run(rig, name, (struct memory_fault){.after = ++after, .fails = fails}, &touched);
    printf("# %s: %ld allocations\n", name, after - 1);
    return good;
}

static bool succeeds(struct rig *rig, const char *name, bool harsh)
{
    bool touched;
    return rig_run(rig, name, (struct memory_fault){.after = LONG_MAX, .harsh = harsh}, &touched);
}

static void say(bool good, const char *name, const char *what, int *number, int *bad)
{
    printf("%sok %d - %s %s\n", good ? "" : "not ", ++*number, name, what);
    fflush(stdout);
    *bad += !good;
}

int main(void)
{
    static const char *const JOBS[] = {"data", "tasks",   "http",    "isolate",
                                       "kube", "vsphere", "journal", "tls"};
    struct peer peer;
    struct rig rig;
    int number = 0, bad = 0;
    rig_open(&rig);
    peer_open(&peer, rig.context.loop);
    rig.peer = &peer;
    for (size_t i = 0; i < sizeof JOBS / sizeof *JOBS; i++) {
        const char *name = JOBS[i];
        say(succeeds(&rig, name, false), name, "succeeds", &number, &bad);
        say(succeeds(&rig, name, true), name, "succeeds, garbage collected at every allocation",
            &number, &bad);
        say(torture(&rig, name, ONE_FAILS), name, "lives through an allocation that fails", &number,
            &bad);
        say(torture(&rig, name, ALL_FAIL), name, "lives through all of them failing from there",
            &number, &bad);
    }
    printf("1..%d\n", number);
    peer_close(&peer);
    rig_close(&rig);
    return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
