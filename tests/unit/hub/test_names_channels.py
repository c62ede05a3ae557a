"""The channels in events with several targets, for clients that ask for them."""

import re

import pytest

from flask_sse_hub import Event
from flask_sse_hub.events.address import Address, channel, user
from flask_sse_hub.events.record import Record, Retention, Subscribe
from tests.kit.hand import HandHub
from tests.kit.sockets import join, peers

# A history that a worker has, and one that it reads from the broker.
HELD = {"memory": 1_000, "broker": 1}


def publish(hub: HandHub, data: str, *to: Address, **options: object) -> None:
    hub.hub.publish(Record(to, Event(data), **options))  # type: ignore[arg-type]


def named(raw: bytes) -> list[tuple[list[str], str]]:
    """Return the channels and the data of each event of the app."""
    blocks = raw.decode().split("\n\n")
    return [
        (re.findall("^channel: (.*)$", block, re.MULTILINE), data.group(1))
        for block in blocks
        if "event: " not in block
        and (data := re.search("^data: (.*)$", block, re.MULTILINE))
    ]


@pytest.mark.parametrize("held", HELD.values(), ids=list(HELD))
def test_a_client_learns_its_own_channels_and_no_others(held: int) -> None:
    """Also those that it hears by a pattern; none if it is meant in another way."""
    hub = HandHub(memory=Retention(held, 3600.0, 10_000_000))
    options = {"channels": ("a", "o.*"), "user": "42", "names_channels": True}
    stream = hub.stream(last_event_id=str(hub.position), **options)
    publish(hub, "one", channel("a"))
    publish(hub, "some", channel("secret"), channel("a"), channel("o.eu"))
    publish(hub, "person", channel("a"), user("42"))
    publish(hub, "another", channel("a"), user("43"))
    publish(hub, "own", user("42"), user("43"))
    hub.bring()
    stream.read()
    assert named(stream.raw) == [
        (["a"], "one"),
        (["a", "o.eu"], "some"),
        ([], "person"),
        (["a"], "another"),
        ([], "own"),
    ]


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_all_others_share_the_bytes_of_a_fan_out(coding: str | None) -> None:
    """One client reads on by itself, and each event comes once and counts once."""
    hub = HandHub()
    some = (channel("a"), channel("b"))
    with peers(hub, 2, channels=("a", "b")) as plain:
        naming = [
            join(hub, name, channels=("a",), names_channels=True, coding=coding)
            for name in ("x", "y")
        ]
        for data, to in (("1", some[:1]), ("2", some), ("3", some), ("4", some[:1])):
            publish(hub, data, *to)
            hub.bring()
        for peer in (*plain, *naming):
            peer.read_until(["1", "2", "3", "4"])
            assert peer.client.connection is not None, "it keeps up again"
        for peer in plain:
            assert [names for names, _ in named(peer.raw)] == [["a"], [], [], ["a"]]
        for peer in naming:
            assert [names for names, _ in named(peer.raw)] == [["a"]] * 4
        assert {each.events for each in hub.hub.client_stats()} == {4}
        for peer in naming:
            peer.socket.close()


def test_an_event_for_clients_that_keep_up_reaches_one_that_is_set_apart() -> None:
    """A ttl of 0 means the clients that are connected at the fan-out."""
    hub = HandHub()
    with peers(hub, 1, channels=("a",), names_channels=True) as (peer,):
        publish(hub, "now", channel("a"), channel("b"), ttl=0)
        hub.bring()
        peer.read_until(["now"])
        assert (["a"], "now") in named(peer.raw)


def test_earlier_events_of_a_new_channel_name_it() -> None:
    """They are read between an id and the change."""
    hub = HandHub()
    start = hub.position
    publish(hub, "then", channel("b"), channel("c"))
    hub.bring()
    stream = hub.stream(
        channels=("a",), names_channels=True, regrant=lambda grant: grant
    )
    change = Subscribe(("b",), since=start)
    hub.hub.change_channels(stream.client.id, change)
    hub.bring()
    stream.read()
    assert named(stream.raw) == [(["b"], "then")]


def test_the_greeting_confirms_it() -> None:
    """A server that does not know the question says nothing."""
    hub = HandHub()
    _, (greeting, *_) = hub.open(channels=("a",), names_channels=True)
    assert '"names_channels":true' in greeting.data
    _, (greeting, *_) = hub.open(channels=("a",))
    assert "names_channels" not in greeting.data
