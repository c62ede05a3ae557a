"""Fair history and state where logs are stored: restarts, and earlier versions."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from flask_sse_hub import Event, StateFull
from flask_sse_hub.brokers import Broker, create_broker
from flask_sse_hub.brokers.redis import arguments
from flask_sse_hub.brokers.sqlite import short_lived
from flask_sse_hub.events import address
from flask_sse_hub.events.address import Address
from flask_sse_hub.events.record import Cursor, GapReason, Record, Retention
from flask_sse_hub.runtime import native
from flask_sse_hub.testing import Clock
from tests.kit.redis_server import RedisServer

BUSY = address.channel("busy")
QUIET = address.channel("quiet")
SHORT = Retention(events=3, seconds=3600.0, bytes=10_000_000)

Open = Callable[..., Broker]


@pytest.fixture(params=["sqlite", "redis"])
def open_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens one stored log, again and again."""
    url = "sqlite:///hub.db"
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url
    opened: list[Broker] = []

    def open_broker(retention: Retention | None = SHORT) -> Broker:
        for each in opened:
            each.close()
        opened.append(
            create_broker(url, retention, folder=tmp_path, name=tmp_path.name)
        )
        return opened[-1]

    yield open_broker
    for each in opened:
        each.close()


def publish(broker: Broker, to: Address, count: int = 1) -> Cursor:
    for _ in range(count):
        cursor = broker.publish(Record((to,), Event("x")))
    return cursor


def test_the_notes_survive_restarts(open_broker: Open) -> None:
    """An id of an earlier epoch is judged by them too."""
    broker = open_broker()
    before = broker.head()
    mine = publish(broker, QUIET)
    for _ in range(3):
        broker = open_broker()
        publish(broker, BUSY, 9)
    broker = open_broker()
    broker.head()
    mine, before = broker.resolve(mine), broker.resolve(before)
    assert broker.replay(mine, page=9).gap is GapReason.EXPIRED
    assert broker.bridge(mine, [QUIET]) is not None
    assert broker.bridge(before, [QUIET]) is None


def test_the_state_survives_restarts(open_broker: Open) -> None:
    """Its cursors are of the current epoch, and its bounds count on."""
    keep = replace(SHORT, state_keys=2)
    broker = open_broker(keep)
    broker.publish(Record((QUIET,), Event("1"), key="a"))
    broker.publish(Record((QUIET,), Event("2"), key="b"))
    for _ in range(3):
        broker = open_broker(keep)
        publish(broker, BUSY, 9)
    state = open_broker(keep).state()
    assert [(each.key, each.content) for each in state.records] == [
        ("a", Event("1")),
        ("b", Event("2")),
    ]
    assert {each.cursor.epoch for each in state.records} == {state.cursor.epoch}
    broker = open_broker(keep)
    with pytest.raises(StateFull):
        broker.publish(Record((QUIET,), Event("3"), key="c"))


def test_records_that_have_left_are_no_loss_after_a_restart(
    open_broker: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for the log as a whole, nor for a client that has the id of one."""
    for module in (short_lived, arguments):
        monkeypatch.setattr(module, "SHORT_LIVED_RECORDS", 1)
    keep = replace(SHORT, events=9)
    broker = open_broker(keep)
    start = publish(broker, QUIET)
    typing = [
        broker.publish(Record((BUSY,), Event("typing"), ttl=0.0)) for _ in range(3)
    ]
    publish(broker, QUIET)
    broker = open_broker(keep)
    publish(broker, QUIET)
    broker = open_broker(keep)
    broker.head()
    for place in map(broker.resolve, (start, *typing)):
        replay = broker.replay(place, page=9)
        assert replay.gap is None
        assert sum(each.ttl is None for each in replay.records) == 2
        assert broker.bridge(place, [BUSY, QUIET]) is not None


def test_a_publisher_keeps_to_the_bounds_of_the_app(open_broker: Open) -> None:
    """It has no settings: the log has them."""
    open_broker(replace(SHORT, state_keys=1)).head()
    publisher = open_broker(None)
    publisher.publish(Record((QUIET,), Event("1"), key="a"))
    with pytest.raises(StateFull):
        publisher.publish(Record((QUIET,), Event("2"), key="b"))


def test_a_redis_that_loses_its_log_loses_its_state(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """Values of another log would be shown as if they were current."""
    broker = create_broker(redis_server.url, SHORT, folder=tmp_path, name="flushed")
    broker.publish(Record((QUIET,), Event("1"), key="a"))
    redis_server.run("DEL", "sse-hub:{flushed}:log")
    assert broker.state().records == ()
    broker.publish(Record((QUIET,), Event("2"), key="b"))
    assert [each.key for each in broker.state().records] == ["b"]
    broker.close()


def test_a_log_that_is_lost_takes_its_notes_along(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """A flushed Redis knows nothing of an id of the log before."""
    broker = create_broker(redis_server.url, SHORT, folder=tmp_path, name="lost")
    mine = publish(broker, QUIET)
    publish(broker, BUSY, 9)
    redis_server.run("DEL", "sse-hub:{lost}:log")
    publish(broker, BUSY, 9)
    assert broker.bridge(mine, [QUIET]) is None
    broker.close()


def test_a_failover_makes_the_notes_doubtful(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """The other server may have given an earlier id to an event that is missed."""
    broker = create_broker(redis_server.url, SHORT, folder=tmp_path, name="failover")
    publish(broker, BUSY, 9)
    followed = broker.follow(broker.head())
    mine = publish(broker, QUIET)
    next(followed)
    newest = f"{mine.offset >> 18}-{mine.offset % 2**18}"
    redis_server.run("XDEL", "sse-hub:{failover}:log", newest)
    publish(broker, BUSY, 2)
    assert next(followed).gap is GapReason.EPOCH
    publish(broker, BUSY, 9)
    assert broker.bridge(mine, [QUIET]) is None
    broker.close()


class TestOfAnEarlierVersion:
    """A log without notes opens as it is; nothing is known of what it has trimmed."""

    def test_a_sqlite_file(self, tmp_path: Path) -> None:
        """Its tables are completed, its records stay."""
        self._age(tmp_path, publish_before=9)
        broker = create_broker("sqlite:///hub.db", SHORT, folder=tmp_path, name="")
        head = broker.head()
        assert broker.bridge(Cursor(head.epoch, 1), [QUIET]) is None
        assert len(broker.replay(broker.tail(10**9), page=9).records) == 3
        mine = publish(broker, QUIET)
        publish(broker, BUSY, 9)
        assert broker.bridge(mine, [QUIET]) is not None
        broker.close()

    def test_a_worker_of_it_that_still_trims(self, tmp_path: Path) -> None:
        """During a rolling deploy it trims without a note, which is noticed."""
        broker = create_broker("sqlite:///hub.db", SHORT, folder=tmp_path, name="")
        mine = publish(broker, QUIET)
        publish(broker, BUSY, 9)
        assert broker.bridge(mine, [QUIET]) is not None
        with closing(sqlite3.connect(tmp_path / "hub.db")) as file, file:
            (oldest,) = file.execute("SELECT MIN(offset) FROM record").fetchone()
            file.execute("DELETE FROM record WHERE offset = ?", (oldest,))
        assert broker.bridge(mine, [QUIET]) is None
        later = publish(broker, BUSY, 9)
        assert broker.bridge(mine, [QUIET]) is None
        publish(broker, BUSY, 9)
        assert broker.bridge(later, [QUIET]) is not None
        broker.close()

    def test_a_redis_stream_without_notes_for_patterns(
        self, tmp_path: Path, redis_server: RedisServer
    ) -> None:
        """Before this version, and while workers of it still trim."""
        broker = create_broker(redis_server.url, SHORT, folder=tmp_path, name="plain")
        orders, all_orders = address.channel("orders.7"), address.channel("orders.*")
        start = broker.head()
        publish(broker, orders)
        publish(broker, BUSY, 9)
        assert broker.bridge(start, [all_orders]) is None
        # The scripts of that version write neither the note nor these fields.
        notes, trimmed = "sse-hub:{plain}:retention", "sse-hub:{plain}:trimmed"
        redis_server.run("HDEL", trimmed, all_orders)
        redis_server.run("HDEL", notes, "patterned", "unknown-patterns")
        assert broker.bridge(start, [all_orders]) is None
        publish(broker, BUSY, 2)
        assert broker.bridge(start, [all_orders]) is None
        assert broker.bridge(start, [QUIET, address.user("orders.*")]) is not None
        now = publish(broker, QUIET)
        publish(broker, BUSY, 9)
        assert broker.bridge(now, [all_orders]) == broker.tail(10**9)
        broker.close()

    def test_a_redis_stream(self, tmp_path: Path, redis_server: RedisServer) -> None:
        """The first trim with notes begins them."""
        broker = create_broker(redis_server.url, SHORT, folder=tmp_path, name="old")
        publish(broker, BUSY, 9)
        notes = "sse-hub:{old}:retention"
        redis_server.run("HDEL", notes, "noted", "unknown", "moved", "tail")
        redis_server.run("DEL", "sse-hub:{old}:trimmed")
        mine = publish(broker, QUIET)
        epoch = mine.epoch
        assert broker.bridge(Cursor(epoch, 1), [QUIET]) is None
        publish(broker, BUSY, 9)
        assert broker.bridge(Cursor(epoch, 1), [BUSY]) is None
        assert broker.bridge(mine, [QUIET]) is not None
        # A process of an earlier version trims.
        redis_server.run("XTRIM", "sse-hub:{old}:log", "MAXLEN", 2)
        assert broker.bridge(mine, [QUIET]) is None
        broker.close()

    def _age(self, folder: Path, *, publish_before: int) -> None:
        broker = create_broker("sqlite:///hub.db", SHORT, folder=folder, name="")
        publish(broker, BUSY, publish_before)
        broker.close()
        with closing(sqlite3.connect(folder / "hub.db")) as file, file:
            later = ("kept_ends", "short_lived", "living", "bounded", "bounding")
            for table in ("trimmed", "trimming", "kept", "keeping", *later):
                file.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize("url", ["memory://", "sqlite:///hub.db"])
def test_records_that_are_too_old_are_bridged(tmp_path: Path, url: str) -> None:
    """Also while nothing is published: nobody has trimmed them yet."""
    clock = Clock()
    young = Retention(events=1_000, seconds=60.0, bytes=10_000_000)
    broker = create_broker(
        url, young, folder=tmp_path, name="", clock=clock.time_of_day
    )
    start = publish(broker, QUIET)
    publish(broker, BUSY, 600)
    clock.advance(61.0)
    assert broker.replay(start, page=9).gap is GapReason.EXPIRED
    assert broker.bridge(start, [QUIET]) == broker.head()
    assert broker.bridge(start, [BUSY]) is None
    broker.close()


def test_records_in_redis_that_are_too_old_are_bridged(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """The newest entry stays, since it holds the epoch; it counts as trimmed."""
    young = Retention(events=1_000, seconds=0.05, bytes=10_000_000)
    for last in (QUIET, BUSY):
        name = f"old-{last[2:]}"
        broker = create_broker(redis_server.url, young, folder=tmp_path, name=name)
        start = publish(broker, BUSY)
        publish(broker, last)
        native.pause(0.06)
        assert broker.replay(start, page=9).gap is GapReason.EXPIRED
        assert (broker.bridge(start, [QUIET]) is None) is (last == QUIET)
        assert broker.bridge(broker.head(), [QUIET]) == broker.head()
        broker.close()
