"""The list of events in the text of an error. Knows only that an event has data."""

from collections.abc import Iterable
from typing import Protocol

_SHOWN_EVENTS = 10
_SHOWN_CHARS = 100


class Listed(Protocol):
    """An event that can be listed: one of a stream, or one of the log."""

    @property
    def data(self) -> str:
        """The text that the event carries."""


def listed(events: Iterable[tuple[str, Listed]]) -> str:
    """Return one line for each of the last events: its name, then its data.

    ``events`` are pairs of a name and an event.
    """
    lines = [f"\n  {name}: {each.data:.{_SHOWN_CHARS}}" for name, each in events]
    if not lines:
        return " nothing"
    left_out = len(lines) - _SHOWN_EVENTS
    if left_out > 0:
        lines[:left_out] = [f"\n  ({left_out} before)"]
    return "".join(lines)
