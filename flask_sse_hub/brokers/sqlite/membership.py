"""Membership: the processes that use a file, so that one knows whether it is the first.

Each member holds a shared SQLite lock on a small file beside the log. Every system has
such locks, and a lock ends with its process, even if the process crashes. This module
does not know why being the first matters.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path

from .connection import create_private

# How long to wait for the exclusive lock of another process, which holds it only for a
# moment, while it checks whether it is alone.
_PATIENCE_MS = 5000


class Membership:
    """This process's use of a file. Used by one real thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    @property
    def held(self) -> bool:
        """Whether this process is a member, by the lock file that others look at."""
        if self._connection is None:
            return False
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def join(self) -> bool:
        """Become a member; return whether there was no other member.

        The caller makes sure that only one process joins at a time. If two joined at
        once, each could take the other for a member, and neither would be the first.
        Raises OSError and sqlite3.Error.
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
            # A read takes the shared lock, and the open transaction keeps it.
            connection.execute("BEGIN")
            connection.execute("SELECT * FROM sqlite_master").fetchall()
        except BaseException:
            connection.close()
            raise
        self._inode = self._path.stat().st_ino
        self._connection = connection
        return alone

    def leave(self) -> None:
        """Stop being a member. Without membership this does nothing."""
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
