"""Greenlets, where gevent has patched the standard library; threads elsewhere.

Never imports gevent: it asks whether the app or its server did.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


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


def in_slices(items: Sequence[T], *, size: int) -> Iterator[Sequence[T]]:
    """Yield the items in slices; everything else that is ready runs between them."""
    for start in range(0, len(items), size):
        if start:
            breathe()
        yield items[start : start + size]
