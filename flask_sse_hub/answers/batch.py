"""Batches: items that arrive one by one and leave together.

Pure: the caller passes the time. Does not know what the items are, or how they are
sent.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidOption
from ..events.seconds import checked_seconds
from ..runtime.arguments import explaining_class

# A batch is held in memory and sent as one write, so its size needs a bound.
_LARGEST = 10_000

#: One day. Locks do not accept timeouts as long as the largest float.
LONGEST_SECONDS = 86_400.0


_INTERVAL = "Use interval=, in seconds."


@explaining_class(
    "Batch(size=10, interval=0.1)",
    words={
        "max_size": "Use size=.",
        "count": "Use size=.",
        "timeout": _INTERVAL,
        "seconds": _INTERVAL,
        "delay": _INTERVAL,
    },
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Describe when items that arrive one by one leave together, in one write.

    A batch leaves when it has ``size`` items, or ``interval`` seconds after its first
    item, whichever comes first. The last batch leaves when the iterable ends. Items
    keep their order.

    ``merge`` runs in the greenlet or thread that writes, without an app context. With a
    ``merge``, an item must therefore not change after it was yielded. For example::

        batch = Batch(size=20, merge="".join)
        response = EventSourceResponse(tokens, batch=batch)

    Args:
        size: The largest number of items in a batch.
        interval: The longest time that an item waits for others, in seconds.
        merge: A function that takes the list of items and returns one item, such as
            ``"".join`` for pieces of text. None: each item is an event of its own.

    Raises:
        InvalidOption: A value is out of its range, or ``merge`` is not callable.

    """

    size: int = 10
    interval: float = 0.1
    merge: Callable[[list[Any]], Any] | None = None

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= _LARGEST:
            raise InvalidOption(
                f"a batch's size must be an int from 1 to {_LARGEST}, not"
                f" {self.size!r:.50}"
            )
        checked_seconds(
            self.interval,
            what="a batch's interval",
            above=0.0,
            most=LONGEST_SECONDS,
            error=InvalidOption,
        )
        if self.merge is not None and not callable(self.merge):
            raise InvalidOption(
                f"merge must be a function that takes a list of items and returns one,"
                f' such as "".join, not {self.merge!r:.50}'
            )


class Collector:
    """Collect the items of one batch after another. For use by a single thread."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._items: list[Any] = []
        #: The time at which the batch leaves; infinite while it is empty.
        self.due = math.inf

    @property
    def interval(self) -> float:
        """The longest time that an item waits, in seconds."""
        return self._batch.interval

    @property
    def is_full(self) -> bool:
        """Whether no further item belongs into this batch."""
        return len(self._items) >= self._batch.size

    def add(self, item: Any, *, now: float) -> None:
        """Add an item. A full batch is due at once."""
        if not self._items:
            self.due = now + self._batch.interval
        self._items.append(item)
        if self.is_full:
            self.due = now

    def take(self) -> list[Any]:
        """Return the collected items and start a new batch; with a merge, one item."""
        items, self._items = self._items, []
        self.due = math.inf
        if items and self._batch.merge is not None:
            return [self._batch.merge(items)]
        return items
