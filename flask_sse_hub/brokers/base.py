"""The broker contract, for those who write one and those who call one.

A broker is one ordered, bounded log. It gives every event its id and carries it to
every process that follows. It does not know clients, sockets or Flask.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..events.record import Cursor, GapReason, Record

#: For how long the second publish with the same idempotency key returns the first id:
#: services send a webhook again for hours, and few for more than a day.
IDEMPOTENCY_SECONDS = 86_400.0

#: So many keys a broker holds at least; beyond it the oldest may be forgotten early, or
#: keys at the rate of events would take more than the log itself.
IDEMPOTENCY_KEYS = 100_000


@dataclass(frozen=True, slots=True)
class LogBatch:
    """What a follower gets: the next records, and the cursor that they lead to.

    With a ``gap`` something after the last batch is lost for good. There are no records
    then, and the cursor is where the log goes on: its head. ``malformed`` is how many
    entries on the way there are no records, and were passed over.
    """

    records: tuple[Record, ...]
    cursor: Cursor
    gap: GapReason | None = None
    malformed: int = 0


@dataclass(frozen=True, slots=True)
class Replay:
    """One page of the log, and where the next page begins.

    With a ``gap`` there are no records: the log does not reach back to the cursor.
    """

    records: tuple[Record, ...]
    cursor: Cursor
    gap: GapReason | None = None


class Broker(ABC):
    """Keep one ordered, bounded log of records and carry it to every process.

    Constructing a broker opens and starts nothing. Every method may be called from any
    greenlet or thread of the process that constructed it; a forked child makes its own
    and at most closes the one it inherited.
    """

    #: How far events travel: within one process, one machine, or between machines.
    reach: ClassVar[Literal["process", "machine", "network"]]

    @abstractmethod
    def publish(self, record: Record) -> Cursor:
        """Append a record and return its cursor, which is the event's id.

        The implementer sets the record's cursor and time. Offsets only ever rise, and
        an id is never given twice, whatever is lost or trimmed. When this returns, the
        record is as durable as the broker's documentation says, and every follower will
        get it. A record whose ``idempotency_key`` was seen in the last
        IDEMPOTENCY_SECONDS, and is among the last IDEMPOTENCY_KEYS, is not appended
        again: the first one's cursor is returned. How many are held is bounded.

        The caller may be in a request: this returns or raises BrokerUnavailable soon.
        After that error the outcome is unknown, so it is never repeated by itself.
        """

    @abstractmethod
    def follow(self, after: Cursor) -> Iterator[LogBatch]:
        """Yield everything after a cursor, in order, as it comes, until close().

        Blocks between batches and reconnects by itself. What is lost on the way (the
        log was trimmed below the follower, flushed, replaced) is said in the next
        batch's ``gap``, never passed over. Batches are bounded, so that a follower
        that is behind does not read the whole log at once. Whatever somebody else has
        written into the log is passed over and counted; it never ends a follower.
        """

    @abstractmethod
    def replay(self, after: Cursor, *, page: int) -> Replay:
        """Return up to ``page`` records after a cursor.

        ``gap`` tells that the cursor is of another log, or of a record that this one
        has lost (``epoch``), beyond the head (``ahead``), or so old that records after
        it were trimmed (``expired``). Raises BrokerUnavailable.
        """

    @abstractmethod
    def head(self) -> Cursor:
        """Return the cursor of the newest record. Raises BrokerUnavailable."""

    @abstractmethod
    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about ``max_bytes`` of the log remain.

        A worker that starts follows from there to fill its memory. Never before what
        is retained. Raises BrokerUnavailable.
        """

    def resolve(self, cursor: Cursor) -> Cursor:
        """Return the same place as a cursor of the current epoch, if there is one.

        A broker that begins a new epoch without losing anything keeps older ids good:
        it answers here, from what it remembers and without waiting.
        """
        return cursor

    @abstractmethod
    def close(self) -> None:
        """Release everything; followers end. Closing twice does nothing more.

        Publishing afterwards raises BrokerUnavailable.
        """
