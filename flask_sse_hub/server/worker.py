"""The gunicorn worker of this process, and its settings.

The only module that knows gunicorn's worker object. Other servers have no such object.
"""

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from ..runtime import greenlets


class ServerWorker:
    """A view of gunicorn's worker object, of any worker class."""

    __slots__ = ("_worker",)

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    @property
    def alive(self) -> bool:
        """Whether the worker keeps running; False once gunicorn has stopped it."""
        return bool(self._worker.alive)

    def on_stop(self, then: Callable[[], object]) -> greenlets.Watcher | None:
        """Run a function in a greenlet, once gunicorn has stopped the worker.

        Returns None without gevent: then the caller has to look at ``alive``.
        """
        return greenlets.when(lambda: not self.alive, then)

    @property
    def is_parent(self) -> bool:
        """Whether this process is a child that the worker itself has forked."""
        pid = getattr(self._worker, "pid", None)
        return isinstance(pid, int) and pid != os.getpid()

    @property
    def max_requests(self) -> int:
        """After how many requests the worker is replaced."""
        return int(self._worker.max_requests)

    @property
    def count(self) -> int:
        """How many workers the master runs, 1 if that is unknown."""
        return self._setting("workers") or 1

    @property
    def threads(self) -> int | None:
        """How many threads serve requests, None if that is unknown."""
        return self._setting("threads")

    @property
    def grace(self) -> float:
        """How many seconds a stopping worker has to finish its requests."""
        return float(self._setting("graceful_timeout") or 0)

    @property
    def listener(self) -> socket.socket | None:
        """The first listening socket, which all workers of a master share."""
        found: list[socket.socket] = getattr(self._worker, "sockets", None) or []
        return found[0] if found else None

    def places(self) -> tuple[int, str] | None:
        """Return how many requests the worker serves at once, and the setting for it.

        Returns None if that is unknown.
        """
        name = "worker_connections" if greenlets.patched() else "threads"
        count = self._setting(name)
        return None if count is None else (count, name)

    def _setting(self, name: str) -> int | None:
        value = getattr(getattr(self._worker, "cfg", None), name, None)
        return value if isinstance(value, int) else None


def serving_worker() -> ServerWorker | None:
    """Return the gunicorn worker of this process, None under other servers.

    Finds the worker object through its own signal handler. This works in any thread,
    and needs no hook in gunicorn's configuration.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(getattr(worker, "alive", None), bool) and isinstance(
        getattr(worker, "max_requests", None), int
    ):
        return ServerWorker(worker)
    return None
