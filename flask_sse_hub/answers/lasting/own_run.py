"""One answer that this process runs, between its runner, its entry and the worker."""

import contextvars
import threading
from collections.abc import Callable
from typing import Protocol

from ...runtime.coded_log import CodedLog
from ...runtime.rare_log import RareLog
from .book import Book
from .entry import BookEntry
from .runner import Runner

log = CodedLog(__name__)
_rare_log = RareLog(log)


class KnowsRuns(Protocol):
    """The desk of a run."""

    book: Book

    def note_leaving(self) -> None:
        """Note that this process is going away."""

    def close(self, run: "OwnRun") -> None:
        """Let go of a run, because it is over."""


class OwnRun:
    """One answer of this process, and what it hears of the log and of its worker."""

    def __init__(self, desk: KnowsRuns, runner: Runner) -> None:
        self.runner = runner
        self.id, self.turn = runner.begun.run, runner.begun.turn
        self._desk = desk
        self._entry: BookEntry | None = None

    @property
    def is_known(self) -> bool:
        """Whether the book has had the entry of this run."""
        return self._entry is not None

    def listen(self) -> None:
        """Listen to the entry of this run, once the book has it."""
        begun = self.runner.begun
        entry = self._desk.book.get(begun.id)
        if self._entry is not None or entry is None:
            return
        if entry.begun.run == begun.run:
            self._entry = entry
            entry.listen(self._look)
            self._look()
        elif entry.is_running:
            _rare_log.warning(
                "SSE-1610",
                "the answer %s runs already: the second one is not produced",
                begun.id,
            )
            self._end()

    def _look(self) -> None:
        entry = self._entry
        if entry is None or entry.is_forgotten or not self._has_turn(entry):
            self._end()
        else:
            self.runner.note_readers(some=bool(entry.readers), was_read=entry.was_read)

    def _has_turn(self, entry: BookEntry) -> bool:
        """Tell whether this run still produces the answer.

        The other workers take a process that was only stopped for dead.
        """
        is_current = entry.begun.turn <= self.runner.begun.turn
        return entry.is_running and is_current and not entry.runner_is_gone

    def _end(self) -> None:
        if self._entry is not None:
            self._entry.unlisten(self._look)
        self.runner.note_end()
        self._desk.close(self)

    # Called by the watch for departures

    def probe(self) -> None:
        """Do nothing: no peer is watched."""

    def peer_left(self) -> None:
        """Do nothing: an answer outlives its readers."""

    def worker_leaves(self) -> None:
        """End the answer, or leave it to another worker: this one has no more time."""
        self._desk.note_leaving()
        self.runner.end_now("shutdown")

    def cut(self) -> None:
        """Wait for the log no longer."""
        self.runner.note_end()


def in_thread(function: Callable[[], None], name: str) -> None:
    """Run a function in a thread of a name. Raises RuntimeError without room for it."""
    # An empty context: the caller's context may hold a request.
    run = contextvars.Context().run
    threading.Thread(target=run, args=(function,), name=name, daemon=True).start()
