"""Objects of which each process has one, and a forked child one of its own."""

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Make an object in the process that first asks for it, and again after a fork.

    The object of the parent stays referenced in the child, so that nothing of it is
    closed there. ``abandon`` is called with it instead, if it is given, when the child
    makes its own.
    """

    def __init__(
        self, make: Callable[[], T], *, abandon: Callable[[T], None] | None = None
    ) -> None:
        self._make = make
        self._abandon = abandon
        self._made: dict[int, T] = {}
        self._abandoned: set[int] = set()

    def get(self) -> T:
        """Return the object of this process. Raises what making it raises."""
        pid = os.getpid()
        found = self._made.get(pid)
        if found is None:
            if self._abandon is not None:
                for parent in self._made.keys() - self._abandoned:
                    self._abandoned.add(parent)
                    self._abandon(self._made[parent])
            # Making one starts nothing, so of two made at once one is dropped.
            found = self._made.setdefault(pid, self._make())
        return found

    def pop(self) -> T | None:
        """Forget the object of this process and return it, None if there is none."""
        return self._made.pop(os.getpid(), None)
