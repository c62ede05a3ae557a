"""The peer watch: the kernel reports the clients that have left."""

import socket
from collections.abc import Iterator

import pytest

from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.runtime import native
from flask_sse_hub.runtime.peer_watch import Change, PeerWatch
from tests.kit.hand import HandHub, HandSink
from tests.kit.reader import wait_until
from tests.kit.sockets import Pair

Watch = PeerWatch[Client]


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch(lambda: None)
    yield watch
    watch.close()


def a_client() -> Client:
    return Client("c", identity=Identity(), sink=HandSink())


def next_change(watch: Watch) -> Change:
    found: list[Change] = []

    def look() -> bool:
        found.extend(change for _, change in watch.changes())
        return bool(found)

    wait_until(look)
    return found[0]


def test_a_peer_that_stays_changes_nothing(watch: Watch, pair: Pair) -> None:
    """A peer that sends bytes is not reported either."""
    ours, theirs = pair
    watch.add(ours.fileno(), a_client())
    theirs.send(b"GET / HTTP/1.1")
    ours.recv(1)
    assert list(watch.changes()) == []


def test_a_closed_connection_shows_first_as_half_closed(
    watch: Watch, pair: Pair
) -> None:
    """A write tells whether the other half is open, because a closed peer resets."""
    ours, theirs = pair
    watch.add(ours.fileno(), a_client())
    theirs.close()
    assert next_change(watch) is Change.HALF_CLOSED
    ours.send(b":\n")
    assert Change.GONE in next_change(watch)


def test_a_half_closed_peer_goes_on_receiving(watch: Watch, pair: Pair) -> None:
    """A half-closed peer is told apart from a closed one and reported once."""
    ours, theirs = pair
    watch.add(ours.fileno(), a_client())
    theirs.shutdown(socket.SHUT_WR)
    assert next_change(watch) is Change.HALF_CLOSED
    ours.send(b":\n")
    assert theirs.recv(2) == b":\n"
    assert list(watch.changes()) == []


def test_a_connection_that_is_not_watched_any_more_is_silent(
    watch: Watch, pair: Pair
) -> None:
    """The descriptor may belong to another connection by then."""
    ours, theirs = pair
    watch.add(ours.fileno(), a_client())
    watch.remove(ours.fileno())
    watch.remove(ours.fileno())
    theirs.close()
    assert ours.recv(1) == b""
    assert list(watch.changes()) == []


def test_without_epoll_nothing_is_watched(
    watch: Watch, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other systems notice a lost client by their pings."""
    monkeypatch.setattr(native, "original", _no_such_thing)
    ours, _ = pair
    watch.add(ours.fileno(), a_client())
    watch.remove(ours.fileno())
    assert list(watch.changes()) == []


def _no_such_thing(module: str, name: str) -> None:
    raise AttributeError(name)


def test_a_socket_that_is_closed_already_is_not_watched(watch: Watch) -> None:
    """The server may have closed the socket before the stream began."""
    watch.add(-1, a_client())
    assert list(watch.changes()) == []


def test_a_client_that_has_left_is_probed_and_then_removed(pair: Pair) -> None:
    """A comment that scripts cannot see tests whether the peer is there."""
    hub = HandHub()
    stream = hub.stream()
    ours, theirs = pair
    hub.parts.writer.watch(ours, stream.client)

    def look_until(woken: int) -> None:
        def look() -> bool:
            hub.parts.writer.look_after_peers()
            return stream.sink.woken >= woken

        wait_until(look)

    theirs.close()
    look_until(1)
    silent_since = stream.client.last_write
    probe = hub.hub.take(stream.client)
    assert probe == b":\n"
    assert stream.client.last_write == silent_since
    ours.send(probe)
    look_until(2)
    stream.read()
    assert stream.ended
    stream.drop()
    assert hub.hub.stats().closed == {"client_gone": 1}
    hub.parts.writer.forget(ours.fileno())
