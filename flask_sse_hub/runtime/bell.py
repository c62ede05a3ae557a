"""A bell: one follower waits at it, and any thread of the process may ring it.

Works for a greenlet that waits while real threads ring, which patched primitives notice
only after up to a second.
"""

import threading
from typing import Protocol

from .greenlets import patched
from .native import native_thread_id


class Bell(Protocol):
    """A flag that one follower waits for and any thread of the process may raise."""

    def ring(self) -> None:
        """Wake the one that waits, now or the next time it waits. Never blocks."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until rung, or for ``timeout`` seconds; tell which. Lowers the flag."""

    def close(self) -> None:
        """Release what the bell holds; ringing it afterwards does nothing."""


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
        """Nothing is held."""


class _GreenletBell:
    """Rung from a real thread, patched primitives take up to a second to be noticed."""

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
