"""Objects of which each process has one of its own, forked children included.

A fork under gevent copies all greenlets. In the child they go on in the middle of their
work: they would write to the parent's sockets, and act on the child's signals.
"""

import os
import weakref
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from .survival import surviving

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Make an object when a process first needs it, and another one after a fork.

    A forked child keeps a reference to its parent's object, so that the object is not
    finalised and closes nothing that the parent still uses.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """Return the object of this process. Passes on the errors of ``make``."""
        pid = os.getpid()
        found = self._made.get(pid)
        if found is None:
            # Two threads may make one at the same time. Both use the first, and the
            # other is dropped: making an object starts nothing.
            found = self._made.setdefault(pid, self._make())
        return found

    def pop(self) -> T | None:
        """Forget the object of this process and return it, None if there is none."""
        return self._made.pop(os.getpid(), None)


class Home:
    """The process in which an object was made."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def left(self) -> bool:
        """Whether this is another process: a forked child."""
        return os.getpid() != self._pid


class Inheritable(Protocol):
    """An object that a forked child inherits, and must not use."""

    def abandon(self) -> None:
        """Let go of everything that belongs to the parent, without a trace.

        Called in the child, before any other code. Must not wait: a thread that held a
        lock does not exist in the child.
        """


_inheritable: "weakref.WeakSet[Inheritable]" = weakref.WeakSet()
_watched: set[bool] = set()


def abandon_after_fork(owner: Inheritable) -> None:
    """Have an object abandoned in each forked child. A second call changes nothing."""
    _inheritable.add(owner)
    if not _watched and hasattr(os, "register_at_fork"):
        _watched.add(True)
        os.register_at_fork(after_in_child=_abandon_all)


def _abandon_all() -> None:
    owners = list(_inheritable)
    _inheritable.clear()
    for owner in owners:
        with surviving():
            owner.abandon()
