"""Replies: a real thread answers the greenlet or thread that asked it.

Uses gevent's smallest primitives. With its Event and Timeout, a publish would cost a
fifth more.
"""

import sys
import time
from collections import deque
from typing import Any

from .greenlets import in_greenlet, patched
from .native import NativeFlag


class Reply:
    """The answer of a real thread to the greenlet or thread that asked it."""

    __slots__ = ("_error", "_mailbox", "_value", "_waiter")

    def __init__(self) -> None:
        self._value: Any = None
        self._error: Exception | None = None
        self._mailbox = _mailbox()
        self._waiter = self._mailbox.waiter() if self._mailbox else NativeFlag()

    def set(self, value: Any) -> None:
        """Answer with a value."""
        self._value = value
        self._deliver()

    def fail(self, error: Exception) -> None:
        """Answer with an error, which ``wait()`` raises."""
        self._error = error
        self._deliver()

    def _deliver(self) -> None:
        if self._mailbox is None:
            self._waiter.set()
        else:
            self._mailbox.post(self._waiter)

    def wait(self, timeout: float) -> Any:
        """Return the answer, or raise the error that is the answer.

        Raises TimeoutError, up to a tenth of a second late, if no answer comes.
        """
        if self._mailbox is None:
            came = self._waiter.wait(timeout)
        else:
            came = self._mailbox.wait(self._waiter, timeout)
        if not came:
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value


# How late a TimeoutError may be. One timer serves all waiting greenlets: a timer for
# each would be a tenth of the cost of a publish.
_TICK_SECONDS = 0.1


class _Mailbox:
    """Wake the greenlets of one gevent hub when real threads post to them.

    Uses gevent's smallest primitives. An Event and a Timeout would do the same, but
    would be a fifth of the cost of a publish.
    """

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._posted: deque[Any] = deque()
        self._watcher = hub.loop.async_()
        self._watcher.start(self._deliver)
        self._deadlines: dict[Any, float] = {}
        self._timer = hub.loop.timer(_TICK_SECONDS, repeat=_TICK_SECONDS)

    def waiter(self) -> Any:
        """Return a waiter, at which one greenlet can wait once."""
        return sys.modules["gevent.hub"].Waiter(self._hub)

    def post(self, waiter: Any) -> None:
        """Wake the greenlet that waits at a waiter. May be called in any thread.

        If the greenlet does not wait yet, its wait ends at once.
        """
        self._posted.append(waiter)
        self._watcher.send()

    def wait(self, waiter: Any, timeout: float) -> bool:
        """Wait for up to ``timeout`` seconds; tell whether a thread has posted."""
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
    """Return the mailbox of the calling greenlet's hub, None in a real thread.

    None too in the main program of a script, which is not a Greenlet: it waits as a
    real thread does, and the whole process waits with it.
    """
    if not in_greenlet():
        return None
    hub = sys.modules["gevent"].get_hub()
    # Kept on the gevent hub, so that both are freed together.
    mailbox: _Mailbox | None = getattr(hub, "_sse_hub_mailbox", None)
    if mailbox is None and patched():
        mailbox = hub._sse_hub_mailbox = _Mailbox(hub)  # noqa: SLF001
    return mailbox
