"""Records with a ttl on every broker: they leave by themselves and cost no other."""

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flask_sse_hub import Event, StateFull
from flask_sse_hub.brokers import Broker, create_broker, memory
from flask_sse_hub.brokers.redis import arguments
from flask_sse_hub.brokers.sqlite import short_lived
from flask_sse_hub.events.record import Cursor, Disconnect, GapReason, Record, Retention
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL
from tests.kit.reader import wait_until
from tests.unit.brokers.conftest import BUSY, NEWS, QUIET, SHORT, MakeBroker, record

# The shortest time that every broker can tell from none.
MOMENT = 0.001


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound the short-lived records to four."""
    for module in (memory, short_lived, arguments):
        monkeypatch.setattr(module, "SHORT_LIVED_RECORDS", 4)


def typing(broker: Broker, count: int = 1, *, ttl: float = 60.0) -> list[Cursor]:
    """Append short-lived records at the busy channel."""
    return [broker.publish(record("typing", to=BUSY, ttl=ttl)) for _ in range(count)]


def let_end(broker: Broker, count: int = 1) -> list[Cursor]:
    """Append short-lived records, and wait until their time is over."""
    cursors = typing(broker, count, ttl=MOMENT)
    began = time.time()
    wait_until(lambda: time.time() > began + 5 * MOMENT)
    return cursors


def read_on(broker: Broker, after: Cursor) -> list[Record]:
    """Return the records after a cursor, read in pages of two, without any gap."""
    found: list[Record] = []
    while True:
        replay = broker.replay(after, page=2)
        assert replay.gap is None
        if replay.cursor == after:
            return found
        after = replay.cursor
        found += replay.records


def kept(broker: Broker, after: Cursor) -> list[str]:
    """Return the data of the events without a ttl after a cursor."""
    records = [each for each in read_on(broker, after) if each.ttl is None]
    return [each.content.data for each in records if isinstance(each.content, Event)]


def followed(broker: Broker, after: Cursor) -> list[Record]:
    """Return what a follower receives up to the head, without any gap."""
    found: list[Record] = []
    head = broker.head()
    if after == head:
        return found
    for batch in broker.follow(after):
        assert batch.gap is None
        found += batch.records
        if batch.cursor == head:
            break
    return found


def test_the_ttl_travels_with_the_record(make_broker: MakeBroker) -> None:
    """A follower and a reader receive it."""
    broker = make_broker(KEEP_ALL)
    start = broker.head()
    for ttl in (0.0, 2.5, None):
        broker.publish(record(ttl=ttl))
    for found in (read_on(broker, start), followed(broker, start)):
        assert [each.ttl for each in found] == [0.0, 2.5, None]


def test_the_wish_for_a_receipt_travels_with_the_record(
    make_broker: MakeBroker,
) -> None:
    """A follower and a reader receive it."""
    broker = make_broker(KEEP_ALL)
    start = broker.head()
    for receipt in (True, False):
        broker.publish(record(receipt=receipt))
    for found in (read_on(broker, start), followed(broker, start)):
        assert [each.receipt for each in found] == [True, False]


@pytest.mark.usefixtures("few")
class TestBounds:
    @pytest.mark.parametrize("ttl", [0.0, MOMENT, 60.0])
    def test_a_flood_pushes_out_no_event(
        self, make_broker: MakeBroker, ttl: float
    ) -> None:
        """Before, between and after events; and events push out each other only."""
        broker = make_broker(replace(SHORT, events=4))
        start = broker.publish(record("start"))
        for n in range(3):
            typing(broker, 9, ttl=ttl)
            broker.publish(record(str(n)))
        typing(broker, 9, ttl=ttl)
        assert kept(broker, start) == ["0", "1", "2"]
        short = [each for each in read_on(broker, start) if each.ttl is not None]
        assert len(short) <= 4
        broker.publish(record("3"))
        broker.publish(record("4"))
        assert broker.replay(start, page=9).gap is GapReason.EXPIRED

    def test_one_that_leaves_before_its_time_is_a_loss(
        self, make_broker: MakeBroker
    ) -> None:
        """For the readers of its channel, and for nobody else."""
        broker = make_broker(KEEP_ALL)
        start = broker.publish(record("a"))
        cursors = typing(broker, 9)
        broker.publish(record("b"))
        replay = broker.replay(start, page=9)
        assert replay.gap is None
        assert start.offset < replay.missed < cursors[-1].offset
        assert broker.bridge(start, [NEWS, BUSY]) is None
        assert broker.bridge(start, [NEWS, QUIET]) == start
        assert broker.bridge(cursors[-2], [BUSY]) == cursors[-2]
        assert kept(broker, start) == ["b"]

    def test_a_follower_that_missed_one_is_told_of_a_gap(
        self, make_broker: MakeBroker
    ) -> None:
        """It would have sent the record to clients that keep up."""
        broker = make_broker(KEEP_ALL)
        start = broker.publish(record("a"))
        typing(broker, 9)
        assert next(broker.follow(start)).gap is GapReason.EXPIRED
        assert len(followed(broker, broker.tail(10**9))) == 4

    def test_one_with_a_ttl_of_0_is_never_a_loss(self, make_broker: MakeBroker) -> None:
        """It is only for clients that keep up."""
        broker = make_broker(KEEP_ALL)
        start = broker.publish(record("a"))
        typing(broker, 9, ttl=0.0)
        replay = broker.replay(start, page=9)
        assert replay.missed <= start.offset
        assert broker.bridge(start, [BUSY]) == start
        assert len(followed(broker, start)) == 4

    def test_their_bytes_are_bounded(
        self, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One large record pushes out smaller ones, until the next ones come."""
        for module in (memory, short_lived, arguments):
            monkeypatch.setattr(module, "SHORT_LIVED_BYTES", 1_000)
        broker = make_broker(KEEP_ALL)
        start = broker.head()
        typing(broker, 3)
        broker.publish(record("x" * 2_000, to=BUSY, ttl=60.0))
        found = [each.size > 2_000 for each in read_on(broker, start)]
        assert found[-1] is True
        assert len(found) <= 2
        typing(broker, 2)
        assert not any(each.size > 2_000 for each in read_on(broker, start))

    def test_a_note_that_is_later_stays(self, make_broker: MakeBroker) -> None:
        """An older event of the same channel that is trimmed afterwards hides none."""
        broker = make_broker(SHORT)
        broker.publish(record("old", to=BUSY))
        place = broker.publish(record("new", to=NEWS))
        typing(broker, 9)
        for n in range(3):
            broker.publish(record(str(n)))
        assert broker.bridge(place, [BUSY]) is None
        assert broker.bridge(place, [QUIET]) is not None


class TestEnds:
    def test_one_whose_time_is_over_leaves_no_gap(
        self, make_broker: MakeBroker
    ) -> None:
        """For a follower that is behind, and for each id that a client may have."""
        broker = make_broker(KEEP_ALL)
        start = broker.publish(record("a"))
        gone = let_end(broker, 3)
        between = broker.publish(record("b"))
        gone += let_end(broker, 2)
        broker.publish(record("c"))
        last = broker.publish(record("d"))
        assert [each.ttl for each in followed(broker, start)] == [None] * 3
        assert kept(broker, start) == ["b", "c", "d"]
        assert [kept(broker, each) for each in gone[:3]] == [["b", "c", "d"]] * 3
        assert [kept(broker, each) for each in gone[3:]] == [["c", "d"]] * 2
        assert kept(broker, between) == ["c", "d"]
        assert broker.replay(start, page=9).missed <= start.offset
        assert broker.bridge(start, [BUSY]) == start
        assert broker.tail(10**9).offset <= start.offset
        assert kept(broker, last) == []

    def test_a_trim_of_the_events_around_it_is_bridged(
        self, make_broker: MakeBroker
    ) -> None:
        """Neither its place nor its own trim makes anything unknown."""
        broker = make_broker(SHORT)
        mine = broker.publish(record("mine", to=QUIET))
        gone = let_end(broker, 2)
        for n in range(5):
            broker.publish(record(str(n), to=BUSY))
            let_end(broker)
        for place in (mine, *gone):
            found = broker.bridge(place, [QUIET])
            assert found is not None
            assert kept(broker, found)[-1] == "4"

    def test_one_that_is_trimmed_after_its_time_is_no_loss(
        self, make_broker: MakeBroker
    ) -> None:
        """The log may trim it with the events around it."""
        broker = make_broker(replace(SHORT, events=1))
        start = broker.head()
        broker.publish(record(to=NEWS))
        let_end(broker)
        for _ in range(3):
            broker.publish(record(to=NEWS))
        assert broker.bridge(start, [BUSY]) is not None
        assert broker.bridge(start, [NEWS]) is None

    def test_the_newest_record_stays_until_the_next_one(
        self, make_broker: MakeBroker
    ) -> None:
        """The log ends with it: its id is the head."""
        broker = make_broker(KEEP_ALL)
        start = broker.publish(record("a"))
        (last,) = let_end(broker)
        assert broker.head() == last
        assert broker.bridge(start, [BUSY]) is not None
        broker.publish(record("b"))
        assert kept(broker, last) == ["b"]


@pytest.mark.parametrize("url", ["memory://", "sqlite:///hub.db"])
def test_the_age_of_history_ends_them_too(tmp_path: Path, url: str) -> None:
    """A ttl never keeps a record for longer, and its reader is told."""
    clock = Clock(1_000_000.0)
    keep = replace(KEEP_ALL, seconds=60.0)
    broker = create_broker(url, keep, folder=tmp_path, name="", clock=clock)
    start = broker.publish(record("start"))
    (place,) = typing(broker, ttl=3600.0)
    clock.advance(61.0)
    last = broker.publish(record("a"))
    assert broker.bridge(start, [BUSY]) is None
    found = broker.bridge(place, [BUSY])
    assert found is not None
    assert kept(broker, found) == ["a"]
    assert kept(broker, last) == []
    broker.close()


class TestState:
    KEEP = replace(KEEP_ALL, state_keys=2)

    def values(self, broker: Broker) -> list[tuple[str | None, str]]:
        found = [(each.key, each.content) for each in broker.state().records]
        return [(key, each.data) for key, each in found if isinstance(each, Event)]

    def test_a_value_makes_room_when_its_time_is_over(
        self, make_broker: MakeBroker
    ) -> None:
        """It does not come back, and others stay."""
        broker = make_broker(self.KEEP)
        broker.publish(record("1", to=NEWS, key="a"))
        broker.publish(record("2", to=NEWS, key="b", ttl=MOMENT))
        let_end(broker)
        broker.publish(record("3", to=NEWS, key="c"))
        assert self.values(broker) == [("a", "1"), ("c", "3")]
        with pytest.raises(StateFull):
            broker.publish(record("4", to=NEWS, key="d"))

    def test_a_newer_value_has_a_time_of_its_own(self, make_broker: MakeBroker) -> None:
        """It does not end with the one that it replaces."""
        broker = make_broker(self.KEEP)
        broker.publish(record("1", to=NEWS, key="a", ttl=MOMENT))
        broker.publish(record("2", to=NEWS, key="a"))
        broker.publish(record("1", to=NEWS, key="b", ttl=MOMENT))
        broker.publish(record("2", to=NEWS, key="b", ttl=60.0))
        let_end(broker)
        broker.publish(record("3", to=NEWS, key="a", ttl=60.0))
        assert self.values(broker) == [("b", "2"), ("a", "3")]

    def test_one_with_a_ttl_of_0_ends_the_value(self, make_broker: MakeBroker) -> None:
        """Its own time is over for everybody who asks for the state."""
        broker = make_broker(self.KEEP)
        broker.publish(record("1", to=NEWS, key="a"))
        broker.publish(record("2", to=NEWS, key="a", ttl=0.0))
        assert self.values(broker) == []


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("seed", range(3))
def test_any_mixture_loses_no_event_and_resets_nobody(
    make_broker: MakeBroker, seed: int
) -> None:
    """From each id that was ever given, all later events follow without a gap."""
    rng = random.Random(seed)
    broker = make_broker(Retention(events=1_000, seconds=3600.0, bytes=10**9))
    places: list[tuple[Cursor, int]] = [(broker.head(), 0)]
    count = 0
    for _ in range(60):
        kind = rng.random()
        if kind < 0.3:
            cursor = broker.publish(record(str(count), to=QUIET))
            count += 1
        elif kind < 0.4:
            cursor = broker.publish(Record((QUIET,), Disconnect("disconnected")))
        else:
            ttl = rng.choice([0.0, MOMENT, 0.01, 60.0])
            (cursor,) = typing(broker, ttl=ttl)
        places.append((cursor, count))
    for place, before in places:
        assert kept(broker, place) == [str(n) for n in range(before, count)]
        assert broker.bridge(place, [QUIET]) is not None
    assert len(read_on(broker, places[0][0])) < count + 15
    followed(broker, broker.tail(10**9))
