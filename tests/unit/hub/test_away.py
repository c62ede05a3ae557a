"""Clients that connect while the broker is away, to a worker that has just started."""

import time
from pathlib import Path
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable, CloseReason, Event
from flask_sse_hub.brokers import Broker, LogBatch, MemoryBroker, memory
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST, Address
from flask_sse_hub.events.record import (
    UNPLACED,
    Cursor,
    Disconnect,
    GapReason,
    Record,
    Retention,
)
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL, FlakyBroker, HandHub, HandStream, fields, types
from tests.kit.reader import wait_until

NOW = time.time()


class AwaySQLite(SQLiteBroker):
    """An SQLite broker whose file cannot be read at first."""

    away = True

    def replay(self, after: Cursor, **options: Any) -> Any:
        if self.away:
            raise BrokerUnavailable("away")
        return super().replay(after, **options)


def log_of(*names: str, when: float = NOW) -> Broker:
    """Return a log with a disconnect record for each named user, written at `when`."""
    broker = MemoryBroker(KEEP_ALL, clock=Clock(when))
    for name in names:
        broker.publish(Record((address.user(name),), Disconnect("disconnected")))
    return broker


def log_with(data: str, *, to: Address = BROADCAST, when: float) -> Broker:
    """Return a log with one event, published at `when`."""
    broker = MemoryBroker(KEEP_ALL, clock=Clock(when))
    broker.publish(Record((to,), Event(data)))
    return broker


def came_blind(hub: HandHub, *, user: str | None = "alice") -> HandStream:
    """Return a stream that was opened at NOW, while the log's head was unknown."""
    return hub.stream(user=user, since=UNPLACED, loaded_at=NOW)


def test_a_new_client_is_admitted_and_receives_its_position_later() -> None:
    """Until then the client has no id to resume from."""
    hub = HandHub(log_with("before", when=NOW - 600.0), begun=False)
    stream, (connected,) = hub.open(since=UNPLACED, loaded_at=NOW)
    assert (connected.type, connected.id) == ("connected", "")
    assert stream.read() == []
    hub.begin()
    (ping,) = stream.read()
    assert (ping.type, ping.id) == ("ping", str(hub.position))
    hub.publish("after")
    hub.bring()
    assert stream.data() == ["after"]


def test_events_published_before_the_worker_recovers_are_not_lost() -> None:
    """Another worker may recover earlier and publish."""
    hub = HandHub(log_with("meanwhile", when=NOW + 1.0), begun=False)
    stream = hub.stream(since=UNPLACED, loaded_at=NOW)
    hub.begin()
    assert stream.data() == ["meanwhile"]


@pytest.mark.parametrize(("channels", "expected"), [(["x"], ["reset"]), ([], ["ping"])])
def test_an_event_too_close_to_the_connect_time_causes_a_reset(
    channels: list[str], expected: list[str]
) -> None:
    """The clock cannot tell whether the client missed it. Others receive a ping."""
    log = log_with("just now", to=address.channel("x"), when=NOW - 5.0)
    hub = HandHub(log, begun=False)
    stream = hub.stream(since=UNPLACED, loaded_at=NOW, channels=tuple(channels))
    hub.begin()
    assert types(stream.read()) == expected


def test_a_ping_without_a_known_position_has_no_id() -> None:
    """A meaningless id would lead to a reset when the client reconnects."""
    hub = HandHub(begun=False)
    stream = hub.stream(since=UNPLACED)
    hub.parts.dispatcher.ping(stream.client)
    (ping,) = stream.read()
    assert (ping.type, ping.id) == ("ping", "")


def test_a_resuming_client_continues_at_its_own_cursor() -> None:
    """The client waits with the cursor that it brought."""
    broker = FlakyBroker(KEEP_ALL)
    before = HandHub(broker)
    last = before.stream().drop()
    before.publish("missed")
    broker.away = True
    hub = HandHub(broker, begun=False)
    stream, (connected,) = hub.open(last_event_id=last, since=UNPLACED)
    assert connected.id == last
    assert stream.read() == []
    broker.away = False
    hub.begin()
    hub.clock.advance(1.0)
    assert stream.data() == ["missed"]


def test_an_id_of_another_log_is_detected_later() -> None:
    """The id could not be checked while the broker was away."""
    broker = FlakyBroker(KEEP_ALL)
    broker.away = True
    hub = HandHub(broker, begun=False)
    stream = hub.stream(last_event_id="another-7", since=UNPLACED)
    broker.away = False
    hub.begin()
    hub.clock.advance(1.0)
    (reset,) = stream.read()
    assert fields(reset) == {"reason": "epoch"}


def test_a_client_ahead_of_the_worker_waits_for_it() -> None:
    """The broker may deliver an event late that another worker has already sent."""
    broker = FlakyBroker(KEEP_ALL)
    broker.away = True
    hub = HandHub(broker, begun=False)
    broker.away = False
    ahead = f"{broker.head().epoch}-1"
    broker.away = True
    stream = hub.stream(last_event_id=ahead, since=UNPLACED)
    broker.away = False
    hub.begin()
    assert stream.read() == []
    hub.publish("one")
    hub.publish("two")
    hub.bring()
    hub.clock.advance(1.0)
    assert stream.data() == ["two"]


@pytest.mark.parametrize(
    ("name", "when", "reason"),
    [
        ("alice", NOW + 5.0, CloseReason.DISCONNECTED),
        # Written by another machine whose clock is behind.
        ("alice", NOW - 5.0, CloseReason.DISCONNECTED),
        ("alice", NOW - 600.0, None),
        ("bob", NOW + 5.0, None),
    ],
)
def test_control_records_are_matched_by_their_time(
    name: str, when: float, reason: CloseReason | None
) -> None:
    """A record written after the user was loaded ends the stream; older ones do not."""
    hub = HandHub(log_of(name, when=when), begun=False)
    stream = came_blind(hub)
    hub.begin()
    assert stream.client.close_reason is reason


@pytest.mark.parametrize(
    ("user", "reason"), [("alice", CloseReason.DISCONNECTED), ("bob", None)]
)
def test_a_busy_log_does_not_hide_the_control_records(
    user: str, reason: CloseReason | None
) -> None:
    """Events that fill the memory cost a reset, and end the stream of nobody else."""
    log = log_of("alice", when=NOW + 1.0)
    for _ in range(10):
        log.publish(Record((BROADCAST,), Event("x")))
    few = Retention(events=2, seconds=3600.0, bytes=10_000_000)
    hub = HandHub(log, memory=few, begun=False)
    stream = came_blind(hub, user=user)
    hub.begin()
    assert stream.client.close_reason is reason
    if reason is None:
        assert types(stream.read()) == ["reset"]


# One frame is larger than the memory, and one record even larger than the tail.
@pytest.mark.parametrize("size", [800, 5000])
def test_an_event_larger_than_the_memory_is_not_missed_silently(size: int) -> None:
    """The event came after the client, although nothing of it is in memory."""
    log = log_with("x" * size, when=NOW + 1.0)
    small = Retention(events=100, seconds=3600.0, bytes=1000)
    hub = HandHub(log, memory=small, begun=False)
    stream = came_blind(hub, user=None)
    hub.begin()
    assert not len(hub.parts.history)
    (reset,) = stream.read()
    assert fields(reset) == {"reason": "expired"}
    assert reset.id == str(hub.position)


@pytest.mark.parametrize(("user", "reason"), [("alice", CloseReason.GAP), (None, None)])
def test_a_log_that_does_not_reach_back_ends_the_streams_of_users(
    monkeypatch: pytest.MonkeyPatch, user: str | None, reason: CloseReason | None
) -> None:
    """The lost part contains control records. Anonymous streams stay open."""
    monkeypatch.setattr(memory, "CONTROL_RECORDS", 2)
    hub = HandHub(log_of("bob", "bob", "bob"), begun=False)
    stream = came_blind(hub, user=user)
    hub.begin()
    assert stream.client.close_reason is reason


def test_an_id_of_an_earlier_epoch_is_accepted_later(tmp_path: Path) -> None:
    """The client no longer has to be served from the broker afterwards."""
    path = tmp_path / "hub.db"
    first = SQLiteBroker(path, KEEP_ALL)
    last = first.publish(Record((BROADCAST,), Event("x")))
    first.close()
    wait_until(lambda: not first._membership.held)
    broker = AwaySQLite(path, KEEP_ALL)
    hub = HandHub(broker, begun=False)
    stream = hub.stream(last_event_id=str(last), since=UNPLACED)
    broker.away = False
    hub.begin()
    hub.clock.advance(1.0)
    assert stream.read() == []
    assert stream.client.cursor is None
    assert not hub.parts.backlog._pages
    broker.close()


@pytest.mark.parametrize(("back", "reason"), [(0, None), (1, CloseReason.GAP)])
def test_a_gap_ends_streams_whose_user_was_loaded_before_it(
    back: int, reason: CloseReason | None
) -> None:
    """A user loaded after the gap cannot have missed a logout, and is only reset."""
    hub = HandHub()
    head = Cursor("new", 7)
    since = Cursor("new", 7 - back)
    stream = hub.stream(user="alice", since=hub.broker.head())
    stream.client.since = since
    hub.parts.dispatcher.accept(LogBatch((), head, GapReason.EPOCH))
    assert stream.client.close_reason is reason
    if reason is None:
        assert types(stream.read()) == ["reset"]
