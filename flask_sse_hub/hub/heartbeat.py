"""Whatever is due by the clock: pings, stalls, age, and whether the worker is going.

Decides when; the dispatcher writes and ends. Knows gunicorn's worker object by two
attributes, and needs nothing of it where there is none.
"""

import logging
import signal
from collections.abc import Callable
from typing import Protocol, cast

from ..runtime import native
from .clients.admission import Places
from .clients.client import IMMEDIATE, Client, CloseReason
from .hub import Hub

log = logging.getLogger(__name__)

# gunicorn gives a worker 100 ms between INT or QUIT and its exit: a farewell must begin
# in the first half of it.
_TICK_SECONDS = 0.04

# Clients are looked through once a second, and ten times per heartbeat where that is
# more often, so that being late by one look stays within the promised interval.
_SWEEP_SECONDS = 1.0
_SWEEPS_PER_HEARTBEAT = 10

_CLIENTS_AT_ONCE = 500


class Worker(Protocol):
    """What is asked of the server's worker object."""

    alive: bool
    max_requests: int


def serving_worker() -> Worker | None:
    """Return the gunicorn worker of this process, if there is one.

    Its own signal handler leads to it, in any thread and with no hook configured.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(getattr(worker, "alive", None), bool) and isinstance(
        getattr(worker, "max_requests", None), int
    ):
        return cast("Worker", worker)
    return None


def worker_threads() -> int | None:
    """Return how many threads the gunicorn worker of this process was given."""
    config = getattr(serving_worker(), "cfg", None)
    threads = getattr(config, "threads", None)
    return threads if isinstance(threads, int) else None


def places_of(worker: Worker | None) -> Places | None:
    """Return how many requests a gunicorn worker serves at once."""
    setting = "worker_connections" if native.patched() else "threads"
    count = getattr(getattr(worker, "cfg", None), setting, None)
    return Places(count, setting) if isinstance(count, int) else None


class Heartbeat:
    """Look at the clock, again and again, for one hub."""

    def __init__(
        self,
        hub: Hub,
        *,
        find_worker: Callable[[], Worker | None] = serving_worker,
    ) -> None:
        self._hub = hub
        self._find_worker = find_worker
        self._warned = False

    def run(self) -> None:
        """Beat until the hub is closed or its worker goes away."""
        worker = self._find_worker()
        clock = self._hub.clock
        interval = self._hub.options.heartbeat_interval
        every = min(_SWEEP_SECONDS, interval / _SWEEPS_PER_HEARTBEAT)
        next_sweep = clock()
        while not self._hub.closed.wait(min(_TICK_SECONDS, every)):
            if worker is not None and not worker.alive:
                self._check_max_requests(worker)
                self._hub.drain()
                return
            if not self._hub.writer.peers.watched:
                self._hub.writer.look_after_peers()
            if clock() >= next_sweep:
                next_sweep = clock() + every
                self.sweep()
                if worker is not None:
                    self._check_max_requests(worker)

    def sweep(self) -> None:
        """Do for each client what has become due."""
        clients = self._hub.registry.clients()
        for start in range(0, len(clients), _CLIENTS_AT_ONCE):
            now = self._hub.clock()
            for client in clients[start : start + _CLIENTS_AT_ONCE]:
                # Of very many only few have something due, and this is every second.
                if client.connection is None or now >= client.look_after:
                    self._look_at(client, now)
            native.breathe()
        self._hub.dispatcher.judge_ahead()
        self._hub.forget_expired()

    def _look_at(self, client: Client, now: float) -> None:
        dispatcher = self._hub.dispatcher
        writing_since = client.sink.writing_since
        if now >= client.ends_at:
            dispatcher.close(client, CloseReason.AGE)
        if client.close_reason is not None and self._overdue(client, now):
            self._end(client)
            return
        if writing_since is not None:
            if client.close_reason in IMMEDIATE:
                self._hub.registry.cut(client)
            if client.sink.taking():
                client.taken_at = now
            taken = max(writing_since, client.taken_at)
            if now - taken > self._hub.options.connection_timeout:
                self._end(client)
            return
        last_write = self._hub.registry.written(client).last_write
        if now - last_write > client.ping_after:
            client.ping_after = self._hub.draw_silence()
            dispatcher.ping(client)
        elif client.cursor is not None:
            # It waits for the broker to come back, or for this worker to catch up.
            client.sink.wake()
        client.look_after = min(client.ends_at, last_write + client.ping_after)

    def _overdue(self, client: Client, now: float) -> bool:
        """Tell whether a client was closed long ago, and nobody ended its stream."""
        if client.closed_at is None:
            client.closed_at = now
        return now - client.closed_at > self._hub.options.connection_timeout

    def _end(self, client: Client) -> None:
        """Cut a client off, and free its place: its server may be blocked for long."""
        self._hub.registry.cut(client)
        self._hub.dismiss(client, CloseReason.STALLED)

    def _check_max_requests(self, worker: Worker) -> None:
        # Each stream is a request, so a worker never holds more clients than that.
        clients = len(self._hub.registry)
        if not self._warned and 2 * clients > worker.max_requests:
            self._warned = True
            log.warning(
                "this worker holds %d clients and is restarted after max_requests = %d"
                " requests: their reconnects alone soon restart the next worker, and so"
                " on without end. Set max_requests to many times the clients of a"
                " worker, or to 0",
                clients,
                worker.max_requests,
            )
