"""Batches: items that come one by one and leave together.

Pure: whoever collects says what time it is. Does not know what the items are, or how
they travel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError

# A batch is held in memory, and sent as one write.
_LARGEST = 10_000

# A day: locks cannot be waited at for any time that a float can say.
_LONGEST_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """When items that come one by one leave together.

    As soon as there are ``size`` of them, or ``interval`` seconds after the first one,
    whichever comes first; what is left at the end leaves then. Their order is kept.

    Without ``merge`` each item is an event of its own. ``merge`` makes one item of a
    list of them: ``merge="".join`` for pieces of text. It runs in the greenlet or
    thread that writes, without an app context, so an item must not change once it was
    yielded.

    Raises ConfigurationError.
    """

    size: int = 10
    interval: float = 0.1
    merge: Callable[[list[Any]], Any] | None = None

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= _LARGEST:
            raise ConfigurationError(
                f"a batch's size must be an int from 1 to {_LARGEST}, not"
                f" {self.size!r:.50}"
            )
        check_seconds(self.interval, what="a batch's interval")
        if self.merge is not None and not callable(self.merge):
            raise ConfigurationError(
                f"merge takes a list of items and returns one: {self.merge!r:.50}"
                " cannot be called"
            )


def check_seconds(value: object, *, what: str) -> None:
    """Raise ConfigurationError for what is no number of seconds, above 0 to a day."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(
            f"{what} is a number of seconds, not {type(value).__name__}"
        )
    # Not a number is neither above nor below anything, and so outside too.
    if not 0 < value <= _LONGEST_SECONDS:
        raise ConfigurationError(
            f"{what} must be above 0 and up to {_LONGEST_SECONDS:.0f} seconds, not"
            f" {value}"
        )


class Collector:
    """The batch that is being collected; one thread has it."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._items: list[Any] = []
        #: When the batch leaves, however few there are; infinite while there are none.
        self.due = math.inf

    def add(self, item: Any, *, now: float) -> None:
        """Take one item."""
        if not self._items:
            self.due = now + self._batch.interval
        self._items.append(item)
        if len(self._items) >= self._batch.size:
            self.due = now

    def take(self) -> list[Any]:
        """Return what was collected, merged to one item where that is wanted."""
        items, self._items = self._items, []
        self.due = math.inf
        if items and self._batch.merge is not None:
            return [self._batch.merge(items)]
        return items
