"""Events as the text of an error lists them. Knows only that they have data."""

from collections.abc import Iterable
from typing import Protocol

_SHOWN_EVENTS = 10
_SHOWN_CHARS = 100


class Listed(Protocol):
    """What an event of a stream and one of the log have in common."""

    @property
    def data(self) -> str:
        """The text that it carries."""


def listed(events: Iterable[tuple[str, Listed]]) -> str:
    """Return a line for each of the last few events, after what it is called."""
    lines = [f"\n  {name}: {each.data:.{_SHOWN_CHARS}}" for name, each in events]
    if not lines:
        return " nothing"
    left_out = len(lines) - _SHOWN_EVENTS
    if left_out > 0:
        lines[:left_out] = [f"\n  ({left_out} before)"]
    return "".join(lines)
