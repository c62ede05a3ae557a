"""State by key: how a client begins with it, and what it passes over later."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_sse_hub import CloseReason, Event
from flask_sse_hub.brokers import LogBatch, MemoryBroker
from flask_sse_hub.errors import BrokerUnavailable
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST, Address
from flask_sse_hub.events.record import Cursor, GapReason, Record, Retention
from flask_sse_hub.hub.delivery import state
from flask_sse_hub.testing.parser import Parser, ReceivedEvent
from tests.kit.hand import KEEP_ALL, FlakyBroker, HandHub, HandStream, fields, types

PRICES = address.channel("prices")
SMALL = Retention(3, 3600.0, 10_000_000)


def price(hub: HandHub, key: str, data: str, **options: Any) -> str:
    """Publish the value of a key, and bring it to the clients."""
    options.setdefault("to", PRICES)
    event_id = hub.publish(data, key=key, **options)
    hub.bring()
    return event_id


def received(stream: HandStream) -> list[ReceivedEvent]:
    """Return all events of a stream so far, with the fields that browsers hide."""
    stream.read()
    return Parser().feed(stream.raw)


def values(stream: HandStream) -> list[tuple[str | None, str, bool]]:
    """Return the key, data and mark of each of the app's events so far."""
    return [
        (event.key, event.data, event.state)
        for event in received(stream)
        if event.type == "message"
    ]


def watch(hub: HandHub, **options: Any) -> HandStream:
    return hub.stream(channels=("prices",), state=True, **options)


class TestTheBeginning:
    def test_a_client_begins_with_the_newest_value_of_each_key(self) -> None:
        """In the order of the log and beyond history, then live."""
        hub = HandHub(MemoryBroker(SMALL), memory=SMALL)
        price(hub, "a", "1")
        price(hub, "b", "2")
        price(hub, "a", "3")
        price(hub, "everybody", "4", to=BROADCAST)
        price(hub, "others", "5", to=address.channel("others"))
        for n in range(9):
            hub.publish(str(n), to=address.channel("busy"))
        hub.bring()
        stream = watch(hub)
        assert values(stream) == [
            ("b", "2", True),
            ("a", "3", True),
            ("everybody", "4", True),
        ]
        price(hub, "a", "6")
        assert values(stream)[3:] == [("a", "6", False)]

    def test_a_client_that_does_not_ask_receives_none(self) -> None:
        """The default is as it always was."""
        hub = HandHub()
        price(hub, "a", "1")
        assert values(hub.stream(channels=("prices",))) == []

    def test_an_id_comes_only_with_the_whole_state(self) -> None:
        """A connection that breaks before begins with the state again."""
        hub = HandHub()
        for n in range(5):
            price(hub, str(n), "x" * 10_000)
        stream, (connected,) = hub.open(channels=("prices",), state=True)
        assert connected.id == ""
        first = stream.feed(hub.hub.take(stream.client) or b"")
        assert types(first) == ["message"] * 2
        assert stream.drop() == ""
        again = watch(hub)
        assert len(values(again)) == 5
        assert received(again)[-1].type == "ping"
        assert again.last_event_id == str(hub.position)

    def test_an_empty_state_gives_the_client_its_place_at_once(self) -> None:
        """The client resumes from there."""
        hub = HandHub()
        stream = watch(hub)
        assert values(stream) == []
        assert stream.last_event_id == str(hub.position)

    def test_a_client_with_an_id_reads_on_from_it(self) -> None:
        """It has its values already; only the changes are new."""
        hub = HandHub()
        price(hub, "a", "1")
        stream = watch(hub)
        stream.read()
        last = stream.drop()
        price(hub, "b", "2")
        assert values(watch(hub, last_event_id=last)) == [("b", "2", False)]

    def test_nothing_between_the_state_and_live_is_lost(self) -> None:
        """Values, deletes and other events that come while the state is sent."""
        hub = HandHub()
        for n in range(5):
            price(hub, str(n), f"{n}" + "x" * 10_000)
        stream = watch(hub)
        stream.feed(hub.hub.take(stream.client) or b"")
        price(hub, "0", "deleted", deletes=True)
        price(hub, "4", "newer")
        hub.publish("without a key", to=PRICES)
        hub.bring()
        assert [(key, data[:13], mark) for key, data, mark in values(stream)[2:]] == [
            ("2", "2xxxxxxxxxxxx", True),
            ("3", "3xxxxxxxxxxxx", True),
            ("0", "deleted", False),
            ("4", "newer", False),
            (None, "without a key", False),
        ]

    def test_a_value_for_two_addresses_of_the_client_comes_once(self) -> None:
        """As every event does."""
        hub = HandHub()
        alice = address.user("alice")
        both = (alice, PRICES)
        hub.hub.publish(record_of(both, "k", "1"))
        hub.bring()
        assert values(watch(hub, user="alice")) == [("k", "1", True)]
        price(hub, "k", "2", to=alice)
        assert values(watch(hub, user="alice")) == [("k", "1", True), ("k", "2", True)]

    def test_a_new_worker_has_the_state_of_the_broker(self) -> None:
        """Also of keys whose events are no longer in the log."""
        broker = MemoryBroker(SMALL)
        first = HandHub(broker)
        price(first, "a", "1")
        price(first, "b", "2")
        price(first, "b", "", deletes=True)
        for n in range(9):
            price(first, "c", str(n))
        stream = watch(HandHub(broker))
        assert values(stream) == [("a", "1", True), ("c", "8", True)]

    def test_a_client_that_comes_while_the_broker_is_away_waits(self) -> None:
        """It is pinged without an id, and begins with the state later."""
        broker = FlakyBroker(KEEP_ALL)
        price(HandHub(broker), "a", "1")
        broker.away = True
        hub = HandHub(broker, begun=False)
        stream = watch(hub, since=Cursor("", 0))
        hub.parts.dispatcher.ping(stream.client)
        assert [(each.type, each.id) for each in stream.read()] == [("ping", "")]
        broker.away = False
        hub.begin()
        assert values(stream) == [("a", "1", True)]


class TestAReset:
    def test_the_state_follows_it(self) -> None:
        """The page needs no reload for its state; the reset says so."""
        hub = HandHub(MemoryBroker(SMALL), memory=SMALL)
        price(hub, "a", "1")
        stream = watch(hub)
        stream.read()
        last = stream.drop()
        for n in range(9):
            price(hub, str(n % 2), str(n))
        again = watch(hub, last_event_id=last)
        events = again.read()
        assert types(events) == ["reset", *["message"] * 3, "ping"]
        assert fields(events[0]) == {"reason": "expired", "state": True}
        assert [event.data for event in events[1:4]] == ["1", "7", "8"]
        assert {event.id for event in events[:4]} == {last}
        assert again.last_event_id == str(hub.position)

    def test_a_connection_that_breaks_before_the_end_of_the_state(self) -> None:
        """The client still has its own id, and is reset again."""
        hub = HandHub()
        price(hub, "a", "1")
        stream = watch(hub, last_event_id="nonsense")
        stream.feed(hub.hub.take(stream.client) or b"")
        assert stream.drop() == "malformed"
        again = watch(hub, last_event_id="malformed")
        assert types(again.read()) == ["reset", "message", "ping"]

    def test_a_gap_in_the_log_brings_the_state_of_the_new_log(self) -> None:
        """The client ends with the current values of that log."""
        hub = HandHub()
        price(hub, "a", "1")
        stream = watch(hub)
        stream.read()
        other = MemoryBroker(KEEP_ALL)
        price(HandHub(other), "b", "2")
        found = state.State.of(other.state())
        gap = LogBatch((), other.head(), GapReason.EPOCH)
        hub.parts.dispatcher.accept(gap, state=found)
        hub.parts.dispatcher.fan_out()
        events = stream.read()
        assert types(events) == ["reset", "message", "ping"]
        assert events[1].data == "2"
        assert stream.last_event_id == str(other.head())

    @pytest.mark.parametrize("is_new", [False, True], ids=["live", "of the broker"])
    def test_a_value_of_several_channels_tells_none_of_them(self, is_new: bool) -> None:
        """A page would not know it for the value that a later event ends."""
        hub = HandHub()
        both = (PRICES, address.channel("others"))
        hub.broker.publish(Record(both, Event("both"), key="a"))
        price(hub, "b", "one")
        hub = HandHub(hub.broker) if is_new else hub
        first, second = (e for e in received(watch(hub)) if e.type == "message")
        assert (first.data, first.channel) == ("both", None)
        assert (second.data, second.channel) == ("one", "prices")

    def test_a_follower_reads_the_state_after_a_gap(self) -> None:
        """While the broker is away, it tries again."""
        broker = AwayState(SMALL)
        hub = HandHub(broker, memory=SMALL)
        for n in range(9):
            hub.publish(str(n), key="a", to=PRICES)
        broker.failures = 1
        hub.parts.follower._closed = Instant()
        hub.bring()
        assert broker.failures == 0
        assert values(watch(hub)) == [("a", "8", True)]

    def test_a_stream_that_ends_owes_it_still(self) -> None:
        """The farewell must not give the client an id without the state."""
        hub = HandHub()
        stream = watch(hub, last_event_id="nonsense")
        hub.parts.lifecycle.close(stream.client, CloseReason.AGE)
        assert stream.read() == []
        assert stream.last_event_id == "malformed"


class TestReadingOn:
    @pytest.mark.parametrize("held", [1, 1_000], ids=["broker", "memory"])
    def test_a_client_that_lags_receives_the_last_value(self, held: int) -> None:
        """Not ten thousand prices; and every event without a key."""
        memory = Retention(held, 3600.0, 10_000_000)
        hub = HandHub(memory=memory)
        stream = hub.stream(channels=("prices",))
        hub.publish("first", to=PRICES)
        hub.bring()
        for n in range(250):
            price(hub, str(n % 2), str(n))
        hub.publish("last", to=PRICES)
        hub.bring()
        assert stream.data() == ["first", "248", "249", "last"]

    def test_a_resuming_client_receives_the_last_value(self) -> None:
        """Also if the key has ended since."""
        hub = HandHub()
        start = str(hub.position)
        for n in range(5):
            price(hub, "a", str(n))
            price(hub, "b", str(n))
        price(hub, "b", "gone", deletes=True)
        stream = hub.stream(channels=("prices",), last_event_id=start)
        assert stream.data() == ["4", "gone"]

    def test_a_newer_value_for_others_replaces_nothing(self) -> None:
        """A key belongs to an address."""
        hub = HandHub()
        start = str(hub.position)
        price(hub, "a", "mine")
        price(hub, "a", "theirs", to=address.channel("others"))
        both = (PRICES, address.channel("others"))
        stream = hub.stream(channels=("prices",), last_event_id=start)
        assert stream.data() == ["mine"]
        hub.hub.publish(record_of(both, "a", "both"))
        hub.bring()
        price(hub, "a", "later", to=address.channel("others"))
        again = hub.stream(channels=("prices",), last_event_id=start)
        assert again.data() == ["both"]
        reader = hub.stream(channels=("prices", "others"), last_event_id=start)
        assert reader.data() == ["both", "later"]


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["set", "delete", "take", "drop", "reset"]),
            st.sampled_from("abc"),
        ),
        max_size=30,
    )
)
def test_a_client_ends_with_the_last_value_of_each_key(
    steps: list[tuple[str, str]],
) -> None:
    """A checker for state: for any traffic, reading pace, drops and losses."""
    hub = HandHub(MemoryBroker(SMALL), memory=SMALL)
    page: dict[str, str] = {}
    expected: dict[str, str] = {}
    stream = watch(hub)
    seen = 0

    def take(events: Iterable[ReceivedEvent]) -> None:
        for event in events:
            if event.type == "reset":
                page.clear()
            elif event.key is not None and event.deleted:
                page.pop(event.key, None)
            elif event.key is not None:
                page[event.key] = event.data

    def new(events: Sequence[ReceivedEvent]) -> Sequence[ReceivedEvent]:
        return events[seen:]

    for number, (step, key) in enumerate(steps):
        if step == "set":
            price(hub, key, str(number))
            expected[key] = str(number)
        elif step == "delete":
            price(hub, key, "", deletes=True)
            expected.pop(key, None)
        elif step == "take":
            stream.feed(hub.hub.take(stream.client) or b"")
        else:
            stream.feed(hub.hub.take(stream.client) or b"")
            take(new(Parser().feed(stream.raw)))
            last = stream.drop()
            stream = watch(
                hub, last_event_id="e-1" if step == "reset" else last or None
            )
            seen = 0
            if step != "reset" and not last:
                page.clear()
    take(new(received(stream)))
    assert page == expected


class AwayState(MemoryBroker):
    """A memory broker whose state cannot be read for some calls."""

    failures = 0

    def state(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise BrokerUnavailable("away")
        return super().state()


class Instant:
    """An end that has not come, and does not wait."""

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float | None = None) -> bool:
        return False


def record_of(addresses: tuple[Address, ...], key: str, data: str) -> Any:
    return Record(addresses, Event(data), key=key)
