"""Subscriptions: an open stream changes its channels at one place in the log."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_sse_hub import CloseReason, Event
from flask_sse_hub.brokers import LogBatch, MemoryBroker
from flask_sse_hub.events.address import channel, presence, user
from flask_sse_hub.events.record import (
    Cursor,
    GapReason,
    PresencePart,
    Record,
    Retention,
    Subscribe,
)
from flask_sse_hub.hub.delivery.state import State
from flask_sse_hub.testing.parser import Parser, ReceivedEvent
from tests.kit.hand import KEEP_ALL, FlakyBroker, HandHub, HandStream
from tests.kit.sockets import block, peers, read_all

A, B = channel("a"), channel("b")

# The steps that change the channels.
CHANGES = ("add", "remove", "return")


def same(grant: object) -> object:
    return grant


def listener(hub: HandHub, **options: Any) -> HandStream:
    """Open a stream of the channel a, whose channels can change."""
    return hub.stream(channels=("a",), regrant=same, **options)


def change(
    hub: HandHub,
    client_id: str,
    *,
    add: str = "",
    remove: str = "",
    since: str | None = None,
    bring: bool = True,
) -> str:
    """Add and remove channels, each one letter; return the place in the log."""
    change = Subscribe((*add,), (*remove,), Cursor.parse(since or ""))
    place = hub.hub.change_channels(client_id, change)
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
    reset = data.get("reset", {})
    lost = f"-{''.join(reset['channels'])} {reset['reason']}" if reset else ""
    return "=" + "".join(data["channels"]) + (f"!{refused}" if refused else "") + lost


@pytest.mark.parametrize("held", [1, 1_000], ids=["broker", "memory"])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(
                ["publish", "publish", "add", "remove", "return", "bring", "take"]
            ),
            st.sampled_from("abc"),
        ),
        max_size=40,
    )
)
@settings(deadline=None, max_examples=60)
def test_each_event_comes_once_if_its_channel_is_listened_to_at_its_place(
    held: int, steps: list[tuple[str, str]]
) -> None:
    """For any changes, and for any pace at which the worker and the client read.

    A channel to which the client returns begins where the client has left it.
    """
    hub = HandHub(memory=Retention(held, 3600.0, 10_000_000))
    stream = listener(hub)
    channels = ["a"]
    left = dict.fromkeys("abc", str(hub.position))
    missed: dict[str, list[str]] = {each: [] for each in "abc"}
    expected: list[str] = []
    raw = len(stream.raw)
    for number, (step, name) in enumerate(steps):
        if step == "publish":
            # Two events fill a chunk.
            data = f"{number} {name * 9_000}"
            hub.publish(data, to=channel(name))
            (expected if name in channels else missed[name]).append(data)
        elif step == "bring":
            hub.bring()
        elif step == "take":
            stream.feed(hub.hub.take(stream.client) or b"")
        else:
            removed, added = (name, "") if step == "remove" else ("", name)
            since = left[name] if step == "return" else None
            place = change(
                hub,
                stream.client.id,
                remove=removed,
                add=added,
                since=since,
                bring=False,
            )
            if since and name not in channels:
                expected += missed[name]
            if removed:
                left[name] = place
            missed[name] = []
            channels = [each for each in channels if each != name]
            channels += [*added]
            expected.append(step)
    hub.bring()
    stream.read()
    events = Parser().feed(stream.raw[raw:])
    confirmed = [event for event in events if event.type == "subscribed"]
    assert len(confirmed) == sum(step in CHANGES for step in expected)
    assert [e.data for e in events if e.type == "message"] == [
        each for each in expected if each not in CHANGES
    ]
    assert sorted(stream.client.channels) == sorted(channels)
    # The confirmation stands between the events before its place and those after it.
    assert [event.type == "subscribed" for event in events] == [
        each in CHANGES for each in expected
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

    def test_a_socket_enters_a_channel_with_presence(self) -> None:
        """It hears of people directly again, and no more once it has left."""
        hub = HandHub(presence=True)
        to = presence("b")
        options: dict[str, Any] = {"channels": ("a",), "regrant": same, "seats": []}
        with peers(hub, 2, **options) as (peer, _):
            hub.publish("join", to=to)
            part = PresencePart("b", "{}", sees=True)
            enters = Subscribe(("b",), presence=(part,))
            hub.hub.change_channels(peer.client.id, enters)
            hub.publish("update", to=to)
            peer.read_until(["update"])
            assert peer.client.connection is not None
            hub.publish("leave", to=to)
            peer.read_until(["update", "leave"])
            change(hub, peer.client.id, remove="b")
            hub.publish("join", to=to)
            hub.publish("last", to=A)
            peer.read_until(["update", "leave", "last"])

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


class TestSince:
    """A channel that begins after an id."""

    def test_its_events_since_then_come_first(self) -> None:
        """In order, with ids of their own. The client's cursor does not go back."""
        hub = HandHub()
        first = hub.publish("before", to=B)
        ids = [hub.publish(n, to=B) for n in "12"]
        hub.bring()
        stream = listener(hub)
        place = change(hub, stream.client.id, add="b", since=first)
        hub.publish("live", to=B)
        hub.bring()
        parser = Parser("own")
        events = parser.feed(after_read(stream))
        assert [told(each) for each in events] == ["1", "2", "=ab", "live"]
        assert [each.id for each in events[:3]] == ["own", "own", place]
        assert [each.earlier for each in events] == [*ids, None, None]
        assert [each.channel for each in events[:2]] == ["b", "b"]

    def test_a_client_that_breaks_off_keeps_its_cursor(self) -> None:
        """Its own channels go on without a loss; it asks for the new one again."""
        hub = HandHub()
        first = hub.publish("0", to=B)
        for n in range(3):
            hub.publish(f"{n} {'x' * 9_000}", to=B)
        hub.bring()
        stream = listener(hub)
        change(hub, stream.client.id, add="b", since=first)
        parser = Parser(str(hub.position))
        got = parser.feed(hub.hub.take(stream.client) or b"")
        assert [each.data[0] for each in got] == ["0", "1"]
        assert parser.last_event_id == str(hub.position)

    def test_events_that_the_client_has_had_at_another_channel(self) -> None:
        """Each comes once, whether the stream had begun or had the other channel."""
        hub = HandHub()
        both = Record((A, B), Event("unheard"))
        first = str(hub.hub.publish(both))
        hub.hub.publish(Record((A, B), Event("before the stream")))
        hub.bring()
        stream = listener(hub)
        hub.hub.publish(Record((A, B), Event("had")))
        hub.bring()
        change(hub, stream.client.id, add="b", since=first)
        assert seen(stream) == ["had", "before the stream", "=ab"]
        c = channel("c")
        hub.hub.publish(Record((B, c), Event("had at b")))
        hub.hub.publish(Record((c,), Event("new")))
        change(hub, stream.client.id, add="c", since=first)
        assert seen(stream) == ["had at b", "new", "=abc"]

    def test_events_for_others(self) -> None:
        """An excluded client, events whose time is over, and events for the present."""
        hub = HandHub()
        stream = listener(hub)
        first = str(hub.position)
        hub.publish("not mine", to=B, exclude=(stream.client.id,))
        hub.publish("only for the present", to=B, ttl=0.0)
        hub.publish("mine", to=B)
        hub.bring()
        change(hub, stream.client.id, add="b", since=first)
        assert seen(stream) == ["mine", "=ab"]

    def test_values_that_later_ones_replace(self) -> None:
        """As for a client that resumes. The values stand for the state."""
        hub = HandHub()
        first = str(hub.position)
        stream = listener(hub, state=True)
        seen(stream)
        for value in ("old", "new"):
            hub.publish(value, to=B, key="price")
        hub.bring()
        change(hub, stream.client.id, add="b", since=first)
        assert seen(stream) == ["new", "=ab"]

    def test_a_channel_that_the_stream_has_already(self) -> None:
        """Nothing comes twice."""
        hub = HandHub()
        first = str(hub.position)
        stream = listener(hub)
        hub.publish("1", to=A)
        change(hub, stream.client.id, add="a", since=first)
        assert seen(stream) == ["1", "=a"]

    def test_a_channel_whose_history_is_gone(self) -> None:
        """The confirmation says so. The other new channel has all of its events."""
        broker = MemoryBroker(Retention(4, 3600.0, 10_000_000))
        first = str(broker.head())
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        hub.publish("lost", to=B)
        for n in range(3):
            hub.publish(str(n), to=channel("c"))
        hub.bring()
        stream = listener(hub)
        change(hub, stream.client.id, add="bc", since=first)
        hub.publish("live", to=B)
        hub.bring()
        assert seen(stream) == ["0", "1", "2", "=abc-b expired", "live"]

    @pytest.mark.parametrize(
        ("since", "reason"), [("other-5", "epoch"), ("{epoch}-99", "ahead")]
    )
    def test_an_id_that_this_log_never_had(self, since: str, reason: str) -> None:
        """The stream itself is not reset, and a client with the state receives it."""
        hub = HandHub()
        hub.publish("value", to=B, key="k")
        hub.bring()
        stream = listener(hub, state=True)
        seen(stream)
        since = since.format(epoch=hub.position.epoch)
        change(hub, stream.client.id, add="b", since=since)
        assert seen(stream) == ["value", f"=ab-b {reason}"]

    def test_events_from_before_the_login(self) -> None:
        """They were not for this visitor."""
        hub = HandHub(time_of_day=lambda: 2_000.0)
        hub.publish("of somebody else", to=B)
        hub.bring()
        first = f"{hub.position.epoch}-0"
        stream = listener(hub, not_before=4e9)
        change(hub, stream.client.id, add="b", since=first)
        assert seen(stream) == ["=ab-b expired"]

    def test_a_broker_that_is_away(self) -> None:
        """The stream waits, and then goes on with nothing lost."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        first = str(hub.position)
        for n in range(3):
            hub.publish(str(n), to=B)
        hub.bring()
        stream = listener(hub)
        change(hub, stream.client.id, add="b", since=first)
        broker.away = True
        assert hub.hub.take(stream.client) == b""
        broker.away = False
        hub.clock.advance(1.0)
        assert seen(stream) == ["0", "1", "2", "=ab"]

    def test_a_logout_meanwhile(self) -> None:
        """Nothing of the channel is written after it."""
        hub = HandHub()
        first = str(hub.position)
        hub.publish("1", to=B)
        stream = listener(hub, user="7")
        change(hub, stream.client.id, add="b", since=first)
        hub.hub.disconnect((user("7"),), reason=CloseReason.DISCONNECTED)
        assert "data: 1" not in after_read(stream).decode()

    def test_a_client_with_a_socket(self) -> None:
        """The worker writes the earlier events, and then fans out directly again."""
        hub = HandHub(memory=Retention(1, 3600.0, 10_000_000))
        first = str(hub.position)
        for n in range(3):
            hub.publish(str(n), to=B)
        hub.bring()
        with peers(hub, channels=("a",), regrant=same) as (peer,):
            change(hub, peer.client.id, add="b", since=first)
            hub.publish("live", to=B)
            read_all(peer, "live")
            assert peer.data[-4:] == ["0", "1", "2", "live"]
            assert peer.client.connection is not None
