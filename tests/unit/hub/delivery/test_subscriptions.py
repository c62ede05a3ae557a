"""Subscriptions: an open stream changes its channels at one place in the log."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_sse_hub import CloseReason, Event
from flask_sse_hub.brokers import LogBatch, MemoryBroker
from flask_sse_hub.events.address import channel
from flask_sse_hub.events.record import Cursor, GapReason, Record, Retention
from flask_sse_hub.hub.delivery.state import State
from flask_sse_hub.testing.parser import Parser, ReceivedEvent
from tests.kit.hand import KEEP_ALL, FlakyBroker, HandHub, HandStream
from tests.kit.sockets import block, peers, read_all

A, B = channel("a"), channel("b")


def same(grant: object) -> object:
    return grant


def listener(hub: HandHub, **options: Any) -> HandStream:
    """Open a stream of the channel a, whose channels can change."""
    return hub.stream(channels=("a",), regrant=same, **options)


def change(
    hub: HandHub, client_id: str, *, add: str = "", remove: str = "", bring: bool = True
) -> str:
    """Add and remove channels, each one letter; return the place in the log."""
    place = hub.hub.change_channels(client_id, added=(*add,), removed=(*remove,))
    if bring:
        hub.bring()
    return str(place)


def seen(stream: HandStream) -> list[str]:
    """Return the events that can be read now: their data, or what is confirmed."""
    return [told(event) for event in Parser().feed(after_read(stream))]


def after_read(stream: HandStream) -> bytes:
    before = len(stream.raw)
    stream.read()
    return stream.raw[before:]


def told(event: ReceivedEvent) -> str:
    if event.type != "subscribed":
        return event.data if event.type == "message" else event.type
    data = event.json()
    refused = "".join(data.get("refused", ()))
    return "=" + "".join(data["channels"]) + (f"!{refused}" if refused else "")


@pytest.mark.parametrize("held", [1, 1_000], ids=["broker", "memory"])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["publish", "publish", "add", "remove", "bring", "take"]),
            st.sampled_from("abc"),
        ),
        max_size=40,
    )
)
@settings(deadline=None, max_examples=60)
def test_each_event_comes_once_if_its_channel_is_listened_to_at_its_place(
    held: int, steps: list[tuple[str, str]]
) -> None:
    """For any changes, and for any pace at which the worker and the client read."""
    hub = HandHub(memory=Retention(held, 3600.0, 10_000_000))
    stream = listener(hub)
    channels = ["a"]
    expected = []
    raw = len(stream.raw)
    for number, (step, name) in enumerate(steps):
        if step == "publish":
            # Two events fill a chunk.
            data = f"{number} {name * 9_000}"
            hub.publish(data, to=channel(name))
            if name in channels:
                expected.append(data)
        elif step == "bring":
            hub.bring()
        elif step == "take":
            stream.feed(hub.hub.take(stream.client) or b"")
        else:
            change(hub, stream.client.id, **{step: name}, bring=False)
            channels = [each for each in channels if each != name]
            channels += [name] if step == "add" and name not in channels else []
            expected.append(step)
    hub.bring()
    stream.read()
    events = Parser().feed(stream.raw[raw:])
    confirmed = [event for event in events if event.type == "subscribed"]
    assert len(confirmed) == sum(step in ("add", "remove") for step in expected)
    assert [e.data for e in events if e.type == "message"] == [
        each for each in expected if each not in ("add", "remove")
    ]
    assert sorted(stream.client.channels) == sorted(channels)
    # The confirmation stands between the events before its place and those after it.
    assert [event.type == "subscribed" for event in events] == [
        each in ("add", "remove") for each in expected
    ]


class TestOneClient:
    def test_it_takes_effect_at_its_place(self) -> None:
        """The confirmation has the id of that place and the channels from there on."""
        hub = HandHub()
        stream = listener(hub)
        hub.publish("before", to=B)
        hub.bring()
        place = change(hub, stream.client.id, add="b")
        hub.publish("after", to=B)
        hub.bring()
        (confirmed, event) = stream.read()
        assert (confirmed.type, confirmed.id) == ("subscribed", place)
        assert confirmed.data == '{"channels":["a","b"]}'
        assert event.data == "after"
        change(hub, stream.client.id, remove="a")
        hub.publish("left", to=A)
        hub.publish("both", to=B)
        hub.bring()
        assert seen(stream) == ["=b", "both"]
        assert hub.hub.stats().channels == {"b": 1}

    def test_a_socket_is_written_to_directly_again(self) -> None:
        """The confirmation comes between the same two events as on any other stream."""
        hub = HandHub()
        with peers(hub, 2, channels=("a",), regrant=same) as (peer, other):
            hub.publish("before", to=B)
            change(hub, peer.client.id, add="b")
            hub.publish("after", to=B)
            peer.read_until(["after"])
            assert [e.type for e in peer.events] == [
                "connected",
                "subscribed",
                "message",
            ]
            assert peer.client.connection is not None
            hub.publish("to both", to=A)
            peer.read_until(["after", "to both"])
            other.read_until(["to both"])
            written = hub.parts.registry.written(peer.client)
            assert written.events == 2

    def test_a_client_that_lags_keeps_its_place(self) -> None:
        """It receives what it was owed, the confirmation, and then the new channel."""
        hub = HandHub()
        with peers(hub, channels=("a",), regrant=same) as (peer,):
            block(peer)
            hub.publish("before", to=B)
            change(hub, peer.client.id, add="b", remove="a")
            hub.publish("left", to=A)
            hub.publish("after", to=B)
            read_all(peer, "after")
            assert "before" not in peer.data
            assert "left" not in peer.data
            assert [e.type for e in peer.events[-2:]] == ["subscribed", "message"]

    def test_a_change_that_is_made_already_is_confirmed(self) -> None:
        """A page that asks again, because its connection broke, must not wait."""
        hub = HandHub()
        stream = listener(hub)
        for _ in range(2):
            change(hub, stream.client.id, add="b")
        change(hub, stream.client.id, remove="x")
        hub.publish("once", to=B)
        hub.bring()
        assert seen(stream) == ["=ab", "=ab", "=ab", "once"]

    def test_the_rule_counts_from_then_on(self) -> None:
        """The stream's grant is that of its new channels, for the revalidation."""
        hub = HandHub()
        stream = hub.stream(
            channels=("a",), grant=1, regrant=lambda grant: (grant, "with a rule")
        )
        change(hub, stream.client.id, add="b")
        assert stream.client.grant == (1, "with a rule")

    def test_events_of_two_channels_come_once(self) -> None:
        """Before and after the change."""
        hub = HandHub()
        stream = listener(hub)
        change(hub, stream.client.id, add="b")
        hub.hub.publish(Record((A, B), Event("both")))
        change(hub, stream.client.id, remove="a")
        hub.hub.publish(Record((A, B), Event("one")))
        hub.bring()
        assert seen(stream) == ["=ab", "both", "=b", "one"]


class TestRefusals:
    def test_too_many_channels(self) -> None:
        """The names beyond the bound are refused; the others are taken."""
        hub = HandHub(max_channels=3)
        stream = listener(hub)
        change(hub, stream.client.id, add="bcde")
        change(hub, stream.client.id, add="x", remove="a")
        assert seen(stream) == ["=abc!de", "=bcx"]

    def test_channels_that_a_view_or_a_ticket_has_named(self) -> None:
        """They stay as they are, and the page is told."""
        hub = HandHub()
        stream = hub.stream(channels=("a", "b"))
        change(hub, stream.client.id, add="bc", remove="ax")
        assert seen(stream) == ["=ab!ca"]

    def test_a_client_that_takes_no_confirmation_is_ended(self) -> None:
        """Changes that are not told take memory."""
        hub = HandHub()
        stream = listener(hub)
        for _ in range(101):
            change(hub, stream.client.id, add="b", remove="a")
        assert stream.client.close_reason is CloseReason.STALLED


class TestOtherClients:
    def test_nobody_else_is_changed(self) -> None:
        """A record for an id without a stream does nothing."""
        hub = HandHub()
        stream, other = listener(hub), listener(hub)
        change(hub, stream.client.id, add="b")
        change(hub, "unknown", add="b")
        assert (seen(stream), seen(other)) == (["=ab"], [])
        assert other.client.channels == ("a",)

    def test_a_stream_that_came_later_has_its_own_channels(self) -> None:
        """Its page has named them in its URL, and may have left the channel again."""
        hub = HandHub()
        stream = listener(hub)
        change(hub, stream.client.id, add="b", bring=False)
        stream.drop()
        again = listener(hub, client_id=stream.client.id)
        hub.bring()
        assert seen(again) == []
        assert again.client.channels == ("a",)

    def test_a_client_that_left_is_forgotten(self) -> None:
        """None of its addresses, old or new, leads to it any more."""
        hub = HandHub()
        stream = listener(hub)
        change(hub, stream.client.id, add="b", remove="a")
        stream.drop()
        for address in (A, B):
            hub.publish("x", to=address)
        hub.bring()
        assert hub.hub.stats().connections == 0
        assert hub.parts.registry.belonging([A, B]) == []


class TestLosses:
    def test_a_reset_is_followed_by_the_confirmation(self) -> None:
        """The client is at the position then, with its new channels."""
        broker = MemoryBroker(Retention(1, 3600.0, 10_000_000))
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        stream = listener(hub)
        for n in range(3):
            hub.publish(str(n), to=A)
            hub.bring()
        change(hub, stream.client.id, add="b")
        hub.publish("lost", to=B)
        hub.bring()
        assert seen(stream) == ["reset", "=ab"]
        hub.publish("live", to=B)
        hub.bring()
        assert seen(stream) == ["live"]

    def test_a_log_that_begins_again(self) -> None:
        """A place in the old log is behind every place in the new one."""
        hub = HandHub()
        stream = listener(hub, state=True)
        stream.read()
        change(hub, stream.client.id, add="b")
        new = Cursor("n", 0)
        state = State()
        state.cursor = new
        hub.parts.dispatcher.accept(LogBatch((), new, GapReason.EPOCH), state=state)
        assert seen(stream) == ["reset", "ping", "=ab"]

    def test_a_client_that_reads_the_broker_waits_for_this_worker(self) -> None:
        """It would pass the place of a change that this worker has not read."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        first = hub.publish("0", to=A)
        hub.publish("1", to=A)
        hub.bring()
        broker.away = True
        stream = listener(hub, last_event_id=first, since=hub.position)
        broker.away = False
        hub.clock.advance(1.0)
        change(hub, stream.client.id, add="b", bring=False)
        hub.publish("after", to=B)
        assert seen(stream) == ["1"]
        hub.bring()
        assert seen(stream) == ["=ab", "after"]


class TestState:
    def test_values_of_new_channels_come_before_the_confirmation(self) -> None:
        """An id comes only with all of them, and no value comes twice."""
        hub = HandHub()
        for name, address in (("a", A), ("b", B), ("b2", B)):
            hub.publish(name, to=address, key=name)
        hub.bring()
        stream = listener(hub, state=True)
        assert seen(stream) == ["a", "ping"]
        change(hub, stream.client.id, add="b")
        hub.publish("newer", to=B, key="b")
        hub.bring()
        events = Parser().feed(after_read(stream))
        assert [told(e) for e in events] == ["b2", "=ab", "newer"]
        assert [e.state for e in events] == [True, False, False]
        assert events[0].id == ""

    def test_a_change_before_the_first_values(self) -> None:
        """They are as of the place where the client is first served."""
        hub = HandHub()
        hub.publish("b", to=B, key="b")
        hub.bring()
        stream = listener(hub, state=True)
        change(hub, stream.client.id, add="b")
        assert seen(stream) == ["b", "ping", "=ab"]

    def test_no_value_of_a_channel_that_is_left_is_passed_over(self) -> None:
        """A newer one may come after the client has left the channel."""
        hub = HandHub()
        stream = listener(hub)
        hub.publish("old", to=A, key="k")
        change(hub, stream.client.id, remove="a")
        hub.publish("new", to=A, key="k")
        hub.bring()
        assert seen(stream) == ["old", "="]
