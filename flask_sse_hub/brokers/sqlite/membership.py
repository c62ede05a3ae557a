"""Membership: the processes that use a file, so that one knows whether it is the first.

Each member holds a shared lock on a small file beside the log. The lock ends with its
process, even if the process crashes. This module does not know why being the first
matters.
"""

import functools
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from ...errors import BrokerUnavailable
from ...runtime import native
from .connection import create_private

# How long to wait for the exclusive lock of another process, which holds it only for a
# moment, while it checks whether it is alone.
_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.01

# Releases the lock of this process.
_Release = Callable[[], None]


class Membership:
    """This process's use of a file. Used by one real thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._release: _Release | None = None
        self._inode = 0

    @property
    def held(self) -> bool:
        """Whether this process is a member, by the lock file that others look at."""
        if self._release is None:
            return False
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def join(self) -> bool:
        """Become a member; return whether there was no other member.

        The caller makes sure that only one process joins at a time. If two joined at
        once, each could take the other for a member, and neither would be the first.
        Raises BrokerUnavailable.
        """
        self.leave()
        try:
            create_private(self._path)
            release, alone = _lock(self._path)
            self._inode = self._path.stat().st_ino
        except (OSError, sqlite3.Error) as error:
            raise BrokerUnavailable(
                f"{self._path}: {error}; remove this file, which holds nothing but a"
                " lock, or make it writable for this process"
            ) from error
        self._release = release
        return alone

    def leave(self) -> None:
        """Stop being a member. Without membership this does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()


if sys.platform != "win32":
    import fcntl

    # The descriptors of this process's locks. A forked child closes its copies: a lock
    # of this kind ends when the last copy of its descriptor is closed.
    _held: WeakSet["_Descriptor"] = WeakSet()

    def _lock(path: Path) -> tuple[_Release, bool]:
        """Take the shared lock; return how to release it, and whether it is alone.

        The lock is a ``flock``, since a POSIX lock of SQLite's would end as soon as
        this process closes any other descriptor of the file, as copying a folder does.
        """
        held = _Descriptor(path)
        try:
            alone = held.lock(fcntl.LOCK_EX)
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not held.lock(fcntl.LOCK_SH):
                if time.monotonic() > deadline:
                    raise BlockingIOError("another process keeps it locked")
                native.pause(_PAUSE_SECONDS)
        except BaseException:
            held.close()
            raise
        return held.close, alone

    class _Descriptor:
        """A descriptor of a lock file."""

        def __init__(self, path: Path) -> None:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            _register()
            _held.add(self)

        def lock(self, kind: int) -> bool:
            """Take a lock without waiting; return whether it was free."""
            try:
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        def close(self) -> None:
            """End the lock of this process. A second call does nothing."""
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                native.original("os", "close")(descriptor)

    def _close_in_child() -> None:
        for held in tuple(_held):
            held.close()

    @functools.cache
    def _register() -> None:
        os.register_at_fork(after_in_child=_close_in_child)

else:

    def _lock(path: Path) -> tuple[_Release, bool]:
        """Take the shared lock; return how to release it, and whether it is alone.

        Windows has no ``flock``, but SQLite's own locks belong to a descriptor there.
        """
        connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            alone = _lock_alone(connection)
            if alone:
                connection.execute("COMMIT")
            connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_SECONDS * 1000:.0f}")
            # A read takes the shared lock, and the open transaction keeps it.
            connection.execute("BEGIN")
            connection.execute("SELECT * FROM sqlite_master").fetchall()
        except BaseException:
            connection.close()
            raise

        def release() -> None:
            with suppress(sqlite3.Error):
                connection.close()

        return release, alone

    def _lock_alone(connection: sqlite3.Connection) -> bool:
        """Tell whether no other process uses the file."""
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            return False
        return True
