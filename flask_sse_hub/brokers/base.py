"""The broker contract, for authors of brokers and for code that calls a broker.

A broker is one ordered, bounded log. It gives each event its id and carries the event
to every process that follows the log. It does not know clients, sockets or Flask.

To write a broker, subclass ``Broker`` and run ``tests/unit/brokers`` on it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import BrokerUnavailable, StateFull
from ..events.address import Address
from ..events.record import (
    FAN_OUT_SECONDS,
    Cursor,
    GapReason,
    Record,
    Retention,
)

#: The errors with which ``publish()`` refuses a record.
LogError = BrokerUnavailable | StateFull

#: How many seconds an idempotency key is remembered. A service that sends a webhook
#: again does so for hours, and rarely for more than a day.
IDEMPOTENCY_SECONDS = 86_400.0

#: How many of the newest idempotency keys a broker remembers at least. Older keys may
#: be forgotten before their time is over. Without this bound, a key on every event
#: would make the keys larger than the log itself.
IDEMPOTENCY_KEYS = 100_000

#: How many control records a log keeps at most: as many as a worker remembers. They
#: count towards no other bound. Otherwise logouts would push out events.
CONTROL_RECORDS = 10_000

#: How many records with a ttl a log keeps at most, and how many bytes of them. They
#: count towards no other bound. Otherwise typing indicators would push out messages.
SHORT_LIVED_RECORDS = 10_000
SHORT_LIVED_BYTES = 8_388_608

#: The seconds for which an event stays in any case, also beyond its channel's bounds:
#: otherwise workers and clients that keep up might not read it in time.
CHANNEL_SECONDS = FAN_OUT_SECONDS

#: The number of ended sessions, the newest ones, that a broker remembers beside its
#: log. A worker remembers the same number.
ENDED_SESSIONS = 100_000

#: A page or batch that has this many bytes takes no further record. A page of large
#: records would otherwise take as much memory as the whole log.
PAGE_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class LogBatch:
    """The next records of the log for a follower, and the cursor after them.

    Without a gap, ``records`` are all the records between the previous batch's cursor
    and this one, in order. There may be none: the cursor also moves past entries that
    cannot be read.

    With a ``gap``, records after the previous cursor are lost for good. ``records`` is
    then empty, and ``cursor`` is the head of the log. The follower goes on from there.

    ``malformed`` counts the entries in this stretch of the log that are not readable
    records. The broker passed over them.
    """

    records: tuple[Record, ...]
    cursor: Cursor
    gap: GapReason | None = None
    malformed: int = 0


@dataclass(frozen=True, slots=True)
class Replay:
    """One page of the log, and the cursor at which the next page begins.

    A page that returns the cursor it was asked for is the end of the log.

    With a ``gap``, the log does not reach back to the cursor it was asked for.
    ``records`` is then empty.

    Records up to the offset ``missed`` may have been removed from between others before
    their time. ``bridge()`` tells whether a reader from before it has lost something.
    """

    records: tuple[Record, ...]
    cursor: Cursor
    gap: GapReason | None = None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class LogState:
    """The newest record of each address and key, in log order, and its place.

    A record that is the newest one for several addresses comes once for each, with that
    address alone (``Record.kept_at()``). No record after the cursor is missing from the
    log.
    """

    records: tuple[Record, ...]
    cursor: Cursor


def check_room(keep: Retention | None, *, keys: int, size: int) -> None:
    """Raise StateFull if a number of keys or bytes is beyond the bounds."""
    if keep is not None and (keys > keep.state_keys or size > keep.state_bytes):
        raise state_full()


def state_full() -> StateFull:
    """Return the error of an event for whose key there is no room."""
    return StateFull(
        "the state of keys has no room for this event: remove keys with delete=True, or"
        " raise SSE_HUB_STATE_KEYS or SSE_HUB_STATE_BYTES"
    )


class Broker(ABC):
    """Keep one ordered, bounded log of records and carry it to every process.

    The docstring of each method gives the promise first, then the duties of the
    implementer, then the rules for the caller.

    Implementer: the constructor opens nothing and starts nothing. Any greenlet or
    thread of the process that constructed the broker may call any method at any time.
    Every method except ``follow()`` returns or raises BrokerUnavailable within seconds,
    because a request may be waiting. Translate your database's errors into
    BrokerUnavailable.

    Caller: a broker does not survive a fork. In the child process, construct a new
    broker; the only method to call on the inherited one is ``close()``.
    """

    #: How far events travel: within one process, one machine, or between machines.
    reach: ClassVar[Literal["process", "machine", "network"]]

    @property
    def clock_ahead(self) -> float:
        """How many seconds the clock of the records is ahead of this process's clock.

        Implementer: override this if another machine gives records their times. Answer
        from memory.
        """
        return 0.0

    @abstractmethod
    def publish(self, record: Record) -> Cursor:
        """Append a record to the log and return its cursor, which is the event's id.

        Implementer: set the record's ``cursor`` and ``time``. Offsets only rise within
        an epoch. Never give one id to two records, even if records were lost or
        trimmed. When the method returns, the record is as durable as your broker's
        documentation says, and every follower will receive it.

        Trim events by the retention. Keep the newest CONTROL_RECORDS control records:
        they do not count as events, and a new one takes the place of the oldest one,
        also between events.

        Keep records with a ttl apart too, up to SHORT_LIVED_RECORDS and
        SHORT_LIVED_BYTES. Remove them, also from between events, when their time is
        over (``Record.ends``). If there are still too many, remove the oldest ones, and
        note those as trimmed that are a loss (``Record.is_loss()``). Never remove the
        newest record of the log by these bounds.

        Keep records with ``bounds`` apart too. When one is appended, remove the oldest
        ones of its channel beyond its bounds, also from between events, but none that
        is younger than CHANNEL_SECONDS. Together they have the bounds of the retention
        once more. Note those that you remove as trimmed.

        Note the addresses of each final control record for ``ended()``, in one step
        with the append.

        If the record's ``idempotency_key`` was seen before, append nothing and return
        the cursor of the first record with that key. Remember a key for
        IDEMPOTENCY_SECONDS as long as it is one of the newest IDEMPOTENCY_KEYS, and
        bound the number of keys that you hold.

        If the record has a ``key``, keep it in ``state()`` for each of its addresses,
        or remove that state if the record ``deletes`` it. Raise StateFull, and append
        nothing, if the state would have more keys or bytes than the retention allows
        (``Record.kept_size`` for each address). A value with a ttl leaves the state
        when its time is over, and makes room.

        Caller: after BrokerUnavailable the outcome is unknown, so neither the broker
        nor the hub publishes again by itself. To publish safely again, use an
        idempotency key.
        """

    def publish_together(self, records: Sequence[Record]) -> list[Cursor | LogError]:
        """Append several records; return the cursor of each, or its error.

        Implementer: override this if a group costs less than its records one by one.

        Caller: as for ``publish()``, also for each record of the group.
        """
        found: list[Cursor | LogError] = []
        for record in records:
            try:
                found.append(self.publish(record))
            except (BrokerUnavailable, StateFull) as error:
                found.append(error)
        return found

    @abstractmethod
    def follow(self, after: Cursor) -> Iterator[LogBatch]:
        """Yield everything after a cursor, in order and as it arrives, until close().

        Implementer: block between batches. While the log cannot be reached, keep trying
        to reconnect; do not raise BrokerUnavailable. Report lost records (the log was
        trimmed past the follower, flushed or replaced) as the ``gap`` of the next
        batch; never skip them silently. A control record that is lost counts too: it
        may have ended a stream. A record with a ttl counts if it was removed before its
        time, and not afterwards. End a batch at ``PAGE_BYTES``, or a follower
        that is behind reads the whole log into memory. Pass over entries that another
        program wrote and count them as ``malformed``; they must not end the follower.

        Caller: iterate in a thread or greenlet that may block. After a gap, keep
        iterating; the next batch continues from the gap's cursor. Each call is a
        follower of its own, with its own place in the log.
        """

    @abstractmethod
    def replay(self, after: Cursor, *, page: int) -> Replay:
        """Return up to ``page`` records after a cursor, fewer if they are large.

        Implementer: end the page at ``PAGE_BYTES``, after one record at least. If any
        event after the cursor may be missing, return a ``gap`` and no records. Control
        records that were trimmed between events are no gap here: the page is for one
        client that resumes. Records with a ttl are none either, but set ``missed``.
        Records whose time is over may still be in the page.

        * ``EPOCH``: the cursor belongs to another log, or to a record that this log has
          lost.
        * ``AHEAD``: the cursor is beyond the head.
        * ``EXPIRED``: events after the cursor were trimmed. ``bridge()`` tells whether
          a reader has lost something by that.

        Caller: for the next page, call again with the returned cursor. Stop when the
        returned cursor is the one that you passed. Raises BrokerUnavailable.
        """

    @abstractmethod
    def bridge(self, after: Cursor, addresses: Sequence[Address]) -> Cursor | None:
        """Return the place where a reader of some addresses goes on after a trim.

        No event for these addresses lies between the cursor and that place. Returns
        None if one was trimmed, or if that is not known any more. A record whose time
        was over is no loss. A pattern among the addresses stands for all channels below
        it (``events.channel_patterns``).

        Implementer: when you trim a record, note its offset for each of its addresses
        (``events.trimming``). Keep the notes as long as the log, and bound them. If
        records can be trimmed without a note, by an earlier version of your broker for
        example, notice that and return None. Records that are too old count as trimmed
        even while nothing is published.

        Caller: call this after ``replay()`` has returned ``EXPIRED``, or a ``missed``
        offset that lies after the cursor. Raises BrokerUnavailable.
        """

    @abstractmethod
    def state(self) -> LogState:
        """Return the newest record of each address and key, in log order.

        Implementer: the state outlives the records in the log, and every restart. It
        must be true at the returned cursor; it may also have later records. Their
        cursors are of the current epoch. Values whose time is over may still be in it.

        Caller: go on with the records after the cursor. Raises BrokerUnavailable.
        """

    @abstractmethod
    def head(self) -> Cursor:
        """Return the cursor of the newest record.

        Implementer: an empty log has a head too: the cursor after which its first
        record will come. Begin a new log if there is none.

        Caller: ``follow(head)`` yields only records that are published from now on.
        Raises BrokerUnavailable.
        """

    def seen_head(self) -> Cursor:
        """Return a recent head of the log, if possible without waiting.

        Implementer: override this if your processes can tell each other the head. No
        record whose ``publish()`` has returned lies after it, except while a process
        that was killed has not been able to tell. It is never beyond the head.

        Caller: note it where a head that is a moment old does no harm: records after it
        may have been there before. Raises BrokerUnavailable.
        """
        return self.head()

    @abstractmethod
    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about ``max_bytes`` of the log remain.

        Implementer: measure records by ``Record.size``. Never return a cursor before
        the oldest retained record's place, or before a control record that was trimmed:
        the follower would begin with a gap.

        Caller: a worker that starts follows from this cursor to fill its memory. Raises
        BrokerUnavailable.
        """

    def ended(self) -> Sequence[Address]:
        """Return the addresses of the sessions that ended last, the oldest first.

        Implementer: override this if your log outlives its processes. Keep the newest
        ENDED_SESSIONS addresses beside the log, also if the log is trimmed or begins
        again. An address may come twice.

        Caller: ask after you have chosen the cursor to follow from. Each session has
        then ended here or in a record after that cursor. Raises BrokerUnavailable.
        """
        return ()

    def resolve(self, cursor: Cursor) -> Cursor:
        """Return the same place as a cursor of the current epoch, if there is one.

        Implementer: override this if your broker can begin a new epoch without losing
        records; ids of earlier epochs then stay valid. Answer from memory and never
        block. Return any other cursor unchanged, as this default does.

        Caller: resolve each id that a client brings before you use it.
        """
        return cursor

    def concerns(self) -> Iterable[tuple[str, str]]:
        """Yield each thing around the log that may soon fail, and its cure.

        Implementer: override this if your database's surroundings can be looked at,
        such as the room on a disk. Never raise BrokerUnavailable.

        Caller: for people who look for a fault, not for each request.
        """
        return ()

    @abstractmethod
    def close(self) -> None:
        """Release every resource and end all followers.

        Implementer: a second call does nothing more. From now on ``publish()``,
        ``replay()``, ``head()`` and ``tail()`` raise BrokerUnavailable, and
        ``follow()`` ends at once. A log that is stored outside the process stays.

        Caller: a closed broker cannot be opened again; construct a new one.
        """
