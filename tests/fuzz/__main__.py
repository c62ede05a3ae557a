"""Try every target on very many cases; the exit code is 1 if a promise was broken."""

import argparse
import faulthandler
import multiprocessing
import random
import sys
import time
from functools import partial

from tests.fuzz.targets import NAMES, Done, attempt

# Several times what the default takes on two cores that do nothing else.
_MOST_SECONDS = 20 * 60


def main() -> int:
    """Try what the command line asks for, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=110_000, help="of all targets")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    stop_late = partial(faulthandler.dump_traceback_later, _MOST_SECONDS, exit=True)
    stop_late()
    start = time.monotonic()
    total = findings = 0
    one = partial(attempt, cases=options.cases, seed=options.seed)
    # A process for each target: what is drawn also depends on what was imported.
    with multiprocessing.get_context("spawn").Pool(
        initializer=stop_late, maxtasksperchild=1
    ) as pool:
        for done in pool.imap_unordered(one, NAMES):
            _show(done)
            total += done.outcome.cases
            findings += done.outcome.finding is not None
    print(f"{total} cases in {time.monotonic() - start:.0f} s, {findings} findings")
    return 1 if findings else 0


def _show(done: Done) -> None:
    name, outcome, seconds = done
    words = ", ".join(f"{word} {n}" for word, n in outcome.outcomes.most_common())
    print(f"{name:18} {outcome.cases:6} cases {seconds:4.0f} s  {words}", flush=True)
    if outcome.finding is not None:
        print(f"{name} is broken:\n{outcome.finding}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
