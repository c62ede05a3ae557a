"""Catching up: delivery, resuming, gaps and resets."""

import time
from typing import Any

import pytest

from flask_sse_hub import CloseReason, Event
from flask_sse_hub.brokers import LogBatch, MemoryBroker, Replay
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, Disconnect, GapReason, Record, Retention
from flask_sse_hub.hub.delivery.history import History
from flask_sse_hub.testing import Clock
from tests.kit.hand import (
    KEEP_ALL,
    DuringHead,
    DuringReplay,
    FlakyBroker,
    HandHub,
    fields,
    numbered,
    types,
)

ALICE = address.user("alice")


class TestDelivery:
    def test_each_client_receives_its_events_in_order(self) -> None:
        """Broadcast, channel, user, session and client each reach their clients."""
        hub = HandHub()
        ann = hub.stream(user="alice", session="s1", client_id="a", channels=("news",))
        ben = hub.stream(user="bob", session="s2", client_id="b")
        for place in (
            BROADCAST,
            ALICE,
            address.user("bob"),
            address.session("s1"),
            address.client("b"),
            address.channel("news"),
        ):
            hub.publish(place, to=place)
        hub.bring()
        assert ann.data() == ["*", "u:alice", "s:s1", "c:news"]
        assert ben.data() == ["*", "u:bob", "i:b"]

    def test_several_waiting_events_are_one_chunk(self) -> None:
        """A client that was busy receives all its waiting events in one write."""
        hub = HandHub()
        stream = hub.stream()
        list(numbered(hub, 50))
        hub.bring()
        chunk = hub.hub.take(stream.client)
        assert chunk is not None
        assert [event.data for event in stream.feed(chunk)] == [
            str(n) for n in range(50)
        ]
        assert hub.hub.take(stream.client) == b""

    def test_clients_that_keep_up_share_a_run_without_a_search(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Looking events up client by client was a fifth of a delivery."""
        hub = HandHub()
        keeping_up = [hub.stream() for _ in range(2)]
        later = hub.stream()
        list(numbered(hub, 2))
        with monkeypatch.context() as patch:
            patch.delattr(History, "read")
            hub.bring()
            assert [stream.data() for stream in keeping_up] == [["0", "1"]] * 2
        hub.publish("2")
        hub.bring()
        assert later.data() == ["0", "1", "2"]
        assert [stream.data() for stream in keeping_up] == [["2"]] * 2

    @pytest.mark.parametrize("kept_out", ["excluded", "of before", "gone on"])
    def test_a_run_is_not_shared_with_clients_that_read_less(
        self, kept_out: str
    ) -> None:
        """Each client receives what it would find in history."""
        clock = Clock(time.time())
        hub = HandHub(MemoryBroker(KEEP_ALL, clock=clock), time_of_day=clock)
        stream = hub.stream(
            client_id="a",
            not_before=clock() + 1.0 if kept_out == "of before" else 0.0,
        )
        other = hub.stream()
        hub.publish("1", exclude=("a",) if kept_out == "excluded" else ())
        hub.bring()
        if kept_out == "gone on":
            stream.data()
        expected = ["reset"] if kept_out == "of before" else []
        assert types(stream.read()) == expected
        assert other.data() == ["1"]

    def test_a_lagging_client_is_served_in_chunks(self) -> None:
        """The bytes held for one client, beside the kernel's buffer, are bounded."""
        hub = HandHub()
        stream = hub.stream()
        for _ in range(10):
            hub.publish("x" * 7_500)
        hub.bring()
        chunks = []
        while chunk := hub.hub.take(stream.client):
            chunks.append(chunk)
        assert len(chunks) == 4
        assert sum(len(stream.feed(chunk)) for chunk in chunks) == 10

    def test_the_sender_can_be_excluded(self) -> None:
        """The sender's other tabs still receive the event."""
        hub = HandHub()
        ann, tab = hub.stream(client_id="a"), hub.stream(client_id="tab")
        hub.publish("mine", exclude=("a",))
        hub.bring()
        assert ann.data() == []
        assert tab.data() == ["mine"]
        assert ann.sink.woken == 0

    def test_an_event_without_addresses_still_has_an_id(self) -> None:
        """An empty list of users is no error."""
        hub = HandHub()
        stream = hub.stream()
        cursor = hub.hub.publish(Record((), Event("x")))
        hub.bring()
        assert stream.data() == []
        assert hub.position == cursor

    def test_a_burst_larger_than_one_piece_reaches_every_client(self) -> None:
        """The fan-out works in pieces and loses nothing between them."""
        hub = HandHub(max_clients_per_user=None)
        streams = [hub.stream() for _ in range(70)]
        list(numbered(hub, 200))
        hub.bring()
        expected = [str(n) for n in range(200)]
        assert all(stream.data() == expected for stream in streams)


class TestResume:
    def test_a_client_resumes_after_its_last_event_id(self) -> None:
        """Events are replayed in order; none is missed and none is sent twice."""
        hub = HandHub()
        ids = list(numbered(hub, 10))
        hub.bring()
        stream, (connected, *_) = hub.open(last_event_id=ids[3])
        assert connected.id == ids[3]
        assert fields(connected)["resumed"] is True
        assert stream.data() == ["4", "5", "6", "7", "8", "9"]

    def test_replayed_events_are_followed_by_live_ones(self) -> None:
        """No event is lost between the replay and the live stream."""
        hub = HandHub()
        ids = list(numbered(hub, 3))
        hub.bring()
        stream = hub.stream(last_event_id=ids[0])
        hub.publish("live")
        hub.bring()
        assert stream.data() == ["1", "2", "live"]

    def test_a_client_can_resume_on_another_worker(self) -> None:
        """Event ids belong to the log, not to the worker."""
        broker = MemoryBroker(KEEP_ALL)
        one, other = HandHub(broker), HandHub(broker)
        last = one.stream().drop()
        one.publish("missed")
        other.bring()
        assert other.stream(last_event_id=last).data() == ["missed"]

    def test_a_client_ahead_of_its_worker_waits(self) -> None:
        """Another worker was quicker. No event is sent twice after catching up."""
        broker = MemoryBroker(KEEP_ALL)
        quick, slow = HandHub(broker), HandHub(broker)
        seen = quick.publish("seen on the quick one")
        quick.publish("next")
        stream, (connected,) = slow.open(last_event_id=seen)
        assert connected.id == seen
        assert fields(connected)["resumed"] is True
        assert stream.data() == []
        slow.bring()
        assert stream.data() == ["next"]

    def test_a_client_that_waited_keeps_up_afterwards(self) -> None:
        """A busy log without events for the client does not leave it behind."""
        broker = MemoryBroker(KEEP_ALL)
        slow = HandHub(broker, memory=Retention(5, 3600.0, 10_000_000))
        seen = slow.publish("seen elsewhere", to=ALICE)
        stream = slow.stream(last_event_id=seen, user="alice")
        slow.bring()
        assert stream.sink.woken == 1
        assert stream.read() == []
        list(numbered(slow, 20, to=address.user("somebody else")))
        slow.bring()
        slow.publish("for me", to=ALICE)
        slow.bring()
        assert stream.data() == ["for me"]

    def test_a_client_that_leaves_while_it_waits_is_forgotten(self) -> None:
        """The dispatcher keeps no reference to the client."""
        broker = MemoryBroker(KEEP_ALL)
        slow = HandHub(broker)
        stream = slow.stream(last_event_id=slow.publish("seen elsewhere"))
        stream.drop()
        slow.bring()
        assert not slow.parts.dispatcher._ahead
        assert stream.sink.woken == 0

    def test_events_no_longer_in_memory_are_read_from_the_broker(self) -> None:
        """The broker is read chunk by chunk, and later events come from memory."""
        hub = HandHub(memory=Retention(3, 3600.0, 10_000_000))
        ids = list(numbered(hub, 700))
        hub.bring()
        stream, (connected,) = hub.open(last_event_id=ids[9])
        assert (connected.id, fields(connected)["resumed"]) == (ids[9], True)
        assert stream.data() == [str(n) for n in range(10, 700)]
        hub.publish("live")
        hub.bring()
        assert stream.data() == ["live"]

    def test_the_broker_is_read_once_for_the_id_and_for_the_first_events(self) -> None:
        """The page that vouches for the id also holds the events after it."""
        broker = DuringReplay(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        ids = list(numbered(hub, 5))
        hub.bring()
        reads: list[None] = []
        broker.during = lambda: reads.append(None)
        assert hub.stream(last_event_id=ids[1]).data() == ["2", "3", "4"]
        assert len(reads) == 1

    def test_an_event_that_excludes_the_client_is_not_replayed(self) -> None:
        """Replays from memory and from the broker both leave such events out."""
        hub = HandHub(memory=Retention(1, 3600.0, 10_000_000))
        start = str(hub.position)
        hub.publish("mine", exclude=("me",))
        hub.publish("yours")
        hub.publish("also mine", exclude=("me",))
        hub.bring()
        stream = hub.stream(last_event_id=start, client_id="me")
        assert stream.data() == ["yours"]

    def test_a_client_is_admitted_while_the_broker_is_away(self) -> None:
        """The client keeps its cursor and continues once the broker is back."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        ids = list(numbered(hub, 5))
        hub.bring()
        broker.away = True
        stream, (connected,) = hub.open(last_event_id=ids[0], since=hub.position)
        assert connected.id == ids[0]
        assert stream.read() == []
        broker.away = False
        hub.clock.advance(1.0)
        assert stream.data() == ["1", "2", "3", "4"]

    def test_a_client_that_waits_for_the_broker_is_pinged(self) -> None:
        """The ping has the client's own cursor, not a position it has not reached."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        ids = list(numbered(hub, 5))
        hub.bring()
        broker.away = True
        stream = hub.stream(last_event_id=ids[0], since=hub.position)
        hub.parts.dispatcher.ping(stream.client)
        (ping,) = stream.read()
        assert (ping.type, ping.id) == ("ping", ids[0])


# Ids that history does not reach back to, and the reason of their reset.
BEYOND_HISTORY = [
    ("nonsense", "malformed"),
    ("deadbeef-3", "epoch"),
    ("{epoch}-999999", "ahead"),
    ("{epoch}-0", "expired"),
]


def busy_hub(**options: Any) -> HandHub:
    """Return a hub whose short history has lost its first records."""
    small = Retention(2, 3600.0, 10_000_000)
    hub = HandHub(MemoryBroker(small), memory=small, **options)
    for n in range(5):
        hub.publish(str(n))
        hub.bring()
    return hub


class TestNotBefore:
    """A stream does not begin before its user's own session."""

    @pytest.mark.parametrize("kept", [1, 100], ids=["broker", "memory"])
    def test_an_id_from_before_the_login_is_reset(self, kept: int) -> None:
        """The events are old broadcasts, or the last holder's of the same user id."""
        clock = Clock(100.0)
        broker = MemoryBroker(KEEP_ALL, clock=clock)
        hub = HandHub(broker, memory=Retention(kept, 3600.0, 10_000_000))
        start = str(broker.head())
        hub.publish("old", to=ALICE)
        clock.advance(100.0)
        newest = hub.publish("new", to=ALICE)
        hub.bring()
        stream, greeting = hub.open(user="alice", last_event_id=start, not_before=150.0)
        assert fields(greeting[0])["resumed"] is False
        (reset,) = stream.read()
        assert (reset.type, fields(reset)) == ("reset", {"reason": "expired"})
        assert reset.id == newest

    @pytest.mark.parametrize("kept", [1, 100], ids=["broker", "memory"])
    def test_an_id_resumes_if_no_earlier_event_is_for_the_client(
        self, kept: int
    ) -> None:
        """A page that logs in again has missed nothing of its own."""
        clock = Clock(100.0)
        broker = MemoryBroker(KEEP_ALL, clock=clock)
        hub = HandHub(broker, memory=Retention(kept, 3600.0, 10_000_000))
        start = str(broker.head())
        hub.publish("old", to=address.user("bob"))
        hub.publish("not mine", to=ALICE, exclude=("mine",))
        clock.advance(100.0)
        hub.publish("new", to=ALICE)
        hub.bring()
        stream, greeting = hub.open(
            user="alice", client_id="mine", last_event_id=start, not_before=150.0
        )
        assert fields(greeting[0])["resumed"] is True
        assert stream.data() == ["new"]

    def test_an_early_event_that_only_a_later_page_has_is_found(self) -> None:
        """The greeting looks at the first page of the broker alone."""
        clock = Clock(100.0)
        broker = MemoryBroker(KEEP_ALL, clock=clock)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        start = str(broker.head())
        list(numbered(hub, 300, to=address.user("bob")))
        hub.publish("old", to=ALICE)
        clock.advance(100.0)
        hub.publish("new", to=ALICE)
        hub.bring()
        stream = hub.stream(user="alice", last_event_id=start, not_before=150.0)
        assert types(stream.read()) == ["reset"]


class TestReset:
    @pytest.mark.parametrize(("last_event_id", "reason"), BEYOND_HISTORY)
    def test_a_reset_says_why_history_does_not_reach_back(
        self, last_event_id: str, reason: str
    ) -> None:
        """A partial replay never looks complete. The reset carries the position."""
        hub = busy_hub()
        asked = last_event_id.format(epoch=hub.position.epoch)
        stream, (connected,) = hub.open(last_event_id=asked)
        assert fields(connected)["resumed"] is False
        (reset,) = stream.read()
        assert reset.type == "reset"
        assert fields(reset) == {"reason": reason}
        assert reset.id == str(hub.position)
        assert hub.hub.stats().resets == {reason: 1}
        hub.publish("live")
        hub.bring()
        assert stream.data() == ["live"]

    @pytest.mark.parametrize(("last_event_id", "reason"), BEYOND_HISTORY)
    def test_a_connection_that_breaks_before_the_reset_owes_it_still(
        self, last_event_id: str, reason: str
    ) -> None:
        """`connected` leaves the client its own id, so that the id is judged again."""
        hub = busy_hub()
        asked = last_event_id.format(epoch=hub.position.epoch)
        broken, (connected,) = hub.open(last_event_id=asked)
        assert connected.id == (asked if reason != "malformed" else "malformed")
        assert hub.hub.stats().resets == {}
        stream, (connected,) = hub.open(last_event_id=broken.drop())
        assert fields(connected)["resumed"] is False
        assert [fields(event) for event in stream.read()] == [{"reason": reason}]
        assert hub.hub.stats().resets == {reason: 1}

    @pytest.mark.parametrize(("last_event_id", "reason"), BEYOND_HISTORY)
    @pytest.mark.parametrize(
        "closed", [CloseReason.GAP, CloseReason.DISCONNECTED, CloseReason.SESSION_ENDED]
    )
    def test_a_client_that_is_closed_while_it_enters_is_reset_when_it_returns(
        self, closed: CloseReason, last_event_id: str, reason: str
    ) -> None:
        """Its greeting ends after `connected`, and no reset is counted."""
        hub = busy_hub()
        asked = last_event_id.format(epoch=hub.position.epoch)
        since = hub.broker.head()
        if closed is CloseReason.GAP:
            since = Cursor("another", 0)
        else:
            alice = Disconnect(closed, final=closed is CloseReason.SESSION_ENDED)
            hub.broker.publish(Record((address.session("s"),), alice))
            hub.bring()
        stream, (connected,) = hub.open(
            last_event_id=asked, user="alice", session="s", since=since
        )
        assert connected.type == "connected"
        assert stream.client.close_reason is closed
        assert stream.read() == []
        assert stream.ended
        assert hub.hub.stats().resets == {}
        again, (connected,) = hub.open(last_event_id=stream.drop(), user="alice")
        assert fields(connected)["resumed"] is False
        assert types(again.read()) == ["reset"]

    @pytest.mark.parametrize("end", ["drain", "evict", "age"])
    def test_a_stream_that_ends_in_peace_brings_the_reset_it_owes(
        self, end: str
    ) -> None:
        """The farewell commits the id of the reset, and not an older one."""
        hub = busy_hub(max_clients_per_user=1, max_age=60.0)
        stream, (connected,) = hub.open(last_event_id="nonsense", user="alice")
        assert connected.id == "malformed"
        if end == "drain":
            hub.hub.drain()
        elif end == "evict":
            hub.stream(user="alice")
        else:
            hub.parts.lifecycle.close(stream.client, CloseReason.AGE)
        assert types(stream.read()) == ["reset"]
        assert stream.ended
        assert stream.last_event_id == str(hub.position)
        assert hub.hub.stats().resets == {"malformed": 1}

    def test_a_farewell_keeps_the_id(self) -> None:
        """A client that resumed and saw no event comes back with its own id."""
        hub = HandHub()
        ids = list(numbered(hub, 2))
        stream = hub.stream(last_event_id=ids[0])
        hub.hub.drain()
        stream.read()
        assert stream.ended
        assert b"\n\nretry: " in stream.raw[-20:]
        assert stream.last_event_id == ids[0]

    def test_a_client_of_a_quiet_channel_keeps_up_with_a_busy_log(self) -> None:
        """Events for other addresses move its cursor on, however many there are."""
        small = Retention(5, 3600.0, 10_000_000)
        hub = HandHub(MemoryBroker(small), memory=small)
        stream = hub.stream(channels=("quiet",))
        for n in range(50):
            hub.publish(str(n), to=address.channel("busy"))
            hub.bring()
        hub.publish("at last", to=address.channel("quiet"))
        hub.bring()
        events = stream.read()
        assert [event.data for event in events] == ["at last"]
        assert hub.hub.stats().resets == {}

    def test_a_ping_carries_the_position_to_resume_from(self) -> None:
        """A connection that drops after hours of silence resumes without a reset."""
        small = Retention(5, 3600.0, 10_000_000)
        hub = HandHub(MemoryBroker(small), memory=small)
        stream = hub.stream(channels=("quiet",))
        for n in range(50):
            hub.publish(str(n), to=address.channel("busy"))
            hub.bring()
        hub.parts.dispatcher.ping(stream.client)
        (ping,) = stream.read()
        assert (ping.type, ping.id) == ("ping", str(hub.position))
        again, greeting = hub.open(channels=("quiet",), last_event_id=stream.drop())
        assert types(greeting) == ["connected"]
        assert again.read() == []

    def test_a_client_that_lags_beyond_history_receives_a_reset(self) -> None:
        """The client receives one reset and continues at the position."""
        small = Retention(3, 3600.0, 10_000_000)
        hub = HandHub(MemoryBroker(small), memory=small)
        stream = hub.stream()
        for n in range(10):
            hub.publish(str(n))
            hub.bring()
        (reset,) = stream.read()
        assert fields(reset) == {"reason": "expired"}
        assert reset.id == str(hub.position)
        hub.publish("live")
        hub.bring()
        assert stream.data() == ["live"]

    def test_a_gap_in_the_log_resets_every_client(self) -> None:
        """The lost events are unknown, so every connected client is told."""
        hub = HandHub()
        stream = hub.stream()
        hub.publish("lost with the gap")
        hub.follow()
        new_log = Cursor("new", 7)
        hub.parts.dispatcher.accept(LogBatch((), new_log, GapReason.EPOCH))
        hub.parts.dispatcher.fan_out()
        (reset,) = stream.read()
        assert fields(reset) == {"reason": "epoch"}
        assert reset.id == "new-7"
        assert hub.position == new_log

    def test_a_reset_covers_all_events_up_to_the_position(self) -> None:
        """The client reloads its state and then receives only later events."""
        hub = HandHub()
        stream = hub.stream()
        other = MemoryBroker(KEEP_ALL)
        start = other.head()
        HandHub(other).publish("after the gap")
        batch = next(other.follow(start))
        hub.parts.dispatcher.accept(
            LogBatch(batch.records, batch.cursor, GapReason.EPOCH)
        )
        hub.parts.dispatcher.fan_out()
        (reset,) = stream.read()
        assert reset.id == str(batch.cursor) == str(hub.position)

    def test_a_gap_ends_the_streams_of_logged_in_users(self) -> None:
        """The lost part may contain a logout, so each login is checked again."""
        hub = HandHub()
        ann, anonymous = hub.stream(user="alice"), hub.stream()
        hub.parts.dispatcher.accept(LogBatch((), Cursor("new", 0), GapReason.EPOCH))
        ann.read()
        anonymous.read()
        assert ann.ended
        assert ann.client.close_reason is CloseReason.GAP
        assert not anonymous.ended

    def test_a_reset_reaches_a_client_that_reads_from_the_broker(self) -> None:
        """The page that the client was reading belongs to a log that is gone."""
        broker = DuringReplay(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        stream = hub.stream()
        for _ in numbered(hub, 5):
            hub.bring()
        broker.during = lambda: hub.parts.dispatcher.accept(
            LogBatch((), Cursor("new", 0), GapReason.EPOCH)
        )
        assert types(stream.read()) == ["reset"]


BUSY = address.channel("busy")
QUIET = address.channel("quiet")


class TestFairHistory:
    def test_a_busy_channel_resets_no_listener_of_a_quiet_one(self) -> None:
        """A client that missed nothing of its own resumes, however much has passed."""
        small = Retention(3, 3600.0, 10_000_000)
        hub = HandHub(MemoryBroker(small), memory=small)
        stream = hub.stream(channels=("quiet",))
        hub.publish("first", to=QUIET)
        hub.bring()
        assert stream.data() == ["first"]
        last = stream.drop()
        list(numbered(hub, 50, to=BUSY))
        hub.publish("second", to=QUIET)
        hub.bring()
        again, (connected,) = hub.open(channels=("quiet",), last_event_id=last)
        assert fields(connected)["resumed"] is True
        assert again.data() == ["second"]
        assert hub.hub.stats().resets == {}

    def test_a_worker_that_has_just_started_asks_the_broker(self) -> None:
        """Its memory knows nothing of the events before its start."""
        small = Retention(3, 3600.0, 10_000_000)
        broker = MemoryBroker(small)
        first = HandHub(broker)
        seen = first.publish("seen", to=QUIET)
        list(numbered(first, 50, to=BUSY))
        lost = first.publish("lost", to=QUIET)
        list(numbered(first, 50, to=BUSY))
        hub = HandHub(broker, memory=small)
        unharmed = hub.stream(channels=("quiet",), last_event_id=lost)
        assert unharmed.read() == []
        harmed = hub.stream(channels=("quiet",), last_event_id=seen)
        assert [fields(each) for each in harmed.read()] == [{"reason": "expired"}]
        hub.publish("live", to=QUIET)
        hub.bring()
        assert (unharmed.data(), harmed.data()) == (["live"], ["live"])

    def test_the_memory_of_the_worker_answers_without_the_broker(self) -> None:
        """A client that lags on a busy log costs no read of the broker."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(3, 3600.0, 10_000_000))
        stream = hub.stream(channels=("quiet",))
        stream.client.cursor = hub.position
        list(numbered(hub, 50, to=BUSY))
        hub.bring()
        broker.away = True
        assert not hub.parts.catchup.waits_for_broker(stream.client)
        assert stream.read() == []
        assert stream.client.cursor is None

    def test_a_worker_that_reads_too_late_resets_only_the_harmed(self) -> None:
        """Each client reads on by itself after a trim that overtook the follower."""
        small = Retention(3, 3600.0, 10_000_000)
        hub = HandHub(MemoryBroker(small), memory=small)
        streams = {
            name: hub.stream(channels=(name,)) for name in ("busy", "quiet", "harmed")
        }
        hub.publish("lost", to=address.channel("harmed"))
        list(numbered(hub, 50, to=BUSY))
        hub.publish("there", to=QUIET)
        hub.bring()
        assert [event.data for event in streams["quiet"].read()] == ["there"]
        assert types(streams["busy"].read()) == ["reset"]
        assert types(streams["harmed"].read()) == ["reset"]
        assert hub.hub.stats().resets == {"expired": 2}

    def test_a_login_ends_after_a_trim_that_overtook_the_follower(self) -> None:
        """A logout may be among the lost records; the client comes back unharmed."""
        small = Retention(3, 3600.0, 10_000_000)
        hub = HandHub(MemoryBroker(small), memory=small)
        stream, (connected,) = hub.open(user="alice")
        list(numbered(hub, 50, to=BUSY))
        hub.bring()
        stream.read()
        assert stream.client.close_reason is CloseReason.GAP
        _, (connected,) = hub.open(user="alice", last_event_id=connected.id)
        assert fields(connected)["resumed"] is True


class TestWhatReviewsFound:
    """Regressions: faults found in reviews, each provoked as it was found."""

    def test_a_logout_during_a_read_from_the_broker_stops_the_replay(self) -> None:
        """The page that the broker returned is not written."""
        broker = DuringReplay(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        stream = hub.stream(user="alice")
        for _ in numbered(hub, 5, to=ALICE):
            hub.bring()
        broker.during = lambda: hub.parts.lifecycle.close(
            stream.client, CloseReason.SESSION_ENDED
        )
        assert stream.read() == []
        assert stream.ended

    def test_a_logout_before_the_greeting_stops_the_replay(self) -> None:
        """Old events are not sent to a user who was logged out meanwhile."""
        broker = DuringReplay(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        start = str(hub.position)
        list(numbered(hub, 5, to=ALICE))
        hub.bring()
        ended = Disconnect("session_ended", final=True)
        broker.during = lambda: hub.parts.ends.end((address.session("s"),), ended)
        stream = hub.stream(user="alice", session="s", last_event_id=start)
        assert stream.read() == []
        assert stream.ended

    @pytest.mark.parametrize(
        ("last_event_id", "reason"),
        [("otherepoch-5000", "epoch"), ("{epoch}-5000", "ahead")],
    )
    def test_an_id_that_could_not_be_checked_is_checked_later(
        self, last_event_id: str, reason: str
    ) -> None:
        """A client admitted while the broker was away still receives live events."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker)
        broker.away = True
        asked = last_event_id.format(epoch=hub.position.epoch)
        stream = hub.stream(last_event_id=asked, since=hub.position)
        assert stream.read() == []
        broker.away = False
        hub.clock.advance(1.0)
        hub.parts.dispatcher.judge_ahead()
        (reset,) = stream.read()
        assert fields(reset) == {"reason": reason}
        hub.publish("live")
        hub.bring()
        assert stream.data() == ["live"]

    def test_a_client_that_arrives_during_the_check_is_not_judged_by_it(self) -> None:
        """The client's id may be later than the head that the check has read."""
        broker = DuringHead(KEEP_ALL)
        slow = HandHub(broker)
        first = slow.stream(last_event_id=slow.publish("seen elsewhere"))
        came = []
        broker.during = lambda: came.append(
            slow.stream(last_event_id=slow.publish("seen there too"))
        )
        slow.parts.dispatcher.judge_ahead()
        assert [first.read(), came[0].read()] == [[], []]

    def test_a_client_that_is_rightly_ahead_keeps_waiting(self) -> None:
        """While the broker is away, no client is judged."""
        broker = FlakyBroker(KEEP_ALL)
        slow = HandHub(broker)
        stream = slow.stream(last_event_id=slow.publish("seen elsewhere"))
        slow.parts.dispatcher.judge_ahead()
        broker.away = True
        slow.parts.dispatcher.judge_ahead()
        assert stream.read() == []

    def test_a_client_ahead_of_the_worker_does_not_read_the_broker_again(self) -> None:
        """Reading the broker again at once would never end."""
        hub = HandHub()
        stream = hub.stream()
        stream.client.cursor = Cursor("next", 5)
        hub.broker.replay = (  # type: ignore[method-assign]
            lambda after, **_: Replay((), after)
        )
        assert stream.read() == []

    def test_a_page_of_large_events_is_split_into_chunks(self) -> None:
        """The bytes held for a lagging client are bounded too."""
        hub = HandHub(memory=Retention(1, 3600.0, 10_000_000))
        start = str(hub.position)
        for number in range(6):
            hub.publish(f"{number}" + "x" * 15_000)
        hub.bring()
        stream = hub.stream(last_event_id=start)
        chunks = []
        while chunk := hub.hub.take(stream.client):
            chunks.append([event.data[0] for event in stream.feed(chunk)])
        assert chunks == [["0", "1"], ["2", "3"], ["4", "5"]]
