"""Greenlets, if gevent has patched the standard library; threads otherwise.

Never imports gevent: it checks whether the app or its server has imported it.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def patched() -> bool:
    """Tell whether threads are greenlets in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def in_greenlet() -> bool:
    """Tell whether the calling code runs in a greenlet, patched or not."""
    gevent = sys.modules.get("gevent")
    return gevent is not None and isinstance(gevent.getcurrent(), gevent.Greenlet)


def current_greenlet() -> Any:
    """Return the greenlet that runs the calling code, None in a real thread."""
    return sys.modules["gevent"].getcurrent() if in_greenlet() else None


def interrupt(greenlet: Any, *, allowed: Callable[[], bool]) -> None:
    """End a greenlet's wait: raise GreenletExit in it. May be called in any thread.

    The event loop raises it soon, and calls ``allowed`` immediately before: by then the
    greenlet may be at work that must not be interrupted.
    """
    gevent = sys.modules["gevent"]

    def throw() -> None:
        if allowed() and not greenlet.dead:
            greenlet.throw(gevent.GreenletExit)

    greenlet.parent.loop.run_callback_threadsafe(throw)


class Watcher:
    """Calls a function from gevent's loop until it is closed. The function never waits.

    ``watcher`` is one of the loop's own.
    """

    def __init__(self, watcher: Any, function: Callable[[], object]) -> None:
        self._watcher = watcher
        watcher.start(function)

    def close(self) -> None:
        """Stop calling the function."""
        self._watcher.stop()
        self._watcher.close()


def when(has_come: Callable[[], bool], then: Callable[[], object]) -> Watcher | None:
    """Run ``then`` once in a greenlet of its own, when ``has_come()`` is true.

    gevent's loop asks from its next turn on, each time before it waits, and so after
    each signal. That costs nothing while the process is idle, which a timer would wake.
    Without gevent, returns None and never asks.
    """
    if not patched():
        return None
    gevent = sys.modules["gevent"]
    loop = gevent.get_hub().loop

    def look() -> None:
        if has_come():
            watcher.close()
            # The loop is about to wait, and a mere spawn() would not keep it from that.
            loop.run_callback_threadsafe(gevent.spawn, then)

    # With this priority it comes after the greenlets that are ready to run.
    watcher = Watcher(loop.prepare(ref=False, priority=loop.MINPRI), look)
    return watcher


# A request takes a few turns of the loop: one to be accepted, then to be read, then to
# be answered.
_TURNS_PER_BREATH = 8


def breathe() -> None:
    """Let all other ready work of the process run, including sockets to be polled.

    The simpler ways do not work. sleep(0) runs only the callbacks that are due and
    never polls a socket. A timer waits for a whole millisecond. idle() alone waits for
    a moment without traffic, which may never come.
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


def in_slices(items: Sequence[T], *, size: int) -> Iterator[Sequence[T]]:
    """Yield the items in slices. All other ready work runs between two slices."""
    for start in range(0, len(items), size):
        if start:
            breathe()
        yield items[start : start + size]


# The rest of the process gets its turn after this much work, as in a fan-out.
_SLICE_SECONDS = 0.003


def unhurried(items: Iterable[T]) -> Iterator[T]:
    """Yield the items. All other ready work runs after every few milliseconds.

    The caller holds no lock that code in the event loop may need.
    """
    ends = time.monotonic() + _SLICE_SECONDS
    for item in items:
        yield item
        if time.monotonic() >= ends:
            breathe()
            ends = time.monotonic() + _SLICE_SECONDS
