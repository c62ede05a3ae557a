"""The spread: who waits for others, for how long; with gevent's real server."""

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
from tests.colleague import Colleague
from tests.hand import HandHub
from tests.ports import HOST

# Four workers of which only one has said how many clients it has.
WORKERS = 4
MANY = 20


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the census in a folder of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener


class Door:
    """A real server that says who has accepted, and lets a hub attend."""

    def __init__(self, listener: socket.socket, name: bytes, *hubs: HandHub) -> None:
        self.listener = listener
        self.name = name
        self.hubs = hubs
        self.workers = WORKERS
        mine = gevent.socket.socket(fileno=os.dup(listener.fileno()))
        self.server = StreamServer(mine, self.greet)
        # As gunicorn has it for several workers.
        self.server.max_accept = 1
        self.server.start()
        self.inode = os.fstat(listener.fileno()).st_ino

    def greet(self, connection: Any, _: object) -> None:
        self.attend()
        connection.sendall(self.name)

    def attend(self) -> None:
        """Do what a request for a stream does."""
        config = SimpleNamespace(workers=self.workers)
        worker = SimpleNamespace(cfg=config, sockets=[self.listener])
        for hub in self.hubs:
            hub.hub.spread.attend(worker)

    def attend_in_greenlet(self) -> None:
        """Do so as the server would, and let in nobody."""
        close = self.server.do_close
        gevent.spawn(lambda _: self.attend(), close).get(timeout=10.0)

    def knock(self) -> str:
        """Connect; return who has accepted."""
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
    """Return another door to the same listener, which holds nobody back."""
    others = Door(listener, b"others")
    yield others
    others.server.stop()


def census_of(hub: HandHub) -> Census:
    census = hub.hub.spread._census
    assert census is not None
    return census


def entrance_of(door: Door) -> Any:
    """Return what accepts in the server's place."""
    return door.server.do_read.__self__


def wait_for(condition: Callable[[], object]) -> None:
    """Let the server go on until it is true."""
    with gevent.Timeout(10.0):
        while not condition():
            gevent.sleep(0.001)


def let_in(hub: HandHub, count: int = MANY) -> None:
    for _ in range(count):
        hub.open()


def test_whoever_holds_too_many_leaves_the_next_to_others(
    hub: HandHub, door: Door, others: Door
) -> None:
    """All of them, as long as the others take them."""
    let_in(hub)
    assert {door.knock() for _ in range(30)} == {"others"}


def test_whoever_holds_its_share_accepts_at_once(hub: HandHub, door: Door) -> None:
    """A few more or less are nothing to wait for."""
    let_in(hub, 2)
    assert hub.hub.spread.patience() == 0
    let_in(hub)
    assert hub.hub.spread.patience() > 0


def test_whom_nobody_takes_is_accepted_late(hub: HandHub, door: Door) -> None:
    """The others may be stopped, dead, full, or not there at all."""
    let_in(hub)
    assert [door.knock() for _ in range(5)] == ["ours"] * 5


def test_waiting_in_vain_has_an_end(hub: HandHub, door: Door) -> None:
    """And is tried again after a while, for a small part of it."""
    let_in(hub)
    first = hub.hub.spread.patience()
    for _ in range(20):
        door.knock()
    assert hub.hub.spread.patience() == 0
    hub.clock.advance(0.2)
    assert 0 < hub.hub.spread.patience() <= first
    door.knock()
    door.knock()
    door.knock()
    assert hub.hub.spread.patience() == 0


def test_leaving_somebody_to_others_is_not_in_vain(
    hub: HandHub, door: Door, others: Door
) -> None:
    """So it goes on for as long as there are others who accept."""
    let_in(hub)
    before = hub.hub.spread.patience()
    for _ in range(30):
        assert others.knock() == "others"
    assert hub.hub.spread.patience() == before


def test_the_share_is_that_of_all_who_are_known(
    hub: HandHub, door: Door, directory: Path
) -> None:
    """More workers than configured may have been added."""
    let_in(hub)
    census = census_of(hub)
    with ExitStack() as colleagues:
        for _ in range(WORKERS - 1):
            colleagues.enter_context(Colleague(census.path.parent, door.inode, MANY))
        assert hub.hub.spread.patience() == 0
        colleagues.enter_context(Colleague(census.path.parent, door.inode, 0))
        assert hub.hub.spread.patience() > 0


def test_a_closed_server_stays_closed(hub: HandHub, door: Door) -> None:
    """Its worker may be told to go while it waits."""
    let_in(hub)
    with gevent.socket.create_connection(door.listener.getsockname()):
        wait_for(lambda: entrance_of(door)._timer)
        door.server.close()
        wait_for(lambda: not entrance_of(door)._timer)
    assert door.server._watcher is None


def test_a_stream_that_comes_when_all_is_closed_is_served(
    hub: HandHub, listener: socket.socket
) -> None:
    """On a connection that was accepted before."""
    door = Door(listener, b"ours", hub)
    door.server.close()
    listener.close()
    door.attend_in_greenlet()
    assert hub.hub.spread._census is None


def test_a_server_that_resumes_by_itself_waits_on(
    hub: HandHub, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gevent's pool has its server accept again whenever a request has ended."""
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
    """And comes into the census no more, whatever is still asked of it."""
    hub.hub.drain()
    hub.clock.advance(10.0)
    door.knock()
    assert not census_of(hub).joined
    assert hub.hub.spread.patience() == 0


def test_a_census_that_broke_is_joined_again(hub: HandHub, door: Door) -> None:
    """Meanwhile whoever comes is let in."""
    let_in(hub)
    os.close(cast("int", census_of(hub)._file))
    assert hub.hub.spread.patience() == 0
    assert not census_of(hub).joined
    hub.clock.advance(10.0)
    door.attend_in_greenlet()
    assert hub.hub.spread.patience() > 0


def test_a_broken_census_ends_no_stream(hub: HandHub, door: Door) -> None:
    """To come and to leave are told to nobody, and happen."""
    os.close(cast("int", census_of(hub)._file))
    stream = hub.stream()
    stream.drop()
    assert hub.hub.stats().connections == 0


def test_without_a_census_everybody_is_let_in(
    hub: HandHub, listener: socket.socket, directory: Path
) -> None:
    """A disk may be full, or nothing may be written there."""
    tempfile.tempdir = str(directory / "nowhere")
    door = Door(listener, b"ours", hub)
    let_in(hub)
    assert door.knock() == "ours"
    assert hub.hub.spread.patience() == 0
    door.server.stop()


def test_a_census_that_could_not_be_joined_is_tried_again(
    hub: HandHub, listener: socket.socket, directory: Path
) -> None:
    """After a while: to try for each stream would cost too much."""
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
    """An app may be made of several, at one server."""
    other = HandHub()
    door = Door(listener, b"ours", hub, other)
    accept = door.server.do_read
    door.knock()
    assert entrance_of(door)._accept == accept
    let_in(other)
    assert hub.hub.spread.patience() > 0
    other.hub.close()
    door.server.stop()


def test_a_worker_without_colleagues_is_left_alone(
    hub: HandHub, listener: socket.socket
) -> None:
    """Nobody else could accept."""
    door = Door(listener, b"ours", hub)
    door.workers = 1
    assert door.knock() == "ours"
    assert not isinstance(entrance_of(door), _Entrance)
    door.server.stop()


def test_where_no_greenlet_serves_nothing_happens(hub: HandHub, door: Door) -> None:
    """Threads of gthread, a shell, or a server that is not gevent's."""
    aside = HandHub()
    door.hubs = (aside,)
    door.attend()
    assert aside.hub.spread._census is None
