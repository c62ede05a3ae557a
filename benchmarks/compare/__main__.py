"""Measure the servers in turn, print the tables, and write the page with ``--write``.

``python -m benchmarks.compare --peers floor,socket --scenarios paced --rounds 1``
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from types import FrameType

import psutil

from benchmarks.compare import page
from benchmarks.compare.results import Results
from benchmarks.compare.scenarios import SCENARIOS, Scenario
from benchmarks.load.build import NoCompiler
from benchmarks.load.crowd import Crowd, CrowdError
from benchmarks.peers import Peer, PeerDied

ROUNDS = 5

#: The longest that one server may take in one scenario; each takes seconds.
AT_MOST_SECONDS = 180


class Overdue(Exception):
    """Raised when a server takes longer than it may."""


#: The errors that mean that a server has failed a scenario.
_FAILURES = (
    AssertionError,
    CrowdError,
    HTTPException,
    NoCompiler,
    OSError,
    Overdue,
    PeerDied,
    psutil.Error,
)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise Overdue in the block when this number of seconds has passed."""

    def ring(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise Overdue(f"it took more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def measure(
    results: Results, scenario: Scenario, kind: type[Peer], *, number: int
) -> None:
    """Run one scenario on one server, and keep its figures or the failure."""
    cell = (scenario.name, kind.name)
    where = f"{number + 1}/{results.rounds} {scenario.name} {kind.name}"
    print(where, end="", flush=True)
    started = time.monotonic()
    try:
        with within(AT_MOST_SECONDS), kind() as peer, Crowd() as crowd:
            figures = scenario.run(peer, crowd)
            results.served[cell] = peer.served()
    except _FAILURES as error:
        results.fail(cell, f"{type(error).__name__}: {error}")
        print(f" failed: {error}")
    else:
        results.add(cell, figures)
        print(f" {time.monotonic() - started:.1f} s", flush=True)


def run(*, rounds: int, peers: set[str], scenarios: set[str]) -> Results:
    """Return the results of all rounds. An empty set of names selects everything."""
    results = Results(rounds)
    chosen = [each for each in SCENARIOS if not scenarios or each.name in scenarios]
    # Each server once, in the order of the tables.
    asked = dict.fromkeys(kind for each in chosen for kind in each.peers)
    kinds = set()
    for kind in asked:
        if peers and kind.name not in peers:
            continue
        why = kind.absence()
        if why is None:
            kinds.add(kind)
            results.versions[kind.label] = kind.version()
        else:
            results.absent[kind.label] = why
            print(f"{kind.label} is left out: {why}")
    for number in range(rounds):
        for scenario in chosen:
            for kind in scenario.peers:
                if kind in kinds and (scenario.name, kind.name) not in results.failures:
                    measure(results, scenario, kind, number=number)
    return results


def _names(found: str) -> set[str]:
    return set(filter(None, found.split(",")))


def main() -> int:
    """Run the command line. Returns 1 if any server failed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = {kind.name: kind for each in SCENARIOS for kind in each.peers}
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peers", type=_names, default=set(), help=", ".join(kinds))
    parser.add_argument(
        "--scenarios",
        type=_names,
        default=set(),
        help=", ".join(each.name for each in SCENARIOS),
    )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    asked = parser.parse_args()
    unknown = asked.peers - set(kinds) | asked.scenarios - {s.name for s in SCENARIOS}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if asked.write and (asked.peers or asked.scenarios):
        parser.error("the page is of everything: leave out --peers and --scenarios")
    # Exit as with Ctrl-C, so that all started processes are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results = run(rounds=asked.rounds, peers=asked.peers, scenarios=asked.scenarios)
    print()
    print(page.tables(results))
    if asked.write:
        page.write(results)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
