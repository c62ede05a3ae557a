"""Ended sessions: their addresses are never used again.

A request may have read its session's cookie before a logout and arrive after it. A copy
of the cookie, and a ticket of the session, can come any time later.
"""

from collections.abc import Iterable

from ...brokers.base import ENDED_SESSIONS
from ...events.address import Address
from .stretch import Frame


class EndedSessions:
    """The addresses of the sessions that ended last. Does not lock: callers do.

    The oldest is forgotten first.
    """

    def __init__(self) -> None:
        self._ended: dict[Address, None] = {}

    def __contains__(self, address: object) -> bool:
        return address in self._ended

    def note(self, frames: Iterable[Frame]) -> None:
        """Remember the addresses of the final control records among some records."""
        for frame in frames:
            if frame.disconnect is not None and frame.disconnect.final:
                self.add(frame.addresses)

    def add(self, addresses: Iterable[Address]) -> None:
        """Remember addresses."""
        self._ended.update(dict.fromkeys(addresses))
        while len(self._ended) > ENDED_SESSIONS:
            del self._ended[next(iter(self._ended))]
