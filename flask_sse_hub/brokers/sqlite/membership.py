"""Which processes use a file now, so that one can tell whether it is the first.

By SQLite's own lock on a small file beside it, which every system has, and which goes
with its process however that ends. Does not know what being the first means.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path

from .connection import create_private

# A lock that others hold for a moment, while they look whether they are alone.
_PATIENCE_MS = 5000


class Membership:
    """Being one of the processes that use a file. Used by one real thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    @property
    def held(self) -> bool:
        """Whether this process is one of them, by the file that others look at."""
        if self._connection is None:
            return False
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def join(self) -> bool:
        """Become one of them; tell whether there was no other.

        The caller sees to it that only one process does this at a time: of two, each
        would take the other for one that is there. Raises OSError and sqlite3.Error.
        """
        self.leave()
        create_private(self._path)
        connection = sqlite3.connect(
            self._path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            alone = _lock_alone(connection)
            if alone:
                connection.execute("COMMIT")
            connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
            # Reading takes a lock that others may have too, and keeps it.
            connection.execute("BEGIN")
            connection.execute("SELECT * FROM sqlite_master").fetchall()
        except BaseException:
            connection.close()
            raise
        self._inode = self._path.stat().st_ino
        self._connection = connection
        return alone

    def leave(self) -> None:
        """Be one of them no more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _lock_alone(connection: sqlite3.Connection) -> bool:
    """Tell whether no other process uses the file."""
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        return False
    return True
