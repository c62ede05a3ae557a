"""History: the newest records of the log, in the memory of one worker.

Answers two questions for the clients that come or lag. Which events came after this
cursor for these addresses, or does history not reach back so far? Which control records
came? Control records are remembered apart from events: otherwise a busy log would end
the streams of everybody who is logged in and connects, and many logouts would push out
events. So are events with a ttl, which end by themselves. Does not lock (the dispatcher
does), and does not know clients.
"""

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from ...brokers.base import SHORT_LIVED_BYTES, SHORT_LIVED_RECORDS
from ...events.address import Address
from ...events.record import UNPLACED, Cursor, Disconnect, GapReason, Retention
from .stretch import Frame, Stretch

# The most control records that are remembered. A user may be loaded for seconds while
# thousands of others log out.
_MAX_CONTROL_RECORDS = 10_000

# The most memory for control records: only records with very many addresses reach it.
_MAX_CONTROL_BYTES = 16_777_216


class NextBlocks(NamedTuple):
    """The next blocks for one client, and the cursor to read on from.

    All blocks for the client up to ``cursor`` are in ``blocks``, or were read before.
    """

    blocks: list[bytes]
    cursor: Cursor


class History:
    """The newest frames of one log, in order, indexed by address."""

    def __init__(
        self, retention: Retention, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._frames = Stretch(retention)
        self._control = Stretch(
            Retention(
                events=_MAX_CONTROL_RECORDS,
                seconds=retention.seconds,
                bytes=_MAX_CONTROL_BYTES,
            )
        )
        self._short_lived = Stretch(
            Retention(
                events=SHORT_LIVED_RECORDS,
                seconds=retention.seconds,
                bytes=SHORT_LIVED_BYTES,
            )
        )
        self.restart(UNPLACED)

    @property
    def floor(self) -> int:
        """The offset after which all events without a ttl are here."""
        return self._frames.floor

    @property
    def bytes(self) -> int:
        """The bytes of memory that the frames take."""
        return sum(part.bytes for part in self._parts)

    @property
    def overfull(self) -> bool:
        """Whether frames that wait for their fan-out fill twice the memory allowed."""
        return any(part.overfull for part in self._parts)

    @property
    def _parts(self) -> tuple[Stretch, ...]:
        return self._frames, self._short_lived, self._control

    def restart(self, cursor: Cursor) -> None:
        """Forget all frames, and begin after this cursor."""
        self.cursor = cursor
        # Whether no record has been read yet.
        self._fresh = True
        for part in self._parts:
            part.restart(cursor.offset)

    def __len__(self) -> int:
        return len(self._frames) + len(self._short_lived)

    def append(self, frames: Iterable[Frame], cursor: Cursor) -> None:
        """Add frames that follow the newest one; ``cursor`` is the new end of history.

        Forgets nothing: only trim() does, so that a frame stays until its fan-out.
        """
        for frame in frames:
            if self._fresh:
                self._fresh = False
                for part in self._parts:
                    part.begins_before(frame.time)
            self._part_of(frame).append(frame)
        self.cursor = cursor

    def _part_of(self, frame: Frame) -> Stretch:
        if frame.ttl is not None:
            return self._short_lived
        return self._control if frame.is_control else self._frames

    def trim(self, *, upto: int) -> None:
        """Forget the oldest frames beyond retention, but none after ``upto``."""
        now = self._clock()
        for part in self._parts:
            part.trim(upto=upto, now=now)

    @property
    def now(self) -> float:
        """The time by the clock that gives records their times."""
        return self._clock()

    def covers(self, cursor: Cursor, addresses: Sequence[Address]) -> bool:
        """Tell whether all events for some addresses after the cursor are here."""
        return cursor.epoch == self.cursor.epoch and all(
            part.spared(cursor.offset, addresses)
            for part in (self._frames, self._short_lived)
        )

    def knows(self, cursor: Cursor) -> bool:
        """Tell whether the cursor is certainly a place in this part of the log.

        A cursor between two frames may be of a record that the log has lost.
        """
        if cursor.epoch != self.cursor.epoch:
            return False
        if cursor.offset in (self.floor, self.cursor.offset):
            return True
        return any(part.has(cursor.offset) for part in self._parts)

    def before(self, time: float) -> Cursor | None:
        """Return a cursor that lies before all events appended since a time.

        None if that place may be further back than this history.
        """
        return self._at(self._frames.before(time))

    def read(
        self,
        after: Cursor,
        *,
        upto: Cursor,
        addresses: Sequence[Address],
        client_id: str,
        max_bytes: int,
        not_before: float = 0.0,
        present_since: int | None = None,
        is_replaced: Callable[[Frame, Sequence[Address]], bool] | None = None,
        is_had: Callable[[Frame], bool] | None = None,
        names_channels: bool = False,
    ) -> NextBlocks | GapReason:
        """Return the next blocks for a client after a covered cursor, oldest first.

        Returns EXPIRED if an event for the client is older than ``not_before``. Passes
        over the events of which ``is_replaced`` says that the client has, or will have,
        a newer value. Passes over the events whose time is over too, and over those
        with a ttl of 0, but for the ones after the offset ``present_since``: the client
        was connected and kept up when they came.

        With ``is_had``, the blocks are those of earlier events. The events of which it
        says that the client has had them are passed over. With ``names_channels``, the
        blocks of events with several targets name the client's channels among them.

        Stops once ``max_bytes`` are reached, so at least one block is returned if there
        is one. A cursor beyond ``upto`` stays as it is.
        """
        blocks: list[bytes] = []
        size = 0
        last = after.offset
        now = self._clock()
        for frame in self._addressed(addresses, after.offset):
            if frame.offset > upto.offset:
                break
            if size >= max_bytes:
                return NextBlocks(blocks, Cursor(upto.epoch, last))
            last = frame.offset
            if frame.is_over(now):
                continue
            if frame.ttl == 0 and (
                present_since is None or frame.offset <= present_since
            ):
                continue
            if frame.key is not None and is_replaced and is_replaced(frame, addresses):
                continue
            if is_had is not None and is_had(frame):
                continue
            if client_id not in frame.exclude and frame.block:
                if frame.time < not_before:
                    return GapReason.EXPIRED
                block = frame.block if is_had is None else frame.earlier
                if names_channels:
                    block = frame.channels_for(addresses) + block
                blocks.append(block)
                size += len(block)
        return NextBlocks(blocks, upto if upto.offset >= after.offset else after)

    def concerns(
        self, addresses: Sequence[Address], after: Cursor, *, upto: Cursor
    ) -> bool:
        """Tell whether a frame between two cursors has one of these addresses."""
        now = self._clock()
        living = (
            frame
            for frame in self._addressed(addresses, after.offset)
            if frame.ttl != 0 and not frame.is_over(now)
        )
        first = next(living, None)
        return first is not None and first.offset <= upto.offset

    def count(
        self, addresses: Sequence[Address], after: Cursor, *, upto: Cursor
    ) -> int:
        """Return how many events between two cursors have one of these addresses."""
        return sum(
            bool(frame.block) and frame.offset <= upto.offset
            for frame in self._addressed(addresses, after.offset)
        )

    def _addressed(self, addresses: Sequence[Address], after: int) -> Iterator[Frame]:
        frames = self._frames.addressed(addresses, after)
        if not len(self._short_lived):
            return frames
        others = self._short_lived.addressed(addresses, after)
        return heapq.merge(frames, others, key=_offset)

    # Control records

    def covers_control(self, cursor: Cursor) -> bool:
        """Tell whether all control records after the cursor are here."""
        return (
            cursor.epoch == self.cursor.epoch and cursor.offset >= self._control.floor
        )

    def before_control(self, time: float) -> Cursor | None:
        """Return a cursor that lies before all control records since a time.

        None if some of them may be unknown.
        """
        return self._at(self._control.before(time))

    def disconnects(
        self, after: int, addresses: Sequence[Address]
    ) -> Iterator[Disconnect]:
        """Return the disconnects after an offset that have one of these addresses."""
        found = self._control.addressed(addresses, after)
        return (frame.disconnect for frame in found if frame.disconnect is not None)

    def subscribes(self, after: Cursor, addresses: Sequence[Address]) -> bool:
        """Tell whether a record after a cursor changes the channels of an address."""
        found = self._control.addressed(addresses, after.offset)
        return any(frame.subscribe is not None for frame in found)

    def _at(self, offset: int | None) -> Cursor | None:
        return None if offset is None else Cursor(self.cursor.epoch, offset)


_offset = attrgetter("offset")
