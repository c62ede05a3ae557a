"""The hub, moved by hand: connect, resume, gaps, ends, limits and statistics."""

import threading
from typing import Any

import pytest

from flask_sse_hub import (
    BrokerUnavailable,
    ClientRefused,
    ClientStats,
    CloseReason,
    Event,
    EventTooLarge,
    TooManyStreams,
    address,
)
from flask_sse_hub.address import BROADCAST
from flask_sse_hub.brokers import Batch, MemoryBroker, Replay
from flask_sse_hub.client import Identity
from flask_sse_hub.history import Cursor, Disconnect, GapReason, Record, Retention
from flask_sse_hub.hub import Hub, Listeners
from flask_sse_hub.options import HubOptions
from tests.hand import KEEP_ALL, HandHub, fields, numbered, types

ALICE = address.user("alice")


class TestConnect:
    def test_the_first_block_greets_the_client(self) -> None:
        """One block says who it is, where it is, and when to come back."""
        hub = HandHub(retry=(3.0, 3.0), heartbeat_interval=7.0)
        stream, (connected,) = hub.open(user="alice", channels=("news",))
        assert connected.type == "connected"
        assert fields(connected) == {
            "client_id": "client-1",
            "user_id": "alice",
            "channels": ["news"],
            "heartbeat": 7.0,
            "resumed": False,
        }
        assert connected.id == str(hub.position)
        assert stream.parser.retry_ms == 3000

    def test_the_reconnect_delay_is_drawn_for_each_client(self) -> None:
        """A restart is no stampede."""
        hub = HandHub(retry=(2.0, 5.0), max_clients_per_user=None)
        delays = {hub.stream().parser.retry_ms for _ in range(20)}
        assert len(delays) > 10
        assert all(delay and 2000 <= delay <= 5000 for delay in delays)

    def test_a_new_client_gets_nothing_of_before(self) -> None:
        """Who does not resume begins at the position."""
        hub = HandHub()
        hub.publish("before")
        hub.bring()
        stream = hub.stream()
        hub.publish("after")
        hub.bring()
        assert stream.data() == ["after"]

    def test_it_is_greeted_with_the_position_and_not_with_the_head(self) -> None:
        """What is in the log but not fanned out yet is still to come."""
        hub = HandHub()
        position = hub.position
        hub.publish("on its way")
        hub.follow()
        stream, (connected,) = hub.open()
        assert connected.id == str(position)
        hub.bring()
        assert stream.data() == ["on its way"]

    def test_a_drop_before_the_first_event_loses_nothing(self) -> None:
        """The greeting's own id is enough to come back with."""
        hub = HandHub()
        last = hub.stream().drop()
        hub.publish("missed")
        hub.bring()
        stream = hub.stream(last_event_id=last)
        assert stream.data() == ["missed"]

    def test_nothing_is_left_of_a_client_that_was_refused(self) -> None:
        """A refusal registers nothing."""
        hub = HandHub(max_clients=1)
        hub.stream()
        with pytest.raises(ClientRefused, match="holds 1 clients"):
            hub.open()
        assert hub.hub.stats().connections == 1
        assert hub.hub.stats().refused == 1


class TestDelivery:
    def test_each_gets_its_part_of_the_log_in_order(self) -> None:
        """Broadcast, channel, user, session and client each reach whom they name."""
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
        """A client that was busy gets what has gathered in one write."""
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

    def test_a_client_far_behind_is_served_in_chunks(self) -> None:
        """What it holds beside the kernel is bounded."""
        hub = HandHub()
        stream = hub.stream()
        for _ in range(10):
            hub.publish("x" * 30_000)
        hub.bring()
        chunks = []
        while chunk := hub.hub.take(stream.client):
            chunks.append(chunk)
        assert len(chunks) == 4
        assert sum(len(stream.feed(chunk)) for chunk in chunks) == 10

    def test_the_sender_can_be_excluded(self) -> None:
        """Its other tabs still hear it."""
        hub = HandHub()
        ann, tab = hub.stream(client_id="a"), hub.stream(client_id="tab")
        hub.publish("mine", exclude=("a",))
        hub.bring()
        assert ann.data() == []
        assert tab.data() == ["mine"]
        assert ann.sink.woken == 0

    def test_an_event_for_nobody_has_an_id_all_the_same(self) -> None:
        """An empty list of users is no error."""
        hub = HandHub()
        stream = hub.stream()
        cursor = hub.hub.publish(Event("x"), addresses=())
        hub.bring()
        assert stream.data() == []
        assert hub.position == cursor

    def test_an_event_that_is_too_large_is_refused(self) -> None:
        """The text names the setting; nothing is appended."""
        hub = HandHub(max_event_bytes=4)
        head = hub.broker.head()
        with pytest.raises(EventTooLarge, match="SSE_HUB_MAX_EVENT_BYTES allows 4"):
            hub.publish("äää")
        assert hub.broker.head() == head

    def test_a_burst_larger_than_one_piece_reaches_everybody(self) -> None:
        """Fan-out in pieces loses nothing between them."""
        hub = HandHub(max_clients_per_user=None)
        streams = [hub.stream() for _ in range(70)]
        list(numbered(hub, 200))
        hub.bring()
        expected = [str(n) for n in range(200)]
        assert all(stream.data() == expected for stream in streams)


class TestResume:
    def test_it_goes_on_after_the_id(self) -> None:
        """In order, with nothing missed and nothing twice."""
        hub = HandHub()
        ids = list(numbered(hub, 10))
        hub.bring()
        stream, (connected, *_) = hub.open(last_event_id=ids[3])
        assert connected.id == ids[3]
        assert fields(connected)["resumed"] is True
        assert stream.data() == ["4", "5", "6", "7", "8", "9"]

    def test_it_joins_what_is_live(self) -> None:
        """There is no seam between what was missed and what comes."""
        hub = HandHub()
        ids = list(numbered(hub, 3))
        hub.bring()
        stream = hub.stream(last_event_id=ids[0])
        hub.publish("live")
        hub.bring()
        assert stream.data() == ["1", "2", "live"]

    def test_on_another_worker_it_is_the_same(self) -> None:
        """Ids belong to the log, not to the worker."""
        broker = MemoryBroker(KEEP_ALL)
        one, other = HandHub(broker), HandHub(broker)
        last = one.stream().drop()
        one.publish("missed")
        other.bring()
        assert other.stream(last_event_id=last).data() == ["missed"]

    def test_a_worker_that_is_behind_lets_the_client_wait(self) -> None:
        """Another worker was quicker; nothing is doubled when this one catches up."""
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
        """It does not fall out of a busy log that has nothing for it."""
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

    def test_a_client_that_waits_and_leaves_is_forgotten(self) -> None:
        """Nothing holds on to it."""
        broker = MemoryBroker(KEEP_ALL)
        slow = HandHub(broker)
        stream = slow.stream(last_event_id=slow.publish("seen elsewhere"))
        stream.drop()
        slow.bring()
        assert not slow.hub.dispatcher._ahead
        assert stream.sink.woken == 0

    def test_what_memory_forgot_is_read_from_the_broker(self) -> None:
        """Chunk by chunk, then on from memory."""
        hub = HandHub(memory=Retention(3, 3600.0, 10_000_000))
        ids = list(numbered(hub, 700))
        hub.bring()
        stream, (connected, *first) = hub.open(last_event_id=ids[9])
        assert fields(connected)["resumed"] is True
        rest = stream.data()
        assert [e.data for e in first] + rest == [str(n) for n in range(10, 700)]
        hub.publish("live")
        hub.bring()
        assert stream.data() == ["live"]

    def test_what_excludes_the_client_is_not_replayed_to_it(self) -> None:
        """Neither from memory nor from the broker."""
        hub = HandHub(memory=Retention(1, 3600.0, 10_000_000))
        start = str(hub.position)
        hub.publish("mine", exclude=("me",))
        hub.publish("yours")
        hub.publish("also mine", exclude=("me",))
        hub.bring()
        stream, (_, *events) = hub.open(last_event_id=start, client_id="me")
        assert [e.data for e in events] + stream.data() == ["yours"]

    def test_a_broker_that_is_away_is_no_reason_to_refuse(self) -> None:
        """The client is taken in with its cursor, and goes on once it is back."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        ids = list(numbered(hub, 5))
        hub.bring()
        broker.away = True
        stream, (connected,) = hub.open(last_event_id=ids[0], since=hub.position)
        assert connected.id == ids[0]
        assert stream.read() == []
        broker.away = False
        assert stream.data() == ["1", "2", "3", "4"]

    def test_a_client_that_waits_for_the_broker_is_pinged(self) -> None:
        """With its own cursor, not with a position that it has not reached."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        ids = list(numbered(hub, 5))
        hub.bring()
        broker.away = True
        stream = hub.stream(last_event_id=ids[0], since=hub.position)
        hub.hub.dispatcher.ping(stream.client)
        (ping,) = stream.read()
        assert (ping.type, ping.id) == ("ping", ids[0])


class FlakyBroker(MemoryBroker):
    """A memory broker that can be out of reach for reading."""

    away = False

    def head(self) -> Cursor:
        self._check()
        return super().head()

    def replay(self, after: Cursor, **options: Any) -> Any:
        self._check()
        return super().replay(after, **options)

    def _check(self) -> None:
        if self.away:
            raise BrokerUnavailable("away")


class TestReset:
    @pytest.mark.parametrize(
        ("last_event_id", "reason"),
        [
            ("nonsense", "malformed"),
            ("deadbeef-3", "epoch"),
            ("{epoch}-999999", "ahead"),
            ("{epoch}-0", "expired"),
        ],
    )
    def test_it_says_why_history_does_not_reach_back(
        self, last_event_id: str, reason: str
    ) -> None:
        """Never a partial replay that looks whole; the reset carries the position."""
        small = Retention(2, 3600.0, 10_000_000)
        hub = HandHub(MemoryBroker(small), memory=small)
        for n in range(5):
            hub.publish(str(n))
            hub.bring()
        asked = last_event_id.format(epoch=hub.position.epoch)
        stream, (connected, reset) = hub.open(last_event_id=asked)
        assert fields(connected)["resumed"] is False
        assert reset.type == "reset"
        assert fields(reset) == {"reason": reason}
        assert connected.id == reset.id == str(hub.position)
        assert hub.hub.stats().resets == {reason: 1}
        hub.publish("live")
        hub.bring()
        assert stream.data() == ["live"]

    def test_a_client_of_a_quiet_channel_does_not_fall_out_of_a_busy_log(self) -> None:
        """It keeps up, however much goes by that is not for it."""
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

    def test_its_ping_carries_the_position_so_that_it_can_resume(self) -> None:
        """A drop after hours of silence resumes from what it last saw."""
        small = Retention(5, 3600.0, 10_000_000)
        hub = HandHub(MemoryBroker(small), memory=small)
        stream = hub.stream(channels=("quiet",))
        for n in range(50):
            hub.publish(str(n), to=address.channel("busy"))
            hub.bring()
        hub.hub.dispatcher.ping(stream.client)
        (ping,) = stream.read()
        assert (ping.type, ping.id) == ("ping", str(hub.position))
        again, greeting = hub.open(channels=("quiet",), last_event_id=stream.drop())
        assert types(greeting) == ["connected"]
        assert again.read() == []

    def test_a_slow_client_that_history_has_left_behind_is_told(self) -> None:
        """It gets one reset and goes on from the position."""
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

    def test_a_gap_that_the_follower_sees_resets_every_client(self) -> None:
        """Whoever was connected is told, since nobody knows what was lost."""
        hub = HandHub()
        stream = hub.stream()
        hub.publish("lost with the gap")
        hub.follow()
        new_log = Cursor("new", 7)
        hub.hub.dispatcher.accept(Batch((), new_log, GapReason.EPOCH))
        hub.hub.dispatcher.fan_out()
        (reset,) = stream.read()
        assert fields(reset) == {"reason": "epoch"}
        assert reset.id == "new-7"
        assert hub.position == new_log

    def test_a_reset_stands_for_all_up_to_the_position(self) -> None:
        """The client loads its state anew, and gets what comes after that."""
        hub = HandHub()
        stream = hub.stream()
        other = MemoryBroker(KEEP_ALL)
        start = other.head()
        HandHub(other).publish("after the gap")
        batch = next(other.follow(start))
        hub.hub.dispatcher.accept(Batch(batch.records, batch.cursor, GapReason.EPOCH))
        hub.hub.dispatcher.fan_out()
        (reset,) = stream.read()
        assert reset.id == str(batch.cursor) == str(hub.position)

    def test_a_gap_ends_the_streams_of_who_is_logged_in(self) -> None:
        """A logout may be among what was lost, so the login is asked for anew."""
        hub = HandHub()
        ann, anonymous = hub.stream(user="alice"), hub.stream()
        hub.hub.dispatcher.accept(Batch((), Cursor("new", 0), GapReason.EPOCH))
        ann.read()
        anonymous.read()
        assert ann.ended
        assert ann.client.close_reason is CloseReason.GAP
        assert not anonymous.ended

    def test_a_reset_meets_a_client_that_reads_from_the_broker(self) -> None:
        """What it was reading belongs to the log that is gone."""
        broker = DuringReplay(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        stream = hub.stream()
        list(numbered(hub, 5))
        hub.bring()
        broker.during = lambda: hub.hub.dispatcher.accept(
            Batch((), Cursor("new", 0), GapReason.EPOCH)
        )
        assert types(stream.read()) == ["reset"]


class DuringReplay(MemoryBroker):
    """A memory broker under which something happens while it is read."""

    during: Any = None

    def replay(self, after: Cursor, **options: Any) -> Any:
        replay = super().replay(after, **options)
        if self.during is not None:
            self.during()
        return replay


class TestEnds:
    def test_the_first_reason_counts(self) -> None:
        """A stream that ends for two reasons is counted once."""
        hub = HandHub()
        stream = hub.stream()
        hub.hub.dispatcher.close(stream.client, CloseReason.AGE)
        hub.hub.dispatcher.close(stream.client, CloseReason.SHUTDOWN)
        stream.read()
        assert stream.ended
        stream.drop()
        stream.drop()
        assert hub.hub.stats().closed == {"age": 1}

    def test_a_drain_says_when_to_come_back_and_ends(self) -> None:
        """Each client has a delay of its own, and the last bytes are whole."""
        hub = HandHub(retry=(2.0, 5.0))
        streams = [hub.stream(user=f"u{n}") for n in range(5)]
        for stream in streams:
            stream.parser.retry_ms = None
            hub.hub.dispatcher.close(stream.client, CloseReason.SHUTDOWN)
            assert stream.read() == []
            assert stream.ended
        delays = {stream.parser.retry_ms for stream in streams}
        assert None not in delays
        assert len(delays) > 1

    def test_other_ends_have_no_farewell(self) -> None:
        """Only a drain has something to say."""
        hub = HandHub()
        stream = hub.stream()
        stream.parser.retry_ms = None
        hub.hub.dispatcher.close(stream.client, CloseReason.AGE)
        stream.read()
        assert stream.parser.retry_ms is None

    def test_a_drain_cuts_off_who_does_not_take_the_farewell(self) -> None:
        """A worker on its way out does not wait for a stalled client."""
        hub = HandHub()
        stream = hub.stream()
        hub.hub.drain()
        assert stream.sink.cuts == 1
        hub.hub.drain()
        assert stream.sink.cuts == 1

    def test_no_client_is_taken_in_while_draining(self) -> None:
        """It would be thrown out at once; publishing goes on."""
        hub = HandHub()
        hub.hub.drain()
        with pytest.raises(ClientRefused, match="going away"):
            hub.open()
        hub.publish("still works")

    def test_a_client_that_came_during_the_drain_leaves_with_it(self) -> None:
        """It was let in a moment before."""
        hub = HandHub()
        hub.hub.admission.check = lambda identity: None  # type: ignore[method-assign]
        hub.hub.drain()
        stream = hub.stream()
        stream.read()
        assert stream.ended
        assert stream.client.close_reason is CloseReason.SHUTDOWN

    def test_the_end_is_told_once_with_its_figures(self) -> None:
        """Receivers get who, why, how long and how much."""
        told: list[tuple[str, ClientStats, Any]] = []
        hub = HandHub(
            listeners=Listeners(
                connected=lambda client: told.append(("came", client, None)),
                disconnected=lambda client, why: told.append(("left", client, why)),
            )
        )
        stream = hub.stream(user="alice", metadata={"page": "inbox"})
        hub.publish("x")
        hub.bring()
        stream.read()
        hub.clock.advance(12.0)
        stream.drop()
        stream.drop()
        (came, first, _), (left, last, why) = told
        assert (came, left, why) == ("came", "left", CloseReason.CLIENT_GONE)
        assert first.metadata == last.metadata == {"page": "inbox"}
        assert (last.user_id, last.age, last.events) == ("alice", 12.0, 1)
        assert last.bytes == len(stream.raw)

    def test_a_receiver_that_fails_harms_nobody(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its error is logged; the stream goes on."""

        def fail(*_: object) -> None:
            raise RuntimeError("a bug in the app")

        hub = HandHub(listeners=Listeners(connected=fail, disconnected=fail))
        hub.stream().drop()
        assert caplog.text.count("RuntimeError: a bug in the app") == 2
        assert hub.hub.stats().connections == 0


class TestDisconnect:
    def test_it_ends_the_streams_of_a_user_everywhere(self) -> None:
        """Here at once, on other workers through the log."""
        broker = MemoryBroker(KEEP_ALL)
        here, there = HandHub(broker), HandHub(broker)
        mine, other = here.stream(user="alice"), here.stream(user="bob")
        far = there.stream(user="alice")
        here.hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        mine.read()
        other.read()
        assert mine.ended
        assert not other.ended
        _wait_for_record(broker)
        there.bring()
        far.read()
        assert far.ended
        assert far.client.close_reason is CloseReason.DISCONNECTED

    def test_yesterdays_never_ends_todays_stream(self) -> None:
        """Only what comes after the user was loaded concerns a client."""
        broker = MemoryBroker(KEEP_ALL)
        hub = HandHub(broker)
        hub.hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        _wait_for_record(broker)
        stream = hub.stream(user="alice")
        hub.bring()
        stream.read()
        assert not stream.ended

    def test_what_came_between_login_check_and_stream_counts(self) -> None:
        """A user who is loaded, then logged out, then let in does not stay."""
        broker = MemoryBroker(KEEP_ALL)
        hub = HandHub(broker)
        since = broker.head()
        hub.hub.disconnect((ALICE,), reason=CloseReason.SESSION_ENDED)
        _wait_for_record(broker)
        hub.bring()
        stream = hub.stream(user="alice", since=since)
        stream.read()
        assert stream.ended
        assert stream.client.close_reason is CloseReason.SESSION_ENDED

    def test_a_client_whose_check_lies_too_far_back_does_not_stay(self) -> None:
        """What happened since cannot be told any more."""
        hub = HandHub(memory=Retention(2, 3600.0, 10_000_000))
        since = hub.broker.head()
        list(numbered(hub, 10))
        hub.bring()
        stream = hub.stream(user="alice", since=since)
        stream.read()
        assert stream.client.close_reason is CloseReason.GAP

    def test_a_worker_that_starts_acts_on_nothing_that_was_before(self) -> None:
        """Its memory is filled with control records too, and they are history."""
        broker = MemoryBroker(KEEP_ALL)
        HandHub(broker).hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        _wait_for_record(broker)
        late = HandHub(broker)
        stream = late.stream(user="alice")
        late.bring()
        stream.read()
        assert not stream.ended

    def test_a_resuming_client_is_not_ended_by_what_it_missed(self) -> None:
        """A control record between its cursor and its login is over."""
        broker = MemoryBroker(KEEP_ALL)
        hub = HandHub(broker)
        last = hub.stream(user="alice").drop()
        hub.hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        _wait_for_record(broker)
        hub.publish("missed")
        hub.bring()
        stream = hub.stream(user="alice", last_event_id=last)
        assert stream.data() == ["missed"]
        assert not stream.ended

    def test_a_write_in_progress_is_cut_short(self) -> None:
        """A stream whose session ended does not wait for its client to read."""
        hub = HandHub()
        stream = hub.stream(user="alice")
        stream.sink.writing_since = hub.clock()
        hub.hub.dispatcher.close(stream.client, CloseReason.SESSION_ENDED)
        assert stream.sink.cuts == 1

    def test_it_is_tried_again_while_the_broker_is_away(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Logging out neither fails nor waits; the record follows later."""
        broker = AwayForPublish(KEEP_ALL, times=2)
        hub = HandHub(broker)
        waits: list[float] = []
        monkeypatch.setattr("flask_sse_hub.control.time.sleep", waits.append)
        hub.hub._control.append(_control())
        assert waits == [1.0, 2.0]
        assert broker.head().offset == 1
        assert "not ended yet" in caplog.text

    def test_it_gives_up_aloud(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A thread does not live for ever because of a broker that never comes back."""
        hub = HandHub(AwayForPublish(KEEP_ALL, times=1000))
        monkeypatch.setattr("flask_sse_hub.control.time.sleep", lambda seconds: None)
        hub.hub._control.append(_control())
        assert "could not be ended" in caplog.text


class AwayForPublish(MemoryBroker):
    """A memory broker that cannot be published to a number of times."""

    def __init__(self, retention: Retention, *, times: int) -> None:
        super().__init__(retention)
        self._times = times

    def publish(self, record: Any) -> Cursor:
        self._times -= 1
        if self._times >= 0:
            raise BrokerUnavailable("away")
        return super().publish(record)


def _control() -> Any:
    return Record((ALICE,), Disconnect("disconnected"))


def _wait_for_record(broker: MemoryBroker) -> None:
    """Wait until the background thread has appended its control record."""
    next(broker.follow(Cursor(broker.head().epoch, 0)))


class TestLimits:
    def test_the_oldest_stream_of_a_user_makes_room(self) -> None:
        """The tab that was opened last is the one that is looked at."""
        hub = HandHub(max_clients_per_user=2)
        streams = []
        for _ in range(3):
            streams.append(hub.stream(user="alice"))
            hub.clock.advance(1.0)
        other = hub.stream(user="bob")
        for stream in (*streams, other):
            stream.read()
        assert [stream.ended for stream in streams] == [True, False, False]
        assert streams[0].client.close_reason is CloseReason.EVICTED
        assert not other.ended

    def test_or_the_new_one_is_refused(self) -> None:
        """Where the app prefers it; other users are not concerned."""
        hub = HandHub(max_clients_per_user=1, evict_oldest=False)
        hub.stream(user="alice")
        with pytest.raises(TooManyStreams, match="1 streams open"):
            hub.open(user="alice")
        hub.open(user="bob")

    def test_anonymous_clients_are_nobodys(self) -> None:
        """A limit per user does not count those who have none."""
        hub = HandHub(max_clients_per_user=1, evict_oldest=False)
        hub.open()
        hub.open()
        assert hub.hub.stats().connections == 2


class TestStats:
    def test_they_count_what_happened(self) -> None:
        """Connections, users, channels, events and bytes, in and out."""
        hub = HandHub()
        ann = hub.stream(user="alice", channels=("news",))
        tab = hub.stream(user="alice", channels=("news", "sport"))
        anonymous = hub.stream()
        hub.publish("hello")
        hub.bring()
        for stream in (ann, tab, anonymous):
            stream.read()
        ann.sink.writing_since = hub.clock() - 5.0
        anonymous.drop()
        stats = hub.hub.stats(clients=True)
        assert stats.connections == 2
        assert stats.users == 1
        assert stats.channels == {"news": 2, "sport": 1}
        assert stats.delivery == {"hand": 2}
        assert stats.lagging == 1
        assert stats.opened == 3
        assert stats.closed == {"client_gone": 1}
        assert stats.events_in == 1
        assert stats.events_out == 3
        assert stats.bytes_out == sum(len(s.raw) for s in (ann, tab, anonymous))
        assert stats.history_events == 1
        assert stats.position == str(hub.position)
        assert not stats.draining
        assert [client.id for client in stats.clients] == ["client-1", "client-2"]

    def test_clients_are_only_listed_when_asked_for(self) -> None:
        """With ten thousand of them the answer would be long."""
        hub = HandHub()
        hub.stream()
        assert hub.hub.stats().clients == ()


class TestCursor:
    def test_it_is_the_head_of_the_log(self) -> None:
        """A page that is rendered after an event does not get it again."""
        hub = HandHub()
        assert str(hub.hub.cursor()) == str(hub.position)
        assert hub.publish("x") == str(hub.hub.cursor())

    def test_it_is_the_position_while_the_broker_is_away(self) -> None:
        """At most some events come twice; none is missed."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker)
        broker.away = True
        assert hub.hub.cursor() == hub.position

    def test_without_a_position_the_error_is_told(self) -> None:
        """A process that follows nothing has no other answer."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker)
        hub.hub._ready.clear()
        broker.away = True
        with pytest.raises(BrokerUnavailable):
            hub.hub.cursor()


class TestWhatReviewsFound:
    """Faults that were seen once, each provoked as it was found."""

    def test_a_final_disconnect_bars_streams_that_are_opened_later(self) -> None:
        """A request may have read its session before the logout, and come after it."""
        broker = MemoryBroker(KEEP_ALL)
        here, there = HandHub(broker), HandHub(broker)
        here.hub.disconnect(
            (address.session("s1"),), reason=CloseReason.SESSION_ENDED, final=True
        )
        _wait_for_record(broker)
        for hub in (here, there):
            hub.bring()
            stream = hub.stream(user="alice", session="s1", since=broker.head())
            hub.publish("secret", to=ALICE)
            hub.bring()
            assert stream.read() == []
            assert stream.client.close_reason is CloseReason.SESSION_ENDED

    def test_a_logout_during_a_deep_read_stops_what_was_read(self) -> None:
        """The page that the broker returned is not written any more."""
        broker = DuringReplay(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        stream = hub.stream(user="alice")
        list(numbered(hub, 5, to=ALICE))
        hub.bring()
        broker.during = lambda: hub.hub.dispatcher.close(
            stream.client, CloseReason.SESSION_ENDED
        )
        assert stream.read() == []
        assert stream.ended

    def test_a_logout_before_the_greeting_keeps_the_first_page_back(self) -> None:
        """What lies far back is not sent to who was shut out meanwhile."""
        broker = DuringReplay(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
        start = str(hub.position)
        list(numbered(hub, 5, to=ALICE))
        hub.bring()
        ended = Disconnect("session_ended", final=True)
        broker.during = lambda: hub.hub.dispatcher.end((address.session("s"),), ended)
        _, greeting = hub.open(user="alice", session="s", last_event_id=start)
        assert types(greeting) == ["connected"]

    @pytest.mark.parametrize(
        ("last_event_id", "reason"),
        [("otherepoch-5000", "epoch"), ("{epoch}-5000", "ahead")],
    )
    def test_an_id_that_could_not_be_judged_is_judged_later(
        self, last_event_id: str, reason: str
    ) -> None:
        """A client taken in while the broker was away does not stay deaf."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker)
        broker.away = True
        asked = last_event_id.format(epoch=hub.position.epoch)
        stream = hub.stream(last_event_id=asked, since=hub.position)
        assert stream.read() == []
        broker.away = False
        hub.hub.dispatcher.judge_ahead()
        (reset,) = stream.read()
        assert fields(reset) == {"reason": reason}
        hub.publish("live")
        hub.bring()
        assert stream.data() == ["live"]

    def test_who_is_rightly_ahead_is_left_to_wait(self) -> None:
        """And while the broker is away nobody is judged."""
        broker = FlakyBroker(KEEP_ALL)
        slow = HandHub(broker)
        stream = slow.stream(last_event_id=slow.publish("seen elsewhere"))
        slow.hub.dispatcher.judge_ahead()
        broker.away = True
        slow.hub.dispatcher.judge_ahead()
        assert stream.read() == []

    def test_a_broker_that_is_further_than_this_worker_is_waited_for(self) -> None:
        """Asking it again at once would never end."""
        hub = HandHub()
        stream = hub.stream()
        stream.client.cursor = Cursor("next", 5)
        hub.broker.replay = (  # type: ignore[method-assign]
            lambda after, **_: Replay((), after)
        )
        assert stream.read() == []

    def test_a_page_of_large_events_is_not_one_chunk(self) -> None:
        """What a client that is far behind holds is bounded in bytes too."""
        hub = HandHub(memory=Retention(1, 3600.0, 10_000_000))
        start = str(hub.position)
        for number in range(6):
            hub.publish(f"{number}" + "x" * 60_000)
        hub.bring()
        stream, (_, *first) = hub.open(last_event_id=start)
        assert len(first) == 2
        rest = stream.data()
        assert [e.data[0] for e in first] + [d[0] for d in rest] == list("012345")

    def test_an_unknown_reason_ends_streams_all_the_same(self) -> None:
        """A newer version on another worker may give one."""
        hub = HandHub()
        stream = hub.stream(user="alice")
        hub.broker.publish(Record((ALICE,), Disconnect("of the future")))
        hub.bring()
        stream.read()
        assert stream.client.close_reason is CloseReason.DISCONNECTED

    def test_the_limit_counts_those_who_are_just_coming(self) -> None:
        """However many are let in at the same moment."""
        hub = HandHub(max_clients=2)
        hub.hub.admission._entering = [Identity(), Identity()]
        with pytest.raises(ClientRefused):
            hub.open()

    def test_an_evicted_client_comes_back_late(self) -> None:
        """At once it would evict the next one, which would do the same."""
        hub = HandHub(max_clients_per_user=1)
        first = hub.stream(user="alice")
        hub.clock.advance(1.0)
        hub.stream(user="alice")
        first.read()
        assert first.parser.retry_ms is not None
        assert 10_000 <= first.parser.retry_ms <= 30_000

    def test_a_thread_that_cannot_start_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next stream is not refused for what was short a moment ago."""
        hub = Hub(MemoryBroker(KEEP_ALL), HubOptions())
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_room)
            with pytest.raises(BrokerUnavailable, match="no room"):
                hub.start()
            hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        assert hub.broker.head().offset == 1
        hub.start()
        hub.close()

    def test_closing_a_hub_ends_its_streams(self) -> None:
        """Whoever waits in one is woken."""
        hub = HandHub()
        stream = hub.stream()
        hub.hub.close()
        stream.read()
        assert stream.ended


def _no_room(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
