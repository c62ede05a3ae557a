"""An iterable that runs in a thread of its own, a few items ahead of who takes them.

Knows threads, which are greenlets under gevent's patching. Does not know what the items
are for.
"""

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..runtime import greenlets

log = logging.getLogger(__name__)

#: How many items wait at most. Enough that neither side waits for the other at each
#: item, and few enough to be held for each of very many slow clients.
BUFFERED_ITEMS = 16

_THREAD_NAME = "sse-producer"

_END = object()


def any_running() -> bool:
    """Tell whether any iterable of this process still runs, if only to clean up."""
    return any(thread.name == _THREAD_NAME for thread in threading.enumerate())


class Producer:
    """Iterate over something beside the one thread that takes its items.

    What ``around`` returns is entered there before the first item, and left when the
    iterable has been closed; each item is passed through ``convert`` there, before the
    iterable goes on and perhaps changes it.

    The iterable's ``close()``, if it has one, is called exactly once, also if it is
    never iterated. A generator's ``finally`` so runs once, and in the thread in which
    the rest of it ran.
    """

    def __init__(
        self,
        iterable: Iterable[Any],
        *,
        convert: Callable[[Any], Any] = lambda item: item,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        #: What ended the iteration before its end, or came in closing; None before, and
        #: where the iteration was stopped.
        self.error: BaseException | None = None
        #: Whether there was nothing more to iterate.
        self.exhausted = False
        self._iterable: Iterable[Any] | None = iterable
        self._iterator: Iterator[Any] | None = None
        self._convert = convert
        self._around = around
        # Guards all below, and is told of each change.
        self._changed = threading.Condition(threading.Lock())
        self._items: deque[Any] = deque()
        self._started = False
        self._stopped = False
        self._ended = False
        self._woken = False
        self._greenlet: Any = None
        # Whether the iterable runs, and not this class: only it may be interrupted.
        self._inside = False

    # Who takes the items

    def start(self) -> None:
        """Begin to iterate. Once; after stop() nothing begins."""
        with self._changed:
            if self._started:
                return
            self._started = True
        # Without the context of who starts it, in which a request may still be.
        run = contextvars.Context().run
        thread = threading.Thread(
            target=run, args=(self._run,), name=_THREAD_NAME, daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            # The system has no room for another thread.
            self._finish(self._outcome(_not_at_all) or error)

    def take(self, timeout: float) -> list[Any] | None:
        """Return the next item in a list, or None when there will be none any more.

        The list is empty where none came in so many seconds, or wake() was called. What
        the iterable has yielded before its end, its error or stop() still comes.
        """
        with self._changed:
            self._changed.wait_for(self._something, timeout)
            self._woken = False
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return [item]
            return None if self._ended or self._stopped else []

    def _something(self) -> bool:
        return bool(self._items) or self._ended or self._stopped or self._woken

    def wake(self) -> None:
        """Have take() return, now or the next time."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def stop(self) -> None:
        """End the iteration; does not wait for that.

        A greenlet is interrupted: what the iterable waits for raises GreenletExit in
        it. A real thread cannot be, so it ends when the iterable yields its next item
        or returns. Neither is interrupted while the iterable is being closed.
        """
        with self._changed:
            if self._stopped or self._ended:
                return
            self._stopped = True
            never_started, self._started = not self._started, True
            greenlet = self._greenlet
            self._changed.notify_all()
        if never_started:
            self._finish(self._outcome(_not_at_all))
        elif greenlet is not None:
            greenlets.interrupt(greenlet, allowed=lambda: self._inside)

    # The thread of the iterable

    def _run(self) -> None:
        self._finish(self._outcome(self._iterate))

    def _outcome(self, iterate: Callable[[], None]) -> BaseException | None:
        """Iterate and close; return what was raised by that."""
        try:
            try:
                with self._around():
                    try:
                        iterate()
                    finally:
                        self._close()
            finally:
                # What is around it may not even have let it begin.
                self._close()
        except BaseException as raised:  # noqa: BLE001 - who takes the items is told
            return raised
        return None

    def _iterate(self) -> None:
        with self._changed:
            self._greenlet = greenlets.current_greenlet()
        while self._awaits_another():
            self._inside = True
            try:
                item = self._next()
            finally:
                self._inside = False
            if item is _END:
                self.exhausted = True
                return
            with self._changed:
                self._items.append(item)
                self._changed.notify_all()

    def _next(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._iterable or ())
        item = next(self._iterator, _END)
        return item if item is _END else self._convert(item)

    def _awaits_another(self) -> bool:
        """Wait until there is room for another item; tell whether one is wanted."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or len(self._items) < BUFFERED_ITEMS
            )
            return not self._stopped

    def _close(self) -> None:
        """Close the iterator and what it is one of, if that was not done."""
        iterator, self._iterator = self._iterator, None
        iterable, self._iterable = self._iterable, None
        try:
            if iterator is not iterable:
                close_iterable(iterator)
        finally:
            close_iterable(iterable)

    def _finish(self, error: BaseException | None) -> None:
        with self._changed:
            # Nobody takes what comes after stop(), so nobody would say it. GreenletExit
            # and GeneratorExit are no Exception: they are how it was stopped.
            unsaid = self._stopped and isinstance(error, Exception)
            if not self._stopped:
                self.error = error
            self._ended = True
            self._greenlet = None
            self._changed.notify_all()
        if unsaid:
            log.error("what was streamed failed as it was stopped", exc_info=error)


def close_iterable(what: Iterable[Any] | None) -> None:
    """Call what an iterable has for its end, if anything."""
    close = getattr(what, "close", None)
    # A column of a table may have that name too.
    if callable(close):
        close()


def _not_at_all() -> None:
    """Iterate over nothing."""
