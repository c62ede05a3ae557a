"""The events of one transaction that has not ended, in their order.

Knows savepoints by any value that identifies them. Does not know SQLAlchemy: the caller
tells what its transaction does.
"""

from collections.abc import Callable, Hashable
from typing import NamedTuple

from ..errors import InvalidEvent
from ..events.pending import PendingEvent
from ..events.record import Record
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog
from ..runtime.survival import surviving

log = CodedLog(__name__)
_rare_log = RareLog(log)


# The most events of one transaction. They are in memory until it ends, and a log keeps
# far fewer.
_MOST_EVENTS = 100_000


class Destination(NamedTuple):
    """The place to which the events of a transaction go, once it has committed."""

    #: Append a record to the log and return its id.
    append: Callable[[Record], str]
    #: Note an event that could not be appended, with the error.
    failed: Callable[[Record, BaseException], None]


class _Waiting(NamedTuple):
    event: PendingEvent
    commit: Callable[[], None]
    fail: Callable[[BaseException], None]


class Uncommitted:
    """The events that wait for one transaction. Not for use by several threads.

    A session or a connection, and so this object, belongs to one thread.
    """

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        # For each open savepoint, the outermost first: the events before it.
        self._savepoints: dict[Hashable, int] = {}

    def append_later(self, record: Record, to: Destination) -> PendingEvent:
        """Append a record to the log after the commit."""
        event = PendingEvent()

        def commit() -> None:
            event.published(to.append(record))

        def fail(error: BaseException) -> None:
            event.become("failed")
            to.failed(record, error)

        return self._add(_Waiting(event, commit, fail))

    def ring_later(self, ring: Callable[[PendingEvent], None]) -> PendingEvent:
        """Ring after the commit, which stores the event in the outbox."""
        event = PendingEvent()

        def commit() -> None:
            event.become("stored")
            ring(event)

        # The row is in the database, and a relay finds it without the ring.
        return self._add(_Waiting(event, commit, lambda _: None))

    def _add(self, waiting: _Waiting) -> PendingEvent:
        if len(self._waiting) >= _MOST_EVENTS:
            raise InvalidEvent(
                f"{_MOST_EVENTS} events wait for this transaction already: commit in"
                " between, or publish one event for many rows"
            )
        self._waiting.append(waiting)
        return waiting.event

    # Steps of the transaction

    def open(self, savepoint: Hashable) -> None:
        """Note that a savepoint begins."""
        self._savepoints[savepoint] = len(self._waiting)

    def release(self, savepoint: Hashable) -> None:
        """Note that a savepoint, with all within it, is a part of what is around it."""
        self._close(savepoint)

    def roll_back_to(self, savepoint: Hashable) -> None:
        """Forget the events since a savepoint began."""
        self._forget(self._waiting[self._close(savepoint) :])

    def _close(self, savepoint: Hashable) -> int:
        """Close a savepoint and those within it; return the count of events before it.

        An unknown savepoint began before the first event.
        """
        before = self._savepoints.get(savepoint, 0)
        names = list(self._savepoints)
        inner = names[names.index(savepoint) :] if savepoint in names else names
        for each in inner:
            del self._savepoints[each]
        return before

    def roll_back(self) -> None:
        """Forget all events: the transaction was rolled back."""
        self._savepoints.clear()
        self._forget(list(self._waiting))

    def _forget(self, waiting: list[_Waiting]) -> None:
        if waiting:
            del self._waiting[-len(waiting) :]
        for each in waiting:
            each.event.become("forgotten")

    def committed(self) -> None:
        """Publish all events in their order: the transaction has been committed.

        Raises no ``Exception``. After the first event that fails, the others fail too:
        each would wait for the same broker, and the log must have no hole.
        """
        self._savepoints.clear()
        waiting, self._waiting = self._waiting, []
        failure: BaseException | None = None
        for each in waiting:
            if failure is None:
                try:
                    each.commit()
                except BaseException as error:  # noqa: BLE001 - raised below
                    failure = error
            if failure is not None:
                with surviving():
                    each.fail(failure)
        if failure is None:
            return
        _rare_log.error(
            "SSE-1506",
            "%d of %d events were not published after the commit of their transaction:"
            " %s",
            sum(each.event.state == "failed" for each in waiting),
            len(waiting),
            failure,
            kind=type(failure).__name__,
        )
        if not isinstance(failure, Exception):
            # The app's own timeout, or the end of its greenlet, goes on as usual.
            raise failure
