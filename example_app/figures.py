"""The dashboard's figures, and a thread that publishes them while a client listens."""

import logging
import os
import threading
import time
from typing import Any

import psutil
from flask import Flask, current_app

from .extensions import sse_hub

log = logging.getLogger(__name__)


def channel() -> str:
    """Return the channel of this worker's figures.

    The worker that serves a stream names its own channel. A stream that reconnects to
    another worker listens to the channel of that worker. ``/events`` does not allow
    this channel; only the dashboard's view does.
    """
    return f"dashboard.{os.getpid()}"


_EXTENSION = "example_figures"

# Seconds: short enough to look alive, long enough to cost almost nothing.
_EVERY = 2.0

# Seconds for which the thread waits for its first client: a stream is requested a
# moment before it is connected.
_GRACE = 10.0

# CPU time is counted in hundredths of a second: over less than this it is mostly noise.
_SHORTEST_MEASURE = 1.0

# Seconds for which figures are part of the state: the charts of a new page begin with
# three minutes. The channel of a worker that has ended leaves nothing behind then.
_KEPT = 180


class FiguresPublisher:
    """Measure this process, and publish the figures while a client listens."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        # Guards all fields below: requests start the thread, and the thread decides
        # when to end.
        self._lock = threading.Lock()
        began = psutil.Process().create_time()
        self._cpu, self._in, self._out = (Rate(since=began) for _ in range(3))
        self._running = False
        self._wanted_until = 0.0

    def current(self) -> dict[str, Any]:
        """Return the figures as they are now."""
        process, stats = psutil.Process(), sse_hub.stats()
        used = process.cpu_times()
        with self._lock:
            cpu = self._cpu.of(used.user + used.system)
            rate_in = self._in.of(stats.events_in)
            rate_out = self._out.of(stats.events_out)
        return {
            "time": round(time.time(), 2),
            # The worker that was measured: a stream may reconnect to another one.
            "worker": process.pid,
            "cpu": round(100 * cpu, 1),
            "rss": process.memory_info().rss,
            "load": round(os.getloadavg()[0], 2),
            "connections": stats.connections,
            "users": stats.users,
            "lagging": stats.lagging,
            "events_in": stats.events_in,
            "events_out": stats.events_out,
            "rate_in": round(rate_in, 2),
            "rate_out": round(rate_out, 2),
        }

    def ensure_running(self) -> None:
        """Start publishing the figures, until no client listens any more."""
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
                time.sleep(_EVERY)
                try:
                    if not self._anybody_listens():
                        return
                    self._publish()
                except Exception:
                    # The dashboard stands still until the next figures are published.
                    log.exception("the figures could not be published")

    def _publish(self) -> None:
        """Publish the current figures, as values of the state.

        A chart shows each of them, so none replaces an earlier one: each has a key of
        its own.
        """
        figures = self.current()
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
        """Return the growth per second since a measurement at least a second ago."""
        now = time.time()
        if now - self._measured_at >= _SHORTEST_MEASURE:
            self._rate = (total - self._total) / (now - self._measured_at)
            self._measured_at, self._total = now, total
        return self._rate


def init_app(app: Flask) -> None:
    """Prepare the app. Starts no thread, since a thread does not survive a fork."""
    app.extensions[_EXTENSION] = {}


def current() -> dict[str, Any]:
    """Return this process's figures as they are now."""
    return _publisher().current()


def ensure_running() -> None:
    """Make sure that this process publishes its figures while a client listens."""
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
