"""The dashboard's figures, and a thread that publishes them while a client listens.

They are about the whole server: any worker asks the others of its machine.
"""

import logging
import os
import platform
import re
import threading
import time
from contextlib import suppress
from typing import Any

import psutil
from flask import Flask, current_app

from flask_sse_hub import WorkerStats

from .extensions import sse_hub

log = logging.getLogger(__name__)


def channel() -> str:
    """Return the channel of this machine's figures.

    Workers of other machines may follow the same log, and have figures of their own.
    ``/events`` does not allow this channel; only the dashboard's view does.
    """
    machine = platform.node() or "localhost"
    return f"dashboard.{re.sub(r'[^A-Za-z0-9.-]', '-', machine)}"


_EXTENSION = "example_figures"

# Seconds: short enough to look alive, long enough to cost almost nothing.
_EVERY = 2

# Seconds for which the thread waits for its first client: a stream is requested a
# moment before it is connected.
_GRACE = 10.0

# CPU time is counted in hundredths of a second: over less than this it is mostly noise.
_SHORTEST_MEASURE = 1.0

# Seconds for which figures are part of the state: the charts of a new page begin with
# three minutes. Nothing is left of them when no dashboard was open for longer.
_KEPT = 180


class FiguresPublisher:
    """Measure all workers, and publish the figures while a client listens here."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        # Guards all fields below: requests start the thread, and the thread decides
        # when to end.
        self._lock = threading.Lock()
        #: The rates of the server, and of each worker by the id of its process.
        self._in: Rate | None = None
        self._cpu: dict[int, Rate] = {}
        self._out: dict[int, Rate] = {}
        self._running = False
        self._wanted_until = 0.0

    def current(self) -> dict[str, Any]:
        """Return the figures as they are now."""
        found = sse_hub.machine_stats()
        stats, workers = found.total, found.workers
        with self._lock:
            cpu = _rates(self._cpu, {each: each.cpu_seconds for each in workers})
            out = _rates(self._out, {each: each.events_out for each in workers})
            if self._in is None:
                begun = (each.started_at for each in workers)
                self._in = Rate(since=min(begun, default=time.time()))
            rate_in = self._in.of(stats.events_in)
        listed = [
            {
                "worker": each.worker,
                "pid": each.pid,
                "connections": each.connections,
                "cpu": round(100 * cpu[each.pid], 1),
                "rss": _memory(each.pid),
            }
            for each in workers
        ]
        return {
            "time": round(time.time(), 2),
            "workers": listed,
            "silent": len(found.silent),
            "cpu": round(100 * sum(cpu.values()), 1),
            "rss": sum(each["rss"] for each in listed),
            "load": round(os.getloadavg()[0], 2),
            "connections": stats.connections,
            "users": stats.users,
            "lagging": stats.lagging,
            "events_in": stats.events_in,
            "events_out": stats.events_out,
            "rate_in": round(rate_in, 2),
            "rate_out": round(sum(out.values()), 2),
        }

    def ensure_running(self) -> None:
        """Start publishing the figures, until no client listens here any more."""
        with self._lock:
            self._wanted_until = time.monotonic() + _GRACE
            if self._running:
                return
            self._running = True
        # Under gevent, monkey patching makes this thread a greenlet.
        threading.Thread(target=self._run, name="figures", daemon=True).start()
        log.info("figures are published every %.0f s", _EVERY)

    def _run(self) -> None:
        with self._app.app_context():
            while True:
                # All workers measure at the same even seconds.
                time.sleep(_EVERY - time.time() % _EVERY)
                try:
                    if not self._anybody_listens():
                        return
                    self._publish()
                except Exception:
                    # The dashboard stands still until the next figures are published.
                    log.exception("the figures could not be published")

    def _publish(self) -> None:
        """Publish the current figures, as values of the state.

        A chart shows each of them, so none replaces an earlier one: each moment has a
        key of its own. Every worker with a dashboard publishes. Figures of the same
        moment have the same key and time, and a page shows the first of them.
        """
        figures = self.current()
        if not figures["workers"]:
            # The hub of this worker begins with its first stream, which is on its way.
            return
        figures["time"] = round(figures["time"] / _EVERY) * _EVERY
        sse_hub.publish(
            figures,
            type="dashboardUpdate",
            channel=channel(),
            key=str(figures["time"]),
            ttl=_KEPT,
        )

    def _anybody_listens(self) -> bool:
        """Tell whether to go on. If not, the next dashboard starts a new thread."""
        listening = channel() in sse_hub.stats().channels
        with self._lock:
            # The check and the change are under one lock. A dashboard that opens now
            # finds the thread running and receives its figures, or finds it ended and
            # starts a new one.
            self._running = listening or time.monotonic() < self._wanted_until
            if not self._running:
                log.info("no dashboard is open: figures are no longer published")
            return self._running


class Rate:
    """The growth per second of a number that began at zero."""

    def __init__(self, *, since: float) -> None:
        # The first rate is the mean over the whole life of the process.
        self._measured_at = since
        self._total = 0.0
        self._rate = 0.0

    def of(self, total: float) -> float:
        """Return the growth per second since a measurement at least a second ago.

        A number that has fallen was begun again, by workers in the place of others.
        """
        now = time.time()
        if now - self._measured_at >= _SHORTEST_MEASURE:
            grown = max(0.0, total - self._total)
            self._rate = grown / (now - self._measured_at)
            self._measured_at, self._total = now, total
        return self._rate


def _rates(
    known: dict[int, Rate], totals: dict[WorkerStats, float]
) -> dict[int, float]:
    """Return the rate of each worker by its process, and forget the others."""
    rates = {
        worker.pid: known.get(worker.pid) or Rate(since=worker.started_at)
        for worker in totals
    }
    known.clear()
    known.update(rates)
    return {worker.pid: rates[worker.pid].of(total) for worker, total in totals.items()}


def _memory(pid: int) -> int:
    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def init_app(app: Flask) -> None:
    """Prepare the app. Starts no thread, since a thread does not survive a fork."""
    app.extensions[_EXTENSION] = {}


def current() -> dict[str, Any]:
    """Return the server's figures as they are now."""
    return _publisher().current()


def ensure_running() -> None:
    """Make sure that this process publishes the figures while a client listens."""
    _publisher().ensure_running()


def _publisher() -> FiguresPublisher:
    # One publisher for each process. A forked child has its parent's memory but none of
    # its threads, and would wrongly assume that its figures are being published.
    publishers: dict[int, FiguresPublisher] = current_app.extensions[_EXTENSION]
    publisher = publishers.get(os.getpid())
    if publisher is None:
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        publisher = publishers.setdefault(os.getpid(), FiguresPublisher(app))
    return publisher
