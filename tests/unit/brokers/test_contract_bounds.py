"""Channels with bounds on every broker: each keeps its newest, and costs no other."""

import random
import time
from dataclasses import replace
from typing import Any

import pytest

from flask_sse_hub.brokers import Broker, memory_parts
from flask_sse_hub.brokers.redis import arguments
from flask_sse_hub.brokers.sqlite import bounded
from flask_sse_hub.events import address
from flask_sse_hub.events.address import Address
from flask_sse_hub.events.record import ChannelBounds, Cursor
from tests.kit.hand import KEEP_ALL
from tests.kit.reader import wait_until
from tests.unit.brokers.conftest import BUSY, NEWS, QUIET, SHORT, MakeBroker, record
from tests.unit.brokers.test_contract_ttl import followed, read_on

TWO = ChannelBounds(events=2)
ROOM = address.channel("room")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no event stay for a time in any case."""
    for module in (memory_parts, bounded, arguments):
        monkeypatch.setattr(module, "CHANNEL_SECONDS", 0.0)


def publish(
    broker: Broker, count: int, *, to: Address = BUSY, bounds: ChannelBounds = TWO
) -> list[Cursor]:
    """Append events of a channel with bounds."""
    return [broker.publish(record("x", to=to, bounds=bounds)) for _ in range(count)]


def held(broker: Broker, after: Cursor, to: Address) -> int:
    """Return how many events of a channel follow a cursor."""
    return sum(to in each.addresses for each in read_on(broker, after))


def test_the_bounds_travel_with_the_record(make_broker: MakeBroker) -> None:
    """A follower and a reader receive them."""
    broker = make_broker(KEEP_ALL)
    start = broker.head()
    given = [ChannelBounds(3, 2.5), ChannelBounds(seconds=60.0), TWO, None]
    for bounds in given:
        broker.publish(record(to=BUSY, bounds=bounds))
    for found in (read_on(broker, start), followed(broker, start)):
        assert [each.bounds for each in found] == given


@pytest.mark.usefixtures("at_once")
class TestChannel:
    def test_it_keeps_its_newest_events(self, make_broker: MakeBroker) -> None:
        """Each channel has bounds of its own, between events of others."""
        broker = make_broker(KEEP_ALL)
        start = broker.head()
        for _ in range(4):
            publish(broker, 2)
            publish(broker, 1, to=ROOM)
            broker.publish(record(to=NEWS))
        assert [held(broker, start, to) for to in (BUSY, ROOM, NEWS)] == [2, 2, 4]

    def test_only_readers_of_the_channel_lose_something(
        self, make_broker: MakeBroker
    ) -> None:
        """Readers that had read the removed events are not reset."""
        broker = make_broker(KEEP_ALL)
        start = broker.publish(record("a"))
        places = publish(broker, 5)
        broker.publish(record("b"))
        replay = broker.replay(start, page=9)
        assert replay.gap is None
        assert replay.missed == places[2].offset
        assert broker.bridge(start, [NEWS, BUSY]) is None
        assert broker.bridge(places[1], [BUSY]) is None
        assert broker.bridge(places[2], [BUSY]) == places[2]
        assert broker.bridge(start, [NEWS, QUIET]) == start

    def test_its_events_push_out_no_others(self, make_broker: MakeBroker) -> None:
        """A flood of a channel costs the others nothing."""
        broker = make_broker(SHORT)
        start = broker.publish(record("start"))
        broker.publish(record("a", to=NEWS))
        publish(broker, 20)
        broker.publish(record("b", to=NEWS))
        assert held(broker, start, NEWS) == 2

    def test_old_events_leave_with_the_next_one(self, make_broker: MakeBroker) -> None:
        """The newest one stays at any age."""
        broker = make_broker(KEEP_ALL)
        start = broker.head()
        moment = ChannelBounds(seconds=0.001)
        publish(broker, 3, bounds=moment)
        broker.publish(record())
        began = time.time()
        wait_until(lambda: time.time() > began + 0.005)
        publish(broker, 1, bounds=moment)
        assert held(broker, start, BUSY) == 1
        assert broker.bridge(start, [BUSY]) is None

    def test_all_channels_together_have_the_bounds_of_the_log(
        self, make_broker: MakeBroker
    ) -> None:
        """Many channels fill no log, and neither do large events."""
        broker = make_broker(SHORT)
        start = broker.head()
        for n in range(9):
            publish(broker, 1, to=address.channel(f"room.{n}"))
        assert len(read_on(broker, start)) == 3
        assert broker.bridge(start, [address.channel("room.0")]) is None
        assert broker.bridge(start, [address.channel("room.8")]) == start

    def test_a_trim_of_the_log_takes_them_too(self, make_broker: MakeBroker) -> None:
        """They are noted like the events around them, and leave the index."""
        broker = make_broker(SHORT)
        start = broker.head()
        publish(broker, 1)
        middle = broker.publish(record("a", to=NEWS))
        for _ in range(5):
            broker.publish(record("b", to=NEWS))
        assert broker.bridge(start, [BUSY]) is None
        assert broker.bridge(middle, [BUSY]) is not None
        (last, *_) = publish(broker, 3)
        assert held(broker, last, BUSY) == 2


def test_young_events_stay(make_broker: MakeBroker) -> None:
    """Workers and clients that keep up read all of a burst."""
    broker = make_broker(KEEP_ALL)
    start = broker.head()
    publish(broker, 9)
    assert len(followed(broker, start)) == 9
    assert broker.bridge(start, [BUSY]) == start


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("seed", range(2))
def test_a_reset_tells_of_an_own_loss(make_broker: MakeBroker, seed: int) -> None:
    """From each id: either all later events of a reader follow, or it is told."""
    rng = random.Random(seed)
    broker = make_broker(replace(SHORT, events=12))
    addresses = (BUSY, ROOM, QUIET, NEWS)
    places: list[tuple[Cursor, int]] = [(broker.head(), 0)]
    log: list[Address] = []
    for n in range(40):
        to = rng.choice(addresses)
        more: dict[str, Any] = (
            {"bounds": TWO} if to in (BUSY, ROOM) and rng.random() < 0.9 else {}
        )
        if rng.random() < 0.1:
            more = {"ttl": 60.0}
        places.append((broker.publish(record(str(n), to=to, **more)), n + 1))
        log.append(to)
    for place, count in places[::4]:
        for to in addresses:
            expected = log[count:].count(to)
            replay = broker.replay(place, page=99)
            begin: Cursor | None = place
            if replay.gap is not None or replay.missed > place.offset:
                begin = broker.bridge(place, [to])
            if begin is not None:
                assert held(broker, begin, to) == expected
            else:
                assert held(broker, broker.tail(10**9), to) <= expected
