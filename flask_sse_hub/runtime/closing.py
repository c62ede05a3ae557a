"""The end of loops: a flag for one process, which counts as set in its forked children.

A fork under gevent copies the greenlets of all loops.
"""

import threading
from typing import Protocol

from .per_process import Home


class Closed(Protocol):
    """Tells loops that they have to end."""

    def is_set(self) -> bool:
        """Tell whether loops have to end."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end for some seconds; tell whether it has come."""


class Closing:
    """Set when all loops have to end. Counts as set in a forked child."""

    def __init__(self, event: threading.Event | None = None) -> None:
        self._event = threading.Event() if event is None else event
        self._home = Home()

    @property
    def inherited(self) -> bool:
        """Whether this process is a forked child, to which the loops do not belong."""
        return self._home.left

    def set(self) -> None:
        """Have all loops end."""
        self._event.set()

    def is_set(self) -> bool:
        """Tell whether loops have to end."""
        return self._event.is_set() or self._home.left

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end for some seconds; tell whether it has come."""
        return self._event.wait(timeout) or self._home.left
