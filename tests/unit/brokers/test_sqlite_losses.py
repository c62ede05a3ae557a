"""A log in SQLite that has lost records: no loss is silent, no id is given twice."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers import codec
from flask_sse_hub.brokers.sqlite import SQLiteBroker, control
from flask_sse_hub.brokers.sqlite.log_file import LogFile
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, Disconnect, GapReason, Record
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL

EVENT = Record((BROADCAST,), Event("x"))
LOGOUT = Record((address.session("s"),), Disconnect("session_ended", final=True))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def file(path: Path) -> Iterator[LogFile]:
    """Return a connection to a log, as one thread of a process has it."""
    with closing(open_log(path)) as file:
        yield file


def open_log(path: Path) -> LogFile:
    """Return one more connection to the log, as another process has it."""
    return LogFile(path, KEEP_ALL, clock=Clock())


def append(
    file: LogFile, count: int, records: Sequence[Record] = (EVENT,)
) -> list[Cursor]:
    answers = file.append([*records] * count)
    return [each for each in answers if isinstance(each, Cursor)]


def execute(path: Path, *statements: str) -> None:
    """Change the log as an operator with SQLite's own shell does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def roll_back(path: Path, last: int) -> None:
    """Return the log to the state in which ``last`` was its newest record."""
    execute(
        path,
        f"DELETE FROM record WHERE offset > {last}",  # noqa: S608
        f"UPDATE sqlite_sequence SET seq = {last} WHERE name = 'record'",  # noqa: S608
    )


def copy(path: Path, *, to: Path) -> None:
    """Copy a log as SQLite itself does, into a file that may be in use."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)


class TestAFailedNewEpoch:
    """A transaction that begins a new epoch and then fails leaves no trace."""

    def test_an_append_that_failed_hides_no_rollback(
        self, path: Path, file: LogFile
    ) -> None:
        """Otherwise the lost ids would be given again, in the old epoch."""
        given = append(file, 5)
        roll_back(path, 3)
        execute(
            path,
            "CREATE TRIGGER fail BEFORE INSERT ON record"
            " BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        with pytest.raises(BrokerUnavailable):
            append(file, 1)
        execute(path, "DROP TRIGGER fail")
        assert not set(append(file, 2)) & set(given)

    def test_ids_are_resolved_to_an_epoch_that_exists(
        self, path: Path, file: LogFile
    ) -> None:
        """A client with a cursor in an epoch that was never committed is reset."""
        *_, last = append(file, 5)
        roll_back(path, 3)
        execute(
            path,
            "CREATE TRIGGER fail BEFORE INSERT ON state"
            " BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        with pytest.raises(BrokerUnavailable):
            file.head()
        assert file.resolve(last) == last

    def test_a_retention_that_was_not_noted_is_noted_later(
        self, path: Path, file: LogFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A publisher trims the log by the note."""

        def fail(record: Record) -> str:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(codec, "encode", fail)
            with pytest.raises(ZeroDivisionError):
                append(file, 1)
        append(file, 1)
        with closing(sqlite3.connect(path)) as connection:
            noted = connection.execute("SELECT events FROM retention").fetchall()
        assert noted == [(KEEP_ALL.events,)]


def test_a_reader_notices_that_the_log_went_back(path: Path, file: LogFile) -> None:
    """A connection that only asks for the head compares it with the last one."""
    with closing(open_log(path)) as other:
        append(other, 5)
    before = file.head()
    roll_back(path, 3)
    assert file.head().epoch != before.epoch


class TestRecordsThatAreMissing:
    """A restored file may keep the newer write-ahead log, and with it the head."""

    MISSING = pytest.mark.parametrize(
        "missing",
        ["offset BETWEEN 30 AND 120", "offset = 50", "offset > 120", "offset = 150"],
    )

    @pytest.fixture
    def ids(self, file: LogFile) -> list[Cursor]:
        """Return the ids of a log that fills several pages."""
        return append(file, 150)

    @MISSING
    def test_a_replay_has_a_gap(
        self, path: Path, file: LogFile, ids: list[Cursor], missing: str
    ) -> None:
        """A client that resumes before the hole is reset."""
        execute(path, f"DELETE FROM record WHERE {missing}")  # noqa: S608
        assert file.replay(ids[20], page=1000).gap is GapReason.EPOCH

    @MISSING
    def test_holes_of_control_records_hide_none(
        self,
        path: Path,
        file: LogFile,
        missing: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Only the rows that the log has noted may be missing."""
        monkeypatch.setattr(control, "CONTROL_RECORDS", 2)
        ids = append(file, 50, [LOGOUT, EVENT, LOGOUT])
        assert len(file.replay(ids[20], page=1000).records) == 43 + 2
        execute(path, f"DELETE FROM record WHERE {missing}")  # noqa: S608
        assert file.replay(ids[20], page=1000).gap is GapReason.EPOCH

    @MISSING
    def test_a_follower_has_a_gap(
        self, path: Path, file: LogFile, ids: list[Cursor], missing: str
    ) -> None:
        """The follower reads on in a new epoch."""
        execute(path, f"DELETE FROM record WHERE {missing}")  # noqa: S608
        batch = file.read(ids[20])
        while batch.gap is None:
            batch = file.read(batch.cursor)
        assert batch.gap is GapReason.EPOCH
        assert batch.cursor.epoch != ids[0].epoch
        (after,) = append(file, 1)
        assert [r.cursor for r in file.read(batch.cursor).records] == [after]

    @MISSING
    def test_no_earlier_id_stays_valid(
        self, path: Path, file: LogFile, ids: list[Cursor], missing: str
    ) -> None:
        """Records with the ids of lost ones may have come since the loss."""
        execute(path, f"DELETE FROM record WHERE {missing}")  # noqa: S608
        file.replay(ids[20], page=1000)
        assert {file.replay(each, page=1).gap for each in ids} == {GapReason.EPOCH}

    @MISSING
    def test_one_loss_is_one_new_epoch(
        self, path: Path, file: LogFile, ids: list[Cursor], missing: str
    ) -> None:
        """Each further client that comes back does not reset all others again."""
        execute(path, f"DELETE FROM record WHERE {missing}")  # noqa: S608
        epochs = {file.replay(each, page=1000).cursor.epoch for each in ids[20:60]}
        assert len(epochs) == 1

    @MISSING
    def test_a_first_process_finds_the_loss(
        self, path: Path, ids: list[Cursor], missing: str
    ) -> None:
        """The file may have been restored while no process used it."""
        execute(path, f"DELETE FROM record WHERE {missing}")  # noqa: S608
        first = SQLiteBroker(path, KEEP_ALL)
        assert first.replay(ids[130], page=1000).gap is GapReason.EPOCH
        first.close()

    def test_rows_beyond_the_head_do_not_stop_publishing(
        self, path: Path, file: LogFile, ids: list[Cursor]
    ) -> None:
        """The head was restored, and the rows were not: their ids are taken."""
        execute(path, "UPDATE sqlite_sequence SET seq = 100 WHERE name = 'record'")
        with closing(open_log(path)) as another:
            (cursor,) = append(another, 1)
            assert cursor not in ids
            assert another.head() == cursor

    def test_a_worker_that_starts_fills_its_memory_after_the_hole(
        self, path: Path, file: LogFile, ids: list[Cursor]
    ) -> None:
        """Its follower does not begin with a gap."""
        execute(path, "DELETE FROM record WHERE offset = 100")
        tail = file.tail(10**9)
        assert tail == ids[99]
        assert len(file.read(tail).records) == 50


def test_an_epoch_that_had_ended_is_never_continued(path: Path, file: LogFile) -> None:
    """The file was restored in place to a state from before the last restart."""
    given = append(file, 5)
    older = path.with_name("older")
    copy(path, to=older)
    given += append(file, 2)
    first = SQLiteBroker(path, KEEP_ALL)
    given.append(first.publish(EVENT))
    copy(older, to=path)
    again = first.publish(EVENT)
    first.close()
    assert again not in given
    assert again.epoch not in {each.epoch for each in given}


def test_a_log_that_begins_again_remembers_ended_sessions(
    path: Path, file: LogFile
) -> None:
    """Their cookies and tickets are as old as before."""
    file.append([LOGOUT, EVENT])
    roll_back(path, 1)
    assert file.replay(Cursor("x", 0), page=1).gap is GapReason.EPOCH
    assert list(file.ended()) == list(LOGOUT.addresses)
    with closing(open_log(path)) as another:
        assert list(another.ended()) == list(LOGOUT.addresses)
