"""Records that a process has appended itself, and its followers do not read back."""

import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from flask_sse_hub.brokers import LogBatch
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.brokers.sqlite.doorbell import Ringer
from flask_sse_hub.brokers.sqlite.log_file import LogFile
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.event import Event
from flask_sse_hub.events.record import Cursor, Record
from tests.kit.hand import KEEP_ALL

EVENT = Record((BROADCAST,), Event("x"))

# Publishers of each process, and the records of each of them.
_PUBLISHERS = 4
_RECORDS = 60


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[list[SQLiteBroker]]:
    """Two brokers of one log, as two processes have them."""
    found = [SQLiteBroker(tmp_path / "hub.db", KEEP_ALL) for _ in range(2)]
    yield found
    for broker in found:
        broker.close()


def records_of(broker: SQLiteBroker, after: Cursor, count: int) -> list[Record]:
    """Return the next records as a follower receives them."""
    with closing(broker.follow(after)) as follower:  # type: ignore[type-var]
        batches: Iterator[LogBatch] = follower
        return list(islice((r for batch in batches for r in batch.records), count))


def test_every_follower_receives_the_records_of_all_processes_in_one_order(
    brokers: list[SQLiteBroker],
) -> None:
    """Own records and those of others may come at the same moment."""
    start = brokers[0].head()
    total = len(brokers) * _PUBLISHERS * _RECORDS
    received: list[list[Record]] = [[] for _ in brokers]

    def follow(number: int) -> None:
        received[number] = records_of(brokers[number], start, total)

    def publish(broker: SQLiteBroker) -> None:
        for number in range(_RECORDS):
            broker.publish(Record((BROADCAST,), Event(f"{id(broker)} {number}")))

    threads = [threading.Thread(target=follow, args=[n]) for n in range(len(brokers))]
    threads += [
        threading.Thread(target=publish, args=[broker])
        for broker in brokers * _PUBLISHERS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    ours, theirs = received
    assert ours == theirs
    assert [r.cursor.offset - start.offset for r in ours] == list(range(1, total + 1))
    assert list(brokers[0].replay(start, page=total).records) == ours


def test_own_records_are_not_read_back_from_the_file(
    brokers: list[SQLiteBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a record takes as long as appending it."""
    reads: list[Cursor] = []
    read = LogFile.read

    def counted(self: LogFile, after: Cursor) -> LogBatch:
        reads.append(after)
        return read(self, after)

    broker, _ = brokers
    with closing(broker.follow(broker.head())) as follower:  # type: ignore[type-var]
        broker.publish(EVENT)
        next(follower)
        monkeypatch.setattr(LogFile, "read", counted)
        for _ in range(40):
            cursor = broker.publish(EVENT)
            assert next(follower).cursor == cursor
    assert len(reads) < 20


def test_a_record_before_an_own_one_is_read_though_its_process_did_not_ring(
    brokers: list[SQLiteBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process may have been killed after its commit."""
    ours, other = brokers
    start = ours.head()
    with closing(ours.follow(start)) as follower:  # type: ignore[type-var]
        ours.publish(EVENT)
        next(follower)
        with monkeypatch.context() as patched:
            patched.setattr(Ringer, "ring", lambda self: None)
            other.publish(EVENT)
        last = ours.publish(EVENT)
        found = [r.cursor for r in islice((r for b in follower for r in b.records), 2)]
    assert found == [Cursor(last.epoch, last.offset - 1), last]


def test_large_records_are_read_in_batches_of_a_bounded_size(
    brokers: list[SQLiteBroker],
) -> None:
    """A group of them would take as much memory as the whole log."""
    broker, _ = brokers
    start = broker.head()
    large = Record((BROADCAST,), Event("x" * 1_100_000))
    threads = [threading.Thread(target=broker.publish, args=[large]) for _ in range(4)]
    for thread in threads:
        thread.start()
    with closing(broker.follow(start)) as follower:  # type: ignore[type-var]
        sizes = [len(next(follower).records) for _ in range(4)]
    for thread in threads:
        thread.join(60.0)
    assert sizes == [1, 1, 1, 1]
