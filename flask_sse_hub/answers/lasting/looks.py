"""The looks: when a desk looks at its answers, and in which thread.

Knows how often. Does not know what a look is for.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ...runtime.closing import Closed
from ...runtime.coded_log import CodedLog
from ...runtime.rare_log import RareLog
from ...runtime.survival import surviving
from .entry import BookEntry

log = CodedLog(__name__)

# How often a desk looks at all of its answers, while there are any.
_LOOK_SECONDS = 1.0

# The pause between two looks at answers that have changed. Readers that come and go are
# told together.
_PAUSE_SECONDS = 0.02


class Looking(Protocol):
    """The desk that looks."""

    @property
    def has_answers(self) -> bool:
        """Whether there is anything to look at."""

    def look(self) -> None:
        """Append everything that is due for the answers of the book."""

    def look_at(self, changed: set[BookEntry]) -> None:
        """Append what is due for some answers."""


class Looks:
    """The looks of one desk. Creating it starts nothing."""

    def __init__(
        self,
        desk: Looking,
        *,
        closed: Closed,
        beside: Callable[[Callable[[], None], str], None],
    ) -> None:
        self._desk = desk
        self._closed = closed
        self._beside = beside
        self._rare_log = RareLog(log)
        # Guards _runs: whether a thread looks at the answers.
        self._lock = threading.Lock()
        self._runs = False
        self._due = threading.Event()
        # The answers that have changed since the last look, and when to look at all.
        self._changed: set[BookEntry] = set()
        self._all_at = -math.inf

    def wake(self, entry: BookEntry | None) -> None:
        """Look at an answer soon, or at all of them."""
        if entry is None:
            self._all_at = -math.inf
        else:
            self._changed.add(entry)
        self._due.set()
        with self._lock:
            begins, self._runs = not self._runs, True
        if begins:
            try:
                self._beside(self._run, "sse-answers")
            except RuntimeError:
                # The next change tries again.
                self._runs = False

    def _run(self) -> None:
        while not self._closed.is_set():
            self._due.clear()
            with surviving(self._say_failure):
                self._look()
            with self._lock:
                if not self._desk.has_answers and not self._due.is_set():
                    self._runs = False
                    return
            if self._due.is_set():
                self._closed.wait(_PAUSE_SECONDS)
            else:
                self._due.wait(_LOOK_SECONDS)

    def _look(self) -> None:
        now = time.monotonic()
        changed = {self._changed.pop() for _ in range(len(self._changed))}
        if now < self._all_at:
            self._desk.look_at(changed)
        else:
            # First: a change that comes meanwhile is looked at once more.
            self._all_at = now + _LOOK_SECONDS
            self._desk.look()

    def _say_failure(self) -> None:
        text = "the look at the answers failed, and goes on"
        self._rare_log.exception("SSE-1608", text)
