"""Publishers in a separate process, which is patched like a gevent worker.

``python -m benchmarks.publishers MODE`` has these modes:

* ``broker`` prints how fast the configured broker accepts records;
* ``together SECONDS`` prints only how fast it accepts them, for some seconds;
* ``bare FILE`` prints how fast a plain loop makes the same group commits;
* ``pipelined URL`` prints how fast Redis accepts the same groups by plain XADD;
* ``thread`` prints how soon an idle thread answers a greenlet;
* ``paced RATE SECONDS`` publishes this number of events a second, to nobody;
* ``flood SECONDS`` publishes as fast as possible;
* ``compute SECONDS`` only keeps a processor busy.
"""

# Everything is patched before it is imported.
# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import gevent.event

from benchmarks.apps import hub
from benchmarks.processes import PAYLOAD
from flask_sse_hub.brokers import Broker, codec
from flask_sse_hub.brokers.sqlite.log_file import LogFile
from flask_sse_hub.events import address
from flask_sse_hub.events.event import Event
from flask_sse_hub.events.record import Record, Retention

PUBLISHERS = 50

# More than the history holds by default, so the oldest records are being deleted.
RECORDS = 30_000

# Enough for a 99th percentile.
ALONE = 2000

RECORD = Record(addresses=(address.BROADCAST,), content=Event(PAYLOAD.decode()))

_TO_NOBODY = Record(addresses=(address.channel("nobody"),), content=RECORD.content)

Figures = dict[str, float]


def broker() -> Figures:
    """Return the rate of 50 publishers together, and the waiting times of one alone."""
    log = _broker()
    try:
        # Opens the broker before the measurement, as the plain loop opens its file.
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


def together(seconds: str) -> Figures:
    """Return the rate of 50 publishers, while other processes may publish too."""
    log = _broker()
    log.publish(RECORD)
    deadline = time.perf_counter() + float(seconds)
    counts = [0] * PUBLISHERS

    def publish(number: int) -> None:
        while time.perf_counter() < deadline:
            log.publish(RECORD)
            counts[number] += 1

    gevent.joinall([gevent.spawn(publish, n) for n in range(PUBLISHERS)])
    log.close()
    return {"together": sum(counts) / float(seconds)}


def bare(path: str) -> Figures:
    """Return the same figures for a loop that only makes the same group commits."""
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


def pipelined(url: str) -> Figures:
    """Return the figures of ``bare()`` for XADD, with a pipeline for each group."""
    import redis

    client = redis.Redis.from_url(url)
    body = codec.encode(RECORD)

    def append(group: int) -> None:
        pipeline = client.pipeline(transaction=False)
        for _ in range(group):
            pipeline.xadd("bare", {"b": body}, maxlen=10_000)
        pipeline.execute()

    append(1)
    started = time.perf_counter()
    for _ in range(RECORDS // PUBLISHERS):
        append(PUBLISHERS)
    rate = RECORDS / (time.perf_counter() - started)
    return {"together": rate} | _alone(lambda: append(1))


def thread() -> Figures:
    """Return how long a greenlet waits for the answer of an idle real thread."""
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


def paced(rate: str, seconds: str) -> None:
    """Publish at a steady pace to nobody; print a line after the first event."""
    log = _broker()
    log.publish(_TO_NOBODY)
    print("publishing", flush=True)
    begun = time.monotonic()
    for number in range(int(rate) * int(seconds)):
        time.sleep(max(0.0, begun + number / int(rate) - time.monotonic()))
        log.publish(_TO_NOBODY)


def flood(seconds: str) -> None:
    """Publish from 50 greenlets without a pause; print a line after the first event."""
    log = _broker()
    log.publish(RECORD)
    print("publishing", flush=True)
    for _ in range(PUBLISHERS):
        threading.Thread(target=_publish, args=(log, sys.maxsize), daemon=True).start()
    time.sleep(float(seconds))


def compute(seconds: str) -> None:
    """Keep one processor busy, without publishing."""
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
    each.__name__: each
    for each in (
        broker,
        together,
        bare,
        pipelined,
        thread,
        paced,
        flood,
        compute,
    )
}

if __name__ == "__main__":
    # Run in a greenlet, like all code of a worker. The main program is not a greenlet.
    figures = gevent.spawn(MODES[sys.argv[1]], *sys.argv[2:]).get()
    if figures is not None:
        print(json.dumps(figures))
