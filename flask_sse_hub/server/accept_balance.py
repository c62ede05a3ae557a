"""Balance of clients: a worker that has many lets the other workers accept first.

The workers of a gunicorn master wait at one listening socket. The kernel wakes them in
an order that hardly changes, so most connections go to one of them. A worker that has
clearly more clients than its share waits for a moment before it accepts. It then
accepts only the connections that no other worker has taken meanwhile.

Decides by the census, which may be wrong: the time that is waited in vain is bounded.
Knows gevent's server. Does nothing under other servers. Does not know events.
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

# A worker has too many clients if it has more than its share times _TOLERANCE, plus
# _SOME. With less tolerance, all connections of a storm would go to the worker with the
# fewest clients, while the others idle.
_TOLERANCE = 1.05
_SOME = 2

# How long the other workers may accept first. An idle worker takes less than 1 ms, and
# a busy one accepts after a request or two.
_WAIT_SECONDS = 0.005

# The bounds of waiting in vain, because the other workers are stopped, full or busy: at
# most _VAIN_SECONDS in a row, and _VAIN_PART of the time. In a storm every worker is
# needed.
_VAIN_SECONDS = 0.05
_VAIN_PART = 0.05

# A shorter wait is hardly worth the cost of a timer.
_LEAST_SECONDS = 0.002

# How long until a worker that could not join the census tries again.
_AGAIN_SECONDS = 1.0


class AcceptBalance:
    """The part of one hub in the balance of clients between workers.

    ``clients`` returns how many clients this worker has.
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
        """Balance the server that accepted the current request.

        Does nothing without gunicorn, without greenlets, or with a single worker.
        """
        self._workers = 1 if worker is None else worker.count
        if worker is None or self._workers < 2:
            return
        server = accepting_server()
        if server is None or not server.started:
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
        log.debug(
            "this worker accepts without regard to the other workers, since the census"
            " cannot be used: %s",
            error,
        )
        self._leave()

    def count(self) -> None:
        """Write into the census how many clients this worker has now."""
        if self._census is not None:
            try:
                self._census.tell(self._clients())
            except OSError as error:
                self._go_without(error)

    def close(self) -> None:
        """Leave the census for good: this worker is going away."""
        self._closed = True
        self._leave()

    def _leave(self) -> None:
        if self._census is not None:
            self._census.leave()

    def patience(self) -> float:
        """Return for how many seconds the other workers may accept first."""
        now = self._clock()
        self._vain = max(0.0, self._vain - (now - self._reckoned) * _VAIN_PART)
        self._reckoned = now
        seconds = min(_WAIT_SECONDS, _VAIN_SECONDS - self._vain)
        # A storm soon uses up the bound; then the census need not be read.
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
        # A worker that has not had a client yet has not joined the census.
        workers = max(self._workers, 1 + len(others))
        share = (mine + sum(others)) / workers
        return mine > share * _TOLERANCE + _SOME

    def waited_in_vain(self, seconds: float) -> None:
        """Note that no other worker has taken the waiting connection."""
        self._vain += seconds


def accepting_server() -> Any:
    """Return gevent's server that accepted the current connection, or None.

    The server has ``do_read``, which accepts, ``start_accepting`` and
    ``stop_accepting``.
    """
    if not in_greenlet():
        return None
    # The server started this greenlet with its own method for closing the connection
    # among the arguments.
    for each in sys.modules["gevent"].getcurrent().args:
        server = getattr(each, "__self__", None)
        if hasattr(server, "stop_accepting") and hasattr(server, "do_read"):
            return server
    return None


class _Entrance:
    """Accepts for one server; ``accept`` replaces the server's own ``do_read``."""

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
        """Give a server an entrance, unless it has one."""
        if not isinstance(getattr(server.do_read, "__self__", None), cls):
            cls(server, balance)

    def accept(self) -> Any:
        """Return a new connection, or None.

        None means that no connection waits, or that the other workers accept first.
        """
        if self._our_turn:
            self._our_turn = False
            return self._accept()
        if self._timer is None:
            self._waiting = self._balance.patience()
            if not self._waiting:
                return self._accept()
            self._timer = self._server.loop.timer(self._waiting)
            self._timer.start(self._resume)
        # The server may have begun to accept again by itself while the timer runs, for
        # example because a request has ended: stop it again.
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
