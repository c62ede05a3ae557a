"""Batches: items that come one by one and leave together.

Pure: whoever collects says what time it is. Does not know what the items are, or how
they travel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError
from ..events.seconds import checked_seconds

# A batch is held in memory, and sent as one write.
_LARGEST = 10_000

#: A day. No lock can be waited for as long as the largest float says.
LONGEST_SECONDS = 86_400.0


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
        checked_seconds(
            self.interval,
            what="a batch's interval",
            above=0.0,
            most=LONGEST_SECONDS,
            error=ConfigurationError,
        )
        if self.merge is not None and not callable(self.merge):
            raise ConfigurationError(
                f"merge takes a list of items and returns one: {self.merge!r:.50}"
                " cannot be called"
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
