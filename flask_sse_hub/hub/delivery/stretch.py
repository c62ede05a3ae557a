"""Stretches: the frames of one kind after a place in the log, indexed by address.

Knows how much of them is kept, and what clients lose if a frame is forgotten. Does not
know the other kinds, or clients.
"""

import heapq
import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Self

from ...events.address import Address, channel_of, only_channel
from ...events.channel_patterns import heard_at, is_heard
from ...events.event import Event
from ...events.record import (
    NAME_BYTES,
    Disconnect,
    Record,
    Retention,
    Subscribe,
    ending,
)
from ...events.trimming import TrimNotes

# The memory that a frame takes in addition to its block. Without it, a log of empty
# events would have no bound in bytes.
_FRAME_OVERHEAD_BYTES = 200


@dataclass(frozen=True, slots=True)
class Frame:
    """A record as this worker's clients receive it: encoded once, shared by all.

    A control record has an empty block, and its content: a ``disconnect`` that ends
    streams, or a ``subscribe`` that changes their channels. A record for workers has an
    empty block and nothing else. An event with a ``receipt`` has that here once more.
    """

    offset: int
    time: float
    addresses: tuple[Address, ...]
    exclude: tuple[str, ...]
    block: bytes
    disconnect: Disconnect | None
    key: str | None = None
    deletes: bool = False
    ttl: float | None = None
    subscribe: Subscribe | None = None
    receipt: Event | None = None

    @classmethod
    def of(cls, record: Record) -> Self:
        """Encode a record."""
        content = record.content
        block = b""
        if isinstance(content, Event) and not record.is_internal:
            block = content.encode(
                str(record.cursor),
                channel=None if record.is_shared else only_channel(record.addresses),
                key=record.key,
                deleted=record.deletes,
            )
        return cls(
            offset=record.cursor.offset,
            time=record.time,
            addresses=record.addresses,
            exclude=record.exclude,
            block=block,
            disconnect=content if isinstance(content, Disconnect) else None,
            key=record.key,
            deletes=record.deletes,
            ttl=record.ttl,
            subscribe=content if isinstance(content, Subscribe) else None,
            receipt=content if record.receipt and isinstance(content, Event) else None,
        )

    @property
    def heard_at(self) -> Sequence[Address]:
        """The addresses at which clients hear the frame: its own, and patterns."""
        return heard_at(self.addresses)

    @property
    def has_channels(self) -> bool:
        """Whether this has several targets, and channels among them."""
        return len(self.addresses) > 1 and any(map(channel_of, self.addresses))

    def channels_for(self, addresses: Sequence[Address]) -> bytes:
        """Return the lines that name a listener's channels among several targets.

        They are empty if the listener hears the event at another address too.
        """
        if not self.has_channels:
            return b""
        names = [
            channel_of(each) for each in self.addresses if is_heard(each, addresses)
        ]
        if None in names:
            return b""
        return "".join(f"channel: {name}\n" for name in names).encode()

    @property
    def is_control(self) -> bool:
        """Whether this is a control record."""
        return self.disconnect is not None or self.subscribe is not None

    @property
    def is_plain(self) -> bool:
        """Whether the frame is for all clients of its addresses, whenever they read."""
        return not self.exclude and self.key is None and self.ttl is None

    def is_over(self, now: float) -> bool:
        """Tell whether no client receives the frame any more."""
        return self.ttl is not None and now >= ending(self.time, self.ttl)

    @property
    def earlier(self) -> bytes:
        """The block for a client whose cursor is later, so that it does not go back.

        The id is in a field that a browser's EventSource ignores.
        """
        before, _, after = self.block.partition(b"id: ")
        return before + b"earlier: " + after

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
        again = 0 if self.receipt is None else len(self.block)
        return len(self.block) + again + _FRAME_OVERHEAD_BYTES + NAME_BYTES * names


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
        for address in frame.heard_at:
            self._by_address.setdefault(address, []).append(frame)

    def trim(self, *, upto: int, now: float) -> None:
        """Forget the oldest frames beyond retention, but none after ``upto``."""
        gone: dict[Address, int] = {}
        while (
            self._frames
            and self._frames[0].offset <= upto
            and self._is_due(self._frames[0], now)
        ):
            frame = self._frames.popleft()
            self.bytes -= frame.size
            self.floor = frame.offset
            self._floor_time = max(self._floor_time, frame.time)
            for address in frame.heard_at:
                gone[address] = gone.get(address, 0) + 1
            if frame.block and frame.ttl != 0 and not frame.is_over(now):
                self._trimmed.add(frame.offset, frame.addresses)
        for address, count in gone.items():
            frames = self._by_address[address]
            if len(frames) == count:
                del self._by_address[address]
            else:
                del frames[:count]

    def _is_due(self, oldest: Frame, now: float) -> bool:
        return oldest.is_over(now) or self._retention.exceeded(
            events=len(self._frames), bytes=self.bytes, oldest=oldest.time, now=now
        )

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


_offset = attrgetter("offset")
_time = attrgetter("time")
