"""Patterns of channel names, and the settings that give one a value.

Knows names alone. Does not know who may listen to a channel or publish to it.
"""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from . import address
from .address import Address
from .record import MAX_OFFSET, ChannelBounds
from .seconds import checked_seconds

#: The longest ``ttl``, in seconds. History rarely reaches back for so long.
MAX_TTL_SECONDS = 604_800.0

_BOUNDS = {"events", "seconds"}


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a whole name matches a pattern.

    Case matters. A dot has no meaning: ``orders.*`` matches ``orders.x.y`` too.
    """
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def first_match(name: str, patterns: Iterable[str]) -> str | None:
    """Return the first pattern that a name matches, None without one."""
    return next((each for each in patterns if matches(name, (each,))), None)


@dataclass(frozen=True, slots=True)
class DefaultTtls:
    """The ttl of events without one of their own, by patterns of their channels."""

    by_pattern: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, given: object) -> Self:
        """Read a mapping of patterns to seconds. Raises ValueError."""
        if isinstance(given, cls):
            return given
        return cls(
            tuple(
                (pattern, checked_ttl(seconds, what=f"the ttl of {pattern!r:.60}"))
                for pattern, seconds in _items(given, 'seconds, as in {"typing.*": 5},')
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


@dataclass(frozen=True, slots=True)
class ChannelHistories:
    """How much history channels keep, by patterns of their names."""

    by_pattern: tuple[tuple[str, ChannelBounds], ...] = ()

    @classmethod
    def of(cls, given: object) -> Self:
        """Read a mapping of patterns to mappings of bounds. Raises ValueError."""
        if isinstance(given, cls):
            return given
        return cls(
            tuple(
                (pattern, _bounds(bounds, what=f"the history of {pattern!r:.60}"))
                for pattern, bounds in _items(
                    given, 'bounds, as in {"chat.*": {"events": 1000}},'
                )
            )
        )

    def __repr__(self) -> str:
        """Return the mapping as an app writes it."""
        return repr(
            {
                pattern: {
                    name: value
                    for name, value in (
                        ("events", bounds.events),
                        ("seconds", bounds.seconds),
                    )
                    if value is not None
                }
                for pattern, bounds in self.by_pattern
            }
        )

    def of_event(self, addresses: Sequence[Address]) -> ChannelBounds | None:
        """Return the bounds for an event that is addressed to one channel alone.

        They are those of the first pattern that matches. None for all other events.
        """
        name = address.only_channel(addresses)
        if name is None:
            return None
        found = (each for pattern, each in self.by_pattern if matches(name, (pattern,)))
        return next(found, None)


def _items(given: object, example: str) -> list[tuple[str, object]]:
    if not isinstance(given, Mapping):
        raise ValueError(
            f"a dict of channel patterns and {example} is needed, not"
            f" {type(given).__name__}"
        )
    for pattern in given:
        if not isinstance(pattern, str) or not pattern:
            raise ValueError("each pattern must be a string that is not empty")
    return list(given.items())


def _bounds(given: object, *, what: str) -> ChannelBounds:
    if not isinstance(given, Mapping) or not given or given.keys() - _BOUNDS:
        raise ValueError(
            f'{what} must be a dict with "events", "seconds" or both, as in'
            f' {{"events": 1000}}, not {given!r:.60}'
        )
    events, seconds = given.get("events"), given.get("seconds")
    if "events" in given and (
        not isinstance(events, int)
        or isinstance(events, bool)
        or not 1 <= events <= MAX_OFFSET
    ):
        raise ValueError(f'"events" in {what} must be a whole number from 1 on')
    if "seconds" in given:
        seconds = checked_seconds(seconds, what=f'"seconds" in {what}', above=0.0)
    return ChannelBounds(events, seconds)


def checked_ttl(
    value: object, *, what: str = "ttl", error: type[Exception] = ValueError
) -> float:
    """Return a ttl in seconds, from 0 to a week. Raises ``error``."""
    return checked_seconds(value, what=what, most=MAX_TTL_SECONDS, error=error)
