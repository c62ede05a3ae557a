"""Departures: streams are told when their peer has left or their worker leaves."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from flask_sse_hub.answers import departures as module
from flask_sse_hub.answers.departures import Departures, departures
from flask_sse_hub.answers.producer import Producer
from flask_sse_hub.runtime.per_process import PerProcess
from flask_sse_hub.server.worker import ServerWorker
from tests.kit.reader import DEADLINE, wait_until
from tests.kit.sockets import Pair


class Stream:
    """A stream that records its calls and writes to its connection when probed."""

    def __init__(self, connection: socket.socket | None = None) -> None:
        self.told: list[str] = []
        self._connection = connection

    def probe(self) -> None:
        self.told.append("probe")
        if self._connection is not None:
            self._connection.send(b":\n")

    def peer_left(self) -> None:
        self.told.append("peer left")

    def worker_leaves(self) -> None:
        self.told.append("worker leaves")

    def cut(self) -> None:
        self.told.append("cut")


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_worker(**settings: Any) -> Any:
    return SimpleNamespace(alive=True, max_requests=0, cfg=SimpleNamespace(**settings))


def names_of_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def ended(watch: Departures) -> bool:
    return watch._peers is None


def test_a_departed_peer_is_reported_after_a_probe(pair: Pair) -> None:
    """The peer may have closed only its sending half."""
    ours, theirs = pair
    watch = Departures()
    stream = Stream(ours)
    watch.add(stream, ours)
    theirs.close()
    wait_until(lambda: stream.told[-1:] == ["peer left"])
    assert stream.told[0] == "probe"
    watch.remove(stream)


def test_a_peer_that_left_earlier_is_reported(pair: Pair) -> None:
    """A stream may begin after its peer has left."""
    ours, theirs = pair
    theirs.close()
    watch = Departures()
    stream = Stream(ours)
    watch.add(stream, ours)
    wait_until(lambda: stream.told[-1:] == ["peer left"])
    watch.remove(stream)


def test_a_stream_that_its_server_forgot_is_told(pair: Pair) -> None:
    """Some middleware does not pass close() on. The descriptor's new owner is kept."""
    ours, theirs = pair
    watch = Departures()
    forgotten, later = Stream(), Stream()
    watch.add(forgotten, ours)
    number = ours.fileno()
    ours.close()
    os.dup2(theirs.fileno(), number)
    with socket.socket(fileno=number) as reused:
        watch.add(later, reused)
        wait_until(lambda: forgotten not in watch._streams)
        assert forgotten.told == ["peer left"]
        assert watch._peers is not None
        assert watch._peers._owners[number] is later
        watch.remove(later)


def test_the_last_stream_to_end_stops_the_watch(pair: Pair) -> None:
    """The thread and its epoll are closed. The next stream starts them again."""
    ours, _ = pair
    watch = Departures()
    stream = Stream(ours)
    for _ in range(2):
        watch.add(stream, ours)
        peers = watch._peers
        assert peers is not None
        assert "sse-departures" in names_of_threads()
        watch.remove(stream)
        watch.remove(stream)
        wait_until(lambda: "sse-departures" not in names_of_threads())
        assert peers._epoll is None
    assert stream.told == []


def test_the_next_stream_starts_a_watch_that_failed_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system may have no room for another thread for a while."""
    worker = a_worker(graceful_timeout=0)
    worker.alive = False
    watch = Departures(find_worker=lambda: ServerWorker(worker))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", _refuse)
        with pytest.raises(RuntimeError):
            watch.add(Stream(), None)
    stream = Stream()
    watch.add(stream, None)
    wait_until(lambda: "worker leaves" in stream.told)
    watch.remove(stream)


def _refuse(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_streams_are_told_near_the_end_of_the_workers_grace_period() -> None:
    """Until then streams go on. A stream that does not end afterwards is cut off."""
    worker = a_worker(graceful_timeout=30)
    clock = Clock()
    watch = Departures(find_worker=lambda: ServerWorker(worker), clock=clock)
    stream = Stream()
    watch.add(stream, None)
    assert not watch.worker_is_leaving
    worker.alive = False
    wait_until(lambda: watch.worker_is_leaving)
    clock.now += 27.9
    looks = iter(range(3))
    while next(looks, None) is not None:
        watch.look(watch._peers, ServerWorker(worker))  # type: ignore[arg-type]
    assert stream.told == []
    clock.now += 0.1
    wait_until(lambda: "worker leaves" in stream.told)
    assert "cut" not in stream.told
    clock.now += 1.0
    wait_until(lambda: "cut" in stream.told)
    watch.remove(stream)
    wait_until(lambda: ended(watch))


def test_a_short_grace_period_leaves_no_time_for_streams() -> None:
    """Streams are told at once, as on a server without a grace period."""
    for settings in ({"graceful_timeout": 1}, {}):
        worker = a_worker(**settings)
        worker.alive = False
        found = ServerWorker(worker)
        watch = Departures(find_worker=lambda it=found: it, clock=Clock())  # type: ignore[misc]
        stream = Stream()
        watch.add(stream, None)
        wait_until(lambda told=stream.told: "worker leaves" in told)  # type: ignore[misc]
        watch.remove(stream)


def test_a_process_ends_its_streams_before_it_exits() -> None:
    """The exit waits for streams that end, and only briefly for others."""
    watch = Departures()
    staying = Stream()

    class Leaving(Stream):
        def worker_leaves(self) -> None:
            super().worker_leaves()
            watch.remove(self)

    leaving = Leaving()
    watch.add(leaving, None)
    watch.say_farewell()
    watch.add(staying, None)
    watch.say_farewell()
    assert leaving.told == staying.told == ["worker leaves"]
    watch.remove(staying)


def test_a_process_waits_for_iterables_to_be_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The iterables of streams that have already ended are included."""
    going_on = threading.Event()

    class Slow:
        cleaned_up = False

        def __iter__(self) -> Iterator[int]:
            return iter([1])

        def close(self) -> None:
            going_on.wait(DEADLINE)
            self.cleaned_up = True

    def sleep(seconds: float, really: Callable[[float], None] = time.sleep) -> None:
        going_on.set()
        really(0.001)

    slow = Slow()
    producer = Producer(slow)
    producer.start()
    assert producer.take(DEADLINE) == [1]
    producer.stop()
    monkeypatch.setattr(time, "sleep", sleep)
    try:
        Departures(clock=Clock()).say_farewell()
        assert slow.cleaned_up
    finally:
        going_on.set()


def test_a_forked_child_has_its_own_watch(
    monkeypatch: pytest.MonkeyPatch, pair: Pair
) -> None:
    """The child must not use its parent's watch: the parent would lose reports."""
    ours, theirs = pair
    watches = PerProcess(Departures)
    monkeypatch.setattr(module, "_watches", watches)
    parents = departures()
    assert departures() is parents
    stream = Stream(ours)
    parents.add(stream, ours)
    wait_until(lambda: parents._peers is not None and bool(parents._peers._owners))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    parents.abandon()
    assert departures() is not parents
    with pytest.raises(BrokenPipeError):
        ours.send(b"from the child")
    parents.say_farewell()
    theirs.close()
    wait_until(lambda: ended(parents))
    assert stream.told == []
