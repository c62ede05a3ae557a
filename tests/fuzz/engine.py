"""Try a promise on many cases, and keep the smallest case that breaks it."""

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.strategies import SearchStrategy

#: Tries one case and returns its outcome in a word; raises if a promise is broken.
Check = Callable[[Any], str]

#: Makes a context that ends a case if it takes too long.
Limit = Callable[[], AbstractContextManager[None]]

# The engine remembers each case of a round. Short rounds take less memory; long rounds
# repeat fewer of the simple cases that every round begins with.
_ROUND = 2500


class Target(NamedTuple):
    """A promise and its cases; ``prepare`` opens everything that a check needs."""

    name: str
    cases: SearchStrategy[Any]
    prepare: Callable[[], AbstractContextManager[Check]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcomes of one target's cases, and the case that broke its promise."""

    outcomes: Counter[str] = field(default_factory=Counter)
    finding: str | None = None

    @property
    def cases(self) -> int:
        return self.outcomes.total()


class Hang(BaseException):
    """Raised in a case that takes too long.

    It is not an Exception, since the engine would repeat the case to make it smaller.
    """


def checking(check: Check) -> Callable[[], AbstractContextManager[Check]]:
    """Return the ``prepare`` of a check that needs nothing."""
    return lambda: nullcontext(check)


def run(
    target: Target, *, cases: int, seed: int, limit: Limit = nullcontext
) -> Outcome:
    """Try a target on ``cases`` cases, each inside a context of ``limit``."""
    outcomes: Counter[str] = Counter()
    for number, size in enumerate(_rounds(cases)):
        with target.prepare() as check:
            attempts = _Attempts(check, limit, outcomes)
            try:
                _property(target, attempts, cases=size, seed=f"{seed}-{number}")()
            except (Exception, Hang):
                if attempts.finding is None:
                    raise
                return Outcome(outcomes, attempts.finding)
    return Outcome(outcomes)


class _Attempts:
    """Tries one case after another; the engine tries the smallest failing one last."""

    def __init__(self, check: Check, limit: Limit, outcomes: Counter[str]) -> None:
        self._check = check
        self._limit = limit
        self._outcomes = outcomes
        self.finding: str | None = None

    def make(self, case: Any) -> None:
        try:
            with self._limit():
                outcome = self._check(case)
        except BaseException as error:
            where = "".join(traceback.format_exception(error, limit=-2))
            self.finding = f"{where}case: {case!r}"
            raise
        self._outcomes[outcome] += 1


def _rounds(cases: int) -> Iterator[int]:
    while cases > 0:
        yield min(cases, _ROUND)
        cases -= _ROUND


def _property(
    target: Target, attempts: _Attempts, *, cases: int, seed: str
) -> Callable[[], None]:
    def attempt(case: Any) -> None:
        attempts.make(case)

    configured = settings(
        max_examples=cases,
        database=None,
        deadline=None,
        # Explaining a finding would take many more cases than finding it.
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    return configured(seeded(seed)(given(target.cases)(attempt)))
