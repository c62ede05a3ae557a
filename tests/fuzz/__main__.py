"""Try every target on very many cases; the exit code is 1 if a promise was broken."""

import argparse
import faulthandler
import multiprocessing
import random
import sys
import time
from functools import partial

from tests.fuzz.targets import NAMES, Done, attempt

# Several times the duration of a default run on two idle cores.
_MOST_SECONDS = 20 * 60


def main() -> int:
    """Try all targets as the command line says, and print the outcomes."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--cases", type=int, default=110_000, help="number of cases of all targets"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    stop_late = partial(faulthandler.dump_traceback_later, _MOST_SECONDS, exit=True)
    stop_late()
    start = time.monotonic()
    total = findings = 0
    one = partial(attempt, cases=options.cases, seed=options.seed)
    # A process per target: the drawn cases also depend on the imported modules.
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
