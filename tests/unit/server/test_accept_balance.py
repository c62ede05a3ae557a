"""The spread: how long a worker lets others accept first, with gevent's real server."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from gevent.server import StreamServer

from flask_sse_hub.server.accept_balance import _Entrance
from flask_sse_hub.server.census import Census
from flask_sse_hub.server.worker import ServerWorker
from tests.kit.colleague import Colleague
from tests.kit.hand import HandHub
from tests.kit.ports import HOST

# Of the four workers, only one has reported its number of clients.
WORKERS = 4
MANY = 20


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the census in a folder of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener


class Door:
    """A real server that sends its name on accept, and lets hubs attend."""

    def __init__(self, listener: socket.socket, name: bytes, *hubs: HandHub) -> None:
        self.listener = listener
        self.name = name
        self.hubs = hubs
        self.workers = WORKERS
        mine = gevent.socket.socket(fileno=os.dup(listener.fileno()))
        self.server = StreamServer(mine, self.greet)
        # gunicorn sets the same for several workers.
        self.server.max_accept = 1
        self.server.start()
        self.inode = os.fstat(listener.fileno()).st_ino

    def greet(self, connection: Any, _: object) -> None:
        self.attend()
        connection.sendall(self.name)

    def attend(self) -> None:
        """Attend as a request for a stream does."""
        config = SimpleNamespace(workers=self.workers)
        worker = ServerWorker(SimpleNamespace(cfg=config, sockets=[self.listener]))
        for hub in self.hubs:
            hub.parts.accept_balance.attend(worker)

    def attend_in_greenlet(self) -> None:
        """Attend as the server would, without accepting a connection."""
        close = self.server.do_close
        gevent.spawn(lambda _: self.attend(), close).get(timeout=10.0)

    def knock(self) -> str:
        """Connect, and return the name of the server that has accepted."""
        address = self.listener.getsockname()
        with gevent.Timeout(10.0), gevent.socket.create_connection(address) as mine:
            found: bytes = mine.recv(10)
        return found.decode()


@pytest.fixture
def hub() -> Iterator[HandHub]:
    hub = HandHub()
    yield hub
    hub.hub.close()


@pytest.fixture
def door(listener: socket.socket, hub: HandHub) -> Iterator[Door]:
    """Return the door of a worker that attends."""
    door = Door(listener, b"ours", hub)
    assert door.knock() == "ours"
    yield door
    door.server.stop()


@pytest.fixture
def others(listener: socket.socket, door: Door) -> Iterator[Door]:
    """Return another door to the same listener, which never waits."""
    others = Door(listener, b"others")
    yield others
    others.server.stop()


def census_of(hub: HandHub) -> Census:
    census = hub.parts.accept_balance._census
    assert census is not None
    return census


def entrance_of(door: Door) -> Any:
    """Return the object that accepts in the server's place."""
    return door.server.do_read.__self__


def wait_for(condition: Callable[[], object]) -> None:
    """Let the server run until the condition is true."""
    with gevent.Timeout(10.0):
        while not condition():
            gevent.sleep(0.001)


def let_in(hub: HandHub, count: int = MANY) -> None:
    for _ in range(count):
        hub.open()


def test_a_worker_above_its_share_leaves_new_clients_to_others(
    hub: HandHub, door: Door, others: Door
) -> None:
    """All new clients go to the others, as long as the others accept."""
    let_in(hub)
    assert {door.knock() for _ in range(30)} == {"others"}


def test_a_worker_within_its_share_accepts_at_once(hub: HandHub, door: Door) -> None:
    """A worker does not wait for a difference of a few clients."""
    let_in(hub, 2)
    assert hub.parts.accept_balance.patience() == 0
    let_in(hub)
    assert hub.parts.accept_balance.patience() > 0


def test_a_client_that_no_other_worker_accepts_is_accepted_late(
    hub: HandHub, door: Door
) -> None:
    """The others may be stopped, dead, full or missing."""
    let_in(hub)
    assert [door.knock() for _ in range(5)] == ["ours"] * 5


def test_waiting_in_vain_has_an_end(hub: HandHub, door: Door) -> None:
    """Waiting is tried again after a while, for a small part of the time."""
    let_in(hub)
    first = hub.parts.accept_balance.patience()
    for _ in range(20):
        door.knock()
    assert hub.parts.accept_balance.patience() == 0
    hub.clock.advance(0.2)
    assert 0 < hub.parts.accept_balance.patience() <= first
    door.knock()
    door.knock()
    door.knock()
    assert hub.parts.accept_balance.patience() == 0


def test_waiting_that_others_use_is_not_in_vain(
    hub: HandHub, door: Door, others: Door
) -> None:
    """A worker goes on waiting as long as other workers accept."""
    let_in(hub)
    before = hub.parts.accept_balance.patience()
    for _ in range(30):
        assert others.knock() == "others"
    assert hub.parts.accept_balance.patience() == before


def test_the_share_counts_every_known_worker(
    hub: HandHub, door: Door, directory: Path
) -> None:
    """Workers may have been added beyond the configured number."""
    let_in(hub)
    census = census_of(hub)
    with ExitStack() as colleagues:
        for _ in range(WORKERS - 1):
            colleagues.enter_context(Colleague(census.path.parent, door.inode, MANY))
        assert hub.parts.accept_balance.patience() == 0
        colleagues.enter_context(Colleague(census.path.parent, door.inode, 0))
        assert hub.parts.accept_balance.patience() > 0


def test_a_closed_server_stays_closed(hub: HandHub, door: Door) -> None:
    """The worker may be asked to shut down while it waits."""
    let_in(hub)
    with gevent.socket.create_connection(door.listener.getsockname()):
        wait_for(lambda: entrance_of(door)._timer)
        door.server.close()
        wait_for(lambda: not entrance_of(door)._timer)
    assert door.server._watcher is None


def test_a_stream_that_comes_after_the_listener_closed_is_served(
    hub: HandHub, listener: socket.socket
) -> None:
    """The connection was accepted before the listener was closed."""
    door = Door(listener, b"ours", hub)
    door.server.close()
    listener.close()
    door.attend_in_greenlet()
    assert hub.parts.accept_balance._census is None


def test_a_server_that_resumes_by_itself_waits_on(
    hub: HandHub, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gevent's pool makes its server accept again whenever a request has ended."""
    let_in(hub)
    monkeypatch.setattr("flask_sse_hub.server.accept_balance._WAIT_SECONDS", 3600.0)
    monkeypatch.setattr("flask_sse_hub.server.accept_balance._VAIN_SECONDS", 3600.0)
    with gevent.socket.create_connection(door.listener.getsockname()):
        wait_for(lambda: entrance_of(door)._timer)
        timer = entrance_of(door)._timer
        assert door.server._watcher is None
        door.server.start_accepting()
        wait_for(lambda: door.server._watcher is None)
        assert entrance_of(door)._timer is timer
        assert timer.active
    timer.close()


def test_a_worker_that_drains_is_not_counted(hub: HandHub, door: Door) -> None:
    """A draining worker does not join the census again."""
    hub.hub.drain()
    hub.clock.advance(10.0)
    door.knock()
    assert not census_of(hub).joined
    assert hub.parts.accept_balance.patience() == 0


def test_a_census_that_broke_is_joined_again(hub: HandHub, door: Door) -> None:
    """Until then, every client is accepted at once."""
    let_in(hub)
    os.close(cast("int", census_of(hub)._file))
    assert hub.parts.accept_balance.patience() == 0
    assert not census_of(hub).joined
    hub.clock.advance(10.0)
    door.attend_in_greenlet()
    assert hub.parts.accept_balance.patience() > 0


def test_a_broken_census_ends_no_stream(hub: HandHub, door: Door) -> None:
    """Streams begin and end, though the census cannot be updated."""
    os.close(cast("int", census_of(hub)._file))
    stream = hub.stream()
    stream.drop()
    assert hub.hub.stats().connections == 0


def test_without_a_census_every_client_is_accepted(
    hub: HandHub, listener: socket.socket, directory: Path
) -> None:
    """The disk may be full or read-only."""
    tempfile.tempdir = str(directory / "nowhere")
    door = Door(listener, b"ours", hub)
    let_in(hub)
    assert door.knock() == "ours"
    assert hub.parts.accept_balance.patience() == 0
    door.server.stop()


def test_a_census_that_could_not_be_joined_is_tried_again(
    hub: HandHub, listener: socket.socket, directory: Path
) -> None:
    """The next try comes after a while, because one per stream would cost too much."""
    tempfile.tempdir = str(directory / "later")
    door = Door(listener, b"ours", hub)
    door.knock()
    (directory / "later").mkdir()
    door.knock()
    assert not census_of(hub).joined
    hub.clock.advance(1.0)
    door.knock()
    assert census_of(hub).joined
    door.server.stop()


def test_two_hubs_of_a_worker_wait_once(hub: HandHub, listener: socket.socket) -> None:
    """One server may serve an app that is made of several apps."""
    other = HandHub()
    door = Door(listener, b"ours", hub, other)
    accept = door.server.do_read
    door.knock()
    assert entrance_of(door)._accept == accept
    let_in(other)
    assert hub.parts.accept_balance.patience() > 0
    other.hub.close()
    door.server.stop()


def test_a_single_worker_never_waits(hub: HandHub, listener: socket.socket) -> None:
    """No other worker could accept."""
    door = Door(listener, b"ours", hub)
    door.workers = 1
    assert door.knock() == "ours"
    assert not isinstance(entrance_of(door), _Entrance)
    door.server.stop()


def test_without_a_serving_greenlet_nothing_happens(hub: HandHub, door: Door) -> None:
    """The caller may be a gthread thread, a shell, or a server other than gevent's."""
    aside = HandHub()
    door.hubs = (aside,)
    door.attend()
    assert aside.parts.accept_balance._census is None
