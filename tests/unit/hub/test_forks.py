"""Forks: in a forked child, everything that belongs to the parent's hub is inert."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flask_sse_hub import CloseReason
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.clients.notices import Listeners
from flask_sse_hub.hub.heartbeat import Heartbeat
from flask_sse_hub.runtime import sockets
from flask_sse_hub.server.census import Census
from flask_sse_hub.server.places import place_ledger
from flask_sse_hub.server.worker import ServerWorker
from flask_sse_hub.streams.generator import EventStream
from flask_sse_hub.streams.takeover import TakeoverStream
from tests.kit.gunicorns import offer, take_over
from tests.kit.hand import HandHub
from tests.kit.sockets import tcp_pair
from tests.unit.hub.test_heartbeat import Worker

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(check: Callable[[], object]) -> bool:
    """Fork, and return whether a check is true in the child."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = int(not check())
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def streaming(hub: HandHub, connection: socket.socket | None) -> EventStream:
    client = Client("c", identity=Identity(), since=hub.broker.head())
    stream = EventStream(hub.hub, client, last_event_id=None, connection=connection)
    assert b"connected" in next(stream)
    return stream


def test_a_stream_by_generator_writes_nothing_in_a_child(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Its greenlet may be in the middle of a write: that write fails too."""
    ours, theirs = pair
    hub = HandHub()
    stream = streaming(hub, ours)
    hub.publish("x")
    hub.bring()

    def goes_on() -> bool:
        with pytest.raises(BrokenPipeError):
            next(stream)
        with pytest.raises(BrokenPipeError):
            ours.send(b"from the child")
        stream.cut()
        stream.close()
        return True

    assert in_child(goes_on)
    with pytest.raises(BlockingIOError):
        theirs.recv(100)
    ours.send(next(stream))
    assert b"data: x" in theirs.recv(100)


def test_a_socket_that_is_being_taken_over_is_left_alone_in_a_child() -> None:
    """A connect waits for the broker. A fork copies its greenlet meanwhile."""
    hub = HandHub()
    ours, theirs = tcp_pair()
    client = Client("c", identity=Identity(), since=hub.broker.head())
    stream = TakeoverStream(hub.hub, client, last_event_id=None, connection=ours)
    offer(stream, ours)

    def goes_on() -> bool:
        with pytest.raises(BrokenPipeError):
            take_over(stream)
        return True

    with ours, theirs:
        theirs.setblocking(False)
        assert in_child(goes_on)
        with pytest.raises(BlockingIOError):
            theirs.recv(100)
        with pytest.raises(StopIteration):
            take_over(stream)
        assert b"connected" in theirs.recv(65536)
    hub.hub.close()
    hub.parts.writer.run()


def test_a_hub_that_a_workers_child_makes_serves_no_stream(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """The fork copied a request before it came to its hub; the parent answers it."""
    ours, theirs = pair
    hub = HandHub()
    gunicorns: Any = SimpleNamespace(alive=True, max_requests=0, pid=os.getpid())
    hub.hub.attend(ServerWorker(gunicorns))
    assert not hub.hub.inherited
    gunicorns.pid += 1
    hub.hub.attend(ServerWorker(gunicorns))
    client = Client("c", identity=Identity(), since=hub.broker.head())
    stream = EventStream(hub.hub, client, last_event_id=None, connection=ours)
    with pytest.raises(BrokenPipeError):
        next(stream)
    with pytest.raises(BlockingIOError):
        theirs.recv(100)


def test_a_stream_without_a_known_socket_ends_in_a_child() -> None:
    """Its server writes neither the next bytes nor the end of the response."""
    hub = HandHub()
    waiting, ended = streaming(hub, None), streaming(hub, None)
    hub.publish("x")
    hub.bring()
    ended.close()

    def goes_on() -> bool:
        for stream in (waiting, ended):
            with pytest.raises(BrokenPipeError):
                next(stream)
        return True

    assert in_child(goes_on)
    assert b"data: x" in next(waiting)


def test_a_child_tells_the_app_nothing_about_its_parents_streams() -> None:
    """A receiver that counts clients would count their ends twice."""
    told: list[str] = []
    hub = HandHub(
        listeners=Listeners(
            connected=lambda stats: None,
            disconnected=lambda stats, reason: told.append(reason.value),
        )
    )
    stream = streaming(hub, None)
    other = hub.stream()
    hub.parts.lifecycle.dismiss(other.client, CloseReason.AGE)

    def goes_on() -> bool:
        stream.close()
        hub.parts.notices.tell_waiting()
        return told == []

    assert in_child(goes_on)
    hub.bring()
    assert told == ["age"]


def test_the_clock_of_a_child_ends_no_stream_of_its_parent() -> None:
    """A SIGTERM to the child sets the copy of the worker object that it inherited."""
    hub = HandHub()
    stream = hub.stream()
    heartbeat = Heartbeat(hub.parts, find_worker=lambda: ServerWorker(Worker(False)))

    def goes_on() -> bool:
        heartbeat.run(hub.hub.closed)
        heartbeat.judge(hub.hub.closed)
        return stream.client.close_reason is None and hub.hub.closed.is_set()

    assert in_child(goes_on)
    assert not hub.hub.closed.is_set()


def test_a_child_does_not_write_its_parents_slot_in_the_census(tmp_path: Path) -> None:
    """The parent's clients would no longer be counted."""
    census = Census(4711, directory=tmp_path / "census")
    census.join()
    census.tell(3)

    def goes_on() -> bool:
        census.tell(5)
        census.leave()
        return not census.joined

    assert in_child(goes_on)
    assert census.counts() == (3, [])
    census.leave()


def test_a_child_counts_its_own_places() -> None:
    """The streams of its parent take no place of the child."""
    holder = object()
    before = len(place_ledger())
    place_ledger().take(holder)
    try:
        assert in_child(lambda: len(place_ledger()) == 0)
        assert len(place_ledger()) == before + 1
    finally:
        place_ledger().give_back(holder)


def test_a_disowned_connection_is_a_dead_end(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """The number stays in use, so it cannot become another connection's."""
    ours, theirs = pair
    copy = ours.dup()
    sockets.disown(copy.fileno())
    with pytest.raises(BrokenPipeError):
        copy.send(b"x")
    copy.close()
    sockets.disown(-1)
    ours.send(b"still connected")
    assert theirs.recv(100) == b"still connected"


def test_greenlets_that_a_fork_copied_write_nothing() -> None:
    """Under gevent the greenlets of all streams go on in the child."""
    command = [sys.executable, "-m", "tests.unit.hub.forking"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.split() == [str(number) for number in range(10)]
