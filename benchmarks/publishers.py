"""Publishers in a process of their own, which is patched as a gevent worker is.

``python -m benchmarks.publishers broker`` prints how fast the broker of the environment
takes records, ``bare FILE`` how fast a plain loop makes the same group commits,
``thread`` how soon a thread that does nothing answers a greenlet. ``flood SECONDS``
publishes as much as it can, and ``compute SECONDS`` only takes a processor.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
import gevent.event  # noqa: E402

from benchmarks.apps import hub  # noqa: E402
from benchmarks.processes import PAYLOAD  # noqa: E402
from flask_sse_hub.brokers import Broker  # noqa: E402
from flask_sse_hub.brokers.sqlite.log_file import LogFile  # noqa: E402
from flask_sse_hub.events import address  # noqa: E402
from flask_sse_hub.events.event import Event  # noqa: E402
from flask_sse_hub.hub.delivery.history import Record, Retention  # noqa: E402

PUBLISHERS = 50

# More than history holds by default, so that the oldest records are being deleted.
RECORDS = 30_000

# Enough for a 99th percentile.
ALONE = 2000

RECORD = Record(addresses=(address.BROADCAST,), content=Event(PAYLOAD.decode()))

Figures = dict[str, float]


def broker() -> Figures:
    """Return what 50 publishers get done together, and how long one alone waits."""
    log = _broker()
    try:
        # Opens it; the plain loop's file is open too before it is timed.
        log.publish(RECORD)
        started = time.perf_counter()
        publishers = [
            threading.Thread(target=_publish, args=(log, RECORDS // PUBLISHERS))
            for _ in range(PUBLISHERS)
        ]
        for publisher in publishers:
            publisher.start()
        for publisher in publishers:
            publisher.join()
        together = RECORDS / (time.perf_counter() - started)
        return {"together": together} | _alone(lambda: log.publish(RECORD))
    finally:
        log.close()


def bare(path: str) -> Figures:
    """Return the same of a loop that makes the same group commits, and nothing else."""
    keep = Retention(events=10_000, seconds=3600.0, bytes=67_108_864)
    log = LogFile(Path(path), keep, clock=time.time)
    log.append([RECORD])
    started = time.perf_counter()
    for _ in range(RECORDS // PUBLISHERS):
        log.append([RECORD] * PUBLISHERS)
    together = RECORDS / (time.perf_counter() - started)
    figures = {"together": together} | _alone(lambda: log.append([RECORD]))
    log.close()
    return figures


def thread() -> Figures:
    """Return how long a greenlet waits for a real thread that has nothing to do."""
    asked = monkey.get_original("_thread", "allocate_lock")()
    asked.acquire()
    answered = gevent.event.Event()
    watcher = gevent.get_hub().loop.async_()
    watcher.start(answered.set)

    def run() -> None:
        while True:
            asked.acquire()
            watcher.send()

    def ask() -> None:
        asked.release()
        answered.wait()
        answered.clear()

    monkey.get_original("_thread", "start_new_thread")(run, ())
    return _alone(ask)


def flood(seconds: str) -> None:
    """Publish from 50 greenlets without a pause; say so in a line after the first."""
    log = _broker()
    log.publish(RECORD)
    print("publishing", flush=True)
    for _ in range(PUBLISHERS):
        threading.Thread(target=_publish, args=(log, sys.maxsize), daemon=True).start()
    time.sleep(float(seconds))


def compute(seconds: str) -> None:
    """Keep one processor busy with nothing that concerns anybody."""
    deadline = time.monotonic() + float(seconds)
    print("computing", flush=True)
    while time.monotonic() < deadline:
        pass


def _broker() -> Broker:
    app = hub()
    found: Broker = app.extensions["sse_hub"].hub.broker
    return found


def _publish(log: Broker, count: int) -> None:
    for _ in range(count):
        log.publish(RECORD)


def _alone(publish: Callable[[], object]) -> Figures:
    times = []
    for _ in range(ALONE):
        started = time.perf_counter()
        publish()
        times.append((time.perf_counter() - started) * 1000)
    return {
        "p50": statistics.median(times),
        "p99": statistics.quantiles(times, n=100)[98],
    }


MODES: dict[str, Callable[..., Figures | None]] = {
    each.__name__: each for each in (broker, bare, thread, flood, compute)
}

if __name__ == "__main__":
    # In a greenlet, as all of a worker's code runs; the main program is none.
    figures = gevent.spawn(MODES[sys.argv[1]], *sys.argv[2:]).get()
    if figures is not None:
        print(json.dumps(figures))
