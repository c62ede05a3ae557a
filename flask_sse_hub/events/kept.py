"""Kept values: the newest one of each address and key, in the order of the log.

The memory broker keeps records in this form, and every worker keeps what its clients
receive. Does not know what a value is, or how much room there is.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

from .address import Address
from .channel_patterns import heard_at, is_pattern_address, range_below

# The most patterns whose values are held together. Those of another one are gathered
# when it is asked for.
_MOST_PATTERNS = 1_000


class Ending(Protocol):
    """A value that may end by itself."""

    @property
    def ends(self) -> float:
        """The end of the value's life; infinity if it has none."""


T = TypeVar("T", bound=Ending)


class KeptValues(Generic[T]):
    """The newest value of each address and key. ``offset`` tells a value's place.

    A value that is put has the highest offset so far.
    """

    def __init__(self, offset: Callable[[T], int]) -> None:
        self._offset = offset
        # Each dict has its values in the order of their offsets.
        self._by_address: dict[Address, dict[str, T]] = {}
        # The addresses with values, sorted: those below a pattern lie together.
        self._addresses: list[Address] = []
        # The values below each pattern that was asked for, by address and key.
        self._by_pattern: OrderedDict[Address, dict[tuple[Address, str], T]] = (
            OrderedDict()
        )
        # The values of an address as a list, until one of them changes.
        self._lists: dict[Address, list[T]] = {}
        self._count = 0
        # The values that end: sorted, the first one to end first.
        self._ending: list[tuple[float, Address, str]] = []

    def __len__(self) -> int:
        return self._count

    def get(self, address: Address, key: str) -> T | None:
        """Return the value of a key, None without one."""
        return self._by_address.get(address, {}).get(key)

    def put(self, address: Address, key: str, value: T) -> None:
        """Make this the value of a key."""
        values = self._by_address.get(address)
        if values is None:
            values = self._by_address[address] = {}
            insort(self._addresses, address)
        else:
            self._drop(address, key, values)
        self._lists.pop(address, None)
        values[key] = value
        self._count += 1
        for pattern, together in self._held_above(address):
            self._lists.pop(pattern, None)
            together[address, key] = value
        if value.ends < math.inf:
            insort(self._ending, (value.ends, address, key))

    def remove(self, address: Address, key: str) -> T | None:
        """Remove a key, and return the value that it had."""
        values = self._by_address.get(address)
        if values is None:
            return None
        found = self._drop(address, key, values)
        if not values:
            del self._by_address[address]
            del self._addresses[bisect_left(self._addresses, address)]
        return found

    def _drop(self, address: Address, key: str, values: dict[str, T]) -> T | None:
        """Remove a key from the values of an address, which may be empty then."""
        found = values.pop(key, None)
        if found is not None:
            self._lists.pop(address, None)
            for pattern, together in self._held_above(address):
                self._lists.pop(pattern, None)
                del together[address, key]
            self._count -= 1
            if found.ends < math.inf:
                del self._ending[bisect_left(self._ending, (found.ends, address, key))]
        return found

    def end(self, now: float) -> Iterator[tuple[Address, str, T]]:
        """Remove the values whose time is over, and yield each with its key."""
        while self._ending and self._ending[0][0] <= now:
            _, address, key = self._ending[0]
            found = self.remove(address, key)
            if found is not None:
                yield address, key, found

    def after(self, address: Address, offset: int) -> list[T]:
        """Return the values of one address, or of a pattern, after an offset.

        They are in order.
        """
        values = self._lists.get(address)
        if values is None:
            held: Mapping[Any, T] = (
                self._below(address)
                if is_pattern_address(address)
                else self._by_address.get(address, {})
            )
            values = list(held.values())
            if values:
                self._lists[address] = values
        return values[bisect_right(values, offset, key=self._offset) :]

    def _below(self, pattern: Address) -> dict[tuple[Address, str], T]:
        """Return the values below a pattern, and hold them together from now on."""
        held = self._by_pattern.get(pattern)
        if held is None:
            first, end = range_below(pattern)
            below = slice(
                bisect_left(self._addresses, first), bisect_left(self._addresses, end)
            )
            found = [
                ((address, key), value)
                for address in self._addresses[below]
                for key, value in self._by_address[address].items()
            ]
            found.sort(key=lambda each: self._offset(each[1]))
            held = self._by_pattern[pattern] = dict(found)
            if len(self._by_pattern) > _MOST_PATTERNS:
                oldest, _ = self._by_pattern.popitem(last=False)
                self._lists.pop(oldest, None)
        return held

    def _held_above(
        self, address: Address
    ) -> Iterator[tuple[Address, dict[tuple[Address, str], T]]]:
        if self._by_pattern:
            for each in heard_at((address,)):
                values = self._by_pattern.get(each)
                if values is not None:
                    yield each, values

    def items(self) -> Iterator[tuple[Address, str, T]]:
        """Yield each address, key and value."""
        for address, values in self._by_address.items():
            for key, value in values.items():
                yield address, key, value
