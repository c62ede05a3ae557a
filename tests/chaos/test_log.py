"""The readers of the stored log return the records that a broker wrote."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flask_sse_hub import Event
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.brokers.sqlite.log_file import LogFile
from flask_sse_hub.brokers.sqlite.membership import Membership
from flask_sse_hub.events.address import BROADCAST, Address
from flask_sse_hub.events.record import Cursor, Disconnect, Record, Retention
from tests.chaos.log import read_redis, read_sqlite
from tests.kit.redis_server import RedisServer

KEEP_ALL = Retention(events=1000, seconds=3600.0, bytes=1_000_000)


def test_a_file_is_read_across_its_epochs(tmp_path: Path) -> None:
    """Every id that was given names its place, even after a cold start."""
    path = tmp_path / "hub.db"
    membership = Membership(path)
    given = []
    with closing(LogFile(path, KEEP_ALL, clock=time.time)) as file:
        for data in ("one", "two"):
            file.join(membership)
            membership.leave()
            (cursor,) = file.append([Record((BROADCAST,), Event(data))])
            assert isinstance(cursor, Cursor)
            given.append(cursor)
    log = read_sqlite(path)
    assert given[0].epoch != given[1].epoch
    assert [entry.data for entry in log.entries] == ["one", "two"]
    assert [log.place(str(cursor)) for cursor in given] == [1, 2]


def test_an_entry_has_the_addresses_of_its_record(tmp_path: Path) -> None:
    """An entry also has the exclusions, and knows events from control records."""
    to = (Address("u:alice"), Address("c:news"))
    with closing(SQLiteBroker(tmp_path / "hub.db", KEEP_ALL)) as broker:
        broker.publish(Record(to, Event("x"), exclude=("me",)))
        broker.publish(Record(to[:1], Disconnect("disconnected")))
    event, control = read_sqlite(tmp_path / "hub.db").entries
    assert (event.addresses, event.exclude) == (frozenset(to), frozenset({"me"}))
    assert (event.data, event.is_control) == ("x", False)
    assert (control.addresses, control.is_control) == (frozenset(to[:1]), True)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.mark.live
def test_a_stream_is_read_with_the_ids_that_clients_know(
    redis_server: RedisServer,
) -> None:
    """An id is the epoch and a number, which packs the two parts of the entry id."""
    body = '{"to":["*"],"event":["message",null]}\nx'
    for entry_id, epoch in (("5-0", "a"), ("5-1", "b")):
        fields = ("e", epoch, "p", "", "t", "1.0", "b", body)
        redis_server.run("XADD", "sse-hub:{chaos}:log", entry_id, *fields)
    with redis_server.connect() as client:
        log = read_redis(client, "chaos")
    first = 5 << 18
    assert [entry.id for entry in log.entries] == [f"a-{first}", f"b-{first + 1}"]
    assert log.place(f"a-{first}") == first
    assert log.place(f"a-{first + 1}") is None
