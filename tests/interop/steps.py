"""Steps of a stage in the order of their definition: each prints ok or not ok."""

import sys
import traceback

STEPS = []


def step(fn):
    STEPS.append(fn)
    return fn


def main():
    failed = 0
    for fn in STEPS:
        name = fn.__name__.replace("_", " ")
        try:
            fn()
            print(f"ok - {name}", flush=True)
        except Exception:  # every step has its say
            failed += 1
            traceback.print_exc()
            print(f"not ok - {name}", flush=True)
    print(f"{len(STEPS) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)
