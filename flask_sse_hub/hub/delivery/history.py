"""History: the newest records of the log, in the memory of one worker.

Answers two questions for the clients that come or lag. Which events came after this
cursor for these addresses, or does history not reach back so far? Which control records
came? Control records are remembered apart from events: otherwise a busy log would end
the streams of everybody who is logged in and connects, and many logouts would push out
events. Does not lock (the dispatcher does), and does not know clients.
"""

import heapq
import math
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple, Self

from ...events.address import Address
from ...events.event import Event
from ...events.record import (
    NAME_BYTES,
    UNPLACED,
    Cursor,
    Disconnect,
    GapReason,
    Record,
    Retention,
)
from ...events.trimming import TrimNotes

# The memory that a frame takes in addition to its block. Without it, a log of empty
# events would have no bound in bytes.
_FRAME_OVERHEAD_BYTES = 200

# The most control records that are remembered. A user may be loaded for seconds while
# thousands of others log out.
_MAX_CONTROL_RECORDS = 10_000

# The most memory for control records: only records with very many addresses reach it.
_MAX_CONTROL_BYTES = 16_777_216


@dataclass(frozen=True, slots=True)
class Frame:
    """A record as this worker's clients receive it: encoded once, shared by all.

    A control record has an empty block, and a ``disconnect`` with its reason. A record
    for workers has an empty block and nothing else.
    """

    offset: int
    time: float
    addresses: tuple[Address, ...]
    exclude: tuple[str, ...]
    block: bytes
    disconnect: Disconnect | None
    key: str | None = None
    deletes: bool = False

    @classmethod
    def of(cls, record: Record) -> Self:
        """Encode a record."""
        event = record.content if isinstance(record.content, Event) else None
        block = b""
        if event is not None and not record.is_internal:
            block = event.encode(
                str(record.cursor), key=record.key, deleted=record.deletes
            )
        return cls(
            offset=record.cursor.offset,
            time=record.time,
            addresses=record.addresses,
            exclude=record.exclude,
            block=block,
            disconnect=None if isinstance(record.content, Event) else record.content,
            key=record.key,
            deletes=record.deletes,
        )

    @property
    def value(self) -> bytes:
        """The block as a value of the state: marked as such, and without an id.

        A client may have none of the other values yet, so no id is its cursor.
        """
        before, _, after = self.block.partition(b"id: ")
        return b"state: true\n" + before + after.partition(b"\n")[2]

    @property
    def size(self) -> int:
        """The bytes of memory that the frame counts for."""
        names = len(self.addresses) + len(self.exclude)
        return len(self.block) + _FRAME_OVERHEAD_BYTES + NAME_BYTES * names


class NextBlocks(NamedTuple):
    """The next blocks for one client, and the cursor to read on from.

    All blocks for the client up to ``cursor`` are in ``blocks``, or were read before.
    """

    blocks: list[bytes]
    cursor: Cursor


class Stretch:
    """All frames of one kind after a floor, in order, indexed by address."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._trimmed = TrimNotes()
        self.restart(0)

    def restart(self, floor: int) -> None:
        """Forget all frames, and begin after this offset."""
        #: All frames of this kind after this offset are here.
        self.floor = floor
        # No record up to the floor is later than this time. Nothing is known of the
        # records before the first one that is read.
        self._floor_time = -math.inf if floor == 0 else math.inf
        self.bytes = 0
        self._frames: deque[Frame] = deque()
        self._by_address: dict[Address, list[Frame]] = {}
        self._trimmed.restart(floor)

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def overfull(self) -> bool:
        """Whether the frames fill twice the memory allowed."""
        return self.bytes > 2 * self._retention.bytes

    def begins_before(self, time: float) -> None:
        """Note that no record up to the floor is later than a time."""
        self._floor_time = min(self._floor_time, time)

    def append(self, frame: Frame) -> None:
        """Add a frame that follows the newest one. Only trim() forgets frames."""
        self._frames.append(frame)
        self.bytes += frame.size
        for address in frame.addresses:
            self._by_address.setdefault(address, []).append(frame)

    def trim(self, *, upto: int, now: float) -> None:
        """Forget the oldest frames beyond retention, but none after ``upto``."""
        gone: dict[Address, int] = {}
        while (
            self._frames
            and self._frames[0].offset <= upto
            and self._retention.exceeded(
                events=len(self._frames),
                bytes=self.bytes,
                oldest=self._frames[0].time,
                now=now,
            )
        ):
            frame = self._frames.popleft()
            self.bytes -= frame.size
            self.floor = frame.offset
            self._floor_time = max(self._floor_time, frame.time)
            for address in frame.addresses:
                gone[address] = gone.get(address, 0) + 1
            if frame.block:
                self._trimmed.add(frame.offset, frame.addresses)
        for address, count in gone.items():
            frames = self._by_address[address]
            if len(frames) == count:
                del self._by_address[address]
            else:
                del frames[:count]

    def spared(self, after: int, addresses: Sequence[Address]) -> bool:
        """Tell whether all frames for some addresses after an offset are here."""
        return after >= self.floor or self._trimmed.spare(after, addresses)

    def has(self, offset: int) -> bool:
        """Tell whether there is a frame with this offset."""
        at = bisect_left(self._frames, offset, key=_offset)
        return at < len(self._frames) and self._frames[at].offset == offset

    def before(self, time: float) -> int | None:
        """Return an offset that lies before all frames appended since a time.

        None if such frames may have been forgotten, or may never have been here.
        """
        at = bisect_left(self._frames, time, key=_time)
        if at > 0:
            return self._frames[at - 1].offset
        return self.floor if self._floor_time < time else None

    def addressed(self, addresses: Sequence[Address], after: int) -> Iterator[Frame]:
        """Yield the frames after an offset with one of these addresses, each once."""
        parts = []
        for address in addresses:
            frames = self._by_address.get(address)
            if frames and frames[-1].offset > after:
                start = bisect_right(frames, after, key=_offset)
                parts.append(map(frames.__getitem__, range(start, len(frames))))
        if len(parts) == 1:
            yield from parts[0]
            return
        seen = after
        for frame in heapq.merge(*parts, key=_offset):
            if frame.offset > seen:
                seen = frame.offset
                yield frame


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
        self.restart(UNPLACED)

    @property
    def floor(self) -> int:
        """The offset after which all events, up to the cursor, are here."""
        return self._frames.floor

    @property
    def bytes(self) -> int:
        """The bytes of memory that the frames take."""
        return self._frames.bytes + self._control.bytes

    @property
    def overfull(self) -> bool:
        """Whether frames that wait for their fan-out fill twice the memory allowed."""
        return self._frames.overfull or self._control.overfull

    def restart(self, cursor: Cursor) -> None:
        """Forget all frames, and begin after this cursor."""
        self.cursor = cursor
        # Whether no record has been read yet.
        self._fresh = True
        self._frames.restart(cursor.offset)
        self._control.restart(cursor.offset)

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, frames: Iterable[Frame], cursor: Cursor) -> None:
        """Add frames that follow the newest one; ``cursor`` is the new end of history.

        Forgets nothing: only trim() does, so that a frame stays until its fan-out.
        """
        for frame in frames:
            if self._fresh:
                self._fresh = False
                self._frames.begins_before(frame.time)
                self._control.begins_before(frame.time)
            (self._control if frame.disconnect else self._frames).append(frame)
        self.cursor = cursor

    def trim(self, *, upto: int) -> None:
        """Forget the oldest frames beyond retention, but none after ``upto``."""
        now = self._clock()
        self._frames.trim(upto=upto, now=now)
        self._control.trim(upto=upto, now=now)

    def covers(self, cursor: Cursor, addresses: Sequence[Address]) -> bool:
        """Tell whether all events for some addresses after the cursor are here."""
        return cursor.epoch == self.cursor.epoch and self._frames.spared(
            cursor.offset, addresses
        )

    def knows(self, cursor: Cursor) -> bool:
        """Tell whether the cursor is certainly a place in this part of the log.

        A cursor between two frames may be of a record that the log has lost.
        """
        if cursor.epoch != self.cursor.epoch:
            return False
        if cursor.offset in (self.floor, self.cursor.offset):
            return True
        return self._frames.has(cursor.offset) or self._control.has(cursor.offset)

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
        is_replaced: Callable[[Frame, Sequence[Address]], bool] | None = None,
    ) -> NextBlocks | GapReason:
        """Return the next blocks for a client after a covered cursor, oldest first.

        Returns EXPIRED if an event for the client is older than ``not_before``. Passes
        over the events of which ``is_replaced`` says that the client has, or will have,
        a newer value.

        Stops once ``max_bytes`` are reached, so at least one block is returned if there
        is one. A cursor beyond ``upto`` stays as it is.
        """
        blocks: list[bytes] = []
        size = 0
        last = after.offset
        for frame in self._frames.addressed(addresses, after.offset):
            if frame.offset > upto.offset:
                break
            if size >= max_bytes:
                return NextBlocks(blocks, Cursor(upto.epoch, last))
            last = frame.offset
            if frame.key is not None and is_replaced and is_replaced(frame, addresses):
                continue
            if client_id not in frame.exclude and frame.block:
                if frame.time < not_before:
                    return GapReason.EXPIRED
                blocks.append(frame.block)
                size += len(frame.block)
        return NextBlocks(blocks, upto if upto.offset >= after.offset else after)

    def concerns(
        self, addresses: Sequence[Address], after: Cursor, *, upto: Cursor
    ) -> bool:
        """Tell whether a frame between two cursors has one of these addresses."""
        first = next(self._frames.addressed(addresses, after.offset), None)
        return first is not None and first.offset <= upto.offset

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

    def _at(self, offset: int | None) -> Cursor | None:
        return None if offset is None else Cursor(self.cursor.epoch, offset)


_offset = attrgetter("offset")
_time = attrgetter("time")
