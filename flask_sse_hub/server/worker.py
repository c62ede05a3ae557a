"""The gunicorn worker of this process: what it is, and what its settings say.

The only module that knows gunicorn's worker object. Other servers have none.
"""

import signal
import socket
from typing import Any

from ..runtime import greenlets


class ServerWorker:
    """The worker object of gunicorn, of any worker class."""

    __slots__ = ("_worker",)

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    @property
    def alive(self) -> bool:
        """Whether the worker goes on; False once it has been told to stop."""
        return bool(self._worker.alive)

    @property
    def max_requests(self) -> int:
        """After how many requests the worker is replaced."""
        return int(self._worker.max_requests)

    @property
    def count(self) -> int:
        """How many workers the master runs, 1 where that is not known."""
        return self._setting("workers") or 1

    @property
    def threads(self) -> int | None:
        """How many threads serve requests, None where that is not known."""
        return self._setting("threads")

    @property
    def grace(self) -> float:
        """How many seconds a stopping worker has to finish its requests."""
        return float(self._setting("graceful_timeout") or 0)

    @property
    def listener(self) -> socket.socket | None:
        """The first listening socket; all workers of a master have the same one."""
        found: list[socket.socket] = getattr(self._worker, "sockets", None) or []
        return found[0] if found else None

    def places(self) -> tuple[int, str] | None:
        """Return how many requests the worker serves at once, and the setting for it.

        None where that is not known.
        """
        name = "worker_connections" if greenlets.patched() else "threads"
        count = self._setting(name)
        return None if count is None else (count, name)

    def _setting(self, name: str) -> int | None:
        value = getattr(getattr(self._worker, "cfg", None), name, None)
        return value if isinstance(value, int) else None


def serving_worker() -> ServerWorker | None:
    """Return the gunicorn worker of this process, None under other servers.

    The worker's own signal handler leads to the worker object, in any thread and
    without a hook in anybody's configuration.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(getattr(worker, "alive", None), bool) and isinstance(
        getattr(worker, "max_requests", None), int
    ):
        return ServerWorker(worker)
    return None
