"""A log in SQLite that has lost records: no loss is silent, no id is given twice."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers import codec
from flask_sse_hub.brokers.sqlite.log_file import LogFile
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, Record
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL

EVENT = Record((BROADCAST,), Event("x"))


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


def append(file: LogFile, count: int) -> list[Cursor]:
    return file.append([EVENT] * count)


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

    def test_a_retention_that_was_not_noted_is_noted_later(self, path: Path) -> None:
        """A publisher trims the log by the note."""
        with closing(open_log(path)) as file:
            file.head()
            with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
                patch.setattr(codec, "encode", fail)
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
