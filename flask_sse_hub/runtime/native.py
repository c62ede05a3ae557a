"""What must not be patched, and what must know that gevent patched the rest.

Under gunicorn's gevent worker the standard library's threads, locks and sleeps are
greenlets'. This module holds the few things that have to reach below or around that.
Beside ``delivery`` it is the only one that knows gevent, and it never imports it unless
somebody else already did.
"""

import _thread
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol


def patched() -> bool:
    """Tell whether threads are greenlets in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def in_greenlet() -> bool:
    """Tell whether gevent runs the calling code, patched or not."""
    gevent = sys.modules.get("gevent")
    return gevent is not None and isinstance(gevent.getcurrent(), gevent.Greenlet)


def current_greenlet() -> Any:
    """Return the greenlet that runs the calling code, None for a real thread."""
    return sys.modules["gevent"].getcurrent() if in_greenlet() else None


def interrupt(greenlet: Any, *, allowed: Callable[[], bool]) -> None:
    """Have what a greenlet waits for raise GreenletExit, from any thread.

    Soon, in the event loop, which asks ``allowed`` at that very moment: the greenlet
    may have gone on to something that must not be interrupted.
    """
    gevent = sys.modules["gevent"]

    def throw() -> None:
        if allowed() and not greenlet.dead:
            greenlet.throw(gevent.GreenletExit)

    greenlet.parent.loop.run_callback_threadsafe(throw)


def accepting_server() -> Any:
    """Return gevent's server that accepted the calling greenlet's connection, or None.

    It has ``do_read``, which accepts, ``start_accepting`` and ``stop_accepting``.
    """
    if not in_greenlet():
        return None
    # The greenlet was given the server's own method for closing the connection.
    for each in sys.modules["gevent"].getcurrent().args:
        server = getattr(each, "__self__", None)
        if hasattr(server, "stop_accepting") and hasattr(server, "do_read"):
            return server
    return None


# A request takes a few turns of the loop: to be accepted, read, and answered.
_TURNS_PER_BREATH = 8


def breathe() -> None:
    """Let everything else run that is ready, sockets that wait to be polled too.

    sleep(0) would only run the callbacks that are due and never poll a socket, a timer
    would rest for a whole millisecond, and idle() alone waits for a moment without
    traffic, which may never come.
    """
    if not patched():
        time.sleep(0)
        return
    gevent_hub = sys.modules["gevent.hub"]
    hub = gevent_hub.get_hub()
    waiter = gevent_hub.Waiter(hub)
    idle, turn = hub.loop.idle(), hub.loop.check()
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1
        if turns == _TURNS_PER_BREATH:
            waiter.switch(None)

    idle.start(waiter.switch, None)
    turn.start(count)
    try:
        waiter.get()
    finally:
        idle.close()
        turn.close()


class Bell(Protocol):
    """A flag that one follower waits for and any thread of the process may raise."""

    def ring(self) -> None:
        """Wake the one that waits, now or the next time it waits. Never blocks."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until rung, or for ``timeout`` seconds; tell which. Lowers the flag."""

    def close(self) -> None:
        """Release what the bell holds; ringing it afterwards does nothing."""


def bell() -> Bell:
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


def native_thread_id() -> int:
    """Return the id of the operating system's thread, greenlet or not."""
    return int(original("_thread", "get_ident")())


def native_lock() -> "_thread.LockType":
    """Return a real lock, for sections that real threads share with greenlets.

    Nothing under it may block or switch greenlets: the whole process would wait.
    """
    return original("_thread", "allocate_lock")()  # type: ignore[no-any-return]


class NativeFlag:
    """A flag that one real thread waits for, and that anybody may raise."""

    def __init__(self) -> None:
        self._lock = original("_thread", "allocate_lock")()
        self._lock.acquire()

    def set(self) -> None:
        """Raise it; raising it twice before it is waited for is raising it once."""
        # Most often it is raised already, and an error costs more than a look.
        if self._lock.locked():
            with suppress(RuntimeError):
                self._lock.release()

    def wait(self, timeout: float = -1) -> bool:
        """Wait in a real thread until it is raised; tell whether it was. Lowers it.

        For ever, unless a number of seconds is given.
        """
        return bool(self._lock.acquire(timeout=timeout))


def pause(seconds: float) -> None:
    """Have the whole thread sleep, with all of its greenlets."""
    original("time", "sleep")(seconds)


def start_thread(target: Callable[[], None]) -> None:
    """Run a function in a real thread, beside greenlets.

    It must not log, and must not use locks or events of the standard library: they may
    be patched, and belong to the greenlets' thread.
    """
    # A patched socket makes a gevent hub for the thread, which is left to it: destroyed
    # here, it would abort a process that is just ending.
    original("_thread", "start_new_thread")(target, ())


class Reply:
    """What a real thread answers to the greenlet or thread that asked it."""

    __slots__ = ("_error", "_mailbox", "_value", "_waiter")

    def __init__(self) -> None:
        self._value: Any = None
        self._error: Exception | None = None
        self._mailbox = _mailbox()
        self._waiter = self._mailbox.waiter() if self._mailbox else NativeFlag()

    def set(self, value: Any) -> None:
        """Answer."""
        self._value = value
        self._deliver()

    def fail(self, error: Exception) -> None:
        """Have the asker raise an error."""
        self._error = error
        self._deliver()

    def _deliver(self) -> None:
        if self._mailbox is None:
            self._waiter.set()
        else:
            self._mailbox.post(self._waiter)

    def wait(self, timeout: float) -> Any:
        """Return the answer, or raise it. Raises TimeoutError, maybe a bit late."""
        if self._mailbox is None:
            came = self._waiter.wait(timeout)
        else:
            came = self._mailbox.wait(self._waiter, timeout)
        if not came:
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value


# How late a greenlet may be told that its answer did not come in time. One timer looks
# after all that wait: one for each would be a tenth of what it costs to publish.
_TICK_SECONDS = 0.1


class _Mailbox:
    """Brings what real threads post to the greenlets of one gevent hub.

    With gevent's smallest parts: an Event and a Timeout would do the same, and would be
    a fifth of what it costs to publish.
    """

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._posted: deque[Any] = deque()
        self._watcher = hub.loop.async_()
        self._watcher.start(self._deliver)
        self._deadlines: dict[Any, float] = {}
        self._timer = hub.loop.timer(_TICK_SECONDS, repeat=_TICK_SECONDS)

    def waiter(self) -> Any:
        """Return what one greenlet can wait at, once."""
        return sys.modules["gevent.hub"].Waiter(self._hub)

    def post(self, waiter: Any) -> None:
        """Wake whoever waits or is going to; from any thread."""
        self._posted.append(waiter)
        self._watcher.send()

    def wait(self, waiter: Any, timeout: float) -> bool:
        """Wait for so many seconds; tell whether something was posted."""
        if not self._timer.active:
            self._timer.start(self._end_overdue)
        self._deadlines[waiter] = time.monotonic() + timeout
        try:
            return bool(waiter.get())
        finally:
            del self._deadlines[waiter]

    def _deliver(self) -> None:
        while self._posted:
            self._posted.popleft().switch(True)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        if not self._deadlines:
            self._timer.stop()
        for waiter in [each for each, at in self._deadlines.items() if at <= now]:
            waiter.switch(False)


def _mailbox() -> _Mailbox | None:
    """Return the mailbox of the calling greenlet's hub, None for a real thread.

    None too for what is no Greenlet, as a script's own main program: it waits as a real
    thread does, and everything else with it.
    """
    if not in_greenlet():
        return None
    hub = sys.modules["gevent"].get_hub()
    # Kept on the hub, so that it goes when the hub does.
    mailbox: _Mailbox | None = getattr(hub, "_sse_hub_mailbox", None)
    if mailbox is None and patched():
        mailbox = hub._sse_hub_mailbox = _Mailbox(hub)  # noqa: SLF001
    return mailbox


def original(module: str, name: str) -> Any:
    """Return what a module had under a name before gevent patched it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(sys.modules[module], name)
