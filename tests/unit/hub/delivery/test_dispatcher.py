"""The dispatcher's threads: the fan-out, and the follower that waits for it."""

import threading

import pytest

from flask_sse_hub import Event
from flask_sse_hub.brokers import LogBatch, MemoryBroker
from flask_sse_hub.events.address import BROADCAST, channel
from flask_sse_hub.events.record import Cursor, Record, Retention
from flask_sse_hub.hub.delivery.state import State
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from flask_sse_hub.runtime import greenlets
from tests.kit.hand import KEEP_ALL, FlakyBroker, HandHub, numbered
from tests.kit.reader import wait_until


def parts_of(retention: Retention) -> Parts:
    parts = Parts(MemoryBroker(KEEP_ALL), HubOptions(memory=retention))
    parts.dispatcher.begin(Cursor("e", 0), state=State())
    return parts


def batch(*offsets: int) -> LogBatch:
    records = tuple(
        Record((BROADCAST,), Event("x" * 1000), cursor=Cursor("e", n), time=1e12)
        for n in offsets
    )
    return LogBatch(records, records[-1].cursor)


def test_the_position_follows_the_fan_out_and_not_the_log() -> None:
    """An accepted event has not been delivered yet."""
    parts = parts_of(KEEP_ALL)
    parts.dispatcher.accept(batch(1, 2))
    assert parts.progress.position == Cursor("e", 0)
    assert parts.dispatcher.fan_out()
    assert parts.progress.position == Cursor("e", 2)
    assert not parts.dispatcher.fan_out()


def test_a_batch_without_records_moves_the_position() -> None:
    """A broker that skips an unreadable entry still advances."""
    parts = parts_of(KEEP_ALL)
    parts.dispatcher.accept(LogBatch((), Cursor("e", 9)))
    assert parts.dispatcher.fan_out()
    assert parts.progress.position == Cursor("e", 9)


def test_unreadable_entries_are_counted_and_rarely_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Entries may be very many, so a line is logged each time their number doubles."""
    parts = parts_of(KEEP_ALL)
    for offset in range(1, 21):
        parts.dispatcher.accept(LogBatch((), Cursor("e", offset), malformed=1))
    assert parts.tally.malformed == 20
    assert len(caplog.messages) == 5
    parts.dispatcher.begin(
        Cursor("e", 0), [LogBatch((), Cursor("e", 9), malformed=9)], state=State()
    )
    assert parts.tally.malformed == 29


def test_statistics_contain_the_unreadable_entries() -> None:
    """No entry is skipped silently."""
    hub = HandHub()
    hub.parts.dispatcher.accept(LogBatch((), Cursor("e", 9), malformed=2))
    assert hub.hub.stats().malformed == 2


def test_a_long_backlog_is_fanned_out_in_pieces() -> None:
    """Other threads and greenlets of the process run between the pieces."""
    hub = HandHub()
    stream = hub.stream()
    list(numbered(hub, 500))
    hub.follow()
    runs = []
    while run := hub.parts.dispatcher.fan_out():
        runs.append(run)
    assert len(runs) >= 2
    assert sum(run.events for run in runs) == 500
    assert all(run.bytes < 8192 + 100 for run in runs)
    assert len(stream.data()) == 500


def test_a_follower_waits_while_the_memory_is_full() -> None:
    """A flood of publishes does not fill the worker's memory before the fan-out."""
    parts = parts_of(Retention(1000, 1e12, 2000))
    accepted: list[int] = []

    def follow() -> None:
        for n in range(1, 40):
            parts.dispatcher.accept(batch(n))
            accepted.append(n)

    follower = threading.Thread(target=follow)
    follower.start()
    wait_until(lambda: len(accepted) >= 2)
    assert len(accepted) < 10
    while follower.is_alive():
        parts.dispatcher.fan_out()
        follower.join(0.001)
    assert len(accepted) == 39


def test_stopping_releases_a_waiting_follower() -> None:
    """Closing a hub leaves no thread behind."""
    parts = parts_of(Retention(1000, 1e12, 100))
    follower = threading.Thread(target=lambda: parts.dispatcher.accept(batch(1, 2)))
    follower.start()
    parts.dispatcher.stop()
    follower.join(10.0)
    assert not follower.is_alive()


def test_each_client_is_woken_once_for_many_records() -> None:
    """A burst causes one wake-up and leaves in one write."""
    hub = HandHub()
    stream = hub.stream()
    list(numbered(hub, 60))
    hub.bring()
    assert stream.sink.woken == 1
    assert len(stream.data()) == 60


def test_clients_are_woken_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fan-out to very many clients lets other tasks run in between."""
    hub = HandHub(max_clients_per_user=None)
    streams = [hub.stream() for _ in range(200)]
    seen: list[int] = []

    def breathe() -> None:
        seen.append(sum(stream.sink.woken for stream in streams))

    monkeypatch.setattr(greenlets, "breathe", breathe)
    hub.publish("x")
    hub.bring()
    assert seen == [64, 128, 192]


def test_a_ping_is_dropped_if_an_event_is_sent() -> None:
    """A client that receives an event needs no ping as well."""
    hub = HandHub()
    stream = hub.stream()
    hub.publish("x")
    hub.bring()
    hub.parts.dispatcher.ping(stream.client)
    assert [event.type for event in stream.read()] == ["message"]
    assert stream.read() == []


@pytest.mark.parametrize("through", ["accept", "begin", "backlog"])
def test_a_batch_is_encoded_in_slices(
    through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request does not wait until a batch of many large events is encoded."""
    monkeypatch.setattr(greenlets, "_SLICE_SECONDS", 0.0)
    breaths: list[None] = []
    monkeypatch.setattr(greenlets, "breathe", lambda: breaths.append(None))
    hub = HandHub(begun=False)
    start = hub.broker.head()
    if through == "accept":
        hub.begin()
    list(numbered(hub, 5))
    if through == "accept":
        hub.follow()
    elif through == "begin":
        hub.begin()
    else:
        hub.parts.backlog.page(start, [BROADCAST])
    # Each record once for its block; the folds look at the records too.
    assert len(breaths) == (10 if through == "begin" else 5)


class TestAhead:
    def test_a_client_ahead_is_woken_by_the_first_event_that_it_misses(self) -> None:
        """It has seen the earlier ones on a quicker worker."""
        slow = HandHub()
        slow.publish("0")
        stream = slow.stream(last_event_id=slow.publish("seen elsewhere"))
        slow.bring()
        before = stream.sink.woken
        slow.publish("new")
        slow.bring()
        assert stream.sink.woken == before + 1
        assert stream.data() == ["new"]

    def test_a_client_that_read_the_broker_beyond_the_position_is_woken_too(
        self,
    ) -> None:
        """It would otherwise wait for the next sweep of the heartbeat."""
        broker = FlakyBroker(KEEP_ALL)
        slow = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        first, *_ = numbered(slow, 3)
        slow.bring()
        broker.away = True
        stream = slow.stream(last_event_id=first, since=slow.position)
        seen = slow.publish("read from the broker")
        broker.away = False
        slow.clock.advance(1.0)
        assert stream.data()[-1:] == ["read from the broker"]
        assert str(stream.client.cursor) == seen
        before = stream.sink.woken
        slow.publish("new")
        slow.bring()
        assert stream.sink.woken > before
        assert stream.data() == ["new"]

    def test_a_fan_out_does_not_look_at_clients_ahead(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A made-up id would cost something in each fan-out to others."""
        hub = HandHub()
        for _ in range(3):
            hub.stream(last_event_id=hub.publish("seen elsewhere"), channels=("a",))
        hub.publish("x", to=channel("b"))
        hub.follow()
        monkeypatch.setattr(hub.parts.progress, "is_ahead", None)
        monkeypatch.setattr("flask_sse_hub.hub.delivery.dispatcher.is_beyond", _never)
        arrived = hub.parts.dispatcher._arrived
        while arrived[0].addresses != (channel("b"),):
            arrived.popleft()
        assert hub.parts.dispatcher.fan_out() is not None

    def test_a_client_that_was_caught_up_with_is_not_judged(self) -> None:
        """The broker is asked only while a client is beyond the position."""
        slow = HandHub()
        slow.stream(last_event_id=slow.publish("seen elsewhere"))
        slow.bring()
        slow.parts.dispatcher.judge_ahead()
        assert not slow.parts.dispatcher._ahead


def _never(*_: object) -> bool:
    raise AssertionError
