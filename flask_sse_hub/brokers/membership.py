"""Which processes use a file now, so that one can tell whether it is the first.

By SQLite's own lock on a small file beside it, which every system has, and which goes
with its process however that ends. Does not know what being the first means.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# How long somebody who is not the first waits for the first one to be done.
_PATIENCE_MS = 5000


class Membership:
    """Being one of the processes that use a file. Used by one real thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._connection: sqlite3.Connection | None = None

    @property
    def held(self) -> bool:
        """Whether this process is one of them."""
        return self._connection is not None

    def join(self, *, first: Callable[[], None]) -> None:
        """Become one of them, calling ``first`` alone if there is no other.

        Raises OSError and sqlite3.Error, and what ``first`` raises.
        """
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            if _lock_alone(connection):
                first()
                connection.execute("COMMIT")
            connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
            # Reading takes a lock that others may have too, and keeps it.
            connection.execute("BEGIN")
            connection.execute("SELECT * FROM sqlite_master").fetchall()
        except BaseException:
            connection.close()
            raise
        self._connection = connection

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
