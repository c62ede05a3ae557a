"""The log of one process, in its memory: for one worker, development and tests.

The log is lost when the process ends, and no other process can reach it. This module
knows records, retention and how followers are woken. It does not know any storage.
"""

import heapq
import secrets
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import ClassVar, Literal

from ..errors import BrokerUnavailable
from ..events.address import Address
from ..events.kept import KeptValues
from ..events.record import Cursor, GapReason, Record, Retention
from ..runtime import native
from ..runtime.bell import Bell, new_bell
from .base import (
    CONTROL_RECORDS,
    ENDED_SESSIONS,
    IDEMPOTENCY_KEYS,
    IDEMPOTENCY_SECONDS,
    PAGE_BYTES,
    SHORT_LIVED_BYTES,
    SHORT_LIVED_RECORDS,
    Broker,
    LogBatch,
    LogState,
    Replay,
    check_room,
)
from .memory_parts import Apart, Kept
from .memory_parts import offset_of as _offset

# The most records in one batch: enough for one wake-up to carry a burst.
_BATCH_RECORDS = 256


class MemoryBroker(Broker):
    """Keep the log of one process in its memory."""

    reach: ClassVar[Literal["process", "machine", "network"]] = "process"

    def __init__(
        self, retention: Retention, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        # Guards everything below. A real lock, because real threads may publish beside
        # greenlets.
        self._lock = native.native_lock()
        self._epoch = secrets.token_hex(6)
        self._events = Kept(retention)
        self._control = Kept(
            Retention(CONTROL_RECORDS, retention.seconds, bytes=sys.maxsize)
        )
        self._short_lived = Apart(
            Retention(SHORT_LIVED_RECORDS, retention.seconds, bytes=SHORT_LIVED_BYTES)
        )
        self._bounded = Apart(retention)
        self._retention = retention
        self._offset = 0
        self._kept: KeptValues[Record] = KeptValues(_offset)
        self._kept_bytes = 0
        self._keys: OrderedDict[str, tuple[Cursor, float]] = OrderedDict()
        self._ended: deque[Address] = deque(maxlen=ENDED_SESSIONS)
        self._bells: set[Bell] = set()
        self._closed = False

    def publish(self, record: Record) -> Cursor:
        """Append a record. It is kept until it is trimmed or this process ends."""
        now = self._clock()
        with self._lock:
            self._check_open()
            known = self._known(record.idempotency_key, now)
            if known is not None:
                return known
            placed = replace(
                record, cursor=Cursor(self._epoch, self._offset + 1), time=now
            )
            self._keep(placed)
            self._offset += 1
            self._ended.extend(record.ended)
            self._part_of(placed).append(placed)
            self._trim(now)
            if record.idempotency_key is not None:
                self._keys[record.idempotency_key] = (
                    placed.cursor,
                    now + IDEMPOTENCY_SECONDS,
                )
            bells = self._bells.copy()
        for bell in bells:
            bell.ring()
        return placed.cursor

    def follow(self, after: Cursor) -> Iterator[LogBatch]:
        """Yield the records after a cursor. Each follower has a bell of its own."""
        bell = new_bell()
        self._bells.add(bell)
        try:
            while not self._closed:
                batch = self._next_batch(after)
                if batch is None:
                    bell.wait()
                else:
                    after = batch.cursor
                    yield batch
        finally:
            # Without the lock: the garbage collector may end this generator in a thread
            # that holds the lock. Each operation of a set is atomic.
            self._bells.discard(bell)
            bell.close()

    def replay(self, after: Cursor, *, page: int) -> Replay:
        """Return a page of the retained records after a cursor."""
        with self._lock:
            self._check_open()
            self._trim(self._clock())
            head = self._head()
            gap = self._gap(after, floor=self._events.floor)
            found = self._after(after.offset, most=page) if gap is None else ()
        cursor = found[-1].cursor if found and gap is None else head
        missed = max(self._short_lived.missed, self._bounded.missed)
        return Replay(found, cursor, gap, missed=missed)

    def bridge(self, after: Cursor, addresses: Sequence[Address]) -> Cursor | None:
        """Return where a reader of some addresses goes on after a trim."""
        with self._lock:
            self._check_open()
            self._trim(self._clock())
            if after.epoch != self._epoch or after.offset > self._offset:
                return None
            for part in (self._events, self._short_lived, self._bounded):
                if not part.trimmed.spare(after.offset, addresses):
                    return None
            return Cursor(self._epoch, max(after.offset, self._events.floor))

    def state(self) -> LogState:
        """Return the newest record of each address and key."""
        with self._lock:
            self._check_open()
            self._end_state(self._clock())
            found = (
                record.kept_at(address) for address, _, record in self._kept.items()
            )
            return LogState(tuple(sorted(found, key=_offset)), self._head())

    def head(self) -> Cursor:
        """Return the cursor of the newest record."""
        with self._lock:
            self._check_open()
            return self._head()

    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about ``max_bytes`` of the log remain."""
        with self._lock:
            self._check_open()
            self._trim(self._clock())
            offset = self._floor()
            size = 0
            for record in reversed(self._events):
                size += record.size
                if size > max_bytes:
                    offset = max(offset, record.cursor.offset)
                    break
            return Cursor(self._epoch, offset)

    def ended(self) -> Sequence[Address]:
        """Return the addresses of the sessions that ended last, the oldest first."""
        with self._lock:
            self._check_open()
            return tuple(self._ended)

    def close(self) -> None:
        """Drop the log and end its followers."""
        with self._lock:
            self._closed = True
            self._events.clear()
            self._control.clear()
            self._short_lived.clear()
            self._bounded.clear()
            bells = self._bells.copy()
        for bell in bells:
            bell.ring()

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the broker is closed")

    def _head(self) -> Cursor:
        return Cursor(self._epoch, self._offset)

    def _floor(self) -> int:
        """Return the offset after which every record is retained."""
        return max(
            self._events.floor,
            self._control.floor,
            self._short_lived.missed,
            self._bounded.missed,
        )

    def _part_of(self, record: Record) -> Kept | Apart:
        if record.ttl is not None:
            return self._short_lived
        if record.bounds is not None:
            return self._bounded
        return self._control if record.is_control else self._events

    def _gap(self, after: Cursor, *, floor: int) -> GapReason | None:
        if after.epoch != self._epoch:
            return GapReason.EPOCH
        if after.offset > self._offset:
            return GapReason.AHEAD
        if after.offset < floor:
            return GapReason.EXPIRED
        return None

    def _after(self, offset: int, *, most: int) -> tuple[Record, ...]:
        found: list[Record] = []
        size = 0
        merged = heapq.merge(
            self._events.after(offset, most=most),
            self._control.after(offset, most=most),
            self._short_lived.after(offset, most=most),
            self._bounded.after(offset, most=most),
            key=_offset,
        )
        for record in islice(merged, most):
            found.append(record)
            size += record.size
            if size >= PAGE_BYTES:
                break
        return tuple(found)

    def _next_batch(self, after: Cursor) -> LogBatch | None:
        with self._lock:
            gap = self._gap(after, floor=self._floor())
            if gap is not None:
                return LogBatch((), self._head(), gap)
            records = self._after(after.offset, most=_BATCH_RECORDS)
        return LogBatch(records, records[-1].cursor) if records else None

    def _known(self, key: str | None, now: float) -> Cursor | None:
        """Return the cursor of an earlier record with this key; forget old keys."""
        while self._keys:
            oldest, (_, expires) = next(iter(self._keys.items()))
            if expires > now and len(self._keys) <= IDEMPOTENCY_KEYS:
                break
            del self._keys[oldest]
        known = self._keys.get(key) if key is not None else None
        return known[0] if known else None

    def _keep(self, record: Record) -> None:
        """Note what a record does to the state. Raises StateFull."""
        key = record.key
        if key is None:
            return
        self._end_state(record.time)
        before = [self._kept.get(each, key) for each in record.addresses]
        size = self._kept_bytes - sum(each.kept_size for each in before if each)
        if record.sets_state:
            size += record.kept_size * len(before)
            keys = len(self._kept) + before.count(None)
            check_room(self._retention, keys=keys, size=size)
        self._kept_bytes = size
        for each in record.addresses:
            if record.sets_state:
                self._kept.put(each, key, record)
            else:
                self._kept.remove(each, key)

    def _end_state(self, now: float) -> None:
        for _, _, record in self._kept.end(now):
            self._kept_bytes -= record.kept_size

    def _trim(self, now: float) -> None:
        self._events.trim(now)
        self._control.trim(now)
        for part in (self._short_lived, self._bounded):
            part.trim(now, newest=self._offset, floor=self._events.floor)
