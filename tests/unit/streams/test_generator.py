"""Delivery by generator: the iterable that is returned to a WSGI server."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from flask_sse_hub import CloseReason, Event
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Record
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from flask_sse_hub.server.connection import connection_of
from flask_sse_hub.streams.generator import EventStream
from tests.kit.hand import KEEP_ALL, FlakyBroker
from tests.kit.reader import StreamReader, wait_until


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(Parts(MemoryBroker(KEEP_ALL), HubOptions(max_clients=3)))
    yield hub
    hub.close()


def stream_of(hub: Hub, **options: Any) -> EventStream:
    return EventStream(
        hub,
        Client("c", identity=Identity()),
        last_event_id=options.pop("last_event_id", None),
        connection=options.pop("connection", None),
    )


def publish(hub: Hub, data: str) -> None:
    hub.publish(Record((BROADCAST,), Event(data)))


def test_the_stream_greets_and_delivers_events_as_they_come(hub: Hub) -> None:
    """The first bytes leave before any event, and each event leaves at once."""
    with StreamReader(stream_of(hub)) as reader:
        assert reader.next().type == "connected"
        publish(hub, "one")
        assert reader.next().data == "one"
        publish(hub, "two")
        assert reader.next().data == "two"


def test_nothing_is_registered_before_iteration_starts(hub: Hub) -> None:
    """A HEAD request, or a client that left at once, leaves nothing behind."""
    stream = stream_of(hub)
    assert hub.stats().connections == 0
    stream.close()
    assert hub.stats().closed == {}
    with pytest.raises(StopIteration):
        next(stream)


def test_closing_removes_the_client(hub: Hub) -> None:
    """The thread that waits in the stream is woken and ends."""
    reader = StreamReader(stream_of(hub))
    reader.next("connected")
    reader.close()
    reader.wait_for_end()
    assert hub.stats().connections == 0
    assert hub.stats().closed == {"client_gone": 1}


def test_closing_calls_the_responses_own_close_once(hub: Hub) -> None:
    """Functions that the app added with call_on_close() run."""
    calls: list[str] = []
    stream = stream_of(hub)
    stream.on_close = lambda: calls.append("closed")
    stream.close()
    stream.close()
    assert calls == ["closed"]


def test_a_stream_that_ended_is_removed_without_close(hub: Hub) -> None:
    """Some middlewares forget to call close()."""
    stream = stream_of(hub)
    next(stream)
    hub.end(stream._client, CloseReason.AGE)
    with pytest.raises(StopIteration):
        next(stream)
    assert hub.stats().connections == 0
    assert hub.stats().closed == {"age": 1}


def test_an_error_in_the_middle_leaves_nothing_behind(hub: Hub) -> None:
    """The stream is counted as an error, and the server sees the exception."""
    stream = stream_of(hub)
    next(stream)
    stream._hub.take = _fail  # type: ignore[method-assign]
    stream.wake()
    with pytest.raises(RuntimeError):
        next(stream)
    stream.close()
    assert hub.stats().connections == 0
    assert hub.stats().closed == {"error": 1}


def fill(ours: socket.socket) -> None:
    """Send until the kernel takes no more."""
    ours.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            ours.send(b"x" * 65536)


def _fail(client: Client) -> bytes:
    raise RuntimeError("a bug")


def test_a_refused_client_receives_a_retry_delay(hub: Hub) -> None:
    """A blank line is left out, because a browser would forget its last id by it."""
    readers = [StreamReader(stream_of(hub)) for _ in range(3)]
    for reader in readers:
        reader.next("connected")
    (refusal,) = list(stream_of(hub))
    assert refusal.startswith(b"retry: ")
    assert refusal.endswith(b"\n")
    assert b"\n\n" not in refusal
    assert 10_000 <= int(refusal.split()[1]) <= 30_000
    for reader in readers:
        reader.close()


def test_a_drain_ends_the_stream_with_a_retry_delay(hub: Hub) -> None:
    """The client receives a last `retry`, then the end; the registry is empty."""
    reader = StreamReader(stream_of(hub))
    reader.next("connected")
    reader.parser.retry_ms = None
    hub.drain()
    reader.wait_for_end()
    assert reader.parser.retry_ms is not None
    reader.close()
    assert hub.stats().closed == {"shutdown": 1}


def test_the_socket_stops_reading_at_the_end(hub: Hub) -> None:
    """The server does not wait for another request on this connection."""
    ours, theirs = socket.socketpair()
    reader = StreamReader(stream_of(hub, connection=ours))
    reader.next("connected")
    hub.drain()
    reader.wait_for_end()
    assert ours.recv(1) == b""
    ours.close()
    theirs.close()


def test_a_write_that_does_not_return_can_be_cut(hub: Hub) -> None:
    """The hub ends the stream from outside, through its socket."""
    ours, theirs = socket.socketpair()
    stream = stream_of(hub, connection=ours)
    next(stream)
    assert stream.writing_since is not None
    stream.cut()
    assert theirs.recv(1) == b""
    stream.close()
    ours.close()
    theirs.close()


def test_without_a_socket_there_is_nothing_to_cut(hub: Hub) -> None:
    """A server that does not expose its socket ends its writes by itself."""
    stream = stream_of(hub)
    next(stream)
    stream.cut()
    assert not stream.taking()
    stream.close()


def test_a_stream_knows_whether_its_client_takes_bytes(hub: Hub) -> None:
    """The kernel then holds fewer unsent bytes than before."""
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    theirs, _ = listener.accept()
    stream = stream_of(hub, connection=ours)
    fill(ours)
    assert not stream.taking()
    assert not stream.taking()
    wait_until(lambda: theirs.recv(1 << 20) and stream.taking())
    stream.close()
    for each in (listener, ours, theirs):
        each.close()


def test_a_wake_up_before_the_wait_is_not_lost(hub: Hub) -> None:
    """Waking twice equals waking once."""
    stream = stream_of(hub)
    next(stream)
    stream.wake()
    stream.wake()
    publish(hub, "x")
    assert b"data: x" in next(stream)
    stream.close()


def test_events_of_a_process_that_publishes_before_it_serves_are_history(
    hub: Hub,
) -> None:
    """A new client receives later events and can resume from earlier ones."""
    start = str(hub.cursor())
    publish(hub, "before")
    new, resuming = (
        StreamReader(stream_of(hub)),
        StreamReader(stream_of(hub, last_event_id=start)),
    )
    new.next("connected")
    resuming.next("connected")
    publish(hub, "after")
    assert new.data(1) == ["after"]
    assert resuming.data(2) == ["before", "after"]
    new.close()
    resuming.close()


def test_a_broker_that_is_away_at_the_start_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clients are admitted meanwhile and receive events once the broker is there."""
    broker = FlakyBroker(KEEP_ALL)
    broker.away = True
    hub = Hub(Parts(broker, HubOptions()))
    monkeypatch.setattr("flask_sse_hub.hub.follower._RETRY_SECONDS", 0.01)
    reader = StreamReader(stream_of(hub))
    connected = reader.next()
    assert (connected.type, connected.id) == ("connected", "")
    broker.away = False
    # Now the client has an id to resume from.
    assert reader.next("ping").id == str(broker.head())
    publish(hub, "after")
    assert reader.data(1) == ["after"]
    reader.close()
    hub.close()


def test_closing_a_hub_that_never_started_ends_its_threads() -> None:
    """The follower stops waiting for the broker."""
    broker = FlakyBroker(KEEP_ALL)
    broker.away = True
    parts = Parts(broker, HubOptions())
    hub = Hub(parts)
    hub.close()
    parts.follower.run(hub.closed)
    assert not hub.ready


def test_a_follower_that_fails_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Streams would look alive and deliver nothing, so health reports it."""
    broker = MemoryBroker(KEEP_ALL)
    monkeypatch.setattr(broker, "head", _fail_without_client)
    hub = Hub(Parts(broker, HubOptions()), patience=1.0)
    (refusal,) = list(stream_of(hub))
    assert refusal.startswith(b"retry: ")
    wait_until(lambda: hub.broken)
    assert "follower of this worker's hub failed" in caplog.text
    hub.close()


def _fail_without_client() -> Any:
    raise RuntimeError("a bug")


class TestServers:
    @pytest.mark.parametrize("key", ["gunicorn.socket", "werkzeug.socket"])
    def test_the_socket_is_found_in_the_environ(self, key: str) -> None:
        """A server that does not expose its socket has none."""
        ours, theirs = socket.socketpair()
        assert connection_of({key: ours}) is ours
        assert connection_of({}) is None
        ours.close()
        theirs.close()

    def test_the_first_close_reason_is_kept(self, hub: Hub) -> None:
        """A client that leaves after a disconnect counts as disconnected."""
        stream = stream_of(hub)
        next(stream)
        hub.end(stream._client, CloseReason.DISCONNECTED)
        stream.close()
        assert hub.stats().closed == {"disconnected": 1}
