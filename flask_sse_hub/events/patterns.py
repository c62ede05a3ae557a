"""Patterns of channel names, and the settings that give one a value.

Knows names alone. Does not know who may listen to a channel or publish to it.
"""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from . import address
from .address import Address
from .seconds import checked_seconds

#: The longest ``ttl``, in seconds. History rarely reaches back for so long.
MAX_TTL_SECONDS = 604_800.0


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a whole name matches a pattern.

    Case matters. A dot has no meaning: ``orders.*`` matches ``orders.x.y`` too.
    """
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class DefaultTtls:
    """The ttl of events without one of their own, by patterns of their channels."""

    by_pattern: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, given: object) -> Self:
        """Read a mapping of patterns to seconds. Raises ValueError."""
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise ValueError(
                'a dict of channel patterns and seconds is needed, as in {"typing.*":'
                f" 5}}, not {type(given).__name__}"
            )
        for pattern in given:
            if not isinstance(pattern, str) or not pattern:
                raise ValueError("each pattern must be a string that is not empty")
        return cls(
            tuple(
                (pattern, checked_ttl(seconds, what=f"the ttl of {pattern!r:.60}"))
                for pattern, seconds in given.items()
            )
        )

    def __repr__(self) -> str:
        """Return the mapping as an app writes it."""
        return repr(dict(self.by_pattern))

    def of_event(self, addresses: Iterable[Address]) -> float | None:
        """Return the longest ttl of the channels at which an event is addressed.

        None if one of the addresses has no ttl: everything there is kept.
        """
        if not self.by_pattern:
            return None
        found = [self._of(each) for each in addresses]
        known = [each for each in found if each is not None]
        return max(known) if known and len(known) == len(found) else None

    def _of(self, each: Address) -> float | None:
        name = address.channel_of(each)
        found = (
            seconds
            for pattern, seconds in self.by_pattern
            if name is not None and matches(name, (pattern,))
        )
        return max(found, default=None)


def checked_ttl(
    value: object, *, what: str = "ttl", error: type[Exception] = ValueError
) -> float:
    """Return a ttl in seconds, from 0 to a week. Raises ``error``."""
    return checked_seconds(value, what=what, most=MAX_TTL_SECONDS, error=error)
