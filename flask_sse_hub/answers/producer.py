"""An iterable that runs in a thread of its own, a few items ahead of its consumer.

Knows threads, which are greenlets where gevent has patched them. Does not know what the
items are for.
"""

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..runtime import greenlets, tracing
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog
from .protocols import Failure
from .source import News

log = CodedLog(__name__)
_rare_log = RareLog(log)

#: The most items that wait to be taken. With this many, neither side has to wait for
#: the other at each item. It is small enough to be held for thousands of slow clients.
BUFFERED_ITEMS = 16

_THREAD_NAME = "sse-producer"

_END = object()


def any_running() -> bool:
    """Tell whether an iterable of this process still runs or cleans up."""
    return any(thread.name == _THREAD_NAME for thread in threading.enumerate())


class Producer:
    """Run an iterable in a thread of its own, for one other thread to take its items.

    The context manager that ``around`` returns is entered in the iterable's thread
    before the first item, and left after the iterable was closed. ``convert`` is called
    there with each item, before the iterable goes on and perhaps changes the item.
    ``room`` is the most items that wait to be taken.

    The iterable's ``close()``, if it has one, is called exactly once, even if the
    iterable is never iterated. So a generator's ``finally`` runs once, in the thread
    that ran the rest of the generator.
    """

    # Its consumer tells of all failures.
    failure: Failure | None = None
    reason: str | None = None

    def __init__(
        self,
        iterable: Iterable[Any],
        *,
        convert: Callable[[Any], Any] = lambda item: item,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
        room: int = BUFFERED_ITEMS,
    ) -> None:
        #: The error that ended the iteration or came while closing the iterable. None
        #: until then, and None if the iteration was stopped.
        self.error: BaseException | None = None
        #: Whether the iterable was iterated to its end.
        self.exhausted = False
        self._iterable: Iterable[Any] | None = iterable
        self._iterator: Iterator[Any] | None = None
        self._convert = convert
        self._around = around
        self._room = room
        self._on_news: News = _tell_nobody
        # Code of the iterable goes on in the trace of the request that made this.
        self._target = tracing.carried(self._run)
        # Guards all fields below, and is notified of each change.
        # Its own lock is reentrant: with a plain one, gevent's would let others run at
        # each notify, which takes longer than all the rest.
        self._changed = threading.Condition()
        self._items: deque[Any] = deque()
        self._started = False
        self._stopped = False
        self._ended = False
        self._woken = False
        self._greenlet: Any = None
        # Whether code of the iterable is running. Only that code may be interrupted,
        # not the code of this class.
        self._inside = False

    # Called by the consumer

    def start(self, on_news: News | None = None) -> None:
        """Begin to iterate. A second call, or a call after stop(), does nothing.

        ``on_news`` is for a consumer that does not wait in take(): see ``Supply``.
        """
        with self._changed:
            if self._started:
                return
            self._started = True
            self._on_news = on_news or _tell_nobody
        # An empty context: the caller's context may hold a request.
        run = contextvars.Context().run
        thread = threading.Thread(
            target=run,
            args=(self._target,),
            name=_THREAD_NAME,
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError as error:
            # The system cannot start another thread.
            self._finish(self._outcome(_not_at_all) or error)

    def take(self, timeout: float) -> list[Any] | None:
        """Return the next item in a list, or None when there are no more items.

        The list is empty if no item came within ``timeout`` seconds, or if wake() was
        called. Items that the iterable yielded before its end, its error or stop() are
        still returned.
        """
        with self._changed:
            self._changed.wait_for(self._something, timeout)
            self._woken = False
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return [item]
            return None if self._ended or self._stopped else []

    def take_ready(self) -> list[Any] | None:
        """Return all items that wait, or None when there are no more items."""
        with self._changed:
            if not self._items:
                return None if self._ended or self._stopped else []
            found = list(self._items)
            self._items.clear()
            self._changed.notify_all()
        return found

    def _something(self) -> bool:
        return bool(self._items) or self._ended or self._stopped or self._woken

    def wake(self) -> None:
        """Make take() return: the call that is waiting now, or else the next one."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def stop(self) -> None:
        """End the iteration, without waiting until it has ended.

        A greenlet is interrupted: GreenletExit is raised in the iterable where it
        waits. A real thread cannot be interrupted: it ends when the iterable yields its
        next item or returns. Closing the iterable is never interrupted.
        """
        with self._changed:
            if self._stopped or self._ended:
                return
            self._stopped = True
            never_started, self._started = not self._started, True
            greenlet = self._greenlet
            self._changed.notify_all()
        self._on_news(urgent=True)
        if never_started:
            self._finish(self._outcome(_not_at_all))
        elif greenlet is not None:
            greenlets.interrupt(greenlet, allowed=lambda: self._inside)

    # The thread of the iterable

    def _run(self) -> None:
        self._finish(self._outcome(self._iterate))

    def _outcome(self, iterate: Callable[[], None]) -> BaseException | None:
        """Iterate, close the iterable, and return the error that was raised, if any."""
        try:
            try:
                with self._around():
                    try:
                        iterate()
                    finally:
                        self._close()
            finally:
                # Entering the context manager may have failed.
                self._close()
        except BaseException as raised:  # noqa: BLE001 - the consumer handles it
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
                waiting = len(self._items)
                self._changed.notify_all()
            if waiting == self._room:
                self._on_news(urgent=True)
            elif waiting == 1:
                self._on_news(urgent=False)

    def _next(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._iterable or ())
        item = next(self._iterator, _END)
        return item if item is _END else self._convert(item)

    def _awaits_another(self) -> bool:
        """Wait until there is room for another item. Returns False after a stop."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or len(self._items) < self._room
            )
            return not self._stopped

    def _close(self) -> None:
        """Close the iterator and the iterable, unless they are closed already."""
        iterator, self._iterator = self._iterator, None
        iterable, self._iterable = self._iterable, None
        try:
            if iterator is not iterable:
                close_iterable(iterator)
        finally:
            close_iterable(iterable)

    def _finish(self, error: BaseException | None) -> None:
        with self._changed:
            # The consumer does not look at errors after stop(), so they are logged
            # here. GreenletExit and GeneratorExit are not subclasses of Exception: they
            # come from stopping and are no failure.
            unsaid = self._stopped and isinstance(error, Exception)
            if not self._stopped:
                self.error = error
            self._ended = True
            self._greenlet = None
            self._changed.notify_all()
        self._on_news(urgent=True)
        if unsaid:
            _rare_log.exception(
                "SSE-1605",
                "an iterable failed while it was being stopped",
                error=error,
            )


def _tell_nobody(*, urgent: bool) -> None:
    """Do nothing: the consumer waits in take()."""


def close_iterable(what: Iterable[Any] | None) -> None:
    """Call the ``close()`` of an iterable, if it has one."""
    close = getattr(what, "close", None)
    # An attribute of this name may be something else, such as a column of a table.
    if callable(close):
        close()


def _not_at_all() -> None:
    """Iterate over nothing."""
