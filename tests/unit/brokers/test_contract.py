"""The promises that every broker keeps. Run this suite on a broker of your own too."""

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable, Event, StateFull
from flask_sse_hub.brokers import Broker, memory
from flask_sse_hub.brokers.base import PAGE_BYTES
from flask_sse_hub.brokers.redis import stream
from flask_sse_hub.brokers.sqlite import control, ended, idempotency, trimmed
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST, Address
from flask_sse_hub.events.record import Cursor, Disconnect, GapReason, Record, Retention
from tests.kit.hand import KEEP_ALL
from tests.unit.brokers.conftest import MakeBroker

NEWS = address.channel("news")


def record(data: str = "x", *, to: Address = BROADCAST, **more: Any) -> Record:
    return Record(addresses=(to,), content=Event(data), **more)


def follow(broker: Broker, after: Cursor, count: int) -> list[Record]:
    """Return the next ``count`` records after a cursor."""
    records = (each for batch in broker.follow(after) for each in batch.records)
    return list(islice(records, count))


def beyond_reach(reason: GapReason, start: Cursor, head: Cursor) -> Cursor:
    """Return a cursor that the log does not reach, for the given reason."""
    return {
        GapReason.EXPIRED: start,
        GapReason.EPOCH: Cursor("another", head.offset),
        GapReason.AHEAD: Cursor(head.epoch, head.offset + 1),
    }[reason]


def test_offsets_rise_and_the_head_is_the_newest(make_broker: MakeBroker) -> None:
    """Each record has a cursor of its own, in the order of the log."""
    broker = make_broker(KEEP_ALL)
    before = broker.head()
    cursors = [broker.publish(record()) for _ in range(5)]
    assert [c.epoch for c in cursors] == [before.epoch] * 5
    assert cursors == sorted(set(cursors))
    assert cursors[0].offset > before.offset
    assert broker.head() == cursors[-1]


def test_the_seen_head_covers_every_published_record(make_broker: MakeBroker) -> None:
    """A client that comes after a publish is not concerned by that record."""
    broker = make_broker(KEEP_ALL)
    assert broker.seen_head() == broker.head()
    for _ in range(3):
        cursor = broker.publish(record())
        assert broker.seen_head() == cursor


def test_a_follower_receives_every_record_as_it_was_published(
    make_broker: MakeBroker,
) -> None:
    """Every part of a record arrives unchanged."""
    broker = make_broker(KEEP_ALL)
    start = broker.head()
    sent = [
        Record((BROADCAST, NEWS), Event("ä\n\0", type="t", retry=1.5), exclude=("me",)),
        Record((address.user("7"),), Disconnect("disconnected")),
        Record((), Event("")),
    ]
    cursors = [broker.publish(each) for each in sent]
    got = follow(broker, start, 3)
    assert [(r.addresses, r.content, r.exclude) for r in got] == [
        (r.addresses, r.content, r.exclude) for r in sent
    ]
    assert [r.cursor for r in got] == cursors
    assert all(r.time > 1_600_000_000 for r in got)


def test_a_follower_waits_for_records_to_come(make_broker: MakeBroker) -> None:
    """Publishing a record wakes a waiting follower."""
    broker = make_broker(KEEP_ALL)
    start = broker.head()
    got: list[Record] = []
    follower = threading.Thread(target=lambda: got.extend(follow(broker, start, 2)))
    follower.start()
    broker.publish(record("one"))
    broker.publish(record("two"))
    follower.join(10.0)
    assert [r.content for r in got] == [Event("one"), Event("two")]


def test_two_followers_see_one_order(make_broker: MakeBroker) -> None:
    """Concurrent publishers write one log, and all followers read it in one order."""
    broker = make_broker(KEEP_ALL)
    start = broker.head()
    publishers = [
        threading.Thread(target=lambda: [broker.publish(record()) for _ in range(50)])
        for _ in range(4)
    ]
    for each in publishers:
        each.start()
    one, two = follow(broker, start, 200), follow(broker, start, 200)
    for each in publishers:
        each.join(10.0)
    assert one == two
    assert len({r.cursor for r in one}) == 200


def test_closing_ends_followers_and_publishing(make_broker: MakeBroker) -> None:
    """A follower's thread does not outlive its hub."""
    broker = make_broker(KEEP_ALL)
    start = broker.head()
    follower = threading.Thread(target=lambda: list(broker.follow(start)))
    follower.start()
    broker.close()
    broker.close()
    follower.join(10.0)
    assert not follower.is_alive()
    with pytest.raises(BrokerUnavailable):
        broker.publish(record())


def test_a_closed_broker_answers_nothing(make_broker: MakeBroker) -> None:
    """An answer from a log that this process has left would be out of date."""
    broker = make_broker(KEEP_ALL)
    start = broker.head()
    broker.close()
    calls: list[Callable[[], object]] = [
        broker.head,
        lambda: broker.tail(1000),
        lambda: broker.replay(start, page=1),
        lambda: broker.publish(record()),
    ]
    for call in calls:
        with pytest.raises(BrokerUnavailable, match="closed"):
            call()


def test_a_follower_that_begins_after_closing_ends(make_broker: MakeBroker) -> None:
    """A hub may be closed between asking for the follower and iterating it."""
    broker = make_broker(KEEP_ALL)
    batches = broker.follow(broker.head())
    broker.close()
    follower = threading.Thread(target=lambda: list(batches), daemon=True)
    follower.start()
    follower.join(10.0)
    assert not follower.is_alive()


class TestReplay:
    def test_a_replay_returns_later_records_of_the_addresses(
        self, make_broker: MakeBroker
    ) -> None:
        """The records are in order, whatever their addresses are."""
        broker = make_broker(KEEP_ALL)
        start = broker.head()
        broker.publish(record("one", to=NEWS))
        broker.publish(record("two"))
        replay = broker.replay(start, page=10)
        assert [r.content for r in replay.records] == [Event("one"), Event("two")]
        assert (replay.cursor, replay.gap) == (broker.head(), None)

    def test_pages_join_without_a_seam(self, make_broker: MakeBroker) -> None:
        """The next page begins at the cursor of the page before."""
        broker = make_broker(KEEP_ALL)
        cursor = broker.head()
        for n in range(7):
            broker.publish(record(str(n)))
        seen = []
        for _ in range(4):
            replay = broker.replay(cursor, page=2)
            seen += [r.content for r in replay.records]
            cursor = replay.cursor
        assert seen == [Event(str(n)) for n in range(7)]
        assert cursor == broker.head()

    def test_pages_of_large_records_are_short(self, make_broker: MakeBroker) -> None:
        """A page takes about as much memory whatever the size of its records."""
        broker = make_broker(KEEP_ALL)
        start = cursor = broker.head()
        large = "x" * (PAGE_BYTES // 3)
        for n in range(20):
            broker.publish(record(f"{n} {large}"))
        sizes = []
        while cursor != broker.head():
            replay = broker.replay(cursor, page=200)
            sizes.append(len(replay.records))
            cursor = replay.cursor
        assert sum(sizes) == 20
        assert max(sizes) == 3
        batches = []
        for batch in broker.follow(start):
            batches.append(len(batch.records))
            if batch.cursor == cursor:
                break
        assert sum(batches) == 20
        # Redis counts entries: the first batch tells how many of them fit.
        assert max(batches) <= 4

    @pytest.mark.parametrize("reason", list(GapReason)[:3])
    def test_a_gap_has_a_reason(
        self, make_broker: MakeBroker, reason: GapReason
    ) -> None:
        """The cursor is too old, of another log, or beyond the head.

        A replay with a gap has no records, so no client takes a part for the whole.
        """
        broker = make_broker(Retention(events=3, seconds=3600.0, bytes=10_000_000))
        start = broker.head()
        for _ in range(5):
            broker.publish(record())
        head = broker.head()
        after = beyond_reach(reason, start, head)
        replay = broker.replay(after, page=10)
        assert (replay.records, replay.gap) == ((), reason)


class TestFollowerGaps:
    @pytest.mark.parametrize("reason", list(GapReason)[:3])
    def test_a_follower_reports_a_gap_and_reads_on(
        self, make_broker: MakeBroker, reason: GapReason
    ) -> None:
        """Lost records are never skipped silently."""
        broker = make_broker(Retention(events=3, seconds=3600.0, bytes=10_000_000))
        start = broker.head()
        for _ in range(5):
            broker.publish(record())
        head = broker.head()
        after = beyond_reach(reason, start, head)
        batches = broker.follow(after)
        first = next(batches)
        assert first.gap is reason
        assert first.cursor.epoch == head.epoch
        broker.publish(record("after the gap"))
        second = next(batches)
        assert second.gap is None
        assert second.records[-1].content == Event("after the gap")


class TestTail:
    def test_about_the_requested_bytes_follow_it(self, make_broker: MakeBroker) -> None:
        """A worker that starts fills its memory from the tail."""
        broker = make_broker(KEEP_ALL)
        for _ in range(10):
            broker.publish(record("x" * 100))
        tail = broker.tail(350)
        replay = broker.replay(tail, page=100)
        assert replay.gap is None
        assert 1 <= len(replay.records) <= 3

    def test_the_tail_is_never_before_the_oldest_record(
        self, make_broker: MakeBroker
    ) -> None:
        """A follower that begins at the tail begins without a gap."""
        broker = make_broker(Retention(events=3, seconds=3600.0, bytes=10_000_000))
        for _ in range(5):
            broker.publish(record())
        replay = broker.replay(broker.tail(10**9), page=10)
        assert (replay.gap, len(replay.records)) == (None, 3)

    def test_the_tail_of_an_empty_log_is_the_head(
        self, make_broker: MakeBroker
    ) -> None:
        """An empty log has nothing to fill a memory with."""
        broker = make_broker(KEEP_ALL)
        assert broker.tail(1000) == broker.head()


class TestIdempotency:
    def test_the_second_publish_returns_the_id_of_the_first(
        self, make_broker: MakeBroker
    ) -> None:
        """A webhook that is delivered twice is published once."""
        broker = make_broker(KEEP_ALL)
        first = broker.publish(record("a", idempotency_key="k"))
        assert broker.publish(record("a", idempotency_key="k")) == first
        assert broker.head() == first

    def test_events_with_other_keys_or_none_are_all_published(
        self, make_broker: MakeBroker
    ) -> None:
        """Only events with the same key are the same event."""
        broker = make_broker(KEEP_ALL)
        keys = ["k", "other", None, None]
        cursors = [broker.publish(record(idempotency_key=key)) for key in keys]
        assert len(set(cursors)) == 4

    def test_the_number_of_keys_is_bounded(
        self, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The oldest keys are forgotten first, even if they are young."""
        for module in (memory, idempotency, stream):
            monkeypatch.setattr(module, "IDEMPOTENCY_KEYS", 3)
        broker = make_broker(KEEP_ALL)
        sent = [record(idempotency_key=str(n)) for n in range(10)]
        cursors = [broker.publish(each) for each in sent]
        again = [broker.publish(each) for each in reversed(sent)][::-1]
        assert again[-3:] == cursors[-3:]
        assert again[0] != cursors[0]


class TestControlRecords:
    """Control records have a bound of their own: logouts push out no event."""

    THREE = Retention(events=3, seconds=3600.0, bytes=1_000)

    @pytest.fixture
    def broker(
        self, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
    ) -> Broker:
        monkeypatch.setattr(memory, "CONTROL_RECORDS", 4)
        monkeypatch.setattr(control, "CONTROL_RECORDS", 4)
        monkeypatch.setattr(stream, "CONTROL_RECORDS", 4)
        return make_broker(self.THREE)

    def flood(self, broker: Broker, count: int) -> list[Cursor]:
        """Append control records."""
        return [
            broker.publish(Record((address.user(str(n)),), Disconnect("disconnected")))
            for n in range(count)
        ]

    def kept(self, broker: Broker, after: Cursor) -> list[str]:
        """Return the data of the events after a cursor, read in pages of two."""
        found: list[str] = []
        while True:
            replay = broker.replay(after, page=2)
            assert replay.gap is None
            if replay.cursor == after:
                return found
            after = replay.cursor
            contents = [each.content for each in replay.records]
            found += [each.data for each in contents if isinstance(each, Event)]

    def test_they_push_out_no_event(self, broker: Broker) -> None:
        """Neither by their number nor by their bytes, between events or after them."""
        start = broker.head()
        first = broker.publish(record("a"))
        self.flood(broker, 10)
        second = broker.publish(record("b"))
        self.flood(broker, 3)
        broker.publish(record("c" * 300))
        self.flood(broker, 10)
        assert self.kept(broker, start) == ["a", "b", "c" * 300]
        assert self.kept(broker, first) == ["b", "c" * 300]
        broker.publish(record("d"))
        assert self.kept(broker, second) == ["c" * 300, "d"]
        assert broker.replay(start, page=9).gap is GapReason.EXPIRED

    def test_they_do_not_push_out_the_newest_event_that_is_too_large(
        self, broker: Broker
    ) -> None:
        """It is kept until the next event comes."""
        start = broker.head()
        broker.publish(record("x" * 2_000))
        self.flood(broker, 2)
        assert self.kept(broker, start) == ["x" * 2_000]

    def test_the_newest_are_kept(self, broker: Broker) -> None:
        """A worker that starts learns of them, and begins without a gap."""
        broker.publish(record("a"))
        self.flood(broker, 3)
        broker.publish(record("b"))
        newest = self.flood(broker, 6)[2:]
        tail = broker.tail(10**9)
        end = broker.publish(record("c"))
        got = [each.cursor for each in follow(broker, tail, 5)]
        assert got == [*newest, end]

    def test_a_follower_that_missed_one_is_told_of_a_gap(self, broker: Broker) -> None:
        """The record may have ended a stream of the follower's."""
        before = broker.publish(record("a"))
        self.flood(broker, 5)
        broker.publish(record("b"))
        assert next(broker.follow(before)).gap is GapReason.EXPIRED
        batch = next(broker.follow(broker.tail(10**9)))
        assert batch.gap is None

    def test_events_that_are_trimmed_take_no_count_with_them(
        self, broker: Broker
    ) -> None:
        """The log is bounded by its events still after any mixture."""
        for n in range(40):
            broker.publish(record(str(n)))
            self.flood(broker, n % 3)
        replay = broker.replay(broker.tail(10**9), page=100)
        contents = [each.content for each in replay.records]
        data = [each.data for each in contents if isinstance(each, Event)]
        assert data == ["37", "38", "39"][-len(data) :]
        assert replay.cursor == broker.head()
        assert sum(each.is_control for each in replay.records) <= 4


class TestEndedSessions:
    def end(self, broker: Broker, *names: str, final: bool = True) -> None:
        content = Disconnect("session_ended", final=final)
        broker.publish(Record(tuple(map(address.session, names)), content))

    def test_they_are_remembered_when_the_log_has_forgotten_them(
        self, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker that starts long after a logout refuses the session's ticket."""
        monkeypatch.setattr(control, "CONTROL_RECORDS", 1)
        monkeypatch.setattr(stream, "_PAGE_ENDED", 2)
        broker = make_broker(Retention(events=1, seconds=3600.0, bytes=10_000_000))
        assert list(broker.ended()) == []
        self.end(broker, "a")
        self.end(broker, "b", "c")
        self.end(broker, "used again", final=False)
        for n in range(5):
            broker.publish(record(str(n)))
            self.end(broker, f"later-{n}")
        later = [address.session(f"later-{n}") for n in range(5)]
        assert list(broker.ended()) == [*map(address.session, "abc"), *later]

    def test_their_number_is_bounded(
        self, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The oldest is forgotten first."""
        for module in (memory, ended, stream):
            monkeypatch.setattr(module, "ENDED_SESSIONS", 3)
        broker = make_broker(KEEP_ALL)
        for n in range(10):
            self.end(broker, str(n))
        assert list(broker.ended()) == [address.session(str(n)) for n in (7, 8, 9)]


@pytest.mark.parametrize(
    "retention",
    [
        Retention(events=3, seconds=3600.0, bytes=10_000_000),
        Retention(events=10_000, seconds=3600.0, bytes=760),
    ],
    ids=["events", "bytes"],
)
def test_the_log_is_bounded(make_broker: MakeBroker, retention: Retention) -> None:
    """Count and bytes each bound the log by themselves; the newest records are kept."""
    broker = make_broker(retention)
    for n in range(20):
        broker.publish(record(f"{n:100}"))
    replay = broker.replay(broker.tail(10**9), page=100)
    kept = [int(r.content.data) for r in replay.records if isinstance(r.content, Event)]
    assert kept == [17, 18, 19]


BUSY = address.channel("busy")
QUIET = address.channel("quiet")
SHORT = Retention(events=3, seconds=3600.0, bytes=10_000_000)


class TestFairHistory:
    def test_a_reader_of_a_quiet_channel_loses_nothing_by_a_busy_one(
        self, make_broker: MakeBroker
    ) -> None:
        """It goes on at the oldest record that is left."""
        broker = make_broker(SHORT)
        mine = broker.publish(record(to=QUIET))
        for n in range(9):
            broker.publish(record(str(n), to=BUSY))
        assert broker.replay(mine, page=9).gap is GapReason.EXPIRED
        place = broker.bridge(mine, [BROADCAST, QUIET])
        assert place is not None
        replay = broker.replay(place, page=9)
        assert (replay.gap, len(replay.records)) == (None, 3)

    def test_a_trimmed_event_of_its_own_is_a_loss(
        self, make_broker: MakeBroker
    ) -> None:
        """Also if it went to several addresses, and later events are still there."""
        broker = make_broker(SHORT)
        start = broker.head()
        lost = broker.publish(Record((NEWS, QUIET), Event("lost")))
        for _ in range(9):
            broker.publish(record(to=BUSY))
        broker.publish(record("kept", to=QUIET))
        assert broker.bridge(start, [BROADCAST, QUIET]) is None
        assert broker.bridge(start, [BROADCAST, NEWS]) is None
        assert broker.bridge(lost, [BROADCAST, QUIET]) is not None
        assert broker.bridge(start, [BROADCAST]) is not None

    def test_a_trimmed_broadcast_is_a_loss_for_everybody(
        self, make_broker: MakeBroker
    ) -> None:
        """Broadcasts have an address like all other events."""
        broker = make_broker(SHORT)
        start = broker.head()
        broker.publish(record())
        for _ in range(9):
            broker.publish(record(to=BUSY))
        assert broker.bridge(start, [BROADCAST, QUIET]) is None
        assert broker.bridge(start, [QUIET]) is not None

    def test_a_trimmed_control_record_is_no_loss(self, make_broker: MakeBroker) -> None:
        """It ended streams that were open then."""
        broker = make_broker(SHORT)
        start = broker.head()
        broker.publish(Record((QUIET,), Disconnect("disconnected")))
        for _ in range(9):
            broker.publish(record(to=BUSY))
        assert broker.bridge(start, [QUIET]) is not None

    def test_control_records_that_are_removed_make_nothing_unknown(
        self, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They leave the log from between events, and from its beginning."""
        for module in (memory, control, stream):
            monkeypatch.setattr(module, "CONTROL_RECORDS", 2)
        broker = make_broker(SHORT)
        mine = broker.publish(record(to=QUIET))
        for _ in range(9):
            broker.publish(Record((QUIET,), Disconnect("disconnected")))
            broker.publish(record(to=BUSY))
            broker.publish(Record((BUSY,), Disconnect("disconnected")))
        assert broker.bridge(mine, [QUIET]) is not None
        assert broker.bridge(mine, [BUSY]) is None

    @pytest.mark.parametrize("reason", [GapReason.EPOCH, GapReason.AHEAD])
    def test_only_a_trim_can_be_bridged(
        self, make_broker: MakeBroker, reason: GapReason
    ) -> None:
        """A cursor of another log, or beyond the head, says nothing about this one."""
        broker = make_broker(SHORT)
        start = broker.head()
        for _ in range(9):
            broker.publish(record(to=BUSY))
        after = beyond_reach(reason, start, broker.head())
        assert broker.bridge(after, [QUIET]) is None

    def test_a_cursor_that_history_reaches_is_its_own_place(
        self, make_broker: MakeBroker
    ) -> None:
        """Between two calls the log may change, in either direction."""
        broker = make_broker(SHORT)
        place = broker.publish(record(to=QUIET))
        broker.publish(record(to=QUIET))
        found = broker.bridge(place, [QUIET])
        assert found is not None
        assert len(broker.replay(found, page=9).records) == 1

    def test_the_notes_are_bounded(
        self, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of addresses beyond the bound nothing is known, and they count as lost."""
        monkeypatch.setattr(memory, "NOTED_ADDRESSES", 4)
        monkeypatch.setattr(trimmed, "NOTED_ADDRESSES", 4)
        monkeypatch.setattr(trimmed, "_FORGOTTEN", 1)
        monkeypatch.setattr(stream, "NOTED_ADDRESSES", 4)
        broker = make_broker(SHORT)
        start = broker.head()
        cursors = [
            broker.publish(record(to=address.channel(f"c{n}"))) for n in range(24)
        ]
        assert broker.bridge(start, [QUIET]) is None
        newest_trimmed = cursors[20]
        assert broker.bridge(newest_trimmed, [QUIET]) is not None
        assert broker.bridge(cursors[18], [address.channel("c20")]) is None

    def test_an_event_to_very_many_addresses_is_noted(
        self, make_broker: MakeBroker
    ) -> None:
        """Each of them has a note of its own."""
        broker = make_broker(SHORT)
        start = broker.head()
        users = tuple(address.user(n) for n in range(5_000))
        broker.publish(Record(users, Event("")))
        for _ in range(9):
            broker.publish(record(to=BUSY))
        assert broker.bridge(start, [users[0]]) is None
        assert broker.bridge(start, [users[-1], QUIET]) is None
        assert broker.bridge(start, [QUIET]) is not None

    def test_what_bytes_push_out_is_noted_too(self, make_broker: MakeBroker) -> None:
        """One large event pushes out many small ones."""
        broker = make_broker(Retention(events=10_000, seconds=3600.0, bytes=20_000))
        start = broker.head()
        broker.publish(record(to=QUIET))
        for _ in range(40):
            broker.publish(record(to=NEWS))
        assert broker.replay(start, page=1).gap is None
        broker.publish(record("x" * 19_000, to=BUSY))
        assert broker.bridge(start, [QUIET]) is None
        assert broker.bridge(start, [BUSY]) is not None


class TestState:
    def test_the_newest_record_of_each_address_and_key_is_kept(
        self, make_broker: MakeBroker
    ) -> None:
        """In the order of the log, and beyond history."""
        broker = make_broker(SHORT)
        for n, (to, key) in enumerate(
            [(NEWS, "a"), (NEWS, "b"), (QUIET, "a"), (NEWS, "a"), (QUIET, "c")]
        ):
            broker.publish(record(str(n), to=to, key=key))
        for _ in range(9):
            broker.publish(record(to=BUSY))
        state = broker.state()
        assert [shown(each) for each in state.records] == [
            (NEWS, "b", "1"),
            (QUIET, "a", "2"),
            (NEWS, "a", "3"),
            (QUIET, "c", "4"),
        ]
        assert state.cursor == broker.head()
        assert {each.cursor.epoch for each in state.records} == {state.cursor.epoch}
        assert all(each.time > 1_600_000_000 for each in state.records)

    def test_an_event_to_several_addresses_is_the_state_of_each(
        self, make_broker: MakeBroker
    ) -> None:
        """Later, one of them may have a newer value."""
        broker = make_broker(KEEP_ALL)
        both = Record((NEWS, QUIET), Event("both"), key="k")
        broker.publish(both)
        broker.publish(record("newer", to=NEWS, key="k"))
        assert [shown(each) for each in broker.state().records] == [
            (QUIET, "k", "both"),
            (NEWS, "k", "newer"),
        ]

    def test_a_delete_ends_the_state_of_a_key(self, make_broker: MakeBroker) -> None:
        """It travels in the log as an event. A key that is unknown is no error."""
        broker = make_broker(KEEP_ALL)
        start = broker.head()
        broker.publish(record(to=NEWS, key="k"))
        broker.publish(record(to=NEWS, key="kept"))
        for _ in range(2):
            broker.publish(record("null", to=NEWS, key="k", deletes=True))
        assert [each.key for each in broker.state().records] == ["kept"]
        assert [(each.key, each.deletes) for each in follow(broker, start, 4)] == [
            ("k", False),
            ("kept", False),
            ("k", True),
            ("k", True),
        ]

    @pytest.mark.parametrize(
        "bounds", [{"state_keys": 3}, {"state_bytes": 3 * record().kept_size + 10}]
    )
    def test_a_full_state_refuses_further_keys(
        self, make_broker: MakeBroker, bounds: dict[str, int]
    ) -> None:
        """Nothing is appended, and known keys go on."""
        broker = make_broker(replace(KEEP_ALL, **bounds))
        for key in ("a", "b", "c"):
            broker.publish(record(to=NEWS, key=key))
        head = broker.head()
        with pytest.raises(StateFull, match="SSE_HUB_STATE_KEYS"):
            broker.publish(record(to=NEWS, key="d"))
        with pytest.raises(StateFull):
            broker.publish(Record((NEWS, QUIET), Event("x"), key="a"))
        assert broker.head() == head
        broker.publish(record("y", to=NEWS, key="a"))
        broker.publish(record(to=NEWS, key="b", deletes=True))
        broker.publish(record(to=NEWS, key="d"))
        assert [each.key for each in broker.state().records] == ["c", "a", "d"]

    def test_a_full_state_refuses_no_other_event(self, make_broker: MakeBroker) -> None:
        """Concurrent publishes are appended together, and judged alone."""
        broker = make_broker(replace(KEEP_ALL, state_keys=1))
        broker.publish(record(to=NEWS, key="a"))
        start = broker.head()
        refused: list[str] = []

        def publish(key: str | None) -> None:
            try:
                broker.publish(record(to=NEWS, key=key))
            except StateFull:
                refused.append(str(key))

        calls = [
            threading.Thread(target=publish, args=[each])
            for each in (None, "b", "a", "c", None) * 4
        ]
        for each in calls:
            each.start()
        for each in calls:
            each.join(10.0)
        assert sorted(refused) == ["b"] * 4 + ["c"] * 4
        assert len(follow(broker, start, 12)) == 12

    def test_a_repeated_publish_changes_no_state(self, make_broker: MakeBroker) -> None:
        """The second delivery of a webhook must not bring an old value back."""
        broker = make_broker(KEEP_ALL)
        old = record("old", to=NEWS, key="k", idempotency_key="1")
        broker.publish(old)
        broker.publish(record("new", to=NEWS, key="k"))
        broker.publish(old)
        assert [shown(each)[2] for each in broker.state().records] == ["new"]


def shown(record: Record) -> tuple[Address, str | None, str]:
    """Return the address, key and data of a record of the state."""
    (address,) = record.addresses
    assert isinstance(record.content, Event)
    return address, record.key, record.content.data
