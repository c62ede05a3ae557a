"""The records of one kind in the memory broker, within bounds of their own.

Knows when a record leaves, and notes what readers lose by that. Does not know the other
kinds, or locks.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterator
from itertools import islice

from ..events.address import Address
from ..events.record import ChannelBounds, Record, Retention
from ..events.trimming import NOTED_ADDRESSES, TrimNotes
from .base import CHANNEL_SECONDS


def offset_of(record: Record) -> int:
    """Return the offset of a record."""
    return record.cursor.offset


class Kept:
    """The newest records of one kind. The oldest ones leave first."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._records: deque[Record] = deque()
        self._bytes = 0
        #: The offset after which every record of this kind is retained.
        self.floor = 0
        #: The notes about the records that were dropped.
        self.trimmed = TrimNotes(NOTED_ADDRESSES)

    def __reversed__(self) -> Iterator[Record]:
        return reversed(self._records)

    def append(self, record: Record) -> None:
        """Add the newest record."""
        self._records.append(record)
        self._bytes += record.size

    def trim(self, now: float) -> None:
        """Drop the oldest records beyond the bounds."""
        # The newest record is kept even if it alone exceeds the bytes. Otherwise it
        # would be trimmed at once and followers would only see a gap.
        while self._records and self._retention.exceeded(
            events=len(self._records),
            bytes=self._bytes if len(self._records) > 1 else 0,
            oldest=self._records[0].time,
            now=now,
        ):
            oldest = self._records.popleft()
            self._bytes -= oldest.size
            self.floor = oldest.cursor.offset
            if oldest.is_loss(now):
                self.trimmed.add(self.floor, oldest.addresses)

    def after(self, offset: int, *, most: int) -> Iterator[Record]:
        """Return up to ``most`` records after an offset."""
        start = bisect_right(self._records, offset, key=offset_of)
        return islice(self._records, start, start + most)

    def clear(self) -> None:
        """Drop all records."""
        self._records.clear()


class Apart:
    """Records that also leave from between others: those with a ttl, or with bounds."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        # In the order of their offsets.
        self._records: list[Record] = []
        # Sorted: the first one whose time is over comes first.
        self._ending: list[tuple[float, int]] = []
        # The offsets of the records with bounds, in order, by their channels.
        self._by_channel: dict[Address, deque[int]] = {}
        self._bytes = 0
        #: The offset of the newest record that left before its time.
        self.missed = 0
        #: The notes about the records that left before their time.
        self.trimmed = TrimNotes(NOTED_ADDRESSES)

    def append(self, record: Record) -> None:
        """Add the newest record."""
        self._records.append(record)
        self._bytes += record.size
        insort(self._ending, (record.ends, record.cursor.offset))
        if record.bounds is not None:
            own = self._by_channel.setdefault(record.addresses[0], deque())
            own.append(record.cursor.offset)
            self._trim_channel(own, record.bounds, record.time)

    def trim(self, now: float, *, newest: int, floor: int) -> None:
        """Remove the records whose time is over, and the oldest beyond the bounds.

        The oldest are also those up to the offset ``floor``. The record with the offset
        ``newest`` stays: followers have not read it yet.
        """
        if not self._records:
            return
        if self._ending[0][0] <= now:
            over = self._ending[: bisect_right(self._ending, (now, newest))]
            for _, offset in over:
                if offset != newest:
                    self._remove(self._at(offset))
        while self._is_beyond(now, floor) and self._records[0].cursor.offset < newest:
            self._lose(0, now)

    def _is_beyond(self, now: float, floor: int) -> bool:
        return bool(self._records) and (
            self._records[0].cursor.offset <= floor
            or self._retention.exceeded(
                events=len(self._records),
                bytes=self._bytes,
                oldest=self._records[0].time,
                now=now,
            )
        )

    def _trim_channel(self, own: deque[int], bounds: ChannelBounds, now: float) -> None:
        while len(own) > 1:
            at = self._at(own[0])
            oldest = self._records[at].time
            if oldest > now - CHANNEL_SECONDS:
                break
            if not bounds.excess(len(own)) and oldest >= bounds.oldest(now):
                break
            self._lose(at, now)

    def after(self, offset: int, *, most: int) -> Iterator[Record]:
        """Return up to ``most`` records after an offset."""
        start = bisect_right(self._records, offset, key=offset_of)
        return islice(self._records, start, start + most)

    def clear(self) -> None:
        """Drop all records."""
        self._records.clear()
        self._ending.clear()
        self._by_channel.clear()

    def _at(self, offset: int) -> int:
        return bisect_left(self._records, offset, key=offset_of)

    def _lose(self, at: int, now: float) -> None:
        """Remove a record before its time, and note its addresses as a loss."""
        gone = self._remove(at)
        if gone.is_loss(now):
            offset = gone.cursor.offset
            self.missed = max(self.missed, offset)
            self.trimmed.add(offset, gone.addresses)

    def _remove(self, at: int) -> Record:
        found = self._records.pop(at)
        place = (found.ends, found.cursor.offset)
        del self._ending[bisect_left(self._ending, place)]
        self._bytes -= found.size
        if found.bounds is not None:
            # A channel's records always leave in their order.
            own = self._by_channel[found.addresses[0]]
            own.popleft()
            if not own:
                del self._by_channel[found.addresses[0]]
        return found
