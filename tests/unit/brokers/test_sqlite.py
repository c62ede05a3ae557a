"""Behaviour of the SQLite broker alone: files, faults, epochs, and waking others."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers import LogBatch
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.brokers.sqlite import broker as sqlite_broker
from flask_sse_hub.brokers.sqlite import follower as sqlite_follower
from flask_sse_hub.brokers.sqlite.doorbell import Directory
from flask_sse_hub.brokers.sqlite.log_file import LogFile
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, GapReason, Record, Retention
from flask_sse_hub.runtime import native
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL, HandHub, fields
from tests.kit.reader import wait_until

EVENT = Record((BROADCAST,), Event("x"))

Open = Callable[..., SQLiteBroker]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "instance" / "hub.db"


@pytest.fixture
def open_broker(path: Path) -> Iterator[Open]:
    """Return a function that opens the log again, as another process would."""
    opened: list[SQLiteBroker] = []

    def open_broker(
        where: Path = path, retention: Retention = KEEP_ALL
    ) -> SQLiteBroker:
        opened.append(SQLiteBroker(where, retention))
        return opened[-1]

    yield open_broker
    for broker in opened:
        broker.close()


def publish(broker: SQLiteBroker, count: int = 1) -> Cursor:
    """Publish some events; return the last one's cursor."""
    for _ in range(count):
        cursor = broker.publish(EVENT)
    return cursor


class TestFiles:
    def test_the_folder_is_made_and_private(
        self, path: Path, open_broker: Open
    ) -> None:
        """Events are private; so are the file, its companions and the doorbells."""
        publish(open_broker())
        made = {
            each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()
        }
        assert made == {
            "hub.db": 0o600,
            "hub.db-wal": 0o600,
            "hub.db-shm": 0o600,
            "hub.db.lock": 0o600,
            "hub.db.heads": 0o600,
            "hub.db.bells": 0o700,
        }

    def test_constructing_it_touches_no_file(self, path: Path) -> None:
        """A master process that only loads the app has no file open."""
        SQLiteBroker(path, KEEP_ALL)
        assert not path.parent.exists()

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has short names")
    def test_a_path_too_long_for_a_socket_has_doorbells_beside_the_log(
        self, tmp_path: Path
    ) -> None:
        """Processes with other temporary directories find them there too."""
        deep = tmp_path / ("x" * 60) / ("y" * 60) / "hub.db"
        deep.parent.mkdir(parents=True)
        bell, ringer = Directory(deep).doorbell(), Directory(deep).ringer()
        assert bell is not None
        assert ringer is not None
        assert len(list((deep.parent / "hub.db.bells").iterdir())) == 1
        assert bell.is_there()
        ringer.ring()
        assert bell.wait(10.0)
        bell._socket.close()
        ringer.ring()
        assert not bell.is_there()
        ringer.close()

    def test_a_doorbell_folder_of_another_user_is_not_used(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another user may have made it first, in a folder that all can write to."""
        path.parent.mkdir()
        Directory(path).path.mkdir()
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        assert Directory(path).doorbell() is None
        assert Directory(path).ringer() is None

    def test_a_follower_that_ended_leaves_no_doorbell(
        self, path: Path, open_broker: Open
    ) -> None:
        """The next publisher removes the doorbell of a process that died."""
        broker = open_broker()
        publish(broker)
        bells = Directory(path).path
        dead = Directory(path).doorbell()
        assert dead is not None
        dead._socket.close()
        follower = broker.follow(Cursor(broker.head().epoch, 0))
        next(follower)
        assert len(list(bells.iterdir())) == 2
        publish(broker)
        wait_until(lambda: len(list(bells.iterdir())) == 1)
        follower.close()  # type: ignore[attr-defined]
        wait_until(lambda: not list(bells.iterdir()))


class TestProcesses:
    def test_events_of_another_process_arrive(
        self, path: Path, open_broker: Open
    ) -> None:
        """An event that a script publishes reaches the followers of this process."""
        broker = open_broker()
        follower = broker.follow(publish(broker))
        script = (
            "import sys; from pathlib import Path\n"
            "from tests.unit.brokers.test_sqlite import EVENT, KEEP_ALL, SQLiteBroker\n"
            "print(SQLiteBroker(Path(sys.argv[1]), KEEP_ALL).publish(EVENT))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, path], capture_output=True, check=True
        )
        (record,) = next(follower).records
        assert str(record.cursor) == done.stdout.decode().strip()

    def test_without_doorbells_followers_poll(
        self, open_broker: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """This is so on systems without Unix sockets."""
        monkeypatch.setattr(Directory, "doorbell", lambda self: None)
        monkeypatch.setattr(Directory, "ringer", lambda self: None)
        broker = open_broker()
        follower = broker.follow(broker.head())
        publish(broker)
        assert len(next(follower).records) == 1


class TestEpochs:
    def test_a_cold_start_begins_an_epoch_and_old_ids_stay_good(
        self, open_broker: Open
    ) -> None:
        """Ids are good up to the file's last offset, so a restart resets no client."""
        first = open_broker()
        old = publish(first, 3)
        first.close()
        wait_until(lambda: not first._membership.held)
        second = open_broker()
        assert second.head().epoch != old.epoch
        assert second.head().offset == 3
        publish(second)
        replay = second.replay(Cursor(old.epoch, 2), page=9)
        assert [r.cursor.offset for r in replay.records] == [3, 4]
        assert second.resolve(old) == Cursor(second.head().epoch, 3)

    def test_a_client_resumes_across_a_cold_start(self, open_broker: Open) -> None:
        """The client receives its missed events from memory."""
        first = open_broker()
        before = HandHub(first)
        last = before.stream().drop()
        before.publish("missed")
        first.close()
        wait_until(lambda: not first._membership.held)
        after = HandHub(open_broker())
        stream, (connected, *_) = after.open(last_event_id=last)
        assert fields(connected)["resumed"] is True
        assert stream.data() == ["missed"]

    def test_ids_lost_in_a_power_cut_are_never_given_again(
        self, path: Path, open_broker: Open
    ) -> None:
        """Clients that have seen the lost events have a gap."""
        first = open_broker()
        publish(first, 3)
        _checkpoint(path)
        shutil.copy(path, path.with_name("copy"))
        lost = publish(first, 2)
        first.close()
        wait_until(lambda: not first._membership.held)
        _put_back(path)
        second = open_broker()
        assert second.replay(lost, page=9).gap is GapReason.EPOCH
        again = publish(second, 2)
        assert again.offset == lost.offset
        assert again != lost

    def test_an_older_file_put_back_under_a_running_server_is_noticed(
        self, path: Path, open_broker: Open
    ) -> None:
        """Followers report a gap, and new events have new ids."""
        broker = open_broker()
        publish(broker, 3)
        _checkpoint(path)
        shutil.copy(path, path.with_name("copy"))
        lost = publish(broker, 2)
        follower = broker.follow(lost)
        _put_back(path)
        again = publish(broker)
        assert again.epoch != lost.epoch
        assert _first_gap(follower) is GapReason.EPOCH

    def test_two_processes_share_the_epoch(self, open_broker: Open) -> None:
        """Only the first process to start begins a new epoch."""
        one = open_broker()
        epoch = publish(one).epoch
        assert publish(open_broker()).epoch == epoch


def _checkpoint(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _put_back(path: Path) -> None:
    """Replace the file by its older copy, as an operator who restores a backup does."""
    for name in (path.name + "-wal", path.name + "-shm"):
        path.with_name(name).unlink(missing_ok=True)
    path.with_name("copy").replace(path)


def _first_gap(follower: Iterator[LogBatch]) -> GapReason | None:
    return next(batch.gap for batch in follower if batch.gap is not None)


class TestFaults:
    def test_a_folder_that_cannot_be_written_to_is_reported(
        self, tmp_path: Path
    ) -> None:
        """Publishing fails with the path in the error, and nothing hangs."""
        (tmp_path / "file").write_text("")
        broker = SQLiteBroker(tmp_path / "file" / "hub.db", KEEP_ALL)
        with pytest.raises(BrokerUnavailable, match=r"hub\.db"):
            broker.publish(EVENT)
        with pytest.raises(BrokerUnavailable):
            broker.head()
        broker.close()

    def test_a_file_that_is_no_database_is_reported(
        self, path: Path, open_broker: Open
    ) -> None:
        """The error says how to cure it; when the file is moved away, all works."""
        path.parent.mkdir()
        path.write_bytes(b"not a database at all, but long enough to look at" * 100)
        broker = open_broker()
        with pytest.raises(BrokerUnavailable, match="move it away"):
            publish(broker)
        path.unlink()
        publish(broker)

    def test_a_full_disk_is_reported(self, path: Path, open_broker: Open) -> None:
        """The event is not half appended; with room again, publishing works."""
        broker = open_broker()
        head = publish(broker)
        connection = broker._appending._file._connection
        assert connection is not None
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        large = Record((BROADCAST,), Event("x" * 100_000))
        with pytest.raises(BrokerUnavailable, match="full"):
            broker.publish(large)
        assert broker.head() == head
        assert broker.publish(large).offset == head.offset + 1

    def test_a_locked_file_is_reported(
        self, path: Path, open_broker: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A caller waits a while for the lock and then fails; afterwards it works."""
        monkeypatch.setattr(
            "flask_sse_hub.brokers.sqlite.connection._BUSY_SECONDS", 0.05
        )
        broker = open_broker()
        publish(broker)
        broker._appending.close()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BrokerUnavailable, match="holds it locked"):
                publish(broker)
            assert broker.head().offset == 1
            other.execute("COMMIT")
        publish(broker)

    def test_a_deleted_file_is_a_gap(self, path: Path, open_broker: Open) -> None:
        """A new log is begun, and followers report that the old one is gone."""
        broker = open_broker()
        old = publish(broker, 3)
        follower = broker.follow(old)
        for each in path.parent.glob("hub.db*"):
            if each.is_file():
                each.unlink()
        assert publish(broker).epoch != old.epoch
        assert _first_gap(follower) is GapReason.EPOCH

    def test_a_failure_of_a_followers_thread_is_raised(
        self, open_broker: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise streams would look alive and bring no events."""

        def fail(file: object, after: object) -> None:
            raise ZeroDivisionError

        broker = open_broker()
        start = broker.head()
        monkeypatch.setattr(LogFile, "read", fail)
        with pytest.raises(ZeroDivisionError):
            next(broker.follow(start))

    def test_a_file_without_its_state_is_damaged(
        self, path: Path, open_broker: Open
    ) -> None:
        """The error says how to cure it."""
        broker = open_broker()
        publish(broker)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("DELETE FROM state")
        with pytest.raises(BrokerUnavailable, match="move it away"):
            broker.head()

    def test_a_disk_that_does_not_answer(
        self, path: Path, open_broker: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The caller learns that the outcome is unknown, and does not hang."""
        publish(open_broker())
        monkeypatch.setattr("flask_sse_hub.brokers.sqlite.broker._CALL_SECONDS", 0.01)
        broker = open_broker()
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(BrokerUnavailable, match="outcome is unknown"):
                publish(broker)

    def test_a_thread_that_cannot_be_started_is_tried_again(
        self, open_broker: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise a shortage of a moment would end the worker's hub."""
        broker = open_broker()
        start = broker.head()
        publish(broker)
        start_thread, refused = native.start_thread, threading.Event()

        def full_at_first(target: Callable[[], None]) -> None:
            if not refused.is_set():
                refused.set()
                raise RuntimeError("can't start new thread")
            start_thread(target)

        monkeypatch.setattr(sqlite_follower, "_TROUBLE_SECONDS", 0.01)
        monkeypatch.setattr(native, "start_thread", full_at_first)
        assert len(next(broker.follow(start)).records) == 1
        assert refused.is_set()

    def test_a_broker_can_be_closed_while_no_thread_can_be_started(
        self, open_broker: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Closing ends the follower that tries to start one."""
        broker = open_broker()
        start = broker.head()

        def full(target: Callable[[], None]) -> None:
            broker.close()
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(native, "start_thread", full)
        assert list(broker.follow(start)) == []


def test_events_expire_by_age(path: Path) -> None:
    """Events expire even while nothing is published."""
    clock = Clock(time.time())
    broker = SQLiteBroker(path, Retention(100, 60.0, 100_000), clock=clock)
    start = broker.head()
    broker.publish(EVENT)
    clock.advance(61.0)
    replay = broker.replay(start, page=10)
    assert replay.gap is GapReason.EXPIRED
    broker.close()


def test_an_idempotency_key_holds_for_a_day(path: Path) -> None:
    """After a day, the same key stands for a new event."""
    clock = Clock(time.time())
    broker = SQLiteBroker(path, KEEP_ALL, clock=clock)
    keyed = Record((BROADCAST,), Event("x"), idempotency_key="k")
    first = broker.publish(keyed)
    clock.advance(86_399.0)
    assert broker.publish(keyed) == first
    clock.advance(2.0)
    assert broker.publish(keyed) != first
    broker.close()


def test_keys_that_have_expired_are_deleted(path: Path) -> None:
    """The file holds the keys of one day, not of all time."""
    clock = Clock(time.time())
    broker = SQLiteBroker(path, KEEP_ALL, clock=clock)
    for key in ("a", "b"):
        broker.publish(Record((BROADCAST,), Event("x"), idempotency_key=key))
    clock.advance(86_401.0)
    broker.publish(EVENT)
    broker.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM idempotency_key").fetchall() == []


def test_a_long_reader_does_not_leave_a_large_write_ahead_log(
    path: Path, open_broker: Open
) -> None:
    """The disk space is free again some events after the reader has ended."""
    broker = open_broker(retention=Retention(5, 3600.0, 100_000_000))
    broker.head()
    large = Record((BROADCAST,), Event("x" * 1_000_000))
    log = path.with_name("hub.db-wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM record").fetchall()
        for _ in range(20):
            broker.publish(large)
        assert log.stat().st_size > 20_000_000
    for _ in range(10):
        broker.publish(large)
    assert log.stat().st_size < 10_000_000


class TestConcerns:
    """Faults of the surroundings, as the doctor shows them."""

    def test_a_good_folder_is_no_concern(self, open_broker: Open) -> None:
        """A file that does not exist yet is none either."""
        broker = open_broker()
        assert list(broker.concerns()) == []
        publish(broker)
        assert list(broker.concerns()) == []

    def test_a_disk_that_is_nearly_full(
        self, open_broker: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The log and its write-ahead log may both grow to the size of the history."""
        broker = open_broker()
        publish(broker)
        usage = shutil.disk_usage("/")._replace(free=1_048_576)
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
        ((text, cure),) = broker.concerns()
        assert "has 1 MiB left" in text
        assert "SSE_HUB_HISTORY_BYTES" in cure

    def test_a_folder_of_another_user(
        self, open_broker: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Root may write everywhere, so the kernel's answer is replaced."""
        broker = open_broker()
        publish(broker)
        monkeypatch.setattr("os.access", lambda *_: False)
        ((text, _),) = broker.concerns()
        assert "is not writable for this user" in text

    def test_a_write_ahead_log_that_does_not_shrink(
        self, open_broker: Open, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A reader that never ends holds it."""
        monkeypatch.setattr(sqlite_broker, "_LARGE_WAL_BYTES", 1000)
        broker = open_broker(retention=Retention(events=10, seconds=60.0, bytes=100))
        publish(broker)
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            publish(broker, 3)
            ((text, _),) = broker.concerns()
        assert "keeps a reading transaction open" in text

    def test_a_folder_that_is_missing(self, open_broker: Open, path: Path) -> None:
        """The first publish makes it."""
        assert list(open_broker(path.parent / "deep" / "hub.db").concerns()) == []
