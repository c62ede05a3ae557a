"""What a client gets next: delivery, resuming, gaps and resets."""

import pytest

from flask_sse_hub import CloseReason, Event
from flask_sse_hub.brokers import Batch, MemoryBroker, Replay
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.hub.delivery.history import (
    Cursor,
    Disconnect,
    GapReason,
    Record,
    Retention,
)
from tests.hand import (
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
            hub.publish("x" * 7_500)
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
        cursor = hub.hub.publish(Record((), Event("x")))
        hub.bring()
        assert stream.data() == []
        assert hub.position == cursor

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
        hub.clock.advance(1.0)
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


class TestWhatReviewsFound:
    """Faults that were seen once, each provoked as it was found."""

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
        hub.clock.advance(1.0)
        hub.hub.dispatcher.judge_ahead()
        (reset,) = stream.read()
        assert fields(reset) == {"reason": reason}
        hub.publish("live")
        hub.bring()
        assert stream.data() == ["live"]

    def test_who_comes_while_the_head_is_asked_is_not_judged_by_it(self) -> None:
        """Its id may be later than that head."""
        broker = DuringHead(KEEP_ALL)
        slow = HandHub(broker)
        first = slow.stream(last_event_id=slow.publish("seen elsewhere"))
        came = []
        broker.during = lambda: came.append(
            slow.stream(last_event_id=slow.publish("seen there too"))
        )
        slow.hub.dispatcher.judge_ahead()
        assert [first.read(), came[0].read()] == [[], []]

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
            hub.publish(f"{number}" + "x" * 15_000)
        hub.bring()
        stream, (_, *first) = hub.open(last_event_id=start)
        assert len(first) == 2
        rest = stream.data()
        assert [e.data[0] for e in first] + [d[0] for d in rest] == list("012345")
