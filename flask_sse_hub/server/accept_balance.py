"""Spreading clients over workers: who holds more than its share lets others accept.

The workers of a gunicorn master wait at one listening socket, and the kernel wakes them
in an order that hardly changes: most connections go to one of them. A worker that
holds clearly more clients than its share waits for a moment when somebody comes, and
accepts only whom nobody else has taken meanwhile.

Decides by the census, and may be wrong: how long it waits in vain is bounded. Knows
gevent's server by what it publishes, and nothing of other servers, for which nothing
happens.
"""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from ..hub.clients.admission import Admission
from ..hub.clients.registry import ClientRegistry
from ..runtime import native, sockets
from .census import Census

log = logging.getLogger(__name__)

# A share that is exceeded by so much, and by a few, is too many. With less, all of a
# storm would go to the one that holds fewest, while others have nothing to do.
_TOLERANCE = 1.05
_SOME = 2

# How long others get to accept first. An idle one takes less than 1 ms, and a busy one
# comes round to it after a request or two.
_WAIT_SECONDS = 0.005

# All waiting that was in vain, because the others are stopped, full or busy: so much at
# once, and this part of the time. In a storm every worker is needed.
_VAIN_SECONDS = 0.05
_VAIN_PART = 0.05

# Below this a timer is hardly worth its cost.
_LEAST_SECONDS = 0.002

# How long until a census that could not be joined is tried again.
_AGAIN_SECONDS = 1.0


class Spread:
    """One hub's part in sharing the clients among the workers."""

    def __init__(
        self,
        registry: ClientRegistry,
        admission: Admission,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._admission = admission
        self._clock = clock
        self._census: Census | None = None
        self._workers = 1
        self._next_try = clock()
        self._vain = 0.0
        self._reckoned = clock()

    def attend(self, worker: Any) -> None:
        """Look after the server that has accepted the calling request.

        ``worker`` is gunicorn's. Without one, without greenlets or without colleagues
        nothing happens.
        """
        self._workers = getattr(getattr(worker, "cfg", None), "workers", 1)
        server = native.accepting_server()
        if self._workers < 2 or server is None or not server.started:
            return
        if self._census is None:
            # The first is the same for all of them, if they have several.
            (listener, *_) = getattr(worker, "sockets", None) or [server.socket]
            inode = os.fstat(listener.fileno()).st_ino
            self._census = Census(inode, clock=self._clock)
        if not self._census.joined and self._clock() >= self._next_try:
            self._join(self._census)
        _Entrance.of(server, self)

    def _join(self, census: Census) -> None:
        self._next_try = self._clock() + _AGAIN_SECONDS
        if self._admission.closed:
            return
        try:
            census.join()
        except OSError as error:
            self._go_without(error)
        self.count()

    def _go_without(self, error: OSError) -> None:
        log.debug("this worker accepts without regard to the others: %s", error)
        self.leave()

    def count(self) -> None:
        """Tell the others how many clients this worker holds now."""
        if self._census is not None:
            try:
                self._census.tell(len(self._registry))
            except OSError as error:
                self._go_without(error)

    def leave(self) -> None:
        """Leave whoever comes to the others: this worker is going away."""
        if self._census is not None:
            self._census.leave()

    def patience(self) -> float:
        """Return for how many seconds others shall get whoever comes now."""
        now = self._clock()
        self._vain = max(0.0, self._vain - (now - self._reckoned) * _VAIN_PART)
        self._reckoned = now
        seconds = min(_WAIT_SECONDS, _VAIN_SECONDS - self._vain)
        # In a storm there is soon nothing left, and so no need to look at the census.
        if seconds < _LEAST_SECONDS or not self._holds_too_many():
            return 0.0
        return seconds

    def _holds_too_many(self) -> bool:
        if self._census is None:
            return False
        try:
            mine, others = self._census.counts()
        except OSError as error:
            self._go_without(error)
            return False
        # Some may have had no client so far, and so have not joined.
        workers = max(self._workers, 1 + len(others))
        share = (mine + sum(others)) / workers
        return mine > share * _TOLERANCE + _SOME

    def waited_in_vain(self, seconds: float) -> None:
        """Note that nobody else took who was waiting."""
        self._vain += seconds


class _Entrance:
    """Where one server accepts; it stands in for the server's own ``do_read``."""

    def __init__(self, server: Any, spread: Spread) -> None:
        self._server = server
        self._spread = spread
        self._accept = server.do_read
        self._timer: Any = None
        self._waiting = 0.0
        self._our_turn = False
        server.do_read = self.accept

    @classmethod
    def of(cls, server: Any, spread: Spread) -> None:
        """Have a server accept in turn, if it does not yet."""
        if not isinstance(getattr(server.do_read, "__self__", None), cls):
            cls(server, spread)

    def accept(self) -> Any:
        """Return whoever waits, None if there is nobody, or not for us yet."""
        if self._our_turn:
            self._our_turn = False
            return self._accept()
        if self._timer is None:
            self._waiting = self._spread.patience()
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
                self._spread.waited_in_vain(self._waiting)
                self._our_turn = True
            self._server.start_accepting()
