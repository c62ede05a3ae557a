"""The promises that every broker keeps. Run this suite on a broker of your own too."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest

from flask_sse_hub import BrokerUnavailable, Event, StateFull
from flask_sse_hub.brokers import memory
from flask_sse_hub.brokers.base import PAGE_BYTES
from flask_sse_hub.brokers.redis import arguments
from flask_sse_hub.brokers.sqlite import idempotency
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import (
    Cursor,
    Disconnect,
    GapReason,
    PresencePart,
    Record,
    Retention,
    Subscribe,
)
from tests.kit.hand import KEEP_ALL
from tests.kit.reader import DEADLINE
from tests.unit.brokers.conftest import NEWS, MakeBroker, beyond_reach, follow, record


def test_offsets_rise_and_the_head_is_the_newest(make_broker: MakeBroker) -> None:
    """Each record has a cursor of its own, in the order of the log."""
    broker = make_broker(KEEP_ALL)
    before = broker.head()
    cursors = [broker.publish(record()) for _ in range(5)]
    assert [c.epoch for c in cursors] == [before.epoch] * 5
    assert cursors == sorted(set(cursors))
    assert cursors[0].offset > before.offset
    assert broker.head() == cursors[-1]


def test_records_that_are_published_together_have_an_outcome_each(
    make_broker: MakeBroker,
) -> None:
    """A record that is refused keeps no other one out of the log."""
    broker = make_broker(replace(KEEP_ALL, state_keys=1))
    keyed = [replace(record(), key=name) for name in ("one", "two")]
    first, refused, last = broker.publish_together([*keyed, record()])
    assert isinstance(refused, StateFull)
    assert isinstance(first, Cursor)
    assert isinstance(last, Cursor)
    assert broker.head() == last > first
    broker.close()
    (found,) = broker.publish_together([record()])
    assert isinstance(found, BrokerUnavailable)


def test_the_seen_head_covers_every_published_record(make_broker: MakeBroker) -> None:
    """A client that comes after a publish is not concerned by that record."""
    broker = make_broker(KEEP_ALL)
    assert broker.seen_head() == broker.head()
    for _ in range(3):
        cursor = broker.publish(record())
        assert broker.seen_head() == cursor


PARTS = (PresencePart("a", '{"name":"Ännie"}', True), PresencePart("ä", None, False))


def test_a_follower_receives_every_record_as_it_was_published(
    make_broker: MakeBroker,
) -> None:
    """Every part of a record arrives unchanged."""
    broker = make_broker(KEEP_ALL)
    start = broker.head()
    sent = [
        Record((BROADCAST, NEWS), Event("ä\n\0", type="t", retry=1.5), exclude=("me",)),
        Record((address.user("7"),), Disconnect("disconnected")),
        Record((address.client("me"),), Subscribe(("a", "ä"), ("b",), presence=PARTS)),
        Record((address.client("me"),), Subscribe(("a",), (), start)),
        Record((), Event("")),
    ]
    cursors = [broker.publish(each) for each in sent]
    got = follow(broker, start, 5)
    assert [(r.addresses, r.content, r.exclude) for r in got] == [
        (r.addresses, r.content, r.exclude) for r in sent
    ]
    assert [r.cursor for r in got] == cursors
    assert all(r.time > 1_600_000_000 for r in got)


def test_a_record_keeps_its_place_in_a_trace(make_broker: MakeBroker) -> None:
    """It is read back from the log, by followers and from the state."""
    place = f"00-{1:032x}-{2:016x}-01"
    broker = make_broker(KEEP_ALL)
    before = broker.head()
    broker.publish(record(key="k", traceparent=place))
    (read,) = broker.replay(before, page=9).records
    (kept,) = broker.state().records
    (followed,) = follow(broker, before, 1)
    assert [each.traceparent for each in (read, kept, followed)] == [place] * 3


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


def test_a_follower_may_end_in_the_garbage_collector(make_broker: MakeBroker) -> None:
    """The collector may run in a thread that holds a lock of the broker."""
    broker = make_broker(KEEP_ALL)
    batches = broker.follow(broker.head())
    broker.publish(record())
    next(batches)

    def end() -> None:
        with ExitStack() as held:
            for each in vars(broker).values():
                if hasattr(each, "acquire"):
                    held.enter_context(each)
            batches.close()  # type: ignore[attr-defined]

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()


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
        for module in (memory, idempotency, arguments):
            monkeypatch.setattr(module, "IDEMPOTENCY_KEYS", 3)
        broker = make_broker(KEEP_ALL)
        sent = [record(idempotency_key=str(n)) for n in range(10)]
        cursors = [broker.publish(each) for each in sent]
        again = [broker.publish(each) for each in reversed(sent)][::-1]
        assert again[-3:] == cursors[-3:]
        assert again[0] != cursors[0]


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
