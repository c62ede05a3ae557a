"""The interpreter's own threads, locks and sleeps, whatever gevent has patched.

Under gunicorn's gevent worker the standard library's threads are greenlets. This module
has the few primitives that have to be real. It never imports gevent: it only asks
whether gevent is there.
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
    """Return the id of the operating system's thread, greenlet or not."""
    return int(original("_thread", "get_ident")())


def native_lock() -> "_thread.LockType":
    """Return a real lock, for sections that real threads share with greenlets.

    Code under the lock must neither block nor switch greenlets: the whole process would
    wait.
    """
    return original("_thread", "allocate_lock")()  # type: ignore[no-any-return]


class NativeFlag:
    """A flag that one real thread waits for, and that any thread may raise."""

    def __init__(self) -> None:
        self._lock = original("_thread", "allocate_lock")()
        self._lock.acquire()

    def set(self) -> None:
        """Raise the flag. Raising it twice before a wait is raising it once."""
        # Most often it is raised already, and an error costs more than a look.
        if self._lock.locked():
            with suppress(RuntimeError):
                self._lock.release()

    def wait(self, timeout: float = -1) -> bool:
        """Wait in a real thread for the flag; tell whether it was raised. Lowers it.

        Waits without end, unless a number of seconds is given.
        """
        return bool(self._lock.acquire(timeout=timeout))


def pause(seconds: float) -> None:
    """Have the whole thread sleep, with all of its greenlets."""
    original("time", "sleep")(seconds)


def start_thread(target: Callable[[], None]) -> None:
    """Run a function in a real thread, beside greenlets.

    The function must not log, and must not use locks or events of the standard library:
    they may be patched, and belong to the greenlets' thread.
    """
    # A patched socket creates a gevent hub for the thread, which nothing destroys:
    # destroying it here could abort a process that is just ending.
    original("_thread", "start_new_thread")(target, ())
