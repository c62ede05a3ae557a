"""Replies: a real thread answers the greenlet or thread that asked it.

Built of gevent's smallest parts: they are a fifth cheaper to publish with than its
events and timeouts.
"""

import sys
import time
from collections import deque
from typing import Any

from .greenlets import in_greenlet, patched
from .native import NativeFlag


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
