"""A connection to the SQLite file of a log, which may be replaced at any time.

Knows the schema, how to open the file, and what SQLite's errors mean for an operator.
Does not know the content of the tables. One object is used by one thread.
"""

import contextlib
import os
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakSet

from ...errors import BrokerUnavailable
from ...runtime import native
from ...runtime.private_directory import give_to_owner_above

# How long a connection waits for another process that writes, in seconds. A group of
# appends takes milliseconds.
_BUSY_SECONDS = 2.0
_BUSY_PAUSE_SECONDS = 0.002

# How large the write-ahead log may stay after a long reader has made it grow. SQLite
# copies it into the file at about 4 MB, so that it stays below this by itself.
_JOURNAL_BYTES = 8_000_000

# How long a fork waits for running transactions, which wait for nothing but the disk.
# The forking thread may be the event loop's, so a disk that hangs must not hold it.
_FORK_SECONDS = 1.0

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
    inode TEXT NOT NULL,
    events INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS retention (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    events INTEGER NOT NULL,
    seconds REAL NOT NULL,
    bytes INTEGER NOT NULL
);
DROP INDEX IF EXISTS control;
CREATE INDEX control ON record(offset) WHERE size = -1;
CREATE TABLE IF NOT EXISTS removed (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ended (
    number INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS past (epoch TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS idempotency_key (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    cursor TEXT NOT NULL,
    expires REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS trimmed (address TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS trimming (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    noted INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    count INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS kept (
    address TEXT NOT NULL,
    key TEXT NOT NULL,
    offset INTEGER NOT NULL,
    time REAL NOT NULL,
    size INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (address, key)
);
CREATE TABLE IF NOT EXISTS keeping (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    keys INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    most_keys INTEGER,
    most_bytes INTEGER
);
INSERT OR IGNORE INTO keeping VALUES (1, 0, 0, NULL, NULL);
CREATE TABLE IF NOT EXISTS kept_ends (
    address TEXT NOT NULL,
    key TEXT NOT NULL,
    offset INTEGER NOT NULL,
    ends REAL NOT NULL,
    PRIMARY KEY (address, key)
);
CREATE INDEX IF NOT EXISTS kept_ending ON kept_ends(ends);
CREATE TABLE IF NOT EXISTS short_lived (
    offset INTEGER PRIMARY KEY,
    ends REAL NOT NULL,
    size INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS ending ON short_lived(ends);
CREATE TABLE IF NOT EXISTS living (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    missed INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS bounded (
    offset INTEGER PRIMARY KEY,
    address TEXT NOT NULL,
    time REAL NOT NULL,
    size INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS channel ON bounded(address, offset);
CREATE TABLE IF NOT EXISTS bounding (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
INSERT OR IGNORE INTO bounding VALUES (1, 0, 0);
INSERT OR IGNORE INTO living SELECT 1, 0, 0, COALESCE(MAX(last), 0) FROM removed;
"""

# The table that every version has made, and the last one that this version makes.
_EVERY_VERSION = "idempotency_key"
_THIS_VERSION = "bounding"


class _Forks:
    """Close all connections before a fork; SQLite forbids a child to inherit them.

    A child with an open connection would believe that it holds its parent's locks. So a
    fork waits for the running transactions and closes the connections. Each connection
    opens again when it is next used.
    """

    def __init__(self) -> None:
        # Held during a fork. Guards _connections and _registered.
        self._lock = native.native_lock()
        self._going_on: deque[None] = deque()
        self._connections: WeakSet[LogConnection] = WeakSet()
        self._registered = False

    @contextlib.contextmanager
    def kept_away(self, connection: "LogConnection") -> Iterator[None]:
        """Make forks wait while this connection is in use."""
        with self._lock:
            self._going_on.append(None)
            self._connections.add(connection)
            if not self._registered and hasattr(os, "register_at_fork"):
                self._registered = True
                os.register_at_fork(
                    before=self._before,
                    after_in_parent=self._lock.release,
                    after_in_child=self._after_in_child,
                )
        try:
            yield
        finally:
            # Without the lock: a fork may hold it while it waits for this pop.
            self._going_on.pop()

    def _before(self) -> None:
        self._lock.acquire()
        deadline = time.monotonic() + _FORK_SECONDS
        while self._going_on and time.monotonic() < deadline:
            native.pause(0.001)
        if not self._going_on:
            with contextlib.ExitStack() as readers:
                for connection in self._connections:
                    readers.enter_context(connection.kept_from_checkpoint())
                for connection in self._connections:
                    connection.close()

    def _after_in_child(self) -> None:
        self._going_on.clear()
        self._lock.release()


_forks = _Forks()


class LogConnection:
    """One connection to a file. It opens, or creates, the file when it is needed.

    Without ``create`` it neither creates a file nor puts tables into one.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        self._create = create
        self._connection: sqlite3.Connection | None = None
        #: The inode of the open file. Another file may take its path.
        self.inode = ""
        self._inodes: list[int] = []
        # SQLite's own files beside the log, which people may delete as rubbish. An open
        # connection would then write to files that no other process reads.
        self._companions = [path.with_name(path.name + end) for end in ("-wal", "-shm")]
        self._version = 0

    @contextlib.contextmanager
    def transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """Run statements in one transaction. Raises BrokerUnavailable.

        Opens the file again if it was replaced or deleted since the last use.
        """
        with self._translated(), contextlib.ExitStack() as away:
            connection = self._begin(kind, away)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _begin(self, kind: str, away: contextlib.ExitStack) -> sqlite3.Connection:
        """Begin a transaction, and wait for other processes that hold locks.

        SQLite does not wait itself: it would not wait at all where it makes a new file,
        and forks would wait with it.
        """
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            with contextlib.ExitStack() as attempt:
                attempt.enter_context(_forks.kept_away(self))
                try:
                    connection = self._open()
                    connection.execute(kind)
                    # A read takes the shared lock, which a deferred transaction lacks.
                    connection.execute("SELECT 1 FROM sqlite_master").fetchone()
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    if self._connection is not None and self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                else:
                    away.push(attempt.pop_all())
                    return connection
            native.pause(_BUSY_PAUSE_SECONDS)

    def is_changed(self) -> bool:
        """Tell whether others wrote to the file or replaced it since the last call.

        Far cheaper than reading the log. Raises BrokerUnavailable.
        """
        with _forks.kept_away(self), self._translated():
            connection = self._open()
            # Only now: the version of another connection says nothing about this one,
            # and may be the same number. Opening sets it to 0, which no version is.
            before, self._version = self._version, 0
            (self._version,) = connection.execute("PRAGMA data_version").fetchone()
        return self._version != before

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        connection, self._connection = self._connection, None
        self._version = 0
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @contextlib.contextmanager
    def kept_from_checkpoint(self) -> Iterator[None]:
        """Make closing fast: do not copy the write-ahead log into the file.

        The last connection that is closed would do so. A connection that can only read
        never does, so open one here, to be closed after all others.
        """
        if self._connection is None:
            yield
            return
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(sqlite3.Error):
                reader = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)
                stack.enter_context(contextlib.closing(reader))
                reader.execute("SELECT 1 FROM sqlite_master").fetchone()
            yield

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise BrokerUnavailable(f"{self.path}: {error}{_remedy(error)}") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._inodes == self._inodes_now():
            return self._connection
        self.close()
        if self._create:
            create_private(self.path)
        elif not self.path.exists():
            raise not_begun(self.path)
        inode = _inode(self.path)
        connection = sqlite3.connect(
            self.path,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if not self._create and not _has_table(connection, _EVERY_VERSION):
                # Perhaps a database of the app. Do not change it.
                raise not_begun(self.path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
            if not _has_table(connection, _THIS_VERSION):
                # An earlier version's log only lacks tables.
                connection.execute("BEGIN IMMEDIATE")
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                connection.execute(
                    "INSERT OR IGNORE INTO state VALUES (1, ?, ?, 0, 0)",
                    (new_epoch(), str(_inode(self.path))),
                )
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._inodes = self._inodes_now()
        if self._inodes[0] != inode:
            # The file was replaced meanwhile, and the connection may have either one.
            connection.close()
            return self._open()
        self.inode = str(inode)
        self._connection = connection
        return connection

    def _inodes_now(self) -> list[int]:
        """Return the inodes of the file and its companions; 0 for a missing one."""
        return [_inode(path) for path in (self.path, *self._companions)]


def not_begun(path: Path) -> BrokerUnavailable:
    """Return the error of a publisher that found no app's log at its path."""
    return BrokerUnavailable(
        f"{path}: no app has begun a log here, so nobody would receive the event; check"
        " the path, start the app first, or pass create=True to Publisher"
    )


def create_private(path: Path) -> None:
    """Create a file that only its owner can read, unless the file exists.

    Root creates it for the owner of the folder. SQLite itself would let other users
    read the file. The files that SQLite puts beside it have the same owner and the same
    permissions. An existing file is never opened here: closing it would drop all POSIX
    locks of this process on it, including the locks of SQLite, which would not notice.
    """
    with contextlib.suppress(FileExistsError):
        os.close(
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        )
        give_to_owner_above(path)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def new_epoch() -> str:
    """Return a new epoch, which no log has had before."""
    return secrets.token_hex(6)


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Tell whether a table exists, so that reading does not need the write lock."""
    return bool(
        connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = ?", (name,)
        ).fetchone()
    )


def _remedy(error: Exception) -> str:
    text = str(error)
    if "malformed" in text or "not a database" in text:
        return "; the file is damaged: move it away, and a new log begins"
    if "locked" in text:
        return "; another program holds it locked: end its transaction"
    if "full" in text:
        return "; make room on its disk (df -h)"
    if "readonly" in text or "unable to open" in text or isinstance(error, OSError):
        return "; make the folder and the file writable for this process"
    return ""
