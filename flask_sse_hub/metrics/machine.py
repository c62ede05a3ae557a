"""The machine: the figures of all workers that follow one log on it.

Any worker, and any program of the same user, asks the others. Knows figures and
colleagues. Does not know requests.
"""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ..hub.clients.client_stats import ClientStats
from ..runtime.closing import Closed
from .colleagues import Colleagues
from .figures import Figures, total
from .lives import FoundLives, MachineLives
from .machine_stats import MachineStats
from .streams import FoundStreams, StreamQuery

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MachineFigures:
    """The workers of one log on this machine."""

    workers: Sequence[Figures]
    #: The numbers of workers that gave no answer in time: stopped, or too busy.
    silent: tuple[int, ...] = ()

    def stats(self) -> MachineStats:
        """Return the sums of at least one worker, and a summary of each worker."""
        workers = tuple(each.stats() for each in self.workers)
        return MachineStats(total(self.workers), workers, self.silent)


@dataclass(frozen=True, slots=True)
class MachineStreams:
    """The streams of all workers that a query has found."""

    count: int
    #: The first of them, each with the number of its worker.
    streams: Sequence[tuple[int, ClientStats]]
    silent: tuple[int, ...] = ()


class Machine:
    """Ask all workers of a log for their figures.

    ``own`` returns the figures of this process, for its number and whether to list its
    streams; None in a program that is no worker. ``streams`` returns the streams of
    this process, and ``lives`` a user's, open or ended, for this worker's number.
    ``alone`` says that no other process can follow the log.
    """

    def __init__(
        self,
        name: str,
        *,
        own: Callable[[int, bool], Figures] | None = None,
        streams: Callable[[], Iterable[ClientStats]] = tuple,
        lives: Callable[[str, int], FoundLives] | None = None,
        alone: bool = False,
        colleagues: Colleagues | None = None,
    ) -> None:
        self._own = own
        self._streams = streams
        self._lives = lives
        self._alone = alone
        self._colleagues = (
            Colleagues(name, answer=self._answer) if colleagues is None else colleagues
        )

    def run(self, closed: Closed) -> None:
        """Answer other workers until ``closed`` is set."""
        if not self._alone:
            self._colleagues.run(closed)

    def leave(self) -> None:
        """Answer nobody any more: this worker is going away."""
        self._colleagues.leave()

    def _answer(self, question: str) -> bytes:
        number = self._colleagues.number
        if self._own is None or number is None:
            return b""
        asked = json.loads(question)
        if "streams" in asked:
            return self._found(StreamQuery(**asked["streams"]), number).to_json()
        if "lives" in asked:
            return (
                b""
                if self._lives is None
                else self._lives(asked["lives"], number).to_json()
            )
        return self._own(number, bool(asked.get("clients"))).to_json()

    def _found(self, query: StreamQuery, number: int) -> FoundStreams:
        return FoundStreams.among(self._streams(), query, worker=number)

    @property
    def _number(self) -> int:
        """This worker's number; 0 if it cannot join the others."""
        try:
            if not self._alone:
                self._colleagues.join()
        except OSError as error:
            log.debug("other workers cannot be asked: %s", error)
        return self._colleagues.number or 0

    def figures(
        self, *, clients: bool = False, worker: int | None = None
    ) -> MachineFigures:
        """Return the figures of all workers, or of one; ``clients`` lists streams.

        There are none, and no silent worker, if no such worker exists.
        """
        found: list[Figures] = []
        if self._own is not None:
            number = self._number
            if worker in (None, number):
                found.append(self._own(number, clients))
            if worker == number:
                return MachineFigures(found)
        others, silent = self._ask({"clients": clients}, Figures.from_json, only=worker)
        found = sorted([*found, *others], key=lambda each: each.worker)
        return MachineFigures(found, silent)

    def streams(self, query: StreamQuery) -> MachineStreams:
        """Return the first streams of all workers that a query finds."""
        found: list[FoundStreams] = []
        if self._own is not None:
            found.append(self._found(query, self._number))
        others, silent = self._ask({"streams": asdict(query)}, FoundStreams.from_json)
        found += others
        every = [(each.worker, stream) for each in found for stream in each.streams]
        every.sort(key=lambda pair: query.rank(pair[1]))
        count = sum(each.count for each in found)
        return MachineStreams(count, every[: query.most], silent)

    def lives(self, user: str) -> MachineLives:
        """Return the streams of a user that all workers remember, open or ended."""
        found: list[FoundLives] = []
        if self._lives is not None:
            found.append(self._lives(user, self._number))
        others, silent = self._ask({"lives": user}, FoundLives.from_json)
        found = sorted([*found, *others], key=lambda each: each.worker)
        return MachineLives(found, silent)

    def _ask(
        self, question: Any, read: Callable[[bytes], T], *, only: int | None = None
    ) -> tuple[list[T], tuple[int, ...]]:
        """Return the answers of the other workers, and the numbers of the silent."""
        if self._alone:
            return [], ()
        answers = self._colleagues.ask(json.dumps(question), only=only)
        found: list[T] = []
        silent = [*answers.silent]
        for other, data in answers.given.items():
            try:
                found.append(read(data))
            except ValueError as error:
                log.debug("the answer of worker %d cannot be read: %s", other, error)
                silent.append(other)
        return found, tuple(sorted(silent))
