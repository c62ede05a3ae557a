"""Foreign entries in a log are skipped and counted; they never stop a broker."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flask_sse_hub import Event
from flask_sse_hub.brokers import Broker
from flask_sse_hub.brokers.redis import RedisBroker
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, GapReason, Record, Retention
from tests.kit.hand import KEEP_ALL
from tests.kit.redis_server import RedisServer
from tests.unit.brokers.test_codec import HOSTILE_BODIES

BODY = '{"to":["*"],"event":["message",null]}\nhostile'


def publish(broker: Broker, data: str) -> Cursor:
    return broker.publish(Record((BROADCAST,), Event(data)))


def read_until(
    broker: Broker, after: Cursor, last: str
) -> tuple[list[str], int, list[GapReason]]:
    """Follow up to an event; return data, number of skipped entries, and gaps."""
    data: list[str] = []
    malformed, gaps = 0, []
    for batch in broker.follow(after):
        data += [r.content.data for r in batch.records if isinstance(r.content, Event)]
        malformed += batch.malformed
        gaps += [batch.gap] if batch.gap else []
        if last in data:
            break
    return data, malformed, gaps


def check_all_ways(broker: Broker, start: Cursor, *, malformed: int) -> None:
    """Check that replay, follow and tail find the events and nothing else."""
    last = publish(broker, "after")
    assert read_until(broker, start, "after") == (["before", "after"], malformed, [])
    replay = broker.replay(start, page=9)
    assert [r.content for r in replay.records] == [Event("before"), Event("after")]
    assert replay.gap is None
    assert broker.head() == last == replay.cursor
    tail = broker.tail(1_000_000)
    assert "after" in read_until(broker, tail, "after")[0]
    assert broker.tail(0) == last


class SQLiteLog:
    """A log in a SQLite file, with a way to write rows by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broker = SQLiteBroker(path, KEEP_ALL)

    def write(self, *, body: object, **columns: object) -> None:
        columns = {"time": time.time(), "size": 1, "body": body} | columns
        marks = ", ".join("?" * len(columns))
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(
                f"INSERT INTO record ({', '.join(columns)}) VALUES ({marks})",  # noqa: S608
                tuple(columns.values()),
            )


class RedisLog:
    """A log in a Redis, with a way to write entries by hand."""

    def __init__(self, server: RedisServer, name: str) -> None:
        self.server = server
        self.key = f"sse-hub:{{{name}}}:log"
        self.broker = RedisBroker(server.url, KEEP_ALL, name=name)

    def write(self, *, body: Any, entry_id: str = "*", **fields: Any) -> None:
        head = self.broker.head()
        with self.server.connect() as client:
            (newest,) = client.xrevrange(self.key, count=1)
            ours = {"e": head.epoch, "p": newest[0], "t": 0, "s": 1, "b": body}
            client.xadd(self.key, ours | fields, id=entry_id)

    def add(self, *fields: str | bytes) -> None:
        """Write an entry with any fields."""
        with self.server.connect() as client:
            client.execute_command("XADD", self.key, "*", *fields)


@pytest.fixture
def sqlite_log(tmp_path: Path) -> Iterator[SQLiteLog]:
    log = SQLiteLog(tmp_path / "hub.db")
    yield log
    log.broker.close()


@pytest.fixture
def redis_log(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisLog]:
    log = RedisLog(redis_server, tmp_path.name)
    yield log
    log.broker.close()


@pytest.fixture(params=["sqlite_log", "redis_log"])
def log(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_bodies_that_no_publisher_wrote_are_skipped(log: SQLiteLog | RedisLog) -> None:
    """SQLite and Redis skip the same bodies."""
    start = log.broker.head()
    publish(log.broker, "before")
    for body in HOSTILE_BODIES:
        log.write(body=body)
    check_all_ways(log.broker, start, malformed=len(HOSTILE_BODIES))


class TestSQLite:
    @pytest.mark.parametrize(
        "columns",
        [
            {"time": "soon"},
            {"time": b"\xff"},
            {"time": 9e999},
            {"time": -1.0},
            {"body": 7},
            {"body": b"\xff\n"},
            {"size": "large", "body": ""},
            {"size": b"\xff", "body": ""},
            {"size": -(2**63), "body": ""},
            {"offset": -5},
        ],
        ids=str,
    )
    def test_columns_with_impossible_values_are_skipped(
        self, sqlite_log: SQLiteLog, columns: dict[str, Any]
    ) -> None:
        """SQLite stores any value in a column and returns it unchanged."""
        start = publish(sqlite_log.broker, "first")
        publish(sqlite_log.broker, "before")
        sqlite_log.write(**{"body": BODY} | columns)
        seen = "offset" not in columns
        check_all_ways(sqlite_log.broker, start, malformed=int(seen))

    @pytest.mark.parametrize("size", ["large", b"\xff", -(2**63), 2**63 - 1])
    @pytest.mark.parametrize("at", ["long ago", b"\xff", -9e999])
    def test_hostile_rows_that_are_too_old_are_deleted(
        self, sqlite_log: SQLiteLog, size: Any, at: Any
    ) -> None:
        """Publishing goes on, even if retention cannot count sizes and times."""
        publish(sqlite_log.broker, "before")
        for _ in range(4):
            sqlite_log.write(body=BODY, size=size, time=at)
        small = SQLiteBroker(sqlite_log.path, Retention(2, 60.0, 10_000))
        for number in range(4):
            publish(small, str(number))
        assert publish(small, "after") == small.head()
        small.close()
        with closing(sqlite3.connect(sqlite_log.path)) as connection:
            rows = connection.execute("SELECT 1 FROM record WHERE body = ?", (BODY,))
            assert not rows.fetchall()

    @pytest.mark.parametrize("offset", [10**18, 2**63 - 1])
    def test_a_row_with_too_large_an_offset_is_removed(
        self, sqlite_log: SQLiteLog, offset: int
    ) -> None:
        """The log begins a new epoch, and cursors from before it stay good."""
        start = sqlite_log.broker.head()
        before = publish(sqlite_log.broker, "before")
        sqlite_log.write(body=BODY, offset=offset)
        after = publish(sqlite_log.broker, "after")
        assert after.offset == before.offset + 1
        replay = sqlite_log.broker.replay(start, page=9)
        assert [r.content for r in replay.records] == [Event("before"), Event("after")]

    def test_a_follower_reads_on_after_too_large_an_offset(
        self, sqlite_log: SQLiteLog
    ) -> None:
        """The follower reports the new epoch as a gap and reads on at its head."""
        start = publish(sqlite_log.broker, "before")
        sqlite_log.write(body=BODY, offset=2**63 - 1)
        follower = sqlite_log.broker.follow(start)
        assert next(follower).gap is GapReason.EPOCH
        publish(sqlite_log.broker, "after")
        assert [r.content for r in next(follower).records] == [Event("after")]


class TestRedis:
    @pytest.mark.parametrize(
        "fields",
        [
            {"a": "b"},
            {"e": "x\ndata: y", "p": "0-0", "t": 0, "s": 1, "b": BODY},
            {"e": b"\xff", "p": "0-0", "t": 0, "s": 1, "b": BODY},
            {"e": "", "p": "0-0", "t": 0, "s": 1, "b": BODY},
            {"e": "x" * 33, "p": "0-0", "t": 0, "s": 1, "b": BODY},
            {"e": "x", "p": "yesterday", "t": 0, "s": 1, "b": BODY},
            {"e": "x", "p": "9" * 50 + "-0", "t": 0, "s": 1, "b": BODY},
            {"e": "x", "p": "0-0", "t": "inf", "s": 1, "b": BODY},
            {"e": "x", "p": "0-0", "t": "-1", "s": 1, "b": BODY},
            {"e": "x", "p": "0-0", "t": "9" * 16, "s": 1, "b": BODY},
            {"e": "x", "p": "0-0", "t": 0, "s": "large", "b": BODY},
            {"e": "x", "p": "0-0", "t": 0, "s": 1},
            {"e": "x", "p": "0-0", "t": 0, "s": 1, "b": BODY, "c": "d"},
        ],
        ids=lambda fields: repr(fields)[:50],
    )
    def test_entries_with_foreign_fields_are_skipped(
        self, redis_log: RedisLog, fields: dict[str, Any]
    ) -> None:
        """Foreign entries are links of the chain: no gap, and no event is missed."""
        start = redis_log.broker.head()
        publish(redis_log.broker, "before")
        for _ in range(3):
            redis_log.add(*[part for pair in fields.items() for part in pair])
        check_all_ways(redis_log.broker, start, malformed=3)

    def test_foreign_entries_are_skipped_one_by_one(self, redis_log: RedisLog) -> None:
        """A follower reads each one alone, and a replay resumes right after it."""
        before = publish(redis_log.broker, "before")
        follower = redis_log.broker.follow(before)
        redis_log.add("a", "b")
        batch = next(follower)
        assert (batch.records, batch.gap, batch.malformed) == ((), None, 1)
        assert redis_log.broker.head() == batch.cursor
        publish(redis_log.broker, "after")
        assert [r.content for r in next(follower).records] == [Event("after")]
        assert redis_log.broker.replay(batch.cursor, page=9).gap is None

    def test_too_many_foreign_entries_begin_a_new_epoch(
        self, redis_log: RedisLog
    ) -> None:
        """A broker looks back over a bounded number of them, and the log goes on."""
        before = publish(redis_log.broker, "before")
        with redis_log.server.connect() as client, client.pipeline() as pipeline:
            for _ in range(300):
                pipeline.xadd(redis_log.key, {"a": "b"})
            pipeline.execute()
        follower = redis_log.broker.follow(before)
        publish(redis_log.broker, "after")
        malformed = 0
        while (batch := next(follower)).gap is None:
            malformed += batch.malformed
        assert malformed == 300
        assert batch.gap is GapReason.EPOCH
        publish(redis_log.broker, "later")
        assert [r.content for r in next(follower).records] == [Event("later")]

    @pytest.mark.parametrize(
        "fields",
        [
            {"e": "another"},
            {"p": "1-1"},
            {"p": "99999999999999-0"},
            {"e": "another", "p": "1-1", "t": 10**15 - 1, "s": 10**15 - 1},
        ],
        ids=str,
    )
    def test_a_forged_entry_breaks_the_chain(
        self, redis_log: RedisLog, fields: dict[str, Any]
    ) -> None:
        """The follower reports a gap, as if events were lost, and the log goes on."""
        start = publish(redis_log.broker, "before")
        redis_log.write(body=BODY, **fields)
        follower = redis_log.broker.follow(start)
        assert next(follower).gap is GapReason.EPOCH
        head = redis_log.broker.head()
        publish(redis_log.broker, "after")
        assert read_until(redis_log.broker, head, "after") == (["after"], 0, [])
        assert redis_log.broker.tail(10**6).epoch == redis_log.broker.head().epoch

    @pytest.mark.parametrize("number", [2**18, 2**18 + 1, 2**40, 2**64 - 1])
    def test_events_after_a_foreign_entry_id_arrive_once(
        self, redis_log: RedisLog, number: int
    ) -> None:
        """Entry numbers that no broker gives lose and repeat no event."""
        start = redis_log.broker.head()
        publish(redis_log.broker, "before")
        soon = round(time.time() * 1000) + 60_000
        redis_log.write(body="", entry_id=f"{soon}-{number}")
        cursors = [publish(redis_log.broker, str(at)) for at in range(5)]
        assert all(one.offset < other.offset for one, other in pairwise(cursors))
        data, _, gaps = read_until(redis_log.broker, start, "4")
        assert (data, gaps) == (["before", "0", "1", "2", "3", "4"], [])

    @pytest.mark.parametrize("ms", [3_814_697_265_625, 2**64 - 1])
    def test_too_large_an_entry_id_begins_a_new_log(
        self, redis_log: RedisLog, ms: int
    ) -> None:
        """Clients can resume from the cursors of the new log."""
        before = publish(redis_log.broker, "before")
        redis_log.write(body=BODY, entry_id=f"{ms}-{2**64 - 1}")
        after = publish(redis_log.broker, "after")
        assert after.epoch != before.epoch
        assert Cursor.parse(str(after)) == after
        follower = redis_log.broker.follow(before)
        assert next(follower).gap is GapReason.EPOCH
        publish(redis_log.broker, "later")
        assert [r.content for r in next(follower).records] == [Event("later")]
