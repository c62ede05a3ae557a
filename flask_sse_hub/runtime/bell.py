"""A bell: one follower waits at it, and any thread of the process may ring it.

A real thread can wake a waiting greenlet at once. Patched primitives would notice the
call of a real thread only after up to a second.
"""

import threading
from typing import Protocol

from .greenlets import patched
from .native import native_thread_id


class Bell(Protocol):
    """A flag that one follower waits for and any thread of the process may raise."""

    def ring(self) -> None:
        """Wake the follower, or end its next wait at once. Never blocks."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a ring; tell whether one came within ``timeout`` seconds.

        Lowers the flag.
        """

    def close(self) -> None:
        """Release the bell's resources. Ringing it afterwards does nothing."""


def new_bell() -> Bell:
    """Return a bell for the calling greenlet or thread to wait at."""
    return _GreenletBell() if patched() else _ThreadBell()


class _ThreadBell:
    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        self._rung.set()

    def wait(self, timeout: float | None = None) -> bool:
        rung = self._rung.wait(timeout)
        self._rung.clear()
        return rung

    def close(self) -> None:
        """Do nothing: this bell holds no resources."""


class _GreenletBell:
    """A bell at which a greenlet waits; its loop wakes it when a real thread rings."""

    def __init__(self) -> None:
        import gevent.event

        self._hub = gevent.get_hub()
        self._rung = gevent.event.Event()
        self._watcher = self._hub.loop.async_()
        self._watcher.start(self._rung.set)
        self._closed = False

    def ring(self) -> None:
        if native_thread_id() == self._hub.thread_ident:
            self._rung.set()
        elif not self._closed:
            self._watcher.send()

    def wait(self, timeout: float | None = None) -> bool:
        rung = bool(self._rung.wait(timeout))
        self._rung.clear()
        return rung

    def close(self) -> None:
        self._closed = True
        self._watcher.stop()
        self._watcher.close()
