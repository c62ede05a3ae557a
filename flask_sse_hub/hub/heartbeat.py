"""The heartbeat: everything that is due by the clock.

Decides when a ping is due, a client has stalled, a stream has reached its age, or the
worker is going away. The dispatcher, the writer and the lifecycle then act on it.
"""

from collections.abc import Callable

from ..runtime.closing import Closed
from ..runtime.coded_log import CodedLog
from ..runtime.greenlets import in_slices
from ..runtime.rare_log import FirstTime
from ..server.worker import ServerWorker, serving_worker
from .clients.client import Client
from .clients.close_reason import IMMEDIATE, CloseReason
from .parts import Parts

log = CodedLog(__name__)

# How often to look at the worker and at peers where nothing reports their changes.
# gunicorn gives a worker 100 ms between INT or QUIT and its exit: a farewell must begin
# in the first half of it.
_TICK_SECONDS = 0.04

# A sweep looks at each client once a second, or ten times per heartbeat interval if
# that is more often. A ping that is late by one sweep is still within the interval.
_SWEEP_SECONDS = 1.0
_SWEEPS_PER_HEARTBEAT = 10

_CLIENTS_AT_ONCE = 500


class Heartbeat:
    """Do the work of one hub that is due by the clock."""

    def __init__(
        self,
        parts: Parts,
        *,
        find_worker: Callable[[], ServerWorker | None] = serving_worker,
    ) -> None:
        self._clock = parts.clock
        self._options = parts.options
        self._registry = parts.registry
        self._progress = parts.progress
        self._dispatcher = parts.dispatcher
        self._backlog = parts.backlog
        self._writer = parts.writer
        self._lifecycle = parts.lifecycle
        self._find_worker = find_worker
        interval = parts.options.heartbeat_interval
        self._every = min(_SWEEP_SECONDS, interval / _SWEEPS_PER_HEARTBEAT)
        self._first_time = FirstTime()

    def run(self, closed: Closed) -> None:
        """Beat until ``closed`` is set or the worker goes away."""
        worker = self._find_worker()
        watcher = None
        if worker is not None:
            watcher = worker.on_stop(lambda: self._leave(worker, closed))
        try:
            self._beat(closed, worker, is_told=worker is None or watcher is not None)
        finally:
            if watcher is not None:
                watcher.close()

    def _beat(
        self, closed: Closed, worker: ServerWorker | None, *, is_told: bool
    ) -> None:
        clock = self._clock
        every = self._every
        next_sweep = clock()
        while not closed.is_set():
            if worker is not None and not worker.alive:
                self._leave(worker, closed)
                return
            # A tick is most of the cost of an idle worker.
            is_told_of_all = is_told and self._writer.is_told_of_peers
            closed.wait(every if is_told_of_all else min(_TICK_SECONDS, every))
            if not self._writer.is_told_of_peers:
                self._writer.look_after_peers()
            if clock() >= next_sweep:
                next_sweep = clock() + every
                self.sweep()
                if worker is not None:
                    self._check_max_requests(worker)

    def _leave(self, worker: ServerWorker, closed: Closed) -> None:
        if not closed.is_set():
            self._check_max_requests(worker)
            self._lifecycle.drain()

    def sweep(self) -> None:
        """Find everything that has become due, for each client, and have it done."""
        for some in in_slices(self._registry.clients(), size=_CLIENTS_AT_ONCE):
            now = self._clock()
            for client in some:
                # This loop runs every second, and few clients have something due.
                if client.connection is None or now >= client.next_look_at:
                    self._look_at(client, now)
        self._progress.forget_expired()
        self._backlog.forget_unused()

    def judge(self, closed: Closed) -> None:
        """Judge ids ahead of the log regularly, until ``closed`` is set.

        Runs beside run(): it waits for the broker, and nothing that is due by the clock
        may do so.
        """
        while not closed.wait(self._every):
            self._dispatcher.judge_ahead()

    def _look_at(self, client: Client, now: float) -> None:
        writing_since = client.sink.writing_since
        if now >= client.ends_at:
            self._lifecycle.close(client, CloseReason.AGE)
        if client.close_reason is not None and self._is_overdue(client, now):
            self._lifecycle.cut_off(client, CloseReason.STALLED)
            return
        if writing_since is not None:
            if client.close_reason in IMMEDIATE:
                self._registry.cut(client)
            if client.sink.taking():
                client.taken_at = now
            taken = max(writing_since, client.taken_at)
            if now - taken > self._options.connection_timeout:
                self._lifecycle.cut_off(client, CloseReason.STALLED)
            return
        last_write = self._registry.written(client).last_write
        if now - last_write > client.ping_after:
            client.ping_after = self._lifecycle.draw_silence()
            self._dispatcher.ping(client)
        elif client.cursor is not None:
            # The client waits for the broker to come back, or for this worker to reach
            # its cursor.
            client.sink.wake()
        client.next_look_at = min(client.ends_at, last_write + client.ping_after)

    def _is_overdue(self, client: Client, now: float) -> bool:
        """Tell whether a client was closed long ago, and its stream has not ended."""
        if client.closed_at is None:
            client.closed_at = now
        return now - client.closed_at > self._options.connection_timeout

    def _check_max_requests(self, worker: ServerWorker) -> None:
        # Each stream is a request, so a worker never holds more clients than
        # max_requests.
        clients = len(self._registry)
        is_risky = 2 * clients > worker.max_requests
        if is_risky and self._first_time("max_requests"):
            log.warning(
                "SSE-1102",
                "this worker holds %d clients and is restarted after max_requests = %d"
                " requests: their reconnects alone soon restart the next worker, and so"
                " on without end. Set max_requests to many times the clients of a"
                " worker, or to 0",
                clients,
                worker.max_requests,
            )
