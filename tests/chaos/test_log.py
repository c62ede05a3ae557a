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
from tests.chaos.log import Entry, Log, Recorder, read_redis, read_sqlite
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
        broker.publish(Record(to[1:], Event("y"), key="k", deletes=True))
    event, control, value = read_sqlite(tmp_path / "hub.db").entries
    assert (event.addresses, event.exclude) == (frozenset(to), frozenset({"me"}))
    assert (event.data, event.is_control) == ("x", False)
    assert (event.key, event.deletes) == (None, False)
    assert (control.addresses, control.is_control) == (frozenset(to[:1]), True)
    assert (value.name, value.deletes) == (("news", "k"), True)


def entry(place: int, *, control: bool = False) -> Entry:
    nobody: frozenset[str] = frozenset()
    return Entry(place, f"a-{place}", "", frozenset({"*"}), nobody, control)


def test_a_recorder_keeps_what_the_log_has_trimmed() -> None:
    """A log keeps control records longer than events."""
    logs = iter(
        [
            Log((entry(1, control=True), entry(2), entry(3)), {"a": 3}),
            Log((entry(1, control=True), entry(3), entry(4)), {"a": 3, "b": 4}),
        ]
    )
    recorder = Recorder(lambda: next(logs))
    first, whole = recorder.read(), recorder.read()
    assert [each.place for each in whole.entries] == [1, 2, 3, 4]
    assert whole.epochs == {"a": 3, "b": 4}
    assert [floor.place for floor in whole.floors] == [2, 3]
    assert whole.floor_at(first.floors[0].time) == 2
    assert whole.floor_at(whole.floors[1].time) == 3


def test_a_trim_during_a_read_counts_as_one_of_the_next_read() -> None:
    """The reader may be held up with an old log, while a client is reset."""
    moments: list[float] = []

    def read() -> Log:
        log = Log((entry(1 + len(moments)), entry(3)), {"a": 3})
        moments.append(time.monotonic())
        return log

    recorder = Recorder(read)
    recorder.read()
    log = recorder.read()
    assert log.floor_at(moments[0]) == 2


def test_a_recorder_that_is_too_slow_fails() -> None:
    """The checker would take the missing entries for events that never were."""
    logs = iter([Log((entry(1),), {"a": 1}), Log((entry(3),), {"a": 3})])
    recorder = Recorder(lambda: next(logs))
    recorder.read()
    with pytest.raises(AssertionError, match="never read"):
        recorder.read()


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
