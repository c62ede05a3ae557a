"""The tasks of a hub: functions that run in threads, from the first stream on.

Does not know what the tasks do.
"""

import threading
from collections.abc import Callable

from ..errors import BrokerUnavailable
from ..runtime.coded_log import CodedLog
from ..runtime.per_process import Home
from ..runtime.survival import surviving

log = CodedLog(__name__)


class Tasks:
    """Start the tasks of one process, each once, when the hub is first needed."""

    def __init__(self) -> None:
        # Guards the tasks that are not started yet.
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, Callable[[], None]]] = []

    def add(self, name: str, task: Callable[[], None]) -> None:
        """Add a task, which start() runs in a thread of its own."""
        self._waiting.append((name, task))

    def start(self, *, failed: Callable[[], None]) -> None:
        """Start the tasks that are not running yet.

        ``failed`` is called when a task ends by any error, also by one that is no
        ``Exception``. Raises BrokerUnavailable if this process has no room for a
        thread.
        """
        with self._lock:
            tasks, self._waiting = self._waiting, []
        while tasks:
            name, _ = tasks[0]
            thread = threading.Thread(
                target=_run,
                args=(*tasks[0], failed),
                name=f"sse-hub-{name}",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError as error:
                # The next stream tries again.
                with self._lock:
                    self._waiting += tasks
                raise BrokerUnavailable(
                    "this process has no room for a thread"
                ) from error
            del tasks[0]


def _run(name: str, task: Callable[[], None], failed: Callable[[], None]) -> None:
    home = Home()
    try:
        task()
        if home.left:
            _rest()
    except BaseException as error:
        # gevent's Timeout and GreenletExit are no Exception. Without this report the
        # task would end silently, and health would call the worker ready.
        try:
            with surviving():
                log.exception("SSE-1212", "the %s of this worker's hub failed", name)
        finally:
            failed()
        if isinstance(error, KeyboardInterrupt):
            # Under gevent, Ctrl-C reaches the greenlet that happens to run. Raised
            # here, it ends the program.
            raise


def _rest() -> None:
    """Wait for ever, in a greenlet that a fork has copied.

    The child's threading module does not know the greenlet: its end would print a
    KeyError.
    """
    threading.Event().wait()
