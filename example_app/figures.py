"""The dashboard's figures, and the thread that publishes them while anybody looks."""

import logging
import os
import threading
import time
from collections import deque
from typing import Any

import psutil
from flask import Flask, current_app

from .extensions import sse_hub

log = logging.getLogger(__name__)


def channel() -> str:
    """Return the channel of this worker's figures.

    The stream that names it is served by this worker, and one that reconnects to
    another gets that one's. No rule opens it on ``/events``; the dashboard's view does.
    """
    return f"dashboard.{os.getpid()}"


_EXTENSION = "example_figures"

# Fast enough to look alive, slow enough to cost nothing.
_EVERY = 2.0

# A stream is asked for a moment before it is connected; so long it is waited for.
_GRACE = 10.0

# CPU time is counted in hundredths of a second: over less than this it is mostly noise.
_SHORTEST_MEASURE = 1.0

# What a page begins its charts with: three minutes.
_RECENT = 90


class FiguresPublisher:
    """Measure this process, and publish what was measured while anybody listens."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        # Guards all below: requests start the thread, and it decides to end.
        self._lock = threading.Lock()
        began = psutil.Process().create_time()
        self._cpu, self._in, self._out = (Rate(since=began) for _ in range(3))
        self._recent: deque[dict[str, Any]] = deque(maxlen=_RECENT)
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
            # Whose figures they are: a stream may come back on another worker.
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

    def state(self) -> dict[str, Any]:
        """Return all that a page shows: the figures now, and those before them.

        There are only those that were measured while somebody was looking.
        """
        with self._lock:
            recent = list(self._recent)
        return {"current": self.current(), "recent": recent}

    def ensure_running(self) -> None:
        """Have the figures published from now on, until nobody listens any more."""
        with self._lock:
            self._wanted_until = time.monotonic() + _GRACE
            if self._running:
                return
            self._running = True
        # Under gevent this is a greenlet: monkey patching has seen to it.
        threading.Thread(target=self._run, name="figures", daemon=True).start()
        log.info("figures are published every %.0f s", _EVERY)

    def _run(self) -> None:
        with self._app.app_context():
            while True:
                time.sleep(_EVERY)
                try:
                    if not self._anybody_listens():
                        return
                    figures = self.current()
                    with self._lock:
                        self._recent.append(figures)
                    sse_hub.publish(figures, type="dashboardUpdate", channel=channel())
                except Exception:
                    # The dashboard stands still, and the next figures may do better.
                    log.exception("the figures could not be published")

    def _anybody_listens(self) -> bool:
        """Tell whether to go on; if not, the next dashboard starts a thread anew."""
        listening = channel() in sse_hub.stats().channels
        with self._lock:
            # Both under one lock: whoever comes just now finds it running, and waits
            # for figures that will come, or finds it ended, and starts it.
            self._running = listening or time.monotonic() < self._wanted_until
            if not self._running:
                log.info("nobody looks at the dashboard: no more figures")
            return self._running


class Rate:
    """How fast a number grows that began with nothing at some time."""

    def __init__(self, *, since: float) -> None:
        # The first rate is the mean of the process's whole life.
        self._measured_at = since
        self._total = 0.0
        self._rate = 0.0

    def of(self, total: float) -> float:
        """Return the growth a second since the last measure, at least a second ago."""
        now = time.time()
        if now - self._measured_at >= _SHORTEST_MEASURE:
            self._rate = (total - self._total) / (now - self._measured_at)
            self._measured_at, self._total = now, total
        return self._rate


def init_app(app: Flask) -> None:
    """Prepare the app. Starts nothing: a thread does not survive the server's fork."""
    app.extensions[_EXTENSION] = {}


def state() -> dict[str, Any]:
    """Return this process's figures, now and before."""
    return _publisher().state()


def ensure_running() -> None:
    """Have this process publish its figures, once, while anybody listens."""
    _publisher().ensure_running()


def _publisher() -> FiguresPublisher:
    # One for each process: a child of a fork has its parent's memory, but none of its
    # threads, and would believe for ever that its figures are being published.
    publishers: dict[int, FiguresPublisher] = current_app.extensions[_EXTENSION]
    publisher = publishers.get(os.getpid())
    if publisher is None:
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        publisher = publishers.setdefault(os.getpid(), FiguresPublisher(app))
    return publisher
