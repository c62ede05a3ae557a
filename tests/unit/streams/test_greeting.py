"""The first bytes of a stream, by both deliveries, while its user logs out."""

from collections.abc import Callable
from typing import Any

import pytest

from flask_sse_hub import CloseReason
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Disconnect, Retention
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.clients.notices import Listeners
from flask_sse_hub.hub.lifecycle import Lifecycle
from flask_sse_hub.streams.generator import EventStream
from tests.kit.hand import KEEP_ALL, HandHub, fields, numbered, types
from tests.kit.sockets import join
from tests.kit.sse_parser import ParsedEvent, Parser

ALICE = address.user("alice")

# How a stream's user loses it, in the middle of connecting.
WAYS: dict[str, Callable[[HandHub], None]] = {
    "logout": lambda hub: hub.parts.ends.end(
        (address.session("s"),), Disconnect("session_ended", final=True)
    ),
    "disconnect": lambda hub: hub.parts.ends.end((ALICE,), Disconnect("disconnected")),
    "revoked": lambda hub: _close_all(hub.parts.lifecycle, hub, CloseReason.REVOKED),
}


def _close_all(lifecycle: Lifecycle, hub: HandHub, reason: CloseReason) -> None:
    for client in hub.hub.clients():
        lifecycle.close(client, reason)


def by_generator(hub: HandHub, last_event_id: str) -> list[ParsedEvent]:
    client = Client(
        "c", identity=Identity("alice", "s"), since=hub.broker.head(), sink=None
    )
    stream = EventStream(hub.hub, client, last_event_id=last_event_id, connection=None)
    return Parser().feed(b"".join(stream))


def by_socket(hub: HandHub, last_event_id: str) -> list[ParsedEvent]:
    peer = join(hub, "c", user="alice", session="s", last_event_id=last_event_id)
    peer.read_to_the_end()
    peer.socket.close()
    return peer.events


@pytest.mark.parametrize("deliver", [by_generator, by_socket])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kept", [1, 10_000])
def test_nothing_is_replayed_after_a_logout_during_the_greeting(
    deliver: Callable[..., list[ParsedEvent]], way: str, kept: int
) -> None:
    """The app's receivers run before the first bytes leave, and may take long."""

    def lose(_: Any) -> None:
        WAYS[way](hub)

    hub = HandHub(
        memory=Retention(kept, 3600.0, 10_000_000),
        listeners=Listeners(connected=lose, disconnected=lambda *_: None),
    )
    start = str(hub.position)
    list(numbered(hub, 5, to=ALICE))
    hub.bring()
    events = deliver(hub, start)
    assert [event.type for event in events if event.type != "connected"] == []
    assert {event.id for event in events} <= {start}
    hub.hub.close()


@pytest.mark.parametrize("deliver", [by_generator, by_socket])
@pytest.mark.parametrize("last_event_id", ["nonsense", "another-7"])
def test_a_drain_during_the_greeting_brings_the_reset(
    deliver: Callable[..., list[ParsedEvent]], last_event_id: str
) -> None:
    """The client would otherwise come back without knowing what it has missed."""

    def drain(_: Any) -> None:
        _close_all(hub.parts.lifecycle, hub, CloseReason.SHUTDOWN)

    hub = HandHub(
        MemoryBroker(KEEP_ALL),
        listeners=Listeners(connected=drain, disconnected=lambda *_: None),
    )
    list(numbered(hub, 5))
    hub.bring()
    connected, reset = deliver(hub, last_event_id)
    assert types([connected, reset]) == ["connected", "reset"]
    assert fields(connected)["resumed"] is False
    assert reset.id == str(hub.position)
    hub.hub.close()
