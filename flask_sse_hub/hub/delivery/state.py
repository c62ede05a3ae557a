"""State: the current value of each address and key, as clients receive it.

A worker reads it from the broker once, and then folds each record that it fans out. So
the state is always that of the worker's position, and no client waits for the broker.
The lock of the progress guards it. Does not know clients.
"""

import heapq
import math
from collections import OrderedDict
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple, Self

from ...brokers import LogState
from ...events.address import Address, is_internal
from ...events.channel_patterns import is_heard
from ...events.kept import KeptValues
from ...events.record import UNPLACED, Cursor, ending
from ...runtime.greenlets import unhurried
from .stretch import Frame

# How many keys that have ended are remembered, to pass over their older values.
_MOST_ENDED = 10_000


class Value(NamedTuple):
    """One value of the state: its place in the log, and its block without an id."""

    offset: int
    block: bytes
    ends: float = math.inf


class State:
    """The state of one log, as of the worker's position."""

    def __init__(self) -> None:
        #: The place at which the broker's state was read. UNPLACED until then.
        self.cursor = UNPLACED
        self._values: KeptValues[Value] = KeptValues(_offset)
        self._ended: OrderedDict[tuple[Address, str], int] = OrderedDict()

    @classmethod
    def of(cls, found: LogState) -> Self:
        """Return the state that a broker has. Lets other code run meanwhile."""
        state = cls()
        for record in unhurried(found.records):
            frame = Frame.of(record)
            state._put(frame)
        newest = found.records[-1].cursor if found.records else found.cursor
        state.cursor = max(found.cursor, newest)
        return state

    def fold(self, frame: Frame, *, now: float) -> None:
        """Note a record at the worker's position, and the values that have ended."""
        for address, key, value in self._values.end(now):
            self._end(address, key, value.offset)
        if frame.key is None or frame.offset <= self.cursor.offset:
            return
        if frame.deletes or frame.ttl == 0:
            for each in frame.addresses:
                if not is_internal(each):
                    self._values.remove(each, frame.key)
                    self._end(each, frame.key, frame.offset)
        else:
            self._put(frame)

    def _end(self, address: Address, key: str, offset: int) -> None:
        self._ended[address, key] = offset
        if len(self._ended) > _MOST_ENDED:
            self._ended.popitem(last=False)

    def _put(self, frame: Frame) -> None:
        value = Value(frame.offset, frame.value, ending(frame.time, frame.ttl))
        for each in frame.addresses:
            if frame.key is not None and not is_internal(each):
                self._values.put(each, frame.key, value)

    def values(
        self,
        addresses: Sequence[Address],
        *,
        after: int,
        upto: Cursor,
        max_bytes: int,
        now: float,
    ) -> list[Value]:
        """Return the values between two places, in order: one chunk of them.

        Ends the chunk once it has ``max_bytes``.
        """
        found: list[Value] = []
        size = 0
        parts = [self._values.after(each, after) for each in addresses]
        for value in heapq.merge(*filter(None, parts), key=_offset):
            if value.offset > upto.offset or size >= max_bytes:
                break
            if now >= value.ends:
                continue
            if not found or value.offset > found[-1].offset:
                found.append(value)
                size += len(value.block)
        return found

    def replaces(self, frame: Frame, addresses: Sequence[Address]) -> bool:
        """Tell whether a listener to addresses has a newer value of a frame's key."""
        key = frame.key
        if key is None:
            return False
        return all(
            self._newest(each, key) > frame.offset
            for each in frame.addresses
            if is_heard(each, addresses)
        )

    def _newest(self, address: Address, key: str) -> int:
        value = self._values.get(address, key)
        return value.offset if value else self._ended.get((address, key), 0)


_offset = attrgetter("offset")
