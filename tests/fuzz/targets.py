"""All targets, and a long run of one of them in a process of its own."""

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

from tests.fuzz import (
    bodies,
    deliveries,
    encoder,
    endpoints,
    names,
    records,
    resuming,
    signed,
)
from tests.fuzz.engine import Hang, Outcome, run

#: The targets whose cases Hypothesis draws.
TARGETS = [
    encoder.TARGET,
    records.TARGET,
    deliveries.TARGET,
    resuming.TARGET,
    names.TARGET,
    bodies.TARGET,
    signed.TICKETS,
    signed.CLIENT_IDS,
]

NAMES = [endpoints.NAME, *(target.name for target in TARGETS)]

# A case takes milliseconds.
_CASE_SECONDS = 20.0

# A request to a real server takes ten times as long as any other case.
_REQUESTS = 0.02


class Done(NamedTuple):
    """The outcome of one target, and its duration in seconds."""

    name: str
    outcome: Outcome
    seconds: float


def attempt(name: str, *, cases: int, seed: int) -> Done:
    """Try one target on its share of all cases."""
    # Refusals are expected here, and each would be logged.
    logging.disable()
    start = time.monotonic()
    requests = round(cases * _REQUESTS)
    if name == endpoints.NAME:
        outcome = endpoints.run(cases=requests, seed=seed)
    else:
        (target,) = (target for target in TARGETS if target.name == name)
        part = -(-(cases - requests) // len(TARGETS))
        outcome = run(target, cases=part, seed=seed, limit=_limit)
    return Done(name, outcome, time.monotonic() - start)


@contextmanager
def _limit() -> Iterator[None]:
    """Raise Hang in a case that takes too long."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise Hang(f"not done after {_CASE_SECONDS} seconds")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, _CASE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
