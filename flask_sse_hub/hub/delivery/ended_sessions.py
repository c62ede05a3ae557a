"""Addresses that are never used again: those of sessions that have ended.

A request may have read its session's cookie before a logout and arrive after it.
"""

from collections.abc import Iterable

from ...events.address import Address
from .history import Frame

# Oldest forgotten first: more than end while such a request is on its way.
_MAX_REMEMBERED = 10_000


class EndedAddresses:
    """The newest of them. Whoever shares one object guards it by a lock."""

    def __init__(self) -> None:
        self._ended: dict[Address, None] = {}

    def __contains__(self, address: object) -> bool:
        return address in self._ended

    def note(self, frames: Iterable[Frame]) -> None:
        """Remember what control records among them say to be final."""
        for frame in frames:
            if frame.disconnect is not None and frame.disconnect.final:
                self.add(frame.addresses)

    def add(self, addresses: Iterable[Address]) -> None:
        """Remember addresses."""
        self._ended.update(dict.fromkeys(addresses))
        while len(self._ended) > _MAX_REMEMBERED:
            del self._ended[next(iter(self._ended))]
