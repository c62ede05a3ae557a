"""The machine: the figures of all workers that follow one log on it.

Any worker, and any program of the same user, asks the others. Knows figures and
colleagues. Does not know requests.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..runtime.closing import Closed
from .colleagues import Colleagues
from .figures import Figures

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MachineFigures:
    """The workers of one log on this machine."""

    workers: Sequence[Figures]
    #: The numbers of workers that gave no answer in time: stopped, or too busy.
    silent: tuple[int, ...] = ()


class Machine:
    """Ask all workers of a log for their figures.

    ``own`` returns the figures of this process, for its number and whether to list its
    streams; None in a program that is no worker. ``alone`` says that no other process
    can follow the log.
    """

    def __init__(
        self,
        name: str,
        *,
        own: Callable[[int, bool], Figures] | None = None,
        alone: bool = False,
        colleagues: Colleagues | None = None,
    ) -> None:
        self._own = own
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
        if self._own is None or self._colleagues.number is None:
            return b""
        clients = bool(json.loads(question).get("clients"))
        return self._own(self._colleagues.number, clients).to_json()

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
            if self._alone or worker == number:
                return MachineFigures(found)
        silent = []
        answers = self._colleagues.ask(json.dumps({"clients": clients}), only=worker)
        for other, data in answers.given.items():
            try:
                found.append(Figures.from_json(data))
            except ValueError as error:
                log.debug("the answer of worker %d cannot be read: %s", other, error)
                silent.append(other)
        found.sort(key=lambda each: each.worker)
        silent = sorted([*silent, *answers.silent])
        return MachineFigures(found, tuple(silent))
