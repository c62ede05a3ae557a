"""The press: one thread that appends the records of all answers of a process.

Parts of several answers that are due together leave in one record. Knows runners and
records. Does not know hubs or brokers: the caller passes the function that appends.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from ...brokers.base import LogError
from ...errors import BrokerUnavailable
from ...events.record import Cursor, Record
from ...runtime.coded_log import CodedLog
from ...runtime.per_process import Home
from ...runtime.rare_log import RareLog
from ...runtime.survival import surviving
from . import records
from .runner import Runner, Steps

log = CodedLog(__name__)

# The pause after each look at the runners, unless one of them cannot wait. Parts that
# become due meanwhile leave together. Readers do not notice it.
_PAUSE_SECONDS = 0.02

# The waits between two tries to reach the broker.
_FIRST_WAIT_SECONDS = 0.05
_MAX_WAIT_SECONDS = 2.0

Outcome = Cursor | Exception | None


class Press:
    """Move the runners of one process. Creating it starts nothing.

    ``append`` appends records together, and returns the cursor or the error of each.
    ``beside`` runs a function in a thread of a name, and raises RuntimeError if there
    is no room for one.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Record]], Sequence[Cursor | LogError]],
        *,
        beside: Callable[[Callable[[], None], str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._append = append
        self._beside = beside
        self._clock = clock
        self._home = Home()
        self._rare_log = RareLog(log)
        # Guards _steps and _runs while a runner is added, and the thread ends.
        self._lock = threading.Lock()
        self._runs = False
        self._steps: dict[Runner, Steps] = {}
        # The times at which runners have something to do, by their own account.
        self._until: dict[Runner, float] = {}
        # The times at which runners want to go on, by news from outside.
        self._news: dict[Runner, float] = {}
        # The outcome of the last record of a runner, until the runner is told.
        self._outcomes: dict[Runner, Outcome] = {}
        self._bell = threading.Event()
        self._sleeps_until = -math.inf

    @property
    def running(self) -> bool:
        """Whether a thread moves runners."""
        return self._runs

    def add(self, runner: Runner) -> None:
        """Run an answer to its end. Raises RuntimeError without room for a thread."""
        with self._lock:
            self._steps[runner] = runner.steps()
            self._until[runner] = -math.inf
            begins, self._runs = not self._runs, True
        if begins:
            try:
                self._beside(self._run, "sse-answer")
            except RuntimeError:
                with self._lock:
                    self._runs = False
                    self._forget(runner)
                raise
        runner.start(lambda seconds: self._expect(runner, seconds))
        self._bell.set()

    def _expect(self, runner: Runner, seconds: float) -> None:
        """Go on with a runner in some seconds. May be called from any thread."""
        if runner not in self._steps:
            return
        at = self._clock() + seconds
        self._news[runner] = min(at, self._news.get(runner, math.inf))
        if seconds == 0.0 or at < self._sleeps_until:
            self._bell.set()

    # The thread

    def _run(self) -> None:
        while True:
            if self._home.left:
                # A fork under gevent has copied this greenlet.
                threading.Event().wait()
            self._bell.clear()
            self.go_on(self._due())
            with self._lock:
                if not self._steps:
                    self._runs = False
                    return
            self._rest()

    def _due(self) -> list[Runner]:
        now = self._clock()
        told = [each for each, at in list(self._news.items()) if at <= now]
        due = [each for each, at in list(self._until.items()) if at <= now]
        found = dict.fromkeys([*self._outcomes, *told, *due])
        # An answer that is over may still be told of the end of its items.
        for runner in found.keys() - self._steps.keys():
            self._news.pop(runner, None)
            del found[runner]
        return list(found)

    def _rest(self) -> None:
        """Wait until a runner has something to do."""
        if self._outcomes:
            return
        # News that come before the sum is done ring too.
        self._sleeps_until = math.inf
        times = [*list(self._news.values()), *list(self._until.values())]
        until = min(times, default=math.inf)
        self._sleeps_until = until
        pause = max(_PAUSE_SECONDS, until - self._clock())
        self._bell.wait(None if pause == math.inf else min(pause, 60.0))
        self._sleeps_until = -math.inf

    def go_on(self, runners: Iterable[Runner]) -> None:
        """Move each runner to its next record or wait, and append the records."""
        wanted: dict[Runner, Record] = {}
        for runner in runners:
            wish = self._moved(runner)
            if isinstance(wish, Record):
                wanted[runner] = wish
            elif wish is not None:
                self._until[runner] = wish
            else:
                runner.over.set()
                with self._lock:
                    self._forget(runner)
        if wanted:
            self._outcomes.update(self._appended(wanted))

    def _moved(self, runner: Runner) -> Record | float | None:
        """Return what a runner yields next, None at its end."""
        self._news.pop(runner, None)
        outcome = self._outcomes.pop(runner, None)
        with surviving(self._say_failure), contextlib.suppress(StopIteration):
            return self._steps[runner].send(outcome)
        return None

    def _forget(self, runner: Runner) -> None:
        del self._steps[runner]
        del self._until[runner]
        self._news.pop(runner, None)

    def _say_failure(self) -> None:
        text = "the records of an answer could not be made any more"
        self._rare_log.exception("SSE-1616", text)

    # Appending

    def _appended(self, wanted: dict[Runner, Record]) -> dict[Runner, Outcome]:
        """Append records, as soon as the broker takes them.

        The outcome of a try that fails is unknown. A record of an answer may come
        twice: the books pass over the second one.
        """
        found: dict[Runner, Outcome] = {}
        wait = _FIRST_WAIT_SECONDS
        while True:
            found |= self._tried(
                {
                    runner: record
                    for runner, record in wanted.items()
                    if runner not in found
                }
            )
            away = [
                each for each in wanted if isinstance(found[each], BrokerUnavailable)
            ]
            if not away:
                return found
            error = found[away[0]]
            text = "%d answers wait for the broker: %s"
            self._rare_log.warning("SSE-1613", text, len(away), error)
            self._bell.clear()
            self._bell.wait(wait)
            wait = min(2 * wait, _MAX_WAIT_SECONDS)
            for runner in list(self._steps):
                runner.check_patience()
            for runner in away:
                del found[runner]
                if runner.over.is_set() or self._home.left:
                    found[runner] = None

    def _tried(self, wanted: dict[Runner, Record]) -> dict[Runner, Outcome]:
        """Append records once, those that can be joined together."""
        groups = list(_joined(wanted))
        try:
            outcomes = self._append([record for record, _ in groups])
        except Exception as error:  # noqa: BLE001 - each runner is told
            return dict.fromkeys(wanted, error)
        return {
            runner: outcome
            for (_, runners), outcome in zip(groups, outcomes, strict=True)
            for runner in runners
        }


_Groups = Iterator[tuple[Record, list[Runner]]]


def _joined(wanted: dict[Runner, Record]) -> _Groups:
    """Join parts, unless a trace shows them apart. Other records have own keys."""
    parts: dict[Runner, Record] = {}
    for runner, record in wanted.items():
        if runner.traceparent is None and records.is_part(record):
            parts[runner] = record
        else:
            yield replace(record, traceparent=runner.traceparent), [runner]
    runners = iter(parts)
    for record, count in records.joined(list(parts.values())):
        yield record, list(islice(runners, count))
