"""The interpreter's own threads, locks and sleeps, even if gevent has patched them.

Under gunicorn's gevent worker the standard library's threads are greenlets. This module
has the few primitives that have to be real. It never imports gevent: it only checks
whether gevent is imported.
"""

import _thread
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def original(module: str, name: str) -> Any:
    """Return the attribute that a module had before gevent patched it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(sys.modules[module], name)


def native_thread_id() -> int:
    """Return the id of the operating system's thread, also in a greenlet."""
    return int(original("_thread", "get_ident")())


def native_lock() -> "_thread.LockType":
    """Return a real lock, for data that real threads share with greenlets.

    Code that holds the lock must neither block nor switch greenlets: the whole process
    would wait.
    """
    return original("_thread", "allocate_lock")()  # type: ignore[no-any-return]


class NativeFlag:
    """A flag that one real thread waits for and any thread may raise."""

    def __init__(self) -> None:
        self._lock = original("_thread", "allocate_lock")()
        self._lock.acquire()

    def set(self) -> None:
        """Raise the flag. Raising a raised flag does nothing."""
        # The flag is usually raised already. Checking first is cheaper than the error.
        if self._lock.locked():
            with suppress(RuntimeError):
                self._lock.release()

    def wait(self, timeout: float = -1) -> bool:
        """Wait for the flag, in a real thread; tell whether it was raised.

        Lowers the flag. Without a ``timeout`` in seconds, waits without a limit.
        """
        return bool(self._lock.acquire(timeout=timeout))


def pause(seconds: float) -> None:
    """Put the whole thread to sleep, with all of its greenlets."""
    original("time", "sleep")(seconds)


def start_thread(target: Callable[[], None]) -> None:
    """Run a function in a real thread, also under gevent.

    The function must not log, and must not use locks or events of the standard library:
    they may be patched and belong to the greenlets' thread.
    """
    # If the function uses a patched socket, gevent creates a hub for the thread. That
    # hub is never destroyed: destroying it could abort a process that is just ending.
    original("_thread", "start_new_thread")(target, ())
