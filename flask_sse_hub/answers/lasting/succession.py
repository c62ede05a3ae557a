"""The succession: another worker goes on with an answer whose runner is gone.

Each worker that can go on appends the same record, and the log has the first one: that
worker has the next turn. Knows entries and records. Does not know hubs, or what the
app's functions do.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ...errors import StateFull
from ...runtime.coded_log import CodedLog
from ...runtime.rare_log import RareLog
from ..source import Supply
from .entry import BookEntry
from .records import Begun, Content

log = CodedLog(__name__)

# A worker that cannot go on with an answer leaves this time to those that can.
_OTHERS_SECONDS = 3.0

# The text for readers of an answer whose runner is gone.
_LOST = "the process that produced the answer is gone"


class Restarts(Protocol):
    """The app's functions that go on with answers, as this process has them."""

    @property
    def debug(self) -> bool:
        """Whether readers may see the text of an error of this package."""

    def lacks(self, begun: Begun, *, running: int) -> str | None:
        """Return what this process lacks to go on with an answer, None if nothing.

        ``running`` is the number of answers that it runs.
        """

    def source(self, begun: Begun, content: Content) -> Supply:
        """Return the items that follow the content."""


class NoRestarts:
    """A process without functions of an app."""

    debug = False

    def lacks(self, begun: Begun, *, running: int) -> str | None:
        """Say that there is no function."""
        del begun, running
        return "it has no function for restarts"

    def source(self, begun: Begun, content: Content) -> Supply:
        """Raise LookupError."""
        raise LookupError(begun.restart, len(content))


class OwnDesk(Protocol):
    """The desk of this process, which goes on with answers, and ends them."""

    @property
    def member_id(self) -> str:
        """The id of this process among the members of the log."""

    @property
    def running(self) -> int:
        """The number of answers that this process runs."""

    @property
    def serves(self) -> bool:
        """Whether this process serves an app, and is not going away."""

    def begin(self, begun: Begun, *, traceparent: str | None = None) -> None:
        """Append the beginning of a turn. Raises BrokerUnavailable and StateFull."""

    def go_on(self, entry: BookEntry) -> None:
        """Run an answer whose turn this process has."""

    def end(self, entry: BookEntry, reason: str, message: str) -> None:
        """Append the end of an answer. Raises BrokerUnavailable."""


class Succession:
    """The answers whose runner is gone, as one process sees them."""

    def __init__(self, desk: OwnDesk, restarts: Restarts) -> None:
        self._desk = desk
        self._restarts = restarts
        self._rare_log = RareLog(log)
        # The moment at which this process saw that the runner of a turn is gone.
        self._gone_since: dict[Begun, float] = {}
        # The turns that this process wants, by answer.
        self._wanted: dict[str, Begun] = {}

    def look(self, gone: Sequence[BookEntry], now: float) -> None:
        """Go on with the answers whose runner is gone, or end them.

        Raises BrokerUnavailable.
        """
        since = self._gone_since
        self._gone_since = {each.begun: since.get(each.begun, now) for each in gone}
        runs = {each.begun.run for each in gone}
        self._wanted = {run: it for run, it in self._wanted.items() if run in runs}
        for entry in gone:
            why = self._go_on(entry, now)
            if why is not None:
                self._rare_log.warning(
                    "SSE-1609",
                    "the answer %s is lost: %s",
                    entry.begun.id,
                    why,
                    kind=why,
                )
                self._desk.end(entry, "lost", _LOST)

    def _go_on(self, entry: BookEntry, now: float) -> str | None:
        """Go on with an answer if possible. Return why it is lost, None otherwise."""
        begun = entry.begun
        if begun.restart is None:
            return "the process that produced it is gone"
        if self._wanted.get(begun.run) == begun and entry.can_go_on:
            del self._wanted[begun.run]
            self._desk.go_on(entry)
            return None
        if not begun.may_restart:
            return f"its process is gone, after {begun.turn} restarts"
        if not self._desk.serves:
            return None
        lack = self._lack(entry)
        if lack is None:
            return self._want(entry)
        is_due = now - self._gone_since[begun] >= _OTHERS_SECONDS
        return f"no worker can restart it, this one because {lack}" if is_due else None

    def _lack(self, entry: BookEntry) -> str | None:
        if not entry.can_go_on:
            return "a part of it is missing here"
        return self._restarts.lacks(entry.begun, running=self._desk.running)

    def _want(self, entry: BookEntry) -> str | None:
        """Ask for the next turn. Several processes may, and the log has the first."""
        turn = entry.begun.turn + 1
        wanted = replace(entry.begun, turn=turn, runner=self._desk.member_id)
        self._wanted[wanted.run] = wanted
        try:
            self._desk.begin(wanted, traceparent=entry.traceparent)
        except StateFull as error:
            return str(error)
        return None
