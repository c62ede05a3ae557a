"""Balance of clients between workers: a worker with many lets the others accept first.

The workers of a gunicorn master wait at one listening socket, and the kernel wakes them
in an order that hardly changes: most connections go to one of them. A worker with
clearly more clients than its share waits for a moment before it accepts, and accepts
only connections that no other worker has taken meanwhile.

Decides by the census, and may be wrong: the time waited in vain is bounded. Knows
gevent's server. Under other servers nothing happens.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from ..runtime import sockets
from ..runtime.greenlets import in_greenlet
from .census import Census
from .worker import ServerWorker

log = logging.getLogger(__name__)

# A worker has too many clients beyond this part of its share, and some more. With less
# tolerance, a whole storm would go to the worker with the fewest, while others idle.
_TOLERANCE = 1.05
_SOME = 2

# How long the other workers may accept first. An idle one takes less than 1 ms, and a
# busy one comes round to it after a request or two.
_WAIT_SECONDS = 0.005

# The bound of all waiting in vain, because the others are stopped, full or busy: this
# much at once, and this part of the time. In a storm every worker is needed.
_VAIN_SECONDS = 0.05
_VAIN_PART = 0.05

# Below this a timer is hardly worth its cost.
_LEAST_SECONDS = 0.002

# How long until a census that could not be joined is tried again.
_AGAIN_SECONDS = 1.0


class AcceptBalance:
    """One hub's part in balancing the clients of all workers.

    ``clients`` tells how many clients this worker has.
    """

    def __init__(
        self,
        clients: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients = clients
        self._clock = clock
        self._census: Census | None = None
        self._workers = 1
        self._next_try = clock()
        self._vain = 0.0
        self._reckoned = clock()
        self._closed = False

    def attend(self, worker: ServerWorker | None) -> None:
        """Balance the server that accepted the calling request.

        Without gunicorn, without greenlets or with a single worker nothing happens.
        """
        self._workers = 1 if worker is None else worker.count
        server = accepting_server()
        if worker is None or self._workers < 2 or server is None or not server.started:
            return
        if self._census is None:
            listener = worker.listener or server.socket
            inode = os.fstat(listener.fileno()).st_ino
            self._census = Census(inode, clock=self._clock)
        if not self._census.joined and self._clock() >= self._next_try:
            self._join(self._census)
        _Entrance.of(server, self)

    def _join(self, census: Census) -> None:
        self._next_try = self._clock() + _AGAIN_SECONDS
        if self._closed:
            return
        try:
            census.join()
        except OSError as error:
            self._go_without(error)
        self.count()

    def _go_without(self, error: OSError) -> None:
        log.debug("this worker accepts without regard to the others: %s", error)
        self._leave()

    def count(self) -> None:
        """Tell the other workers how many clients this one has now."""
        if self._census is not None:
            try:
                self._census.tell(self._clients())
            except OSError as error:
                self._go_without(error)

    def close(self) -> None:
        """Leave all new connections to the other workers: this one is going away."""
        self._closed = True
        self._leave()

    def _leave(self) -> None:
        if self._census is not None:
            self._census.leave()

    def patience(self) -> float:
        """Return for how many seconds the other workers may accept first now."""
        now = self._clock()
        self._vain = max(0.0, self._vain - (now - self._reckoned) * _VAIN_PART)
        self._reckoned = now
        seconds = min(_WAIT_SECONDS, _VAIN_SECONDS - self._vain)
        # In a storm there is soon nothing left, and so no need to look at the census.
        if seconds < _LEAST_SECONDS or not self._has_too_many():
            return 0.0
        return seconds

    def _has_too_many(self) -> bool:
        if self._census is None:
            return False
        try:
            mine, others = self._census.counts()
        except OSError as error:
            self._go_without(error)
            return False
        # A worker without a client so far has not joined the census.
        workers = max(self._workers, 1 + len(others))
        share = (mine + sum(others)) / workers
        return mine > share * _TOLERANCE + _SOME

    def waited_in_vain(self, seconds: float) -> None:
        """Note that no other worker took the waiting connection."""
        self._vain += seconds


def accepting_server() -> Any:
    """Return gevent's server that accepted the calling greenlet's connection, or None.

    The server has ``do_read``, which accepts, ``start_accepting`` and
    ``stop_accepting``.
    """
    if not in_greenlet():
        return None
    # The greenlet was given the server's own method for closing the connection.
    for each in sys.modules["gevent"].getcurrent().args:
        server = getattr(each, "__self__", None)
        if hasattr(server, "stop_accepting") and hasattr(server, "do_read"):
            return server
    return None


class _Entrance:
    """The place where one server accepts; it replaces the server's own ``do_read``."""

    def __init__(self, server: Any, balance: AcceptBalance) -> None:
        self._server = server
        self._balance = balance
        self._accept = server.do_read
        self._timer: Any = None
        self._waiting = 0.0
        self._our_turn = False
        server.do_read = self.accept

    @classmethod
    def of(cls, server: Any, balance: AcceptBalance) -> None:
        """Have a server accept in turn, if it does not yet."""
        if not isinstance(getattr(server.do_read, "__self__", None), cls):
            cls(server, balance)

    def accept(self) -> Any:
        """Return a new connection, None if there is none, or it is not our turn."""
        if self._our_turn:
            self._our_turn = False
            return self._accept()
        if self._timer is None:
            self._waiting = self._balance.patience()
            if not self._waiting:
                return self._accept()
            self._timer = self._server.loop.timer(self._waiting)
            self._timer.start(self._resume)
        # Also where the server has resumed by itself, as when a request has ended.
        self._server.stop_accepting()
        return None

    def _resume(self) -> None:
        self._timer.close()
        self._timer = None
        if self._server.started:
            if sockets.readable(self._server.socket.fileno()):
                self._balance.waited_in_vain(self._waiting)
                self._our_turn = True
            self._server.start_accepting()
