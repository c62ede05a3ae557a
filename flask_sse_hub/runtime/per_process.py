"""Objects of which each process has one of its own, forked children included."""

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Make an object when a process first needs it, and another one after a fork.

    A forked child keeps a reference to its parent's object, so that the object is not
    finalised and closes nothing that the parent still uses. When the child makes its
    own object, it calls ``abandon``, if given, with the parent's.
    """

    def __init__(
        self, make: Callable[[], T], *, abandon: Callable[[T], None] | None = None
    ) -> None:
        self._make = make
        self._abandon = abandon
        self._made: dict[int, T] = {}
        self._abandoned: set[int] = set()

    def get(self) -> T:
        """Return the object of this process. Passes on the errors of ``make``."""
        pid = os.getpid()
        found = self._made.get(pid)
        if found is None:
            if self._abandon is not None:
                for parent in self._made.keys() - self._abandoned:
                    self._abandoned.add(parent)
                    self._abandon(self._made[parent])
            # Two threads may make one at the same time. Both use the first, and the
            # other is dropped: making an object starts nothing.
            found = self._made.setdefault(pid, self._make())
        return found

    def pop(self) -> T | None:
        """Forget the object of this process and return it, None if there is none."""
        return self._made.pop(os.getpid(), None)
