"""Trimming on every broker: control records, ended sessions, and fair history."""

import pytest

from flask_sse_hub import Event
from flask_sse_hub.brokers import Broker, memory, memory_parts
from flask_sse_hub.brokers.redis import arguments, stream
from flask_sse_hub.brokers.sqlite import bounded, control, ended, trimmed
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import (
    ChannelBounds,
    Cursor,
    Disconnect,
    GapReason,
    Record,
    Retention,
)
from tests.kit.hand import KEEP_ALL
from tests.kit.reader import wait_until
from tests.unit.brokers.conftest import (
    BUSY,
    NEWS,
    QUIET,
    SHORT,
    MakeBroker,
    beyond_reach,
    follow,
    record,
)


class TestControlRecords:
    """Control records have a bound of their own: logouts push out no event."""

    THREE = Retention(events=3, seconds=3600.0, bytes=1_000)

    @pytest.fixture
    def broker(
        self, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
    ) -> Broker:
        monkeypatch.setattr(memory, "CONTROL_RECORDS", 4)
        monkeypatch.setattr(control, "CONTROL_RECORDS", 4)
        monkeypatch.setattr(arguments, "CONTROL_RECORDS", 4)
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
        for module in (memory, ended, arguments):
            monkeypatch.setattr(module, "ENDED_SESSIONS", 3)
        broker = make_broker(KEEP_ALL)
        for n in range(10):
            self.end(broker, str(n))
        assert list(broker.ended()) == [address.session(str(n)) for n in (7, 8, 9)]


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
        for module in (memory, control, arguments):
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
        monkeypatch.setattr(memory_parts, "NOTED_ADDRESSES", 4)
        monkeypatch.setattr(trimmed, "NOTED_ADDRESSES", 4)
        monkeypatch.setattr(trimmed, "_FORGOTTEN", 1)
        monkeypatch.setattr(arguments, "NOTED_ADDRESSES", 4)
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


class TestPatterns:
    EU, US = address.channel("orders.eu.7"), address.channel("orders.us")
    ORDERS, ORDERS_EU = address.channel("orders.*"), address.channel("orders.eu.*")

    def test_a_trimmed_event_of_a_channel_is_a_loss_for_its_patterns(
        self, make_broker: MakeBroker
    ) -> None:
        """And for no other pattern, though other events were trimmed."""
        broker = make_broker(SHORT)
        start = broker.head()
        broker.publish(record(to=self.EU))
        first = broker.publish(record(to=self.US))
        for name in ("orders", "ordersx.7", "order.7", "busy"):
            broker.publish(record(to=address.channel(name)))
            broker.publish(record(to=BUSY))
        assert broker.replay(first, page=9).gap is GapReason.EXPIRED
        for pattern in (self.ORDERS, self.ORDERS_EU):
            assert broker.bridge(start, [BROADCAST, pattern, QUIET]) is None
            assert broker.bridge(first, [BROADCAST, pattern, QUIET]) is not None
        assert broker.bridge(start, [address.channel("orders.us.*")]) is not None
        assert broker.bridge(start, [address.channel("order.*")]) is None
        assert broker.bridge(start, [address.channel("none.*")]) is not None

    def test_the_id_of_a_user_is_no_pattern(self, make_broker: MakeBroker) -> None:
        """An id may look like one."""
        broker = make_broker(SHORT)
        start = broker.publish(record(to=address.user("ann.*")))
        broker.publish(record(to=address.user("ann.7")))
        for _ in range(9):
            broker.publish(record(to=BUSY))
        assert broker.bridge(start, [address.user("ann.*")]) is not None
        assert broker.bridge(start, [address.user("ann.7")]) is None

    def test_what_a_channels_bounds_push_out_is_one_too(
        self, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It leaves from between events that are still there."""
        for module in (memory_parts, bounded, arguments):
            monkeypatch.setattr(module, "CHANNEL_SECONDS", -1.0)
        broker = make_broker(KEEP_ALL)
        start = broker.publish(record(to=QUIET))
        for _ in range(3):
            broker.publish(record(to=self.EU, bounds=ChannelBounds(events=1)))
        broker.publish(record(to=BUSY))
        assert broker.bridge(start, [self.ORDERS]) is None
        assert broker.bridge(start, [address.channel("orders.us.*")]) is not None

    def test_the_newest_event_is_too_old(self, make_broker: MakeBroker) -> None:
        """It may have to stay in the log, and is lost all the same."""
        broker = make_broker(Retention(events=9, seconds=0.01, bytes=10_000_000))
        start = broker.head()
        end = broker.publish(record(to=self.EU))
        wait_until(lambda: broker.replay(start, page=9).gap is GapReason.EXPIRED)
        assert broker.bridge(start, [self.ORDERS]) is None
        assert broker.bridge(end, [self.ORDERS]) == end
