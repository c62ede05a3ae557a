"""Channel patterns in a worker: each event of a channel below comes once, in order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_sse_hub import Event
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events.address import channel
from flask_sse_hub.events.channel_patterns import covers
from flask_sse_hub.events.record import Record, Retention, Subscribe
from flask_sse_hub.testing.parser import Parser
from tests.kit.hand import HandHub, HandStream
from tests.kit.sockets import peers

CHANNELS = ["o", "o.eu", "o.eu.7", "p.eu"]
SUBSCRIPTIONS = [*CHANNELS, "o.*", "o.eu.*", "p.*"]
ALL = ("o.*", "o.eu.*", "o.eu.7")


def same(grant: object) -> object:
    return grant


@pytest.mark.parametrize("held", [1, 1_000], ids=["broker", "memory"])
@settings(deadline=None, max_examples=60)
@given(
    begin=st.sets(st.sampled_from(SUBSCRIPTIONS)),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["publish", "publish", "add", "remove", "bring", "take"]),
            st.sampled_from(SUBSCRIPTIONS),
        ),
        max_size=30,
    ),
)
def test_each_event_comes_once(
    held: int, begin: set[str], steps: list[tuple[str, str]]
) -> None:
    """For any patterns and changes of them, and for any pace of worker and client."""
    hub = HandHub(memory=Retention(held, 3600.0, 10_000_000))
    stream = hub.stream(channels=tuple(begin), regrant=same)
    listens, expected = set(begin), []
    for number, (step, name) in enumerate(steps):
        if step == "publish":
            # Two events fill a chunk. Some have two channels.
            data = f"{number}{'x' * 9_000}"
            to = {name.rstrip(".*"), CHANNELS[number % 4]}
            hub.hub.publish(Record(tuple(map(channel, to)), Event(data)))
            if any(covers(each, one) for each in listens for one in to):
                expected.append(data)
        elif step == "bring":
            hub.bring()
        elif step == "take":
            stream.feed(hub.hub.take(stream.client) or b"")
        else:
            is_new = step == "add"
            change = Subscribe((name,)) if is_new else Subscribe(removed=(name,))
            hub.hub.change_channels(stream.client.id, change)
            (listens.add if is_new else listens.discard)(name)
    hub.bring()
    stream.read()
    events = Parser().feed(stream.raw)
    assert [each.data for each in events if each.type == "message"] == expected


def test_a_socket_is_written_to_once_and_counts_once() -> None:
    """Directly by the fan-out, with the channel that the event was published to."""
    hub = HandHub()
    with peers(hub, 3, channels=ALL) as (peer, *others):
        hub.publish("first", to=channel("o.eu.7"))
        hub.publish("second", to=channel("o.us"))
        hub.bring()
        for each in (peer, *others):
            each.read_until(["first", "second"])
            assert each.client.connection is not None
        assert b"channel: o.eu.7\n" in peer.raw
        assert {each.events for each in hub.hub.client_stats()} == {2}


def test_a_client_that_was_excluded_reads_nothing() -> None:
    """Also if it hears the channel by a pattern alone."""
    hub = HandHub()
    stream = hub.stream(channels=("o.*",))
    hub.publish("no", to=channel("o.eu"), exclude=(stream.client.id,))
    hub.publish("yes", to=channel("o.eu"))
    hub.bring()
    assert stream.data() == ["yes"]


class TestState:
    SMALL = Retention(1, 3600.0, 10_000_000)

    def told(self, stream: HandStream) -> list[tuple[str | None, str | None, str]]:
        """Return the channel, key and data of each event that can be read now."""
        before = len(stream.raw)
        stream.read()
        return [
            (event.channel, event.key, event.data)
            for event in Parser().feed(stream.raw[before:])
            if event.type == "message"
        ]

    def test_a_client_begins_with_the_values_of_all_channels(self) -> None:
        """Each once, in the order of the log and beyond history; then it goes on."""
        hub = HandHub(MemoryBroker(self.SMALL), memory=self.SMALL)
        for name, data in (("o.eu", "1"), ("o.us", "2"), ("p.eu", "3"), ("o.eu", "4")):
            hub.publish(data, to=channel(name), key="price")
        hub.publish("5", to=channel("o.eu.7"), key="price")
        hub.bring()
        streams = [hub.stream(channels=each, state=True) for each in (ALL, ("o.*",))]
        for stream in streams:
            assert self.told(stream) == [
                ("o.us", "price", "2"),
                ("o.eu", "price", "4"),
                ("o.eu.7", "price", "5"),
            ]
        hub.publish("6", to=channel("o.us"), key="price")
        hub.bring()
        for stream in streams:
            assert self.told(stream) == [("o.us", "price", "6")]

    def test_a_slow_client_passes_over_what_is_replaced(self) -> None:
        """The same key in another channel is another value."""
        hub = HandHub()
        stream = hub.stream(channels=("o.*",), last_event_id=str(hub.position))
        for name, data in (("o.eu", "1"), ("o.us", "2"), ("o.eu", "3")):
            hub.publish(data, to=channel(name), key="price")
        hub.bring()
        assert [data for *_, data in self.told(stream)] == ["2", "3"]

    def test_a_new_pattern_brings_its_values(self) -> None:
        """A channel that was heard already brings none."""
        hub = HandHub()
        hub.publish("1", to=channel("o.eu"), key="price")
        hub.bring()
        stream = hub.stream(channels=("p",), state=True, regrant=same)
        assert self.told(stream) == []
        for name, values in (("o.*", ["1"]), ("o.eu", []), ("o.eu.*", [])):
            hub.hub.change_channels(stream.client.id, Subscribe((name,)))
            hub.bring()
            assert [data for *_, data in self.told(stream)] == values
