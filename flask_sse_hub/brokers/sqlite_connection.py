"""A connection to the SQLite file of a log, which others may replace at any time.

Knows the schema, how a file is opened, and what SQLite's errors mean for an operator;
not what stands in the tables. One object is used by one thread.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ..errors import BrokerUnavailable

# How long a connection waits for another process that writes, in seconds. A group of
# appends takes milliseconds.
_BUSY_SECONDS = 2.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    offset INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    size INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    epoch TEXT NOT NULL,
    events INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS retention (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    events INTEGER NOT NULL,
    seconds REAL NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS past (epoch TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS idempotency (
    key TEXT PRIMARY KEY,
    cursor TEXT NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
"""


class LogConnection:
    """One connection to a file; it is opened when it is needed, and made if missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._version = 0

    @contextlib.contextmanager
    def transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """Run statements as one, on a file that is there. Raises BrokerUnavailable."""
        with self._translated():
            connection = self._open()
            connection.execute(kind)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def is_changed(self) -> bool:
        """Tell whether others wrote to the file, or replaced it, since last asked.

        Far cheaper than a read. Raises BrokerUnavailable.
        """
        with self._translated():
            before, self._version = self._version, 0
            found = self._open().execute("PRAGMA data_version").fetchone()
            self._version = found[0]
        return self._version != before

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        connection, self._connection = self._connection, None
        self._version = 0
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise BrokerUnavailable(f"{self.path}: {error}{_remedy(error)}") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and not self._is_replaced():
            return self._connection
        self.close()
        # Made before SQLite does, which would let the group and others read it; what
        # SQLite puts beside it gets the same permissions.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if not _is_made(connection):
                connection.execute("BEGIN IMMEDIATE")
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                connection.execute(
                    "INSERT OR IGNORE INTO state VALUES (1, ?, 0, 0)", (new_epoch(),)
                )
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._inode = self.path.stat().st_ino
        self._connection = connection
        return connection

    def _is_replaced(self) -> bool:
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True


def new_epoch() -> str:
    """Return the name of an epoch that no log has had before."""
    return secrets.token_hex(6)


def _is_made(connection: sqlite3.Connection) -> bool:
    """Tell whether the schema is there; to read must not need the lock for writing."""
    return bool(
        connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'idempotency'"
        ).fetchone()
    )


def _remedy(error: Exception) -> str:
    text = str(error)
    if "malformed" in text or "not a database" in text:
        return "; the file is damaged: move it away, and a new log is begun"
    if "locked" in text:
        return "; another program holds it locked"
    if "readonly" in text or "unable to open" in text or isinstance(error, OSError):
        return "; the folder and the file must be writable for this process"
    return ""
