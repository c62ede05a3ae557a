"""History: the newest records of the log, in the memory of one worker.

It answers one question, for a resuming client and a lagging one alike: which events
came after this cursor for these addresses, or does history not reach back so far? It
does not lock (the dispatcher does), and does not know clients.
"""

import heapq
import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple, Self

from ...events.address import Address
from ...events.event import Event
from ...events.record import NAME_BYTES, UNPLACED, Cursor, Disconnect, Record, Retention

# The memory that a frame takes beside its block. Without it, a log of empty events
# would have no bound in bytes.
_FRAME_OVERHEAD_BYTES = 200


@dataclass(frozen=True, slots=True)
class Frame:
    """A record as this worker's clients get it: encoded once, shared by all of them.

    A control record has an empty block, and the reason for which it ends streams.
    """

    offset: int
    time: float
    addresses: tuple[Address, ...]
    exclude: tuple[str, ...]
    block: bytes
    disconnect: Disconnect | None

    @classmethod
    def of(cls, record: Record) -> Self:
        """Encode a record."""
        event = record.content if isinstance(record.content, Event) else None
        return cls(
            offset=record.cursor.offset,
            time=record.time,
            addresses=record.addresses,
            exclude=record.exclude,
            block=event.encode(str(record.cursor)) if event else b"",
            disconnect=None if isinstance(record.content, Event) else record.content,
        )

    @property
    def size(self) -> int:
        """The bytes of memory that it is counted for."""
        names = len(self.addresses) + len(self.exclude)
        return len(self.block) + _FRAME_OVERHEAD_BYTES + NAME_BYTES * names


class NextBlocks(NamedTuple):
    """What there is for one client after its cursor.

    ``cursor`` is where to read on: everything up to it that concerns the client is in
    ``blocks``, or was read before.
    """

    blocks: list[bytes]
    cursor: Cursor


class History:
    """The newest frames of one log, in order, indexed by address."""

    def __init__(
        self, retention: Retention, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._retention = retention
        self._clock = clock
        self.restart(UNPLACED)

    @property
    def overfull(self) -> bool:
        """Tell whether more waits for its fan-out than the memory is meant to hold."""
        return self.bytes > 2 * self._retention.bytes

    def restart(self, cursor: Cursor) -> None:
        """Forget everything: what is remembered begins after this cursor."""
        self.cursor = cursor
        #: Everything after this offset is here.
        self.floor = cursor.offset
        self.bytes = 0
        self._frames: deque[Frame] = deque()
        self._by_address: dict[Address, list[Frame]] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, frames: Iterable[Frame], cursor: Cursor) -> None:
        """Add frames that come after all that is here; the log is known to ``cursor``.

        Nothing is forgotten here, so that a frame cannot go before its fan-out.
        """
        for frame in frames:
            self._frames.append(frame)
            self.bytes += frame.size
            for address in frame.addresses:
                self._by_address.setdefault(address, []).append(frame)
        self.cursor = cursor

    def trim(self, *, upto: int) -> None:
        """Forget the oldest frames beyond retention, none after the offset ``upto``."""
        now = self._clock()
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
            for address in frame.addresses:
                gone[address] = gone.get(address, 0) + 1
        for address, count in gone.items():
            frames = self._by_address[address]
            if len(frames) == count:
                del self._by_address[address]
            else:
                del frames[:count]

    def covers(self, cursor: Cursor) -> bool:
        """Tell whether every frame after the cursor, if there are any, is here."""
        return cursor.epoch == self.cursor.epoch and cursor.offset >= self.floor

    def knows(self, cursor: Cursor) -> bool:
        """Tell whether the cursor is a place in this part of the log, for certain.

        One that lies between two frames here may be of records that the log has lost.
        """
        if cursor.epoch != self.cursor.epoch:
            return False
        if cursor.offset in (self.floor, self.cursor.offset):
            return True
        at = bisect_left(self._frames, cursor.offset, key=_offset)
        return at < len(self._frames) and self._frames[at].offset == cursor.offset

    def before(self, time: float) -> Cursor | None:
        """Return a cursor after which everything is that was appended since a time.

        None where that cannot be told, because it may lie further back. Where nothing
        is here, all there was is older than retention.
        """
        at = bisect_left(self._frames, time, key=_time)
        if at > 0:
            return Cursor(self.cursor.epoch, self._frames[at - 1].offset)
        if self.floor == 0 or not self._frames:
            return Cursor(self.cursor.epoch, self.floor)
        return None

    def read(
        self,
        after: Cursor,
        *,
        upto: Cursor,
        addresses: Sequence[Address],
        client_id: str,
        max_bytes: int,
    ) -> NextBlocks:
        """Return what a client is to get after a covered cursor, oldest first.

        Stops once ``max_bytes`` are reached, so at least one block is returned where
        there is one. A client beyond ``upto`` already stays where it is.
        """
        blocks: list[bytes] = []
        size = 0
        last = after.offset
        for frame in self._addressed(addresses, after.offset):
            if frame.offset > upto.offset:
                break
            if size >= max_bytes:
                return NextBlocks(blocks, Cursor(upto.epoch, last))
            last = frame.offset
            if client_id not in frame.exclude and frame.block:
                blocks.append(frame.block)
                size += len(frame.block)
        return NextBlocks(blocks, upto if upto.offset >= after.offset else after)

    def concerns(
        self, addresses: Sequence[Address], after: Cursor, *, upto: Cursor
    ) -> bool:
        """Tell whether a frame between two cursors has one of these addresses."""
        first = next(self._addressed(addresses, after.offset), None)
        return first is not None and first.offset <= upto.offset

    def disconnects(
        self, after: int, addresses: Sequence[Address]
    ) -> Iterator[Disconnect]:
        """Yield what control records after an offset say to these addresses."""
        for frame in self._addressed(addresses, after):
            if frame.disconnect is not None:
                yield frame.disconnect

    def _addressed(self, addresses: Sequence[Address], after: int) -> Iterator[Frame]:
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


_offset = attrgetter("offset")
_time = attrgetter("time")
